//! One audit record as a row. The log's schema may grow: what is not known here is shown among the details as it is.

use askama::Template;
use serde_json::Value;

/// A row of the console; all of its text is escaped by the template.
#[derive(Debug, Template)]
#[template(path = "demo/pages/record.html")]
pub(super) struct Row {
    pub(super) seq: String,
    /// CSS class: empty when it went well, `refused`, or `neutral`.
    mood: &'static str,
    time: String,
    clock: String,
    who: String,
    client: String,
    what: String,
    decision: String,
    patient: String,
    fields: Vec<(String, String)>,
}

impl Row {
    /// Reads a line; one that is not a JSON object is shown as it stands.
    pub(super) fn parse(line: &str) -> Self {
        let record = serde_json::from_str::<Value>(line).unwrap_or(Value::Null);
        let text = |names: &[&str]| names.iter().find_map(|name| record.get(name)).map(show).unwrap_or_default();
        let time = text(&["time"]);
        let fields = record.as_object().map_or_else(
            || vec![("line".to_owned(), line.to_owned())],
            |fields| {
                let shown = fields.iter().filter(|(name, _)| !matches!(name.as_str(), "v" | "prev" | "query_raw"));
                shown.map(|(name, value)| (name.clone(), show(value))).collect()
            },
        );
        let (decision, mood) = decision(&record);
        Self {
            seq: text(&["seq"]),
            mood,
            clock: time.get(11..19).unwrap_or_default().to_owned(),
            time,
            who: text(&["fhir_user", "sub"]),
            client: text(&["client_id"]),
            what: what(&record),
            decision,
            patient: patients(&record),
            fields,
        }
    }
}

/// The interaction and type, or the event with what was done.
fn what(record: &Value) -> String {
    let text = |name: &str| record.get(name).and_then(Value::as_str);
    let event = text("event").or(text("kind")).unwrap_or("record");
    let parts = match text("interaction").or(text("action")) {
        Some(done) if text("resource_type").is_some() || text("action").is_none() => {
            [Some(done), text("resource_type")]
        }
        // What was done often names the event already: "launch context created".
        Some(done) if done.contains(event) => [Some(done), None],
        Some(done) => [Some(event), Some(done)],
        None => [Some(event), text("resource_type")],
    };
    let words: Vec<&str> = parts.into_iter().flatten().collect();
    let mut what = words.join(" ").replace("search-type", "search").replace('_', " ");
    if let Some(first) = what.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    what
}

/// What was decided, in words, and the class that goes with it.
fn decision(record: &Value) -> (String, &'static str) {
    let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
    let (word, mood) = match (text("decision"), text("outcome")) {
        ("deny", _) | (_, "denied") => ("Refused", "refused"),
        (_, "failed") => ("Failed", "refused"),
        (_, "aborted") => ("Aborted", "refused"),
        (_, "intended") => ("Intended", "neutral"),
        ("permit", _) => ("Permitted", ""),
        (_, "released") => ("Done", ""),
        _ => ("Noted", "neutral"),
    };
    let reason = text("reason");
    (if reason.is_empty() || mood != "refused" { word.to_owned() } else { format!("{word}: {reason}") }, mood)
}

/// The first patients that were touched, and how many more.
fn patients(record: &Value) -> String {
    let Some(touched) = record.get("patients").and_then(Value::as_array).filter(|touched| !touched.is_empty()) else {
        return record.get("patient").map(show).unwrap_or_default();
    };
    let first: Vec<&str> = touched.iter().filter_map(Value::as_str).take(2).collect();
    let rest = touched.len().saturating_sub(first.len());
    if rest == 0 { first.join(", ") } else { format!("{} and {rest} more", first.join(", ")) }
}

fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(show).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
