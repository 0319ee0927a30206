//! A tor process: started, signalled, asked, ended.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use onionweave_control::launch::{Launch, LaunchError, LogExcerpt, Ownership, TorProcess};
use onionweave_control::{Connection, Credentials, Endpoint, Events, Options};
use rustix::process::{Pid, Signal};
use tokio::time::{Instant, sleep};
use tracing::debug;

use crate::error::{Error, IoContext};
use crate::home::{self, Home, create_private, end_tors_below, tors_below};
use crate::torrc::Torrc;

/// Longest time that a tor may take to open its control socket. It takes a quarter of a second; a
/// busy machine takes longer.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Longest time that a tor may take to build its first circuit once the network stands.
pub(crate) const BOOTSTRAP_LIMIT: Duration = Duration::from_secs(60);
/// Time between two looks at something that is waited for.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Ends the tor of this folder, if it still runs, and starts it again on its own. Arguments: tor,
/// folder.
const RESTART: &str = r#"#!/bin/sh
tor=$1
torrc=$2/torrc
runs() { tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qxF -- "$torrc"; }
if pid=$(cat "$2/pid") && runs; then
    kill -9 "$pid"
    while runs; do sleep 0.05; done
fi 2>/dev/null
exec "$tor" -f "$torrc" RunAsDaemon 1 >>"$2/output" 2>&1
"#;

/// A tor process of a network, with a folder of its own.
///
/// Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Tor {
    name: String,
    folder: PathBuf,
    launch: Launch,
    /// The process that was started here last. Somebody else may have started a later one.
    child: Mutex<Option<TorProcess>>,
    control: tokio::sync::Mutex<Option<Control>>,
    home: Arc<Home>,
}

/// The control connection that is kept open.
#[derive(Debug)]
struct Control {
    connection: Connection,
    _events: Events,
}

impl Tor {
    /// Makes the folder; nothing runs yet.
    pub(crate) fn prepare(home: &Arc<Home>, name: &str) -> Result<Self, Error> {
        let folder = home.process_folder(name)?;
        // The guard ends the process when this program dies; for Tor itself that is the last
        // resort.
        let launch = Launch::new(home.tor().path(), &folder).ownership(Ownership::Process);
        Ok(Self {
            name: name.to_owned(),
            launch: launch.option("PidFile", folder.join("pid")),
            folder,
            child: Mutex::default(),
            control: tokio::sync::Mutex::default(),
            home: Arc::clone(home),
        })
    }

    /// Adds environment variables.
    pub(crate) fn with_env(mut self, env: Vec<(String, String)>) -> Self {
        let launch = self.launch.clone();
        self.launch = env
            .into_iter()
            .fold(launch, |launch, (name, value)| launch.env(name, value));
        self
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::Unix(self.folder.join("control"))
    }

    /// Creates a folder below this one that its owner alone can enter.
    pub(crate) fn create_folder(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.folder.join(name);
        create_private(&path)?;
        Ok(path)
    }

    /// Writes a file below this folder that its owner alone can read.
    pub(crate) fn write(&self, name: &str, content: &str) -> Result<(), Error> {
        let path = self.folder.join(name);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .doing("create", &path)?;
        file.write_all(content.as_bytes()).doing("write", &path)
    }

    /// Reads a file below this folder.
    pub(crate) fn read(&self, name: &str) -> Result<String, Error> {
        let path = self.folder.join(name);
        fs::read_to_string(&path).doing("read", &path)
    }

    /// Adds the lines of the configuration, and writes the command that restarts the process.
    pub(crate) fn configure(&mut self, torrc: Torrc) -> Result<(), Error> {
        self.launch = self.launch.clone().lines(&torrc.finish());
        self.write("restart", RESTART)
    }

    /// Starts the process.
    pub(crate) fn spawn(&self) -> Result<(), Error> {
        let child = self.launch.spawn().map_err(|source| self.launch_error(source))?;
        *self.child() = Some(child);
        Ok(())
    }

    /// Waits until the process answers on its control socket.
    pub(crate) async fn wait_for_control(&self) -> Result<(), Error> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            self.check_running()?;
            let refusal = match self.control().await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            if Instant::now() >= deadline {
                return Err(self.timed_out("an open control socket", START_LIMIT, refusal.to_string()));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until the process has built a circuit.
    pub(crate) async fn wait_for_bootstrap(&self, limit: Duration) -> Result<(), Error> {
        self.wait_for("a working circuit", limit, async || {
            self.check_running()?;
            let phase = self.get_info("status/bootstrap-phase").await?;
            Ok(if phase.contains("PROGRESS=100") {
                Ok(())
            } else {
                Err(phase)
            })
        })
        .await
    }

    /// Asks again until the answer is `Ok(Ok(_))`; `Ok(Err(_))` says where things stand.
    pub(crate) async fn wait_for<T>(
        &self,
        goal: &'static str,
        limit: Duration,
        mut ask: impl AsyncFnMut() -> Result<Result<T, String>, Error>,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + limit;
        loop {
            let state = match ask().await? {
                Ok(answer) => return Ok(answer),
                Err(state) => state,
            };
            if Instant::now() >= deadline {
                return Err(self.timed_out(goal, limit, state));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// The answer to `GETINFO key`.
    pub(crate) async fn get_info(&self, key: &str) -> Result<String, Error> {
        self.control()
            .await?
            .get_info(key)
            .await
            .map_err(|source| self.control_error(source))
    }

    /// The control connection, which is opened if there is none or it has closed.
    pub(crate) async fn control(&self) -> Result<Connection, Error> {
        let mut kept = self.control.lock().await;
        if let Some(control) = kept.as_ref().filter(|control| !control.connection.is_closed()) {
            return Ok(control.connection.clone());
        }
        let (connection, events) = self.connect().await?;
        *kept = Some(Control {
            connection: connection.clone(),
            _events: events,
        });
        Ok(connection)
    }

    /// Opens another control connection.
    pub(crate) async fn connect(&self) -> Result<(Connection, Events), Error> {
        Connection::connect(&self.endpoint(), &Credentials::auto(), &Options::default())
            .await
            .map_err(|source| self.control_error(source))
    }

    pub(crate) fn control_error(&self, source: onionweave_control::Error) -> Error {
        Error::Control {
            name: self.name.clone(),
            source,
            log: self.log_excerpt(),
        }
    }

    /// Process that runs now, started here or elsewhere.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.running()
            .first()
            .and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok())
    }

    /// Ends the process with SIGKILL, and waits until it is gone. Does nothing if it is not
    /// running.
    pub(crate) fn kill(&self) -> Result<(), Error> {
        let ended = end_tors_below(self.home.tor(), &self.folder);
        // What was ended is waited for in the background.
        drop(self.child().take());
        ended.map_err(|source| self.signal_error(source))
    }

    /// Sends a signal to the running process.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Error> {
        let running = self.running();
        if running.is_empty() {
            return Err(Error::NotRunning {
                name: self.name.clone(),
                log: self.log_excerpt(),
            });
        }
        running
            .into_iter()
            .try_for_each(|pid| home::signal(pid, signal))
            .map_err(|source| self.signal_error(source))
    }

    /// Ends the process if it runs, starts it again, and waits until it answers on its control
    /// socket.
    pub(crate) async fn restart(&self) -> Result<(), Error> {
        self.kill()?;
        self.spawn()?;
        self.wait_for_control().await
    }

    /// The command that ends what is left of the process and starts it again, without us.
    pub(crate) fn restart_command(&self) -> Vec<String> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        vec![
            "/bin/sh".into(),
            text(&self.folder.join("restart")),
            text(self.home.tor().path()),
            text(&self.folder),
        ]
    }

    /// Keeps the network's folder, since `error` names a log in it.
    pub(crate) fn failed(&self, error: Error) -> Error {
        self.home.keep();
        error
    }

    pub(crate) fn timed_out(&self, goal: &'static str, after: Duration, state: String) -> Error {
        self.failed(Error::TimedOut {
            name: self.name.clone(),
            goal,
            after,
            state,
            log: self.log_excerpt(),
        })
    }

    /// Fails if the process that was started here has ended by itself.
    pub(crate) fn check_running(&self) -> Result<(), Error> {
        let ended = self.child().as_mut().map(TorProcess::ended).transpose();
        match ended.map_err(|source| self.launch_error(source))? {
            None | Some(None) => Ok(()),
            Some(Some(status)) => Err(self.failed(Error::Exited {
                name: self.name.clone(),
                status,
                log: self.log_excerpt(),
            })),
        }
    }

    fn running(&self) -> Vec<Pid> {
        tors_below(self.home.tor(), &self.folder)
    }

    fn launch_error(&self, source: LaunchError) -> Error {
        Error::Launch {
            name: self.name.clone(),
            source: Box::new(source),
        }
    }

    fn signal_error(&self, source: io::Error) -> Error {
        Error::Signal {
            name: self.name.clone(),
            source,
        }
    }

    fn child(&self) -> MutexGuard<'_, Option<TorProcess>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn log_excerpt(&self) -> LogExcerpt {
        LogExcerpt::read(&self.folder)
    }
}

impl Drop for Tor {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            debug!(name = self.name, %error, "tor may still run");
        }
    }
}
