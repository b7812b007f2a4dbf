//! Parameters of a query or of a posted form, each at most once.

use http::header::CONTENT_TYPE;

use crate::listen::Inbound;

/// More parameters than this are not read.
const MAX_PARAMETERS: usize = 1000;

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

    /// The body of a POST that says it is a form (RFC 6749 appendix B).
    pub(super) fn posted(inbound: &Inbound) -> Option<Self> {
        let content_type = inbound.single_header(CONTENT_TYPE.as_str()).ok().flatten()?;
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/x-www-form-urlencoded").then(|| Self::parse(&inbound.body)).flatten()
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
        let repeated = |(i, (name, _)): (usize, &(String, String))| {
            name != "resource" && self.0.iter().skip(i + 1).any(|(other, _)| other == name)
        };
        self.0.iter().enumerate().any(repeated)
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
        let empty = |(name, value): &(String, String)| value.is_empty() && self.single(name).is_ok();
        let omitted: Vec<String> = self.0.iter().filter(|one| empty(one)).map(|(name, _)| name.clone()).collect();
        self.0.retain(|(name, _)| !omitted.contains(name));
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
