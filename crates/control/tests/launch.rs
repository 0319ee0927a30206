//! Processes that are no Tor, or none that serves: each failure is told with its reason.
//! `real_tor.rs` starts real ones.
#![cfg(all(unix, feature = "launch"))]
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use onionweave_control::TorVersion;
use onionweave_control::launch::{Launch, LaunchError, Ownership, TorBinary, Torrc};

const LONG: Duration = Duration::from_secs(60);

/// A program in the place of tor. It is no file that a test writes, since the system refuses to run
/// a file that any process still has open for writing.
fn stand_in(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stand-ins").join(name)
}

#[test]
fn binaries_are_judged() {
    let tor = TorBinary::at(stand_in("complains")).unwrap();
    assert_eq!(tor.version(), TorVersion::new([0, 4, 5, 9]));
    assert!(tor.has_module("relay").unwrap() && !tor.has_module("dirauth").unwrap());
    let error = tor.verify(&Torrc::new().option("Bogus", "1")).unwrap_err();
    assert_eq!(error.to_string(), "Tor refuses the torrc: Unknown option");

    let error = TorBinary::at(stand_in("hello")).unwrap_err().to_string();
    assert!(
        error.ends_with("is no Tor: to --version it answers \"hello\""),
        "{error}"
    );
    let error = TorBinary::at("/none/tor").unwrap_err().to_string();
    assert!(error.starts_with("cannot run /none/tor: No such file"), "{error}");
    // A name without a folder is a path all the same, not a program to be searched for.
    let error = TorBinary::at("sh").unwrap_err().to_string();
    assert!(
        error.starts_with("cannot run /") && error.contains("/sh: No such file"),
        "{error}"
    );
}

#[tokio::test]
async fn a_process_that_ends_is_told_with_its_log() {
    let folder = tempfile::tempdir().unwrap();
    for ownership in [Ownership::Lifeline, Ownership::Process, Ownership::None] {
        let launch = Launch::new(stand_in("complains"), folder.path().join("a")).ownership(ownership);
        let error = launch.start().await.unwrap_err();
        let LaunchError::Exited { status, log, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(status.code(), Some(3));
        assert_eq!(log.lines(), ["Nov 1 [err] no"]);
        assert!(error.to_string().contains("exit status: 3"), "{error}");
    }
    let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("a"), mode("a/torrc"), mode("a/output")), (0o700, 0o600, 0o600));
    assert!(folder.path().join("a/output.old").exists());

    let error = Launch::new("/none/tor", folder.path()).start().await.unwrap_err();
    assert!(
        error.to_string().starts_with("cannot run /none/tor: No such file"),
        "{error}"
    );
}

#[tokio::test]
async fn a_process_that_never_answers_is_given_up_and_ended() {
    let folder = tempfile::tempdir().unwrap();
    let launch = Launch::new(stand_in("hangs"), folder.path())
        .env("VARIABLE", "value")
        .open_files(123);
    let mut process = launch.spawn().unwrap();
    let id = process.id().unwrap();
    let running = |id: u32| Path::new(&format!("/proc/{id}/cwd")).exists();
    assert!(running(id));
    // Until it has told what it was started with.
    while fs::read_to_string(folder.path().join("output"))
        .unwrap()
        .lines()
        .count()
        < 2
    {
        assert!(process.ended().unwrap().is_none());
        // Only asking again tells what another process wrote.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let output = fs::read_to_string(folder.path().join("output")).unwrap();
    assert_eq!(output, "123\nvalue\n");

    let error = process.open(Duration::ZERO).await.unwrap_err();
    assert!(
        matches!(&error, LaunchError::TimedOut { log, .. } if log.lines() == ["123", "value"]),
        "{error}"
    );
    assert!(
        error.to_string().starts_with("tor did not reach an open control port"),
        "{error}"
    );
    assert!(process.ended().unwrap().is_none(), "it lives on");
    let status = process.end(LONG).await.unwrap();
    assert_eq!(status.signal(), Some(15));
    assert!(!running(id));

    // The one that `start` gives up is ended by itself.
    let error = launch.clone().within(Duration::ZERO).start().await.unwrap_err();
    assert!(matches!(error, LaunchError::TimedOut { .. }), "{error}");
}
