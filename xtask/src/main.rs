//! The commands of the README: `cargo xtask demo`, `test`, `bench`, `pool-bench`, `faults` and `prose`.
#![allow(clippy::print_stdout, reason = "printing is what these commands are for")]

mod bench;
mod demo;
mod faults;
mod png;
mod pool_bench;
mod prose;
mod screen;
mod setup;
mod stage;
mod svg;
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
    Demo(demo::Args),
    Faults(faults::Args),
    PoolBench(pool_bench::Args),
    Prose(prose::Args),
    Test(test::Args),
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Bench(args) => bench::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Faults(args) => faults::run(&args),
        Command::PoolBench(args) => pool_bench::run(&args),
        Command::Prose(args) => prose::run(&args),
        Command::Test(args) => test::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Shown already, and the last line belongs to the counts.
        Err(error) if error.is::<test::Failed>() => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
