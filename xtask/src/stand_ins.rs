//! Programs that fail: the first folder on the `PATH` of every test.
//!
//! A machine where a test is written often has programs that another machine lacks. A test that
//! finds such a program by luck passes here and fails there. With the stand-ins it fails
//! everywhere.

use std::env;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use onionweave_testnet::tor;

use crate::setup::TOR_WITHOUT_V2;

/// Exit code of a stand-in.
const EXIT_CODE: u8 = 97;

/// Programs that a test must not look up on the `PATH`.
///
/// Not among them is what every Debian system has, such as `sh` and `kill`, and what Cargo builds
/// with.
const NAMES: [&str; 26] = [
    "chromium",
    "curl",
    "docker",
    "etcd",
    "etcdctl",
    "ffmpeg",
    "haproxy",
    "mdbook",
    "nc",
    "nginx",
    "node",
    "obfs4proxy",
    "onionbalance",
    "openssl",
    "prometheus",
    "promtool",
    "python",
    "python3",
    "socat",
    "systemctl",
    "tor",
    "tor-gencert",
    "torsocks",
    "varnishd",
    "wget",
    "wrk",
];

/// Folder of stand-ins.
#[derive(Clone)]
pub(crate) struct StandIns {
    folder: PathBuf,
}

impl StandIns {
    /// Writes the stand-ins into a folder, which is made if need be.
    pub(crate) fn write(folder: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        for name in NAMES {
            let path = folder.join(name);
            let script = script(name);
            // A test may be starting one at this moment, from a run beside this one.
            if fs::read(&path).is_ok_and(|old| old == script.as_bytes()) {
                continue;
            }
            let new = folder.join(format!(".{name}.{}", std::process::id()));
            fs::write(&new, script).with_context(|| format!("write {}", new.display()))?;
            fs::set_permissions(&new, Permissions::from_mode(0o755))?;
            fs::rename(&new, &path).with_context(|| format!("write {}", path.display()))?;
        }
        Ok(Self { folder })
    }

    /// Puts the stand-ins before all else on a command's `PATH`.
    pub(crate) fn apply(&self, command: &mut Command) -> anyhow::Result<()> {
        command.env("PATH", before(&self.folder, env::var_os("PATH"))?);
        Ok(())
    }
}

fn before(folder: &Path, path: Option<OsString>) -> anyhow::Result<OsString> {
    let path = path.unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(env::split_paths(&path));
    Ok(env::join_paths(folders)?)
}

/// Returns a program that says how its namesake is handed over, and fails.
fn script(name: &str) -> String {
    let way = match name {
        "tor" => format!(
            "name it in {} (with v2 onion services) or {TOR_WITHOUT_V2} (without), as cargo xtask test does",
            tor::VARIABLE
        ),
        _ => format!(
            "let cargo xtask test hand it over in a variable, such as ONIONWEAVE_{}",
            name.to_uppercase().replace('-', "_")
        ),
    };
    format!(
        "#!/bin/sh\necho 'the program {name} was looked up on the PATH, where it is found by luck only; {way}' >&2\nexit {EXIT_CODE}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_found_by_luck_fails_and_says_how_it_is_handed_over() {
        let folder = tempfile::tempdir().unwrap();
        let stand_ins = StandIns::write(folder.path().join("stand-ins")).unwrap();
        for (name, variable) in [("tor", "ONIONWEAVE_TOR"), ("tor-gencert", "ONIONWEAVE_TOR_GENCERT")] {
            let mut command = Command::new("sh");
            stand_ins
                .apply(command.args(["-c", &format!("{name} --version")]))
                .unwrap();
            let output = command.output().unwrap();
            assert_eq!(output.status.code(), Some(i32::from(EXIT_CODE)));
            let words = String::from_utf8(output.stderr).unwrap();
            assert!(words.starts_with(&format!("the program {name} ")), "{words}");
            assert!(words.contains(variable), "{words}");
        }
        // The rest of the PATH stays.
        let mut command = Command::new("sh");
        stand_ins.apply(command.args(["-c", "kill -0 $$ && ls /"])).unwrap();
        assert!(command.output().unwrap().status.success());
    }

    #[test]
    fn writing_them_again_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let modified = || fs::metadata(folder.path().join("tor")).unwrap().modified().unwrap();
        StandIns::write(folder.path().to_owned()).unwrap();
        let before = modified();
        StandIns::write(folder.path().to_owned()).unwrap();
        assert_eq!(before, modified());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), NAMES.len());
    }
}
