//! The upstream's URLs: its base from the configuration, and paths and queries rebuilt from parsed parts.

use std::fmt;

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use url::Url;

use crate::authorize::UpstreamRequest;
use crate::fhir::resource_type::ResourceType;

/// What is left as it is in a query value: the unreserved characters, and those of FHIR search syntax that are legal in a
/// query (RFC 3986 section 3.4).
const QUERY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/').remove(b':').remove(b',');

/// A rebuilt upstream request line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) uri: Uri,
    /// A form body: the request is a POST.
    pub(super) form: Option<String>,
}

/// A request line as it is sent, for records and explanations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RequestLine {
    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub method: &'static str,
    /// Path and query below the upstream's base.
    pub target: String,
    /// The form in the body of a search by POST.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form: Option<String>,
}

impl fmt::Display for RequestLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.target)?;
        match &self.form {
            Some(form) => write!(f, " with the form {form}"),
            None => Ok(()),
        }
    }
}

/// The lines that `request` is sent as; none when nothing is.
pub(crate) fn request_lines(request: &UpstreamRequest) -> Vec<RequestLine> {
    match request {
        UpstreamRequest::Each { parts, .. } => {
            return parts.iter().flat_map(|part| request_lines(&part.request)).collect();
        }
        UpstreamRequest::PerType { searches } => return searches.iter().flat_map(request_lines).collect(),
        UpstreamRequest::Write(write) => return vec![super::write::request_line(write)],
        UpstreamRequest::Operation(invocation) if invocation.body.is_some() => {
            let target = super::operation::path(invocation);
            return vec![RequestLine { method: "POST", target, form: None }];
        }
        UpstreamRequest::Transaction(_) => {
            return vec![RequestLine { method: "POST", target: "/".to_owned(), form: None }];
        }
        _ => {}
    }
    let line = |Target { uri, form }: Target| RequestLine {
        method: if form.is_some() { "POST" } else { "GET" },
        target: uri.to_string(),
        form,
    };
    target("", request).map(line).into_iter().collect()
}

/// Queries longer than this travel in a form body, and so do those that describe a person.
const LONG_QUERY: usize = 2000;

/// The upstream's base URL without a trailing slash, as text.
pub(super) fn base_text(base: &Url) -> String {
    base.as_str().trim_end_matches('/').to_owned()
}

/// The request line for `request`, or `None` when nothing is to be sent (or nothing could be built, which forbids it too).
pub(super) fn target(base: &str, request: &UpstreamRequest) -> Option<Target> {
    let (text, form) = match request {
        UpstreamRequest::Read { resource_type, id } => {
            (format!("{base}/{}/{}", resource_type.name(), id.as_str()), None)
        }
        UpstreamRequest::Vread { resource_type, id, version } => {
            (format!("{base}/{}/{}/_history/{}", resource_type.name(), id.as_str(), version.as_str()), None)
        }
        UpstreamRequest::Search { resource_type, parameters } => {
            search(format!("{base}/{resource_type}"), *resource_type, parameters)
        }
        UpstreamRequest::SearchCompartment { compartment, id, resource_type, parameters } => {
            search(format!("{base}/{compartment}/{id}/{resource_type}"), *resource_type, parameters)
        }
        UpstreamRequest::History { path, parameters } => {
            let query = encode(parameters);
            (if query.is_empty() { format!("{base}/{path}") } else { format!("{base}/{path}?{query}") }, None)
        }
        UpstreamRequest::Page { path_and_query, .. } => (format!("{base}{path_and_query}"), None),
        UpstreamRequest::Operation(invocation) => (format!("{base}{}", super::operation::path(invocation)), None),
        // Each part has a target of its own, and so has a write.
        UpstreamRequest::Each { .. }
        | UpstreamRequest::PerType { .. }
        | UpstreamRequest::Nothing { .. }
        | UpstreamRequest::Write(_)
        | UpstreamRequest::Transaction(_) => return None,
    };
    Some(Target { uri: text.parse().ok()?, form })
}

fn search(path: String, resource_type: ResourceType, parameters: &[(String, String)]) -> (String, Option<String>) {
    let query = encode(parameters);
    if query.len() > LONG_QUERY || describes_person(resource_type, parameters) {
        (format!("{path}/_search"), Some(query))
    } else if query.is_empty() {
        (path, None)
    } else {
        (format!("{path}?{query}"), None)
    }
}

/// Whether a search says who somebody is: what is known of a person, as the picker's search has it, stands in no URL, and so in
/// no log of URLs. A condition on another resource is most often on a person.
fn describes_person(resource_type: ResourceType, parameters: &[(String, String)]) -> bool {
    let person = matches!(resource_type.name(), "Patient" | "RelatedPerson" | "Person");
    let describes = |name: &str| person && !name.starts_with('_') || name.contains('.') || name.starts_with("_has:");
    parameters.iter().any(|(name, _)| describes(name))
}

/// The URL of a read or a search within a transaction, below the base: all of it, for an entry has no form.
pub(super) fn below(request: &UpstreamRequest) -> Option<String> {
    match request {
        UpstreamRequest::Read { resource_type, id } => Some(format!("{resource_type}/{id}")),
        UpstreamRequest::Search { resource_type, parameters } if parameters.is_empty() => {
            Some(resource_type.name().to_owned())
        }
        UpstreamRequest::Search { resource_type, parameters } => {
            Some(format!("{resource_type}?{}", encode(parameters)))
        }
        _ => None,
    }
}

pub(super) fn encode(parameters: &[(String, String)]) -> String {
    let mut text = String::new();
    for (name, value) in parameters {
        if !text.is_empty() {
            text.push('&');
        }
        text.extend(utf8_percent_encode(name, QUERY));
        text.push('=');
        text.extend(utf8_percent_encode(value, QUERY));
    }
    text
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::*;
    use crate::fhir::reference::LogicalId;

    fn search(parameters: &[(&str, &str)]) -> Target {
        search_of("Observation", parameters)
    }

    fn search_of(resource_type: &str, parameters: &[(&str, &str)]) -> Target {
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let resource_type = ResourceType::parse(resource_type).unwrap();
        target("http://up/fhir", &UpstreamRequest::Search { resource_type, parameters }).unwrap()
    }

    #[test]
    fn values_are_encoded_so_that_they_stay_values() {
        let target = search(&[("code", "a&patient=P2#x"), ("code:text", "a b+c%"), ("subject", "Patient/P1")]);
        assert_eq!(
            target.uri.to_string(),
            "http://up/fhir/Observation?code=a%26patient%3DP2%23x&code:text=a%20b%2Bc%25&subject=Patient/P1"
        );
        assert_eq!(target.form, None);
    }

    #[test]
    fn a_long_query_travels_in_a_form() {
        let target = search(&[("code", &"x".repeat(3000))]);
        assert_eq!(target.uri.to_string(), "http://up/fhir/Observation/_search");
        assert!(target.form.unwrap().starts_with("code=xxx"));
    }

    #[test]
    fn what_describes_a_person_travels_in_a_form() {
        let target = search_of("Patient", &[("_count", "20"), ("name", "Chalmers")]);
        assert_eq!(target.uri.to_string(), "http://up/fhir/Patient/_search");
        assert_eq!(target.form.as_deref(), Some("_count=20&name=Chalmers"));
        for known in [&[("_id", "P1")][..], &[("_count", "20")], &[]] {
            assert_eq!(search_of("Patient", known).form, None, "{known:?}");
        }
    }

    #[test]
    fn what_describes_a_person_on_the_way_travels_in_a_form_too() {
        for known in ["patient.name", "subject:Patient.birthdate", "_has:Patient:link:name"] {
            let target = search(&[("code", "x"), (known, "CANARY")]);
            assert_eq!(target.uri.to_string(), "http://up/fhir/Observation/_search", "{known}");
            assert!(target.form.unwrap().contains("CANARY"), "{known}");
        }
    }

    #[test]
    fn a_read_names_type_and_id_below_the_base() {
        let resource_type = ResourceType::parse("Patient").unwrap();
        let read = UpstreamRequest::Read { resource_type, id: LogicalId::parse("P1").unwrap() };
        assert_eq!(target("http://up/fhir", &read).unwrap().uri.to_string(), "http://up/fhir/Patient/P1");
    }
}
