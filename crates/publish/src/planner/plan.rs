//! The plan: which instances each slot is to name.

use std::collections::BTreeMap;

use onionweave_assign as assign;
use onionweave_ring::UnixTime;

use super::Planner;
use crate::machine::Context;
use crate::version::Point;
use crate::{InstanceName, Period, Report, SlotId};

/// The reason why a policy's plan is refused. The last plan stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum PlanError {
    /// The policy has no plan.
    #[error("it has no plan: {why}")]
    #[non_exhaustive]
    None {
        /// The words of the policy.
        why: String,
    },
    /// The plan leaves out a slot.
    #[error("it leaves out the slot {slot}")]
    #[non_exhaustive]
    MissingSlot {
        /// The slot.
        slot: SlotId,
    },
    /// The plan fills a slot that does not exist.
    #[error("it fills {slot}, which is no slot of the service")]
    #[non_exhaustive]
    UnknownSlot {
        /// The slot.
        slot: SlotId,
    },
    /// The plan names an instance that does not serve.
    #[error("it gives the slot {slot} points of {instance}, which does not serve")]
    #[non_exhaustive]
    UnknownInstance {
        /// The slot.
        slot: SlotId,
        /// The instance.
        instance: InstanceName,
    },
    /// The plan names a point that its instance does not offer.
    #[error("it gives the slot {slot} a point that {instance} does not offer")]
    #[non_exhaustive]
    UnknownPoint {
        /// The slot.
        slot: SlotId,
        /// The instance.
        instance: InstanceName,
    },
}

impl Planner {
    /// Number of points of each instance in each slot, as the plans have it.
    pub(crate) fn counts(&self) -> BTreeMap<SlotId, BTreeMap<InstanceName, u32>> {
        let slots = self.plans.values().flat_map(|plan| plan.slots());
        slots
            .map(|(&slot, mix)| {
                let counts = mix.instances().into_iter();
                // A text has few points, see `Habits`.
                (slot, counts.map(|(name, count)| (name.clone(), count as u32)).collect())
            })
            .collect()
    }

    /// Asks the policy for the plan of each period.
    pub(super) fn plan(&mut self, stamp: UnixTime, cx: &mut Context<'_>) {
        self.roster.muster(&self.instances, self.settings.serving);
        let serving = self.instances.iter().filter(|(name, _)| self.roster.serves(name));
        let instances: Vec<_> = serving
            .map(|(name, instance)| {
                assign::Instance::new(name.clone(), instance.points.iter().map(Point::relay))
                    .weight(self.weight_of(name, instance))
            })
            .collect();
        // The hour's number, so that a publisher restarted with the same seed goes on where it was.
        let round = assign::Round::new(stamp.as_secs() / 3600, self.seed);
        let mut periods: BTreeMap<Period, Vec<_>> = BTreeMap::new();
        for (&id, target) in &self.wanted.targets {
            periods.entry(id.period).or_default().push((id, target.read_share));
        }
        for (period, ids) in periods {
            let plan = ids
                .into_iter()
                .map(|(id, share)| assign::Slot::new(id, id.replica.number(), share))
                .collect::<Result<Vec<_>, _>>()
                .and_then(|slots| self.policy.plan(&instances, &slots, self.plans.get(&period), round))
                .map_err(|error| PlanError::None { why: error.to_string() })
                .and_then(|plan| self.checked(period, plan));
            match plan {
                Ok(plan) => {
                    self.complaints.plans.remove(&period);
                    self.plans.insert(period, plan);
                }
                // Each new reason is told once; the last plan stays.
                Err(why) => {
                    if self.complaints.plans.entry(period).or_default().raise(why.clone()) {
                        let policy = self.policy.name().to_owned();
                        cx.outbox.report(Report::PlanRefused { period, policy, why });
                    }
                }
            }
        }
    }

    /// Refuses a plan that does not fill the slots of its period with points of those who serve.
    fn checked(
        &self,
        period: Period,
        plan: assign::Plan<InstanceName, SlotId>,
    ) -> Result<assign::Plan<InstanceName, SlotId>, PlanError> {
        let slots = self.wanted.targets.keys().filter(|slot| slot.period == period);
        if let Some(&slot) = slots.clone().find(|slot| plan.slot(slot).is_none()) {
            return Err(PlanError::MissingSlot { slot });
        }
        for (&slot, mix) in plan.slots() {
            if slot.period != period || !self.wanted.targets.contains_key(&slot) {
                return Err(PlanError::UnknownSlot { slot });
            }
            for (relay, name) in mix.points() {
                let instance = name.clone();
                if !self.roster.serves(name) {
                    return Err(PlanError::UnknownInstance { slot, instance });
                }
                if !self.points(name).iter().any(|point| point.relay() == relay) {
                    return Err(PlanError::UnknownPoint { slot, instance });
                }
            }
        }
        Ok(plan)
    }
}
