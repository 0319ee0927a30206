//! Output while the steps run, and the summary at the end.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::setup::words;
use crate::stand_ins::StandIns;

/// The steps that have been run.
pub(crate) struct Report {
    started: Instant,
    stand_ins: StandIns,
    /// Part of the names of the steps to run; `None` for all.
    only: Option<String>,
    steps: Vec<Step>,
}

struct Step {
    name: String,
    time: Duration,
    tally: Tally,
}

/// Findings of a step.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// Number of checks that the machine does not allow.
    skipped: u64,
    remark: Option<String>,
}

impl Tally {
    pub(crate) fn remark(&mut self, remark: impl Into<String>) {
        self.remark = Some(remark.into());
    }

    /// Notes that the check cannot be made on this machine, and the reason. The last line counts it apart.
    pub(crate) fn skip(&mut self, reason: &str) {
        self.skipped += 1;
        self.remark(reason);
    }

    /// Adds up a line such as `test result: ok. 5 passed; 0 failed; 0 ignored; …`.
    fn add(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ") else {
            return;
        };
        let words: Vec<&str> = counts.split(' ').collect();
        for pair in words.windows(2) {
            if let [number, what] = pair {
                match *what {
                    "passed;" => self.passed += number.parse().unwrap_or(0),
                    "failed;" => self.failed += number.parse().unwrap_or(0),
                    _ => {}
                }
            }
        }
    }
}

impl Report {
    /// Starts with no step. All tests get the stand-ins on their `PATH`.
    pub(crate) fn start(stand_ins: StandIns, only: Option<String>) -> Self {
        Self {
            started: Instant::now(),
            stand_ins,
            only,
            steps: Vec::new(),
        }
    }

    /// Runs a step that counts for itself. An error is shown and makes it failed.
    ///
    /// Returns `None` after an error, and for a step that is not among those to run.
    pub(crate) fn step<T>(&mut self, name: &str, work: impl FnOnce(&mut Tally) -> anyhow::Result<T>) -> Option<T> {
        if self.only.as_ref().is_some_and(|part| !name.contains(part.as_str())) {
            return None;
        }
        println!("\n── {name}");
        let started = Instant::now();
        let mut tally = Tally::default();
        let result = work(&mut tally);
        let result = result.and_then(|value| {
            ensure!(tally.passed + tally.failed + tally.skipped > 0, "nothing was checked");
            Ok(value)
        });
        if let Err(error) = &result {
            println!("error: {error:#}");
            tally.failed = tally.failed.max(1);
        }
        let step = Step {
            name: name.to_owned(),
            time: started.elapsed(),
            tally,
        };
        println!("{step}");
        self.steps.push(step);
        result.ok()
    }

    /// Runs a step that is one check.
    pub(crate) fn check<T>(&mut self, name: &str, work: impl FnOnce() -> anyhow::Result<T>) -> Option<T> {
        self.step(name, |tally| {
            let result = work()?;
            tally.passed += 1;
            Ok(result)
        })
    }

    /// Runs a step whose command is a `cargo test`, and counts its tests.
    pub(crate) fn tests(&mut self, name: &str, command: impl FnOnce() -> anyhow::Result<Command>) {
        let stand_ins = self.stand_ins.clone();
        self.step(name, |tally| {
            let mut command = command()?;
            stand_ins.apply(&mut command)?;
            count(&mut command, tally)
        });
    }

    /// Shows all steps, and fails if one of them has.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        println!("\n── summary");
        for step in &self.steps {
            println!("{step}");
        }
        println!("{:>8.1} s in all", self.started.elapsed().as_secs_f64());
        let passed: u64 = self.steps.iter().map(|step| step.tally.passed).sum();
        let failed: u64 = self.steps.iter().map(|step| step.tally.failed).sum();
        let skipped: u64 = self.steps.iter().map(|step| step.tally.skipped).sum();
        // Nothing stands after this line, not even on the other stream.
        println!("{}", closing_line(passed, failed, skipped));
        io::stdout().flush()?;
        if failed > 0 { Err(Failed.into()) } else { Ok(()) }
    }
}

/// The last line of all.
fn closing_line(passed: u64, failed: u64, skipped: u64) -> String {
    match skipped {
        0 => format!("{passed} passed, {failed} failed"),
        _ => format!("{passed} passed, {failed} failed, {skipped} skipped"),
    }
}

/// Failure that was shown already.
#[derive(Debug)]
pub(crate) struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not everything passed")
    }
}

impl std::error::Error for Failed {}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            passed,
            failed,
            skipped,
            remark,
        } = &self.tally;
        let verdict = match (passed, failed, skipped) {
            (_, 1.., _) => "FAILED",
            (_, 0, 1..) => "NOT CHECKED",
            (_, 0, 0) => "passed",
        };
        write!(f, "{:>8.1} s  {verdict:<11}  {}", self.time.as_secs_f64(), self.name)?;
        if passed + failed > 1 {
            write!(f, ": {passed} passed, {failed} failed")?;
        }
        match remark {
            Some(remark) => write!(f, ": {remark}"),
            None => Ok(()),
        }
    }
}

/// Runs a `cargo test` to its end, shows its output and counts its tests.
fn count(command: &mut Command, tally: &mut Tally) -> anyhow::Result<()> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{}` does not start", words(command)))?;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            tally.add(&line);
            // An empty file of tests is no news.
            if !(line.is_empty() || line == "running 0 tests" || line.starts_with("test result: ok. 0 passed")) {
                println!("{line}");
            }
        }
    }
    let status = child.wait()?;
    match (status.success(), tally.passed) {
        (false, _) => bail!("`{}` ended with {status}", words(command)),
        (true, 0) => bail!("`{}` ran no test", words(command)),
        (true, _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up() {
        let mut tally = Tally::default();
        for line in [
            "running 6 tests",
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s",
            "a test may print test result: ok. 100 passed; 100 failed;",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s",
        ] {
            tally.add(line);
        }
        assert_eq!((tally.passed, tally.failed), (8, 2));
    }

    #[test]
    fn the_last_line_counts_apart_what_was_not_checked() {
        assert_eq!(closing_line(7, 0, 0), "7 passed, 0 failed");
        assert_eq!(closing_line(7, 1, 2), "7 passed, 1 failed, 2 skipped");
    }

    #[test]
    fn what_fails_is_counted_and_all_else_is_run() {
        let folder = tempfile::tempdir().unwrap();
        let mut report = Report::start(StandIns::write(folder.path().to_owned()).unwrap(), None);
        assert_eq!(report.check("works", || Ok(7)), Some(7));
        assert_eq!(
            report.check("breaks", || -> anyhow::Result<u8> { bail!("on purpose") }),
            None
        );
        report.tests("does not start", || Ok(Command::new("/nonexistent/cargo")));
        report.tests("tests nothing", || Ok(Command::new("true")));
        report.tests("finds tor by luck", || {
            let mut command = Command::new("sh");
            command.args(["-c", "tor --version || test $? != 97"]);
            Ok(command)
        });
        report.step("is not checked", |tally| {
            tally.skip("no network");
            Ok(())
        });
        report.step("counts nothing", |_| Ok(()));
        let lines: Vec<String> = report.steps.iter().map(ToString::to_string).collect();
        for (line, end) in lines.iter().zip([
            "passed       works",
            "FAILED       breaks",
            "FAILED       does not start",
            "FAILED       tests nothing",
            "FAILED       finds tor by luck",
            "NOT CHECKED  is not checked: no network",
            "FAILED       counts nothing",
        ]) {
            assert!(line.ends_with(end), "{line}");
        }
        assert!(report.finish().unwrap_err().is::<Failed>());
    }
}
