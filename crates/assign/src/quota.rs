//! Numbers of slots that instances get, and the draw of those that get the remainder.
//!
//! The quotas q_i = S · w_i / W are written in units of 1/D, where D, the length of the rotation,
//! is the smallest number that makes them all whole. The remainder is dealt by systematic sampling.
//! The fractional parts of the quotas, in a drawn order, are laid end to end on a line of whole
//! length R. Round k of the rotation takes the R instances whose piece contains one of
//!
//! ```text
//! k/D, 1 + k/D, 2 + k/D, ..., R - 1 + k/D.
//! ```
//!
//! A piece is shorter than 1, so no instance is taken twice in a round. Over k = 0, ..., D - 1
//! these are all the multiples of 1/D on the line. So an instance is taken exactly as often as its
//! piece is long. No rounding happens anywhere.

use std::ops::RangeInclusive;

use rand::seq::SliceRandom;

use crate::draw::{Purpose, rng};
use crate::{Round, Weight};

/// Each instance's part of all slots.
pub(crate) struct Quotas {
    /// D: the number of rounds of a full rotation. At least 1.
    rotation: u128,
    parts: Vec<Part>,
}

/// Quota of an instance: `whole + fraction / D`.
struct Part {
    whole: usize,
    /// In units of 1/D, and less than D.
    fraction: u128,
}

impl Quotas {
    /// The quotas of instances of these weights.
    ///
    /// Nothing overflows: a sum of fewer than 2^64 weights below 2^32 is less than 2^96, and a
    /// weight times a count of slots too.
    pub(crate) fn new(weights: &[Weight], slots: usize) -> Self {
        let total: u128 = weights.iter().map(|weight| u128::from(weight.as_u32())).sum();
        let shares = weights.iter().map(|weight| u128::from(weight.as_u32()) * slots as u128);
        // Without instances there is no weight, and any unit does.
        let unit = shares.clone().fold(total, gcd).max(1);
        let parts = shares
            .map(|share| Part {
                // At most `slots`, as no weight is above the total.
                whole: (share / total) as usize,
                fraction: share % total / unit,
            })
            .collect();
        Self {
            rotation: (total / unit).max(1),
            parts,
        }
    }

    /// Returns the number of rounds of a full rotation.
    pub(crate) fn rotation(&self) -> u128 {
        self.rotation
    }

    /// Returns the number of slots that each instance holds, if every slot is held and every quota
    /// kept.
    pub(crate) fn held(&self, holders: impl Iterator<Item = Option<usize>>) -> Option<Vec<RangeInclusive<usize>>> {
        let mut counts = vec![0; self.parts.len()];
        for holder in holders {
            counts[holder?] += 1;
        }
        let even = self
            .free()
            .iter()
            .zip(&counts)
            .all(|(quota, count)| quota.contains(count));
        even.then(|| counts.into_iter().map(|count| count..=count).collect())
    }

    /// Returns the numbers of slots that each instance may get if the remainder goes to any of
    /// them.
    pub(crate) fn free(&self) -> Vec<RangeInclusive<usize>> {
        self.parts
            .iter()
            .map(|part| part.whole..=part.whole + usize::from(part.fraction > 0))
            .collect()
    }

    /// Returns the number of slots that each instance gets in `round`.
    pub(crate) fn drawn(&self, round: Round) -> Vec<RangeInclusive<usize>> {
        let number = u128::from(round.number());
        // Not above the round's number, so it fits.
        let rotations = (number / self.rotation) as u64;
        let mut order: Vec<_> = (0..self.parts.len()).collect();
        order.shuffle(&mut rng(Purpose::Remainder, rotations, round));

        let mut counts: Vec<_> = self.parts.iter().map(|part| part.whole).collect();
        let mut end = 0;
        let mut next = number % self.rotation;
        for i in order {
            end += self.parts[i].fraction;
            if next < end {
                counts[i] += 1;
                next += self.rotation;
            }
        }
        counts.into_iter().map(|count| count..=count).collect()
    }
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quotas(weights: &[u32], slots: usize) -> Quotas {
        let weights: Vec<_> = weights
            .iter()
            .map(|&weight| Weight::try_from(weight).unwrap())
            .collect();
        Quotas::new(&weights, slots)
    }

    #[test]
    fn rotations_are_as_short_as_they_can_be() {
        let table: [(&[u32], usize, u128); 10] = [
            (&[], 6, 1),
            (&[1, 1], 0, 1),
            (&[1, 1, 1, 1], 6, 2),
            (&[1, 1, 1, 1, 1], 6, 5),
            (&[9, 9, 9, 9, 9], 6, 5),
            (&[1; 12], 6, 2),
            (&[2, 1], 6, 1),
            (&[1, 2, 3, 1], 6, 7),
            (&[1, 3], 2, 2),
            (&[u32::MAX, u32::MAX - 1], 64, 8_589_934_589),
        ];
        for (weights, slots, rotation) in table {
            assert_eq!(quotas(weights, slots).rotation(), rotation, "{weights:?}");
        }
    }

    #[test]
    fn every_round_deals_every_slot() {
        let quotas = quotas(&[5, 1, 1, 4, 7], 6);
        for number in 0..100 {
            let drawn = quotas.drawn(Round::new(number, 3));
            assert_eq!(drawn.iter().map(|count| *count.start()).sum::<usize>(), 6);
            for (drawn, free) in drawn.iter().zip(quotas.free()) {
                assert!(free.contains(drawn.start()));
            }
        }
    }

    #[test]
    fn held_slots_count_if_all_are_held_evenly() {
        let quotas = quotas(&[1, 1], 3);
        let held = |holders: &[Option<usize>]| quotas.held(holders.iter().copied());
        assert_eq!(held(&[Some(1), Some(0), Some(1)]), Some(vec![1..=1, 2..=2]));
        assert_eq!(held(&[Some(1), Some(0), None]), None);
        assert_eq!(held(&[Some(1), Some(1), Some(1)]), None);
    }
}
