//! Errors of private networks, with the log that tells why.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use onionweave_control::launch::{LaunchError, LogExcerpt};

use crate::tor::Unfit;

/// An error of a private network.
///
/// Whatever concerns one tor process names its log file and quotes that log's last warnings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Tor cannot be built here before these packages of Debian are installed.
    #[error("tor cannot be built: install the Debian packages {}", packages.join(", "))]
    MissingPackages {
        /// Exactly the packages that are missing.
        packages: Vec<&'static str>,
    },
    /// The tor binary that was named cannot run these networks.
    #[error("{} cannot serve as tor: {reason}", path.display())]
    UnfitTor {
        /// The binary.
        path: PathBuf,
        /// Reason.
        reason: Box<Unfit>,
    },
    /// Cargo did not yield the folder that holds Tor's source.
    #[error("cargo did not yield the source of tor: {detail}")]
    TorSource {
        /// Cargo's own words, or what was missing from its answer.
        detail: String,
    },
    /// Tor's source did not build.
    #[error("building tor failed in `{command}` ({status}); the log is {}; it ends with:\n{tail}", log.display())]
    TorBuild {
        /// The command that failed.
        command: String,
        /// Status with which it ended.
        status: ExitStatus,
        /// The whole log.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// No user cache folder: neither `XDG_CACHE_HOME` nor `HOME` holds an absolute path.
    #[error("no cache folder to keep tor in: set XDG_CACHE_HOME or HOME to an absolute path")]
    NoCacheFolder,
    /// The operating system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The attempt, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// A name that Tor or the file system would not take.
    #[error("the name {name:?} is not 1 to 19 ASCII letters and digits, or is taken in this network")]
    Name {
        /// The name.
        name: String,
    },
    /// The network asked for cannot work.
    #[error("a network of {authorities} authorities and {relays} relays cannot work: {reason}")]
    Size {
        /// The authorities asked for.
        authorities: usize,
        /// The relays asked for.
        relays: usize,
        /// Reason.
        reason: &'static str,
    },
    /// The temporary folder's path is too long for a unix socket.
    #[error(
        "the control socket {} needs {length} bytes of the {limit} that a unix socket's path may have; \
         set TMPDIR to a shorter folder", path.display()
    )]
    SocketPath {
        /// The socket.
        path: PathBuf,
        /// Bytes of its path.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// No free ports were left.
    #[error("no {wanted} free ports on 127.0.0.1 between {} and {}", range.start, range.end)]
    NoPorts {
        /// Number of ports that were wanted.
        wanted: usize,
        /// Range in which they were looked for.
        range: std::ops::Range<u16>,
    },
    /// The text is no private key of a v2 onion service.
    #[error("not a v2 onion service's private key: {reason}")]
    Key {
        /// Reason.
        reason: String,
    },
    /// A tor process could not be started.
    #[error("the tor process {name} does not start: {source}")]
    Launch {
        /// The process's name in the network.
        name: String,
        /// The reason.
        source: Box<LaunchError>,
    },
    /// A tor process ended by itself.
    #[error("the tor process {name} ended by itself ({status}); {log}")]
    Exited {
        /// The process's name in the network.
        name: String,
        /// Status with which it ended.
        status: ExitStatus,
        /// End of its log.
        log: LogExcerpt,
    },
    /// The tor process is not running.
    #[error("the tor process {name} is not running; {log}")]
    NotRunning {
        /// The process's name in the network.
        name: String,
        /// End of its log.
        log: LogExcerpt,
    },
    /// A tor process did not get somewhere in time.
    #[error("the tor process {name} did not reach {goal} within {} s: {state}; {log}", after.as_secs())]
    TimedOut {
        /// The process's name in the network.
        name: String,
        /// The goal.
        goal: &'static str,
        /// Time that was allowed.
        after: Duration,
        /// State that it had reached.
        state: String,
        /// End of its log.
        log: LogExcerpt,
    },
    /// The control connection to a tor process failed.
    #[error("control of the tor process {name}: {source}; {log}")]
    Control {
        /// The process's name in the network.
        name: String,
        /// The failure.
        source: onionweave_control::Error,
        /// End of its log.
        log: LogExcerpt,
    },
    /// A signal could not be sent.
    #[error("cannot signal the tor process {name}: {source}")]
    Signal {
        /// The process's name in the network.
        name: String,
        /// The refusal.
        source: io::Error,
    },
    /// A client's Tor did not connect to the onion service.
    #[error("{client} got no connection to {address} ({:.1} s): {source}", after.as_secs_f64())]
    Connect {
        /// The client's name in the network.
        client: String,
        /// Address of the service, with its port.
        address: String,
        /// Time that Tor tried.
        after: Duration,
        /// The reply of Tor's SOCKS port.
        source: tokio_socks::Error,
    },
    /// A client was connected to the onion service, but got no answer.
    #[error("{client} got no answer from {address} ({:.1} s): {reason}", after.as_secs_f64())]
    Answer {
        /// The client's name in the network.
        client: String,
        /// Address of the service, with its port.
        address: String,
        /// Time since the client began.
        after: Duration,
        /// Reason.
        reason: String,
    },
}

/// Turns an [`io::Error`] into an [`Error`] that says what was tried on which path.
pub(crate) trait IoContext<T> {
    /// `action` is a verb: "cannot {action} {path}".
    fn doing(self, action: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn doing(self, action: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io {
            action,
            path: path.to_owned(),
            source,
        })
    }
}
