//! The work that a search may still do.

/// Work that may still be done. It bounds the time that a plan takes, and does not depend on the
/// speed of the machine.
#[derive(Debug)]
pub(in crate::blend) struct Budget {
    pub(super) left: usize,
    /// Whether more would have been done if there had been more.
    was_short: bool,
}

impl Budget {
    /// Returns a budget of `work` units. One is about a nanosecond: the time to look at a word.
    pub(in crate::blend) const fn new(work: usize) -> Self {
        Self {
            left: work,
            was_short: false,
        }
    }

    /// Returns the units that are left.
    pub(in crate::blend) const fn left(&self) -> usize {
        self.left
    }

    /// Whether something was not looked at for want of it.
    pub(in crate::blend) const fn was_short(&self) -> bool {
        self.was_short
    }

    pub(super) fn spend(&mut self, work: usize) {
        self.left = self.left.saturating_sub(work);
        self.was_short |= self.left == 0;
    }

    /// Spends that much, if there is as much.
    pub(super) fn allows(&mut self, work: usize) -> bool {
        let left = self.left.checked_sub(work);
        self.left = left.unwrap_or(self.left);
        self.was_short |= left.is_none();
        left.is_some()
    }

    /// Leaves no more than this.
    pub(super) fn limit(&mut self, work: usize) {
        self.left = self.left.min(work);
    }

    pub(super) fn is_spent(&self) -> bool {
        self.left == 0
    }
}
