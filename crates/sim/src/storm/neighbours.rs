//! A policy that lets instances meet in one text.

use std::collections::BTreeMap;

use onionweave_assign::{Error, Instance, Mixed, Plan, Policy, Round, Slot};
use onionweave_publish::{InstanceName, SlotId};

/// So many points of one instance go into a text, so that two have room.
const MOST_POINTS: u32 = 5;

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
            .map(|instance| (instance.id.clone(), instance.points.min(MOST_POINTS)))
            .collect();
        let slots = mixed.slots().map(|(slot, own)| {
            let next = own.keys().next().and_then(|own| {
                let later = points.range(own.clone()..).nth(1);
                later.or_else(|| points.first_key_value())
            });
            let together = points.iter().filter(|(name, _)| own.contains_key(*name)).chain(next);
            (*slot, together.map(|(name, &count)| (name.clone(), count)).collect())
        });
        Plan::new(round, slots.collect())
    }

    fn name(&self) -> &str {
        "neighbours"
    }
}

#[cfg(test)]
mod tests {
    use onionweave_ring::Fingerprint;
    use onionweave_ring::v2::{Replica, TimePeriod};

    use super::*;

    #[test]
    fn each_slot_names_two() {
        let instances = ["a", "b", "c"].map(|name| Instance::new(InstanceName::from(name), 3));
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
