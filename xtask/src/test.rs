//! `cargo xtask test`: everything that can be checked.

/// Check everything that can be checked.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> anyhow::Result<()> {
    crate::setup::ensure_packages(&[])
}
