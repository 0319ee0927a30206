//! Errors of this crate.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use onionweave_driver as driver;

/// Reason why a configuration cannot be used, or a publisher cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration has a mistake.
    #[error("{}{what}", place(*.at))]
    #[non_exhaustive]
    Config {
        /// Line and column, counted from one, of what is wrong; `None` for what is missing
        /// altogether.
        at: Option<(usize, usize)>,
        /// The mistake, and what to write instead.
        what: String,
    },
    /// The configuration cannot be read.
    #[error("{}: {source}", path.display())]
    #[non_exhaustive]
    File {
        /// Path of the configuration.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is no configuration.
    #[error("{}: {what}", path.display())]
    #[non_exhaustive]
    NoText {
        /// Path of the file.
        path: PathBuf,
        /// Kind of thing that it is instead.
        what: String,
    },
    /// The configuration in this file cannot be used.
    #[error("{}: {source}", path.display())]
    #[non_exhaustive]
    In {
        /// Path of the configuration.
        path: PathBuf,
        /// The mistake.
        source: Box<Error>,
    },
    /// The publisher cannot start, or cannot take on another configuration.
    #[error(transparent)]
    Publisher(#[from] driver::Error),
    /// A part of the running publisher failed.
    #[error(transparent)]
    Failed(#[from] driver::Failure),
    /// The system does not let the program hear signals.
    #[error("signals: {0}")]
    Signals(io::Error),
}

impl Error {
    /// The program's exit code, as `sysexits.h` has them: 78 for configurations, 75 for a folder
    /// that is in use, 1 for the rest.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Config { .. } | Self::File { .. } | Self::NoText { .. } | Self::In { .. } => EX_CONFIG,
            Self::Publisher(driver::Error::InUse { .. }) => EX_TEMPFAIL,
            Self::Publisher(_) => EX_CONFIG,
            Self::Failed(_) | Self::Signals(_) => 1,
        })
    }

    /// The same, with the path of the configuration in front.
    pub(crate) fn in_file(self, path: &std::path::Path) -> Self {
        match self {
            Self::Config { .. } => Self::In {
                path: path.into(),
                source: Box::new(self),
            },
            other => other,
        }
    }
}

/// Exit code for a temporary failure (`sysexits.h`).
const EX_TEMPFAIL: u8 = 75;
/// Exit code for a mistake in a configuration (`sysexits.h`).
const EX_CONFIG: u8 = 78;

fn place(at: Option<(usize, usize)>) -> String {
    at.map(|(line, column)| format!("line {line}, column {column}: "))
        .unwrap_or_default()
}
