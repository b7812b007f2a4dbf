//! What FHIR servers do otherwise than R4 leads to expect, by their software: data, a row for each.
//!
//! Takes what a CapabilityStatement says of the software; gives the row. Promises that a row widens no search: the parameters that it
//! names are those that [`confining`] takes. Whether a server honours one is found out elsewhere, before it is relied on.

use std::sync::{Arc, OnceLock};

use super::resource_type::ResourceType;
use super::way::{Instead, SearchBy, confining};

/// A row.
#[derive(Debug)]
pub struct Software {
    /// Its word in a configuration.
    pub word: &'static str,
    /// Its name, for people.
    pub name: &'static str,
    /// By what its CapabilityStatement is known: one of these elements has these words in it.
    says: &'static [(Element, &'static str)],
    /// Types and the parameter that looks at the same element as the primary one and finds what that may not.
    narrow_by: &'static [(&'static str, &'static str)],
    /// What is known of other ways to search than by the primary parameter.
    remarks: &'static [(SearchBy, &'static str)],
}

/// An element of a CapabilityStatement that names the software.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    /// `software.name`
    SoftwareName,
    /// `name`
    Name,
    /// `implementation.description`
    ImplementationDescription,
}

/// What a CapabilityStatement says of the software.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said<'a> {
    /// `software.name`
    pub software_name: Option<&'a str>,
    /// `name`
    pub name: Option<&'a str>,
    /// `implementation.description`
    pub implementation_description: Option<&'a str>,
}

/// All rows.
pub static TABLE: [Software; 5] = [
    Software {
        word: "hapi",
        name: "HAPI FHIR",
        // What RestfulServer says that was given no other name.
        says: &[(Element::SoftwareName, "HAPI FHIR")],
        narrow_by: &[],
        remarks: &[
            (
                SearchBy::Compartment,
                "it does not answer a search of the compartment of a patient that it does not have with an empty searchset, so this cannot be probed",
            ),
            (SearchBy::Filter, "`_filter` is off there unless its storage settings have `filterParameterEnabled`"),
        ],
    },
    Software {
        word: "microsoft",
        name: "Microsoft FHIR Server",
        // The second until October 2021.
        says: &[(Element::SoftwareName, "FHIR Server for Azure"), (Element::SoftwareName, "Microsoft FHIR Server")],
        // `patient` is one parameter of many types there, `clinical-patient`, and where a reference need not be to a patient its
        // index is filled only as far as that can be told. `subject` is the type's own.
        narrow_by: &[
            ("CarePlan", "subject"),
            ("CareTeam", "subject"),
            ("Condition", "subject"),
            ("Encounter", "subject"),
            ("Flag", "subject"),
            ("Goal", "subject"),
            ("ImagingStudy", "subject"),
            ("Procedure", "subject"),
        ],
        remarks: &[(SearchBy::Filter, "it has no `_filter`")],
    },
    Software {
        word: "helios",
        name: "Helios FHIR Server",
        // The second is all that older versions say.
        says: &[
            (Element::SoftwareName, "Helios FHIR Server"),
            (Element::ImplementationDescription, "Helios FHIR Server"),
        ],
        narrow_by: &[],
        remarks: &[],
    },
    Software {
        word: "aidbox",
        name: "Aidbox",
        // It has no `software`.
        says: &[(Element::Name, "aidbox")],
        narrow_by: &[],
        remarks: &[(SearchBy::Filter, "its `_filter` takes no references")],
    },
    Software {
        word: "medplum",
        name: "Medplum",
        says: &[(Element::SoftwareName, "medplum")],
        narrow_by: &[],
        remarks: &[(SearchBy::Compartment, "it has no search by the path of a compartment")],
    },
];

impl Software {
    /// The row of the software whose CapabilityStatement says this.
    #[must_use]
    pub fn detect(said: &Said<'_>) -> Option<&'static Self> {
        TABLE.iter().find(|row| row.says.iter().any(|(element, words)| said.has(*element, words)))
    }

    /// What a search on the type is narrowed by in the place of its primary parameter.
    #[must_use]
    pub fn instead(&self, resource_type: ResourceType) -> Instead {
        let mut rows = self.narrow_by.iter();
        rows.find(|(of, _)| *of == resource_type.name()).and_then(|(_, name)| confining(resource_type, name))
    }

    /// The types for which there is another parameter, with it.
    pub fn narrowed(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.narrow_by.iter().copied()
    }

    /// What whoever chooses this way to search should know.
    #[must_use]
    pub fn remark(&self, search_by: SearchBy) -> Option<&'static str> {
        self.remarks.iter().find(|(of, _)| *of == search_by).map(|(_, remark)| *remark)
    }
}

impl Said<'_> {
    fn has(&self, element: Element, words: &str) -> bool {
        let text = match element {
            Element::SoftwareName => self.software_name,
            Element::Name => self.name,
            Element::ImplementationDescription => self.implementation_description,
        };
        text.is_some_and(|text| text.to_ascii_lowercase().contains(&words.to_ascii_lowercase()))
    }
}

/// What a site says that the upstream is.
#[derive(Clone, Copy, Debug, Default)]
pub enum Named {
    /// What its CapabilityStatement says.
    #[default]
    Auto,
    /// This one, whatever it says.
    Software(&'static Software),
    /// None of those with a row.
    Other,
}

/// Which row applies to the upstream: none until that is known. All clones learn it together.
#[derive(Clone, Debug, Default)]
pub struct Known(Arc<OnceLock<Option<&'static Software>>>);

impl From<Named> for Known {
    fn from(named: Named) -> Self {
        let known = Self::default();
        match named {
            Named::Auto => {}
            Named::Software(software) => known.learn(Some(software)),
            Named::Other => known.learn(None),
        }
        known
    }
}

impl Known {
    /// The row.
    #[must_use]
    pub fn get(&self) -> Option<&'static Software> {
        self.0.get().copied().flatten()
    }

    /// Whether nobody said yet which software it is.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.get().is_none()
    }

    /// Learns which row applies, unless that is known.
    pub fn learn(&self, software: Option<&'static Software>) {
        let _ = self.0.set(software);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "a failed assumption fails the test")]
    use super::*;
    use crate::fhir::compartment::patient_compartment;
    use crate::fhir::narrow::same_single_element;
    use crate::fhir::way::{Way, ways};

    fn software_name(text: &str) -> Option<&'static str> {
        Software::detect(&Said { software_name: Some(text), ..Said::default() }).map(|row| row.word)
    }

    #[test]
    fn a_statement_is_known_by_what_the_product_writes() {
        assert_eq!(software_name("HAPI FHIR Server"), Some("hapi"));
        assert_eq!(software_name("FHIR Server for Azure"), Some("microsoft"));
        assert_eq!(software_name("Microsoft FHIR Server"), Some("microsoft"));
        assert_eq!(software_name("Helios FHIR Server"), Some("helios"));
        assert_eq!(software_name("medplum"), Some("medplum"));
        // The name in another element is not the one that the product writes.
        for other in ["", "aidbox", "Firebreak sample store", "Some FHIR Server"] {
            assert_eq!(software_name(other), None, "{other}");
        }
        let said = Said { implementation_description: Some("Helios FHIR Server (sqlite)"), ..Said::default() };
        assert_eq!(Software::detect(&said).unwrap().word, "helios");
        let said = Said { name: Some("aidbox"), ..Said::default() };
        assert_eq!(Software::detect(&said).unwrap().word, "aidbox");
        assert!(Software::detect(&Said::default()).is_none());
    }

    #[test]
    fn no_row_makes_a_search_unconfined() {
        for row in &TABLE {
            for resource_type in ResourceType::all() {
                for (_, search_by) in SearchBy::ALL {
                    let of = |instead| ways(resource_type, search_by, instead).collect::<Vec<_>>();
                    let (with, without) = (of(row.instead(resource_type)), of(None));
                    assert_eq!(with.len(), without.len(), "{} {resource_type} {search_by:?}", row.word);
                    for (with, without) in with.into_iter().zip(without) {
                        // The same way, or another name for the element that the primary parameter looks at.
                        let same = with == without
                            || matches!((with, without), (Way::Parameter(one), Way::Parameter(other)) if same_single_element(one, other));
                        assert!(same, "{} {resource_type} {search_by:?}: {with} for {without}", row.word);
                    }
                }
            }
        }
    }

    #[test]
    fn each_line_of_a_row_says_something() {
        for (at, row) in TABLE.iter().enumerate() {
            assert!(TABLE.iter().take(at).all(|other| other.word != row.word), "{} is there twice", row.word);
            for (of, name) in row.narrowed() {
                let resource_type = ResourceType::parse(of).unwrap();
                let instead = row.instead(resource_type).unwrap_or_else(|| panic!("{of}.{name} confines nothing"));
                assert_eq!(instead.name, name);
                assert_ne!(patient_compartment(resource_type).unwrap().primary().unwrap().name, name, "{of}");
            }
            for (search_by, _) in row.remarks {
                assert_ne!(*search_by, SearchBy::Primary, "{}", row.word);
            }
        }
    }

    #[test]
    fn what_is_said_first_counts_for_all() {
        let known = Known::from(Named::Auto);
        let other = known.clone();
        assert!(known.is_open() && known.get().is_none());
        other.learn(TABLE.first());
        assert_eq!(known.get().unwrap().word, "hapi");
        known.learn(None);
        assert_eq!(other.get().unwrap().word, "hapi");
        let none = Known::from(Named::Other);
        none.learn(TABLE.first());
        assert!(!none.is_open() && none.get().is_none());
        assert_eq!(Known::from(Named::Software(&TABLE[4])).get().unwrap().word, "medplum");
    }
}
