//! The instances that stand in a round, and the task that they set.

use std::collections::{BTreeMap, BTreeSet};

use super::Rules;
use super::board::Task;
use crate::question::Question;
use crate::quota::Quotas;
use crate::{Plan, Round};

/// Instances that stand in this round.
pub(super) struct Cast {
    /// The positions of the instances in the question, in order.
    pub(super) instances: Vec<usize>,
    targets: Vec<f64>,
}

impl Cast {
    /// All instances; where there are more than places, as many as there are places, by turns.
    pub(super) fn new<I: Ord, S: Ord>(
        rules: Rules,
        question: &Question<'_, I, S>,
        previous: Option<&Plan<I, S>>,
        round: Round,
        order: &[usize],
    ) -> Self {
        let places = question.slots.len() * rules.points;
        let weights: Vec<_> = question.instances.iter().map(|instance| instance.weight).collect();
        if weights.len() <= places {
            let total: f64 = weights.iter().map(|weight| f64::from(weight.as_u32())).sum();
            let targets = weights.iter().map(|weight| f64::from(weight.as_u32()) / total);
            return Self {
                instances: (0..weights.len()).collect(),
                targets: targets.collect(),
            };
        }
        let drawn: Vec<_> = Quotas::new(&weights, places)
            .drawn(round)
            .iter()
            .map(|places| *places.start())
            .collect();
        let held: BTreeSet<usize> = previous
            .into_iter()
            .flat_map(|plan| plan.slots())
            .flat_map(|(_, mix)| mix.points())
            .filter_map(|(_, id)| question.position(id))
            .collect();
        let turns = |instance: &usize| {
            let first = !held.contains(instance);
            (first, drawn[*instance] == 0)
        };
        let mut instances = order.to_vec();
        instances.sort_by_key(turns);
        let drawn_alone = drawn.iter().filter(|&&places| places > 0).count();
        // However much weight one has, it does not stand alone: its death would take the service
        // away.
        instances.truncate(drawn_alone.max(held.len()).max(2).min(places));
        instances.sort_unstable();
        let places_of = |&instance: &usize| drawn[instance].max(1) as f64;
        let total: f64 = instances.iter().map(places_of).sum();
        Self {
            targets: instances.iter().map(|instance| places_of(instance) / total).collect(),
            instances,
        }
    }

    /// Returns the position among the cast of an instance of the question.
    pub(super) fn place(&self, instance: usize) -> Option<usize> {
        self.instances.binary_search(&instance).ok()
    }

    pub(super) fn task<I: Ord, S: Ord>(&self, rules: Rules, question: &Question<'_, I, S>) -> Task {
        let offers: Vec<_> = self
            .instances
            .iter()
            .map(|&instance| question.instances[instance].points.clone())
            .collect();
        let relays: BTreeSet<_> = offers.iter().flatten().collect();
        let read: f64 = question.slots.iter().map(|slot| slot.read_share()).sum();
        // What nobody reads yet is planned as if all were read alike.
        let read_share = |share: f64| {
            if read > 0.0 {
                share / read
            } else {
                1.0 / question.slots.len() as f64
            }
        };
        Task {
            read_shares: question
                .slots
                .iter()
                .map(|slot| read_share(slot.read_share()))
                .collect(),
            replicas: question.slots.iter().map(|slot| slot.replica()).collect(),
            deal_order: by_turns(question.slots.iter().map(|slot| slot.replica())),
            crowded: relays.len() < offers.iter().map(Vec::len).sum(),
            most_points: rules.points,
            least_instances: rules.instances.min(self.instances.len()).min(rules.points),
            targets: self.targets.clone(),
            offers,
        }
    }
}

/// The positions of the slots, taken by turns from each replica.
pub(super) fn by_turns(replicas: impl Iterator<Item = u8>) -> Vec<usize> {
    let mut seen: BTreeMap<u8, usize> = BTreeMap::new();
    let mut turns: Vec<_> = replicas
        .enumerate()
        .map(|(slot, replica)| {
            let turn = seen.entry(replica).or_default();
            *turn += 1;
            (*turn, replica, slot)
        })
        .collect();
    turns.sort_unstable();
    turns.into_iter().map(|(_, _, slot)| slot).collect()
}
