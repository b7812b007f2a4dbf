//! What is there, before it is changed: whether it is within reach, and which version it is.

use super::super::inquiry::unusable;
use super::super::{Authorizer, Evidence, Within};
use super::body::{self, Prepared};
use super::compose::{self, version_unknown};
use super::lookups::not_permitted;
use super::{Change, Step, Verb, after_lookups};
use crate::error::{ChangeProblem, Refusal};
use crate::fhir::etag::EntityTag;
use crate::fhir::facts::Facts;
use crate::fhir::interaction::Interaction;
use crate::fhir::links;
use crate::fhir::reference::LogicalId as Id;
use crate::fhir::resource_type::ResourceType;
use crate::json::patch::{Patch, same};
use crate::json::{Edits, Json, Limits};

/// What a patch makes of a resource may have so many bytes.
const LONGEST: usize = 16 * 1024 * 1024;

/// A resource that may be changed, and the version it is.
pub(super) struct Found {
    pub(super) json: Json,
    pub(super) version: EntityTag,
}

impl Authorizer {
    /// Goes on when the current version came, the first piece of `evidence`.
    pub(super) fn judge_current(
        &self,
        change: Change,
        prepared: Option<(Prepared, Prepared)>,
        evidence: &[Evidence],
    ) -> Result<Step, Refusal> {
        let (current, others) = evidence.split_first().ok_or_else(|| unusable("no evidence"))?;
        let id = match &change.request.interaction {
            Interaction::Update { id, .. } | Interaction::Patch { id, .. } | Interaction::Delete { id, .. } => {
                id.clone()
            }
            _ => return Err(unusable("a change without an id")),
        };
        let Some(json) = current.json()? else {
            // Nobody vouches for what a grant without restriction would store.
            let bare = change.is_restricted() || prepared.is_none_or(|(_, binaries)| binaries.is_settled());
            return if bare { self.nothing_there(&change, &id) } else { Err(not_permitted()) };
        };
        self.is_it(&change, &json, &id)?;
        if change.request.conditions.if_none_match {
            return Err(Refusal::Change(ChangeProblem::PreconditionFailed));
        }
        let version = version(&json, current.etag.as_deref())?;
        let found = Found { version: change.meant(version)?, json };
        match prepared {
            None => self.change_found(change, id, found),
            Some((prepared, binaries)) => {
                let after = change.body()?;
                let mut places = vec![Within::Everything];
                if change.is_restricted() {
                    places = self.may_become(&change, &found.json, after)?;
                }
                let place = prepared.judge(others, &self.bases, |within| places.contains(within))?;
                let ready = self.write(&change, Verb::Update, Some(&id), after, Some(found.version))?;
                let ready = ready.about(self.patients(&found.json)?);
                let binaries = binaries.only(|within| *within == place)?.after(&change, &found.json, &self.bases);
                Ok(after_lookups(change, binaries, ready))
            }
        }
    }

    /// Patches or deletes what was found.
    pub(super) fn change_found(&self, change: Change, id: Id, found: Found) -> Result<Step, Refusal> {
        let before = self.patients(&found.json)?;
        if matches!(change.request.interaction, Interaction::Delete { .. } | Interaction::ConditionalDelete { .. }) {
            let ready = compose::delete(&change, id, Some(found.version), before);
            return Ok(Step::Ready(Box::new(ready)));
        }
        self.may_keep(&change, &found.json)?;
        let after = patched(&change, &found.json)?;
        let mut prepared = self.prepare(change.terms(), &after, Some(&id))?;
        if change.is_restricted() {
            let places = self.may_become(&change, &found.json, &after)?;
            prepared = prepared.only(|within| places.contains(within))?;
        }
        let prepared = prepared.after(&change, &found.json, &self.bases);
        let ready = self.write(&change, Verb::Update, Some(&id), &after, Some(found.version))?;
        Ok(after_lookups(change, prepared, ready.about(before)))
    }

    /// Whether a patch may keep what it does not name of what is there: only of what may be read, or it could be moved to where it
    /// may.
    fn may_keep(&self, change: &Change, before: &Json) -> Result<(), Refusal> {
        let facts = Facts::of(before.root()).map_err(|_| unusable("not a resource"))?;
        let readable = change.readable.as_ref().is_some_and(|readable| readable.admits(&facts, &self.bases).is_some());
        if readable { Ok(()) } else { Err(change.unreadable("a patch of what is there")) }
    }

    /// Nothing is there: an update may bring it into being where the grant is not restricted, if it is said that there must
    /// be nothing.
    fn nothing_there(&self, change: &Change, id: &Id) -> Result<Step, Refusal> {
        if change.is_restricted() || !change.request.conditions.if_none_match {
            return Err(Refusal::NotFound);
        }
        let ready = self.write(change, Verb::Update, Some(id), change.body()?, None)?;
        Ok(Step::Ready(Box::new(ready.with(|write| write.if_none_match = true))))
    }

    /// Whether it is what was asked for, and may be changed. What is not within reach is as good as absent, and so is what is of
    /// another's record, but for who may read it.
    fn is_it(&self, change: &Change, json: &Json, id: &Id) -> Result<(), Refusal> {
        let facts = Facts::of(json.root()).map_err(|_| unusable("not a resource"))?;
        let of_type = facts.resource_type() == change.resource_type;
        if of_type && change.reach.admits(&facts, &self.bases).is_none() {
            return Err(Refusal::NotFound);
        }
        if !of_type || facts.id() != Some(id.as_id()) {
            return Err(unusable("another resource than was asked for"));
        }
        if change.reach.allowances().iter().any(|allowance| self.may_change(allowance, &facts)) {
            return Ok(());
        }
        let readable = change.readable.as_ref().is_some_and(|readable| readable.admits(&facts, &self.bases).is_some());
        Err(if readable { body::outside() } else { Refusal::NotFound })
    }

    /// Whether what is there may become what would be there, as far as that takes both; gives where what is there lies, which it
    /// must not leave.
    fn may_become(&self, change: &Change, before: &Json, after: &Json) -> Result<Vec<Within>, Refusal> {
        let facts = Facts::of(before.root()).map_err(|_| unusable("not a resource"))?;
        let here = change.reach.allowances().iter().filter(|allowance| self.may_change(allowance, &facts));
        let places: Vec<Within> = here.map(|allowance| allowance.within.clone()).collect();
        body::same_labels(before, after)?;
        if facts.resource_type() == ResourceType::PATIENT {
            let (before, after) = (self.relative(before)?, self.relative(after)?);
            let unchanged = match (before.root().member("link"), after.root().member("link")) {
                (None, None) => true,
                (Some(one), Some(other)) => same(one, other),
                (Some(_), None) | (None, Some(_)) => false,
            };
            if !unchanged {
                return Err(body::outside());
            }
        }
        Ok(places)
    }

    fn relative(&self, json: &Json) -> Result<Json, Refusal> {
        let mut edits = Edits::new(json);
        links::relative(json.root(), &self.bases, &mut edits);
        let text = edits.apply().map_err(|_| unusable("edits contradict each other"))?;
        Json::parse(text, Limits::default()).map_err(|_| unusable("edits broke the json"))
    }

    pub(super) fn patients(&self, json: &Json) -> Result<Vec<String>, Refusal> {
        let facts = Facts::of(json.root()).map_err(|_| unusable("not a resource"))?;
        Ok(facts.patients(&self.bases).iter().map(ToString::to_string).collect())
    }
}

impl Change {
    /// The version that was found, when the client means it too.
    pub(super) fn meant(&self, version: Option<EntityTag>) -> Result<EntityTag, Refusal> {
        let version = version.ok_or_else(version_unknown)?;
        match &self.request.conditions.if_match {
            Some(meant) if !meant.names(&version) => Err(Refusal::Change(ChangeProblem::PreconditionFailed)),
            Some(_) | None => Ok(version),
        }
    }
}

/// The version, as the upstream tells it: two that differ are none.
pub(super) fn version(json: &Json, etag: Option<&str>) -> Result<Option<EntityTag>, Refusal> {
    let facts = Facts::of(json.root()).map_err(|_| unusable("not a resource"))?;
    let in_body = facts.version_id().and_then(|version| EntityTag::of_version(version.as_str()));
    match (etag.and_then(EntityTag::parse), in_body) {
        (Some(tag), Some(in_body)) if !tag.names(&in_body) => Err(unusable("two versions at once")),
        (Some(tag), _) => Ok(Some(tag)),
        (None, in_body) => Ok(in_body),
    }
}

/// What the patch makes of `before`: the same resource, by type and id.
fn patched(change: &Change, before: &Json) -> Result<Json, Refusal> {
    let document = change.body()?;
    let patch = Patch::parse(document.root()).map_err(|problem| Refusal::bad_request(problem.to_string()))?;
    let inapplicable = |problem| Refusal::Change(ChangeProblem::PatchInapplicable(problem));
    let text = patch.apply(before, LONGEST).map_err(inapplicable)?;
    let after = Json::parse(text, Limits::default()).map_err(|error| Refusal::bad_request(error.to_string()))?;
    let same = {
        let before = Facts::of(before.root()).map_err(|_| unusable("not a resource"))?;
        let after = Facts::of(after.root()).map_err(|problem| Refusal::bad_request(problem.to_string()))?;
        before.resource_type() == after.resource_type() && before.id() == after.id()
    };
    if same { Ok(after) } else { Err(Refusal::bad_request("expected a patch to leave `resourceType` and `id` alone")) }
}
