//! `cargo xtask test`: everything that can be checked, step by step.

mod foreign;
mod published;
mod report;
mod rustdoc;
mod shown;
mod stand_ins;

use std::fs;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, bail, ensure};
use onionweave_testnet::tor::{self, Progress, TorBinary};

use crate::bench::Instructions;
use crate::figures;
use crate::prose;
use crate::setup::{self, Tool};
use crate::workspace::{Program, Workspace};
use report::Report;
use stand_ins::StandIns;

pub(crate) use report::Failed;

/// How long each fuzz target is run, in seconds.
const FUZZ_SECONDS: u32 = 5;

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
    /// The test that runs the publisher's machine through ten thousand days of faults.
    storms: anyhow::Result<Vec<Program>>,
    fuzzer: anyhow::Result<Fuzzer>,
}

impl Tools {
    fn build(workspace: &Workspace) -> Self {
        Self {
            deny: Tool::DENY.ensure(),
            instructions: Instructions::build(workspace),
            storms: build_storms(workspace),
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

/// Optimised, since there are so many days.
fn build_storms(workspace: &Workspace) -> anyhow::Result<Vec<Program>> {
    let mut build = workspace.cargo();
    build.args([
        "test",
        "--quiet",
        "--release",
        "--package=onionweave-sim",
        "--test=storms",
        "--no-run",
        "--message-format=json",
    ]);
    workspace.build(&mut build)
}

/// The publisher's machine among seeded random faults, for ten thousand days in virtual time.
fn brave_storms(storms: anyhow::Result<Vec<Program>>, report: &mut Report) {
    report.tests("ten thousand days of faults", || {
        let storms = storms?;
        let test = storms.iter().find(|program| program.target == "storms");
        let test = test.context("there is no test of that name")?;
        let mut command = Command::new(&test.path);
        command.current_dir(&test.folder);
        Ok(command)
    });
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

/// Every fuzz target for some seconds, from its committed seeds.
fn fuzz(workspace: &Workspace, fuzzer: anyhow::Result<Fuzzer>, report: &mut Report) {
    let Some(fuzzer) = report.check("fuzz targets", || fuzzer) else {
        return;
    };
    for target in &fuzzer.targets {
        report.step(&format!("fuzzing {target}"), |tally| {
            let runs = fuzzer.run(workspace, target)?;
            tally.passed += 1;
            tally.remark(format!("{runs} inputs"));
            Ok(())
        });
    }
}

/// cargo-fuzz and the targets that it has built.
struct Fuzzer {
    program: PathBuf,
    targets: Vec<String>,
}

impl Fuzzer {
    /// Safe code needs no sanitizer, and without one a stable compiler will do. The folder is named so that no variable
    /// of the environment leads to the one that other builds have locked.
    const FLAGS: [&str; 4] = ["--sanitizer", "none", "--target-dir", "fuzz/target"];

    fn build(workspace: &Workspace) -> anyhow::Result<Self> {
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

    /// Runs one target; how many inputs it was given.
    fn run(&self, workspace: &Workspace, target: &str) -> anyhow::Result<u64> {
        let (folder, function) = target
            .split_once('-')
            .context("a target is called <crate>-<function>")?;
        let seeds = workspace
            .root
            .join("crates")
            .join(folder)
            .join("testdata/fuzz-corpus")
            .join(function);
        ensure!(seeds.is_dir(), "{} is missing", seeds.display());
        let found = workspace.target_directory.join("fuzz-corpus").join(target);
        fs::create_dir_all(&found).with_context(|| format!("create {}", found.display()))?;
        let mut fuzzer = workspace.command(&self.program);
        // What is found goes into the first folder.
        fuzzer.arg("run").args(Self::FLAGS).arg(target).args([&found, &seeds]);
        fuzzer.args(["--", "-print_final_stats=1", "-verbosity=0"]);
        fuzzer.arg(format!("-max_total_time={FUZZ_SECONDS}"));
        let output = fuzzer.stdin(Stdio::null()).output()?;
        let words = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            eprintln!("{words}");
            bail!("{target} failed; what it failed on is below fuzz/artifacts/{target}");
        }
        let stat = words
            .lines()
            .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
        stat.and_then(|number| number.trim().parse().ok())
            .with_context(|| format!("{target} did not say how many inputs it was given:\n{words}"))
    }
}
