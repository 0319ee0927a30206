//! The folder of a network, and what ends its processes when nobody else does.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use tracing::{debug, warn};

use crate::error::{Error, IoContext};
use crate::ports::Ports;
use crate::tor::TorBinary;

/// The environment variable that keeps the folders of networks, with all logs, after they end.
pub(crate) const KEEP: &str = "ONIONWEAVE_KEEP";

/// Name of the file in a network's folder that keeps the folder. The guard, which may outlive this
/// program, looks for it too.
const KEPT: &str = ".keep";

/// Bytes that the path of a unix socket may have on Linux, without the zero byte at its end
/// (`sun_path`, unix(7)).
const SOCKET_PATH_LIMIT: usize = 107;

/// Longest time that the kernel may take to end a process that was killed.
const END_LIMIT: Duration = Duration::from_secs(5);

/// Waits for the end of its standard input, which comes when the process that holds the other end
/// dies, however it dies. Then it kills every tor of the network: stopped ones too, and ones that
/// somebody else started.
const GUARD: &str = r#"
IFS= read -r folder
IFS= read -r tor
read -r end
for process in /proc/[0-9]*; do
    arguments=$(tr '\0' '\n' <"$process/cmdline") || continue
    case $arguments in
    "$tor
-f
$folder/"*) kill -9 "${process#/proc/}" ;;
    esac
done
[ -e "$folder/.keep" ] || rm -rf "$folder"
"#;

/// The temporary folder of one network. All of the network's processes run out of it.
///
/// Dropping it kills what still runs there and removes the folder, unless it is to be kept.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    tor: TorBinary,
    names: Mutex<Vec<String>>,
    guard: Child,
    _ports: Ports,
}

impl Home {
    /// Makes the folder and starts its guard.
    pub(crate) fn create(tor: TorBinary, ports: Ports) -> Result<Self, Error> {
        let temporary = std::env::temp_dir();
        let path = tempfile::Builder::new()
            .prefix("ow-")
            .tempdir_in(&temporary)
            .doing("create a folder in", &temporary)?
            .keep();
        let guard = start_guard(&path, &tor)?;
        let home = Self {
            path,
            tor,
            names: Mutex::default(),
            guard,
            _ports: ports,
        };
        if std::env::var_os(KEEP).is_some_and(|value| !value.is_empty()) {
            home.keep();
        }
        Ok(home)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn tor(&self) -> &TorBinary {
        &self.tor
    }

    /// Leaves the folder where it is when the network ends, however it ends.
    pub(crate) fn keep(&self) {
        if let Err(error) = fs::write(self.path.join(KEPT), "") {
            warn!(folder = %self.path.display(), %error, "the network's folder may be removed");
        }
    }

    /// Makes the folder of one process, which nobody else may look into: Tor demands it
    /// (`core/mainloop/connection.c:1308`).
    pub(crate) fn process_folder(&self, name: &str) -> Result<PathBuf, Error> {
        let name_error = || Error::Name { name: name.to_owned() };
        // A relay's nickname is one to nineteen of these (`feature/nodelist/nickname.c:19`).
        if !(1..=19).contains(&name.len()) || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(name_error());
        }
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.iter().any(|taken| taken == name) {
            return Err(name_error());
        }
        names.push(name.to_owned());
        let folder = self.path.join(name);
        create_private(&folder)?;
        Ok(folder)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Err(error) = end_tors_below(&self.tor, &self.path) {
            warn!(folder = %self.path.display(), %error, "a tor process of the network may still run");
        }
        let _ = self.guard.kill();
        let _ = self.guard.wait();
        if self.path.join(KEPT).exists() || std::thread::panicking() {
            warn!(folder = %self.path.display(), "the network's folder is kept");
        } else if let Err(error) = fs::remove_dir_all(&self.path) {
            debug!(folder = %self.path.display(), %error, "the network's folder could not be removed");
        }
    }
}

/// Creates a folder that its owner alone can enter.
pub(crate) fn create_private(folder: &Path) -> Result<(), Error> {
    fs::DirBuilder::new().mode(0o700).create(folder).doing("create", folder)
}

/// The path of a unix socket, if it is short enough to be one.
pub(crate) fn socket_path(folder: &Path, name: &str) -> Result<PathBuf, Error> {
    let path = folder.join(name);
    let length = path.as_os_str().len();
    if length > SOCKET_PATH_LIMIT {
        return Err(Error::SocketPath {
            path,
            length,
            limit: SOCKET_PATH_LIMIT,
        });
    }
    Ok(path)
}

/// Returns the processes that run this tor with a configuration below `folder`, started here or
/// elsewhere.
pub(crate) fn tors_below(tor: &TorBinary, folder: &Path) -> Vec<Pid> {
    let mut start = Vec::new();
    for argument in [tor.path().as_os_str(), OsStr::new("-f"), folder.as_os_str()] {
        start.extend_from_slice(argument.as_bytes());
        start.push(0);
    }
    // The folder is not the whole third argument: what follows is the path below it.
    if let Some(last) = start.last_mut() {
        *last = b'/';
    }
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            // A process that has ended and was not waited for has an empty command line.
            let arguments = fs::read(entry.path().join("cmdline")).ok()?;
            arguments.starts_with(&start).then(|| Pid::from_raw(pid)).flatten()
        })
        .collect()
}

/// Kills the processes that run this tor with a configuration below `folder`, and waits until they
/// are gone.
pub(crate) fn end_tors_below(tor: &TorBinary, folder: &Path) -> io::Result<()> {
    let deadline = Instant::now() + END_LIMIT;
    loop {
        let tors = tors_below(tor, folder);
        if tors.is_empty() {
            return Ok(());
        }
        for pid in tors {
            signal(pid, Signal::KILL)?;
        }
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sends a signal to a process, which may have ended by itself in between.
pub(crate) fn signal(pid: Pid, signal: Signal) -> io::Result<()> {
    match kill_process(pid, signal) {
        Err(Errno::SRCH) => Ok(()),
        result => Ok(result?),
    }
}

fn start_guard(folder: &Path, tor: &TorBinary) -> Result<Child, Error> {
    let shell = Path::new("/bin/sh");
    let mut guard = Command::new(shell)
        .args(["-c", GUARD])
        // An interrupt typed at the terminal must not end the guard before its work is done.
        .process_group(0)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .doing("run", shell)?;
    let lines = [folder.as_os_str(), tor.path().as_os_str()];
    if let Some(input) = &mut guard.stdin {
        for line in lines {
            input
                .write_all(line.as_bytes())
                .and_then(|()| input.write_all(b"\n"))
                .doing("instruct", shell)?;
        }
    }
    Ok(guard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_path_of_108_bytes_is_refused() {
        let folder = format!("/{}", "x".repeat(98));
        assert!(socket_path(Path::new(&folder), "control").is_ok());
        let error = socket_path(Path::new(&folder), "controls").unwrap_err();
        assert!(
            matches!(
                error,
                Error::SocketPath {
                    length: 108,
                    limit: 107,
                    ..
                }
            ),
            "{error}"
        );
    }
}
