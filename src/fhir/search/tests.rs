#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use proptest::prelude::*;

use super::*;

fn search(type_name: &str, pairs: &[(&str, &str)]) -> Result<(SearchQuery, Projection), Refusal> {
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    SearchQuery::parse(ResourceType::parse(type_name).unwrap(), &pairs)
}

fn observation(name: &str, value: &str) -> Result<SearchQuery, Refusal> {
    search("Observation", &[(name, value)]).map(|(query, _)| query)
}

#[test]
fn every_parameter_falls_into_its_class() {
    for (name, value, class) in [
        ("patient.name", "Smith", Class::Traverse),
        ("subject:Patient.link.name", "x", Class::Traverse),
        ("encounter.participant.name", "x", Class::Traverse),
        ("_has:AuditEvent:patient:agent", "x", Class::Traverse),
        ("_has:a:b:_has:c:d:e", "x", Class::Traverse),
        ("_list", "1", Class::Traverse),
        ("_filter", "subject eq \"Patient/P2\"", Class::Traverse),
        ("_query", "x", Class::Traverse),
        ("_in", "x", Class::Traverse),
        ("code:in", "http://x/ValueSet/1", Class::Traverse),
        ("code:not-in", "http://x/ValueSet/1", Class::Traverse),
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
        assert_eq!(observation(name, value).unwrap_err().status(), 400, "{name}={value}");
    }
}

#[test]
fn what_shapes_the_answer_may_occur_once() {
    for (name, value) in
        [("_count", "1"), ("_sort", "date"), ("_total", "none"), ("_summary", "true"), ("_elements", "code")]
    {
        assert!(search("Observation", &[(name, value)]).is_ok(), "{name}");
        assert_eq!(search("Observation", &[(name, value), (name, value)]).unwrap_err().status(), 400, "{name}");
    }
    assert_eq!(search("Observation", &[("_summary", "text"), ("_elements", "code")]).unwrap_err().status(), 400);
}

#[test]
fn a_total_is_neither_refused_nor_kept() {
    for value in ["none", "estimate", "accurate"] {
        assert_eq!(observation("_total", value).unwrap(), SearchQuery::default());
    }
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
            ("_sort", "-date,_id"),
            ("_count", "7"),
            ("_elements", "code"),
        ],
    )
    .unwrap();
    assert_eq!(
        query.self_link(ResourceType::OBSERVATION, &projection),
        "Observation?code=http://loinc.org%7C8867-4,x%5C,y&subject:missing=false&_sort=-date,_id&_count=7&_elements=code"
    );
    assert_eq!(SearchQuery::default().self_link(ResourceType::OBSERVATION, &Projection::Full), "Observation");
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
    fn no_parameter_makes_it_panic(name in "\\PC{0,20}|_[a-zA-Z]{1,8}(:[a-z]{1,5})?", value in "\\PC{0,20}") {
        let _ = observation(&name, &value);
    }
}
