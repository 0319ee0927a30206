//! The tor binary: found, checked, or built.
//!
//! v2 onion services need an old Tor. Tor 0.4.5.9 is built from the folder `tor-src` of the Rust package `libtor-sys` 45.9.0,
//! which Cargo fetches like any dependency (`Cargo.lock` pins its checksum) and never compiles. The binary is kept in the user's
//! cache folder, `$XDG_CACHE_HOME` or `~/.cache`, as `onionweave/tor-0.4.5.9-<hash of how it was built>/tor`, so that a machine builds it
//! once. A build takes one to two minutes on two cores.
//!
//! The environment variable `ONIONWEAVE_TOR` names another binary to use instead.

mod build;
mod packages;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, IoContext};

pub use build::{Progress, cache_folder};
pub use onionweave_control::TorVersion as Version;
pub use packages::missing_packages;

/// The version that is built here, the last but one with v2 onion services.
pub const BUILT: Version = Version::new([0, 4, 5, 9]);

/// The environment variable that names the tor binary to use instead of building one.
pub const VARIABLE: &str = "ONIONWEAVE_TOR";

/// The tor to run: the one that `ONIONWEAVE_TOR` names, else the one in the cache, else one that is built now.
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
pub struct TorBinary {
    path: PathBuf,
    version: Version,
}

impl TorBinary {
    /// Checks the binary at `path` by asking it for its version and its modules.
    ///
    /// # Errors
    ///
    /// [`Error::UnfitTor`] names what it lacks.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = std::path::absolute(path.into()).doing("resolve", Path::new("."))?;
        match inspect(&path) {
            Ok(version) => Ok(Self { path, version }),
            Err(reason) => Err(Error::UnfitTor { path, reason }),
        }
    }

    /// Where it is, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The version it says it is.
    pub fn version(&self) -> Version {
        self.version
    }
}

/// Why a tor binary cannot run private networks with v2 onion services.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// It did not run.
    #[error("`tor {argument}` failed: {detail}")]
    Silent {
        /// The argument it was started with.
        argument: &'static str,
        /// What happened.
        detail: String,
    },
    /// Its version was not understood.
    #[error("its version {found:?} is not four numbers")]
    Version {
        /// What it said.
        found: String,
    },
    /// It is too new.
    #[error("tor {version} has no v2 onion services, which ended with 0.4.5.11")]
    NoV2 {
        /// What it is.
        version: Version,
    },
    /// It was built without a module.
    #[error("tor {version} was built without the {module} module (`tor --list-modules`)")]
    Module {
        /// What it is.
        version: Version,
        /// What it lacks.
        module: &'static str,
    },
}

/// Asks a binary what it is.
fn inspect(path: &Path) -> Result<Version, Unfit> {
    let answer = ask(path, "--version")?;
    let version: Version = match answer.lines().next().and_then(|line| line.strip_prefix("Tor version ")) {
        Some(version) => version.parse().map_err(|_| Unfit::Version {
            found: version.to_owned(),
        })?,
        None => {
            return Err(Unfit::Version {
                found: answer.lines().next().unwrap_or_default().to_owned(),
            });
        }
    };
    if !version.has_v2_onion_services() {
        return Err(Unfit::NoV2 { version });
    }
    let modules = ask(path, "--list-modules")?;
    for module in ["relay", "dirauth"] {
        let present = modules.lines().any(|line| line.strip_prefix(module) == Some(": yes"));
        if !present {
            return Err(Unfit::Module { version, module });
        }
    }
    Ok(version)
}

/// The standard output of `tor <argument>`.
fn ask(path: &Path, argument: &'static str) -> Result<String, Unfit> {
    let silent = |detail| Unfit::Silent { argument, detail };
    let output = Command::new(path)
        .arg(argument)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| silent(error.to_string()))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let last = words.lines().next_back().unwrap_or("it said nothing");
        return Err(silent(format!("{}; {last}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The program that a variable names, else `default`.
fn program(variable: &str, default: &str) -> OsString {
    std::env::var_os(variable)
        .filter(|value| !value.is_empty())
        .unwrap_or_else(|| default.into())
}
