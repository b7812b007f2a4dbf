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
