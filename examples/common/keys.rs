//! Keys of services, from files that nobody else may read or from standard input.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use onionweave_desc::v2::ServiceKey;
use onionweave_driver::key::{load_service_key, load_service_key_with_passphrase};

use crate::program;

/// Longest key, in bytes, that is read from standard input.
const MAX_KEY_LEN: usize = 64 * 1024;

/// Refuses standard input for more than one of these files.
pub(crate) fn ensure_one_stdin<'a>(files: impl IntoIterator<Item = Option<&'a PathBuf>>) -> anyhow::Result<()> {
    let count = files
        .into_iter()
        .flatten()
        .filter(|path| program::is_stdin(path))
        .count();
    ensure!(
        count <= 1,
        "`-` stands for two files, but standard input can be read once"
    );
    Ok(())
}

/// Reads a private key, and the passphrase of one that is encrypted. The key may be `-`, standard
/// input.
pub(crate) fn read(key: &Path, passphrase: Option<&Path>) -> anyhow::Result<ServiceKey> {
    match passphrase {
        // The messages name their causes already.
        Some(passphrase) => load_service_key_with_passphrase(key, passphrase).map_err(anyhow::Error::msg),
        None if program::is_stdin(key) => program::read(key, MAX_KEY_LEN)
            .and_then(|pem| Ok(ServiceKey::from_pem(pem)?))
            .context("key on standard input"),
        None => load_service_key(key).map_err(anyhow::Error::msg),
    }
}
