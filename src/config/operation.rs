//! `[[fhir.operation]]`: operations that the site lists, with what they take and what comes back.

use std::borrow::Cow;

use super::reader::{At, Reader, Section};
use crate::fhir::operation::{Kind, Level, Listed, Operation, Parameter, Returns, Type, is_taken};
use crate::fhir::resource_type::ResourceType;
use crate::smart::scope::Permissions;

/// Reads all of them.
pub(super) fn operations<'t>(reader: &mut Reader<'t>, fhir: &mut Section<'t>) -> Vec<Operation> {
    let mut operations: Vec<Operation> = Vec::new();
    for mut section in fhir.tables(reader, "operation") {
        "[[fhir.operation]]".clone_into(&mut section.name);
        let line = section.line();
        let operation = operation(reader, section);
        let same = |other: &Operation| other.name == operation.name && overlap(other, &operation);
        if !operation.name.is_empty() && operations.iter().any(same) {
            reader.mistake(
                line,
                format!("operation `{}` occurs twice at one level for one type; list it once", operation.name),
            );
        }
        operations.push(operation);
    }
    operations
}

fn overlap(one: &Operation, other: &Operation) -> bool {
    let level = one.levels.iter().any(|level| other.levels.contains(level));
    let types = one.resource_types.is_empty()
        || other.resource_types.is_empty()
        || one.resource_types.iter().any(|of| other.resource_types.contains(of));
    level && types
}

fn operation<'t>(reader: &mut Reader<'t>, mut section: Section<'t>) -> Operation {
    let name = section.required(reader, "name", "\"apply\"");
    let plain = name.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if !plain || name.value.len() > 64 {
        reader.mistake(
            name.line,
            "`name` in [[fhir.operation]] must be letters, digits, `-`, `_` and `.`, without the `$`",
        );
    } else if is_taken(&name.value) {
        reader.mistake(
            name.line,
            format!(
                "`name` in [[fhir.operation]] must not be `{}`: it is served as docs/operations.md says, or never",
                name.value
            ),
        );
    }
    let definition =
        section.required(reader, "definition", "\"http://hl7.org/fhir/OperationDefinition/PlanDefinition-apply\"");
    if !definition.value.is_empty() && !Type::Canonical.admits(&definition.value) {
        reader
            .mistake(definition.line, "`definition` in [[fhir.operation]] must be the canonical URL of its definition");
    }
    let levels = levels(reader, &mut section);
    let resource_types = types(reader, &mut section, "resource_types");
    let at_a_type = levels.iter().any(|level| *level != Level::System);
    // Without levels that are known nothing can be said of the types.
    if !levels.is_empty() && at_a_type != section.has_some("resource_types") {
        reader.mistake(
            section.line(),
            "[[fhir.operation]] needs `resource_types` for the levels type and instance, and has none for system alone",
        );
    }
    let affects_state = section.flag(reader, "affects_state").unwrap_or(false);
    let needs = needs(reader, &mut section);
    if needs.is_empty() && levels.contains(&Level::System) {
        reader.mistake(
            section.line(),
            "[[fhir.operation]] at the level system needs `needs`, for instance `needs = [\"Patient.rs\"]`",
        );
    }
    let returns = returns(reader, &mut section);
    let mut parameters: Vec<Parameter> = Vec::new();
    for mut input in section.tables(reader, "input") {
        "[[fhir.operation.input]]".clone_into(&mut input.name);
        let line = input.line();
        let parameter = parameter(reader, input);
        if parameters.iter().any(|known| known.name == parameter.name) {
            reader.mistake(line, format!("input `{}` occurs twice; list it once", parameter.name));
        }
        parameters.push(parameter);
    }
    reader.close(&section);
    Operation {
        name: name.value.into(),
        definition: definition.value.into(),
        levels: levels.into(),
        resource_types: resource_types.into(),
        affects_state,
        parameters,
        kind: Kind::Listed(Listed { needs, returns }),
    }
}

fn levels<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> Vec<Level> {
    let line = section.line();
    let mut levels = Vec::new();
    for word in section.strings(reader, "levels") {
        match word.value.as_str() {
            "system" => levels.push(Level::System),
            "type" => levels.push(Level::Type),
            "instance" => levels.push(Level::Instance),
            _ => reader.mistake(
                word.line,
                "each of `levels` in [[fhir.operation]] must be one of \"system\", \"type\", \"instance\"",
            ),
        }
    }
    if !section.has_some("levels") {
        reader.mistake(line, "[[fhir.operation]] lacks `levels`; for instance `levels = [\"instance\"]`");
    }
    levels
}

fn types<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>, key: &'static str) -> Vec<ResourceType> {
    let mut types = Vec::new();
    for name in section.strings(reader, key) {
        match ResourceType::parse(&name.value) {
            Some(of) => types.push(of),
            None => reader.mistake(
                name.line,
                format!("each of `{key}` in [[fhir.operation]] must be a resource type of FHIR R4, spelled exactly"),
            ),
        }
    }
    types
}

/// `Patient.rs`: a type and letters.
fn needs<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> Vec<(ResourceType, String)> {
    let mut needs = Vec::new();
    for At { value, line } in section.strings(reader, "needs") {
        let read = value.split_once('.').and_then(|(name, letters)| {
            Permissions::parse_letters(letters)?;
            Some((ResourceType::parse(name)?, letters.to_owned()))
        });
        match read {
            Some(need) => needs.push(need),
            None => reader.mistake(
                line,
                "each of `needs` in [[fhir.operation]] must be a type and letters of `cruds` in this order, for instance \"Patient.rs\"",
            ),
        }
    }
    needs
}

fn returns<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> Returns {
    let line = section.line();
    let kind = section.required(reader, "returns", "\"resource\"");
    let types = types(reader, section, "returned_types");
    let known = matches!(kind.value.as_str(), "resource" | "searchset" | "parameters" | "outcome");
    if !known && !kind.value.is_empty() {
        reader.mistake(
            kind.line,
            "`returns` in [[fhir.operation]] must be one of \"resource\", \"searchset\", \"parameters\", \"outcome\"",
        );
    }
    let needs_types = matches!(kind.value.as_str(), "resource" | "searchset");
    if needs_types && types.is_empty() || kind.value == "outcome" && !types.is_empty() {
        reader.mistake(
            line,
            "[[fhir.operation]] needs `returned_types` where it returns a resource or a searchset, and has none for an outcome",
        );
    }
    let types: Cow<'static, [ResourceType]> = types.into();
    match kind.value.as_str() {
        "resource" => Returns::Resource(types),
        "searchset" => Returns::Searchset(types),
        "parameters" => Returns::Parameters(types),
        _ => Returns::OperationOutcome,
    }
}

fn parameter<'t>(reader: &mut Reader<'t>, mut section: Section<'t>) -> Parameter {
    let name = section.required(reader, "name", "\"subject\"");
    let of = section.required(reader, "type", "\"string\"");
    let found = Type::ALL.into_iter().find(|known| known.name() == of.value);
    if found.is_none() && !of.value.is_empty() {
        let known: Vec<&str> = Type::ALL.iter().map(|of| of.name()).collect();
        reader.mistake(of.line, format!("`type` in [[fhir.operation.input]] must be one of {}", known.join(", ")));
    }
    #[expect(clippy::cast_possible_truncation, reason = "the ranges fit")]
    let (min, max) = (section.integer(reader, "min", 0..65, 0) as u32, section.integer(reader, "max", 1..65, 1) as u32);
    if min > max {
        reader.mistake(section.line(), "`min` in [[fhir.operation.input]] must not be larger than `max`");
    }
    reader.close(&section);
    Parameter { name: name.value.into(), of: found.unwrap_or(Type::String), min, max: Some(max) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "a failed assumption fails the test")]

    use std::path::Path;

    use super::*;
    use crate::config::{Config, ConfigError};

    fn load(operations: &str) -> Result<Vec<Operation>, ConfigError> {
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\norigin = \"https://gw.example.org\"\ndanger_plain_http = true\n\
             [fhir]\nupstream = \"http://up/fhir\"\n{operations}"
        );
        Config::parse(&text, Path::new(".")).map(|config| config.fhir.operations)
    }

    #[test]
    fn an_operation_is_listed_with_what_it_takes_and_returns() {
        let listed = load(
            "[[fhir.operation]]\nname = \"match\"\ndefinition = \"http://hl7.org/fhir/OperationDefinition/Patient-match\"\n\
             levels = [\"type\"]\nresource_types = [\"Patient\"]\nneeds = [\"Patient.rs\"]\nreturns = \"searchset\"\n\
             returned_types = [\"Patient\"]\n\
             [[fhir.operation.input]]\nname = \"resource\"\ntype = \"Resource\"\nmin = 1\n\
             [[fhir.operation.input]]\nname = \"count\"\ntype = \"integer\"\n",
        )
        .unwrap();
        let [one] = listed.as_slice() else { panic!("one is listed") };
        assert_eq!((&*one.name, &*one.levels, one.affects_state), ("match", &[Level::Type][..], false));
        assert_eq!(one.parameters.len(), 2);
        let patient = ResourceType::PATIENT;
        let returns = Returns::Searchset(vec![patient].into());
        assert_eq!(one.kind, Kind::Listed(Listed { needs: vec![(patient, "rs".to_owned())], returns }));
    }

    #[test]
    fn all_mistakes_are_told_at_once_with_their_lines() {
        let error = load(
            "[[fhir.operation]]\nname = \"export\"\ndefinition = \"http://internal/x\"\nlevels = [\"server\"]\n\
             resource_types = [\"patient\"]\nneeds = [\"Patient.sr\"]\nreturns = \"bundle\"\nchanges = true\n\
             [[fhir.operation.input]]\nname = \"x\"\ntype = \"text\"\nmin = 2\n\
             [[fhir.operation]]\nname = \"$apply\"\n",
        )
        .unwrap_err()
        .to_string();
        for told in [
            "line 8: `name` in [[fhir.operation]] must not be `export`",
            "line 9: `definition`",
            "line 10: each of `levels`",
            "line 11: each of `resource_types`",
            "line 12: each of `needs`",
            "line 13: `returns`",
            "line 14: unknown key `changes`",
            "`type` in [[fhir.operation.input]] must be one of boolean",
            "`min` in [[fhir.operation.input]]",
            "`name` in [[fhir.operation]] must be letters",
            "[[fhir.operation]] lacks `definition`",
            "[[fhir.operation]] lacks `levels`",
            "[[fhir.operation]] lacks `returns`",
        ] {
            assert!(error.contains(told), "{told}\n{error}");
        }
    }

    #[test]
    fn one_operation_is_listed_once_for_a_place() {
        let one = "[[fhir.operation]]\nname = \"apply\"\ndefinition = \"http://hl7.org/x\"\nlevels = [\"instance\"]\n\
                   resource_types = [\"PlanDefinition\"]\nreturns = \"resource\"\nreturned_types = [\"CarePlan\"]\n";
        let error = load(&format!("{one}{one}")).unwrap_err().to_string();
        assert!(error.contains("`apply` occurs twice"), "{error}");
        let other = one.replace("PlanDefinition", "ActivityDefinition");
        assert_eq!(load(&format!("{one}{other}")).unwrap().len(), 2);
    }
}
