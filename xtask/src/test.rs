//! `cargo xtask test`: everything that can be checked, step by step.

mod foreign;
mod networks;
mod published;
mod rustdoc;
mod shown;

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;

use crate::bench::Instructions;
use crate::figures;
use crate::fuzz::Fuzzer;
use crate::prose;
use crate::report::Report;
use crate::setup::{self, Tool};
use crate::stand_ins::StandIns;
use crate::storms::Storms;
use crate::workspace::Workspace;
use networks::Networks;

/// Environment variable that names the folder of the built examples, so that tests need not build
/// them.
const EXAMPLES: &str = "ONIONWEAVE_EXAMPLES";

/// Time for each fuzz target.
const FUZZ_TIME: Duration = Duration::from_secs(5);

/// Check everything that can be checked
///
/// Every step is run, also after one has failed. The last line counts tests and checks together.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out what takes long: tests on real tor processes, instruction counts, the audit of
    /// dependencies, and fuzzing
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
    check_text(&workspace, &mut report);
    if args.quick || args.only.is_some() {
        check_code(&workspace, &mut report);
        return report.finish();
    }
    let networks = Networks::prepare(&workspace, &mut report);
    // Networks leave the processors idle most of the time. While they are measured, nothing runs
    // beside them but what builds, with the lowest priority.
    let tools = thread::scope(|scope| {
        let tools = scope.spawn(|| Tools::build(&workspace));
        networks.measure(&mut report);
        tools.join()
    });
    let tools = tools.unwrap_or_else(|panic| resume_unwind(panic));
    report.beside(
        |lane| networks.test(lane),
        |report| {
            check_code(&workspace, report);
            check_instructions(&workspace, tools.instructions, report);
            brave_storms(tools.storms, report);
            check_dependencies(&workspace, tools.deny, report);
            fuzz(&workspace, tools.fuzzer, report);
        },
    );
    report.finish()
}

/// Checks that take seconds and build nothing.
fn check_text(workspace: &Workspace, report: &mut Report) {
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
    report.check("figures of README", || figures::check(workspace));
    report.check("OpenSSL to build with", setup::ensure_openssl);
}

/// Checks that need no network, no Tor and no other tools than Rust's own.
fn check_code(workspace: &Workspace, report: &mut Report) {
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
        build_examples(workspace)?;
        tests.env(EXAMPLES, workspace.examples());
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

/// Builds the examples as the programs that tests run. A build of all tests makes tests of them.
fn build_examples(workspace: &Workspace) -> anyhow::Result<()> {
    let mut build = workspace.cargo();
    build.args(["build", "--quiet", "--workspace", "--all-features", "--examples"]);
    setup::run(&mut build)
}

/// Tools and programs that are built while networks are measured.
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

/// Checks that no operation takes a fifth more instructions than were accepted. Times are never
/// judged: they depend on what else the machine does.
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

/// Checks licences, bans, sources, and known faults of the dependencies.
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

/// Names of all files of tests that start no tor process.
fn offline_tests(workspace: &Workspace) -> impl Iterator<Item = &str> {
    let targets = workspace.packages.iter().flat_map(|package| &package.targets);
    let offline = targets.filter(|target| target.kind == ["test"] && !networks::is_real(&target.name));
    offline.map(|target| target.name.as_str())
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
