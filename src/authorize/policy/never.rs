//! What of a policy can never hold. Cedar takes a policy that never applies with a warning, and without one a comparison that is
//! never true; its author would believe that it holds.
//!
//! The validator itself is asked, about each part of the scope and each comparison of the conditions alone.

use cedar_policy::{Policy, PolicyId, PolicySet, ValidationMode, ValidationWarning, Validator};
use serde_json::{Value, json};

/// What a request is about, in a policy and in its JSON form.
const PARTS: [&str; 3] = ["principal", "action", "resource"];

/// Comparisons, in the JSON form of a policy.
const COMPARISONS: [&str; 4] = ["==", "!=", "in", "is"];

/// Each part of a validated policy that never holds, with what to write.
pub(super) fn never_holds(policy: &Policy, validator: &Validator) -> Vec<String> {
    let Ok(whole) = policy.to_json() else { return vec!["cannot be looked at".to_owned()] };
    let parts: Vec<String> = PARTS.into_iter().filter_map(|part| part_never_holds(part, &whole, validator)).collect();
    if parts.is_empty() { conditions(&whole, validator) } else { parts }
}

/// Whether the warning says that the policy never applies.
pub(super) fn is_never(warning: &ValidationWarning) -> bool {
    matches!(warning, ValidationWarning::ImpossiblePolicy(_) | ValidationWarning::InvalidActionApplication(_))
}

fn part_never_holds(part: &str, whole: &Value, validator: &Validator) -> Option<String> {
    let constraint = whole.get(part)?;
    let mut probe = json!({
        "effect": "permit", "principal": {"op": "All"}, "action": {"op": "All"}, "resource": {"op": "All"}, "conditions": [],
    });
    *probe.get_mut(part)? = constraint.clone();
    if !is_impossible(&probe, validator)? {
        return None;
    }
    let entity = constraint.get("entity");
    let member = |name: &str| entity.and_then(|entity| entity.get(name)).and_then(Value::as_str).unwrap_or_default();
    let (of, id) = (member("type"), member("id"));
    let group = match part {
        "principal" => of == "Role",
        _ => matches!(of, "ResourceType" | "TypeGroup"),
    };
    let write = match part {
        _ if group => format!("`{part} in {of}::{id:?}`"),
        "principal" => "`principal in Role::\"...\"`, `principal is User` or `principal is Client`".to_owned(),
        "action" => "`action == Action::\"...\"`, or `action` for all".to_owned(),
        _ => "`resource in ResourceType::\"...\"`, or `resource` for all".to_owned(),
    };
    Some(format!("it never applies, for no {part} is like that; write {write}"))
}

/// Each comparison that is never true where the policy is asked.
fn conditions(whole: &Value, validator: &Validator) -> Vec<String> {
    let members = members_of_conditions(whole).into_iter();
    let compared = members.filter(|(name, _)| COMPARISONS.contains(name));
    compared.filter_map(|(name, operands)| comparison_never_holds(name, operands, whole, validator)).collect()
}

/// Every member, however deep, of the conditions of a policy in its JSON form: an operator with its operands, among others.
pub(super) fn members_of_conditions(whole: &Value) -> Vec<(&str, &Value)> {
    let mut found = Vec::new();
    let mut rest: Vec<&Value> = whole.get("conditions").into_iter().collect();
    while let Some(value) = rest.pop() {
        match value {
            Value::Array(values) => rest.extend(values),
            Value::Object(members) => {
                found.extend(members.iter().map(|(name, value)| (name.as_str(), value)));
                rest.extend(members.values());
            }
            _ => {}
        }
    }
    found
}

fn comparison_never_holds(name: &str, operands: &Value, whole: &Value, validator: &Validator) -> Option<String> {
    // What is never equal is always unequal.
    let name = if name == "!=" { "==" } else { name };
    let mut probe = whole.clone();
    *probe.get_mut("conditions")? = json!([{"kind": "when", "body": {name: operands}}]);
    if !is_impossible(&probe, validator)? {
        return None;
    }
    let text = policy(&probe)?.to_string();
    let (_, text) = text.rsplit_once("when {")?;
    let text = text.trim().trim_end_matches(';').trim_end_matches('}').trim();
    let write = "a principal is `in` a `Role`, a resource `in` its `ResourceType` and `TypeGroup`s";
    Some(format!("`{text}` is never true here; {write}"))
}

fn is_impossible(probe: &Value, validator: &Validator) -> Option<bool> {
    let set = PolicySet::from_policies([policy(probe)?]).ok()?;
    Some(validator.validate(&set, ValidationMode::Strict).validation_warnings().any(is_never))
}

fn policy(json: &Value) -> Option<Policy> {
    Policy::from_json(Some(PolicyId::new("probe")), json.clone()).ok()
}
