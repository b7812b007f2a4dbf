//! What the metadata lists beside capabilities and scopes: every value has a test that shows it, and every endpoint of OAuth is
//! listed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::*;
use crate::world::{Settings, World, run};

const DOCUMENTS: [&str; 3] = [
    "/fhir/.well-known/smart-configuration",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
];

/// The test that shows each value of each list. A value that is not here may not be advertised; one that is here needs its
/// test when it is.
const SHOWN: &[(&str, &[&str], &str)] = &[
    ("grant_types_supported", &["authorization_code", "refresh_token"], "a_public_app_launches_reads_and_refreshes"),
    (
        "grant_types_supported",
        &["client_credentials"],
        "a_service_gets_a_token_with_a_key_of_either_kind_and_reads_with_it",
    ),
    (
        "grant_types_supported",
        &["urn:ietf:params:oauth:grant-type:token-exchange"],
        "a_narrower_token_reads_less_and_ends_with_the_grant",
    ),
    ("token_endpoint_auth_methods_supported", &["none"], "a_public_app_launches_reads_and_refreshes"),
    (
        "token_endpoint_auth_methods_supported",
        &["client_secret_basic", "client_secret_post"],
        "a_confidential_app_launches_with_basic_and_with_its_secret_in_the_body",
    ),
    (
        "token_endpoint_auth_methods_supported",
        &["private_key_jwt"],
        "an_asymmetric_app_exchanges_its_code_and_refreshes_with_fresh_assertions",
    ),
    (
        "token_endpoint_auth_signing_alg_values_supported",
        &["RS384", "ES384"],
        "rs384_and_es384_assertions_for_the_token_endpoint_or_the_issuer_are_accepted",
    ),
    (
        "introspection_endpoint_auth_methods_supported",
        &["client_secret_basic", "client_secret_post"],
        "a_good_access_token_is_active_with_all_that_its_token_response_had",
    ),
    (
        "introspection_endpoint_auth_methods_supported",
        &["private_key_jwt"],
        "a_client_with_a_key_asks_with_an_assertion_for_this_endpoint_the_token_endpoint_or_the_issuer",
    ),
    (
        "introspection_endpoint_auth_signing_alg_values_supported",
        &["RS384", "ES384"],
        "rs384_and_es384_assertions_for_the_token_endpoint_or_the_issuer_are_accepted",
    ),
    (
        "introspection_signing_alg_values_supported",
        &["RS256"],
        "the_signed_answer_says_what_the_plain_one_says_and_is_for_the_client_that_asked",
    ),
    (
        "revocation_endpoint_auth_methods_supported",
        &["none", "client_secret_basic", "client_secret_post", "private_key_jwt"],
        "the_client_authenticates_as_it_is_registered",
    ),
    (
        "revocation_endpoint_auth_signing_alg_values_supported",
        &["RS384", "ES384"],
        "rs384_and_es384_assertions_for_the_token_endpoint_or_the_issuer_are_accepted",
    ),
    (
        "authorization_details_types_supported",
        &["smart_on_fhir"],
        "what_was_granted_comes_as_details_through_login_picker_consent_and_refresh",
    ),
    ("response_types_supported", &["code"], "a_public_app_launches_reads_and_refreshes"),
    ("response_modes_supported", &["query"], "a_public_app_launches_reads_and_refreshes"),
    ("code_challenge_methods_supported", &["S256"], "a_public_app_launches_reads_and_refreshes"),
    ("subject_types_supported", &["public"], "a_public_app_launches_reads_and_refreshes"),
    ("id_token_signing_alg_values_supported", &["RS256"], "a_public_app_launches_reads_and_refreshes"),
    (
        "claims_supported",
        &["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "at_hash", "fhirUser"],
        "openid_gives_an_rs256_id_token_with_nonce_at_hash_and_fhir_user",
    ),
    ("ui_locales_supported", &["en", "de"], "pages_are_in_the_language_of_the_app_or_else_of_the_browser"),
    ("prompt_values_supported", &["none"], "prompt_none_never_shows_a_page"),
    (
        "prompt_values_supported",
        &["login", "consent"],
        "a_choice_is_remembered_for_this_app_user_and_patient_until_the_app_wants_to_ask",
    ),
];

/// The member of the metadata for each path of ours that is an endpoint of a standard.
const MEMBERS: [(&str, &str); 11] = [
    ("/authorize", "authorization_endpoint"),
    ("/token", "token_endpoint"),
    ("/jwks", "jwks_uri"),
    ("/introspect", "introspection_endpoint"),
    ("/revoke", "revocation_endpoint"),
    ("/register", "registration_endpoint"),
    ("/par", "pushed_authorization_request_endpoint"),
    ("/manage", "management_endpoint"),
    ("/logout", "end_session_endpoint"),
    ("/brands", "user_access_brand_bundle"),
    ("/userinfo", "userinfo_endpoint"),
];
/// Paths that no standard's metadata has a member for: the back channel of EHRs, a registration's own URI, pages of the login.
const NOT_LISTED: [&str; 6] = [
    "/launch-contexts",
    "/register/",
    "/login/provider",
    "/login/callback/",
    "/logout/callback/",
    "/logout/back-channel/",
];

async fn documents(world: &World) -> Vec<Value> {
    let mut documents = Vec::new();
    for path in DOCUMENTS {
        documents.push(world.get(path, "").await.json());
    }
    documents
}

/// All tests there are, as text.
fn sources(directory: &Path, found: &mut String) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            sources(&entry.path(), found);
        } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
            found.push_str(&fs::read_to_string(entry.path()).unwrap());
        }
    }
}

// D6, D12
#[test]
fn every_advertised_grant_type_method_and_algorithm_is_shown_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = String::new();
    sources(&root.join("tests/all"), &mut tests);
    sources(&root.join("src"), &mut tests);
    let shown: BTreeMap<(&str, &str), &str> =
        SHOWN.iter().flat_map(|(member, values, test)| values.iter().map(|value| ((*member, *value), *test))).collect();
    run(async {
        let world = world().await;
        for document in documents(&world).await {
            for (member, values) in document.as_object().unwrap() {
                let Some(values) = values.as_array() else { continue };
                // What a test of its own looks at: `discovery.rs` and `dpop.rs`.
                if ["capabilities", "scopes_supported", "dpop_signing_alg_values_supported"].contains(&member.as_str())
                {
                    continue;
                }
                for value in values.iter().map(|value| value.as_str().unwrap()) {
                    let test = shown.get(&(member.as_str(), value));
                    let test = test.unwrap_or_else(|| panic!("nothing shows that `{value}` of `{member}` works"));
                    assert!(tests.contains(&format!("fn {test}()")), "{member} {value}: {test}");
                }
            }
        }
        world.finish().await;
    });
}

// D6, D12, W1
#[test]
fn every_endpoint_is_advertised_where_it_is() {
    let brands = "[brands]\nname = \"Larkspur\"\nwebsite = \"https://larkspur.example\"\n[registration]\nopen = true\n";
    let routes = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/grant/route.rs")).unwrap();
    let paths: Vec<&str> = routes
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split_once(": &str = \"")?.1.strip_suffix("\";"))
        .collect();
    assert!(paths.len() > 5, "{paths:?}");
    run(async {
        let settings = settings();
        let sections = format!("{}{brands}", settings.sections);
        let world = World::with(Settings { sections, ..settings }).await;
        let documents = documents(&world).await;
        for path in paths.into_iter().filter(|path| !NOT_LISTED.contains(path)) {
            let member = MEMBERS.iter().find(|(known, _)| *known == path).map(|(_, member)| *member);
            let member = member.unwrap_or_else(|| panic!("say which member names `{path}`, or that none does"));
            let url = format!("{ISSUER}{path}");
            let named = documents.iter().filter_map(|document| document[member].as_str());
            let named: Vec<&str> = named.collect();
            assert!(!named.is_empty() && named.iter().all(|known| *known == url), "{member} {named:?}");
        }
        let bundle = world.get("/brands", "").await;
        assert_eq!((bundle.status, bundle.header("access-control-allow-origin")), (200, "*"));
        world.finish().await;
    });
}
