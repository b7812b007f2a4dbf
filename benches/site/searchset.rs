//! What a FHIR server answers to a search.

/// Observations of `p1`, each with the elements that US Core asks for, as a FHIR server prints them without indentation.
pub(crate) fn searchset(entries: usize, base: &str) -> String {
    let entry = |number: usize| {
        format!(
            r#"{{"fullUrl":"{base}/Observation/o{number}","resource":{{"resourceType":"Observation","id":"o{number}","meta":{{"versionId":"1","lastUpdated":"2026-03-04T05:06:07.890+00:00"}},"status":"final","category":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"laboratory","display":"Laboratory"}}]}}],"code":{{"coding":[{{"system":"http://loinc.org","code":"2339-0","display":"Glucose [Mass/volume] in Blood"}}],"text":"Glucose"}},"subject":{{"reference":"Patient/p1","display":"Amy V. Shaw"}},"encounter":{{"reference":"Encounter/e{number}"}},"effectiveDateTime":"2026-03-03T08:30:00+00:00","performer":[{{"reference":"{base}/Practitioner/d1","display":"Ronald Bone, MD"}}],"valueQuantity":{{"value":76.{number:03}0,"unit":"mg/dL","system":"http://unitsofmeasure.org","code":"mg/dL"}},"referenceRange":[{{"low":{{"value":70.0,"unit":"mg/dL"}},"high":{{"value":99.0,"unit":"mg/dL"}}}}]}},"search":{{"mode":"match"}}}}"#
        )
    };
    let entries: Vec<String> = (0..entries).map(entry).collect();
    format!(
        r#"{{"resourceType":"Bundle","id":"b1","type":"searchset","total":100,"link":[{{"relation":"self","url":"{base}/Observation?subject=Patient%2Fp1"}},{{"relation":"next","url":"{base}?_getpages=b1&_getpagesoffset=20"}}],"entry":[{}]}}"#,
        entries.join(",")
    )
}
