#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod directory;
mod engine;
mod fixtures;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod instance;
mod network;
mod place;
mod queue;
mod seal;
mod simulation;
mod storm;
mod witness;

pub use directory::Directory;
pub use engine::{Circle, Engine, World};
pub use network::{Builder, Delays, Network};
pub use place::Fault;
pub use simulation::{
    Crowd, DirectoryRecord, Happening, InstancePlan, InstanceRecord, Interval, Miss, Outcome, Pace, Record, Scenario,
    Simulation, Times, Visit,
};
pub use storm::{Broken, Storm, StormDigest, Tally};
pub use witness::{ReadText, TraceWitness, Witness};

/// Errors of the simulator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A descriptor or key could not be read or signed.
    #[error(transparent)]
    Descriptor(#[from] onionweave_desc::Error),
    /// Two instances have the same name.
    #[error("there are two instances called {name:?}")]
    DuplicateInstance {
        /// The name.
        name: String,
    },
    /// An instance has a name that no instance may have.
    #[error(transparent)]
    Name(#[from] onionweave_publish::NameError),
    /// Something shall happen to an instance that is not in the [`Scenario`].
    #[error("there is no instance called {name:?}")]
    UnknownInstance {
        /// The name.
        name: String,
    },
    /// A slot is of no period or replica that the simulated version has.
    #[error("version 2 has no slot {slot}")]
    UnknownSlot {
        /// The slot.
        slot: onionweave_publish::SlotId,
    },
    /// A trace does not begin with the start of a v2 service's machine.
    #[error("the trace does not begin with the start of a v2 service's machine")]
    Trace,
    /// In a [`Storm`], something did not hold that must always hold.
    #[error(transparent)]
    Broken(#[from] Box<Broken>),
}

impl From<onionweave_publish::NamedTwice> for Error {
    fn from(twice: onionweave_publish::NamedTwice) -> Self {
        Self::DuplicateInstance {
            name: twice.name.to_string(),
        }
    }
}
