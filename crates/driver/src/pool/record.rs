//! Record of a child, so that a later publisher knows it again.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use onionweave_ring::v2::ServiceId;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::state::{read_limited, write_atomically};

/// The file in a child's folder.
const FILE: &str = "child.toml";
/// With a line for each of a hundred thousand services it would be shorter.
const LONGEST: u64 = 8 << 20;

/// A process that cannot be taken for another: numbers of processes are used again, and then they
/// started at another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    pid: i32,
    /// When it started, in the kernel's clock ticks since the machine did (`starttime`, proc(5)).
    started: u64,
}

impl Process {
    /// The process that has this number now.
    pub(super) fn running(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in parentheses, which may hold anything. The state
        // is the third, the start the 22nd.
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        let is_dead = matches!(fields.next()?, "Z" | "X");
        let started = fields.nth(18)?.parse().ok()?;
        (!is_dead).then_some(Self { pid, started })
    }

    pub(super) fn pid(self) -> u32 {
        // Never negative: it was found below /proc.
        self.pid.unsigned_abs()
    }

    pub(super) fn is_alive(self) -> bool {
        Self::running(self.pid) == Some(self)
    }

    /// Whether it was started with this configuration.
    pub(super) fn runs(self, torrc: &Path) -> bool {
        use std::os::unix::ffi::OsStrExt as _;
        let arguments = std::fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        arguments
            .split(|&byte| byte == 0)
            .any(|argument| argument == torrc.as_os_str().as_bytes())
    }

    /// Sends a signal, if it is still there.
    pub(super) fn signal(self, signal: Signal) -> io::Result<()> {
        match Pid::from_raw(self.pid) {
            Some(pid) if self.is_alive() => Ok(kill_process(pid, signal)?),
            _ => Ok(()),
        }
    }
}

/// Record of a child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) process: Process,
    /// The services that it hosts, each with what tells whether their ports or clients are others
    /// now.
    pub(super) services: BTreeMap<String, String>,
}

impl Record {
    /// Reads the record in this folder; `None` for nothing, or nothing that could be used.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        let text = read_limited(&folder.join(FILE), LONGEST).ok()?;
        toml::from_str(&text).ok()
    }

    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        write_atomically(&folder.join(FILE), &text)
    }

    /// Whether what it hosts is hosted as it shall be now. Services that come or go make no
    /// difference: they do so in the running process.
    pub(super) fn hosts_like(&self, services: impl IntoIterator<Item = (ServiceId, String)>) -> bool {
        services.into_iter().all(|(id, fingerprint)| {
            self.services
                .get(&id.to_string())
                .is_none_or(|recorded| *recorded == fingerprint)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Process {
        Process::running(std::process::id().cast_signed()).unwrap()
    }

    #[test]
    fn number_that_is_used_again_is_another_process() {
        assert!(own().is_alive());
        let former = Process {
            started: own().started - 1,
            ..own()
        };
        assert!(!former.is_alive());
        // It would end this test otherwise.
        former.signal(Signal::KILL).unwrap();
    }

    #[test]
    fn record_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(folder.path()), None);
        let record = Record {
            process: own(),
            services: [("rf75jzdtba4wnd6v".to_owned(), "80".to_owned())].into(),
        };
        record.write(folder.path()).unwrap();
        assert_eq!(Record::read(folder.path()), Some(record.clone()));
        let id: ServiceId = "rf75jzdtba4wnd6v".parse().unwrap();
        let other: ServiceId = "6r7x5o465oo27s35".parse().unwrap();
        assert!(record.hosts_like([(id, "80".into()), (other, "81".into())]));
        assert!(!record.hosts_like([(id, "81".into())]));

        std::fs::write(folder.path().join(FILE), "process = 7\n").unwrap();
        assert_eq!(Record::read(folder.path()), None);
    }
}
