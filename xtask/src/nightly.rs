//! `cargo xtask nightly`: the checks that take hours.

mod mutants;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use onionweave_testnet::tor::cache_folder;

use crate::fuzz::Fuzzer;
use crate::report::Report;
use crate::setup::{self, Tool};
use crate::stand_ins::StandIns;
use crate::storms::Storms;
use crate::workspace::Workspace;

/// File with the commit whose public interfaces are the last that users were promised.
const LAST_INTERFACE: &str = "xtask/last-interface";

/// Check what takes hours: old dependencies, interfaces, storms, fuzzing, faults and mutants
///
/// Every step is run, also after one has failed. The last line counts the checks.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Minutes of fuzzing, shared by all targets
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    fuzz_minutes: u64,
    /// Number of storms, of ten days each
    #[arg(long, default_value_t = 1000)]
    storms: u32,
    /// Largest number of mutants of each core crate
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..))]
    mutants: u32,
    /// Number that draws the sample of mutants
    #[arg(long, default_value_t = 0)]
    seed: u32,
    /// Run only the steps whose name contains this text
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let workspace = Workspace::read()?;
    let stand_ins = StandIns::write(workspace.target_directory.join("xtask-stand-ins"))?;
    let mut report = Report::start(stand_ins, args.only.clone());
    report.check("oldest versions of direct dependencies", || check_oldest(&workspace));
    report.check("public interfaces since the last one promised", || {
        check_interfaces(&workspace)
    });
    report.tests("many days of faults in virtual time", || {
        Ok(Storms::build(&workspace)?.command(Some(args.storms)))
    });
    report.step("fuzzing with a kept corpus", |tally| {
        let fuzzer = Fuzzer::build(&workspace)?;
        let corpus = cache_folder()?.join("fuzz-corpus");
        let time = share_of_time(args.fuzz_minutes, fuzzer.targets.len())?;
        let runs = fuzzer.run_all(&workspace, &corpus, time)?;
        tally.passed += runs.len() as u64;
        tally.remark(format!("{} inputs", runs.iter().sum::<u64>()));
        Ok(())
    });
    report.check("faults on private networks", || {
        let mut faults = workspace.cargo();
        faults.args(["run", "--quiet", "--locked", "--package=onionweave-lab", "--", "faults"]);
        // The committed report stays as it is.
        let report = workspace.target_directory.join("nightly-faults/faults.md");
        fs::create_dir_all(report.parent().unwrap_or(Path::new(".")))?;
        setup::run(faults.arg("--out").arg(report))
    });
    for package in mutants::PACKAGES {
        report.step(&format!("mutants of {package}"), |tally| {
            let remark = mutants::check(&workspace, package, args.mutants, args.seed)?;
            tally.passed += 1;
            tally.remark(remark);
            Ok(())
        });
    }
    report.finish()
}

/// Time for each of `targets` fuzz targets, which run one on each processor.
fn share_of_time(minutes: u64, targets: usize) -> anyhow::Result<Duration> {
    let processors = std::thread::available_parallelism()?.get();
    let rounds = targets.div_ceil(processors).max(1) as u64;
    Ok(Duration::from_secs((minutes * 60 / rounds).max(1)))
}

/// Compiles the published crates with the oldest direct dependencies that their manifests allow.
///
/// The lock file of a clone is changed, and not that of the project. Dependencies of dependencies
/// are as new as can be: their oldest versions are their authors' business.
fn check_oldest(workspace: &Workspace) -> anyhow::Result<()> {
    let folder = workspace.target_directory.join("nightly-oldest");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    let mut clone = workspace.command("git");
    setup::run(clone.args(["clone", "--quiet", "--shared", "."]).arg(&folder))?;
    let cargo = || {
        let mut cargo = workspace.cargo();
        cargo.current_dir(&folder).env("RUSTC_BOOTSTRAP", "1");
        cargo.env(
            "CARGO_TARGET_DIR",
            workspace.target_directory.join("nightly-oldest-target"),
        );
        cargo
    };
    fs::remove_file(folder.join("Cargo.lock")).context("remove Cargo.lock of the clone")?;
    setup::run(cargo().args(["-Zdirect-minimal-versions", "generate-lockfile", "--quiet"]))?;
    let mut check = cargo();
    check.args(["check", "--quiet", "--locked", "--lib", "--all-features"]);
    for package in workspace.published() {
        check.args(["--package", &package.name]);
    }
    // A compiler that takes unstable features must not tempt build scripts to use them.
    setup::run(check.env_remove("RUSTC_BOOTSTRAP"))
}

/// Compares the public interfaces with those of the commit in `xtask/last-interface`.
fn check_interfaces(workspace: &Workspace) -> anyhow::Result<()> {
    let text =
        fs::read_to_string(workspace.root.join(LAST_INTERFACE)).with_context(|| format!("read {LAST_INTERFACE}"))?;
    let commit = text
        .lines()
        .find(|line| !line.starts_with('#'))
        .unwrap_or_default()
        .trim();
    ensure!(!commit.is_empty(), "{LAST_INTERFACE} names no commit");
    let mut checks = workspace.command(Tool::SEMVER.ensure()?);
    checks.args([
        "semver-checks",
        "check-release",
        "--all-features",
        "--baseline-rev",
        commit,
    ]);
    for package in workspace.published() {
        checks.args(["--package", &package.name]);
    }
    setup::run(&mut checks)
}
