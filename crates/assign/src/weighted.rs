//! The weighted policy: shares as near to the targets as they can be.

use std::num::NonZeroUsize;

use crate::blend::{self, Rules};
use crate::question::Question;
use crate::{Error, Instance, Plan, Policy, PolicyName, Round, Slot};

/// Shares as near to the targets as they can be, with points of one or of several instances in a slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Weighted {
    rules: Rules,
}

impl Weighted {
    /// The policy with its usual settings: at most ten points in a slot, of one instance or more.
    pub const fn new() -> Self {
        Self {
            rules: Rules {
                points: 10,
                instances: 1,
                precision: 0.0,
                tolerance: 1.0 / 240.0,
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

impl Default for Weighted {
    fn default() -> Self {
        Self::new()
    }
}

impl<I: Ord + Clone, S: Ord + Clone> Policy<I, S> for Weighted {
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
        PolicyName::Weighted.as_str()
    }
}
