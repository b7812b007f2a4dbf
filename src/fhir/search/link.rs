//! A search as text again: the `self` link of its answer, in canonical form.

use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Class, SearchQuery, SortBy, SortKey};
use crate::fhir::projection::Projection;

/// What stays as it is in a query: the unreserved characters of RFC 3986, and what FHIR values are full of.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'/')
    .remove(b',')
    .remove(b'$');

impl SearchQuery {
    /// The client's own query in canonical form below `path`: `Observation?code=x&_count=10`, percent-encoded.
    #[must_use]
    pub fn self_link(&self, path: &str, projection: &Projection) -> String {
        let mut link = Link { text: path.to_owned(), separator: '?' };
        for criterion in &self.criteria {
            link.add(&criterion.key(), &criterion.alternatives.join(","));
        }
        for traversal in &self.traversals {
            link.add(&traversal.key(), &traversal.value());
        }
        for (name, value) in &self.full_text {
            link.add(name, value);
        }
        self.carried(&mut link);
        if !self.sort.is_empty() {
            link.add("_sort", &print_sort(&self.sort));
        }
        if let Some(count) = self.count {
            link.add("_count", &count.to_string());
        }
        if let Some(total) = self.total {
            link.add("_total", total.as_str());
        }
        if self.number_only {
            link.add("_summary", "count");
        }
        link.project(projection);
        link.text
    }

    /// What a link to a further page says beside the page: what the gateway itself has to know of the search, as
    /// `&name=value`.
    #[must_use]
    pub fn carried_by_pages(&self, projection: &Projection) -> String {
        let mut link = Link { text: String::new(), separator: '&' };
        self.carried(&mut link);
        link.project(projection);
        link.text
    }

    /// Whether there is nothing but what pages carry.
    #[must_use]
    pub fn is_carried_by_pages(&self) -> bool {
        let Self { includes, types, .. } = self.clone();
        let beyond = vec![Class::Shape; includes.len()];
        *self == Self { includes, types, beyond, ..Self::default() }
    }

    fn carried(&self, link: &mut Link) {
        if !self.types.is_empty() {
            let names: Vec<&str> = self.types.iter().map(|one| one.name()).collect();
            link.add("_type", &names.join(","));
        }
        for include in &self.includes {
            link.add(&include.key(), &include.value());
        }
    }
}

/// `path` with these parameters and the projection, in canonical form.
#[must_use]
pub fn print_link(path: &str, parameters: &[(String, String)], projection: &Projection) -> String {
    let mut link = Link { text: path.to_owned(), separator: '?' };
    for (name, value) in parameters {
        link.add(name, value);
    }
    link.project(projection);
    link.text
}

struct Link {
    text: String,
    separator: char,
}

impl Link {
    fn add(&mut self, name: &str, value: &str) {
        let value = utf8_percent_encode(value, ENCODED);
        let _ = write!(self.text, "{}{name}={value}", self.separator);
        self.separator = '&';
    }

    fn project(&mut self, projection: &Projection) {
        match projection {
            Projection::Full | Projection::Content => {}
            Projection::Elements(names) => self.add("_elements", &names.join(",")),
            Projection::SummaryTrue => self.add("_summary", "true"),
            Projection::SummaryText => self.add("_summary", "text"),
            Projection::SummaryData => self.add("_summary", "data"),
        }
    }
}

/// `_sort`'s value.
#[must_use]
pub fn print_sort(keys: &[SortKey]) -> String {
    let print = |key: &SortKey| {
        let sign = if key.descending { "-" } else { "" };
        match &key.by {
            SortBy::Own(parameter) => format!("{sign}{}", parameter.name),
            SortBy::Beyond(traversal) => format!("{sign}{}", traversal.key()),
        }
    };
    keys.iter().map(print).collect::<Vec<_>>().join(",")
}
