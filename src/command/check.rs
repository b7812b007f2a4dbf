//! `firebreak check`: looks at everything that `serve` needs, changes nothing, and prints a line for each with the fix.

use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::{Failure, say};
use crate::authorize::Authorizer;
use crate::clock::Clock;
use crate::config::Config;
use crate::fhir::reference::Bases;
use crate::forward::Upstream;
use crate::listen::Certificates;
use crate::oauth::clients::Clients;

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
    let findings = [
        ("configuration", Ok(format!("{}", path.display()))),
        ("clients", clients(&config)),
        ("certificate", certificate(&config, &clock)),
        ("policies", policies(&config)),
        ("state directory", directory(&config.state_directory, STATE_LOCK)),
        ("audit directory", directory(&config.audit.directory, AUDIT_LOCK)),
        ("upstream", upstream(&config).await),
    ];
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
    Ok(format!("{} ends in {days} days{remark}", tls.directory.join("tls.crt").display()))
}

fn policies(config: &Config) -> Finding {
    let bases = Bases::new(&config.fhir.upstream, &config.fhir.upstream, &config.fhir.aliases);
    match Authorizer::new(config.policies.as_deref(), bases, config.fhir.max_count) {
        Ok(_) => Ok(config.policies.as_ref().map_or_else(|| "shipped".to_owned(), |path| path.display().to_string())),
        Err(errors) => {
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            Err(format!("{} mistakes\n{}", errors.len(), indent(&errors.join("\n"))))
        }
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

async fn upstream(config: &Config) -> Finding {
    let upstream = Upstream::new(&config.fhir).map_err(|error| error.0)?;
    let probe = upstream.probe().await.map_err(|error| error.to_string())?;
    let software = probe.software.map(|name| format!(", {name}")).unwrap_or_default();
    Ok(format!("{} speaks FHIR {}{software}", config.fhir.upstream, probe.version))
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
