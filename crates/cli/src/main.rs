//! The program `onionweave`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use onionweave_cli::{SAMPLE, log, program};

/// Spreads Tor onion services over many Tor instances
///
/// Reads the descriptors of the instances, gives each responsible directory its own, and rewrites
/// them within a second when an instance dies, comes back or publishes by itself.
#[derive(Parser)]
#[command(name = "onionweave", version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 ended as asked; 1 failed; 2 wrong arguments; 75 another publisher has the state folder;
78 the configuration, or a file that it names, cannot be used.
RUST_LOG sets what is logged, for example RUST_LOG=debug. NO_COLOR turns colours off.";

#[derive(Subcommand)]
enum Command {
    /// Publish until SIGINT or SIGTERM
    ///
    /// One line is logged for each round: why there was work, which slots
    /// (period/replica@directory) were written and proved, and how long that took. SIGHUP reads the
    /// configuration again; a configuration with a mistake changes nothing. The directories keep
    /// what they have when the program ends.
    #[command(after_long_help = SAMPLE)]
    Run(Configuration),
    /// Check the configuration and the files that it names
    ///
    /// Nothing is started, and no Tor is asked for anything.
    #[command(after_long_help = SAMPLE)]
    Check(Configuration),
}

#[derive(clap::Args)]
struct Configuration {
    /// Configuration (TOML); `--help` prints one with every key
    #[arg(short, long, value_name = "FILE", default_value = "/etc/onionweave/onionweave.toml")]
    config: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    log::start();
    let outcome = match &args.command {
        Command::Run(of) => program::run(&of.config).await,
        Command::Check(of) => program::check(&of.config),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::complain("onionweave", &error);
            error.exit_code()
        }
    }
}
