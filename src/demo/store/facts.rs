//! What a search compares: for each resource, the values of its search parameters, extracted once when the store is
//! filled. Takes the resource as JSON and its definition; gives one [`Fact`] per parameter, in the definition's order.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use serde_json::Value;

use super::definitions::{Definition, Kind};

/// The values of one search parameter in one resource.
#[derive(Debug)]
pub(super) enum Fact {
    Tokens(Vec<Token>),
    /// Relative references, `Patient/amina-diallo`.
    References(Vec<String>),
    Dates(Vec<Period>),
    /// Folded: lower case, without accents.
    Texts(Vec<String>),
}

/// A code with the system it is from, if it has one.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) system: Option<String>,
    pub(super) code: String,
}

/// A half-open range of seconds since 1970, as every FHIR date is one: a day, a month, an instant of one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) start: i64,
    pub(super) end: i64,
}

/// The facts of `resource`, one for each parameter of `definition`.
pub(super) fn facts(definition: &Definition, resource: &Value) -> Vec<Fact> {
    definition
        .parameters
        .iter()
        .map(|parameter| {
            let mut found = Vec::new();
            for path in parameter.paths {
                collect(resource, path, &mut found);
            }
            match parameter.kind {
                Kind::Token => Fact::Tokens(found.into_iter().flat_map(tokens).collect()),
                Kind::Reference => Fact::References(found.into_iter().filter_map(relative).collect()),
                Kind::Date => Fact::Dates(found.into_iter().filter_map(dates).collect()),
                Kind::Text => Fact::Texts(found.into_iter().filter_map(Value::as_str).map(fold).collect()),
            }
        })
        .collect()
}

impl Fact {
    /// Whether the resource has no value for the parameter (`:missing`).
    pub(super) fn is_missing(&self) -> bool {
        match self {
            Self::Tokens(values) => values.is_empty(),
            Self::References(values) | Self::Texts(values) => values.is_empty(),
            Self::Dates(values) => values.is_empty(),
        }
    }
}

impl Period {
    /// The range that a FHIR date, dateTime or instant stands for; `None` when it is none of them. A time without an
    /// offset is taken as UTC.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let from_dates = |start: Date, end: Date| Some(Self { start: midnight(start)?, end: midnight(end)? });
        match text.len() {
            4 if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                let year: i16 = text.parse().ok()?;
                from_dates(Date::new(year, 1, 1).ok()?, Date::new(year.checked_add(1)?, 1, 1).ok()?)
            }
            7 => {
                let first: Date = format!("{text}-01").parse().ok()?;
                from_dates(first, first.checked_add(jiff::Span::new().months(1)).ok()?)
            }
            10 => {
                let date: Date = text.parse().ok()?;
                from_dates(date, date.tomorrow().ok()?)
            }
            16 => {
                let minute: DateTime = text.parse().ok()?;
                let start = seconds(minute)?;
                Some(Self { start, end: start.checked_add(60)? })
            }
            17.. => {
                let start = match text.parse::<Timestamp>() {
                    Ok(instant) => instant.as_second(),
                    Err(_) => seconds(text.parse().ok()?)?,
                };
                Some(Self { start, end: start.checked_add(1)? })
            }
            _ => None,
        }
    }
}

/// Lower case, and Latin letters without their accents: FHIR string search ignores both.
pub(super) fn fold(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).map(base_letter).collect()
}

fn base_letter(letter: char) -> char {
    match letter {
        'à'..='å' | 'ā' | 'ă' | 'ạ' | 'ả' | 'ấ'..='ặ' => 'a',
        'ç' => 'c',
        'đ' => 'd',
        'è'..='ë' | 'ē' | 'ẹ'..='ệ' => 'e',
        'ì'..='ï' | 'ĩ' | 'ỉ' | 'ị' => 'i',
        'ñ' => 'n',
        'ò'..='ö' | 'ø' | 'ơ' | 'ọ'..='ợ' => 'o',
        'ù'..='ü' | 'ũ' | 'ư' | 'ụ'..='ự' => 'u',
        'ý' | 'ÿ' => 'y',
        other => other,
    }
}

fn collect<'a>(value: &'a Value, path: &str, found: &mut Vec<&'a Value>) {
    let (head, rest) = path.split_once('.').map_or((path, None), |(head, rest)| (head, Some(rest)));
    let Some(member) = value.get(head) else { return };
    let mut visit = |item: &'a Value| match rest {
        Some(rest) => collect(item, rest, found),
        None => found.push(item),
    };
    match member {
        Value::Array(items) => items.iter().for_each(visit),
        single => visit(single),
    }
}

fn tokens(value: &Value) -> Vec<Token> {
    let member = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    match value {
        Value::String(code) => vec![Token { system: None, code: code.clone() }],
        Value::Bool(flag) => vec![Token { system: None, code: flag.to_string() }],
        Value::Object(fields) => match fields.get("coding").and_then(Value::as_array) {
            Some(codings) => codings.iter().flat_map(tokens).collect(),
            None => member("code")
                .or_else(|| member("value"))
                .map(|code| Token { system: member("system"), code })
                .into_iter()
                .collect(),
        },
        _ => Vec::new(),
    }
}

fn relative(value: &Value) -> Option<String> {
    value.get("reference").and_then(Value::as_str).map(str::to_owned)
}

fn dates(value: &Value) -> Option<Period> {
    match value {
        Value::String(text) => Period::parse(text),
        Value::Object(fields) => {
            let bound = |name: &str| fields.get(name).and_then(Value::as_str).and_then(Period::parse);
            Some(Period {
                start: bound("start").map_or(i64::MIN, |period| period.start),
                end: bound("end").map_or(i64::MAX, |period| period.end),
            })
        }
        _ => None,
    }
}

fn midnight(date: Date) -> Option<i64> {
    seconds(date.at(0, 0, 0, 0))
}

fn seconds(at: DateTime) -> Option<i64> {
    at.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_second())
}
