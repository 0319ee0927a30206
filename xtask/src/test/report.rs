//! What is shown while the steps run, and at the end.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::stand_ins::StandIns;
use crate::setup::words;

/// The steps that have been run.
pub(super) struct Report {
    started: Instant,
    stand_ins: StandIns,
    steps: Vec<Step>,
}

struct Step {
    name: String,
    time: Duration,
    tally: Tally,
}

/// What a step found.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) passed: u64,
    pub(super) failed: u64,
    remark: Option<String>,
}

impl Tally {
    pub(super) fn remark(&mut self, remark: impl Into<String>) {
        self.remark = Some(remark.into());
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
    pub(super) fn start(stand_ins: StandIns) -> Self {
        Self {
            started: Instant::now(),
            stand_ins,
            steps: Vec::new(),
        }
    }

    /// Runs a step that counts for itself. An error is shown and makes it failed; `None` is returned then.
    pub(super) fn step<T>(&mut self, name: &str, work: impl FnOnce(&mut Tally) -> anyhow::Result<T>) -> Option<T> {
        println!("\n── {name}");
        let started = Instant::now();
        let mut tally = Tally::default();
        let result = work(&mut tally);
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
    pub(super) fn check<T>(&mut self, name: &str, work: impl FnOnce() -> anyhow::Result<T>) -> Option<T> {
        self.step(name, |tally| {
            let result = work()?;
            tally.passed += 1;
            Ok(result)
        })
    }

    /// Runs a step whose command is a `cargo test`, and counts its tests.
    pub(super) fn tests(&mut self, name: &str, command: impl FnOnce() -> anyhow::Result<Command>) {
        let stand_ins = self.stand_ins.clone();
        self.step(name, |tally| {
            let mut command = command()?;
            stand_ins.apply(&mut command)?;
            count(&mut command, tally)
        });
    }

    /// Shows all steps, and fails if one of them has.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        println!("\n── summary");
        for step in &self.steps {
            println!("{step}");
        }
        println!("{:>8.1} s in all", self.started.elapsed().as_secs_f64());
        let passed: u64 = self.steps.iter().map(|step| step.tally.passed).sum();
        let failed: u64 = self.steps.iter().map(|step| step.tally.failed).sum();
        // Nothing stands after this line, not even on the other stream.
        println!("{passed} passed, {failed} failed");
        io::stdout().flush()?;
        if failed > 0 { Err(Failed.into()) } else { Ok(()) }
    }
}

/// Something has failed, as was shown already.
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
        let Tally { passed, failed, remark } = &self.tally;
        let verdict = match (passed, failed) {
            (_, 1..) => "FAILED",
            (1.., 0) => "passed",
            (0, 0) => "NOT RUN",
        };
        write!(f, "{:>8.1} s  {verdict:<7}  {}", self.time.as_secs_f64(), self.name)?;
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
    fn what_fails_is_counted_and_all_else_is_run() {
        let folder = tempfile::tempdir().unwrap();
        let mut report = Report::start(StandIns::write(folder.path().to_owned()).unwrap());
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
        report.step("is not run", |tally| {
            tally.remark("no network");
            Ok(())
        });
        let lines: Vec<String> = report.steps.iter().map(ToString::to_string).collect();
        for (line, end) in lines.iter().zip([
            "passed   works",
            "FAILED   breaks",
            "FAILED   does not start",
            "FAILED   tests nothing",
            "FAILED   finds tor by luck",
            "NOT RUN  is not run: no network",
        ]) {
            assert!(line.ends_with(end), "{line}");
        }
        assert!(report.finish().unwrap_err().is::<Failed>());
    }
}
