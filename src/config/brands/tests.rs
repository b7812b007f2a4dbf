#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

use super::*;
use crate::config::{Config, ConfigError};

const BASE: &str = "https://localhost:8443/fhir";

fn configured(section: &str, directory: &Path) -> Result<Config, Vec<String>> {
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:8443\"\norigin = \"https://localhost:8443\"\n[tls]\ndirectory = \"tls\"\n\
         [fhir]\nupstream = \"http://127.0.0.1:8080/fhir\"\n[brands]\n{section}\n"
    );
    Config::parse(&text, directory).map_err(|error| match error {
        ConfigError::Mistakes(mistakes) => mistakes.into_iter().map(|mistake| mistake.message).collect(),
        ConfigError::Unreadable(text) => vec![text],
    })
}

fn parsed(brands: &Brands) -> Value {
    serde_json::from_slice(&brands.bundle).unwrap()
}

// W1
#[test]
fn a_name_and_a_website_make_a_bundle_that_has_nothing_wrong() {
    let section = "name = \"Larkspur\"\nwebsite = \"https://larkspur.example/\"\naliases = [\"Old Larkspur\"]\n\
                   logo = \"https://larkspur.example/logo.svg\"\nportal = \"https://larkspur.example/portal\"\n\
                   portal_name = \"MyLarkspur\"\naddress_lines = [\"1 Main St\"]\ncity = \"Springfield\"\n\
                   state = \"IL\"\npostal_code = \"62701\"\ncountry = \"US\"";
    let brands = configured(section, Path::new("/etc")).unwrap().brands.unwrap();
    assert_eq!((&*brands.system, &*brands.value), (URI, "https://larkspur.example/"));
    let bundle = parsed(&brands);
    assert_eq!(mistakes(&bundle, (&brands.system, &brands.value), BASE), Vec::<String>::new());
    let organization = &bundle["entry"][0]["resource"];
    assert_eq!(organization["address"][0]["postalCode"], "62701");
    assert_eq!(organization["alias"][0], "Old Larkspur");
    assert_eq!(organization["extension"][0]["extension"][0]["valueString"], "MyLarkspur");
    assert_eq!(organization["extension"][0]["extension"][1]["valueUrl"], "https://larkspur.example/portal");
    assert_eq!(organization["extension"][1]["extension"][0]["valueUrl"], "https://larkspur.example/logo.svg");
    assert_eq!(
        (&organization["address"][0]["line"][0], &organization["address"][0]["city"]),
        (&"1 Main St".into(), &"Springfield".into())
    );
    assert_eq!(bundle["entry"][1]["resource"]["address"], BASE);
}

// W1
#[test]
fn the_bundle_of_an_operator_is_published_as_written_and_all_its_mistakes_are_told_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let section = "bundle = \"brands.json\"\nidentifier = \"urn:x|1\"";
    let made = configured("name = \"A\"\nwebsite = \"https://a.example\"\nidentifier = \"urn:x|1\"", Path::new("/etc"));
    let made = made.unwrap().brands.unwrap();
    let file = directory.path().join("brands.json");
    std::fs::write(&file, &made.bundle).unwrap();
    assert_eq!(configured(section, directory.path()).unwrap().brands.unwrap(), made);
    let mut bundle = parsed(&made);
    bundle["type"] = "searchset".into();
    bundle["timestamp"] = "today".into();
    let organization = &mut bundle["entry"][0]["resource"];
    organization["identifier"][0]["value"] = "2".into();
    organization["endpoint"][0]["reference"] = "Endpoint/other".into();
    organization["_partOf"] = json!({"extension": [{"url": ABSENT, "valueCode": "unknown"}]});
    let endpoint = &mut bundle["entry"][1]["resource"];
    endpoint["address"] = "elsewhere".into();
    endpoint["connectionType"]["code"] = "dicom-wado-rs".into();
    std::fs::write(&file, bundle.to_string()).unwrap();
    let told = configured(section, directory.path()).unwrap_err();
    for expected in [
        "a Bundle of `type` `collection`",
        "`timestamp` must be an instant",
        "names `Endpoint/other`, which is not in the bundle",
        "the portal of Organization `organization` names `Endpoint/fhir`",
        "`address` of `Endpoint/fhir`",
        "must be `hl7-fhir-rest`",
        "no Organization names `Endpoint/fhir`",
        "no Endpoint has this gateway's `address`, `https://localhost:8443/fhir`",
        "`urn:x|1` must be the identifier of exactly one Organization, and is of 0",
        "data-absent-reason `unknown`",
    ] {
        assert!(told.iter().any(|mistake| mistake.contains(expected)), "{expected}: {told:?}");
    }
    assert_eq!(told.len(), 10, "{told:?}");
}

#[test]
fn a_section_that_says_too_little_is_told_what_it_lacks() {
    let told = configured("", Path::new("/etc")).unwrap_err();
    assert!(told.iter().any(|mistake| mistake.contains("lacks `name`")), "{told:?}");
    assert!(told.iter().any(|mistake| mistake.contains("lacks `website`")), "{told:?}");
    let told = configured("bundle = \"none.json\"", Path::new("/etc")).unwrap_err();
    assert!(told.iter().any(|mistake| mistake.contains("needs `identifier")), "{told:?}");
    assert!(told.iter().any(|mistake| mistake.contains("cannot be read")), "{told:?}");
    let told = configured("name = \"A\"\nwebsite = \"a.example\"\nlogo = \"x\"", Path::new("/etc")).unwrap_err();
    assert_eq!(told.len(), 2, "{told:?}");
}

#[test]
fn a_small_section_says_no_more_than_it_was_told() {
    let section = "name = \"A\"\nwebsite = \"https://a.example\"";
    let bundle = parsed(&configured(section, Path::new("/etc")).unwrap().brands.unwrap());
    let organization = &bundle["entry"][0]["resource"];
    let portal = json!([
        {"url": "portalName", "valueString": "A"},
        {"url": "portalEndpoint", "valueReference": {"reference": "Endpoint/fhir", "display": "FHIR R4"}},
    ]);
    assert_eq!(
        organization["extension"],
        json!([{"url": PORTAL, "extension": portal}]),
        "its name, no address and no logo"
    );
    assert_eq!((organization.get("alias"), organization.get("address")), (None, None));
    for identifier in ["urn:x", "|1", "urn:x|"] {
        let told = configured(&format!("{section}\nidentifier = \"{identifier}\""), Path::new("/etc")).unwrap_err();
        assert_eq!(told, ["`identifier` in [brands] must be `system|value`"], "{identifier}");
    }
}

// W1
#[test]
fn a_bundle_that_is_no_bundle_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let told = |text: &str| {
        std::fs::write(directory.path().join("brands.json"), text).unwrap();
        configured("bundle = \"brands.json\"\nidentifier = \"urn:x|1\"", directory.path()).map(drop)
    };
    let not_json = told("{").unwrap_err();
    assert!(not_json.len() == 1 && not_json[0].contains("/brands.json` is not JSON: "), "{not_json:?}");
    let endpoint =
        json!({"resourceType": "Endpoint", "id": "e", "address": BASE, "connectionType": {"code": "hl7-fhir-rest"}});
    let organization = json!({
        "resourceType": "Organization", "id": "o", "_name": {"extension": [{"url": ABSENT, "valueCode": "asked-declined"}]},
        "identifier": [{"system": "urn:x", "value": "1"}], "endpoint": [{"reference": "https://a.example/fhir/Endpoint/e"}],
    });
    let bundle = |resources: &[&Value], kind: &str| {
        let entries: Vec<Value> = resources.iter().map(|resource| json!({"resource": resource})).collect();
        json!({"resourceType": kind, "type": "collection", "timestamp": "2026-01-31T12:00:00Z", "entry": entries})
            .to_string()
    };
    assert_eq!(
        told(&bundle(&[&organization, &endpoint], "Bundle")),
        Ok(()),
        "a name may be declined, a reference absolute"
    );
    let nameless = {
        let mut other = organization.clone();
        other.as_object_mut().unwrap().remove("_name");
        other
    };
    for (text, expected) in [
        (bundle(&[&organization, &endpoint], "Binary"), "it must be a Bundle of `type` `collection`"),
        (bundle(&[], "Bundle"), "it has no `entry` with a `resource`"),
        (bundle(&[&nameless, &endpoint], "Bundle"), "Organization `o` has no `name`"),
        (
            bundle(&[&organization, &endpoint, &json!({"resourceType": "Patient"})], "Bundle"),
            "`Patient` is neither Organization nor Endpoint",
        ),
    ] {
        let found = told(&text).unwrap_err();
        assert!(found.iter().any(|mistake| mistake.ends_with(expected)), "{expected}: {found:?}");
    }
}
