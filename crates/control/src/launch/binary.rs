//! A tor binary: its version, its modules, its opinion of a torrc.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::error::IoContext as _;
use super::{LaunchError, Torrc};
use crate::TorVersion;

/// Longest time that the binary may take to answer. It takes some hundredths of a second.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Longest time between the end of its answer and its own end.
const END_WITHIN: Duration = Duration::from_secs(1);
/// Number of bytes of an answer that are read.
const LONGEST_ANSWER: u64 = 64 * 1024;
/// Number of Tor's complaints that an error quotes.
const COMPLAINTS: usize = 3;
/// Number of characters of the first line that an error quotes.
const QUOTED: usize = 200;

/// A binary that says it is a Tor.
///
/// Its functions run it for a moment and block meanwhile, at most for ten seconds each.
///
/// ```no_run
/// use onionweave_control::launch::TorBinary;
///
/// let tor = TorBinary::at("/usr/bin/tor")?;
/// println!("{} is tor {}", tor.path().display(), tor.version());
/// # Ok::<(), onionweave_control::launch::LaunchError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TorBinary {
    path: PathBuf,
    version: TorVersion,
}

impl TorBinary {
    /// Asks the binary at this path for its version. A relative path counts from the current
    /// folder; `PATH` is not looked at.
    ///
    /// # Errors
    /// [`LaunchError::Io`] if it cannot be run, [`LaunchError::NoAnswer`], [`LaunchError::NotTor`].
    pub fn at(path: impl AsRef<Path>) -> Result<Self, LaunchError> {
        let path = path.as_ref();
        let path = std::path::absolute(path).doing("resolve", path)?;
        let answer = ask(&path, "--version", &[], b"")?;
        let first = answer.text.lines().next().unwrap_or_default();
        let version = first.strip_prefix("Tor version ").and_then(|text| text.parse().ok());
        match version {
            Some(version) => Ok(Self { path, version }),
            None => Err(LaunchError::NotTor {
                path,
                answer: first.chars().take(QUOTED).collect(),
            }),
        }
    }

    /// The absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The version that it says it is.
    pub fn version(&self) -> TorVersion {
        self.version
    }

    /// Whether it was built with a module, such as `relay` or `dirauth` (`--list-modules`, since
    /// 0.4.2).
    ///
    /// # Errors
    /// [`LaunchError::Io`], [`LaunchError::NoAnswer`].
    pub fn has_module(&self, module: &str) -> Result<bool, LaunchError> {
        let answer = ask(&self.path, "--list-modules", &[], b"")?;
        Ok(answer
            .text
            .lines()
            .any(|line| line.strip_prefix(module) == Some(": yes")))
    }

    /// Asks Tor to judge a torrc (`--verify-config`).
    ///
    /// # Errors
    /// [`LaunchError::Torrc`] with Tor's complaints; [`LaunchError::Io`],
    /// [`LaunchError::NoAnswer`].
    pub fn verify(&self, torrc: &Torrc) -> Result<(), LaunchError> {
        let answer = ask(&self.path, "--verify-config", &["-f", "-"], torrc.as_bytes())?;
        if answer.success {
            return Ok(());
        }
        let complaint = |line: &str| Some(line.split_once("[warn] ").or(line.split_once("[err] "))?.1.to_owned());
        Err(LaunchError::Torrc {
            complaints: answer.text.lines().filter_map(complaint).take(COMPLAINTS).collect(),
        })
    }
}

struct Answer {
    success: bool,
    text: String,
}

/// Runs the binary for a moment.
fn ask(tor: &Path, argument: &'static str, more: &[&str], input: &[u8]) -> Result<Answer, LaunchError> {
    let mut child = Command::new(tor)
        .arg(argument)
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .doing("run", tor)?;
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_vec();
        // A program that reads nothing says so in its answer, and must not keep us here.
        std::thread::spawn(move || stdin.write_all(&input));
    }
    let (to, answer) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let read = stdout.take(LONGEST_ANSWER).read_to_end(&mut text);
            // Nobody waits any more if it took too long.
            let _ = to.send(read.map(|_| String::from_utf8_lossy(&text).into_owned()));
        });
    }
    let text = answer.recv_timeout(ANSWER_WITHIN);
    let deadline = Instant::now() + END_WITHIN;
    while text.is_ok() && child.try_wait().doing("wait for", tor)?.is_none() && Instant::now() < deadline {
        // The answer has ended, so the end is near; nothing but asking again tells of it here.
        std::thread::sleep(Duration::from_millis(2));
    }
    // Fails only if it has ended.
    let _ = child.kill();
    let status = child.wait().doing("wait for", tor)?;
    match text {
        Ok(text) => Ok(Answer {
            success: status.success(),
            text: text.doing("read the answer of", tor)?,
        }),
        Err(_) => Err(LaunchError::NoAnswer {
            path: tor.to_owned(),
            argument,
            after: ANSWER_WITHIN,
        }),
    }
}
