//! A connection's bytes through the framing check, hyper, the canonicaliser and the decision.
//!
//! Other readers of the same bytes see the same requests; a request that is taken says in its path exactly what it is taken for;
//! and what it is permitted is confined to the patient.
#![no_main]

use std::cell::RefCell;

use firebreak::canonicalise::FhirRequest;
use firebreak::fhir::interaction::Interaction;
use firebreak::fuzzing::{query, read_connection};
use firebreak::listen::Inbound;
use firebreak_fuzz::confined::decided;
use firebreak_fuzz::readers::{self, Believes};
use tokio::runtime::Runtime;

thread_local! {
    static RUNTIME: RefCell<Runtime> = RefCell::new(
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime"),
    );
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let came = RUNTIME.with_borrow(|runtime| runtime.block_on(read_connection(bytes, 8192, 4096)));
    let others = [Believes::Coding, Believes::Length].map(|believes| readers::read(bytes, believes));
    for (number, request) in came.into_iter().enumerate() {
        let Ok(inbound) = request else { return };
        for other in &others {
            agrees(&inbound, other.get(number), bytes);
        }
        request_of(inbound);
    }
});

/// Whoever stands in front of us and reads the bytes in another way must not have seen another request.
fn agrees(inbound: &Inbound, other: Option<&readers::Seen>, bytes: &[u8]) {
    let query = query(inbound).map_or_else(String::new, |query| format!("?{query}"));
    let target = format!("{}{query}", inbound.path());
    let ours = readers::Seen {
        method: inbound.method().as_str().as_bytes().to_vec(),
        target: target.into_bytes(),
        body: inbound.body().to_vec(),
    };
    assert_eq!(Some(&ours), other, "{}", String::from_utf8_lossy(bytes));
}

fn request_of(inbound: Inbound) {
    let Ok(request) = FhirRequest::parse(inbound.clone(), "/fhir") else { return };
    let path = inbound.path().strip_suffix('/').unwrap_or(inbound.path()).replace("%24", "$");
    let named = names(request.interaction(), inbound.method().as_str());
    assert!(named.contains(&path), "{path} was taken for {named:?}");
    let query = query(&inbound).unwrap_or_default();
    let form = std::str::from_utf8(inbound.body()).unwrap_or_default();
    let searched = matches!(request.interaction(), Interaction::SearchType { .. }) && inbound.method() == "POST";
    for text in [query, if searched { form } else { "" }] {
        let credential = form_urlencoded::parse(text.as_bytes()).any(|(name, _)| name == "access_token");
        assert!(!credential, "a credential in {text}");
    }
    if ["GET", "HEAD", "DELETE"].contains(&inbound.method().as_str()) {
        assert!(inbound.body().is_empty());
    }
    let again = FhirRequest::parse(inbound, "/fhir").expect("what was taken once is taken again");
    assert_eq!(format!("{request:?}"), format!("{again:?}"));
    decided(request);
}

/// The paths that name `interaction`, without a final slash.
fn names(interaction: &Interaction, method: &str) -> Vec<String> {
    let posted = method == "POST";
    let below = match interaction {
        Interaction::Read { resource_type, id }
        | Interaction::Update { resource_type, id }
        | Interaction::Patch { resource_type, id }
        | Interaction::Delete { resource_type, id } => format!("/{resource_type}/{id}"),
        Interaction::Vread { resource_type, id, version } => format!("/{resource_type}/{id}/_history/{version}"),
        Interaction::HistoryInstance { resource_type, id } => format!("/{resource_type}/{id}/_history"),
        Interaction::HistoryType { resource_type } => format!("/{resource_type}/_history"),
        Interaction::HistorySystem => "/_history".to_owned(),
        Interaction::SearchType { resource_type } if posted => format!("/{resource_type}/_search"),
        Interaction::SearchType { resource_type }
        | Interaction::Create { resource_type }
        | Interaction::ConditionalUpdate { resource_type }
        | Interaction::ConditionalPatch { resource_type }
        | Interaction::ConditionalDelete { resource_type } => format!("/{resource_type}"),
        Interaction::SearchSystem if posted => "/_search".to_owned(),
        Interaction::SearchSystem | Interaction::Batch | Interaction::Transaction => String::new(),
        Interaction::SearchCompartment { compartment, id, resource_type } => {
            let of = resource_type.map_or("*", |of| of.name());
            format!("/{compartment}/{id}/{of}{}", if posted { "/_search" } else { "" })
        }
        Interaction::Operation { resource_type, id, name } => {
            let of = resource_type.map_or_else(String::new, |of| format!("/{of}"));
            let id = id.as_ref().map_or_else(String::new, |id| format!("/{id}"));
            format!("{of}{id}/${name}")
        }
        Interaction::Capabilities => "/metadata".to_owned(),
    };
    vec![format!("/fhir{below}")]
}
