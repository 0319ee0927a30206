//! The publisher's program, built as operators run it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde::Deserialize;

/// Something that Cargo built.
#[derive(Deserialize)]
struct Artifact {
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// Returns the folder of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Environment variable that names the folder of the examples as tests build them.
const EXAMPLES: &str = "ONIONWEAVE_EXAMPLES";

/// Returns the publisher's program, optimised or as tests build it.
///
/// It is built first, unless it need not be optimised and `ONIONWEAVE_EXAMPLES` names its folder.
pub(crate) fn build_publisher(optimised: bool) -> anyhow::Result<PathBuf> {
    const NAME: &str = "publisher";
    let built = std::env::var_os(EXAMPLES).filter(|folder| !optimised && !folder.is_empty());
    if let Some(folder) = built {
        return Ok(Path::new(&folder).join(NAME));
    }
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build
        .args(["build", "--locked", "--message-format=json"])
        .current_dir(root());
    if optimised {
        build.args(["--release", "--example", NAME]);
    } else {
        // As `cargo test --workspace --all-features` builds them, so that nothing is built twice.
        build.args(["--workspace", "--all-features", "--examples"]);
    }
    let output = build.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    ensure!(
        output.status.success(),
        "the publisher does not build: Cargo ended with {}",
        output.status
    );
    let lines = output.stdout.split(|byte| *byte == b'\n');
    // Cargo has other messages too, of other forms.
    lines
        .filter_map(|line| serde_json::from_slice::<Artifact>(line).ok())
        .filter(|artifact| artifact.target.kind == ["example"] && artifact.target.name == NAME)
        .find_map(|artifact| artifact.executable)
        .with_context(|| format!("Cargo built no example {NAME}"))
}
