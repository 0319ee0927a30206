//! The hybrid policy: points of several instances in every slot, and other ones in each.

use std::num::NonZeroUsize;

use crate::blend::{self, Rules};
use crate::question::{MAX_SLOTS, Question};
use crate::{Error, Instance, Plan, Policy, PolicyName, Round, Slot};

/// Points of several instances in every slot, and other ones in each: up to ten points in each of six slots, so up to sixty
/// instances at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Hybrid {
    rules: Rules,
}

impl Hybrid {
    /// The most slots a plan may have: Tor's defaults need 6 (v2) or 8 (v3).
    pub const MAX_SLOTS: usize = MAX_SLOTS;

    /// The policy with its usual settings: at most ten points in a slot, of at least two instances.
    pub const fn new() -> Self {
        Self {
            rules: Rules {
                points: 10,
                instances: 2,
                precision: 1.0 / 200.0,
                tolerance: 1.0 / 120.0,
                generous: false,
            },
        }
    }

    /// The same policy with at most so many points in a slot.
    #[must_use]
    pub const fn points_per_slot(mut self, most: NonZeroUsize) -> Self {
        self.rules.points = most.get();
        self
    }

    /// The same policy with points of at least so many instances in a slot, where there are so many.
    #[must_use]
    pub const fn instances_per_slot(mut self, least: NonZeroUsize) -> Self {
        self.rules.instances = least.get();
        self
    }
}

impl Default for Hybrid {
    fn default() -> Self {
        Self::new()
    }
}

impl<I: Ord + Clone, S: Ord + Clone> Policy<I, S> for Hybrid {
    fn plan(
        &self,
        instances: &[Instance<I>],
        slots: &[Slot<S>],
        previous: Option<&Plan<I, S>>,
        round: Round,
    ) -> Result<Plan<I, S>, Error> {
        blend::plan(self.rules, &Question::new(instances, slots)?, previous, round)
    }

    fn name(&self) -> &str {
        PolicyName::Hybrid.as_str()
    }
}
