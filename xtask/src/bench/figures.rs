//! Our own figures: Criterion's, and the memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use super::Core;
use crate::setup;
use crate::workspace::{Program, Workspace};

/// Builds the benches that measure time, with all back ends.
pub(super) fn build(workspace: &Workspace) -> anyhow::Result<Vec<Program>> {
    setup::ensure_openssl()?;
    let mut build = workspace.cargo();
    build.args([
        "bench",
        "--quiet",
        "--all-features",
        "--no-run",
        "--message-format=json",
    ]);
    let benches = workspace.build(build.args(["--bench", "desc", "--bench", "ring", "--bench", "control"]))?;
    ensure!(
        benches.len() == 3,
        "the benches of descriptors, of the ring and of the control client were not built"
    );
    Ok(benches)
}

/// The median of every bench, in seconds, by Criterion's full name for it.
pub(super) struct Ours(pub(super) BTreeMap<String, f64>);

impl Ours {
    /// Runs those of the benches whose full names are asked for.
    pub(super) fn measure(
        benches: &[Program],
        names: &[&str],
        core: &Core,
        folder: &Path,
        rehearse: bool,
    ) -> anyhow::Result<Self> {
        let results = folder.join("criterion");
        if results.exists() {
            fs::remove_dir_all(&results).with_context(|| format!("remove {}", results.display()))?;
        }
        let (warm_up, time) = if rehearse { ("0.1", "0.2") } else { ("0.5", "2") };
        for bench in benches {
            let mut command = core.command(&bench.path);
            command.current_dir(&bench.folder).env("CRITERION_HOME", &results);
            command.args([
                "--bench",
                "--noplot",
                "--warm-up-time",
                warm_up,
                "--measurement-time",
                time,
            ]);
            // A regular expression; no name has a character that means something in one.
            setup::run_unseen(command.arg(format!("^({})$", names.join("|"))))?;
        }
        let mut medians = BTreeMap::new();
        read(&results, &mut medians)?;
        Ok(Self(medians))
    }
}

/// Reads what Criterion has left in a folder and those below it.
fn read(folder: &Path, medians: &mut BTreeMap<String, f64>) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Bench {
        full_id: String,
    }
    #[derive(Deserialize)]
    struct Estimates {
        median: Estimate,
    }
    #[derive(Deserialize)]
    struct Estimate {
        /// In nanoseconds.
        point_estimate: f64,
    }
    let new = folder.join("new");
    if new.join("benchmark.json").is_file() {
        let bench: Bench = read_json(&new.join("benchmark.json"))?;
        let estimates: Estimates = read_json(&new.join("estimates.json"))?;
        medians.insert(bench.full_id, estimates.median.point_estimate / 1e9);
    }
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            read(&path, medians)?;
        }
    }
    Ok(())
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not understood", path.display()))
}

/// Allocations of every operation.
pub(super) type Costs = BTreeMap<String, Cost>;

#[derive(Deserialize)]
pub(super) struct Cost {
    pub(super) allocations: u64,
    pub(super) bytes: u64,
    /// The most bytes at any one time.
    pub(super) peak: u64,
}

pub(super) fn memory(workspace: &Workspace) -> anyhow::Result<Costs> {
    let output = setup::output(
        workspace
            .cargo()
            .args(["bench", "--quiet", "--all-features", "--bench", "memory"]),
    )?;
    serde_json::from_str(&output).context("what the bench `memory` says is not understood")
}
