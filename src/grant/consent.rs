//! `/consent`: what the person allows the app.
//!
//! Takes the posted form (`scope` per box that is ticked, `only` per part that is ticked instead of a whole scope, `decision`,
//! `transaction`, `csrf`); gives the way back to the app. Promises: what is granted was offered to this session on the page for
//! this user and this patient; every scope for records, and `offline_access`, can be dropped; ticking parts of a scope grants
//! these and never the whole, whether its own box is ticked or not; a choice is remembered per app, user and patient and not asked again while it covers what
//! the app asks. Apps that the site has approved are not asked about, where they can prove who they are. Scopes that would not fit into one access token are never
//! granted and are named. SMART App Launch 2.2 "user choice"; RFC 6749 section 10.12 for the anti-CSRF token.

use http::StatusCode;

use super::authorization_response::AuthorizationError;
use super::categories::parts;
use super::continuation::{self, Halt, Known, Who, complete, grant, halted, onward, posted_for, problem};
use super::facts::Facts;
use super::form::Form;
use super::pages::{ConsentPage, Frame, Item, Problem, destination, render};
use super::records::{self, Transaction};
use super::scope_words::{Part, item, part};
use super::session::LiveSession;
use super::token_response::fits;
use super::transaction::OpenTransaction;
use super::{Answer, Grants, PatientSummary};
use crate::config::{Client, ClientAuthentication};
use crate::listen::Inbound;
use crate::secret::Digest;
use crate::smart::scope::Scope;
use crate::store::{Entry, Kind, StoreError};

/// Seconds a choice is remembered: half a year.
const REMEMBERED: i64 = 182 * 24 * 60 * 60;

const DENIED: Halt = Halt::Return(AuthorizationError::AccessDenied, "the user denied the request");
const NOTHING: Halt = Halt::Return(AuthorizationError::AccessDenied, "the user allowed access to no records");

/// What a transaction with user and patient leads to.
#[derive(Debug)]
pub(super) enum Settled {
    /// The person has to be asked.
    Page(Answer),
    /// Allowed already.
    Scopes(Vec<String>),
}

/// Decides whether the person has to be asked.
pub(super) async fn settle(
    grants: &Grants,
    client: &Client,
    open: &mut OpenTransaction,
    session: Option<&LiveSession>,
    known: &Known,
) -> Result<Settled, Halt> {
    let (fitting, too_many) = fitting(grants, &open.state, known);
    if !open.state.prompt_consent && too_many.is_empty() {
        if client.approved && proves_who_it_is(client, &open.state) {
            return Ok(Settled::Scopes(fitting));
        }
        if identity_is_assured(client, &open.state)
            && let Some(consent) = remembered(grants, &open.state, known).await?
            && let Some(scopes) = covered(&consent, &fitting)
        {
            return Ok(Settled::Scopes(scopes));
        }
    }
    if open.state.prompt_none {
        return Err(Halt::Return(AuthorizationError::ConsentRequired, "the user has to be asked for consent"));
    }
    open.state.offered_parts = fitting_parts(grants, &open.state, known, &fitting);
    open.state.offered_scopes = fitting;
    open.save(grants).await.map_err(Halt::Page)?;
    let patient = named_patient(grants, open, known).await?;
    let csrf = open.csrf(session_of(&open.state, session));
    Ok(Settled::Page(page(
        grants,
        client,
        open,
        known,
        &Shown { patient: patient.as_ref(), too_many: &too_many, csrf: &csrf },
    )))
}

/// Answers `POST /consent`.
pub async fn respond(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Answer {
    facts.action = Some("consent");
    let (form, mut open, session) = match posted_for(grants, inbound).await {
        Ok(found) => found,
        Err(found) => return problem(grants, inbound, facts, found),
    };
    facts.transaction(&open.state);
    let token = form.only("csrf").unwrap_or_default();
    if !open.csrf_matches(session_of(&open.state, session.as_ref()), token) {
        return problem(grants, inbound, facts, Problem::Forged);
    }
    let Who::Known(known) = continuation::who(&open.state, session.as_ref(), grants.clock.unix_seconds()) else {
        return problem(grants, inbound, facts, Problem::Forged);
    };
    let result = decide(grants, facts, &mut open, known, &form).await;
    facts.transaction(&open.state);
    match result {
        Ok(answer) => answer,
        Err(halt) => halted(grants, inbound, facts, &open, halt).await,
    }
}

async fn decide(
    grants: &Grants,
    facts: &mut Facts,
    open: &mut OpenTransaction,
    known: Known,
    form: &Form,
) -> Result<Answer, Halt> {
    if open.state.offered_scopes.is_empty() {
        return Err(Halt::Page(Problem::NotOffered));
    }
    match form.only("decision") {
        Some("allow") => {}
        Some("deny") => return Err(DENIED),
        Some("switch") if may_switch(&open.state) => {
            continuation::forget_choices(&mut open.state);
            open.state.user = None;
            open.state.prompt_login = true;
            open.state.login_hint = None;
            open.save(grants).await.map_err(Halt::Page)?;
            return Ok(onward(open));
        }
        Some(_) | None => return Err(Halt::Page(Problem::NotAForm)),
    }
    let chosen = chosen(&open.state, form)?;
    let client = continuation::client(grants, &open.state).map_err(Halt::Page)?;
    if !client.config.unverified {
        remember(grants, &open.state, &known, &chosen).await.map_err(|_| Halt::Page(Problem::StoreUnavailable))?;
    }
    complete(grants, facts, open, known, chosen).await
}

/// The offered scopes that were ticked, or the parts that were ticked instead, and those that come with the rest.
fn chosen(state: &Transaction, form: &Form) -> Result<Vec<String>, Halt> {
    let ticked: Vec<&str> = form.all("scope").collect();
    let instead: Vec<&str> = form.all("only").collect();
    let offered = |scopes: &[String], posted: &[&str]| posted.iter().all(|scope| scopes.iter().any(|o| o == scope));
    if !offered(&state.offered_scopes, &ticked) || !offered(&state.offered_parts, &instead) {
        return Err(Halt::Page(Problem::NotOffered));
    }
    let mut chosen: Vec<String> = Vec::new();
    for scope in &state.offered_scopes {
        let mut allowed: Vec<String> = parts(scope);
        allowed.retain(|part| instead.contains(&part.as_str()));
        if allowed.is_empty() && (part(scope) == Part::Context || ticked.contains(&scope.as_str())) {
            allowed.push(scope.clone());
        }
        allowed.retain(|scope| !chosen.contains(scope));
        chosen.append(&mut allowed);
    }
    if has_records(&state.offered_scopes) && !has_records(&chosen) { Err(NOTHING) } else { Ok(chosen) }
}

fn has_records(scopes: &[String]) -> bool {
    scopes.iter().any(|scope| part(scope) == Part::Records)
}

/// The scopes that fit into one access token, in the order asked, and those that do not.
fn fitting(grants: &Grants, state: &Transaction, known: &Known) -> (Vec<String>, Vec<String>) {
    let fits = |scopes: &[String]| fits(grants, &grant(grants, state, known, scopes.to_vec())).is_ok();
    let scopes = state.scopes.as_slice();
    if fits(scopes) {
        return (scopes.to_vec(), Vec::new());
    }
    // The first of all prefixes, from the shortest, that is too long.
    let lengths: Vec<usize> = (1..=scopes.len()).collect();
    let count = lengths.partition_point(|length| scopes.get(..*length).is_some_and(fits));
    scopes.split_at_checked(count).map_or_else(Default::default, |(fit, rest)| (fit.to_vec(), rest.to_vec()))
}

/// The parts that may be allowed instead of whole scopes. A scope has none where the others give the whole anyway, or where a
/// token could not hold all of its parts: so whatever is ticked fits.
fn fitting_parts(grants: &Grants, state: &Transaction, known: &Known, offered: &[String]) -> Vec<String> {
    let mut longest = offered.to_vec();
    let mut fitting = Vec::new();
    for scope in offered {
        let parts = parts(scope);
        let others: Vec<Scope> =
            offered.iter().filter(|other| *other != scope).map(|other| Scope::parse(other)).collect();
        if parts.is_empty() || Scope::parse(scope).is_covered_by(&others) {
            continue;
        }
        let with_parts: Vec<String> = longest.iter().filter(|other| *other != scope).chain(&parts).cloned().collect();
        if fits(grants, &grant(grants, state, known, with_parts.clone())).is_ok() {
            longest = with_parts;
            fitting.extend(parts);
        }
    }
    fitting
}

/// Whether the app proves who it is, and somebody has looked at whose it is.
fn identity_is_assured(client: &Client, state: &Transaction) -> bool {
    proves_who_it_is(client, state) && !client.unverified
}

/// Whether the redirect URI or the client's credentials prove who the app is. Any app on a device can claim a scheme of its own or
/// listen on a loopback port, so a public client there is asked about each time (RFC 8252 sections 8.3 and 8.6).
fn proves_who_it_is(client: &Client, state: &Transaction) -> bool {
    state.redirect_uri.starts_with("https://") || !matches!(client.authentication, ClientAuthentication::None)
}

/// A user of another account cannot take over what an EHR launched for this one.
fn may_switch(state: &Transaction) -> bool {
    state.launch.as_ref().is_none_or(|launch| launch.user.is_none())
}

/// The session that the anti-CSRF token is bound to: none for a user the EHR vouches for, who has none.
fn session_of<'a>(state: &Transaction, session: Option<&'a LiveSession>) -> Option<&'a LiveSession> {
    let vouched = state.launch.as_ref().is_some_and(|launch| launch.vouches && launch.user.is_some());
    session.filter(|_| !vouched)
}

async fn named_patient(grants: &Grants, open: &OpenTransaction, known: &Known) -> Result<Option<PatientSummary>, Halt> {
    let Some(id) = &open.state.patient else { return Ok(None) };
    let found = grants.patients.read(&known.user, open.from, id).await?;
    found.map(Some).ok_or(Halt::Return(AuthorizationError::AccessDenied, "the patient is not available to the user"))
}

fn consent_key(state: &Transaction, known: &Known) -> Digest {
    let patient = state.patient.as_deref().unwrap_or_default();
    let parts = [state.client_id.as_str(), &known.user.iss, &known.user.sub, patient];
    // Lengths in front, so that no two lists of parts read alike.
    Digest::of(&parts.map(|part| format!("{}:{part}", part.len())).concat())
}

async fn remembered(grants: &Grants, state: &Transaction, known: &Known) -> Result<Option<records::Consent>, Halt> {
    let now = grants.clock.unix_seconds();
    let entry = grants
        .store
        .read(Kind::Consent, consent_key(state, known), now)
        .await
        .map_err(|_| Halt::Page(Problem::StoreUnavailable))?;
    Ok(entry.and_then(|entry| serde_json::from_slice(&entry.value).ok()))
}

/// What was allowed then of what is asked now; `None` when something was not asked then, or nothing would be left.
fn covered(consent: &records::Consent, asked: &[String]) -> Option<Vec<String>> {
    let all_asked_then = asked.iter().all(|scope| consent.offered.contains(scope));
    let mut allowed: Vec<String> = Vec::new();
    for scope in asked {
        let granted = |scope: &String| consent.granted.contains(scope);
        let mut then = if granted(scope) { vec![scope.clone()] } else { parts(scope) };
        then.retain(|scope| granted(scope) && !allowed.contains(scope));
        allowed.append(&mut then);
    }
    let something_left = !allowed.is_empty() && (has_records(&allowed) || !has_records(asked));
    (all_asked_then && something_left).then_some(allowed)
}

/// Adds this answer to those that were given before: an app may ask for different things at different times.
async fn remember(grants: &Grants, state: &Transaction, known: &Known, chosen: &[String]) -> Result<(), StoreError> {
    let now = grants.clock.unix_seconds();
    let key = consent_key(state, known);
    let before = grants.store.read(Kind::Consent, key, now).await?;
    let before: Option<records::Consent> = before.and_then(|entry| serde_json::from_slice(&entry.value).ok());
    let (mut granted, mut offered) = before.map_or_else(Default::default, |before| (before.granted, before.offered));
    granted.retain(|scope| !state.offered_scopes.iter().any(|whole| whole == scope || parts(whole).contains(scope)));
    granted.extend(chosen.iter().cloned());
    offered.retain(|scope| !state.offered_scopes.contains(scope));
    offered.extend(state.offered_scopes.iter().cloned());
    let client_id = state.client_id.clone();
    let consent = records::Consent { client_id, granted, offered, given_at: now };
    let value = serde_json::to_vec(&consent).map_err(|error| StoreError(error.to_string()))?;
    let owner = Some(super::grants::user_digest(&known.user.iss, &known.user.sub));
    grants.store.put(Kind::Consent, key, Entry { value, expires: now.saturating_add(REMEMBERED), owner }).await
}

/// What the page shows besides the transaction.
struct Shown<'a> {
    patient: Option<&'a PatientSummary>,
    too_many: &'a [String],
    csrf: &'a str,
}

fn page(grants: &Grants, client: &Client, open: &OpenTransaction, known: &Known, shown: &Shown<'_>) -> Answer {
    let items = |wanted: Part| -> Vec<Item> {
        open.state.offered_scopes.iter().filter(|scope| part(scope) == wanted).map(|scope| whole(open, scope)).collect()
    };
    let page = ConsentPage {
        frame: Frame::new(&grants.config, open.language),
        app: &client.client_name,
        user: &known.user.display_name,
        patient: shown.patient,
        transaction: &open.handle,
        csrf: shown.csrf,
        records: &items(Part::Records),
        offline: &items(Part::Offline),
        context: &items(Part::Context),
        too_many: shown.too_many,
        destination: &destination(&open.state.redirect_uri, open.language),
        may_switch: may_switch(&open.state),
        unverified: client.unverified,
    };
    render(&page, StatusCode::OK, Some(&open.state.redirect_uri))
}

/// A scope as the page offers it: its own box ticked, those of its parts not.
fn whole(open: &OpenTransaction, scope: &str) -> Item {
    let mut parts = parts(scope);
    parts.retain(|part| open.state.offered_parts.contains(part));
    let item = |scope: &str, chosen| item(scope, chosen, open.language);
    Item { parts: parts.iter().map(|part| item(part, false)).collect(), ..item(scope, true) }
}

#[cfg(test)]
mod tests;
