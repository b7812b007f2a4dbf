//! A decision case as it stands in its file.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) id: u32,
    pub(super) parts: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    pub(super) description: String,
    /// A name of `tokens.json`.
    #[serde(default)]
    pub(super) token: String,
    /// Claims in place of the token's own.
    #[serde(default)]
    pub(super) claims: serde_json::Map<String, Value>,
    /// Method and target.
    pub(super) request: String,
    #[serde(default)]
    pub(super) headers: Vec<(String, String)>,
    /// An `application/x-www-form-urlencoded` body.
    pub(super) form: Option<String>,
    /// A body of FHIR JSON, or a JSON Patch for the method PATCH.
    pub(super) body: Option<Value>,
    /// The same, byte for byte.
    pub(super) body_text: Option<String>,
    /// So many arrays in each other as the body.
    pub(super) nested: Option<usize>,
    /// The `ETag` of what is read before a change; nothing: the upstream sends none.
    #[serde(default = "first_version")]
    pub(super) etag: String,
    /// The upstream's answer to a change, instead of an honest one.
    pub(super) written: Option<Said>,
    /// `_page` with a continuation of ours, sealed for this token's claims (of the token named here), to this upstream path.
    pub(super) page: Option<Page>,
    /// `gw`, sealed in the same way, as found in this resource.
    pub(super) link: Option<Link>,
    /// The upstream's answer to a search: `Type/id` of `world.json`, with or without a search mode before it.
    #[serde(default)]
    pub(super) entries: Vec<String>,
    /// The upstream's answer to a read, instead of what `world.json` has.
    pub(super) answer: Option<Value>,
    /// The same, byte for byte.
    pub(super) answer_text: Option<String>,
    /// The upstream's answer to a history, instead of one that has `entries`.
    pub(super) history: Option<Value>,
    /// The upstream refuses the search, with this OperationOutcome.
    pub(super) refusal: Option<Value>,
    pub(super) expect: Expect,
    /// What has to be built first.
    pub(super) stage: Option<String>,
    /// The integration test that shows it, for what only a socket can show.
    #[serde(default)]
    pub(super) shown_by: Option<String>,
}

/// What the upstream says to a change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    #[serde(default)]
    pub(super) body: Value,
}

fn first_version() -> String {
    "W/\"1\"".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    pub(super) token: String,
    pub(super) path: String,
    /// How long ago it was sealed, in seconds.
    #[serde(default)]
    pub(super) age: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Link {
    pub(super) token: String,
    /// `Type/id`
    pub(super) parent: String,
    /// How long ago it was sealed, in seconds.
    #[serde(default)]
    pub(super) age: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    pub(super) status: u16,
    /// The reason's id.
    pub(super) reason: Option<String>,
    /// The upstream request: `GET Observation/o1`, `POST Observation/_search subject=Patient/P1`, or `none`.
    pub(super) upstream: Option<String>,
    /// What is read before it is decided: `GET Observation/o1`.
    pub(super) reads: Option<Vec<String>>,
    /// `Type/id` of the entries that are released.
    pub(super) entries: Option<Vec<String>>,
    /// The statuses of the entries of a batch or transaction.
    pub(super) statuses: Option<Vec<String>>,
    /// Texts that the body sent upstream has.
    #[serde(default)]
    pub(super) sent_has: Vec<String>,
    /// Texts that it has not.
    #[serde(default)]
    pub(super) sent_lacks: Vec<String>,
    /// Header fields of the answer.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// Texts that the released body has.
    #[serde(default)]
    pub(super) has: Vec<String>,
    /// Texts that it has not.
    #[serde(default)]
    pub(super) lacks: Vec<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claims {
    pub(super) scope: String,
    #[serde(default)]
    pub(super) patient: Value,
    #[serde(rename = "fhirUser")]
    pub(super) fhir_user: Option<String>,
    #[serde(default)]
    pub(super) roles: Vec<String>,
    #[serde(default = "user")]
    pub(super) sub: String,
    #[serde(default = "app")]
    pub(super) client_id: String,
}

fn user() -> String {
    "u1".to_owned()
}

fn app() -> String {
    "app".to_owned()
}
