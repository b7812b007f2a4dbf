//! `firebreak explain`: what would be decided about a request, and why.
//!
//! Takes a configuration, a token or the parts of one, and a request; gives the sentences that the record of such an exchange
//! has. Promises: the stages that decide are those that serve, with the same configuration; nothing is asked of the upstream,
//! and nothing is written. What the upstream's data would decide (whether a resource lies within reach) it does not know: it says
//! what would be read. All mistakes of the command line are told at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::{Failure, say};
use crate::authenticate::{Context, Principal};
use crate::authorize::{Authorizer, Prospect};
use crate::canonicalise::FhirRequest;
use crate::clock::Clock;
use crate::config::{Config, unknown_scopes};
use crate::error::Refusal;
use crate::fhir::reference::LogicalId;
use crate::fhir::resource_type::ResourceType;
use crate::fhir::software::Known;
use crate::fhir::way::Way;
use crate::filter::seal::Sealer;
use crate::forward::relied_on;
use crate::gateway::Explanation;
use crate::keys::Keys;
use crate::origin::bases;
use crate::smart::scope::{Ineffective, Scopes};

mod question;
mod token;

/// What is asked about.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 allowed, 1 refused, 2 the question is not well put.\n\n\
    Examples:\n  firebreak explain --token - 'GET /Observation?code=8867-4' < token\n  \
    firebreak explain --scope 'patient/*.rs' --patient P1 --fhir-user Practitioner/d1 --role clinician 'GET /Observation/o1'\n  \
    firebreak explain --scope 'system/Observation.rs' --client bulk1 --role backend 'GET /Observation'")]
pub(super) struct Options {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "firebreak.toml")]
    config: PathBuf,
    /// An access token of this gateway, verified with its keys; `-`: from standard input.
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Instead of a token: the granted scopes, separated by spaces.
    #[arg(long, value_name = "SCOPES")]
    scope: Option<String>,
    /// The patient in context, by id.
    #[arg(long, value_name = "ID")]
    patient: Option<String>,
    /// The encounter in context, by id.
    #[arg(long, value_name = "ID")]
    encounter: Option<String>,
    /// Who the user is, `Practitioner/7`. Without it, it is the client that acts for itself.
    #[arg(long, value_name = "TYPE/ID")]
    fhir_user: Option<String>,
    /// A role that the policies speak of; may be repeated.
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    /// The app. One of the configuration that acts for itself has the roles that are configured for it, unless some are given.
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// The body of the request, from a file; `-`: from standard input.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// A header of the request, `If-Match: W/"1"`; may be repeated.
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// Print JSON, one object.
    #[arg(long)]
    json: bool,
    /// Method and target: `GET /Observation?code=8867-4`, below the FHIR base.
    #[arg(value_name = "REQUEST")]
    request: String,
}

/// Who would ask.
struct Asker {
    /// Who, or why the token is refused.
    principal: Result<Arc<Principal>, Refusal>,
    /// What else is to be known about the token.
    remarks: Vec<String>,
}

/// Explains; `Ok(true)`: allowed.
pub(super) async fn explain(options: Options) -> Result<bool, Failure> {
    let mut mistakes = Vec::new();
    let config =
        Config::load(&options.config).map_err(|error| mistakes.extend(error.to_string().lines().map(str::to_owned)));
    let path = config.as_ref().map_or("/fhir", |config| &config.fhir.path);
    let base = config.as_ref().map_or_else(|()| String::new(), Config::fhir_base);
    let inbound = question::read(&options, path, &base, &mut mistakes);
    let supposed = parts(&options, config.as_ref().ok(), &mut mistakes);
    let (Ok(config), Some(inbound), true) = (config, inbound, mistakes.is_empty()) else {
        return Err(Failure::Usage(mistakes.join("\nfirebreak: ")));
    };
    let asker = match &options.token {
        Some(token) => token::examine(&config, token).await?,
        None => Asker { principal: Ok(Arc::new(supposed)), remarks: remarks(&options, &config) },
    };
    let refused = asker.principal.as_ref().err().map(Explanation::of_refusal);
    let (whole, entries) = match (refused, asker.principal) {
        (Some(refused), _) => ((refused, Vec::new()), Vec::new()),
        (None, Ok(principal)) => match FhirRequest::parse(inbound, &config.fhir.path) {
            Ok(request) => decide(&config, request, principal)?,
            Err(refusal) => (why_not(&refusal), Vec::new()),
        },
        (None, Err(refusal)) => (why_not(&refusal), Vec::new()),
    };
    show(&whole, &entries, &asker.remarks, options.json)?;
    Ok(whole.0.is_permit())
}

fn why_not(refusal: &Refusal) -> Told {
    (Explanation::of_refusal(refusal), Vec::new())
}

/// What is told of a request, or of one entry of a Bundle of requests.
type Told = (Explanation, Ways);

/// What of the parts of a token would come to nothing, which is no mistake where the site may yet have it.
fn remarks(options: &Options, config: &Config) -> Vec<String> {
    let scopes = options.scope.as_deref().unwrap_or_default();
    let mut remarks: Vec<String> =
        unknown_scopes(scopes, false).into_iter().map(|problem| format!("{problem} (it grants nothing)")).collect();
    let uncheckable = |scope: &&str| Scopes::compile(scope).ineffective().contains(&Ineffective::Uncheckable);
    remarks.extend(scopes.split_whitespace().filter(uncheckable).map(|scope| {
        format!("scope `{scope}` has a condition that cannot be checked on one resource alone; it grants nothing")
    }));
    // Mistakes of the policies are told where they are asked.
    if let Ok(authorizer) = authorizer(config) {
        let unknown = options.role.iter().filter(|role| !authorizer.roles().contains(*role));
        remarks.extend(unknown.map(|role| {
            let known: Vec<&str> = authorizer.roles().iter().map(String::as_str).collect();
            format!("no policy speaks of the role `{role}`; the policies have {}", known.join(", "))
        }));
    }
    if let Some(client_id) = &options.client
        && !config.clients.iter().any(|client| client.client_id == *client_id)
    {
        remarks.push(format!(
            "the configuration has no client `{client_id}`; those of `firebreak client list` are not looked at"
        ));
    }
    remarks
}

/// The stage that decides, as the configuration and the policies have it.
fn authorizer(config: &Config) -> Result<Authorizer, Failure> {
    let bases = bases(config).map_err(|error| Failure::Usage(error.to_string()))?;
    Authorizer::new(config.policies.as_deref(), bases, config.fhir.max_count, config.fhir.operations.clone()).map_err(
        |errors| {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Failure::Usage(errors.join("\nfirebreak: "))
        },
    )
}

/// What the FHIR server must honour for a search to be confined.
type Ways = Vec<(ResourceType, Way)>;

/// What the stages that serve would decide, and what they would rely on; of a Bundle of requests also for each entry.
fn decide(config: &Config, request: FhirRequest, principal: Arc<Principal>) -> Result<(Told, Vec<Told>), Failure> {
    let authorizer = authorizer(config)?.with_max_entries(config.fhir.max_entries);
    let authorizer = authorizer.with_search_by(config.fhir.search_by, &config.fhir.narrow_by);
    let authorizer = authorizer.with_software(Known::from(config.fhir.software));
    let look = |prospect: Prospect<'_>| {
        let ways = if let Prospect::Permit(permit) = prospect { relied_on(permit) } else { Vec::new() };
        (Explanation::of_prospect(prospect), ways)
    };
    let sealer = sealer(config)?;
    let or_why_not = |told: Result<Told, Refusal>| told.unwrap_or_else(|refusal| why_not(&refusal));
    let entries = authorizer.consider_entries(&request, &principal, &sealer, look);
    let whole = authorizer.consider(request, principal, &sealer, look);
    Ok((or_why_not(whole), entries.into_iter().map(or_why_not).collect()))
}

/// Opens the links that this gateway gave; a site that never served gave none.
fn sealer(config: &Config) -> Result<Sealer, Failure> {
    let directory = config.state_directory.join("keys");
    if !directory.exists() {
        let key = crate::random::bytes::<32>();
        return Sealer::new(&key, Clock::system()).map_err(|_| Failure::Failed("no key to open links with".to_owned()));
    }
    let keys = Keys::read_at(&directory, Clock::system()).map_err(|error| Failure::because("keys", error))?;
    Ok(Sealer::rotating(Arc::new(keys), Clock::system()))
}

/// The principal that the parts on the command line make.
fn parts(options: &Options, config: Option<&Config>, mistakes: &mut Vec<String>) -> Principal {
    let given = [
        ("--scope", options.scope.is_some()),
        ("--patient", options.patient.is_some()),
        ("--encounter", options.encounter.is_some()),
        ("--fhir-user", options.fhir_user.is_some()),
        ("--role", !options.role.is_empty()),
        ("--client", options.client.is_some()),
    ];
    if options.token.is_some() {
        let beside: Vec<&str> = given.iter().filter(|(_, is_given)| *is_given).map(|(name, _)| *name).collect();
        if !beside.is_empty() {
            mistakes.push(format!("--token says it all: expected no {} beside it", beside.join(", ")));
        }
    } else if options.scope.is_none() {
        mistakes.push("expected --token, or --scope with the other parts of a token".to_owned());
    }
    let mut id = |name: &str, value: &Option<String>| {
        let id = value.as_deref().map(LogicalId::parse);
        if id == Some(None) {
            mistakes.push(format!("{name} must be an id, such as `P1`, without a type"));
        }
        id.flatten()
    };
    let patient = id("--patient", &options.patient);
    let encounter = id("--encounter", &options.encounter);
    let fhir_user = options.fhir_user.as_deref().and_then(|user| {
        let user =
            user.split_once('/').and_then(|(name, id)| Some((ResourceType::parse(name)?, LogicalId::parse(id)?)));
        if user.is_none() {
            mistakes.push("--fhir-user must be a type and an id, such as `Practitioner/7`".to_owned());
        }
        user
    });
    let client_id = options.client.clone().unwrap_or_else(|| "explain".to_owned());
    let mut roles = options.role.clone();
    if roles.is_empty() && fhir_user.is_none() {
        let configured = config.and_then(|config| config.clients.iter().find(|client| client.client_id == client_id));
        roles.extend(configured.into_iter().flat_map(|client| client.roles.iter().cloned()));
    }
    let scope_text = options.scope.clone().unwrap_or_default();
    Principal {
        issuer: config.map(Config::issuer).unwrap_or_default(),
        // A client that acts for itself is its own subject (RFC 9068 section 2.2).
        subject: if fhir_user.is_some() { "somebody".to_owned() } else { client_id.clone() },
        client_id,
        grant_id: String::new(),
        token_handle: String::new(),
        scopes: Arc::new(Scopes::compile(&scope_text)),
        scope_text,
        patient: patient.map_or(Context::Absent, Context::Patient),
        encounter,
        fhir_user,
        roles,
        expires: i64::MAX,
    }
}

fn show(whole: &Told, entries: &[Told], remarks: &[String], as_json: bool) -> Result<(), Failure> {
    if !as_json {
        let entries = entries.iter().enumerate().flat_map(|(number, entry)| {
            let lines = sentences(entry).into_iter().map(|line| format!("  {line}"));
            std::iter::once(format!("Bundle.entry[{number}]")).chain(lines).collect::<Vec<_>>()
        });
        let remarks = remarks.iter().map(|remark| format!("note: {remark}"));
        return say(&sentences(whole).into_iter().chain(entries).chain(remarks).collect::<Vec<_>>().join("\n"));
    }
    let mut value = object(whole);
    if let Some(object) = value.as_object_mut() {
        object.insert("notes".to_owned(), json!(remarks));
        if !entries.is_empty() {
            object.insert("entries".to_owned(), entries.iter().map(self::object).collect());
        }
    }
    say(&format!("{value:#}"))
}

fn sentences((explanation, ways): &Told) -> Vec<String> {
    let ways = ways.iter().map(|(resource_type, way)| {
        format!(
            "relies on: the FHIR server must honour {way} for {resource_type}; it is asked before the first use, and the search is refused (502) where it does not"
        )
    });
    explanation.sentences().into_iter().chain(ways).collect()
}

fn object((explanation, ways): &Told) -> Value {
    let mut value = json!(explanation);
    if let Some(object) = value.as_object_mut() {
        let ways = ways.iter().map(|(resource_type, way)| json!({"type": resource_type.name(), "way": way.name()}));
        object.insert("relies_on".to_owned(), ways.collect());
        object.insert("explanation".to_owned(), json!(explanation.sentences()));
    }
    value
}

/// The bytes of a file, or of standard input, of which at most 16 MiB are taken.
fn contents(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().take((16 << 20) + 1).read_to_end(&mut bytes)?;
        if bytes.len() > 16 << 20 {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        return Ok(bytes);
    }
    std::fs::read(path)
}
