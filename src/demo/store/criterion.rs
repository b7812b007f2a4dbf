//! What one search parameter asks of a resource, and whether the resource's facts answer it (R4, 3.1.1.4): tokens,
//! references, dates with prefixes, and text, with the modifiers that the store supports.

use super::definitions::Kind;
use super::facts::{Fact, Period, Token, fold};
use super::outcome::Failure;

/// What one parameter asks; several values are alternatives.
#[derive(Debug)]
pub(super) enum Test {
    Missing(bool),
    Tokens { values: Vec<TokenValue>, negated: bool },
    References(Vec<ReferenceValue>),
    Dates(Vec<(Prefix, Period)>),
    Texts { values: Vec<String>, manner: Manner },
}

#[derive(Debug)]
pub(super) struct TokenValue {
    system: SystemValue,
    code: Option<String>,
}

#[derive(Debug)]
pub(super) enum SystemValue {
    Any,
    /// `|code`: a code without a system.
    None,
    Is(String),
}

#[derive(Debug)]
pub(super) enum ReferenceValue {
    /// `Patient/x`.
    Typed(String),
    /// `x`, of whatever type.
    Id(String),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Prefix {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    StartsAfter,
    EndsBefore,
    Approximately,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Manner {
    StartsWith,
    Contains,
    Exactly,
}

impl Test {
    /// The one patient id that a reference test asks for, if it is one.
    pub(super) fn patient(&self) -> Option<&str> {
        let Self::References(values) = self else { return None };
        match values.as_slice() {
            [ReferenceValue::Id(id)] => Some(id.as_str()),
            [ReferenceValue::Typed(typed)] => typed.strip_prefix("Patient/"),
            _ => None,
        }
    }

    pub(super) fn parse(kind: Kind, modifier: Option<&str>, value: &str) -> Result<Self, Failure> {
        let values = split(value, ',');
        match (kind, modifier) {
            (_, Some("missing")) => match value {
                "true" => Ok(Self::Missing(true)),
                "false" => Ok(Self::Missing(false)),
                _ => Err(Failure::invalid("`:missing` must be `true` or `false`")),
            },
            (Kind::Token, None | Some("not")) => Ok(Self::Tokens {
                values: values.iter().map(|value| TokenValue::parse(value)).collect(),
                negated: modifier.is_some(),
            }),
            (Kind::Reference, kind) => {
                Ok(Self::References(values.iter().map(|value| ReferenceValue::parse(kind, &unescape(value))).collect()))
            }
            (Kind::Date, None) => {
                let parsed: Option<Vec<_>> = values.iter().map(|value| Prefix::parse(value)).collect();
                parsed.map(Self::Dates).ok_or_else(|| Failure::invalid("a date must be like `ge2024-01-31`"))
            }
            (Kind::Text, None | Some("contains" | "exact")) => {
                let manner = match modifier {
                    Some("exact") => Manner::Exactly,
                    Some(_) => Manner::Contains,
                    None => Manner::StartsWith,
                };
                Ok(Self::Texts { values: values.iter().map(|value| fold(&unescape(value))).collect(), manner })
            }
            _ => Err(Failure::not_supported("a search modifier is not supported")),
        }
    }

    pub(super) fn holds(&self, fact: &Fact) -> bool {
        match (self, fact) {
            (Self::Missing(missing), fact) => fact.is_missing() == *missing,
            (Self::Tokens { values, negated }, Fact::Tokens(tokens)) => {
                tokens.iter().any(|token| values.iter().any(|value| value.is(token))) != *negated
            }
            (Self::References(values), Fact::References(references)) => {
                references.iter().any(|reference| values.iter().any(|value| value.is(reference)))
            }
            (Self::Dates(values), Fact::Dates(periods)) => {
                periods.iter().any(|period| values.iter().any(|(prefix, searched)| prefix.holds(*period, *searched)))
            }
            (Self::Texts { values, manner }, Fact::Texts(texts)) => {
                texts.iter().any(|text| values.iter().any(|value| manner.holds(text, value)))
            }
            _ => false,
        }
    }
}

impl TokenValue {
    fn parse(value: &str) -> Self {
        let parts = split(value, '|');
        let some = |text: &str| Some(unescape(text)).filter(|text| !text.is_empty());
        match parts.as_slice() {
            [system, code, ..] => {
                Self { system: some(system).map_or(SystemValue::None, SystemValue::Is), code: some(code) }
            }
            _ => Self { system: SystemValue::Any, code: some(value) },
        }
    }

    fn is(&self, token: &Token) -> bool {
        let system = match &self.system {
            SystemValue::Any => true,
            SystemValue::None => token.system.is_none(),
            SystemValue::Is(system) => token.system.as_ref() == Some(system),
        };
        system && self.code.as_ref().is_none_or(|code| *code == token.code)
    }
}

impl ReferenceValue {
    /// `kind` is the modifier, as in `subject:Patient=x`. An absolute reference is compared as it stands.
    fn parse(kind: Option<&str>, value: &str) -> Self {
        match kind {
            Some(kind) if !value.contains('/') => Self::Typed(format!("{kind}/{value}")),
            _ if value.contains('/') => Self::Typed(value.to_owned()),
            _ => Self::Id(value.to_owned()),
        }
    }

    fn is(&self, reference: &str) -> bool {
        match self {
            Self::Typed(typed) => typed == reference,
            Self::Id(id) => reference.rsplit_once('/').is_some_and(|(_, found)| found == id),
        }
    }
}

impl Prefix {
    fn parse(value: &str) -> Option<(Self, Period)> {
        let prefixes = [
            ("eq", Self::Equal),
            ("ne", Self::NotEqual),
            ("gt", Self::Greater),
            ("lt", Self::Less),
            ("ge", Self::GreaterOrEqual),
            ("le", Self::LessOrEqual),
            ("sa", Self::StartsAfter),
            ("eb", Self::EndsBefore),
            ("ap", Self::Approximately),
        ];
        let (prefix, date) = prefixes
            .into_iter()
            .find_map(|(word, prefix)| value.strip_prefix(word).map(|date| (prefix, date)))
            .unwrap_or((Self::Equal, value));
        Period::parse(date).map(|period| (prefix, period))
    }

    /// Compares as R4 3.1.1.4.3 says, ranges against ranges.
    fn holds(self, found: Period, searched: Period) -> bool {
        let within = searched.start <= found.start && found.end <= searched.end;
        match self {
            Self::Equal => within,
            Self::NotEqual => !within,
            Self::Greater => found.end > searched.end,
            Self::Less => found.start < searched.start,
            Self::GreaterOrEqual => found.end > searched.end || within,
            Self::LessOrEqual => found.start < searched.start || within,
            Self::StartsAfter => found.start >= searched.end,
            Self::EndsBefore => found.end <= searched.start,
            Self::Approximately => found.start < searched.end && searched.start < found.end,
        }
    }
}

impl Manner {
    fn holds(self, text: &str, value: &str) -> bool {
        match self {
            Self::StartsWith => text.starts_with(value) || text.split([' ', '-']).any(|word| word.starts_with(value)),
            Self::Contains => text.contains(value),
            Self::Exactly => text == value,
        }
    }
}

/// Splits at each `separator` that has no backslash before it (R4, 3.1.1.4.7); escapes stay in.
fn split(text: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for letter in text.chars() {
        if letter == separator && !escaped {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
        escaped = letter == '\\' && !escaped;
    }
    parts
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut escaped = false;
    for letter in text.chars() {
        escaped = letter == '\\' && !escaped;
        if !escaped {
            plain.push(letter);
        }
    }
    plain
}
