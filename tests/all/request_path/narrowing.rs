//! What a search is confined by is probed before anything relies on it: an upstream that takes a parameter and ignores it, that
//! cannot be asked, or that forgets what it could.

use std::sync::Arc;

use firebreak::audit::Ending;
use firebreak::clock::Clock;

use super::{asked, b};
use crate::upstream::Answer;
use crate::world::{Grant, Reply, Settings, UPSTREAM_CREDENTIAL, World, run};

const NOW: i64 = 1_800_000_000;

const LABORATORY: &str = "patient/Observation.rs?category=laboratory";

/// The probes since the last time, without the base, and with `_` for who nobody is.
fn probed(world: &World) -> Vec<String> {
    world.upstream.take_probes().iter().map(|seen| without_nobody(&seen.below_base())).collect()
}

/// The same line whoever nobody was; a UUID has 36 characters.
fn without_nobody(line: &str) -> String {
    let at = line.match_indices('-').map(|(at, _)| at).find(|at| line.get(at + 5..at + 6) == Some("-")).unwrap();
    format!("{}_{}", &line[..at - 8], &line[at + 28..])
}

/// A world whose time stands still, and is an hour before a token ends that it makes.
async fn standing() -> World {
    World::with(Settings { clock: Clock::fixed(NOW), ..Settings::default() }).await
}

async fn search(world: &World) -> Reply {
    world.get("/fhir/Observation?_id=o1,o2", &world.token(&b())).await
}

/// Asks until it is answered so, a bounded number of times: what is done in the background is done at its own pace.
async fn until(world: &World, status: u16) {
    for _ in 0..2_000 {
        if search(world).await.status == status {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("never {status}: {}", search(world).await.all());
}

/// Waits for one probe, a bounded time.
async fn until_probed(world: &World) {
    for _ in 0..2_000 {
        if let [_] = &*probed(world) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    panic!("no probe");
}

#[test]
fn a_search_is_probed_before_its_first_use_and_not_again() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        for _ in 0..3 {
            assert_eq!(search(&world).await.ids(), ["o1"]);
        }
        let probes = world.upstream.take_probes();
        let [probe] = probes.as_slice() else { panic!("one probe: {probes:?}") };
        assert_eq!(without_nobody(&probe.below_base()), "GET Observation?subject=Patient/_&_count=1");
        for (name, value) in
            [("prefer", "handling=strict"), ("cache-control", "no-cache"), ("authorization", UPSTREAM_CREDENTIAL)]
        {
            assert!(probe.headers.contains(&(name.to_owned(), value.to_owned())), "{name}: {probe:?}");
        }
        // By its own parameter each, and nobody is somebody else each time.
        for target in ["Patient", "Condition", "Appointment", "Device"] {
            assert_eq!(world.get(&format!("/fhir/{target}"), &a).await.status, 200, "{target}");
        }
        let more = world.upstream.take_probes();
        assert_ne!(probe.line.split("Patient/").nth(1), more[1].line.split("Patient/").nth(1));
        let lines: Vec<String> = more.iter().map(|seen| without_nobody(&seen.below_base())).collect();
        assert_eq!(
            lines,
            [
                "GET Patient?_id=_&_count=1",
                "GET Condition?patient=Patient/_&_count=1",
                "GET Appointment?actor=Patient/_&_count=1",
                "GET Device?patient=Patient/_&_count=1"
            ]
        );
        // Nothing is probed for what no search finds, and for whom nothing confines.
        let all = world.token(&Grant::user("user/*.rs", "Practitioner/d1", &["clinician"]));
        for (target, token) in [
            ("Observation/o1", &a),
            ("Observation?patient=P2", &a),
            ("Encounter?patient=P2", &a),
            ("Encounter", &all),
            ("Observation?x=1", &a),
            ("Group", &a),
        ] {
            world.get(&format!("/fhir/{target}"), token).await;
        }
        assert_eq!(probed(&world), [""; 0]);
        world.finish().await;
    });
}

#[test]
fn many_first_searches_make_one_probe() {
    run(async {
        let world = Arc::new(World::new().await);
        let token = world.token_a();
        let both = Arc::new(tokio::sync::Barrier::new(2));
        let held = Arc::clone(&both);
        world.upstream.answer_probes(move |_| Answer::Held(Arc::clone(&held)));
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..40 {
            let (world, token) = (Arc::clone(&world), token.clone());
            running.spawn(async move { world.get("/fhir/Observation?_id=o1", &token).await });
        }
        // None is asked before the probe is answered, which waits for this.
        for _ in 0..100 {
            tokio::task::yield_now().await;
            assert_eq!(world.upstream.seen(), 0);
        }
        both.wait().await;
        while let Some(reply) = running.join_next().await {
            let reply = reply.unwrap();
            assert_eq!((reply.status, reply.ids()), (200, vec!["o1".to_owned()]), "{}", reply.all());
        }
        assert_eq!(probed(&world), ["GET Observation?subject=Patient/_&_count=1"]);
        assert_eq!(world.upstream.seen(), 40);
        Arc::try_unwrap(world).ok().unwrap().finish().await;
    });
}

#[test]
fn a_server_that_ignores_the_parameter_is_not_asked() {
    run(async {
        for (what, echoes, empty) in
            [("ignores it", false, false), ("ignores it and names it", true, false), ("has none yet", false, true)]
        {
            let world = World::new().await;
            world.upstream.change(|store| {
                store.ignored = vec!["subject"];
                store.echoes = echoes;
                if empty {
                    store.clear("Observation");
                }
            });
            let a = world.token_a();
            let mut bodies = Vec::new();
            for target in ["Observation", "Observation?_id=o1", "Patient/P1/Observation", "Observation?code=x&_count=3"]
            {
                let reply = world.get(&format!("/fhir/{target}"), &a).await;
                assert_eq!(reply.status, 502, "{what}, {target}: {}", reply.all());
                assert_eq!(reply.json()["issue"][0]["code"], "not-supported");
                bodies.push(reply.body);
            }
            bodies.dedup();
            assert_eq!(bodies.len(), 1, "whatever was asked for");
            assert_eq!(asked(&world), [""; 0], "{what}");
            assert_eq!(probed(&world), ["GET Observation?subject=Patient/_&_count=1"], "{what}: once");
            // Whatever does not rely on it is served.
            let all = world.token(&Grant::user("user/*.rs", "Practitioner/d1", &["clinician"]));
            assert_eq!(world.get("/fhir/Condition", &a).await.status, 200);
            assert_eq!(world.get("/fhir/Observation", &all).await.status, 200);
            let records = world.finish().await;
            let refused: Vec<_> = records
                .iter()
                .filter(|entry| entry.record.reason.as_deref() == Some("upstream_search_not_confined"))
                .collect();
            assert_eq!(refused.len(), 4);
            assert!(refused.iter().all(|entry| entry.record.outcome == Some(Ending::Failed)));
        }
    });
}

#[test]
fn an_answer_to_a_probe_that_says_nothing_is_no_leave() {
    let searchset = |rest: &str| format!(r#"{{"resourceType":"Bundle","type":"searchset"{rest}}}"#);
    let link =
        |query: &str| searchset(&format!(r#","link":[{{"relation":"self","url":"http://up/Observation{query}"}}]"#));
    let cases = [
        (Answer::fhir(searchset("")), 200),
        (Answer::fhir(searchset(r#","total":0,"entry":[]"#)), 200),
        (
            Answer::fhir(searchset(
                r#","entry":[{"resource":{"resourceType":"OperationOutcome"},"search":{"mode":"outcome"}}]"#,
            )),
            200,
        ),
        (Answer::fhir(searchset(r#","total":17"#)), 502),
        (Answer::fhir(searchset(r#","entry":[{}]"#)), 502),
        (Answer::fhir(searchset(r#","entry":[{"search":{"mode":"include"}}]"#)), 502),
        (Answer::fhir(link("")), 502),
        (Answer::fhir(link("?_count=1")), 502),
        (Answer::fhir(link("?subject=Patient/P1")), 502),
        (Answer::fhir(r#"{"resourceType":"Bundle","type":"collection"}"#), 502),
        (Answer::fhir(r#"{"resourceType":"OperationOutcome"}"#), 502),
        (Answer::fhir("[]"), 502),
        (Answer::fhir(r#"{"resourceType":"Bundle","type":"searchset","entry":[],"entry":[]}"#), 502),
        (Answer::Given(400, "application/fhir+json", r#"{"resourceType":"OperationOutcome"}"#.to_owned()), 502),
        (Answer::Given(404, "application/fhir+json", r#"{"resourceType":"OperationOutcome"}"#.to_owned()), 502),
        (Answer::Given(405, "text/plain", String::new()), 502),
        (Answer::Given(501, "text/plain", String::new()), 502),
    ];
    run(async {
        for (number, (answer, status)) in cases.into_iter().enumerate() {
            let world = World::new().await;
            let answer = std::sync::Mutex::new(Some(answer));
            world.upstream.answer_probes(move |_| answer.lock().unwrap().take().unwrap());
            for _ in 0..2 {
                let reply = search(&world).await;
                assert_eq!(reply.status, status, "case {number}: {}", reply.all());
            }
            assert_eq!(probed(&world).len(), 1, "case {number}: it is remembered");
            world.finish().await;
        }
    });
}

/// What a faulty server answers.
type Fault = Box<dyn Fn() -> Answer + Send + Sync>;

#[test]
fn a_probe_that_cannot_be_made_is_told_and_not_remembered() {
    run(async {
        let settings = Settings { fhir: "timeout = \"600ms\"".to_owned(), ..Settings::default() };
        let world = World::with(settings).await;
        let given = |status| move || Answer::Given(status, "text/plain", "CANARY".to_owned());
        let faults: [(Fault, u16, &str); 7] = [
            (Box::new(|| Answer::Reset(Vec::new())), 502, "upstream_unreachable"),
            (Box::new(|| Answer::Hang), 504, "upstream_timeout"),
            (Box::new(given(503)), 503, "upstream_busy"),
            (Box::new(given(429)), 503, "upstream_busy"),
            (Box::new(given(500)), 502, "upstream_status"),
            (Box::new(given(401)), 502, "upstream_status"),
            (Box::new(given(200)), 502, "upstream_unusable"),
        ];
        for (fault, status, reason) in faults {
            world.upstream.answer_probes(move |_| fault());
            let reply = search(&world).await;
            assert_eq!(reply.status, status, "{reason}: {}", reply.all());
            assert_eq!(asked(&world), [""; 0], "{reason}");
        }
        world.upstream.answer_probes(|_| Answer::Honest);
        assert_eq!(search(&world).await.ids(), ["o1"]);
        let records = world.finish().await;
        for reason in
            ["upstream_unreachable", "upstream_timeout", "upstream_busy", "upstream_status", "upstream_unusable"]
        {
            assert!(records.iter().any(|entry| entry.record.reason.as_deref() == Some(reason)), "{reason}");
        }
    });
}

#[test]
fn a_match_outside_of_the_reach_is_a_reason_to_ask_again_at_once() {
    let theirs = r#"{"resourceType":"Bundle","type":"searchset","entry":[{"resource":{"resourceType":"Observation","id":"o2","subject":{"reference":"Patient/P2"}}}]}"#;
    run(async {
        let world = standing().await;
        assert_eq!(search(&world).await.status, 200);
        assert_eq!(probed(&world).len(), 1);
        // Something moved between two pages: nothing of the answer is released, and the server is as good as before.
        world.upstream.answer(move |_| Answer::fhir(theirs));
        let reply = search(&world).await;
        assert_eq!((reply.status, probed(&world).len()), (502, 1), "{}", reply.all());
        world.upstream.answer(|_| Answer::Honest);
        assert_eq!((search(&world).await.status, probed(&world).len()), (200, 0));
        // It stopped to confine searches.
        world.upstream.change(|store| store.ignored = vec!["subject"]);
        assert_eq!((search(&world).await.status, probed(&world).len()), (502, 1));
        asked(&world);
        for _ in 0..5 {
            assert_eq!(search(&world).await.status, 502);
        }
        assert_eq!((asked(&world), probed(&world)), (Vec::new(), Vec::new()), "it is asked nothing more");
        // It does again: found out in the background, and not sooner than half a minute after it was asked last.
        world.upstream.change(|store| store.ignored.clear());
        assert_eq!((search(&world).await.status, probed(&world).len()), (502, 0));
        world.clock.advance(31);
        until(&world, 200).await;
        assert_eq!(probed(&world).len(), 1);
        let records = world.finish().await;
        let reason = |reason: &str| records.iter().filter(|one| one.record.reason.as_deref() == Some(reason)).count();
        assert_eq!(reason("upstream_foreign_match"), 2);
        assert!(reason("upstream_search_not_confined") >= 6);
    });
}

#[test]
fn a_probe_from_before_the_doubt_does_not_answer_it() {
    let theirs = r#"{"resourceType":"Bundle","type":"searchset","entry":[{"resource":{"resourceType":"Observation","id":"o2","subject":{"reference":"Patient/P2"}}}]}"#;
    run(async {
        let world = Arc::new(standing().await);
        assert_eq!((search(&world).await.status, probed(&world).len()), (200, 1));
        world.advance(300).await;
        let both = Arc::new(tokio::sync::Barrier::new(2));
        let held = Arc::clone(&both);
        world.upstream.answer_probes(move |_| Answer::Held(Arc::clone(&held)));
        assert_eq!(search(&world).await.status, 200);
        until_probed(&world).await;
        // It is under way when the server shows that it does not confine.
        world.upstream.answer_probes(|_| Answer::Honest);
        world.upstream.answer(move |_| Answer::fhir(theirs));
        let doubting = Arc::clone(&world);
        let doubting = tokio::spawn(async move { search(&doubting).await.status });
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert!(!doubting.is_finished(), "it is told when that is known");
        assert_eq!(probed(&world), [""; 0]);
        both.wait().await;
        assert_eq!(doubting.await.unwrap(), 502);
        assert_eq!(probed(&world).len(), 1, "another one");
        Arc::try_unwrap(world).ok().unwrap().finish().await;
    });
}

#[test]
fn what_ages_is_found_out_again_beside_a_search() {
    run(async {
        let world = standing().await;
        assert_eq!((search(&world).await.status, probed(&world).len()), (200, 1));
        world.advance(300).await;
        assert_eq!(search(&world).await.status, 200);
        until_probed(&world).await;
        world.finish().await;
    });
}

#[test]
fn what_was_found_out_is_renewed_while_it_is_used_and_does_not_outlive_ten_minutes() {
    run(async {
        let world = standing().await;
        assert_eq!((search(&world).await.status, probed(&world).len()), (200, 1));
        world.advance(299).await;
        assert_eq!((search(&world).await.status, probed(&world).len()), (200, 0));
        // From here on it is renewed beside the search, which does not wait for it.
        world.advance(1).await;
        world.upstream.answer_probes(|_| Answer::Reset(Vec::new()));
        assert_eq!(search(&world).await.status, 200);
        // And does not outlive its time when it cannot be.
        world.advance(300).await;
        let reply = search(&world).await;
        assert_eq!(reply.status, 502, "{}", reply.all());
        world.upstream.answer_probes(|_| Answer::Honest);
        asked(&world);
        until(&world, 200).await;
        // When somebody sets the clock back, nobody knows how old it is.
        world.advance(-1_000).await;
        probed(&world);
        assert_eq!((search(&world).await.status, probed(&world).len()), (200, 1));
        world.finish().await;
    });
}

#[test]
fn what_confines_a_granular_scope_is_probed_as_well() {
    run(async {
        let world = World::new().await;
        let token = world.token(&Grant::patient(LABORATORY, "P1"));
        let reply = world.get("/fhir/Observation?_id=o1,v1", &token).await;
        assert_eq!(reply.ids(), ["o1"], "{}", reply.all());
        let mut probes = probed(&world);
        probes.sort();
        assert_eq!(probes, ["GET Observation?category=_&_count=1", "GET Observation?subject=Patient/_&_count=1"]);
        world.finish().await;
        // How many pages there are would tell of what the scope leaves out.
        let world = World::new().await;
        world.upstream.change(|store| store.ignored = vec!["category"]);
        let token = world.token(&Grant::patient(LABORATORY, "P1"));
        assert_eq!(world.get("/fhir/Observation", &token).await.status, 502);
        assert_eq!(asked(&world), [""; 0]);
        let whole = world.get("/fhir/Observation?_id=o1", &world.token_a()).await;
        assert_eq!(whole.ids(), ["o1"]);
        // Without a patient, it is all that confines.
        let bulk = world.token(&Grant::system("system/Observation.rs?category=laboratory", "bulk1"));
        assert_eq!(world.get("/fhir/Observation", &bulk).await.status, 502);
        world.finish().await;
    });
}

#[test]
fn pages_entries_and_searches_on_several_types_rely_on_it_too() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        let first = world.get("/fhir/Observation?_count=2", &a).await;
        let next = first.link("next").unwrap();
        assert_eq!(world.get(&next, &a).await.status, 200);
        world.upstream.change(|store| store.ignored = vec!["subject", "patient"]);
        assert_eq!(world.get("/fhir/Observation", &a).await.status, 502, "a match that is somebody else's");
        asked(&world);
        let json = ["Content-Type: application/fhir+json"];
        let bundle = |kind: &str| {
            format!(
                r#"{{"resourceType":"Bundle","type":"{kind}","entry":[{{"request":{{"method":"GET","url":"Observation?_id=o1"}}}}]}}"#
            )
        };
        assert_eq!(world.get(&next, &a).await.status, 502, "a page");
        assert_eq!(world.get("/fhir/Patient/P1/*?_type=Observation,Patient", &a).await.status, 502, "one type of two");
        assert_eq!(world.send("POST /fhir", &a, &json, &bundle("transaction")).await.status, 502, "a transaction");
        let batch = world.send("POST /fhir", &a, &json, &bundle("batch")).await;
        assert_eq!(batch.json()["entry"][0]["response"]["status"], "502 Bad Gateway", "{}", batch.all());
        assert_eq!(asked(&world), [""; 0]);
        world.finish().await;
    });
}

#[test]
fn of_several_types_each_is_probed_whichever_is_named_first() {
    run(async {
        for types in ["Observation,Condition", "Condition,Observation", "Patient,Condition,Observation"] {
            for ignored in ["subject", "patient"] {
                let world = World::new().await;
                world.upstream.change(|store| store.ignored = vec![ignored]);
                let reply = world.get(&format!("/fhir/Patient/P1/*?_type={types}"), &world.token_a()).await;
                assert_eq!(reply.status, 502, "{types}, {ignored}: {}", reply.all());
                assert_eq!(asked(&world), [""; 0], "{types}, {ignored}");
                world.finish().await;
            }
        }
    });
}

#[test]
fn the_last_observations_have_a_probe_of_their_own() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        assert_eq!(world.get("/fhir/Observation/$lastn", &a).await.status, 200);
        let mut lines = probed(&world);
        lines.sort();
        let own = "GET Observation/$lastn?subject=Patient/_&max=1";
        assert_eq!(lines, [own, "GET Observation?subject=Patient/_&_count=1"]);
        world.finish().await;
        // A server that confines its searches may not confine this.
        let world = World::new().await;
        let a = world.token_a();
        let all = r#"{"resourceType":"Bundle","type":"searchset","total":1,"entry":[{"resource":{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/P1"}},"search":{"mode":"match"}}]}"#;
        world.upstream.answer_probes(
            move |seen| {
                if seen.line.contains("lastn") { Answer::fhir(all) } else { Answer::Honest }
            },
        );
        assert_eq!(search(&world).await.status, 200);
        asked(&world);
        let reply = world.get("/fhir/Observation/$lastn", &a).await;
        assert_eq!(reply.status, 502, "{}", reply.all());
        assert_eq!(asked(&world), [""; 0]);
        world.finish().await;
    });
}

#[test]
fn the_operator_is_told_of_probes_and_of_types_that_are_not_confined() {
    run(async {
        let world = World::process(Settings::default()).await;
        world.upstream.change(|store| store.ignored = vec!["subject"]);
        let a = world.token_a();
        for target in ["Observation", "Condition", "Patient"] {
            world.get(&format!("/fhir/{target}"), &a).await;
            world.get(&format!("/fhir/{target}"), &a).await;
        }
        let mut scraper = crate::world::client::Connection::open(world.admin.unwrap(), None).await;
        let text = scraper.exchange(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false).await;
        for line in [
            "firebreak_search_probes_total{result=\"honoured\"} 2",
            "firebreak_search_probes_total{result=\"unusable\"} 1",
            "firebreak_search_probes_total{result=\"failed\"} 0",
            "firebreak_search_breakers_open{resource_type=\"Observation\"} 1",
            "firebreak_search_breakers_open{resource_type=\"Condition\"} 0",
        ] {
            assert!(text.text().lines().any(|one| one == line), "{line} in {}", text.text());
        }
        let told = world.end().await.told;
        let warnings: Vec<&str> = told.lines().filter(|line| line.contains("does not confine searches so")).collect();
        let [warning] = warnings.as_slice() else { panic!("one warning: {told}") };
        assert!(
            warning.contains("WARN") && warning.contains("Observation") && warning.contains("subject"),
            "{warning}"
        );
    });
}
