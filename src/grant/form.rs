//! Parameters of a query or of a posted form, each at most once.

use std::collections::{HashMap, HashSet};

use http::header::CONTENT_TYPE;

use crate::listen::Inbound;

/// More parameters than this are not read.
const MAX_PARAMETERS: usize = 1000;

/// Longest form that is read, in bytes: room for the longest scope text, written with percent signs, twice over.
const MAX_BYTES: usize = 256 * 1024;

/// Decoded parameters in the order sent.
#[derive(Debug)]
pub(super) struct Form(Vec<(String, String)>);

/// A parameter that occurs more than once where one is expected.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Repeated;

impl Form {
    /// `None` when the text is not UTF-8 after decoding, or has more parameters than any request of a real client.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let parameters: Vec<(String, String)> = form_urlencoded::parse(text)
            .take(MAX_PARAMETERS + 1)
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        let replaced = parameters.iter().any(|(name, value)| name.contains('\u{fffd}') || value.contains('\u{fffd}'));
        (!replaced && parameters.len() <= MAX_PARAMETERS).then_some(Self(parameters))
    }

    /// The body of a POST that says it is a form (RFC 6749 appendix B), of 256 KiB at most.
    pub(super) fn posted(inbound: &Inbound) -> Option<Self> {
        let content_type = inbound.single_header(CONTENT_TYPE.as_str()).ok().flatten()?;
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let is_form = essence.eq_ignore_ascii_case("application/x-www-form-urlencoded");
        (is_form && inbound.body.len() <= MAX_BYTES).then(|| Self::parse(&inbound.body)).flatten()
    }

    /// The value of a parameter that may occur once.
    pub(super) fn single(&self, name: &str) -> Result<Option<&str>, Repeated> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(Repeated),
        }
    }

    /// The first value; `None` also when there are more: for forms of ours, which have one.
    pub(super) fn only(&self, name: &str) -> Option<&str> {
        self.single(name).ok().flatten()
    }

    /// All values of a parameter that may be repeated (checkboxes).
    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether any parameter occurs twice but `resource`, which may (RFC 8707 section 2).
    pub(super) fn has_repeated(&self) -> bool {
        let mut seen = HashSet::new();
        self.names().any(|name| name != "resource" && !seen.insert(name))
    }

    /// The names of the parameters; a repeated one more than once.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Takes parameters out.
    pub(super) fn remove(&mut self, names: &[&str]) {
        self.0.retain(|(name, _)| !names.contains(&name.as_str()));
    }

    /// Takes out what has no value: it is as if it had been omitted (RFC 6749 section 3.1). What is sent twice stays, to be
    /// refused.
    pub(super) fn without_empty(mut self) -> Self {
        let mut times: HashMap<String, usize> = HashMap::new();
        for (name, _) in &self.0 {
            *times.entry(name.clone()).or_default() += 1;
        }
        self.0.retain(|(name, value)| !value.is_empty() || times.get(name).is_some_and(|times| *times > 1));
        self
    }

    /// Adds a parameter that was not sent.
    pub(super) fn default(&mut self, name: &str, value: &str) {
        if self.all(name).next().is_none() {
            self.0.push((name.to_owned(), value.to_owned()));
        }
    }
}

impl From<Vec<(String, String)>> for Form {
    fn from(parameters: Vec<(String, String)>) -> Self {
        Self(parameters)
    }
}

impl From<Form> for Vec<(String, String)> {
    fn from(form: Form) -> Self {
        form.0
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::*;

    #[test]
    fn a_form_is_read_up_to_a_size_that_people_and_apps_do_not_reach() {
        let size = |bytes: usize| {
            let mut inbound = Inbound::for_test("POST", "/authorize");
            let form = http::HeaderValue::from_static("application/x-www-form-urlencoded");
            inbound.headers.insert(CONTENT_TYPE, form);
            inbound.body = format!("a={}", "x".repeat(bytes - 2)).into();
            Form::posted(&inbound).is_some()
        };
        assert!(size(256 * 1024) && !size(256 * 1024 + 1));
    }

    #[test]
    fn what_has_no_value_is_left_out_unless_it_is_sent_twice() {
        let form = Form::parse(b"a=1&b=&c=&c=2&d=&resource=&resource=&e").unwrap();
        assert!(form.has_repeated());
        let form = form.without_empty();
        assert_eq!(form.names().collect::<Vec<_>>(), ["a", "c", "c", "resource", "resource"]);
        assert!(form.has_repeated());
        assert!(!Form::parse(b"a=1&b=&resource=1&resource=2").unwrap().has_repeated());
    }
}
