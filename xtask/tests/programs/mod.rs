//! The examples as programs. (A file of this name is no test of its own.)

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::Value;

/// Folder of the examples' programs.
static EXAMPLES: LazyLock<PathBuf> = LazyLock::new(|| match std::env::var_os("ONIONWEAVE_EXAMPLES") {
    Some(folder) if !folder.is_empty() => folder.into(),
    _ => build(),
});

/// Returns the program of an example, which is built first unless `ONIONWEAVE_EXAMPLES` names a
/// folder that has it.
pub(crate) fn program(example: &str) -> PathBuf {
    EXAMPLES.join(example)
}

/// Builds the examples as `cargo test --workspace --all-features` does, so that nothing is built
/// twice.
fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--workspace", "--all-features", "--examples"])
        .arg("--message-format=json")
        .current_dir(root())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "the examples do not build");
    let messages = output.stdout.split(|byte| *byte == b'\n');
    let program = messages
        .filter(|line| !line.is_empty())
        .map(|message| serde_json::from_slice::<Value>(message).unwrap())
        .filter(|message| message["target"]["kind"] == serde_json::json!(["example"]))
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .expect("Cargo names the examples that it has built");
    program.parent().unwrap().to_owned()
}

/// The folder of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
