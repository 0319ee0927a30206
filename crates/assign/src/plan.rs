//! Answer of a policy.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::{Error, Relay, Round, Slot};

/// Introduction points for the descriptor of every slot.
///
/// A plan has at least one slot, and no slot of it is empty.
///
/// ```
/// use std::collections::BTreeMap;
/// use onionweave_assign::{Instance, Mixed, Policy, Relay, Round, Slot};
///
/// let instances = [
///     Instance::new("a", (1..=3).map(Relay::new)),
///     Instance::new("b", (4..=6).map(Relay::new)),
/// ];
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
    /// Not empty, and no mix in it is.
    slots: BTreeMap<S, Mix<I>>,
}

impl<I: Ord, S: Ord> Plan<I, S> {
    /// Makes a plan of its parts, for a [`Policy`](crate::Policy) of one's own to return.
    ///
    /// Fails with [`Error::NoSlots`] if there is no slot, and with [`Error::EmptySlot`] if one
    /// holds no point; the position is that in the map's order.
    pub fn new(round: Round, slots: BTreeMap<S, Mix<I>>) -> Result<Self, Error> {
        if slots.is_empty() {
            return Err(Error::NoSlots);
        }
        match slots.values().position(Mix::is_empty) {
            Some(position) => Err(Error::EmptySlot { position }),
            None => Ok(Self { round, slots }),
        }
    }

    /// The round it was made for.
    pub fn round(&self) -> Round {
        self.round
    }

    /// Every slot in the order of the IDs, with what goes into it.
    pub fn slots(&self) -> impl ExactSizeIterator<Item = (&S, &Mix<I>)> {
        self.slots.iter()
    }

    /// Returns the points that go into one slot; `None` if the plan has no such slot.
    pub fn slot(&self, slot: &S) -> Option<&Mix<I>> {
        self.slots.get(slot)
    }

    /// The instances whose points go into one slot; none if the plan has no such slot.
    pub fn instances_of(&self, slot: &S) -> impl Iterator<Item = &I> {
        self.slots
            .get(slot)
            .into_iter()
            .flat_map(|mix| mix.instances().into_keys())
    }

    /// The slots that hold points of one instance, in the order of their IDs.
    pub fn slots_of(&self, instance: &I) -> impl Iterator<Item = &S> {
        self.slots
            .iter()
            .filter(move |(_, mix)| mix.points().any(|(_, other)| other == instance))
            .map(|(slot, _)| slot)
    }

    /// Returns the number of slots to be written when `previous` gives way to this plan.
    ///
    /// These are the slots whose points differ, and those that `previous` does not have.
    pub fn changes(&self, previous: &Self) -> usize {
        self.slots
            .iter()
            .filter(|(slot, mix)| previous.slot(slot) != Some(mix))
            .count()
    }
}

impl<I: Ord + Clone, S: Ord> Plan<I, S> {
    /// The part of all clients, from 0 to 1, that each instance receives.
    ///
    /// A client reads one slot, by the slots' [read shares](Slot::read_share), and picks one of its
    /// points uniformly. So with n<sub>is</sub> of the N<sub>s</sub> points of slot s belonging to
    /// instance i, its share is the sum over s of the read share of s × n<sub>is</sub> /
    /// N<sub>s</sub>.
    ///
    /// An instance without a slot in this plan has no entry. Slots that only `slots` or only the
    /// plan knows do not count, and a slot that is listed twice counts once.
    pub fn shares(&self, slots: &[Slot<S>]) -> BTreeMap<I, f64> {
        let mut shares = BTreeMap::new();
        for (read_share, mix) in self.read(slots) {
            for (instance, count) in mix.instances() {
                *shares.entry(instance.clone()).or_insert(0.0) += read_share * count as f64 / mix.len() as f64;
            }
        }
        shares
    }

    /// The part of all clients, from 0 to 1, that comes in at each introduction point: the point's
    /// instance and its relay.
    ///
    /// The number of entries is the number of points that carry the service; the largest value is
    /// what the busiest of them carries.
    pub fn loads(&self, slots: &[Slot<S>]) -> BTreeMap<(I, Relay), f64> {
        let mut loads = BTreeMap::new();
        for (read_share, mix) in self.read(slots) {
            for (relay, instance) in mix.points() {
                *loads.entry((instance.clone(), relay)).or_insert(0.0) += read_share / mix.len() as f64;
            }
        }
        loads
    }

    /// Returns each slot's read share and its points.
    pub(crate) fn read(&self, slots: &[Slot<S>]) -> impl Iterator<Item = (f64, &Mix<I>)> {
        let read_shares: BTreeMap<&S, f64> = slots.iter().map(|slot| (slot.id(), slot.read_share())).collect();
        self.slots
            .iter()
            .map(move |(slot, mix)| (read_shares.get(slot).copied().unwrap_or(0.0), mix))
    }
}

/// The introduction points that go into one slot's descriptor: each with its relay and its
/// instance, and no relay twice.
///
/// ```
/// use onionweave_assign::{Mix, Relay};
///
/// let mix: Mix<&str> = [(1, "a"), (2, "b"), (3, "a"), (1, "b")]
///     .map(|(relay, instance)| (Relay::new(relay), instance))
///     .into_iter()
///     .collect();
/// assert_eq!(mix.len(), 3, "of two points at one relay clients would use the first");
/// assert_eq!(mix.instances()[&"a"], 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix<I> {
    points: BTreeMap<Relay, I>,
}

impl<I> Mix<I> {
    /// The points in the order of their relays' numbers.
    pub fn points(&self) -> impl ExactSizeIterator<Item = (Relay, &I)> {
        self.points.iter().map(|(relay, instance)| (*relay, instance))
    }

    /// Returns the number of points.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }
}

impl<I: Ord> Mix<I> {
    /// The instances in it, with the number of points of each.
    pub fn instances(&self) -> BTreeMap<&I, usize> {
        let mut counts = BTreeMap::new();
        for instance in self.points.values() {
            *counts.entry(instance).or_insert(0) += 1;
        }
        counts
    }
}

impl<I> FromIterator<(Relay, I)> for Mix<I> {
    /// Of several points at one relay the first is taken.
    fn from_iter<T: IntoIterator<Item = (Relay, I)>>(points: T) -> Self {
        let mut mix = Self {
            points: BTreeMap::new(),
        };
        for (relay, instance) in points {
            if let Entry::Vacant(seat) = mix.points.entry(relay) {
                seat.insert(instance);
            }
        }
        mix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND: Round = Round::new(0, 0);

    /// The n-th point of an instance is at the relay whose number is the instance's letter and n.
    fn mix(points: &[(char, u8)]) -> Mix<char> {
        points
            .iter()
            .flat_map(|&(instance, count)| {
                (0..count).map(move |n| {
                    (
                        Relay::new(u128::from(u32::from(instance)) << 8 | u128::from(n)),
                        instance,
                    )
                })
            })
            .collect()
    }

    fn plan(slots: &[(u8, &[(char, u8)])]) -> Plan<char, u8> {
        let slots = slots.iter().map(|&(slot, points)| (slot, mix(points)));
        Plan::new(ROUND, slots.collect()).unwrap()
    }

    fn slots<const N: usize>(read_shares: [(u8, f64); N]) -> [Slot<u8>; N] {
        read_shares.map(|(id, read_share)| Slot::new(id, 0, read_share).unwrap())
    }

    #[test]
    fn a_plan_has_no_empty_slot() {
        let none: BTreeMap<u8, Mix<char>> = BTreeMap::new();
        assert_eq!(Plan::new(ROUND, none), Err(Error::NoSlots));
        let empty = BTreeMap::from([(0, mix(&[('a', 1)])), (1, mix(&[]))]);
        assert_eq!(Plan::new(ROUND, empty), Err(Error::EmptySlot { position: 1 }));
    }

    #[test]
    fn looks_up_both_ways() {
        let plan = plan(&[(0, &[('a', 3), ('b', 2)]), (1, &[('b', 3)])]);
        assert_eq!(plan.round(), ROUND);
        assert_eq!(plan.slots().len(), 2);
        assert_eq!(
            plan.slot(&0).unwrap().instances(),
            BTreeMap::from([(&'a', 3), (&'b', 2)])
        );
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
        let slots = slots([(0, 0.5), (1, 0.25), (2, 0.0), (9, 0.25)]);
        let expected = BTreeMap::from([('a', 0.375), ('b', 0.375), ('c', 0.0), ('d', 0.0)]);
        assert_eq!(plan.shares(&slots), expected);
    }

    #[test]
    fn loads_are_those_of_single_points() {
        let plan = plan(&[(0, &[('a', 1), ('b', 1)]), (1, &[('a', 2)])]);
        let loads = plan.loads(&slots([(0, 0.5), (1, 0.5)]));
        assert_eq!(loads.into_values().collect::<Vec<_>>(), [0.5, 0.25, 0.25]);
    }

    #[test]
    fn changes_are_slots_with_other_points() {
        let before = plan(&[(0, &[('a', 3)]), (1, &[('b', 3)]), (2, &[('a', 1), ('b', 1)])]);
        assert_eq!(before.changes(&before), 0);
        let more_points = plan(&[(0, &[('a', 3)]), (1, &[('b', 2)]), (2, &[('a', 1), ('b', 1)])]);
        assert_eq!(more_points.changes(&before), 1);
        let other = plan(&[(0, &[('b', 3)]), (2, &[('a', 2)]), (3, &[('a', 3)])]);
        assert_eq!(other.changes(&before), 3);
    }
}
