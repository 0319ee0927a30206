//! The launch of every child of the pool.

use std::path::{Path, PathBuf};

use onionweave_control::launch::{Launch, Ownership, Torrc};

use crate::builder::Pool;
use crate::error::PoolProblem;

/// Least and greatest number of bytes that one instance is given by default. Tor itself takes no
/// more than the latter unless it is told (`MAX_DEFAULT_MEMORY_QUEUE_SIZE`,
/// app/config/config.c:4101).
const MEMORY: std::ops::RangeInclusive<u64> = (64 << 20)..=(8 << 30);
/// Number of files and sockets that one instance may have open by default.
const OPEN_FILES: u64 = 16_384;

/// The launch of any child. Two that are equal start the same children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blueprint {
    tor: PathBuf,
    /// The folder of the publisher's state.
    state: PathBuf,
    open_files: u64,
    lines: Torrc,
    pub(super) keep: bool,
}

impl Blueprint {
    /// `tor` is the checked binary.
    pub(super) fn new(pool: &Pool, state: &Path, tor: &Path) -> Result<Self, PoolProblem> {
        let allowed = own_file_limit();
        let open_files = match pool.open_files {
            Some(wanted) if wanted > allowed => {
                return Err(PoolProblem::ManyFiles { wanted, allowed });
            }
            Some(wanted) => wanted,
            None => OPEN_FILES.min(allowed),
        };
        let memory = pool
            .memory
            .or_else(|| total_memory().map(|total| fair_part(total, pool.places())));
        Ok(Self {
            tor: tor.into(),
            state: state.into(),
            open_files,
            lines: lines(memory, &pool.torrc),
            keep: pool.keep,
        })
    }

    /// The launch of one child.
    pub(super) fn launch(&self, number: u16) -> Launch {
        let ownership = if self.keep {
            Ownership::None
        } else {
            Ownership::Lifeline
        };
        Launch::new(&self.tor, Pool::folder(&self.state, number))
            .lines(&self.lines)
            .open_files(self.open_files)
            .ownership(ownership)
    }
}

/// Options of the pool, and then those that are added. Tor takes the last of one that stands twice.
fn lines(memory: Option<u64>, added: &[String]) -> Torrc {
    let own = Torrc::new()
        .option("SocksPort", "0")
        .option("PublishHidServDescriptors", "0")
        // Only relays have work for more threads.
        .option("NumCPUs", "1")
        .option("AvoidDiskWrites", "1");
    let own = match memory {
        Some(bytes) => own.option("MaxMemInQueues", format!("{bytes} bytes")),
        None => own,
    };
    added.iter().fold(own, |torrc, line| torrc.line(line))
}

/// Number of bytes of memory for each of the pool's places: together they take half of all.
fn fair_part(total: u64, places: u16) -> u64 {
    (total / 2 / u64::from(places)).clamp(*MEMORY.start(), *MEMORY.end())
}

/// Greatest number of files that this process and its children may open.
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
        Blueprint::new(&pool, Path::new("/a \"b\"/s"), Path::new("/usr/bin/tor"))
    }

    fn torrc(pool: Pool) -> String {
        blueprint(pool).unwrap().launch(3).torrc().unwrap().to_string()
    }

    #[test]
    fn torrc_has_what_the_pool_needs_and_then_what_is_added() {
        let owned = torrc(pool().memory(512 << 20).torrc(["NumCPUs 2"]));
        for line in [
            r#"DataDirectory "/a \"b\"/s/pool/3/data""#,
            r#"ControlPort "unix:\"/a \\\"b\\\"/s/pool/3/control\"""#,
            "PublishHidServDescriptors 0",
            "MaxMemInQueues 536870912 bytes",
            "__OwningControllerFD 0",
        ] {
            assert!(owned.lines().any(|found| found == line), "{line} is not in\n{owned}");
        }
        assert_eq!(owned.lines().last(), Some("NumCPUs 2"));
        let kept = torrc(pool().keep(true));
        assert!(!kept.contains("__OwningControllerFD"), "{kept}");
    }

    #[test]
    fn memory_is_shared_by_default() {
        let total = total_memory().unwrap();
        // Two that serve and a spare.
        let part = fair_part(total, 3);
        assert!(part * 3 <= total / 2 || part == *MEMORY.start(), "{part} of {total}");
        let line = format!("MaxMemInQueues {part} bytes");
        assert!(torrc(pool()).lines().any(|found| found == line), "{line}");
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
