//! `firebreak explain` as somebody uses it who wonders why: beside a gateway that runs, and before one ever ran.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

use firebreak::clock::Clock;
use serde_json::Value;

use crate::commands;
use crate::world::{Grant, Settings, World, run};

/// Exit code, standard output, standard error.
type Told = (i32, String, String);

const LABORATORY: &str = "http://terminology.hl7.org/CodeSystem/observation-category|laboratory";

/// `explain` with the configuration of `world`.
fn explain(world: &World, arguments: &[&str]) -> Told {
    let config = world.state.path().join("firebreak.toml");
    let mut all = vec!["explain", "--config", config.to_str().unwrap()];
    all.extend(arguments);
    commands::run(&all)
}

/// The options that stand for a grant.
fn options(grant: &Grant) -> Vec<String> {
    let claims = &grant.0;
    let mut all = vec!["--scope".to_owned(), claims.scope.clone(), "--client".to_owned(), claims.client_id.clone()];
    let mut option = |name: &str, value: &Option<String>| {
        all.extend(value.iter().flat_map(|value| [name.to_owned(), value.clone()]));
    };
    option("--patient", &claims.patient);
    option("--fhir-user", &claims.fhir_user);
    all.extend(claims.roles.iter().flat_map(|role| ["--role".to_owned(), role.clone()]));
    all
}

#[test]
fn what_explain_says_is_what_the_record_of_the_exchange_says() {
    run(async {
        let world = World::new().await;
        let launched = Grant::patient("patient/*.rs", "P1");
        let granular = Grant::patient(&format!("patient/Observation.rs?category={LABORATORY}"), "P1");
        let parts =
            Grant::patient("patient/Observation.rs?category=laboratory patient/Observation.rs?code=8867-4", "P1");
        let own = Grant::user("user/*.rs", "Patient/P1", &["patient"]);
        let clinician = Grant::user("user/*.rs", "Practitioner/d1", &["clinician"]);
        let backend = Grant::system("system/Observation.rs", "bulk1");
        let cases: &[(&Grant, &str)] = &[
            (&launched, "GET /Observation?code=8867-4&_elements=code"),
            (&launched, "GET /Observation/o1"),
            (&launched, "GET /Observation/o2"),
            (&launched, "GET /Observation/mixed/_history/2"),
            (&clinician, "GET /Observation/o1/_history?_count=1"),
            (&clinician, "GET /Observation/_history"),
            (&clinician, "GET /_history"),
            (&launched, "GET /Observation/_history"),
            (&launched, "GET /Observation?subject=Patient/P2"),
            (&launched, "GET /Practitioner/d1"),
            (&launched, "GET /Practitioner?name=x"),
            (&launched, "GET /Group/g1"),
            (&launched, "GET /Observation?nosuch=x"),
            (&launched, "GET /observation"),
            (&launched, "GET /Observation?_include=Observation:performer:Practitioner"),
            (&launched, "GET /Patient/P1/Observation?code=8867-4"),
            (&launched, "GET /Patient/P2/Observation"),
            (&launched, "GET /Observation?patient.name=Chalmers"),
            (&launched, "GET /Observation?encounter.status=finished"),
            (&clinician, "GET /?_type=Observation,Patient"),
            (&clinician, "GET /Observation?_summary=count"),
            (&granular, "GET /Observation?category=vital-signs"),
            (&granular, "GET /Condition/c1"),
            (&parts, "GET /Observation"),
            (&own, "GET /Patient?name=Chalmers"),
            (&clinician, "GET /Patient?name=Chalmers"),
            (&clinician, "GET /Observation?_id=o1%2Co2"),
            (&backend, "GET /Observation"),
            (&backend, "GET /Patient/P1"),
            (&launched, "GET /Patient/P1/$everything?_type=Observation"),
            (&launched, "GET /Patient/P2/$everything"),
            (&launched, "GET /Observation/$lastn?code=8867-4"),
            (&launched, "GET /DocumentReference/$docref?patient=P1"),
            (&clinician, "GET /Observation/o1/$validate"),
            (&clinician, "GET /Observation/o1/$meta"),
            (&launched, "GET /Patient/$match"),
            (&clinician, "GET /$export"),
        ];
        let mut told = Vec::new();
        for (number, (grant, request)) in cases.iter().enumerate() {
            let token = world.token(grant);
            let (method, target) = request.split_once(' ').unwrap();
            let id = format!("X-Request-Id: case-{number}");
            let reply = world.send(&format!("{method} /fhir{target}"), &token, &[&id], "").await;
            world.upstream.take_seen();
            let (code, out, err) = explain(&world, &["--token", &token, request]);
            let seen = world.upstream.take_seen();
            assert!(seen.is_empty(), "`explain` asked the upstream: {seen:?}");
            let in_record = |line: &&str| !line.starts_with("note: ") && !line.starts_with("relies on: ");
            let lines: Vec<String> = out.lines().filter(in_record).map(str::to_owned).collect();
            // What only the upstream's data decide, `explain` cannot know.
            let allowed = !lines[0].starts_with("refused: ");
            assert_eq!(code, i32::from(!allowed), "{request}: {out}{err}");
            assert!(allowed || !matches!(reply.status, 200 | 304), "{request}: {out}");
            // The same from the parts of the token.
            let parts = options(grant);
            let mut arguments: Vec<&str> = parts.iter().map(String::as_str).collect();
            arguments.push(request);
            let (also, from_parts, err) = explain(&world, &arguments);
            assert_eq!(
                (also, from_parts.lines().filter(in_record).map(str::to_owned).collect::<Vec<_>>()),
                (code, lines.clone()),
                "{request}: {err}"
            );
            told.push((request, lines));
        }
        let records = world.finish().await;
        for (number, (request, lines)) in told.iter().enumerate() {
            let id = format!("case-{number}");
            let record = records.iter().find(|entry| entry.record.request_id.as_deref() == Some(&*id)).unwrap();
            assert_eq!(&record.record.explanation, lines, "{request}");
        }
    });
}

#[test]
fn a_narrowed_search_is_told_with_the_exact_request_and_what_is_filtered() {
    run(async {
        let world = World::new().await;
        let token = world.token(&Grant::patient(&format!("patient/Observation.rs?category={LABORATORY}"), "P1"));
        let request = "GET /Observation?category=vital-signs&_elements=id&_count=5000";
        let (code, out, err) = explain(&world, &["--json", "--token", &token, request]);
        assert_eq!(code, 0, "{err}");
        let told: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(told["decision"], "permit");
        assert_eq!(told["policies"], serde_json::json!(["clinician-reads-everything"]));
        assert_eq!(
            told["reach"][0],
            format!("Observation in the compartment of Patient/P1 where category={LABORATORY}")
        );
        assert_eq!(told["projection"], "_elements=id");
        let line = format!(
            "{} {}",
            told["upstream"][0]["method"].as_str().unwrap(),
            told["upstream"][0]["target"].as_str().unwrap()
        );
        world.send("GET /fhir/Observation?category=vital-signs&_elements=id&_count=5000", &token, &[], "").await;
        let sent = world.upstream.take_seen();
        assert_eq!(line.replacen(" /", " ", 1), sent[0].below_base());
        let vread = explain(&world, &["--json", "--token", &token, "GET /Observation/o1/_history/1"]);
        let told: Value = serde_json::from_str(&vread.1).unwrap();
        assert_eq!(told["evidence"][0]["target"], "/Observation/o1");
        world.finish().await;
    });
}

#[test]
fn what_a_search_relies_on_is_told_and_nothing_where_nothing_is_confined() {
    run(async {
        let world = World::new().await;
        let launched = Grant::patient("patient/*.rs", "P1");
        let granular = Grant::patient(&format!("patient/Observation.rs?category={LABORATORY}"), "P1");
        let clinician = Grant::user("user/*.rs", "Practitioner/d1", &["clinician"]);
        for (grant, request, ways) in [
            (&launched, "GET /Observation?code=x", &[("Observation", "subject")][..]),
            (&launched, "GET /Patient?_id=P1", &[("Patient", "_id")]),
            (&granular, "GET /Observation", &[("Observation", "subject"), ("Observation", "category")]),
            (
                &launched,
                "GET /Patient/P1/*?_type=Observation,Condition",
                &[("Observation", "subject"), ("Condition", "patient")],
            ),
            (&launched, "GET /Observation/$lastn", &[("Observation", "subject"), ("Observation", "$lastn")]),
            (&launched, "GET /Patient/P1/$everything", &[]),
            (&launched, "GET /Observation?subject=Patient/P2", &[]),
            (&launched, "GET /Observation/o1", &[]),
            (&launched, "GET /Group", &[]),
            (&clinician, "GET /Observation?code=x", &[]),
        ] {
            let parts = options(grant);
            let mut arguments: Vec<&str> = parts.iter().map(String::as_str).collect();
            arguments.push(request);
            let told: Vec<String> = explain(&world, &arguments)
                .1
                .lines()
                .filter_map(|line| line.strip_prefix("relies on: the FHIR server must honour "))
                .map(|line| line.split_once(';').unwrap().0.to_owned())
                .collect();
            let expected: Vec<String> = ways.iter().map(|(of, way)| format!("{way} for {of}")).collect();
            assert_eq!(told, expected, "{request}");
            arguments.push("--json");
            let json: Value = serde_json::from_str(&explain(&world, &arguments).1).unwrap();
            let expected: Vec<_> = ways.iter().map(|(of, way)| serde_json::json!({"type": of, "way": way})).collect();
            assert_eq!(json["relies_on"], Value::from(expected), "{request}");
        }
        assert_eq!(world.upstream.seen(), 0);
        world.finish().await;
    });
}

#[test]
fn operations_are_explained_as_they_are_decided() {
    run(async {
        let world = World::new().await;
        let launched = Grant::patient("patient/*.cruds", "P1");
        let narrow = Grant::patient("patient/Patient.r patient/Observation.rs", "P1");
        let clinician = Grant::user("user/*.cruds", "Practitioner/d1", &["clinician"]);
        for (grant, request, code, lines) in [
            (
                &narrow,
                "GET /Patient/P1/$everything",
                0,
                &[
                    "allowed: $everything of Patient",
                    "upstream: GET /Patient/P1/$everything?_type=Patient,Observation&_count=200",
                    "filter: what lies outside of reach is left out",
                ][..],
            ),
            (&narrow, "GET /Patient/P2/$everything", 1, &["refused: not_found_or_hidden (404)"]),
            (
                &launched,
                "GET /Encounter/e1/$everything",
                0,
                &[
                    "depends on what it is about: that must be within reach",
                    "evidence: GET /Encounter/e1; it must be within reach too",
                ],
            ),
            (
                &launched,
                "GET /Observation/$lastn?max=3",
                0,
                &[
                    "allowed: $lastn of Observation",
                    "upstream: GET /Observation/$lastn?subject=Patient/P1&max=3",
                    "filter: a match outside of reach withholds the answer; totals are left out",
                ],
            ),
            (
                &launched,
                "GET /Observation/o1/$validate",
                0,
                &[
                    "depends on what it is about: that must be within reach",
                    "evidence: GET /Observation/o1; it must be within reach too",
                ],
            ),
            (
                &clinician,
                "GET /Observation/o1/$validate",
                0,
                &[
                    "allowed: $validate of Observation",
                    "reach: every Observation",
                    "upstream: GET /Observation/o1/$validate",
                    "filter: what the operation does not return withholds the answer",
                ],
            ),
            (&launched, "POST /Observation/o1/$meta-add", 1, &["refused: interaction_not_served (403)"]),
            (&launched, "GET /Patient/$match", 1, &["refused: interaction_not_served (403)"]),
            (&clinician, "GET /$export", 1, &["refused: interaction_not_served (403)"]),
        ] {
            let parts = options(grant);
            let mut arguments: Vec<&str> = parts.iter().map(String::as_str).collect();
            arguments.push(request);
            let (exit, out, err) = explain(&world, &arguments);
            assert_eq!(exit, code, "{request}: {out}{err}");
            for line in lines {
                assert!(out.lines().any(|told| told == *line), "{request} lacks `{line}`: {out}");
            }
            if code == 1 && lines[0].contains("interaction_not_served") {
                assert!(out.contains("because: "), "{out}");
            }
        }
        // A body is judged as the change that it rehearses.
        let parts = options(&launched);
        let mut arguments: Vec<&str> = parts.iter().map(String::as_str).collect();
        let body = world.state.path().join("body.json");
        arguments.extend(["--body", body.to_str().unwrap(), "POST /Observation/$validate"]);
        for (patient, code, line) in
            [("P1", 0, "allowed: $validate of Observation"), ("P2", 1, "refused: body_outside_grant (403)")]
        {
            let text = format!(r#"{{"resourceType":"Observation","subject":{{"reference":"Patient/{patient}"}}}}"#);
            std::fs::write(&body, text).unwrap();
            let (exit, out, err) = explain(&world, &arguments);
            assert_eq!((exit, out.lines().next()), (code, Some(line)), "{out}{err}");
        }
        assert_eq!(world.upstream.seen(), 0);
        world.finish().await;
    });
}

#[test]
fn every_entry_of_a_bundle_is_explained() {
    run(async {
        let world = World::new().await;
        let parts = options(&Grant::patient("patient/*.cruds", "P1"));
        let body = world.state.path().join("bundle.json");
        let mut arguments: Vec<&str> = parts.iter().map(String::as_str).collect();
        arguments.extend(["--body", body.to_str().unwrap(), "POST /"]);
        let create = |patient: &str| {
            let resource = serde_json::json!({"resourceType": "Observation", "subject": {"reference": format!("Patient/{patient}")}});
            serde_json::json!({"request": {"method": "POST", "url": "Observation"}, "resource": resource})
        };
        let read = || serde_json::json!({"request": {"method": "GET", "url": "Condition/c1"}});
        let remove = || serde_json::json!({"request": {"method": "DELETE", "url": "Observation/o1"}});
        let told = |kind: &str, entries: &[Value], more: &[&str]| {
            let bundle = serde_json::json!({"resourceType": "Bundle", "type": kind, "entry": entries});
            std::fs::write(&body, bundle.to_string()).unwrap();
            explain(&world, &[more, &arguments[..]].concat())
        };
        let entries = [create("P1"), read(), create("P2"), remove()];
        for (kind, exit) in [("batch", 0), ("transaction", 1)] {
            let (code, out, err) = told(kind, &entries, &[]);
            assert_eq!(code, exit, "{out}{err}");
            for expected in [
                "Bundle.entry[0]\n  allowed: create of Observation\n  reach: Observation in the compartment of Patient/P1",
                "Bundle.entry[1]\n  allowed: read of Condition\n",
                "  upstream: GET /Condition/c1\n",
                "Bundle.entry[2]\n  refused: body_outside_grant (403)\n",
                "Bundle.entry[3]\n  depends on what is there",
                "  evidence: GET /Observation/o1; it must be within reach too\n",
            ] {
                assert!(out.contains(expected), "{kind} lacks `{expected}`: {out}");
            }
        }
        // What a transaction reads must be there.
        let (code, out, err) = told("transaction", &[create("P1"), read()], &[]);
        assert_eq!(code, 0, "{out}{err}");
        assert!(out.contains("evidence: GET /Condition/c1; it must be within reach too\n"), "{out}");
        let search = serde_json::json!({"request": {"method": "GET", "url": "Condition?code=x"}});
        let (code, out, err) = told("transaction", &[create("P1"), search], &["--json"]);
        assert_eq!(code, 0, "{out}{err}");
        let whole: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            (&whole["interaction"], &whole["entries"][1]["interaction"]),
            (&"transaction".into(), &"search-type".into())
        );
        let places = ["Observation in the compartment of Patient/P1", "Condition in the compartment of Patient/P1"];
        assert_eq!(whole["reach"], serde_json::json!(places));
        assert_eq!(whole["entries"][1]["explanation"][0], "allowed: search-type of Condition");
        assert_eq!(whole["entries"].as_array().unwrap().len(), 2);
        assert_eq!(world.upstream.seen(), 0);
        world.finish().await;
    });
}

#[test]
fn a_refusal_names_its_rule_and_the_scope_that_is_missing() {
    run(async {
        let world = World::new().await;
        let token = world.token(&Grant::patient("patient/Patient.rs", "P1"));
        let (code, out, _) = explain(&world, &["--token", &token, "GET /Observation/o1"]);
        assert_eq!(code, 1);
        assert!(out.contains("refused: scope_insufficient (403)"), "{out}");
        assert!(out.contains("missing scope: patient/Observation.r\n"), "{out}");
        let told: Value =
            serde_json::from_str(&explain(&world, &["--json", "--token", &token, "GET /Observation/o1"]).1).unwrap();
        assert_eq!(told["missing_scope"], "patient/Observation.r");
        assert_eq!(told["reason"], "scope_insufficient");
        world.finish().await;
    });
}

#[test]
fn a_token_that_is_not_good_says_why() {
    run(async {
        let clock = Clock::system();
        let world = World::with(Settings { clock: clock.clone(), ..Default::default() }).await;
        let now = clock.unix_seconds();
        let expired =
            Grant::patient("patient/*.rs", "P1").with(|claims| (claims.iat, claims.exp) = (now - 900, now - 600));
        let (code, out, _) = explain(&world, &["--token", &world.token(&expired), "GET /Observation"]);
        assert_eq!(code, 1);
        assert!(out.starts_with("refused: token_expired (401)"), "{out}");
        assert!(out.contains("note: the token expired at "), "{out}");
        assert!(
            out.contains(
                "--scope 'patient/*.rs' --client app --patient P1 --fhir-user Practitioner/d1 --role clinician"
            ),
            "{out}"
        );
        let elsewhere =
            Grant::patient("patient/*.rs", "P1").with(|claims| claims.aud = "https://other.example/fhir".to_owned());
        let (code, out, _) = explain(&world, &["--token", &world.token(&elsewhere), "GET /Observation"]);
        assert_eq!(code, 1);
        assert!(out.contains("refused: token_invalid (401)"), "{out}");
        assert!(
            out.contains("its audience is `https://other.example/fhir`, expected `https://gw.example.org/fhir`"),
            "{out}"
        );
        let unknown = Grant::patient("patient/*.rs", "P1").with(|claims| claims.client_id = "gone".to_owned());
        let (code, out, _) = explain(&world, &["--token", &world.token(&unknown), "GET /Observation"]);
        assert_eq!((code, out.lines().next()), (1, Some("refused: token_revoked (401)")), "{out}");
        let mut forged = world.token(&Grant::patient("patient/*.rs", "P1"));
        forged.truncate(forged.len() - 8);
        let (code, out, _) = explain(&world, &["--token", &format!("{forged}AAAAAAAA"), "GET /Observation"]);
        assert_eq!(code, 1);
        assert!(out.contains("its signature is not by a key of this gateway"), "{out}");
        let (code, out, _) = explain(&world, &["--token", "nonsense", "GET /Observation"]);
        assert_eq!(code, 1);
        assert!(out.contains("it is no JWT"), "{out}");
        world.finish().await;
    });
}

#[test]
fn a_revoked_grant_is_told_beside_a_running_gateway() {
    run(async {
        let world = World::new().await;
        let grant = Grant::patient("patient/*.rs", "P1");
        let token = world.token(&grant);
        let (code, out, _) = explain(&world, &["--token", &format!(" Bearer {token}\n"), "GET /Observation"]);
        assert_eq!(code, 0, "as it stands in a header: {out}");
        for expected in
            ["note: the token is `", "for the client `app`, in the roles clinician\n", "note: its scopes: patient/*.rs"]
        {
            assert!(out.contains(expected), "lacks `{expected}`: {out}");
        }
        assert!(!out.contains("bound to a key"), "{out}");
        let confirmation = firebreak::jose::Confirmation { jkt: "0".repeat(43) };
        let bound = Grant::patient("patient/*.rs", "P1").with(|claims| claims.cnf = Some(confirmation));
        let (_, out, _) = explain(&world, &["--token", &world.token(&bound), "GET /Observation"]);
        assert!(out.contains("note: the token is bound to a key: each request must prove it"), "{out}");
        firebreak::grant::grants::revoke(&world.grants, &grant.0.gid).await.unwrap();
        let (code, out, _) = explain(&world, &["--token", &token, "GET /Observation"]);
        assert_eq!((code, out.lines().next()), (1, Some("refused: token_revoked (401)")), "{out}");
        assert!(
            out.contains("note: its grant was revoked, or its client or user is not registered here any more"),
            "{out}"
        );
        world.finish().await;
    });
}

#[test]
fn before_anything_ran_the_parts_of_a_token_are_enough_and_nothing_is_written() {
    let site = commands::Site::new("0ms");
    let config = site.config();
    let before = files(site.path("").as_path());
    let ask = |more: &[&str]| {
        let mut all = vec!["explain", "--config", &config, "--scope", "user/*.rs", "--fhir-user", "Practitioner/7"];
        all.extend(more);
        commands::run(&all)
    };
    let (code, out, err) = ask(&["--role", "clinician", "GET /Observation?code=x"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("reach: every Observation\n"), "{out}");
    assert!(out.contains("upstream: GET /Observation?code=x\n"), "{out}");
    let (code, out, _) = ask(&["GET /Observation?code=x"]);
    assert_eq!((code, out.lines().next()), (1, Some("refused: policy_denied (403)")), "{out}");
    let (code, _, err) = commands::run(&["explain", "--config", &config, "--token", "a.b.c", "GET /Observation"]);
    assert_eq!(code, 2);
    assert!(err.contains("keys of the gateway that issued it"), "{err}");
    assert_eq!(files(site.path("").as_path()), before);
}

#[test]
fn what_comes_to_nothing_is_told_beside_the_answer() {
    let site = commands::Site::new("0ms");
    let config = site.config();
    let ask = |scope: &str, request: &str| {
        let common = ["explain", "--config", &config, "--fhir-user", "Practitioner/7"];
        commands::run(&[&common[..], &["--scope", scope, "--role", "clinican", "--client", "nobody", request]].concat())
    };
    let (code, out, err) = ask("patiente/*.rs user/Patient.rs?name=x user/*.rs", "GET /Observation");
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    for expected in [
        "note: scope `patiente/*.rs` is not known: did you mean `patient/*.rs`? (it grants nothing)",
        "note: no policy speaks of the role `clinican`; the policies have backend, clinician, patient, related_person",
        "note: the configuration has no client `nobody`",
    ] {
        assert!(out.contains(expected), "lacks `{expected}`: {out}");
    }
    let (code, _, err) = ask("user/*.cruds", "PUT /Observation/o1");
    assert_eq!(code, 2);
    assert!(err.contains("give --body FILE"), "{err}");
}

#[test]
fn a_forbid_that_decided_is_named() {
    let site = commands::Site::new("0ms");
    let text = std::fs::read_to_string(site.config()).unwrap();
    std::fs::write(site.config(), format!("{text}\n[policies]\ndirectory = \"policies\"\n")).unwrap();
    std::fs::create_dir(site.path("policies")).unwrap();
    let own = "@id(\"no-obs\") forbid (principal, action, resource in ResourceType::\"Observation\");";
    std::fs::write(site.path("policies/own.cedar"), own).unwrap();
    let config = site.config();
    let ask = |role: &str, more: &[&str]| {
        let common = ["explain", "--config", &config, "--scope", "user/*.rs", "--fhir-user", "Practitioner/7"];
        commands::run(&[&common[..], &["--role", role], more].concat())
    };
    let (code, out, _) = ask("clinician", &["GET /Observation/o1"]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("because: forbidden by no-obs\nthe client is told: no policy of this site permits"), "{out}");
    let (_, out, _) = ask("clinician", &["--json", "GET /Observation/o1"]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["policies"], serde_json::json!(["no-obs"]));
    let (_, out, _) = ask("nurse", &["GET /Patient/p1"]);
    assert!(out.contains("because: no policy of this site permits"), "{out}");
}

#[test]
fn what_is_included_is_told_with_the_policy_that_lets_it_be() {
    let site = commands::Site::new("0ms");
    let text = std::fs::read_to_string(site.config()).unwrap();
    std::fs::write(site.config(), format!("{text}\n[policies]\ndirectory = \"policies\"\n")).unwrap();
    std::fs::create_dir(site.path("policies")).unwrap();
    let permit = |id: &str, of: &str| {
        format!("@id(\"{id}\") permit (principal in Role::\"clerk\", action, resource in ResourceType::\"{of}\");\n")
    };
    std::fs::write(
        site.path("policies/own.cedar"),
        permit("results", "Observation") + &permit("people", "Practitioner"),
    )
    .unwrap();
    let config = site.config();
    let ask = |request: &str| {
        let common = ["explain", "--config", &config, "--scope", "user/*.rs", "--fhir-user", "Practitioner/7"];
        commands::run(&[&common[..], &["--role", "clerk", request]].concat())
    };
    let (code, out, err) = ask("GET /Observation?_include=Observation:performer:Practitioner");
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("policies: results, people\n"), "{out}");
    assert!(out.contains("included: every Practitioner\n"), "{out}");
    let (_, out, _) = ask("GET /Observation");
    assert!(out.contains("policies: results\n") && !out.contains("included: "), "{out}");
}

#[test]
fn the_record_names_a_forbid_that_decided_and_the_client_is_not_told() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let own = "@id(\"no-obs\") forbid (principal, action, resource in ResourceType::\"Observation\");";
        std::fs::write(directory.path().join("own.cedar"), own).unwrap();
        let world = World::with(Settings { policies: directory.path().to_owned(), ..Settings::default() }).await;
        let token = world.token(&Grant::user("user/*.rs", "Practitioner/d1", &["clinician"]));
        let reply = world.send("GET /fhir/Observation/o1", &token, &["X-Request-Id: forbidden"], "").await;
        assert_eq!(reply.status, 403);
        assert!(!format!("{reply:?}").contains("no-obs"), "{reply:?}");
        let records = world.finish().await;
        let record = records.iter().find(|entry| entry.record.request_id.as_deref() == Some("forbidden")).unwrap();
        assert_eq!(record.record.policies, ["no-obs"]);
        assert!(record.record.explanation.contains(&"because: forbidden by no-obs".to_owned()));
    });
}

#[test]
fn all_mistakes_of_a_question_are_told_at_once() {
    let site = commands::Site::new("0ms");
    let config = site.config();
    let (code, out, err) = commands::run(&[
        "explain",
        "--config",
        &config,
        "--patient",
        "Patient/P1",
        "--fhir-user",
        "Dr Rivera",
        "--header",
        "If-Match",
        "--body",
        "/no/such/file",
        "Observation?code=x",
    ]);
    assert_eq!((code, out.as_str()), (2, ""));
    for expected in [
        "expected --token, or --scope",
        "--patient must be an id",
        "--fhir-user must be a type and an id",
        "--header must be a name and a value",
        "`/no/such/file` cannot be read",
        "such as `GET /Observation?code=8867-4`",
    ] {
        assert!(err.contains(expected), "lacks `{expected}`: {err}");
    }
    assert!(err.lines().all(|line| line.starts_with("firebreak: ")), "{err}");
    site.edit("[fhir]", "[fhir]\nupstraem = 1");
    let (code, _, err) = commands::run(&["explain", "--config", &config, "--token", "x", "--role", "clinician", "GET"]);
    assert_eq!(code, 2);
    for expected in ["unknown key `upstraem`", "expected no --role beside it", "as method and target"] {
        assert!(err.contains(expected), "lacks `{expected}`: {err}");
    }
}

/// Every file below a directory.
fn files(directory: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        found.push(path.display().to_string());
        if path.is_dir() {
            found.extend(files(&path));
        }
    }
    found.sort();
    found
}
