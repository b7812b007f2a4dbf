//! The back channel by which an EHR hands over the context of a launch: `POST /launch-contexts`.
//!
//! Takes JSON and a client assertion in `Authorization: Bearer` (RFC 7523, `private_key_jwt`) of a client that is registered
//! as an EHR; gives an opaque handle, single use, for the named app, and the launch URL to open in the browser. Promises that
//! an EHR vouches only for users of the issuers and types it is registered for, and that nothing about a person stands in a
//! URL. docs/launch-contexts.md describes it for those who call it.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::facts::Facts;
use super::grants::to_json;
use super::records::{LaunchContext, User};
use super::{Answer, CredentialsFailed, Grants, route};
use crate::config::Ehr;
use crate::fhir::reference::Id;
use crate::fhir::resource_type::ResourceType;
use crate::listen::Inbound;
use crate::oauth::client_authentication::Authenticator;
use crate::oauth::clients::RegisteredClient;
use crate::oauth::error::{Challenge, OAuthError, OAuthErrorKind, uncacheable_json};
use crate::random;
use crate::secret::Digest;
use crate::store::{Entry, Kind};

/// Seconds that a handle lives.
const LIFETIME: i64 = 300;

/// Seconds that a handle lives which logs its user in.
const LOGIN_LIFETIME: i64 = 60;

/// Longest body that is read, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// Longest text that is handed on to the app, in bytes.
const MAX_TEXT: usize = 1_024;

/// Most entries of `fhirContext`.
const MAX_CONTEXTS: usize = 100;

/// The request, with exactly these members.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LaunchRequest {
    client_id: String,
    patient: Option<String>,
    encounter: Option<String>,
    #[serde(default, rename = "fhirContext")]
    fhir_context: Vec<Value>,
    intent: Option<String>,
    need_patient_banner: Option<bool>,
    smart_style_url: Option<String>,
    tenant: Option<String>,
    user: Option<UserReference>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserReference {
    iss: String,
    sub: String,
    #[serde(rename = "fhirUser")]
    fhir_user: Option<String>,
}

#[derive(Debug, Serialize)]
struct LaunchResponse {
    launch: String,
    expires_in: i64,
    launch_url: String,
}

/// Answers `POST /launch-contexts`.
pub async fn respond(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Answer {
    facts.action = Some("launch_context_created");
    match create(grants, inbound, facts).await {
        Ok(created) => Answer(created_response(&created)),
        Err(error) => {
            facts.reason.get_or_insert(error.code());
            let mut response = error.response();
            if error.is_failed_credentials() {
                response.extensions_mut().insert(CredentialsFailed);
            }
            Answer(response)
        }
    }
}

async fn create(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Result<LaunchResponse, OAuthError> {
    if inbound.method != Method::POST {
        return Err(OAuthError::new(OAuthErrorKind::MethodNotAllowed, "the method POST is expected"));
    }
    let client = authenticate(grants, inbound).await?;
    facts.client_id = Some(client.config.client_id.clone());
    let ehr = client
        .config
        .ehr
        .as_ref()
        .ok_or(OAuthError::new(OAuthErrorKind::ClientForbidden, "the client is expected to be registered as an EHR"))?;
    let request = read(inbound)?;
    facts.patient.clone_from(&request.patient);
    facts.encounter.clone_from(&request.encounter);
    let launch_url = launch_url(grants, &request.client_id)?;
    let user = request.user.as_ref().map(|user| named_user(grants, ehr, user)).transpose()?;
    facts.user.clone_from(&user);
    let vouches = ehr.vouches_for_users && user.is_some();
    let now = grants.clock.unix_seconds();
    let context = request.into_context(grants, &client.config.client_id, user, vouches)?;
    let (handle, lifetime) = (random::handle(), if vouches { LOGIN_LIFETIME } else { LIFETIME });
    let stored = async {
        let entry = Entry { value: to_json(&context)?, expires: now + lifetime, owner: None };
        grants.store.put(Kind::Launch, Digest::of(&handle), entry).await
    };
    stored.await.map_err(|_| OAuthError::unavailable())?;
    Ok(LaunchResponse { launch_url: with_launch(launch_url, grants, &handle), launch: handle, expires_in: lifetime })
}

async fn authenticate(grants: &Grants, inbound: &Inbound) -> Result<std::sync::Arc<RegisteredClient>, OAuthError> {
    let header = inbound
        .single_header(AUTHORIZATION.as_str())
        .map_err(|_| OAuthError::invalid_request("one Authorization header is expected"))?;
    let refused = OAuthError::invalid_client(Challenge::Bearer);
    let assertion = match header.and_then(|header| header.split_once(' ')) {
        Some((scheme, assertion)) if scheme.eq_ignore_ascii_case("Bearer") => assertion.trim(),
        _ => return Err(refused),
    };
    let (issuer, token_endpoint) = (grants.config.issuer(), grants.token_endpoint());
    let own = format!("{issuer}{}", route::LAUNCH_CONTEXTS);
    let authenticator = Authenticator {
        clients: &grants.clients,
        store: &*grants.store,
        audiences: &[&own, &token_endpoint, &issuer],
        now: grants.clock.unix_seconds(),
    };
    authenticator.assertion(assertion, Challenge::Bearer).await
}

/// The body; what is no JSON is 400, what is JSON of another form is 422.
fn read(inbound: &Inbound) -> Result<LaunchRequest, OAuthError> {
    let content_type = inbound.single_header(CONTENT_TYPE.as_str()).ok().flatten().unwrap_or_default();
    if !content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(OAuthError::invalid_request("the content type application/json is expected"));
    }
    if inbound.body.len() > MAX_BYTES {
        return Err(OAuthError::invalid_request("a body of at most 64 KiB is expected"));
    }
    serde_json::from_slice(&inbound.body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => invalid(
            "an object with client_id and no members but patient, encounter, fhirContext, intent, need_patient_banner, \
             smart_style_url, tenant and user is expected",
        ),
        _ => OAuthError::invalid_request("a JSON body is expected"),
    })
}

/// Where the app wants to be launched: the first of its launch URLs.
fn launch_url(grants: &Grants, client_id: &str) -> Result<Url, OAuthError> {
    let app = grants.clients.find(client_id).ok_or(invalid("client_id is expected to name a registered app"))?;
    let url =
        app.config.launch_urls.first().ok_or(invalid("the app is expected to be registered with a launch URL"))?;
    Ok(url.clone())
}

/// The launch URL with `iss` and `launch`, its own query kept (SMART App Launch 2.2, "launch app: EHR launch").
fn with_launch(mut url: Url, grants: &Grants, handle: &str) -> String {
    url.query_pairs_mut().append_pair("iss", &grants.config.fhir_base()).append_pair("launch", handle);
    url.into()
}

/// The user that the EHR names, as far as it may: a built-in user as configured, or one of an issuer it is registered for.
fn named_user(grants: &Grants, ehr: &Ehr, named: &UserReference) -> Result<User, OAuthError> {
    let issuer = grants.config.issuer();
    let is_ours = named.iss == issuer;
    let may = if ehr.user_issuers.is_empty() { is_ours } else { ehr.user_issuers.contains(&named.iss) };
    if !may {
        return Err(forbidden("the EHR is not registered to name users of this issuer"));
    }
    if named.sub.is_empty() || named.sub.len() > 255 {
        return Err(invalid("user.sub of 1 to 255 characters is expected"));
    }
    let asserted = named.fhir_user.as_deref().map(|user| local_user(grants, ehr, user)).transpose()?;
    let vouched: &[String] = if ehr.vouches_for_users { &ehr.roles } else { &[] };
    if is_ours {
        let known = grants.config.users.iter().find(|user| user.username == named.sub);
        let known = known.ok_or(invalid("user.sub is expected to be a user of this gateway"))?;
        if asserted.is_some() && asserted != known.fhir_user {
            return Err(invalid("user.fhirUser is expected to be that of the user here, or to be left out"));
        }
        return Ok(User {
            iss: issuer,
            sub: known.username.clone(),
            display_name: known.display_name.clone(),
            fhir_user: known.fhir_user.clone(),
            roles: known.roles.iter().filter(|role| vouched.contains(role)).cloned().collect(),
            patients: known.patients.clone(),
        });
    }
    let patients = asserted.iter().filter_map(|user| user.strip_prefix("Patient/")).map(str::to_owned).collect();
    Ok(User {
        iss: named.iss.clone(),
        sub: named.sub.clone(),
        display_name: named.sub.clone(),
        fhir_user: asserted,
        roles: vouched.to_vec(),
        patients,
    })
}

/// `Type/id`, from that or the same below our FHIR base, of a type that the EHR may assert.
fn local_user(grants: &Grants, ehr: &Ehr, fhir_user: &str) -> Result<String, OAuthError> {
    let base = grants.config.fhir_base();
    let relative = fhir_user.strip_prefix(&base).and_then(|rest| rest.strip_prefix('/')).unwrap_or(fhir_user);
    let (resource_type, _) = local_reference(relative)
        .ok_or(invalid("user.fhirUser is expected to be Type/id, or the same below the FHIR base"))?;
    if !ehr.user_types.iter().any(|allowed| allowed == resource_type) {
        return Err(forbidden("the EHR is not registered to name users of this type"));
    }
    Ok(relative.to_owned())
}

/// `Type/id` taken apart.
fn local_reference(reference: &str) -> Option<(&str, &str)> {
    let (resource_type, id) = reference.split_once('/')?;
    ResourceType::parse(resource_type)?;
    Id::parse(id)?;
    Some((resource_type, id))
}

impl LaunchRequest {
    fn into_context(
        self,
        grants: &Grants,
        ehr_client_id: &str,
        user: Option<User>,
        vouches: bool,
    ) -> Result<LaunchContext, OAuthError> {
        if [&self.patient, &self.encounter].into_iter().flatten().any(|id| Id::parse(id).is_none()) {
            return Err(invalid("patient and encounter are expected to be ids, without the type"));
        }
        let texts = [&self.intent, &self.tenant, &self.smart_style_url];
        if texts.into_iter().flatten().any(|text| text.is_empty() || text.len() > MAX_TEXT) {
            return Err(invalid("intent, tenant and smart_style_url are expected to have 1 to 1024 characters"));
        }
        if self.smart_style_url.as_deref().is_some_and(|url| !is_web_address(url)) {
            return Err(invalid("smart_style_url is expected to be an absolute https URL"));
        }
        if self.fhir_context.len() > MAX_CONTEXTS || !self.fhir_context.iter().all(is_fhir_context) {
            return Err(invalid(
                "fhirContext is expected to have objects with a relative reference, a canonical or an identifier; role is \
                 an absolute URI; Patient and Encounter only with a role other than launch",
            ));
        }
        Ok(LaunchContext {
            client_id: self.client_id,
            ehr_client_id: ehr_client_id.to_owned(),
            patient: self.patient,
            encounter: self.encounter,
            fhir_context: self.fhir_context,
            intent: self.intent,
            need_patient_banner: self.need_patient_banner,
            smart_style_url: self.smart_style_url,
            tenant: self.tenant,
            user,
            vouches,
            created: grants.clock.unix_seconds(),
        })
    }
}

/// SMART App Launch 2.2, "fhirContext".
fn is_fhir_context(entry: &Value) -> bool {
    let Some(entry) = entry.as_object() else { return false };
    let known = ["reference", "canonical", "identifier", "type", "role"];
    let text = |name: &str| entry.get(name).map(|value| value.as_str().filter(|text| !text.is_empty()));
    let reference = text("reference").map(|reference| reference.and_then(local_reference));
    let canonical = text("canonical").map(|canonical| canonical.is_some_and(|url| Url::parse(url).is_ok()));
    let identifier = entry.get("identifier").map(Value::is_object);
    let resource_type = text("type").map(|name| name.filter(|name| ResourceType::parse(name).is_some()));
    let role = text("role").map(|role| role.filter(|role| *role == "launch" || Url::parse(role).is_ok()));
    let names_one = reference.is_some() || canonical.is_some() || identifier.is_some();
    let well_formed = reference != Some(None)
        && canonical != Some(false)
        && identifier != Some(false)
        && resource_type != Some(None)
        && role != Some(None)
        && entry.keys().all(|name| known.contains(&name.as_str()));
    let is_launch_type = |name: &str| matches!(name, "Patient" | "Encounter");
    let of_launch = reference.flatten().is_some_and(|(name, _)| is_launch_type(name))
        || resource_type.flatten().is_some_and(is_launch_type);
    let other_role = role.flatten().is_some_and(|role| role != "launch");
    names_one && well_formed && (!of_launch || other_role)
}

fn is_web_address(text: &str) -> bool {
    let loopback = |url: &Url| matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    Url::parse(text).is_ok_and(|url| url.scheme() == "https" || (url.scheme() == "http" && loopback(&url)))
}

fn created_response(created: &LaunchResponse) -> Response<Bytes> {
    let Ok(body) = serde_json::to_vec(created) else { return OAuthError::unavailable().response() };
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = StatusCode::CREATED;
    uncacheable_json(response.headers_mut());
    response
}

const fn invalid(description: &'static str) -> OAuthError {
    OAuthError::new(OAuthErrorKind::InvalidLaunchContext, description)
}

const fn forbidden(description: &'static str) -> OAuthError {
    OAuthError::new(OAuthErrorKind::AccessDenied, description)
}

#[cfg(test)]
mod tests;
