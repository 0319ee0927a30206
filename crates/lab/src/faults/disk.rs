//! A disk so small that it can be filled: a tmpfs that only those see who enter its user and mount
//! namespace. No root is needed for that, where the kernel lets users have namespaces.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};

/// Size of the disk, as `mount` wants it.
const SIZE: &str = "64k";
/// Name of the file that fills it.
const BALLAST: &str = "ballast";
/// Mounts the disk at $1, says so, and holds the namespaces until its input ends.
const HOLD: &str = r#"mount -t tmpfs -o "size=$2,mode=700" onionweave "$1" && echo mounted && exec cat"#;

/// The disk. It is gone when this is dropped and nobody uses it any more.
pub(crate) struct SmallDisk {
    holder: Child,
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts it over a folder, which is created.
    pub(crate) fn start(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir(folder).with_context(|| folder.display().to_string())?;
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", HOLD, "hold"])
            .arg(folder)
            .arg(SIZE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("a disk to be filled needs the program unshare")?;
        let mut said = String::new();
        if let Some(output) = holder.stdout.take() {
            BufReader::new(output).read_line(&mut said)?;
        }
        let disk = Self {
            holder,
            folder: folder.to_owned(),
        };
        ensure!(
            said.trim_end() == "mounted",
            "a disk to be filled needs a tmpfs in a user and mount namespace, and `unshare --user --map-root-user --mount` gives none here; \
             the other faults can be named with --only"
        );
        Ok(disk)
    }

    /// Returns the words before a command that is to see the disk.
    pub(crate) fn enter(&self) -> Vec<String> {
        let target = self.holder.id().to_string();
        let words = [
            "nsenter",
            "--preserve-credentials",
            "--user",
            "--mount",
            "--target",
            &target,
            "--",
        ];
        words.map(str::to_owned).to_vec()
    }

    /// Removes everything on it, and fills it to the last byte.
    pub(crate) fn fill(&self) -> anyhow::Result<()> {
        let seen = self.seen();
        for entry in fs::read_dir(&seen).with_context(|| seen.display().to_string())? {
            let path = entry?.path();
            fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
        let ballast = seen.join(BALLAST);
        let mut file = File::create(&ballast).with_context(|| ballast.display().to_string())?;
        loop {
            match file.write(&[0; 4096]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error).with_context(|| ballast.display().to_string()),
            }
        }
    }

    /// Removes what fills it.
    pub(crate) fn empty(&self) -> anyhow::Result<()> {
        let ballast = self.seen().join(BALLAST);
        fs::remove_file(&ballast).with_context(|| ballast.display().to_string())
    }

    /// The folder as its namespace sees it.
    fn seen(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.folder.strip_prefix("/").unwrap_or(&self.folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_is_full_for_those_who_see_it_until_it_is_emptied() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let disk = match SmallDisk::start(&state) {
            Ok(disk) => disk,
            // Containers often have no namespaces to give; then the error says what is missing.
            Err(error) => return assert!(error.to_string().contains("unshare"), "{error}"),
        };
        let write = || {
            let words = disk.enter();
            let script = r#"echo something >"$1/file""#;
            let mut command = Command::new(&words[0]);
            command
                .args(&words[1..])
                .args(["sh", "-c", script, "write"])
                .arg(&state)
                .stderr(Stdio::null());
            command.status().unwrap().success()
        };
        assert!(write());
        disk.fill().unwrap();
        assert!(!disk.seen().join("file").exists());
        assert!(!write(), "it is full");
        disk.empty().unwrap();
        assert!(write(), "there is room again");
        assert!(!state.join("file").exists(), "others don't see it");
    }
}
