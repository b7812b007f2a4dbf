//! Asks a server that is to be an upstream what it is, before anything is put in front of it.
//!
//! For the operator who runs `init` or `check`: says why it cannot be used and what to do. Nothing of what it reads is ever
//! released to a client.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::header::LOCATION;
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use tokio::time::timeout;

use super::Upstream;
use super::target::Target;
use crate::fhir::software::{Known, Said, Software};

/// The canonical URL of the compartment of a patient.
const PATIENT_COMPARTMENT: &str = "http://hl7.org/fhir/CompartmentDefinition/patient";
/// A CapabilityStatement larger than this is not looked at, bytes.
const LONGEST: usize = 16 * 1024 * 1024;

/// A server that answered as a FHIR R4 server does.
#[derive(Debug, Clone)]
pub struct Probe {
    /// `CapabilityStatement.fhirVersion`
    pub version: String,
    /// `CapabilityStatement.software.name`
    pub software: Option<String>,
    /// What is known of such software.
    pub known: Option<&'static Software>,
    /// The types with the interaction `search-type`.
    pub searched: Vec<String>,
    /// Whether `CapabilityStatement.rest.compartment` has the compartment of a patient.
    pub patient_compartment: bool,
}

/// Why a server cannot be the upstream; says what was expected and, where known, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeError(String);

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for ProbeError {}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    resource_type: String,
    #[serde(default)]
    fhir_version: String,
    name: Option<String>,
    software: Option<StatedSoftware>,
    implementation: Option<Implementation>,
    #[serde(default)]
    rest: Vec<Rest>,
}

#[derive(Deserialize)]
struct Rest {
    #[serde(default)]
    compartment: Vec<String>,
    #[serde(default)]
    resource: Vec<Offered>,
}

#[derive(Deserialize)]
struct Offered {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    interaction: Vec<Interaction>,
}

#[derive(Deserialize)]
struct Interaction {
    #[serde(default)]
    code: String,
}

#[derive(Deserialize)]
struct StatedSoftware {
    name: Option<String>,
}

#[derive(Deserialize)]
struct Implementation {
    description: Option<String>,
}

#[derive(Deserialize)]
struct Searchset {
    #[serde(default)]
    entry: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    resource: Option<Identified>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identified {
    resource_type: String,
    id: String,
}

impl Upstream {
    /// Reads `[base]/metadata` and judges it.
    ///
    /// # Errors
    /// When there is no answer, or not that of a FHIR R4 server.
    pub async fn probe(&self) -> Result<Probe, ProbeError> {
        let body = self.read_for_operator("/metadata").await?;
        let not_fhir = || {
            ProbeError(format!(
                "`{}/metadata` is no FHIR CapabilityStatement in JSON; is the path complete, for instance `/fhir` or `/baseR4`?",
                self.base
            ))
        };
        let statement: Statement = serde_json::from_slice(&body).map_err(|_| not_fhir())?;
        if statement.resource_type != "CapabilityStatement" {
            return Err(not_fhir());
        }
        let version = statement.fhir_version;
        if !(version == "4.0" || version.starts_with("4.0.")) {
            return Err(ProbeError(format!(
                "`{}` speaks FHIR version `{version}`; this gateway serves R4 (4.0.1)",
                self.base
            )));
        }
        let software = statement.software.and_then(|software| software.name);
        let description = statement.implementation.and_then(|implementation| implementation.description);
        let known = Software::detect(&Said {
            software_name: software.as_deref(),
            name: statement.name.as_deref(),
            implementation_description: description.as_deref(),
        });
        let of_patient = |url: &String| url.split('|').next() == Some(PATIENT_COMPARTMENT);
        let patient_compartment = statement.rest.iter().flat_map(|rest| &rest.compartment).any(of_patient);
        let offered = statement.rest.into_iter().flat_map(|rest| rest.resource);
        let is_searched = |offered: &Offered| offered.interaction.iter().any(|one| one.code == "search-type");
        let searched = offered.filter(is_searched).map(|offered| offered.r#type).collect();
        Ok(Probe { version, software, known, searched, patient_compartment })
    }

    /// Finds out which software the upstream is, asking again after `pause` until it answers. Nothing waits for it.
    pub async fn identify(&self, known: Known, pause: Duration) {
        while known.is_open() {
            match self.probe().await {
                Ok(probe) => {
                    let software = probe.known.map_or("other", |software| software.word);
                    tracing::info!(software, "the upstream says what it is");
                    known.learn(probe.known);
                }
                Err(_) => tokio::time::sleep(pause).await,
            }
        }
    }

    /// The id of any one resource of this type; `None` when there is none or it does not say.
    ///
    /// # Errors
    /// When there is no answer that could be read.
    pub async fn any(&self, resource_type: &str) -> Result<Option<String>, ProbeError> {
        let body = self.read_for_operator(&format!("/{resource_type}?_count=1")).await?;
        let found: Searchset = serde_json::from_slice(&body)
            .map_err(|_| ProbeError(format!("`{}/{resource_type}` did not answer with a Bundle", self.base)))?;
        let resources = found.entry.into_iter().filter_map(|entry| entry.resource);
        Ok(resources.filter(|resource| resource.resource_type == resource_type).map(|resource| resource.id).next())
    }

    async fn read_for_operator(&self, path_and_query: &str) -> Result<bytes::Bytes, ProbeError> {
        let base = &self.base;
        let uri = format!("{base}{path_and_query}").parse().map_err(|_| ProbeError(format!("`{base}` is no URL")))?;
        let request = self.request(&Target { uri, form: None }, "probe");
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| {
                ProbeError(format!(
                    "`{base}` cannot be reached: {}; is the server running, and the address right?",
                    root(&error)
                ))
            })?;
            let status = response.status();
            match status.as_u16() {
                200 => {}
                300..=399 => {
                    let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("elsewhere");
                    return Err(ProbeError(format!(
                        "`{base}` redirects to `{to}`; redirects are not followed: give the final URL"
                    )));
                }
                401 | 403 => {
                    return Err(ProbeError(format!(
                        "`{base}` wants credentials ({status}); give them in [fhir] as `upstream_authorization_file`"
                    )));
                }
                404 => {
                    return Err(ProbeError(format!(
                        "`{base}{path_and_query}` is not there (404); is the path of the FHIR base complete?"
                    )));
                }
                _ => return Err(ProbeError(format!("`{base}` answered {status}; a FHIR server answers 200"))),
            }
            let body = Limited::new(response.into_body(), LONGEST).collect().await;
            body.map(http_body_util::Collected::to_bytes)
                .map_err(|_| ProbeError(format!("`{base}` broke off its answer")))
        };
        timeout(self.timeout, exchange).await.unwrap_or_else(|_| {
            Err(ProbeError(format!("`{base}` did not answer within {} s", self.timeout.as_secs_f32())))
        })
    }
}

/// The innermost reason, which is the one that tells something (`Connection refused`, `invalid peer certificate`).
fn root(error: &dyn Error) -> String {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string().replace('\n', " ")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers every request with these bytes; gives the base URL.
    async fn answering(answer: String) -> String {
        answering_each(vec![answer]).await
    }

    /// Answers one connection with each of these, and all that follow with the last.
    async fn answering_each(answers: Vec<String>) -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let base = format!("http://{}/fhir", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut answers = answers.into_iter();
            let mut answer = String::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                answer = answers.next().unwrap_or(answer);
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        base
    }

    fn json(body: &str) -> String {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    #[tokio::test]
    async fn an_r4_server_is_recognised_by_its_capability_statement() {
        let statement = r#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","software":{"name":"HAPI FHIR Server"},"rest":[{"resource":[
            {"type":"Patient","interaction":[{"code":"read"},{"code":"search-type"}]},{"type":"Basic","interaction":[{"code":"read"}]},
            {"type":"List"}]}]}"#;
        let probe = Upstream::for_test(&answering(json(statement)).await).probe().await.unwrap();
        assert_eq!((probe.version.as_str(), probe.software.as_deref()), ("4.0.1", Some("HAPI FHIR Server")));
        assert_eq!(probe.searched, ["Patient"]);
        assert_eq!(probe.known.unwrap().word, "hapi");
        assert!(!probe.patient_compartment);
    }

    #[tokio::test]
    async fn what_a_statement_says_beside_its_types_is_read() {
        let statement = |more: &str| format!(r#"{{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"{more}}}"#);
        for (more, word, patient_compartment) in [
            ("", None, false),
            (
                r#","implementation":{"description":"Helios FHIR Server (sqlite)"},"rest":[{"compartment":[]}]"#,
                Some("helios"),
                false,
            ),
            (
                r#","name":"aidbox","rest":[{"compartment":["http://hl7.org/fhir/CompartmentDefinition/device"]},{"compartment":["http://hl7.org/fhir/CompartmentDefinition/patient|4.0.1"]}]"#,
                Some("aidbox"),
                true,
            ),
        ] {
            let probe = Upstream::for_test(&answering(json(&statement(more))).await).probe().await.unwrap();
            assert_eq!(probe.known.map(|known| known.word), word, "{more}");
            assert_eq!(probe.patient_compartment, patient_compartment, "{more}");
        }
    }

    #[tokio::test]
    async fn a_server_is_asked_what_it_is_until_somebody_knows() {
        let statement = r#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","software":{"name":"medplum"}}"#;
        let busy = "HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_owned();
        let base = answering_each(vec![busy, json(statement)]).await;
        let known = Known::default();
        Upstream::for_test(&base).identify(known.clone(), Duration::from_millis(1)).await;
        assert_eq!(known.get().unwrap().word, "medplum");
        // It is known by now: nobody is asked.
        Upstream::for_test("http://127.0.0.1:1").identify(known, Duration::from_secs(3600)).await;
    }

    #[tokio::test]
    async fn what_cannot_be_an_upstream_is_told_with_the_reason() {
        let r5 = r#"{"resourceType":"CapabilityStatement","fhirVersion":"5.0.0"}"#;
        let redirect = "HTTP/1.1 302 Found\r\nLocation: https://fhir.example/base\r\nContent-Length: 0\r\n\r\n";
        for (answer, told) in [
            (json(r5), "version `5.0.0`"),
            (json(r#"{"resourceType":"Patient"}"#), "no FHIR CapabilityStatement"),
            (json("<html>"), "no FHIR CapabilityStatement"),
            (redirect.to_owned(), "redirects to `https://fhir.example/base`"),
            ("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_owned(), "upstream_authorization_file"),
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(), "is the path of the FHIR base complete"),
            ("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_owned(), "answered 500"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{".to_owned(), "broke off"),
        ] {
            let error = Upstream::for_test(&answering(answer).await).probe().await.unwrap_err().to_string();
            assert!(error.contains(told), "{told}: {error}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = Upstream::for_test(&base).probe().await.unwrap_err().to_string();
        assert!(error.contains("cannot be reached") && error.contains("refused"), "{error}");
    }

    #[tokio::test]
    async fn any_patient_is_found_by_its_id_and_nothing_else_is_taken_for_one() {
        let bundle =
            |resource: &str| json(&format!(r#"{{"resourceType":"Bundle","entry":[{{"resource":{resource}}}]}}"#));
        let patient = answering(bundle(r#"{"resourceType":"Patient","id":"P1"}"#)).await;
        assert_eq!(Upstream::for_test(&patient).any("Patient").await.unwrap(), Some("P1".to_owned()));
        let outcome = answering(bundle(r#"{"resourceType":"OperationOutcome","id":"x"}"#)).await;
        assert_eq!(Upstream::for_test(&outcome).any("Patient").await.unwrap(), None);
        let empty = answering(json(r#"{"resourceType":"Bundle"}"#)).await;
        assert_eq!(Upstream::for_test(&empty).any("Patient").await.unwrap(), None);
    }
}
