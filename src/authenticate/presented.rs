//! The one credential of a request, as it came: scheme and text, unchecked (RFC 6750 section 2.1, RFC 9449 section 7.1).

use std::net::IpAddr;

use http::HeaderValue;
use http::header::{AUTHORIZATION, ORIGIN};

use crate::error::{Scheme, TokenProblem};
use crate::listen::Inbound;

/// Longest `Authorization` header that is looked at, bytes.
const LONGEST_HEADER: usize = 8 * 1024;

/// The credentials that came with a request, unchecked.
#[derive(Clone, Debug)]
pub struct Presented {
    /// `Err`: there are several.
    authorization: Result<Option<HeaderValue>, TokenProblem>,
    pub(super) address: IpAddr,
    /// The one `Origin`: the page that sent it.
    pub(super) origin: Option<HeaderValue>,
}

/// A token and how it is presented.
#[derive(Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) scheme: Scheme,
    pub(super) text: &'a str,
}

impl Presented {
    /// What `inbound` presents. Costs no copy.
    #[must_use]
    pub fn with(inbound: &Inbound) -> Self {
        let mut values = inbound.headers.get_all(AUTHORIZATION).iter();
        let authorization = match (values.next(), values.next()) {
            (only, None) => Ok(only.cloned()),
            (_, Some(_)) => Err(TokenProblem::Ambiguous),
        };
        let mut origins = inbound.headers.get_all(ORIGIN).iter();
        let origin = origins.next().filter(|_| origins.next().is_none()).cloned();
        Self { authorization, address: inbound.peer.ip(), origin }
    }

    /// In whose terms a refusal is told: of the scheme that was used, whatever else is wrong.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.token().map_or(Scheme::Bearer, |token| token.scheme)
    }

    /// The token of the one `Authorization` header (RFC 6750 section 2.1, RFC 9449 section 7.1; the other two ways of RFC 6750
    /// section 2 are refused).
    pub(super) fn token(&self) -> Result<Token<'_>, TokenProblem> {
        let Some(header) = self.authorization.as_ref().map_err(|problem| *problem)? else {
            return Err(TokenProblem::Missing);
        };
        let header = header.to_str().map_err(|_| TokenProblem::Ambiguous)?;
        if header.is_empty() {
            return Err(TokenProblem::Missing);
        }
        if header.len() > LONGEST_HEADER {
            return Err(TokenProblem::Invalid);
        }
        let (scheme, token) = header.split_once(' ').ok_or(TokenProblem::WrongScheme)?;
        let scheme = if scheme.eq_ignore_ascii_case("bearer") {
            Scheme::Bearer
        } else if scheme.eq_ignore_ascii_case("dpop") {
            Scheme::Dpop
        } else {
            return Err(TokenProblem::WrongScheme);
        };
        let text = token.trim_matches(' ');
        if text.is_empty() || text.contains([' ', ',']) {
            Err(TokenProblem::Invalid)
        } else {
            Ok(Token { scheme, text })
        }
    }
}
