//! Failures of starting a tor process.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use super::LogExcerpt;
use crate::Error;

/// A failure of starting, asking or ending a tor process.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The operating system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    #[non_exhaustive]
    Io {
        /// The attempt, as a verb.
        action: &'static str,
        /// Its object.
        path: PathBuf,
        /// The refusal.
        source: Arc<io::Error>,
    },
    /// The binary did not say that it is a Tor.
    #[error("{} is no Tor: to --version it answers {answer:?}", path.display())]
    #[non_exhaustive]
    NotTor {
        /// The binary.
        path: PathBuf,
        /// The first line of its answer.
        answer: String,
    },
    /// The binary did not answer in time.
    #[error("{} does not answer to {argument} within {after:?}", path.display())]
    #[non_exhaustive]
    NoAnswer {
        /// The binary.
        path: PathBuf,
        /// The argument that it was started with.
        argument: &'static str,
        /// The time that was allowed.
        after: Duration,
    },
    /// Tor refuses a configuration.
    #[error("Tor refuses the torrc: {}", complaints.join("; "))]
    #[non_exhaustive]
    Torrc {
        /// Tor's first warnings.
        complaints: Vec<String>,
    },
    /// The folder's path is too long for the control socket in it.
    #[error(
        "the control socket {} needs {length} bytes of the {limit} that a unix socket's path may have", path.display()
    )]
    #[non_exhaustive]
    SocketPath {
        /// The socket.
        path: PathBuf,
        /// Bytes of its path.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The process ended by itself.
    #[error("tor ended by itself ({status}); {log}")]
    #[non_exhaustive]
    Exited {
        /// The way it ended.
        status: ExitStatus,
        /// The end of its log.
        log: LogExcerpt,
    },
    /// The process did not get somewhere in time.
    #[error("tor did not reach {goal} within {after:?}: {state}; {log}")]
    #[non_exhaustive]
    TimedOut {
        /// The goal.
        goal: String,
        /// The time that was allowed.
        after: Duration,
        /// The state that it had reached.
        state: String,
        /// The end of its log.
        log: LogExcerpt,
    },
    /// The control connection failed.
    #[error("control of tor: {source}; {log}")]
    #[non_exhaustive]
    Control {
        /// The failure.
        source: Error,
        /// The end of its log.
        log: LogExcerpt,
    },
}

/// Turns an [`io::Error`] into a [`LaunchError`] that says what was tried on which path.
pub(super) trait IoContext<T> {
    /// `action` is a verb: "cannot {action} {path}".
    fn doing(self, action: &'static str, path: &Path) -> Result<T, LaunchError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn doing(self, action: &'static str, path: &Path) -> Result<T, LaunchError> {
        self.map_err(|source| LaunchError::Io {
            action,
            path: path.to_owned(),
            source: Arc::new(source),
        })
    }
}
