//! The clinic of the sample data: an organization, its locations, and its staff with their roles.

use jiff::civil::{DateTime, datetime};
use serde_json::{Value, json};

use super::json::{SNOMED, concept, meta, reference};

pub(super) const ORGANIZATION: (&str, &str) = ("larkspur-health", "Larkspur Health");

/// One clinician: id, given name, family name, and the specialty with the location where he or she works.
#[derive(Debug)]
pub(super) struct Clinician {
    pub(super) id: &'static str,
    given: &'static str,
    family: &'static str,
    gender: &'static str,
    specialty: (&'static str, &'static str),
    pub(super) location: (&'static str, &'static str),
}

const MAIN: (&str, &str) = ("larkspur-main", "Larkspur Family Medicine");
const HEART: (&str, &str) = ("larkspur-heart", "Larkspur Heart Clinic");
const CHILDREN: (&str, &str) = ("larkspur-children", "Larkspur Children's Clinic");

#[rustfmt::skip]
const STAFF: &[Clinician] = &[
    Clinician { id: "elena-rivera", given: "Elena", family: "Rivera", gender: "female", specialty: ("419772000", "Family practice"), location: MAIN },
    Clinician { id: "marcus-okafor", given: "Marcus", family: "Okafor", gender: "male", specialty: ("394579002", "Cardiology"), location: HEART },
    Clinician { id: "hanna-lindqvist", given: "Hanna", family: "Lindqvist", gender: "female", specialty: ("394537008", "Pediatric specialty"), location: CHILDREN },
    Clinician { id: "david-chen", given: "David", family: "Chen", gender: "male", specialty: ("394583002", "Endocrinology"), location: MAIN },
];

impl Clinician {
    /// The clinician with this id; the first of the staff when there is none.
    pub(super) fn of(id: &str) -> Option<&'static Self> {
        STAFF.iter().find(|clinician| clinician.id == id).or(STAFF.first())
    }

    /// The name as it is shown in references.
    pub(super) fn name(&self) -> String {
        format!("Dr. {} {}", self.given, self.family)
    }
}

const OPENED: DateTime = datetime(2023, 1, 9, 9, 0, 0, 0);

pub(super) fn resources() -> Vec<Value> {
    let mut all = vec![organization()];
    all.extend([MAIN, HEART, CHILDREN].map(location));
    all.extend((0..).zip(STAFF).map(|(position, clinician)| practitioner(position, clinician)));
    all.extend(STAFF.iter().map(role));
    all
}

pub(super) fn address(street: &str, city: &str, postal_code: &str) -> Value {
    json!({ "use": "home", "line": [street], "city": city, "state": "WI", "postalCode": postal_code, "country": "US" })
}

fn organization() -> Value {
    json!({
        "resourceType": "Organization", "id": ORGANIZATION.0, "meta": meta(OPENED), "active": true,
        "identifier": [{ "system": "https://larkspur.example/organizations", "value": "larkspur" }],
        "type": [{ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/organization-type", "code": "prov", "display": "Healthcare Provider" }] }],
        "name": ORGANIZATION.1,
        "telecom": [{ "system": "phone", "value": "608-555-0100", "use": "work" }],
        "address": [{ "use": "work", "line": ["400 Larkspur Way"], "city": "Madison", "state": "WI", "postalCode": "53703", "country": "US" }],
    })
}

fn location((id, name): (&str, &str)) -> Value {
    json!({
        "resourceType": "Location", "id": id, "meta": meta(OPENED), "status": "active", "name": name, "mode": "instance",
        "address": { "use": "work", "line": ["400 Larkspur Way"], "city": "Madison", "state": "WI", "postalCode": "53703", "country": "US" },
        "managingOrganization": reference("Organization", ORGANIZATION.0, ORGANIZATION.1),
    })
}

fn practitioner(position: u32, clinician: &Clinician) -> Value {
    json!({
        "resourceType": "Practitioner", "id": clinician.id, "meta": meta(OPENED), "active": true,
        "identifier": [{ "system": "https://larkspur.example/staff", "value": format!("S-{:04}", 1001 + position) }],
        "name": [{ "use": "official", "family": clinician.family, "given": [clinician.given], "prefix": ["Dr."] }],
        "telecom": [{ "system": "email", "value": format!("{}@larkspur.example", clinician.id), "use": "work" }],
        "gender": clinician.gender,
    })
}

fn role(clinician: &Clinician) -> Value {
    let (location, location_name) = clinician.location;
    json!({
        "resourceType": "PractitionerRole", "id": format!("{}-role", clinician.id), "meta": meta(OPENED), "active": true,
        "practitioner": reference("Practitioner", clinician.id, &clinician.name()),
        "organization": reference("Organization", ORGANIZATION.0, ORGANIZATION.1),
        "code": [concept("http://snomed.info/sct", ("158965000", "Medical practitioner"))],
        "specialty": [concept(SNOMED, clinician.specialty)],
        "location": [reference("Location", location, location_name)],
    })
}
