//! `firebreak demo`: everything embedded on loopback, to try in a minute without anything else.
//!
//! One origin with the gateway, an EHR simulator, a sample app and a console of audit records; behind it a sample FHIR store
//! in memory, reached like any other upstream. Certificates and state lie in one directory and are made anew at each start.
//! The passwords are known to everybody: it listens on loopback and nowhere else.

use std::fmt::Write;
use std::fs;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use clap::Args;
use http::Response;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use super::serve::{Ended, Signals, run};
use super::{Failure, certificates, credentials, loopback, say, server_url};
use crate::clock::Clock;
use crate::config::Config;
use crate::demo::store::{self, Store};
use crate::demo::{App, DemoSite, EhrClient, EhrKey, Login, Settings, TlsBackChannel};
use crate::listen::{Body, Drain, Inbound};
use crate::origin::{self, Beside};

/// The port when none is named and nobody else has it.
const PORT: u16 = 8443;
/// The EHR as a client.
const EHR: &str = "larkspur-ehr";
/// What an app of your own can be granted at most.
const APP_SCOPE: &str = "openid fhirUser launch launch/patient launch/encounter offline_access patient/*.rs user/*.rs";

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The port on loopback [default: 8443, or another when it is taken].
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Register an app of yours that lives at this URL: its redirect URI is the URL, its launch URL is `launch` below it.
    /// May be repeated.
    #[arg(long = "app", value_name = "URL", value_parser = server_url)]
    apps: Vec<Url>,
    /// Where certificates and state are kept; what is there of an earlier demonstration is replaced.
    #[arg(long, value_name = "DIR", default_value = "firebreak-demo")]
    directory: PathBuf,
    /// Also print the addresses as one line of JSON.
    #[arg(long)]
    print_json: bool,
}

/// Somebody who can sign in.
struct Person {
    username: &'static str,
    password: &'static str,
    display_name: &'static str,
    role: &'static str,
    fhir_user: &'static str,
}

const PEOPLE: [Person; 2] = [
    Person {
        username: "dr.rivera",
        password: "demo-clinician",
        display_name: "Dr. Elena Rivera, clinician",
        role: "clinician",
        fhir_user: "Practitioner/elena-rivera",
    },
    Person {
        username: "amina.diallo",
        password: "demo-patient",
        display_name: "Amina Diallo, patient",
        role: "patient",
        fhir_user: "Patient/amina-diallo",
    },
];

pub(super) async fn demo(options: &Options) -> Result<(), Failure> {
    let clock = Clock::system();
    let signals = Signals::new()?;
    let directory = prepare(&options.directory)?;
    let port = port(options.port)?;
    let origin = format!("https://localhost:{port}");
    let authority = write_certificates(&directory, &clock)?;
    let ehr_key = EhrKey::generate().ok_or_else(|| Failure::Failed("the EHR's key cannot be made".to_owned()))?;
    fs::write(directory.join("ehr.jwks.json"), ehr_key.jwks())?;

    let upstream = TcpListener::bind(loopback(0)).await?;
    let sample = Arc::new(Store::new(&format!("http://{}/fhir", upstream.local_addr()?)));
    let apps = apps(&origin, &options.apps);
    let text = configuration(&origin, port, sample.base(), &apps)?;
    let config = Config::parse(&text, &directory).map_err(|error| Failure::Failed(error.to_string()))?;
    let config = Arc::new(config);

    let (stop, tasks, drain) = (CancellationToken::new(), TaskTracker::new(), Drain::default());
    tasks.spawn(store::serve(upstream, Arc::clone(&sample), stop.clone()));
    let failed = |error: origin::StartError| Failure::Failed(error.to_string());
    let mut parts = origin::build(Arc::clone(&config), clock.clone(), None).await.map_err(failed)?;
    let audit = parts.origin.audit.clone();
    let ca_file = directory.join("ca.crt");
    let subscribe = audit.clone();
    let clinician = &PEOPLE[0];
    parts.origin.demo = Some(Box::new(DemoSite::new(Settings {
        origin: origin.clone(),
        fhir_base: config.fhir_base(),
        issuer: config.issuer(),
        ca_file: ca_file.display().to_string(),
        store: sample,
        ehr: EhrClient {
            client_id: EHR.to_owned(),
            key: ehr_key,
            user_issuer: config.issuer(),
            user_subject: clinician.username.to_owned(),
            fhir_user: clinician.fhir_user.to_owned(),
            display_name: "Dr. Elena Rivera".to_owned(),
        },
        apps: apps.iter().map(|app| app.shown.clone()).collect(),
        logins: PEOPLE.iter().map(Person::login).collect(),
        back_channel: Arc::new(
            TlsBackChannel::new(authority).map_err(|error| Failure::because("the EHR's TLS", error))?,
        ),
        audit: Box::new(move || subscribe.subscribe()),
        clock,
        stop: drain.stop(),
    })));
    let running = parts.bind(&config, &drain).await.map_err(failed)?;
    tell(options, &config, &ca_file, &apps)?;
    let ended = run(running, drain, config.server.drain_delay, signals).await;
    if ended == Ended::Cut {
        audit.shutdown().await;
    }
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(())
}

impl Beside for DemoSite {
    fn respond<'a>(
        &'a self,
        inbound: &'a Inbound,
    ) -> Pin<Box<dyn Future<Output = Option<Response<Body>>> + Send + 'a>> {
        let (method, query, headers) = (&inbound.method, inbound.query.as_deref(), &inbound.headers);
        Box::pin(DemoSite::respond(self, method, &inbound.path, query, headers, &inbound.body))
    }
}

/// The directory, with what an earlier demonstration left removed. A directory that holds anything else is left alone.
fn prepare(directory: &Path) -> Result<PathBuf, Failure> {
    const OURS: [&str; 5] = ["tls", "state", "ca.crt", "ehr.jwks.json", "README"];
    let directory = std::path::absolute(directory)?;
    fs::create_dir_all(&directory)?;
    let lock = fs::File::open(directory.join("state/firebreak.lock"));
    if lock.is_ok_and(|lock| lock.try_lock().is_err()) {
        return Err(Failure::Usage(format!(
            "a demonstration is running in `{}`; end it, or name another --directory",
            directory.display()
        )));
    }
    for entry in fs::read_dir(&directory)? {
        let name = entry?.file_name();
        if !OURS.iter().any(|ours| name == *ours) {
            return Err(Failure::Usage(format!(
                "`{}` holds `{}`, which is not of a demonstration; name another --directory",
                directory.display(),
                name.display()
            )));
        }
    }
    for name in OURS {
        let path = directory.join(name);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Failure::because(&format!("`{}` cannot be replaced", path.display()), error));
            }
            _ => {}
        }
    }
    Ok(directory)
}

/// The port that was named; else the usual one, or any other that is free.
fn port(named: Option<u16>) -> Result<u16, Failure> {
    let free = |port| std::net::TcpListener::bind(loopback(port)).and_then(|socket| socket.local_addr());
    match named {
        Some(0) => Ok(free(0)?.port()),
        Some(port) => Ok(port),
        None => Ok(free(PORT).or_else(|_| free(0))?.port()),
    }
}

fn write_certificates(directory: &Path, clock: &Clock) -> Result<CertificateDer<'static>, Failure> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt;
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let made = certificates::make(&names, clock).map_err(|error| Failure::because("certificates", error))?;
    let tls = directory.join("tls");
    fs::create_dir(&tls)?;
    fs::write(tls.join("tls.crt"), made.chain)?;
    fs::write(directory.join("ca.crt"), &made.authority)?;
    let mut key = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(tls.join("tls.key"))?;
    key.write_all(made.key.expose().as_bytes())?;
    CertificateDer::from_pem_slice(made.authority.as_bytes()).map_err(|error| Failure::because("certificates", error))
}

/// An app as it is registered and shown.
struct Registered {
    shown: App,
    redirect_uri: String,
    scope: &'static str,
    approved: bool,
}

fn apps(origin: &str, own: &[Url]) -> Vec<Registered> {
    let sample = Url::parse(&format!("{origin}/app/launch")).ok().map(|launch_url| Registered {
        shown: App { client_id: DemoSite::APP_CLIENT_ID.to_owned(), name: "Vitals".to_owned(), launch_url },
        redirect_uri: format!("{origin}/app/"),
        scope: DemoSite::APP_SCOPE,
        approved: false,
    });
    let own = own.iter().enumerate().filter_map(|(number, url)| {
        let name = if number == 0 { "my-app".to_owned() } else { format!("my-app-{}", number + 1) };
        let launch_url = Url::parse(&format!("{}/launch", url.as_str().trim_end_matches('/'))).ok()?;
        Some(Registered {
            shown: App { client_id: name.clone(), name, launch_url },
            redirect_uri: url.as_str().to_owned(),
            scope: APP_SCOPE,
            approved: false,
        })
    });
    sample.into_iter().chain(own).collect()
}

/// The configuration, as a file would say it: the demonstration runs what everybody runs.
fn configuration(origin: &str, port: u16, upstream: &str, apps: &[Registered]) -> Result<String, Failure> {
    let clients = apps.iter().map(|app| {
        json!({
            "client_id": app.shown.client_id, "client_name": app.shown.name, "redirect_uris": [app.redirect_uri],
            "launch_urls": [app.shown.launch_url.as_str()], "scope": app.scope, "approved": app.approved,
        })
    });
    let ehr = json!({
        "client_id": EHR, "client_name": "Larkspur EHR", "jwks_file": "ehr.jwks.json",
        "ehr": {"vouches_for_users": true, "user_types": ["Practitioner"], "roles": ["clinician"]},
    });
    let mut users = Vec::new();
    for person in &PEOPLE {
        let hash = credentials::password_hash(person.password).map_err(Failure::Failed)?;
        users.push(json!({
            "username": person.username, "display_name": person.display_name, "password_hash": hash,
            "fhir_user": person.fhir_user, "roles": [person.role],
        }));
    }
    let file = json!({
        "server": {"listen": loopback(port).to_string(), "origin": origin, "drain_delay": "0s", "drain_grace": "5s"},
        "tls": {"directory": "tls"},
        "fhir": {"upstream": upstream},
        "state": {"directory": "state"},
        "client": clients.chain([ehr]).collect::<Vec<_>>(),
        "user": users,
    });
    toml::to_string(&file).map_err(|error| Failure::because("the configuration cannot be written", error))
}

impl Person {
    fn login(&self) -> Login {
        Login {
            username: self.username.to_owned(),
            password: Some(self.password.to_owned()),
            display_name: self.display_name.to_owned(),
        }
    }

    fn json(&self) -> Value {
        json!({
            "username": self.username, "password": self.password, "display_name": self.display_name,
            "role": self.role, "fhir_user": self.fhir_user,
        })
    }
}

fn tell(options: &Options, config: &Config, ca_file: &Path, apps: &[Registered]) -> Result<(), Failure> {
    let (origin, base) = (config.issuer(), config.fhir_base());
    if options.print_json {
        let people: Vec<_> = PEOPLE.iter().map(Person::json).collect();
        let apps: Vec<_> = apps
            .iter()
            .map(|app| {
                json!({
                    "client_id": app.shown.client_id, "redirect_uris": [app.redirect_uri],
                    "launch_url": app.shown.launch_url.as_str(), "scope": app.scope,
                })
            })
            .collect();
        say(&json!({
            "origin": origin, "issuer": origin, "fhir_base": base, "ca_file": ca_file, "start_page": format!("{origin}/"),
            "ehr": format!("{origin}/ehr"), "console": format!("{origin}/console"), "logins": people, "apps": apps,
        })
        .to_string())?;
    }
    let mut text = format!(
        "Firebreak demonstration: open {origin}/\n\n  FHIR base     {base}\n  EHR           {origin}/ehr\n  sample app    {origin}/app/\n  \
         audit log     {origin}/console\n  authority     {} (the browser warns until it trusts this)\n",
        ca_file.display()
    );
    for person in &PEOPLE {
        let _ = writeln!(text, "  login         {} / {}   {}", person.username, person.password, person.display_name);
    }
    for app in apps.iter().filter(|app| app.shown.client_id != DemoSite::APP_CLIENT_ID) {
        let _ = writeln!(text, "  your app      {}: redirect URI {}", app.shown.client_id, app.redirect_uri);
        let _ = writeln!(text, "                launch URL {}", app.shown.launch_url);
    }
    text += "\nSample data on loopback; nothing of it is real. Ctrl-C ends it.";
    say(&text)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::*;

    #[test]
    fn people_have_their_roles_and_no_app_is_approved() {
        let own = apps("https://localhost:1", &["http://localhost:3000/".parse().unwrap()]);
        let text = configuration("https://localhost:1", 1, "http://127.0.0.1:2/fhir", &own).unwrap();
        let config: Value = toml::from_str(&text).unwrap();
        for (pointer, expected) in [
            ("/user/0/roles", json!(["clinician"])),
            ("/user/1/roles", json!(["patient"])),
            ("/user/0/fhir_user", json!("Practitioner/elena-rivera")),
            ("/user/1/fhir_user", json!("Patient/amina-diallo")),
            ("/client/0/approved", json!(false)),
            ("/client/1/approved", json!(false)),
            ("/client/2/ehr/vouches_for_users", json!(true)),
            ("/server/drain_delay", json!("0s")),
            ("/server/drain_grace", json!("5s")),
        ] {
            assert_eq!(config.pointer(pointer), Some(&expected), "{pointer}: {text}");
        }
    }
}
