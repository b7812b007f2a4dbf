//! Two processes with one store: what may be used once is used once, also when both are asked in the same moment.

use std::net::{Ipv4Addr, SocketAddr};

use firebreak::clock::Clock;
use firebreak::grant::records::{Code, Grant, User};
use firebreak::random;
use firebreak::secret::Digest;
use firebreak::store::{Access, Entry, Kind, SqliteStore, Store};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::dpop::ProvingKey;
use super::*;
use crate::commands::{Serving, free, upstream};
use crate::world::run;

/// Rounds of each story; there are four. `FIREBREAK_SHARING_ROUNDS` makes longer runs.
fn rounds() -> u32 {
    std::env::var("FIREBREAK_SHARING_ROUNDS").map_or(250, |text| text.parse().unwrap())
}

/// Two gateways as processes of their own, and a hand in their store.
struct Pair {
    at: [SocketAddr; 2],
    store: SqliteStore,
    processes: [Serving; 2],
    _directory: TempDir,
}

/// What both were answered: status, and everything.
type Answers = [(u16, String); 2];

impl Pair {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (at, upstream) = ([free(), free()], upstream());
        let processes = [0, 1].map(|number: usize| {
            let config = directory.path().join(format!("gateway-{number}.toml"));
            let text = format!(
                "[server]\nlisten = \"{}\"\norigin = \"{ISSUER}\"\ndanger_plain_http = true\ndrain_delay = \"0s\"\n\
                 [fhir]\nupstream = \"http://{upstream}/fhir\"\n[state]\ndirectory = \"state\"\nshared = true\n\
                 [audit]\ndirectory = \"audit-{number}\"\n[limits]\nfailed_credentials_per_minute = 100000\n\
                 [[client]]\nclient_id = \"app\"\nredirect_uris = [\"{CALLBACK}\"]\nscope = \"{SCOPE}\"\n{}",
                at[number],
                sections()
            );
            std::fs::write(&config, text).unwrap();
            Serving::start(config.to_str().unwrap())
        });
        let store = SqliteStore::open_as(&directory.path().join("state"), Access::Beside).unwrap();
        Self { at, store, processes, _directory: directory }
    }

    /// Sends the same request to both at once, from an address of this round's own.
    async fn ask_both(&self, round: u32, line: &str, headers: &[&str], body: &str) -> Answers {
        let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + round);
        let mut all = headers.to_vec();
        all.push("Connection: close");
        let request = crate::world::request(line, "", &all, body, "");
        let [mut first, mut second] = [connect(source, self.at[0]).await, connect(source, self.at[1]).await];
        let (first, second) = tokio::join!(answer(&mut first, &request), answer(&mut second, &request));
        [first, second]
    }

    /// Sends a request to one of them.
    async fn ask(&self, at: usize, line: &str, headers: &[&str], body: &str) -> (u16, String) {
        let mut all = headers.to_vec();
        all.push("Connection: close");
        let mut stream = connect(Ipv4Addr::LOCALHOST, self.at[at]).await;
        answer(&mut stream, &crate::world::request(line, "", &all, body, "")).await
    }

    /// An authorization code for `app` that nobody has used.
    async fn code(&self) -> String {
        let (now, code, grant_id) = (Clock::system().unix_seconds(), random::handle(), random::handle());
        let grant = Grant {
            grant_id: grant_id.clone(),
            client_id: "app".to_owned(),
            user: User {
                iss: ISSUER.to_owned(),
                sub: "dr".to_owned(),
                fhir_user: Some("Practitioner/d1".to_owned()),
                roles: vec!["clinician".to_owned()],
                ..User::default()
            },
            scopes: SCOPE.split(' ').map(str::to_owned).collect(),
            patient: Some("P1".to_owned()),
            auth_time: now,
            granted_at: now,
            ..Grant::default()
        };
        let stored = Code {
            grant,
            redirect_uri: CALLBACK.to_owned(),
            code_challenge: CHALLENGE.to_owned(),
            nonce: None,
            dpop_jkt: None,
        };
        let value = serde_json::to_vec(&stored).unwrap();
        let entry = Entry { value, expires: now + 60, owner: Some(Digest::of(&grant_id)) };
        self.store.put(Kind::Code, Digest::of(&code), entry).await.unwrap();
        code
    }

    async fn tokens(&self, round: u32, fields: &[(&str, &str)]) -> Answers {
        self.ask_both(round, "POST /token", &["Content-Type: application/x-www-form-urlencoded"], &encoded(fields))
            .await
    }

    fn end(self) {
        for process in self.processes {
            process.signal("TERM");
            assert_eq!(process.code(), 0);
        }
    }
}

async fn connect(source: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

async fn answer(stream: &mut TcpStream, request: &str) -> (u16, String) {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

fn statuses(answers: &Answers) -> [u16; 2] {
    let mut statuses = [answers[0].0, answers[1].0];
    statuses.sort_unstable();
    statuses
}

/// A member of the answer that was a success.
fn member(answers: &Answers, name: &str) -> String {
    let (_, answer) = answers.iter().find(|(status, _)| *status < 300).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    text(&serde_json::from_str(body).unwrap(), name).to_owned()
}

fn refreshing(token: &str) -> [(&str, &str); 3] {
    [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "app")]
}

// E3, T3, B2 24: a code that is used twice gives tokens once at most, and those are worth nothing
#[test]
fn a_code_that_two_processes_see_at_once_gives_tokens_once_at_most() {
    run(async {
        let (pair, mut given) = (Pair::start(), 0);
        for round in 0..rounds() {
            let code = pair.code().await;
            let answers = pair.tokens(round, &exchange(&code)).await;
            // Both are refused when the second use is noticed before the first one's tokens are on their way.
            assert!(matches!(statuses(&answers), [200 | 400, 400]), "{answers:?}");
            assert!(answers.iter().any(|(_, answer)| answer.contains("invalid_grant")), "{answers:?}");
            if answers.iter().any(|(status, _)| *status == 200) {
                given += 1;
                let token = member(&answers, "refresh_token");
                let after = pair.tokens(round, &refreshing(&token)).await;
                assert_eq!(statuses(&after), [400, 400], "{after:?}");
            }
        }
        assert!(given > 0, "no code ever gave a token");
        pair.end();
    });
}

// F5, B2 44: two at once are a lost answer or a second tab; one gets the next token, and the family lives
#[test]
fn a_refresh_token_that_two_processes_see_at_once_is_rotated_once() {
    run(async {
        let pair = Pair::start();
        let code = pair.code().await;
        let (_, first) = {
            let request = encoded(&exchange(&code));
            let headers = ["Content-Type: application/x-www-form-urlencoded", "Connection: close"];
            let mut stream = connect(Ipv4Addr::LOCALHOST, pair.at[0]).await;
            answer(&mut stream, &crate::world::request("POST /token", "", &headers, &request, "")).await
        };
        let mut token = member(&[(200, first), (400, String::new())], "refresh_token");
        for round in 0..rounds() {
            let answers = pair.tokens(round, &refreshing(&token)).await;
            assert_eq!(statuses(&answers), [200, 400], "round {round}: {answers:?}");
            token = member(&answers, "refresh_token");
        }
        pair.end();
    });
}

// L2, C6, B1 9, B2 38
#[test]
fn an_assertion_and_a_launch_that_two_processes_see_at_once_are_used_once() {
    run(async {
        let pair = Pair::start();
        for round in 0..rounds() {
            let assertion = sign(&header(), &assertion_claims("ehr", Clock::system().unix_seconds()));
            let authorization = format!("Authorization: Bearer {assertion}");
            let headers = [authorization.as_str(), "Content-Type: application/json"];
            let context = r#"{"client_id":"spa","patient":"P1"}"#;
            let answers = pair.ask_both(round, "POST /launch-contexts", &headers, context).await;
            assert_eq!(statuses(&answers), [201, 401], "{answers:?}");
            let launch = member(&answers, "launch");
            let scope = "launch openid patient/Patient.rs";
            let asked = with(request_of("spa", "https://spa.example.org/cb", scope), "launch", &launch);
            let answers = pair.ask_both(round, &format!("GET /authorize?{}", encoded(&asked)), &[], "").await;
            assert_eq!(statuses(&answers), [303, 303], "{answers:?}");
            let went_on = answers.iter().filter(|(_, answer)| answer.contains("/authorize/continue")).count();
            let refused = answers.iter().filter(|(_, answer)| answer.contains("error=invalid_request")).count();
            assert_eq!((went_on, refused), (1, 1), "{answers:?}");
        }
        pair.end();
    });
}

// V2, F7: at once where it ends, within five seconds at the others
#[test]
fn a_grant_that_ends_at_one_process_is_over_at_the_other_within_seconds() {
    run(async {
        let pair = Pair::start();
        let form = ["Content-Type: application/x-www-form-urlencoded"];
        let code = pair.code().await;
        let given = pair.ask(0, "POST /token", &form, &encoded(&exchange(&code))).await;
        let access = member(&[given.clone(), given], "access_token");
        let bearer = format!("Authorization: Bearer {access}");
        let reads = async |at| pair.ask(at, "GET /fhir/Patient/P1", &[&bearer], "").await.0 != 401;
        assert!(reads(0).await && reads(1).await);
        let back = encoded(&[("token", access.as_str()), ("client_id", "app")]);
        assert_eq!(pair.ask(0, "POST /revoke", &form, &back).await.0, 200);
        assert!(!reads(0).await, "at once");
        let ended = tokio::time::Instant::now();
        while reads(1).await {
            assert!(ended.elapsed() < std::time::Duration::from_secs(5));
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        pair.end();
    });
}

/// Else who took a proof from one could use it at another (RFC 9449 section 11.1).
#[test]
fn a_proof_that_one_process_took_is_spent_at_the_other() {
    run(async {
        let (pair, key, clock) = (Pair::start(), ProvingKey::generate(), Clock::system());
        let proof = key.proof_at(&clock, "POST /token");
        let headers = ["Content-Type: application/x-www-form-urlencoded", &proof];
        let code = pair.code().await;
        let given = pair.ask(0, "POST /token", &headers, &encoded(&exchange(&code))).await;
        let access = member(&[given.clone(), given], "access_token");
        let read = "GET /fhir/Patient/P1";
        for first in [0, 1] {
            let headers = key.with_at(&clock, read, &access);
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            assert_ne!(pair.ask(first, read, &headers, "").await.0, 401);
            for again in [0, 1] {
                assert_eq!(pair.ask(again, read, &headers, "").await.0, 401, "first at {first}, then at {again}");
            }
        }
        pair.end();
    });
}

// O9
#[test]
fn servers_that_start_at_once_on_an_empty_directory_have_one_set_of_keys() {
    for _ in 0..3 {
        let directory = tempfile::tempdir().unwrap();
        let (at, upstream) = ([(); 5].map(|()| free()), upstream());
        let configs: Vec<String> = at
            .iter()
            .enumerate()
            .map(|(number, listen)| {
                let config = directory.path().join(format!("gateway-{number}.toml"));
                let text = format!(
                    "[server]\nlisten = \"{listen}\"\norigin = \"{ISSUER}\"\ndanger_plain_http = true\ndrain_delay = \"0s\"\n\
                     [fhir]\nupstream = \"http://{upstream}/fhir\"\n[state]\ndirectory = \"state\"\nshared = true\n\
                     [audit]\ndirectory = \"audit-{number}\"\n"
                );
                std::fs::write(&config, text).unwrap();
                config.to_str().unwrap().to_owned()
            })
            .collect();
        let processes: Vec<Serving> = std::thread::scope(|scope| {
            let starting: Vec<_> = configs.iter().map(|config| scope.spawn(|| Serving::start(config))).collect();
            starting.into_iter().map(|starting| starting.join().unwrap()).collect()
        });
        let published: Vec<String> = run(async {
            let mut published = Vec::new();
            for at in at {
                let mut connection = connect(Ipv4Addr::LOCALHOST, at).await;
                let request = crate::world::request("GET /jwks", "", &["Connection: close"], "", "");
                let (status, answer) = answer(&mut connection, &request).await;
                assert_eq!(status, 200, "{answer}");
                published.push(answer.split_once("\r\n\r\n").unwrap().1.to_owned());
            }
            published
        });
        assert!(published.iter().all(|set| *set == published[0]), "{published:#?}");
        let set: serde_json::Value = serde_json::from_str(&published[0]).unwrap();
        assert_eq!(set["keys"].as_array().unwrap().len(), 2);
        let files = std::fs::read_dir(directory.path().join("state/keys")).unwrap();
        let mut files: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        assert_eq!(files, ["access-0001.pem", "id-0001.pem", "rotation.lock", "seal-0001.pem"]);
        for process in processes {
            process.signal("TERM");
            assert_eq!(process.code(), 0);
        }
    }
}
