//! `grant_type=authorization_code` (RFC 6749 section 4.1.3, RFC 7636 section 4.6, SMART App Launch 2.2 step 5).

use bytes::Bytes;
use http::Response;

use super::super::Grants;
use super::super::back_channel_form::Form;
use super::super::facts::Facts;
use super::super::grants::{self, from_json, revoke, to_json};
use super::super::records::{Code, Grant};
use super::super::sender_constraint::SenderConstraint;
use super::super::token_response::{access, access_lifetime, id_token};
use super::refresh_token::{RefreshRecord, new_refresh_token, refresh_ends};
use super::{Commit, Prepared, answer, must_be_online, note, unavailable, up_to_date};
use crate::clients::RegisteredClient;
use crate::config::GrantType;
use crate::listen::Inbound;
use crate::oauth::error::{OAuthError, OAuthErrorKind};
use crate::oauth::pkce;
use crate::secret::Digest;
use crate::store::{Entry, Kind, Placed, Spent};

/// Seconds that a spent code is remembered, so that its replay is noticed.
const SPENT_CODE_MEMORY: i64 = 24 * 3_600;

/// Prepares what a code of `client` is exchanged for. A code that is refused is spent at once.
pub(super) async fn exchange(
    grants: &Grants,
    client: &RegisteredClient,
    inbound: &Inbound,
    form: &Form,
    facts: &mut Facts,
) -> Result<Prepared, OAuthError> {
    facts.action = Some("code_exchanged");
    let presented = Presented {
        code: form.value("code").ok_or(OAuthError::invalid_request("code is expected"))?,
        redirect_uri: form.value("redirect_uri").ok_or(OAuthError::invalid_request("redirect_uri is expected"))?,
        verifier: form.value("code_verifier").unwrap_or_default(),
        sender: SenderConstraint::prove(grants, inbound, client).await?,
    };
    let found = find(grants, presented.code, facts).await;
    if found.is_ok() || facts.grant_id.is_some() {
        // Only now is a public client more than what it says.
        facts.client_id = Some(client.config.client_id.clone());
    }
    let code = found?;
    let spent = spent(grants, presented.code, &code.grant.grant_id)?;
    match prepare(grants, client, code, &presented, facts).await {
        Ok((response, gives, grant)) => Ok((response, Some(Commit::Code { spent, gives, grant: Box::new(grant) }))),
        // Nobody was told anything about the code: it is as it was.
        Err(error) if error.kind == OAuthErrorKind::Unavailable => Err(error),
        Err(error) => {
            let now = grants.clock.unix_seconds();
            grants.store.rotate(spent, Vec::new(), now).await.map_err(unavailable)?;
            Err(error)
        }
    }
}

/// What the app sent.
struct Presented<'f> {
    code: &'f str,
    redirect_uri: &'f str,
    verifier: &'f str,
    sender: SenderConstraint,
}

/// The answer, and what has to be written for it.
async fn prepare(
    grants: &Grants,
    client: &RegisteredClient,
    code: Code,
    presented: &Presented<'_>,
    facts: &mut Facts,
) -> Result<(Response<Bytes>, Vec<Placed>, Grant), OAuthError> {
    let Code { grant, redirect_uri, code_challenge, nonce, dpop_jkt } = code;
    note(facts, &grant);
    let reason = if grant.client_id != client.config.client_id {
        Some("code_of_other_client")
    } else if redirect_uri != presented.redirect_uri {
        Some("redirect_uri_different")
    } else if !pkce::verifier_matches(presented.verifier, &code_challenge) {
        Some("code_verifier_wrong")
    } else {
        None
    };
    if let Some(reason) = reason {
        facts.reason = Some(reason);
        return Err(OAuthError::invalid_grant(
            "the code, redirect_uri and code_verifier are expected as they were issued",
        ));
    }
    let sender = presented.sender;
    sender.must_be(dpop_jkt.as_deref())?;
    let grant = up_to_date(grants, client, grant, facts)?;
    let online_until = must_be_online(grants, &grant, facts).await?;
    let scope = grant.scopes.join(" ");
    let mut response = access(grants, &grant, &scope, sender, online_until)?;
    response.id_token = id_token(grants, &grant, nonce, &response.access_token)?;
    let lasting = grant.online.is_some() || grant.scopes.iter().any(|scope| scope == "offline_access");
    let access_ends = grants.clock.unix_seconds() + access_lifetime(grants);
    let mut gives = Vec::new();
    if lasting && client.config.grant_types.contains(&GrantType::RefreshToken) {
        let ends = refresh_ends(grants, &grant);
        let (token, digest) = new_refresh_token();
        response.refresh_token = Some(token);
        gives.push(grants::placed(&grant, ends.max(access_ends)).map_err(unavailable)?);
        gives.push(RefreshRecord::new(&grant, client, sender).placed(digest, ends).map_err(unavailable)?);
    } else {
        gives.push(grants::placed(&grant, access_ends).map_err(unavailable)?);
    }
    let response = answer(&response);
    Ok((response, gives, grant))
}

/// The code, unspent. One that was spent before revokes what it gave.
async fn find(grants: &Grants, code: &str, facts: &mut Facts) -> Result<Code, OAuthError> {
    let key = Digest::of(code);
    match grants.store.read(Kind::Code, key, grants.clock.unix_seconds()).await.map_err(unavailable)? {
        Some(entry) => from_json(&entry.value).map_err(unavailable),
        None => Err(not_there(grants, key, facts).await?),
    }
}

/// The code as it is spent, for this grant.
fn spent(grants: &Grants, code: &str, grant_id: &str) -> Result<Spent, OAuthError> {
    let expires = grants.clock.unix_seconds() + SPENT_CODE_MEMORY;
    let marker = Entry { value: to_json(&grant_id).map_err(unavailable)?, expires, owner: None };
    Ok(Spent { from: Kind::Code, to: Kind::SpentCode, key: Digest::of(code), marker })
}

/// What a code gets that cannot be spent: when it was spent before, what it gave is revoked.
pub(super) async fn not_there(grants: &Grants, key: Digest, facts: &mut Facts) -> Result<OAuthError, OAuthError> {
    facts.reason = Some("code_unknown_or_expired");
    let marker = grants.store.read(Kind::SpentCode, key, grants.clock.unix_seconds()).await.map_err(unavailable)?;
    if let Some(marker) = marker {
        let grant_id: String = from_json(&marker.value).map_err(unavailable)?;
        revoke(grants, &grant_id).await.map_err(unavailable)?;
        facts.reason = Some("code_replayed");
        facts.grant_id = Some(grant_id);
    }
    Ok(OAuthError::invalid_grant("the code is not known, expired or used"))
}
