//! Publishes onion services, each spread over its instances: the program `onionweave` in one file.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use onionweave_cli::{SAMPLE, log, program};

/// Spreads Tor onion services over many Tor instances.
///
/// Reads the descriptors of the instances, gives each responsible directory its own, and rewrites
/// them within a second when an instance dies, comes back or publishes by itself. One line is
/// logged for each round: why there was work, which slots (period/replica@directory) were written
/// and proved, and how long that took.
///
/// SIGINT and SIGTERM end it. SIGHUP reads the file again; a file with a mistake changes nothing.
/// RUST_LOG sets what is logged.
#[derive(Parser)]
#[command(version, after_help = SAMPLE)]
struct Args {
    /// The configuration (TOML).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// Only check the configuration and the files that it names.
    #[arg(long)]
    check: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    log::start();
    let outcome = match args.check {
        true => program::check(&args.config),
        false => program::run(&args.config).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::complain("publisher", &error);
            ExitCode::FAILURE
        }
    }
}
