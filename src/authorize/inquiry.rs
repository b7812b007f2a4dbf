//! What must be read before it can be decided, as a step of its own: an [`Inquiry`] names the reads, `forward` makes them and
//! answers with [`Evidence`], and the decision goes on from there.
//!
//! Promises: only `authorize` says what is read, and what is read for a decision is never released: there is no way from
//! evidence to an answer. Rounds are bounded.

use bytes::Bytes;

use super::UpstreamRequest;
use super::binary::Attached;
use super::change::Change;
use super::history::Visit;
use super::operation::Pending as Operation;
use super::targets::Aimed;
use super::transaction::Pending as Transaction;
use crate::error::{Refusal, UpstreamFault};
use crate::json::{Json, Limits};

/// Rounds of reading for one decision at most: of Provenance what is named as targets, what is found, the first that each is about,
/// all that it is about, and versions of that. A change needs three.
const MOST_ROUNDS: u8 = 5;

/// Reads that a decision needs. Only `authorize` makes one:
///
/// ```compile_fail,E0451
/// use firebreak::authorize::{Inquiry, UpstreamRequest};
///
/// fn forge(reads: Vec<UpstreamRequest>, whose: Inquiry) -> Inquiry {
///     Inquiry { reads, ..whose }
/// }
/// ```
/// ```
/// fn hand_on(inquiry: firebreak::authorize::Inquiry) -> firebreak::authorize::Inquiry {
///     inquiry
/// }
/// ```
#[derive(Debug)]
pub struct Inquiry {
    reads: Vec<UpstreamRequest>,
    pub(super) pending: Pending,
    pub(super) round: u8,
}

/// What waits for the evidence.
#[derive(Debug)]
pub(super) enum Pending {
    /// One change.
    Change(Box<Change>),
    /// All entries of a transaction together.
    Transaction(Box<Transaction>),
    /// A request about a resource whose current version must be within reach.
    Visit(Box<Visit>),
    /// A request for Provenance, of which every target must be known.
    Targets(Box<Aimed>),
    /// One operation.
    Operation(Box<Operation>),
    /// A request for one Binary, of which it must be known who may read it.
    Attached(Box<Attached>),
}

impl Inquiry {
    /// # Errors
    /// When the decision has asked often enough.
    pub(super) fn new(reads: Vec<UpstreamRequest>, pending: Pending, round: u8) -> Result<Self, Refusal> {
        if round >= MOST_ROUNDS {
            return Err(Refusal::Upstream(UpstreamFault::Unusable("too many rounds of reading")));
        }
        Ok(Self { reads, pending, round: round + 1 })
    }

    /// What the decision depends on, for explanations.
    #[must_use]
    pub fn depends_on(&self) -> &'static str {
        match &self.pending {
            Pending::Change(_) | Pending::Transaction(_) => {
                "what is there: it must be within reach, and so must what would be there"
            }
            Pending::Attached(_) => {
                "who may read the Binary: what refers to it must be within reach and refer to it still, and so must its security context"
            }
            Pending::Targets(_) => "what it is about: each target must be the patient or within reach",
            Pending::Operation(_) => "what it is about: that must be within reach",
            Pending::Visit(_) => "what is there now: it must be within reach, and so must each version that is shown",
        }
    }

    /// What is to be read; one piece of evidence is due for each, in this order.
    #[must_use]
    pub fn reads(&self) -> &[UpstreamRequest] {
        &self.reads
    }
}

/// What the gateway itself read from the upstream in order to decide. It can be judged; it can never become an answer.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// `None`: absent.
    pub(crate) body: Option<Bytes>,
    /// `ETag` as sent.
    pub(crate) etag: Option<String>,
    /// The upstream refused the search as such.
    pub(crate) refused: bool,
}

impl Evidence {
    /// This was read.
    pub(crate) fn of(body: Bytes, etag: Option<String>) -> Self {
        Self { body: Some(body), etag, refused: false }
    }

    /// There is nothing.
    pub(crate) fn absent() -> Self {
        Self { body: None, etag: None, refused: false }
    }

    /// The upstream does not search like this.
    pub(crate) fn refused() -> Self {
        Self { refused: true, ..Self::absent() }
    }

    /// The parsed text, if there is anything.
    ///
    /// # Errors
    /// When it is not strict JSON: then nothing can be judged.
    pub(super) fn json(&self) -> Result<Option<Json>, Refusal> {
        let parse = |body: &Bytes| Json::parse(body.clone(), Limits::default());
        self.body.as_ref().map(parse).transpose().map_err(|_| unusable("evidence that is not strict JSON"))
    }
}

/// The upstream's answer cannot be judged.
pub(super) fn unusable(what: &'static str) -> Refusal {
    Refusal::Upstream(UpstreamFault::Unusable(what))
}
