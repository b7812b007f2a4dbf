//! The `WWW-Authenticate` header of a refusal, in terms of the scheme that was used (RFC 6750 section 3, RFC 9449 section 7.1).

use super::{SenderProblem, TokenProblem};
use crate::jose::dpop::{ALGORITHMS, ProofProblem};

/// What the `WWW-Authenticate` header needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Challenge<'a> {
    /// The public FHIR base.
    pub realm: &'a str,
    /// How the request presented its token.
    pub scheme: Scheme,
}

/// How a token is presented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 6750 section 2.1
    #[default]
    Bearer,
    /// RFC 9449 section 7.1
    Dpop,
}

impl Challenge<'_> {
    /// The challenge of the scheme `DPoP` (RFC 9449 section 7.1).
    pub(super) fn dpop(&self, problem: Option<SenderProblem>) -> String {
        let error = match problem {
            None => "",
            Some(SenderProblem::Token(_) | SenderProblem::Binding) => "error=\"invalid_token\", ",
            Some(SenderProblem::Proof(ProofProblem::Nonce)) => "error=\"use_dpop_nonce\", ",
            Some(SenderProblem::Proof(_)) => "error=\"invalid_dpop_proof\", ",
        };
        format!("DPoP realm=\"{}\", {error}algs=\"{}\"", self.realm, ALGORITHMS.join(" "))
    }

    /// RFC 6750 section 3.1, RFC 9449 section 7.1
    pub(super) fn insufficient_scope(&self, scope: &str) -> String {
        let realm = self.realm;
        let error = format!("error=\"insufficient_scope\", scope=\"{scope}\"");
        match self.scheme {
            Scheme::Bearer => format!("Bearer realm=\"{realm}\", {error}"),
            Scheme::Dpop => format!("DPoP realm=\"{realm}\", {error}, algs=\"{}\"", ALGORITHMS.join(" ")),
        }
    }

    /// RFC 6750 section 3
    pub(super) fn text(&self, problem: TokenProblem) -> String {
        let realm = self.realm;
        match problem {
            TokenProblem::Missing | TokenProblem::WrongScheme => format!("Bearer realm=\"{realm}\""),
            TokenProblem::Ambiguous => format!("Bearer realm=\"{realm}\", error=\"invalid_request\""),
            TokenProblem::Invalid | TokenProblem::Revoked => {
                format!("Bearer realm=\"{realm}\", error=\"invalid_token\"")
            }
            TokenProblem::Expired => {
                format!(
                    "Bearer realm=\"{realm}\", error=\"invalid_token\", error_description=\"the token has expired\""
                )
            }
        }
    }
}
