//! The token endpoint: what an authorization code with an `id_token`, and a refresh, cost the gateway, the store and the record
//! included.
//!
//! `cargo bench --bench token`. The numbers are CPU of all threads of the gateway, so the reciprocal is what one core does.
#![expect(clippy::print_stdout, reason = "a benchmark reports on its standard output")]

#[expect(dead_code, reason = "what the other benchmarks measure with")]
mod site;

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Instant;

use firebreak::clock::Clock;
use firebreak::grant::records::{Code, Grant, User};
use firebreak::random;
use firebreak::secret::Digest;
use firebreak::store::{Access, Entry, Kind, SqliteStore, Store};
use serde_json::Value;
use site::{Cost, Problem, Site, gateway_cpu, message};

const ISSUER: &str = "https://gw.example.org";
const REDIRECT: &str = "https://app.example.org/cb";
/// RFC 7636 appendix B
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const CODES: usize = 1_000;
const REFRESHES: usize = 2_000;

fn main() -> Result<(), Problem> {
    let memory = Path::new("/dev/shm");
    let state = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
    let directory = state.path().display();
    // The codes come from beside: nobody logs in here.
    let site = Site::started(
        0,
        &format!(
            "scope = \"openid fhirUser offline_access launch/patient patient/*.rs\"\n\
             [state]\ndirectory = \"{directory}/state\"\nshared = true\n[audit]\ndirectory = \"{directory}/audit\"\n"
        ),
    )?;
    let store = SqliteStore::open_as(&state.path().join("state"), Access::Beside)?;
    let mut codes = Vec::new();
    for _ in 0..=CODES {
        codes.push(code(&store)?);
    }
    let form = |code: &String| {
        format!(
            "grant_type=authorization_code&client_id=app&redirect_uri={REDIRECT}&code={code}&code_verifier={VERIFIER}"
        )
    };
    let mut given = Value::Null;
    let cost = post(&site, codes.iter().map(form), |answer| {
        given = answer;
        Ok(())
    })?;
    println!("a code, with an id_token   {cost}");
    let member = |answer: &Value| answer.get("refresh_token").and_then(Value::as_str).map(str::to_owned);
    let held = std::cell::RefCell::new(member(&given).ok_or("no refresh_token")?);
    let refresh =
        (0..REFRESHES).map(|_| format!("grant_type=refresh_token&client_id=app&refresh_token={}", held.borrow()));
    let cost = post(&site, refresh, |answer| {
        *held.borrow_mut() = member(&answer).ok_or("no refresh_token")?;
        Ok(())
    })?;
    println!("a refresh, with rotation   {cost}");
    Ok(())
}

/// A code as the authorization endpoint leaves it.
fn code(store: &SqliteStore) -> Result<String, Problem> {
    let (now, code, grant_id) = (Clock::system().unix_seconds(), random::handle(), random::handle());
    let scopes = "openid fhirUser offline_access launch/patient patient/Condition.rs patient/Patient.rs";
    let user =
        User { iss: ISSUER.to_owned(), sub: "dr".to_owned(), roles: vec!["clinician".to_owned()], ..User::default() };
    let grant = Grant {
        grant_id: grant_id.clone(),
        client_id: "app".to_owned(),
        user,
        scopes: scopes.split(' ').map(str::to_owned).collect(),
        patient: Some("p1".to_owned()),
        auth_time: now,
        granted_at: now,
        ..Grant::default()
    };
    let (redirect_uri, code_challenge) = (REDIRECT.to_owned(), CHALLENGE.to_owned());
    let value = serde_json::to_vec(&Code { grant, redirect_uri, code_challenge, ..Code::default() })?;
    let entry = Entry { value, expires: now + 600, owner: Some(Digest::of(&grant_id)) };
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(store.put(Kind::Code, Digest::of(&code), entry)).map_err(|error| error.0)?;
    Ok(code)
}

/// Posts each form, one after the other, and says what that cost on average; `read` is given each answer. The first one is for
/// warming up.
fn post(
    site: &Site,
    forms: impl IntoIterator<Item = String>,
    mut read: impl FnMut(Value) -> Result<(), Problem>,
) -> Result<Cost, Problem> {
    let mut stream = TcpStream::connect(site.address)?;
    stream.set_nodelay(true)?;
    let mut answers = BufReader::new(stream.try_clone()?);
    let (mut began, mut before, mut requests) = (Instant::now(), gateway_cpu()?, 0_u32);
    for (number, form) in forms.into_iter().enumerate() {
        let head = "Host: gw.example.org\r\nContent-Type: application/x-www-form-urlencoded";
        let request = format!("POST /token HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{form}", form.len());
        stream.write_all(request.as_bytes())?;
        let (found, body) = message(&mut answers)?;
        if found.split(' ').nth(1) != Some("200") {
            return Err(format!("{found:?} {}", String::from_utf8_lossy(&body)).into());
        }
        read(serde_json::from_slice(&body)?)?;
        if number == 0 {
            (began, before) = (Instant::now(), gateway_cpu()?);
        } else {
            requests += 1;
        }
    }
    let (wall, cpu) = (began.elapsed(), gateway_cpu()?.saturating_sub(before));
    Ok(Cost { cpu: cpu / requests.max(1), wall: wall / requests.max(1) })
}
