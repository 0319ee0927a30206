//! The directories of a Tor's consensus.

use std::sync::Arc;

use onionweave_control::{Connection, Error as ControlError};
use onionweave_ring::relays::{Lifetime, RelayList};
use onionweave_ring::{Directories, UnixTime};

use super::Tors;

/// Reason why a consensus could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("Tor has none yet")]
    NoneYet,
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Text(#[from] onionweave_ring::Error),
}

pub(super) fn valid_after(directories: &Directories) -> Option<UnixTime> {
    directories.lifetime().map(|lifetime| lifetime.valid_after())
}

/// Directories of a Tor's consensus.
pub(super) struct Read {
    pub(super) directories: Arc<Directories>,
    /// Whether another Tor had them as well, and was read before.
    pub(super) is_shared: bool,
}

/// Reads the directories from a Tor; `None` if its consensus is no newer than the `known` one.
///
/// Tors that have the same consensus share what was read of it first.
pub(super) async fn read(connection: &Connection, known: Option<UnixTime>, tors: &Tors) -> Result<Option<Read>, Error> {
    let told = connection.get_info("consensus/valid-after").await?;
    if told.is_empty() {
        return Err(Error::NoneYet);
    }
    let told = Some(UnixTime::from_iso(&told)?);
    if told <= known {
        return Ok(None);
    }
    if let Some(newest) = tors.newest()
        && valid_after(&newest) == told
    {
        return Ok(Some(Read {
            directories: newest,
            is_shared: true,
        }));
    }
    // All in one command, so that they are of one consensus.
    let keys = [
        "consensus/valid-after",
        "consensus/fresh-until",
        "consensus/valid-until",
        "ns/all",
    ];
    let answers = connection.get_infos(&keys).await?;
    let [after, fresh_until, until, relays] = keys.map(|key| answers.get(key).map(String::as_str).unwrap_or_default());
    let lifetime = Lifetime::new(
        UnixTime::from_iso(after)?,
        UnixTime::from_iso(fresh_until)?,
        UnixTime::from_iso(until)?,
    );
    let relays = RelayList::from_ns_all(relays)?;
    let directories = Arc::new(Directories::new(relays.hash_ring(), Some(lifetime)));
    tors.set_newest(&directories);
    Ok(Some(Read {
        directories,
        is_shared: false,
    }))
}
