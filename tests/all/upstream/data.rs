//! Sample data: patient `P1`, whose data the tests are let see, and everybody else, whose resources all hold a canary.

use super::Resource;

const LAB: &str = r#""category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"laboratory"}]}]"#;
const VITALS: &str = r#""category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs"}]}]"#;
const META: &str = r#""meta":{"versionId":"1","lastUpdated":"2024-01-01T00:00:00Z"}"#;

/// The practitioner whom P1's data refer to, who may be read by id.
const SHARED: &str = "d1";

/// A resource with one version; `rest` are its members after `meta`.
pub(crate) fn resource(resource_type: &str, id: &str, owner: Option<&'static str>, rest: &str) -> Resource {
    let open = owner == Some("P1") || id == SHARED;
    let canary = if open { String::new() } else { format!(r#","language":"CANARY-{resource_type}-{id}""#) };
    let text = format!(r#"{{"resourceType":"{resource_type}","id":"{id}",{META}{canary},{rest}}}"#);
    Resource { resource_type: resource_type.to_owned(), id: id.to_owned(), owner, versions: vec![Some(text)] }
}

/// An Observation about `owner`.
pub(crate) fn observation(id: &str, owner: &'static str, category: &str, code: &str, more: &str) -> Resource {
    let rest = format!(
        r#""status":"final",{category},"code":{{"coding":[{{"system":"http://loinc.org","code":"{code}"}}]}},"subject":{{"reference":"Patient/{owner}"}}{more}"#
    );
    resource("Observation", id, Some(owner), &rest)
}

fn versions(resource_type: &str, id: &str, owner: Option<&'static str>, subjects: &[&str]) -> Resource {
    let versions = subjects.iter().enumerate().map(|(index, subject)| {
        let canary = if *subject == "P1" && owner == Some("P1") { "" } else { r#""language":"CANARY-version","# };
        Some(format!(
            r#"{{"resourceType":"{resource_type}","id":"{id}","meta":{{"versionId":"{}"}},{canary}"status":"final","code":{{"coding":[{{"code":"moving"}}]}},"subject":{{"reference":"Patient/{subject}"}}}}"#,
            index + 1
        ))
    });
    Resource { resource_type: resource_type.to_owned(), id: id.to_owned(), owner, versions: versions.collect() }
}

/// Documents and the Binaries that they refer to.
pub(crate) fn attachments() -> Vec<Resource> {
    let document = |id: &str, owner: &'static str, url: &str| {
        let rest = format!(
            r#""status":"current","subject":{{"reference":"Patient/{owner}"}},"content":[{{"attachment":{{"url":"{url}"}}}}]"#
        );
        resource("DocumentReference", id, Some(owner), &rest)
    };
    let binary = |id: &str, owner: &'static str, context: &str| {
        let data = if owner == "P1" { "aGVsbG8=" } else { "Q0FOQVJZ" };
        resource("Binary", id, Some(owner), &format!(r#""contentType":"text/plain","data":"{data}"{context}"#))
    };
    vec![
        document("doc1", "P1", "{BASE}/Binary/bin2"),
        document("doc2", "P2", "{BASE}/Binary/bin3"),
        // Somebody else's is attached to it, and stays hidden.
        document("doc3", "P1", "{BASE}/Binary/bin4"),
        binary("bin2", "P1", ""),
        binary("bin3", "P2", ""),
        binary("bin4", "P2", r#","securityContext":{"reference":"Patient/P2"}"#),
        binary("bin5", "P1", r#","securityContext":{"reference":"Patient/P1"}"#),
    ]
}

/// The whole sample.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(crate) fn sample() -> Vec<Resource> {
    let mut all = vec![
        resource(
            "Patient",
            "P1",
            Some("P1"),
            r#""identifier":[{"system":"urn:mrn","value":"1"}],"name":[{"family":"Chalmers"}],"gender":"male","birthDate":"1974-12-25","link":[{"other":{"reference":"Patient/P2"},"type":"seealso"}]"#,
        ),
        resource(
            "Patient",
            "P2",
            Some("P2"),
            r#""identifier":[{"system":"urn:mrn","value":"2"}],"name":[{"family":"CANARY-Bob"}],"gender":"female","birthDate":"1980-01-02","link":[{"other":{"reference":"Patient/P1"},"type":"seealso"}]"#,
        ),
        resource("Patient", "P3", Some("P3"), r#""name":[{"family":"CANARY-Eve"}]"#),
        observation("o1", "P1", LAB, "2093-3", r#","valueQuantity":{"value":1.10,"unit":"mg"}"#),
        observation(
            "v1",
            "P1",
            VITALS,
            "8867-4",
            r#","performer":[{"reference":"{BASE}/Practitioner/d1"}],"derivedFrom":[{"reference":"{BASE}/Observation/o1"}]"#,
        ),
        observation("o2", "P2", LAB, "2093-3", r#","note":[{"text":"CANARY"}]"#),
        observation("v2", "P2", VITALS, "8867-4", ""),
        observation("o4", "P3", LAB, "718-7", r#","focus":[{"reference":"Patient/P1"}]"#),
        Resource {
            versions: vec![Some(r#"{"resourceType":"Observation","id":"o3","language":"CANARY"}"#.to_owned()), None],
            ..observation("o3", "P2", LAB, "1", "")
        },
        versions("Observation", "mixed", Some("P1"), &["P1", "P2", "P1"]),
        versions("Observation", "moved", Some("P2"), &["P1", "P2"]),
        resource(
            "Condition",
            "c1",
            Some("P1"),
            r#""code":{"coding":[{"code":"asthma"}]},"subject":{"reference":"Patient/P1"},"encounter":{"reference":"Encounter/e1"}"#,
        ),
        resource(
            "Condition",
            "c2",
            Some("P2"),
            r#""code":{"coding":[{"code":"gout"}]},"subject":{"reference":"Patient/P2"},"encounter":{"reference":"Encounter/e2"}"#,
        ),
        resource(
            "Encounter",
            "e1",
            Some("P1"),
            r#""status":"finished","class":{"code":"AMB"},"subject":{"reference":"Patient/P1"}"#,
        ),
        resource(
            "Encounter",
            "e2",
            Some("P2"),
            r#""status":"finished","class":{"code":"AMB"},"subject":{"reference":"Patient/P2"}"#,
        ),
        resource(
            "Appointment",
            "a1",
            Some("P1"),
            r#""status":"booked","participant":[{"actor":{"reference":"Patient/P1"},"status":"accepted"},{"actor":{"reference":"Patient/P2"},"status":"accepted"}]"#,
        ),
        resource(
            "Appointment",
            "a2",
            Some("P2"),
            r#""status":"booked","participant":[{"actor":{"reference":"Patient/P2"},"status":"accepted"}]"#,
        ),
        resource(
            "MedicationRequest",
            "m1",
            Some("P1"),
            r#""status":"active","intent":"order","medicationCodeableConcept":{"coding":[{"code":"1049221"}]},"subject":{"reference":"Patient/P1"}"#,
        ),
        resource(
            "MedicationRequest",
            "m2",
            Some("P2"),
            r#""status":"active","intent":"order","medicationCodeableConcept":{"coding":[{"code":"1049221"}]},"subject":{"reference":"Patient/P2"}"#,
        ),
        resource(
            "AllergyIntolerance",
            "al1",
            Some("P1"),
            r#""code":{"coding":[{"code":"nuts"}]},"patient":{"reference":"Patient/P1"}"#,
        ),
        resource(
            "AllergyIntolerance",
            "al2",
            Some("P2"),
            r#""code":{"coding":[{"code":"nuts"}]},"patient":{"reference":"Patient/P2"}"#,
        ),
        resource("Device", "dev1", Some("P1"), r#""patient":{"reference":"Patient/P1"}"#),
        resource("Device", "dev2", Some("P2"), r#""patient":{"reference":"Patient/P2"}"#),
        resource("Practitioner", "d1", None, r#""name":[{"family":"Careful"}]"#),
        resource("Practitioner", "d2", None, r#""name":[{"family":"CANARY-Doctor"}]"#),
        resource(
            "Group",
            "g1",
            None,
            r#""type":"person","actual":true,"member":[{"entity":{"reference":"Patient/P1"}},{"entity":{"reference":"Patient/P2"}}]"#,
        ),
        resource(
            "Provenance",
            "pr2",
            Some("P1"),
            r#""target":[{"reference":"Observation/o1"}],"recorded":"2024-01-01T00:00:00Z","agent":[{"who":{"reference":"Practitioner/d1"}}]"#,
        ),
        resource(
            "Provenance",
            "pr1",
            None,
            r#""target":[{"reference":"Patient/P1"},{"reference":"Observation/o2"}],"recorded":"2024-01-01T00:00:00Z","agent":[{"who":{"display":"CANARY"}}]"#,
        ),
        resource(
            "Bundle",
            "b1",
            None,
            r#""type":"collection","entry":[{"resource":{"resourceType":"Observation","id":"o2","status":"final","subject":{"reference":"Patient/P2"}}},{"resource":{"resourceType":"Patient","id":"P1"}}]"#,
        ),
        resource(
            "Binary",
            "bin1",
            None,
            r#""contentType":"text/plain","securityContext":{"reference":"Patient/P2"},"data":"Q0FOQVJZ""#,
        ),
    ];
    for number in 0..23 {
        let category = if number % 2 == 0 { LAB } else { VITALS };
        let date = format!(r#","effectiveDateTime":"2024-02-{:02}""#, number + 1);
        all.push(observation(&format!("x{number:02}"), "P1", category, "1234-5", &date));
        all.push(observation(&format!("y{number:02}"), "P2", category, "1234-5", &date));
    }
    all
}
