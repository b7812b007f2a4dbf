//! The search of the sample store (R4, 3.1.1): takes the parameters of one request for one type, gives the positions of
//! the resources that match, sorted. What it does not know is ignored, or refused under `Prefer: handling=strict`;
//! chains and `_has` are refused always, since to ignore them would answer a wider question than was asked.

use std::cmp::Ordering;

use super::criterion::Test;
use super::definitions::{Definition, Kind};
use super::facts::Fact;
use super::outcome::Failure;

/// The largest page.
const MAXIMUM_COUNT: usize = 1000;
const DEFAULT_COUNT: usize = 50;

/// A parsed search.
#[derive(Debug)]
pub(super) struct Search {
    criteria: Vec<Criterion>,
    sort: Vec<(usize, Direction)>,
    /// Entries on a page; 0 asks for the total alone.
    pub(super) count: usize,
    /// `_include` values: the positions of reference parameters.
    pub(super) include: Vec<usize>,
    /// The parameters that were used, for the self link.
    pub(super) used: Vec<(String, String)>,
}

#[derive(Debug)]
struct Criterion {
    position: usize,
    test: Test,
}

#[derive(Clone, Copy, Debug)]
enum Direction {
    Ascending,
    Descending,
}

/// Whether unknown parameters are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handling {
    Lenient,
    Strict,
}

impl Search {
    /// Parses decoded name and value pairs.
    ///
    /// # Errors
    /// A value, modifier or chain that cannot be honoured; an unknown parameter under strict handling.
    pub(super) fn parse(
        definition: &Definition,
        pairs: impl IntoIterator<Item = (String, String)>,
        handling: Handling,
    ) -> Result<Self, Failure> {
        let mut search = Self {
            criteria: Vec::new(),
            sort: Vec::new(),
            count: DEFAULT_COUNT,
            include: Vec::new(),
            used: Vec::new(),
        };
        for (name, value) in pairs {
            if value.is_empty() {
                continue;
            }
            if search.take(definition, &name, &value, handling)? {
                search.used.push((name, value));
            }
        }
        Ok(search)
    }

    /// Whether all criteria hold for a resource with these facts.
    pub(super) fn matches(&self, facts: &[Fact]) -> bool {
        self.criteria
            .iter()
            .all(|criterion| facts.get(criterion.position).is_some_and(|fact| criterion.test.holds(fact)))
    }

    /// The one patient id that the search is about, if it names one: then only that patient's resources need a look.
    pub(super) fn patient(&self, definition: &Definition) -> Option<&str> {
        self.criteria.iter().find_map(|criterion| {
            let name = definition.parameters.get(criterion.position)?.name;
            criterion.test.patient().filter(|_| matches!(name, "patient" | "subject"))
        })
    }

    /// The order that `_sort` asks for.
    pub(super) fn compare(&self, left: &[Fact], right: &[Fact]) -> Ordering {
        self.sort.iter().fold(Ordering::Equal, |order, (position, direction)| {
            order.then_with(|| {
                let ordering = compare(left.get(*position), right.get(*position));
                match direction {
                    Direction::Ascending => ordering,
                    Direction::Descending => ordering.reverse(),
                }
            })
        })
    }

    /// Whether there is an order to make.
    pub(super) fn sorts(&self) -> bool {
        !self.sort.is_empty()
    }

    /// Takes in one parameter; gives whether it was used.
    fn take(&mut self, definition: &Definition, name: &str, value: &str, handling: Handling) -> Result<bool, Failure> {
        match name {
            "_format" | "_pretty" | "_total" | "_elements" => return Ok(true),
            "_count" => {
                let count: usize = value.parse().map_err(|_| Failure::invalid("`_count` must be a number"))?;
                self.count = if self.count == 0 { 0 } else { count.min(MAXIMUM_COUNT) };
                return Ok(true);
            }
            "_summary" => {
                if value == "count" {
                    self.count = 0;
                }
                return Ok(true);
            }
            "_sort" => {
                for key in value.split(',') {
                    self.sort.push(sort_key(definition, key)?);
                }
                return Ok(true);
            }
            "_include" => {
                self.include.push(include(definition, value)?);
                return Ok(true);
            }
            _ => {}
        }
        if name.contains('.') || name.starts_with("_has") {
            return Err(Failure::not_supported("chained and reverse chained searches are not supported"));
        }
        let (base, modifier) = name.split_once(':').map_or((name, None), |(base, modifier)| (base, Some(modifier)));
        let position = definition.position(base);
        match position.and_then(|position| definition.parameters.get(position).map(|found| (position, found.kind))) {
            Some((position, kind)) => {
                self.criteria.push(Criterion { position, test: Test::parse(kind, modifier, value)? });
                Ok(true)
            }
            None if handling == Handling::Lenient => Ok(false),
            None => Err(Failure::invalid("a search parameter is unknown for this type, and handling is strict")),
        }
    }
}

fn sort_key(definition: &Definition, key: &str) -> Result<(usize, Direction), Failure> {
    let (name, direction) = match key.strip_prefix('-') {
        Some(name) => (name, Direction::Descending),
        None => (key, Direction::Ascending),
    };
    let position = definition.position(name).ok_or_else(|| Failure::invalid("`_sort` names an unknown parameter"))?;
    Ok((position, direction))
}

fn include(definition: &Definition, value: &str) -> Result<usize, Failure> {
    let unsupported = || Failure::not_supported("`_include` must name the searched type and one of its references");
    let mut parts = value.split(':');
    if parts.next() != Some(definition.name) {
        return Err(unsupported());
    }
    let position = parts.next().and_then(|name| definition.position(name)).ok_or_else(unsupported)?;
    let parameter = definition.parameters.get(position).filter(|parameter| parameter.kind == Kind::Reference);
    parameter.map(|_| position).ok_or_else(unsupported)
}

fn compare(left: Option<&Fact>, right: Option<&Fact>) -> Ordering {
    match (left, right) {
        (Some(Fact::Dates(left)), Some(Fact::Dates(right))) => {
            left.first().map(|period| period.start).cmp(&right.first().map(|period| period.start))
        }
        (Some(Fact::Tokens(left)), Some(Fact::Tokens(right))) => {
            left.first().map(|token| &token.code).cmp(&right.first().map(|token| &token.code))
        }
        (Some(Fact::References(left)), Some(Fact::References(right)))
        | (Some(Fact::Texts(left)), Some(Fact::Texts(right))) => left.cmp(right),
        _ => Ordering::Equal,
    }
}
