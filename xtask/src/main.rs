//! The commands of the README: `cargo xtask test`, `nightly`, `bench`, `figures` and `prose`, and
//! those of the laboratory (`crates/lab`).
#![allow(clippy::print_stdout, reason = "printing is what these commands are for")]

mod bench;
mod figures;
mod fuzz;
mod lab;
mod markers;
mod nightly;
mod prose;
mod report;
mod setup;
mod stand_ins;
mod storms;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The commands of the README.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Bench(bench::Args),
    /// Watch a service of three instances on a private Tor network while one of them dies
    Demo(lab::Args),
    /// Redraw the figures of the thesis beside its own numbers
    Experiment(lab::Args),
    /// Break everything that can break around a service, and measure what new clients notice
    Faults(lab::Args),
    Figures(figures::Args),
    /// Measure what a service on a pool of one, two and more instances delivers
    PoolBench(lab::Args),
    Nightly(nightly::Args),
    Prose(prose::Args),
    Test(test::Args),
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Bench(args) => bench::run(&args),
        Command::Demo(args) => lab::run("demo", false, &args),
        // Simulations take ten times as long without optimisation.
        Command::Experiment(args) => lab::run("experiment", true, &args),
        Command::Figures(args) => figures::run(&args),
        Command::Faults(args) => lab::run("faults", false, &args),
        Command::PoolBench(args) => lab::run("pool-bench", false, &args),
        Command::Nightly(args) => nightly::run(&args),
        Command::Prose(args) => prose::run(&args),
        Command::Test(args) => test::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Shown already, and the last line belongs to the counts.
        Err(error) if error.is::<report::Failed>() => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
