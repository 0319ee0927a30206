//! The slots of each instance, such that as few as possible change.
//!
//! The slots of one replica are alike but for their present holders. So it is enough to know the
//! number that an instance gets in each: of a slots in a replica where it holds h, it keeps
//! min(a, h). That leaves a small problem, which a dynamic programme over the instances solves
//! exactly. For every number of slots taken so far in the first and in the second replica, it
//! knows the cheapest way to get there.

use std::iter::repeat_n;
use std::ops::{Add, RangeInclusive};

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// A slot: its replica and its holder.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Whether it belongs to the second replica.
    pub(super) second: bool,
    /// The index of the live instance that holds it now.
    pub(super) holder: Option<usize>,
}

/// Numbers of slots in the first and in the second replica.
type Counts = [usize; 2];

/// Cost of a way to give an instance its slots, the worst first.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    /// Instances with several slots, all of them in one replica.
    lopsided: usize,
    /// Slots that get another instance.
    changed: usize,
    /// Drawn, to choose among the otherwise equal.
    lot: u64,
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            lopsided: self.lopsided + other.lopsided,
            changed: self.changed + other.changed,
            lot: self.lot + other.lot,
        }
    }
}

/// A way to give an instance its slots.
struct Choice {
    counts: Counts,
    cost: Cost,
}

/// For every place the index of the instance that gets it.
///
/// Instance i gets a number of places that `allowed[i]` contains. The smallest numbers must not sum
/// to more than the number of places, and the largest not to less.
pub(super) fn place(allowed: &[RangeInclusive<usize>], places: &[Place], rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut room: Counts = [0; 2];
    let mut held = vec![Counts::default(); allowed.len()];
    for place in places {
        room[usize::from(place.second)] += 1;
        if let Some(holder) = place.holder {
            held[holder][usize::from(place.second)] += 1;
        }
    }
    let choices: Vec<_> = allowed
        .iter()
        .zip(&held)
        .map(|(allowed, held)| choices(allowed, *held, room, rng))
        .collect();
    deal(cheapest(&choices, room), places, rng)
}

/// Every way to give an instance one of the `allowed` numbers of slots.
fn choices(allowed: &RangeInclusive<usize>, held: Counts, room: Counts, rng: &mut ChaCha8Rng) -> Vec<Choice> {
    let two_replicas = room[0] > 0 && room[1] > 0;
    let mut choices = Vec::new();
    for count in allowed.clone() {
        for first in count.saturating_sub(room[1])..=count.min(room[0]) {
            let counts = [first, count - first];
            let lopsided = two_replicas && count >= 2 && counts.contains(&0);
            let kept = counts[0].min(held[0]) + counts[1].min(held[1]);
            choices.push(Choice {
                counts,
                cost: Cost {
                    lopsided: usize::from(lopsided),
                    changed: count - kept,
                    lot: rng.random::<u32>().into(),
                },
            });
        }
    }
    choices
}

/// Picks a choice for each instance, such that together they fill the room exactly and cost the
/// least.
fn cheapest(choices: &[Vec<Choice>], room: Counts) -> Vec<Counts> {
    let width = room[1] + 1;
    let states = (room[0] + 1) * width;
    // For every state, that is how many slots are taken: the least cost of the instances so far.
    let mut least: Vec<Option<Cost>> = vec![None; states];
    least[0] = Some(Cost::default());
    // For every instance and state: how many slots that instance took to get there.
    let mut steps: Vec<Vec<Counts>> = Vec::with_capacity(choices.len());

    for choices in choices {
        let mut next = vec![None; states];
        let mut step = vec![[0; 2]; states];
        for (state, cost) in least.iter().enumerate() {
            let Some(cost) = cost else { continue };
            let taken = [state / width, state % width];
            for choice in choices {
                let after = [taken[0] + choice.counts[0], taken[1] + choice.counts[1]];
                if after[0] > room[0] || after[1] > room[1] {
                    continue;
                }
                let after = after[0] * width + after[1];
                let cost = *cost + choice.cost;
                if next[after].is_none_or(|least| cost < least) {
                    next[after] = Some(cost);
                    step[after] = choice.counts;
                }
            }
        }
        least = next;
        steps.push(step);
    }

    // Backwards from all slots taken; every step leads to a state from which it was reached.
    let mut taken = room;
    let mut counts: Vec<_> = steps
        .iter()
        .rev()
        .map(|step| {
            let counts = step[taken[0] * width + taken[1]];
            taken = [taken[0] - counts[0], taken[1] - counts[1]];
            counts
        })
        .collect();
    counts.reverse();
    counts
}

/// Gives every instance its number of slots in each replica, at first those that it holds.
fn deal(mut left: Vec<Counts>, places: &[Place], rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order: Vec<_> = (0..places.len()).collect();
    order.shuffle(rng);
    let mut holders = vec![None; places.len()];
    for &at in &order {
        let side = usize::from(places[at].second);
        if let Some(holder) = places[at].holder.filter(|&holder| left[holder][side] > 0) {
            left[holder][side] -= 1;
            holders[at] = Some(holder);
        }
    }
    // What is still due in each replica is exactly what nobody kept there.
    let mut due = [0, 1].map(|side| {
        let due = left.iter().map(|counts| counts[side]).enumerate();
        due.flat_map(|(instance, count)| repeat_n(instance, count))
            .collect::<Vec<_>>()
            .into_iter()
    });
    for &at in &order {
        if holders[at].is_none() {
            holders[at] = due[usize::from(places[at].second)].next();
        }
    }
    debug_assert!(holders.iter().all(Option::is_some), "a place for everyone");
    holders.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;

    /// `'1'` and `'2'` say the replica; the letter whose slot it is, from `'a'`, or `'-'`.
    fn placed(allowed: &[RangeInclusive<usize>], places: &[&str], seed: u64) -> String {
        let places: Vec<_> = places
            .iter()
            .map(|text| {
                let (replica, holder) = text.split_at(1);
                Place {
                    second: replica == "2",
                    holder: holder
                        .bytes()
                        .find(|letter| *letter != b'-')
                        .map(|letter| usize::from(letter - b'a')),
                }
            })
            .collect();
        let holders = place(allowed, &places, &mut ChaCha8Rng::seed_from_u64(seed));
        holders.into_iter().map(|holder| char::from(b"abc"[holder])).collect()
    }

    #[test]
    fn keeps_what_is_held() {
        for seed in 0..20 {
            assert_eq!(placed(&[2..=2, 2..=2], &["1b", "1a", "2a", "2b"], seed), "baab");
            assert_eq!(placed(&[2..=2, 2..=2], &["1b", "1-", "2a", "2-"], seed), "baab");
            assert_eq!(placed(&[1..=2, 1..=2], &["1a", "2a", "2-"], seed), "aab");
        }
    }

    #[test]
    fn goes_to_both_replicas_even_if_more_changes() {
        for seed in 0..20 {
            let placed = placed(&[2..=2, 2..=2], &["1a", "1a", "2b", "2b"], seed);
            let one_in_each = ["abab", "abba", "baab", "baba"];
            assert!(one_in_each.contains(&placed.as_str()), "{placed}");
        }
    }

    #[test]
    fn what_is_open_is_drawn() {
        let plans: BTreeSet<_> = (0..200)
            .map(|seed| placed(&[1..=1, 1..=1, 1..=1], &["1-", "1-", "2-"], seed))
            .collect();
        assert_eq!(plans.len(), 6, "{plans:?}");
    }
}
