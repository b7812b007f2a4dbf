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
use crate::clients::RegisteredClient;
use crate::config::Ehr;
use crate::fhir::reference::Id;
use crate::fhir::resource_type::ResourceType;
use crate::listen::Inbound;
use crate::oauth::error::{Challenge, OAuthError, OAuthErrorKind, uncacheable_json};
use crate::random;
use crate::secret::Digest;
use crate::store::{Entry, Kind, StoreError};

/// Seconds that a handle lives.
const LIFETIME: i64 = 300;

/// Seconds that a handle lives which logs its user in.
const LOGIN_LIFETIME: i64 = 60;

/// Longest body that is read, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// Longest text that is handed on to the app, in bytes.
const MAX_TEXT: usize = 1_024;

/// Longest `appContext`, in bytes: apps write what they like there.
const MAX_APP_CONTEXT: usize = 8 * 1024;

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
    #[serde(rename = "appContext")]
    app_context: Option<String>,
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
    grants.authenticator(route::LAUNCH_CONTEXTS).assertion(assertion, Challenge::Bearer).await
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
             smart_style_url, tenant, appContext and user is expected",
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

/// A new handle with the context of one that was spent, for a launch that begins anew in another window. It logs nobody in whom
/// the first would not have logged in, and not for longer.
pub(super) async fn hand_over_again(grants: &Grants, context: &LaunchContext) -> Result<String, StoreError> {
    let (handle, now) = (random::handle(), grants.clock.unix_seconds());
    let created = if context.vouches { context.created } else { now };
    let context = LaunchContext { created, ..context.clone() };
    let entry = Entry { value: to_json(&context)?, expires: now + LIFETIME, owner: None };
    grants.store.put(Kind::Launch, Digest::of(&handle), entry).await?;
    Ok(handle)
}

/// The launch URL with `iss` and `launch`, its own query kept (SMART App Launch 2.2, "launch app: EHR launch").
pub(super) fn with_launch(mut url: Url, grants: &Grants, handle: &str) -> String {
    url.query_pairs_mut().append_pair("iss", &grants.config.fhir_base()).append_pair("launch", handle);
    url.into()
}

/// The user that the EHR names, as far as it may: a built-in user as configured, or one of an issuer it is registered for.
fn named_user(grants: &Grants, ehr: &Ehr, named: &UserReference) -> Result<User, OAuthError> {
    let issuer = grants.config.issuer();
    let is_ours = named.iss == issuer;
    if !ehr.names_users_of(&named.iss, is_ours) {
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
        let roles: Vec<String> = known.roles.iter().filter(|role| vouched.contains(role)).cloned().collect();
        if ehr.vouches_for_users {
            may_log_in(ehr, known.fhir_user.as_deref(), &roles)?;
        }
        return Ok(User {
            iss: issuer,
            sub: known.username.clone(),
            display_name: known.display_name.clone(),
            fhir_user: known.fhir_user.clone(),
            roles,
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

const FORBIDDEN_TYPE: OAuthError = forbidden("the EHR is not registered to name users of this type");

/// Whether the EHR may log in a user of ours: one of a type that it may assert, where it is held to types, with a role that it
/// may give. Who somebody is here is not the EHR's to say, but neither is it to log in everybody.
fn may_log_in(ehr: &Ehr, fhir_user: Option<&str>, roles: &[String]) -> Result<(), OAuthError> {
    let of_type = fhir_user.and_then(|user| user.split_once('/')).is_some_and(|(name, _)| ehr.asserts_type(name));
    if !ehr.user_types.is_empty() && !of_type {
        return Err(FORBIDDEN_TYPE);
    }
    if roles.is_empty() {
        Err(forbidden("the EHR is not registered to give the user any of its roles"))
    } else {
        Ok(())
    }
}

/// `Type/id`, from that or the same below our FHIR base, of a type that the EHR may assert.
fn local_user(grants: &Grants, ehr: &Ehr, fhir_user: &str) -> Result<String, OAuthError> {
    let base = grants.config.fhir_base();
    let relative = fhir_user.strip_prefix(&base).and_then(|rest| rest.strip_prefix('/')).unwrap_or(fhir_user);
    let (resource_type, _) = local_reference(relative)
        .ok_or(invalid("user.fhirUser is expected to be Type/id, or the same below the FHIR base"))?;
    if !ehr.asserts_type(resource_type) {
        return Err(FORBIDDEN_TYPE);
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
        if self.encounter.is_some() && self.patient.is_none() {
            return Err(invalid("encounter is expected together with the patient whose encounter it is"));
        }
        let texts = [&self.intent, &self.tenant, &self.smart_style_url];
        if texts.into_iter().flatten().any(|text| text.is_empty() || text.len() > MAX_TEXT) {
            return Err(invalid("intent, tenant and smart_style_url are expected to have 1 to 1024 characters"));
        }
        if self.app_context.as_deref().is_some_and(|text| text.is_empty() || text.len() > MAX_APP_CONTEXT) {
            return Err(invalid("appContext is expected to have 1 to 8192 bytes"));
        }
        if self.smart_style_url.as_deref().is_some_and(|url| !is_web_address(url)) {
            return Err(invalid("smart_style_url is expected to be an absolute https URL"));
        }
        if self.fhir_context.len() > MAX_CONTEXTS || !self.fhir_context.iter().all(is_fhir_context) {
            return Err(invalid(
                "fhirContext is expected to have objects with a relative reference, a canonical http URL that ends in \
                 /Type/id, or an identifier; type is that of the resource; role is an absolute URI; Patient and Encounter \
                 only with a role other than launch",
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
            app_context: self.app_context,
            user,
            vouches,
            created: grants.clock.unix_seconds(),
        })
    }
}

/// One entry of `fhirContext`, with exactly these members (SMART App Launch 2.2, "fhirContext").
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FhirContext<'a> {
    #[serde(borrow)]
    reference: Option<&'a str>,
    canonical: Option<&'a str>,
    identifier: Option<serde_json::Map<String, Value>>,
    r#type: Option<&'a str>,
    role: Option<&'a str>,
}

fn is_fhir_context(entry: &Value) -> bool {
    // A member that is null says nothing, which is no way to say something.
    let says_nothing = entry.as_object().is_none_or(|entry| entry.values().any(Value::is_null));
    !says_nothing && FhirContext::deserialize(entry).is_ok_and(|entry| entry.is_valid())
}

impl FhirContext<'_> {
    fn is_valid(&self) -> bool {
        let names_one = self.reference.is_some() || self.canonical.is_some() || self.identifier.is_some();
        let of_reference = self.reference.map(|reference| local_reference(reference).map(|(name, _)| name));
        let of_canonical = self.canonical.map(canonical_type);
        let said = self.r#type.map(|name| ResourceType::parse(name).map(|_| name));
        let types: Vec<Option<&str>> = [of_reference, of_canonical, said].into_iter().flatten().collect();
        let agree = types.iter().all(Option::is_some) && types.windows(2).all(|pair| pair.first() == pair.last());
        let role = self.role.is_none_or(|role| role == "launch" || Url::parse(role).is_ok());
        let of_launch = matches!(types.first(), Some(Some("Patient" | "Encounter")));
        let other_role = self.role.is_some_and(|role| role != "launch");
        let identified = self.identifier.as_ref().is_none_or(|identifier| !identifier.is_empty());
        names_one && agree && role && identified && (!of_launch || other_role)
    }
}

/// The type in a canonical URL: `http://example.org/Questionnaire/q|1`.
fn canonical_type(canonical: &str) -> Option<&str> {
    let url = canonical.split_once('|').map_or(canonical, |(url, _)| url);
    let parsed = Url::parse(url).ok()?;
    let (rest, id) = url.rsplit_once('/')?;
    let name = rest.rsplit('/').next()?;
    (matches!(parsed.scheme(), "http" | "https") && !id.is_empty() && ResourceType::parse(name).is_some())
        .then_some(name)
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
