//! Number of instructions that every operation takes, held against the accepted one.
//!
//! Unlike times, the counts are the same on a busy machine. They depend on the compiler and on the
//! versions of what is computed with, so that both are named beside the accepted counts.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};

use super::{BENCH_PACKAGES, compiler};
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
        build
            .current_dir(&workspace.root)
            .args(Self::BENCH)
            .args(BENCH_PACKAGES)
            .arg("--no-run");
        setup::run_unseen(&mut build)?;
        Ok(Self { runner })
    }

    /// Fails if an operation takes a fifth more instructions than were accepted; otherwise, what
    /// there is to say.
    pub(crate) fn check(&self, workspace: &Workspace) -> anyhow::Result<String> {
        let accepted = fs::read_to_string(workspace.root.join(ACCEPTED)).with_context(|| format!("read {ACCEPTED}"))?;
        let accepted: Accepted = toml::from_str(&accepted).with_context(|| format!("{ACCEPTED} is not understood"))?;
        accepted.judge(&self.count(workspace)?, &compiler()?)
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
        /// Exit code of the runner if an operation exceeds its limit.
        const REGRESSED: i32 = 3;

        let mut bench = workspace.cargo();
        bench.args(Self::BENCH).args(BENCH_PACKAGES);
        bench.args(["--", "--output-format=json"]);
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

impl Accepted {
    /// Holds what was counted against this. The limit itself is the bench's.
    fn judge(&self, counts: &[Count], compiler: &str) -> anyhow::Result<String> {
        let mut faults = Vec::new();
        let mut gains = Vec::new();
        for Count {
            name,
            instructions,
            within_limit,
        } in counts
        {
            match self.instructions.get(name) {
                Some(before) if !within_limit => {
                    faults.push(format!("{name}: {instructions} instructions instead of {before}"))
                }
                None => faults.push(format!("{name}: {instructions} instructions, and none were accepted")),
                Some(before) if instructions * 5 < before * 4 => gains.push(name.as_str()),
                Some(_) => {}
            }
        }
        let gone = self
            .instructions
            .keys()
            .filter(|name| counts.iter().all(|count| count.name != **name));
        faults.extend(gone.map(|name| format!("{name}: was accepted, and is counted no more")));
        ensure!(
            faults.is_empty(),
            "{}\nAccepted with {}, counted with {compiler}. What is right is accepted with `cargo xtask bench --accept`.",
            faults.join("\n"),
            self.compiler
        );
        let operations = format!("{} operations", counts.len());
        if gains.is_empty() {
            return Ok(operations);
        }
        let gains = gains.join(", ");
        Ok(format!(
            "{operations}; `cargo xtask bench --accept` would keep what was gained with {gains}"
        ))
    }
}

/// Count of an operation.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_is_understood() {
        let line = |regressions| {
            let total = format!(r#"{{"metrics":{{"Ir":{{"values":{{"new":1201,"old":7}}}}}}{regressions}}}"#);
            format!(
                r#"{{"function_name":"parse","group":"all","profiles":[{{"data":{{"parts":[],"total":{total}}}}}]}}"#
            )
        };
        let read = Count::read(&line("")).unwrap();
        assert_eq!(read, count("parse", 1201, true));
        let read = Count::read(&line(r#","regressions":[{"Hard":{"limit":1200,"new":1201}}]"#)).unwrap();
        assert_eq!(read, count("parse", 1201, false));
        assert_eq!(Count::read("Gungraun result: Ok."), None);
    }

    #[test]
    fn what_takes_more_or_was_never_accepted_fails() {
        let accepted = Accepted {
            compiler: "rustc 1".into(),
            instructions: BTreeMap::from([("parse".into(), 1000), ("sign".into(), 1000)]),
        };
        let judge = |counts: &[Count]| accepted.judge(counts, "rustc 2").map_err(|error| error.to_string());
        let [parse, sign] = [count("parse", 1200, true), count("sign", 800, true)];
        assert_eq!(judge(&[parse, sign]).unwrap(), "2 operations");

        let [parse, sign] = [count("parse", 1000, true), count("sign", 799, true)];
        assert!(judge(&[parse, sign]).unwrap().ends_with("gained with sign"));

        let faults = judge(&[count("parse", 1201, false), count("verify", 1, false)]).unwrap_err();
        let lines: Vec<&str> = faults.lines().collect();
        assert_eq!(lines[0], "parse: 1201 instructions instead of 1000");
        assert_eq!(lines[1], "verify: 1 instructions, and none were accepted");
        assert_eq!(lines[2], "sign: was accepted, and is counted no more");
        assert!(lines[3].starts_with("Accepted with rustc 1, counted with rustc 2."));
    }

    fn count(name: &str, instructions: u64, within_limit: bool) -> Count {
        Count {
            name: name.into(),
            instructions,
            within_limit,
        }
    }
}
