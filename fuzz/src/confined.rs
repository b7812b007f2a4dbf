//! What must hold of every permit that a token for one patient gets, whatever was asked.

use std::sync::LazyLock;

use firebreak::authorize::{Decision, Permit, UpstreamRequest};
use firebreak::canonicalise::FhirRequest;
use firebreak::fhir::compartment::{PatientCompartment, extension_compartment, patient_compartment};
use firebreak::fhir::definitions::{SearchParameter, search_parameter};
use firebreak::fhir::interaction::Interaction;
use firebreak::fhir::narrow::same_single_element;
use firebreak::fhir::reference::LogicalId;
use firebreak::fhir::resource_type::ResourceType;
use firebreak::fuzzing::{Enforcement, THEIRS, upstream, upstream_target};

/// Decision and filter for a token with `patient/*.rs` for `P1`.
pub static P1: LazyLock<Enforcement> =
    LazyLock::new(|| Enforcement::new("patient/*.rs", "P1").expect("the shipped policies load"));

/// Names of parameters that a restricted grant has no use of, or that the gateway applies itself.
const NEVER_SENT: [&str; 17] = [
    "_contained",
    "_containedType",
    "_content",
    "_elements",
    "_filter",
    "_format",
    "_getpages",
    "_has",
    "_in",
    "_list",
    "_page",
    "_pretty",
    "_query",
    "_summary",
    "_text",
    "_total",
    "access_token",
];

/// Decides about `request`, checks what the upstream would be asked, and gives the permit where there is one.
///
/// # Panics
/// When more would be asked than the patient's own.
pub fn decided(request: FhirRequest) -> Option<Permit> {
    let interaction = request.interaction().clone();
    let Decision::Permit(permit) = P1.decide(request) else { return None };
    for sent in upstream(&permit) {
        let target = upstream_target(sent);
        match (&interaction, sent) {
            (Interaction::Read { resource_type, id }, UpstreamRequest::Read { resource_type: of, id: other }) => {
                assert_eq!((resource_type, id), (of, other));
                assert_eq!(target, Some((format!("{THEIRS}/{of}/{id}"), None)));
            }
            (
                Interaction::Vread { resource_type, id, version },
                UpstreamRequest::Vread { resource_type: of, id: other, version: number },
            ) => {
                assert_eq!((resource_type, id, version), (of, other, number));
                assert_eq!(target, Some((format!("{THEIRS}/{of}/{id}/_history/{version}"), None)));
            }
            (asked, UpstreamRequest::Search { resource_type, parameters }) => {
                searches(asked, *resource_type);
                confined(*resource_type, parameters);
                let (url, form) = target.expect("a search that is not empty is sent");
                written(*resource_type, parameters, &url, form.as_deref());
            }
            (asked, UpstreamRequest::Nothing { resource_type }) => {
                searches(asked, *resource_type);
                assert_eq!(target, None);
            }
            (Interaction::Operation { resource_type, id, name }, UpstreamRequest::Operation(_)) => {
                let id = id.as_ref().map(LogicalId::as_str);
                operates(*resource_type, id, name, &target.expect("an operation is sent").0);
            }
            // A continuation opens only with the gateway's own seal, and the upstream's own compartments are for those who see all.
            (asked, sent) => panic!("{asked:?} was permitted as {sent:?}"),
        }
    }
    Some(permit)
}

/// The operation is one for a grant for one patient, about that patient, and the request names nothing else.
fn operates(resource_type: Option<ResourceType>, id: Option<&str>, name: &str, url: &str) {
    let of = resource_type.expect("nothing is asked of the whole system");
    let instance = id.map_or_else(String::new, |id| format!("/{id}"));
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    assert_eq!(path, format!("{THEIRS}/{of}{instance}/${name}"));
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    for (name, _) in &pairs {
        assert!(!NEVER_SENT.contains(&name.split(':').next().unwrap_or_default()), "{url}");
    }
    match name {
        "everything" | "summary" => assert_eq!((of, id), (ResourceType::PATIENT, Some("P1")), "{url}"),
        "lastn" => {
            let own: Vec<(String, String)> = pairs.into_iter().filter(|(name, _)| name != "max").collect();
            confined(of, &own);
        }
        "document" | "expand" | "validate-code" | "lookup" | "subsumes" | "translate" => {}
        other => panic!("{other} was permitted: {url}"),
    }
}

/// The interaction is a search, and on this type where it names one; in a compartment, in the patient's own.
fn searches(interaction: &Interaction, resource_type: ResourceType) {
    match interaction {
        Interaction::SearchType { resource_type: of } => assert_eq!(*of, resource_type),
        Interaction::SearchCompartment { compartment, id, resource_type: of } => {
            assert_eq!((*compartment, id.as_str()), (ResourceType::PATIENT, "P1"));
            assert!(of.is_none_or(|of| of == resource_type));
        }
        Interaction::SearchSystem => {}
        Interaction::Operation { resource_type: of, name, .. } if name == "lastn" || name == "docref" => {
            assert_eq!(*of, Some(resource_type));
        }
        other => panic!("{other:?} became a search on {resource_type}"),
    }
}

/// The gateway's own condition is there, and nothing that looks beyond the patient's own.
fn confined(resource_type: ResourceType, parameters: &[(String, String)]) {
    let compartment = patient_compartment(resource_type).or_else(|| extension_compartment(resource_type));
    let primary = compartment.and_then(PatientCompartment::primary).expect("only what has a patient is searched");
    let own = if resource_type == ResourceType::PATIENT { "P1" } else { "Patient/P1" };
    let first = parameters.first().map(|(name, value)| (name.as_str(), value.as_str()));
    assert_eq!(first, Some((primary.name, own)), "{parameters:?}");
    for (name, value) in parameters {
        let (base, modifier) = name.split_once(':').unwrap_or((name, ""));
        assert!(!NEVER_SENT.contains(&base), "{name}");
        assert!(!["above", "below", "in", "not-in"].contains(&modifier), "{name}");
        assert!(!value.chars().any(char::is_control), "{name}={value:?}");
        if matches!(base, "_include" | "_revinclude") {
            // It says what it brings, and goes on from nothing that was included.
            assert!(modifier.is_empty() && !value.contains('*'), "{name}={value}");
        } else if let Some((through, at)) = name.split_once('.') {
            through_the_patient(resource_type, (primary, through), at, name);
        }
    }
    for key in parameters.iter().filter(|(name, _)| name == "_sort").flat_map(|(_, keys)| keys.split(',')) {
        assert!(!key.contains(['.', ':']), "_sort={key}");
    }
}

/// A chain goes through the element that the search is confined by, to the patient's own content, and no further.
fn through_the_patient(
    resource_type: ResourceType,
    (primary, through): (&'static SearchParameter, &str),
    at: &str,
    name: &str,
) {
    let through = through.strip_suffix(":Patient").unwrap_or(through);
    let through = search_parameter(resource_type, through).unwrap_or_else(|| panic!("{name}"));
    assert!(same_single_element(primary, through), "{name}");
    let own = at.split(':').next().unwrap_or_default();
    assert!(!at.contains('.') && search_parameter(ResourceType::PATIENT, own).is_some(), "{name}");
}

/// On the wire, values are values: another reader of the query or the form reads the same parameters.
fn written(resource_type: ResourceType, parameters: &[(String, String)], url: &str, form: Option<&str>) {
    let below = url.strip_prefix(THEIRS).unwrap_or_else(|| panic!("{url}"));
    let query = match form {
        Some(form) => {
            assert_eq!(below, format!("/{resource_type}/_search"));
            form
        }
        None => below.strip_prefix(&format!("/{resource_type}?")).unwrap_or_else(|| panic!("{url}")),
    };
    assert!(query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'), "{query}");
    let read: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    assert_eq!(read, parameters, "{query}");
}
