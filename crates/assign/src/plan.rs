//! What a policy answers.

use std::collections::BTreeMap;

use crate::{Error, Round, Slot};

/// Which instances' introduction points go into the descriptor of every slot, and how many.
///
/// A plan has at least one slot, and no slot of it is empty.
///
/// ```
/// use std::collections::BTreeMap;
/// use onionweave_assign::{Instance, Mixed, Policy, Round, Slot};
///
/// let instances = [Instance::new("a", 3), Instance::new("b", 3)];
/// let slots = [Slot::new(0, 0, 0.5)?, Slot::new(1, 1, 0.5)?];
/// let plan = Mixed::default().plan(&instances, &slots, None, Round::new(0, 1))?;
///
/// assert_eq!(plan.slots().count(), 2);
/// assert_eq!(plan.shares(&slots), BTreeMap::from([("a", 0.5), ("b", 0.5)]));
/// # Ok::<(), onionweave_assign::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan<I, S> {
    round: Round,
    /// Not empty; every inner map has an entry, and every number in it is at least 1.
    slots: BTreeMap<S, BTreeMap<I, u32>>,
}

impl<I: Ord, S: Ord> Plan<I, S> {
    /// A plan from its parts: what a [`Policy`](crate::Policy) of one's own returns.
    ///
    /// Instances with 0 points are left out. Fails with [`Error::NoSlots`] if there is no slot, and
    /// with [`Error::EmptySlot`] if one holds no point; the position is that in the map's order.
    pub fn new(round: Round, mut slots: BTreeMap<S, BTreeMap<I, u32>>) -> Result<Self, Error> {
        if slots.is_empty() {
            return Err(Error::NoSlots);
        }
        for (position, points) in slots.values_mut().enumerate() {
            points.retain(|_, count| *count > 0);
            if points.is_empty() {
                return Err(Error::EmptySlot { position });
            }
        }
        Ok(Self { round, slots })
    }

    /// The round it was made for.
    pub fn round(&self) -> Round {
        self.round
    }

    /// Every slot in the order of the IDs, with the number of points each instance has in it.
    pub fn slots(&self) -> impl ExactSizeIterator<Item = (&S, &BTreeMap<I, u32>)> {
        self.slots.iter()
    }

    /// What goes into one slot: instance and number of its points. `None` if the plan has no such slot.
    pub fn slot(&self, slot: &S) -> Option<&BTreeMap<I, u32>> {
        self.slots.get(slot)
    }

    /// The instances whose points go into one slot; none if the plan has no such slot.
    pub fn instances_of(&self, slot: &S) -> impl Iterator<Item = &I> {
        self.slots.get(slot).into_iter().flat_map(BTreeMap::keys)
    }

    /// The slots that hold points of one instance, in the order of their IDs.
    pub fn slots_of(&self, instance: &I) -> impl Iterator<Item = &S> {
        self.slots
            .iter()
            .filter(move |(_, points)| points.contains_key(instance))
            .map(|(slot, _)| slot)
    }

    /// How many slots have to be written because their instances change when `previous` gives way to
    /// this plan: the slots whose instances differ, and the slots that `previous` does not have.
    ///
    /// A slot whose instances stay and only bring another number of points is not counted.
    pub fn changes(&self, previous: &Self) -> usize {
        self.slots
            .iter()
            .filter(|(slot, points)| {
                previous
                    .slot(slot)
                    .is_none_or(|before| !before.keys().eq(points.keys()))
            })
            .count()
    }
}

impl<I: Ord + Clone, S: Ord> Plan<I, S> {
    /// The part of all clients, from 0 to 1, that each instance receives.
    ///
    /// A client reads one slot, by the slots' [read shares](Slot::read_share), and picks one of its
    /// points uniformly. So with n<sub>is</sub> of the N<sub>s</sub> points of slot s belonging to
    /// instance i, its share is the sum over s of the read share of s × n<sub>is</sub> / N<sub>s</sub>.
    ///
    /// An instance without a slot in this plan has no entry. Slots that only `slots` or only the
    /// plan knows do not count, and a slot that is listed twice counts once.
    pub fn shares(&self, slots: &[Slot<S>]) -> BTreeMap<I, f64> {
        let read_shares: BTreeMap<&S, f64> = slots.iter().map(|slot| (slot.id(), slot.read_share())).collect();
        let mut shares = BTreeMap::new();
        for (slot, points) in &self.slots {
            let read_share = read_shares.get(slot).copied().unwrap_or(0.0);
            let total: u64 = points.values().copied().map(u64::from).sum();
            for (instance, &count) in points {
                *shares.entry(instance.clone()).or_insert(0.0) += read_share * f64::from(count) / total as f64;
            }
        }
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND: Round = Round::new(0, 0);

    fn plan(slots: &[(u8, &[(char, u32)])]) -> Plan<char, u8> {
        let slots = slots
            .iter()
            .map(|&(slot, points)| (slot, points.iter().copied().collect()));
        Plan::new(ROUND, slots.collect()).unwrap()
    }

    #[test]
    fn a_plan_has_no_empty_slot() {
        let none: BTreeMap<u8, BTreeMap<char, u32>> = BTreeMap::new();
        assert_eq!(Plan::new(ROUND, none), Err(Error::NoSlots));
        let empty = BTreeMap::from([(0, BTreeMap::from([('a', 1)])), (1, BTreeMap::new())]);
        assert_eq!(Plan::new(ROUND, empty), Err(Error::EmptySlot { position: 1 }));
        let pointless = BTreeMap::from([(0, BTreeMap::from([('a', 0)]))]);
        assert_eq!(Plan::new(ROUND, pointless), Err(Error::EmptySlot { position: 0 }));
    }

    #[test]
    fn looks_up_both_ways() {
        let plan = plan(&[(0, &[('a', 3), ('b', 2), ('c', 0)]), (1, &[('b', 3)])]);
        assert_eq!(plan.round(), ROUND);
        assert_eq!(plan.slots().len(), 2);
        assert_eq!(plan.slot(&0), Some(&BTreeMap::from([('a', 3), ('b', 2)])));
        assert_eq!(plan.slot(&2), None);
        assert_eq!(plan.instances_of(&0).collect::<String>(), "ab");
        assert_eq!(plan.instances_of(&2).count(), 0);
        assert_eq!(plan.slots_of(&'b').collect::<Vec<_>>(), [&0, &1]);
        assert_eq!(plan.slots_of(&'c').count(), 0);
    }

    #[test]
    fn shares_follow_read_shares_and_points() {
        let plan = plan(&[
            (0, &[('a', 3), ('b', 1)]),
            (1, &[('b', 3)]),
            (2, &[('c', 3)]),
            (3, &[('d', 3)]),
        ]);
        let slots =
            [(0, 0.5), (1, 0.25), (2, 0.0), (9, 0.25)].map(|(id, read_share)| Slot::new(id, 0, read_share).unwrap());
        let shares = plan.shares(&slots);
        let expected = BTreeMap::from([('a', 0.375), ('b', 0.375), ('c', 0.0), ('d', 0.0)]);
        assert_eq!(shares, expected);
    }

    #[test]
    fn changes_are_slots_with_other_instances() {
        let before = plan(&[(0, &[('a', 3)]), (1, &[('b', 3)]), (2, &[('a', 1), ('b', 1)])]);
        assert_eq!(before.changes(&before), 0);
        let more_points = plan(&[(0, &[('a', 4)]), (1, &[('b', 2)]), (2, &[('a', 2), ('b', 1)])]);
        assert_eq!(more_points.changes(&before), 0);
        let other = plan(&[(0, &[('b', 3)]), (2, &[('a', 2)]), (3, &[('a', 3)])]);
        assert_eq!(other.changes(&before), 3);
    }
}
