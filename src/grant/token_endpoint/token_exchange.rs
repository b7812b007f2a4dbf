//! `grant_type=urn:ietf:params:oauth:grant-type:token-exchange` (RFC 8693), for one purpose: a client exchanges an access
//! token of its own for one that may do less, to hand to a part of itself that needs no more.
//!
//! Promises: never more than the scopes of the subject token, the registration of today and the roles of today; never longer
//! than the subject token; the same user, patient, grant and key, so that revoking the grant, or the end of the login that it was given in, ends both. Does not exchange
//! tokens of other clients or issuers, does not impersonate or delegate (`actor_token`), and gives no refresh token.

use bytes::Bytes;
use http::Response;

use super::super::Grants;
use super::super::authorization_request::is_fhir_base;
use super::super::back_channel_form::Form;
use super::super::facts::Facts;
use super::super::grants;
use super::super::records::Grant;
use super::super::sender_constraint::SenderConstraint;
use super::super::token_response::narrowed;
use super::refresh_token::requested_scope;
use super::{answer, invalid_target, must_be_online, note, unavailable, up_to_date};
use crate::clients::RegisteredClient;
use crate::jose::{AccessTokenClaims, AccessTokenProblem};
use crate::listen::Inbound;
use crate::oauth::error::OAuthError;

/// RFC 8693 section 3
pub(in crate::grant) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// Gives a narrower token for one of `client`'s own.
pub(super) async fn exchange(
    grants: &Grants,
    client: &RegisteredClient,
    inbound: &Inbound,
    form: &Form,
    facts: &mut Facts,
) -> Result<Response<Bytes>, OAuthError> {
    facts.action = Some("token_exchanged");
    let (token, scope) = parameters(grants, form)?;
    let sender = SenderConstraint::prove(grants, inbound, client).await?;
    let subject = subject(grants, client, token, facts)?;
    facts.client_id = Some(client.config.client_id.clone());
    facts.grant_id = Some(subject.gid.clone());
    sender.must_be(subject.cnf.as_ref().map(|cnf| cnf.jkt.as_str()))?;
    let Some(grant) = grants::find(grants, &subject.gid).await.map_err(unavailable)? else {
        facts.reason = Some("grant_revoked");
        return Err(not_exchanged());
    };
    let held = Grant { scopes: subject.scope.split(' ').map(str::to_owned).collect(), ..grant };
    note(facts, &held);
    must_be_online(grants, &held, facts).await?;
    let held = up_to_date(grants, client, held, facts)?;
    let scope = requested_scope(&held, Some(scope))?;
    facts.scopes = Some(scope.clone());
    let mut claims = AccessTokenClaims { scope, ..subject };
    claims.roles.retain(|role| held.user.roles.contains(role));
    narrowed(grants, claims, sender).map(|response| answer(&response))
}

/// `subject_token` and `scope`, once all the others were seen to ask for nothing else.
fn parameters<'a>(grants: &Grants, form: &'a Form) -> Result<(&'a str, &'a str), OAuthError> {
    let token = form.value("subject_token").ok_or(OAuthError::invalid_request("subject_token is expected"))?;
    if form.value("subject_token_type") != Some(ACCESS_TOKEN) {
        return Err(OAuthError::invalid_request(
            "the subject_token_type urn:ietf:params:oauth:token-type:access_token is expected",
        ));
    }
    if form.value("requested_token_type").is_some_and(|requested| requested != ACCESS_TOKEN) {
        return Err(OAuthError::invalid_request(
            "the requested_token_type urn:ietf:params:oauth:token-type:access_token is expected",
        ));
    }
    if form.value("actor_token").is_some() || form.value("actor_token_type").is_some() {
        return Err(OAuthError::invalid_request("no actor_token is expected: nobody acts for anybody else here"));
    }
    // `resource` was looked at for every grant type.
    if form.value("audience").is_some_and(|audience| !is_fhir_base(&grants.config, audience)) {
        return Err(invalid_target());
    }
    let scope = form.value("scope").ok_or(OAuthError::invalid_request("scope is expected: less than the token has"))?;
    Ok((token, scope))
}

/// What the subject token says, when it is ours, lives, and is the client's own.
fn subject(
    grants: &Grants,
    client: &RegisteredClient,
    token: &str,
    facts: &mut Facts,
) -> Result<AccessTokenClaims, OAuthError> {
    let (issuer, base) = (grants.config.issuer(), grants.config.fhir_base());
    let verified = grants.keys.verify_access_token(token, &issuer, &base, &grants.clock);
    let reason = match verified {
        Ok(claims) if claims.client_id != client.config.client_id => "subject_token_of_other_client",
        Ok(claims) if grants.revocations.is_revoked(&claims.gid) => "grant_revoked",
        Ok(claims) => return Ok(claims),
        Err(AccessTokenProblem::Expired) => "subject_token_expired",
        Err(AccessTokenProblem::Invalid) => "subject_token_invalid",
    };
    facts.reason = Some(reason);
    Err(not_exchanged())
}

fn not_exchanged() -> OAuthError {
    OAuthError::invalid_grant("the subject token is not valid here, expired, revoked or of another client")
}
