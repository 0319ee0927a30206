//! What Cargo knows of the project, and how it is called.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::setup::{self, cargo};

/// What `cargo metadata` says of the workspace.
#[derive(Deserialize)]
pub(crate) struct Workspace {
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    pub(crate) target_directory: PathBuf,
    pub(crate) packages: Vec<Package>,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) targets: Vec<Target>,
}

#[derive(Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
}

/// A program that Cargo has built from a file of tests or benches.
pub(crate) struct Program {
    pub(crate) package: String,
    pub(crate) target: String,
    pub(crate) path: PathBuf,
    /// Where Cargo would run it.
    pub(crate) folder: PathBuf,
}

impl Workspace {
    pub(crate) fn read() -> anyhow::Result<Self> {
        let output = cargo()
            .args(["metadata", "--format-version=1", "--no-deps", "--locked"])
            .stderr(Stdio::inherit())
            .output()
            .context("cargo does not start")?;
        ensure!(output.status.success(), "`cargo metadata` ended with {}", output.status);
        serde_json::from_slice(&output.stdout).context("`cargo metadata` is not understood")
    }

    /// A command that is run at the root of the workspace.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(&self.root);
        // Set by the `cargo run` around us, for this package alone.
        for (name, _) in env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
                command.env_remove(name);
            }
        }
        command
    }

    pub(crate) fn cargo(&self) -> Command {
        self.command(cargo().get_program())
    }

    /// Runs a command that builds and has `--message-format=json`; the tests and benches that it built, in order.
    pub(crate) fn build(&self, build: &mut Command) -> anyhow::Result<Vec<Program>> {
        let mut programs = Vec::new();
        for artifact in artifacts(build)? {
            let package = self
                .packages
                .iter()
                .find(|package| package.manifest_path == artifact.manifest_path);
            let kind = &artifact.target.kind;
            if let (true, Some(path), Some(package)) =
                (kind == &["test"] || kind == &["bench"], artifact.executable, package)
            {
                programs.push(Program {
                    package: package.name.clone(),
                    target: artifact.target.name,
                    path,
                    folder: package.manifest_path.parent().unwrap_or(&self.root).to_owned(),
                });
            }
        }
        programs.sort_by(|a, b| (&a.package, &a.target).cmp(&(&b.package, &b.target)));
        Ok(programs)
    }
}

/// Something that Cargo built.
#[derive(Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    target: Target,
    executable: Option<PathBuf>,
}

/// Runs a command that builds and has `--message-format=json`.
fn artifacts(build: &mut Command) -> anyhow::Result<Vec<Artifact>> {
    let output = build.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    ensure!(
        output.status.success(),
        "`{}` ended with {}",
        setup::words(build),
        output.status
    );
    let lines = output.stdout.split(|byte| *byte == b'\n');
    // Cargo has other messages too, of other forms.
    Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
}
