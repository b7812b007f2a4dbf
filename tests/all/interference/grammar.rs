//! Requests over the whole FHIR REST surface: valid, odd and wrong.

use serde::{Deserialize, Serialize};

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

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

/// One request; where the worlds give different links, one target for each.
#[derive(Serialize, Deserialize)]
pub(super) struct Ask {
    method: String,
    targets: Vec<String>,
    pub(super) headers: Vec<String>,
    pub(super) body: String,
}

pub(super) fn corpus() -> impl Iterator<Item = Ask> {
    include_str!("corpus.jsonl").lines().map(|line| serde_json::from_str(line).unwrap())
}

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const TYPES: &[&str] = &[
    "Observation",
    "Observation",
    "Observation",
    "Observation",
    "Patient",
    "Patient",
    "Condition",
    "Appointment",
    "Encounter",
    "MedicationRequest",
    "AllergyIntolerance",
    "Device",
    "Practitioner",
    "Group",
    "Provenance",
    "Bundle",
    "Binary",
    "Parameters",
    "RelatedPerson",
    "Organization",
    "observation",
    "Nonsense",
    "OperationOutcome",
    "List",
    "AuditEvent",
];
const IDS: &[&str] = &[
    "o1", "v1", "o2", "v2", "o3", "o4", "mixed", "moved", "x00", "x22", "y00", "y05", "y22", "z1", "z2", "z3", "P1",
    "P2", "P3", "c1", "c2", "e1", "e2", "a1", "a2", "m1", "m2", "al1", "al2", "dev1", "dev2", "d1", "d2", "g1", "pr1",
    "b1", "bin1", "never", "O1", "O2", "p1", "p2", "Y00", "C2", "Moved", "-", "a.b", "..", "o2%00", "o2%20", "o2,o1",
];
const NAMES: &[&str] = &[
    "_id",
    "_id",
    "subject",
    "patient",
    "subject",
    "patient",
    "category",
    "code",
    "code",
    "status",
    "date",
    "performer",
    "encounter",
    "actor",
    "identifier",
    "name",
    "family",
    "gender",
    "birthdate",
    "link",
    "member",
    "target",
    "value-string",
    "general-practitioner",
    "_count",
    "_count",
    "_sort",
    "_total",
    "_summary",
    "_elements",
    "_format",
    "_pretty",
    "_lastUpdated",
    "_tag",
    "_security",
    "_profile",
    "_text",
    "_content",
    "_filter",
    "_query",
    "_list",
    "_in",
    "_include",
    "_revinclude",
    "_include:iterate",
    "_contained",
    "_has:Observation:patient:code",
    "_has:Group:member:_id",
    "patient.name",
    "subject:Patient.name",
    "encounter.status",
    "performer:Practitioner.name",
    "_getpages",
    "_page",
    "_offset",
    "_type",
    "_since",
    "access_token",
    "nosuch",
    "focus",
    "has-member",
    "",
];
const MODIFIERS: &[&str] = &[
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    ":missing",
    ":not",
    ":exact",
    ":contains",
    ":text",
    ":identifier",
    ":Patient",
    ":Group",
    ":above",
    ":in",
    ":of-type",
    ":bogus",
    ":not-in",
];
const VALUES: &[&str] = &[
    "P1",
    "P2",
    "Patient/P1",
    "Patient/P2",
    "Patient/P3",
    "Patient/P1,Patient/P2",
    "https://gw.example.org/fhir/Patient/P1",
    "https://gw.example.org/fhir/Patient/P2",
    "http://evil.example/Patient/P1",
    "Group/g1",
    "Practitioner/d1",
    "Practitioner/d2",
    "Encounter/e1",
    "Encounter/e2",
    "o1",
    "o2",
    "o1,o2,v1,v2",
    "x05,y05,z5",
    "moved",
    "mixed",
    "laboratory",
    "vital-signs",
    "http://loinc.org|1234-5",
    "1234-5",
    "2093-3",
    "moving",
    "gout",
    "asthma",
    "nuts",
    "1049221",
    "urn:mrn|1",
    "urn:mrn|2",
    "urn:mrn|",
    "true",
    "false",
    "final",
    "amended",
    "2024-02-10",
    "ge2024-02-10",
    "1974-12-25",
    "Chalmers",
    "Canar",
    "male",
    "female",
    "date",
    "-date",
    "code,-date",
    "_id",
    "patient.birthdate",
    "0",
    "1",
    "2",
    "5",
    "10",
    "1000",
    "-1",
    "id,code",
    "subject",
    "data",
    "text",
    "count",
    "json",
    "xml",
    "accurate",
    "none",
    "*",
    "Observation:subject",
    "Observation:performer",
    "Group:member",
    "a\\,b",
    "a\\|b",
    "subject eq \"Patient/P2\"",
    "a;patient=P2",
    "%",
    "",
    "x&patient=P2",
    "ä",
    "'",
    "\u{0}",
];
const METHODS: &[&str] =
    &["GET", "GET", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get"];
const HEADERS: &[&str] = &[
    "If-None-Match: *",
    "If-None-Match: W/\"1\"",
    "If-None-Match: \"2\"",
    "If-Modified-Since: Mon, 01 Jan 2029 00:00:00 GMT",
    "Accept: application/fhir+json",
    "Accept: application/fhir+xml",
    "Accept: text/html, */*",
    "Prefer: handling=lenient",
    "Prefer: respond-async",
    "Prefer: return=representation",
    "X-Patient-Id: P2",
    "X-HTTP-Method-Override: DELETE",
    "Range: bytes=0-9",
    "Cookie: a=b",
    "Origin: https://app.example.org",
    "Origin: https://evil.example",
    "If-Match: W/\"1\"",
    "If-None-Exist: _id=o2",
    "X-Cascade: delete",
    "Accept-Encoding: gzip",
    "X-Provenance: {}",
    "Authorization: Bearer x",
];
const BODIES: &[&str] = &[
    "",
    "{}",
    r#"{"resourceType":"Observation","id":"o2","status":"final","subject":{"reference":"Patient/P2"}}"#,
    r#"{"resourceType":"Observation","status":"final","subject":{"reference":"Patient/P1"},"encounter":{"reference":"Encounter/e2"}}"#,
    r#"{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"Observation/o2"}}]}"#,
    r#"[{"op":"test","path":"/status","value":"final"}]"#,
    "patient=P2",
    "[",
];

impl Ask {
    pub(super) fn follow(one: String, other: String) -> Self {
        Self { method: "GET".to_owned(), targets: vec![one, other], headers: Vec::new(), body: String::new() }
    }

    pub(super) fn line(&self, world: usize) -> String {
        format!("{} {}", self.method, self.targets.get(world).unwrap_or(&self.targets[0]))
    }

    pub(super) fn any(dice: &mut Dice) -> Self {
        let mut ask = Self { method: "GET".to_owned(), targets: Vec::new(), headers: Vec::new(), body: String::new() };
        let of = dice.of(TYPES);
        let mut target = match dice.below(20) {
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
            17 => {
                let (one, other) = (read(dice), dice.of(TYPES));
                let shapes = [
                    format!("{one}/_history"),
                    format!("{of}/_history"),
                    "_history".to_owned(),
                    format!("{one}/{other}"),
                    format!("{one}/*"),
                    format!("{one}/$everything"),
                    format!("{of}/$lastn"),
                    "$export".to_owned(),
                    "$graphql".to_owned(),
                    format!("{one}/$validate"),
                    "metadata".to_owned(),
                    String::new(),
                    format!("?_type={of}"),
                    format!("{one}/$meta"),
                    format!("{of}/$everything"),
                    ".well-known/smart-configuration".to_owned(),
                ];
                format!("/fhir/{}{}", shapes[dice.below(shapes.len())], query(dice, 1))
            }
            18 => {
                dice.of(METHODS).clone_into(&mut ask.method);
                dice.of(BODIES).clone_into(&mut ask.body);
                let media_type = dice.of(&[
                    "application/fhir+json",
                    "application/json-patch+json",
                    "application/json",
                    "text/plain",
                ]);
                ask.headers.push(format!("Content-Type: {media_type}"));
                if dice.one_in(2) { format!("/fhir/{}", read(dice)) } else { format!("/fhir/{of}{}", query(dice, 2)) }
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

fn read(dice: &mut Dice) -> String {
    let id = dice.of(IDS);
    // Mostly the type that has such an id.
    let of = match id.as_bytes().first() {
        _ if dice.one_in(5) => dice.of(TYPES),
        Some(b'P') => "Patient",
        Some(b'c') => "Condition",
        Some(b'e') => "Encounter",
        Some(b'a') if id.starts_with("al") => "AllergyIntolerance",
        Some(b'a') => "Appointment",
        Some(b'm') if id.len() == 2 => "MedicationRequest",
        Some(b'd') if id.starts_with("dev") => "Device",
        Some(b'd') => "Practitioner",
        _ => "Observation",
    };
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
