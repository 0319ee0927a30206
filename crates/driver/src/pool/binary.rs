//! The tor binary: found and checked before anything is started with it.

use std::path::Path;

use onionweave_control::launch::TorBinary;

use crate::error::PoolProblem;
use crate::program::locate;

/// Finds the binary, a path or a name in `PATH`, and asks it for its version.
pub(super) fn find(tor: &Path) -> Result<TorBinary, PoolProblem> {
    let path = locate(tor).ok_or_else(|| PoolProblem::NotInPath(tor.into()))?;
    let binary = TorBinary::at(path)?;
    if binary.version().has_v2_onion_services() {
        Ok(binary)
    } else {
        Err(PoolProblem::TooNew {
            path: binary.path().into(),
            version: binary.version(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use onionweave_control::launch::Torrc;

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
        let version = "[ $1 = --version ] && echo 'Tor version 0.4.5.9.' && echo more && exit\n";
        let (_folder, path) = script(version);
        assert_eq!(find(&path).unwrap().path(), path);
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

        let refuses = "cat >/dev/null; echo 'Nov 1 [notice] x'; echo 'Nov 1 [warn] Unknown option'; exit 1";
        let (_folder, path) = script(&format!("{version}{refuses}"));
        let refused = find(&path).unwrap().verify(&Torrc::new().option("Bogus", "1"));
        let error = PoolProblem::from(refused.unwrap_err()).to_string();
        assert_eq!(error, "torrc: Tor refuses it: Unknown option");
        let (_folder, path) = script(&format!("{version}cat >/dev/null; echo 'Nov 1 [warn] hm'"));
        assert!(find(&path).unwrap().verify(&Torrc::new()).is_ok());
    }
}
