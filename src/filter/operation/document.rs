//! A document (R4 documents.html): a Bundle whose first entry is a Composition. It is given whole or not at all, for without one of
//! its resources it would be another document.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::HeaderMap;

use super::super::{Filter, Releasable, Told, strict, unusable};
use crate::authorize::{Denial, DenialReason, Obligations};
use crate::error::Refusal;
use crate::fhir::facts::Facts;
use crate::fhir::reference::LogicalId;
use crate::fhir::resource_type::ResourceType;
use crate::json::{Edits, Value};

/// The members of a document that leave.
const MEMBERS: [&[u8]; 7] = [b"resourceType", b"id", b"meta", b"identifier", b"type", b"timestamp", b"entry"];

impl Filter {
    /// Reviews a document. One that lacks its Composition, or whose Composition is hidden, is absent.
    pub(super) fn release_document(
        &self,
        body: Bytes,
        obligations: &Obligations,
        composition: Option<&LogicalId>,
    ) -> Result<Releasable, Refusal> {
        let json = strict(body)?;
        let bundle = json.root();
        let is = |name: &str, text: &str| bundle.member(name).is_some_and(|value| value.is(text));
        if !is("resourceType", "Bundle") || !is("type", "document") {
            return Err(unusable("not_the_bundle"));
        }
        let mut told = Told { patients: BTreeSet::new(), ..Told::default() };
        let mut edits = Edits::new(&json);
        let mut outside = false;
        let mut any = false;
        for entry in bundle.member("entry").into_iter().flat_map(Value::elements) {
            let resource = entry.member("resource").ok_or_else(|| unusable("an entry without a resource"))?;
            let facts = Facts::of(resource).map_err(|_| unusable("not a resource"))?;
            let admitted = self.within(&facts, obligations).is_some();
            if !any {
                let asked = composition.is_none_or(|id| facts.id() == Some(id.as_id()));
                if facts.resource_type() != ResourceType::COMPOSITION {
                    return Err(unusable("a document without a Composition"));
                }
                if !admitted {
                    return Err(Refusal::NotFound);
                }
                if !asked {
                    return Err(unusable("another resource than was asked for"));
                }
            }
            any = true;
            outside |= !admitted;
            self.tell(&mut told, &facts, obligations);
            self.shape(&facts, obligations, &mut edits);
            if let Some(full_url) = entry.member("fullUrl")
                && let Some(ours) = full_url.string().and_then(|url| self.rebase.outward(&url))
            {
                edits.replace_string(full_url, &ours);
            }
            edits.retain_members(entry, |member| member.key.is("resource") || member.key.is("fullUrl"));
        }
        if !any {
            return Err(unusable("a document without a Composition"));
        }
        if outside {
            return Err(Refusal::Denied(Denial {
                reason: DenialReason::DocumentOutsideGrant,
                diagnostics: "the document has a part that this grant does not reach, and is given whole or not at all"
                    .to_owned(),
                missing_scope: None,
                policies: Vec::new(),
            }));
        }
        edits.retain_members(bundle, |member| MEMBERS.contains(&&*member.name_bytes()));
        let body = edits.apply().map_err(|_| unusable("edits contradict each other"))?;
        Ok(Releasable::new(HeaderMap::new(), body.into(), obligations, told))
    }
}
