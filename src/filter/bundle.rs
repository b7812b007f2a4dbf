//! A searchset or history Bundle: every entry is judged, the rest is rebuilt around what was kept (R4 bundle.html, search.html).
//!
//! Takes the upstream's Bundle, a [`Frame`] with what the gateway says in its own name, and a [`Review`] that judges; gives
//! the Bundle to release. Kept resources are copied byte for byte except where the review or the rewriting of addresses
//! (`super::urls`) edits them.
//!
//! Promises: an entry is released only after [`Review::judge`] said [`Verdict::Keep`] to it, or as an outcome that was
//! sanitised. A match that the judge calls a violation fails the whole answer, for then the upstream does not honour our
//! narrowing; an included resource is left out instead, and so is any entry without a resource. An unknown or absent
//! mode is a match. Of the Bundle itself only members named here leave: `resourceType`, `type`, `timestamp`, labels and
//! date of `meta`, `total` where the frame lets it, our own links. `Bundle.id` does not: servers use it as paging cursor.

mod fault;

pub use self::fault::Fault;
use super::outcome::sanitise;
use super::urls::{Position, Rebase, rewrite as rewrite_addresses};
use crate::fhir::facts::Facts;
use crate::fhir::reference::{Id, LocalReference};
use crate::fhir::resource_type::ResourceType;
use crate::json::{Edits, Json, Kind, Member, Value, quote, quote_into};

/// What the gateway puts into the Bundle in its own name.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'f> {
    /// What was asked for, and so what must have come.
    pub kind: BundleKind,
    /// Our base and the upstream's.
    pub rebase: &'f Rebase,
    /// The `self` link: the client's query in our canonical form, below our base.
    pub self_link: &'f str,
    /// Whether a total may leave.
    pub total: Total,
}

/// Which `Bundle.type` is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleKind {
    /// The answer to a search.
    Searchset,
    /// The answer to a history interaction: each version is judged, and one that is a violation is left out. So are
    /// deletions, which have no resource, unless the review keeps them.
    History,
}

/// Whether `Bundle.total` may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Total {
    /// It counts what this client may not see.
    Remove,
    /// It may, unless an entry was left out: then it would tell.
    Keep,
}

/// The caller's part of releasing a Bundle.
pub trait Review {
    /// Decides on one resource, whole as the upstream sent it.
    fn judge(&mut self, entry: &Entry<'_>) -> Verdict;

    /// Decides on the deletion of a resource, of which only this is known.
    fn judge_deletion(&mut self, resource_type: ResourceType, id: Id<'_>) -> Verdict {
        let _ = (resource_type, id);
        Verdict::Drop
    }

    /// Collects further edits of a kept resource: redaction, projection.
    fn shape(&mut self, entry: &Entry<'_>, edits: &mut Edits<'_>) {
        let _ = (entry, edits);
    }

    /// What an address in a kept resource becomes, where it is not enough to put our base in the place of the upstream's:
    /// a sealed link to a Binary.
    fn address(&mut self, entry: &Entry<'_>, position: Position, url: &str) -> Option<String> {
        let _ = (entry, position, url);
        None
    }

    /// Our URL for the upstream's continuation `url`; without one the link is left out.
    fn seal(&mut self, relation: Relation, url: &str) -> Option<String>;
}

/// A resource in the Bundle.
#[derive(Debug)]
pub struct Entry<'a> {
    /// What is known of it.
    pub facts: Facts<'a>,
    /// Why it is there.
    pub mode: Mode,
}

/// `Bundle.entry.search.mode`; in a history all are matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "FHIR's own words")]
pub enum Mode {
    Match,
    Include,
    Outcome,
}

/// What becomes of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is released.
    Keep,
    /// It is left out quietly: not asked for, or filtered by a rule that the upstream need not know.
    Drop,
    /// It should not have come, for this reason: our narrowing was not honoured.
    Violation(&'static str),
}

/// The continuations that a page may link to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "FHIR's own words")]
pub enum Relation {
    First,
    Previous,
    Next,
    Last,
}

/// A Bundle that may be released.
#[derive(Debug)]
pub struct Reviewed {
    /// The Bundle.
    pub body: Vec<u8>,
    /// How many resources it has, outcomes not counted.
    pub kept: usize,
    /// How many entries were left out.
    pub dropped: usize,
}

/// Reviews every entry of `json` and rebuilds the Bundle around what was kept.
///
/// # Errors
/// A [`Fault`]; then nothing of the Bundle may be released.
pub fn review(json: &Json, frame: &Frame<'_>, review: &mut impl Review) -> Result<Reviewed, Fault> {
    let bundle = json.root();
    let is = |name: &str, text: &str| bundle.member(name).is_some_and(|value| value.is(text));
    if !is("resourceType", "Bundle") || !is("type", frame.kind.name()) {
        return Err(Fault::NotTheBundle);
    }
    let mut edits = Edits::new(json);
    let mut pass = Pass { frame, review, edits: &mut edits, kept: 0, dropped: 0 };
    pass.bundle(bundle)?;
    let Pass { kept, dropped, .. } = pass;
    Ok(Reviewed { body: edits.apply()?, kept, dropped })
}

struct Pass<'p, 'a, R> {
    frame: &'p Frame<'p>,
    review: &'p mut R,
    edits: &'p mut Edits<'a>,
    kept: usize,
    dropped: usize,
}

impl<R: Review> Pass<'_, '_, R> {
    fn bundle(&mut self, bundle: Value<'_>) -> Result<(), Fault> {
        let mut total = None;
        for member in bundle.members() {
            match &*member.name_bytes() {
                b"resourceType" | b"type" => {}
                b"timestamp" if member.value.is_string() => {}
                b"meta" if member.value.kind() == Kind::Object => self.meta(member.value),
                b"total" if member.value.kind() == Kind::Number => total = Some(member),
                b"entry" => {
                    if !self.entries(member.value)? {
                        self.edits.remove_member(bundle, &member);
                    }
                }
                _ => self.edits.remove_member(bundle, &member),
            }
        }
        if let Some(total) = total.filter(|_| self.frame.total == Total::Remove || self.dropped > 0) {
            self.edits.remove_member(bundle, &total);
        }
        let links = self.links(bundle.member("link"));
        self.edits.add_member(bundle, "link", &links);
        Ok(())
    }

    fn meta(&mut self, meta: Value<'_>) {
        self.edits
            .retain_members(meta, |member| matches!(&*member.name_bytes(), b"lastUpdated" | b"security" | b"tag"));
    }

    /// Reviews all entries; returns whether one is kept, for JSON in FHIR has no empty arrays.
    fn entries(&mut self, entries: Value<'_>) -> Result<bool, Fault> {
        if entries.kind() != Kind::Array {
            return Err(Fault::Malformed("entry"));
        }
        let mut some = false;
        for entry in entries.elements() {
            if entry.kind() != Kind::Object {
                return Err(Fault::Malformed("entry"));
            }
            if self.entry(entry)? {
                some = true;
            } else {
                self.dropped += 1;
                self.edits.remove_element(entries, entry);
            }
        }
        Ok(some)
    }

    /// Reviews one entry; returns whether it is kept.
    fn entry(&mut self, entry: Value<'_>) -> Result<bool, Fault> {
        let Some(resource) = entry.member("resource") else {
            return Ok(self.frame.kind == BundleKind::History && self.deletion(entry));
        };
        let mode = self.frame.kind.mode(entry);
        if mode == Mode::Outcome {
            return Ok(self.outcome(entry, resource));
        }
        let facts = Facts::of(resource).ok().filter(|facts| facts.id().is_some());
        let strict = self.frame.kind == BundleKind::Searchset && mode == Mode::Match;
        let Some(facts) = facts else {
            return if strict { Err(Fault::NotAResource) } else { Ok(false) };
        };
        let judged = Entry { facts, mode };
        match self.review.judge(&judged) {
            Verdict::Keep => {}
            Verdict::Violation(reason) if strict => return Err(Fault::Violation(reason)),
            Verdict::Drop | Verdict::Violation(_) => return Ok(false),
        }
        self.kept += 1;
        self.release(entry, &judged);
        Ok(true)
    }

    /// An outcome says nothing but severities and codes, and is about the search, not about a resource.
    fn outcome(&mut self, entry: Value<'_>, resource: Value<'_>) -> bool {
        let is_outcome =
            Facts::of(resource).is_ok_and(|facts| facts.resource_type() == ResourceType::OPERATION_OUTCOME);
        if is_outcome {
            self.edits.replace(resource, sanitise(resource));
            self.search(entry);
            self.edits.retain_members(entry, |member| member.key.is("resource") || member.key.is("search"));
        }
        is_outcome
    }

    fn release(&mut self, entry: Value<'_>, judged: &Entry<'_>) {
        let Some(id) = judged.facts.id() else { return };
        let base = self.frame.rebase.ours();
        let mut full_url = String::with_capacity(base.len() + 96);
        for part in [base, "/", judged.facts.resource_type().name(), "/", id.as_str()] {
            full_url.push_str(part);
        }
        let full_url = quote(&full_url);
        match entry.member("fullUrl") {
            Some(theirs) => self.edits.replace(theirs, full_url),
            None => self.edits.add_member(entry, "fullUrl", &full_url),
        }
        let history = self.frame.kind == BundleKind::History;
        if history {
            self.version(entry, &format!("{}/{id}", judged.facts.resource_type()));
        } else {
            self.search(entry);
        }
        self.edits.retain_members(entry, |member| match &*member.name_bytes() {
            b"resource" | b"fullUrl" => true,
            b"search" => !history,
            b"request" | b"response" => history,
            _ => false,
        });
        let resource = judged.facts.resource();
        let (review, rebase) = (&mut *self.review, self.frame.rebase);
        rewrite_addresses(resource, self.edits, &mut |position, url| {
            review.address(judged, position, url).or_else(|| rebase.outward(url))
        });
        self.review.shape(judged, self.edits);
    }

    /// Of `search` a known mode and the score leave.
    fn search(&mut self, entry: Value<'_>) {
        let Some(search) = entry.members().find(|member| member.key.is("search")) else { return };
        let known = |member: &Member<'_>| match &*member.name_bytes() {
            b"mode" => ["match", "include", "outcome"].iter().any(|mode| member.value.is(mode)),
            b"score" => member.value.kind() == Kind::Number,
            _ => false,
        };
        if search.value.members().any(|member| known(&member)) {
            self.edits.retain_members(search.value, known);
        } else {
            self.edits.remove_member(entry, &search);
        }
    }

    /// How a version came about: the method, but not the URL, which may have been a search, and when.
    fn version(&mut self, entry: Value<'_>, name: &str) {
        for member in entry.members() {
            if member.key.is("request") {
                let method = member.value.member("method");
                let known =
                    ["POST", "PUT", "PATCH"].into_iter().find(|known| method.is_some_and(|value| value.is(known)));
                match known {
                    None => self.edits.remove_member(entry, &member),
                    Some(method) => {
                        let request = format!(r#"{{"method":"{method}","url":"{name}"}}"#);
                        self.edits.replace(member.value, request.into_bytes());
                    }
                }
            } else if member.key.is("response") {
                let known = |member: &Member<'_>| {
                    matches!(&*member.name_bytes(), b"status" | b"etag" | b"lastModified") && member.value.is_string()
                };
                if member.value.members().any(|member| member.key.is("status") && known(&member)) {
                    self.edits.retain_members(member.value, known);
                } else {
                    self.edits.remove_member(entry, &member);
                }
            }
        }
    }

    /// Reviews a deletion; returns whether it is kept. It is rebuilt from its parts.
    fn deletion(&mut self, entry: Value<'_>) -> bool {
        let request = entry.member("request");
        let of_method = request.and_then(|request| request.member("method")).is_some_and(|method| method.is("DELETE"));
        let named = [request.and_then(|request| request.text("url")), entry.text("fullUrl")];
        let mut named = named.iter().flatten().map(|url| {
            let below = self.frame.rebase.below(url).unwrap_or(url);
            LocalReference::parse_relative(below.trim_start_matches('/'))
        });
        let (Some(Some(one)), other) = (named.next(), named.next()) else { return false };
        if !of_method || other.is_some_and(|other| other.is_none_or(|other| !other.names(one.resource_type, one.id))) {
            return false;
        }
        if self.review.judge_deletion(one.resource_type, one.id) != Verdict::Keep {
            return false;
        }
        let name = format!("{}/{}", one.resource_type, one.id);
        let mut text = br#"{"fullUrl":"#.to_vec();
        quote_into(&format!("{}/{name}", self.frame.rebase.ours()), &mut text);
        text.extend_from_slice(format!(r#","request":{{"method":"DELETE","url":"{name}"}}"#).as_bytes());
        let response = entry.member("response");
        let told = |name: &str| response.and_then(|response| response.text(name));
        if let Some(status) = told("status") {
            text.extend_from_slice(br#","response":{"status":"#);
            quote_into(&status, &mut text);
            for name in ["etag", "lastModified"] {
                if let Some(value) = told(name) {
                    text.extend_from_slice(format!(r#","{name}":"#).as_bytes());
                    quote_into(&value, &mut text);
                }
            }
            text.push(b'}');
        }
        text.push(b'}');
        self.edits.replace(entry, text);
        true
    }

    /// Our `self` link and the continuations that the review seals, each relation once.
    fn links(&mut self, theirs: Option<Value<'_>>) -> Vec<u8> {
        let mut links = br#"[{"relation":"self","url":"#.to_vec();
        quote_into(self.frame.self_link, &mut links);
        let mut seen: Vec<Relation> = Vec::new();
        for link in theirs.into_iter().flat_map(Value::elements) {
            let relation = link.member("relation").and_then(Relation::of);
            let (Some(relation), Some(url)) = (relation, link.text("url")) else { continue };
            if seen.contains(&relation) {
                continue;
            }
            seen.push(relation);
            if let Some(ours) = self.review.seal(relation, &url) {
                links.extend_from_slice(format!(r#"}},{{"relation":"{}","url":"#, relation.name()).as_bytes());
                quote_into(&ours, &mut links);
            }
        }
        links.extend_from_slice(b"}]");
        links
    }
}

impl BundleKind {
    fn name(self) -> &'static str {
        match self {
            Self::Searchset => "searchset",
            Self::History => "history",
        }
    }

    /// Why the entry is there.
    pub(super) fn mode(self, entry: Value<'_>) -> Mode {
        let mode = entry.member("search").and_then(|search| search.member("mode"));
        match mode {
            Some(mode) if self == Self::Searchset && mode.is("include") => Mode::Include,
            Some(mode) if self == Self::Searchset && mode.is("outcome") => Mode::Outcome,
            _ => Mode::Match,
        }
    }
}

impl Relation {
    /// The relation's name, as in `Bundle.link.relation`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Previous => "previous",
            Self::Next => "next",
            Self::Last => "last",
        }
    }

    fn of(name: Value<'_>) -> Option<Self> {
        const NAMES: [(&str, Relation); 5] = [
            ("next", Relation::Next),
            ("previous", Relation::Previous),
            ("prev", Relation::Previous),
            ("first", Relation::First),
            ("last", Relation::Last),
        ];
        NAMES.into_iter().find(|(known, _)| name.is(known)).map(|(_, relation)| relation)
    }
}

#[cfg(test)]
mod tests;
