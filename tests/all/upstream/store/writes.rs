//! Changes of the store: create, update, delete and transactions, with versions and conditions as FHIR R4 has them.

use std::fmt::Write as _;

use firebreak::json::{Edits, Json, Limits, quote};
use serde_json::Value;

use super::{Answer, Resource, Seen, Store, absent, outcome};

/// What came of one change.
struct Done {
    status: u16,
    /// `Type/id`, the version, and the text unless it was deleted.
    resource: Option<(String, usize, String)>,
}

impl Store {
    pub(super) fn create(&mut self, resource_type: &str, seen: &Seen) -> Answer {
        let condition = header(seen, "if-none-exist").map(str::to_owned);
        let made = self.make(resource_type, &seen.body, condition.as_deref());
        self.say(made, seen)
    }

    pub(super) fn update(&mut self, resource_type: &str, id: &str, seen: &Seen) -> Answer {
        let none = header(seen, "if-none-match") == Some("*");
        let condition = header(seen, "if-match").map(str::to_owned);
        let made = self.put_version(resource_type, id, Some(&seen.body), condition.as_deref(), none);
        self.say(made, seen)
    }

    pub(super) fn delete(&mut self, resource_type: &str, id: &str, seen: &Seen) -> Answer {
        let condition = header(seen, "if-match").map(str::to_owned);
        let made = self.put_version(resource_type, id, None, condition.as_deref(), false);
        self.say(made, seen)
    }

    /// All entries or none. Resources come back where they are preferred, not even read ones elsewhere: some servers do so.
    pub(super) fn transaction(&mut self, seen: &Seen) -> Answer {
        let before = (self.resources.clone(), self.created);
        match self.each(&seen.body, header(seen, "prefer") == Some("return=representation")) {
            Ok(bundle) => Answer::fhir(bundle),
            Err(answer) => {
                (self.resources, self.created) = before;
                answer
            }
        }
    }

    fn each(&mut self, body: &str, representation: bool) -> Result<String, Answer> {
        let json = Json::parse(body.as_bytes().to_vec(), Limits::default()).unwrap();
        let entries: Vec<_> = json.root().member("entry").unwrap().elements().collect();
        // What will be created has its id before anything refers to it.
        let mut names = Vec::new();
        let mut next = self.created;
        for entry in &entries {
            let request = entry.member("request").unwrap();
            if request.member("method").unwrap().is("POST") {
                next += 1;
                if let Some(full_url) = entry.text("fullUrl") {
                    names.push((full_url.into_owned(), format!("{}/n{next}", request.text("url").unwrap())));
                }
            }
        }
        let mut answers = Vec::new();
        for entry in entries {
            let request = entry.member("request").unwrap();
            let text = |name: &str| request.text(name).map(String::from);
            let (method, url) = (text("method").unwrap(), text("url").unwrap());
            let mut resource = entry.member("resource").map(|one| String::from_utf8(one.raw().to_vec()).unwrap());
            for (full_url, named) in &names {
                resource = resource.map(|text| text.replace(full_url, named));
            }
            let (resource_type, id) = url.split_once('/').unwrap_or((&url, ""));
            let done = match &*method {
                "POST" => self.make(resource_type, &resource.unwrap(), text("ifNoneExist").as_deref()),
                "PUT" => {
                    let none = text("ifNoneMatch").is_some();
                    self.put_version(resource_type, id, resource.as_deref(), text("ifMatch").as_deref(), none)
                }
                "DELETE" => self.put_version(resource_type, id, None, text("ifMatch").as_deref(), false),
                _ => {
                    answers.push(self.read_entry(&url, representation));
                    continue;
                }
            }?;
            answers.push(match done.resource {
                None => format!(r#"{{"response":{{"status":"{} Done"}}}}"#, done.status),
                Some((place, version, text)) => format!(
                    r#"{{{}"response":{{"status":"{} Done","location":"{place}/_history/{version}","etag":"W/\"{version}\""}}}}"#,
                    if representation { format!(r#""resource":{text},"#) } else { String::new() },
                    done.status
                ),
            });
        }
        Ok(format!(
            r#"{{"resourceType":"Bundle","id":"CANARY-answer","type":"transaction-response","entry":[{}]}}"#,
            answers.join(",")
        ))
    }

    fn read_entry(&mut self, url: &str, representation: bool) -> String {
        let line = format!("GET {}/{url}", super::PATH);
        let answer = self.answer(&Seen { line, headers: Vec::new(), body: String::new() });
        let (status, body) = match answer {
            Answer::Given(status, _, body) => (status, body),
            Answer::Raw(bytes) => {
                let text = String::from_utf8(bytes).unwrap();
                (200, text.split_once("\r\n\r\n").unwrap().1.to_owned())
            }
            _ => (500, String::from("{}")),
        };
        let resource = if representation { format!(r#""resource":{body},"#) } else { String::new() };
        format!(r#"{{{resource}"response":{{"status":"{status} Done"}}}}"#)
    }

    fn make(&mut self, resource_type: &str, body: &str, condition: Option<&str>) -> Result<Done, Answer> {
        if let Some(query) = condition {
            let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            let Answer::Given(200, _, found) = self.search(resource_type, &pairs) else {
                return Err(outcome(400, "invalid", "CANARY condition"));
            };
            let found: Value = serde_json::from_str(&found).unwrap();
            match found.get("entry").and_then(Value::as_array).map_or(&[][..], Vec::as_slice) {
                [] => {}
                [one] => {
                    let id = one.pointer("/resource/id").and_then(Value::as_str).unwrap();
                    let of = self.resources.get(&(resource_type.to_owned(), id.to_owned())).unwrap();
                    let text = of.versions.last().cloned().flatten().unwrap();
                    let named = format!("{resource_type}/{id}");
                    return Ok(Done { status: 200, resource: Some((named, of.versions.len(), text)) });
                }
                _ => return Err(outcome(412, "multiple-matches", "CANARY several")),
            }
        }
        self.created += 1;
        let id = format!("n{}", self.created);
        self.put_version(resource_type, &id, Some(body), None, false)
    }

    /// Adds a version; no `body`: a deletion.
    fn put_version(
        &mut self,
        resource_type: &str,
        id: &str,
        body: Option<&str>,
        if_match: Option<&str>,
        none: bool,
    ) -> Result<Done, Answer> {
        let key = (resource_type.to_owned(), id.to_owned());
        let known = self.resources.get(&key);
        let number = known.map_or(0, |known| known.versions.len());
        let exists = known.is_some_and(|known| known.versions.last().is_some_and(Option::is_some));
        if if_match.is_some_and(|tag| !exists || tag.trim_start_matches("W/") != format!("\"{number}\""))
            || none && exists
        {
            return Err(outcome(412, "conflict", &format!("CANARY {resource_type}/{id} is at version {number}")));
        }
        if body.is_none() && !exists {
            return Err(absent(&format!("CANARY {resource_type}/{id} is not known")));
        }
        let text = body.map(|body| stored(body, resource_type, id, number + 1));
        let fresh = || Resource {
            resource_type: resource_type.to_owned(),
            id: id.to_owned(),
            owner: None,
            versions: Vec::new(),
        };
        self.resources.entry(key).or_insert_with(fresh).versions.push(text.clone());
        let status = match (&text, exists) {
            (None, _) => 204,
            (Some(_), true) => 200,
            (Some(_), false) => 201,
        };
        let resource = text.map(|text| (format!("{resource_type}/{id}"), number + 1, text));
        Ok(Done { status, resource })
    }

    fn say(&self, done: Result<Done, Answer>, seen: &Seen) -> Answer {
        let done = match done {
            Ok(done) => done,
            Err(answer) => return answer,
        };
        let mut head = format!("HTTP/1.1 {} Done\r\nX-Keep: CANARY-header\r\n", done.status);
        let mut body = String::new();
        if let Some((named, version, text)) = done.resource {
            write!(
                head,
                "Location: {}/{named}/_history/{version}\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n",
                self.base
            )
            .unwrap();
            if self.tells_versions {
                write!(head, "ETag: W/\"{version}\"\r\n").unwrap();
            }
            if header(seen, "prefer") == Some("return=representation") {
                body = text.replace("{BASE}", &self.base);
                head.push_str("Content-Type: application/fhir+json\r\n");
            }
        }
        if done.status != 204 {
            write!(head, "Content-Length: {}\r\n", body.len()).unwrap();
        }
        Answer::Raw(format!("{head}\r\n{body}").into_bytes())
    }
}

fn header<'s>(seen: &'s Seen, name: &str) -> Option<&'s str> {
    seen.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// The text as it is stored: with its id, its version and everything else as it came.
fn stored(body: &str, resource_type: &str, id: &str, version: usize) -> String {
    let json = Json::parse(body.as_bytes().to_vec(), Limits::default()).unwrap();
    let root = json.root();
    assert!(root.member("resourceType").is_some_and(|name| name.is(resource_type)), "{body}");
    let mut edits = Edits::new(&json);
    match root.member("id") {
        Some(known) => edits.replace(known, quote(id)),
        None => edits.add_member(root, "id", &quote(id)),
    }
    let version = quote(&version.to_string());
    match root.member("meta") {
        None => edits.add_member(root, "meta", &[br#"{"versionId":"#, &*version, b"}"].concat()),
        Some(meta) => match meta.member("versionId") {
            Some(known) => edits.replace(known, version),
            None => edits.add_member(meta, "versionId", &version),
        },
    }
    String::from_utf8(edits.apply().unwrap()).unwrap()
}

/// The same text without `meta`.
pub(super) fn without_version(text: &str) -> String {
    let json = Json::parse(text.as_bytes().to_vec(), Limits::default()).unwrap();
    let mut edits = Edits::new(&json);
    edits.retain_members(json.root(), |member| !member.key.is("meta"));
    String::from_utf8(edits.apply().unwrap()).unwrap()
}
