//! The program `onionweave`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use onionweave_cli::program;

/// Spreads Tor onion services over many Tor instances.
#[derive(Parser)]
#[command(name = "onionweave", version)]
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
    program::log_to_stderr();
    let done = match args.check {
        true => program::check(&args.config),
        false => program::run(&args.config).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
