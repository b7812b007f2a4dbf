//! The whole path, from the bytes of a request to the bytes of the answer: CPU of the gateway per request.
//!
//! `cargo bench --bench path`. Plain HTTP/1.1 on loopback, one request after the other; every answer was recorded first.
#![expect(clippy::print_stdout, reason = "a benchmark reports on its standard output")]

mod site;

use site::{Problem, Site};

fn main() -> Result<(), Problem> {
    let site = Site::start(0)?;
    let good = vec![site.token("patient/*.rs", 0)?; 3_000];
    let none = vec!["no.token.atall".to_owned(); 3_000];
    for (what, target, tokens, status) in [
        ("a path that is none, refused", "/fhir/a/b/c/d", &good, 404),
        ("a token that is none, refused", "/fhir/Patient/p1", &none, 401),
        ("an operation, refused by the decision", "/fhir/Patient/p1/$everything", &good, 403),
        ("a search that can match nothing", "/fhir/Observation?patient=p2", &good, 200),
        ("a read, 1 KB", "/fhir/Patient/p1", &good, 200),
        ("a version read, with the current one", "/fhir/Patient/p1/_history/1", &good, 200),
        ("a search, 20 entries", "/fhir/Observation?code=2339-0&_count=20", &good, 200),
        ("a search, 20 entries, two elements of each", "/fhir/Observation?code=2339-0&_elements=code", &good, 200),
    ] {
        site.measure(target, tokens.iter().take(50), status)?;
        println!("{what:<44} {}", site.measure(target, tokens, status)?);
    }
    Ok(())
}
