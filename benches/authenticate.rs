//! Who asks: what the checks of a credential cost by themselves, and what a token costs that was never seen before, beside one
//! that is known, through the whole gateway.
//!
//! `cargo bench --bench authenticate`. The requests are refused by the decision, so that no upstream is asked.
#![expect(clippy::print_stdout, reason = "a benchmark reports on its standard output")]

mod site;
#[path = "site/timing.rs"]
mod timing;

use firebreak::clock::Clock;
use firebreak::jose::AccessTokenClaims;
use firebreak::keys::Keys;
use firebreak::secret::Digest;
use firebreak::smart::scope::Scopes;
use site::{Problem, Site};
use timing::measure;

const SCOPE: &str = "openid fhirUser launch/patient patient/Condition.rs patient/Patient.rs";

fn main() -> Result<(), Problem> {
    alone()?;
    let site = Site::start(0)?;
    for distinct in [1, 100, 10_000] {
        let tokens: Vec<String> = (0..distinct).map(|number| site.token(SCOPE, number)).collect::<Result<_, _>>()?;
        let requests = || tokens.iter().cycle().take(10_000_usize.max(distinct));
        println!(
            "{distinct:>6} tokens, each new at first   {}",
            site.measure("/fhir/Observation/o1", requests(), 403)?
        );
        println!(
            "{distinct:>6} tokens, all of them known   {}",
            site.measure("/fhir/Observation/o1", requests(), 403)?
        );
    }
    Ok(())
}

fn alone() -> Result<(), Problem> {
    let directory = tempfile::tempdir()?;
    let clock = Clock::system();
    let keys = Keys::open_at(directory.path(), clock.clone())?;
    let now = clock.unix_seconds();
    let (issuer, audience) = ("https://gw.example.org", "https://gw.example.org/fhir");
    let claims = AccessTokenClaims {
        iss: issuer.to_owned(),
        sub: "dr".to_owned(),
        aud: audience.to_owned(),
        client_id: "app".to_owned(),
        iat: now,
        exp: now + 3600,
        jti: "j".to_owned(),
        gid: "g".to_owned(),
        scope: SCOPE.to_owned(),
        ..AccessTokenClaims::default()
    };
    let token = keys.sign_access_token(&claims).map_err(|error| format!("{error:?}"))?;
    measure("a known token: its digest", || Digest::of(&token) != Digest::of(""));
    measure("a new token: form, signature, claims", || {
        keys.verify_access_token(&token, issuer, audience, &clock).is_ok()
    });
    measure("a new text of scopes: compiled", || Scopes::compile(SCOPE).ineffective().is_empty());
    Ok(())
}
