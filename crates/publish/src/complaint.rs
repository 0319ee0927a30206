//! Reports that still hold, so that each is made once.

/// Largest number of different reasons that are told of one trouble.
const MOST_REASONS: usize = 16;

/// A trouble that lasts, and the reasons of it that the operator was told.
///
/// Reasons may take turns. Each is news once, until the trouble is over.
#[derive(Clone, Debug)]
pub(crate) struct Complaint<T> {
    reason: Option<T>,
    told: Vec<T>,
}

impl<T> Default for Complaint<T> {
    fn default() -> Self {
        Self {
            reason: None,
            told: Vec::new(),
        }
    }
}

impl<T: Clone + PartialEq> Complaint<T> {
    /// The last reason, as long as the trouble lasts.
    pub(crate) const fn reason(&self) -> Option<&T> {
        self.reason.as_ref()
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.reason.is_none()
    }

    /// The reasons that were told, the oldest first.
    pub(crate) fn told(&self) -> &[T] {
        &self.told
    }

    /// Takes the present reason of the trouble. Returns whether it is news.
    pub(crate) fn raise(&mut self, reason: T) -> bool {
        self.raise_as(reason.clone(), reason)
    }

    /// Takes the present reason of the trouble, which is as new as `kind` is.
    pub(crate) fn raise_as(&mut self, reason: T, kind: T) -> bool {
        self.reason = Some(reason);
        let news = self.told.len() < MOST_REASONS && !self.told.contains(&kind);
        if news {
            self.told.push(kind);
        }
        news
    }

    /// Ends the trouble. Returns whether there was one.
    pub(crate) fn settle(&mut self) -> bool {
        self.told.clear();
        self.reason.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_take_turns_are_news_once_each() {
        let mut complaint = Complaint::default();
        assert_eq!(
            [1, 2, 1, 2, 3, 1].map(|reason| complaint.raise(reason)),
            [true, true, false, false, true, false]
        );
        assert_eq!((complaint.reason(), complaint.told()), (Some(&1), &[1, 2, 3][..]));
        assert!(complaint.settle() && !complaint.settle() && complaint.is_over());
        assert!(
            complaint.raise(2) && !complaint.is_over(),
            "the next trouble is another one"
        );
    }

    #[test]
    fn reasons_that_never_end_are_not_kept_without_end() {
        let mut complaint = Complaint::default();
        let told = (0..100).filter(|&reason| complaint.raise(reason)).count();
        assert_eq!((told, complaint.told().len()), (MOST_REASONS, MOST_REASONS));
        assert_eq!(complaint.reason(), Some(&99));
    }
}
