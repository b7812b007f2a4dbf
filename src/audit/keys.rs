//! The files of the checkpoint key: the private one, made on the first start, and the public ones beside the log.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::note::{PublicKey, Signer};
use super::options::{Options, StartError};
use crate::files::refuse_shared;
use crate::random;

/// The public keys of a log, in its directory: one C2SP `vkey` per line, the newest last.
pub(super) const PUBLIC: &str = "checkpoint.pub";

/// Reads or makes the key, and sees to it that its public half is among those beside the log.
pub(super) fn open(options: &Options) -> Result<(Signer, Vec<PublicKey>), StartError> {
    let default = options.directory.join("checkpoint.key");
    let path = options.key_file.as_ref().unwrap_or(&default);
    let signer = match fs::read_to_string(path).map(Zeroizing::new) {
        Ok(text) => read(path, &options.origin, &text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path, &options.origin)?,
        Err(error) => return Err(error.into()),
    };
    let mut keys = public(&options.directory)?;
    if !keys.contains(signer.public()) {
        let file = options.directory.join(PUBLIC);
        let mut file = OpenOptions::new().create(true).append(true).mode(0o644).open(file)?;
        file.write_all(format!("{}\n", signer.public()).as_bytes())?;
        file.sync_all()?;
        keys.push(signer.public().clone());
    }
    Ok((signer, keys))
}

/// The public keys beside a log; lines that are none are left out.
pub(super) fn public(directory: &Path) -> io::Result<Vec<PublicKey>> {
    match fs::read_to_string(directory.join(PUBLIC)) {
        Ok(text) => Ok(text.lines().filter_map(PublicKey::parse).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn read(path: &Path, origin: &str, text: &str) -> Result<Signer, StartError> {
    refuse_shared(&fs::metadata(path)?).map_err(|why| StartError::Key(format!("`{}` {why}", path.display())))?;
    Signer::decode(origin, text).ok_or_else(|| StartError::Key(format!("`{}` is not a private key", path.display())))
}

fn make(path: &Path, origin: &str) -> Result<Signer, StartError> {
    let unusable = || StartError::Key(format!("`{origin}` cannot be the name of a log: no white space and no `+`"));
    let seed = Zeroizing::new(random::bytes::<32>());
    let signer = Signer::from_seed(origin, &seed).ok_or_else(unusable)?;
    let text = Signer::encode(origin, &seed).ok_or_else(unusable)?;
    // A crash leaves the whole key or none.
    let scratch = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&scratch)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&scratch, path)?;
    if let Some(directory) = path.parent() {
        fs::File::open(directory)?.sync_all()?;
    }
    Ok(signer)
}
