//! `/manage`: the page on which a user sees which apps have access, and withdraws it (SMART App Launch 2.2
//! `management_endpoint`).
//!
//! Takes the browser's session, or else a user name and a password, or the choice of an OpenID provider; gives a page of plain
//! forms. Promises: a user sees and ends
//! only what is theirs; what is withdrawn gives nothing from that moment on, also what the app has not fetched yet, and the
//! remembered consent goes with it; every form carries a token that is bound to the session, and the login form one that is
//! bound to the browser.

use std::collections::BTreeMap;

use http::header::{HeaderValue, SET_COOKIE};
use http::{Method, StatusCode};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::authorization_response::see_other;
use super::continuation::{posted, problem};
use super::facts::Facts;
use super::form::Form;
use super::grants::{from_json, revoke, user_digest};
use super::holdings::{self, Given};
use super::login::{username, with_password};
use super::pages::{
    self, Access, AppAccess, Frame, Language, ManageLoginPage, ManagePage, Pages, Problem, Text, render,
};
use super::provider_login::{Asked, Errand, ManageBrowser, Way};
use super::records::{Consent, Grant, User};
use super::scope_words::{Part, item, part};
use super::session::{self, LiveSession, Proved, cookie, cookie_name, set_cookie};
use super::{Answer, Grants, provider_login, route};
use crate::admit::Presenter;
use crate::listen::Inbound;
use crate::random;
use crate::secret::Digest;
use crate::store::{Kind, StoreError};

/// Seconds that a login form may be looked at.
const LOGIN_LIFETIME: u32 = 15 * 60;
/// The query of this page that asks a provider for another account than the one that it gave.
pub(super) const OTHER_ACCOUNT: &str = "account=other";
/// Patients that are named on one page; further ones are shown by their id.
const NAMED: usize = 20;
/// Records that are looked through for one user.
const MOST: usize = 10_000;
/// The name that binds the anti-CSRF tokens of these forms; see [`LiveSession::csrf`].
const FORM: &str = "manage";

/// Answers `GET` and `POST /manage`.
pub async fn respond(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Answer {
    facts.action = Some("access_reviewed");
    let Ok(session) = session::resume(grants, &inbound.headers).await else {
        return problem(grants, inbound, facts, Problem::StoreUnavailable);
    };
    facts.user = session.as_ref().map(|session| session.user.clone());
    match (&inbound.method, session) {
        (&Method::GET, Some(session)) => page(grants, inbound, &session).await.unwrap_or_else(|error| {
            tracing::error!(error = error.0, "the management page could not read the store");
            problem(grants, inbound, facts, Problem::StoreUnavailable)
        }),
        (&Method::GET, None) => login_page(grants, inbound, "", (StatusCode::OK, None)),
        // The session ended while the page was looked at.
        (&Method::POST, None) => see_other("/manage"),
        (&Method::POST, Some(session)) => change(grants, inbound, facts, &session).await,
        _ => problem(grants, inbound, facts, Problem::MethodNotAllowed("GET, POST")),
    }
}

/// Answers `POST /manage/login`.
pub async fn log_in(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Answer {
    facts.action = Some("login");
    let form = match posted(inbound) {
        Ok(form) if !is_forged(grants, inbound, &form) => form,
        Ok(_) => return problem(grants, inbound, facts, Problem::Forged),
        Err(found) => return problem(grants, inbound, facts, found),
    };
    match with_password(grants, inbound, facts, &form).await {
        Ok(proved) => succeed(grants, inbound, facts, proved).await,
        Err(again) => {
            let message = again.message(Language::accepted(&inbound.headers));
            again.on(login_page(grants, inbound, username(&form), (again.status, Some(message))))
        }
    }
}

/// Answers `POST /manage/provider`: the way to an OpenID provider.
pub async fn log_in_with_provider(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Answer {
    facts.action = Some("login_started");
    let form = match posted(inbound) {
        Ok(form) => form,
        Err(found) => return problem(grants, inbound, facts, found),
    };
    let Some(browser) = ManageBrowser::of(grants, inbound).filter(|_| !is_forged(grants, inbound, &form)) else {
        return problem(grants, inbound, facts, Problem::Forged);
    };
    if let Err(seconds) = grants.login.admit_request(Presenter::new(inbound.peer.ip(), false)) {
        return problem(grants, inbound, facts, Problem::TooMany(seconds));
    }
    let Some(provider) = form.only("provider").and_then(|id| grants.providers.find(id)) else {
        return problem(grants, inbound, facts, Problem::NotOffered);
    };
    let asked = Asked { anew: form.only("account") == Some("other"), max_age: None, login_hint: None };
    let errand = Errand::Manage(&browser);
    provider_login::send_for(grants, inbound, facts, errand, provider, (asked, Way::Page)).await
}

/// Begins the session of a user.
pub(super) async fn succeed(grants: &Grants, inbound: &Inbound, facts: &mut Facts, proved: Proved) -> Answer {
    facts.user = Some(proved.user.clone());
    let Ok(session) = session::begin(grants, proved, &inbound.headers).await else {
        return problem(grants, inbound, facts, Problem::StoreUnavailable);
    };
    let mut answer = see_other(route::MANAGE);
    let cookies = [
        session::session_cookie(&grants.config, &session),
        set_cookie(&grants.config, &login_cookie(grants), "", Some(0)),
    ];
    for cookie in cookies {
        with_cookie(&mut answer, &cookie);
    }
    answer
}

/// Whether a login form is not one that this browser was shown.
fn is_forged(grants: &Grants, inbound: &Inbound, form: &Form) -> bool {
    let token = Digest::of(form.only("csrf").unwrap_or_default());
    !ManageBrowser::of(grants, inbound).is_some_and(|browser| Digest::of(&browser.csrf()).matches(&token))
}

async fn change(grants: &Grants, inbound: &Inbound, facts: &mut Facts, session: &LiveSession) -> Answer {
    let Some(form) = Form::posted(inbound) else { return problem(grants, inbound, facts, Problem::NotAForm) };
    if !session.csrf_matches(FORM, form.only("csrf").unwrap_or_default()) {
        return problem(grants, inbound, facts, Problem::Forged);
    }
    let done = match (form.only("decision"), form.only("client_id")) {
        (Some("withdraw"), Some(client_id)) => {
            facts.action = Some("access_withdrawn");
            match withdraw(grants, &session.user, client_id).await {
                // What was posted is no app that was on the page: nothing of it goes into the record.
                Ok(false) => return problem(grants, inbound, facts, Problem::NotOffered),
                Ok(true) => {
                    facts.client_id = Some(client_id.to_owned());
                    Ok("/manage?done=withdrawn")
                }
                Err(error) => Err(error),
            }
        }
        (Some("end-others"), _) => {
            facts.action = Some("sessions_ended");
            session::end_others(grants, session).await.map(|_| "/manage?done=ended")
        }
        _ => return problem(grants, inbound, facts, Problem::NotAForm),
    };
    match done {
        Ok(next) => see_other(next),
        Err(StoreError(error)) => {
            tracing::error!(error, "access could not be withdrawn");
            problem(grants, inbound, facts, Problem::StoreUnavailable)
        }
    }
}

/// Ends everything that `user` gave to the app `client_id`. Returns whether there was anything.
async fn withdraw(grants: &Grants, user: &User, client_id: &str) -> Result<bool, StoreError> {
    let (store, now) = (&*grants.store, grants.clock.unix_seconds());
    let of_this =
        |grant: &Grant| grant.client_id == client_id && grant.user.iss == user.iss && grant.user.sub == user.sub;
    let remembered = consents(grants, user).await?.iter().any(|known| known == client_id);
    // The consent first: an app that comes back at once must find the user asked, and what it got just before is looked for after.
    holdings::forget_consents(store, (&user.iss, &user.sub), Some(client_id), now).await?;
    let pending = holdings::pending(store, now).await?;
    let given = holdings::given(store, Some(user_digest(&user.iss, &user.sub)), now).await?;
    let all = pending.into_iter().chain(given.into_iter().map(|given| given.grant));
    let ends: Vec<String> = all.filter(of_this).map(|grant| grant.grant_id).collect();
    for grant_id in &ends {
        revoke(grants, grant_id).await?;
    }
    Ok(remembered || !ends.is_empty())
}

/// The apps for which a consent of the user is remembered.
async fn consents(grants: &Grants, user: &User) -> Result<Vec<String>, StoreError> {
    let (owner, now) = (user_digest(&user.iss, &user.sub), grants.clock.unix_seconds());
    let mut found = Vec::new();
    for (_, entry) in grants.store.list(Kind::Consent, Some(owner), now, MOST).await? {
        let Consent { client_id, .. } = from_json(&entry.value)?;
        found.push(client_id);
    }
    Ok(found)
}

async fn page(grants: &Grants, inbound: &Inbound, session: &LiveSession) -> Result<Answer, StoreError> {
    let user = &session.user;
    let language = Language::accepted(&inbound.headers);
    let t = &language.words().pages;
    let (owner, now) = (user_digest(&user.iss, &user.sub), grants.clock.unix_seconds());
    let mut apps: BTreeMap<String, AppAccess> = BTreeMap::new();
    let mut names: BTreeMap<String, Option<String>> = BTreeMap::new();
    for given in holdings::given(&*grants.store, Some(owner), now).await? {
        let patient = match &given.grant.patient {
            Some(id) => Some(patient(grants, inbound, user, id, &mut names).await),
            None => None,
        };
        app(&mut apps, grants, &given.grant.client_id, t).accesses.push(access(&given, patient, language));
    }
    for client_id in consents(grants, user).await? {
        if !client_id.is_empty() {
            app(&mut apps, grants, &client_id, t);
        }
    }
    let sessions = grants.store.list(Kind::Session, Some(owner), now, MOST).await?.len();
    let mut apps: Vec<AppAccess> = apps.into_values().collect();
    apps.sort_by(|a, b| (a.accesses.is_empty(), &a.name).cmp(&(b.accesses.is_empty(), &b.name)));
    let page = ManagePage {
        frame: Frame::new(&grants.config, language),
        user: &user.display_name,
        csrf: &session.csrf(FORM),
        logout_csrf: &session.csrf(super::logout::FORM),
        provider: super::logout::provider(grants, session).await.map(|(provider, _)| provider.config.name.as_str()),
        apps: &apps,
        others: sessions.saturating_sub(1),
        notice: match inbound.query.as_deref() {
            Some("done=withdrawn") => Some(t.access_was_withdrawn),
            Some("done=ended") => Some(t.signed_out_elsewhere),
            _ => None,
        },
    };
    Ok(render(&page, StatusCode::OK, None))
}

fn app<'a>(
    apps: &'a mut BTreeMap<String, AppAccess>,
    grants: &Grants,
    client_id: &str,
    t: &Pages,
) -> &'a mut AppAccess {
    apps.entry(client_id.to_owned()).or_insert_with(|| {
        let registered = grants.clients.find(client_id);
        let name =
            registered.map_or_else(|| t.not_registered.with(client_id), |client| client.config.client_name.clone());
        AppAccess { client_id: client_id.to_owned(), name, accesses: Vec::new() }
    })
}

fn access(given: &Given, patient: Option<String>, language: Language) -> Access {
    let t = &language.words().pages;
    let Given { grant, expires, last_used } = given;
    let records = grant.scopes.iter().filter(|scope| part(scope) == Part::Records);
    let mut what: Vec<String> = records.map(|scope| item(scope, true, language).title).collect();
    if what.is_empty() {
        what.push(t.know_who_you_are.to_string());
    }
    let lasts = |wanted: &str| grant.scopes.iter().any(|scope| scope == wanted);
    let how_long = if lasts("offline_access") {
        Some(t.while_you_are_away)
    } else if grant.online.is_some() {
        Some(t.while_signed_in)
    } else {
        None
    };
    Access {
        patient,
        what,
        how_long,
        since: day(grant.granted_at, t),
        last_used: last_used.map(|used| day(used, t)),
        until: day(*expires, t),
    }
}

/// The patient's name, as the user may see it; otherwise the id.
async fn patient(
    grants: &Grants,
    inbound: &Inbound,
    user: &User,
    id: &str,
    names: &mut BTreeMap<String, Option<String>>,
) -> String {
    if !names.contains_key(id) && names.len() < NAMED {
        let found = grants.patients.read(user, inbound.peer.ip(), id).await;
        names.insert(id.to_owned(), found.ok().flatten().map(|patient| patient.name));
    }
    names
        .get(id)
        .cloned()
        .flatten()
        .unwrap_or_else(|| Language::accepted(&inbound.headers).words().pages.numbered.with(id))
}

fn login_page(
    grants: &Grants,
    inbound: &Inbound,
    username: &str,
    (status, problem): (StatusCode, Option<Text>),
) -> Answer {
    // The cookie that the browser has goes on: a second tab does not end what began in the first.
    let browser = cookie(&inbound.headers, &login_cookie(grants)).unwrap_or_else(random::handle);
    let page = ManageLoginPage {
        frame: Frame::new(&grants.config, Language::accepted(&inbound.headers)),
        csrf: &login_csrf(&browser),
        username,
        built_in: !grants.config.users.is_empty() || grants.config.providers.is_empty(),
        providers: &grants.config.providers,
        other_account: inbound.query.as_deref() == Some(OTHER_ACCOUNT),
        problem,
    };
    let mut answer = render(&page, status, None);
    with_cookie(&mut answer, &set_cookie(&grants.config, &login_cookie(grants), &browser, Some(LOGIN_LIFETIME)));
    answer
}

/// The cookie that binds the login of this page to the browser.
pub(super) fn login_cookie(grants: &Grants) -> String {
    cookie_name(&grants.config, "manage-login")
}

/// The anti-CSRF token of the login forms, in the browser with this cookie.
pub(super) fn login_csrf(browser: &str) -> String {
    Digest::of(&format!("manage-login\n{browser}")).to_hex()
}

fn with_cookie(answer: &mut Answer, cookie: &str) {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        answer.0.headers_mut().append(SET_COOKIE, cookie);
    }
}

/// `14 November 2026`, in UTC.
fn day(seconds: i64, t: &Pages) -> String {
    let time = Timestamp::from_second(seconds).unwrap_or_default().to_zoned(TimeZone::UTC);
    pages::day(time.date(), t)
}
