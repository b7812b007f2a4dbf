//! Addresses of Binaries in a body. Whoever could write any of them into a resource could read any Binary by it, for a link in a
//! released resource gives what it names; so a grant that does not read every Binary writes only those that were there before, as far as it may
//! read that, and those whose `securityContext` is the resource itself or the patient in context.
//!
//! A link that the gateway put in the place of an address becomes the address again, when it was given to this principal for
//! this resource, however old it is: a resource can be stored as it was read, and a patch can put a link that was read. Promises: what is
//! absent and what is hidden give the same answer, after the same reads.

use super::super::binary::security_context;
use super::super::{Authorizer, Evidence, OpenPage, UpstreamRequest};
use super::lookups::not_permitted;
use crate::authenticate::Principal;
use crate::authorize::inquiry::unusable;
use crate::error::Refusal;
use crate::fhir::facts::Facts;
use crate::fhir::links::{self, Place};
use crate::fhir::reference::{Bases, LocalReference, LogicalId as Id, normalise};
use crate::fhir::resource_type::ResourceType;
use crate::json::patch::{Operation, Patch};
use crate::json::{Edits, Json, Limits, Value};

/// Binaries that are looked up for one body.
const MOST: usize = 50;

/// The Binaries whose addresses stand in a body.
#[derive(Debug, Default)]
pub(super) struct Attachments {
    /// Each with its address, relative to the base.
    binaries: Vec<(Id, String)>,
    /// The resource that is written, and the patient in context.
    vouching: Vec<(ResourceType, Id)>,
}

impl Attachments {
    /// For a resource that may be vouched for by these.
    pub(super) fn of(vouching: impl IntoIterator<Item = (ResourceType, Id)>) -> Self {
        Self { binaries: Vec::new(), vouching: vouching.into_iter().collect() }
    }

    /// One more address.
    ///
    /// # Errors
    /// When there are too many.
    pub(super) fn add(&mut self, local: &LocalReference<'_>) -> Result<(), Refusal> {
        let address = local.to_string();
        if self.binaries.iter().any(|(_, known)| *known == address) {
            return Ok(());
        }
        if self.binaries.len() == MOST {
            return Err(Refusal::bad_request(format!("expected addresses of at most {MOST} Binaries")));
        }
        self.binaries.push((local.id.to_logical_id(), address));
        Ok(())
    }

    /// Leaves those out that stand in `before`, which this grant may read.
    pub(super) fn leave(&mut self, before: &Json, bases: &Bases) {
        links::visit(before.root(), &mut |place, value| {
            let text = value.string().unwrap_or_default();
            if let Some(local) = normalise(&text, bases).filter(|_| place == Place::Address) {
                let address = local.to_string();
                self.binaries.retain(|(_, known)| *known != address);
            }
        });
    }

    /// The reads, one for each.
    pub(super) fn reads(&self) -> impl Iterator<Item = UpstreamRequest> {
        let resource_type = ResourceType::BINARY;
        self.binaries.iter().map(move |(id, _)| UpstreamRequest::Read { resource_type, id: id.clone() })
    }

    /// Whether each Binary that was read is vouched for; `evidence` is in the order of [`Attachments::reads`].
    ///
    /// # Errors
    /// A denial that does not say which, nor why.
    pub(super) fn judge(&self, evidence: &[Evidence], bases: &Bases) -> Result<(), Refusal> {
        let mut evidence = evidence.iter();
        for (id, _) in &self.binaries {
            let found = evidence.next().map(Evidence::json).transpose()?.flatten().ok_or_else(not_permitted)?;
            let facts = Facts::of(found.root()).map_err(|_| not_permitted())?;
            let is_it = facts.resource_type() == ResourceType::BINARY && facts.id() == Some(id.as_id());
            let context = security_context(&facts, bases).ok().flatten().filter(|_| is_it);
            if !context.is_some_and(|context| self.vouching.contains(&context)) {
                return Err(not_permitted());
            }
        }
        Ok(())
    }
}

/// A text in which sealed links become addresses again.
struct Unsealed<'j> {
    /// The resource that the links must have been given for.
    own: Option<(ResourceType, Id)>,
    principal: &'j Principal,
    edits: Edits<'j>,
    problem: Option<Refusal>,
}

impl Unsealed<'_> {
    /// The text, when it is another one.
    fn text(self) -> Result<Option<Json>, Refusal> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        if self.edits.is_empty() {
            return Ok(None);
        }
        let text = self.edits.apply().map_err(|_| unusable("edits contradict each other"))?;
        Json::parse(text, Limits::default()).map(Some).map_err(|_| unusable("edits broke the json"))
    }
}

impl Authorizer {
    /// The body with the addresses that its sealed links stand for.
    ///
    /// # Errors
    /// A denial when a link was not given to this principal for this resource.
    pub(super) fn with_addresses(
        &self,
        body: Json,
        resource_type: ResourceType,
        principal: &Principal,
        pages: &impl OpenPage,
    ) -> Result<Json, Refusal> {
        let own = body.root().text("id").and_then(|id| Id::parse(&id)).map(|id| (resource_type, id));
        let mut unsealed = Unsealed { own, principal, edits: Edits::new(&body), problem: None };
        links::visit(body.root(), &mut |place, value| self.unseal(&mut unsealed, pages, place, value));
        match unsealed.text()? {
            None => Ok(body),
            Some(json) => Ok(json),
        }
    }

    /// The same for a patch of the resource of this id: what it puts anywhere, or asks for, is as in a body.
    ///
    /// # Errors
    /// A denial when a link was not given to this principal for this resource.
    pub(super) fn with_addresses_in_patch(
        &self,
        patch: Json,
        own: Option<(ResourceType, Id)>,
        principal: &Principal,
        pages: &impl OpenPage,
    ) -> Result<Json, Refusal> {
        let mut unsealed = Unsealed { own, principal, edits: Edits::new(&patch), problem: None };
        // What is no patch is refused where it is applied.
        let parsed = Patch::parse(patch.root());
        for operation in parsed.iter().flat_map(Patch::operations) {
            let (Operation::Add { path, value } | Operation::Replace { path, value } | Operation::Test { path, value }) =
                operation
            else {
                continue;
            };
            links::visit_at(path.tokens(), *value, &mut |place, value| {
                self.unseal(&mut unsealed, pages, place, value);
            });
        }
        match unsealed.text()? {
            None => Ok(patch),
            Some(json) => Ok(json),
        }
    }

    fn unseal<'j>(&self, unsealed: &mut Unsealed<'j>, pages: &impl OpenPage, place: Place, value: Value<'j>) {
        let text = value.string().unwrap_or_default();
        let Some((id, seal)) = self.sealed(&text).filter(|_| place == Place::Address) else { return };
        let opened = pages.open_attachment(seal, unsealed.principal, &id).ok();
        if opened.is_some_and(|link| Some(&link.parent) == unsealed.own.as_ref()) {
            unsealed.edits.replace_string(value, &format!("Binary/{id}"));
        } else {
            unsealed.problem = Some(not_permitted());
        }
    }

    /// The Binary and the seal of a link of ours.
    fn sealed<'t>(&self, text: &'t str) -> Option<(Id, &'t str)> {
        let below = self.bases.strip(text).unwrap_or(text);
        let (id, seal) = below.strip_prefix("Binary/")?.split_once("?gw=")?;
        Some((Id::parse(id)?, seal))
    }
}
