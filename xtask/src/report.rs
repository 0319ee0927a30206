//! Output while the steps run, and the summary at the end.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Write};
use std::panic::resume_unwind;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::setup::{self, words};
use crate::stand_ins::StandIns;

/// The steps that have been run.
pub(crate) struct Report {
    started: Instant,
    stand_ins: StandIns,
    /// Part of the names of the steps to run; `None` for all.
    only: Option<String>,
    steps: Vec<Step>,
    /// News of the lane that runs beside, if there is one.
    beside: Option<Receiver<News>>,
}

struct Step {
    name: String,
    time: Duration,
    tally: Tally,
}

impl Step {
    /// Runs the work of a step. An error makes the step failed.
    fn run<T>(name: &str, work: impl FnOnce(&mut Tally) -> anyhow::Result<T>) -> (Self, anyhow::Result<T>) {
        let started = Instant::now();
        let mut tally = Tally::default();
        let result = work(&mut tally).and_then(|value| {
            ensure!(tally.passed + tally.failed + tally.skipped > 0, "nothing was checked");
            Ok(value)
        });
        if result.is_err() {
            tally.failed = tally.failed.max(1);
        }
        let step = Self {
            name: name.to_owned(),
            time: started.elapsed(),
            tally,
        };
        (step, result)
    }
}

/// Steps that run beside those of the report, which shows the output of each whole once it has
/// ended.
pub(crate) struct Lane {
    stand_ins: StandIns,
    news: Sender<News>,
}

/// Event in a lane.
enum News {
    /// A step of this name begins.
    Begun(String),
    /// A step has ended, with all its output.
    Ended(Step, Vec<u8>),
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

    /// Notes that the check cannot be made on this machine, and the reason. The last line counts it
    /// apart.
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
            beside: None,
        }
    }

    /// Runs a step that counts for itself. An error is shown and makes it failed.
    ///
    /// Returns `None` after an error, and for a step that is not among those to run.
    pub(crate) fn step<T>(&mut self, name: &str, work: impl FnOnce(&mut Tally) -> anyhow::Result<T>) -> Option<T> {
        if self.only.as_ref().is_some_and(|part| !name.contains(part.as_str())) {
            return None;
        }
        self.show_news();
        println!("\n── {name}");
        let (step, result) = Step::run(name, work);
        if let Err(error) = &result {
            println!("error: {error:#}");
        }
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
            count(command, tally, &mut io::stdout())
        });
    }

    /// Runs `work` while `lane` runs beside it on a thread of its own, and returns after both.
    ///
    /// The steps of `work` give way to those of `lane` where both want a processor.
    pub(crate) fn beside(&mut self, lane: impl FnOnce(&Lane) + Send, work: impl FnOnce(&mut Self) + Send) {
        let (news, receiver) = mpsc::channel();
        let stand_ins = self.stand_ins.clone();
        self.beside = Some(receiver);
        thread::scope(|scope| {
            scope.spawn(move || lane(&Lane { stand_ins, news }));
            // A thread of its own, since its priority cannot be raised again.
            let worked = thread::scope(|scope| {
                let worker = scope.spawn(|| {
                    setup::give_way();
                    work(self);
                });
                worker.join()
            });
            worked.unwrap_or_else(|panic| resume_unwind(panic));
            for news in self.beside.take().into_iter().flatten() {
                self.show(news);
            }
        });
    }

    /// Shows the news that the lane beside has sent until now.
    fn show_news(&mut self) {
        let news: Vec<News> = self.beside.iter().flat_map(Receiver::try_iter).collect();
        news.into_iter().for_each(|news| self.show(news));
    }

    fn show(&mut self, news: News) {
        match news {
            News::Begun(name) => println!("\n── {name}: begun beside the other steps"),
            News::Ended(step, output) => {
                println!("\n── {}: ended beside the other steps", step.name);
                // A terminal that is gone is no fault of the step.
                let _ = io::stdout().write_all(&output);
                println!("{step}");
                self.steps.push(step);
            }
        }
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

impl Lane {
    /// Runs a step whose command is a program of tests, and counts them.
    pub(crate) fn tests(&self, name: &str, command: impl FnOnce() -> anyhow::Result<Command>) {
        self.tell(News::Begun(name.to_owned()));
        let mut output = Vec::new();
        let (step, result) = Step::run(name, |tally| {
            let mut command = command()?;
            self.stand_ins.apply(&mut command)?;
            count(command, tally, &mut output)
        });
        if let Err(error) = result {
            output.extend(format!("error: {error:#}\n").into_bytes());
        }
        self.tell(News::Ended(step, output));
    }

    fn tell(&self, news: News) {
        // Nobody listens once the steps on the other side have panicked, which ends the program.
        let _ = self.news.send(news);
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

/// Runs a `cargo test` to its end, writes all its output to `shown`, and counts its tests.
fn count(mut command: Command, tally: &mut Tally, shown: &mut impl Write) -> anyhow::Result<()> {
    let words = words(&command);
    // Both streams are one, so that their lines keep their order.
    let (output, input) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(input.try_clone()?).stderr(input);
    let child = command.spawn();
    // Its ends of the pipe must be gone before the output can end.
    drop(command);
    let mut child = child.with_context(|| format!("`{words}` does not start"))?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        tally.add(&line);
        // An empty file of tests is no news.
        if !(line.is_empty() || line == "running 0 tests" || line.starts_with("test result: ok. 0 passed")) {
            writeln!(shown, "{line}")?;
        }
    }
    let status = child.wait()?;
    match (status.success(), tally.passed) {
        (false, _) => bail!("`{words}` ended with {status}"),
        (true, 0) => bail!("`{words}` ran no test"),
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

    #[test]
    fn a_lane_runs_beside_the_steps_and_its_own_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut report = Report::start(StandIns::write(folder.path().to_owned()).unwrap(), None);
        let meeting = std::sync::Barrier::new(2);
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        let priority = || {
            setup::output(&mut Command::new("nice"))
                .unwrap()
                .trim()
                .parse::<i32>()
                .unwrap()
        };
        let before = priority();
        report.beside(
            |lane| {
                // Neither side could go on if the other waited for its end.
                meeting.wait();
                lane.tests("far", || {
                    Ok(shell(
                        "echo to one stream >&2; echo 'test result: ok. 2 passed; 0 failed;'",
                    ))
                });
                lane.tests("broken", || Ok(shell("exit 3")));
            },
            |report| {
                report.check("near", || Ok(meeting.wait()));
                report.check("gives way", || {
                    ensure!(priority() == (before + 10).min(19), "{} after {before}", priority());
                    Ok(())
                });
            },
        );
        assert_eq!(priority(), before);
        let mut lines: Vec<String> = report.steps.iter().map(ToString::to_string).collect();
        lines.sort_by_key(|line| line.split("  ").last().map(str::to_owned));
        for (line, end) in lines.iter().zip([
            "FAILED       broken",
            "passed       far: 2 passed, 0 failed",
            "passed       gives way",
            "passed       near",
        ]) {
            assert!(line.ends_with(end), "{line}");
        }
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn both_streams_of_a_test_are_shown_in_order() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo a; echo b >&2; echo 'test result: ok. 1 passed;'"]);
        let (mut tally, mut shown) = (Tally::default(), Vec::new());
        count(command, &mut tally, &mut shown).unwrap();
        assert_eq!(shown, b"a\nb\ntest result: ok. 1 passed;\n");
        assert_eq!(tally.passed, 1);
    }
}
