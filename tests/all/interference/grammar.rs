//! Requests over the whole FHIR REST surface: valid, odd and wrong.

use serde::{Deserialize, Serialize};

use super::bodies;
use super::vocabulary::{FORM, HEADERS, IDS, METHODS, MODIFIERS, NAMES, TYPES, VALUES};

/// Random choices that can be made again from their seed (xorshift64*).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % end
    }

    pub(super) fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    pub(super) fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

/// One request; where the worlds give different links, one target for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ask {
    pub(super) method: String,
    pub(super) targets: Vec<String>,
    pub(super) headers: Vec<String>,
    pub(super) body: String,
}

pub(super) fn corpus() -> impl Iterator<Item = Ask> {
    include_str!("corpus.jsonl").lines().map(|line| serde_json::from_str(line).unwrap())
}

impl Ask {
    pub(super) fn follow(one: String, other: String) -> Self {
        Self { method: "GET".to_owned(), targets: vec![one, other], headers: Vec::new(), body: String::new() }
    }

    pub(super) fn change(method: &str, target: String, headers: Vec<String>, body: String) -> Self {
        Self { method: method.to_owned(), targets: vec![target], headers, body }
    }

    pub(super) fn line(&self, world: usize) -> String {
        format!("{} {}", self.method, self.targets.get(world).unwrap_or(&self.targets[0]))
    }

    pub(super) fn any(dice: &mut Dice) -> Self {
        let mut ask = Self { method: "GET".to_owned(), targets: Vec::new(), headers: Vec::new(), body: String::new() };
        let of = dice.of(TYPES);
        let mut target = match dice.below(22) {
            0..=7 => format!("/fhir/{of}{}", query(dice, 4)),
            8..=11 => format!("/fhir/{}", read(dice)),
            12 => format!("/fhir/{}{}", read(dice), query(dice, 1)),
            13 | 14 => format!("/fhir/{}/_history/{}", read(dice), dice.of(&["1", "2", "3", "4", "0", "x", "1/x"])),
            15 | 16 => {
                "POST".clone_into(&mut ask.method);
                ask.headers.push(FORM.to_owned());
                query(dice, 4).trim_start_matches('?').clone_into(&mut ask.body);
                format!("/fhir/{of}/_search{}", if dice.one_in(3) { query(dice, 2) } else { String::new() })
            }
            17 if dice.one_in(2) => format!(
                "/fhir/{}/_history{}",
                read(dice),
                dice.of(&[
                    "",
                    "",
                    "?_count=1",
                    "?_count=2&_since=2020",
                    "?_at=2024",
                    "?_elements=code",
                    "?_sort=-date",
                    "?_summary=true"
                ])
            ),
            17 => {
                let (one, other) = (read(dice), dice.of(TYPES));
                let shapes = [
                    format!("{one}/_history"),
                    format!("{of}/_history"),
                    "_history".to_owned(),
                    format!("{one}/{other}"),
                    format!("Patient/P1/{other}"),
                    format!("Patient/P2/{other}"),
                    format!("Encounter/e2/{other}"),
                    format!("{one}/*"),
                    format!("{one}/$everything"),
                    "Patient/P1/$everything".to_owned(),
                    format!("{of}/$lastn"),
                    format!("{of}/$docref"),
                    "$export".to_owned(),
                    format!("{of}/$export"),
                    "$graphql".to_owned(),
                    format!("{one}/$validate"),
                    "metadata".to_owned(),
                    String::new(),
                    format!("?_type={of}"),
                    format!("{one}/$meta"),
                    format!("{one}/$meta-delete"),
                    format!("{of}/$match"),
                    format!("{one}/$document"),
                    format!("{of}/$everything"),
                    "Patient/P1/$everything?_type=Observation,Practitioner,Condition".to_owned(),
                    "Encounter/e1/$everything".to_owned(),
                    "Encounter/e2/$everything".to_owned(),
                    "Observation/$lastn?max=2".to_owned(),
                    "DocumentReference/$docref?patient=P1".to_owned(),
                    "Observation/$docref?patient=P2".to_owned(),
                    format!("Patient/{}/$summary", dice.of(IDS)),
                    "CodeSystem/$lookup?code=x".to_owned(),
                    ".well-known/smart-configuration".to_owned(),
                ];
                if dice.one_in(5) {
                    "POST".clone_into(&mut ask.method);
                    ask.headers.push("Content-Type: application/fhir+json".to_owned());
                    ask.body = bodies::parameters(dice).to_string();
                }
                format!("/fhir/{}{}", shapes[dice.below(shapes.len())], query(dice, 2))
            }
            18 => write(dice, &mut ask),
            19 => {
                "POST".clone_into(&mut ask.method);
                ask.headers.push("Content-Type: application/fhir+json".to_owned());
                ask.body = bodies::bundle(dice, 2).to_string();
                dice.of(&["/fhir", "/fhir/", "/fhir", "/fhir/Bundle", "/fhir/$process-message"]).to_owned()
            }
            _ => {
                let path = format!("/fhir/{}", read(dice));
                match dice.below(8) {
                    0 => path.replacen('/', "%2F", dice.below(4)),
                    1 => path.replacen('/', "//", dice.below(4)),
                    2 => format!("{path}/"),
                    3 => format!("{path};x=y"),
                    4 => format!("{path}/../{}", dice.of(IDS)),
                    5 => path.to_ascii_uppercase(),
                    6 => path.replacen("/fhir", dice.of(&["/FHIR", "/fhir2", "", "/fhir/fhir", "/fhir/./"]), 1),
                    _ => format!("{path}?{}", "&".repeat(dice.below(4))),
                }
            }
        };
        if dice.one_in(12) {
            dice.of(METHODS).clone_into(&mut ask.method);
        }
        while dice.one_in(3) {
            ask.headers.push(dice.of(HEADERS).to_owned());
        }
        // What would break the request line itself is the wire tests' business.
        target.retain(|c| c.is_ascii_graphic() && c != '#');
        ask.targets.push(if target.starts_with('/') { target } else { format!("/{target}") });
        ask
    }
}

/// A change of one resource, or what looks like one.
fn write(dice: &mut Dice, ask: &mut Ask) -> String {
    let id = dice.of(IDS);
    let of = type_of(id, dice);
    let (method, media_type, target) = match dice.below(10) {
        0..=2 => ("POST", "application/fhir+json", of.to_owned()),
        3 | 4 => ("PUT", "application/fhir+json", format!("{of}/{id}")),
        5 | 6 => ("PATCH", "application/json-patch+json", format!("{of}/{id}")),
        7 => ("DELETE", "", format!("{of}/{id}")),
        8 => (dice.of(&["PUT", "PATCH", "DELETE"]), "application/fhir+json", format!("{of}{}", query(dice, 2))),
        _ => (dice.of(METHODS), dice.of(&["application/json", "text/plain", "application/fhir+xml"]), read(dice)),
    };
    method.clone_into(&mut ask.method);
    ask.body = match method {
        "DELETE" => String::new(),
        "PATCH" => bodies::patch(dice).to_string(),
        _ => bodies::resource(dice, of, id).to_string(),
    };
    if dice.one_in(20) {
        dice.of(&["", "{}", "[", "null", "{\"resourceType\":\"Observation\"}"]).clone_into(&mut ask.body);
    }
    if !media_type.is_empty() {
        ask.headers.push(format!("Content-Type: {media_type}"));
    }
    if dice.one_in(3) {
        ask.headers.push(dice.of(&["If-Match: W/\"1\"", "If-None-Exist: _id=o2", "If-Match: *"]).to_owned());
    }
    format!("/fhir/{target}")
}

/// Mostly the type that has such an id.
fn type_of<'a>(id: &str, dice: &mut Dice) -> &'a str {
    match id.as_bytes().first() {
        _ if dice.one_in(5) => dice.of(TYPES),
        Some(b'P') => "Patient",
        Some(b'p') if id.starts_with("pr") => "Provenance",
        Some(b'c') => "Condition",
        Some(b'e') => "Encounter",
        Some(b'a') if id.starts_with("al") => "AllergyIntolerance",
        Some(b'a') => "Appointment",
        Some(b'm') if id.len() == 2 => "MedicationRequest",
        Some(b'd') if id.starts_with("dev") => "Device",
        Some(b'd') => "Practitioner",
        _ => "Observation",
    }
}

fn read(dice: &mut Dice) -> String {
    let id = dice.of(IDS);
    let of = type_of(id, dice);
    format!("{of}/{id}")
}

fn query(dice: &mut Dice, most: usize) -> String {
    let mut text = String::new();
    for number in 0..dice.below(most + 1) {
        let (name, modifier, value) = match dice.below(4) {
            // Often a search that is served.
            0 => ("_id", "", dice.of(&["o1,o2,v1,y00,z1", "o2", "P1,P2", "x01,y01,z2", "c1,c2", "a1,a2"])),
            1 => (dice.of(&["code", "category", "status"]), "", dice.of(&["1234-5", "laboratory", "final", "2093-3"])),
            _ => (dice.of(NAMES), dice.of(MODIFIERS), dice.of(VALUES)),
        };
        let value: String = match dice.below(6) {
            0 => value.to_owned(),
            1 => percent_encoding::percent_encode(value.as_bytes(), percent_encoding::NON_ALPHANUMERIC).to_string(),
            _ => form_urlencoded::byte_serialize(value.as_bytes()).collect(),
        };
        text.push(if number == 0 { '?' } else { '&' });
        for part in [name, modifier, "=", &value] {
            text.push_str(part);
        }
    }
    text
}
