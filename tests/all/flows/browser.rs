//! A browser: it keeps cookies, follows redirects on its origin, and fills in the forms of a page by the names of their fields.

use std::collections::BTreeMap;

use url::Url;

use super::PASSWORD;
use crate::world::{Reply, World};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

pub(super) struct Browser<'w> {
    pub(super) world: &'w World,
    pub(super) jar: BTreeMap<String, String>,
}

/// Where the browser has come.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) reply: Reply,
}

impl<'w> Browser<'w> {
    pub(super) fn new(world: &'w World) -> Self {
        Self { world, jar: BTreeMap::new() }
    }

    /// Follows nothing.
    pub(super) async fn get(&mut self, target: &str) -> Page {
        let reply = self.world.send(&format!("GET {target}"), "", &self.cookies(), "").await;
        self.keep(reply)
    }

    /// Follows nothing.
    pub(super) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let mut headers = vec![FORM.to_owned()];
        headers.extend(self.cookie_header());
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let reply = self.world.send(&format!("POST {path}"), "", &headers, &super::encoded(fields)).await;
        self.keep(reply)
    }

    /// As a form of another site is sent: without `SameSite=Lax` cookies, whose answer may set some all the same.
    pub(super) async fn post_from_elsewhere(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let headers = [FORM, "Origin: https://elsewhere.example", "Sec-Fetch-Site: cross-site"];
        let reply = self.world.send(&format!("POST {path}"), "", &headers, &super::encoded(fields)).await;
        self.keep(reply)
    }

    pub(super) async fn follow(&mut self, mut page: Page) -> Page {
        for _ in 0..5 {
            match page.location() {
                Some(target) if target.starts_with('/') => page = self.get(&target).await,
                _ => break,
            }
        }
        page
    }

    /// Opens the authorization endpoint and follows.
    pub(super) async fn authorize(&mut self, parameters: &[(&str, &str)]) -> Page {
        let page = self.get(&format!("/authorize?{}", super::encoded(parameters))).await;
        self.follow(page).await
    }

    /// Sends the login form; a page without one is left as it is.
    pub(super) async fn log_in(&mut self, page: &Page, username: &str) -> Page {
        self.log_in_with(page, username, PASSWORD).await
    }

    pub(super) async fn log_in_with(&mut self, page: &Page, username: &str, password: &str) -> Page {
        self.world.secret(password);
        let transaction = page.field("transaction");
        let fields = [
            ("transaction", transaction.as_str()),
            ("username", username),
            ("password", password),
            ("decision", "allow"),
        ];
        let page = self.post("/login", &fields).await;
        self.follow(page).await
    }

    /// Chooses `patient` and follows.
    pub(super) async fn pick(&mut self, page: &Page, patient: &str) -> Page {
        let transaction = page.field("transaction");
        let page =
            self.post("/patient", &[("transaction", &transaction), ("patient", patient), ("decision", "allow")]).await;
        self.follow(page).await
    }

    pub(super) async fn pick_if_asked(&mut self, page: &Page, patient: &str) -> Page {
        if page.fields("patient").is_empty() {
            return Page { reply: page.reply.clone() };
        }
        self.pick(page, patient).await
    }

    /// Answers the consent page with these boxes ticked.
    pub(super) async fn decide(&mut self, page: &Page, decision: &str, scopes: &[&str]) -> Page {
        let (transaction, csrf) = (page.field("transaction"), page.field("csrf"));
        let mut fields = vec![("transaction", transaction.as_str()), ("csrf", csrf.as_str()), ("decision", decision)];
        fields.extend(scopes.iter().map(|scope| ("scope", *scope)));
        self.post("/consent", &fields).await
    }

    /// Leaves all boxes as they are; a page that is not the consent page is left as it is.
    pub(super) async fn allow_all(&mut self, page: &Page) -> Page {
        if page.fields("csrf").is_empty() {
            return Page { reply: page.reply.clone() };
        }
        let scopes = page.fields("scope");
        let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        self.decide(page, "allow", &scopes).await
    }

    /// The session cookie.
    pub(super) fn session(&self) -> Option<&str> {
        self.jar.iter().find(|(name, _)| name.ends_with("firebreak-session")).map(|(_, value)| value.as_str())
    }

    fn cookie_header(&self) -> Option<String> {
        let pairs: Vec<String> = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (!pairs.is_empty()).then(|| format!("Cookie: {}", pairs.join("; ")))
    }

    fn cookies(&self) -> Vec<&'static str> {
        // One request, one header line: leaked for the length of the test.
        self.cookie_header().map(|line| &*Box::leak(line.into_boxed_str())).into_iter().collect()
    }

    fn keep(&mut self, reply: Reply) -> Page {
        for (_, cookie) in reply.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (pair, attributes) = cookie.split_once(';').unwrap();
            assert!(attributes.contains("HttpOnly") && attributes.contains("SameSite=Lax"), "{cookie}");
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.jar.remove(name);
            } else {
                self.world.secret(value);
                self.jar.insert(name.to_owned(), value.to_owned());
            }
        }
        Page { reply }
    }
}

impl Page {
    pub(super) fn status(&self) -> u16 {
        self.reply.status
    }

    pub(super) fn text(&self) -> &str {
        self.reply.text()
    }

    pub(super) fn location(&self) -> Option<String> {
        let location = self.reply.header("location");
        (!location.is_empty()).then(|| location.to_owned())
    }

    /// A parameter of the redirect to the app.
    pub(super) fn returned(&self, name: &str) -> Option<String> {
        let url = Url::parse(&self.location()?).ok()?;
        let mut found = url.query_pairs().filter(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        let value = found.next();
        assert!(found.next().is_none(), "{name} twice in {url}");
        value
    }

    /// The values of the inputs called `name`, as a browser would send them.
    pub(super) fn fields(&self, name: &str) -> Vec<String> {
        let marker = format!("name=\"{name}\" value=\"");
        let unescape = |value: &str| value.replace("&#38;", "&").replace("&amp;", "&");
        self.text().split(&marker).skip(1).map(|rest| unescape(rest.split('"').next().unwrap())).collect()
    }

    pub(super) fn field(&self, name: &str) -> String {
        self.fields(name).into_iter().next().unwrap_or_else(|| panic!("no field {name}: {}", self.reply.all()))
    }

    pub(super) fn asks_for_login(&self) -> bool {
        self.status() == 200 && self.text().contains("name=\"password\"")
    }

    pub(super) fn asks_for_consent(&self) -> bool {
        self.status() == 200 && !self.fields("csrf").is_empty()
    }

    /// The error that the app is told, or the status of a page of ours.
    pub(super) fn refusal(&self) -> String {
        assert_eq!(self.returned("code"), None);
        self.returned("error").unwrap_or_else(|| self.status().to_string())
    }
}
