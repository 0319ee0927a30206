//! What the commands need of the machine.

/// Installs those of the Debian `packages` that are missing.
pub(crate) fn ensure_packages(_packages: &[&str]) -> anyhow::Result<()> {
    Ok(())
}
