//! The race: what happens without a publisher.

use std::num::NonZeroUsize;

use rand::RngExt;

use crate::draw::{Purpose, rng};
use crate::policy::V2_POINTS;
use crate::question::Question;
use crate::{Error, Instance, Plan, Policy, PolicyName, Round, Slot};

/// The course of things without a publisher: several instances with one key publish over each
/// other, and the last one has the slot.
///
/// It is the baseline of simulations and experiments; a publisher has no use for it. A directory
/// keeps the newest text, and among texts of one hour the last (C Tor
/// `feature/rend/rendcache.c:686-695`). An instance publishes to all directories at once, every
/// hour at a moment that was drawn when it started (`feature/rend/rendservice.c:4299`). So, in this
/// model:
///
/// - Without a previous plan all have just started together, and for each slot it is drawn who came
///   last.
/// - In a new round the last one to publish is drawn: it has all slots.
/// - Within a round nothing changes but the slots of those who are gone: who came before them is
///   drawn. (Really they would stay until somebody else publishes. A plan names only who lives, so
///   what a death does to the race must be simulated.)
///
/// Nobody heeds weights or read shares.
///
/// ```
/// use onionweave_assign::{Instance, Policy, Race, Relay, Round, Slot};
///
/// let slots = [Slot::new(0, 0, 0.5)?, Slot::new(1, 1, 0.5)?];
/// let two = [Instance::new("a", [Relay::new(1)]), Instance::new("b", [Relay::new(2)])];
/// let start = Race::new().plan(&two, &slots, None, Round::new(0, 2015))?;
/// let later = Race::new().plan(&two, &slots, Some(&start), Round::new(1, 2015))?;
/// assert_eq!(later.shares(&slots).len(), 1, "the winner takes it all");
/// # Ok::<(), onionweave_assign::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Race {
    points_per_descriptor: NonZeroUsize,
}

impl Race {
    /// Returns the race with at most 10 introduction points in a descriptor, the limit of v2.
    pub const fn new() -> Self {
        Self {
            points_per_descriptor: V2_POINTS,
        }
    }

    /// Sets another limit of introduction points in one descriptor.
    #[must_use]
    pub const fn points_per_descriptor(self, limit: NonZeroUsize) -> Self {
        Self {
            points_per_descriptor: limit,
        }
    }
}

impl Default for Race {
    fn default() -> Self {
        Self::new()
    }
}

impl<I: Ord + Clone, S: Ord + Clone> Policy<I, S> for Race {
    fn plan(
        &self,
        instances: &[Instance<I>],
        slots: &[Slot<S>],
        previous: Option<&Plan<I, S>>,
        round: Round,
    ) -> Result<Plan<I, S>, Error> {
        let question = Question::new(instances, slots)?;
        let mut rng = rng(Purpose::Race, round.number(), round);
        let mut draw = || rng.random_range(0..question.instances.len());
        let winner = draw();
        let drawn: Vec<_> = question.slots.iter().map(|_| draw()).collect();
        let last = |slot: &S, drawn: usize| match previous {
            Some(previous) if previous.round().number() != round.number() => winner,
            Some(previous) => {
                let holder = previous.instances_of(slot).find_map(|id| question.position(id));
                holder.unwrap_or(drawn)
            }
            None => drawn,
        };
        let filled = question.slots.iter().zip(drawn).filter_map(|(slot, drawn)| {
            let instance = question.instances.get(last(slot.id(), drawn))?;
            let points = instance.points.iter().take(self.points_per_descriptor.get());
            Some((
                slot.id().clone(),
                points.map(|&relay| (relay, instance.id.clone())).collect(),
            ))
        });
        Plan::new(round, filled.collect())
    }

    fn name(&self) -> &str {
        PolicyName::Race.as_str()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::Relay;

    fn instances(count: u8) -> Vec<Instance<u8>> {
        (0..count)
            .map(|id| Instance::new(id, [Relay::new(id.into())]))
            .collect()
    }

    fn slots() -> Vec<Slot<u8>> {
        (0..6).map(|id| Slot::new(id, id / 3, 1.0 / 6.0).unwrap()).collect()
    }

    #[test]
    fn the_start_is_mixed_and_then_the_winner_takes_it_all() {
        let (three, slots) = (instances(3), slots());
        let mut splits = BTreeSet::new();
        let mut winners = BTreeSet::new();
        for seed in 0..50 {
            let start = Race::new().plan(&three, &slots, None, Round::new(0, seed)).unwrap();
            let split: Vec<_> = three.iter().map(|i| start.slots_of(&i.id).count()).collect();
            splits.insert(split);
            let later = Race::new()
                .plan(&three, &slots, Some(&start), Round::new(1, seed))
                .unwrap();
            let holders: BTreeSet<_> = slots
                .iter()
                .flat_map(|slot| later.instances_of(slot.id()))
                .copied()
                .collect();
            assert_eq!(holders.len(), 1);
            winners.extend(holders);
        }
        assert!(splits.len() > 10, "{splits:?}");
        assert_eq!(winners.len(), 3);
    }

    #[test]
    fn a_departure_changes_only_its_slots() {
        let (three, slots) = (instances(3), slots());
        for seed in 0..50 {
            let round = Round::new(0, seed);
            let start = Race::new().plan(&three, &slots, None, round).unwrap();
            assert_eq!(Race::new().plan(&three, &slots, Some(&start), round).unwrap(), start);
            let after = Race::new().plan(&three[1..], &slots, Some(&start), round).unwrap();
            assert_eq!(after.changes(&start), start.slots_of(&0).count());
        }
    }
}
