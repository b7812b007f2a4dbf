//! The upstream's CapabilityStatement as ours, served without a token and remembered for ten minutes.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::authorize::serves;
use crate::error::{Refusal, UpstreamFault};
use crate::fhir::definitions::search_parameter;
use crate::fhir::operation::{Level, Operation, known};
use crate::fhir::resource_type::ResourceType;
use crate::filter::capabilities::{Endpoints, Offer, capability_statement};
use crate::filter::urls::Rebase;
use crate::forward::Upstream;
use crate::grant::route;

/// How long a statement is taken for current.
const CURRENT: Duration = Duration::from_secs(600);
/// How long the upstream is left alone after it failed.
const PAUSE: Duration = Duration::from_secs(2);

/// The statement and when it was fetched. One fetch at a time.
#[derive(Debug)]
pub struct Capabilities {
    rebase: Rebase,
    issuer: String,
    register: Option<String>,
    /// Stands in where the upstream's statement has no date.
    date: String,
    /// The operations that the site lists.
    listed: Vec<Operation>,
    known: Mutex<Known>,
}

/// What the request path serves: reads, histories, type searches by the parameters of the definitions, changes, operations, batch
/// and transaction.
struct Served<'a> {
    listed: &'a [Operation],
}

impl Offer for Served<'_> {
    fn interaction(&self, resource_type: ResourceType, code: &str) -> bool {
        match code {
            "read" | "vread" | "history-instance" | "history-type" | "search-type" => serves(resource_type, false),
            "create" | "update" | "patch" | "delete" => serves(resource_type, true),
            _ => false,
        }
    }

    fn of_the_system(&self, code: &str) -> bool {
        matches!(code, "batch" | "transaction" | "history-system")
    }

    fn operation(&self, resource_type: Option<ResourceType>, name: &str) -> Option<String> {
        let at = |operation: &&Operation| match resource_type {
            None => operation.is_at(Level::System, None),
            Some(_) => [Level::Type, Level::Instance].iter().any(|level| operation.is_at(*level, resource_type)),
        };
        let mut all = known().iter().chain(self.listed).filter(|operation| operation.name == name);
        let operation = all.find(at)?;
        let served = resource_type.is_none_or(|one| serves(one, operation.affects_state));
        served.then(|| operation.definition.to_string())
    }

    fn own_operations(&self, resource_type: ResourceType) -> Vec<&'static str> {
        if resource_type == ResourceType::DOCUMENT_REFERENCE { vec!["docref"] } else { Vec::new() }
    }

    fn search_parameter(&self, resource_type: ResourceType, name: &str) -> bool {
        !matches!(name, "_text" | "_content" | "_query") && search_parameter(resource_type, name).is_some()
    }
}

#[derive(Debug, Default)]
struct Known {
    body: Option<(Bytes, Instant)>,
    failed: Option<(UpstreamFault, Instant)>,
}

impl Capabilities {
    /// States what is served below `rebase`'s base, with the endpoints of `issuer`; `date` is when this process started.
    #[must_use]
    pub fn new(rebase: Rebase, issuer: &str, date: String) -> Self {
        Self {
            rebase,
            issuer: issuer.to_owned(),
            register: None,
            date,
            listed: Vec::new(),
            known: Mutex::new(Known::default()),
        }
    }

    /// Names the registration endpoint, where there is one.
    #[must_use]
    pub fn with_registration(self, register: Option<String>) -> Self {
        Self { register, ..self }
    }

    /// Names the operations that the site lists, where the upstream has them.
    #[must_use]
    pub fn with_operations(self, listed: Vec<Operation>) -> Self {
        Self { listed, ..self }
    }

    /// Our CapabilityStatement. One that is past its time still serves while the upstream cannot be asked.
    ///
    /// # Errors
    /// When the upstream cannot be asked and nothing is known, or what it states is no CapabilityStatement of R4.
    pub async fn body(&self, upstream: &Upstream) -> Result<Bytes, Refusal> {
        let mut known = self.known.lock().await;
        if let Some((body, since)) = &known.body
            && since.elapsed() < CURRENT
        {
            return Ok(body.clone());
        }
        let fault = match known.failed {
            Some((fault, since)) if since.elapsed() < PAUSE => fault,
            _ => match self.fetch(upstream).await {
                Ok(body) => {
                    *known = Known { body: Some((body.clone(), Instant::now())), failed: None };
                    return Ok(body);
                }
                Err(fault) => {
                    known.failed = Some((fault, Instant::now()));
                    fault
                }
            },
        };
        known.body.as_ref().map(|(body, _)| body.clone()).ok_or(Refusal::Upstream(fault))
    }

    async fn fetch(&self, upstream: &Upstream) -> Result<Bytes, UpstreamFault> {
        let evidence = upstream.capabilities().await?;
        let body = evidence.body.ok_or(UpstreamFault::Unusable("no CapabilityStatement"))?;
        let at = |path: &str| format!("{}{path}", self.issuer);
        let endpoints = Endpoints {
            rebase: &self.rebase,
            date: &self.date,
            description: "FHIR R4 through a SMART on FHIR gateway",
            authorize: &at(route::AUTHORIZE),
            token: &at(route::TOKEN),
            introspect: Some(&at(route::INTROSPECT)),
            manage: Some(&at(route::MANAGE)),
            register: self.register.as_deref(),
            revoke: Some(&at(route::REVOKE)),
        };
        capability_statement(body, &endpoints, &Served { listed: &self.listed })
            .map(Into::into)
            .map_err(|_| UpstreamFault::Unusable("no CapabilityStatement of R4"))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::{Config, Fhir};

    #[test]
    fn an_interaction_is_named_where_it_is_served() {
        let served = Served { listed: &[] };
        for (of, reads, changes) in [
            (ResourceType::OBSERVATION, true, true),
            (ResourceType::STRUCTURE_DEFINITION, true, false),
            (ResourceType::BUNDLE, false, false),
            (ResourceType::PARAMETERS, false, false),
        ] {
            for code in ["read", "vread", "history-instance", "history-type", "search-type"] {
                assert_eq!(served.interaction(of, code), reads, "{of} {code}");
            }
            for code in ["create", "update", "patch", "delete"] {
                assert_eq!(served.interaction(of, code), changes, "{of} {code}");
            }
            assert!(!served.interaction(of, "made-up"), "{of}");
        }
        assert!(served.of_the_system("batch") && !served.of_the_system("search-system"));
        assert!(served.search_parameter(ResourceType::OBSERVATION, "code"));
        for unknown in ["_query", "_text", "_content", "made-up"] {
            assert!(!served.search_parameter(ResourceType::OBSERVATION, unknown), "{unknown}");
        }
    }

    fn fhir(base: &str, more: &str) -> Fhir {
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\norigin = \"http://localhost\"\ndanger_plain_http = true\n\
             [fhir]\nupstream = \"{base}\"\ntimeout = \"5s\"\n{more}"
        );
        Config::parse(&text, Path::new(".")).unwrap().fhir
    }

    #[test]
    fn an_operation_is_named_where_it_is_served() {
        let listed = "[[fhir.operation]]\nname = \"match\"\ndefinition = \"http://hl7.org/fhir/OperationDefinition/Patient-match\"\n\
             levels = [\"type\"]\nresource_types = [\"Patient\"]\nneeds = [\"Patient.rs\"]\nreturns = \"searchset\"\n\
             returned_types = [\"Patient\"]\n";
        let listed = fhir("http://up/fhir", listed).operations;
        let served = Served { listed: &listed };
        let named = |of, name| served.operation(of, name).is_some();
        assert!(named(Some(ResourceType::PATIENT), "match") && named(Some(ResourceType::PATIENT), "validate"));
        assert!(!named(Some(ResourceType::OBSERVATION), "match") && !named(None, "match"));
        assert!(!named(Some(ResourceType::BUNDLE), "validate"), "the type is not served");
        assert!(Served { listed: &[] }.operation(Some(ResourceType::PATIENT), "match").is_none());
        assert_eq!(served.own_operations(ResourceType::DOCUMENT_REFERENCE), ["docref"]);
        assert!(served.own_operations(ResourceType::PATIENT).is_empty());
    }

    /// An upstream whose answers are these, one after the other; a type is a statement that has it. Counts what it is asked.
    async fn answering(answers: &'static [Option<&'static str>]) -> (Upstream, Arc<AtomicUsize>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let base = format!("http://{}/fhir", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await;
                count.fetch_add(1, Ordering::Relaxed);
                let (status, body) = match answer {
                    None => (503, "{}".to_owned()),
                    Some(of) => (
                        200,
                        format!(
                            r#"{{"resourceType":"CapabilityStatement","status":"active","kind":"instance","fhirVersion":"4.0.1","format":["json"],
                            "rest":[{{"mode":"server","resource":[{{"type":"{of}","interaction":[{{"code":"read"}}]}}]}}]}}"#
                        ),
                    ),
                };
                let head = "Content-Type: application/fhir+json\r\nConnection: close\r\n";
                let answer = format!("HTTP/1.1 {status} X\r\n{head}Content-Length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        (Upstream::new(&fhir(&base, "")).unwrap(), asked)
    }

    #[tokio::test]
    async fn a_statement_is_fetched_when_it_is_old_and_an_upstream_that_failed_left_alone_for_a_moment() {
        let (upstream, asked) = answering(&[None, Some("Patient"), None, Some("Observation")]).await;
        let capabilities = Capabilities::new(Rebase::new("http://us/fhir", &[]), "http://us", "2026-01-01".to_owned());
        let told = async || {
            let body = capabilities.body(&upstream).await.ok();
            let text = body.map(|body| String::from_utf8(body.to_vec()).unwrap());
            let of =
                ["Patient", "Observation"].into_iter().find(|of| text.as_ref().is_some_and(|text| text.contains(of)));
            (of, asked.load(Ordering::Relaxed))
        };
        let earlier = |since: &mut Instant, by: Duration| *since = since.checked_sub(by).unwrap();
        assert_eq!(told().await, (None, 1));
        assert_eq!(told().await, (None, 1));
        earlier(&mut capabilities.known.lock().await.failed.as_mut().unwrap().1, PAUSE);
        assert_eq!(told().await, (Some("Patient"), 2));
        assert_eq!(told().await, (Some("Patient"), 2));
        earlier(&mut capabilities.known.lock().await.body.as_mut().unwrap().1, CURRENT);
        assert_eq!(told().await, (Some("Patient"), 3), "better than nothing");
        assert_eq!(told().await, (Some("Patient"), 3));
        earlier(&mut capabilities.known.lock().await.failed.as_mut().unwrap().1, PAUSE);
        assert_eq!(told().await, (Some("Observation"), 4));
    }
}
