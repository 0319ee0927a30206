//! How many instructions every operation takes, held against what was accepted.
//!
//! Unlike times, the counts are the same on a busy machine. They depend on the compiler and on the versions of what is
//! computed with, so that both are named beside the accepted counts.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::compiler;
use crate::setup::{self, Tool};
use crate::workspace::Workspace;

/// The counts that were accepted, and by which compiler's code.
const ACCEPTED: &str = "benches/instructions.toml";

/// The bench `instructions`, ready to run.
pub(crate) struct Instructions {
    /// The program that runs the bench under Valgrind.
    runner: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Accepted {
    compiler: String,
    instructions: BTreeMap<String, u64>,
}

impl Instructions {
    const BENCH: [&str; 5] = ["bench", "--quiet", "--all-features", "--bench", "instructions"];

    pub(crate) fn build(workspace: &Workspace) -> anyhow::Result<Self> {
        if !setup::on_path("valgrind") {
            setup::ensure_packages(&["valgrind"])?;
        }
        setup::ensure_openssl()?;
        let runner = Tool::GUNGRAUN.ensure()?;
        let mut build = setup::leisurely(workspace.cargo().get_program());
        build.current_dir(&workspace.root).args(Self::BENCH).arg("--no-run");
        setup::run_unseen(&mut build)?;
        Ok(Self { runner })
    }

    /// Fails if an operation takes a fifth more instructions than were accepted; how many operations were counted.
    pub(crate) fn check(&self, workspace: &Workspace) -> anyhow::Result<usize> {
        let accepted = fs::read_to_string(workspace.root.join(ACCEPTED)).with_context(|| format!("read {ACCEPTED}"))?;
        let accepted: Accepted = toml::from_str(&accepted).with_context(|| format!("{ACCEPTED} is not understood"))?;
        let counts = self.count(workspace)?;
        let mut faults = Vec::new();
        for count in &counts {
            let Count {
                name,
                instructions,
                within_limit,
            } = count;
            match accepted.instructions.get(name) {
                _ if *within_limit => {}
                Some(before) => faults.push(format!("{name}: {instructions} instructions instead of {before}")),
                None => faults.push(format!("{name}: {instructions} instructions, and none were accepted")),
            }
        }
        let gone = accepted
            .instructions
            .keys()
            .filter(|name| counts.iter().all(|count| count.name != **name));
        faults.extend(gone.map(|name| format!("{name}: was accepted, and is counted no more")));
        if !faults.is_empty() {
            bail!(
                "{}\nAccepted with {}, counted with {}. What is right is accepted with `cargo xtask bench --accept`.",
                faults.join("\n"),
                accepted.compiler,
                compiler()?
            );
        }
        Ok(counts.len())
    }

    /// Writes the present counts into the table of those that were accepted.
    pub(super) fn accept(&self, workspace: &Workspace) -> anyhow::Result<()> {
        let counts = self.count(workspace)?;
        let accepted = Accepted {
            compiler: compiler()?,
            instructions: counts
                .into_iter()
                .map(|count| (count.name, count.instructions))
                .collect(),
        };
        let text = format!(
            "# What each operation takes under Valgrind. Written by `cargo xtask bench --accept`.\n\n{}",
            toml::to_string(&accepted)?
        );
        fs::write(workspace.root.join(ACCEPTED), text).with_context(|| format!("write {ACCEPTED}"))?;
        println!("accepted in {ACCEPTED}");
        Ok(())
    }

    fn count(&self, workspace: &Workspace) -> anyhow::Result<Vec<Count>> {
        /// How the runner ends if an operation exceeds its limit.
        const REGRESSED: i32 = 3;

        let mut bench = workspace.cargo();
        bench.args(Self::BENCH).args(["--", "--output-format=json"]);
        let output = bench.env("GUNGRAUN_RUNNER", &self.runner).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let counts: Vec<Count> = said.lines().filter_map(Count::read).collect();
        let ran = output.status.success() || output.status.code() == Some(REGRESSED);
        if !ran || counts.is_empty() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            bail!("`{}` ended with {}:\n{complaint}", setup::words(&bench), output.status);
        }
        Ok(counts)
    }
}

/// One operation.
#[derive(Debug, PartialEq)]
struct Count {
    name: String,
    instructions: u64,
    within_limit: bool,
}

impl Count {
    /// Reads a line of what the runner prints.
    fn read(line: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Summary {
            function_name: String,
            profiles: Vec<Profile>,
        }
        #[derive(Deserialize)]
        struct Profile {
            data: Data,
        }
        #[derive(Deserialize)]
        struct Data {
            total: Total,
        }
        #[derive(Deserialize)]
        struct Total {
            metrics: Metrics,
            #[serde(default)]
            regressions: Vec<serde::de::IgnoredAny>,
        }
        #[derive(Deserialize)]
        struct Metrics {
            #[serde(rename = "Ir")]
            instructions: Metric,
        }
        #[derive(Deserialize)]
        struct Metric {
            values: Values,
        }
        #[derive(Deserialize)]
        struct Values {
            new: u64,
        }
        let summary: Summary = serde_json::from_str(line).ok()?;
        let total = summary.profiles.into_iter().next()?.data.total;
        Some(Self {
            name: summary.function_name,
            instructions: total.metrics.instructions.values.new,
            within_limit: total.regressions.is_empty(),
        })
    }
}
