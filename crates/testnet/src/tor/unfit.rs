//! Reasons why a binary does not serve as tor here.

use onionweave_control::TorVersion;
use onionweave_control::launch::LaunchError;

/// A reason why a tor binary cannot run private networks with v2 onion services.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// The binary did not run, or did not say that it is a Tor.
    #[error(transparent)]
    NoTor(#[from] LaunchError),
    /// The Tor is too new.
    #[error("tor {version} has no v2 onion services, which ended with 0.4.5.11")]
    #[non_exhaustive]
    NoV2 {
        /// Version of the binary.
        version: TorVersion,
    },
    /// The Tor was built without a module.
    #[error("tor {version} was built without the {module} module (`tor --list-modules`)")]
    #[non_exhaustive]
    Module {
        /// Version of the binary.
        version: TorVersion,
        /// Name of the missing module.
        module: &'static str,
    },
}
