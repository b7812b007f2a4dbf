//! The people of the sample data: who they are, what they have, and how their measurements move. All of them are made
//! up; names, addresses and identifiers belong to nobody. It is a table and computes nothing.

use super::terms::{self as t, Allergen, Lab, Medication, Problem, Vaccine};

/// From the first visit of the series to the last one.
pub(super) type Course = (i32, i32);

/// One patient and everything the generator needs to write a coherent chart.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) id: &'static str,
    pub(super) given: &'static [&'static str],
    pub(super) family: &'static str,
    pub(super) gender: &'static str,
    pub(super) birth_date: &'static str,
    pub(super) language: (&'static str, &'static str),
    pub(super) street: &'static str,
    pub(super) city: (&'static str, &'static str),
    pub(super) practitioner: &'static str,
    pub(super) body: Body,
    pub(super) visits: Visits,
    /// Each with the date of onset.
    pub(super) problems: &'static [(&'static Problem, &'static str)],
    pub(super) medications: &'static [&'static Medication],
    pub(super) labs: &'static [(&'static Lab, Course)],
    pub(super) allergies: &'static [&'static Allergen],
    pub(super) vaccines: &'static [&'static Vaccine],
    pub(super) smoking: Smoking,
}

/// Measurements at the first and the last visit: tenths of a centimetre, tenths of a kilogram, mmHg, beats per minute.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) height: Course,
    pub(super) weight: Course,
    pub(super) systolic: Course,
    pub(super) diastolic: Course,
    pub(super) pulse: Course,
}

/// How often the patient came, and an acute problem that one of the visits was for.
#[derive(Debug)]
pub(super) struct Visits {
    pub(super) count: i32,
    pub(super) months_apart: i32,
    /// The last visit is today's and not over yet.
    pub(super) in_clinic: bool,
    pub(super) acute: Option<&'static Problem>,
}

/// Smoking status, from which the social-history observation is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Smoking {
    Never,
    Former,
    Current,
    /// Not asked, for children.
    NotAsked,
}

const EN: (&str, &str) = ("en", "English");
const ES: (&str, &str) = ("es", "Spanish");
const MADISON: (&str, &str) = ("Madison", "53703");
const MONONA: (&str, &str) = ("Monona", "53716");
const MIDDLETON: (&str, &str) = ("Middleton", "53562");
const VERONA: (&str, &str) = ("Verona", "53593");
const RIVERA: &str = "elena-rivera";
const OKAFOR: &str = "marcus-okafor";
const LINDQVIST: &str = "hanna-lindqvist";
const CHEN: &str = "david-chen";

const fn body(height: Course, weight: Course, systolic: Course, diastolic: Course, pulse: Course) -> Body {
    Body { height, weight, systolic, diastolic, pulse }
}

const fn visits(count: i32, months_apart: i32) -> Visits {
    Visits { count, months_apart, in_clinic: false, acute: None }
}

impl Visits {
    const fn in_clinic(self) -> Self {
        Self { in_clinic: true, ..self }
    }

    const fn acute(self, problem: &'static Problem) -> Self {
        Self { acute: Some(problem), ..self }
    }
}

/// All patients, in the order of their ids.
#[rustfmt::skip]
pub(super) const PEOPLE: &[Person] = &[
    Person {
        id: "aiko-tanaka", given: &["Aiko"], family: "Tanaka", gender: "female", birth_date: "1979-02-14", language: ("ja", "Japanese"),
        street: "218 Jenifer Street", city: MADISON, practitioner: RIVERA,
        body: body((1582, 1582), (536, 549), (112, 116), (70, 72), (84, 70)), visits: visits(8, 4).acute(&t::PHARYNGITIS),
        problems: &[(&t::HYPOTHYROID, "2023-05-09"), (&t::MIGRAINE, "2008-09-01")],
        medications: &[&t::LEVOTHYROXINE, &t::SUMATRIPTAN],
        labs: &[(&t::TSH, (912, 214)), (&t::HEMOGLOBIN, (131, 134))],
        allergies: &[&t::SHELLFISH], vaccines: &[&t::INFLUENZA, &t::TDAP, &t::COVID], smoking: Smoking::Never,
    },
    Person {
        id: "amina-diallo", given: &["Amina", "Fatou"], family: "Diallo", gender: "female", birth_date: "1968-04-12", language: ("fr", "French"),
        street: "1140 Rutledge Street", city: MADISON, practitioner: RIVERA,
        body: body((1648, 1646), (884, 791), (158, 128), (96, 80), (82, 72)), visits: visits(12, 3).in_clinic(),
        problems: &[(&t::DIABETES, "2019-03-21"), (&t::HYPERTENSION, "2017-10-05"), (&t::LIPIDS, "2019-03-21")],
        medications: &[&t::METFORMIN_1000, &t::LISINOPRIL_20, &t::ATORVASTATIN],
        labs: &[(&t::A1C, (91, 66)), (&t::CREATININE, (82, 86)), (&t::EGFR, (84, 79)), (&t::LDL, (148, 84)), (&t::HDL, (42, 49))],
        allergies: &[&t::PENICILLIN], vaccines: &[&t::INFLUENZA, &t::COVID, &t::PNEUMOCOCCAL], smoking: Smoking::Never,
    },
    Person {
        id: "arjun-mehta", given: &["Arjun"], family: "Mehta", gender: "male", birth_date: "1985-07-30", language: EN,
        street: "77 Lakeview Avenue", city: MIDDLETON, practitioner: RIVERA,
        body: body((1755, 1755), (912, 848), (134, 124), (86, 78), (76, 68)), visits: visits(7, 5),
        problems: &[(&t::PREDIABETES, "2024-01-18"), (&t::LIPIDS, "2024-01-18")],
        medications: &[&t::SIMVASTATIN],
        labs: &[(&t::A1C, (62, 57)), (&t::LDL, (172, 109)), (&t::HDL, (38, 44))],
        allergies: &[], vaccines: &[&t::INFLUENZA, &t::TDAP], smoking: Smoking::Former,
    },
    Person {
        id: "beatriz-santos", given: &["Beatriz"], family: "Santos", gender: "female", birth_date: "1993-11-03", language: ("pt", "Portuguese"),
        street: "409 Bedford Street", city: MADISON, practitioner: RIVERA,
        body: body((1631, 1631), (612, 618), (110, 112), (68, 70), (88, 74)), visits: visits(7, 4),
        problems: &[(&t::ANEMIA, "2024-06-11"), (&t::ANXIETY, "2022-02-24")],
        medications: &[&t::IRON, &t::ESCITALOPRAM],
        labs: &[(&t::HEMOGLOBIN, (98, 127)), (&t::FERRITIN, (6, 41))],
        allergies: &[&t::LATEX], vaccines: &[&t::INFLUENZA, &t::COVID, &t::TDAP], smoking: Smoking::Never,
    },
    Person {
        id: "caleb-whitefeather", given: &["Caleb"], family: "Whitefeather", gender: "male", birth_date: "1957-09-19", language: EN,
        street: "3302 Winnebago Street", city: MADISON, practitioner: CHEN,
        body: body((1788, 1784), (986, 954), (152, 134), (90, 80), (78, 72)), visits: visits(12, 3),
        problems: &[(&t::DIABETES, "2009-08-14"), (&t::CKD, "2021-11-30"), (&t::HYPERTENSION, "2006-05-02")],
        medications: &[&t::GLARGINE_2, &t::LISINOPRIL_20, &t::AMLODIPINE],
        labs: &[(&t::A1C, (88, 74)), (&t::CREATININE, (152, 178)), (&t::EGFR, (49, 41)), (&t::POTASSIUM, (46, 49))],
        allergies: &[&t::SULFONAMIDE], vaccines: &[&t::INFLUENZA, &t::COVID, &t::ZOSTER, &t::PNEUMOCOCCAL], smoking: Smoking::Former,
    },
    Person {
        id: "chidi-eze", given: &["Chidi"], family: "Eze", gender: "male", birth_date: "2017-05-26", language: EN,
        street: "15 Owl Creek Drive", city: MADISON, practitioner: LINDQVIST,
        body: body((1152, 1321), (204, 284), (96, 102), (60, 64), (98, 88)), visits: visits(8, 4).acute(&t::PHARYNGITIS),
        problems: &[(&t::ASTHMA, "2022-10-12")],
        medications: &[&t::ALBUTEROL, &t::FLUTICASONE],
        labs: &[(&t::HEMOGLOBIN, (121, 127))],
        allergies: &[&t::PEANUT], vaccines: &[&t::INFLUENZA, &t::MMR, &t::VARICELLA], smoking: Smoking::NotAsked,
    },
    Person {
        id: "dmitri-volkov", given: &["Dmitri"], family: "Volkov", gender: "male", birth_date: "1951-01-08", language: ("ru", "Russian"),
        street: "902 Spaight Street", city: MADISON, practitioner: OKAFOR,
        body: body((1731, 1726), (948, 862), (146, 122), (88, 74), (94, 66)), visits: visits(13, 3).in_clinic(),
        problems: &[(&t::HEART_FAILURE, "2022-12-02"), (&t::CORONARY, "2014-03-17"), (&t::LIPIDS, "2010-06-21")],
        medications: &[&t::METOPROLOL, &t::FUROSEMIDE, &t::ASPIRIN, &t::ATORVASTATIN],
        labs: &[(&t::LDL, (121, 68)), (&t::CREATININE, (112, 124)), (&t::POTASSIUM, (41, 44))],
        allergies: &[], vaccines: &[&t::INFLUENZA, &t::COVID, &t::PNEUMOCOCCAL, &t::ZOSTER], smoking: Smoking::Former,
    },
    Person {
        id: "eleanor-hughes", given: &["Eleanor", "Mae"], family: "Hughes", gender: "female", birth_date: "1944-06-27", language: EN,
        street: "61 Maple Grove", city: MONONA, practitioner: RIVERA,
        body: body((1571, 1558), (574, 548), (138, 132), (78, 74), (74, 72)), visits: visits(9, 4),
        problems: &[(&t::OSTEOPOROSIS, "2015-04-08"), (&t::ALZHEIMER, "2024-02-13"), (&t::HYPERTENSION, "2001-09-10")],
        medications: &[&t::ALENDRONATE, &t::DONEPEZIL, &t::AMLODIPINE],
        labs: &[(&t::CREATININE, (92, 98)), (&t::TSH, (248, 262))],
        allergies: &[&t::PENICILLIN], vaccines: &[&t::INFLUENZA, &t::COVID, &t::PNEUMOCOCCAL, &t::ZOSTER], smoking: Smoking::Never,
    },
    Person {
        id: "farah-rahimi", given: &["Farah"], family: "Rahimi", gender: "female", birth_date: "1990-03-05", language: ("fa", "Persian"),
        street: "540 Odana Lane", city: MADISON, practitioner: RIVERA,
        body: body((1667, 1667), (682, 661), (116, 114), (74, 72), (78, 72)), visits: visits(6, 6).acute(&t::SPRAIN),
        problems: &[(&t::DEPRESSION, "2023-09-27")],
        medications: &[&t::SERTRALINE],
        labs: &[(&t::TSH, (188, 176))],
        allergies: &[&t::POLLEN], vaccines: &[&t::INFLUENZA, &t::TDAP], smoking: Smoking::Former,
    },
    Person {
        id: "gabriel-moreau", given: &["Gabriel"], family: "Moreau", gender: "male", birth_date: "1962-12-18", language: ("fr", "French"),
        street: "8 Harbor Court", city: MONONA, practitioner: OKAFOR,
        body: body((1802, 1801), (892, 871), (144, 130), (86, 80), (92, 74)), visits: visits(11, 3),
        problems: &[(&t::FIBRILLATION, "2023-11-06"), (&t::HYPERTENSION, "2012-04-30")],
        medications: &[&t::APIXABAN, &t::AMLODIPINE],
        labs: &[(&t::CREATININE, (98, 101)), (&t::HEMOGLOBIN, (148, 146))],
        allergies: &[], vaccines: &[&t::INFLUENZA, &t::COVID], smoking: Smoking::Former,
    },
    Person {
        id: "hassan-al-farsi", given: &["Hassan"], family: "Al-Farsi", gender: "male", birth_date: "1974-08-22", language: ("ar", "Arabic"),
        street: "1207 Raymond Road", city: MADISON, practitioner: CHEN,
        body: body((1719, 1719), (1043, 938), (148, 130), (94, 82), (84, 74)), visits: visits(10, 3),
        problems: &[(&t::DIABETES, "2021-05-13"), (&t::OBESITY, "2018-02-02"), (&t::REFLUX, "2020-07-16")],
        medications: &[&t::METFORMIN, &t::OMEPRAZOLE],
        labs: &[(&t::A1C, (84, 69)), (&t::CREATININE, (94, 96)), (&t::LDL, (131, 112))],
        allergies: &[], vaccines: &[&t::INFLUENZA, &t::TDAP], smoking: Smoking::Current,
    },
    Person {
        id: "isabel-ortega", given: &["Isabel"], family: "Ortega", gender: "female", birth_date: "2012-08-09", language: ES,
        street: "246 Fish Hatchery Road", city: MADISON, practitioner: LINDQVIST,
        body: body((1412, 1568), (346, 482), (102, 110), (62, 68), (90, 80)), visits: visits(11, 3),
        problems: &[(&t::DIABETES_1, "2021-02-17")],
        medications: &[&t::GLARGINE],
        labs: &[(&t::A1C, (94, 75)), (&t::TSH, (221, 204))],
        allergies: &[], vaccines: &[&t::INFLUENZA, &t::MMR, &t::TDAP], smoking: Smoking::NotAsked,
    },
    Person {
        id: "jamal-washington", given: &["Jamal"], family: "Washington", gender: "male", birth_date: "1971-10-31", language: EN,
        street: "3817 Atwood Avenue", city: MADISON, practitioner: RIVERA,
        body: body((1834, 1834), (1012, 984), (166, 136), (102, 86), (80, 74)), visits: visits(10, 3).in_clinic(),
        problems: &[(&t::HYPERTENSION, "2023-10-19"), (&t::OBESITY, "2019-01-11")],
        medications: &[&t::LISINOPRIL_20, &t::THIAZIDE],
        labs: &[(&t::CREATININE, (108, 112)), (&t::POTASSIUM, (43, 41)), (&t::LDL, (118, 104))],
        allergies: &[], vaccines: &[&t::INFLUENZA, &t::TDAP, &t::COVID], smoking: Smoking::Never,
    },
    Person {
        id: "kateryna-bondar", given: &["Kateryna"], family: "Bondar", gender: "female", birth_date: "1982-05-17", language: ("uk", "Ukrainian"),
        street: "92 Northport Drive", city: MADISON, practitioner: RIVERA,
        body: body((1702, 1702), (648, 641), (118, 116), (74, 74), (76, 70)), visits: visits(7, 5),
        problems: &[(&t::ARTHRITIS, "2020-09-03")],
        medications: &[&t::METHOTREXATE],
        labs: &[(&t::CRP, (186, 42)), (&t::HEMOGLOBIN, (118, 126)), (&t::CREATININE, (74, 76))],
        allergies: &[&t::SULFONAMIDE], vaccines: &[&t::INFLUENZA, &t::COVID], smoking: Smoking::Never,
    },
    Person {
        id: "leilani-kahale", given: &["Leilani"], family: "Kahale", gender: "female", birth_date: "1987-01-23", language: EN,
        street: "710 Verona Road", city: VERONA, practitioner: RIVERA,
        body: body((1689, 1689), (946, 902), (126, 120), (80, 76), (82, 76)), visits: visits(7, 5).acute(&t::BRONCHITIS),
        problems: &[(&t::ASTHMA, "1996-04-01"), (&t::OBESITY, "2021-06-30")],
        medications: &[&t::ALBUTEROL, &t::FLUTICASONE],
        labs: &[(&t::A1C, (56, 54)), (&t::LDL, (124, 117))],
        allergies: &[&t::POLLEN], vaccines: &[&t::INFLUENZA, &t::COVID, &t::TDAP], smoking: Smoking::Never,
    },
    Person {
        id: "lucas-andersen", given: &["Lucas"], family: "Andersen", gender: "male", birth_date: "2021-09-02", language: EN,
        street: "33 Prairie Way", city: MIDDLETON, practitioner: LINDQVIST,
        body: body((921, 1108), (136, 192), (90, 94), (54, 58), (112, 100)), visits: visits(6, 5).acute(&t::PHARYNGITIS),
        problems: &[], medications: &[],
        labs: &[(&t::HEMOGLOBIN, (116, 122))],
        allergies: &[], vaccines: &[&t::INFLUENZA, &t::MMR, &t::VARICELLA], smoking: Smoking::NotAsked,
    },
    Person {
        id: "mei-lin-zhou", given: &["Mei-Lin"], family: "Zhou", gender: "female", birth_date: "1959-03-29", language: ("zh", "Chinese"),
        street: "1515 Vilas Avenue", city: MADISON, practitioner: CHEN,
        body: body((1567, 1562), (602, 584), (142, 128), (84, 76), (76, 70)), visits: visits(10, 3).in_clinic(),
        problems: &[(&t::CKD, "2022-03-08"), (&t::HYPERTENSION, "2011-12-14"), (&t::LIPIDS, "2013-07-01")],
        medications: &[&t::LISINOPRIL, &t::SIMVASTATIN],
        labs: &[(&t::CREATININE, (124, 136)), (&t::EGFR, (47, 42)), (&t::LDL, (116, 88)), (&t::POTASSIUM, (44, 47))],
        allergies: &[&t::PENICILLIN], vaccines: &[&t::INFLUENZA, &t::COVID, &t::ZOSTER, &t::PNEUMOCOCCAL], smoking: Smoking::Never,
    },
    Person {
        id: "noah-goldberg", given: &["Noah"], family: "Goldberg", gender: "male", birth_date: "1998-06-15", language: EN,
        street: "204 Langdon Street", city: MADISON, practitioner: RIVERA,
        body: body((1778, 1778), (734, 758), (118, 120), (72, 74), (70, 66)), visits: visits(6, 6).acute(&t::SPRAIN),
        problems: &[(&t::ANXIETY, "2024-04-22")],
        medications: &[&t::ESCITALOPRAM],
        labs: &[(&t::TSH, (174, 181))],
        allergies: &[&t::PEANUT], vaccines: &[&t::INFLUENZA, &t::TDAP, &t::COVID], smoking: Smoking::Never,
    },
    Person {
        id: "olivia-novak", given: &["Olivia"], family: "Novak", gender: "female", birth_date: "1965-11-11", language: EN,
        street: "27 Buckeye Road", city: MADISON, practitioner: RIVERA,
        body: body((1624, 1620), (742, 726), (128, 124), (78, 76), (72, 70)), visits: visits(7, 5),
        problems: &[(&t::OSTEOARTHRITIS, "2020-01-28"), (&t::REFLUX, "2016-05-19")],
        medications: &[&t::ACETAMINOPHEN, &t::OMEPRAZOLE],
        labs: &[(&t::CREATININE, (78, 80)), (&t::HEMOGLOBIN, (134, 136))],
        allergies: &[&t::LATEX], vaccines: &[&t::INFLUENZA, &t::ZOSTER, &t::COVID], smoking: Smoking::Former,
    },
    Person {
        id: "pedro-castillo", given: &["Pedro", "Antonio"], family: "Castillo", gender: "male", birth_date: "1948-02-02", language: ES,
        street: "4410 Milwaukee Street", city: MADISON, practitioner: OKAFOR,
        body: body((1693, 1688), (782, 764), (140, 130), (80, 74), (86, 74)), visits: visits(12, 3),
        problems: &[(&t::FIBRILLATION, "2018-10-29"), (&t::COPD, "2016-08-23"), (&t::HYPERTENSION, "2003-03-03")],
        medications: &[&t::WARFARIN, &t::ALBUTEROL_COPD, &t::AMLODIPINE],
        labs: &[(&t::INR, (24, 26)), (&t::HEMOGLOBIN, (142, 139)), (&t::CREATININE, (104, 109))],
        allergies: &[], vaccines: &[&t::INFLUENZA, &t::PNEUMOCOCCAL, &t::COVID, &t::ZOSTER], smoking: Smoking::Former,
    },
    Person {
        id: "priya-nair", given: &["Priya"], family: "Nair", gender: "female", birth_date: "1976-12-06", language: ("ml", "Malayalam"),
        street: "318 Bascom Place", city: MADISON, practitioner: CHEN,
        body: body((1598, 1598), (706, 668), (136, 124), (84, 78), (78, 72)), visits: visits(10, 3).in_clinic(),
        problems: &[(&t::DIABETES, "2022-08-25"), (&t::HYPOTHYROID, "2015-01-14"), (&t::LIPIDS, "2022-08-25")],
        medications: &[&t::METFORMIN, &t::LEVOTHYROXINE, &t::ATORVASTATIN],
        labs: &[(&t::A1C, (79, 63)), (&t::TSH, (486, 232)), (&t::LDL, (152, 91)), (&t::CREATININE, (70, 71))],
        allergies: &[], vaccines: &[&t::INFLUENZA, &t::COVID, &t::TDAP], smoking: Smoking::Never,
    },
    Person {
        id: "rosa-jimenez", given: &["Rosa"], family: "Jiménez", gender: "female", birth_date: "1955-08-30", language: ES,
        street: "1926 Fisher Street", city: MADISON, practitioner: RIVERA,
        body: body((1541, 1536), (764, 738), (150, 132), (86, 78), (76, 72)), visits: visits(10, 3),
        problems: &[(&t::DIABETES, "2012-11-20"), (&t::HYPERTENSION, "2008-04-15"), (&t::OSTEOARTHRITIS, "2017-02-09")],
        medications: &[&t::METFORMIN_1000, &t::LISINOPRIL, &t::ACETAMINOPHEN],
        labs: &[(&t::A1C, (77, 70)), (&t::CREATININE, (84, 90)), (&t::EGFR, (74, 68)), (&t::LDL, (108, 96))],
        allergies: &[&t::SULFONAMIDE], vaccines: &[&t::INFLUENZA, &t::PNEUMOCOCCAL, &t::ZOSTER], smoking: Smoking::Never,
    },
    Person {
        id: "samuel-tesfaye", given: &["Samuel"], family: "Tesfaye", gender: "male", birth_date: "1989-01-19", language: ("am", "Amharic"),
        street: "655 Sherman Avenue", city: MADISON, practitioner: RIVERA,
        body: body((1762, 1762), (718, 724), (120, 118), (76, 74), (64, 60)), visits: visits(6, 6),
        problems: &[(&t::MIGRAINE, "2019-12-03")],
        medications: &[&t::SUMATRIPTAN],
        labs: &[(&t::LDL, (102, 98)), (&t::HEMOGLOBIN, (151, 150))],
        allergies: &[&t::PENICILLIN], vaccines: &[&t::INFLUENZA, &t::COVID], smoking: Smoking::Never,
    },
    Person {
        id: "tuan-nguyen", given: &["Tuấn"], family: "Nguyễn", gender: "male", birth_date: "1966-07-07", language: ("vi", "Vietnamese"),
        street: "129 Park Street", city: MADISON, practitioner: OKAFOR,
        body: body((1664, 1663), (694, 676), (148, 126), (90, 78), (80, 68)), visits: visits(10, 3),
        problems: &[(&t::CORONARY, "2023-12-21"), (&t::HYPERTENSION, "2016-06-06"), (&t::LIPIDS, "2016-06-06")],
        medications: &[&t::ASPIRIN, &t::LISINOPRIL, &t::ATORVASTATIN],
        labs: &[(&t::LDL, (158, 62)), (&t::HDL, (36, 45)), (&t::CREATININE, (92, 94))],
        allergies: &[], vaccines: &[&t::INFLUENZA, &t::COVID, &t::TDAP], smoking: Smoking::Former,
    },
];
