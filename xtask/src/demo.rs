//! `cargo xtask demo`: a service of three instances on a private Tor network, watched while one of them dies.

/// Watch a service of three instances on a private Tor network while one of them dies.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> anyhow::Result<()> {
    crate::setup::ensure_packages(&[])
}
