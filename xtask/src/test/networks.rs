//! The tests that start tor processes, and whole networks of them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use onionweave_testnet::tor::{self, Progress, TorBinary};

use super::{EXAMPLES, build_examples};
use crate::report::{Lane, Report};
use crate::setup::{self, TOR_WITHOUT_V2};
use crate::workspace::{Program, Workspace};

/// Package with tests that measure: those at the top of its file. Those in modules do not.
const MEASURED: &str = "onionweave-driver";

/// Package whose protocol is that of every Tor. The others need v2 onion services.
const EVERY_TOR: &str = "onionweave-control";

/// Programs of tests, and what each of them is handed.
pub(super) struct Networks {
    tests: Vec<Program>,
    with_v2: Option<TorBinary>,
    without_v2: Option<PathBuf>,
    /// Folder of the built examples.
    examples: PathBuf,
}

impl Networks {
    /// Finds or builds both kinds of tor, and builds all tests of the workspace.
    pub(super) fn prepare(workspace: &Workspace, report: &mut Report) -> Self {
        let with_v2 = report.check("tor with v2 onion services", || {
            setup::ensure_packages(&tor::missing_packages())?;
            Ok(tor::binary_with(show_progress())?)
        });
        let without_v2 = report.check("tor without v2 onion services", setup::tor_without_v2);
        report.check("a tor without v2 onion services is refused", || {
            let tor = without_v2.as_deref().context("there is none")?;
            match TorBinary::at(tor) {
                Err(error) if error.to_string().contains("no v2 onion services") => Ok(()),
                Err(error) => bail!("{} is refused for another reason: {error}", tor.display()),
                Ok(_) => bail!("{} is accepted", tor.display()),
            }
        });
        let tests = report.check("building all tests and examples", || build_tests(workspace));
        Self {
            tests: tests.unwrap_or_default(),
            with_v2,
            without_v2,
            examples: workspace.examples(),
        }
    }

    /// Runs the tests that measure, on one network at a time. Their output is shown as it comes.
    pub(super) fn measure(&self, report: &mut Report) {
        for test in self.tests.iter().filter(|test| test.package == MEASURED) {
            let name = format!("{} {}, measured", test.package, test.target);
            report.tests(&name, || {
                self.command(test, self.with_v2(), &["--test-threads=1", "--skip=::"])
            });
        }
    }

    /// Runs the tests that do not measure, which stand being disturbed.
    pub(super) fn test(&self, lane: &Lane) {
        for test in &self.tests {
            let name = format!("{} {}", test.package, test.target);
            if test.package == MEASURED {
                let name = format!("{name}, not measured");
                lane.tests(&name, || {
                    self.command(test, self.with_v2(), &["--test-threads=2", "::"])
                });
                continue;
            }
            let one_by_one = ["--test-threads=1"];
            lane.tests(&name, || self.command(test, self.with_v2(), &one_by_one));
            if test.package == EVERY_TOR {
                lane.tests(&format!("{name}, on tor of today"), || {
                    self.command(test, self.without_v2.as_deref(), &one_by_one)
                });
            }
        }
    }

    fn with_v2(&self) -> Option<&Path> {
        self.with_v2.as_ref().map(TorBinary::path)
    }

    /// Returns the command that runs a program of tests on `tor`.
    fn command(&self, test: &Program, tor: Option<&Path>, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(&test.path);
        command.arg("--nocapture").args(arguments).current_dir(&test.folder);
        command.env(tor::VARIABLE, tor.context("there is no tor to test with")?);
        // Some tests hold both kinds of tor against each other.
        let without_v2 = self
            .without_v2
            .as_deref()
            .context("there is no tor without v2 onion services")?;
        command.env(TOR_WITHOUT_V2, without_v2);
        command.env(EXAMPLES, &self.examples);
        Ok(command)
    }
}

/// Builds all tests and examples, and returns the programs that start tor processes.
fn build_tests(workspace: &Workspace) -> anyhow::Result<Vec<Program>> {
    let mut build = workspace.cargo();
    build.args(["test", "--quiet", "--workspace", "--all-features"]);
    build.args(["--lib", "--bins", "--examples", "--test=*"]);
    build.args(["--no-run", "--message-format=json"]);
    let mut tests = workspace.build(&mut build)?;
    build_examples(workspace)?;
    tests.retain(|test| is_real(&test.target));
    ensure!(!tests.is_empty(), "there are no tests on real tor processes");
    Ok(tests)
}

/// Returns whether a file of tests starts tor processes: such files are called `real_…`.
pub(super) fn is_real(test: &str) -> bool {
    test.starts_with("real_")
}

/// Prints how far the building of tor is: every kind of work, and every fortieth file.
fn show_progress() -> impl FnMut(Progress) {
    |progress| match progress {
        Progress::Waiting => eprintln!("another process builds tor; waiting for it"),
        Progress::Fetching => eprintln!("fetching the source of tor"),
        Progress::Configuring => eprintln!("configuring tor"),
        Progress::Compiling { done, total } if done % 40 == 0 => eprintln!("compiling tor: {done} of {total} files"),
        _ => {}
    }
}
