//! The clinical vocabulary of the sample data, as tables: problems (SNOMED CT and ICD-10-CM), medications (`RxNorm`),
//! laboratory tests (LOINC), vaccines (CVX) and allergens (SNOMED CT). It takes and computes nothing.

/// A diagnosis in both code systems that US Core condition records carry.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) slug: &'static str,
    pub(super) snomed: (&'static str, &'static str),
    pub(super) icd10: (&'static str, &'static str),
}

/// An ordered drug with its directions; `treats` is the slug of the problem it is for.
#[derive(Debug)]
pub(super) struct Medication {
    pub(super) slug: &'static str,
    pub(super) rxnorm: (&'static str, &'static str),
    pub(super) directions: &'static str,
    pub(super) per_day: u8,
    pub(super) treats: &'static str,
}

/// A laboratory test. Values in the tables are integers in units of 10^-`decimals`, as is the reference range.
#[derive(Debug)]
pub(super) struct Lab {
    pub(super) slug: &'static str,
    pub(super) loinc: (&'static str, &'static str),
    pub(super) text: &'static str,
    pub(super) unit: &'static str,
    pub(super) decimals: u8,
    pub(super) low: Option<i32>,
    pub(super) high: Option<i32>,
}

/// A vaccine product; `season` is the month and day of the (yearly) dose.
#[derive(Debug)]
pub(super) struct Vaccine {
    pub(super) slug: &'static str,
    pub(super) cvx: (&'static str, &'static str),
}

/// Something a patient reacts to.
#[derive(Debug)]
pub(super) struct Allergen {
    pub(super) slug: &'static str,
    pub(super) snomed: (&'static str, &'static str),
    pub(super) category: &'static str,
    pub(super) criticality: &'static str,
    pub(super) reaction: (&'static str, &'static str),
    pub(super) severity: &'static str,
}

const fn problem(
    slug: &'static str,
    snomed: (&'static str, &'static str),
    icd10: (&'static str, &'static str),
) -> Problem {
    Problem { slug, snomed, icd10 }
}

#[rustfmt::skip]
mod problems {
    use super::{Problem, problem};
    pub(in super::super) const DIABETES: Problem = problem("type-2-diabetes", ("44054006", "Diabetes mellitus type 2 (disorder)"), ("E11.9", "Type 2 diabetes mellitus without complications"));
    pub(in super::super) const DIABETES_1: Problem = problem("type-1-diabetes", ("46635009", "Diabetes mellitus type 1 (disorder)"), ("E10.9", "Type 1 diabetes mellitus without complications"));
    pub(in super::super) const PREDIABETES: Problem = problem("prediabetes", ("714628002", "Prediabetes (finding)"), ("R73.03", "Prediabetes"));
    pub(in super::super) const HYPERTENSION: Problem = problem("hypertension", ("59621000", "Essential hypertension (disorder)"), ("I10", "Essential (primary) hypertension"));
    pub(in super::super) const LIPIDS: Problem = problem("hyperlipidemia", ("55822004", "Hyperlipidemia (disorder)"), ("E78.5", "Hyperlipidemia, unspecified"));
    pub(in super::super) const ASTHMA: Problem = problem("asthma", ("195967001", "Asthma (disorder)"), ("J45.909", "Unspecified asthma, uncomplicated"));
    pub(in super::super) const HYPOTHYROID: Problem = problem("hypothyroidism", ("40930008", "Hypothyroidism (disorder)"), ("E03.9", "Hypothyroidism, unspecified"));
    pub(in super::super) const CKD: Problem = problem("kidney-disease", ("433144002", "Chronic kidney disease stage 3 (disorder)"), ("N18.30", "Chronic kidney disease, stage 3 unspecified"));
    pub(in super::super) const FIBRILLATION: Problem = problem("atrial-fibrillation", ("49436004", "Atrial fibrillation (disorder)"), ("I48.91", "Unspecified atrial fibrillation"));
    pub(in super::super) const HEART_FAILURE: Problem = problem("heart-failure", ("84114007", "Heart failure (disorder)"), ("I50.9", "Heart failure, unspecified"));
    pub(in super::super) const CORONARY: Problem = problem("coronary-disease", ("53741008", "Coronary arteriosclerosis (disorder)"), ("I25.10", "Atherosclerotic heart disease of native coronary artery without angina pectoris"));
    pub(in super::super) const COPD: Problem = problem("copd", ("13645005", "Chronic obstructive lung disease (disorder)"), ("J44.9", "Chronic obstructive pulmonary disease, unspecified"));
    pub(in super::super) const DEPRESSION: Problem = problem("depression", ("35489007", "Depressive disorder (disorder)"), ("F32.A", "Depression, unspecified"));
    pub(in super::super) const ANXIETY: Problem = problem("anxiety", ("197480006", "Anxiety disorder (disorder)"), ("F41.9", "Anxiety disorder, unspecified"));
    pub(in super::super) const OSTEOARTHRITIS: Problem = problem("osteoarthritis", ("239873007", "Osteoarthritis of knee (disorder)"), ("M17.9", "Osteoarthritis of knee, unspecified"));
    pub(in super::super) const ARTHRITIS: Problem = problem("rheumatoid-arthritis", ("69896004", "Rheumatoid arthritis (disorder)"), ("M06.9", "Rheumatoid arthritis, unspecified"));
    pub(in super::super) const OSTEOPOROSIS: Problem = problem("osteoporosis", ("64859006", "Osteoporosis (disorder)"), ("M81.0", "Age-related osteoporosis without current pathological fracture"));
    pub(in super::super) const MIGRAINE: Problem = problem("migraine", ("37796009", "Migraine (disorder)"), ("G43.909", "Migraine, unspecified, not intractable, without status migrainosus"));
    pub(in super::super) const REFLUX: Problem = problem("reflux", ("235595009", "Gastroesophageal reflux disease (disorder)"), ("K21.9", "Gastro-esophageal reflux disease without esophagitis"));
    pub(in super::super) const ANEMIA: Problem = problem("iron-deficiency", ("87522002", "Iron deficiency anemia (disorder)"), ("D50.9", "Iron deficiency anemia, unspecified"));
    pub(in super::super) const OBESITY: Problem = problem("obesity", ("414916001", "Obesity (disorder)"), ("E66.9", "Obesity, unspecified"));
    pub(in super::super) const ALZHEIMER: Problem = problem("alzheimer", ("26929004", "Alzheimer's disease (disorder)"), ("G30.9", "Alzheimer's disease, unspecified"));
    pub(in super::super) const BRONCHITIS: Problem = problem("acute-bronchitis", ("10509002", "Acute bronchitis (disorder)"), ("J20.9", "Acute bronchitis, unspecified"));
    pub(in super::super) const PHARYNGITIS: Problem = problem("viral-pharyngitis", ("195662009", "Acute viral pharyngitis (disorder)"), ("J02.9", "Acute pharyngitis, unspecified"));
    pub(in super::super) const SPRAIN: Problem = problem("ankle-sprain", ("44465007", "Sprain of ankle (disorder)"), ("S93.409A", "Sprain of unspecified ligament of unspecified ankle, initial encounter"));
}
pub(super) use problems::*;

const fn medication(
    slug: &'static str,
    treats: &'static str,
    rxnorm: (&'static str, &'static str),
    per_day: u8,
    directions: &'static str,
) -> Medication {
    Medication { slug, rxnorm, directions, per_day, treats }
}

#[rustfmt::skip]
mod medications {
    use super::{Medication, medication};
    pub(in super::super) const METFORMIN: Medication = medication("metformin", "type-2-diabetes", ("861007", "metformin hydrochloride 500 MG Oral Tablet"), 2, "Take one tablet twice a day with meals");
    pub(in super::super) const METFORMIN_1000: Medication = medication("metformin", "type-2-diabetes", ("861004", "metformin hydrochloride 1000 MG Oral Tablet"), 2, "Take one tablet twice a day with meals");
    pub(in super::super) const GLARGINE: Medication = medication("insulin-glargine", "type-1-diabetes", ("311041", "insulin glargine 100 UNT/ML Injectable Solution"), 1, "Inject 18 units under the skin at bedtime");
    pub(in super::super) const GLARGINE_2: Medication = medication("insulin-glargine", "type-2-diabetes", ("311041", "insulin glargine 100 UNT/ML Injectable Solution"), 1, "Inject 24 units under the skin at bedtime");
    pub(in super::super) const LISINOPRIL: Medication = medication("lisinopril", "hypertension", ("314076", "lisinopril 10 MG Oral Tablet"), 1, "Take one tablet every morning");
    pub(in super::super) const LISINOPRIL_20: Medication = medication("lisinopril", "hypertension", ("314077", "lisinopril 20 MG Oral Tablet"), 1, "Take one tablet every morning");
    pub(in super::super) const AMLODIPINE: Medication = medication("amlodipine", "hypertension", ("197361", "amlodipine 5 MG Oral Tablet"), 1, "Take one tablet every morning");
    pub(in super::super) const THIAZIDE: Medication = medication("hydrochlorothiazide", "hypertension", ("310798", "hydrochlorothiazide 25 MG Oral Tablet"), 1, "Take one tablet every morning");
    pub(in super::super) const ATORVASTATIN: Medication = medication("atorvastatin", "hyperlipidemia", ("617311", "atorvastatin 40 MG Oral Tablet"), 1, "Take one tablet at bedtime");
    pub(in super::super) const SIMVASTATIN: Medication = medication("simvastatin", "hyperlipidemia", ("312961", "simvastatin 20 MG Oral Tablet"), 1, "Take one tablet at bedtime");
    pub(in super::super) const LEVOTHYROXINE: Medication = medication("levothyroxine", "hypothyroidism", ("966222", "levothyroxine sodium 0.075 MG Oral Tablet"), 1, "Take one tablet every morning on an empty stomach");
    pub(in super::super) const ALBUTEROL: Medication = medication("albuterol", "asthma", ("2123111", "NDA020503 200 ACTUAT albuterol 0.09 MG/ACTUAT Metered Dose Inhaler"), 4, "Two puffs every four to six hours as needed for wheezing");
    pub(in super::super) const ALBUTEROL_COPD: Medication = medication("albuterol", "copd", ("2123111", "NDA020503 200 ACTUAT albuterol 0.09 MG/ACTUAT Metered Dose Inhaler"), 4, "Two puffs every four to six hours as needed for breathlessness");
    pub(in super::super) const FLUTICASONE: Medication = medication("fluticasone", "asthma", ("895994", "120 ACTUAT fluticasone propionate 0.044 MG/ACTUAT Metered Dose Inhaler [Flovent]"), 2, "Two puffs twice a day, rinse the mouth afterwards");
    pub(in super::super) const APIXABAN: Medication = medication("apixaban", "atrial-fibrillation", ("1364445", "apixaban 5 MG Oral Tablet"), 2, "Take one tablet twice a day");
    pub(in super::super) const WARFARIN: Medication = medication("warfarin", "atrial-fibrillation", ("855332", "warfarin sodium 5 MG Oral Tablet"), 1, "Take one tablet every evening, as adjusted by the clinic");
    pub(in super::super) const METOPROLOL: Medication = medication("metoprolol", "heart-failure", ("866412", "24 HR metoprolol succinate 100 MG Extended Release Oral Tablet"), 1, "Take one tablet every morning");
    pub(in super::super) const FUROSEMIDE: Medication = medication("furosemide", "heart-failure", ("313988", "furosemide 40 MG Oral Tablet"), 1, "Take one tablet every morning");
    pub(in super::super) const ASPIRIN: Medication = medication("aspirin", "coronary-disease", ("243670", "aspirin 81 MG Oral Tablet"), 1, "Take one tablet every morning");
    pub(in super::super) const SERTRALINE: Medication = medication("sertraline", "depression", ("312941", "sertraline 50 MG Oral Tablet"), 1, "Take one tablet every morning");
    pub(in super::super) const ESCITALOPRAM: Medication = medication("escitalopram", "anxiety", ("349332", "escitalopram 10 MG Oral Tablet"), 1, "Take one tablet every morning");
    pub(in super::super) const ACETAMINOPHEN: Medication = medication("acetaminophen", "osteoarthritis", ("198440", "acetaminophen 500 MG Oral Tablet"), 3, "Take one tablet up to three times a day as needed for pain");
    pub(in super::super) const METHOTREXATE: Medication = medication("methotrexate", "rheumatoid-arthritis", ("105585", "methotrexate 2.5 MG Oral Tablet"), 1, "Take six tablets once a week, on Sundays");
    pub(in super::super) const ALENDRONATE: Medication = medication("alendronic-acid", "osteoporosis", ("904420", "alendronic acid 10 MG Oral Tablet"), 1, "Take one tablet every morning with a full glass of water");
    pub(in super::super) const SUMATRIPTAN: Medication = medication("sumatriptan", "migraine", ("313161", "sumatriptan 50 MG Oral Tablet"), 1, "Take one tablet at the first sign of a migraine");
    pub(in super::super) const OMEPRAZOLE: Medication = medication("omeprazole", "reflux", ("198051", "omeprazole 20 MG Delayed Release Oral Capsule"), 1, "Take one capsule every morning before breakfast");
    pub(in super::super) const IRON: Medication = medication("ferrous-sulfate", "iron-deficiency", ("310325", "ferrous sulfate 325 MG Oral Tablet"), 1, "Take one tablet every morning with orange juice");
    pub(in super::super) const DONEPEZIL: Medication = medication("donepezil", "alzheimer", ("997223", "donepezil hydrochloride 10 MG Oral Tablet"), 1, "Take one tablet at bedtime");
}
pub(super) use medications::*;

#[rustfmt::skip]
mod labs {
    use super::Lab;
    pub(in super::super) const A1C: Lab = Lab { slug: "a1c", loinc: ("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood"), text: "Hemoglobin A1c", unit: "%", decimals: 1, low: Some(40), high: Some(56) };
    pub(in super::super) const CREATININE: Lab = Lab { slug: "creatinine", loinc: ("2160-0", "Creatinine [Mass/volume] in Serum or Plasma"), text: "Creatinine", unit: "mg/dL", decimals: 2, low: Some(60), high: Some(130) };
    pub(in super::super) const EGFR: Lab = Lab { slug: "egfr", loinc: ("98979-8", "Glomerular filtration rate [Volume Rate/Area] in Serum, Plasma or Blood by Creatinine-based formula (CKD-EPI 2021)/1.73 sq M"), text: "eGFR", unit: "mL/min/{1.73_m2}", decimals: 0, low: Some(60), high: None };
    pub(in super::super) const LDL: Lab = Lab { slug: "ldl", loinc: ("13457-7", "Cholesterol in LDL [Mass/volume] in Serum or Plasma by calculation"), text: "LDL cholesterol", unit: "mg/dL", decimals: 0, low: None, high: Some(130) };
    pub(in super::super) const HDL: Lab = Lab { slug: "hdl", loinc: ("2085-9", "Cholesterol in HDL [Mass/volume] in Serum or Plasma"), text: "HDL cholesterol", unit: "mg/dL", decimals: 0, low: Some(40), high: None };
    pub(in super::super) const TSH: Lab = Lab { slug: "tsh", loinc: ("3016-3", "Thyrotropin [Units/volume] in Serum or Plasma"), text: "TSH", unit: "m[IU]/L", decimals: 2, low: Some(40), high: Some(400) };
    pub(in super::super) const HEMOGLOBIN: Lab = Lab { slug: "hemoglobin", loinc: ("718-7", "Hemoglobin [Mass/volume] in Blood"), text: "Hemoglobin", unit: "g/dL", decimals: 1, low: Some(120), high: Some(170) };
    pub(in super::super) const FERRITIN: Lab = Lab { slug: "ferritin", loinc: ("2276-4", "Ferritin [Mass/volume] in Serum or Plasma"), text: "Ferritin", unit: "ng/mL", decimals: 0, low: Some(15), high: Some(200) };
    pub(in super::super) const POTASSIUM: Lab = Lab { slug: "potassium", loinc: ("2823-3", "Potassium [Moles/volume] in Serum or Plasma"), text: "Potassium", unit: "mmol/L", decimals: 1, low: Some(35), high: Some(51) };
    pub(in super::super) const INR: Lab = Lab { slug: "inr", loinc: ("6301-6", "INR in Platelet poor plasma by Coagulation assay"), text: "INR", unit: "{INR}", decimals: 1, low: Some(20), high: Some(30) };
    pub(in super::super) const CRP: Lab = Lab { slug: "crp", loinc: ("1988-5", "C reactive protein [Mass/volume] in Serum or Plasma"), text: "C-reactive protein", unit: "mg/L", decimals: 1, low: None, high: Some(50) };
}
pub(super) use labs::*;

pub(super) const INFLUENZA: Vaccine =
    Vaccine { slug: "influenza", cvx: ("140", "Influenza, seasonal, injectable, preservative free") };
pub(super) const TDAP: Vaccine = Vaccine { slug: "tdap", cvx: ("115", "Tdap") };
pub(super) const COVID: Vaccine =
    Vaccine { slug: "covid-19", cvx: ("309", "COVID-19, mRNA, LNP-S, PF, tris-sucrose, 30 mcg/0.3 mL") };
pub(super) const ZOSTER: Vaccine = Vaccine { slug: "zoster", cvx: ("187", "zoster recombinant") };
pub(super) const PNEUMOCOCCAL: Vaccine =
    Vaccine { slug: "pneumococcal", cvx: ("216", "Pneumococcal conjugate vaccine 20-valent") };
pub(super) const MMR: Vaccine = Vaccine { slug: "mmr", cvx: ("03", "MMR") };
pub(super) const VARICELLA: Vaccine = Vaccine { slug: "varicella", cvx: ("21", "varicella") };

#[rustfmt::skip]
mod allergens {
    use super::Allergen;
    pub(in super::super) const PENICILLIN: Allergen = Allergen { slug: "penicillin", snomed: ("764146007", "Penicillin (substance)"), category: "medication", criticality: "high", reaction: ("247472004", "Wheal (finding)"), severity: "moderate" };
    pub(in super::super) const SULFONAMIDE: Allergen = Allergen { slug: "sulfonamide", snomed: ("387406002", "Sulfonamide (substance)"), category: "medication", criticality: "low", reaction: ("271807003", "Eruption of skin (disorder)"), severity: "mild" };
    pub(in super::super) const PEANUT: Allergen = Allergen { slug: "peanut", snomed: ("762952008", "Peanut (substance)"), category: "food", criticality: "high", reaction: ("39579001", "Anaphylaxis (disorder)"), severity: "severe" };
    pub(in super::super) const SHELLFISH: Allergen = Allergen { slug: "shellfish", snomed: ("735029006", "Shellfish (substance)"), category: "food", criticality: "low", reaction: ("126485001", "Urticaria (disorder)"), severity: "moderate" };
    pub(in super::super) const LATEX: Allergen = Allergen { slug: "latex", snomed: ("111088007", "Latex (substance)"), category: "environment", criticality: "low", reaction: ("40275004", "Contact dermatitis (disorder)"), severity: "mild" };
    pub(in super::super) const POLLEN: Allergen = Allergen { slug: "grass-pollen", snomed: ("256277009", "Grass pollen (substance)"), category: "environment", criticality: "low", reaction: ("70076002", "Rhinitis (disorder)"), severity: "mild" };
}
pub(super) use allergens::*;
