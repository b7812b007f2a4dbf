//! Which software the FHIR server is, and what the gateway does on account of it.

use std::fmt::Write as _;

use crate::config::Config;
use crate::fhir::resource_type::ResourceType;
use crate::fhir::software::{Named, Software};
use crate::fhir::way::{Instead, SearchBy};
use crate::forward::Probe;

/// The row that applies.
pub(super) fn applies(config: &Config, probe: &Probe) -> Option<&'static Software> {
    match config.fhir.software {
        Named::Auto => probe.known,
        Named::Software(software) => Some(software),
        Named::Other => None,
    }
}

/// What searches on the type are narrowed by in the place of the primary parameter: as the site says, else as the row does.
pub(super) fn instead(config: &Config, software: Option<&Software>, resource_type: ResourceType) -> Instead {
    let mut named = config.fhir.narrow_by.iter();
    let named = named.find(|(of, _)| *of == resource_type).map(|(_, parameter)| *parameter);
    named.or_else(|| software?.instead(resource_type))
}

/// What was found: never that something is wrong, for whether searches are confined is found out by other means.
pub(super) fn software(config: &Config, probe: &Probe) -> String {
    let software = applies(config, probe);
    let mut told = match (config.fhir.software, software) {
        (Named::Auto, Some(software)) => format!("{}, as it says of itself", software.name),
        (Named::Auto, None) => "none with habits that are known here".to_owned(),
        (Named::Software(software), _) if probe.known.is_some_and(|said| said.word == software.word) => {
            format!("{}, as configured and as it says of itself", software.name)
        }
        (Named::Software(software), _) => format!("{}, as configured; it does not say so", software.name),
        (Named::Other, _) => "none with habits that are known here, as configured".to_owned(),
    };
    let narrowed: Vec<String> = software
        .into_iter()
        .flat_map(Software::narrowed)
        .filter(|(of, _)| config.fhir.narrow_by.iter().all(|(named, _)| named.name() != *of))
        .map(|(of, parameter)| format!("{of}.{parameter}"))
        .collect();
    if !narrowed.is_empty() {
        let _ = write!(told, "; narrowed by {}", narrowed.join(", "));
    }
    let search_by = config.fhir.search_by;
    if let Some(remark) = software.and_then(|software| software.remark(search_by)) {
        let _ = write!(told, "; `search_by = \"{}\"`: {remark}", search_by.word());
    }
    if search_by == SearchBy::Compartment && !probe.patient_compartment {
        told += "; its CapabilityStatement does not list the compartment of a patient (`rest.compartment`): the probes decide";
    }
    told
}
