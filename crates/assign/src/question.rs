//! Question to a policy, checked and put in order.

use crate::{Error, Instance, Relay, Slot, Weight};

/// The most slots a plan may have: Tor's defaults need 6 (v2) or 8 (v3).
pub(crate) const MAX_SLOTS: usize = 64;

/// An instance that can be handed out.
#[derive(Debug)]
pub(crate) struct Live<'a, I> {
    pub(crate) id: &'a I,
    pub(crate) weight: Weight,
    /// In order, none twice, and at least one.
    pub(crate) points: Vec<Relay>,
}

/// The instances that can be handed out and the slots, both in the order of their IDs, so that the
/// order in which they were listed makes no difference.
#[derive(Debug)]
pub(crate) struct Question<'a, I, S> {
    /// At least one.
    pub(crate) instances: Vec<Live<'a, I>>,
    /// 1 to [`MAX_SLOTS`].
    pub(crate) slots: Vec<&'a Slot<S>>,
}

impl<'a, I: Ord, S: Ord> Question<'a, I, S> {
    pub(crate) fn new(instances: &'a [Instance<I>], slots: &'a [Slot<S>]) -> Result<Self, Error> {
        Ok(Self {
            instances: live(instances)?,
            slots: sorted(slots)?,
        })
    }

    /// Returns the position of the instance with this ID, if it can be handed out.
    pub(crate) fn position(&self, id: &I) -> Option<usize> {
        self.instances.binary_search_by(|other| other.id.cmp(id)).ok()
    }
}

fn live<I: Ord>(instances: &[Instance<I>]) -> Result<Vec<Live<'_, I>>, Error> {
    let mut sorted: Vec<_> = instances.iter().enumerate().collect();
    sorted.sort_by(|(_, a), (_, b)| a.id.cmp(&b.id));
    for pair in sorted.windows(2) {
        if let [(first, a), (second, b)] = *pair
            && a.id == b.id
        {
            return Err(Error::DuplicateInstance { first, second });
        }
    }
    let live: Vec<_> = sorted
        .into_iter()
        .filter(|(_, instance)| !instance.points.is_empty())
        .map(|(_, instance)| {
            let mut points = instance.points.clone();
            points.sort_unstable();
            points.dedup();
            Live {
                id: &instance.id,
                weight: instance.weight,
                points,
            }
        })
        .collect();
    if live.is_empty() {
        return Err(Error::NoInstances);
    }
    Ok(live)
}

fn sorted<S: Ord>(slots: &[Slot<S>]) -> Result<Vec<&Slot<S>>, Error> {
    if slots.is_empty() {
        return Err(Error::NoSlots);
    }
    if slots.len() > MAX_SLOTS {
        return Err(Error::TooManySlots {
            slots: slots.len(),
            limit: MAX_SLOTS,
        });
    }
    let mut sorted: Vec<_> = slots.iter().enumerate().collect();
    sorted.sort_by(|(_, a), (_, b)| a.id().cmp(b.id()));
    for pair in sorted.windows(2) {
        if let [(first, a), (second, b)] = *pair
            && a.id() == b.id()
        {
            return Err(Error::DuplicateSlot { first, second });
        }
    }
    Ok(sorted.into_iter().map(|(_, slot)| slot).collect())
}
