//! A policy that lets instances meet in one text.

use std::collections::{BTreeMap, BTreeSet};

use onionweave_assign::{Error, Instance, Mixed, Plan, Policy, Round, Slot};
use onionweave_publish::{InstanceName, SlotId};

/// So many points of one instance go into a text, so that two have room.
const MOST_POINTS: usize = 5;

/// What [`Mixed`] gives each slot, and as many points of the instance that comes next by name.
#[derive(Debug, Default)]
pub(super) struct Neighbours(Mixed);

impl Policy<InstanceName, SlotId> for Neighbours {
    fn plan(
        &self,
        instances: &[Instance<InstanceName>],
        slots: &[Slot<SlotId>],
        previous: Option<&Plan<InstanceName, SlotId>>,
        round: Round,
    ) -> Result<Plan<InstanceName, SlotId>, Error> {
        let mixed = self.0.plan(instances, slots, previous, round)?;
        let points: BTreeMap<_, _> = instances
            .iter()
            .filter(|instance| !instance.points.is_empty())
            .map(|instance| (&instance.id, instance.points.iter().take(MOST_POINTS)))
            .collect();
        let slots = mixed.slots().map(|(slot, own)| {
            let own: BTreeSet<_> = own.instances().into_keys().collect();
            let next = own.first().and_then(|own| {
                let later = points.iter().find(|(name, _)| *name > own);
                later.or_else(|| points.first_key_value())
            });
            let together = points.iter().filter(|(name, _)| own.contains(*name)).chain(next);
            let together = together.flat_map(|(name, relays)| relays.clone().map(|&relay| (relay, (*name).clone())));
            (*slot, together.collect())
        });
        Plan::new(round, slots.collect())
    }

    fn name(&self) -> &str {
        "neighbours"
    }
}

#[cfg(test)]
mod tests {
    use onionweave_assign::Relay;
    use onionweave_ring::Fingerprint;
    use onionweave_ring::v2::{Replica, TimePeriod};

    use super::*;

    #[test]
    fn each_slot_names_two() {
        let instances = [("a", 0), ("b", 3), ("c", 6)].map(|(name, first)| {
            let relays = (first..first + 3).map(Relay::new);
            Instance::new(InstanceName::from(name), relays)
        });
        let [replica, _] = Replica::ALL;
        let slots = [1, 2, 3].map(|byte| {
            let id = SlotId::new(TimePeriod::new(20780), replica, Fingerprint::from([byte; 20]));
            Slot::new(id, replica.number(), 1.0 / 3.0).unwrap()
        });
        let plan = Neighbours::default().plan(&instances, &slots, None, Round::new(0, 0));
        let plan = plan.unwrap();
        for instance in &instances {
            assert_eq!(plan.slots_of(&instance.id).count(), 2);
        }
        for slot in &slots {
            assert_eq!(plan.instances_of(slot.id()).count(), 2);
        }
    }
}
