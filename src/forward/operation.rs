//! Operations: asked by GET where the query says it all, otherwise by one POST with a rebuilt body.
//!
//! Takes an [`Invocation`], gives what the upstream says to it. Promises of a POST: it is sent once, whether it changes something or
//! not; the header fields are ours alone.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::Full;

use super::client::fhir_json;
use super::target::encode;
use super::write::judge;
use super::{Answered, Upstream};
use crate::authorize::Invocation;
use crate::error::UpstreamFault;

impl Upstream {
    /// The operation, with its body.
    pub(super) async fn invoke(&self, invocation: &Invocation, request_id: &str) -> Result<Answered, UpstreamFault> {
        let unwritable = |_| UpstreamFault::Unusable("the request cannot be written as a URL");
        let uri: Uri = format!("{}{}", self.base, path(invocation)).parse().map_err(unwritable)?;
        let mut headers = self.headers(request_id);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/fhir+json"));
        let mut request = Request::new(Full::new(invocation.body.clone().unwrap_or_default()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let (status, headers, body) = self.once(request).await?;
        match judge(status, &headers, body)? {
            Answered::Written(written) if written.status == StatusCode::NO_CONTENT => Ok(Answered::Nothing),
            Answered::Written(written) => {
                fhir_json(&headers)?;
                Ok(Answered::Resource { body: written.body, etag: None, last_modified: None })
            }
            other => Ok(other),
        }
    }
}

/// Path and query below the base.
pub(super) fn path(invocation: &Invocation) -> String {
    let mut text = String::new();
    if let Some(resource_type) = invocation.resource_type {
        text.push('/');
        text.push_str(resource_type.name());
    }
    if let Some(id) = &invocation.id {
        text.push('/');
        text.push_str(id.as_str());
    }
    text.push_str("/$");
    text.push_str(&invocation.name);
    if !invocation.parameters.is_empty() {
        text.push('?');
        text.push_str(&encode(&invocation.parameters));
    }
    text
}
