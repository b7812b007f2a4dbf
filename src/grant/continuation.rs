//! `/authorize/continue`: what is still missing of a transaction, in order: a user, a patient, an encounter, consent.
//!
//! Takes a transaction and the browser's session; gives the next page, or the way back to the app. Each form of the grant
//! path changes the transaction and comes back here by a redirect, so every step is decided in this one place and pages may
//! be reloaded. Promises: a code is issued only when user, patient and scopes are all settled, and once per transaction.

use std::sync::Arc;

use http::Method;
use http::header::{HeaderValue, SET_COOKIE};
use serde_json::Value;

use super::authorization_response::{AuthorizationError, ReturnAddress, see_other};
use super::facts::Facts;
use super::form::Form;
use super::grants::{issue_code, new_grant_id, user_today};
use super::pages::{Language, Problem};
use super::provider_login::Way;
use super::records::{Code, Grant, LaunchContext, Online, Transaction, User};
use super::scope_negotiation::needs_patient;
use super::session::{self, LiveSession};
use super::transaction::OpenTransaction;
use super::{Answer, DirectoryError, Grants, consent, login, patient_choice, provider_login};
use crate::admit::Presenter;
use crate::clients::RegisteredClient;
use crate::config::FhirContextForm;
use crate::federation::RelyingParty;
use crate::listen::Inbound;
use crate::smart::scope::Scope;

/// Why a step ends without a page of its own.
#[derive(Debug)]
pub(super) enum Halt {
    /// A page of ours with an error.
    Page(Problem<'static>),
    /// The patient directory failed: 503, with a link that tries again.
    Directory,
    /// The app is told.
    Return(AuthorizationError, &'static str),
}

impl From<DirectoryError> for Halt {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::Refused => {
                Self::Return(AuthorizationError::AccessDenied, "the user may not look up patients")
            }
            DirectoryError::Unavailable => Self::Directory,
        }
    }
}

/// A person who is known, and since when.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) user: User,
    pub(super) auth_time: i64,
    /// Digest (hex) of the session and its end; `None` for a user the EHR vouches for, who has none.
    pub(super) session: Option<Online>,
}

impl From<&LiveSession> for Known {
    fn from(session: &LiveSession) -> Self {
        Self { user: session.user.clone(), auth_time: session.auth_time, session: Some(session.online()) }
    }
}

/// Who is in front of the browser, as far as this transaction is concerned.
#[derive(Debug)]
pub(super) enum Who {
    /// Settled.
    Known(Known),
    /// Nobody, or not freshly enough.
    Nobody,
    /// Somebody else than the launch names.
    Other,
}

/// Answers `GET /authorize/continue`.
pub async fn respond(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Answer {
    facts.action = Some("authorization_continued");
    if inbound.method != Method::GET {
        return problem(grants, inbound, facts, Problem::MethodNotAllowed("GET"));
    }
    let query = inbound.query.as_deref().unwrap_or_default();
    let Some(form) = Form::parse(query.as_bytes()) else { return problem(grants, inbound, facts, Problem::NotAForm) };
    match opened(grants, inbound, form.only("transaction")).await {
        Ok((open, session)) => {
            let surplus = open.unbinding_others(&grants.config, &inbound.headers);
            let mut answer = proceed(grants, inbound, facts, open, session).await;
            for cookie in surplus.iter().filter_map(|cookie| HeaderValue::from_str(cookie).ok()) {
                answer.0.headers_mut().append(SET_COOKIE, cookie);
            }
            answer
        }
        Err(found) => problem(grants, inbound, facts, found),
    }
}

/// The form that was posted.
pub(super) fn posted(inbound: &Inbound) -> Result<Form, Problem<'static>> {
    if inbound.method != Method::POST {
        return Err(Problem::MethodNotAllowed("POST"));
    }
    Form::posted(inbound).ok_or(Problem::NotAForm)
}

/// The form that was posted, the transaction that it names, and the session of the browser.
pub(super) async fn posted_for(
    grants: &Grants,
    inbound: &Inbound,
) -> Result<(Form, OpenTransaction, Option<LiveSession>), Problem<'static>> {
    let form = posted(inbound)?;
    let (open, session) = opened(grants, inbound, form.only("transaction")).await?;
    Ok((form, open, session))
}

/// The transaction that `handle` names and the session of the browser.
pub(super) async fn opened(
    grants: &Grants,
    inbound: &Inbound,
    handle: Option<&str>,
) -> Result<(OpenTransaction, Option<LiveSession>), Problem<'static>> {
    let open = OpenTransaction::resume(grants, handle, inbound).await?;
    if !stands(grants, &open.state) {
        return Err(Problem::NoTransaction);
    }
    if open.state.embedded() {
        return Ok((open, None));
    }
    let session = session::resume(grants, &inbound.headers).await.map_err(|_| Problem::StoreUnavailable)?;
    Ok((open, session))
}

/// Whether who is known to the transaction itself may act here today: for a user that an EHR logged in, it must still be one that
/// may. Whom a session knows is looked at when that is resumed.
fn stands(grants: &Grants, state: &Transaction) -> bool {
    let launch = state.launch.as_ref();
    let vouched = launch.filter(|launch| launch.vouches).and_then(|launch| launch.user.as_ref());
    let logged_in_here = state.user.as_ref().filter(|_| state.embedded());
    vouched.or(logged_in_here).is_none_or(|user| user_today(grants, user, launch).is_some())
}

/// A page of ours with an error.
pub(super) fn problem(grants: &Grants, inbound: &Inbound, facts: &mut Facts, problem: Problem<'_>) -> Answer {
    facts.reason = Some(problem.reason());
    let language = facts.language.unwrap_or_else(|| Language::accepted(&inbound.headers));
    problem.page(&grants.config, language, &inbound.request_id)
}

/// Ends the transaction with an error for the app. Of an app that nobody of this site has looked at, the person is told instead
/// where no form of theirs led here: a session alone is no answer (RFC 9700 section 4.11.2). So they are when the app, or its
/// address, is registered no more.
pub(super) async fn give_up(
    grants: &Grants,
    inbound: &Inbound,
    facts: &mut Facts,
    open: &OpenTransaction,
    (error, description): (AuthorizationError, &str),
) -> Answer {
    facts.transaction(&open.state);
    if let Err(found) = open.finish(grants).await {
        return problem(grants, inbound, facts, found);
    }
    facts.reason = Some(error.code());
    let answer = match client(grants, &open.state) {
        Err(found) => problem(grants, inbound, facts, found),
        Ok(client) if client.config.unverified && inbound.method == Method::GET => {
            Problem::UnverifiedApp(description).page(&grants.config, open.language, &inbound.request_id)
        }
        Ok(_) => ReturnAddress::from(&open.state).error(&grants.config, error, description),
    };
    unbound(grants, open, answer)
}

/// Who is in front of the browser. A user the EHR vouches for is logged in for this launch alone: the browser's own session,
/// if it has one, is neither used nor changed.
pub(super) fn who(state: &Transaction, session: Option<&LiveSession>, now: i64) -> Who {
    if let Some(launch) = &state.launch
        && launch.vouches
        && let Some(user) = &launch.user
    {
        return Who::Known(Known { user: user.clone(), auth_time: launch.created, session: None });
    }
    if state.embedded() {
        return logged_in_here(state);
    }
    let Some(session) = session else { return Who::Nobody };
    if let Some(named) = state.launch.as_ref().and_then(|launch| launch.user.as_ref())
        && !same(named, &session.user)
    {
        return Who::Other;
    }
    match &state.user {
        // Settled earlier; the browser may have changed its session since.
        Some(settled) if same(settled, &session.user) => {}
        Some(_) => return Who::Nobody,
        None => {
            let too_old = state.max_age.is_some_and(|max_age| now.saturating_sub(session.auth_time) > max_age);
            if state.prompt_login || too_old {
                return Who::Nobody;
            }
        }
    }
    Who::Known(Known::from(session))
}

/// In a frame a login holds for its transaction alone; login.rs settles no other user than the launch names.
fn logged_in_here(state: &Transaction) -> Who {
    match (&state.user, state.auth_time) {
        (Some(user), Some(auth_time)) => Who::Known(Known { user: user.clone(), auth_time, session: None }),
        (_, _) => Who::Nobody,
    }
}

/// A user is (iss, sub).
pub(super) fn same(a: &User, b: &User) -> bool {
    a.iss == b.iss && a.sub == b.sub
}

/// Settles the user of a transaction. What was chosen as somebody else is forgotten.
pub(super) fn settle(state: &mut Transaction, known: &Known) {
    if state.user.as_ref().is_some_and(|before| !same(before, &known.user)) {
        forget_choices(state);
    }
    state.user = Some(known.user.clone());
    state.auth_time = Some(known.auth_time);
}

/// Forgets what was chosen and offered on the way.
pub(super) fn forget_choices(state: &mut Transaction) {
    state.patient = None;
    state.encounter = None;
    state.offered_patients.clear();
    state.offered_encounters.clear();
    state.offered_scopes.clear();
}

/// The client of a transaction, when it is still registered, with the address that the transaction goes back to: both may have
/// been taken away since it began.
pub(super) fn client(grants: &Grants, state: &Transaction) -> Result<Arc<RegisteredClient>, Problem<'static>> {
    let client = grants.clients.find(&state.client_id).ok_or(Problem::UnknownClient)?;
    if client.has_redirect_uri(&state.redirect_uri) { Ok(client) } else { Err(Problem::UnknownRedirectUri) }
}

/// The next page, or the way back.
pub(super) async fn proceed(
    grants: &Grants,
    inbound: &Inbound,
    facts: &mut Facts,
    mut open: OpenTransaction,
    session: Option<LiveSession>,
) -> Answer {
    let result = step(grants, inbound, &mut open, session.as_ref(), facts).await;
    facts.transaction(&open.state);
    match result {
        Ok(answer) => answer,
        Err(halt) => halted(grants, inbound, facts, &open, halt).await,
    }
}

/// Turns a halt into an answer.
pub(super) async fn halted(
    grants: &Grants,
    inbound: &Inbound,
    facts: &mut Facts,
    open: &OpenTransaction,
    halt: Halt,
) -> Answer {
    match halt {
        Halt::Page(found) => problem(grants, inbound, facts, found),
        Halt::Directory => problem(grants, inbound, facts, Problem::DirectoryUnavailable(&open.path())),
        Halt::Return(error, description) => give_up(grants, inbound, facts, open, (error, description)).await,
    }
}

async fn step(
    grants: &Grants,
    inbound: &Inbound,
    open: &mut OpenTransaction,
    session: Option<&LiveSession>,
    facts: &mut Facts,
) -> Result<Answer, Halt> {
    let client = client(grants, &open.state).map_err(Halt::Page)?;
    let client = &client.config;
    let known = match who(&open.state, session, grants.clock.unix_seconds()) {
        Who::Known(known) => known,
        Who::Nobody | Who::Other if open.state.prompt_none => {
            return Err(Halt::Return(AuthorizationError::LoginRequired, "nobody is logged in who could answer"));
        }
        Who::Nobody => {
            return match only_way_in(grants) {
                Some(provider) => {
                    // Each of these is written to the store before anybody is known.
                    let admitted = grants.login.admit_request(Presenter::new(inbound.peer.ip(), false));
                    admitted.map_err(|seconds| Halt::Page(Problem::TooMany(seconds)))?;
                    let from = (&*open, session);
                    Ok(provider_login::send(grants, inbound, facts, from, provider, Way::Redirect).await)
                }
                None => Ok(login::page(grants, client, open)),
            };
        }
        Who::Other => return Ok(login::page_for_other(grants, client, open)),
    };
    let before = serde_json::to_vec(&open.state).ok();
    settle(&mut open.state, &known);
    let page = patient_choice::settle(grants, client, open, &known.user, None).await?;
    if serde_json::to_vec(&open.state).ok() != before {
        open.save(grants).await.map_err(Halt::Page)?;
    }
    if let Some(page) = page {
        return Ok(page);
    }
    match consent::settle(grants, client, open, session, &known).await? {
        consent::Settled::Page(page) => Ok(page),
        consent::Settled::Scopes(scopes) => complete(grants, facts, open, known, scopes).await,
    }
}

/// The provider that everybody logs in with, when there is one and nobody has a password here.
fn only_way_in(grants: &Grants) -> Option<&Arc<RelyingParty>> {
    let mut providers = grants.providers.iter();
    let first = providers.next().filter(|_| grants.config.users.is_empty());
    first.filter(|_| providers.next().is_none())
}

/// Issues the code and goes back to the app.
pub(super) async fn complete(
    grants: &Grants,
    facts: &mut Facts,
    open: &mut OpenTransaction,
    known: Known,
    scopes: Vec<String>,
) -> Result<Answer, Halt> {
    if scopes.is_empty() {
        return Err(Halt::Return(AuthorizationError::AccessDenied, "nothing was allowed"));
    }
    open.finish(grants).await.map_err(Halt::Page)?;
    open.state.scopes.clone_from(&scopes);
    let state = &open.state;
    let grant = grant(grants, state, &known, scopes);
    let grant_id = grant.grant_id.clone();
    let code = Code {
        grant,
        redirect_uri: state.redirect_uri.clone(),
        code_challenge: state.code_challenge.clone(),
        nonce: state.nonce.clone(),
        dpop_jkt: state.dpop_jkt.clone(),
    };
    let to = ReturnAddress::from(state);
    let answer = if let Ok(code) = issue_code(grants, code).await {
        facts.action = Some("authorized");
        facts.grant_id = Some(grant_id);
        to.code(&grants.config, &code)
    } else {
        let error = AuthorizationError::TemporarilyUnavailable;
        facts.reason = Some(error.code());
        to.error(&grants.config, error, "the authorization code cannot be stored now")
    };
    Ok(unbound(grants, open, answer))
}

/// The grant of these scopes, under a new id.
pub(super) fn grant(grants: &Grants, state: &Transaction, known: &Known, scopes: Vec<String>) -> Grant {
    // The patient of an EHR launch belongs to the scope `launch`; a patient that was chosen here was asked for.
    let in_context = needs_patient(&scopes) || has_launch(&scopes);
    let granted = |wanted: &Scope| scopes.iter().any(|scope| Scope::parse(scope) == *wanted);
    let online = (granted(&Scope::OnlineAccess) && !granted(&Scope::OfflineAccess)).then(|| {
        let lifetime = i64::try_from(grants.config.tokens.session.as_secs()).unwrap_or(i64::MAX);
        let launch_alone = || Online { session: None, ends: known.auth_time.saturating_add(lifetime) };
        known.session.clone().unwrap_or_else(launch_alone)
    });
    Grant {
        grant_id: new_grant_id(),
        client_id: state.client_id.clone(),
        user: known.user.clone(),
        scopes,
        patient: state.patient.clone().filter(|_| in_context),
        encounter: state.encounter.clone().filter(|_| in_context),
        launch: state.launch.clone().map(|launch| as_the_app_reads_it(grants, launch)),
        auth_time: known.auth_time,
        granted_at: grants.clock.unix_seconds(),
        online,
        details: state.details,
    }
}

/// The context in the form that the app reads. Before SMART 2.1 `fhirContext` was a list of relative references as strings: what
/// cannot be said so is left out.
fn as_the_app_reads_it(grants: &Grants, mut launch: LaunchContext) -> LaunchContext {
    let client = grants.clients.find(&launch.client_id);
    match client.map(|client| client.config.fhir_context_form).unwrap_or_default() {
        FhirContextForm::Objects => {}
        FhirContextForm::Strings => {
            let reference = |entry: &Value| entry.get("reference").and_then(Value::as_str).map(str::to_owned);
            let mut references: Vec<String> = launch.fhir_context.iter().filter_map(reference).collect();
            references.retain(|reference| !reference.starts_with("Patient/") && !reference.starts_with("Encounter/"));
            references.dedup();
            launch.fhir_context = references.into_iter().map(Value::String).collect();
        }
    }
    launch
}

/// Whether the scopes ask for the context of an EHR launch.
fn has_launch(scopes: &[String]) -> bool {
    scopes.iter().any(|scope| Scope::parse(scope) == Scope::Launch)
}

/// Back to the one place that decides what comes next.
pub(super) fn onward(open: &OpenTransaction) -> Answer {
    see_other(&open.path())
}

fn unbound(grants: &Grants, open: &OpenTransaction, mut answer: Answer) -> Answer {
    if let Ok(cookie) = HeaderValue::from_str(&open.unbinding(&grants.config)) {
        answer.0.headers_mut().append(SET_COOKIE, cookie);
    }
    answer
}
