//! `firebreak keys`: which signing keys there are, and the next ones. Works on the files; a process that runs takes up what
//! changed within a second.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::administration::{Act, Administration};
use super::{Configured, Failure, say};
use crate::clock::Clock;
use crate::config::Config;
use crate::keys::{Keys, KeysError, Listed, PUBLISHED_BEFORE, Phase, Rotated, Rotation, VERIFIES_AFTER, rotate};

impl From<KeysError> for Failure {
    fn from(error: KeysError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Show every signing key: what it is for, since or until when, and its `kid`.
    List(Configured),
    /// Make the next signing keys. They are published now, sign in ten minutes, and the old ones verify until their last
    /// token has expired.
    Rotate(Rotate),
}

#[derive(Debug, Args)]
pub(super) struct Rotate {
    #[command(flatten)]
    configured: Configured,
    /// Somebody else may have the keys: the new ones sign at once, the old ones are removed, and every access token
    /// that they signed is refused from now on. Refresh tokens stay good.
    #[arg(long)]
    compromised: bool,
}

/// Runs `firebreak keys ...`.
pub(super) async fn keys(command: &KeysCommand) -> Result<(), Failure> {
    match command {
        KeysCommand::List(Configured { config }) => list(&directory(&Config::load(config)?)?),
        KeysCommand::Rotate(Rotate { configured: Configured { config }, compromised }) => {
            directory(&Config::load(config)?)?;
            let administration = Administration::open(config)?;
            let (why, action) = if *compromised {
                (Rotation::Compromised, "keys_withdrawn")
            } else {
                (Rotation::InTurn, "keys_rotated")
            };
            let done = rotate_in(&administration, why, action).await;
            administration.finish().await?;
            say(&told(&done?, why))
        }
    }
}

fn directory(config: &Config) -> Result<PathBuf, Failure> {
    let directory = config.state_directory.join("keys");
    if directory.is_dir() {
        return Ok(directory);
    }
    Err(Failure::Failed(format!(
        "`{}` does not exist; `firebreak serve` makes it with the first keys",
        directory.display()
    )))
}

fn list(directory: &Path) -> Result<(), Failure> {
    let keys = Keys::open_at(directory, Clock::system())?;
    let listed = keys.list();
    let width = listed.iter().map(|key| key.file.len()).max().unwrap_or_default();
    for Listed { file, kid, phase, .. } in &listed {
        let phase = match phase {
            Phase::Next { from } => format!("signs from {}", time(*from)),
            Phase::Signing => "signs".to_owned(),
            Phase::Verifying { until } => format!("verifies until {}", time(*until)),
            Phase::Retired => "retired; the next rotation removes it".to_owned(),
        };
        say(&format!("{file:width$}  {kid}  {phase}"))?;
    }
    Ok(())
}

async fn rotate_in(administration: &Administration, why: Rotation, action: &'static str) -> Result<Rotated, Failure> {
    let directory = directory(&administration.config)?;
    let act = Act { action, ..Act::default() };
    administration.act(act, async { rotate(&directory, &administration.clock, why) }).await
}

fn told(rotated: &Rotated, why: Rotation) -> String {
    let made = rotated.made.iter().map(|file| format!("made     {file}"));
    let removed = rotated.removed.iter().map(|file| format!("removed  {file}"));
    let end = match why {
        Rotation::InTurn => format!(
            "published now; signs from {}, in {} minutes; the old keys verify for {} minutes after that",
            time(rotated.signs_from),
            PUBLISHED_BEFORE / 60,
            VERIFIES_AFTER / 60
        ),
        Rotation::Compromised => "signs now; what the removed keys signed is refused within a second".to_owned(),
    };
    made.chain(removed).chain([end]).collect::<Vec<_>>().join("\n")
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
}
