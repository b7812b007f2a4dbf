//! `firebreak check`: looks at everything that `serve` needs, changes nothing, and prints a line for each with the fix.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::{Failure, say};
use crate::authorize::Authorizer;
use crate::clients::Clients;
use crate::clock::Clock;
use crate::config::Config;
use crate::federation::{Providers, RelyingParty};
use crate::fhir::reference::Bases;
use crate::forward::{Probe, Upstream};
use crate::keys::Keys;
use crate::listen::Certificates;

mod searches;
mod software;

/// A certificate that ends within so many days is mentioned.
const SOON: i64 = 30;
/// The files that a running process holds locked.
const STATE_LOCK: &str = "firebreak.lock";
const AUDIT_LOCK: &str = "audit.lock";

/// What was found in one place: what is so, or what is wrong and what to do.
type Finding = Result<String, String>;

/// Checks the file at `path` and all that it names.
pub(super) async fn check(path: &Path) -> Result<(), Failure> {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => {
            let mistakes = error.to_string();
            report("configuration", &Err(format!("{}\n{}", path.display(), indent(&mistakes))))?;
            return Err(Failure::Usage("the configuration has mistakes; nothing else was checked".to_owned()));
        }
    };
    let clock = Clock::system();
    let mut findings = vec![
        ("configuration".to_owned(), Ok(format!("{}", path.display()))),
        ("clients".to_owned(), clients(&config)),
        ("certificate".to_owned(), certificate(&config, &clock)),
        ("policies".to_owned(), policies(&config)),
        ("state directory".to_owned(), directory(&config.state_directory, STATE_LOCK)),
        ("keys".to_owned(), keys(&config, &clock)),
        ("audit directory".to_owned(), directory(&config.audit.directory, AUDIT_LOCK)),
    ];
    findings.extend(upstream(&config).await);
    findings.extend(providers(&config, &clock).await);
    let mut failed = 0;
    for (name, finding) in &findings {
        report(name, finding)?;
        failed += usize::from(finding.is_err());
    }
    match failed {
        0 => Ok(()),
        1 => Err(Failure::Failed("1 check failed".to_owned())),
        _ => Err(Failure::Failed(format!("{failed} checks failed"))),
    }
}

fn report(name: &str, finding: &Finding) -> Result<(), Failure> {
    match finding {
        Ok(text) => say(&format!("ok      {name}: {text}")),
        Err(text) => say(&format!("FAILED  {name}: {text}")),
    }
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("        {line}")).collect::<Vec<_>>().join("\n")
}

fn clients(config: &Config) -> Finding {
    match Clients::new(&config.clients) {
        Ok(_) => {
            let mut text = format!("{} registered, {} built-in users", config.clients.len(), config.users.len());
            for user in config.users.iter().filter(|user| user.fhir_user.is_none()) {
                let _ =
                    write!(text, "; `{}` has no `fhir_user`, so `user/` scopes give this user nothing", user.username);
            }
            Ok(text)
        }
        Err(problems) => {
            let named: Vec<_> = problems.iter().map(|problem| format!("`{}`", problem.client_id)).collect();
            Err(format!(
                "the JWK Sets of these clients cannot be used: {}; give keys of RS384 or ES384",
                named.join(", ")
            ))
        }
    }
}

fn certificate(config: &Config, clock: &Clock) -> Finding {
    let Some(tls) = &config.tls else {
        return Ok("none: plain HTTP, as `danger_plain_http` says".to_owned());
    };
    let certificates = Certificates::load_at(tls, clock.clone()).map_err(|error| error.to_string())?;
    let days = (certificates.not_after.load(Ordering::Relaxed) - clock.unix_seconds()) / 86_400;
    let remark = if days < SOON { "; renew it soon" } else { "" };
    let mut text = format!("{} ends in {days} days{remark}", tls.directory.join("tls.crt").display());
    let next_update = certificates.crl_next_update.load(Ordering::Relaxed);
    if next_update > 0 {
        let hours = (next_update - clock.unix_seconds()) / 3600;
        let _ = write!(text, "; crl.pem must be replaced within {hours} hours");
    }
    Ok(text)
}

fn policies(config: &Config) -> Finding {
    let bases = Bases::new(&config.fhir.upstream, &config.fhir.upstream, &config.fhir.aliases);
    match Authorizer::new(config.policies.as_deref(), bases, config.fhir.max_count, config.fhir.operations.clone()) {
        Ok(authorizer) => {
            let mut text =
                config.policies.as_ref().map_or_else(|| "shipped".to_owned(), |path| path.display().to_string());
            for (role, whose) in roles(config).iter().filter(|(role, _)| !authorizer.roles().contains(**role)) {
                let whose = whose.join(", ");
                let _ = write!(text, "; no policy speaks of the role `{role}` of {whose}");
            }
            Ok(text)
        }
        Err(errors) => {
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            let number = if errors.len() == 1 { "1 mistake".to_owned() } else { format!("{} mistakes", errors.len()) };
            Err(format!("{number}\n{}", indent(&errors.join("\n"))))
        }
    }
}

/// The roles that the configuration gives, and to whom.
fn roles(config: &Config) -> BTreeMap<&str, Vec<String>> {
    let users = config.users.iter().map(|user| (&user.roles, format!("user `{}`", user.username)));
    let providers = config.providers.iter().map(|provider| (&provider.roles, format!("provider `{}`", provider.id)));
    let clients = config.clients.iter().flat_map(|client| {
        let own = (&client.roles, format!("client `{}`", client.client_id));
        [own]
            .into_iter()
            .chain(client.ehr.iter().map(|ehr| (&ehr.roles, format!("[client.ehr] of `{}`", client.client_id))))
    });
    let mut all: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (roles, whose) in users.chain(providers).chain(clients) {
        for role in roles {
            all.entry(role).or_default().push(whose.clone());
        }
    }
    all
}

fn keys(config: &Config, clock: &Clock) -> Finding {
    let directory = config.state_directory.join("keys");
    let shown = directory.display();
    match Keys::count_at(&directory, clock.clone()).map_err(|error| error.to_string())? {
        0 => Ok(format!("the first ones will be made in {shown}")),
        number => Ok(format!("{number} in {shown}")),
    }
}

/// A directory that `serve` will write to: it can be made or written, and no other process has it.
fn directory(path: &Path, lock: &str) -> Finding {
    let shown = path.display();
    if !path.exists() {
        let Some(parent) =
            path.ancestors().skip(1).find(|ancestor| ancestor.exists() || ancestor.as_os_str().is_empty())
        else {
            return Err(format!("`{shown}` has no directory above it"));
        };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        writable(parent).map_err(|error| {
            format!(
                "`{shown}` cannot be made in `{}`: {error}; make it, owned by the user that serves",
                parent.display()
            )
        })?;
        return Ok(format!("{shown} will be made"));
    }
    writable(path)
        .map_err(|error| format!("`{shown}` cannot be written: {error}; it must belong to the user that serves"))?;
    match File::open(path.join(lock)).map(|file| file.try_lock()) {
        Ok(Ok(())) => Ok(format!("{shown}")),
        Ok(Err(TryLockError::WouldBlock)) => {
            // While the service runs it is the service's; a second one would be refused at its start.
            Ok(format!("{shown}, in use by a running process"))
        }
        Ok(Err(TryLockError::Error(error))) => {
            Err(format!("`{}` cannot be locked: {error}", path.join(lock).display()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(format!("{shown}")),
        Err(error) => Err(format!("`{}` cannot be read: {error}", path.join(lock).display())),
    }
}

/// Whether a file can be made in the directory; leaves none behind.
fn writable(directory: &Path) -> io::Result<()> {
    let probe = directory.join(format!(".firebreak-check-{}", crate::random::request_id()));
    File::create_new(&probe)?;
    fs::remove_file(probe)
}

/// Each provider's discovery document and keys.
async fn providers(config: &Config, clock: &Clock) -> Vec<(String, Finding)> {
    let providers = match Providers::new(config, clock) {
        Ok(providers) => providers,
        Err(error) => return vec![("providers".to_owned(), Err(error))],
    };
    let mut findings = Vec::new();
    for provider in providers.iter() {
        findings.push((format!("provider `{}`", provider.config.id), one_provider(provider).await));
    }
    findings
}

async fn one_provider(provider: &RelyingParty) -> Finding {
    let metadata = provider.metadata().await.map_err(|error| error.to_string())?;
    let keys = provider.keys().await.map_err(|error| error.to_string())?;
    let number = if keys.len() == 1 { "1 signing key".to_owned() } else { format!("{} signing keys", keys.len()) };
    let mut text = format!("{}, {number}; register {} there", provider.config.issuer, provider.redirect_uri());
    if provider.end_session_endpoint().await.is_some() {
        let _ = write!(text, ", and {} for the way back after a logout", provider.post_logout_redirect_uri());
    }
    if let Some(kid) = provider.key_id() {
        let _ = write!(text, "; our key there is `{kid}`");
    }
    if !metadata.says_s256 {
        text.push_str("; it does not say that it checks PKCE with S256");
    }
    if provider.config.roles.is_empty() {
        text.push_str("; `roles` is empty, so nobody can log in with it");
    }
    Ok(text)
}

/// The FHIR server, and what it makes of the gateway's searches.
async fn upstream(config: &Config) -> Vec<(String, Finding)> {
    let found = match Upstream::new(&config.fhir) {
        Ok(upstream) => upstream.probe().await.map(|probe| (upstream, probe)).map_err(|error| error.to_string()),
        Err(error) => Err(error.0),
    };
    let told = found.as_ref().map_err(Clone::clone).map(|(_, probe)| {
        let Probe { version, software, .. } = probe;
        let software = software.as_ref().map(|name| format!(", {name}")).unwrap_or_default();
        format!("{} speaks FHIR {version}{software}", config.fhir.upstream)
    });
    let mut findings = vec![("upstream".to_owned(), told)];
    if let Ok((upstream, probe)) = &found {
        findings.push(("software".to_owned(), Ok(software::software(config, probe))));
        findings.push(("searches".to_owned(), searches::searches(config, upstream, probe).await));
    }
    findings
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::*;

    #[test]
    fn a_directory_is_free_in_use_or_not_there_yet() {
        let parent = tempfile::tempdir().unwrap();
        assert!(directory(&parent.path().join("a/b"), STATE_LOCK).unwrap().ends_with("will be made"));
        let held = File::create(parent.path().join(STATE_LOCK)).unwrap();
        assert!(directory(parent.path(), STATE_LOCK).is_ok());
        held.try_lock().unwrap();
        assert!(directory(parent.path(), STATE_LOCK).unwrap().contains("in use by a running process"));
        drop(held);
        assert!(directory(parent.path(), STATE_LOCK).is_ok());
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1, "the check leaves nothing behind");
    }

    #[test]
    fn a_file_in_the_place_of_a_directory_is_told() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("state");
        fs::write(&file, "").unwrap();
        assert!(directory(&file, STATE_LOCK).unwrap_err().contains("cannot be written"));
        assert!(directory(&file.join("below"), STATE_LOCK).unwrap_err().contains("cannot be made"));
    }
}
