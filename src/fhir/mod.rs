//! FHIR's own words: resource types, interactions, references, search parameters, the patient compartment,
//! `OperationOutcome`.
//!
//! Vocabulary only: nothing here decides who may see what, and nothing here talks to a server. Release R4 (4.0.1); its
//! definitions are tables that [`definitions`] reads once.

pub mod compartment;
pub mod condition;
pub mod definitions;
pub mod etag;
pub mod facts;
pub mod history;
pub mod interaction;
pub mod links;
pub mod narrow;
pub mod operation;
pub mod outcome;
pub mod projection;
pub mod reference;
pub mod resource_type;
pub mod search;
pub mod software;
pub mod way;

/// The version of FHIR, as its code system has it (`http://hl7.org/fhir/FHIR-version`).
pub const VERSION: &str = "4.0.1";
