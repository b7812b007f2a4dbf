//! Site policies: may this principal do this at all, whatever its scopes say? Written in Cedar, answered by role, client, type
//! and interaction.
//!
//! Takes a [`Question`], gives a [`Verdict`]. It promises: what no policy permits is denied, a `forbid` wins, and a policy that
//! fails to evaluate denies. Policies are validated when they are loaded, against the schema that `schema` prints; they are
//! sliced by (action, type), so that a question is put only to those that can have a say; and a verdict is remembered by all
//! that a policy can read. A [`Policies`] never changes: a reload makes a new one with an empty memory. It does not know
//! scopes, and no policy sees the content of a resource.

mod load;
mod never;
mod schema;
mod slice;
mod words;

use std::collections::{BTreeSet, HashSet};
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use cedar_policy::{
    Authorizer as Cedar, Context, Decision, Entities, Entity, EntityUid, Request, RestrictedExpression, Schema,
};
use moka::Equivalent;
use moka::sync::Cache;

pub use load::PolicyError;
pub(crate) use schema::Action;
pub use schema::schema_text;

use crate::fhir::operation::Operation;
use crate::fhir::resource_type::ResourceType;
use crate::smart::scope::Level;
use slice::Slices;

/// Verdicts that are remembered at most.
const REMEMBERED: u64 = 10_000;

/// What is asked: everything that a policy can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question<'a> {
    /// Who: a user, or under `system/` scopes the client itself.
    pub(crate) asker: Asker<'a>,
    /// The app.
    pub(crate) client_id: &'a str,
    /// What is done.
    pub(crate) action: Action,
    /// To which type.
    pub(crate) resource_type: ResourceType,
    /// The scope's level.
    pub(crate) level: Level,
    /// Whether the request is confined to one patient.
    pub(crate) compartment: bool,
    /// Whether a grant for one patient reads by id what patient data refer to.
    pub(crate) referenced: bool,
    /// Whether the user's own entry is read.
    pub(crate) fhir_user: bool,
    /// The name of the operation that asks, without the `$`.
    pub(crate) operation: Option<&'a str>,
}

/// The principal of a question, with the roles it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Asker<'a> {
    User(&'a [String]),
    Client(&'a [String]),
}

/// What the policies say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Permitted by these.
    Permit(Arc<[String]>),
    /// No policy permits it, or these forbid it.
    Deny(Arc<[String]>),
    /// A policy failed to evaluate, or the question could not be put.
    Error,
}

impl Verdict {
    /// No policy permits it, and none forbids it.
    fn denied() -> Self {
        Self::Deny(Arc::default())
    }
}

/// The policies of one load.
#[derive(Debug)]
pub(crate) struct Policies {
    roles: BTreeSet<String>,
    schema: Schema,
    slices: Slices,
    verdicts: Cache<Key, Arc<Verdict>>,
}

impl Policies {
    /// The shipped policies, with those of `directory`, which may speak of the listed `operations`, too.
    ///
    /// # Errors
    /// Every mistake, with its file.
    pub(crate) fn load(directory: Option<&Path>, operations: &[Operation]) -> Result<Self, Vec<PolicyError>> {
        let (schema, set) = load::load(directory, operations)?;
        Ok(Self { roles: load::roles(&set), slices: Slices::cut(&set), schema, verdicts: Cache::new(REMEMBERED) })
    }

    /// The roles that the policies speak of.
    pub(crate) fn roles(&self) -> &BTreeSet<String> {
        &self.roles
    }

    /// The verdict, from memory or fresh.
    pub(crate) fn judge(&self, question: &Question<'_>) -> Arc<Verdict> {
        if let Some(verdict) = self.verdicts.get(question) {
            return verdict;
        }
        let slice = self.slices.of(question.action, question.resource_type);
        let verdict = Arc::new(slice.map_or_else(Verdict::denied, |slice| evaluate(question, slice, &self.schema)));
        self.verdicts.insert(Key::from(question), Arc::clone(&verdict));
        verdict
    }
}

/// Puts one question to one set of policies.
fn evaluate(question: &Question<'_>, set: &cedar_policy::PolicySet, schema: &Schema) -> Verdict {
    let Some((request, entities)) = compose(question, schema) else { return Verdict::Error };
    let response = Cedar::new().is_authorized(&request, set, &entities);
    if response.diagnostics().errors().next().is_some() {
        return Verdict::Error;
    }
    let mut policies: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
    policies.sort_unstable();
    match response.decision() {
        Decision::Allow => Verdict::Permit(policies.into()),
        Decision::Deny => Verdict::Deny(policies.into()),
    }
}

fn compose(question: &Question<'_>, schema: &Schema) -> Option<(Request, Entities)> {
    let (principal, roles) = match question.asker {
        // Policies cannot tell one user from another (`load` refuses those that try), so verdicts can be shared.
        Asker::User(roles) => (schema::uid("User", "user")?, roles),
        Asker::Client(roles) => (schema::uid("Client", question.client_id)?, roles),
    };
    let roles: HashSet<EntityUid> = roles.iter().map(|role| schema::uid("Role", role)).collect::<Option<_>>()?;
    let resource = schema::resource(question.resource_type)?;
    let parents = schema::parents(question.resource_type)?;
    let entities: Vec<Entity> = (roles.iter().chain(&parents).cloned().map(Entity::with_uid))
        .chain([
            Entity::new_no_attrs(principal.clone(), roles.clone()),
            Entity::new_no_attrs(resource.clone(), parents.iter().cloned().collect()),
        ])
        .collect();
    let client = schema::uid("Client", question.client_id)?;
    let context = Context::from_pairs([
        ("client".to_owned(), RestrictedExpression::new_entity_uid(client)),
        ("level".to_owned(), RestrictedExpression::new_string(question.level.as_str().to_owned())),
        ("compartment".to_owned(), RestrictedExpression::new_bool(question.compartment)),
        ("referenced".to_owned(), RestrictedExpression::new_bool(question.referenced)),
        ("fhir_user".to_owned(), RestrictedExpression::new_bool(question.fhir_user)),
        ("operation".to_owned(), RestrictedExpression::new_string(question.operation.unwrap_or_default().to_owned())),
    ]);
    let action = schema::uid("Action", question.action.name())?;
    let request = Request::new(principal, action, resource, context.ok()?, Some(schema)).ok()?;
    Some((request, Entities::from_entities(entities, None).ok()?))
}

/// Whether a user asks, in which roles, through which client, by which operation, and the rest.
type Parts<'a> = (bool, &'a [String], &'a str, Option<&'a str>, Rest);

/// Action, type, level, and whether: compartment, referenced, own entry.
type Rest = (Action, ResourceType, Level, [bool; 3]);

/// A [`Question`] that owns its text.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    is_user: bool,
    roles: Box<[String]>,
    client_id: Box<str>,
    operation: Option<Box<str>>,
    rest: Rest,
}

impl Question<'_> {
    fn parts(&self) -> Parts<'_> {
        let (is_user, roles) = match self.asker {
            Asker::User(roles) => (true, roles),
            Asker::Client(roles) => (false, roles),
        };
        let flags = [self.compartment, self.referenced, self.fhir_user];
        let rest = (self.action, self.resource_type, self.level, flags);
        (is_user, roles, self.client_id, self.operation, rest)
    }
}

impl Key {
    fn parts(&self) -> Parts<'_> {
        (self.is_user, &self.roles, &self.client_id, self.operation.as_deref(), self.rest)
    }
}

impl From<&Question<'_>> for Key {
    fn from(question: &Question<'_>) -> Self {
        let (is_user, roles, client_id, operation, rest) = question.parts();
        Self { is_user, roles: roles.into(), client_id: client_id.into(), operation: operation.map(Into::into), rest }
    }
}

impl Hash for Question<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl Equivalent<Key> for Question<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.parts() == key.parts()
    }
}

#[cfg(test)]
mod tests;
