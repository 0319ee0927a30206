#![doc = include_str!("../README.md")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what these commands are for"
)]

mod demo;
mod experiment;
mod faults;
mod pool_bench;
mod program;
mod screen;
mod stage;
mod statistics;
mod svg;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The laboratory of Onionweave.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Experiment(experiment::Args),
    Faults(faults::Args),
    PoolBench(pool_bench::Args),
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Experiment(args) => experiment::run(&args),
        Command::Faults(args) => faults::run(&args),
        Command::PoolBench(args) => pool_bench::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
