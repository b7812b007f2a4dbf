//! `_elements` and `_summary`, applied by the gateway after the decision (R4 search.html section 3.1.1.5.8 and 3.1.1.5.9).
//!
//! They never reach the upstream, for what is hidden by them could not be decided upon. Takes a resource's place and which
//! of its elements are asked for; collects the edits that remove the others and mark the resource as SUBSETTED, so that
//! nobody takes it for the whole and writes it back.

use crate::json::{Edits, Kind, Value};

/// Removes the elements of `resource` that `keep` does not want, and tags it.
///
/// `keep` is asked with an element's name; the `_name` that carries a primitive's extensions shares its fate.
/// `resourceType`, `id` and `meta` always stay.
pub fn project(resource: Value<'_>, edits: &mut Edits<'_>, keep: impl Fn(&str) -> bool) {
    edits.retain_members(resource, |member| {
        let name = member.name();
        let element = name.strip_prefix('_').unwrap_or(&name);
        matches!(element, "resourceType" | "id" | "meta") || keep(element)
    });
    tag(resource, edits);
}

const SUBSETTED: &str = r#"{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}"#;

fn tag(resource: Value<'_>, edits: &mut Edits<'_>) {
    let Some(meta) = resource.member("meta") else {
        return edits.add_member(resource, "meta", format!(r#"{{"tag":[{SUBSETTED}]}}"#).as_bytes());
    };
    if meta.kind() != Kind::Object {
        return edits.replace(meta, format!(r#"{{"tag":[{SUBSETTED}]}}"#).into_bytes());
    }
    let Some(tags) = meta.member("tag") else {
        return edits.add_member(meta, "tag", format!("[{SUBSETTED}]").as_bytes());
    };
    if tags.kind() != Kind::Array {
        return edits.replace(tags, format!("[{SUBSETTED}]").into_bytes());
    }
    let subsetted = |tag: Value<'_>| {
        let is = |name, text| tag.member(name).is_some_and(|value: Value<'_>| value.is(text));
        is("code", "SUBSETTED") && is("system", "http://terminology.hl7.org/CodeSystem/v3-ObservationValue")
    };
    if !tags.elements().any(subsetted) {
        edits.add_element(tags, SUBSETTED.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

    use super::*;
    use crate::json::{Json, Limits};

    fn projected(text: &str, elements: &[&str]) -> String {
        let json = Json::parse(text.as_bytes().to_vec(), Limits::default()).unwrap();
        let mut edits = Edits::new(&json);
        project(json.root(), &mut edits, |name| elements.contains(&name));
        String::from_utf8(edits.apply().unwrap()).unwrap()
    }

    const TAG: &str = r#"{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}"#;

    /// Case 88.
    #[test]
    fn only_the_elements_asked_for_stay_and_the_resource_is_tagged() {
        let text = r#"{"resourceType":"Observation","id":"o1","status":"final","subject":{"reference":"Patient/P1"},
            "code":{"text":"x"},"_status":{"id":"s"},"valueQuantity":{"value":1.10}}"#;
        assert_eq!(
            projected(text, &["code", "status"]),
            format!(
                r#"{{"meta":{{"tag":[{TAG}]}},"resourceType":"Observation","id":"o1","status":"final","code":{{"text":"x"}},"_status":{{"id":"s"}}}}"#
            )
        );
        assert_eq!(
            projected(text, &["valueQuantity"]),
            format!(
                r#"{{"meta":{{"tag":[{TAG}]}},"resourceType":"Observation","id":"o1","valueQuantity":{{"value":1.10}}}}"#
            )
        );
    }

    #[test]
    fn a_meta_that_exists_gets_the_tag() {
        for (meta, expected) in [
            ("{}", format!(r#"{{"tag":[{TAG}]}}"#)),
            (r#"{ "versionId" : "1" }"#, format!(r#"{{"tag":[{TAG}], "versionId" : "1" }}"#)),
            (r#"{"tag":[]}"#, format!(r#"{{"tag":[{TAG}]}}"#)),
            (r#"{"tag":[{"code":"SUBSETTED"}]}"#, format!(r#"{{"tag":[{TAG},{{"code":"SUBSETTED"}}]}}"#)),
            ("null", format!(r#"{{"tag":[{TAG}]}}"#)),
            (r#"{"tag":null,"id":"m"}"#, format!(r#"{{"tag":[{TAG}],"id":"m"}}"#)),
        ] {
            let text = format!(r#"{{"id":"p","resourceType":"Patient","meta":{meta}}}"#);
            assert_eq!(projected(&text, &[]), format!(r#"{{"id":"p","resourceType":"Patient","meta":{expected}}}"#));
        }
    }

    #[test]
    fn a_resource_is_tagged_once() {
        let text = format!(r#"{{"resourceType":"Patient","meta":{{"tag":[{{"code":"a"}},{TAG}]}},"name":[]}}"#);
        let once = projected(&text, &[]);
        assert_eq!(once, format!(r#"{{"resourceType":"Patient","meta":{{"tag":[{{"code":"a"}},{TAG}]}}}}"#));
        assert_eq!(projected(&once, &[]), once);
    }

    #[test]
    fn a_late_resource_type_stays() {
        let text = r#"{"name":[{"family":"x"}],"text":{"div":"x"},"resourceType":"Patient"}"#;
        assert_eq!(projected(text, &[]), format!(r#"{{"meta":{{"tag":[{TAG}]}},"resourceType":"Patient"}}"#));
    }
}
