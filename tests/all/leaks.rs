//! Plants secrets and what is about a person in a whole story, told to the program as it is shipped, and looks for all of it
//! wherever it does not belong: in the operational log at its finest level, the metrics, the audit log, and every part of every
//! answer. Where something belongs stands in one table, [`belongs`]; everything else is a leak.
#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use firebreak::audit::EventKind;

use crate::flows::story::{Planted, Story, settings};
use crate::world::client::{Connection, Reply};
use crate::world::{Left, Settings, World, run};

/// Where a text may turn up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// `FIREBREAK_LOG=trace`, standard error.
    OperationalLog,
    Metrics,
    /// A line of the audit log, its query and its explanation left out.
    AuditLine,
    /// `query_raw` of a record, decoded, and its explanation.
    AuditQuery,
    /// The FHIR resources of a 200.
    Resources,
    /// A page of ours, 200.
    Page,
    /// The JSON of a 200 or 201 of the token endpoint.
    TokenResponse,
    /// The JSON of another 200 or 201.
    OtherResponse,
    /// The body of an answer of 400 and more.
    Refusal,
    /// A redirect to the app.
    Redirect,
    SetCookie,
    /// Any other header field, and redirects within the gateway.
    Header,
}

/// What may be where. An exhaustive match, so that whoever plants something says where it belongs.
fn belongs(what: Planted, place: Place) -> bool {
    let places: &[Place] = match what {
        Planted::AccessToken | Planted::RefreshToken | Planted::IdToken => &[Place::TokenResponse],
        Planted::Code => &[Place::Redirect],
        Planted::Cookie => &[Place::SetCookie],
        // Our forms send it back.
        Planted::AntiForgeryToken => &[Place::Page],
        // To the EHR that handed the context over, and to the app that registered.
        Planted::LaunchHandle | Planted::RegistrationToken => &[Place::OtherResponse],
        // What was asked comes back in the links, and the audit log says what was asked.
        Planted::SearchValue | Planted::SealedPage => &[Place::Resources, Place::AuditQuery],
        // The token is for this person's data, and the picker and the consent page say who it is; what was typed into the picker is
        // the beginning of the name.
        Planted::Person | Planted::PickerValue => &[Place::Resources, Place::Page, Place::AuditQuery],
        // A request whose sender is known is recorded with its query.
        Planted::Rubbish => &[Place::AuditQuery],
        // The operator's own words: which upstream is served.
        Planted::UpstreamHost => &[Place::OperationalLog],
        Planted::Verifier
        | Planted::ClientSecret
        | Planted::Password
        | Planted::Assertion
        | Planted::Proof
        | Planted::UpstreamCredential
        | Planted::UpstreamWord
        | Planted::Stranger
        | Planted::Body => &[],
    };
    places.contains(&place)
}

/// Everything that was planted, in every form it may be written in, and what was found of it.
struct Search {
    texts: Vec<(Planted, String)>,
    found: Vec<String>,
}

impl Search {
    fn new(story: &Story) -> Self {
        let mut texts = Vec::new();
        for (what, text) in &story.0 {
            let percent: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
            let quoted = serde_json::to_string(text).unwrap().trim_matches('"').to_owned();
            let mut forms = vec![text.clone(), percent, quoted, STANDARD.encode(text)];
            if *what == Planted::ClientSecret {
                forms.push(STANDARD.encode(format!("server:{text}")));
            }
            // The signature alone, and the claims alone, are the token's.
            if text.matches('.').count() == 2 {
                forms.extend(text.split('.').skip(1).map(str::to_owned));
            }
            forms.dedup();
            texts.extend(forms.into_iter().map(|form| (*what, form)));
        }
        Self { texts, found: Vec::new() }
    }

    fn look(&mut self, place: Place, at: &str, text: &str) {
        for (what, planted) in &self.texts {
            if text.contains(planted) && !belongs(*what, place) {
                let line = text.lines().find(|line| line.contains(planted)).unwrap_or_default();
                let line: String = line.chars().take(400).collect();
                self.found.push(format!("{what:?} `{planted}` in {place:?} of {at}: {line}"));
            }
        }
    }

    fn look_at_answer(&mut self, line: &str, reply: &Reply) {
        for (name, value) in &reply.headers {
            let place = match name.as_str() {
                "set-cookie" => Place::SetCookie,
                "location" if !value.starts_with('/') => Place::Redirect,
                _ => Place::Header,
            };
            self.look(place, line, &format!("{name}: {value}"));
        }
        let body = String::from_utf8_lossy(&reply.body);
        let json = reply.header("content-type").contains("json");
        let place = match reply.status {
            400.. => Place::Refusal,
            _ if reply.header("content-type").starts_with("application/fhir") => Place::Resources,
            _ if line.starts_with("POST /token") => Place::TokenResponse,
            _ if json => Place::OtherResponse,
            _ => Place::Page,
        };
        self.look(place, line, &body);
    }
}

#[test]
fn nothing_that_is_secret_or_about_a_person_leaves_its_place() {
    run(async {
        let world = World::process(Settings { tls: true, ..settings() }).await;
        let story = Story::told(&world).await;
        let mut connection = Connection::open(world.admin.unwrap(), None).await;
        let metrics =
            connection.exchange(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false).await;
        assert!(metrics.text().contains("firebreak_") && metrics.text().lines().count() > 50, "{}", metrics.text());
        let answers = world.kept();
        let Left { entries, lines, told } = world.end().await;
        assert!(told.lines().count() > 100 && told.contains("TRACE"), "the log is at its finest level: {told}");
        // Something of each kind happened, so that its absence means something.
        for kind in [
            EventKind::Fhir,
            EventKind::Login,
            EventKind::Logout,
            EventKind::Consent,
            EventKind::Token,
            EventKind::Introspection,
            EventKind::Revocation,
            EventKind::Registration,
            EventKind::Launch,
            EventKind::Refusals,
        ] {
            assert!(entries.iter().any(|entry| entry.record.kind == kind), "{kind:?}");
        }
        let mut search = Search::new(&story);
        search.look(Place::OperationalLog, "standard error", &told);
        search.look(Place::Metrics, "/metrics", metrics.text());
        for (line, entry) in lines.iter().zip(&entries) {
            let query = entry.record.query_raw.as_deref().unwrap_or_default();
            let decoded = String::from_utf8(STANDARD.decode(query).unwrap()).unwrap();
            search.look(Place::AuditQuery, "the audit log", &decoded);
            let mut line = line.replace(query, "");
            for sentence in &entry.record.explanation {
                // The upstream request as it was sent: the same words as the query's.
                search.look(Place::AuditQuery, "the explanation of a record", sentence);
                line = line.replace(&serde_json::to_string(sentence).unwrap(), "");
            }
            search.look(Place::AuditLine, "the audit log", &line);
        }
        for (line, reply) in &answers {
            search.look_at_answer(line, reply);
        }
        assert!(search.found.is_empty(), "{} leaks:\n{}", search.found.len(), search.found.join("\n"));
        // The search finds what is there: each kind that belongs somewhere was there.
        for what in [Planted::AccessToken, Planted::Code, Planted::Cookie, Planted::Person, Planted::SealedPage] {
            let there = |text: &String| answers.iter().any(|(_, reply)| reply.all().contains(text));
            assert!(story.0.iter().any(|(of, text)| *of == what && there(text)), "{what:?} was nowhere");
        }
    });
}
