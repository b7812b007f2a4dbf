//! A Binary by its id (R4 binary.html): it belongs to nobody by itself, so something else must say who may read it.
//!
//! Takes a request for one Binary; gives a permit when the resource that refers to it, by whose sealed link it is asked for, is
//! within reach and still refers to it; or when its `securityContext` is; or when a scope has every Binary and it has no security
//! context that says otherwise. A security context counts in any case: one that is out of reach hides the Binary. Promises: both are
//! read as evidence, and the Binary that is released is of the security context that was judged. Whatever of this does not
//! hold is answered like absence. Who reads every resource of every type needs none of it.
//!
//! For a link the letter r on the type that refers to the Binary is what counts; without a link a scope must have r on Binary.

use std::fmt;
use std::sync::Arc;

use super::asked::{Asked, serves};
use super::change::Ready;
use super::decide::{Authorizer, decided};
use super::denial::deny;
use super::inquiry::{Inquiry, Pending, unusable};
use super::policy::Action;
use super::reach::{Allowance, Within};
use super::{Decision, Denial, DenialReason, Evidence, Obligations, OpenPage, Reach, UpstreamRequest};
use crate::authenticate::Principal;
use crate::canonicalise::FhirRequest;
use crate::error::{Malformed, MalformedKind, Refusal};
use crate::fhir::facts::Facts;
use crate::fhir::links::{self, Place};
use crate::fhir::reference::{Bases, LogicalId as Id, normalise};
use crate::fhir::resource_type::ResourceType;
use crate::json::Json;
use crate::smart::scope::Letter;

/// A resource of this server, by type and id.
pub(super) type Named = (ResourceType, Id);

/// What the seal of a link to a Binary says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The resource that refers to the Binary.
    pub parent: (ResourceType, Id),
    /// Whether the link is past its validity.
    pub past: bool,
}

/// Why one Binary may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    id: Id,
    /// The security context it was judged with.
    context: Option<Named>,
    /// The resource that refers to it, where a link named one.
    parent: Option<Named>,
    /// Whose data it is, for the record.
    patients: Vec<Id>,
}

impl Access {
    /// Whether it is this Binary, with the security context that was judged.
    pub(super) fn admits(&self, facts: &Facts<'_>, bases: &Bases) -> bool {
        facts.resource_type() == ResourceType::BINARY
            && facts.id() == Some(self.id.as_id())
            && security_context(facts, bases).is_ok_and(|context| context == self.context)
    }

    /// Whose data it is.
    pub(crate) fn patients(&self) -> &[Id] {
        &self.patients
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Binary/{}", self.id)?;
        match (&self.parent, &self.context) {
            (Some((resource_type, id)), _) => write!(f, ", to which {resource_type}/{id} refers")?,
            (None, None) => f.write_str(", which has no security context")?,
            (None, Some(_)) => {}
        }
        match &self.context {
            Some((resource_type, id)) => write!(f, ", in the security context of {resource_type}/{id}"),
            None => Ok(()),
        }
    }
}

/// A request for one Binary that waits for what says who may read it.
#[derive(Debug)]
pub(super) struct Attached {
    request: FhirRequest,
    principal: Arc<Principal>,
    id: Id,
    by: By,
    /// The Binary was found; its security context is still to be read.
    found: Option<(Reach, Access)>,
}

/// What should let it be read.
#[derive(Debug)]
enum By {
    /// The resource that refers to it, which must be within this reach.
    Parent(Named, Reach),
    /// Its security context alone.
    Context,
    /// A scope on Binary itself.
    Scope(Reach),
}

/// What the evidence comes to.
enum Found {
    Granted(Access, Arc<[String]>),
    /// This must be read, and be within the reach.
    Context(Reach, Access),
}

impl Authorizer {
    /// Decides about the read of one Binary.
    pub(super) fn decide_binary(
        &self,
        id: &Id,
        request: FhirRequest,
        principal: Arc<Principal>,
        pages: &impl OpenPage,
    ) -> Decision {
        let by = match self.by(id, &request, &principal, pages) {
            Ok(by) => by,
            Err(refusal) => return decided(Err(refusal)),
        };
        if matches!(by, By::Scope(_)) && self.reads_everything(&principal) {
            return decided(self.judge(request, principal, pages));
        }
        let mut reads = Vec::new();
        if let By::Parent((resource_type, parent), _) = &by {
            reads.push(UpstreamRequest::Read { resource_type: *resource_type, id: parent.clone() });
        }
        reads.push(UpstreamRequest::Read { resource_type: ResourceType::BINARY, id: id.clone() });
        inquire(reads, Attached { request, principal, id: id.clone(), by, found: None }, 0)
    }

    fn by(&self, id: &Id, request: &FhirRequest, principal: &Principal, pages: &impl OpenPage) -> Result<By, Refusal> {
        if let Some(seal) = &request.page {
            let Attachment { parent, past } = pages.open_attachment(seal, principal, id)?;
            if past {
                let expected = "this link is past its validity; read again what refers to it".to_owned();
                return Err(Refusal::Malformed(Malformed { kind: MalformedKind::Gone, expected }));
            }
            let reach = self.giving(&parent, principal).map_err(Refusal::Denied)?;
            return Ok(By::Parent(parent, reach));
        }
        let asked = Asked::of(&request.interaction).map_err(Refusal::Denied)?;
        match self.reach(&asked, principal) {
            Ok(reach) => Ok(By::Scope(reach)),
            // A scope has it, for one patient: to nobody's compartment it belongs by itself.
            Err(denial) if denial.reason == DenialReason::TypeNotServed => Ok(By::Context),
            Err(denial) => Err(Refusal::Denied(denial)),
        }
    }

    /// What may be read of the type of this resource.
    fn giving(&self, (resource_type, id): &Named, principal: &Principal) -> Result<Reach, Denial> {
        let resource_type = *resource_type;
        let asked = Asked { id: Some(id), ..Asked::new(Action::Read, Letter::Read, resource_type) };
        let reach = self.reach(&asked, principal)?;
        // By what it is about, nobody looks here.
        let by_targets = resource_type == ResourceType::PROVENANCE && !reach.is_unrestricted();
        if by_targets || !serves(resource_type, false) {
            let diagnostics = format!("{resource_type} gives nobody a Binary");
            return Err(deny(DenialReason::TypeNotServed, diagnostics));
        }
        Ok(reach)
    }

    /// Whether every resource of every type that is served may be read.
    pub(super) fn reads_everything(&self, principal: &Principal) -> bool {
        ResourceType::all().filter(|one| serves(*one, false)).all(|resource_type| {
            let asked = Asked::new(Action::Read, Letter::Read, resource_type);
            self.reach(&asked, principal).is_ok_and(|reach| reach.is_unrestricted())
        })
    }

    /// Whether something else is asked of Binary than to read one by its id or to create one, and security contexts could hide
    /// some of it. A search and a history are judged by what is in them, not by what that refers to; a patch keeps what it does
    /// not name, so its outcome is what is there; an operation on a Binary tells of it; and what is hidden is not written over
    /// or taken away either: a Binary is to its security context as a part of it (R4 binary.html#security-context).
    pub(super) fn needs_contexts(&self, asked: &Asked<'_>, principal: &Principal) -> Option<Denial> {
        let touches = match asked.action {
            Action::Read => asked.operation.is_some(),
            action => action != Action::Create,
        };
        let hidden = asked.resource_type == ResourceType::BINARY && touches && !self.reads_everything(principal);
        hidden.then(|| {
            let diagnostics = "Binary is read by its id; its versions and searches, changes of one that is there and operations on it \
                               are served to grants that read everything";
            deny(DenialReason::TypeNotServed, diagnostics)
        })
    }

    /// Goes on with what was read.
    pub(super) fn go_on_attached(&self, attached: Attached, evidence: &[Evidence], round: u8) -> Decision {
        let Attached { request, principal, id, by, found } = attached;
        let next = match found {
            None => self.binary_found(&id, &by, &principal, evidence),
            Some((reach, access)) => self.in_context(&reach, access, evidence),
        };
        match next {
            Ok(Found::Granted(access, policies)) => {
                decided(granted(request, principal, access, policies).ok_or(Refusal::NotFound))
            }
            Ok(Found::Context(reach, access)) => {
                let Some((resource_type, context)) = access.context.clone() else {
                    return decided(Err(Refusal::NotFound));
                };
                let read = UpstreamRequest::Read { resource_type, id: context };
                inquire(vec![read], Attached { request, principal, id, by, found: Some((reach, access)) }, round)
            }
            Err(refusal) => decided(Err(refusal)),
        }
    }

    /// Judges what refers to the Binary, and the Binary as far as it tells by itself.
    fn binary_found(&self, id: &Id, by: &By, principal: &Principal, evidence: &[Evidence]) -> Result<Found, Refusal> {
        let (binary, others) = evidence.split_last().ok_or_else(|| unusable("no evidence"))?;
        let (mut patients, mut policies) = (Vec::new(), Arc::default());
        if let By::Parent(parent, reach) = by {
            let json = others.first().ok_or_else(|| unusable("no evidence"))?.json()?.ok_or(Refusal::NotFound)?;
            (patients, policies) = self.vouches(&json, parent, reach)?;
            if !self.refers_to(&json, id) {
                return Err(Refusal::NotFound);
            }
        }
        let json = binary.json()?.ok_or(Refusal::NotFound)?;
        let facts = Facts::of(json.root()).map_err(|_| unusable("not a resource"))?;
        if facts.resource_type() != ResourceType::BINARY || facts.id() != Some(id.as_id()) {
            return Err(Refusal::NotFound);
        }
        let context = security_context(&facts, &self.bases).map_err(|()| Refusal::NotFound)?;
        if let By::Scope(reach) = by {
            policies = reach.admits(&facts, &self.bases).map(|it| Arc::clone(&it.policies)).ok_or(Refusal::NotFound)?;
        }
        let parent = match by {
            By::Parent(parent, _) => Some(parent.clone()),
            By::Context | By::Scope(_) => None,
        };
        let access = Access { id: id.clone(), context, parent, patients };
        let Some(context) = &access.context else {
            return match by {
                By::Parent(..) | By::Scope(_) => Ok(Found::Granted(access, policies)),
                By::Context => Err(Refusal::NotFound),
            };
        };
        if access.parent.as_ref() == Some(context) {
            return Ok(Found::Granted(access, policies));
        }
        let reach = self.giving(context, principal).map_err(|_| Refusal::NotFound)?;
        // What anybody's data refer to says nothing of whose data it is.
        let reach = match by {
            By::Context => reach.only(|allowance| allowance.within != Within::ReferenceType),
            By::Parent(..) | By::Scope(_) => Some(reach),
        };
        Ok(Found::Context(reach.ok_or(Refusal::NotFound)?, access))
    }

    /// Judges the security context.
    fn in_context(&self, reach: &Reach, access: Access, evidence: &[Evidence]) -> Result<Found, Refusal> {
        let context = access.context.as_ref().ok_or(Refusal::NotFound)?;
        let json = evidence.first().ok_or_else(|| unusable("no evidence"))?.json()?.ok_or(Refusal::NotFound)?;
        let (patients, policies) = self.vouches(&json, context, reach)?;
        let mut access = access;
        access.patients.extend(patients);
        access.patients.sort_unstable();
        access.patients.dedup();
        Ok(Found::Granted(access, policies))
    }

    /// Whether it is the resource that was asked for and within reach; whose it is, and which policies permit it.
    fn vouches(&self, json: &Json, named: &Named, reach: &Reach) -> Result<(Vec<Id>, Arc<[String]>), Refusal> {
        let facts = Facts::of(json.root()).map_err(|_| unusable("not a resource"))?;
        let allowance = reach.admits(&facts, &self.bases).ok_or(Refusal::NotFound)?;
        if facts.id() != Some(named.1.as_id()) {
            return Err(Refusal::NotFound);
        }
        let patients = match &allowance.within {
            Within::Compartment(patient) => vec![patient.clone()],
            _ => facts.patients(&self.bases),
        };
        Ok((patients, Arc::clone(&allowance.policies)))
    }

    fn refers_to(&self, json: &Json, id: &Id) -> bool {
        let mut refers = false;
        links::visit(json.root(), &mut |place, value| {
            let text = value.string().unwrap_or_default();
            let local = normalise(&text, &self.bases).filter(|local| local.version.is_none());
            refers |=
                place == Place::Address && local.is_some_and(|local| local.names(ResourceType::BINARY, id.as_id()));
        });
        refers
    }
}

/// `Binary.securityContext`, when it names a resource of this server.
///
/// # Errors
/// When it names something else: then nobody can say who may read the Binary.
pub(super) fn security_context(facts: &Facts<'_>, bases: &Bases) -> Result<Option<Named>, ()> {
    let Some(context) = facts.resource().member("securityContext") else { return Ok(None) };
    let text = context.text("reference").ok_or(())?;
    let local = normalise(&text, bases).ok_or(())?;
    Ok(Some((local.resource_type, local.id.to_logical_id())))
}

fn granted(request: FhirRequest, principal: Arc<Principal>, access: Access, policies: Arc<[String]>) -> Option<Ready> {
    let resource_type = ResourceType::BINARY;
    let id = access.id.clone();
    let allowance = Allowance { within: Within::Attached(Box::new(access)), conditions: Arc::default(), policies };
    let reach = Reach::new(resource_type, vec![allowance])?;
    let obligations = Obligations::of(request, reach, principal);
    Some(Ready { upstream: UpstreamRequest::Read { resource_type, id }, obligations })
}

fn inquire(reads: Vec<UpstreamRequest>, attached: Attached, round: u8) -> Decision {
    match Inquiry::new(reads, Pending::Attached(Box::new(attached)), round) {
        Ok(inquiry) => Decision::Inquire(inquiry),
        Err(refusal) => Decision::Refuse(refusal),
    }
}
