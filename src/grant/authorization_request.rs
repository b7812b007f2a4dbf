//! The parameters of an authorization request, checked.
//!
//! Takes the decoded parameters; gives an [`AuthorizationRequest`] in which nothing is left to doubt but the person's
//! answers, or tells how it is refused. Promises: while client and redirect URI are not verified nothing is sent anywhere
//! ([`Refused::Page`]); afterwards every refusal is a redirect with an error. Unknown parameters are ignored. Does not touch
//! the store: the launch handle is returned, not spent. SMART App Launch 2.2 "obtain authorization code", RFC 6749 sections
//! 3.1 and 4.1.1, RFC 7636, RFC 8707, RFC 9396, OpenID Connect Core section 3.1.2.1.

use std::sync::Arc;

use super::authorization_response::{AuthorizationError, ReturnAddress};
use super::form::Form;
use super::pages::{Language, Problem};
use super::records::Transaction;
use super::scope_negotiation::{NegotiationError, negotiate};
use super::{Grants, authorization_details};
use crate::clients::{Clients, RegisteredClient};
use crate::config::{Client, Config, Dpop, GrantType};
use crate::jose::dpop::Thumbprint;
use crate::oauth::pkce::is_challenge;
use crate::smart::scope::Scope;

/// Bytes of `state` that are carried along.
const MAX_STATE: usize = 4096;
/// Bytes of `nonce` and `login_hint` that are carried along.
const MAX_HINT: usize = 512;

/// A request that may be put before a person.
#[derive(Debug)]
pub(super) struct AuthorizationRequest {
    /// Ready to be stored, once the launch context is filled in.
    pub(super) transaction: Transaction,
    /// The `launch` handle of an EHR launch, not yet spent.
    pub(super) launch: Option<String>,
}

/// How a request is refused.
#[derive(Debug)]
pub(super) enum Refused {
    /// On a page of ours: there is no verified address to return to.
    Page(Problem<'static>),
    /// By a redirect.
    Redirect {
        redirect_uri: String,
        state: Option<String>,
        error: AuthorizationError,
        description: String,
        /// Nobody of this site has looked at the client: no browser is sent there before a person has answered (RFC 9700
        /// section 4.11.2), so whoever registers here gets no way to redirect from our address to theirs.
        unverified: bool,
    },
}

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// With the browser.
    Direct,
    /// From the client itself, before any browser (RFC 9126).
    Pushing,
    /// It was pushed, and now the browser came.
    Pushed,
}

/// Checks everything that can be checked without the store.
pub(super) fn check(grants: &Grants, form: &Form, arrival: Arrival) -> Result<AuthorizationRequest, Refused> {
    let (client, redirect_uri) = verified_client(&grants.clients, form).map_err(Refused::Page)?;
    // A doubled `state` is not returned: which of the two would it be?
    let state = form.only("state").filter(|state| !state.is_empty() && state.len() <= MAX_STATE);
    let checked = check_arrival(&grants.config, &client.config, form, arrival)
        .and_then(|()| check_for(&grants.config, &client.config, redirect_uri, state, form));
    checked.map_err(|(error, description)| Refused::Redirect {
        redirect_uri: redirect_uri.to_owned(),
        state: state.map(str::to_owned),
        error,
        description,
        unverified: client.config.unverified,
    })
}

/// The registered client and its redirect URI (RFC 9700 section 2.1: compared exactly).
fn verified_client<'a>(
    clients: &Clients,
    form: &'a Form,
) -> Result<(Arc<RegisteredClient>, &'a str), Problem<'static>> {
    let client_id = form.only("client_id").ok_or(Problem::UnknownClient)?;
    let client = clients.find(client_id).ok_or(Problem::UnknownClient)?;
    let config = &client.config;
    if config.ehr.is_some() || !config.grant_types.contains(&GrantType::AuthorizationCode) {
        return Err(Problem::UnknownClient);
    }
    let redirect_uri = form.only("redirect_uri").ok_or(Problem::UnknownRedirectUri)?;
    if client.has_redirect_uri(redirect_uri) { Ok((client, redirect_uri)) } else { Err(Problem::UnknownRedirectUri) }
}

type Flaw = (AuthorizationError, String);

fn flaw(error: AuthorizationError, description: &str) -> Flaw {
    (error, description.to_owned())
}

fn invalid(description: &str) -> Flaw {
    flaw(AuthorizationError::InvalidRequest, description)
}

/// RFC 9126 sections 4 and 6, and that no other `request_uri` is known.
fn check_arrival(config: &Config, client: &Client, form: &Form, arrival: Arrival) -> Result<(), Flaw> {
    if form.only("request").is_some() {
        return Err(flaw(AuthorizationError::RequestNotSupported, "request objects are not supported"));
    }
    if form.only("request_uri").is_some() {
        let description = "the only request_uri that is supported is one of a pushed authorization request";
        return Err(flaw(AuthorizationError::RequestUriNotSupported, description));
    }
    let must_be_pushed =
        client.require_pushed_authorization_requests || config.tokens.require_pushed_authorization_requests;
    match arrival {
        Arrival::Direct if must_be_pushed => Err(invalid("the request must be pushed, and named by its request_uri")),
        Arrival::Direct | Arrival::Pushing | Arrival::Pushed => Ok(()),
    }
}

fn check_for(
    config: &Config,
    client: &Client,
    redirect_uri: &str,
    state: Option<&str>,
    form: &Form,
) -> Result<AuthorizationRequest, Flaw> {
    if form.has_repeated() {
        return Err(invalid("a parameter occurs more than once"));
    }
    let state = state.ok_or_else(|| invalid("the parameter state is required, with 1 to 4096 bytes"))?;
    check_response_type(form)?;
    check_audience(config, form)?;
    let code_challenge = code_challenge(form)?;
    let prompt = prompt(form)?;
    if prompt.none && client.unverified {
        return Err(flaw(AuthorizationError::ConsentRequired, "an app that is not verified is always asked about"));
    }
    let max_age = max_age(form)?;
    let scopes = scopes(client, form)?;
    let launch = launch(client, &scopes, form)?;
    let details = authorization_details::asked(config, form.only(authorization_details::PARAMETER));
    Ok(AuthorizationRequest {
        transaction: Transaction {
            client_id: client.client_id.clone(),
            redirect_uri: redirect_uri.to_owned(),
            state: state.to_owned(),
            scopes,
            code_challenge,
            nonce: short(form, "nonce")?,
            prompt_none: prompt.none,
            prompt_consent: prompt.consent,
            prompt_login: prompt.login,
            max_age,
            login_hint: short(form, "login_hint")?,
            language: form.only("ui_locales").and_then(Language::of_ui_locales),
            dpop_jkt: dpop_jkt(client, form)?,
            details: details.map_err(|expected| flaw(AuthorizationError::InvalidAuthorizationDetails, expected))?,
            ..Transaction::default()
        },
        launch,
    })
}

fn check_response_type(form: &Form) -> Result<(), Flaw> {
    match form.only("response_type") {
        Some("code") => {}
        None | Some("") => return Err(invalid("the parameter response_type is required: code")),
        Some(_) => {
            return Err(flaw(AuthorizationError::UnsupportedResponseType, "the only supported response_type is code"));
        }
    }
    match form.only("response_mode") {
        None | Some("query") => Ok(()),
        Some(_) => Err(invalid("the only supported response_mode is query")),
    }
}

/// `aud` (SMART) and each `resource` (RFC 8707) must be our FHIR base, and one of them must be there.
fn check_audience(config: &Config, form: &Form) -> Result<(), Flaw> {
    let aud = form.only("aud").filter(|value| !value.is_empty());
    let resources: Vec<&str> = form.all("resource").filter(|value| !value.is_empty()).collect();
    match aud {
        None if resources.is_empty() => {
            Err(invalid("the parameter aud is required: the FHIR base URL the token is for"))
        }
        Some(aud) if !resources.iter().all(|resource| plain(resource) == plain(aud)) => {
            Err(flaw(AuthorizationError::InvalidTarget, "aud and resource name different servers"))
        }
        Some(aud) if !is_fhir_base(config, aud) => Err(invalid("aud is not the FHIR base URL of this server")),
        None if !resources.iter().all(|resource| is_fhir_base(config, resource)) => {
            Err(flaw(AuthorizationError::InvalidTarget, "resource is not the FHIR base URL of this server"))
        }
        _ => Ok(()),
    }
}

/// Whether `url` is our FHIR base; one trailing slash is tolerated, nothing else.
pub(super) fn is_fhir_base(config: &Config, url: &str) -> bool {
    plain(url) == config.fhir_base()
}

fn plain(url: &str) -> &str {
    url.strip_suffix('/').unwrap_or(url)
}

/// RFC 7636 section 4.3; S256 only, for every client.
fn code_challenge(form: &Form) -> Result<String, Flaw> {
    if form.only("code_challenge_method") != Some("S256") {
        return Err(invalid("transform algorithm not supported: code_challenge_method must be S256"));
    }
    let challenge = form.only("code_challenge").unwrap_or_default();
    if is_challenge(challenge) {
        Ok(challenge.to_owned())
    } else {
        Err(invalid("code_challenge must be 43 characters of base64url"))
    }
}

/// The key that the code is to be bound to (RFC 9449 section 10).
fn dpop_jkt(client: &Client, form: &Form) -> Result<Option<String>, Flaw> {
    let Some(jkt) = form.only("dpop_jkt").filter(|_| client.dpop != Dpop::Off) else { return Ok(None) };
    match Thumbprint::parse(jkt) {
        Some(key) => Ok(Some(key.to_string())),
        None => Err(invalid("dpop_jkt must be a SHA-256 thumbprint: 43 characters of base64url")),
    }
}

#[derive(Debug, Default)]
struct Prompt {
    none: bool,
    login: bool,
    consent: bool,
}

fn prompt(form: &Form) -> Result<Prompt, Flaw> {
    let mut prompt = Prompt::default();
    let values = form.only("prompt").unwrap_or_default();
    for value in values.split(' ').filter(|value| !value.is_empty()) {
        match value {
            "none" => prompt.none = true,
            "login" | "select_account" => prompt.login = true,
            "consent" => prompt.consent = true,
            _ => return Err(invalid("prompt must be of none, login, consent, select_account")),
        }
    }
    if prompt.none && (prompt.login || prompt.consent) {
        return Err(invalid("prompt=none cannot be combined with other values"));
    }
    Ok(prompt)
}

fn max_age(form: &Form) -> Result<Option<i64>, Flaw> {
    let Some(text) = form.only("max_age").filter(|text| !text.is_empty()) else { return Ok(None) };
    let seconds: u32 = text.parse().map_err(|_| invalid("max_age must be a number of seconds"))?;
    Ok(Some(i64::from(seconds)))
}

fn short(form: &Form, name: &'static str) -> Result<Option<String>, Flaw> {
    match form.only(name) {
        Some(value) if value.len() > MAX_HINT => Err(invalid("nonce and login_hint may have up to 512 bytes")),
        value => Ok(value.map(str::to_owned)),
    }
}

fn scopes(client: &Client, form: &Form) -> Result<Vec<String>, Flaw> {
    let requested = form.only("scope").unwrap_or_default();
    negotiate(requested, client).map_err(|error| {
        let description = match error {
            NegotiationError::Empty => "the parameter scope is required",
            NegotiationError::System => "system/ scopes are for backend services, not for this endpoint",
            NegotiationError::TooMany => "the parameter scope may have up to 400 scopes and 32 KiB",
            NegotiationError::NothingLeft => "none of the requested scopes can be granted to this client",
        };
        flaw(AuthorizationError::InvalidScope, description)
    })
}

/// The handle of an EHR launch goes together with the scope `launch`, and with a client that is registered for it.
fn launch(client: &Client, scopes: &[String], form: &Form) -> Result<Option<String>, Flaw> {
    let handle = form.only("launch").filter(|handle| !handle.is_empty());
    // Asked of what was requested, not of what is left: a client that may not use `launch` is told so.
    let requested = form.only("scope").unwrap_or_default().split(' ').any(|scope| Scope::parse(scope) == Scope::Launch);
    match handle {
        Some(_) if client.launch_urls.is_empty() => {
            Err(flaw(AuthorizationError::UnauthorizedClient, "the client is not registered for launches from an EHR"))
        }
        Some(_) if !requested => Err(invalid("the parameter launch needs the scope launch")),
        Some(handle) => Ok(Some(handle.to_owned())),
        None if scopes.iter().any(|scope| Scope::parse(scope) == Scope::Launch) => Err(invalid(
            "the scope launch needs the parameter launch; apps started by themselves ask for launch/patient",
        )),
        None => Ok(None),
    }
}

impl Refused {
    /// The reason for the audit log.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Page(problem) => problem.reason(),
            Self::Redirect { error, .. } => error.code(),
        }
    }

    /// The answer.
    pub(super) fn answer(&self, config: &Config, language: Language, request_id: &str) -> super::Answer {
        match self {
            Self::Page(problem) => problem.page(config, language, request_id),
            Self::Redirect { unverified: true, description, .. } => {
                Problem::UnverifiedApp(description).page(config, language, request_id)
            }
            Self::Redirect { redirect_uri, state, error, description, unverified: false } => {
                ReturnAddress { redirect_uri, state: state.as_deref() }.error(config, *error, description)
            }
        }
    }
}
