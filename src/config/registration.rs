//! `[registration]`: clients that register themselves (RFC 7591).

use std::time::Duration;

use super::Registration;
use super::reader::{Reader, Section};
use crate::smart::scope::{Level, Scope};

const DAY: u64 = 86_400;

/// What open registration gives at most, unless the file says otherwise.
const SCOPE: &str = "openid fhirUser launch launch/patient offline_access patient/*.rs";

/// `None` where both ways to register are off.
#[expect(clippy::cast_possible_truncation, reason = "the ranges fit")]
pub(super) fn registration<'t>(reader: &mut Reader<'t>, mut section: Section<'t>) -> Option<Registration> {
    let initial_access_tokens = section.flag(reader, "initial_access_tokens").unwrap_or(true);
    let open = section.flag(reader, "open").unwrap_or(false);
    let open_scope = section.string(reader, "open_scope");
    if let Some(scope) = &open_scope
        && !scope.value.split_ascii_whitespace().all(may_be_open)
    {
        reader.mistake(
            scope.line,
            "`open_scope` in [registration] may hold `patient/` scopes, openid, fhirUser, launch, launch/patient, \
             launch/encounter and offline_access: nobody has looked at who registers",
        );
    }
    let day = Duration::from_secs(DAY);
    let registration = Registration {
        initial_access_tokens,
        open,
        open_scope: open_scope.map_or_else(|| SCOPE.to_owned(), |scope| scope.value),
        open_clients: section.integer(reader, "open_clients", 1..50_001, 1_000) as usize,
        open_unused: section.duration(reader, "open_unused", (day, day * 366), day * 30),
        open_per_hour: section.integer(reader, "open_per_hour", 1..10_001, 20) as u32,
        clients: section.integer(reader, "clients", 1..50_001, 10_000) as usize,
    };
    reader.close(&section);
    (initial_access_tokens || open).then_some(registration)
}

/// Whether a client that nobody looked at may have the scope.
fn may_be_open(scope: &str) -> bool {
    match Scope::parse(scope) {
        Scope::Resource(scope) => scope.level == Level::Patient,
        Scope::OpenId
        | Scope::FhirUser
        | Scope::Profile
        | Scope::Launch
        | Scope::LaunchPatient
        | Scope::LaunchEncounter
        | Scope::OfflineAccess => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

    use std::path::Path;

    use super::*;
    use crate::config::{Config, ConfigError};

    fn load(section: &str) -> Result<Option<Registration>, ConfigError> {
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\norigin = \"https://gw.example.org\"\ndanger_plain_http = true\n\
             [fhir]\nupstream = \"http://127.0.0.1:1/fhir\"\n{section}"
        );
        Config::parse(&text, Path::new(".")).map(|config| config.registration)
    }

    #[test]
    fn registration_is_off_until_it_is_asked_for_and_open_only_when_it_says_so() {
        assert_eq!(load("").unwrap(), None);
        let asked = load("[registration]").unwrap().unwrap();
        assert!(asked.initial_access_tokens && !asked.open);
        assert_eq!(load("[registration]\ninitial_access_tokens = false").unwrap(), None);
        let open = load("[registration]\ninitial_access_tokens = false\nopen = true").unwrap().unwrap();
        assert!(open.open && !open.initial_access_tokens);
        assert!(open.open_scope.split(' ').all(may_be_open));
    }

    #[test]
    fn nobody_gets_more_than_a_patients_data_by_open_registration() {
        for bad in ["user/*.rs", "system/Patient.rs", "nonsense", "online_access", "patient/*.rs user/Patient.r"] {
            let error = load(&format!("[registration]\nopen = true\nopen_scope = \"{bad}\"")).unwrap_err();
            assert!(error.to_string().contains("`open_scope`"), "{bad}: {error}");
        }
        assert!(load("[registration]\nopen_scope = \"openid patient/Observation.rs\"").is_ok());
    }
}
