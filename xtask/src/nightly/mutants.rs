//! A sample of cargo-mutants: does a test fail when the code is changed?

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;

use crate::setup::{self, Tool};
use crate::workspace::{Package, Workspace};

/// Core crates.
pub(super) const PACKAGES: [&str; 5] = [
    "onionweave-ring",
    "onionweave-desc",
    "onionweave-control",
    "onionweave-assign",
    "onionweave-publish",
];

/// Package whose tests check the reconciler as well.
const SIMULATOR: &str = "onionweave-sim";

/// Largest percentage of a sample that may survive unargued.
const MOST_SURVIVORS: usize = 5;

/// File with the mutants that may survive, one a line, each below a comment that says why.
const ARGUED: &str = "xtask/argued-mutants.txt";

/// Changes a package in at most `most` ways, which `seed` draws; returns a remark.
pub(super) fn check(workspace: &Workspace, package: &str, most: u32, seed: u32) -> anyhow::Result<String> {
    let program = Tool::MUTANTS.ensure()?;
    let mut list = workspace.command(&program);
    list.args(["mutants", "--list", "--package", package]);
    let count = setup::output(&mut list)?.lines().count();
    ensure!(count > 0, "{package} has no mutant");
    let shards = count.div_ceil(most as usize);
    let folder = workspace.target_directory.join("nightly-mutants").join(package);
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;

    let mut mutants = workspace.command(&program);
    mutants.args(["mutants", "--package", package, "--all-features", "--no-shuffle"]);
    mutants.args([
        "--sharding",
        "round-robin",
        "--shard",
        &format!("{}/{shards}", seed as usize % shards),
    ]);
    mutants.arg("--output").arg(&folder);
    let mut tested = vec![package];
    if package == "onionweave-publish" {
        tested.push(SIMULATOR);
    }
    mutants.args(["--test-package", &tested.join(",")]);
    // Tests on real tor processes take too long.
    mutants.args(["--", "--lib"]);
    for package in workspace
        .packages
        .iter()
        .filter(|package| tested.contains(&package.name.as_str()))
    {
        mutants.args(offline_tests(package).flat_map(|test| ["--test", test]));
    }
    // Survivors and time-outs have exit codes of their own; the outcomes tell more.
    let status = mutants.status().context("cargo-mutants does not start")?;
    ensure!(
        matches!(status.code(), Some(0 | 2 | 3)),
        "`{}` ended with {status}",
        setup::words(&mutants)
    );
    let path = folder.join("mutants.out/outcomes.json");
    let json = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let outcomes: Outcomes =
        serde_json::from_slice(&json).with_context(|| format!("{} is not understood", path.display()))?;
    let argued = fs::read_to_string(workspace.root.join(ARGUED)).with_context(|| format!("read {ARGUED}"))?;
    outcomes.judge(&argued)
}

/// The names of a package's files of tests that start no tor process.
fn offline_tests(package: &Package) -> impl Iterator<Item = &str> {
    let tests = package.targets.iter().filter(|target| target.kind == ["test"]);
    tests
        .map(|target| target.name.as_str())
        .filter(|name| !name.starts_with("real_"))
}

/// Contents of `outcomes.json`, which cargo-mutants writes.
#[derive(Deserialize)]
struct Outcomes {
    outcomes: Vec<Outcome>,
}

#[derive(Deserialize)]
struct Outcome {
    scenario: Scenario,
    summary: String,
}

#[derive(Deserialize)]
enum Scenario {
    Baseline,
    Mutant { name: String },
}

impl Outcomes {
    /// Holds the survivors against those that were argued for; returns a remark.
    fn judge(&self, argued: &str) -> anyhow::Result<String> {
        let argued: BTreeSet<(&str, &str)> = argued
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(without_place)
            .collect();
        let mut viable = 0;
        let mut survivors = Vec::new();
        for outcome in &self.outcomes {
            let Scenario::Mutant { name } = &outcome.scenario else {
                continue;
            };
            match outcome.summary.as_str() {
                "MissedMutant" => survivors.push(name.as_str()),
                "CaughtMutant" | "Timeout" => {}
                _ => continue,
            }
            viable += 1;
        }
        if viable == 0 {
            bail!("no mutant of the sample compiles");
        }
        let unargued: Vec<&str> = survivors
            .iter()
            .copied()
            .filter(|name| !argued.contains(&without_place(name)))
            .collect();
        let list = unargued.join("\n");
        ensure!(
            unargued.len() * 100 <= viable * MOST_SURVIVORS,
            "{} of {viable} mutants survive unargued, more than {MOST_SURVIVORS} %:\n{list}",
            unargued.len()
        );
        Ok(format!(
            "{} of {viable} survive, {} of them unargued",
            survivors.len(),
            unargued.len()
        ))
    }
}

/// File and change of a mutant's name, `FILE:LINE:COLUMN: CHANGE`, without the place, which moves.
fn without_place(name: &str) -> (&str, &str) {
    let (place, change) = name.split_once(": ").unwrap_or((name, ""));
    (place.split(':').next().unwrap_or(place), change)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(missed: usize, caught: usize) -> Outcomes {
        let of = |number: usize, summary: &str| {
            let name = format!("src/a.rs:{number}:5: replace f{number} with ()");
            serde_json::json!({"scenario": {"Mutant": {"name": name}}, "summary": summary})
        };
        let mut all = vec![
            serde_json::json!({"scenario": "Baseline", "summary": "Success"}),
            of(0, "Unviable"),
        ];
        all.extend((0..missed).map(|number| of(number, "MissedMutant")));
        all.extend((missed..missed + caught).map(|number| of(number, "CaughtMutant")));
        serde_json::from_value(serde_json::json!({ "outcomes": all })).unwrap()
    }

    #[test]
    fn a_twentieth_may_survive_unargued() {
        assert_eq!(
            outcomes(1, 19).judge("").unwrap(),
            "1 of 20 survive, 1 of them unargued"
        );
        assert!(
            outcomes(2, 20)
                .judge("")
                .unwrap_err()
                .to_string()
                .starts_with("2 of 22 ")
        );
        let argued = "# It only logs.\nsrc/a.rs:99:1: replace f1 with ()\n";
        let elsewhere = argued.replace("a.rs", "b.rs");
        assert!(outcomes(2, 20).judge(&elsewhere).is_err());
        assert!(outcomes(2, 20).judge(argued).is_ok());
        assert!(outcomes(0, 0).judge("").is_err());
    }
}
