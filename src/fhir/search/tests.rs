#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use proptest::prelude::*;

use super::*;

fn search(type_name: &str, pairs: &[(&str, &str)]) -> Result<(SearchQuery, Projection), SearchProblem> {
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    SearchQuery::parse(ResourceType::parse(type_name).unwrap(), &pairs)
}

fn observation(name: &str, value: &str) -> Result<SearchQuery, SearchProblem> {
    search("Observation", &[(name, value)]).map(|(query, _)| query)
}

#[test]
fn every_parameter_falls_into_its_class() {
    for (name, value, class) in [
        ("patient.name", "Smith", Class::Traverse),
        ("subject:Patient.link.name", "x", Class::Traverse),
        ("encounter.participant.name", "x", Class::Traverse),
        ("_has:AuditEvent:entity:agent", "x", Class::Traverse),
        ("_has:Condition:evidence-detail:_has:Encounter:diagnosis:status", "x", Class::Traverse),
        ("code:in", "ValueSet/1", Class::Traverse),
        ("_list", "$current-problems", Class::Opaque),
        ("_list", "1", Class::Traverse),
        ("_filter", "subject eq \"Patient/P2\"", Class::Opaque),
        ("_query", "x", Class::Opaque),
        ("_in", "x", Class::Opaque),
        ("code:in", "http://x/ValueSet/1", Class::Opaque),
        ("code:not-in", "http://x/ValueSet/1", Class::Opaque),
        ("code:above", "x", Class::Traverse),
        ("code:below", "x", Class::Traverse),
        ("_sort", "patient.birthdate", Class::Traverse),
        ("_sort", "-date,subject:Patient.name", Class::Traverse),
        ("_text", "x", Class::FullText),
        ("_content", "x", Class::FullText),
        ("_include", "Observation:performer", Class::Shape),
        ("_include:iterate", "Observation:has-member", Class::Shape),
        ("_revinclude:recurse", "*", Class::Shape),
        ("_contained", "true", Class::Contained),
        ("_containedType", "contained", Class::Contained),
        ("_summary", "count", Class::Total),
        ("_count", "0", Class::Total),
    ] {
        assert_eq!(observation(name, value).unwrap().beyond, [class], "{name}={value}");
    }
    for name in [
        "code",
        "patient",
        "subject:Patient",
        "subject:identifier",
        "patient:not",
        "subject:missing",
        "code:text",
        "value-string:exact",
        "value-string:contains",
        "identifier:of-type",
        "code:code-text",
        "_id",
        "_lastUpdated",
        "_tag",
        "_security",
        "_profile",
        "_source",
        "code-value-quantity",
        "date",
        "_language",
    ] {
        let value = if name.ends_with("missing") { "true" } else { "x" };
        let query = observation(name, value).unwrap();
        assert_eq!((query.criteria.len(), query.beyond.len()), (1, 0), "{name}");
        assert_eq!(query.criteria.first().unwrap().key(), name);
    }
}

#[test]
fn what_no_definition_knows_is_refused() {
    for (name, value) in [
        ("nosuch", "x"),
        ("name", "x"),
        ("Code", "x"),
        ("_type", "Patient"),
        ("_ID", "1"),
        ("code:nosuch", "x"),
        ("nosuch.name", "x"),
        ("subject:Practitioner", "x"),
        ("code:identifier", "x"),
        ("_score", "1"),
        ("_has:a:b:c", "x"),
        ("_has:AuditEvent:patient:agent", "x"),
        ("_has:AuditEvent:entity:nosuch", "x"),
        ("_has:AuditEvent:entity", "x"),
        ("_has", "x"),
        ("patient.nosuch", "x"),
        ("code.name", "x"),
        ("focus.name", "x"),
        ("encounter.encounter.part-of.part-of.part-of.part-of.status", "x"),
        ("encounter.part-of.part-of.part-of.part-of.part-of.status", "x"),
        ("patient._text", "x"),
        ("date:below", "2020"),
        ("_sort", "_has:AuditEvent:entity:agent"),
        ("_sort", "encounter.patient.name"),
        ("_text:exact", "x"),
        ("_text", ""),
        ("_include", "Observation:nosuch"),
        ("_revinclude", "Group:member"),
        ("_sort", "nosuch"),
        ("_sort", ""),
        ("_sort", "_text"),
        ("_sort:asc", "date"),
        ("_count", "-1"),
        ("_count", ""),
        ("_count", "ten"),
        ("_count", "+5"),
        ("_total", "yes"),
        ("_summary", "yes"),
        ("_elements", "nosuch"),
        ("_elements", ""),
        ("_elements", "id, code"),
        ("code", ""),
        ("code", "a,,b"),
        ("code", "a\\"),
        ("code", "a\\b"),
        ("subject:missing", "maybe"),
        ("subject:Patient", "Group/1"),
        ("subject:Patient", "https://a/Patient/1"),
    ] {
        assert!(observation(name, value).is_err(), "{name}={value}");
    }
}

#[test]
fn what_shapes_the_answer_may_occur_once() {
    for (name, value) in
        [("_count", "1"), ("_sort", "date"), ("_total", "none"), ("_summary", "true"), ("_elements", "code")]
    {
        assert!(search("Observation", &[(name, value)]).is_ok(), "{name}");
        assert!(search("Observation", &[(name, value), (name, value)]).is_err(), "{name}");
    }
    assert!(search("Observation", &[("_summary", "text"), ("_elements", "code")]).is_err());
}

#[test]
fn what_a_chain_looks_at_is_told() {
    for (name, looks_at, printed) in [
        ("patient.name", &["Patient"][..], "patient:Patient.name"),
        ("encounter.class", &["Encounter"], "encounter:Encounter.class"),
        // Of all that the reference may be to, one type alone has that parameter.
        ("subject.birthdate", &["Patient"], "subject:Patient.birthdate"),
        // Several have it, and the server may know more than FHIR does.
        ("subject.identifier", &["Device", "Group", "Location", "Patient"], "subject.identifier"),
        (
            "performer.name",
            &["CareTeam", "Organization", "Patient", "Practitioner", "PractitionerRole", "RelatedPerson"],
            "performer.name",
        ),
        (
            "patient.general-practitioner:Practitioner.name",
            &["Patient", "Practitioner"],
            "patient:Patient.general-practitioner:Practitioner.name",
        ),
        (
            "_has:Condition:evidence-detail:patient.name",
            &["Condition", "Patient"],
            "_has:Condition:evidence-detail:patient:Patient.name",
        ),
        (
            "_has:Condition:evidence-detail:_has:Encounter:diagnosis:status",
            &["Condition", "Encounter"],
            "_has:Condition:evidence-detail:_has:Encounter:diagnosis:status",
        ),
        ("_list", &["List"], "_list"),
        ("code:below", &["CodeSystem"], "code:below"),
        ("_source:above", &[], "_source:above"),
    ] {
        let value = if name == "_list" { "42" } else { "x" };
        let query = observation(name, value).unwrap();
        let told: Vec<&str> = query.looks_at().iter().map(|one| one.name()).collect();
        assert_eq!(told, looks_at, "{name}");
        assert_eq!(query.traversals.first().unwrap().key(), printed, "{name}");
    }
    let told = |value| observation("_sort", value).unwrap().looks_at();
    assert_eq!(told("date,-patient.birthdate"), [ResourceType::PATIENT]);
    assert_eq!(observation("code:not-in", "ValueSet/1").unwrap().looks_at(), [ResourceType::VALUE_SET]);
    let (query, _) = search("Location", &[("partof:below", "Location/1,Location/2")]).unwrap();
    assert_eq!(query.looks_at(), [ResourceType::LOCATION]);
}

#[test]
fn a_total_is_kept_as_a_wish() {
    for (value, total) in [("none", Total::None), ("estimate", Total::Estimate), ("accurate", Total::Accurate)] {
        assert_eq!(observation("_total", value).unwrap(), SearchQuery { total: Some(total), ..SearchQuery::default() });
    }
}

#[test]
fn several_types_have_only_what_all_have_in_common() {
    let common = |pairs: &[(&str, &str)]| {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        SearchQuery::parse_common(&pairs).map(|(query, _)| query)
    };
    let query =
        common(&[("_type", "Patient,Observation"), ("_type", "Patient"), ("_id", "1"), ("_tag:not", "x")]).unwrap();
    assert_eq!(query.types, [ResourceType::PATIENT, ResourceType::OBSERVATION]);
    assert_eq!((query.criteria.len(), query.beyond.len()), (2, 0));
    for name in ["code", "_text", "_sort", "_elements", "_include", "_has:Observation:patient:code", "author.name"] {
        assert_eq!(common(&[("_type", "Patient"), (name, "x")]).unwrap().beyond, [Class::Opaque], "{name}");
    }
    assert!(common(&[("_type", "patient")]).is_err());
}

#[test]
fn a_count_beyond_all_numbers_is_a_large_count() {
    assert_eq!(observation("_count", "1000000").unwrap().count, Some(1_000_000));
    assert_eq!(observation("_count", "99999999999999999999").unwrap().count, Some(u32::MAX));
}

#[test]
fn projections_are_taken_out_of_the_query() {
    for (name, value, expected) in [
        ("_summary", "true", Projection::SummaryTrue),
        ("_summary", "text", Projection::SummaryText),
        ("_summary", "data", Projection::SummaryData),
        ("_summary", "false", Projection::Full),
        ("_elements", "id,code", Projection::Elements(vec!["id".into(), "code".into()])),
    ] {
        let (query, projection) = search("Observation", &[(name, value)]).unwrap();
        assert_eq!((query, projection), (SearchQuery::default(), expected));
    }
}

#[test]
fn the_self_link_says_what_was_asked() {
    let (query, projection) = search(
        "Observation",
        &[
            ("code", "http://loinc.org|8867-4,x\\,y"),
            ("subject:missing", "false"),
            ("patient.name", "a b"),
            ("_text", "c&d"),
            ("_include", "Observation:subject:Patient"),
            ("_revinclude:recurse", "*"),
            ("_sort", "-date,_id,patient.name"),
            ("_total", "accurate"),
            ("_count", "7"),
            ("_elements", "code"),
        ],
    )
    .unwrap();
    assert_eq!(
        query.self_link("Observation", &projection),
        "Observation?code=http://loinc.org%7C8867-4,x%5C,y&subject:missing=false&patient:Patient.name=a%20b&_text=c%26d&_include=Observation:subject:Patient&_revinclude:iterate=%2A&_sort=-date,_id,patient:Patient.name&_count=7&_total=accurate&_elements=code"
    );
    assert_eq!(
        query.carried_by_pages(&projection),
        "&_include=Observation:subject:Patient&_revinclude:iterate=%2A&_elements=code"
    );
    assert_eq!(SearchQuery::default().self_link("Observation", &Projection::Full), "Observation");
}

proptest! {
    #[test]
    fn what_is_escaped_is_read_back(texts in prop::collection::vec("[^\\p{Cc}]{1,12}|[,$|\\\\]{1,6}", 1..5)) {
        let printed = texts.iter().map(|text| escape(text)).collect::<Vec<_>>().join(",");
        let alternatives = split_alternatives(&printed).unwrap();
        let read: Vec<_> = alternatives.iter().map(|alternative| unescape(alternative)).collect();
        prop_assert_eq!(read, texts);
        prop_assert_eq!(alternatives.join(","), printed);
    }

    #[test]
    fn splitting_loses_nothing(value in "[a-c,$|\\\\]{0,16}") {
        if let Some(alternatives) = split_alternatives(&value) {
            prop_assert_eq!(alternatives.join(","), value);
        }
    }

    #[test]
    fn no_parameter_makes_it_panic(name in "\\PC{0,20}|_[a-zA-Z]{1,8}(:[a-z]{1,5})?|(_has:Observation:[a-z]{1,9}:){0,3}(subject|encounter|performer|patient)(:Patient)?(\\.[a-z_:]{0,9}){0,4}", value in "\\PC{0,20}") {
        let _ = observation(&name, &value);
    }
}
