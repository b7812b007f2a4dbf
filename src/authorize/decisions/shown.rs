//! What was sent and what was released, as cases write it.
#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use std::fmt::{Display, Write as _};

use serde_json::Value;

use crate::authorize::{UpstreamRequest, Verb, Write};

/// The bodies that are sent.
pub(super) fn sent(upstream: &UpstreamRequest) -> String {
    let text = |write: &Write| String::from_utf8(write.body.clone().unwrap_or_default().to_vec()).unwrap();
    match upstream {
        UpstreamRequest::Write(write) => text(write),
        UpstreamRequest::Operation(one) => String::from_utf8(one.body.clone().unwrap_or_default().to_vec()).unwrap(),
        UpstreamRequest::Transaction(transaction) => {
            let writes = transaction.entries.iter().filter_map(|entry| match &entry.request {
                UpstreamRequest::Write(write) => Some(text(write)),
                _ => None,
            });
            writes.collect()
        }
        _ => String::new(),
    }
}

pub(super) fn entry_statuses(body: &str) -> Vec<String> {
    let Ok(bundle) = serde_json::from_str::<Value>(body) else { return vec!["no bundle".to_owned()] };
    let entries = bundle.get("entry").and_then(Value::as_array).cloned().unwrap_or_default();
    entries
        .iter()
        .map(|entry| entry.pointer("/response/status").and_then(Value::as_str).unwrap_or("?").to_owned())
        .collect()
}

pub(super) fn print(upstream: &UpstreamRequest) -> String {
    match upstream {
        UpstreamRequest::Read { resource_type, id } => format!("GET {resource_type}/{id}"),
        UpstreamRequest::Vread { resource_type, id, version } => format!("GET {resource_type}/{id}/_history/{version}"),
        UpstreamRequest::Search { resource_type, parameters } => {
            format!("POST {resource_type}/_search {}", joined(parameters)).trim_end().to_owned()
        }
        UpstreamRequest::SearchCompartment { compartment, id, resource_type, parameters } => {
            format!("POST {compartment}/{id}/{resource_type}/_search {}", joined(parameters)).trim_end().to_owned()
        }
        UpstreamRequest::History { path, parameters } => {
            format!("GET {path} {}", joined(parameters)).trim_end().to_owned()
        }
        UpstreamRequest::PerType { searches } => searches.iter().map(print).collect::<Vec<_>>().join(" and "),
        UpstreamRequest::Page { path_and_query, .. } => format!("GET {path_and_query}"),
        UpstreamRequest::Each { parts, .. } => {
            parts.iter().map(|part| print(&part.request)).collect::<Vec<_>>().join(" and ")
        }
        UpstreamRequest::Nothing { .. } => "none".to_owned(),
        UpstreamRequest::Write(write) => {
            let mut text = match (&write.verb, &write.id) {
                (Verb::Create, _) => format!("POST {}", write.resource_type),
                (Verb::Update, id) => format!("PUT {}/{}", write.resource_type, id.as_ref().unwrap()),
                (Verb::Delete, id) => format!("DELETE {}/{}", write.resource_type, id.as_ref().unwrap()),
            };
            if let Some(tag) = &write.if_match {
                write!(text, " if-match {tag}").unwrap();
            }
            if write.if_none_match {
                text.push_str(" if-none-match *");
            }
            if let Some(parameters) = &write.if_none_exist {
                write!(text, " if-none-exist {}", joined(parameters)).unwrap();
            }
            if write.representation {
                text.push_str(" representation");
            }
            text
        }
        UpstreamRequest::Operation(one) => {
            let of = one.resource_type.map(|of| format!("{of}/")).unwrap_or_default();
            let id = one.id.as_ref().map(|id| format!("{id}/")).unwrap_or_default();
            let method = if one.body.is_some() { "POST" } else { "GET" };
            format!("{method} {of}{id}${} {}", one.name, joined(&one.parameters)).trim_end().to_owned()
        }
        UpstreamRequest::Transaction(transaction) => {
            let entries = transaction.entries.iter().map(|entry| match &entry.full_url {
                Some(full_url) => format!("{full_url} {}", print(&entry.request)),
                None => print(&entry.request),
            });
            entries.collect::<Vec<_>>().join("; ")
        }
    }
}

pub(super) fn released_entries(body: &str) -> Vec<String> {
    let Ok(bundle) = serde_json::from_str::<Value>(body) else { return vec!["no bundle".to_owned()] };
    let entries = bundle.get("entry").and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("?").to_owned();
    let name = |entry: &Value| {
        let resource = entry.get("resource");
        let member = |name| text(resource.and_then(|resource| resource.get(name)));
        format!("{}/{}", member("resourceType"), member("id"))
    };
    entries.iter().map(name).collect()
}

fn joined<'a, N: Display + 'a, V: Display + 'a>(parameters: impl IntoIterator<Item = &'a (N, V)>) -> String {
    parameters.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}
