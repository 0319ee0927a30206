//! `cargo xtask bench`: how fast everything is, beside its peers in the same run.

mod figures;
mod instructions;
mod peers;
mod table;

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::{Context as _, ensure};

use crate::setup;
use crate::workspace::Workspace;
use figures::{Costs, Ours};
use peers::Peers;

pub(crate) use instructions::Instructions;

/// Input of the benches and the peers.
#[path = "../../benches/inputs.rs"]
mod inputs;

/// Packages that are built together for the instruction counts and the storms, so that both share
/// what they are built with.
pub(crate) const BENCH_PACKAGES: [&str; 2] = ["--package=onionweave", "--package=onionweave-sim"];

/// File in which the figures stand, between two lines that mark the place.
const README: &str = "benches/README.md";

/// Measure how fast everything is, beside its peers, and write the figures into benches/README.md
///
/// Everything runs on one core, in rounds: ours, then the peers, then OpenSSL, and again. For each
/// figure the median of the rounds is written. The machine should have nothing else to do.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only count instructions, and compare the counts with those that were accepted, as `cargo
    /// xtask test` does
    #[arg(long, conflicts_with = "accept")]
    check: bool,
    /// Only count instructions, and accept the counts
    #[arg(long)]
    accept: bool,
    /// Number of times that everything is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// Measure for a fraction of the time and print the figures instead of writing them: to see
    /// whether it works
    #[arg(long)]
    rehearse: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let workspace = Workspace::read()?;
    if args.accept {
        return Instructions::build(&workspace)?.accept(&workspace);
    }
    if args.check {
        println!("{}", Instructions::build(&workspace)?.check(&workspace)?);
        return Ok(());
    }
    let figures = measure(&workspace, args)?;
    let text = table::render(&figures)?;
    if args.rehearse {
        println!("{text}");
        return Ok(());
    }
    let path = workspace.root.join(README);
    let old = fs::read_to_string(&path).with_context(|| format!("read {README}"))?;
    let new = table::replace(&old, &text).with_context(|| format!("{README} has no place for the figures"))?;
    fs::write(&path, new).with_context(|| format!("write {README}"))?;
    println!("the figures are in {README}");
    Ok(())
}

/// Findings of all rounds.
struct Figures {
    ours: Vec<Ours>,
    peers: Vec<peers::Figures>,
    openssl: Vec<OpenSsl>,
    memory: Costs,
    machine: Machine,
}

fn measure(workspace: &Workspace, args: &Args) -> anyhow::Result<Figures> {
    let peers = Peers::ensure(workspace)?;
    if !setup::on_path("openssl") {
        setup::ensure_packages(&["openssl"])?;
    }
    println!("building the benches");
    let benches = figures::build(workspace)?;
    let core = Core::last()?;

    let folder = workspace.target_directory.join("xtask-bench");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let relays = [
        ("ns_all.txt", inputs::ns_all()),
        ("longer_ns_all.txt", inputs::ns_all_of(table::ASKED_FOR)),
    ];
    let relays = relays.map(|(name, text)| {
        let path = folder.join(name);
        let written = fs::write(&path, text).with_context(|| format!("write {}", path.display()));
        written.map(|()| path)
    });
    let [shorter, longer] = relays;
    let relays = [shorter?, longer?];

    let mut figures = Figures {
        ours: Vec::new(),
        peers: Vec::new(),
        openssl: Vec::new(),
        memory: figures::memory(workspace)?,
        machine: Machine::look()?,
    };
    let names = table::names();
    for round in 1..=args.rounds {
        println!("round {round} of {}", args.rounds);
        figures
            .ours
            .push(Ours::measure(&benches, &names, &core, &folder, args.rehearse)?);
        figures
            .peers
            .push(peers.measure(workspace, &core, &relays, args.rehearse)?);
        figures.openssl.push(OpenSsl::measure(&core)?);
    }
    Ok(figures)
}

/// The core that everything is measured on: the last, since the first has most interrupts.
struct Core(String);

impl Core {
    fn last() -> anyhow::Result<Self> {
        let cores = available_parallelism().context("the number of cores is unknown")?;
        Ok(Self((cores.get() - 1).to_string()))
    }

    /// A command that is run on this core alone.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &self.0]).arg(program);
        command
    }
}

/// Results of `openssl speed` for RSA with 1024 bits, in seconds for one operation.
struct OpenSsl {
    sign: f64,
    verify: f64,
}

impl OpenSsl {
    fn measure(core: &Core) -> anyhow::Result<Self> {
        let mut speed = core.command("openssl");
        speed.args(["speed", "-mr", "-seconds", "2", "rsa1024"]);
        let output = setup::output(&mut speed)?;
        Self::read(&output).with_context(|| format!("`openssl speed` is not understood:\n{output}"))
    }

    /// Reads the line `+F2:<number>:<bits>:<signatures per second>:<verifications per second>`.
    fn read(output: &str) -> Option<Self> {
        let line = output.lines().find_map(|line| line.strip_prefix("+F2:"))?;
        let rates: Vec<f64> = line
            .split(':')
            .map(|field| field.trim().parse().ok())
            .collect::<Option<_>>()?;
        let [_, 1024.0, sign, verify] = rates[..] else {
            return None;
        };
        Some(Self {
            sign: sign.recip(),
            verify: verify.recip(),
        })
    }
}

/// Machine and compiler that the figures were measured on.
struct Machine {
    processor: String,
    cores: usize,
    compiler: String,
    openssl: String,
}

impl Machine {
    fn look() -> anyhow::Result<Self> {
        Ok(Self {
            processor: processor()?,
            cores: available_parallelism()?.get(),
            compiler: compiler()?,
            openssl: first_words(&mut Command::new("openssl"), "version", 2)?,
        })
    }
}

/// Name that the processor gives itself.
pub(crate) fn processor() -> anyhow::Result<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").context("read /proc/cpuinfo")?;
    let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let model = fields.find(|(name, _)| name.trim_end() == "model name");
    Ok(model
        .map_or("an unknown processor", |(_, model)| model.trim())
        .to_owned())
}

/// The compiler that builds what is measured, such as `rustc 1.95.0`.
fn compiler() -> anyhow::Result<String> {
    first_words(&mut Command::new("rustc"), "--version", 2)
}

fn first_words(command: &mut Command, argument: &str, count: usize) -> anyhow::Result<String> {
    let output = setup::output(command.arg(argument))?;
    let words: Vec<&str> = output.split_whitespace().take(count).collect();
    ensure!(
        words.len() == count,
        "`{}` is not understood: {output}",
        setup::words(command)
    );
    Ok(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openssl_is_understood() {
        let read = OpenSsl::read("+DTP:1024:private:rsa:2\n+F2:1:1024:10000.0:250000.0\n").unwrap();
        assert!((read.sign - 1e-4).abs() < 1e-12 && (read.verify - 4e-6).abs() < 1e-12);
        assert!(OpenSsl::read("+F2:2:2048:10000.0:250000.0\n").is_none());
        assert!(OpenSsl::read("").is_none());
    }
}
