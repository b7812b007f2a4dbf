//! What a record keeps of a query: the names of its parameters, and its text without the values of credentials.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::record::{EventKind, Record};

impl Record {
    /// Notes a raw query string (without `?`) or form body: the parameters' names, reduced to `[A-Za-z0-9_.:-]` and 64
    /// characters, and the whole in base64, where the values of credentials (`access_token`, `code`, …) became `-`. At
    /// most 64 names and 8 KiB are kept; what was cut ends in `…`.
    pub fn query(&mut self, raw: &str) {
        let mut kept = String::with_capacity(raw.len().min(MAX_QUERY));
        self.query_names.clear();
        for (number, pair) in raw.split('&').filter(|pair| !pair.is_empty()).enumerate() {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = form_urlencoded::parse(name.as_bytes()).next().map(|(name, _)| name).unwrap_or_default();
            if number == MAX_NAMES || kept.len() + pair.len() > MAX_QUERY {
                kept.push('…');
                break;
            }
            self.query_names.push(clean(&decoded));
            if !kept.is_empty() {
                kept.push('&');
            }
            kept.push_str(name);
            if pair.contains('=') {
                let base = decoded.split([':', '.']).next().unwrap_or_default();
                let among = |names: &[&str]| names.iter().any(|name| base.eq_ignore_ascii_case(name));
                let secret = among(&CREDENTIALS) || (self.kind != EventKind::Fhir && among(&OAUTH_CREDENTIALS));
                kept.push('=');
                kept.push_str(if secret { "-" } else { value });
            }
        }
        self.query_raw = (!kept.is_empty()).then(|| STANDARD.encode(kept));
    }
}

/// Parameters whose value is a credential. Names are compared without case and without FHIR modifiers.
const CREDENTIALS: [&str; 10] = [
    "access_token",
    "refresh_token",
    "id_token",
    "id_token_hint",
    "token",
    "code_verifier",
    "client_secret",
    "client_assertion",
    "assertion",
    "password",
];

/// Those that are a credential in the grant path only: `code` is also a FHIR search parameter.
const OAUTH_CREDENTIALS: [&str; 2] = ["code", "launch"];

const MAX_NAMES: usize = 64;
const MAX_QUERY: usize = 8 * 1024;

fn clean(name: &str) -> String {
    name.chars()
        .take(64)
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-') { c } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::*;

    fn decoded(record: &Record) -> String {
        String::from_utf8(STANDARD.decode(record.query_raw.as_deref().unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn credentials_in_a_query_lose_their_value() {
        let mut record = Record::new(EventKind::Fhir);
        record.query("patient=p1&access%5Ftoken=SECRET&ID_token:exact=SECRET&code=8867-4&_id=3");
        assert_eq!(decoded(&record), "patient=p1&access%5Ftoken=-&ID_token:exact=-&code=8867-4&_id=3");
        assert_eq!(record.query_names, ["patient", "access_token", "ID_token:exact", "code", "_id"]);
    }

    #[test]
    fn an_authorization_code_is_a_credential_in_the_grant_path() {
        let mut record = Record::new(EventKind::Token);
        record.query("grant_type=authorization_code&code=SECRET&code_verifier=SECRET");
        assert_eq!(decoded(&record), "grant_type=authorization_code&code=-&code_verifier=-");
    }

    #[test]
    fn every_credential_loses_its_value_however_it_is_written_and_nothing_else_does() {
        let everywhere = [
            "access_token",
            "refresh_token",
            "id_token",
            "id_token_hint",
            "token",
            "code_verifier",
            "client_secret",
            "client_assertion",
            "assertion",
            "password",
        ];
        for (kind, names, others) in [
            (EventKind::Fhir, everywhere.as_slice(), ["code", "launch"].as_slice()),
            (EventKind::Token, &everywhere, &[]),
            (EventKind::Authorization, &["code", "launch"], &["state", "client_id"]),
        ] {
            let mut record = Record::new(kind);
            for name in names {
                for written in [(*name).to_owned(), name.to_uppercase(), format!("{name}:exact"), format!("{name}.x")] {
                    record.query(&format!("{written}=SECRET"));
                    assert_eq!(decoded(&record), format!("{written}=-"), "{kind:?}");
                }
            }
            for name in others {
                record.query(&format!("{name}=8867-4"));
                assert_eq!(decoded(&record), format!("{name}=8867-4"), "{kind:?}");
                assert_eq!(record.query_names, [*name], "those of the query alone that was noted last");
            }
        }
    }

    #[test]
    fn an_endless_query_is_cut() {
        let mut record = Record::new(EventKind::Fhir);
        record.query(&"name=a&".repeat(10_000));
        assert_eq!(record.query_names.len(), MAX_NAMES);
        assert!(decoded(&record).ends_with('…'));
        record.query(&format!("a={}", "b".repeat(100_000)));
        assert_eq!(decoded(&record), "…");
    }

    #[test]
    fn a_name_cannot_smuggle_control_characters() {
        let mut record = Record::new(EventKind::Fhir);
        record.query("a%0Ab%3C=1");
        assert_eq!(record.query_names, ["a?b?"]);
        record.query(&format!("{}=1", "n".repeat(1_000)));
        assert_eq!(record.query_names, ["n".repeat(64)]);
    }
}
