//! The folders whose changes the system announces: one watcher for all files of a publisher, since
//! watchers are scarce (Linux allows a user 128 of them by default).
//!
//! Folders are watched, not files, since most writers rename a new file over the old one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

/// Device and number of a folder: a folder that was replaced has others.
type Identity = (u64, u64);

/// The watched folders. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Folders(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Made when it is first needed. Never locked by the watcher's own thread, which
    /// [`watch`](RecommendedWatcher::watch) waits for.
    watcher: Mutex<Option<RecommendedWatcher>>,
    table: Arc<Mutex<Table>>,
}

impl fmt::Debug for Folders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folders = lock(&self.0.table).armed.len();
        f.debug_struct("Folders")
            .field("armed", &folders)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Table {
    /// The folders that are watched.
    armed: BTreeMap<PathBuf, Identity>,
    /// Those who want to hear of a file, by its folder.
    wanted: BTreeMap<PathBuf, Vec<(OsString, Weak<Notify>)>>,
}

impl Folders {
    /// Notes who wants to hear of a file. Nothing is watched before [`Subscription::arm`].
    pub(super) fn subscribe(&self, file: &Path) -> Subscription {
        let folder = match file.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let name = file.file_name().unwrap_or_default().to_owned();
        let changed = Arc::new(Notify::new());
        let mut table = lock(&self.0.table);
        let wanted = table.wanted.entry(folder.clone()).or_default();
        wanted.push((name, Arc::downgrade(&changed)));
        Subscription {
            folders: self.clone(),
            folder,
            changed,
        }
    }

    /// Sees to it that a folder is watched, as it is now.
    fn arm(&self, folder: &Path) -> notify::Result<()> {
        let metadata = folder.metadata().map_err(notify::Error::io)?;
        let identity = (metadata.dev(), metadata.ino());
        let mut watcher = lock(&self.0.watcher);
        let old = lock(&self.0.table).armed.get(folder).copied();
        if old == Some(identity) {
            return Ok(());
        }
        let watcher = match &mut *watcher {
            Some(watcher) => watcher,
            none => {
                let table = Arc::clone(&self.0.table);
                let new = notify::recommended_watcher(move |event| lock(&table).take(event))?;
                none.insert(new)
            }
        };
        if old.is_some() {
            // It may well be gone by itself.
            let _ = watcher.unwatch(folder);
        }
        lock(&self.0.table).armed.remove(folder);
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        lock(&self.0.table).armed.insert(folder.to_owned(), identity);
        Ok(())
    }

    fn disarm_unless_wanted(&self, folder: &Path) {
        let mut watcher = lock(&self.0.watcher);
        let mut table = lock(&self.0.table);
        if table.wanted.contains_key(folder) || table.armed.remove(folder).is_none() {
            return;
        }
        drop(table);
        if let Some(watcher) = &mut *watcher {
            // It may well be gone by itself.
            let _ = watcher.unwatch(folder);
        }
    }
}

impl Table {
    /// Wakes those whom an event concerns.
    fn take(&mut self, event: notify::Result<notify::Event>) {
        let event = match event {
            Ok(event) if !event.need_rescan() => event,
            // Events were lost: every file may have changed.
            _ => return self.wanted.values().flatten().for_each(wake),
        };
        // Reading a file makes events too, and must not make us read it again.
        let closed_after_writing = EventKind::Access(AccessKind::Close(AccessMode::Write));
        if event.kind.is_access() && event.kind != closed_after_writing {
            return;
        }
        let moves = event.kind.is_remove() || matches!(event.kind, EventKind::Modify(ModifyKind::Name(_)));
        for path in &event.paths {
            // The folder itself went away: what comes in its place is another one, perhaps with the
            // same number.
            if moves && self.armed.remove(path).is_some() {
                self.wanted.get(path).into_iter().flatten().for_each(wake);
            }
            let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
                continue;
            };
            let folder = if folder == Path::new("") {
                Path::new(".")
            } else {
                folder
            };
            let files = self.wanted.get(folder).into_iter().flatten();
            files.filter(|(wanted, _)| wanted == name).for_each(wake);
        }
    }
}

fn wake((_, changed): &(OsString, Weak<Notify>)) {
    if let Some(changed) = changed.upgrade() {
        // However many changes, one permit: it is read once.
        changed.notify_one();
    }
}

/// Every change is complete before anything could panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Somebody who wants to hear of one file; no longer once it is dropped.
pub(super) struct Subscription {
    folders: Folders,
    folder: PathBuf,
    changed: Arc<Notify>,
}

impl Subscription {
    /// Watches the folder, as it is now. Returns whether that is possible.
    pub(super) async fn arm(&self) -> bool {
        let (folders, folder) = (self.folders.clone(), self.folder.clone());
        let armed = spawn_blocking(move || {
            folders.arm(&folder).inspect_err(|error| {
                tracing::debug!(folder = %folder.display(), "cannot be watched, only polled: {error}");
            })
        });
        matches!(armed.await, Ok(Ok(())))
    }

    /// Waits until something happened to the file. What happened before counts.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut table = lock(&self.folders.0.table);
        let Some(files) = table.wanted.get_mut(&self.folder) else {
            return;
        };
        let own = Arc::as_ptr(&self.changed);
        files.retain(|(_, changed)| changed.as_ptr() != own);
        if !files.is_empty() {
            return;
        }
        table.wanted.remove(&self.folder);
        drop(table);
        // Waits for the watcher's thread, so not here, where a task of the runtime may be ending.
        let (folders, folder) = (self.folders.clone(), self.folder.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || folders.disarm_unless_wanted(&folder));
        }
    }
}
