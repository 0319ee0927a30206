//! The fuzz targets, built and run by cargo-fuzz.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use crate::setup::{self, Tool};
use crate::workspace::Workspace;

/// cargo-fuzz and the targets that it has built.
pub(crate) struct Fuzzer {
    program: PathBuf,
    pub(crate) targets: Vec<String>,
}

impl Fuzzer {
    /// Safe code needs no sanitizer, and without one a stable compiler is enough. The folder is
    /// named so that no variable of the environment leads to the one that other builds have locked.
    const FLAGS: [&str; 4] = ["--sanitizer", "none", "--target-dir", "fuzz/target"];

    pub(crate) fn build(workspace: &Workspace) -> anyhow::Result<Self> {
        // libFuzzer is C++.
        if !setup::on_path("c++") {
            setup::ensure_packages(&["g++"])?;
        }
        let program = Tool::FUZZ.ensure()?;
        let mut build = setup::leisurely(&program);
        setup::run_unseen(build.current_dir(&workspace.root).arg("build").args(Self::FLAGS))?;
        let list = workspace.command(&program).arg("list").output()?;
        ensure!(list.status.success(), "`cargo fuzz list` failed");
        let targets: Vec<String> = String::from_utf8(list.stdout)?.lines().map(str::to_owned).collect();
        ensure!(!targets.is_empty(), "there is no fuzz target");
        Ok(Self { program, targets })
    }

    /// Runs every target for `time`, one on each processor; returns the number of inputs of each.
    ///
    /// Inputs that reach new code go into a folder of each target below `corpus`, and are read from
    /// there.
    ///
    /// # Errors
    ///
    /// Names every target that failed, after all have run.
    pub(crate) fn run_all(&self, workspace: &Workspace, corpus: &Path, time: Duration) -> anyhow::Result<Vec<u64>> {
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Vec::new());
        let processors = thread::available_parallelism()?.get();
        thread::scope(|scope| {
            for _ in 0..processors {
                scope.spawn(|| {
                    while let Some(target) = self.targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let result = self.run(workspace, target, &corpus.join(target), time);
                        match &result {
                            Ok(runs) => println!("{target}: {runs} inputs"),
                            Err(error) => println!("{target}: {error:#}"),
                        }
                        let result = result.map_err(|_| target.as_str());
                        results
                            .lock()
                            .unwrap_or_else(|poisoned| poisoned.into_inner())
                            .push(result);
                    }
                });
            }
        });
        let results = results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        let failed: Vec<&str> = results.iter().filter_map(|result| result.err()).collect();
        ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
        Ok(results.into_iter().flatten().collect())
    }

    /// Runs one target; returns the number of inputs that it was given.
    fn run(&self, workspace: &Workspace, target: &str, found: &Path, time: Duration) -> anyhow::Result<u64> {
        let (folder, function) = target
            .split_once('-')
            .context("a target is called <crate>-<function>")?;
        let crates = workspace.root.join("crates");
        let seeds = crates.join(folder).join("testdata/fuzz-corpus").join(function);
        ensure!(seeds.is_dir(), "{} is missing", seeds.display());
        fs::create_dir_all(found).with_context(|| format!("create {}", found.display()))?;
        let mut fuzzer = workspace.command(&self.program);
        // libFuzzer writes into the first folder.
        fuzzer.arg("run").args(Self::FLAGS).arg(target).args([found, &seeds]);
        fuzzer.args(["--", "-print_final_stats=1", "-verbosity=0"]);
        fuzzer.arg(format!("-max_total_time={}", time.as_secs()));
        let output = fuzzer.stdin(Stdio::null()).output()?;
        let words = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            bail!("{words}\nthe input is below fuzz/artifacts/{target}");
        }
        let stat = words
            .lines()
            .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
        stat.and_then(|number| number.trim().parse().ok())
            .with_context(|| format!("{target} did not say how many inputs it was given:\n{words}"))
    }
}
