//! The project as Cargo knows it, and calls of Cargo.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::setup::{self, cargo};

/// The workspace as `cargo metadata` describes it.
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
    pub(crate) features: BTreeMap<String, Vec<String>>,
    /// Registries where it may be published; `None` is anywhere.
    publish: Option<Vec<String>>,
    pub(crate) rust_version: Option<Version>,
    pub(crate) description: Option<String>,
    pub(crate) license: Option<String>,
    pub(crate) readme: Option<PathBuf>,
    pub(crate) keywords: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) metadata: Value,
}

impl Package {
    /// Returns whether the package has a library.
    pub(crate) fn has_library(&self) -> bool {
        let libraries = ["lib", "rlib", "proc-macro"];
        let kinds = self.targets.iter().flat_map(|target| &target.kind);
        kinds.into_iter().any(|kind| libraries.contains(&kind.as_str()))
    }

    /// Returns whether the package is for others to depend on.
    pub(crate) fn is_published(&self) -> bool {
        self.publish.as_ref().is_none_or(|registries| !registries.is_empty())
    }
}

/// Version of a compiler: major, minor and patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32, pub(crate) u32);

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let numbers: Result<Vec<u32>, _> = text.split('.').map(str::parse).collect();
        match numbers.ok().as_deref() {
            Some([major]) => Ok(Self(*major, 0, 0)),
            Some([major, minor]) => Ok(Self(*major, *minor, 0)),
            Some([major, minor, patch]) => Ok(Self(*major, *minor, *patch)),
            _ => Err(format!("{text:?} is no version of Rust")),
        }
    }
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
    /// Folder in which Cargo would run it.
    pub(crate) folder: PathBuf,
}

impl Workspace {
    pub(crate) fn read() -> anyhow::Result<Self> {
        Self::read_with(&["--no-deps"])
    }

    fn read_with(arguments: &[&str]) -> anyhow::Result<Self> {
        let output = cargo()
            .args(["metadata", "--format-version=1", "--locked"])
            .args(arguments)
            .stderr(Stdio::inherit())
            .output()
            .context("cargo does not start")?;
        ensure!(output.status.success(), "`cargo metadata` ended with {}", output.status);
        serde_json::from_slice(&output.stdout).context("`cargo metadata` is not understood")
    }

    /// The crates that others may depend on.
    pub(crate) fn published(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.is_published())
    }

    /// Returns the folder into which Cargo builds the examples.
    pub(crate) fn examples(&self) -> PathBuf {
        self.target_directory.join("debug/examples")
    }

    /// All packages that `Cargo.lock` names, those of the workspace among them.
    pub(crate) fn with_dependencies(&self) -> anyhow::Result<Vec<Package>> {
        Ok(Self::read_with(&["--all-features"])?.packages)
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

    /// Runs a command that builds and has `--message-format=json`; the tests and benches that it
    /// built, in order.
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
