//! Histories: every version of a resource, of a type, of everything, the last one first, in pages.

use super::{Answer, Store, absent, outcome};

impl Store {
    /// The first page of the versions of everything that `resource_type` and `id` name.
    pub(super) fn history(
        &mut self,
        resource_type: Option<&str>,
        id: Option<&str>,
        pairs: &[(String, String)],
    ) -> Answer {
        let known = |name: &str| matches!(name, "_count" | "_since" | "_at");
        if let Some((name, _)) = pairs.iter().find(|(name, _)| !known(name)) {
            return outcome(400, "invalid", &format!("CANARY unknown parameter {name}"));
        }
        let named = |one: &&super::Resource| {
            let same = |wanted: &str| one.id == wanted || self.folds && one.id.eq_ignore_ascii_case(wanted);
            resource_type.is_none_or(|of| of == one.resource_type) && id.is_none_or(same)
        };
        let mut entries = Vec::new();
        for one in self.resources.values().filter(named) {
            let name = format!("{}/{}", one.resource_type, one.id);
            for (index, version) in one.versions.iter().enumerate().rev() {
                let (number, base) = (index + 1, &self.base);
                let response = format!(
                    r#""response":{{"status":"200 OK","etag":"W/\"{number}\"","lastModified":"2024-01-01T00:00:00Z","location":"{base}/{name}"}}"#
                );
                entries.push(match version {
                    None => format!(
                        r#"{{"fullUrl":"{base}/{name}","request":{{"method":"DELETE","url":"{name}/_history/{number}"}},{response}}}"#
                    ),
                    Some(text) => format!(
                        r#"{{"fullUrl":"{base}/{name}","resource":{},"request":{{"method":"PUT","url":"{base}/{name}?CANARY"}},{response}}}"#,
                        text.replace("{BASE}", base)
                    ),
                });
            }
        }
        if id.is_some() && entries.is_empty() {
            return absent("CANARY nothing with such an id");
        }
        let count = pairs.iter().find(|(name, _)| name == "_count").and_then(|(_, count)| count.parse().ok());
        self.histories.push((entries, count.unwrap_or(10)));
        self.versions(self.histories.len() - 1, 0)
    }

    /// A page of it.
    pub(super) fn versions(&self, cursor: usize, offset: usize) -> Answer {
        let Some((entries, count)) = self.histories.get(cursor) else { return absent("CANARY no such page") };
        let base = &self.base;
        let page: Vec<&str> = entries.iter().skip(offset).take(*count).map(String::as_str).collect();
        let next = offset + count;
        let next = if next < entries.len() {
            format!(
                r#",{{"relation":"next","url":"{base}?_getpages={cursor}&_getpagesoffset={next}&_count={count}&_bundletype=history"}}"#
            )
        } else {
            String::new()
        };
        Answer::fhir(format!(
            r#"{{"resourceType":"Bundle","id":"CANARY-history-{cursor}","type":"history","total":{},"link":[{{"relation":"self","url":"{base}/CANARY"}}{next}],"entry":[{}]}}"#,
            entries.len(),
            page.join(",")
        ))
    }
}
