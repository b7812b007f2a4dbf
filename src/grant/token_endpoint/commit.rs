//! What an answer of the token endpoint spends and gives, done once the answer is recorded and before it leaves.
//!
//! Takes what was prepared: nothing is spent and nothing written yet. Promises, for a code and for a refresh token that is
//! used once:
//!
//! - **Nothing is given twice.** [`Commit::run`] spends and writes what is given in one transaction of the store; of any
//!   number of answers that were prepared for one code or token, one is given. It is the last step that can fail: no answer
//!   leaves before it, and none that it refused.
//! - **Nothing is spent for nothing.** The record comes first. When it cannot be written, nothing was changed, the app gets
//!   503 and tries again with what it has, as late as it likes. There is no undoing that could fail as well.
//! - **A crash errs on that side.** Before the record nothing happened; between record and commit the log tells of a token
//!   that nobody got, and the app tries again; after the commit it is as if the network had lost the answer (a code is spent,
//!   a refresh token is taken for a second tab for some seconds and for a stolen one after that).
//! - **The log does not stay wrong.** An answer that was recorded and then refused by the commit (somebody was faster, the
//!   grant or its login ended meanwhile, the store failed) is followed by an `unreleased` record and the record of what left
//!   instead.
//!
//! The order commit, record, compensate was not taken: a compensation needs the store a second time, at a moment when
//! something fails already, and a crash in between would leave a token spent that nobody was answered.

use super::super::Grants;
use super::super::facts::Facts;
use super::super::grants::{revoke, was_revoked};
use super::super::holdings::note_use;
use super::super::records::Grant;
use super::{authorization_code, must_be_online, refresh_token, unavailable};
use crate::oauth::error::OAuthError;
use crate::store::{Placed, Spent, StoreError};

/// What is to be done when the answer is recorded.
#[derive(Debug)]
pub(in crate::grant) enum Commit {
    /// A code becomes a grant.
    Code {
        /// The code.
        spent: Spent,
        /// The grant, and its refresh token where it has one.
        gives: Vec<Placed>,
        /// What was granted.
        grant: Box<Grant>,
    },
    /// A refresh token is replaced by its successor.
    Rotation {
        /// The token.
        spent: Spent,
        /// Its successor.
        successor: Placed,
        /// The grant that is used.
        used: Used,
    },
    /// A refresh token that stays as it is was used.
    Use(Used),
    /// A client gets a grant for itself.
    Grant(Placed),
}

/// The use of a grant, for those who look at what they gave.
#[derive(Debug)]
pub(in crate::grant) struct Used {
    pub(super) grant_id: String,
    /// When its refresh token ends, seconds since the epoch.
    pub(super) ends: i64,
}

impl Commit {
    /// Spends and gives.
    ///
    /// # Errors
    /// What the app is told instead of the answer that was recorded; nothing was given.
    pub(in crate::grant) async fn run(self, grants: &Grants, facts: &mut Facts) -> Result<(), OAuthError> {
        let now = grants.clock.unix_seconds();
        match self {
            Self::Code { spent, gives, grant } => {
                let key = spent.key;
                if grants.store.rotate(spent, gives, now).await.map_err(unavailable)?.is_none() {
                    return Err(authorization_code::not_there(grants, key, facts).await?);
                }
                still_given(grants, &grant, facts).await
            }
            Self::Rotation { spent, successor, used } => {
                let key = spent.key;
                // INVARIANT: the successor is written together with this. A revocation removes both: either the token is gone
                // here, or the successor goes after this.
                if grants.store.rotate(spent, vec![successor], now).await.map_err(unavailable)?.is_none() {
                    return Err(refresh_token::reused(grants, key, now, facts).await?);
                }
                used.note(grants, now).await;
                Ok(())
            }
            Self::Use(used) => {
                used.note(grants, now).await;
                Ok(())
            }
            Self::Grant((kind, key, entry)) => grants.store.put(kind, key, entry).await.map_err(unavailable),
        }
    }
}

/// INVARIANT: what is given is written already. A concurrent revocation, or the end of the session, either is seen here, or
/// removes it after this.
async fn still_given(grants: &Grants, grant: &Grant, facts: &mut Facts) -> Result<(), OAuthError> {
    must_be_online(grants, grant, facts).await?;
    if was_revoked(grants, &grant.grant_id).await.map_err(unavailable)? {
        revoke(grants, &grant.grant_id).await.map_err(unavailable)?;
        facts.reason = Some("code_replayed");
        return Err(OAuthError::invalid_grant("the code was used twice"));
    }
    Ok(())
}

impl Used {
    /// Best effort: who looks at their grants sees a use an hour later.
    async fn note(&self, grants: &Grants, now: i64) {
        if let Err(StoreError(error)) = note_use(&*grants.store, &self.grant_id, now, self.ends).await {
            tracing::warn!(error, "the use of a grant could not be noted");
        }
    }
}
