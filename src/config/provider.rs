//! `[[provider]]`: the OpenID providers that people may log in with, and what each of them may say about its users.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use url::Url;

use super::raw::{secret_file, values};
use super::reader::{At, Reader, Section, plain_url};
use crate::fhir::resource_type::ResourceType;
use crate::secret::Secret;

/// The resource types that a person can be (SMART App Launch 2.2, "scopes for requesting identity data").
const USER_TYPES: [&str; 5] = ["Patient", "Practitioner", "PractitionerRole", "RelatedPerson", "Person"];

/// An OpenID provider that people may log in with (OpenID Connect Core 1.0).
#[derive(Clone, Debug)]
pub struct Provider {
    /// Stands in the redirect URI, `{issuer}/login/callback/{id}`: each provider has its own.
    pub id: String,
    /// On the button.
    pub name: String,
    /// Its issuer, byte for byte as its discovery document says it.
    pub issuer: String,
    /// What it knows us by.
    pub client_id: String,
    /// How we prove that.
    pub authentication: ProviderAuthentication,
    /// The scopes that are asked for; `openid` is always among them.
    pub scopes: Vec<String>,
    /// PEM file of authorities that are trusted besides the system's when it is called.
    pub ca: Option<PathBuf>,
    /// Where its ID tokens say what.
    pub claims: ClaimMapping,
    /// `fhirUser` types that it may assert. A user of another type is refused.
    pub user_types: Vec<String>,
    /// Whether a logout goes on there, where it has an `end_session_endpoint`.
    pub rp_initiated_logout: bool,
    /// Roles that it may assert. Others are dropped, and a user without any is refused.
    pub roles: Vec<String>,
}

/// How we authenticate at a provider's token endpoint.
#[derive(Clone, Debug)]
pub enum ProviderAuthentication {
    /// Not at all: a public client. PKCE is used all the same, as with the others.
    None,
    /// `client_secret_basic`, or `client_secret_post` where the provider knows only that.
    Secret(Secret),
    /// `private_key_jwt`: a PKCS#8 key in PEM.
    PrivateKey(Secret),
}

/// Which claims say what. A claim is named by its name, or by the path to it with dots (`realm_access.roles`).
#[derive(Clone, Debug)]
pub struct ClaimMapping {
    /// Who the user is in FHIR; `None`: the provider does not say.
    pub fhir_user: Option<FhirUserClaim>,
    /// A string or a list of strings.
    pub roles: Option<String>,
    /// From the provider's word for a role to ours. A word that is not here stands for itself.
    pub role_map: BTreeMap<String, String>,
    /// Shown to people.
    pub display_name: String,
    /// Ids of patients whom the user may have in context without a search.
    pub patients: Option<String>,
}

/// How `fhirUser` is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FhirUserClaim {
    /// The claim holds `Type/id`, or the same below our FHIR base.
    Reference(String),
    /// The claim holds the id: `Practitioner/{claim}`.
    Id {
        /// `Practitioner`
        resource_type: String,
        /// The claim between the braces.
        claim: String,
    },
}

/// All of them; each has an `id` and an issuer of its own.
pub(super) fn providers<'t>(
    reader: &mut Reader<'t>,
    root: &mut Section<'t>,
    directory: &Path,
    origin: &Url,
) -> Vec<Provider> {
    let mut providers: Vec<Provider> = Vec::new();
    for section in root.tables(reader, "provider") {
        let line = section.line();
        let provider = provider(reader, section, directory);
        if !provider.id.is_empty() && providers.iter().any(|other| other.id == provider.id) {
            reader.mistake(line, format!("the provider `{}` occurs twice; each needs its own `id`", provider.id));
        }
        if !provider.issuer.is_empty() && providers.iter().any(|other| other.issuer == provider.issuer) {
            reader.mistake(line, "two providers have the same `issuer`; a user is known by issuer and subject");
        }
        if provider.issuer.trim_end_matches('/') == origin.as_str().trim_end_matches('/') {
            reader.mistake(line, "the `issuer` of a provider must be another than our own, the `origin` in [server]");
        }
        providers.push(provider);
    }
    providers
}

fn provider<'t>(reader: &mut Reader<'t>, mut section: Section<'t>, directory: &Path) -> Provider {
    let id = section.required(reader, "id", "\"hospital\"");
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !id.value.is_empty() && (id.value.len() > 40 || !id.value.bytes().all(plain)) {
        reader.mistake(
            id.line,
            "`id` in [[provider]] must be at most 40 lower-case letters, digits and `-`: it stands in a URL",
        );
    }
    let name = section.string(reader, "name").map_or_else(|| id.value.clone(), |name| name.value);
    let issuer = issuer(reader, &mut section);
    let client_id = section.required(reader, "client_id", "\"firebreak\"").value;
    let authentication = authentication(reader, &mut section, directory);
    let scopes = scopes(reader, &mut section);
    let ca = section.string(reader, "ca").map(|path| directory.join(path.value));
    let user_types = user_types(reader, &mut section);
    let roles = values(section.strings(reader, "roles"));
    let rp_initiated_logout = section.flag(reader, "rp_initiated_logout").unwrap_or(true);
    let mut claims = section.table(reader, "claims");
    if let Some(claims) = &mut claims {
        "[provider.claims]".clone_into(&mut claims.name);
    }
    let claims = claims.map_or_else(ClaimMapping::default, |section| mapping(reader, section, &roles, &user_types));
    reader.close(&section);
    Provider {
        id: id.value,
        name,
        issuer,
        client_id,
        authentication,
        scopes,
        ca,
        claims,
        user_types,
        rp_initiated_logout,
        roles,
    }
}

impl Default for ClaimMapping {
    fn default() -> Self {
        Self {
            fhir_user: None,
            roles: None,
            role_map: BTreeMap::new(),
            display_name: "name".to_owned(),
            patients: None,
        }
    }
}

/// https, or http on this machine; as written, for it is compared byte for byte.
fn issuer<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> String {
    let issuer = section.required(reader, "issuer", "\"https://login.example.org/realms/hospital\"");
    let loopback = |url: &Url| matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let fits = plain_url(&issuer.value).is_some_and(|url| url.scheme() == "https" || loopback(&url));
    if !issuer.value.is_empty() && !fits {
        reader.mistake(
            issuer.line,
            "`issuer` in [[provider]] must be an https URL without user, query and fragment; http is for this machine alone",
        );
    }
    issuer.value
}

fn authentication<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>, directory: &Path) -> ProviderAuthentication {
    let secret = section.string(reader, "client_secret_file");
    let key = section.string(reader, "private_key_file");
    match (secret, key) {
        (None, None) => ProviderAuthentication::None,
        (Some(path), None) => {
            secret_file(reader, &path, directory).map_or(ProviderAuthentication::None, ProviderAuthentication::Secret)
        }
        (None, Some(path)) => match secret_file(reader, &path, directory) {
            Some(key) if crate::jose::AssertionKey::parse(&key).is_some() => ProviderAuthentication::PrivateKey(key),
            Some(_) => {
                reader.mistake(
                    path.line,
                    format!(
                        "`{}` must be a PKCS#8 `PRIVATE KEY` in PEM: P-256, P-384, or RSA of 2048 bits or more",
                        path.value
                    ),
                );
                ProviderAuthentication::None
            }
            None => ProviderAuthentication::None,
        },
        (Some(secret), Some(_)) => {
            reader.mistake(secret.line, "a provider has either `client_secret_file` or `private_key_file`, not both");
            ProviderAuthentication::None
        }
    }
}

fn scopes<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> Vec<String> {
    if !section.has("scopes") {
        let _ = section.strings(reader, "scopes");
        return vec!["openid".to_owned(), "profile".to_owned()];
    }
    let mut scopes = Vec::new();
    for scope in section.strings(reader, "scopes") {
        if scope.value.is_empty() || !scope.value.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\') {
            reader.mistake(scope.line, "each of `scopes` in [[provider]] must be one scope, without spaces");
        }
        scopes.push(scope.value);
    }
    if !scopes.iter().any(|scope| scope == "openid") {
        scopes.insert(0, "openid".to_owned());
    }
    scopes
}

fn user_types<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> Vec<String> {
    let types = section.strings(reader, "user_types");
    for name in &types {
        if !USER_TYPES.contains(&name.value.as_str()) {
            reader.mistake(name.line, format!("each of `user_types` must be one of {}", USER_TYPES.join(", ")));
        }
    }
    values(types)
}

fn mapping<'t>(
    reader: &mut Reader<'t>,
    mut section: Section<'t>,
    roles: &[String],
    user_types: &[String],
) -> ClaimMapping {
    let fhir_user = section.string(reader, "fhir_user").and_then(|text| fhir_user(reader, &text, user_types));
    let mapped = section.table(reader, "role_map").map(|mut section| {
        "[provider.claims.role_map]".clone_into(&mut section.name);
        section.pairs(reader)
    });
    let mapped = mapped.unwrap_or_default();
    let claim = section.string(reader, "roles");
    if let (None, Some((_, first))) = (&claim, mapped.first()) {
        reader.mistake(first.line, "`role_map` needs `roles` in [provider.claims]: the claim whose values it maps");
    }
    let mut role_map = BTreeMap::new();
    for (word, role) in mapped {
        if !roles.contains(&role.value) {
            reader.mistake(
                role.line,
                format!("`{word}` is mapped to `{}`, which is not among the `roles` of this provider", role.value),
            );
        }
        role_map.insert(word, role.value);
    }
    let otherwise = ClaimMapping::default();
    let mapping = ClaimMapping {
        fhir_user,
        roles: claim.map(|claim| claim.value),
        role_map,
        display_name: section.string(reader, "display_name").map_or(otherwise.display_name, |claim| claim.value),
        patients: section.string(reader, "patients").map(|claim| claim.value),
    };
    reader.close(&section);
    mapping
}

/// `fhirUser`, or `Practitioner/{claim}`.
fn fhir_user(reader: &mut Reader<'_>, text: &At<String>, user_types: &[String]) -> Option<FhirUserClaim> {
    if !text.value.contains(['{', '}']) {
        return Some(FhirUserClaim::Reference(text.value.clone()));
    }
    let parts = text.value.split_once("/{").and_then(|(name, rest)| Some((name, rest.strip_suffix('}')?)));
    let Some((name, claim)) = parts.filter(|(name, claim)| {
        ResourceType::parse(name).is_some() && !claim.is_empty() && !claim.contains(['{', '}'])
    }) else {
        reader.mistake(
            text.line,
            "`fhir_user` in [provider.claims] must name a claim, as \"fhirUser\", or be a template, as \"Practitioner/{employee_number}\"",
        );
        return None;
    };
    if !user_types.iter().any(|allowed| allowed == name) {
        reader.mistake(
            text.line,
            format!("`fhir_user` makes a {name}, which is not among the `user_types` of this provider"),
        );
    }
    Some(FhirUserClaim::Id { resource_type: name.to_owned(), claim: claim.to_owned() })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::super::tests::{GOOD, mistakes};
    use super::super::{Config, Mistake};
    use super::*;

    const PROVIDER: &str = r#"
[[provider]]
id = "hospital"
issuer = "https://login.example.org/realms/hospital"
client_id = "firebreak"
user_types = ["Practitioner"]
roles = ["clinician"]
[provider.claims]
fhir_user = "Practitioner/{employee.number}"
roles = "realm_access.roles"
role_map = { doctor = "clinician" }
"#;

    fn parse(text: &str) -> Config {
        Config::parse(&format!("{GOOD}{text}"), Path::new(".")).unwrap()
    }

    #[test]
    fn a_provider_has_defaults_that_assert_nothing() {
        let config = parse("[[provider]]\nid = \"a\"\nissuer = \"https://a.example\"\nclient_id = \"c\"\n");
        let provider = config.providers.first().unwrap();
        assert_eq!(provider.scopes, ["openid", "profile"]);
        assert!(provider.roles.is_empty() && provider.user_types.is_empty() && provider.claims.fhir_user.is_none());
        assert!(matches!(provider.authentication, ProviderAuthentication::None));
        assert_eq!(provider.name, "a");
    }

    #[test]
    fn claims_are_mapped_by_name_path_and_template() {
        let config = parse(PROVIDER);
        let claims = &config.providers.first().unwrap().claims;
        let expected =
            FhirUserClaim::Id { resource_type: "Practitioner".to_owned(), claim: "employee.number".to_owned() };
        assert_eq!(claims.fhir_user.as_ref(), Some(&expected));
        assert_eq!(claims.role_map.get("doctor").map(String::as_str), Some("clinician"));
    }

    #[test]
    fn mistakes_in_a_provider_are_told_with_their_lines() {
        let text = r#"
[[provider]]
id = "Hospital A"
issuer = "http://login.example.org?x"
client_secret_file = "no-such-file"
private_key_file = "nor-this"
scopes = ["open id"]
user_types = ["Organization"]
roles = ["clinician"]
colour = "blue"
[provider.claims]
fhir_user = "Practitioner/{}"
role_map = { admin = "auditor" }
[[provider]]
id = "b"
issuer = "https://b.example"
client_id = "c"
[provider.claims]
fhir_user = "Patient/{mrn}"
[[provider]]
id = "b"
issuer = "https://b.example"
client_id = "c"
"#;
        let found: Vec<Mistake> = mistakes(&format!("{GOOD}{text}"));
        let first = GOOD.lines().count() + 1;
        for (line, part) in [
            (2, "lacks `client_id`"),
            (3, "lower-case letters"),
            (4, "must be an https URL"),
            (5, "not both"),
            (7, "without spaces"),
            (8, "must be one of Patient"),
            (10, "unknown key `colour`"),
            (12, "must name a claim"),
            (13, "needs `roles` in [provider.claims]"),
            (13, "not among the `roles`"),
            (19, "makes a Patient"),
            (20, "occurs twice"),
            (20, "same `issuer`"),
        ] {
            let line = first + line - 1;
            assert!(found.iter().any(|at| at.line == line && at.message.contains(part)), "{line} {part}: {found:#?}");
        }
    }

    #[test]
    fn a_key_for_private_key_jwt_must_be_one() {
        let directory = tempfile::tempdir().unwrap();
        let text = format!(
            "{GOOD}[[provider]]\nid = \"a\"\nissuer = \"https://a.example\"\nclient_id = \"c\"\nprivate_key_file = \"key.pem\"\n"
        );
        std::fs::write(directory.path().join("key.pem"), "no key").unwrap();
        assert!(Config::parse(&text, directory.path()).is_err());
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        std::fs::write(directory.path().join("key.pem"), key.serialize_pem()).unwrap();
        let config = Config::parse(&text, directory.path()).unwrap();
        assert!(matches!(config.providers.first().unwrap().authentication, ProviderAuthentication::PrivateKey(_)));
    }
}
