//! The work that a search may still do.

/// How much work may still be done: a plan must not take long, and not depend on how fast the machine is.
#[derive(Debug)]
pub(in crate::blend) struct Budget {
    pub(super) left: usize,
    /// Whether more would have been done if there had been more.
    was_short: bool,
}

impl Budget {
    /// So much work, in units of about a nanosecond: as long as it takes to look at a word.
    pub(in crate::blend) const fn new(work: usize) -> Self {
        Self {
            left: work,
            was_short: false,
        }
    }

    /// How much is left.
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
