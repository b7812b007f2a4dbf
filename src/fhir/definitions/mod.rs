//! The definitions of FHIR R4 (4.0.1), as far as enforcement needs them: search parameters, elements, compartment members.
//!
//! Takes the tables in `r4/`, which `generate.py` beside this file writes from HL7's definitions; gives static lookups by
//! resource type. Everything is parsed once, at the first look-up ([`load`] does it at start), and never changes. A row that
//! does not parse is left out, which denies; a test proves that there is none.
//!
//! It does not evaluate anything: paths are for others to walk, and an expression that is more than steps through elements
//! has no path at all ([`SearchParameter::paths`] is empty), so whoever depends on it must refuse.

mod elements;
mod search_parameter;

pub use elements::{Element, element, element_with_key, elements};
pub use search_parameter::{ElementPath, ParameterKind, SearchParameter, search_parameter, search_parameters};

use super::resource_type::ResourceType;

/// Parses all tables now, instead of at the first request that needs them. Costs about a millisecond.
pub fn load() {
    let _ = search_parameters(ResourceType::PATIENT);
    let _ = elements(ResourceType::PATIENT);
    let _ = super::compartment::patient_compartment(ResourceType::PATIENT);
}

/// The patient compartment's table: type and parameter names, primary first.
pub(super) fn patient_compartment_rows() -> impl Iterator<Item = (ResourceType, std::str::SplitWhitespace<'static>)> {
    rows(include_str!("r4/patient-compartment.tsv"))
        .filter_map(|[name, parameters]| Some((ResourceType::parse(name)?, parameters.split_whitespace())))
}

/// The rows of a table: lines of exactly `N` cells between tabs. Lines that begin with `#` are headings.
fn rows<const N: usize>(table: &'static str) -> impl Iterator<Item = [&'static str; N]> {
    table.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut cells = line.split('\t');
        let mut row = [""; N];
        for cell in &mut row {
            *cell = cells.next()?;
        }
        cells.next().is_none().then_some(row)
    })
}

/// The words of a cell, where `-` means that there are none.
fn words(cell: &'static str) -> impl Iterator<Item = &'static str> {
    cell.split_ascii_whitespace().filter(|word| *word != "-")
}

#[cfg(test)]
mod tests;
