//! The measurements of a chart: vital signs of every visit, laboratory results of every second one, smoking status.

use serde_json::{Value, json};

use super::{Chart, Visit};
use crate::demo::store::seed::Variation;
use crate::demo::store::seed::json::{LOINC, SNOMED, concept, decimal, hl7, instant, meta, quantity};
use crate::demo::store::seed::people::{Course, Smoking};
use crate::demo::store::seed::terms::Lab;

impl Chart<'_> {
    pub(super) fn vital_signs(&self) -> Vec<Value> {
        let mut vary = Variation::of(&self.id("vital-signs"));
        let body = &self.person.body;
        let mut all = Vec::with_capacity(self.visits.len() * 6);
        for visit in &self.visits {
            let feverish = visit.acute.is_some_and(|problem| problem.slug != "ankle-sprain");
            let systolic = self.along(body.systolic, visit) + vary.around(4);
            let diastolic = self.along(body.diastolic, visit) + vary.around(3);
            let pulse = self.along(body.pulse, visit) + vary.around(3) + if feverish { 11 } else { 0 };
            let height = self.along(body.height, visit);
            let weight = self.along(body.weight, visit) + vary.around(4);
            let temperature = if feverish { 383 } else { 364 } + vary.below(6);
            all.push(self.blood_pressure(visit, systolic, diastolic));
            all.push(self.vital(visit, "heart-rate", ("8867-4", "Heart rate"), &per_minute(pulse)));
            let kilograms = quantity(&decimal(weight, 1), "kg", "kg");
            all.push(self.vital(visit, "weight", ("29463-7", "Body weight"), &kilograms));
            all.push(self.vital(
                visit,
                "height",
                ("8302-2", "Body height"),
                &quantity(&decimal(height, 1), "cm", "cm"),
            ));
            let index = quantity(&decimal(body_mass_index(weight, height), 1), "kg/m2", "kg/m2");
            all.push(self.vital(visit, "bmi", ("39156-5", "Body mass index (BMI) [Ratio]"), &index));
            let degrees = quantity(&decimal(temperature, 1), "°C", "Cel");
            all.push(self.vital(visit, "temperature", ("8310-5", "Body temperature"), &degrees));
        }
        all
    }

    pub(super) fn lab_results(&self) -> Vec<Value> {
        let last = self.person.visits.count;
        // What was drawn today has no result yet.
        let parity = i32::from(self.person.visits.in_clinic);
        let mut all = Vec::new();
        for lab in self.person.labs.iter().map(|(lab, course)| (*lab, *course)) {
            let mut vary = Variation::of(&self.id(lab.0.slug));
            for visit in self.visits.iter().filter(|visit| (last - visit.number) % 2 == parity) {
                let value = self.along(lab.1, visit);
                all.push(self.lab_result(visit, lab.0, value + vary.around(value / 40)));
            }
        }
        all
    }

    pub(super) fn smoking_status(&self) -> Option<Value> {
        let status = match self.person.smoking {
            Smoking::Never => ("266919005", "Never smoked tobacco (finding)"),
            Smoking::Former => ("8517006", "Ex-smoker (finding)"),
            Smoking::Current => ("77176002", "Smoker (finding)"),
            Smoking::NotAsked => return None,
        };
        let visit = self.visits.last()?;
        let code = concept(LOINC, ("72166-2", "Tobacco smoking status"));
        let mut observation = self.observation(visit, "smoking-status", "social-history", &code);
        insert(&mut observation, "valueCodeableConcept", concept(SNOMED, status));
        Some(observation)
    }

    /// The value of a course at a visit: a straight line from the first to the last one.
    fn along(&self, (start, end): Course, visit: &Visit) -> i32 {
        let steps = (self.person.visits.count - 1).max(1);
        start + (end - start) * (visit.number - 1) / steps
    }

    fn blood_pressure(&self, visit: &Visit, systolic: i32, diastolic: i32) -> Value {
        let code = concept(LOINC, ("85354-9", "Blood pressure panel with all children optional"));
        let mut observation = self.observation(visit, "blood-pressure", "vital-signs", &code);
        let component = |term, value: i32| json!({ "code": concept(LOINC, term), "valueQuantity": quantity(&json!(value), "mmHg", "mm[Hg]") });
        insert(
            &mut observation,
            "component",
            json!([
                component(("8480-6", "Systolic blood pressure"), systolic),
                component(("8462-4", "Diastolic blood pressure"), diastolic),
            ]),
        );
        observation
    }

    fn vital(&self, visit: &Visit, slug: &str, term: (&str, &str), value: &Value) -> Value {
        let mut observation = self.observation(visit, slug, "vital-signs", &concept(LOINC, term));
        insert(&mut observation, "valueQuantity", value.clone());
        observation
    }

    fn lab_result(&self, visit: &Visit, lab: &Lab, value: i32) -> Value {
        let code =
            json!({ "coding": [{ "system": LOINC, "code": lab.loinc.0, "display": lab.loinc.1 }], "text": lab.text });
        let mut observation = self.observation(visit, lab.slug, "laboratory", &code);
        let measured = |number| quantity(&decimal(number, lab.decimals), lab.unit, lab.unit);
        insert(&mut observation, "valueQuantity", measured(value));
        let (flag, flag_name) = match (lab.low, lab.high) {
            (Some(low), _) if value < low => ("L", "Low"),
            (_, Some(high)) if value > high => ("H", "High"),
            _ => ("N", "Normal"),
        };
        insert(&mut observation, "interpretation", json!([hl7("v3-ObservationInterpretation", flag, flag_name)]));
        let mut range = json!({});
        for (bound, number) in [("low", lab.low), ("high", lab.high)] {
            if let Some(number) = number {
                insert(&mut range, bound, measured(number));
            }
        }
        insert(&mut observation, "referenceRange", json!([range]));
        observation
    }

    fn observation(&self, visit: &Visit, slug: &str, category: &str, code: &Value) -> Value {
        let category_name = match category {
            "vital-signs" => "Vital Signs",
            "laboratory" => "Laboratory",
            _ => "Social History",
        };
        json!({
            "resourceType": "Observation", "id": self.id(&format!("{slug}-{:02}", visit.number)), "meta": meta(visit.recorded()),
            "status": "final",
            "category": [hl7("observation-category", category, category_name)],
            "code": code,
            "subject": self.subject(),
            "encounter": self.encounter_reference(visit),
            "effectiveDateTime": instant(visit.start),
            "performer": [self.practitioner()],
        })
    }
}

fn per_minute(count: i32) -> Value {
    quantity(&json!(count), "beats/minute", "/min")
}

/// Tenths of kg/m², from tenths of a kilogram and tenths of a centimetre, rounded.
fn body_mass_index(weight: i32, height: i32) -> i32 {
    let square = i64::from(height) * i64::from(height);
    let tenths = (i64::from(weight) * 1_000_000 + square / 2).checked_div(square).unwrap_or(0);
    i32::try_from(tenths).unwrap_or(0)
}

fn insert(object: &mut Value, name: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}
