//! The program as an operator meets it: arguments, files, exit codes, and one line for each
//! mistake.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const KEY: &str = include_str!("../../driver/testdata/private_key");
const RIGHT: &str = r#"[publisher]
heartbeat = "2s"

[[service]]
key = "private_key"

[[service.instance]]
name = "a"
control = "unix:/nonexistent/a"

[[service.instance]]
name = "b"
control = "127.0.0.1:9"
"#;

/// Folder with a key and a configuration.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.file("private_key", KEY.as_bytes());
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, text: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onionweave"));
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    // The folders of tests lie where everybody may write.
    command.env("FS_MISTRUST_DISABLE_PERMISSIONS_CHECKS", "1");
    command
}

fn check(config: impl AsRef<OsStr>) -> Output {
    program().arg("check").arg("--config").arg(config).output().unwrap()
}

fn words(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn help_and_version() {
    let output = program().arg("--version").output().unwrap();
    assert!(output.status.success());
    let version = String::from_utf8(output.stdout).unwrap();
    assert_eq!(version.trim_end(), concat!("onionweave ", env!("CARGO_PKG_VERSION")));
    for command in ["run", "check"] {
        let output = program().args([command, "--help"]).output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains(&format!("Usage: onionweave {command}")), "{help}");
        assert!(help.contains("[[service.instance]]"), "{help}");
    }
    for arguments in [&[][..], &["fly"], &["run", "--no-such-argument"]] {
        let output = program().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn right_configuration_is_accepted_without_escape_codes() {
    let folder = Folder::new();
    let output = check(folder.file("c.toml", RIGHT.as_bytes()));
    assert!(output.status.success(), "{}", words(&output));
    assert!(words(&output).contains("is right: 1 services"), "{}", words(&output));
    assert!(!words(&output).contains('\u{1b}'), "{}", words(&output));
}

/// Each mistake: what is replaced, by what, and what the line says after the path.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "heartbeat = \"2s\"",
        "heartbeat = 2",
        "line 2, column 13: 2 has no unit: write \"2s\"",
    ),
    (
        "heartbeat = \"2s\"",
        "heartbeat = 0.5",
        "line 2, column 13: 0.5 has no unit: write \"500ms\"",
    ),
    (
        "heartbeat = \"2s\"",
        "heartbeat = \"1h\"",
        "line 2, column 13: publisher: heartbeat must lie between 100ms and 1m",
    ),
    (
        "heartbeat = \"2s\"",
        "answer = \"300000000000y\"",
        "line 2, column 10: \"300000000000y\" is too long",
    ),
    (
        "heartbeat = \"2s\"",
        "state = \"~/s\"",
        "line 2, column 9: \"~/s\": ~ is the shell's word for a folder",
    ),
    (
        "\"private_key\"",
        "\"~/private_key\"",
        "line 5, column 7: \"~/private_key\": ~ is the shell's",
    ),
    (
        "unix:/nonexistent/a",
        "unix:/run/tor/control GroupWritable",
        "line 9, column 11: \"unix:/run/tor/control GroupWritable\" is no control endpoint: GroupWritable is an option of the \
         torrc; write \"unix:/run/tor/control\"",
    ),
    (
        "unix:/nonexistent/a",
        "unix:@tor",
        "line 9, column 11: \"unix:@tor\" is no control endpoint: Tor has no abstract",
    ),
    (
        "unix:/nonexistent/a",
        "unix:~/control",
        "line 9, column 11: \"~/control\": ~ is the shell's",
    ),
    (
        "unix:/nonexistent/a",
        "tcp://127.0.0.1:9051",
        "line 9, column 11: \"tcp://127.0.0.1:9051\" is no control endpoint: write \"HOST:PORT\" or \"unix:PATH\", such as \
         \"127.0.0.1:9051\"",
    ),
    (
        "unix:/nonexistent/a",
        "localhost:9",
        "line 11, column 1: service {folder}/private_key: instance \"b\": another instance has the control port",
    ),
    (
        "control = \"127.0.0.1:9\"",
        "control = \"127.0.0.1:9\"\nrestart = [\"/nonexistent/restart\", \"b\"]",
        "line 11, column 1: service {folder}/private_key: instance \"b\": restart: there is no program /nonexistent/restart",
    ),
    (
        "control = \"127.0.0.1:9\"",
        "control = \"127.0.0.1:9\"\nrestart = [\"no-such-program\"]",
        "line 11, column 1: service {folder}/private_key: instance \"b\": restart: there is no program no-such-program in PATH",
    ),
    (
        "\"private_key\"",
        "\"missing\"",
        "line 5, column 7: key of service 1: {folder}/missing: No such file or directory (os error 2)\n",
    ),
    (
        "control = \"127.0.0.1:9\"",
        "control = \"127.0.0.1:9\"\npassword_file = \"none\"",
        "{folder}/none: No such file or directory (os error 2)\n",
    ),
    (
        "instance]]\nname = \"b\"",
        "instnaces]]\nname = \"b\"",
        "unknown field `instnaces`",
    ),
    (
        RIGHT,
        "services:\n  - key: k\n",
        "this looks like Onionbalance's config.yaml; onionweave reads TOML",
    ),
    (RIGHT, "", "there is no [[service]]"),
];

#[test]
fn every_mistake_is_told_once_with_its_place_and_remedy() {
    let folder = Folder::new();
    let name = folder.0.path().display().to_string();
    for (from, to, expected) in MISTAKES {
        assert!(RIGHT.contains(from), "{from}");
        let config = folder.file("c.toml", RIGHT.replacen(from, to, 1).as_bytes());
        let output = check(&config);
        let words = words(&output);
        assert_eq!(output.status.code(), Some(78), "{to}: {words}");
        assert_eq!(words.lines().count(), 1, "{to}: {words}");
        assert!(words.starts_with("onionweave: "), "{to}: {words}");
        let expected = expected.replace("{folder}", &name);
        assert!(words.contains(&expected), "{to}:\n{words}\nnot\n{expected}");
        for part in words.trim_end().split(": ") {
            // Short words such as names may well stand twice.
            let times = words.matches(part).count();
            assert!(
                part.len() < 20 || times == 1,
                "{part:?} stands {times} times in {words}"
            );
        }
        let started = program().arg("run").arg("-c").arg(&config).output().unwrap();
        assert_eq!(started.status.code(), Some(78), "{to}");
    }
}

#[test]
fn only_regular_files_of_bounded_length_are_configurations() {
    let folder = Folder::new();
    let pipe = folder.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let long = folder.file("long", &b"# filler\n".repeat(600_000));
    let binary = folder.file("binary", b"[publisher]\n\xff\xfe");
    for (path, expected) in [
        (pipe, "a configuration must be a regular file"),
        ("/dev/zero".into(), "a configuration must be a regular file"),
        (folder.0.path().into(), "a configuration must be a regular file"),
        (long, "longer than 4 MiB"),
        (binary, "line 2, column 1: not UTF-8 text"),
        (folder.path("nowhere"), "No such file or directory"),
    ] {
        let output = check(&path);
        let words = words(&output);
        assert_eq!(output.status.code(), Some(78), "{words}");
        assert!(words.contains(expected), "{words}");
    }
}

#[test]
fn misspelt_level_is_named() {
    let folder = Folder::new();
    let config = folder.file("c.toml", RIGHT.as_bytes());
    let output = program()
        .args(["check", "-c"])
        .arg(config)
        .env("RUST_LOG", "inof")
        .output()
        .unwrap();
    assert!(output.status.success());
    assert!(words(&output).contains("\"inof\" is no level"), "{}", words(&output));
}

#[test]
fn configuration_that_once_made_a_task_panic_is_refused() {
    let folder = Folder::new();
    let text = fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/testdata/duration_that_panics.toml"
    ))
    .unwrap();
    let output = check(folder.file("c.toml", &text));
    assert_eq!(output.status.code(), Some(78));
    assert!(words(&output).contains("ten years are the limit"), "{}", words(&output));
}

/// A log that cannot be written ends nothing.
#[test]
fn publisher_goes_on_when_nobody_can_read_its_log() {
    let folder = Folder::new();
    let config = folder.file("c.toml", RIGHT.as_bytes());
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    for stderr in [full(), closed()] {
        let mut child = program()
            .args(["run", "-c"])
            .arg(&config)
            .env("RUST_LOG", "trace")
            .stderr(stderr)
            .spawn()
            .unwrap();
        // It logs from its first moment on; an end would come within that time. More time makes the
        // test no less sure.
        std::thread::sleep(std::time::Duration::from_secs(2));
        assert_eq!(child.try_wait().unwrap(), None, "it ended");
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    // Nor do complaints panic, which would be exit code 101.
    let status = program()
        .args(["check", "-c", "/nonexistent"])
        .stderr(full())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(78));
}

/// Signals that ask for nothing end nothing.
#[test]
fn signals_for_users_are_ignored() {
    let folder = Folder::new();
    let config = folder.file("c.toml", RIGHT.as_bytes());
    let log = folder.path("log");
    let mut child = program()
        .args(["run", "-c"])
        .arg(&config)
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let logged = |what: &str| {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !fs::read_to_string(&log).unwrap().contains(what) {
            assert!(
                std::time::Instant::now() < deadline,
                "no \"{what}\" in {}",
                fs::read_to_string(&log).unwrap()
            );
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    logged("publishing 1 services");
    let pid = child.id().to_string();
    for signal in ["-USR1", "-USR2", "-HUP"] {
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
    logged("again: 1 services");
    assert_eq!(child.try_wait().unwrap(), None);
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
