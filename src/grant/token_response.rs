//! What the token endpoint gives: the tokens of a grant, and its launch context (SMART App Launch 2.2, "launch context
//! arrives with your `access_token`").

use serde::Serialize;
use serde_json::Value;

use super::Grants;
use super::grants::{MAX_ACCESS_LIFETIME, new_grant_id, user_digest};
use super::records::{Grant, LaunchContext, User};
use crate::jose::{AccessTokenClaims, IdTokenClaims, SignError, at_hash};
use crate::oauth::error::{OAuthError, OAuthErrorKind};

/// The body of a success (RFC 6749 section 5.1).
#[derive(Debug, Serialize)]
pub(super) struct TokenResponse<'a> {
    pub(super) access_token: String,
    token_type: &'static str,
    expires_in: i64,
    scope: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patient: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encounter: Option<&'a str>,
    #[serde(flatten)]
    launch: Option<LaunchMembers<'a>>,
}

/// The other members of an EHR launch.
#[derive(Debug, Serialize)]
struct LaunchMembers<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    need_patient_banner: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    smart_style_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(rename = "fhirContext", skip_serializing_if = "<[Value]>::is_empty")]
    fhir_context: &'a [Value],
}

/// The access token of `grant` for `scope`, which is not more than was granted.
pub(super) fn access<'a>(grants: &Grants, grant: &'a Grant, scope: &'a str) -> Result<TokenResponse<'a>, OAuthError> {
    let lifetime = access_lifetime(grants);
    let access_token = grants.keys.sign_access_token(&claims(grants, grant, scope, lifetime)).map_err(not_signed)?;
    Ok(TokenResponse {
        access_token,
        token_type: "Bearer",
        expires_in: lifetime,
        scope,
        refresh_token: None,
        id_token: None,
        patient: grant.patient.as_deref(),
        encounter: grant.encounter.as_deref(),
        launch: grant.launch.as_ref().map(LaunchMembers::of),
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
    let base = grants.config.fhir_base();
    let fhir_user = grant.user.fhir_user.as_ref().filter(|_| granted("fhirUser"));
    let claims = IdTokenClaims {
        sub: subject(&iss, &grant.user),
        iss,
        aud: grant.client_id.clone(),
        exp: now + access_lifetime(grants),
        iat: now,
        auth_time: grant.auth_time,
        nonce,
        at_hash: at_hash(access_token),
        fhir_user: fhir_user.map(|user| format!("{base}/{user}")),
    };
    grants.keys.sign_id_token(&claims).map(Some).map_err(not_signed)
}

/// Whether an access token of `grant` with all its scopes fits (4 KiB); to be asked before the grant is given.
///
/// # Errors
/// How long it would be, in bytes.
pub(super) fn fits(grants: &Grants, grant: &Grant) -> Result<(), usize> {
    let claims = claims(grants, grant, &grant.scopes.join(" "), access_lifetime(grants));
    match grants.keys.sign_access_token(&claims) {
        Err(SignError::TooLarge { bytes }) => Err(bytes),
        Ok(_) | Err(SignError::Failed) => Ok(()),
    }
}

/// Seconds that an access token lives: as configured, an hour at most.
pub(super) fn access_lifetime(grants: &Grants) -> i64 {
    i64::try_from(grants.config.tokens.access.as_secs()).unwrap_or(MAX_ACCESS_LIFETIME).clamp(1, MAX_ACCESS_LIFETIME)
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
    }
}

/// `sub` at our issuer. A user of another issuer gets a digest of both, so that it is nobody else's.
fn subject(issuer: &str, user: &User) -> String {
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
    fn of(launch: &'a LaunchContext) -> Self {
        Self {
            need_patient_banner: launch.need_patient_banner,
            smart_style_url: launch.smart_style_url.as_deref(),
            intent: launch.intent.as_deref(),
            tenant: launch.tenant.as_deref(),
            fhir_context: &launch.fhir_context,
        }
    }
}
