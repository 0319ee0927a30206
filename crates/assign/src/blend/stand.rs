//! An instance in a slot.

/// Number of points of one instance in one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stand {
    pub(super) instance: usize,
    /// At least 1.
    pub(super) points: usize,
}
