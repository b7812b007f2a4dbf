//! A logout token of a provider, checked (OpenID Connect Back-Channel Logout 1.0 sections 2.4 and 2.6).
//!
//! Takes claims whose signature is right; gives whom it is about, or what is wrong. Promises that no ID token passes for one.

use serde_json::{Map, Value};

/// Seconds that the provider's clock may differ from ours.
const SKEW: i64 = 30;
/// Seconds since it was issued: it is sent at once.
const MAX_AGE: i64 = 600;
/// Longest `sub`, `sid` and `jti`, in bytes.
const MAX_TEXT: usize = 255;
/// The member of `events` that makes a token one for logout.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Whom the provider logged out. One of `subject` and `session` is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedOut {
    /// `sub`
    pub subject: Option<String>,
    /// `sid`: one session with the provider; all of the subject's where it is missing.
    pub session: Option<String>,
    /// `jti`
    pub id: String,
    /// Until when the token could be sent again, seconds since the epoch.
    pub expires: i64,
}

/// What is wrong with a logout token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogoutTokenProblem {
    /// Not signed by one of the provider's keys, or of another `typ`.
    Signature,
    /// `iss` is not the provider's issuer.
    Issuer,
    /// `aud` is not our client id.
    Audience,
    /// `iat` is missing, in the future or long ago, or `exp` past.
    Time,
    /// `events` does not say that it is about a logout.
    Event,
    /// `nonce` is there: it is an ID token.
    Nonce,
    /// Neither `sub` nor `sid` is there, or one is no text of 1 to 255 bytes.
    Nobody,
    /// `jti` is missing.
    Id,
}

impl LogoutTokenProblem {
    /// For the operational log.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Signature => "a signature by a key of the provider is expected, and the typ logout+jwt",
            Self::Issuer => "iss is expected to be the configured issuer",
            Self::Audience => "aud is expected to be our client_id",
            Self::Time => "iat is expected to be of the last minutes, and exp to lie in the future",
            Self::Event => "events is expected to hold the event of a back-channel logout",
            Self::Nonce => "no nonce is expected",
            Self::Nobody => "sub or sid of 1 to 255 characters is expected",
            Self::Id => "jti is expected",
        }
    }
}

/// Checks the claims of a signed token at the time `now`.
pub(super) fn check(
    claims: &Map<String, Value>,
    issuer: &str,
    client_id: &str,
    now: i64,
) -> Result<LoggedOut, LogoutTokenProblem> {
    if claims.get("iss").and_then(Value::as_str) != Some(issuer) {
        return Err(LogoutTokenProblem::Issuer);
    }
    let ours = match claims.get("aud") {
        Some(Value::String(audience)) => audience == client_id,
        Some(Value::Array(audiences)) => matches!(audiences.as_slice(), [Value::String(only)] if only == client_id),
        _ => false,
    };
    if !ours {
        return Err(LogoutTokenProblem::Audience);
    }
    let at = super::id_token::seconds(claims.get("iat")).ok_or(LogoutTokenProblem::Time)?;
    // `exp` is required since the final version; providers of before leave it out.
    let expired = claims.contains_key("exp")
        && super::id_token::seconds(claims.get("exp")).is_none_or(|expires| expires <= now - SKEW);
    if at > now + SKEW || at < now - MAX_AGE || expired {
        return Err(LogoutTokenProblem::Time);
    }
    let event = claims.get("events").and_then(|events| events.get(EVENT));
    if !event.is_some_and(Value::is_object) {
        return Err(LogoutTokenProblem::Event);
    }
    if claims.contains_key("nonce") {
        return Err(LogoutTokenProblem::Nonce);
    }
    let (subject, session) = (named(claims, "sub")?, named(claims, "sid")?);
    if subject.is_none() && session.is_none() {
        return Err(LogoutTokenProblem::Nobody);
    }
    let id = named(claims, "jti").ok().flatten().ok_or(LogoutTokenProblem::Id)?;
    Ok(LoggedOut { subject, session, id, expires: at + MAX_AGE + SKEW })
}

/// `sid` of an ID token, where there is one that can be remembered.
pub(super) fn session(claims: &Map<String, Value>) -> Option<String> {
    named(claims, "sid").ok().flatten()
}

/// A text that is there, or not there at all.
fn named(claims: &Map<String, Value>, name: &str) -> Result<Option<String>, LogoutTokenProblem> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let text = value.as_str().filter(|text| !text.is_empty() && text.len() <= MAX_TEXT);
    text.map(|text| Some(text.to_owned())).ok_or(LogoutTokenProblem::Nobody)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_900_000_000;

    fn checked(changes: &Value) -> Result<LoggedOut, LogoutTokenProblem> {
        let mut claims = json!({
            "iss": "https://idp.example", "aud": "us", "iat": NOW, "exp": NOW + 120, "jti": "j1", "sub": "ada",
            "sid": "s1", "events": {EVENT: {}},
        });
        let claims = claims.as_object_mut().unwrap();
        claims.extend(changes.as_object().unwrap().clone());
        claims.retain(|_, value| !value.is_null());
        check(claims, "https://idp.example", "us", NOW)
    }

    #[test]
    fn a_logout_token_says_who_and_which_session() {
        let out = checked(&json!({})).unwrap();
        assert_eq!((out.subject.as_deref(), out.session.as_deref(), out.id.as_str()), (Some("ada"), Some("s1"), "j1"));
        assert!(checked(&json!({"sid": null})).is_ok() && checked(&json!({"sub": null})).is_ok());
        assert!(checked(&json!({"exp": null, "aud": ["us"]})).is_ok());
    }

    #[test]
    fn a_token_with_any_defect_is_refused() {
        use LogoutTokenProblem as Problem;
        for (changes, expected) in [
            (json!({"iss": "https://other.example"}), Problem::Issuer),
            (json!({"aud": "them"}), Problem::Audience),
            (json!({"aud": ["us", "them"]}), Problem::Audience),
            (json!({"aud": null}), Problem::Audience),
            (json!({"iat": null}), Problem::Time),
            (json!({"iat": NOW - 601}), Problem::Time),
            (json!({"iat": NOW + 31}), Problem::Time),
            (json!({"exp": NOW - 30}), Problem::Time),
            (json!({"exp": "soon"}), Problem::Time),
            (json!({"events": null}), Problem::Event),
            (json!({"events": {}}), Problem::Event),
            (json!({"events": {EVENT: "yes"}}), Problem::Event),
            (json!({"events": [EVENT]}), Problem::Event),
            (json!({"nonce": "n"}), Problem::Nonce),
            (json!({"sub": null, "sid": null}), Problem::Nobody),
            (json!({"sub": 7}), Problem::Nobody),
            (json!({"sid": ""}), Problem::Nobody),
            (json!({"jti": null}), Problem::Id),
        ] {
            assert_eq!(checked(&changes).unwrap_err(), expected, "{changes}");
        }
    }
}
