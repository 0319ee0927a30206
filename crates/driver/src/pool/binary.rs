//! The tor binary: found and checked before anything is started with it.

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use onionweave_control::TorVersion;

use crate::error::PoolProblem;
use crate::program::locate;

/// How long the binary may take to say what it is. It takes some hundredths of a second.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// More words than this are none of Tor's.
const LONGEST_ANSWER: u64 = 64 * 1024;
/// How many of Tor's complaints an error quotes.
const COMPLAINTS: usize = 3;

/// Finds the binary, a path or a name in `PATH`, and asks it for its version.
pub(super) fn find(tor: &Path) -> Result<PathBuf, PoolProblem> {
    let path = locate(tor).ok_or_else(|| PoolProblem::NotInPath(tor.into()))?;
    let answer = ask(&path, &["--version"], "")?;
    let first = answer.text.lines().next().unwrap_or_default();
    let version = first.strip_prefix("Tor version ").map(str::parse::<TorVersion>);
    match version {
        Some(Ok(version)) if version.has_v2_onion_services() => Ok(path),
        Some(Ok(version)) => Err(PoolProblem::TooNew { path, version }),
        _ => Err(PoolProblem::NotTor {
            path,
            answer: first.to_owned(),
        }),
    }
}

/// Lets Tor judge a configuration.
pub(super) fn verify(tor: &Path, torrc: &str) -> Result<(), PoolProblem> {
    let answer = ask(tor, &["--verify-config", "-f", "-"], torrc)?;
    if answer.success {
        return Ok(());
    }
    let complaint = |line: &str| Some(line.split_once("[warn] ").or(line.split_once("[err] "))?.1.to_owned());
    let complaints: Vec<_> = answer.text.lines().filter_map(complaint).take(COMPLAINTS).collect();
    Err(PoolProblem::Refused(complaints.join("; ")))
}

struct Answer {
    success: bool,
    text: String,
}

/// Runs the binary for a moment.
fn ask(tor: &Path, arguments: &[impl AsRef<OsStr>], input: &str) -> Result<Answer, PoolProblem> {
    let failed = |source| PoolProblem::Run {
        path: tor.into(),
        source,
    };
    let mut child = Command::new(tor)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that reads nothing says so in its answer. A configuration is shorter than the pipe's buffer or Tor reads on.
        let _ = stdin.write_all(input.as_bytes());
    }
    let (to, answer) = std::sync::mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let read = stdout.take(LONGEST_ANSWER).read_to_end(&mut text);
            // Nobody waits any more if it took too long.
            let _ = to.send(read.map(|_| String::from_utf8_lossy(&text).into_owned()));
        });
    }
    let text = answer.recv_timeout(ANSWER_WITHIN);
    let deadline = Instant::now() + Duration::from_secs(1);
    while text.is_ok() && child.try_wait().map_err(failed)?.is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    // Fails only if it has ended.
    let _ = child.kill();
    let status = child.wait().map_err(failed)?;
    match text {
        Ok(text) => Ok(Answer {
            success: status.success(),
            text: text.map_err(failed)?,
        }),
        Err(_) => Err(PoolProblem::Silent {
            path: tor.into(),
            within: ANSWER_WITHIN,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn script(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tor");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        (folder, path)
    }

    // In one test: a program that is being written while another thread starts one cannot be run.
    #[test]
    fn binary_and_configuration_are_judged() {
        let (_folder, path) = script("echo 'Tor version 0.4.5.9.'; echo more");
        assert_eq!(find(&path).unwrap(), path);
        for (text, expected) in [
            (
                "echo 'Tor version 0.4.9.11.'",
                "is Tor 0.4.9.11, which has no v2 onion services",
            ),
            ("echo hello", "is no Tor: to --version it answers \"hello\""),
            ("exit 1", "is no Tor: to --version it answers \"\""),
        ] {
            let (_folder, path) = script(text);
            let error = find(&path).unwrap_err().to_string();
            assert!(error.starts_with("tor: ") && error.contains(expected), "{error}");
        }
        let error = find(Path::new("/none/tor")).unwrap_err().to_string();
        assert!(error.starts_with("tor: cannot run /none/tor: No such file"), "{error}");
        let error = find(Path::new("no-such-tor")).unwrap_err().to_string();
        assert_eq!(error, "tor: there is no program no-such-tor in PATH");

        let (_folder, path) =
            script("cat >/dev/null; echo 'Nov 1 [notice] x'; echo 'Nov 1 [warn] Unknown option'; exit 1");
        let error = verify(&path, "Bogus 1\n").unwrap_err().to_string();
        assert_eq!(error, "torrc: Tor refuses it: Unknown option");
        let (_folder, path) = script("cat >/dev/null; echo 'Nov 1 [warn] hm'");
        assert!(verify(&path, "").is_ok());
    }
}
