//! Binaries that are named by `ONIONWEAVE_TOR` and cannot serve: each is refused with the reason,
//! before anything is started.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

use std::path::Path;
use std::process::Command;

/// Returns the words of the program to a tor that answers `--version` and `--list-modules` like
/// this.
fn refusal(version: &str, modules: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let tor = folder.path().join("tor");
    let script = format!(
        "#!/bin/sh\ncase $1 in\n--version) printf '{version}' ;;\n--list-modules) printf '{modules}' ;;\nesac\n"
    );
    // Written by another process: a file that a fork of this one still holds open for writing
    // cannot be executed.
    let write = r#"printf %s "$2" >"$1" && chmod 700 "$1""#;
    let status = Command::new("/bin/sh")
        .args(["-c", write, "sh"])
        .args([tor.as_os_str(), script.as_ref()])
        .status()
        .unwrap();
    assert!(status.success());
    refusal_of(&tor)
}

fn refusal_of(tor: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_onionweave-testnet"))
        .env("ONIONWEAVE_TOR", tor)
        .output()
        .unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains(tor.to_str().unwrap()), "{words}");
    assert_eq!(words.lines().count(), 1, "{words}");
    words
}

const ALL: &str = "relay: yes\\ndirauth: yes\\n";

#[test]
fn a_tor_without_v2_is_refused() {
    for version in ["0.4.9.11", "0.4.6.1-alpha", "0.4.5.11", "0.3.5.17"] {
        // The lines of Debian's tor 0.4.9.11 for `--version`.
        let words = refusal(
            &format!("Tor version {version}.\\nThis build of Tor is covered by the GNU General Public License\\n"),
            ALL,
        );
        let number = version.trim_end_matches("-alpha");
        assert!(
            words.contains(&format!("tor {number} has no v2 onion services")),
            "{words}"
        );
    }
}

#[test]
fn a_tor_without_a_module_is_refused() {
    let words = refusal("Tor version 0.4.5.9.\\n", "relay: no\\ndirauth: yes\\n");
    assert!(words.contains("without the relay module"), "{words}");
    let words = refusal(
        "Tor version 0.4.5.10 (git-8f8a1d0b2b4c0e2a).\\n",
        "relay: yes\\ndircache: yes\\n",
    );
    assert!(words.contains("without the dirauth module"), "{words}");
}

#[test]
fn what_is_no_tor_is_refused() {
    let words = refusal("GNU bash, version 5.2\\n", ALL);
    assert!(words.contains("GNU bash"), "{words}");
    let words = refusal("Tor version 0.4.5\\n", ALL);
    assert!(
        words.contains("no Tor: to --version it answers \"Tor version 0.4.5\""),
        "{words}"
    );
    assert!(refusal_of(Path::new("/nonexistent/tor")).contains("No such file"));
    assert!(refusal_of(Path::new("/bin/false")).contains("no Tor"));
}
