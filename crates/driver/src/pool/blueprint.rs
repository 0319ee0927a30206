//! What every child of the pool is started with.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::builder::Pool;
use crate::error::PoolProblem;

/// The least that is given to one instance by default, and the most: what Tor itself takes at most without being told
/// (`MAX_DEFAULT_MEMORY_QUEUE_SIZE`, `app/config/config.c:4101`).
const MEMORY: std::ops::RangeInclusive<u64> = (64 << 20)..=(8 << 30);
/// What one instance may have open by default.
const OPEN_FILES: u64 = 16_384;

/// What every child is started with. Two that are equal start the same children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blueprint {
    tor: PathBuf,
    /// The folder of the publisher's state.
    state: PathBuf,
    memory: Option<u64>,
    open_files: u64,
    lines: Vec<String>,
    pub(super) keep: bool,
}

impl Blueprint {
    /// `tor` is the checked binary.
    pub(super) fn new(pool: &Pool, state: &Path, tor: PathBuf) -> Result<Self, PoolProblem> {
        let allowed = own_file_limit();
        let open_files = match pool.open_files {
            Some(wanted) if wanted > allowed => {
                return Err(PoolProblem::ManyFiles { wanted, allowed });
            }
            Some(wanted) => wanted,
            None => OPEN_FILES.min(allowed),
        };
        let fair_part = |total: u64| (total / 2 / u64::from(pool.places())).clamp(*MEMORY.start(), *MEMORY.end());
        Ok(Self {
            tor,
            state: state.into(),
            memory: pool.memory.or_else(|| total_memory().map(fair_part)),
            open_files,
            lines: pool.torrc.clone(),
            keep: pool.keep,
        })
    }

    pub(super) fn tor(&self) -> &Path {
        &self.tor
    }

    /// How many files a child may have open.
    pub(super) fn open_files(&self) -> u64 {
        self.open_files
    }

    /// The folder of a child.
    pub(super) fn folder(&self, number: u16) -> PathBuf {
        Pool::folder(&self.state, number)
    }

    /// The configuration of a child.
    pub(super) fn torrc(&self, number: u16) -> String {
        let folder = self.folder(number);
        let mut text = String::from("# Written by the publisher at every start.\n");
        let mut line = |line: std::fmt::Arguments<'_>| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{line}");
        };
        let path = |name: &str| quoted(&folder.join(name));
        line(format_args!("DataDirectory {}", path("data")));
        line(format_args!(
            "ControlPort unix:{}",
            quoted(&Pool::socket(&self.state, number))
        ));
        line(format_args!("CookieAuthentication 1"));
        line(format_args!("CookieAuthFile {}", path("cookie")));
        line(format_args!("SocksPort 0"));
        line(format_args!("PublishHidServDescriptors 0"));
        line(format_args!("Log notice stdout"));
        // Only relays have work for more threads.
        line(format_args!("NumCPUs 1"));
        line(format_args!("AvoidDiskWrites 1"));
        if let Some(memory) = self.memory {
            line(format_args!("MaxMemInQueues {memory} bytes"));
        }
        if !self.keep {
            // Its standard input is one end of a pair of sockets whose other end the publisher holds and nobody else. When that closes,
            // however the publisher ended, Tor exits at once (`feature/control/control.c:220-257`), and it heeds that from its first moment on
            // (`app/config/config.c:2153`). `__OwningControllerProcess` alone would be looked at every 15 s (`lib/evloop/procmon.c:169`).
            line(format_args!("__OwningControllerFD 0"));
        }
        // Of an option that is given twice Tor takes the last.
        for added in &self.lines {
            line(format_args!("{added}"));
        }
        text
    }
}

/// A path as a quoted value, as Tor unescapes it (`lib/encoding/cstring.c:30`).
fn quoted(path: &Path) -> String {
    let escaped = path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

/// How many files this process and its children may open at most.
fn own_file_limit() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.maximum.unwrap_or(u64::MAX)
}

/// The memory of this machine in bytes; `None` where that cannot be learned.
fn total_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::PoolSize;

    fn pool() -> Pool {
        Pool::new(PoolSize::Exactly(2.try_into().unwrap()))
    }

    fn blueprint(pool: Pool) -> Result<Blueprint, PoolProblem> {
        Blueprint::new(&pool, Path::new("/a \"b\"/s"), "/usr/bin/tor".into())
    }

    #[test]
    fn torrc_has_what_the_pool_needs_and_then_what_is_added() {
        let torrc = blueprint(pool().memory(512 << 20).torrc(["NumCPUs 2"]));
        let torrc = torrc.unwrap().torrc(3);
        for line in [
            r#"DataDirectory "/a \"b\"/s/pool/3/data""#,
            r#"ControlPort unix:"/a \"b\"/s/pool/3/control""#,
            "PublishHidServDescriptors 0",
            "MaxMemInQueues 536870912 bytes",
            "__OwningControllerFD 0",
        ] {
            assert!(torrc.lines().any(|found| found == line), "{line} is not in\n{torrc}");
        }
        assert_eq!(torrc.lines().last(), Some("NumCPUs 2"));
        let kept = blueprint(pool().keep(true)).unwrap().torrc(3);
        assert!(!kept.contains("__OwningControllerFD"), "{kept}");
    }

    #[test]
    fn memory_is_shared_by_default() {
        let total = total_memory().unwrap();
        let memory = blueprint(pool()).unwrap().memory.unwrap();
        // Two that serve and a spare.
        assert!(
            memory * 3 <= total / 2 || memory == *MEMORY.start(),
            "{memory} of {total}"
        );
    }

    #[test]
    fn more_files_than_the_publisher_may_have_are_refused() {
        let error = blueprint(pool().open_files(1 << 62)).unwrap_err().to_string();
        assert!(
            error.starts_with("open_files is 4611686018427387904, and the publisher"),
            "{error}"
        );
    }
}
