//! The commands of the laboratory (`crates/lab`), handed on to its program, so that this one stays
//! quick to build.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;

use anyhow::Context as _;

use crate::setup::cargo;

/// Arguments of a command of the laboratory, which explains and checks them itself.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    arguments: Vec<OsString>,
}

/// Becomes the laboratory's program.
///
/// # Errors
///
/// Always, if it returns: then Cargo does not start.
pub(crate) fn run(command: &str, optimised: bool, args: &Args) -> anyhow::Result<()> {
    let mut run = cargo();
    run.args(["run", "--quiet", "--locked", "--package", "onionweave-lab"]);
    if optimised {
        run.arg("--release");
    }
    run.arg("--").arg(command).args(&args.arguments);
    // Signals reach what runs, since it is the same process.
    Err(run.exec()).context("cargo does not start")
}
