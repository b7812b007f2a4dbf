//! What `firebreak explain` makes of a question: the configuration that decides, the parts of a token, standard input.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::commands::{Site, run};

/// Exit code, standard output, standard error.
type Told = (i32, String, String);

fn ask(site: &Site, arguments: &[&str]) -> Told {
    run(&[&["explain", "--config", &site.config()], arguments].concat())
}

/// The same with something on standard input.
fn ask_with(site: &Site, arguments: &[&str], input: &str) -> Told {
    let mut child = Command::new(env!("CARGO_BIN_EXE_firebreak"))
        .args(["explain", "--config", &site.config()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

const CLINICIAN: [&str; 6] = ["--scope", "user/*.cruds", "--fhir-user", "Practitioner/7", "--role", "clinician"];
const PATIENT: [&str; 8] =
    ["--scope", "patient/*.rs", "--patient", "P1", "--fhir-user", "Practitioner/7", "--role", "clinician"];

#[test]
fn the_configuration_decides() {
    let site = Site::new("0s");
    site.edit(
        "[fhir]\n",
        "[fhir]\nmax_count = 7\nmax_entries = 1\nsoftware = \"microsoft\"\nnarrow_by = [\"Goal.subject\"]\n",
    );
    let (_, out, err) = ask(&site, &[&CLINICIAN[..], &["GET /Observation?_count=5000"]].concat());
    assert!(out.contains("upstream: GET /Observation?_count=7\n"), "{out}{err}");
    for (of, by) in [("Condition", "subject"), ("Goal", "subject")] {
        let (code, out, err) = ask(&site, &[&PATIENT[..], &[&format!("GET /{of}")]].concat());
        assert_eq!(code, 0, "{err}");
        assert!(out.contains(&format!("honour {by} for {of};")), "{out}");
    }
    site.edit("software = \"microsoft\"\n", "software = \"microsoft\"\nsearch_by = \"compartment\"\n");
    let (_, out, _) = ask(&site, &[&PATIENT[..], &["GET /Observation"]].concat());
    assert!(out.contains("upstream: GET /Patient/P1/Observation"), "{out}");
    let read = r#"{"request":{"method":"GET","url":"Observation/o1"}}"#;
    let batch =
        |entries: &[&str]| format!(r#"{{"resourceType":"Bundle","type":"batch","entry":[{}]}}"#, entries.join(","));
    let bundle = [&CLINICIAN[..], &["--body", "-", "POST /"]].concat();
    assert_eq!(ask_with(&site, &bundle, &batch(&[read])).0, 0);
    let (code, out, _) = ask_with(&site, &bundle, &batch(&[read, read]));
    assert_eq!(code, 1, "{out}");
    let text = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), format!("{text}\n[policies]\ndirectory = \"policies\"\n")).unwrap();
    fs::create_dir(site.path("policies")).unwrap();
    fs::write(site.path("policies/own.cedar"), "permit (\n").unwrap();
    let (code, _, err) = ask(&site, &[&CLINICIAN[..], &["GET /Observation"]].concat());
    assert!(code == 2 && err.contains("policy file `own.cedar`"), "{err}");
    assert!(!site.path("state").exists(), "nothing is written");
}

#[test]
fn a_backend_service_acts_in_the_roles_that_are_configured_for_it_unless_others_are_given() {
    let site = Site::new("0s");
    let text = fs::read_to_string(site.config()).unwrap();
    fs::write(site.path("keys.json"), "{\"keys\": []}").unwrap();
    let client = "[[client]]\nclient_id = \"bulk\"\njwks_file = \"keys.json\"\ngrant_types = [\"client_credentials\"]\nscope = \"system/*.rs\"\nroles = [\"backend\", \"clinician\"]\n";
    fs::write(site.config(), format!("{text}\n{client}")).unwrap();
    let system = ["--scope", "system/Observation.rs", "--client", "bulk"];
    assert_eq!(ask(&site, &[&system[..], &["GET /Observation"]].concat()).0, 0);
    let (code, out, _) = ask(&site, &[&system[..], &["--role", "clinician", "GET /Observation"]].concat());
    assert_eq!(code, 1, "those that are given replace them: {out}");
    let user =
        ["--scope", "user/Observation.rs", "--client", "bulk", "--fhir-user", "Practitioner/7", "GET /Observation"];
    assert_eq!(ask(&site, &user).0, 1, "a user has their own");
}

#[test]
fn what_is_sent_is_what_the_options_say() {
    let site = Site::new("0s");
    let update = [&CLINICIAN[..], &["--body", "-", "--header", "If-Match: W/\"1\"", "PUT /Observation/o1"]].concat();
    let body = r#"{"resourceType":"Observation","id":"o1","status":"final","code":{"text":"x"}}"#;
    let (code, out, err) = ask_with(&site, &update, body);
    assert_eq!(code, 0, "{out}{err}");
    let bad: Vec<&str> =
        update.iter().map(|part| if part.starts_with("If-Match") { "If-Match: 1, 2" } else { *part }).collect();
    assert_ne!(ask_with(&site, &bad, body).1, out, "the header is looked at");
    let form = [&CLINICIAN[..], &["--body", "-", "POST /Observation/_search"]].concat();
    let (code, out, err) = ask_with(&site, &form, "code=x");
    assert!(code == 0 && out.contains("code=x"), "{out}{err}");
    let patch = [&CLINICIAN[..], &["--body", "-", "PATCH /Observation/o1"]].concat();
    let (code, out, err) = ask_with(&site, &patch, r#"[{"op":"replace","path":"/status","value":"final"}]"#);
    assert_eq!(code, 0, "{out}{err}");
    let (xml, _, _) = ask_with(
        &site,
        &[&patch[..8], &["--header", "Content-Type: application/xml", "PATCH /Observation/o1"]].concat(),
        r#"[{"op":"replace","path":"/status","value":"final"}]"#,
    );
    assert_eq!(xml, 1, "the media type that is given stays");
}

// The rest of a body that was cut off would be judged as if it were all.
#[test]
fn standard_input_is_read_to_its_end_or_not_at_all() {
    let site = Site::new("0s");
    let create = [&CLINICIAN[..], &["--body", "-", "POST /Observation"]].concat();
    let body = |size: usize| {
        let resource = r#"{"resourceType":"Observation","status":"final","code":{"text":"x"}}"#;
        resource.to_owned() + &" ".repeat(size - resource.len())
    };
    let (code, out, err) = ask_with(&site, &create, &body(16 << 20));
    assert_ne!(code, 2, "{out}{err}");
    let (code, out, err) = ask_with(&site, &create, &body((16 << 20) + 1));
    assert!(code == 2 && err.contains("`-` cannot be read: file too large"), "{out}{err}");
}

#[test]
fn a_token_is_taken_from_standard_input() {
    let site = Site::new("0s");
    firebreak::keys::Keys::open(&site.path("state/keys")).unwrap();
    let of_others = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6ImsxIn0.e30.c2lnbmF0dXJl";
    let (code, out, err) = ask_with(&site, &["--token", "-", "GET /Observation"], of_others);
    assert!(code == 1 && !out.contains("it is no JWT"), "{out}{err}");
    assert_eq!((code, out), (1, ask(&site, &["--token", of_others, "GET /Observation"]).1));
}

#[test]
fn what_comes_to_nothing_is_a_note_in_json_too() {
    let site = Site::new("0s");
    let scope =
        ["--scope", "bogus user/Patient.rs?name=x user/*.rs", "--fhir-user", "Practitioner/7", "--role", "clinician"];
    let (_, out, err) = ask(&site, &[&scope[..], &["--json", "GET /Observation"]].concat());
    let told: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    let notes: Vec<&str> = told["notes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(
        notes.len() == 2 && notes.iter().any(|note| note.contains("cannot be checked on one resource alone")),
        "{notes:?}"
    );
}
