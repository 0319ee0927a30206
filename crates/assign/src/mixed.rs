//! The mixed policy: one instance per slot.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use self::placement::{Place, place};
use crate::draw::{Purpose, rng};
use crate::policy::V2_POINTS;
use crate::question::{MAX_SLOTS, Question};
use crate::quota::Quotas;
use crate::{Error, Instance, Plan, Policy, Round, Slot};

mod placement;

/// Each slot is given to one instance, whose introduction points fill its descriptor alone.
///
/// This is chapter 5 of Ceysun Sucu's *Tor: Hidden Service Scaling* (UCL, 2015), section 5.1.3,
/// with what that text leaves open made exact. With S slots, and instance i having the part
/// w<sub>i</sub> / W of all weights:
///
/// 1. **Even.** Instance i gets its quota q<sub>i</sub> = S · w<sub>i</sub> / W, rounded down or up
///    to whole slots.
/// 2. **Rotated.** The seed draws the instances that are rounded up, and the draw moves on by one
///    step every round. So over [`rotation`](Self::rotation) rounds an instance gets exactly
///    q<sub>i</sub> slots per round on average. This also holds for more instances than slots:
///    they take turns.
/// 3. **On both replicas.** As few instances as possible have two or more slots and all of them in
///    one replica, so the loss of one replica's directories takes no such instance away.
/// 4. **Calm.** Subject to that, the fewest slots change against the previous plan. If it is of
///    the same round and still even, every instance keeps its number of slots. If it is of the same
///    round and uneven, then instances or slots came or went: who is rounded up is free, and chosen
///    such that the fewest slots change. From the next round on the rotation decides again.
///
/// What is still open then is drawn from the seed and the round number.
///
/// Slots count alike, whatever their [read share](Slot::read_share): that is exact where all are
/// read alike, as in v2 with six different directories. [`Plan::shares`] says what comes of it
/// otherwise.
///
/// # Limits
///
/// At most [`MAX_SLOTS`](Self::MAX_SLOTS) slots, else [`Error::TooManySlots`], in at most
/// [`MAX_REPLICAS`](Self::MAX_REPLICAS) replicas, else [`Error::TooManyReplicas`].
///
/// ```
/// use onionweave_assign::{Instance, Mixed, Policy, Relay, Round, Slot};
///
/// let slots = Slot::even((0..6).map(|n| (n, n / 3)));
/// let four = [("a", 0), ("b", 10), ("c", 20), ("d", 30)].map(|(id, first)| Instance::new(id, (first..first + 3).map(Relay::new)));
/// let policy = Mixed::default();
/// let round = Round::new(0, 2015);
///
/// // Two instances have two slots, two have one.
/// let plan = policy.plan(&four, &slots, None, round)?;
/// let counts = four.clone().map(|instance| plan.slots_of(&instance.id).count());
/// assert_eq!(counts.iter().sum::<usize>(), 6);
/// assert!(counts.iter().all(|count| (1..=2).contains(count)));
///
/// // When one is lost, only the slots it had are written.
/// let after = policy.plan(&four[1..], &slots, Some(&plan), round)?;
/// assert_eq!(after.changes(&plan), counts[0]);
/// # Ok::<(), onionweave_assign::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mixed {
    points_per_descriptor: NonZeroUsize,
}

impl Mixed {
    /// The most slots a plan may have: Tor's defaults need 6 (v2) or 8 (v3).
    pub const MAX_SLOTS: usize = MAX_SLOTS;

    /// The most replicas the slots may belong to: Tor's default in v2 and v3.
    pub const MAX_REPLICAS: usize = 2;

    /// The policy with at most 10 introduction points in a descriptor, the limit of v2.
    pub const fn new() -> Self {
        Self {
            points_per_descriptor: V2_POINTS,
        }
    }

    /// The same policy with another limit for the introduction points in one descriptor.
    #[must_use]
    pub const fn points_per_descriptor(self, limit: NonZeroUsize) -> Self {
        Self {
            points_per_descriptor: limit,
        }
    }

    /// Returns the number of rounds of a full rotation, after which each instance got exactly its
    /// part of all slots.
    ///
    /// It is W divided by the greatest common divisor of W and all S · w<sub>i</sub>; for N equal
    /// instances, N / gcd(N, S). Instances without points don't count. 1 means that every round is
    /// even. Rotations start at round numbers that this number divides.
    pub fn rotation<I>(instances: &[Instance<I>], slots: usize) -> u128 {
        let weights: Vec<_> = instances
            .iter()
            .filter(|instance| !instance.points.is_empty())
            .map(|instance| instance.weight)
            .collect();
        Quotas::new(&weights, slots).rotation()
    }
}

impl Default for Mixed {
    fn default() -> Self {
        Self::new()
    }
}

impl<I: Ord + Clone, S: Ord + Clone> Policy<I, S> for Mixed {
    fn plan(
        &self,
        instances: &[Instance<I>],
        slots: &[Slot<S>],
        previous: Option<&Plan<I, S>>,
        round: Round,
    ) -> Result<Plan<I, S>, Error> {
        let question = Question::new(instances, slots)?;
        let places = places(&question, previous)?;
        let Question { instances, slots } = &question;

        let weights: Vec<_> = instances.iter().map(|instance| instance.weight).collect();
        let quotas = Quotas::new(&weights, slots.len());
        let same_round = previous.is_some_and(|plan| plan.round().number() == round.number());
        let allowed = if same_round {
            let held = places.iter().map(|place| place.holder);
            quotas.held(held).unwrap_or_else(|| quotas.free())
        } else {
            quotas.drawn(round)
        };

        let holders = place(&allowed, &places, &mut rng(Purpose::Placement, round.number(), round));
        let filled = slots.iter().zip(holders).filter_map(|(slot, holder)| {
            let instance = instances.get(holder)?;
            let points = instance.points.iter().take(self.points_per_descriptor.get());
            Some((
                slot.id().clone(),
                points.map(|&relay| (relay, instance.id.clone())).collect(),
            ))
        });
        Plan::new(round, filled.collect())
    }

    fn name(&self) -> &str {
        crate::PolicyName::Mixed.as_str()
    }
}

/// For every slot which of the two sides it is on, and which of the instances holds it now.
fn places<I: Ord, S: Ord>(question: &Question<'_, I, S>, previous: Option<&Plan<I, S>>) -> Result<Vec<Place>, Error> {
    let replicas: BTreeSet<u8> = question.slots.iter().map(|slot| slot.replica()).collect();
    if replicas.len() > Mixed::MAX_REPLICAS {
        return Err(Error::TooManyReplicas {
            replicas: replicas.len(),
            limit: Mixed::MAX_REPLICAS,
        });
    }
    let holder = |slot: &S| {
        let mut holders = previous?.instances_of(slot);
        match (holders.next(), holders.next()) {
            (Some(only), None) => question.position(only),
            // A slot that another policy filled with several instances is held by none.
            _ => None,
        }
    };
    let place = |slot: &&Slot<S>| Place {
        second: replicas.first() != Some(&slot.replica()),
        holder: holder(slot.id()),
    };
    Ok(question.slots.iter().map(place).collect())
}
