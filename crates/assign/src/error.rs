//! Reasons for which something is refused.

use thiserror::Error as ThisError;

/// Reason for which there is no plan.
///
/// Positions count from 0 in the list that was passed in.
#[derive(Clone, Debug, PartialEq, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// No instance has a point to offer, so nothing can be published. The last good plan stays as
    /// it is.
    #[error("no instance offers an introduction point")]
    NoInstances,

    /// There is no slot to fill.
    #[error("there is no slot to fill")]
    NoSlots,

    /// An instance was named twice.
    #[error("instances {first} and {second} (counted from 0) have the same ID")]
    #[non_exhaustive]
    DuplicateInstance {
        /// Position of its first entry.
        first: usize,
        /// Position of its second entry.
        second: usize,
    },

    /// A slot was named twice.
    #[error("slots {first} and {second} (counted from 0) have the same ID")]
    #[non_exhaustive]
    DuplicateSlot {
        /// Position of its first entry.
        first: usize,
        /// Position of its second entry.
        second: usize,
    },

    /// More slots than a plan may have.
    #[error("{slots} slots, but a plan has at most {limit}")]
    #[non_exhaustive]
    TooManySlots {
        /// Number of slots.
        slots: usize,
        /// Largest number of slots.
        limit: usize,
    },

    /// The slots belong to more replicas than the policy can balance.
    #[error("the slots belong to {replicas} replicas, but at most {limit} can be balanced")]
    #[non_exhaustive]
    TooManyReplicas {
        /// Number of different replicas.
        replicas: usize,
        /// Largest number of replicas.
        limit: usize,
    },

    /// A slot of a plan would hold no introduction point.
    #[error("slot {position} (counted from 0) would hold no introduction point")]
    #[non_exhaustive]
    EmptySlot {
        /// Position of the slot.
        position: usize,
    },

    /// A read share is a chance, so it lies in 0..=1.
    #[error("read share {share} is not between 0 and 1")]
    #[non_exhaustive]
    ReadShare {
        /// Number that was passed in.
        share: f64,
    },

    /// A relay's number is written with 32 hexadecimal digits.
    #[error("relay {relay:?} is not written with 32 hexadecimal digits")]
    #[non_exhaustive]
    Relay {
        /// Text that was passed in.
        relay: String,
    },

    /// A weight is a whole number from 1 to 4294967295.
    #[error("weight {weight:?} is not a whole number from 1 to {limit}", limit = u32::MAX)]
    #[non_exhaustive]
    Weight {
        /// Text or number that was passed in.
        weight: String,
    },

    /// A load is a finite number that is not negative.
    #[error("load {load:?} is not a number from 0 on")]
    #[non_exhaustive]
    Load {
        /// Text or number that was passed in.
        load: String,
    },

    /// The strength with which weights follow loads is less than 1, since they might never settle
    /// else.
    #[error("strength {strength} is not at least 0 and less than 1")]
    #[non_exhaustive]
    Strength {
        /// Number that was passed in.
        strength: f64,
    },

    /// No policy has this name.
    #[error("there is no policy {name:?}; there is: {known}")]
    #[non_exhaustive]
    UnknownPolicy {
        /// Name that was asked for.
        name: String,
        /// The names that exist, separated by commas.
        known: String,
    },
}

impl Error {
    /// Returns the error of a name that is not among the known ones.
    pub(crate) fn unknown_policy<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Self {
        Self::UnknownPolicy {
            name: name.to_owned(),
            known: known.collect::<Vec<_>>().join(", "),
        }
    }
}
