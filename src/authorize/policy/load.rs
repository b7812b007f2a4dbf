//! Reading policies: the shipped ones and those of the site's directory, validated as one set, all mistakes at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use cedar_policy::{EntityUid, Policy, PolicyId, PolicySet, Schema, ValidationMode, ValidationWarning, Validator};
use miette::Diagnostic;

use super::never::{is_never, never_holds};
use super::schema::schema_text;
use super::words::never_words;
use crate::fhir::operation::Operation;

/// The policies in `policies/` of the source, by file name.
pub(super) const SHIPPED: [(&str, &str); 4] = [
    ("backend.cedar", include_str!("../../../policies/backend.cedar")),
    ("clinician.cedar", include_str!("../../../policies/clinician.cedar")),
    ("patient.cedar", include_str!("../../../policies/patient.cedar")),
    ("related_person.cedar", include_str!("../../../policies/related_person.cedar")),
];

/// Annotations that mean something. Others would be promises that nothing keeps.
const ANNOTATIONS: [&str; 2] = ["id", "description"];

/// One mistake in a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// The file, or the directory.
    pub file: String,
    /// What is wrong and what was expected.
    pub problem: String,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy file `{}`: {}", self.file, self.problem)
    }
}

impl std::error::Error for PolicyError {}

/// The schema, and all policies as one validated set; `operations`: those that the site lists.
pub(super) fn load(
    directory: Option<&Path>,
    operations: &[Operation],
) -> Result<(Schema, PolicySet), Vec<PolicyError>> {
    let mut files: BTreeMap<String, String> =
        SHIPPED.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
    let mut errors = Vec::new();
    if let Some(directory) = directory {
        match read(directory) {
            Ok(own) => files.extend(own),
            Err(problem) => errors.push(error(&directory.display().to_string(), problem)),
        }
    }
    parse(&files, operations, errors)
}

/// Parses and validates files given by name and text.
pub(super) fn parse(
    files: &BTreeMap<String, String>,
    operations: &[Operation],
    mut errors: Vec<PolicyError>,
) -> Result<(Schema, PolicySet), Vec<PolicyError>> {
    let mut set = PolicySet::new();
    let mut origin = BTreeMap::new();
    for (file, text) in files {
        match text.parse::<PolicySet>() {
            Ok(parsed) => collect(file, &parsed, &mut set, &mut origin, &mut errors),
            Err(problems) => {
                errors.extend(problems.iter().map(|problem| error(file, at(text, problem) + &one_line(problem))));
            }
        }
    }
    let schema = match Schema::from_cedarschema_str(&schema_text()) {
        Ok((schema, _)) => schema,
        Err(problem) => {
            errors.push(error("firebreak.cedarschema", one_line(&problem)));
            return Err(errors);
        }
    };
    let validator = Validator::new(schema);
    errors.extend(mistakes(files, &set, &origin, operations, &validator));
    if errors.is_empty() { Ok((validator.schema().clone(), set)) } else { Err(errors) }
}

/// What the validator finds, and what it finds harmless and is not.
fn mistakes(
    files: &BTreeMap<String, String>,
    set: &PolicySet,
    origin: &BTreeMap<String, String>,
    operations: &[Operation],
    validator: &Validator,
) -> Vec<PolicyError> {
    let validated = validator.validate(set, ValidationMode::Strict);
    let mistake = |id: &PolicyId, place: Option<&dyn Diagnostic>, problem: &str| {
        let file = origin.get(&id.to_string()).map_or("", String::as_str);
        let text = files.get(file).map_or("", String::as_str);
        error(file, place.map(|place| at(text, place)).unwrap_or_default() + problem)
    };
    let mut found: Vec<PolicyError> = Vec::new();
    let mut invalid = BTreeSet::new();
    for problem in validated.validation_errors() {
        invalid.insert(problem.policy_id().clone());
        found.push(mistake(problem.policy_id(), Some(problem), &one_line(problem)));
    }
    let mut never = BTreeSet::new();
    for warning in validated.validation_warnings() {
        match warning {
            _ if is_never(warning) => drop(never.insert(warning.policy_id().clone())),
            // What is read is not what is evaluated. Letters of several scripts are not refused: they may be a site's own words.
            ValidationWarning::BidiCharsInString(_) | ValidationWarning::BidiCharsInIdentifier(_) => {
                found.push(mistake(warning.policy_id(), Some(warning), &one_line(warning)));
            }
            _ => {}
        }
    }
    // What is shipped is looked at by a test, and costs no time at each start.
    let is_shipped = |policy: &&Policy| {
        let file = origin.get(&policy.id().to_string());
        file.is_some_and(|file| {
            SHIPPED.iter().any(|(name, text)| name == file && files.get(*name).is_some_and(|own| own == text))
        })
    };
    for policy in set.policies().filter(|policy| !invalid.contains(policy.id()) && !is_shipped(policy)) {
        let id = policy.id();
        let mut problems = never_holds(policy, validator);
        if problems.is_empty() && never.contains(id) {
            problems.push("it never applies: what it asks for excludes each other".to_owned());
        }
        problems.extend(never_words(policy, operations));
        found.extend(problems.iter().map(|problem| mistake(id, None, &format!("`{id}`: {problem}"))));
    }
    found
}

fn read(directory: &Path) -> Result<Vec<(String, String)>, String> {
    let entries = std::fs::read_dir(directory).map_err(|problem| format!("cannot be read: {problem}"))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|problem| format!("cannot be read: {problem}"))?.path();
        if path.extension().is_none_or(|extension| extension != "cedar") {
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str()).ok_or("has a file whose name is not UTF-8")?;
        let text = std::fs::read_to_string(&path).map_err(|problem| format!("`{name}` cannot be read: {problem}"))?;
        files.push((name.to_owned(), text));
    }
    Ok(files)
}

fn collect(
    file: &str,
    parsed: &PolicySet,
    set: &mut PolicySet,
    origin: &mut BTreeMap<String, String>,
    errors: &mut Vec<PolicyError>,
) {
    if parsed.templates().next().is_some() {
        errors.push(error(file, "expected policies without slots (`?principal`, `?resource`)"));
    }
    for policy in parsed.policies() {
        let Some(id) = policy.annotation("id").filter(|id| !id.is_empty()) else {
            errors.push(error(file, "expected an `@id(\"...\")` on every policy"));
            continue;
        };
        errors.extend(objections(policy).map(|problem| error(file, format!("`{id}`: {problem}"))));
        match set.add(policy.new_id(PolicyId::new(id))) {
            Ok(()) => drop(origin.insert(id.to_owned(), file.to_owned())),
            Err(_) => errors.push(error(file, format!("the id `{id}` is taken, expected one of its own"))),
        }
    }
}

/// The roles that the policies name.
pub(super) fn roles(set: &PolicySet) -> BTreeSet<String> {
    let named = set.policies().flat_map(Policy::entity_literals);
    named.filter(|uid| uid.type_name().to_string() == "Role").map(|uid| uid.id().unescaped().to_owned()).collect()
}

/// What the validator lets pass, and would not do what its author means.
fn objections(policy: &Policy) -> impl Iterator<Item = String> {
    let annotations = policy
        .annotations()
        .filter(|(name, _)| !ANNOTATIONS.contains(name))
        .map(|(name, _)| format!("`@{name}` is not known, expected `@id` or `@description`"))
        .collect::<Vec<_>>();
    let literals = policy.entity_literals();
    let literals = literals.iter().filter_map(objection).map(str::to_owned).collect::<Vec<_>>();
    annotations.into_iter().chain(literals)
}

fn objection(literal: &EntityUid) -> Option<&'static str> {
    match literal.type_name().to_string().as_str() {
        "User" => Some("single users cannot be named, expected a `Role` or a `Client`"),
        "Resource" => Some("single resources cannot be named, expected `resource in ResourceType::\"...\"`"),
        _ => None,
    }
}

fn error(file: &str, problem: impl Into<String>) -> PolicyError {
    PolicyError { file: file.to_owned(), problem: problem.into() }
}

/// Where in `text` it is, `line 3, column 8: `, as far as it is told.
fn at(text: &str, problem: &dyn Diagnostic) -> String {
    let label = problem.labels().and_then(|mut labels| labels.next());
    let Some(before) = label.and_then(|label| text.get(..label.offset())) else { return String::new() };
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!("line {line}, column {column}: ")
}

fn one_line(problem: &impl ToString) -> String {
    problem.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
