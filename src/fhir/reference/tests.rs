#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use proptest::prelude::*;

use super::*;

fn bases() -> Bases {
    let url = |text| Url::parse(text).unwrap();
    Bases::new(&url("https://fhir.example.org/r4"), &url("http://hapi:8080/fhir/"), &[url("https://old.example.org/")])
}

fn local(reference: &str) -> Option<String> {
    normalise(reference, &bases()).map(|local| local.to_string())
}

#[test]
fn a_relative_reference_is_local() {
    assert_eq!(local("Patient/1").unwrap(), "Patient/1");
    assert_eq!(local("Patient/a-b.C/_history/2").unwrap(), "Patient/a-b.C/_history/2");
    let reference = LocalReference::parse_relative("Observation/x/_history/7").unwrap();
    assert!(reference.names(ResourceType::OBSERVATION, Id::parse("x").unwrap()));
    assert!(!reference.names(ResourceType::OBSERVATION, Id::parse("X").unwrap()));
    assert!(!reference.names(ResourceType::PATIENT, Id::parse("x").unwrap()));
    assert_eq!(reference.version.unwrap().as_str(), "7");
}

#[test]
fn an_absolute_reference_is_local_below_the_gateway_the_upstream_and_every_alias() {
    for base in ["https://fhir.example.org/r4", "http://hapi:8080/fhir", "https://old.example.org"] {
        assert_eq!(local(&format!("{base}/Patient/1/_history/2")).unwrap(), "Patient/1/_history/2", "{base}");
    }
}

#[test]
fn a_base_is_compared_by_whole_segments_and_not_as_a_prefix() {
    for reference in [
        "https://fhir.example.org/r4Patient/1",
        "https://fhir.example.org/r45/Patient/1",
        "https://fhir.example.org/Patient/1",
        "https://fhir.example.org/r4//Patient/1",
        "https://fhir.example.org/r4/../r4/Patient/1",
        "https://fhir.example.org/r4/x/Patient/1",
        "https://fhir.example.org.evil.example/r4/Patient/1",
        "https://evil.example/https://fhir.example.org/r4/Patient/1",
        "https://fhir.example.org@evil.example/r4/Patient/1",
        "http://fhir.example.org/r4/Patient/1",
        "https://fhir.example.org:443/r4/Patient/1",
        "HTTPS://fhir.example.org/r4/Patient/1",
        "https://FHIR.example.org/r4/Patient/1",
        "https://fhir.example.org/R4/Patient/1",
        "//fhir.example.org/r4/Patient/1",
        "http://hapi/fhir/Patient/1",
    ] {
        assert_eq!(local(reference), None, "{reference}");
    }
}

#[test]
fn everything_that_is_not_exactly_type_and_id_is_not_local() {
    for reference in [
        "",
        "/",
        "Patient",
        "Patient/",
        "/Patient/1",
        "Patient/1/",
        "Patient//1",
        " Patient/1",
        "Patient/1 ",
        "Patient/1\n",
        "Patient/\u{a0}1",
        "patient/1",
        "PATIENT/1",
        "Patients/1",
        "Patient/.",
        "Patient/..",
        "Patient/1_2",
        "Patient/%31",
        "Patient/1#p",
        "Patient/1|2",
        "Patient/1?x=y",
        "Patient/1;v=2",
        "Patient\\1",
        "Patient/1/_history",
        "Patient/1/_history/",
        "Patient/1/_history/2/",
        "Patient/1/_History/2",
        "Patient/1/Observation/2",
        "Patient/ä",
        "#x",
        "urn:uuid:00000000-0000-0000-0000-000000000001",
        "Patient?identifier=1",
    ] {
        assert_eq!(local(reference), None, "{reference}");
    }
}

#[test]
fn what_is_not_local_is_told_apart() {
    let bases = bases();
    for (reference, kind) in [
        ("#", Reference::Contained("")),
        ("#p1", Reference::Contained("p1")),
        ("#p 1", Reference::Unclear("#p 1")),
        ("urn:uuid:1", Reference::Urn("urn:uuid:1")),
        ("URN:UUID:1", Reference::Unclear("URN:UUID:1")),
        ("Patient?identifier=1", Reference::Conditional("Patient?identifier=1")),
        ("https://evil.example/Patient/1", Reference::Foreign("https://evil.example/Patient/1")),
        ("patient/1", Reference::Unclear("patient/1")),
        ("patient?identifier=1", Reference::Unclear("patient?identifier=1")),
        ("https://fhir.example.org:443/r4/Patient/1", Reference::Unclear("https://fhir.example.org:443/r4/Patient/1")),
        ("https://FHIR.example.org/r4/Patient/1", Reference::Unclear("https://FHIR.example.org/r4/Patient/1")),
        ("https://x@fhir.example.org/r4/Patient/1", Reference::Unclear("https://x@fhir.example.org/r4/Patient/1")),
        ("https://evil.example\\@fhir.example.org/", Reference::Unclear("https://evil.example\\@fhir.example.org/")),
        ("ftp://evil.example/Patient/1", Reference::Unclear("ftp://evil.example/Patient/1")),
    ] {
        assert_eq!(Reference::parse(reference, &bases), kind, "{reference}");
    }
}

#[test]
fn a_base_that_is_no_plain_web_address_adds_nothing() {
    let url = |text| Url::parse(text).unwrap();
    let bases = Bases::new(&url("ftp://a/r4"), &url("http://b/fhir?x=y"), &[url("http://user@c/fhir")]);
    for reference in ["ftp://a/r4/Patient/1", "http://b/fhir?x=y/Patient/1", "http://user@c/fhir/Patient/1"] {
        assert_eq!(normalise(reference, &bases), None, "{reference}");
    }
}

#[test]
fn an_id_has_1_to_64_characters_of_the_grammar() {
    assert!(Id::parse(&"a".repeat(64)).is_some());
    assert!(Id::parse(&"a".repeat(65)).is_none());
    for id in ["1", "A-z.9", "...", "-", "00000000-0000-0000-0000-000000000001"] {
        assert_eq!(LogicalId::parse(id).unwrap().as_str(), id);
    }
    for id in ["", ".", "..", "a b", "a/b", "a_b", "é", "a\0", "*", "$x"] {
        assert_eq!(LogicalId::parse(id), None, "{id}");
    }
}

fn resource_type() -> impl Strategy<Value = ResourceType> {
    (0..ResourceType::COUNT).prop_map(|index| ResourceType::from_index(index).unwrap())
}

const ID: &str = "[A-Za-z0-9-][A-Za-z0-9.-]{0,63}";

proptest! {
    #[test]
    fn what_is_printed_is_parsed_again(
        resource_type in resource_type(),
        id in ID,
        version in proptest::option::of(ID),
        base in proptest::option::of(0usize..3),
    ) {
        let local = LocalReference {
            resource_type,
            id: Id::parse(&id).unwrap(),
            version: version.as_deref().map(|version| Id::parse(version).unwrap()),
        };
        let base = base.map_or("", |at| {
            ["https://fhir.example.org/r4/", "http://hapi:8080/fhir/", "https://old.example.org/"].get(at).unwrap()
        });
        let printed = format!("{base}{local}");
        prop_assert_eq!(normalise(&printed, &bases()), Some(local));
    }

    #[test]
    fn whatever_is_local_prints_as_it_was_or_as_its_end(reference in "\\PC{0,40}|[A-Za-z/:.#?_ 0-9-]{0,40}|Patient/\\PC{0,8}") {
        if let Some(local) = normalise(&reference, &bases()) {
            let printed = local.to_string();
            prop_assert!(reference.ends_with(&printed));
            let base = reference.strip_suffix(&printed).unwrap();
            prop_assert!(base.is_empty() || bases().prefixes.iter().any(|known| **known == *base));
        }
    }

    #[test]
    fn one_changed_byte_never_leads_to_the_same_resource(at in 0usize..40, byte in 0u8..128) {
        let original = "https://fhir.example.org/r4/Patient/p1";
        let mut changed = original.as_bytes().to_vec();
        if let Some(place) = changed.get_mut(at) {
            *place = byte;
        }
        let changed = String::from_utf8(changed).unwrap();
        let patient = Id::parse("p1").unwrap();
        let same = normalise(&changed, &bases()).is_some_and(|local| local.names(ResourceType::PATIENT, patient));
        prop_assert_eq!(same, changed == original);
    }
}
