//! `grant_type=client_credentials` (RFC 6749 section 4.4, SMART App Launch 2.2 "backend services"): an access token for a client
//! that acts for itself.
//!
//! Promises: only a client that proved the possession of its private key gets one; what is granted is what was asked for as far
//! as the site registered the client for it beforehand, `system/` scopes alone; the token is short-lived, without a refresh
//! token, and stands for a grant of its own that can be revoked. What the client may do with it the policies say, by the
//! client's roles.

use super::super::Grants;
use super::super::back_channel_form::Form;
use super::super::facts::Facts;
use super::super::grants::{self, new_grant_id};
use super::super::records::{Details, Grant, User};
use super::super::scope_negotiation::{NegotiationError, negotiate_system};
use super::super::sender_constraint::SenderConstraint;
use super::super::token_response::{access, lifetime_for};
use super::{Commit, Prepared, answer, note, unavailable};
use crate::clients::RegisteredClient;
use crate::listen::Inbound;
use crate::oauth::error::{OAuthError, OAuthErrorKind};

/// Prepares a token for `client` itself, which authenticated.
pub(super) async fn exchange(
    grants: &Grants,
    client: &RegisteredClient,
    inbound: &Inbound,
    form: &Form,
    details: Details,
    facts: &mut Facts,
) -> Result<Prepared, OAuthError> {
    facts.action = Some("client_credentials");
    if !client.config.authentication.is_private_key_jwt() {
        return Err(OAuthError::new(
            OAuthErrorKind::UnauthorizedClient,
            "a client that authenticates by private_key_jwt is expected",
        ));
    }
    let requested = form.value("scope").filter(|scope| !scope.trim().is_empty());
    let requested = requested.ok_or(OAuthError::invalid_request("scope is expected"))?;
    let scopes = negotiate_system(requested, &client.config).map_err(|error| {
        let expected = match error {
            NegotiationError::TooMany => "up to 400 scopes are expected",
            NegotiationError::Empty | NegotiationError::System | NegotiationError::NothingLeft => {
                "system/ scopes that the client is registered for are expected"
            }
        };
        OAuthError::new(OAuthErrorKind::InvalidScope, expected)
    })?;
    let now = grants.clock.unix_seconds();
    let client_id = &client.config.client_id;
    let grant = Grant {
        grant_id: new_grant_id(),
        client_id: client_id.clone(),
        user: User {
            iss: grants.config.issuer(),
            sub: client_id.clone(),
            display_name: client.config.client_name.clone(),
            fhir_user: None,
            roles: client.config.roles.clone(),
            patients: Vec::new(),
        },
        scopes,
        patient: None,
        encounter: None,
        launch: None,
        auth_time: now,
        online: None,
        details,
        granted_at: now,
    };
    note(facts, &grant);
    let scope = grant.scopes.join(" ");
    let sender = SenderConstraint::prove(grants, inbound, client).await?;
    let response = access(grants, &grant, &scope, sender, None)?;
    let kept = grants::placed(&grant, now + lifetime_for(grants, &grant)).map_err(unavailable)?;
    let response = answer(&response);
    Ok((response, Some(Commit::Grant(kept))))
}
