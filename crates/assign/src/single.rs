//! The single policy: one master descriptor, the same everywhere.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use crate::blend::{self, Rules};
use crate::question::Question;
use crate::{Error, Instance, Plan, Policy, PolicyName, Round, Slot};

/// A master descriptor: the same points in every slot, up to ten. onionbalance publishes such a one
/// by default.
///
/// Of each instance as many points are taken as keep the shares at their targets and there is room
/// for; nine of three instances with three points each. With more instances than points there is
/// room for, they take turns.
///
/// It is simple, and it is weak. No more than ten points and ten instances carry the service. A
/// client that failed with one directory finds the same points at the next. An instance that dies
/// is in every slot.
///
/// ```
/// use onionweave_assign::{Instance, Policy, Relay, Round, Single, Slot};
///
/// let slots = Slot::even((0..6).map(|n| (n, n / 3)));
/// let three = [("a", 1), ("b", 11), ("c", 21)].map(|(id, first)| Instance::new(id, (first..first + 3).map(Relay::new)));
/// let plan = Single::new().plan(&three, &slots, None, Round::new(0, 2015))?;
/// for slot in &slots {
///     assert_eq!(plan.slot(slot.id()), plan.slot(&0));
///     assert_eq!(plan.slot(slot.id()).map(|mix| mix.len()), Some(9));
/// }
/// # Ok::<(), onionweave_assign::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Single {
    rules: Rules,
}

impl Single {
    /// Returns the policy with at most ten points, the limit of v2.
    pub const fn new() -> Self {
        Self {
            rules: Rules {
                generous: true,
                ..Rules::EVEN
            },
        }
    }

    /// Sets the highest number of points; 10 unless it is set.
    #[must_use]
    pub const fn points_per_descriptor(mut self, most: NonZeroUsize) -> Self {
        self.rules.points = most.get();
        self
    }
}

impl Default for Single {
    fn default() -> Self {
        Self::new()
    }
}

impl<I: Ord + Clone, S: Ord + Clone> Policy<I, S> for Single {
    fn plan(
        &self,
        instances: &[Instance<I>],
        slots: &[Slot<S>],
        previous: Option<&Plan<I, S>>,
        round: Round,
    ) -> Result<Plan<I, S>, Error> {
        let slots = Question::new(instances, slots)?.slots;
        // The whole service is one slot that every client reads.
        let master = [Slot::new((), 0, 1.0)?];
        let held = previous.and_then(|plan| {
            let mix = slots.iter().find_map(|slot| plan.slot(slot.id()))?;
            Plan::new(plan.round(), BTreeMap::from([((), mix.clone())])).ok()
        });
        let plan = blend::plan(self.rules, &Question::new(instances, &master)?, held.as_ref(), round)?;
        let mix = plan.slot(&()).cloned();
        let filled = slots.iter().filter_map(|slot| Some((slot.id().clone(), mix.clone()?)));
        Plan::new(round, filled.collect())
    }

    fn name(&self) -> &str {
        PolicyName::Single.as_str()
    }
}
