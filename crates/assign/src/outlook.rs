//! The clients' view when instances die and the plan still stands.

use std::collections::BTreeMap;

use crate::plan::Plan;
use crate::{Mix, Slot};

/// Prospects of a new client after some instances died, until the next plan is published.
///
/// A client reads one slot, by the slots' [read shares](Slot::read_share), and tries the points
/// that it finds there in a random order, each once, until one answers. If none does, it asks
/// another directory. All of this is computed, not sampled.
///
/// ```
/// use onionweave_assign::{Blend, Instance, Mixed, Policy, Relay, Round, Slot};
///
/// let slots = Slot::even((0..6).map(|n| (n, n / 3)));
/// let three = [("a", 1), ("b", 11), ("c", 21)].map(|(id, first)| Instance::new(id, (first..first + 3).map(Relay::new)));
/// let round = Round::new(0, 2015);
///
/// // With one instance in each slot, a third of the clients finds nothing but dead points at the first directory.
/// let mixed = Mixed::new().plan(&three, &slots, None, round)?.with_any_dead(1, &slots);
/// assert!((mixed.text_dead - 1.0 / 3.0).abs() < 1e-9);
/// assert!((mixed.dead_points - 1.0).abs() < 1e-9, "three points, each third time");
///
/// // With all of them in each, the first point is dead as often, but the next ones are at hand.
/// let hybrid = Blend::hybrid().plan(&three, &slots, None, round)?.with_any_dead(1, &slots);
/// assert!((hybrid.first_point_dead - 1.0 / 3.0).abs() < 1e-9);
/// assert_eq!(hybrid.text_dead, 0.0);
/// # Ok::<(), onionweave_assign::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Outlook {
    /// The chance that the first point that it tries is dead.
    pub first_point_dead: f64,
    /// Average number of dead points that it tries, in the text that it reads first, before one
    /// answers or all were tried.
    pub dead_points: f64,
    /// The chance that all points of that text are dead, so that it must ask another directory.
    pub text_dead: f64,
    /// The chance that the points of all texts are dead, so that it reaches nobody.
    pub unreachable: f64,
}

impl Outlook {
    /// Adds a slot of which `dead` of the `points` are dead. `weight` is the part of the clients
    /// that reads it.
    fn add(&mut self, weight: f64, dead: usize, points: usize) {
        let (d, n) = (dead as f64, points as f64);
        self.first_point_dead += weight * d / n;
        if dead == points {
            self.dead_points += weight * n;
            self.text_dead += weight;
        } else {
            // Each dead point comes before all n − d live ones with the chance 1 / (n − d + 1).
            self.dead_points += weight * d / (n - d + 1.0);
        }
    }
}

impl<I: Ord + Clone, S: Ord> Plan<I, S> {
    /// Returns the prospects of clients when those instances are dead of which `is_dead` says so.
    pub fn with_dead(&self, is_dead: impl Fn(&I) -> bool, slots: &[Slot<S>]) -> Outlook {
        let mut outlook = Outlook::default();
        let dead_in = |mix: &Mix<I>| mix.points().filter(|(_, instance)| is_dead(instance)).count();
        for (read_share, mix) in self.read(slots) {
            outlook.add(read_share, dead_in(mix), mix.len());
        }
        if self.slots().all(|(_, mix)| dead_in(mix) == mix.len()) {
            outlook.unreachable = 1.0;
        }
        outlook
    }

    /// Returns the average prospects of clients when `deaths` of the instances in the plan are
    /// dead.
    ///
    /// Each selection of them is as likely as any other. If there are no more than that, all are
    /// dead.
    ///
    /// The time grows with the number of points in all slots times `deaths`, not with the number of
    /// selections.
    pub fn with_any_dead(&self, deaths: usize, slots: &[Slot<S>]) -> Outlook {
        let standing = self.standing();
        let deaths = deaths.min(standing);
        let mut outlook = Outlook::default();
        for (read_share, mix) in self.read(slots) {
            let counts: Vec<_> = mix.instances().into_values().collect();
            for (dead, chance) in dead_points(&counts, standing, deaths) {
                outlook.add(read_share * chance, dead, mix.len());
            }
        }
        if deaths == standing {
            outlook.unreachable = 1.0;
        }
        outlook
    }

    /// Returns the number of instances that have a point in the plan.
    pub fn standing(&self) -> usize {
        let mut instances: Vec<_> = self.slots().flat_map(|(_, mix)| mix.instances().into_keys()).collect();
        instances.sort_unstable();
        instances.dedup();
        instances.len()
    }
}

/// The chance of each number of dead points in a slot where instances have so many points each,
/// when `deaths` of the `standing` instances die.
fn dead_points(counts: &[usize], standing: usize, deaths: usize) -> BTreeMap<usize, f64> {
    // The chance that of those looked at so many died, who had so many points.
    let mut chances = BTreeMap::from([((0_usize, 0_usize), 1.0_f64)]);
    for (looked_at, points) in counts.iter().enumerate() {
        let mut next = BTreeMap::new();
        for ((died, dead), chance) in chances {
            let dies = (deaths - died) as f64 / (standing - looked_at) as f64;
            for (state, chance) in [
                ((died + 1, dead + points), chance * dies),
                ((died, dead), chance * (1.0 - dies)),
            ] {
                if chance > 0.0 {
                    *next.entry(state).or_insert(0.0) += chance;
                }
            }
        }
        chances = next;
    }
    let mut dead_points = BTreeMap::new();
    for ((_, dead), chance) in chances {
        *dead_points.entry(dead).or_insert(0.0) += chance;
    }
    dead_points
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Relay, Round};

    const ROUND: Round = Round::new(0, 0);

    /// Slots that hold so many points of instances 0, 1, …, and are read with these chances.
    fn plan(table: &[(f64, &[usize])]) -> (Plan<usize, usize>, Vec<Slot<usize>>) {
        let mix = |counts: &[usize]| -> Mix<usize> {
            let points = counts
                .iter()
                .enumerate()
                .flat_map(|(instance, &count)| (0..count).map(move |n| (instance, n)));
            points
                .map(|(instance, n)| (Relay::new((instance * 16 + n) as u128), instance))
                .collect()
        };
        let mixes = table.iter().map(|(_, counts)| mix(counts)).enumerate();
        let slots = table.iter().enumerate();
        let slots = slots.map(|(id, (share, _))| Slot::new(id, (id % 2) as u8, *share).unwrap());
        (Plan::new(ROUND, mixes.collect()).unwrap(), slots.collect())
    }

    /// Returns the prospects of clients, found by going through all orders in which a text's points
    /// can be tried.
    fn tried_out(plan: &Plan<usize, usize>, slots: &[Slot<usize>], is_dead: &dyn Fn(usize) -> bool) -> Outlook {
        /// Sums over all orders: first dead, dead before a live one, all dead, number of orders.
        fn orders(left: &[bool], tried: usize, sums: &mut [f64; 4]) {
            let weight: f64 = (1..=left.len()).map(|n| n as f64).product();
            if left.is_empty() {
                sums[1] += tried as f64;
                sums[2] += 1.0;
                sums[3] += 1.0;
            }
            for (at, &dead) in left.iter().enumerate() {
                if dead {
                    sums[0] += if tried == 0 { weight / left.len() as f64 } else { 0.0 };
                    let mut rest = left.to_vec();
                    rest.remove(at);
                    orders(&rest, tried + 1, sums);
                } else {
                    sums[1] += tried as f64 * weight / left.len() as f64;
                    sums[3] += weight / left.len() as f64;
                }
            }
        }
        let mut outlook = Outlook::default();
        for slot in slots {
            let mix = plan.slot(slot.id()).unwrap();
            let dead: Vec<_> = mix.points().map(|(_, &instance)| is_dead(instance)).collect();
            let mut sums = [0.0; 4];
            orders(&dead, 0, &mut sums);
            outlook.first_point_dead += slot.read_share() * sums[0] / sums[3];
            outlook.dead_points += slot.read_share() * sums[1] / sums[3];
            outlook.text_dead += slot.read_share() * sums[2] / sums[3];
        }
        let all = plan
            .slots()
            .all(|(_, mix)| mix.points().all(|(_, &instance)| is_dead(instance)));
        outlook.unreachable = f64::from(u8::from(all));
        outlook
    }

    fn assert_alike(a: Outlook, b: Outlook) {
        for (a, b) in [
            (a.first_point_dead, b.first_point_dead),
            (a.dead_points, b.dead_points),
            (a.text_dead, b.text_dead),
            (a.unreachable, b.unreachable),
        ] {
            assert!((a - b).abs() < 1e-12, "{a} instead of {b}");
        }
    }

    /// Every selection of dead instances, and the mean over all of one size, against counting.
    #[test]
    fn all_selections_are_counted_right() {
        let tables: [&[(f64, &[usize])]; 4] = [
            &[(1.0, &[1])],
            &[(0.5, &[2, 1]), (0.5, &[0, 3])],
            &[(0.25, &[1, 1, 1]), (0.25, &[0, 2, 3]), (0.5, &[1, 0, 0, 2])],
            &[
                (0.3, &[1, 2, 0, 1, 1]),
                (0.3, &[0, 0, 3, 1, 1]),
                (0.4, &[2, 1, 1, 0, 1]),
            ],
        ];
        for table in tables {
            let (plan, slots) = plan(table);
            let standing = plan.standing();
            for deaths in 0..=standing + 1 {
                let mut mean = Outlook::default();
                let selections: Vec<u32> = (0..1_u32 << standing)
                    .filter(|selection| selection.count_ones() as usize == deaths.min(standing))
                    .collect();
                for selection in &selections {
                    let is_dead = |instance: usize| selection >> instance & 1 == 1;
                    let counted = tried_out(&plan, &slots, &is_dead);
                    assert_alike(plan.with_dead(|&instance| is_dead(instance), &slots), counted);
                    let part = 1.0 / selections.len() as f64;
                    mean.first_point_dead += part * counted.first_point_dead;
                    mean.dead_points += part * counted.dead_points;
                    mean.text_dead += part * counted.text_dead;
                    mean.unreachable += part * counted.unreachable;
                }
                assert_alike(plan.with_any_dead(deaths, &slots), mean);
            }
        }
    }

    /// A dead instance of sixty: each text loses a point of ten with the chance 1/6, and then the
    /// first is dead with the chance 1/10.
    #[test]
    fn one_of_sixty() {
        let counts: Vec<Vec<usize>> = (0..6)
            .map(|slot| (0..60).map(|instance| usize::from(instance / 10 == slot)).collect())
            .collect();
        let table: Vec<_> = counts.iter().map(|counts| (1.0 / 6.0, &counts[..])).collect();
        let (plan, slots) = plan(&table);
        let outlook = plan.with_any_dead(1, &slots);
        assert!((outlook.first_point_dead - 1.0 / 60.0).abs() < 1e-12);
        assert!((outlook.dead_points - 1.0 / 60.0).abs() < 1e-12);
        assert_eq!((outlook.text_dead, outlook.unreachable), (0.0, 0.0));
        // Ten of sixty: all of one text with the chance 6 / (60 over 10), weighted with the part
        // that reads it.
        let ten = plan.with_any_dead(10, &slots).text_dead;
        assert!((ten * 75_394_027_566.0 - 1.0).abs() < 1e-6, "{ten}");
    }
}
