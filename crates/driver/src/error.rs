//! What can go wrong.

use std::path::PathBuf;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A descriptor could not be read or written.
    #[error(transparent)]
    Descriptor(#[from] onionweave_desc::Error),
    /// The configuration cannot be used.
    #[error("{}{what}", place(*.at))]
    Config {
        /// Line and column, counted from one, where the text itself is wrong.
        at: Option<(usize, usize)>,
        /// What is wrong.
        what: String,
    },
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that holds a secret is open to others.
    #[error("{}: {why}", path.display())]
    Permissions {
        /// Which file.
        path: PathBuf,
        /// Who could read or change it.
        why: String,
    },
    /// Another publisher uses the same folder.
    #[error("{}: another publisher is running with this state folder", path.display())]
    InUse {
        /// Which folder.
        path: PathBuf,
    },
    /// A key file does not hold a key that can be used.
    #[error("{}: {source}", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: onionweave_desc::Error,
    },
}

fn place(at: Option<(usize, usize)>) -> String {
    at.map(|(line, column)| format!("line {line}, column {column}: "))
        .unwrap_or_default()
}
