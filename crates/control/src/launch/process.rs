//! A tor process that was started.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

use super::error::IoContext as _;
use super::{LaunchError, LogExcerpt};
use crate::{Connection, Credentials, Endpoint, Error, Events, Options, Status};

/// Time between two looks at something that is waited for and that nothing announces.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A tor process of this program.
///
/// Dropping it ends the process, unless [`Ownership::None`](super::Ownership::None) was asked for.
#[derive(Debug)]
pub struct TorProcess {
    child: Child,
    folder: PathBuf,
    /// Tor exits when this closes.
    lifeline: Option<UnixStream>,
}

impl TorProcess {
    pub(super) fn new(child: Child, folder: PathBuf, lifeline: Option<UnixStream>) -> Self {
        Self {
            child,
            folder,
            lifeline,
        }
    }

    /// The number of the process; `None` once it was waited for.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The folder, as an absolute path.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The control port.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::Unix(self.folder.join("control"))
    }

    /// The credentials for the control port.
    pub fn credentials(&self) -> Credentials {
        Credentials::cookie_file(self.folder.join("cookie"))
    }

    /// The end of the log as it is now.
    pub fn log(&self) -> LogExcerpt {
        LogExcerpt::read(&self.folder)
    }

    /// The way the process ended; `None` while it runs.
    ///
    /// # Errors
    /// [`LaunchError::Io`] if the system does not tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, LaunchError> {
        self.child.try_wait().doing("wait for", &self.folder)
    }

    /// Waits until the process ends.
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Errors
    /// [`LaunchError::Io`] if the system does not tell.
    pub async fn wait(&mut self) -> Result<ExitStatus, LaunchError> {
        // Tor's owning connection, its standard input, must stay open meanwhile; it is no pipe of
        // `Child`'s.
        self.child.wait().await.doing("wait for", &self.folder)
    }

    /// Waits until the control port answers.
    ///
    /// # Errors
    /// [`LaunchError::Exited`] if the process ends meanwhile, [`LaunchError::TimedOut`] with the
    /// last reason. The process is ended then, as `self` is dropped.
    pub async fn connect(mut self, within: Duration) -> Result<RunningTor, LaunchError> {
        let (connection, events) = self.open(within).await?;
        Ok(RunningTor {
            process: self,
            connection,
            events,
        })
    }

    /// Waits until the control port answers, for another connection to it.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), but the process lives on.
    pub async fn open(&mut self, within: Duration) -> Result<(Connection, Events), LaunchError> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                let log = self.log();
                return Err(LaunchError::Exited { status, log });
            }
            let left = within.saturating_sub(started.elapsed());
            let options = Options::default().connect_deadline(left);
            let error = match Connection::connect(&self.endpoint(), &self.credentials(), &options).await {
                Ok(connected) => return Ok(connected),
                Err(error) => error,
            };
            if started.elapsed() >= within || matches!(error, Error::ConnectDeadline { .. }) {
                return Err(LaunchError::TimedOut {
                    goal: "an open control port".to_owned(),
                    after: within,
                    state: error.to_string(),
                    log: self.log(),
                });
            }
            // Nothing announces that Tor listens, or has written its cookie.
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Sends SIGTERM, at which Tor exits at once, a relay too.
    ///
    /// # Errors
    /// [`LaunchError::Io`]. A process that has ended is none.
    pub fn terminate(&self) -> Result<(), LaunchError> {
        // A process that was not waited for keeps its number, so it is nobody else's.
        let id = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let Some(id) = id else { return Ok(()) };
        match kill_process(id, Signal::TERM) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            sent => sent.map_err(io::Error::from).doing("end the process in", &self.folder),
        }
    }

    /// Sends SIGKILL.
    ///
    /// # Errors
    /// [`LaunchError::Io`]. A process that has ended is none.
    pub fn kill(&mut self) -> Result<(), LaunchError> {
        if self.child.id().is_none() {
            return Ok(());
        }
        self.child.start_kill().doing("kill the process in", &self.folder)
    }

    /// Closes this program's end of the lifeline, at which a process with
    /// [`Ownership::Lifeline`](super::Ownership::Lifeline) exits.
    pub fn release_lifeline(&mut self) {
        self.lifeline = None;
    }

    /// Ends the process: asks it to exit, and kills it if it has not done so within this time.
    ///
    /// # Errors
    /// [`LaunchError::Io`].
    pub async fn end(mut self, within: Duration) -> Result<ExitStatus, LaunchError> {
        self.terminate()?;
        self.release_lifeline();
        if let Ok(ended) = timeout(within, self.wait()).await {
            return ended;
        }
        self.kill()?;
        self.wait().await
    }
}

/// A tor process and a control connection to it.
#[derive(Debug)]
pub struct RunningTor {
    process: TorProcess,
    connection: Connection,
    events: Events,
}

impl RunningTor {
    /// The control connection.
    pub fn control(&self) -> &Connection {
        &self.connection
    }

    /// The events of the control connection.
    pub fn events(&mut self) -> &mut Events {
        &mut self.events
    }

    /// The process.
    pub fn process(&mut self) -> &mut TorProcess {
        &mut self.process
    }

    /// Takes the process and its connection apart.
    pub fn into_parts(self) -> (TorProcess, Connection, Events) {
        (self.process, self.connection, self.events)
    }

    /// Waits until Tor's bootstrap has got as far as this, in percent.
    ///
    /// # Errors
    /// [`LaunchError::Exited`], [`LaunchError::TimedOut`] with Tor's own words,
    /// [`LaunchError::Control`].
    pub async fn wait_for_bootstrap(&mut self, percent: u8, within: Duration) -> Result<(), LaunchError> {
        let started = Instant::now();
        if percent == 0 {
            return Ok(());
        }
        loop {
            let phase = match self.connection.get_info("status/bootstrap-phase").await {
                Ok(phase) => phase,
                Err(source) => return Err(self.control_failed(source).await),
            };
            let progress = Status::parse(phase.as_bytes()).and_then(|status| status.bootstrap_progress());
            if progress.is_some_and(|progress| progress >= percent) {
                return Ok(());
            }
            if started.elapsed() >= within {
                return Err(LaunchError::TimedOut {
                    goal: format!("{percent} percent of its bootstrap"),
                    after: within,
                    state: phase,
                    log: self.process.log(),
                });
            }
            // Events announce it as well, but which ones the user of the connection wants is not
            // decided here.
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until the process ends.
    ///
    /// # Errors
    /// [`LaunchError::Io`].
    pub async fn wait(&mut self) -> Result<ExitStatus, LaunchError> {
        self.process.wait().await
    }

    /// Ends the process; see [`TorProcess::end`].
    ///
    /// # Errors
    /// [`LaunchError::Io`].
    pub async fn end(self, within: Duration) -> Result<ExitStatus, LaunchError> {
        self.process.end(within).await
    }

    /// Tells a process that ended from a connection that failed.
    async fn control_failed(&mut self, source: Error) -> LaunchError {
        // The connection ends a moment before the process does.
        let ended = timeout(Duration::from_secs(1), self.process.wait()).await;
        let log = self.process.log();
        match ended {
            Ok(Ok(status)) => LaunchError::Exited { status, log },
            _ => LaunchError::Control { source, log },
        }
    }
}
