#![doc = include_str!("../README.md")]

mod directory;
mod fixtures;
mod instance;
mod network;
mod place;
mod queue;
mod seal;
mod storm;

pub use directory::Directory;
pub use network::{Builder, Delays, Network};
pub use place::Fault;
pub use storm::{Broken, Storm, Tally};

/// What can go wrong in the simulator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A descriptor or key could not be read or signed.
    #[error(transparent)]
    Descriptor(#[from] onionweave_desc::Error),
    /// In a [`Storm`], something did not hold that must always hold.
    #[error(transparent)]
    Broken(#[from] Box<Broken>),
}
