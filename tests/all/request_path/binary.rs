//! Binaries and attachments, end to end: by a link in what refers to them, by their security context, and as what they hold.

use firebreak::clock::Clock;

use super::{asked, assert_absent};
use crate::upstream::{Answer, data};
use crate::world::{BASE, Grant, Reply, Settings, World, run};

const FHIR: &str = "Accept: application/fhir+json";
const JSON: &str = "Content-Type: application/fhir+json";

/// `aGVsbG8=` is `hello`.
fn binary(world: &World, id: &str, context: &str) {
    let context =
        if context.is_empty() { String::new() } else { format!(r#","securityContext":{{"reference":"{context}"}}"#) };
    let rest = format!(r#""contentType":"text/plain","data":"aGVsbG8="{context}"#);
    world.upstream.change(|store| store.put(data::resource("Binary", id, Some("P1"), &rest)));
}

fn document(world: &World, id: &str, owner: &'static str, urls: &[&str]) {
    let attachments: Vec<String> = urls.iter().map(|url| format!(r#"{{"attachment":{{"url":"{url}"}}}}"#)).collect();
    let rest = format!(
        r#""status":"current","subject":{{"reference":"Patient/{owner}"}},"content":[{}]"#,
        attachments.join(",")
    );
    world.upstream.change(|store| store.put(data::resource("DocumentReference", id, Some(owner), &rest)));
}

async fn attached() -> (World, String) {
    let world = World::with(Settings { clock: Clock::fixed(1_790_000_000), ..Default::default() }).await;
    binary(&world, "free", "");
    document(&world, "doc1", "P1", &["{BASE}/Binary/free"]);
    let token = world.token_a();
    (world, token)
}

/// The address of the attachment at this place, below the origin.
fn link(reply: &Reply, at: usize) -> String {
    let json = reply.json();
    let url = json["content"][at]["attachment"]["url"].as_str().unwrap().to_owned();
    url.strip_prefix("https://gw.example.org").unwrap_or(&url).to_owned()
}

async fn linked(world: &World, token: &str, id: &str) -> String {
    link(&world.get(&format!("/fhir/DocumentReference/{id}"), token).await, 0)
}

#[test]
fn an_attachment_is_read_by_the_link_in_what_refers_to_it() {
    run(async {
        let (world, a) = attached().await;
        let target = linked(&world, &a, "doc1").await;
        assert!(target.starts_with("/fhir/Binary/free?gw="), "{target}");
        asked(&world);
        let reply = world.get(&target, &a).await;
        assert_eq!((reply.status, reply.text()), (200, "hello"), "{}", reply.all());
        for (name, value) in [
            ("content-type", "text/plain"),
            ("content-disposition", "attachment"),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "sandbox"),
            ("cache-control", "private, no-store"),
            ("etag", "W/\"1\""),
        ] {
            assert_eq!(reply.header(name), value, "{name}");
        }
        // The first two at once.
        let mut seen = asked(&world);
        seen.sort();
        assert_eq!(seen, ["GET Binary/free", "GET Binary/free", "GET DocumentReference/doc1"]);
        let head = world.send(&format!("HEAD {target}"), &a, &[], "").await;
        assert_eq!((head.status, head.header("content-type"), head.body.len()), (200, "text/plain", 0));
        let same = world.send(&format!("GET {target}"), &a, &["If-None-Match: W/\"1\""], "").await;
        assert_eq!((same.status, same.body.len()), (304, 0), "{}", same.all());
        let fhir = world.send(&format!("GET {target}"), &a, &[FHIR], "").await;
        assert_eq!((fhir.header("content-type"), fhir.header("content-disposition")), ("application/fhir+json", ""));
        assert_eq!(fhir.json()["data"], "aGVsbG8=");
        let by_format = world.get(&format!("{target}&_format=json"), &a).await;
        assert_eq!(by_format.json()["resourceType"], "Binary");
        for (accept, content) in [
            ("*/*", true),
            ("text/html,application/xml;q=0.9,*/*;q=0.8", true),
            ("application/pdf, application/fhir+json;q=0.5", true),
            ("application/fhir+json, */*", false),
            ("application/json;q=0.5, */*;q=0.1", false),
        ] {
            let reply = world.send(&format!("GET {target}"), &a, &[&format!("Accept: {accept}")], "").await;
            assert_eq!(reply.text() == "hello", content, "{accept}: {}", reply.all());
        }
        for accept in ["application/fhir+xml", "text/plain;q=0"] {
            let reply = world.send(&format!("GET {target}"), &a, &[&format!("Accept: {accept}")], "").await;
            assert_eq!(reply.status, 406, "{accept}: {}", reply.all());
        }
        let records = world.finish().await;
        let of = records.iter().find(|entry| entry.record.resource_ids == ["Binary/free"]).unwrap();
        let told = of.record.explanation.join("\n");
        assert!(told.contains("Binary/free, to which DocumentReference/doc1 refers"), "{told}");
        assert_eq!(of.record.patients, ["P1"]);
    });
}

#[test]
fn a_search_and_a_version_have_the_links_too_and_a_copy_of_them_is_not_kept() {
    run(async {
        let (world, a) = attached().await;
        let found = world.get("/fhir/DocumentReference?_id=doc1", &a).await;
        let url = found.json()["entry"][0]["resource"]["content"][0]["attachment"]["url"].as_str().unwrap().to_owned();
        assert_eq!(world.get(url.strip_prefix("https://gw.example.org").unwrap(), &a).await.text(), "hello");
        let version = world.get("/fhir/DocumentReference/doc1/_history/1", &a).await;
        assert_eq!(world.get(&link(&version, 0), &a).await.text(), "hello");
        let history = world.get("/fhir/DocumentReference/doc1/_history", &a).await;
        assert!(history.text().contains("Binary/free?gw="), "{}", history.all());
        let again = world.send("GET /fhir/DocumentReference/doc1", &a, &["If-None-Match: W/\"1\""], "").await;
        assert_eq!((again.status, again.header("etag")), (200, "W/\"1\""), "its links end before it changes");
        // One version of a Binary, a reference and what is elsewhere have no link.
        document(&world, "odd", "P1", &["{BASE}/Binary/free/_history/1", "https://files.example/Binary/free", "#x"]);
        let odd = world.get("/fhir/DocumentReference/odd", &a).await;
        assert!(!odd.text().contains("gw="), "{}", odd.all());
        world.finish().await;
    });
}

#[test]
fn a_link_is_for_whom_and_for_what_it_was_given() {
    run(async {
        let (world, a) = attached().await;
        binary(&world, "other", "");
        let target = linked(&world, &a, "doc1").await;
        let (path, seal) = target.split_once("?gw=").unwrap();
        asked(&world);
        let somebody = world.token(&Grant::patient("patient/*.rs", "P1").with(|claims| claims.sub = "else".to_owned()));
        let elsewhere = world.token(&Grant::patient("patient/*.rs", "P2"));
        let mut bent = seal.to_owned().into_bytes();
        bent[20] = if bent[20] == b'A' { b'B' } else { b'A' };
        let bent = String::from_utf8(bent).unwrap();
        for (token, target) in [
            (&somebody, target.clone()),
            (&elsewhere, target.clone()),
            (&a, format!("/fhir/Binary/other?gw={seal}")),
            (&a, format!("{path}?gw={bent}")),
            (&a, format!("{path}?gw=")),
            (&a, format!("{target}&gw={seal}")),
            (&a, format!("/fhir/Observation/o1?gw={seal}")),
            (&a, format!("/fhir/Binary/free/_history/1?gw={seal}")),
        ] {
            let reply = world.get(&target, token).await;
            assert_eq!(reply.status, 400, "{target}: {}", reply.all());
        }
        // The letter r on what refers to it is what counts.
        let narrower = world.token(&Grant::patient("patient/Observation.rs", "P1"));
        assert_eq!(world.get(&target, &narrower).await.status, 403);
        assert!(asked(&world).is_empty(), "nothing was asked");
        world.advance(3601).await;
        let late = world.token_a();
        assert_eq!(world.get(&target, &late).await.status, 410);
        assert!(asked(&world).is_empty());
        world.finish().await;
    });
}

#[test]
fn what_refers_to_it_is_read_again() {
    run(async {
        let (world, a) = attached().await;
        let target = linked(&world, &a, "doc1").await;
        document(&world, "doc1", "P2", &["{BASE}/Binary/free"]);
        assert_absent(&world, &a, &target).await;
        document(&world, "doc1", "P1", &["{BASE}/Binary/another", "{BASE}/Binary/free/_history/1"]);
        assert_absent(&world, &a, &target).await;
        world.upstream.change(|store| store.clear("DocumentReference"));
        assert_absent(&world, &a, &target).await;
        document(&world, "doc1", "P1", &["Binary/free"]);
        assert_eq!(world.get(&target, &a).await.status, 200);
        // A security context counts, whoever refers to it.
        for (context, status) in [
            ("Patient/P1", 200),
            ("{BASE}/Patient/P1", 200),
            ("DocumentReference/doc1", 200),
            ("Observation/o1", 200),
            ("Patient/P2", 404),
            ("Observation/o2", 404),
            ("Observation/never", 404),
            ("Group/g1", 404),
            ("https://elsewhere.example/fhir/Patient/P1", 404),
            ("#p", 404),
            ("patient/P1", 404),
        ] {
            binary(&world, "free", context);
            let reply = world.get(&target, &a).await;
            assert_eq!(reply.status, status, "{context}: {}", reply.all());
            if status == 404 {
                assert_absent(&world, &a, &target).await;
            }
        }
        world.upstream.change(|store| store.clear("Binary"));
        assert_absent(&world, &a, &target).await;
        world.finish().await;
    });
}

#[test]
fn without_a_link_the_security_context_decides() {
    run(async {
        let (world, a) = attached().await;
        binary(&world, "own", "Patient/P1");
        binary(&world, "lab", "Observation/o1");
        binary(&world, "who", "Practitioner/d1");
        asked(&world);
        let own = world.get("/fhir/Binary/own", &a).await;
        assert_eq!((own.status, own.text()), (200, "hello"), "{}", own.all());
        assert_eq!(asked(&world), ["GET Binary/own", "GET Patient/P1", "GET Binary/own"]);
        assert_eq!(world.get("/fhir/Binary/lab", &a).await.status, 200);
        for hidden in ["free", "bin1", "who", "never"] {
            assert_absent(&world, &a, &format!("/fhir/Binary/{hidden}")).await;
        }
        for (scope, id, status) in [
            ("patient/Binary.r patient/Patient.r", "own", 200),
            ("patient/Binary.r", "own", 404),
            ("patient/Binary.r patient/Patient.r", "lab", 404),
            ("patient/Patient.r", "own", 403),
            ("patient/Binary.s patient/Patient.r", "own", 403),
        ] {
            let token = world.token(&Grant::patient(scope, "P1"));
            assert_eq!(world.get(&format!("/fhir/Binary/{id}"), &token).await.status, status, "{scope} {id}");
        }
        for target in ["Binary?_id=own", "Binary/own/_history", "Binary/own/_history/1"] {
            assert_eq!(world.get(&format!("/fhir/{target}"), &a).await.status, 403, "{target}");
        }
        // Whoever reads every Binary has those without a security context, and those of one that may be read.
        let wide = world.token(&Grant::user("user/Binary.rs user/Observation.rs", "Practitioner/d1", &["clinician"]));
        for (id, status) in [("free", 200), ("lab", 200), ("own", 404), ("bin1", 404)] {
            assert_eq!(world.get(&format!("/fhir/Binary/{id}"), &wide).await.status, status, "{id}");
        }
        assert_eq!(world.get("/fhir/Binary?_id=bin1", &wide).await.status, 403);
        world.finish().await;
    });
}

#[test]
fn a_grant_without_restriction_has_the_plain_address() {
    run(async {
        let (world, _) = attached().await;
        let token = world.token(&Grant::user("user/*.cruds", "Practitioner/d1", &["clinician"]));
        let read = world.get("/fhir/DocumentReference/doc1", &token).await;
        assert_eq!(link(&read, 0), "/fhir/Binary/free", "{}", read.all());
        assert_eq!(world.get("/fhir/Binary/free", &token).await.text(), "hello");
        world.finish().await;
    });
}

#[test]
fn an_upstream_that_lies_about_a_binary_lets_nothing_out() {
    run(async {
        let (world, a) = attached().await;
        let target = linked(&world, &a, "doc1").await;
        let of = |id: &str, more: &str| format!(r#"{{"resourceType":"Binary","id":"{id}"{more}}}"#);
        for (answer, status) in [
            (of("other", r#","contentType":"text/plain","data":"Q0FOQVJZ""#), 404),
            (r#"{"resourceType":"Patient","id":"free"}"#.to_owned(), 404),
            (of("free", r#","securityContext":{"reference":"Patient/P2"},"data":"Q0FOQVJZ""#), 404),
            (of("free", r#","securityContext":{"identifier":{"value":"P1"}},"data":"Q0FOQVJZ""#), 404),
            (of("free", r#","data":"Q0FOQVJ""#), 502),
            ("{".to_owned(), 502),
        ] {
            let text = answer.clone();
            world.upstream.answer(move |seen| {
                if seen.line.ends_with("Binary/free") { Answer::fhir(text.clone()) } else { Answer::Honest }
            });
            let reply = world.get(&target, &a).await;
            assert_eq!(reply.status, status, "{answer}: {}", reply.all());
        }
        for (members, media_type) in [
            (r#","data":"aGVsbG8=""#, "application/octet-stream"),
            (r#","contentType":"nonsense","data":"aGVsbG8=""#, "application/octet-stream"),
            (r#","contentType":"text/html","data":"aGVsbG8=""#, "text/html"),
        ] {
            let text = of("free", members);
            world.upstream.answer(move |seen| {
                if seen.line.ends_with("Binary/free") { Answer::fhir(text.clone()) } else { Answer::Honest }
            });
            let reply = world.get(&target, &a).await;
            assert_eq!((reply.status, reply.header("content-type")), (200, media_type), "{}", reply.all());
            assert_eq!(
                (reply.header("content-disposition"), reply.header("content-security-policy")),
                ("attachment", "sandbox")
            );
        }
        // Another security context than the one that was judged.
        let count = std::sync::atomic::AtomicUsize::new(0);
        let moved = of("free", r#","securityContext":{"reference":"Patient/P2"},"data":"Q0FOQVJZ""#);
        world.upstream.answer(move |seen| {
            let again =
                seen.line.ends_with("Binary/free") && count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) > 0;
            if again { Answer::fhir(moved.clone()) } else { Answer::Honest }
        });
        assert_eq!(world.get(&target, &a).await.status, 404);
        world.finish().await;
    });
}

#[test]
fn in_a_batch_a_binary_is_a_resource() {
    run(async {
        let (world, a) = attached().await;
        let target = linked(&world, &a, "doc1").await;
        let url = target.strip_prefix("/fhir/").unwrap();
        let bundle = |kind: &str| {
            format!(
                r#"{{"resourceType":"Bundle","type":"{kind}","entry":[{{"request":{{"method":"GET","url":"{url}"}}}}]}}"#
            )
        };
        let reply = world.send("POST /fhir", &a, &[JSON], &bundle("batch")).await;
        assert_eq!(reply.json()["entry"][0]["resource"]["data"], "aGVsbG8=", "{}", reply.all());
        assert_eq!(world.send("POST /fhir", &a, &[JSON], &bundle("transaction")).await.status, 403);
        world.finish().await;
    });
}

#[test]
fn what_its_security_context_hides_is_told_by_no_patch_and_no_operation() {
    run(async {
        let (world, _) = attached().await;
        binary(&world, "theirs", "Patient/P2");
        let patch_json = "Content-Type: application/json-patch+json";
        // Every Binary, and nothing of Patient.
        let some = world.token(&Grant::user("user/Binary.cruds", "Practitioner/d1", &["clinician"]));
        assert_eq!(world.get("/fhir/Binary/theirs", &some).await.status, 404);
        asked(&world);
        let body =
            |id: &str| format!(r#"{{"resourceType":"Binary","id":"{id}","contentType":"text/plain","data":"eA=="}}"#);
        let denied = |reply: &Reply| reply.status == 403 && !reply.text().contains("aGVsbG8=");
        for id in ["theirs", "never"] {
            for patch in ["[]", r#"[{"op":"remove","path":"/securityContext"}]"#] {
                let reply = world.send(&format!("PATCH /fhir/Binary/{id}"), &some, &[patch_json], patch).await;
                assert!(denied(&reply), "{id} {patch}: {}", reply.all());
            }
            let reply = world.get(&format!("/fhir/Binary/{id}/$meta"), &some).await;
            assert!(denied(&reply), "{id}: {}", reply.all());
            // Nor does anybody write over what is hidden, or take it away.
            for (method, body) in [("PUT", body(id)), ("DELETE", String::new())] {
                let headers: &[&str] = if body.is_empty() { &[] } else { &[JSON] };
                let reply = world.send(&format!("{method} /fhir/Binary/{id}"), &some, headers, &body).await;
                assert!(denied(&reply), "{method} {id}: {}", reply.all());
            }
        }
        assert!(asked(&world).is_empty(), "decided without looking");
        let all = world.token(&Grant::user("user/*.cruds", "Practitioner/d1", &["clinician"]));
        let reply = world.send("PATCH /fhir/Binary/theirs", &all, &[patch_json], "[]").await;
        assert_eq!(reply.status, 200, "{}", reply.all());
        assert_eq!(world.send("PUT /fhir/Binary/theirs", &all, &[JSON], &body("theirs")).await.status, 200);
        assert_eq!(world.send("DELETE /fhir/Binary/theirs", &all, &[], "").await.status, 204);
        let new = r#"{"resourceType":"Binary","contentType":"text/plain","data":"eA=="}"#;
        assert_eq!(world.send("POST /fhir/Binary", &some, &[JSON], new).await.status, 201);
        world.finish().await;
    });
}

#[test]
fn a_link_in_a_patch_is_the_address_that_it_stands_for() {
    run(async {
        let (world, _) = attached().await;
        binary(&world, "second", "");
        document(&world, "doc1", "P1", &["{BASE}/Binary/free", "Binary/second"]);
        document(&world, "doc2", "P1", &["Binary/free"]);
        let c = world.token(&Grant::patient("patient/*.cruds", "P1"));
        let read = world.get("/fhir/DocumentReference/doc1", &c).await.json();
        let content = &read["content"];
        let link = content[0]["attachment"]["url"].as_str().unwrap();
        assert!(link.contains("?gw="), "{link}");
        let patch_json = "Content-Type: application/json-patch+json";
        let swapped = serde_json::json!([content[1], content[0]]);
        for (patch, urls) in [
            (serde_json::json!([{"op": "replace", "path": "/content", "value": swapped}]), ["second", "free"]),
            (
                serde_json::json!([{"op": "replace", "path": "/content/0/attachment/url", "value": link}]),
                ["free", "free"],
            ),
            (
                serde_json::json!([{"op": "test", "path": "/content/0/attachment/url", "value": link},
                    {"op": "remove", "path": "/content/1"},
                    {"op": "add", "path": "/content/-", "value": content[0]}]),
                ["free", "free"],
            ),
        ] {
            asked(&world);
            let reply = world.send("PATCH /fhir/DocumentReference/doc1", &c, &[patch_json], &patch.to_string()).await;
            assert_eq!(reply.status, 200, "{patch}: {}", reply.all());
            let seen = asked(&world);
            assert_eq!(seen.len(), 2, "{seen:?}");
            assert!(!seen[1].contains("gw="), "{seen:?}");
            let body: serde_json::Value = serde_json::from_str(&seen[1][seen[1].find('{').unwrap()..]).unwrap();
            for (at, id) in urls.iter().enumerate() {
                assert_eq!(body["content"][at]["attachment"]["url"], format!("Binary/{id}"), "{seen:?}");
            }
        }
        // Another resource's link, one that is bent, and an address that was not there.
        let other = format!("https://gw.example.org{}", linked(&world, &c, "doc2").await);
        for url in [other, format!("{link}x"), "Binary/other".to_owned()] {
            for op in ["add", "replace", "test"] {
                let patch = serde_json::json!([{"op": op, "path": "/content/0/attachment/url", "value": url}]);
                let reply =
                    world.send("PATCH /fhir/DocumentReference/doc1", &c, &[patch_json], &patch.to_string()).await;
                let expected = if op == "test" && url == "Binary/other" { 422 } else { 403 };
                assert_eq!(reply.status, expected, "{patch}: {}", reply.all());
            }
        }
        world.finish().await;
    });
}

#[test]
fn what_was_read_with_links_can_be_stored() {
    run(async {
        let (world, _) = attached().await;
        binary(&world, "second", "");
        binary(&world, "own", "Patient/P1");
        document(&world, "doc1", "P1", &["{BASE}/Binary/free", "Binary/second"]);
        let c = world.token(&Grant::patient("patient/*.cruds", "P1"));
        let read = world.get("/fhir/DocumentReference/doc1", &c).await;
        let changed = read.text().replace(r#""current""#, r#""superseded""#);
        assert_eq!(changed.matches("?gw=").count(), 2);
        // However old the links are.
        world.advance(7200).await;
        let c = world.token(&Grant::patient("patient/*.cruds", "P1"));
        asked(&world);
        let stored = world.send("PUT /fhir/DocumentReference/doc1", &c, &[JSON], &changed).await;
        assert_eq!(stored.status, 200, "{}", stored.all());
        assert!(stored.text().contains("?gw="), "{}", stored.all());
        let seen = asked(&world);
        assert_eq!(seen[0], "GET DocumentReference/doc1");
        assert_eq!(seen.len(), 2, "{seen:?}");
        assert!(seen[1].contains(r#""url":"Binary/free""#) && seen[1].contains(r#""url":"Binary/second""#), "{seen:?}");
        assert!(!seen[1].contains("gw="), "{seen:?}");
        // A patch is applied to what is stored.
        let patch = r#"[{"op":"replace","path":"/status","value":"current"}]"#;
        let patched = world
            .send("PATCH /fhir/DocumentReference/doc1", &c, &["Content-Type: application/json-patch+json"], patch)
            .await;
        assert_eq!(patched.status, 200, "{}", patched.all());
        // Nobody else's link, none of another resource, and no address that was not there.
        let body = |id: &str, url: &str| {
            format!(
                r#"{{"resourceType":"DocumentReference","id":"{id}","status":"current","subject":{{"reference":"Patient/P1"}},"content":[{{"attachment":{{"url":"{url}"}}}}]}}"#
            )
        };
        document(&world, "doc2", "P1", &["{BASE}/Binary/second"]);
        let second = linked(&world, &c, "doc2").await;
        let second = format!("https://gw.example.org{second}");
        for (line, url, status) in [
            ("PUT /fhir/DocumentReference/doc1", second.clone(), 403),
            ("POST /fhir/DocumentReference", second.clone(), 403),
            ("PUT /fhir/DocumentReference/doc2", format!("{second}x"), 403),
            ("PUT /fhir/DocumentReference/doc2", second, 200),
            ("PUT /fhir/DocumentReference/doc2", format!("{BASE}/Binary/second"), 200),
            ("PUT /fhir/DocumentReference/doc2", "Binary/second/_history/1".to_owned(), 403),
            ("PUT /fhir/DocumentReference/doc2", format!("{BASE}/Binary/free"), 403),
            ("PUT /fhir/DocumentReference/doc2", "Binary/bin1".to_owned(), 403),
            ("PUT /fhir/DocumentReference/doc2", "Binary/never".to_owned(), 403),
            ("PUT /fhir/DocumentReference/doc2", "Binary/own".to_owned(), 200),
            ("POST /fhir/DocumentReference", "Binary/own".to_owned(), 201),
            ("POST /fhir/DocumentReference", "Binary/free".to_owned(), 403),
        ] {
            let id = line.rsplit('/').next().unwrap();
            let reply = world.send(line, &c, &[JSON], &body(id, &url)).await;
            assert_eq!(reply.status, status, "{line} {url}: {}", reply.all());
        }
        // One that writes and does not read learns nothing by what is kept.
        let blind = world.token(&Grant::patient("patient/DocumentReference.u", "P1"));
        let reply = world.send("PUT /fhir/DocumentReference/doc1", &blind, &[JSON], &body("doc1", "Binary/free")).await;
        assert_eq!(reply.status, 403, "{}", reply.all());
        world.finish().await;
    });
}

#[test]
fn a_grant_that_writes_everything_plants_no_binary_that_it_may_not_read() {
    run(async {
        let (world, _) = attached().await;
        let grant = |scope: &str| world.token(&Grant::patient(scope, "P1"));
        let body = |id: &str, url: &str| {
            format!(
                r#"{{"resourceType":"DocumentReference","id":"{id}","status":"current","subject":{{"reference":"Patient/P1"}},"content":[{{"attachment":{{"url":"{url}"}}}}]}}"#
            )
        };
        binary(&world, "secret", "");
        let mixed = grant("user/DocumentReference.cu patient/DocumentReference.r");
        for line in ["POST /fhir/DocumentReference", "PUT /fhir/DocumentReference/doc1"] {
            let reply = world.send(line, &mixed, &[JSON], &body("doc1", "Binary/secret")).await;
            assert_eq!(reply.status, 403, "{line}: {}", reply.all());
        }
        let kept = world.send("PUT /fhir/DocumentReference/doc1", &mixed, &[JSON], &body("doc1", "Binary/free")).await;
        assert_eq!(kept.status, 200, "{}", kept.all());
        let reads = grant("user/DocumentReference.cu user/Binary.r");
        let reply =
            world.send("PUT /fhir/DocumentReference/doc1", &reads, &[JSON], &body("doc1", "Binary/secret")).await;
        assert_eq!(reply.status, 200, "{}", reply.all());
        world.finish().await;
    });
}
