//! A provider's discovery document (OpenID Connect Discovery 1.0 sections 3 and 4), pinned to the issuer it was asked for.

use serde::Deserialize;
use url::{Host, Url};

/// What is read of it, checked.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// `authorization_endpoint`
    pub authorization_endpoint: Url,
    /// `token_endpoint`
    pub token_endpoint: Url,
    /// `jwks_uri`
    pub jwks_uri: Url,
    /// `end_session_endpoint` (OpenID Connect RP-Initiated Logout 1.0)
    pub end_session_endpoint: Option<Url>,
    /// `authorization_response_iss_parameter_supported` (RFC 9207): the response must name the issuer.
    pub names_issuer: bool,
    /// Whether a secret goes into the body, since the provider does not list `client_secret_basic`.
    pub secret_in_body: bool,
    /// Whether it says that it knows PKCE with S256.
    pub says_s256: bool,
}

/// What is wrong with a discovery document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataProblem {
    /// Not JSON, or without a member that must be there.
    Malformed,
    /// `issuer` is not the configured one, byte for byte.
    Issuer,
    /// An endpoint is not https (http where the issuer is so too, on this machine).
    Endpoint(&'static str),
    /// `response_types_supported` lacks `code`.
    ResponseType,
}

impl MetadataProblem {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Malformed => {
                "JSON with issuer, authorization_endpoint, token_endpoint and jwks_uri is expected in the discovery document"
            }
            Self::Issuer => {
                "the discovery document is of another issuer; `issuer` must equal its member issuer byte for byte"
            }
            Self::Endpoint("authorization_endpoint") => "the authorization_endpoint must be an https URL",
            Self::Endpoint("token_endpoint") => "the token_endpoint must be an https URL",
            Self::Endpoint(_) => "the jwks_uri and the end_session_endpoint must be https URLs",
            Self::ResponseType => "response_types_supported must hold code",
        }
    }
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    end_session_endpoint: Option<String>,
    response_types_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    authorization_response_iss_parameter_supported: Option<bool>,
}

/// Where the document of `issuer` is (OpenID Connect Discovery 1.0 section 4.1).
pub(super) fn location(issuer: &str) -> Option<Url> {
    let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
    Url::parse(&format!("{issuer}/.well-known/openid-configuration")).ok()
}

impl Metadata {
    /// Reads the document of `issuer`.
    pub(super) fn parse(bytes: &[u8], issuer: &str) -> Result<Self, MetadataProblem> {
        let document: Document = serde_json::from_slice(bytes).map_err(|_| MetadataProblem::Malformed)?;
        if document.issuer != issuer {
            return Err(MetadataProblem::Issuer);
        }
        let plain = issuer.starts_with("http:");
        let endpoint = |name: &'static str, text: &str| endpoint(text, plain).ok_or(MetadataProblem::Endpoint(name));
        let lacks = |list: &Option<Vec<String>>, word: &str| {
            list.as_ref().is_some_and(|list| !list.iter().any(|listed| listed == word))
        };
        if lacks(&document.response_types_supported, "code") {
            return Err(MetadataProblem::ResponseType);
        }
        let methods = &document.token_endpoint_auth_methods_supported;
        Ok(Self {
            authorization_endpoint: endpoint("authorization_endpoint", &document.authorization_endpoint)?,
            token_endpoint: endpoint("token_endpoint", &document.token_endpoint)?,
            jwks_uri: endpoint("jwks_uri", &document.jwks_uri)?,
            end_session_endpoint: document
                .end_session_endpoint
                .as_deref()
                .map(|text| endpoint("end_session_endpoint", text))
                .transpose()?,
            names_issuer: document.authorization_response_iss_parameter_supported.unwrap_or(false),
            secret_in_body: lacks(methods, "client_secret_basic") && !lacks(methods, "client_secret_post"),
            says_s256: document
                .code_challenge_methods_supported
                .is_some_and(|methods| methods.iter().any(|method| method == "S256")),
        })
    }
}

/// https; http to this machine where the issuer is http.
fn endpoint(text: &str, plain: bool) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let here = match url.host()? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    let scheme = url.scheme() == "https" || (plain && here && url.scheme() == "http");
    let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    (scheme && bare).then_some(url)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use serde_json::{Value, json};

    use super::*;

    const ISSUER: &str = "https://idp.example/realms/a";

    fn document() -> Value {
        json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://idp.example/auth?x=1",
            "token_endpoint": "https://idp.example/token",
            "jwks_uri": "https://keys.example/jwks",
        })
    }

    fn parsed(name: &str, value: Value) -> Result<Metadata, MetadataProblem> {
        let mut document = document();
        document.as_object_mut().unwrap().insert(name.to_owned(), value);
        Metadata::parse(document.to_string().as_bytes(), ISSUER)
    }

    #[test]
    fn the_document_lies_below_the_issuer() {
        for issuer in [ISSUER, "https://idp.example/realms/a/"] {
            let expected = "https://idp.example/realms/a/.well-known/openid-configuration";
            assert_eq!(location(issuer).unwrap().as_str(), expected);
        }
    }

    // M3: discovery is pinned to the issuer
    #[test]
    fn a_document_of_another_issuer_or_with_unsafe_endpoints_is_refused() {
        assert!(parsed("more", json!(1)).is_ok());
        for issuer in ["https://idp.example/realms/b", "https://idp.example/realms/a/", "https://IDP.example/realms/a"]
        {
            assert_eq!(parsed("issuer", json!(issuer)).unwrap_err(), MetadataProblem::Issuer);
        }
        for name in ["authorization_endpoint", "token_endpoint", "jwks_uri", "end_session_endpoint"] {
            for bad in [
                "http://idp.example/x",
                "http://127.0.0.1/x",
                "ftp://idp.example",
                "/x",
                "https://u@idp.example/",
                "https://idp.example/#f",
            ] {
                assert_eq!(parsed(name, json!(bad)).unwrap_err(), MetadataProblem::Endpoint(name), "{name} {bad}");
            }
        }
        assert_eq!(parsed("jwks_uri", json!(null)).unwrap_err(), MetadataProblem::Malformed);
        assert_eq!(parsed("response_types_supported", json!(["token"])).unwrap_err(), MetadataProblem::ResponseType);
        assert_eq!(Metadata::parse(b"<html>", ISSUER).unwrap_err(), MetadataProblem::Malformed);
    }

    #[test]
    fn a_secret_goes_into_the_body_only_where_it_must() {
        let methods = |list: Value| parsed("token_endpoint_auth_methods_supported", list).unwrap().secret_in_body;
        assert!(!methods(json!(["client_secret_basic", "client_secret_post"])));
        assert!(methods(json!(["client_secret_post"])));
        assert!(!methods(json!(["private_key_jwt"])));
        assert!(!Metadata::parse(document().to_string().as_bytes(), ISSUER).unwrap().secret_in_body);
    }
}
