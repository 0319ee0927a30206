//! `cargo xtask test`: everything that can be checked, step by step.

mod foreign;
mod published;
mod rustdoc;
mod shown;

use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use onionweave_testnet::tor::{self, Progress, TorBinary};

use crate::bench::Instructions;
use crate::figures;
use crate::fuzz::Fuzzer;
use crate::prose;
use crate::report::Report;
use crate::setup::{self, Tool};
use crate::stand_ins::StandIns;
use crate::storms::Storms;
use crate::workspace::{Program, Workspace};

/// Time for each fuzz target.
const FUZZ_TIME: Duration = Duration::from_secs(5);

/// Check everything that can be checked
///
/// Every step is run, also after one has failed. The last line counts tests and checks together.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out what takes long: tests on real tor processes, instruction counts, the audit of dependencies, and fuzzing
    #[arg(long)]
    quick: bool,
    /// Run only the quick steps whose name contains this text
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let workspace = Workspace::read()?;
    let stand_ins = StandIns::write(workspace.target_directory.join("xtask-stand-ins"))?;
    let mut report = Report::start(stand_ins, args.only.clone());
    check_code(&workspace, &mut report);
    if !args.quick && args.only.is_none() {
        // Networks leave the processors idle most of the time; what takes long to build is built meanwhile.
        let tools = thread::scope(|scope| {
            let tools = scope.spawn(|| Tools::build(&workspace));
            test_on_real_tor(&workspace, &mut report);
            tools.join()
        });
        let tools = tools.unwrap_or_else(|panic| resume_unwind(panic));
        check_instructions(&workspace, tools.instructions, &mut report);
        brave_storms(tools.storms, &mut report);
        check_dependencies(&workspace, tools.deny, &mut report);
        fuzz(&workspace, tools.fuzzer, &mut report);
    }
    report.finish()
}

/// What needs no network, no Tor and no other tools than Rust's own.
fn check_code(workspace: &Workspace, report: &mut Report) {
    report.check("formatting", || {
        setup::run(workspace.cargo().args(["fmt", "--all", "--check"]))?;
        setup::run(
            workspace
                .cargo()
                .args(["fmt", "--check", "--manifest-path", "fuzz/Cargo.toml"]),
        )
    });
    report.step("plain English", |tally| {
        tally.remark(prose::check(workspace)?);
        tally.passed += 1;
        Ok(())
    });
    report.check("OpenSSL to build with", setup::ensure_openssl);
    report.check("lints", || {
        let mut clippy = workspace.cargo();
        clippy.args([
            "clippy",
            "--quiet",
            "--workspace",
            "--all-features",
            "--all-targets",
            // Not among all targets, since `cargo bench` does not run them by itself.
            "--bench=memory",
            "--bench=instructions",
            "--",
            "-Dwarnings",
        ]);
        setup::run(&mut clippy)
    });
    report.step("lints of each feature alone", |tally| {
        let sets = published::check_features(workspace)?;
        tally.passed += 1;
        tally.remark(format!("{sets} sets"));
        Ok(())
    });
    report.tests("unit, property, simulation and example tests", || {
        let mut tests = workspace.cargo();
        tests.args([
            "test",
            "--quiet",
            "--workspace",
            "--all-features",
            "--no-fail-fast",
            "--lib",
            "--bins",
            "--examples",
        ]);
        for target in offline_tests(workspace) {
            tests.args(["--test", target]);
        }
        Ok(tests)
    });
    report.tests("documentation tests", || {
        let mut tests = workspace.cargo();
        tests.args([
            "test",
            "--quiet",
            "--workspace",
            "--all-features",
            "--no-fail-fast",
            "--doc",
        ]);
        Ok(tests)
    });
    report.check("documentation", || {
        let mut doc = workspace.cargo();
        doc.args(["doc", "--quiet", "--workspace", "--all-features", "--no-deps"]);
        // As docs.rs does it, which shows the feature that an item needs.
        doc.env("RUSTDOC", workspace.root.join("xtask/rustdoc-unstable"));
        setup::run(doc.env("RUSTDOCFLAGS", "-Dwarnings --cfg=docsrs"))
    });
    report.check("figures of README", || figures::check(workspace));
    report.step("items that an example shows", |tally| {
        let items = shown::check(workspace)?;
        tally.passed += 1;
        tally.remark(format!("{items} items"));
        Ok(())
    });
    report.step("foreign types in public interfaces", |tally| {
        let items = foreign::check(workspace)?;
        tally.passed += 1;
        tally.remark(format!("none in {items} items but those argued for"));
        Ok(())
    });
    report.step("packages of the published crates", |tally| {
        let packages = published::check_packages(workspace)?;
        tally.passed += 1;
        tally.remark(format!("{packages} packages"));
        Ok(())
    });
    report.step("oldest compiler of the dependencies", |tally| {
        let packages = published::check_rust_version(workspace)?;
        tally.passed += 1;
        tally.remark(format!("{packages} packages"));
        Ok(())
    });
    report.step("crates without IO on another system", |tally| {
        match published::check_other_target(workspace)? {
            Some(target) => {
                tally.passed += 1;
                tally.remark(target);
            }
            None => tally.skip("no other target of the compiler is installed"),
        }
        Ok(())
    });
}

/// What is built while the tests on real tor processes run.
struct Tools {
    /// The program cargo-deny.
    deny: anyhow::Result<PathBuf>,
    instructions: anyhow::Result<Instructions>,
    storms: anyhow::Result<Storms>,
    fuzzer: anyhow::Result<Fuzzer>,
}

impl Tools {
    fn build(workspace: &Workspace) -> Self {
        Self {
            deny: Tool::DENY.ensure(),
            instructions: Instructions::build(workspace),
            storms: Storms::build(workspace),
            fuzzer: Fuzzer::build(workspace),
        }
    }
}

/// That nothing has become slower by more than a fifth. Times are never judged: they depend on what else the machine does.
fn check_instructions(workspace: &Workspace, instructions: anyhow::Result<Instructions>, report: &mut Report) {
    report.step("instructions that operations take", |tally| {
        let remark = instructions?.check(workspace)?;
        tally.passed += 1;
        tally.remark(remark);
        Ok(())
    });
}

/// Runs the reconciler through days of seeded random faults, in virtual time.
fn brave_storms(storms: anyhow::Result<Storms>, report: &mut Report) {
    report.tests("days of faults in virtual time", || Ok(storms?.command(None)));
}

/// Licences, bans, sources, and known faults of the dependencies.
fn check_dependencies(workspace: &Workspace, deny: anyhow::Result<PathBuf>, report: &mut Report) {
    let deny = report.check("cargo-deny", || deny);
    let deny = |arguments: &[&str]| {
        let program = deny.as_ref().context("cargo-deny is not there")?;
        setup::run(workspace.command(program).args(arguments))
    };
    report.check("licences, bans and sources of dependencies", || {
        deny(&[
            "--log-level",
            "error",
            "check",
            "--hide-inclusion-graph",
            "licenses",
            "bans",
            "sources",
        ])
    });
    report.step("advisories on dependencies", |tally| {
        // A machine without the internet must not pass for having looked.
        if deny(&["fetch", "db"]).is_err() {
            tally.skip("the database of advisories cannot be fetched");
            return Ok(());
        }
        deny(&["check", "--disable-fetch", "advisories"])?;
        tally.passed += 1;
        Ok(())
    });
}

/// The tests that start tor processes, and whole networks of them.
fn test_on_real_tor(workspace: &Workspace, report: &mut Report) {
    let built = report.check("tor with v2 onion services", || {
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
    let tests = report.check("building the tests that start tor", || build_real_tests(workspace));
    for test in tests.iter().flatten() {
        let name = format!("{} {}", test.package, test.target);
        let run = |tor: Option<&Path>, arguments: &[&str]| {
            let mut command = Command::new(&test.path);
            command.arg("--nocapture").args(arguments).current_dir(&test.folder);
            command.env(tor::VARIABLE, tor.context("there is no tor to test with")?);
            // Some tests hold both against each other.
            let without_v2 = without_v2.as_deref().context("there is no tor without v2")?;
            command.env(setup::TOR_WITHOUT_V2, without_v2);
            Ok(command)
        };
        let path = built.as_ref().map(TorBinary::path);
        // One network at a time where tests measure, and what they measure shall be seen.
        let one_by_one = ["--test-threads=1"];
        if test.package == "onionweave-driver" {
            // Here those are the tests at the top; those in modules stand being disturbed.
            report.tests(&format!("{name}, measured, on tor with v2"), || {
                run(path, &["--test-threads=1", "--skip=::"])
            });
            report.tests(&format!("{name}, the others, on tor with v2"), || {
                run(path, &["--test-threads=2", "::"])
            });
        } else {
            report.tests(&format!("{name} on tor with v2"), || run(path, &one_by_one));
        }
        // The control protocol is that of every Tor; the rest needs v2.
        if test.package == "onionweave-control" {
            report.tests(&format!("{name} on tor of today"), || {
                run(without_v2.as_deref(), &one_by_one)
            });
        }
    }
}

/// The names of all files of tests that start no tor process.
fn offline_tests(workspace: &Workspace) -> impl Iterator<Item = &str> {
    let targets = workspace.packages.iter().flat_map(|package| &package.targets);
    let offline = targets.filter(|target| target.kind == ["test"] && !is_real(&target.name));
    offline.map(|target| target.name.as_str())
}

/// Builds the tests that start tor processes, with the features of the whole workspace, so that nothing is built twice.
fn build_real_tests(workspace: &Workspace) -> anyhow::Result<Vec<Program>> {
    let mut build = workspace.cargo();
    build.args([
        "test",
        "--quiet",
        "--workspace",
        "--all-features",
        "--no-run",
        "--message-format=json",
        "--test",
        "real_*",
    ]);
    let mut tests = workspace.build(&mut build)?;
    tests.retain(|test| is_real(&test.target));
    ensure!(!tests.is_empty(), "there are no tests on real tor processes");
    Ok(tests)
}

/// Whether a file of tests starts tor processes: such files are called `real_…`.
fn is_real(test: &str) -> bool {
    test.starts_with("real_")
}

/// Prints how far the building of tor is: every kind of work, and every tenth file.
fn show_progress() -> impl FnMut(Progress) {
    |progress| match progress {
        Progress::Waiting => eprintln!("another process builds tor; waiting for it"),
        Progress::Fetching => eprintln!("fetching the source of tor"),
        Progress::Configuring => eprintln!("configuring tor"),
        Progress::Compiling { done, total } if done % 40 == 0 => eprintln!("compiling tor: {done} of {total} files"),
        _ => {}
    }
}

/// Runs every fuzz target for some seconds, from its committed seeds.
fn fuzz(workspace: &Workspace, fuzzer: anyhow::Result<Fuzzer>, report: &mut Report) {
    let found = workspace.target_directory.join("fuzz-corpus");
    report.step("fuzzing", |tally| {
        let runs = fuzzer?.run_all(workspace, &found, FUZZ_TIME)?;
        tally.passed += runs.len() as u64;
        tally.remark(format!("{} inputs", runs.iter().sum::<u64>()));
        Ok(())
    });
}
