//! Policies whose slots hold points of several instances: [`Blend`], and the search for its plans.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use rand::seq::SliceRandom;

use self::board::{Board, Task};
use self::cast::Cast;
use self::held::Held;
use crate::draw::{Purpose, rng};
use crate::policy::V2_POINTS;
use crate::question::{MAX_SLOTS, Question};
use crate::{Error, Instance, Mix, Plan, Policy, PolicyName, Relay, Round, Slot};

mod board;
mod cast;
mod deal;
mod exact;
mod fresh;
mod held;
mod search;
mod seats;
mod stand;

/// Differences below this are rounding errors.
const ROUNDING: f64 = 1e-9;
/// Error, as part of all clients, below which a plan is as good as an exact one: nobody could tell
/// them apart.
const EXACT: f64 = 1.0 / 1000.0;

/// Points of several instances in the slots, and other ones in each.
///
/// With the limit of ten points per descriptor, six slots carry up to sixty instances at once.
/// There are two settings, under two names:
///
/// | | [`hybrid`](Self::hybrid) | [`weighted`](Self::weighted) |
/// | --- | --- | --- |
/// | instances in a slot | two or more, where there are two | one or more |
/// | error that counts as none | 3/10 of a point | none |
/// | error up to which no slot changes | 1/2 of a point | 1/4 of a point |
///
/// An error is the distance of an instance's share from its target. A point stands here for the
/// share that one point of a full descriptor carries in one of six slots: 1/60 with ten points.
///
/// ```
/// use std::num::NonZeroUsize;
/// use onionweave_assign::{Blend, Instance, Policy, Relay, Round, Slot};
///
/// let slots = Slot::even((0..6).map(|n| (n, n / 3)));
/// let three = [("a", 1), ("b", 11), ("c", 21)]
///     .map(|(id, first)| Instance::new(id, (first..first + 3).map(Relay::new)));
/// let limit = NonZeroUsize::new(8).unwrap();
/// let plan = Blend::hybrid()
///     .points_per_descriptor(limit)
///     .plan(&three, &slots, None, Round::new(0, 2015))?;
/// for (_, mix) in plan.slots() {
///     assert!(mix.len() <= 8 && mix.instances().len() >= 2);
/// }
/// # Ok::<(), onionweave_assign::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Blend {
    name: PolicyName,
    rules: Rules,
}

impl Blend {
    /// Highest number of slots of a plan. Tor's defaults need 6 (v2) or 8 (v3).
    pub const MAX_SLOTS: usize = MAX_SLOTS;

    /// Returns the policy that lets no slot depend on one instance.
    pub const fn hybrid() -> Self {
        Self {
            name: PolicyName::Hybrid,
            rules: Rules {
                instances: 2,
                ..Rules::EVEN
            },
        }
    }

    /// Returns the policy whose shares come as near to their targets as they can.
    pub const fn weighted() -> Self {
        Self {
            name: PolicyName::Weighted,
            rules: Rules {
                precision: f64::INFINITY,
                tolerance: 24.0,
                ..Rules::EVEN
            },
        }
    }

    /// Sets the highest number of points in a slot; 10 unless it is set.
    #[must_use]
    pub const fn points_per_descriptor(mut self, most: NonZeroUsize) -> Self {
        self.rules.points = most.get();
        self
    }

    /// Sets the lowest number of instances in a slot, where there are as many.
    #[must_use]
    pub const fn instances_per_slot(mut self, least: NonZeroUsize) -> Self {
        self.rules.instances = least.get();
        self
    }
}

impl<I: Ord + Clone, S: Ord + Clone> Policy<I, S> for Blend {
    fn plan(
        &self,
        instances: &[Instance<I>],
        slots: &[Slot<S>],
        previous: Option<&Plan<I, S>>,
        round: Round,
    ) -> Result<Plan<I, S>, Error> {
        plan(self.rules, &Question::new(instances, slots)?, previous, round)
    }

    fn name(&self) -> &str {
        self.name.as_str()
    }
}

/// Limits and aims of a plan.
///
/// An error of 1/(d · `points`) is written as its divisor d. With six slots, 6 stands for the
/// share that one point of a full descriptor carries, 12 for half of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rules {
    /// The most points in a slot.
    pub(crate) points: usize,
    /// The fewest instances in a slot, where there are as many.
    pub(crate) instances: usize,
    /// Divisor of the error up to which a plan is as good as an exact one.
    pub(crate) precision: f64,
    /// Divisor of the error up to which no slot is changed.
    pub(crate) tolerance: f64,
    /// Whether slots have as many points as even shares allow, instead of as few as they need.
    pub(crate) generous: bool,
}

impl Rules {
    /// Rules that ask for even shares and for nothing else.
    pub(crate) const EVEN: Self = Self {
        points: V2_POINTS.get(),
        instances: 1,
        precision: 20.0,
        tolerance: 12.0,
        generous: false,
    };

    /// Error up to which a plan is as good as an exact one.
    fn precision(self) -> f64 {
        self.error(self.precision)
    }

    /// Error up to which no slot is changed.
    fn tolerance(self) -> f64 {
        self.error(self.tolerance)
    }

    /// Error that the search asks for first: half a point of a full descriptor, in one of six
    /// slots.
    fn aim(self) -> f64 {
        self.error(12.0)
    }

    fn error(self, divisor: f64) -> f64 {
        1.0 / (divisor * self.points as f64)
    }
}

/// Returns a plan that keeps to the rules: as near to the targets as the search comes, and in the
/// middle of a round with few changes.
pub(crate) fn plan<I: Ord + Clone, S: Ord + Clone>(
    rules: Rules,
    question: &Question<'_, I, S>,
    previous: Option<&Plan<I, S>>,
    round: Round,
) -> Result<Plan<I, S>, Error> {
    let mut order: Vec<_> = (0..question.instances.len()).collect();
    order.shuffle(&mut rng(Purpose::Placement, round.number(), round));
    let previous = previous.filter(|plan| plan.round().number() == round.number());
    let cast = Cast::new(rules, question, previous, round, &order);
    let task = cast.task(rules, question);
    // Of the drawn order, the instances that stand, by their places among these.
    let order: Vec<_> = order.iter().filter_map(|instance| cast.place(*instance)).collect();

    let held = Held::new(&task, &cast, question, previous);
    let (board, free) = held.repaired(&task, rules, &order);
    let mixes = seat(&task, &cast, question, &held, board, &free);
    let filled = question.slots.iter().zip(mixes);
    Plan::new(round, filled.map(|(slot, mix)| (slot.id().clone(), mix)).collect())
}

/// Gives every point its relay. Slots that are not free keep their relays.
fn seat<I: Ord + Clone, S: Ord>(
    task: &Task,
    cast: &Cast,
    question: &Question<'_, I, S>,
    held: &Held,
    board: Board<'_>,
    free: &[bool],
) -> Vec<Mix<I>> {
    // The share of the clients that each point carries so far.
    let mut burdens: BTreeMap<(usize, Relay), f64> = BTreeMap::new();
    let mut seated: Vec<Option<BTreeMap<Relay, usize>>> = vec![None; task.slots()];
    let kept = (0..task.slots()).filter(|&slot| !free[slot]);
    let written = task.deal_order.iter().copied().filter(|&slot| free[slot]);
    for slot in kept.chain(written) {
        let mut stands = board.slot(slot).to_vec();
        if let [only] = &mut stands[..] {
            only.points = task.most_of(only.instance);
        }
        stands.sort_by_key(|stand| stand.instance);
        let seats = if free[slot] {
            seats::assign(&stands, &task.offers, |instance, relay| {
                let burden = burdens.get(&(instance, relay)).copied().unwrap_or(0.0);
                ((burden * 1e9) as u64, !held.seats[slot].contains_key(&relay))
            })
        } else {
            Some(held.seats[slot].clone())
        };
        for (&relay, &instance) in seats.iter().flatten() {
            *burdens.entry((instance, relay)).or_default() +=
                task.read_shares[slot] / seats.as_ref().map_or(1, BTreeMap::len) as f64;
        }
        seated[slot] = seats;
    }
    let id = |instance: usize| question.instances[cast.instances[instance]].id.clone();
    seated
        .into_iter()
        .map(|seats| {
            seats
                .into_iter()
                .flatten()
                .map(|(relay, instance)| (relay, id(instance)))
                .collect()
        })
        .collect()
}
