//! Guessing: who exists, passwords, codes. Nothing shows in the answers, and it is soon over.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::{Duration, Instant};

use super::*;
use crate::world::{Settings, World, run};

#[test]
fn who_exists_shows_neither_in_words_nor_in_status_nor_in_time() {
    run(async {
        let real = firebreak_hash();
        let sections = sections().replace(&test_hash(), &real);
        let world = World::with(Settings { sections, ..settings() }).await;
        let mut browser = Browser::new(&world);
        let page = browser.authorize(&request(SCOPE)).await;
        let mut answers = Vec::new();
        let [mut known, mut unknown] = [Duration::MAX; 2];
        // The best times, so that what else the machine does is left out; more rounds where it does a lot.
        for _ in 0..5 {
            for name in ["dr", "nobody-1", "pat", "nobody-2"] {
                let times = if name.starts_with("nobody") { &mut unknown } else { &mut known };
                let began = Instant::now();
                let reply = browser.log_in_with(&page, name, "not-the-password-9").await;
                *times = began.elapsed().min(*times);
                let text = reply.text().replace(&format!("value=\"{name}\""), "value=\"\"");
                let varying = |name: &str| matches!(name, "date" | "x-request-id" | "content-length");
                let headers = reply.reply.headers.iter().filter(|(name, _)| !varying(name)).cloned();
                answers.push((reply.status(), headers.collect::<Vec<_>>(), text));
            }
            if unknown * 4 > known && known * 4 > unknown {
                break;
            }
        }
        assert_eq!(answers.first().unwrap().0, 403);
        assert!(answers.iter().all(|answer| Some(answer) == answers.first()), "{answers:#?}");
        assert!(unknown * 4 > known && known * 4 > unknown, "{known:?} and {unknown:?}");
        world.finish().await;
    });
}

fn test_hash() -> String {
    sections().split("password_hash = \"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

/// With the cost that `firebreak password` gives, so that the work can be seen in the time.
fn firebreak_hash() -> String {
    use argon2::PasswordHasher;
    argon2::Argon2::default().hash_password_with_salt(PASSWORD.as_bytes(), b"saltsaltsaltsalt").unwrap().to_string()
}

/// The status of one request from a loopback address of its own.
async fn status_from(world: &World, source: &str, line: &str, body: &str) -> u16 {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
    let mut stream = socket.connect(world.address).await.unwrap();
    let headers = ["Content-Type: application/x-www-form-urlencoded", "Connection: close"];
    stream.write_all(crate::world::request(line, "", &headers, body, "").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn an_address_that_guesses_is_stopped_and_nobody_else_is() {
    run(async {
        let world = World::with(Settings { failed_credentials: 5, ..settings() }).await;
        let guess = encoded(&exchange("BAD_CODE"));
        let mut statuses = Vec::new();
        for _ in 0..8 {
            statuses.push(status_from(&world, "127.0.0.2", "POST /token", &guess).await);
        }
        assert_eq!(statuses, [400, 400, 400, 400, 400, 400, 429, 429]);
        for line in ["POST /login", "POST /launch-contexts"] {
            assert_eq!(status_from(&world, "127.0.0.2", line, "a=1").await, 429, "{line}");
        }
        assert_eq!(status_from(&world, "127.0.0.2", "GET /fhir/.well-known/smart-configuration", "").await, 200);
        assert_eq!(status_from(&world, "127.0.0.3", "POST /token", &guess).await, 400);
        let code = code(&world, "pat", &request(SCOPE)).await;
        assert_eq!(token(&world, &exchange(&code), &[]).await.status, 200);
        world.finish().await;
    });
}

/// Images, frames, forms and windows of a page that somebody behind the address is lured to.
#[test]
fn what_pages_of_strangers_send_keeps_out_nobody_behind_their_address() {
    run(async {
        let world = World::with(Settings { failed_credentials: 5, ..settings() }).await;
        let (cross, form) = ("Sec-Fetch-Site: cross-site", "Content-Type: application/x-www-form-urlencoded");
        let image = [cross, "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"];
        let frame = [cross, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe", form];
        let window = [cross, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"];
        let authorize = "GET /authorize?client_id=BAD_CLIENT_ID";
        for (line, headers, body) in [
            (authorize, image.as_slice(), ""),
            (authorize, frame.as_slice(), ""),
            ("POST /login/provider", frame.as_slice(), "a=1"),
            ("POST /manage/provider", frame.as_slice(), "a=1"),
        ] {
            for _ in 0..700 {
                world.send(line, "", headers, body).await;
            }
            let page = world.send(authorize, "", &window, "").await;
            assert_eq!(page.status, 400, "after {line}, {headers:?}: {}", page.all());
        }
        for number in 0..8 {
            let line = format!("GET /login/callback/hospital?state={}.{number}&code=x", "x".repeat(43));
            assert_eq!(world.send(&line, "", &window, "").await.status, 400);
        }
        let code = code(&world, "pat", &request(SCOPE)).await;
        assert_eq!(token(&world, &exchange(&code), &[]).await.status, 200);
        world.finish().await;
    });
}

#[test]
fn the_sixth_wrong_password_waits_and_somebody_elses_right_one_does_not() {
    run(async {
        let world = world().await;
        let mut browser = Browser::new(&world);
        let page = browser.authorize(&request(SCOPE)).await;
        for _ in 0..5 {
            assert_eq!(browser.log_in_with(&page, "dr", "not-the-password-9").await.status(), 403);
        }
        let reply = browser.log_in(&page, "dr").await;
        assert_eq!(reply.status(), 429);
        assert!(reply.reply.header("retry-after").parse::<u32>().is_ok_and(|seconds| (1..=60).contains(&seconds)));
        assert!(browser.log_in(&page, "pat").await.asks_for_consent());
        world.finish().await;
    });
}

/// A proof by another key is a guess; one that is late, or none, is a slow clock or an old client.
#[test]
fn forged_proofs_stop_their_address_and_late_or_missing_ones_do_not() {
    run(async {
        let clock = firebreak::clock::Clock::fixed(1_900_000_000);
        let world = World::with(Settings { failed_credentials: 5, clock, ..settings() }).await;
        let (key, read) = (dpop::ProvingKey::generate(), "GET /fhir/Patient/P1");
        let given = dpop::bound(&world, &key).await;
        let access = text(&given, "access_token");
        let late: Vec<_> = (0..8).map(|_| key.with(&world, read, access)).collect();
        world.advance(120).await;
        for headers in &late {
            assert_eq!(dpop::fetch(&world, read, headers).await.status, 401, "late");
            assert_eq!(dpop::fetch(&world, read, &headers[..1]).await.status, 401, "missing");
        }
        let mut statuses = Vec::new();
        for _ in 0..8 {
            let forged = dpop::ProvingKey::generate().with(&world, read, access);
            statuses.push(dpop::fetch(&world, read, &forged).await.status);
        }
        assert_eq!(statuses, [401, 401, 401, 401, 401, 401, 429, 429]);
        let reply = dpop::fetch(&world, read, &key.with(&world, read, access)).await;
        assert_eq!((reply.status, reply.header("retry-after").is_empty()), (429, false), "{}", reply.all());
        world.finish().await;
    });
}
