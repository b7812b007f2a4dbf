//! Which token of ours a text is: what introspection and revocation are asked about.
//!
//! Takes a text from a stranger's form; gives the token it stands for, by its form and not by any hint. Promises: a token that
//! is given back as live was issued here, has not expired, belongs to a grant that was not revoked, and to a client and a user
//! that may act today. Looks into the store each time, so what another replica revoked is known.

use super::grants::{self, from_json, standing};
use super::records::Grant;
use super::token_endpoint::refresh_token::RefreshRecord;
use super::{Grants, session};
use crate::jose::AccessTokenClaims;
use crate::secret::Digest;
use crate::store::{Kind, StoreError};

/// A token of ours.
#[derive(Debug)]
pub(super) enum PresentedToken {
    /// An access token that was signed here and has not expired.
    Access(Box<AccessTokenClaims>),
    /// A refresh token.
    Refresh {
        /// What it stands for.
        record: RefreshRecord,
        /// Seconds since the epoch; `None` when it was rotated away.
        expires: Option<i64>,
    },
}

/// A token that is good at this moment.
#[derive(Debug)]
pub(super) struct Live {
    /// The grant, with the user's rights of today; `None` for a client that acts for itself.
    pub(super) grant: Option<Grant>,
}

impl PresentedToken {
    /// The token that `text` is; `None` when it is none of ours.
    pub(super) async fn recognise(grants: &Grants, text: &str) -> Result<Option<Self>, StoreError> {
        let config = &grants.config;
        let access = grants.keys.verify_access_token(text, &config.issuer(), &config.fhir_base(), &grants.clock);
        if let Ok(claims) = access {
            return Ok(Some(Self::Access(Box::new(claims))));
        }
        let (key, now) = (Digest::of(text), grants.clock.unix_seconds());
        if let Some(entry) = grants.store.read(Kind::RefreshToken, key, now).await? {
            let record = from_json(&entry.value)?;
            return Ok(Some(Self::Refresh { record, expires: Some(entry.expires) }));
        }
        let spent = grants.store.read(Kind::SpentRefreshToken, key, now).await?;
        spent.map(|entry| Ok(Self::Refresh { record: from_json(&entry.value)?, expires: None })).transpose()
    }

    /// The grant it belongs to.
    pub(super) fn grant_id(&self) -> &str {
        match self {
            Self::Access(claims) => &claims.gid,
            Self::Refresh { record, .. } => &record.grant_id,
        }
    }

    /// The client it was issued to.
    pub(super) fn client_id(&self) -> &str {
        match self {
            Self::Access(claims) => &claims.client_id,
            Self::Refresh { record, .. } => &record.client_id,
        }
    }

    /// What it is good for now; `None` when for nothing.
    pub(super) async fn live(&self, grants: &Grants) -> Result<Option<Live>, StoreError> {
        let rotated_away = matches!(self, Self::Refresh { expires: None, .. });
        if rotated_away || grants.clients.find(self.client_id()).is_none() {
            return Ok(None);
        }
        if grants.revocations.is_revoked(self.grant_id()) || grants::was_revoked(grants, self.grant_id()).await? {
            return Ok(None);
        }
        if let Self::Access(claims) = self
            && claims.sub == claims.client_id
            && claims.user_iss.is_none()
        {
            // A client that acts for itself is its own subject (RFC 9068 section 2.2).
            return Ok(Some(Live { grant: None }));
        }
        let Some(grant) = grants::find(grants, self.grant_id()).await? else { return Ok(None) };
        if let Some(online) = &grant.online
            && session::is_over(grants, online).await?
        {
            return Ok(None);
        }
        Ok(standing(grants, &grant).map(|user| Live { grant: Some(Grant { user, ..grant }) }))
    }
}
