//! The relays of a network, from any document that lists them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use onionweave_ring::relays::RelayList;

use crate::program;

/// Reads the relays of a network.
pub(crate) fn read(path: &Path) -> anyhow::Result<RelayList> {
    let relays = || {
        let document = program::read(path, RelayList::MAX_LEN)?;
        if let Some((format, command)) = compression(&document) {
            bail!(
                "it is compressed with {format}; unpack it, as in `{command} FILE | {} --relays -`",
                name()
            );
        }
        // Contact lines may be in any encoding.
        Ok(RelayList::parse(&String::from_utf8_lossy(&document))?)
    };
    relays().with_context(|| format!("relays {}", path.display()))
}

/// Returns the format of a compressed file, and the command that unpacks it, by its first bytes.
fn compression(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    [
        (b"\x1f\x8b".as_slice(), "gzip", "zcat"),
        (b"\xfd7zXZ\0", "xz", "xzcat"),
        (b"BZh", "bzip2", "bzcat"),
        (b"\x28\xb5\x2f\xfd", "zstd", "zstdcat"),
    ]
    .into_iter()
    .find(|(magic, ..)| bytes.starts_with(magic))
    .map(|(_, format, command)| (format, command))
}

fn name() -> String {
    let path = std::env::args_os().next().map(PathBuf::from);
    let name = path.as_deref().and_then(Path::file_name);
    name.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
