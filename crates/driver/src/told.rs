//! Reasons that were told already.

use std::collections::BTreeSet;

/// Largest number of different reasons that are remembered, and so told. Texts of a system may
/// differ without end.
const MOST: usize = 16;

/// Reasons that were told, so that each is told once, even when two of them alternate.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeSet<String>);

impl Told {
    /// Returns whether a reason is news, and remembers it.
    pub(super) fn is_news(&mut self, reason: &str) -> bool {
        !self.0.contains(reason) && self.0.len() < MOST && self.0.insert(reason.to_owned())
    }

    /// Forgets all of them, since all is well again. Returns whether there was any.
    pub(super) fn forget(&mut self) -> bool {
        let had_any = !self.0.is_empty();
        self.0.clear();
        had_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_alternate_are_told_once_each_until_all_is_well() {
        let mut told = Told::default();
        assert!(!told.forget());
        let reasons = ["refused", "late", "refused", "late", "refused"];
        assert_eq!(
            reasons.map(|reason| told.is_news(reason)),
            [true, true, false, false, false]
        );
        assert!(told.forget());
        assert!(told.is_news("refused"));
    }

    #[test]
    fn endless_reasons_are_not_all_remembered() {
        let mut told = Told::default();
        let news = (0..1000).filter(|number| told.is_news(&number.to_string())).count();
        assert_eq!((news, told.0.len()), (MOST, MOST));
    }
}
