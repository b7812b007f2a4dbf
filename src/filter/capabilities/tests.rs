#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

use super::*;

struct ReadAndSearch;

impl Offer for ReadAndSearch {
    fn interaction(&self, resource_type: ResourceType, code: &str) -> bool {
        resource_type != ResourceType::GROUP && matches!(code, "read" | "vread" | "search-type" | "made-up")
    }

    fn search_parameter(&self, _: ResourceType, name: &str) -> bool {
        matches!(name, "_id" | "code" | "patient")
    }

    fn include(&self, _: ResourceType, path: &str) -> bool {
        path == "Observation:patient"
    }
}

fn published(upstream: &Value) -> Result<Value, NoStatement> {
    published_by(upstream, &ReadAndSearch)
}

fn published_by(upstream: &Value, offer: &impl Offer) -> Result<Value, NoStatement> {
    let rebase = Rebase::new("https://gw.example/fhir", &["http://up:8080/fhir"]);
    let endpoints = Endpoints {
        rebase: &rebase,
        date: "2026-03-04T05:06:07Z",
        description: "FHIR R4",
        authorize: "https://gw.example/authorize",
        token: "https://gw.example/token",
        introspect: Some("https://gw.example/introspect"),
        manage: None,
        register: None,
        revoke: Some("https://gw.example/revoke"),
    };
    let statement = capability_statement(upstream.to_string(), &endpoints, offer)?;
    Ok(serde_json::from_slice(&statement).unwrap())
}

/// As HAPI FHIR writes it, shortened.
fn hapi() -> Value {
    serde_json::from_str(include_str!("upstream.json")).unwrap()
}

// D9, D10
#[test]
fn only_what_is_served_is_published() {
    let expected = serde_json::from_str::<Value>(include_str!("published.json")).unwrap();
    assert_eq!(published(&hapi()).unwrap(), expected);
}

struct Everything;

impl Offer for Everything {
    fn interaction(&self, _: ResourceType, _: &str) -> bool {
        true
    }

    fn of_the_system(&self, code: &str) -> bool {
        matches!(code, "transaction" | "batch")
    }

    fn search_parameter(&self, _: ResourceType, _: &str) -> bool {
        false
    }
}

#[test]
fn changes_are_published_as_the_gateway_makes_them() {
    let resource = |codes: &[&str]| {
        let codes: Vec<Value> = codes.iter().map(|code| json!({ "code": code })).collect();
        json!({ "type": "Observation", "interaction": codes, "conditionalDelete": "multiple", "conditionalRead": "full-support",
            "conditionalCreate": false, "updateCreate": true })
    };
    let of = |codes: &[&str], system: Value| {
        let rest = json!({ "mode": "server", "interaction": system, "resource": [resource(codes)] });
        let upstream = json!({ "resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": [rest] });
        published_by(&upstream, &Everything).unwrap()
    };
    let statement = of(
        &["read", "create", "update", "patch", "delete", "search-type"],
        json!([{ "code": "transaction" }, { "code": "history-system" }]),
    );
    let rest = &statement["rest"][0];
    assert_eq!(rest["interaction"], json!([{ "code": "transaction" }, { "code": "batch" }]));
    assert_eq!(statement["patchFormat"], json!(["application/json-patch+json"]));
    let mut codes: Vec<&str> = rest["resource"][0]["interaction"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["code"].as_str().unwrap())
        .collect();
    codes.sort_unstable();
    assert_eq!(codes, ["create", "delete", "patch", "read", "search-type", "update"]);
    assert_eq!(rest["resource"][0]["conditionalDelete"], "single");
    assert_eq!(rest["resource"][0]["conditionalCreate"], true);
    assert_eq!(rest["resource"][0]["conditionalUpdate"], true);
    assert_eq!(rest["resource"][0]["updateCreate"], true);
    // What the upstream cannot do is not published: without updates there is nothing to send a patch as.
    let less = of(&["read", "patch", "delete"], json!([]));
    assert_eq!(less["rest"][0]["interaction"], json!([{ "code": "batch" }]));
    assert!(less.get("patchFormat").is_none() && !less.to_string().contains("conditional"), "{less}");
}

/// Case 193.
// D9
#[test]
fn nothing_of_the_upstream_itself_is_told() {
    let statement = published(&hapi()).unwrap().to_string();
    for trace in ["up:8080", "HAPI", "admin@up", "RestServer", "operation", "transaction"] {
        assert!(!statement.contains(trace), "{trace}");
    }
}

#[test]
fn a_statement_of_another_release_is_refused() {
    for version in [
        json!("4.3.0"),
        json!("5.0.0"),
        json!("3.0.2"),
        json!("4.0.x"),
        json!("4.01"),
        json!("4.0."),
        json!(4),
        Value::Null,
    ] {
        let mut statement = hapi();
        statement["fhirVersion"] = version.clone();
        assert_eq!(published(&statement).unwrap_err(), NoStatement::Version, "{version}");
    }
    let mut statement = hapi();
    statement["fhirVersion"] = json!("4.0.0");
    assert!(published(&statement).is_ok());
}

#[test]
fn mandatory_elements_are_there_when_the_upstream_has_none() {
    let upstream = json!({"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "status": "fine", "kind": "capability",
        "rest": [{"mode": "server"}]});
    let statement = published(&upstream).unwrap();
    assert_eq!(statement["status"], "active");
    assert_eq!(statement["date"], "2026-03-04T05:06:07Z");
    assert_eq!(statement["kind"], "instance");
    assert!(statement["rest"][0].get("resource").is_none());
}

#[test]
fn what_is_no_statement_of_a_server_is_refused() {
    for (upstream, error) in [
        (json!({"resourceType": "OperationOutcome"}), NoStatement::NotAStatement),
        (json!([]), NoStatement::NotAStatement),
        (json!({"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"}), NoStatement::NotAStatement),
        (
            json!({"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": [{"mode": "client"}]}),
            NoStatement::NotAStatement,
        ),
    ] {
        assert_eq!(published(&upstream).unwrap_err(), error, "{upstream}");
    }
}

#[test]
fn what_the_upstream_defines_itself_is_not_named() {
    let names = |base: &str| {
        json!([format!("{base}/StructureDefinition/x"), "http://hl7.org/fhir/StructureDefinition/Patient"])
    };
    for (base, named) in [("http://up:8080/fhir", false), ("HTTP://UP:8080/fhir", false), ("http://example.org", true)]
    {
        let profile = format!("{base}/StructureDefinition/x");
        let definition = format!("{base}/SearchParameter/x");
        let upstream = json!({ "resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "implementationGuide": names(base),
            "instantiates": names(base), "rest": [{ "mode": "server", "resource": [{ "type": "Patient", "profile": profile,
                "supportedProfile": names(base), "interaction": [{ "code": "search-type" }],
                "searchParam": [{ "name": "_id", "definition": definition, "type": "token" }] }] }] });
        let statement = published(&upstream).unwrap();
        let resource = &statement["rest"][0]["resource"][0];
        let or_null = |text: &str| if named { json!(text) } else { Value::Null };
        assert_eq!(resource["profile"], or_null(&profile), "{base}");
        assert_eq!(resource["searchParam"][0]["definition"], or_null(&definition), "{base}");
        for list in [&resource["supportedProfile"], &statement["implementationGuide"], &statement["instantiates"]] {
            assert_eq!(list.as_array().unwrap().len(), if named { 2 } else { 1 }, "{base}");
        }
    }
}
