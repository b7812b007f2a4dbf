//! Rows 60 to 65, 70 and 80 of the negative tests: credentials, scopes and paths. Nothing here reaches the upstream.

use crate::upstream::Answer;
use crate::world::{BASE, Grant, Settings, World, run};
use firebreak::clock::Clock;
use firebreak::keys::Keys;

#[test]
fn rows_60_to_62_and_80_credentials() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        world.upstream.answer(|_| Answer::Raw(Vec::new()));
        let get = "GET /fhir/Observation/o1";
        let none = world.send(get, "", &[], "").await;
        assert_eq!((none.status, none.header("www-authenticate")), (401, &*format!("Bearer realm=\"{BASE}\"")));
        let foreign_keys = tempfile::tempdir().unwrap();
        let foreign = Keys::open(foreign_keys.path()).unwrap();
        let now = world.clock.unix_seconds();
        let claims = Grant::patient("patient/*.rs", "P1").with(|claims| (claims.iat, claims.exp) = (now, now + 60)).0;
        let signed = |grant: Grant| world.token(&grant);
        let patient = || Grant::patient("patient/*.rs", "P1");
        let mut bent = a.clone().into_bytes();
        let last = bent.len() - 10;
        bent[last] = if bent[last] == b'A' { b'B' } else { b'A' };
        let payload = a.split('.').nth(1).unwrap();
        let bad = [
            ("garbage", "abc".to_owned()),
            ("another key", foreign.sign_access_token(&claims).unwrap()),
            ("another audience", signed(patient().with(|claims| claims.aud = "https://gw.example.org".to_owned()))),
            ("another base", signed(patient().with(|claims| claims.aud = format!("{BASE}/")))),
            ("another issuer", signed(patient().with(|claims| claims.iss = "https://evil.example".to_owned()))),
            ("not yet", signed(patient().with(|claims| (claims.iat, claims.exp) = (now + 600, now + 900)))),
            ("a bent signature", String::from_utf8(bent).unwrap()),
            ("no signature", a.rsplit_once('.').unwrap().0.to_owned() + "."),
            ("alg none", format!("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{payload}.")),
            ("no grant", signed(patient().with(|claims| claims.gid = String::new()))),
        ];
        for (what, token) in bad {
            let reply = world.get("/fhir/Observation/o1", &token).await;
            assert_eq!(reply.status, 401, "{what}: {}", reply.all());
            let challenge = reply.header("www-authenticate");
            assert!(
                challenge.contains("error=\"invalid_token\"") && !challenge.contains("expired"),
                "{what}: {challenge}"
            );
        }
        let past = signed(patient().with(|claims| (claims.iat, claims.exp) = (now - 600, now)));
        let expired = world.get("/fhir/Observation/o1", &past).await;
        assert_eq!(expired.status, 401);
        assert!(expired.header("www-authenticate").contains("the token has expired"), "{}", expired.all());
        let authorization = format!("Authorization: Bearer {a}");
        for (what, line, headers, status) in [
            ("twice", get, vec![&*authorization, &*authorization], 400),
            ("in the query", &*format!("GET /fhir/Observation?access_token={a}"), vec![], 400),
            ("in the query beside the header", "GET /fhir/Observation?access_token=x", vec![&*authorization], 400),
            ("in an escaped name", "GET /fhir/Observation?access%5Ftoken=x", vec![&*authorization], 400),
            ("with a modifier", "GET /fhir/Observation/o1?access_token:exact=x", vec![&*authorization], 400),
            ("Basic", get, vec!["Authorization: Basic YXBwOnNlY3JldA=="], 401),
            ("DPoP", get, vec!["Authorization: DPoP abc"], 401),
            ("two in one", get, vec!["Authorization: Bearer a, Bearer b"], 401),
            ("nothing", get, vec!["Authorization: Bearer "], 401),
            ("very long", get, vec![&*format!("Authorization: Bearer {}", "a".repeat(9_000))], 401),
            ("a cookie", get, vec![&*format!("Cookie: access_token={a}")], 401),
            ("a proxy's", get, vec![&*format!("Proxy-Authorization: Bearer {a}")], 401),
            ("an assertion", get, vec!["client_assertion: x"], 401),
        ] {
            let reply = world.send(line, "", &headers, "").await;
            assert_eq!(reply.status, status, "{what}: {}", reply.all());
            assert!(!reply.all().contains(&a), "{what}");
            let challenge = reply.header("www-authenticate");
            assert!(status != 400 || challenge.contains("invalid_request"), "{what}: {challenge}");
            assert!(!challenge.is_empty(), "{what}");
        }
        assert_eq!(world.upstream.seen(), 0);
        let records = world.finish().await;
        assert!(records.iter().all(|entry| entry.record.sub.is_none()), "nobody was authenticated");
    });
}

// B3 61
/// Tokens outlive a restart; the clients and users that they speak of may not.
#[test]
fn a_token_of_a_client_or_user_that_was_removed_is_refused() {
    run(async {
        let world = World::new().await;
        for (what, grant) in [
            ("client", Grant::patient("patient/*.rs", "P1").with(|claims| claims.client_id = "removed".to_owned())),
            ("user", Grant::patient("patient/*.rs", "P1").with(|claims| claims.sub = "removed".to_owned())),
        ] {
            let reply = world.get("/fhir/Observation/o1", &world.token(&grant)).await;
            assert_eq!(reply.status, 401, "{what}");
            assert!(reply.header("www-authenticate").contains("invalid_token"), "{what}");
        }
        assert_eq!(world.upstream.seen(), 0);
        world.finish().await;
    });
}

#[test]
fn a_token_that_expires_between_two_requests_is_refused_though_it_is_remembered() {
    run(async {
        let world = World::with(Settings { clock: Clock::fixed(1_790_000_000), ..Default::default() }).await;
        let a = world.token_a();
        assert_eq!(world.get("/fhir/Observation/o1", &a).await.status, 200);
        world.advance(299).await;
        assert_eq!(world.get("/fhir/Observation/o1", &a).await.status, 200);
        world.advance(1).await;
        for _ in 0..3 {
            let reply = world.get("/fhir/Observation/o1", &a).await;
            assert_eq!(reply.status, 401);
            assert!(reply.header("www-authenticate").contains("the token has expired"));
        }
        world.finish().await;
    });
}

#[test]
fn guessing_tokens_is_slowed_down_and_those_who_have_one_are_not() {
    run(async {
        let world = World::with(Settings { failed_credentials: 5, ..Default::default() }).await;
        let a = world.token_a();
        assert_eq!(world.get("/fhir/Observation/o1", &a).await.status, 200);
        // How clients find out that it is time to refresh.
        let expired = world.token(&Grant::patient("patient/*.rs", "P1").with(|claims| claims.exp -= 100_000));
        for _ in 0..9 {
            assert_eq!(world.get("/fhir/Observation/o1", &expired).await.status, 401, "no guess");
        }
        let mut statuses = Vec::new();
        for number in 0..9 {
            let reply = world.get("/fhir/Observation/o1", &format!("guess-{number}")).await;
            assert_eq!(reply.status == 429, !reply.header("retry-after").is_empty());
            statuses.push(reply.status);
        }
        // Five are forgiven; the sixth shows that the budget is spent.
        assert_eq!(statuses, [401, 401, 401, 401, 401, 401, 429, 429, 429]);
        assert_eq!(world.get("/fhir/Observation/o1", &a).await.status, 200, "known before");
        world.finish().await;
    });
}

// O6, P3
#[test]
fn case_11_the_scope_fhir_user_opens_one_resource_and_case_13_scopes_are_a_union() {
    run(async {
        let mut resources = Settings::default().resources;
        for version in resources.iter_mut().flat_map(|one| &mut one.versions).flatten() {
            *version = version.replace("CANARY", "data");
        }
        let world = World::with(Settings { resources, ..Default::default() }).await;
        let own = world.token(&Grant::patient("openid fhirUser launch/patient", "P1"));
        for (line, status) in [
            ("GET /fhir/Practitioner/d1", 200),
            ("HEAD /fhir/Practitioner/d1", 200),
            ("GET /fhir/Practitioner/d2", 403),
            ("GET /fhir/Practitioner/d1/_history/1", 403),
            ("GET /fhir/Practitioner?_id=d1", 403),
            ("GET /fhir/Patient/P1", 403),
            ("GET /fhir/Practitioner/D1", 403),
        ] {
            let reply = world.send(line, &own, &[], "").await;
            assert_eq!(reply.status, status, "{line}: {}", reply.all());
        }
        let union =
            world.token(&Grant::patient("patient/Observation.r patient/Condition.s patient/Observation.s", "P1"));
        for (target, status) in
            [("Observation/o1", 200), ("Observation?_id=o1", 200), ("Condition?_id=c1", 200), ("Condition/c1", 403)]
        {
            assert_eq!(world.get(&format!("/fhir/{target}"), &union).await.status, status, "{target}");
        }
        world.finish().await;
    });
}

#[test]
fn row_63_scopes_contexts_and_policies() {
    run(async {
        let world = World::new().await;
        world.upstream.answer(|_| Answer::Raw(Vec::new()));
        let patient = |patient: Option<&str>| {
            Grant::patient("patient/*.rs", "P1").with(|claims| claims.patient = patient.map(str::to_owned))
        };
        let scoped = |scope: &str| Grant::patient(scope, "P1");
        let cases = [
            (4, patient(None), "Observation"),
            (5, patient(Some("")), "Observation"),
            (7, patient(Some("../P2")), "Observation"),
            (7, patient(Some("P1,P2")), "Observation/o1"),
            (7, patient(Some("P1?x")), "Patient/P1"),
            (7, patient(Some("P1%2CP2")), "Observation"),
            (8, patient(Some("https://other/fhir/Patient/P1")), "Observation"),
            (10, scoped("patient/observation.rs"), "Observation"),
            (10, scoped("Patient/Observation.rs"), "Observation"),
            (11, scoped("openid fhirUser launch/patient"), "Patient/P1"),
            (16, scoped("patient/Observation.rs?category="), "Observation"),
            (16, scoped("patient/Observation.rs?nosuch=x"), "Observation"),
            (17, scoped("patient/*.rs?category=lab"), "Observation"),
            (19, Grant::user("user/*.rs", "", &["clinician"]), "Observation"),
            (19, Grant::user("user/*.rs", "Practitioner/d1", &[]), "Observation"),
            (20, Grant::system("system/*.rs", "nobody"), "Observation"),
            (22, scoped("patient/Observation.rs\tpatient/Condition.rs"), "Observation"),
            (22, scoped("patient/*.rs\u{a0}x"), "Observation"),
            (63, scoped("patient/Observation.r"), "Observation"),
            (63, scoped("patient/Observation.s"), "Observation/o1"),
            (63, scoped("patient/Patient.rs"), "Observation/o1"),
            (101, scoped("patient/*.rs"), "Group?member=Patient/P1"),
            (101, scoped("patient/*.rs"), "Group/g1"),
            (104, scoped("patient/*.rs"), "Practitioner?name=x"),
            (104, scoped("patient/Observation.rs"), "Practitioner/d1"),
            (112, scoped("patient/*.rs"), "Observation/_history"),
            (190, scoped("patient/Patient.rs"), "Observation/o2/$validate"),
            (191, scoped("patient/*.rs"), "$foo"),
        ];
        for (number, grant, target) in cases {
            let token = world.token(&grant);
            let reply = world.get(&format!("/fhir/{target}"), &token).await;
            assert_eq!(reply.status, 403, "case {number} {target}: {}", reply.all());
            let outcome = reply.json();
            assert_eq!(outcome["resourceType"], "OperationOutcome");
            let challenge = reply.header("www-authenticate");
            let code = outcome["issue"][0]["code"].as_str().unwrap();
            assert!(
                challenge.is_empty() || challenge.contains("insufficient_scope") && code == "forbidden",
                "{challenge}"
            );
        }
        assert_eq!(world.upstream.seen(), 0);
        let records = world.finish().await;
        let denied: Vec<_> = records.iter().filter(|entry| entry.record.status == Some(403)).collect();
        assert_eq!(denied.len(), 28);
        assert!(denied.iter().all(|entry| entry.record.reason.is_some() && entry.record.patients.is_empty()));
    });
}

#[test]
fn row_70_paths_with_two_readings() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        world.upstream.answer(|_| Answer::Raw(Vec::new()));
        let cases = [
            ("GET", "/fhir/../admin", 400),
            ("GET", "/fhir/Observation%2Fo2", 400),
            ("GET", "/fhir/Patient%2fP2", 400),
            ("GET", "//fhir/Patient/P1", 404),
            ("GET", "/fhir//Patient/P1", 400),
            ("GET", "/fhir/Patient//P1", 400),
            ("GET", "/fhir/Patient;x/P1", 400),
            ("GET", "/fhir/Patient/P1;v=1", 400),
            ("GET", "/fhir/Patient/./P1", 400),
            ("GET", "/fhir/Patient/P1/../P2", 400),
            ("GET", "/fhir/Patient/%2e%2e/P2", 400),
            ("GET", "/fhir/Patient/P1%00", 400),
            ("GET", "/fhir/Patient\\P1", 400),
            ("GET", "/fhir/..;/actuator", 400),
            ("GET", "/fhirX/Observation", 404),
            ("GET", "/fhir/observation/o1", 404),
            ("GET", "/fhir/PATIENT/P1", 404),
            ("GET", "/fhir/TENANT-B/Observation", 404),
            ("GET", "/r5/Observation", 404),
            ("GET", "/fhir/%C0%AF/x", 400),
            ("GET", "http://evil.example/fhir/Patient/P1", 400),
            ("GET", "https://gw.example.org/fhir/Patient/P1", 400),
            ("GET", "/fhir/Patient/P1#frag", 400),
            ("get", "/fhir/Patient/P1", 405),
            ("PROPFIND", "/fhir/Patient/P1", 405),
            ("TRACE", "/fhir/Patient/P1", 405),
            ("PUT", "/fhir", 405),
            ("GET", "/fhir/Patient/_search", 405),
        ];
        for (method, target, status) in cases {
            let reply = world.send(&format!("{method} {target}"), &a, &[], "").await;
            assert_eq!(reply.status, status, "{method} {target}: {}", reply.all());
            assert!(!reply.all().contains("evil"), "{}", reply.all());
        }
        let many = "a=1&".repeat(20_000);
        assert!(matches!(world.get(&format!("/fhir/Observation?{many}"), &a).await.status, 414 | 431));
        assert_eq!(world.get(&format!("/fhir/Observation?{}", "code=1&".repeat(65)), &a).await.status, 414);
        for (content_type, status) in [
            ("application/json", 415),
            ("multipart/form-data; boundary=x", 415),
            ("application/x-www-form-urlencoded; charset=utf-16", 415),
        ] {
            let header = format!("Content-Type: {content_type}");
            let reply = world.send("POST /fhir/Observation/_search", &a, &[&header], "subject=Patient/P1").await;
            assert_eq!(reply.status, status, "{content_type}");
        }
        assert_eq!(world.upstream.seen(), 0);
        world.finish().await;
    });
}

#[test]
fn values_of_a_request_are_not_repeated_in_an_error() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        for target in [
            "Observation?nosuch-SECRET=1",
            "Observation?code:SECRET=1",
            "Observation?_sort=SECRET",
            "Observation?_elements=SECRET",
            "Observation?_summary=SECRET",
            "Observation?_count=SECRET",
            "Observation?_format=SECRET",
            "Observation?code=%SECRET",
            "Observation?_include=SECRET",
            "Observation?_has:SECRET:x:y=1",
            "Observation?_page=SECRET",
            "Observation/SECRET/x",
            "SECRET/1",
            "$SECRET",
            "Observation/$SECRET",
            "Patient/SECRET/Observation",
            "Observation?patient.SECRET=1",
            "Observation?_total=SECRET",
            "Observation?_pretty=SECRET",
            "Observation/SECRET/_history",
            "Observation/SECRET?x=1",
            "Observation/SECRET",
            "Group/SECRET",
            "Observation?code=\\SECRET",
            "?_type=SECRET",
        ] {
            let reply = world.get(&format!("/fhir/{target}"), &a).await;
            assert!(reply.status >= 400, "{target}: {}", reply.all());
            assert!(!reply.all().contains("SECRET"), "{target}: {}", reply.all());
        }
        let reply = world.send("SECRET /fhir/Observation", &a, &["Accept: SECRET/x", "Prefer: SECRET"], "").await;
        assert!(!reply.all().contains("SECRET"));
        world.finish().await;
    });
}

// Decision 11: a request that is refused before its token is looked at has its record all the same.
#[test]
fn what_cannot_be_read_is_recorded_for_whose_good_token_it_brings() {
    run(async {
        // Stands below [limits].
        let sections = "body_bytes = 1024\n".to_owned();
        let world = World::with(Settings { sections, ..Default::default() }).await;
        let (a, long) = (world.token_a(), "x".repeat(2_000));
        let form = "Content-Type: application/x-www-form-urlencoded";
        let mut bad = a.clone();
        bad.replace_range(a.len() - 12..a.len() - 10, "xy");
        world.secret(&bad);
        let refused = [
            ("GET /fhir/NoSuchType/1", &*a, 404, "path_unknown"),
            ("GET /fhir/Observation?patient=%zz", &*a, 400, "request_malformed"),
            ("TRACE /fhir/Observation", &*a, 405, "method_not_allowed"),
            ("GET /fhir/Observation/o1?_format=xml", &*a, 406, "representation_not_acceptable"),
        ];
        for (line, token, status, _) in refused {
            assert_eq!(world.send(line, token, &[], "").await.status, status, "{line}");
        }
        assert_eq!(world.send("POST /fhir/Observation/_search", &a, &[form], &long).await.status, 413);
        // A guess is not told apart from no token: the same answer, and no record.
        for (line, _, status, _) in refused {
            assert_eq!(world.send(line, &bad, &[], "").await.status, status, "{line}");
            assert_eq!(world.send(line, "", &[], "").await.status, status, "{line}");
        }
        let records = world.finish().await;
        let of_user: Vec<_> = records.iter().filter(|entry| entry.record.sub.is_some()).collect();
        let reasons: Vec<_> = of_user.iter().map(|entry| entry.record.reason.as_deref().unwrap()).collect();
        let expected: Vec<_> = refused.iter().map(|(.., reason)| *reason).chain(["request_too_large"]).collect();
        assert_eq!(reasons, expected);
        assert!(of_user.iter().all(|entry| entry.record.client_id.is_some() && entry.record.method.is_some()));
    });
}
