//! The work that is counted: in instructions by one bench, in memory by another.

pub(crate) mod descriptors;
pub(crate) mod ring;
