//! One patient's chart from one row of the table: the Patient, then visits with vital signs and laboratory results, then
//! problems, medications, allergies and immunizations, each referring to the others by ids that read.

mod observations;

use jiff::Span;
use jiff::civil::{Date, DateTime, Weekday};
use serde_json::{Value, json};

use super::clinic::{Clinician, ORGANIZATION, address};
use super::json::{CVX, ICD10, RXNORM, SNOMED, coding, concept, day, hl7, instant, meta, plain, reference};
use super::people::Person;
use super::terms::{Allergen, Medication, Problem, Vaccine};
use super::{TODAY, Variation};

/// Appends all resources of `person`.
pub(super) fn write(person: &Person, position: u32, all: &mut Vec<Value>) {
    let Some(clinician) = Clinician::of(person.practitioner) else { return };
    let chart = Chart { person, clinician, visits: visits(person) };
    all.push(chart.patient(position));
    for visit in &chart.visits {
        all.push(chart.encounter(visit));
    }
    all.extend(person.problems.iter().map(|(problem, onset)| chart.problem(problem, onset)));
    all.extend(chart.acute_problem());
    all.extend(chart.vital_signs());
    all.extend(chart.lab_results());
    all.extend(chart.smoking_status());
    all.extend(person.medications.iter().map(|medication| chart.medication(medication)));
    all.extend(chart.allergies());
    for vaccine in person.vaccines {
        chart.immunizations(vaccine, all);
    }
}

/// What the writers of single resources share.
#[derive(Debug)]
struct Chart<'a> {
    person: &'a Person,
    clinician: &'static Clinician,
    visits: Vec<Visit>,
}

/// One visit to the clinic.
#[derive(Debug)]
struct Visit {
    /// Counts from 1, as in the id `…-visit-01`.
    number: i32,
    start: DateTime,
    /// `None` while the patient is still in the clinic.
    end: Option<DateTime>,
    acute: Option<&'static Problem>,
}

fn visits(person: &Person) -> Vec<Visit> {
    let mut vary = Variation::of(person.id);
    let plan = &person.visits;
    let last = if plan.in_clinic { TODAY } else { TODAY.saturating_sub(Span::new().days(9 + vary.below(50))) };
    (1..=plan.count)
        .map(|number| {
            let in_clinic = plan.in_clinic && number == plan.count;
            let months = plan.months_apart * (plan.count - number);
            // One sign is shared by all units of a span: months and days go in two steps.
            let shift = if number == plan.count { 0 } else { vary.around(6) };
            let date = last.saturating_sub(Span::new().months(months)).saturating_add(Span::new().days(shift));
            let minutes = if in_clinic { 5 * vary.below(12) } else { 15 * vary.below(28) };
            let start = workday(date).at(14, 0, 0, 0).saturating_add(Span::new().minutes(minutes));
            let end = start.saturating_add(Span::new().minutes(20 + 5 * vary.below(6)));
            let acute = plan.acute.filter(|_| number == plan.count / 2);
            Visit { number, start, end: (!in_clinic).then_some(end), acute }
        })
        .collect()
}

/// The date itself, or the Friday before it.
fn workday(date: Date) -> Date {
    match date.weekday() {
        Weekday::Saturday => date.saturating_sub(Span::new().days(1)),
        Weekday::Sunday => date.saturating_sub(Span::new().days(2)),
        _ => date,
    }
}

impl Visit {
    fn recorded(&self) -> DateTime {
        self.end.unwrap_or(self.start)
    }
}

impl Chart<'_> {
    fn id(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.person.id)
    }

    fn subject(&self) -> Value {
        let name = format!("{} {}", self.person.given.first().unwrap_or(&""), self.person.family);
        reference("Patient", self.person.id, &name)
    }

    fn encounter_reference(&self, visit: &Visit) -> Value {
        json!({ "reference": format!("Encounter/{}", self.id(&format!("visit-{:02}", visit.number))) })
    }

    fn practitioner(&self) -> Value {
        reference("Practitioner", self.clinician.id, &self.clinician.name())
    }

    fn latest(&self) -> DateTime {
        self.visits.last().map_or_else(|| TODAY.at(9, 0, 0, 0), Visit::recorded)
    }

    fn patient(&self, position: u32) -> Value {
        let person = self.person;
        let (city, postal_code) = person.city;
        let (language, language_name) = person.language;
        json!({
            "resourceType": "Patient", "id": person.id, "meta": meta(self.latest()), "active": true,
            "identifier": [{
                "use": "usual", "type": hl7("v2-0203", "MR", "Medical record number"),
                "system": "https://larkspur.example/mrn", "value": format!("LK-{}", 100_101 + position * 37),
            }],
            "name": [{ "use": "official", "family": person.family, "given": person.given }],
            "telecom": [
                { "system": "phone", "value": format!("608-555-{:04}", 110 + position), "use": "home" },
                { "system": "email", "value": format!("{}@mail.example", person.id.replace('-', ".")) },
            ],
            "gender": person.gender,
            "birthDate": person.birth_date,
            "address": [address(person.street, city, postal_code)],
            "communication": [{ "language": { "coding": [coding("urn:ietf:bcp:47", (language, language_name))], "text": language_name }, "preferred": true }],
            "generalPractitioner": [self.practitioner()],
            "managingOrganization": reference("Organization", ORGANIZATION.0, ORGANIZATION.1),
        })
    }

    fn encounter(&self, visit: &Visit) -> Value {
        let (location, location_name) = self.clinician.location;
        let kind = match (visit.acute, visit.number) {
            (Some(_), _) => ("185345009", "Encounter for symptom (procedure)"),
            (None, 1) => ("185349003", "Encounter for check up (procedure)"),
            (None, _) => ("390906007", "Follow-up encounter (procedure)"),
        };
        let reason = visit.acute.or_else(|| self.person.problems.first().map(|(problem, _)| *problem));
        let mut encounter = json!({
            "resourceType": "Encounter", "id": self.id(&format!("visit-{:02}", visit.number)), "meta": meta(visit.recorded()),
            "status": if visit.end.is_some() { "finished" } else { "in-progress" },
            "class": coding("http://terminology.hl7.org/CodeSystem/v3-ActCode", ("AMB", "ambulatory")),
            "type": [concept(SNOMED, kind)],
            "subject": self.subject(),
            "participant": [{ "type": [hl7("v3-ParticipationType", "PPRF", "primary performer")], "individual": self.practitioner() }],
            "period": { "start": instant(visit.start) },
            "location": [{ "location": reference("Location", location, location_name) }],
            "serviceProvider": reference("Organization", ORGANIZATION.0, ORGANIZATION.1),
        });
        if let Some(fields) = encounter.as_object_mut() {
            if let Some(problem) = reason {
                fields.insert("reasonCode".to_owned(), json!([concept(SNOMED, problem.snomed)]));
            }
            if let (Some(end), Some(period)) = (visit.end, fields.get_mut("period").and_then(Value::as_object_mut)) {
                period.insert("end".to_owned(), json!(instant(end)));
            }
        }
        encounter
    }

    fn problem(&self, problem: &Problem, onset: &str) -> Value {
        let recorded = self.visits.first().map_or_else(|| TODAY.at(9, 0, 0, 0), Visit::recorded);
        let recorded_day = day(recorded.date());
        let recorded_day = if onset > recorded_day.as_str() { onset } else { &recorded_day };
        json!({
            "resourceType": "Condition", "id": self.id(problem.slug), "meta": meta(recorded),
            "clinicalStatus": hl7("condition-clinical", "active", "Active"),
            "verificationStatus": hl7("condition-ver-status", "confirmed", "Confirmed"),
            "category": [hl7("condition-category", "problem-list-item", "Problem List Item")],
            "code": problem_code(problem),
            "subject": self.subject(),
            "onsetDateTime": onset,
            "recordedDate": recorded_day,
            "recorder": self.practitioner(),
        })
    }

    fn acute_problem(&self) -> Option<Value> {
        let visit = self.visits.iter().find(|visit| visit.acute.is_some())?;
        let problem = visit.acute?;
        let (onset, over) = (visit.start.date().saturating_sub(Span::new().days(2)), visit.start.date());
        Some(json!({
            "resourceType": "Condition", "id": self.id(problem.slug), "meta": meta(visit.recorded()),
            "clinicalStatus": hl7("condition-clinical", "resolved", "Resolved"),
            "verificationStatus": hl7("condition-ver-status", "confirmed", "Confirmed"),
            "category": [hl7("condition-category", "encounter-diagnosis", "Encounter Diagnosis")],
            "code": problem_code(problem),
            "subject": self.subject(),
            "encounter": self.encounter_reference(visit),
            "onsetDateTime": day(onset),
            "abatementDateTime": day(over.saturating_add(Span::new().days(12))),
            "recordedDate": day(over),
            "recorder": self.practitioner(),
        }))
    }

    fn medication(&self, medication: &Medication) -> Value {
        let back = if self.visits.len() > 3 { 2 } else { 0 };
        let visit = self.visits.iter().rev().nth(back);
        let authored = visit.map_or_else(|| TODAY.at(9, 0, 0, 0), Visit::recorded);
        let mut order = json!({
            "resourceType": "MedicationRequest", "id": self.id(medication.slug), "meta": meta(authored),
            "status": "active", "intent": "order",
            "category": [hl7("medicationrequest-category", "outpatient", "Outpatient")],
            "medicationCodeableConcept": concept(RXNORM, medication.rxnorm),
            "subject": self.subject(),
            "authoredOn": instant(authored),
            "requester": self.practitioner(),
            "reasonReference": [{ "reference": format!("Condition/{}", self.id(medication.treats)) }],
            "dosageInstruction": [{
                "text": medication.directions,
                "timing": { "repeat": { "frequency": medication.per_day, "period": 1, "periodUnit": "d" } },
            }],
            "dispenseRequest": { "numberOfRepeatsAllowed": 3 },
        });
        // Weekly methotrexate is the one exception from daily timing.
        if medication.slug == "methotrexate"
            && let Some(unit) = order.pointer_mut("/dosageInstruction/0/timing/repeat/periodUnit")
        {
            *unit = json!("wk");
        }
        if let (Some(visit), Some(fields)) = (visit, order.as_object_mut()) {
            fields.insert("encounter".to_owned(), self.encounter_reference(visit));
        }
        order
    }

    fn allergies(&self) -> Vec<Value> {
        if self.person.allergies.is_empty() {
            let none = concept(SNOMED, ("716186003", "No known allergy (situation)"));
            return vec![self.allergy("no-known-allergy", &none)];
        }
        self.person.allergies.iter().map(|allergen| self.allergy_to(allergen)).collect()
    }

    fn allergy_to(&self, allergen: &Allergen) -> Value {
        let mut allergy = self.allergy(&format!("{}-allergy", allergen.slug), &concept(SNOMED, allergen.snomed));
        if let Some(fields) = allergy.as_object_mut() {
            fields.insert("type".to_owned(), json!("allergy"));
            fields.insert("category".to_owned(), json!([allergen.category]));
            fields.insert("criticality".to_owned(), json!(allergen.criticality));
            fields.insert(
                "reaction".to_owned(),
                json!([{ "manifestation": [concept(SNOMED, allergen.reaction)], "severity": allergen.severity }]),
            );
        }
        allergy
    }

    fn allergy(&self, suffix: &str, code: &Value) -> Value {
        let recorded = self.visits.first().map_or_else(|| TODAY.at(9, 0, 0, 0), Visit::recorded);
        json!({
            "resourceType": "AllergyIntolerance", "id": self.id(suffix), "meta": meta(recorded),
            "clinicalStatus": hl7("allergyintolerance-clinical", "active", "Active"),
            "verificationStatus": hl7("allergyintolerance-verification", "confirmed", "Confirmed"),
            "code": code,
            "patient": self.subject(),
            "recordedDate": instant(recorded),
            "recorder": self.practitioner(),
        })
    }

    fn immunizations(&self, vaccine: &Vaccine, all: &mut Vec<Value>) {
        let mut vary = Variation::of(&self.id(vaccine.slug));
        let (location, location_name) = self.clinician.location;
        for date in doses(vaccine.slug, self.person.birth_date, &mut vary) {
            let date = workday(date);
            all.push(json!({
                "resourceType": "Immunization", "id": self.id(&format!("{}-{}", vaccine.slug, date.year())), "meta": meta(date.at(21, 0, 0, 0)),
                "status": "completed",
                "vaccineCode": concept(CVX, vaccine.cvx),
                "patient": self.subject(),
                "occurrenceDateTime": day(date),
                "primarySource": true,
                "lotNumber": format!("L{:05}", 10_000 + vary.below(80_000)),
                "location": reference("Location", location, location_name),
                "performer": [{ "actor": self.practitioner() }],
            }));
        }
    }
}

/// A problem's `CodeableConcept`: SNOMED CT first, ICD-10-CM as a translation.
fn problem_code(problem: &Problem) -> Value {
    json!({
        "coding": [coding(SNOMED, problem.snomed), coding(ICD10, problem.icd10)],
        "text": plain(problem.snomed.1),
    })
}

/// When a vaccine was given: influenza every autumn, childhood vaccines at 15 months, the others once.
fn doses(slug: &str, birth_date: &str, vary: &mut Variation) -> Vec<Date> {
    let within = |year: i16, month: i8, vary: &mut Variation| {
        Date::new(year, month, 1).unwrap_or(TODAY).saturating_add(Span::new().days(vary.below(28)))
    };
    match slug {
        "influenza" => (2024..=2026).map(|year| within(year, 10, vary)).collect(),
        "covid-19" => vec![within(2025, 9, vary)],
        "mmr" | "varicella" => {
            birth_date.parse::<Date>().map(|born| born.saturating_add(Span::new().months(15))).into_iter().collect()
        }
        _ => vec![within(if vary.below(2) == 0 { 2024 } else { 2023 }, 4, vary)],
    }
}
