//! The upstream's URLs: its base from the configuration, and paths and queries rebuilt from parsed parts.

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
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
            let query = encode(parameters);
            if query.len() > LONG_QUERY || describes_person(*resource_type, parameters) {
                (format!("{base}/{}/_search", resource_type.name()), Some(query))
            } else if query.is_empty() {
                (format!("{base}/{}", resource_type.name()), None)
            } else {
                (format!("{base}/{}?{query}", resource_type.name()), None)
            }
        }
        UpstreamRequest::Page { path_and_query, .. } => (format!("{base}{path_and_query}"), None),
        UpstreamRequest::Nothing { .. } => return None,
    };
    Some(Target { uri: text.parse().ok()?, form })
}

/// Whether a search says who somebody is: what is known of a person, as the picker's search has it, stands in no URL, and so in
/// no log of URLs.
fn describes_person(resource_type: ResourceType, parameters: &[(String, String)]) -> bool {
    matches!(resource_type.name(), "Patient" | "RelatedPerson" | "Person")
        && parameters.iter().any(|(name, _)| !name.starts_with('_'))
}

fn encode(parameters: &[(String, String)]) -> String {
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
    fn a_read_names_type_and_id_below_the_base() {
        let resource_type = ResourceType::parse("Patient").unwrap();
        let read = UpstreamRequest::Read { resource_type, id: LogicalId::parse("P1").unwrap() };
        assert_eq!(target("http://up/fhir", &read).unwrap().uri.to_string(), "http://up/fhir/Patient/P1");
    }
}
