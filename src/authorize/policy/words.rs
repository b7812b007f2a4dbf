//! Words that a policy compares the circumstances with, and that they never are. To Cedar they are texts like any other; a
//! `forbid` with a word that does not exist closes nothing, and its author would believe that it does.

use cedar_policy::Policy;
use serde_json::Value;

use super::never::members_of_conditions;
use crate::fhir::operation::{Operation, known};
use crate::smart::scope::Level;

/// Each word of the policy that `context.level` or `context.operation` never is, with what it may be. `listed`: the operations
/// of the site.
pub(super) fn never_words(policy: &Policy, listed: &[Operation]) -> Vec<String> {
    let Ok(whole) = policy.to_json() else { return vec!["cannot be looked at".to_owned()] };
    let compared =
        members_of_conditions(&whole).into_iter().filter(|(name, _)| matches!(*name, "==" | "!=" | "contains"));
    let sides = compared.filter_map(|(_, sides)| Some((sides.get("left")?, sides.get("right")?)));
    let found = sides.flat_map(|(left, right)| words(left, right).or_else(|| words(right, left)).unwrap_or_default());
    let is_operation = |word: &str| word.is_empty() || known().iter().chain(listed).any(|one| one.name == word);
    let mut problems: Vec<String> = found
        .filter_map(|(about, word)| match about {
            About::Level if Level::ALL.iter().any(|level| level.as_str() == word) => None,
            About::Level => {
                Some(format!("`context.level` is never {word:?}: write \"patient\", \"user\" or \"system\""))
            }
            About::Operation if is_operation(word) => None,
            About::Operation => Some(format!(
                "`context.operation` is never {word:?}: write the name of an operation that is served, without the `$`"
            )),
        })
        .collect();
    problems.sort_unstable();
    problems.dedup();
    problems
}

/// A circumstance with words of its own.
#[derive(Clone, Copy)]
enum About {
    Level,
    Operation,
}

/// The words on the side of `literal`, when the side of `attribute` is such a circumstance.
fn words<'v>(attribute: &Value, literal: &'v Value) -> Option<Vec<(About, &'v str)>> {
    let access = attribute.get(".")?;
    let of_context = access.get("left")?.get("Var")?.as_str()? == "context";
    let about = match access.get("attr")?.as_str()? {
        "level" if of_context => About::Level,
        "operation" if of_context => About::Operation,
        _ => return None,
    };
    let all = literal.get("Set").and_then(Value::as_array).map_or(std::slice::from_ref(literal), Vec::as_slice);
    Some(all.iter().filter_map(|one| Some((about, one.get("Value")?.as_str()?))).collect())
}
