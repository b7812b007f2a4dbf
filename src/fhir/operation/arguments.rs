//! What a request gives to an operation: names and values of a query, a `Parameters` resource (R4 parameters.html), or the one
//! resource itself as the body (operations.html section 3.2.0.1.2).
//!
//! Takes parsed text, gives [`Arguments`] in which every name is an input of the operation, as often as it may be there, and every
//! value is of its type. What the operation does not have is refused, never dropped. Writes them again, for a query or as
//! `Parameters`, from the parsed parts alone.

use std::borrow::Cow;

use super::{Operation, Parameter, Type};
use crate::json::{Json, Kind, Limits, Value, quote_into};

/// The arguments, in the order given.
#[derive(Clone, Debug, Default)]
pub struct Arguments(Vec<Argument>);

/// One argument.
#[derive(Clone, Debug)]
pub struct Argument {
    /// The input's name.
    pub name: String,
    /// What is given.
    pub given: Given,
}

/// A value.
#[derive(Clone, Debug)]
pub enum Given {
    /// A primitive, as text.
    Primitive(Type, String),
    /// A condition of a search, where search parameters are inputs.
    Criterion(String),
    /// A complex type or a resource.
    Complex(Type, Json),
}

/// What was expected; never a value of the client's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgumentProblem(pub String);

/// What a name must be (`Type::admits`).
const PUBLISHED: &str = ": `urn:` or the http(s) URL of a public host, without port and credentials";
/// Arguments of one request at most.
const MOST: usize = 64;

impl Arguments {
    /// Reads the pairs of a query and the body, if there is one.
    ///
    /// # Errors
    /// For inputs that the operation does not have, values of another type, too many and too few.
    pub fn read(
        operation: &Operation,
        query: &[(String, String)],
        body: Option<Value<'_>>,
    ) -> Result<Self, ArgumentProblem> {
        let mut arguments = Self::default();
        for (name, value) in query {
            arguments.take_query(operation, name, value)?;
        }
        if let Some(body) = body {
            arguments.take_body(operation, body)?;
        }
        if arguments.0.len() > MOST {
            return Err(ArgumentProblem(format!("expected at most {MOST} parameters")));
        }
        for parameter in &operation.parameters {
            let times = arguments.all(&parameter.name).count();
            let most = parameter.max.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
            if times < usize::try_from(parameter.min).unwrap_or(usize::MAX) || times > most {
                return Err(times_expected(parameter));
            }
        }
        Ok(arguments)
    }

    fn take_query(&mut self, operation: &Operation, name: &str, value: &str) -> Result<(), ArgumentProblem> {
        let Some(parameter) = operation.parameter(name) else {
            if operation.is_search() {
                return self.push(name, Given::Criterion(value.to_owned()));
            }
            return Err(inputs_expected(operation));
        };
        // A concept in a query is written as a search has it: `system|code`.
        let of = if parameter.of == Type::CodeableConcept { Type::String } else { parameter.of };
        if !of.admits(value) {
            return Err(value_expected(parameter));
        }
        self.push(name, Given::Primitive(of, value.to_owned()))
    }

    fn take_body(&mut self, operation: &Operation, body: Value<'_>) -> Result<(), ArgumentProblem> {
        if !body.member("resourceType").is_some_and(|name| name.is("Parameters")) {
            let parameter = operation.body().ok_or_else(|| ArgumentProblem("expected Parameters".to_owned()))?;
            let name = parameter.name.to_string();
            return self.push(&name, Given::Complex(Type::Resource, copy(body)?));
        }
        let known = |name: &str| matches!(name, "resourceType" | "id" | "meta" | "parameter");
        if !body.members().all(|member| known(&member.name())) {
            return Err(ArgumentProblem("expected Parameters with nothing but `parameter`".to_owned()));
        }
        let list = body.member("parameter");
        if list.is_some_and(|list| list.kind() != Kind::Array) {
            return Err(ArgumentProblem("expected `parameter` to be an array".to_owned()));
        }
        for one in list.into_iter().flat_map(Value::elements) {
            self.take_parameter(operation, one)?;
        }
        Ok(())
    }

    fn take_parameter(&mut self, operation: &Operation, one: Value<'_>) -> Result<(), ArgumentProblem> {
        let shape = || ArgumentProblem("expected each of `parameter` to have a `name` and one value".to_owned());
        let name = one.text("name").ok_or_else(shape)?;
        let mut values = one.members().filter(|member| !member.key.is("name"));
        let value = values.next().filter(|_| values.next().is_none()).ok_or_else(shape)?;
        let Some(parameter) = operation.parameter(&name) else {
            if operation.is_search() {
                let text = Type::ALL
                    .into_iter()
                    .filter(|of| of.is_primitive() && *value.name() == *of.element())
                    .find_map(|_| primitive(value.value));
                return self.push(&name, Given::Criterion(text.ok_or_else(shape)?));
            }
            return Err(inputs_expected(operation));
        };
        // A code that was asked for as a concept is one of its codings.
        let coded = parameter.of == Type::CodeableConcept && value.key.is("valueCoding");
        let of = if coded { Type::Coding } else { parameter.of };
        if *value.name() != *of.element() {
            return Err(value_expected(parameter));
        }
        if of.is_primitive() {
            let text = primitive(value.value).filter(|text| of.admits(text) && of.is_bare() != value.value.is_string());
            return self.push(&name, Given::Primitive(of, text.ok_or_else(|| value_expected(parameter))?));
        }
        if value.value.kind() != Kind::Object {
            return Err(value_expected(parameter));
        }
        if matches!(operation.kind, super::Kind::Terminology(_)) && !systems_are_published(value.value) {
            return Err(ArgumentProblem(format!(
                "expected every `system` in `{}` to be of type uri{PUBLISHED}",
                parameter.name
            )));
        }
        self.push(&name, Given::Complex(of, copy(value.value)?))
    }

    fn push(&mut self, name: &str, given: Given) -> Result<(), ArgumentProblem> {
        let plain = !name.is_empty() && name.len() <= 128 && !name.chars().any(char::is_control);
        if !plain {
            return Err(ArgumentProblem("expected parameters with names".to_owned()));
        }
        self.0.push(Argument { name: name.to_owned(), given });
        Ok(())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Argument> {
        self.0.iter()
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Argument> {
        self.0.iter().filter(move |argument| argument.name == name)
    }

    /// The texts that are given by this name.
    pub fn texts<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.all(name).filter_map(|argument| match &argument.given {
            Given::Primitive(_, text) | Given::Criterion(text) => Some(text.as_str()),
            Given::Complex(..) => None,
        })
    }

    /// The text of an input that is there once at most.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().filter(|argument| argument.name == name).find_map(|argument| match &argument.given {
            Given::Primitive(_, text) | Given::Criterion(text) => Some(text.as_str()),
            Given::Complex(..) => None,
        })
    }

    /// The complex value or resource of an input that is there once at most.
    #[must_use]
    pub fn complex(&self, name: &str) -> Option<&Json> {
        self.0.iter().filter(|argument| argument.name == name).find_map(|argument| match &argument.given {
            Given::Complex(_, json) => Some(json),
            Given::Primitive(..) | Given::Criterion(_) => None,
        })
    }

    /// The conditions of a search among them.
    #[must_use]
    pub fn criteria(&self) -> Vec<(String, String)> {
        let criterion = |argument: &Argument| match &argument.given {
            Given::Criterion(value) => Some((argument.name.clone(), value.clone())),
            Given::Primitive(..) | Given::Complex(..) => None,
        };
        self.0.iter().filter_map(criterion).collect()
    }

    /// As a query; `None` when there is more than can stand in one.
    #[must_use]
    pub fn to_query(&self) -> Option<Vec<(String, String)>> {
        let pair = |argument: &Argument| match &argument.given {
            Given::Primitive(_, text) | Given::Criterion(text) => Some((argument.name.clone(), text.clone())),
            Given::Complex(..) => None,
        };
        self.0.iter().map(pair).collect()
    }

    /// As `Parameters`, each complex value as `rewritten` has it, or as it came.
    #[must_use]
    pub fn to_parameters(&self, rewritten: impl Fn(&Json) -> Option<Vec<u8>>) -> Vec<u8> {
        let mut text = br#"{"resourceType":"Parameters""#.to_vec();
        for (at, argument) in self.0.iter().enumerate() {
            text.extend_from_slice(if at == 0 { br#","parameter":[{"name":"# } else { br#",{"name":"# });
            quote_into(&argument.name, &mut text);
            text.push(b',');
            match &argument.given {
                Given::Primitive(of, value) if of.is_bare() => {
                    member(&mut text, &of.element());
                    text.extend_from_slice(value.as_bytes());
                }
                Given::Primitive(of, value) => {
                    member(&mut text, &of.element());
                    quote_into(value, &mut text);
                }
                Given::Criterion(value) => {
                    member(&mut text, "valueString");
                    quote_into(value, &mut text);
                }
                Given::Complex(of, json) => {
                    member(&mut text, &of.element());
                    text.extend_from_slice(&rewritten(json).map_or(Cow::Borrowed(&**json.bytes()), Cow::Owned));
                }
            }
            text.push(b'}');
        }
        text.extend_from_slice(if self.0.is_empty() { b"}" } else { b"]}" });
        text
    }
}

fn member(text: &mut Vec<u8>, name: &str) {
    quote_into(name, text);
    text.push(b':');
}

/// A primitive's text: of a string what it says, of a number or truth value its own text.
fn primitive(value: Value<'_>) -> Option<String> {
    if value.is_container() {
        return None;
    }
    match value.string() {
        Some(text) => Some(text.into_owned()),
        None => std::str::from_utf8(value.raw()).ok().map(str::to_owned),
    }
}

/// Whether every code system that is named inside has a name that is published, as one that is an input itself must have.
fn systems_are_published(value: Value<'_>) -> bool {
    let fits = |name: &str, value: Value<'_>| match name {
        "system" => value.string().is_some_and(|text| Type::Uri.admits(&text)),
        _ => !value.is_container() || systems_are_published(value),
    };
    value.members().all(|member| fits(&member.name(), member.value)) && value.elements().all(|one| fits("", one))
}

fn copy(value: Value<'_>) -> Result<Json, ArgumentProblem> {
    Json::parse(value.raw().to_vec(), Limits::default()).map_err(|error| ArgumentProblem(error.to_string()))
}

fn inputs_expected(operation: &Operation) -> ArgumentProblem {
    let names: Vec<String> = operation.parameters.iter().map(|parameter| format!("`{}`", parameter.name)).collect();
    let served = if names.is_empty() { "no parameters".to_owned() } else { names.join(", ") };
    ArgumentProblem(format!("expected of the parameters of `${}`: {served}", operation.name))
}

fn value_expected(parameter: &Parameter) -> ArgumentProblem {
    let names = matches!(parameter.of, Type::Uri | Type::Canonical);
    let more = if names { PUBLISHED } else { "" };
    ArgumentProblem(format!("expected `{}` to be of type {}{more}", parameter.name, parameter.of.name()))
}

fn times_expected(parameter: &Parameter) -> ArgumentProblem {
    let times = match (parameter.min, parameter.max) {
        (0, Some(1)) => "once at most".to_owned(),
        (1, Some(1)) => "once".to_owned(),
        (min, None) => format!("at least {min} times"),
        (min, Some(max)) => format!("{min} to {max} times"),
    };
    ArgumentProblem(format!("expected `{}` {times}", parameter.name))
}
