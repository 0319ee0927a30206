//! The tor binary: found, checked, or built.
//!
//! v2 onion services need an old Tor. Tor 0.4.5.9 is built from the folder `tor-src` of the Rust
//! package `libtor-sys` 45.9.0, which Cargo fetches like any dependency (`Cargo.lock` pins its
//! checksum) and never compiles. The binary is kept in the user's cache folder, `$XDG_CACHE_HOME`
//! or `~/.cache`, as `onionweave/tor-0.4.5.9-<hash of how it was built>/tor`, so that a machine
//! builds it once. A build takes one to two minutes on two cores.
//!
//! The environment variable `ONIONWEAVE_TOR` names another binary to use instead.

mod build;
mod packages;
mod unfit;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use onionweave_control::launch;

use crate::error::Error;

pub use build::{Progress, cache_folder};
pub use onionweave_control::TorVersion as Version;
pub use packages::missing_packages;
pub use unfit::Unfit;

/// The version that is built here, the last but one with v2 onion services.
pub const BUILT: Version = Version::new([0, 4, 5, 9]);

/// The environment variable that names the tor binary to use instead of building one.
pub const VARIABLE: &str = "ONIONWEAVE_TOR";

/// The tor to run: the one that `ONIONWEAVE_TOR` names, else the one in the cache, else one that is
/// built now.
///
/// Blocks, for minutes when tor has to be built; [`binary_with`] tells how far it is.
///
/// # Errors
///
/// [`Error::UnfitTor`] for a binary without v2 onion services or without the modules of relays and authorities,
/// [`Error::MissingPackages`], [`Error::TorSource`] and [`Error::TorBuild`] when tor cannot be built.
///
/// ```no_run
/// let tor = onionweave_testnet::tor::binary()?;
/// println!("{} is tor {}", tor.path().display(), tor.version());
/// # Ok::<(), onionweave_testnet::Error>(())
/// ```
pub fn binary() -> Result<TorBinary, Error> {
    binary_with(|_| {})
}

/// [`binary`], with a function that is called as the work goes on.
///
/// It is not called at all when the binary is there already.
///
/// # Errors
///
/// As [`binary`].
pub fn binary_with(progress: impl FnMut(Progress)) -> Result<TorBinary, Error> {
    match std::env::var_os(VARIABLE) {
        Some(path) if !path.is_empty() => TorBinary::at(path),
        _ => build::cached_or_built(progress),
    }
}

/// A tor binary that was found fit to run private networks with v2 onion services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TorBinary(launch::TorBinary);

impl TorBinary {
    /// Checks the binary at `path` by asking it for its version and its modules.
    ///
    /// # Errors
    ///
    /// [`Error::UnfitTor`] with the reason.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        match inspect(&path) {
            Ok(tor) => Ok(Self(tor)),
            Err(reason) => Err(Error::UnfitTor {
                path,
                reason: Box::new(reason),
            }),
        }
    }

    /// The absolute path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The version it says it is.
    pub fn version(&self) -> Version {
        self.0.version()
    }
}

/// Asks a binary for its version and its modules.
fn inspect(path: &Path) -> Result<launch::TorBinary, Unfit> {
    let tor = launch::TorBinary::at(path)?;
    let version = tor.version();
    if !version.has_v2_onion_services() {
        return Err(Unfit::NoV2 { version });
    }
    for module in ["relay", "dirauth"] {
        if !tor.has_module(module)? {
            return Err(Unfit::Module { version, module });
        }
    }
    Ok(tor)
}

/// The program that a variable names, else `default`.
fn program(variable: &str, default: &str) -> OsString {
    std::env::var_os(variable)
        .filter(|value| !value.is_empty())
        .unwrap_or_else(|| default.into())
}
