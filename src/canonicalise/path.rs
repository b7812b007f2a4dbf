//! The closed grammar of paths and methods (R4 http.html section 3.1.0). A path is not repaired: what has a second reading
//! anywhere (escapes, dot segments, empty segments, matrix parameters) is refused.

use std::borrow::Cow;

use http::Method;

use crate::error::{Malformed, MalformedKind, Refusal};
use crate::fhir::interaction::Interaction;
use crate::fhir::reference::LogicalId as Id;
use crate::fhir::resource_type::ResourceType;

/// Types whose compartments R4 defines (compartmentdefinition.html).
const COMPARTMENTS: [ResourceType; 5] = [
    ResourceType::PATIENT,
    ResourceType::ENCOUNTER,
    ResourceType::PRACTITIONER,
    ResourceType::DEVICE,
    ResourceType::RELATED_PERSON,
];

/// Longest path: a base, the longest type name, two ids and what stands between.
const MAX_BYTES: usize = 1024;

/// The methods that some interaction has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// GET, and HEAD, which is executed as GET
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Verb {
    /// Methods are case-sensitive (RFC 9110 section 9.1).
    pub(super) fn of(method: &Method) -> Result<Self, Refusal> {
        match method.as_str() {
            "GET" | "HEAD" => Ok(Self::Get),
            "POST" => Ok(Self::Post),
            "PUT" => Ok(Self::Put),
            "PATCH" => Ok(Self::Patch),
            "DELETE" => Ok(Self::Delete),
            _ => Err(method_not_allowed()),
        }
    }
}

/// The one interaction that `path` below `base_path` and `verb` name.
///
/// # Errors
/// 400 for a path with a second reading, 404 for one that is not in the grammar, 405 for a method that it does not have.
pub(super) fn interaction(verb: Verb, path: &str, base_path: &str) -> Result<Interaction, Refusal> {
    let path = unambiguous(path)?;
    let below = path.strip_prefix(base_path.trim_end_matches('/')).ok_or_else(unknown)?;
    if !below.is_empty() && !below.starts_with('/') {
        return Err(unknown());
    }
    // One trailing slash changes nothing: `Patient/1/` is the same read as `Patient/1`.
    let below = below.strip_prefix('/').unwrap_or(below);
    let below = below.strip_suffix('/').unwrap_or(below);
    if below.is_empty() {
        return base(verb);
    }
    let mut segments = below.split('/');
    match (segments.next(), segments.next(), segments.next(), segments.next(), segments.next()) {
        (Some(one), None, ..) => one_segment(verb, one),
        (Some(one), Some(two), None, ..) => two_segments(verb, known_type(one)?, two),
        (Some(one), Some(two), Some(three), None, _) => three_segments(verb, known_type(one)?, known_id(two)?, three),
        (Some(one), Some(two), Some(three), Some(four), None) => {
            four_segments(verb, known_type(one)?, known_id(two)?, three, four)
        }
        _ => Err(unknown()),
    }
}

/// Refuses what two readers could read differently; the only escape that is undone is `%24` for `$`.
fn unambiguous(path: &str) -> Result<Cow<'_, str>, Refusal> {
    if path.len() > MAX_BYTES {
        let kind = MalformedKind::TargetTooLong;
        return Err(Refusal::Malformed(Malformed {
            kind,
            expected: format!("expected a path of at most {MAX_BYTES} bytes"),
        }));
    }
    let path = if path.contains("%24") { Cow::Owned(path.replace("%24", "$")) } else { Cow::Borrowed(path) };
    let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'%' | b';' | b'\\'))
        && path.starts_with('/')
        && !path.contains("//")
        && !path.split('/').any(|segment| matches!(segment, "." | ".."));
    if plain {
        Ok(path)
    } else {
        Err(Refusal::bad_request("expected a path without escapes, empty or dot segments, `;` and backslashes"))
    }
}

fn base(verb: Verb) -> Result<Interaction, Refusal> {
    match verb {
        Verb::Get => Ok(Interaction::SearchSystem),
        Verb::Post => Ok(Interaction::Batch),
        Verb::Put | Verb::Patch | Verb::Delete => Err(method_not_allowed()),
    }
}

fn one_segment(verb: Verb, segment: &str) -> Result<Interaction, Refusal> {
    match (segment, verb) {
        ("metadata", Verb::Get) => Ok(Interaction::Capabilities),
        ("_history", Verb::Get) => Ok(Interaction::HistorySystem),
        ("_search", Verb::Post) => Ok(Interaction::SearchSystem),
        ("metadata" | "_history" | "_search", _) => Err(method_not_allowed()),
        _ if segment.starts_with('$') => operation(verb, None, None, segment),
        _ => {
            let resource_type = known_type(segment)?;
            Ok(match verb {
                Verb::Get => Interaction::SearchType { resource_type },
                Verb::Post => Interaction::Create { resource_type },
                Verb::Put => Interaction::ConditionalUpdate { resource_type },
                Verb::Patch => Interaction::ConditionalPatch { resource_type },
                Verb::Delete => Interaction::ConditionalDelete { resource_type },
            })
        }
    }
}

fn two_segments(verb: Verb, resource_type: ResourceType, segment: &str) -> Result<Interaction, Refusal> {
    match (segment, verb) {
        ("_search", Verb::Post) => Ok(Interaction::SearchType { resource_type }),
        ("_history", Verb::Get) => Ok(Interaction::HistoryType { resource_type }),
        ("_search" | "_history", _) => Err(method_not_allowed()),
        _ if segment.starts_with('$') => operation(verb, Some(resource_type), None, segment),
        _ => {
            let id = known_id(segment)?;
            match verb {
                Verb::Get => Ok(Interaction::Read { resource_type, id }),
                Verb::Put => Ok(Interaction::Update { resource_type, id }),
                Verb::Patch => Ok(Interaction::Patch { resource_type, id }),
                Verb::Delete => Ok(Interaction::Delete { resource_type, id }),
                Verb::Post => Err(method_not_allowed()),
            }
        }
    }
}

fn three_segments(verb: Verb, resource_type: ResourceType, id: Id, segment: &str) -> Result<Interaction, Refusal> {
    match segment {
        "_history" => only(Verb::Get, verb, Interaction::HistoryInstance { resource_type, id }),
        "*" if resource_type == ResourceType::PATIENT => only(
            Verb::Get,
            verb,
            Interaction::SearchCompartment { compartment: resource_type, id, resource_type: None },
        ),
        _ if segment.starts_with('$') => operation(verb, Some(resource_type), Some(id), segment),
        _ => only(Verb::Get, verb, in_compartment(resource_type, id, segment)?),
    }
}

fn four_segments(
    verb: Verb,
    resource_type: ResourceType,
    id: Id,
    third: &str,
    fourth: &str,
) -> Result<Interaction, Refusal> {
    match (third, fourth) {
        ("_history", version) => {
            let version = known_id(version)?;
            only(Verb::Get, verb, Interaction::Vread { resource_type, id, version })
        }
        (name, "_search") => only(Verb::Post, verb, in_compartment(resource_type, id, name)?),
        _ => Err(unknown()),
    }
}

fn in_compartment(compartment: ResourceType, id: Id, name: &str) -> Result<Interaction, Refusal> {
    if !COMPARTMENTS.contains(&compartment) {
        return Err(unknown());
    }
    Ok(Interaction::SearchCompartment { compartment, id, resource_type: Some(known_type(name)?) })
}

fn operation(
    verb: Verb,
    resource_type: Option<ResourceType>,
    id: Option<Id>,
    segment: &str,
) -> Result<Interaction, Refusal> {
    let name = segment.strip_prefix('$').unwrap_or_default();
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        return Err(unknown());
    }
    match verb {
        Verb::Get | Verb::Post => Ok(Interaction::Operation { resource_type, id, name: name.to_owned() }),
        Verb::Put | Verb::Patch | Verb::Delete => Err(method_not_allowed()),
    }
}

fn only(expected: Verb, verb: Verb, interaction: Interaction) -> Result<Interaction, Refusal> {
    if verb == expected { Ok(interaction) } else { Err(method_not_allowed()) }
}

fn known_type(name: &str) -> Result<ResourceType, Refusal> {
    ResourceType::parse(name).ok_or_else(unknown)
}

fn known_id(text: &str) -> Result<Id, Refusal> {
    Id::parse(text).ok_or_else(unknown)
}

fn unknown() -> Refusal {
    let expected = "expected a path of the FHIR REST API: a resource type, spelled exactly, below this base".to_owned();
    Refusal::Malformed(Malformed { kind: MalformedKind::UnknownPath, expected })
}

fn method_not_allowed() -> Refusal {
    let expected = "expected a method that FHIR defines for this path, in upper case".to_owned();
    Refusal::Malformed(Malformed { kind: MalformedKind::MethodNotAllowed, expected })
}
