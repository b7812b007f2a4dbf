//! What the token endpoint gives: the tokens of a grant, and its launch context (SMART App Launch 2.2, "launch context
//! arrives with your `access_token`").

use std::borrow::Cow;

use http::HeaderValue;
use serde::Serialize;
use serde_json::Value;

use super::Grants;
use super::authorization_details::AuthorizationDetails;
use super::grants::{MAX_ACCESS_LIFETIME, new_grant_id, user_digest};
use super::records::{Grant, LaunchContext, User};
use super::sender_constraint::SenderConstraint;
use super::token_endpoint::token_exchange::ACCESS_TOKEN;
use crate::jose::{AccessTokenClaims, Confirmation, IdTokenClaims, SignError, at_hash};
use crate::oauth::error::{OAuthError, OAuthErrorKind};

/// Seconds that an access token of a backend service lives unless it is configured otherwise.
const BACKEND_LIFETIME: i64 = 300;

/// The body of a success (RFC 6749 section 5.1).
#[derive(Debug, Serialize)]
pub(super) struct TokenResponse<'a> {
    pub(super) access_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
    token_type: &'static str,
    expires_in: i64,
    scope: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patient: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encounter: Option<Cow<'a, str>>,
    #[serde(flatten)]
    launch: Option<LaunchMembers<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_details: Option<[AuthorizationDetails<'a>; 1]>,
    /// For the header: what the next proof must have.
    #[serde(skip)]
    pub(super) next_nonce: Option<HeaderValue>,
}

/// The other members of an EHR launch.
#[derive(Debug, Serialize)]
pub(super) struct LaunchMembers<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    need_patient_banner: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    smart_style_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(rename = "appContext", skip_serializing_if = "Option::is_none")]
    app_context: Option<&'a str>,
    #[serde(rename = "fhirContext", skip_serializing_if = "<[Value]>::is_empty")]
    fhir_context: &'a [Value],
}

/// The access token of `grant` for `scope`, which is not more than was granted, bound to the key that `sender` proved. It ends
/// with the login where the grant does: `online_until`, seconds since the epoch.
pub(super) fn access<'a>(
    grants: &Grants,
    grant: &'a Grant,
    scope: &'a str,
    sender: SenderConstraint,
    online_until: Option<i64>,
) -> Result<TokenResponse<'a>, OAuthError> {
    let left = online_until.map_or(MAX_ACCESS_LIFETIME, |until| until - grants.clock.unix_seconds());
    let lifetime = lifetime_for(grants, grant).min(left.max(1));
    let claims = AccessTokenClaims { cnf: sender.confirmation(), ..claims(grants, grant, scope, lifetime) };
    let access_token = grants.keys.sign_access_token(&claims).map_err(not_signed)?;
    Ok(TokenResponse {
        access_token,
        issued_token_type: None,
        token_type: sender.token_type(),
        expires_in: lifetime,
        scope: Cow::Borrowed(scope),
        refresh_token: None,
        id_token: None,
        patient: grant.patient.as_deref().map(Cow::Borrowed),
        encounter: grant.encounter.as_deref().map(Cow::Borrowed),
        launch: grant.launch.as_ref().map(LaunchMembers::of),
        authorization_details: AuthorizationDetails::of(grants, grant, scope),
        next_nonce: sender.next_nonce(grants),
    })
}

/// A new access token that says what `claims` of an older one say, which are not more than that one has, bound to the key
/// that `sender` proved, and for no longer than that one (RFC 8693 section 2.2.1).
pub(super) fn narrowed(
    grants: &Grants,
    claims: AccessTokenClaims,
    sender: SenderConstraint,
) -> Result<TokenResponse<'static>, OAuthError> {
    let now = grants.clock.unix_seconds();
    let exp = claims.exp.min(now + access_lifetime(grants));
    let claims = AccessTokenClaims { iat: now, exp, jti: new_grant_id(), cnf: sender.confirmation(), ..claims };
    let access_token = grants.keys.sign_access_token(&claims).map_err(not_signed)?;
    Ok(TokenResponse {
        access_token,
        issued_token_type: Some(ACCESS_TOKEN),
        token_type: sender.token_type(),
        expires_in: exp - now,
        scope: Cow::Owned(claims.scope),
        refresh_token: None,
        id_token: None,
        patient: claims.patient.map(Cow::Owned),
        encounter: claims.encounter.map(Cow::Owned),
        launch: None,
        authorization_details: None,
        next_nonce: sender.next_nonce(grants),
    })
}

/// The `id_token` that goes with `access_token`; `None` when `openid` was not granted.
pub(super) fn id_token(
    grants: &Grants,
    grant: &Grant,
    nonce: Option<String>,
    access_token: &str,
) -> Result<Option<String>, OAuthError> {
    let granted = |scope: &str| grant.scopes.iter().any(|granted| granted == scope);
    if !granted("openid") {
        return Ok(None);
    }
    let now = grants.clock.unix_seconds();
    let iss = grants.config.issuer();
    let claims = IdTokenClaims {
        sub: subject(&iss, &grant.user),
        iss,
        aud: grant.client_id.clone(),
        exp: now + access_lifetime(grants),
        iat: now,
        auth_time: grant.auth_time,
        nonce,
        at_hash: at_hash(access_token),
        fhir_user: fhir_user(grants, grant),
    };
    grants.keys.sign_id_token(&claims).map(Some).map_err(not_signed)
}

/// `fhirUser` as the absolute URL that the `id_token` has, when that scope was granted.
pub(super) fn fhir_user(grants: &Grants, grant: &Grant) -> Option<String> {
    let user = grant.user.fhir_user.as_ref().filter(|_| grant.scopes.iter().any(|scope| scope == "fhirUser"))?;
    Some(format!("{}/{user}", grants.config.fhir_base()))
}

/// Whether an access token of `grant` with all its scopes fits (4 KiB); to be asked before the grant is given.
///
/// # Errors
/// How long it would be, in bytes.
pub(super) fn fits(grants: &Grants, grant: &Grant) -> Result<(), usize> {
    // With room for a key: whether the app brings one is not known before the token is asked for.
    let cnf = Some(Confirmation { jkt: "k".repeat(43) });
    let claims = AccessTokenClaims { cnf, ..claims(grants, grant, &grant.scopes.join(" "), access_lifetime(grants)) };
    match grants.keys.sign_access_token(&claims) {
        Err(SignError::TooLarge { bytes }) => Err(bytes),
        Ok(_) | Err(SignError::Failed) => Ok(()),
    }
}

/// Seconds that an access token lives: as configured, an hour at most.
pub(super) fn access_lifetime(grants: &Grants) -> i64 {
    i64::try_from(grants.config.tokens.access.as_secs()).unwrap_or(MAX_ACCESS_LIFETIME).clamp(1, MAX_ACCESS_LIFETIME)
}

/// Seconds that an access token of `grant` lives. That of a client that acts for itself cannot be refreshed and need not be:
/// five minutes, or what the client is configured for (SMART App Launch 2.2, "backend services").
pub(super) fn lifetime_for(grants: &Grants, grant: &Grant) -> i64 {
    if !grant.is_of_client_itself(&grants.config.issuer()) {
        return access_lifetime(grants);
    }
    let client = grants.clients.find(&grant.client_id);
    let configured = client.and_then(|client| client.config.access_token_lifetime);
    let seconds = configured.map(|lifetime| i64::try_from(lifetime.as_secs()).unwrap_or(MAX_ACCESS_LIFETIME));
    seconds.unwrap_or_else(|| access_lifetime(grants).min(BACKEND_LIFETIME)).clamp(1, MAX_ACCESS_LIFETIME)
}

fn claims(grants: &Grants, grant: &Grant, scope: &str, lifetime: i64) -> AccessTokenClaims {
    let now = grants.clock.unix_seconds();
    let iss = grants.config.issuer();
    let foreign = (grant.user.iss != iss).then_some(&grant.user);
    AccessTokenClaims {
        sub: subject(&iss, &grant.user),
        iss,
        aud: grants.config.fhir_base(),
        client_id: grant.client_id.clone(),
        iat: now,
        exp: now + lifetime,
        nbf: None,
        jti: new_grant_id(),
        scope: scope.to_owned(),
        gid: grant.grant_id.clone(),
        patient: grant.patient.clone(),
        encounter: grant.encounter.clone(),
        fhir_user: grant.user.fhir_user.clone(),
        roles: grant.user.roles.clone(),
        user_iss: foreign.map(|user| user.iss.clone()),
        user_sub: foreign.map(|user| user.sub.clone()),
        cnf: None,
    }
}

/// `sub` at our issuer. A user of another issuer gets a digest of both, so that it is nobody else's.
pub(super) fn subject(issuer: &str, user: &User) -> String {
    if user.iss == issuer { user.sub.clone() } else { user_digest(&user.iss, &user.sub).to_hex() }
}

fn not_signed(error: SignError) -> OAuthError {
    match error {
        SignError::TooLarge { .. } => OAuthError::new(
            OAuthErrorKind::InvalidScope,
            "the granted scopes do not fit into an access token of 4 KiB: ask for fewer, or for wildcards",
        ),
        SignError::Failed => OAuthError::unavailable(),
    }
}

impl<'a> LaunchMembers<'a> {
    pub(super) fn of(launch: &'a LaunchContext) -> Self {
        Self {
            need_patient_banner: launch.need_patient_banner,
            smart_style_url: launch.smart_style_url.as_deref(),
            intent: launch.intent.as_deref(),
            tenant: launch.tenant.as_deref(),
            app_context: launch.app_context.as_deref(),
            fhir_context: &launch.fhir_context,
        }
    }
}
