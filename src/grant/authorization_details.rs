//! `authorization_details` of the type `smart_on_fhir` (RFC 9396; SMART App Launch 2.2, "authorization details for multiple
//! servers", which is experimental).
//!
//! Takes the parameter of a request, which may name this server and nothing else; gives, with each token of the grant and at
//! introspection, where the token is good and for what. Promises: what is given says what was granted, never what was asked; the
//! parameter widens nothing, because scopes and context have parameters of their own.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Grants;
use super::authorization_request::is_fhir_base;
use super::records::{Details, Grant};
use crate::config::Config;
use crate::fhir;

/// The one type that there is.
pub(super) const SMART_ON_FHIR: &str = "smart_on_fhir";

/// The name of the parameter.
pub(super) const PARAMETER: &str = "authorization_details";

/// One object of a request. A scope or a context in it is refused like every member that is not known.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "given")]
    locations: Option<Vec<String>>,
    #[serde(default, rename = "fhirVersions", deserialize_with = "given")]
    fhir_versions: Option<Vec<String>>,
}

/// One object of an answer.
#[derive(Debug, Serialize)]
pub(super) struct AuthorizationDetails<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    locations: [String; 1],
    #[serde(rename = "fhirVersions")]
    fhir_versions: [&'static str; 1],
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    patient: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encounter: Option<&'a str>,
    #[serde(rename = "fhirContext", skip_serializing_if = "<[Value]>::is_empty")]
    fhir_context: &'a [Value],
}

/// Whether a request whose parameter has this value asks for details. `Err` (`invalid_authorization_details`, RFC 9396 section 5):
/// what was expected.
pub(super) fn asked(config: &Config, parameter: Option<&str>) -> Result<Details, &'static str> {
    let Some(text) = parameter.filter(|text| !text.is_empty()) else { return Ok(Details::Unasked) };
    let expected = "authorization_details is expected to be a list of objects of the type smart_on_fhir, with locations and \
                    fhirVersions of this server at most; scopes are asked for by the parameter scope";
    let objects: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| expected)?;
    let ours = objects.iter().all(|object| Asked::read(object.get()).is_some_and(|asked| asked.is_ours(config)));
    if ours && !objects.is_empty() { Ok(Details::Asked) } else { Err(expected) }
}

impl Asked {
    /// A list of the values would do for the library, too.
    fn read(object: &str) -> Option<Self> {
        serde_json::from_str(object).ok().filter(|_| object.starts_with('{'))
    }

    fn is_ours(&self, config: &Config) -> bool {
        let all = |values: &Option<Vec<String>>, is: &dyn Fn(&str) -> bool| {
            values.as_ref().is_none_or(|values| !values.is_empty() && values.iter().all(|value| is(value)))
        };
        self.kind == SMART_ON_FHIR
            && all(&self.locations, &|location| is_fhir_base(config, location))
            && all(&self.fhir_versions, &|version| version == fhir::VERSION)
    }
}

impl<'a> AuthorizationDetails<'a> {
    /// What goes with a token of `grant` for `scope`; `None` when nobody asked for it.
    pub(super) fn of(grants: &Grants, grant: &'a Grant, scope: &str) -> Option<[Self; 1]> {
        (grant.details == Details::Asked).then(|| {
            [Self {
                kind: SMART_ON_FHIR,
                locations: [grants.config.fhir_base()],
                fhir_versions: [fhir::VERSION],
                scope: scope.to_owned(),
                patient: grant.patient.as_deref(),
                encounter: grant.encounter.as_deref(),
                fhir_context: grant.launch.as_ref().map(|launch| launch.fhir_context.as_slice()).unwrap_or_default(),
            }]
        })
    }
}

/// A list that is there; `null` is none.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    Vec::deserialize(deserializer).map(Some)
}
