//! The EHR launch: what goes over the back channel, and what the browser is told.

use http::header::LOCATION;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::Value;

use super::*;

const LAUNCHED: &str = r#"{"launch":"h4ndle","expires_in":300,"launch_url":"https://localhost:8443/app/launch?iss=https%3A%2F%2Flocalhost%3A8443%2Ffhir&launch=h4ndle"}"#;

async fn post(site: &DemoSite, form: &str, headers: &[(&'static str, &'static str)]) -> (Response<()>, String) {
    let headers =
        headers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect();
    let response = site.respond(&Method::POST, "/ehr/launch", None, &headers, form.as_bytes()).await.unwrap();
    let (head, body) = response.into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    (Response::from_parts(head, ()), text)
}

#[tokio::test]
async fn a_launch_is_told_over_the_back_channel_and_the_browser_goes_to_the_app() {
    let gateway = Watched::answering(201, LAUNCHED);
    let (site, _audit) = site(gateway.clone());
    let form = "patient=amina-diallo&encounter=amina-diallo-visit-12&app=vitals-app";
    let (head, _) = post(&site, form, &[("origin", ORIGIN)]).await;
    assert_eq!(head.status(), StatusCode::SEE_OTHER);
    assert_eq!(head.headers().get("referrer-policy").unwrap(), "no-referrer", "who launches is not told");
    let location = head.headers().get(LOCATION).unwrap().to_str().unwrap();
    assert_eq!(location, "https://localhost:8443/app/launch?iss=https%3A%2F%2Flocalhost%3A8443%2Ffhir&launch=h4ndle");
    let posted = gateway.posted.lock().unwrap();
    let [(url, assertion, json)] = posted.as_slice() else { panic!("{posted:?}") };
    assert_eq!(url, "https://localhost:8443/launch-contexts");
    let sent: Value = serde_json::from_str(json).unwrap();
    let expected = serde_json::json!({
        "client_id": "vitals-app", "patient": "amina-diallo", "encounter": "amina-diallo-visit-12", "need_patient_banner": true,
        "user": { "iss": ORIGIN, "sub": "dr.rivera", "fhirUser": "Practitioner/elena-rivera" },
    });
    assert_eq!(sent, expected);
    verify(&site, assertion);
}

/// As the gateway would: with the registered key set.
fn verify(site: &DemoSite, assertion: &str) {
    let claim = |name: &str| claim(site, assertion, name);
    assert_eq!((claim("iss"), claim("sub")), ("larkspur-ehr".into(), "larkspur-ehr".into()));
    assert_eq!(claim("exp"), 1_795_395_723 + 120);
    assert_eq!(claim("jti").as_str().unwrap().len(), 43);
}

/// A claim of an assertion that the registered key signed for us.
fn claim(site: &DemoSite, assertion: &str, name: &str) -> Value {
    let keys: JwkSet = serde_json::from_str(site.settings.ehr.key.jwks()).unwrap();
    let header = jsonwebtoken::decode_header(assertion).unwrap();
    assert_eq!((header.alg, header.typ.as_deref()), (Algorithm::ES384, Some("JWT")));
    let key = DecodingKey::from_jwk(keys.find(header.kid.as_deref().unwrap()).unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::ES384);
    validation.set_audience(&[ORIGIN]);
    validation.validate_exp = false;
    decode::<Value>(assertion, &key, &validation).unwrap().claims.get(name).cloned().unwrap()
}

#[tokio::test]
async fn a_launch_without_an_encounter_names_none() {
    let gateway = Watched::answering(201, LAUNCHED);
    let (site, _audit) = site(gateway.clone());
    let (head, _) = post(&site, "patient=amina-diallo&encounter=&app=vitals-app", &[]).await;
    assert_eq!(head.status(), StatusCode::SEE_OTHER);
    assert!(!gateway.posted.lock().unwrap().first().unwrap().2.contains("encounter"));
    post(&site, "patient=amina-diallo&encounter=&app=vitals-app", &[]).await;
    let posted = gateway.posted.lock().unwrap();
    let ids: Vec<String> = posted.iter().map(|(_, assertion, _)| claim(&site, assertion, "jti").to_string()).collect();
    assert!(ids.len() == 2 && ids.first() != ids.last(), "each assertion is spent once: {ids:?}");
}

#[tokio::test]
async fn a_form_that_names_what_is_not_there_is_refused_before_the_gateway_is_asked() {
    let gateway = Watched::answering(201, LAUNCHED);
    let (site, _audit) = site(gateway.clone());
    for form in [
        "",
        "patient=amina-diallo",
        "app=vitals-app",
        "patient=nobody&app=vitals-app",
        "patient=amina-diallo&app=evil",
        "patient=amina-diallo&app=vitals-app&encounter=aiko-tanaka-visit-01",
        "patient=amina-diallo&app=vitals-app&encounter=x",
    ] {
        let (head, html) = post(&site, form, &[]).await;
        assert_eq!(head.status(), StatusCode::BAD_REQUEST, "{form}");
        assert!(html.contains("role=\"alert\""));
    }
    assert!(gateway.posted.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_form_of_another_site_is_refused() {
    let gateway = Watched::answering(201, LAUNCHED);
    let (site, _audit) = site(gateway.clone());
    let form = "patient=amina-diallo&app=vitals-app";
    for header in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        assert_eq!(post(&site, form, &[header]).await.0.status(), StatusCode::FORBIDDEN, "{header:?}");
    }
    assert!(gateway.posted.lock().unwrap().is_empty());
    assert_eq!(post(&site, form, &[("sec-fetch-site", "same-origin")]).await.0.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_launch_that_the_gateway_refuses_or_answers_with_another_place_is_told_and_not_followed() {
    let elsewhere = LAUNCHED.replace("https://localhost:8443/app/launch?", "https://evil.example/app/launch?");
    let other_path = LAUNCHED.replace("/app/launch?", "/app/?");
    for (status, body, told) in [
        (403, r#"{"error":"<b>access_denied"}"#, "403: &#60;b&#62;access_denied"),
        (500, "not JSON", "500: no reason given"),
        (201, "not JSON", "did not answer"),
        (201, elsewhere.as_str(), "did not answer"),
        (201, other_path.as_str(), "did not answer"),
        (200, LAUNCHED, "200: no reason given"),
    ] {
        let (site, _audit) = site(Watched::answering(status, body));
        let (head, html) = post(&site, "patient=amina-diallo&app=vitals-app", &[]).await;
        assert_eq!(head.status(), StatusCode::BAD_GATEWAY, "{body}");
        assert!(html.contains(told), "{told}");
    }
    let silent = Arc::new(Watched { posted: Mutex::default(), reply: Err(BackChannelError("refused".to_owned())) });
    let (head, _) = post(&site(silent).0, "patient=amina-diallo&app=vitals-app", &[]).await;
    assert_eq!(head.status(), StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn the_real_back_channel_trusts_its_own_authority_and_no_other() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (authority, acceptor) = authority_and_server();
    let stranger = authority_and_server().0;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("https://localhost:{}/launch-contexts", listener.local_addr().unwrap().port());
    let server = tokio::spawn(async move {
        let mut heard = Vec::new();
        for _ in 0..2 {
            let (socket, _) = listener.accept().await.unwrap();
            let Ok(mut tls) = acceptor.accept(socket).await else { continue };
            let mut buffer = vec![0; 4096];
            while !heard.ends_with(b"{\"a\":1}") {
                let read = tls.read(&mut buffer).await.unwrap();
                assert!(read > 0);
                heard.extend_from_slice(buffer.get(..read).unwrap());
            }
            tls.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").await.unwrap();
            tls.shutdown().await.unwrap();
        }
        String::from_utf8(heard).unwrap()
    });
    let refused = TlsBackChannel::new(stranger).unwrap().post(&url, "assertion", "{\"a\":1}".to_owned()).await;
    assert!(refused.is_err());
    let reply = TlsBackChannel::new(authority).unwrap().post(&url, "assertion", "{\"a\":1}".to_owned()).await.unwrap();
    assert_eq!((reply.status, reply.body.as_ref()), (StatusCode::CREATED, &b"{}"[..]));
    let heard = server.await.unwrap();
    assert!(
        heard.starts_with("POST /launch-contexts HTTP/1.1\r\n")
            && heard.contains("content-type: application/json")
            && heard.contains("authorization: Bearer assertion\r\n")
    );
}

fn authority_and_server() -> (rustls::pki_types::CertificateDer<'static>, tokio_rustls::TlsAcceptor) {
    let mut parameters = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let authority = parameters.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(parameters, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    (authority.der().clone(), tokio_rustls::TlsAcceptor::from(Arc::new(config)))
}
