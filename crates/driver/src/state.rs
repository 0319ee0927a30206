//! The folder of the publisher's own: what a restarted publisher goes on with.
//!
//! Nothing in it is needed for publishing: whatever cannot be read or written there is a warning,
//! and publishing goes on. Only a folder that others can read, or that another publisher uses, is
//! refused.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use fs_mistrust::Mistrust;
use onionweave_ring::v2::ServiceId;

use crate::Error;

/// The seed of each service, under its address.
const SEEDS: &str = "seeds.toml";
/// Held locked while a publisher runs.
const LOCK: &str = "lock";
/// Largest number of services that fit into a file of seeds that is worth reading.
const LONGEST_SEEDS: u64 = 16 << 20;

/// The folder of a running publisher, which no other publisher uses meanwhile.
#[derive(Debug)]
pub(super) struct State {
    path: PathBuf,
    /// `None` where the folder cannot be written to.
    _lock: Option<File>,
}

impl State {
    /// Creates the folder if there is none, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        if let Err(error) = create_private(path) {
            tracing::warn!(
                "{}: cannot be created, so nothing is kept there: {error}",
                path.display()
            );
        }
        check_private(path)?;
        let lock = match lock(&path.join(LOCK)) {
            Ok(lock) => Some(lock),
            Err(TryLockError::WouldBlock) => return Err(Error::InUse { path: path.into() }),
            Err(TryLockError::Error(error)) => {
                tracing::warn!(
                    "{}: cannot be written to, so nothing is kept there: {error}",
                    path.display()
                );
                None
            }
        };
        Ok(Self {
            path: path.into(),
            _lock: lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The seed of each of these services: the one that was kept, or one that is drawn now and
    /// kept.
    pub(super) fn seeds(&self, services: impl IntoIterator<Item = ServiceId>) -> BTreeMap<ServiceId, u64> {
        let file = self.path.join(SEEDS);
        let mut kept = match read_seeds(&file) {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!(
                    "{}: the seeds cannot be read and are drawn anew: {error}",
                    file.display()
                );
                BTreeMap::new()
            }
        };
        let before = kept.len();
        let seeds = services
            .into_iter()
            .map(|id| (id, *kept.entry(id.to_string()).or_insert_with(rand::random)))
            .collect();
        if kept.len() > before
            && let Err(error) = write_seeds(&file, &kept)
        {
            tracing::warn!(
                "{}: the seeds cannot be kept, and a restart will draw others: {error}",
                file.display()
            );
        }
        seeds
    }
}

fn read_seeds(file: &Path) -> io::Result<BTreeMap<String, u64>> {
    let text = match read_limited(file, LONGEST_SEEDS) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        other => other?,
    };
    let wrong = |error: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    // As text: TOML's numbers have a sign.
    let seeds: BTreeMap<String, String> = toml::from_str(&text).map_err(|error| wrong(&error.message()))?;
    seeds
        .into_iter()
        .map(|(id, seed)| match seed.parse() {
            Ok(seed) => Ok((id, seed)),
            Err(error) => Err(wrong(&format_args!("{id}: {error}"))),
        })
        .collect()
}

fn write_seeds(file: &Path, seeds: &BTreeMap<String, u64>) -> io::Result<()> {
    let lines = seeds.iter().map(|(id, seed)| format!("{id} = \"{seed}\"\n"));
    write_atomically(file, &lines.collect::<String>())
}

/// Reads a text that must not be longer than `limit` bytes.
pub(super) fn read_limited(file: &Path, limit: u64) -> io::Result<String> {
    use io::Read as _;
    let mut text = String::new();
    let read = File::open(file)?.take(limit + 1).read_to_string(&mut text)?;
    if read as u64 > limit {
        let what = format!("longer than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(text)
}

/// Writes a file that its owner alone can read: the old content stays until the new one is safely
/// there.
pub(super) fn write_atomically(file: &Path, text: &str) -> io::Result<()> {
    let new = file.with_added_extension("new");
    let mut written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    written.write_all(text.as_bytes())?;
    written.sync_all()?;
    std::fs::rename(&new, file)
}

/// Creates a folder, and those above it, that their owner alone can enter. One that is there
/// already is left as it is.
pub(super) fn create_private(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Refuses a folder that others can read, or whose place others can change. One that cannot be
/// looked at is not there.
pub(super) fn check_private(folder: &Path) -> Result<(), Error> {
    if !folder.exists() {
        return Ok(());
    }
    let mistrusted = |error: fs_mistrust::Error| Error::Permissions {
        path: folder.into(),
        why: error.to_string(),
    };
    // As for keys: not even the user's own group.
    let mistrust = Mistrust::builder()
        .trust_no_group_id()
        .controlled_by_default_env_var()
        .build()
        .map_err(mistrusted)?;
    mistrust.check_directory(folder).map_err(mistrusted)
}

fn lock(file: &Path) -> Result<File, TryLockError> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(file)
        .map_err(TryLockError::Error)?;
    file.try_lock()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn ids() -> [ServiceId; 2] {
        ["rf75jzdtba4wnd6v", "6r7x5o465oo27s35"].map(|id| id.parse().unwrap())
    }

    fn home() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        home
    }

    #[test]
    fn seeds_are_kept() {
        let home = home();
        let folder = home.path().join("new/state");
        let [first, second] = ids();
        let state = State::open(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        let drawn = state.seeds([first]);
        let both = state.seeds([first, second]);
        assert_eq!(both[&first], drawn[&first]);
        drop(state);
        let state = State::open(&folder).unwrap();
        assert_eq!(state.seeds([second, first]), both);
        let mode = fs::metadata(folder.join(SEEDS)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn broken_seeds_are_drawn_anew() {
        let home = home();
        for text in ["rf75jzdtba4wnd6v = 7\n", "rf75jzdtba4wnd6v = \"x\"\n", "]", "\u{0}"] {
            fs::write(home.path().join(SEEDS), text).unwrap();
            let state = State::open(home.path()).unwrap();
            let drawn = state.seeds(ids());
            assert_eq!(state.seeds(ids()), drawn, "and kept");
        }
    }

    #[test]
    fn folder_that_others_can_read_is_refused() {
        let home = home();
        for mode in [0o755, 0o750, 0o701, 0o770] {
            let folder = home.path().join(format!("{mode:o}"));
            fs::create_dir(&folder).unwrap();
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
            let opened = State::open(&folder);
            assert!(matches!(opened, Err(Error::Permissions { .. })), "{mode:o}: {opened:?}");
        }
    }

    #[test]
    fn folder_of_another_publisher_is_refused() {
        let home = home();
        let state = State::open(home.path()).unwrap();
        let error = State::open(home.path()).unwrap_err();
        assert!(matches!(error, Error::InUse { .. }), "{error}");
        drop(state);
        assert!(State::open(home.path()).is_ok());
    }

    #[test]
    fn nothing_can_be_kept_where_a_file_stands() {
        let home = home();
        fs::write(home.path().join("file"), "").unwrap();
        let state = State::open(&home.path().join("file/state")).unwrap();
        assert_eq!(state.seeds(ids()).len(), 2);
    }
}
