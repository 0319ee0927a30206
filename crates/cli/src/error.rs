//! Errors of this crate.

/// Reason why a configuration cannot be used, or a publisher cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration has a mistake.
    #[error("{}{what}", place(*.at))]
    #[non_exhaustive]
    Config {
        /// Line and column, counted from one, where the text itself is wrong.
        at: Option<(usize, usize)>,
        /// The mistake.
        what: String,
    },
    /// The configuration cannot be read.
    #[error("{}: {source}", path.display())]
    #[non_exhaustive]
    File {
        /// Path of the configuration.
        path: std::path::PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The configuration in this file cannot be used.
    #[error("{}: {source}", path.display())]
    #[non_exhaustive]
    In {
        /// Path of the configuration.
        path: std::path::PathBuf,
        /// The mistake.
        source: Box<Error>,
    },
    /// The publisher cannot start.
    #[error(transparent)]
    Publisher(#[from] onionweave_driver::Error),
    /// A part of the running publisher failed.
    #[error(transparent)]
    Failed(#[from] onionweave_driver::Failure),
    /// The system does not let the program hear signals.
    #[error("signals: {0}")]
    Signals(std::io::Error),
}

fn place(at: Option<(usize, usize)>) -> String {
    at.map(|(line, column)| format!("line {line}, column {column}: "))
        .unwrap_or_default()
}
