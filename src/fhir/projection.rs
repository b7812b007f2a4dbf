//! Which elements of a resource remain under `_summary` and `_elements` (R4 search.html sections 3.1.1.5.8 and 3.1.1.5.9).
//!
//! Takes a resource type and what the client asked for, gives a test for the JSON keys directly below the root. The gateway
//! applies it itself, after the decision, so that decisions always see whole resources. What it promises: the result has every
//! mandatory element and `modifierExtension` and `implicitRules`, without which it would be invalid or misread. It does not look
//! inside elements, does not write JSON, and does not know `_summary=count`, which has no entries at all.

use super::definitions::{Element, element, element_with_key};
use super::resource_type::ResourceType;

/// The `meta.tag` that marks a resource as projected (R4 resource.html, `meta.tag`).
pub const SUBSETTED: &str =
    r#"{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}"#;

/// What the client wants to see of each resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Projection {
    /// Everything.
    #[default]
    Full,
    /// What a Binary holds, in the place of the resource (R4 binary.html#rest): its `Accept` asks for no FHIR.
    Content,
    /// `_elements`: the named elements and the mandatory ones. R4 wants it applied to matches, not to included resources.
    Elements(Vec<Box<str>>),
    /// `_summary=true`: the elements that the definition marks as summary, and the mandatory ones.
    SummaryTrue,
    /// `_summary=text`: `text`, `id`, `meta` and the mandatory elements.
    SummaryText,
    /// `_summary=data`: everything but `text`.
    SummaryData,
}

impl Projection {
    /// The parameter that asks for it, as it stands in a query; `None` for everything.
    #[must_use]
    pub fn parameter(&self) -> Option<String> {
        match self {
            Self::Full | Self::Content => None,
            Self::Elements(wanted) => Some(format!("_elements={}", wanted.join(","))),
            Self::SummaryTrue => Some("_summary=true".to_owned()),
            Self::SummaryText => Some("_summary=text".to_owned()),
            Self::SummaryData => Some("_summary=data".to_owned()),
        }
    }

    /// Whether resources can come out with less than they had, and so are to be marked [`SUBSETTED`].
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !matches!(self, Self::Full | Self::Content)
    }
}

/// What remains of a resource of this type.
#[must_use]
pub fn kept_elements(resource_type: ResourceType, projection: &Projection) -> KeptElements<'_> {
    KeptElements { resource_type, projection }
}

/// Whether `_elements` may name this: an element directly below the root, with or without `[x]` or the type of a choice. Client
/// libraries name `resourceType` too, which is no element and always there.
#[must_use]
pub fn is_element_name(resource_type: ResourceType, name: &str) -> bool {
    let by_name = match name.strip_suffix("[x]") {
        Some(choice) => element(resource_type, choice).filter(|element| element.is_choice()),
        None => element(resource_type, name),
    };
    is_common(resource_type, name) || by_name.is_some() || element_with_key(resource_type, name).is_some()
}

/// The test for JSON keys.
#[derive(Clone, Copy, Debug)]
pub struct KeptElements<'a> {
    resource_type: ResourceType,
    projection: &'a Projection,
}

impl KeptElements<'_> {
    /// Whether the member `key` directly below the root remains. `_birthDate` remains when `birthDate` does.
    #[must_use]
    pub fn keeps(&self, key: &str) -> bool {
        let name = key.strip_prefix('_').unwrap_or(key);
        if matches!(name, "resourceType" | "id" | "meta" | "implicitRules" | "modifierExtension") {
            return true;
        }
        match self.projection {
            Projection::Full | Projection::Content => true,
            Projection::SummaryData => name != "text",
            Projection::SummaryText => name == "text" || self.own(name).is_some_and(|own| own.mandatory),
            Projection::SummaryTrue => self.own(name).is_some_and(|own| own.mandatory || own.summary),
            Projection::Elements(wanted) => {
                let own = self.own(name);
                own.is_some_and(|own| own.mandatory) || wanted.iter().any(|wanted| names(wanted, name, own))
            }
        }
    }

    fn own(&self, key: &str) -> Option<&'static Element> {
        element_with_key(self.resource_type, key)
    }
}

/// Whether `wanted`, as the client wrote it, names the member `name`, which belongs to the element `own` if R4 knows it.
fn names(wanted: &str, name: &str, own: Option<&Element>) -> bool {
    wanted == name || own.is_some_and(|own| wanted.strip_suffix("[x]").unwrap_or(wanted) == own.name)
}

fn is_common(resource_type: ResourceType, name: &str) -> bool {
    match name {
        "resourceType" | "id" | "meta" | "implicitRules" | "language" => true,
        "text" | "contained" | "extension" | "modifierExtension" => resource_type.is_domain_resource(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
