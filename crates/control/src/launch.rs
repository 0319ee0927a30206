//! Starting tor processes, and ending them (feature `launch`, on unix).
//!
//! [`Launch`] writes a torrc into a folder and starts the binary that it is given. A [`TorProcess`]
//! holds what was started: its control port, its log, its end. [`TorBinary`] tells which Tor a
//! binary is.
//!
//! - **The binary** is named by its path. Nothing is searched for.
//! - **The folder** is private to its owner and belongs to one process at a time. In it are
//!   `torrc`, `data`, the socket `control`, the file `cookie`, Tor's `log` and its standard
//!   `output`; `log.old` and `output.old` are those of the process before.
//! - **Ownership.** A process that was started ends with its owner, however that ends; see
//!   [`Ownership`].
//! - **Failures** quote the last lines of the log; see [`LogExcerpt`].
//!
//! ```no_run
//! use onionweave_control::launch::Launch;
//! use onionweave_control::{AddOnion, OnionKeyAlgorithm};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let launch = Launch::new("/usr/bin/tor", "/var/lib/hello").option("SocksPort", "0").bootstrapped(100);
//! let mut tor = launch.start().await?;
//! let service = AddOnion::new_key(OnionKeyAlgorithm::Ed25519V3).port_to(80, "127.0.0.1:8080");
//! let onion = tor.control().add_onion(&service).await?;
//! println!("http://{}.onion/", onion.address());
//! println!("{}", tor.wait().await?);
//! # Ok(())
//! # }
//! ```

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use self::error::IoContext as _;

pub use self::binary::TorBinary;
pub use self::error::LaunchError;
pub use self::log::LogExcerpt;
pub use self::process::{RunningTor, TorProcess};
pub use self::torrc::Torrc;

mod binary;
mod error;
mod log;
mod process;
mod torrc;

/// Number of bytes that the path of a unix socket may have on Linux, without the zero byte at its
/// end (`sun_path`, unix(7)).
const SOCKET_PATH_LIMIT: usize = 107;
/// Limits the files that the process may have open, and becomes Tor under the same process number.
/// Arguments: limit, tor, torrc.
const WITH_LIMIT: &str = r#"ulimit -n "$1" && exec "$2" -f "$3""#;

/// End of a started process when its owner ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ownership {
    /// The process exits at once when its [`TorProcess`] is dropped or this program ends, however
    /// it ends.
    ///
    /// Tor's standard input is one end of a pair of sockets, whose other end nobody but the
    /// `TorProcess` holds. Tor takes it for its owning control connection (`__OwningControllerFD`)
    /// from its first moment on (feature/control/control.c:220-257, app/config/config.c:2153).
    #[default]
    Lifeline,
    /// The process is killed when its `TorProcess` is dropped, and exits by itself within 15
    /// seconds after this program has ended (`__OwningControllerProcess`,
    /// lib/evloop/procmon.c:169). Its standard input is empty, so that another program may start it
    /// again with the same torrc.
    Process,
    /// The process lives on.
    None,
}

/// A tor process to be started.
///
/// ```no_run
/// use std::time::Duration;
/// use onionweave_control::launch::{Launch, Ownership};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let tor = Launch::new("/usr/bin/tor", "/tmp/a-tor")
///     .option("SocksPort", "127.0.0.1:9150")
///     .ownership(Ownership::Process)
///     .bootstrapped(100)
///     .within(Duration::from_secs(60))
///     .start()
///     .await?;
/// println!("Tor {} listens", tor.control().get_info("version").await?);
/// println!("{}", tor.end(Duration::from_secs(5)).await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Launch {
    binary: PathBuf,
    folder: PathBuf,
    lines: Torrc,
    env: Vec<(OsString, OsString)>,
    ownership: Ownership,
    open_files: Option<u64>,
    bootstrapped: u8,
    within: Duration,
}

impl Launch {
    /// Starts this binary in this folder, which is made if it is not there. A relative path counts
    /// from the current folder.
    pub fn new(binary: impl Into<PathBuf>, folder: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            folder: folder.into(),
            lines: Torrc::new(),
            env: Vec::new(),
            ownership: Ownership::default(),
            open_files: None,
            bootstrapped: 0,
            within: Duration::from_secs(60),
        }
    }

    /// Adds an option of Tor's. The value is quoted where it must be.
    #[must_use]
    pub fn option(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.lines = self.lines.option(name, value);
        self
    }

    /// Adds options as they are written in a torrc. Tor takes the last of an option that stands
    /// twice, so these replace what this library needs, and what was added before.
    #[must_use]
    pub fn lines(mut self, lines: &Torrc) -> Self {
        self.lines = self.lines.append(lines);
        self
    }

    /// Adds a variable to the environment of the process, beside those of this program.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Chooses what ends the process. Default: [`Ownership::Lifeline`].
    #[must_use]
    pub fn ownership(self, ownership: Ownership) -> Self {
        Self { ownership, ..self }
    }

    /// Number of files and sockets that the process may have open; `/bin/sh` sets it. Default: that
    /// of this program.
    #[must_use]
    pub fn open_files(self, limit: u64) -> Self {
        Self {
            open_files: Some(limit),
            ..self
        }
    }

    /// Progress of Tor's bootstrap, in percent, for which [`start`](Self::start) waits: 100 for a
    /// Tor that has built a circuit. Default: 0, the control port answers.
    #[must_use]
    pub fn bootstrapped(self, percent: u8) -> Self {
        Self {
            bootstrapped: percent.min(100),
            ..self
        }
    }

    /// Longest time that [`start`](Self::start) may take. Default: one minute.
    #[must_use]
    pub fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// The folder of the process.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The torrc that is written into the folder: what this library needs, and then what was added.
    ///
    /// # Errors
    /// [`LaunchError::Io`] if the current folder of a relative path is not known;
    /// [`LaunchError::SocketPath`].
    pub fn torrc(&self) -> Result<Torrc, LaunchError> {
        let folder = self.absolute_folder()?;
        let path = |name: &str| folder.join(name);
        let mut log = OsString::from("notice file ");
        log.push(path(log::LOG));
        let torrc = Torrc::new()
            .comment("Written anew at every start.")
            .option("DataDirectory", path("data"))
            .unix_port("ControlPort", &socket_path(&folder)?)
            .option("CookieAuthentication", "1")
            .option("CookieAuthFile", path("cookie"))
            .option("Log", log);
        let torrc = match self.ownership {
            Ownership::Lifeline => torrc.option("__OwningControllerFD", "0"),
            Ownership::Process => torrc.option("__OwningControllerProcess", std::process::id().to_string()),
            Ownership::None => torrc,
        };
        Ok(torrc.append(&self.lines))
    }

    /// Starts the process and waits until its control port answers and its bootstrap is as far as
    /// asked.
    ///
    /// Must be called within a tokio runtime with IO and time enabled.
    ///
    /// # Errors
    /// Those of [`spawn`](Self::spawn), [`TorProcess::connect`] and
    /// [`RunningTor::wait_for_bootstrap`]. The process is ended then.
    pub async fn start(&self) -> Result<RunningTor, LaunchError> {
        let started = tokio::time::Instant::now();
        let mut running = self.spawn()?.connect(self.within).await?;
        let left = self.within.saturating_sub(started.elapsed());
        running.wait_for_bootstrap(self.bootstrapped, left).await?;
        Ok(running)
    }

    /// Starts the process, and waits for nothing.
    ///
    /// Must be called within a tokio runtime with IO enabled.
    ///
    /// # Errors
    /// [`LaunchError::Io`] names what could not be written or run; [`LaunchError::SocketPath`].
    pub fn spawn(&self) -> Result<TorProcess, LaunchError> {
        let folder = self.absolute_folder()?;
        let binary = std::path::absolute(&self.binary).doing("resolve", &self.binary)?;
        let text = self.torrc()?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .doing("create", &folder)?;
        let torrc = folder.join("torrc");
        write_private(&torrc, text.as_bytes())?;
        // What a former process left would be taken for the new one's.
        for left in ["control", "cookie"] {
            let _ = fs::remove_file(folder.join(left));
        }
        for (file, old) in [(log::LOG, log::OLD_LOG), (log::OUTPUT, log::OLD_OUTPUT)] {
            let _ = fs::rename(folder.join(file), folder.join(old));
        }
        let output = folder.join(log::OUTPUT);
        write_private(&output, b"")?;
        let file = fs::OpenOptions::new()
            .append(true)
            .open(&output)
            .doing("open", &output)?;
        let (stdin, lifeline) = match self.ownership {
            Ownership::Lifeline => {
                let (ours, theirs) = UnixStream::pair().doing("make a pair of sockets for", &folder)?;
                (Stdio::from(OwnedFd::from(theirs)), Some(ours))
            }
            Ownership::Process | Ownership::None => (Stdio::null(), None),
        };
        let (mut command, program) = match self.open_files {
            Some(limit) => {
                let mut command = Command::new("/bin/sh");
                command
                    .args(["-c", WITH_LIMIT, "sh"])
                    .arg(limit.to_string())
                    .arg(&binary);
                command.arg(&torrc);
                (command, Path::new("/bin/sh"))
            }
            None => {
                let mut command = Command::new(&binary);
                command.arg("-f").arg(&torrc);
                (command, &*binary)
            }
        };
        let child = command
            .current_dir("/")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            // An interrupt typed at the terminal is for this program.
            .process_group(0)
            .stdin(stdin)
            .stdout(file.try_clone().doing("open", &output)?)
            .stderr(file)
            .kill_on_drop(self.ownership != Ownership::None)
            .spawn()
            .doing("run", program)?;
        tracing::debug!(folder = %folder.display(), pid = child.id(), "tor started");
        Ok(TorProcess::new(child, folder, lifeline))
    }

    fn absolute_folder(&self) -> Result<PathBuf, LaunchError> {
        std::path::absolute(&self.folder).doing("resolve", &self.folder)
    }
}

/// The path of the control socket, if it is short enough to be one.
fn socket_path(folder: &Path) -> Result<PathBuf, LaunchError> {
    let path = folder.join("control");
    let length = path.as_os_str().len();
    if length > SOCKET_PATH_LIMIT {
        return Err(LaunchError::SocketPath {
            path,
            length,
            limit: SOCKET_PATH_LIMIT,
        });
    }
    Ok(path)
}

/// Writes a file that its owner alone can read.
fn write_private(path: &Path, content: &[u8]) -> Result<(), LaunchError> {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .doing("create", path)?;
    file.write_all(content).doing("write", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torrc_has_what_is_needed_and_then_what_was_added() {
        let launch = Launch::new("/usr/bin/tor", "/a \"b\"").option("SocksPort", "0");
        let torrc = launch.torrc().unwrap().to_string();
        for line in [
            r#"DataDirectory "/a \"b\"/data""#,
            r#"ControlPort "unix:\"/a \\\"b\\\"/control\"""#,
            r#"Log "notice file /a \"b\"/log""#,
            "__OwningControllerFD 0",
        ] {
            assert!(torrc.lines().any(|found| found == line), "{line} is not in\n{torrc}");
        }
        assert_eq!(torrc.lines().last(), Some("SocksPort 0"));
        let kept = launch.clone().ownership(Ownership::None).torrc().unwrap().to_string();
        assert!(!kept.contains("__Owning"), "{kept}");
        let process = launch.ownership(Ownership::Process).torrc().unwrap().to_string();
        assert!(process.contains(&format!("__OwningControllerProcess {}\n", std::process::id())));
    }

    #[test]
    fn a_socket_path_of_108_bytes_is_refused() {
        let folder = |length| Launch::new("tor", format!("/{}", "x".repeat(length)));
        assert!(folder(98).torrc().is_ok());
        let error = folder(99).torrc().unwrap_err();
        assert!(
            matches!(
                error,
                LaunchError::SocketPath {
                    length: 108,
                    limit: 107,
                    ..
                }
            ),
            "{error}"
        );
    }
}
