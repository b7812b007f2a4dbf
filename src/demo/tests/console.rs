//! The audit console.

use super::*;

fn line(seq: u64, rest: &str) -> Arc<str> {
    Arc::from(format!(r#"{{"v":1,"seq":{seq},"time":"2026-11-16T14:30:0{}.123Z","prev":"AAAA"{rest}}}"#, seq % 10))
}

/// The frames of the stream until `count` records came.
async fn records(body: &mut Body, count: usize) -> String {
    let mut text = String::new();
    while text.matches("event: record").count() < count {
        let frame = body.frame().await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
    }
    text
}

async fn stream(site: &DemoSite, query: &str, headers: &HeaderMap) -> Response<Body> {
    site.respond(&Method::GET, "/console/events", Some(query), headers, b"").await.unwrap()
}

#[tokio::test]
async fn a_record_shows_who_did_what_to_whom_and_why_not() {
    let (site, audit) = site(Watched::answering(500, ""));
    let refused = r#","kind":"fhir","client_id":"vitals-app","fhir_user":"Patient/amina-diallo","sub":"amina.diallo","interaction":"search-type","resource_type":"Observation","patients":["a","b","c"],"decision":"deny","reason":"no_scope<b>","status":403,"outcome":"denied","upstream":{"name":"store","ms":1}"#;
    audit.send(line(1, r#","event":"login","sub":"dr.rivera","outcome":"released""#)).unwrap();
    audit.send(line(2, refused)).unwrap();
    audit.send(Arc::from("not JSON <b>")).unwrap();
    let (_, html) = get(&site, "/console").await.unwrap();
    for text in [
        r#"<li class="refused" data-seq="2">"#,
        ">14:30:02</time>",
        r#"<span class="who">Patient/amina-diallo</span>"#,
        r#"<span class="what">Search Observation</span>"#,
        "Refused: no_scope&#60;b&#62;",
        "a, b and 1 more",
        "<dt>status</dt><dd class=\"mono\">403</dd>",
        r#"<span class="what">Login</span>"#,
        r#"<span class="who">dr.rivera</span>"#,
        "not JSON &#60;b&#62;",
        "http-equiv=\"refresh\"",
    ] {
        assert!(html.contains(text), "{text} in {html}");
    }
    assert!(!html.contains("AAAA") && !html.contains("<b>"));
    // Newest first.
    assert!(html.find("data-seq=\"2\"").unwrap() < html.find("data-seq=\"1\"").unwrap());
}

#[tokio::test]
async fn what_was_done_and_how_it_ended_is_told_in_words() {
    for (record, class, texts) in [
        (r#","kind":"token","outcome":"failed","reason":"store""#, "refused", &["Token", "Failed: store"][..]),
        (
            r#","kind":"fhir","interaction":"read","outcome":"aborted","query_raw":"name=x""#,
            "refused",
            &["Read", "Aborted"],
        ),
        (r#","kind":"fhir","interaction":"update","outcome":"intended""#, "neutral", &["Update", "Intended"]),
        (
            r#","event":"launch_context","action":"launch_context_created","outcome":"released","patient":"p1""#,
            "",
            &["Launch context created", "Done", "p1"],
        ),
        (
            r#","kind":"administration","action":"grant_revoked","outcome":"released""#,
            "",
            &["Administration grant revoked", "Done"],
        ),
        (r#","kind":"checkpoint""#, "neutral", &["Checkpoint", "Noted"]),
    ] {
        let (site, audit) = site(Watched::answering(500, ""));
        audit.send(line(1, record)).unwrap();
        let (_, html) = get(&site, "/console").await.unwrap();
        assert!(html.contains(&format!("<li class=\"{class}\" data-seq")), "{record}: {html}");
        for text in texts {
            assert!(html.contains(&format!(">{text}</span>")), "{text}: {html}");
        }
        assert!(!html.contains("query_raw"), "{html}");
    }
}

#[tokio::test]
async fn a_browser_that_fell_behind_is_shown_what_comes() {
    let (site, audit) = site(Watched::answering(500, ""));
    let mut body = stream(&site, "", &HeaderMap::new()).await.into_body();
    for seq in 1..=30 {
        audit.send(line(seq, "")).unwrap();
    }
    assert!(records(&mut body, 8).await.contains("id: 30\n"));
}

#[tokio::test]
async fn a_quiet_stream_says_that_it_is_alive_and_does_not_stay_forever() {
    let (site, audit) = site(Watched::answering(500, ""));
    let mut body = stream(&site, "", &HeaderMap::new()).await.into_body();
    body.frame().await.unwrap().unwrap();
    // What a browser fell behind with is a quiet period: the time passes at once.
    let mut period = async || {
        for seq in 1..=9 {
            audit.send(line(seq, "")).unwrap();
        }
        body.frame().await.map(|frame| frame.unwrap().into_data().unwrap())
    };
    for _ in 0..240 {
        assert_eq!(period().await.unwrap(), ":\n\n");
    }
    assert_eq!(period().await, None);
}

#[tokio::test]
async fn new_records_come_as_events_and_none_comes_twice() {
    let (site, audit) = site(Watched::answering(500, ""));
    audit.send(line(1, r#","kind":"login""#)).unwrap();
    audit.send(line(2, r#","kind":"token""#)).unwrap();
    let response = stream(&site, "after=1", &HeaderMap::new()).await;
    assert_eq!(response.headers().get(CONTENT_TYPE).unwrap(), "text/event-stream");
    let mut body = response.into_body();
    audit.send(line(2, r#","kind":"token""#)).unwrap();
    audit.send(line(3, r#","kind":"fhir","interaction":"read","resource_type":"Patient""#)).unwrap();
    let text = records(&mut body, 2).await;
    assert_eq!(text.matches("event: record").count(), 2);
    assert!(text.starts_with("retry: ") && text.contains("id: 2\ndata: <li") && text.contains("id: 3\ndata: <li"));
    assert!(text.contains("Read Patient") && text.ends_with("\n\n"));
}

#[tokio::test]
async fn a_browser_that_comes_again_gets_what_it_missed() {
    let (site, audit) = site(Watched::answering(500, ""));
    for seq in 1..=5 {
        audit.send(line(seq, "")).unwrap();
    }
    let headers = [("last-event-id".parse().unwrap(), HeaderValue::from_static("3"))].into_iter().collect();
    let text = records(stream(&site, "after=0", &headers).await.body_mut(), 2).await;
    assert!(text.contains("id: 4") && text.contains("id: 5") && !text.contains("id: 3"));
}

#[tokio::test]
async fn what_the_channel_forgot_is_older_than_what_is_shown() {
    let (site, audit) = site(Watched::answering(500, ""));
    for seq in 1..=30 {
        audit.send(line(seq, "")).unwrap();
    }
    let (_, html) = get(&site, "/console").await.unwrap();
    assert!(html.contains("data-seq=\"30\"") && html.contains("data-seq=\"23\"") && !html.contains("data-seq=\"22\""));
}

#[tokio::test]
async fn a_stream_ends_with_the_program() {
    let (site, _audit) = site(Watched::answering(500, ""));
    let mut body = stream(&site, "", &HeaderMap::new()).await.into_body();
    assert!(body.frame().await.unwrap().unwrap().into_data().unwrap().starts_with(b"retry"));
    site.settings.stop.cancel();
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn watchers_are_bounded() {
    let (site, _audit) = site(Watched::answering(500, ""));
    let mut open = Vec::new();
    for _ in 0..32 {
        open.push(stream(&site, "", &HeaderMap::new()).await);
    }
    assert_eq!(stream(&site, "", &HeaderMap::new()).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    open.pop();
    assert_eq!(stream(&site, "", &HeaderMap::new()).await.status(), StatusCode::OK);
}
