//! Signing keys are rotated while people log in, apps refresh and read, and a relying party keeps the public keys for as long as
//! it may.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use firebreak::audit::{Ending, Entry, EventKind};
use firebreak::clock::Clock;
use firebreak::keys::{Keys, PUBLISHED_BEFORE, Rotation, rotate};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

use super::*;
use crate::world::{Grant, Settings, World, run};

/// How often the keys change while the load goes on.
const ROTATIONS: usize = 3;
/// Seconds by which the time goes on while every worker does at least one round: less than a code lives, and less than the
/// revocations may be unheard.
const STEP: i64 = 25;

/// Somebody who verifies our tokens by the public keys alone, and asks for them as rarely as `Cache-Control` lets it.
#[derive(Default)]
struct RelyingParty {
    kept: Mutex<Option<(JwkSet, i64)>>,
    kids: Mutex<HashSet<String>>,
}

impl RelyingParty {
    async fn keys(&self, world: &World) -> JwkSet {
        let now = world.clock.unix_seconds();
        if let Some((keys, until)) = &*self.kept.lock().unwrap()
            && now < *until
        {
            return keys.clone();
        }
        let reply = world.get("/jwks", "").await;
        assert_eq!(reply.status, 200, "{}", reply.all());
        let age: i64 = reply.header("cache-control").strip_prefix("public, max-age=").unwrap().parse().unwrap();
        let keys: JwkSet = serde_json::from_slice(&reply.body).unwrap();
        *self.kept.lock().unwrap() = Some((keys.clone(), now + age));
        keys
    }

    /// Whether `token` is signed by a key of the kept set; an unknown `kid` is no reason to ask again.
    async fn verify(&self, world: &World, token: &str, algorithm: Algorithm, audience: &str) {
        let kid = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
        let keys = self.keys(world).await;
        let key = keys.find(&kid).unwrap_or_else(|| panic!("the key {kid} signs and was not published before"));
        let mut rules = Validation::new(algorithm);
        rules.set_audience(&[audience]);
        rules.set_issuer(&[ISSUER]);
        rules.validate_exp = false; // The test owns the time.
        jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &rules).unwrap();
        self.kids.lock().unwrap().insert(kid);
    }
}

/// Rounds that each worker did, and whether it shall go on.
struct Load {
    done: AtomicBool,
    rounds: [AtomicUsize; 4],
}

impl Load {
    async fn work(&self, worker: usize, mut round: impl AsyncFnMut()) {
        while !self.done.load(Ordering::Relaxed) {
            round().await;
            self.rounds[worker].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Until every worker ended a round that was under way now, or began since.
    async fn everybody_goes_on(&self) {
        let before: Vec<usize> = self.rounds.iter().map(|rounds| rounds.load(Ordering::Relaxed)).collect();
        let all = async {
            while self.rounds.iter().zip(&before).any(|(now, before)| now.load(Ordering::Relaxed) == *before) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), all).await.unwrap();
    }
}

async fn published(world: &World) -> usize {
    world.get("/jwks", "").await.json()["keys"].as_array().unwrap().len()
}

async fn rotation(world: &World, load: &Load) {
    let before = published(world).await;
    rotate(&world.state.path().join("state/keys"), &world.clock, Rotation::InTurn).unwrap();
    // Both kinds: a poll in between sees the first of them alone.
    let taken_up = async { while published(world).await < before + 2 {} };
    tokio::time::timeout(Duration::from_secs(20), taken_up).await.unwrap();
    for _ in 0..=PUBLISHED_BEFORE / STEP {
        world.advance(STEP).await;
        load.everybody_goes_on().await;
    }
    // The round that ends first may have begun with the old key; the next one has the new.
    load.everybody_goes_on().await;
    load.everybody_goes_on().await;
}

// O9, E22
#[test]
fn keys_are_rotated_under_load_without_a_failed_request() {
    run(async {
        let world = world_at(&Clock::fixed(1_800_000_000)).await;
        let party = RelyingParty::default();
        let load = Load { done: AtomicBool::new(false), rounds: Default::default() };
        let given = Mutex::new(text(&tokens(&world, "pat", SCOPE).await, "access_token").to_owned());
        let exchanges = load.work(0, async || {
            let given = tokens(&world, "pat", SCOPE).await;
            party.verify(&world, text(&given, "id_token"), Algorithm::RS256, "app").await;
            party.verify(&world, text(&given, "access_token"), Algorithm::ES256, BASE).await;
        });
        let mut refresh_token = text(&tokens(&world, "dr", SCOPE).await, "refresh_token").to_owned();
        let refreshes = load.work(1, async || {
            let fields =
                [("grant_type", "refresh_token"), ("refresh_token", refresh_token.as_str()), ("client_id", "app")];
            let reply = token(&world, &fields, &[]).await;
            assert_eq!(reply.status, 200, "{}", reply.all());
            let reply = reply.json();
            party.verify(&world, text(&reply, "access_token"), Algorithm::ES256, BASE).await;
            text(&reply, "refresh_token").clone_into(&mut refresh_token);
            text(&reply, "access_token").clone_into(&mut given.lock().unwrap());
        });
        let reads = load.work(2, async || {
            let access = given.lock().unwrap().clone();
            let reply = world.get("/fhir/Observation/o1", &access).await;
            assert_eq!(reply.status, 200, "{}", reply.all());
        });
        // One token is used for as long as it lives, whatever happens to the key that signed it.
        let mut old = (String::new(), 0);
        let mut lived = 0;
        let lifelong = load.work(3, async || {
            if old.1 <= world.clock.unix_seconds() {
                let fresh = tokens(&world, "pat", SCOPE).await;
                let access = text(&fresh, "access_token").to_owned();
                let until = claims(&access)["exp"].as_i64().unwrap();
                old = (access, until);
                lived += 1;
            }
            let status = world.get("/fhir/Patient/P1", &old.0).await.status;
            let late = old.1 <= world.clock.unix_seconds();
            assert!(status == 200 || late && status == 401, "{status}");
        });
        let rotations = async {
            for _ in 0..ROTATIONS {
                rotation(&world, &load).await;
            }
            load.done.store(true, Ordering::Relaxed);
        };
        tokio::join!(exchanges, refreshes, reads, lifelong, rotations);
        assert!(lived > 1, "a token was used to its end");
        assert_eq!(party.kids.lock().unwrap().len(), 2 * (ROTATIONS + 1), "every key signed");
        world.finish().await;
    });
}

// O9, B3 61
#[test]
fn a_key_that_was_withdrawn_or_never_ours_vouches_for_nothing() {
    run(async {
        let world = world().await;
        let stolen = text(&tokens(&world, "pat", SCOPE).await, "access_token").to_owned();
        assert_eq!(world.get("/fhir/Patient/P1", &stolen).await.status, 200);
        let elsewhere = tempfile::tempdir().unwrap();
        let foreign = Keys::open(elsewhere.path()).unwrap();
        let now = world.clock.unix_seconds();
        let grant = Grant::patient("patient/*.rs", "P1").with(|claims| (claims.iat, claims.exp) = (now, now + 300));
        let unknown = foreign.sign_access_token(&grant.0).unwrap();
        assert_eq!(world.get("/fhir/Patient/P1", &unknown).await.status, 401);
        rotate(&world.state.path().join("state/keys"), &world.clock, Rotation::Compromised).unwrap();
        // It was verified and remembered; the key's end ends that too.
        let refused = async { while world.get("/fhir/Patient/P1", &stolen).await.status == 200 {} };
        tokio::time::timeout(Duration::from_secs(20), refused).await.unwrap();
        assert_eq!(world.get("/fhir/Patient/P1", &stolen).await.status, 401);
        let fresh = tokens(&world, "pat", SCOPE).await;
        assert_eq!(world.get("/fhir/Patient/P1", text(&fresh, "access_token")).await.status, 200);
        world.finish().await;
    });
}

// O9: an act of administration, whoever does it
#[test]
fn a_rotation_that_the_configuration_asks_for_is_in_the_audit_log() {
    run(async {
        let clock = Clock::fixed(Clock::system().unix_seconds());
        let sections = "[tokens]\nrotate_keys_after = \"1d\"\n".to_owned();
        let world = World::with(Settings { clock, sections, ..Default::default() }).await;
        let mut lines = world.audit.subscribe();
        let keys = async || world.get("/jwks", "").await.json()["keys"].as_array().unwrap().len();
        assert_eq!(keys().await, 2);
        // The keys of the tests are as old as this run.
        world.advance(86_400).await;
        let rotated = async {
            loop {
                let entry = Entry::parse(&lines.recv().await.unwrap()).unwrap();
                if entry.record.action.as_deref() == Some("keys_rotated") {
                    break entry.record;
                }
            }
        };
        let record = tokio::time::timeout(Duration::from_secs(20), rotated).await.unwrap();
        assert_eq!((record.kind, record.outcome), (EventKind::Administration, Some(Ending::Released)));
        let detail = record.detail.unwrap();
        assert!(
            detail.starts_with("by the server itself, because `tokens.rotate_keys_after` had passed: as "),
            "{detail}"
        );
        let there = async { while keys().await != 4 {} };
        tokio::time::timeout(Duration::from_secs(20), there).await.unwrap();
        let entries = world.finish().await;
        let acts = entries.iter().filter(|entry| entry.record.action.as_deref() == Some("keys_rotated"));
        assert_eq!(acts.count(), 1, "once, although it is looked every second");
    });
}
