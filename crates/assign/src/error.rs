use thiserror::Error as ThisError;

/// Why there is no plan.
///
/// Positions count from 0 in the list that was passed in.
#[derive(Clone, Debug, PartialEq, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// No instance has a point to offer, so nothing can be published. The last good plan stays as it is.
    #[error("no instance offers an introduction point")]
    NoInstances,

    /// There is no slot to fill.
    #[error("there is no slot to fill")]
    NoSlots,

    /// One instance was named twice.
    #[error("instances {first} and {second} (counted from 0) have the same ID")]
    DuplicateInstance {
        /// Position of its first entry.
        first: usize,
        /// Position of its second entry.
        second: usize,
    },

    /// One slot was named twice.
    #[error("slots {first} and {second} (counted from 0) have the same ID")]
    DuplicateSlot {
        /// Position of its first entry.
        first: usize,
        /// Position of its second entry.
        second: usize,
    },

    /// More slots than a plan may have.
    #[error("{slots} slots, but a plan has at most {limit}")]
    TooManySlots {
        /// How many there were.
        slots: usize,
        /// How many there may be.
        limit: usize,
    },

    /// The slots belong to more replicas than the policy can balance.
    #[error("the slots belong to {replicas} replicas, but at most {limit} can be balanced")]
    TooManyReplicas {
        /// How many different replicas there were.
        replicas: usize,
        /// How many there may be.
        limit: usize,
    },

    /// A slot of a plan would hold no introduction point.
    #[error("slot {position} (counted from 0) would hold no introduction point")]
    EmptySlot {
        /// Position of the slot.
        position: usize,
    },

    /// A read share is a chance, so it lies in 0..=1.
    #[error("read share {share} is not between 0 and 1")]
    ReadShare {
        /// What was passed in.
        share: f64,
    },

    /// A weight is a whole number from 1 to 4294967295.
    #[error("weight {weight:?} is not a whole number from 1 to {limit}", limit = u32::MAX)]
    Weight {
        /// What was passed in.
        weight: String,
    },

    /// A load is a finite number that is not negative.
    #[error("load {load:?} is not a number from 0 on")]
    Load {
        /// What was passed in.
        load: String,
    },

    /// How strongly weights follow loads must be less than 1, else they might never settle.
    #[error("strength {strength} is not at least 0 and less than 1")]
    Strength {
        /// What was passed in.
        strength: f64,
    },

    /// No policy has this name.
    #[error("there is no policy {name:?}; there is: {known}")]
    UnknownPolicy {
        /// What was asked for.
        name: String,
        /// The names that exist, separated by commas.
        known: String,
    },
}
