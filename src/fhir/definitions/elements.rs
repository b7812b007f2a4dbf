//! The elements directly below the root of each resource type.

use std::sync::LazyLock;

use super::{rows, words};
use crate::fhir::resource_type::ResourceType;

static TABLE: LazyLock<Vec<Vec<Element>>> = LazyLock::new(read);

/// The elements of `resource_type` by name, without those that every resource has (`id`, `meta`, `implicitRules`, `language`,
/// `text`, `contained`, `extension`, `modifierExtension`).
#[must_use]
pub fn elements(resource_type: ResourceType) -> &'static [Element] {
    TABLE.get(resource_type.index()).map_or(&[], Vec::as_slice)
}

/// The element of `resource_type` with this name, without those that every resource has. A choice is found by its name
/// without a type: `value`.
#[must_use]
pub fn element(resource_type: ResourceType, name: &str) -> Option<&'static Element> {
    let elements = elements(resource_type);
    let at = elements.binary_search_by(|element| element.name.cmp(name)).ok()?;
    elements.get(at)
}

/// The element of `resource_type` that has this JSON key, without those that every resource has. A choice is found by its
/// name with one of its types: `valueQuantity`.
#[must_use]
pub fn element_with_key(resource_type: ResourceType, key: &str) -> Option<&'static Element> {
    match element(resource_type, key) {
        Some(named) if !named.is_choice() => Some(named),
        _ => elements(resource_type).iter().filter(|element| element.is_choice()).find(|choice| choice.has_key(key)),
    }
}

/// An element directly below the root of a resource (R4 elementdefinition.html).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// The name; for a choice `value[x]`, only `value`.
    pub name: &'static str,
    /// Whether every instance has it: `min` is at least 1.
    pub mandatory: bool,
    /// Whether it is part of the summary: `isSummary`.
    pub summary: bool,
    /// For a choice, what follows the name in JSON: `Quantity` for `valueQuantity`. Empty for what is no choice.
    choices: Vec<&'static str>,
}

impl Element {
    /// Whether it is a choice of data types, `value[x]` in the definition.
    #[must_use]
    pub fn is_choice(&self) -> bool {
        !self.choices.is_empty()
    }

    /// Its JSON keys: one, or for a choice one for each type.
    pub fn keys(&self) -> impl Iterator<Item = String> {
        let plain = if self.is_choice() { None } else { Some("") };
        self.choices.iter().copied().chain(plain).map(|choice| format!("{}{choice}", self.name))
    }

    /// Whether `key` is this element's JSON key: its name, or for a choice the name with one of its types.
    #[must_use]
    pub fn has_key(&self, key: &str) -> bool {
        key.strip_prefix(self.name).is_some_and(|rest| {
            if self.choices.is_empty() { rest.is_empty() } else { self.choices.binary_search(&rest).is_ok() }
        })
    }
}

fn read() -> Vec<Vec<Element>> {
    let mut table: Vec<Vec<Element>> = vec![Vec::new(); ResourceType::COUNT];
    for [resource_type, name, flags, choices] in rows(include_str!("r4/elements.tsv")) {
        let of_type = ResourceType::parse(resource_type).and_then(|known| table.get_mut(known.index()));
        if let Some(of_type) = of_type {
            let (mandatory, summary) = (flags.contains('m'), flags.contains('s'));
            of_type.push(Element { name, mandatory, summary, choices: words(choices).collect() });
        }
    }
    table
}
