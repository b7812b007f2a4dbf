//! The body of a request that changes something, read when it is known that whoever sent it may try: one strict pass, and it must
//! be what the path says it is.
//!
//! Takes a [`FhirRequest`], gives the parsed text. Promises: the JSON has one meaning (`crate::json`), the resource is of
//! the type that the path names and, where the path names an id, has that id; a patch is one that RFC 6902 knows. Does not look
//! at what a resource refers to.

use bytes::Bytes;

use super::FhirRequest;
use crate::error::Refusal;
use crate::fhir::facts::Facts;
use crate::fhir::interaction::Interaction;
use crate::fhir::reference::LogicalId;
use crate::fhir::resource_type::ResourceType;
use crate::json::patch::Patch;
use crate::json::{Json, Limits};

impl FhirRequest {
    /// The body as JSON, parsed when it is first asked for.
    ///
    /// # Errors
    /// 400 when it is not strict JSON.
    pub(super) fn json(&self) -> Result<&Json, Refusal> {
        match self.json.get() {
            Some(json) => Ok(json),
            None => strict(&self.inbound.body).map(|json| self.json.get_or_init(|| json)),
        }
    }

    /// The resource to be stored.
    ///
    /// # Errors
    /// 400 when the body is not strict JSON, no resource, of another type or with another id than the path names.
    pub(crate) fn resource(&self) -> Result<Json, Refusal> {
        let json = strict(&self.inbound.body)?;
        let (resource_type, id) = match &self.interaction {
            Interaction::Update { resource_type, id } => (*resource_type, Some(id)),
            Interaction::Create { resource_type } | Interaction::ConditionalUpdate { resource_type } => {
                (*resource_type, None)
            }
            _ => return Err(Refusal::bad_request("expected no resource with this interaction")),
        };
        is_what_the_path_names(&json, resource_type, id)?;
        Ok(json)
    }

    /// The patch document to be applied.
    ///
    /// # Errors
    /// 400 when the body is not strict JSON, or no JSON Patch (RFC 6902).
    pub(crate) fn patch(&self) -> Result<Json, Refusal> {
        let json = strict(&self.inbound.body)?;
        Patch::parse(json.root()).map_err(|problem| Refusal::bad_request(problem.to_string()))?;
        Ok(json)
    }
}

/// One strict pass over a body.
///
/// # Errors
/// 400 with the rule that is violated and where, never with a piece of the body.
pub(crate) fn strict(body: &Bytes) -> Result<Json, Refusal> {
    Json::parse(body.clone(), Limits::default()).map_err(|error| Refusal::bad_request(error.to_string()))
}

/// Whether the resource is of the type that the path names, and has its id.
///
/// # Errors
/// 400 when not.
pub(crate) fn is_what_the_path_names(
    json: &Json,
    resource_type: ResourceType,
    id: Option<&LogicalId>,
) -> Result<(), Refusal> {
    let facts = Facts::of(json.root()).map_err(|problem| Refusal::bad_request(problem.to_string()))?;
    if facts.resource_type() != resource_type {
        return Err(Refusal::bad_request(format!("expected `resourceType` to be `{resource_type}`, as in the path")));
    }
    if id.is_some_and(|id| facts.id() != Some(id.as_id())) {
        return Err(Refusal::bad_request("expected `id` in the body to be the one in the path"));
    }
    Ok(())
}
