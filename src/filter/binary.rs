//! Attachments: an address of a Binary in a released resource becomes a link of ours, and a Binary leaves as what it holds.
//!
//! A grant that is restricted has Binaries by what refers to them: each address of one in an element, an extension or a contained
//! resource becomes `BASE/Binary/id?gw=<sealed>`, sealed with the resource it was found in and for whom it was released. What
//! comes back is authorised anew. One version of a Binary has no such link, and a reference to a Binary is no address. To a grant
//! that reaches everything of the type, the address is released as it is, below our base.
//!
//! What a Binary holds (R4 binary.html#rest) leaves as its `contentType` says and is never shown by a browser as a part of our
//! origin: it is a download, its type is not guessed, and it runs in a sandbox.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};

use super::urls::Position;
use super::{Filter, unusable};
use crate::authorize::{Obligations, Reach};
use crate::error::Refusal;
use crate::fhir::facts::Facts;
use crate::fhir::reference::normalise;
use crate::fhir::resource_type::ResourceType;
use crate::json::Value;

impl Filter {
    /// The link that an address in a released resource becomes, when it is that of a Binary and the resource is within a reach that
    /// is restricted.
    pub(super) fn attachment(
        &self,
        facts: &Facts<'_>,
        obligations: &Obligations,
        position: Position,
        url: &str,
    ) -> Option<String> {
        if !matches!(position, Position::Url | Position::Value) {
            return None;
        }
        let local = normalise(url, &self.bases)?;
        let of_now = local.resource_type == ResourceType::BINARY && local.version.is_none();
        let parent = (facts.resource_type(), facts.id()?);
        if !of_now || parent.0 == ResourceType::PROVENANCE || !is_restricted(parent.0, obligations) {
            return None;
        }
        let sealed = self.sealer.seal_attachment(local.id, parent, &obligations.principal)?;
        Some(format!("{}/Binary/{}?gw={sealed}", self.rebase.ours(), local.id))
    }
}

/// Whether not every resource of the type is within reach.
fn is_restricted(resource_type: ResourceType, obligations: &Obligations) -> bool {
    let Obligations { reach, beside, changed, .. } = obligations;
    let readable = changed.as_ref().and_then(|changed| changed.readable.as_ref());
    let reaches = match &obligations.changed {
        Some(_) => [None, readable],
        None => [Some(reach), None],
    };
    let mut reaches = reaches.into_iter().flatten().chain(beside.also()).chain(beside.included());
    !reaches.any(|reach: &Reach| reach.resource_type() == resource_type && reach.is_unrestricted())
}

/// What a Binary holds, with the header fields that say what it is.
///
/// # Errors
/// When its `data` is not base64.
pub(super) fn content(binary: Value<'_>) -> Result<(HeaderMap, Bytes), Refusal> {
    let data = match binary.member("data") {
        None => Vec::new(),
        Some(data) => {
            let text = data.string().ok_or_else(|| unusable("a Binary whose data is no text"))?;
            let text: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).collect();
            STANDARD.decode(text).map_err(|_| unusable("a Binary whose data is not base64"))?
        }
    };
    let media_type = binary.text("contentType").filter(|text| is_media_type(text));
    let media_type = media_type.and_then(|text| HeaderValue::from_str(&text).ok());
    let mut headers = HeaderMap::new();
    let unknown = HeaderValue::from_static("application/octet-stream");
    headers.insert(CONTENT_TYPE, media_type.unwrap_or(unknown));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    Ok((headers, data.into()))
}

/// `type/subtype` with parameters whose values are tokens or quoted (RFC 9110 section 8.3.1).
fn is_media_type(text: &str) -> bool {
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    let quoted = |text: &str| {
        let inside = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        inside.is_some_and(|inside| inside.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b"\"\\;".contains(&byte)))
    };
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().and_then(|name| name.split_once('/'));
    text.len() <= 255
        && name.is_some_and(|(of, sub)| token(of) && token(sub) && of != "*" && sub != "*")
        && parts.all(|part| {
            part.split_once('=').is_some_and(|(name, value)| token(name) && (token(value) || quoted(value)))
        })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::*;
    use crate::json::{Json, Limits};

    fn held(members: &str) -> Result<(String, Vec<u8>), u16> {
        let text = format!(r#"{{"resourceType":"Binary","id":"b"{members}}}"#);
        let json = Json::parse(text.into_bytes(), Limits::default()).unwrap();
        let (headers, body) = content(json.root()).map_err(|refusal| refusal.status().as_u16())?;
        assert_eq!(headers.get(CONTENT_DISPOSITION).unwrap(), "attachment");
        assert_eq!(headers.get(CONTENT_SECURITY_POLICY).unwrap(), "sandbox");
        assert_eq!(headers.get(X_CONTENT_TYPE_OPTIONS).unwrap(), "nosniff");
        Ok((headers.get(CONTENT_TYPE).unwrap().to_str().unwrap().to_owned(), body.to_vec()))
    }

    #[test]
    fn what_a_binary_holds_is_decoded_and_named_or_of_no_known_type() {
        let unknown = "application/octet-stream".to_owned();
        for (members, media_type, body) in [
            (r#","contentType":"text/plain","data":"aGk=""#, "text/plain".to_owned(), "hi"),
            (r#","contentType":"text/html; charset=utf-8","data":"aGk=""#, "text/html; charset=utf-8".to_owned(), "hi"),
            (
                r#","contentType":"multipart/related; boundary=\"a b\"","data":"a Gk\n=""#,
                "multipart/related; boundary=\"a b\"".to_owned(),
                "hi",
            ),
            (r#","data":"aGk=""#, unknown.clone(), "hi"),
            (r#","contentType":"text/plain""#, "text/plain".to_owned(), ""),
            (r#","contentType":"text","data":"aGk=""#, unknown.clone(), "hi"),
            (r#","contentType":"text/*","data":"aGk=""#, unknown.clone(), "hi"),
            (r#","contentType":["text/plain"],"data":"aGk=""#, unknown.clone(), "hi"),
            (r#","contentType":"text/plain\r\nset-cookie: a=b","data":"aGk=""#, unknown.clone(), "hi"),
            (r#","contentType":"text/plain, text/html","data":"aGk=""#, unknown.clone(), "hi"),
            (r#","contentType":"text/plain;x","data":"aGk=""#, unknown, "hi"),
        ] {
            assert_eq!(held(members), Ok((media_type, body.as_bytes().to_vec())), "{members}");
        }
        for members in [r#","data":"aGk""#, r#","data":"a-k=""#, r#","data":["aGk="]"#, r#","data":"aGk=aGk=""#] {
            assert_eq!(held(members), Err(502), "{members}");
        }
    }
}
