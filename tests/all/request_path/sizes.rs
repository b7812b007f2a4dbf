//! Answers of every shape and size cost no more than their size.

use std::fmt::Write as _;
use std::time::Duration;

use crate::upstream::Answer;
use crate::world::{World, run};

/// What costs the square of these sizes takes minutes; what does not is done in a moment, on a busy machine in some seconds.
const FOREVER: Duration = Duration::from_secs(60);

#[test]
fn a_searchset_of_a_hundred_thousand_patients_costs_no_more_than_its_size() {
    run(async {
        let world = World::new().await;
        let token = world.token(&crate::world::Grant::user("user/*.rs", "Practitioner/d1", &["clinician"]));
        let mut body = r#"{"resourceType":"Bundle","type":"searchset","entry":["#.to_owned();
        for number in 0..100_000 {
            let comma = if number == 0 { "" } else { "," };
            write!(body, r#"{comma}{{"resource":{{"resourceType":"Patient","id":"patient-{number}"}}}}"#).unwrap();
        }
        body.push_str("]}");
        world.upstream.answer(move |_| Answer::fhir(body.clone()));
        let started = tokio::time::Instant::now();
        let reply = world.get("/fhir/Patient", &token).await;
        assert_eq!(reply.status, 200, "{}", &reply.all()[..200]);
        assert!(started.elapsed() < FOREVER, "{:?}", started.elapsed());
        let records = world.finish().await;
        let record = &records.iter().find(|entry| entry.record.status == Some(200)).unwrap().record;
        assert_eq!((record.patients.len(), record.resource_ids.len()), (100_000, 100_000), "all are named");
    });
}

#[test]
fn no_shape_of_an_answer_costs_more_than_its_size() {
    let many = |count: usize, each: &dyn Fn(usize) -> String| (0..count).map(each).collect::<Vec<_>>().join(",");
    let own = |more: String| {
        format!(r#"{{"resourceType":"Observation","id":"o1","subject":{{"reference":"Patient/P1"}},{more}}}"#)
    };
    let keys = many(200_000, &|number| format!(r#""k{number}":1"#));
    let entry = |more: &str| {
        let resource = own(r#""status":"final""#.to_owned());
        format!(r#"{{"resourceType":"Bundle","type":"searchset","entry":[{{"resource":{resource}{more}}}]}}"#)
    };
    let bodies = [
        ("keys", own(keys.clone())),
        ("keys of an element", own(format!(r#""code":{{{keys}}}"#))),
        ("escaped keys", own(many(100_000, &|number| format!(r#""\\u006b{number}":1"#)))),
        (
            "references",
            own(format!(r#""performer":[{}]"#, many(150_000, &|_| r#"{"reference":"{BASE}/Patient/P1"}"#.to_owned()))),
        ),
        (
            "extensions",
            own(format!(
                r#""extension":[{}]"#,
                many(100_000, &|_| r#"{"url":"x","valueUri":"{BASE}/Patient/P1"}"#.to_owned())
            )),
        ),
        (
            "labels",
            own(format!(r#""meta":{{"tag":[{}]}}"#, many(150_000, &|number| format!(r#"{{"code":"{number}"}}"#)))),
        ),
        (
            "nested",
            own(format!(r#""extension":{}{}"#, r#"[{"extension":"#.repeat(40), "1".to_owned() + &"}]".repeat(40))),
        ),
        ("a long text", own(format!(r#""note":"{}""#, "\\u00e4".repeat(1_000_000)))),
        ("members of an entry", entry(&format!(",{keys}"))),
        ("members of a searchset", entry("").replacen('{', &format!("{{{keys},"), 1)),
        (
            "links",
            entry("").replacen(
                '{',
                &format!(
                    r#"{{"link":[{}],"#,
                    many(100_000, &|_| r#"{"relation":"next","url":"{BASE}?x=1"}"#.to_owned())
                ),
                1,
            ),
        ),
        ("search", entry(&format!(r#","search":{{{keys}}}"#))),
    ];
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        for (what, body) in bodies {
            let body = body.replace("{BASE}", &world.upstream.base());
            let search = body.contains("searchset");
            world.upstream.answer(move |_| Answer::fhir(body.clone()));
            let target = if search { "/fhir/Observation" } else { "/fhir/Observation/o1" };
            for projection in ["", "?_elements=status", "?_summary=true"] {
                let started = tokio::time::Instant::now();
                let reply = world.get(&format!("{target}{projection}"), &a).await;
                assert!(matches!(reply.status, 200 | 502), "{what}{projection}: {}", reply.status);
                assert!(started.elapsed() < FOREVER, "{what}{projection}: {:?}", started.elapsed());
            }
        }
        world.finish().await;
    });
}
