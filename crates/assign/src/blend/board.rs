//! Numbers of points of each instance in each slot, and the shares that come of them.

use super::stand::Stand;
use super::{ROUNDING, seats};
use crate::Relay;

/// Number of times that the range of the least error is halved. A millionth of it is left.
const HALVINGS: usize = 20;

/// Plan to be made, in plain numbers. Instances and slots are known by their positions.
#[derive(Debug)]
pub(super) struct Task {
    /// The read shares. They sum to 1.
    pub(super) read_shares: Vec<f64>,
    /// To which replica each slot belongs.
    pub(super) replicas: Vec<u8>,
    /// The slots in the order in which they are dealt to: by turns from each replica.
    pub(super) deal_order: Vec<usize>,
    /// Share that each instance is due. They sum to 1.
    pub(super) targets: Vec<f64>,
    /// The relays where each instance has a point: at least one, in order, none twice.
    pub(super) offers: Vec<Vec<Relay>>,
    /// Whether two instances have points at one relay.
    pub(super) crowded: bool,
    /// The most points in a slot.
    pub(super) most_points: usize,
    /// A slot with fewer instances is thin. At least 1.
    pub(super) least_instances: usize,
}

impl Task {
    pub(super) fn instances(&self) -> usize {
        self.targets.len()
    }

    pub(super) fn slots(&self) -> usize {
        self.read_shares.len()
    }

    /// Largest number of points of an instance that one slot can hold.
    pub(super) fn most_of(&self, instance: usize) -> usize {
        self.offers[instance].len().min(self.most_points)
    }

    /// No board on which everybody stands is nearer to the targets than this.
    ///
    /// Shares sum to 1. Each is at least the worth of one point in the fullest slot. Each is at
    /// most the worth of all points of the instance beside as many others as a slot must have.
    pub(super) fn least_error(&self) -> f64 {
        let low = self.read_shares.iter().fold(1.0, |least: f64, &share| least.min(share)) / self.most_points as f64;
        let others = self.least_instances.saturating_sub(1);
        let range = |(instance, &target): (usize, &f64)| {
            let points = self.most_of(instance);
            (target, points as f64 / (points + others) as f64)
        };
        let ranges: Vec<_> = self.targets.iter().enumerate().map(range).collect();
        let alone = |least: f64, &(target, high): &(f64, f64)| least.max(low - target).max(target - high);
        let (mut no, mut yes) = (ranges.iter().fold(0.0, alone), 1.0);
        for _ in 0..HALVINGS {
            let error = f64::midpoint(no, yes);
            let least: f64 = ranges.iter().map(|(target, _)| (target - error).max(low)).sum();
            let most: f64 = ranges.iter().map(|(target, high)| (target + error).min(*high)).sum();
            if least <= 1.0 + ROUNDING && most >= 1.0 - ROUNDING {
                yes = error;
            } else {
                no = error;
            }
        }
        no
    }
}

/// Points of an instance that are added to a slot or taken from it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change {
    pub(super) slot: usize,
    pub(super) instance: usize,
    pub(super) by: isize,
}

/// Faults of a board, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) struct Cost {
    /// Instances that stand nowhere.
    pub(super) absent: usize,
    /// Slots with too few instances.
    pub(super) thin: usize,
    /// Σ error⁴: small where the largest error is small, and smooth, so that a step counts which
    /// lessens one of several large errors.
    pub(super) roughness: f64,
}

/// Faults that a board may have and still be good enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goal {
    /// Largest number of instances that stand nowhere.
    pub(super) absent: usize,
    /// Largest number of slots with too few instances.
    pub(super) thin: usize,
    /// Largest distance of a share from its target.
    pub(super) error: f64,
}

/// Numbers of points of each instance in each slot.
#[derive(Clone, Debug)]
pub(super) struct Board<'a> {
    task: &'a Task,
    slots: Vec<Vec<Stand>>,
    sizes: Vec<usize>,
    /// Share − target of each instance.
    errors: Vec<f64>,
    /// In how many slots each instance stands.
    appearances: Vec<usize>,
    cost: Cost,
}

impl<'a> Board<'a> {
    /// Returns the empty board.
    pub(super) fn new(task: &'a Task) -> Self {
        let errors: Vec<_> = task.targets.iter().map(|target| -target).collect();
        Self {
            task,
            slots: vec![Vec::new(); task.slots()],
            sizes: vec![0; task.slots()],
            cost: Cost {
                absent: task.instances(),
                thin: task.slots(),
                roughness: errors.iter().copied().map(fourth_power).sum(),
            },
            errors,
            appearances: vec![0; task.instances()],
        }
    }

    pub(super) fn task(&self) -> &'a Task {
        self.task
    }

    pub(super) fn slot(&self, slot: usize) -> &[Stand] {
        &self.slots[slot]
    }

    pub(super) fn size(&self, slot: usize) -> usize {
        self.sizes[slot]
    }

    /// Number of points of the instance in the slot.
    pub(super) fn points(&self, slot: usize, instance: usize) -> usize {
        let stand = self.slots[slot].iter().find(|stand| stand.instance == instance);
        stand.map_or(0, |stand| stand.points)
    }

    pub(super) fn appearances(&self, instance: usize) -> usize {
        self.appearances[instance]
    }

    pub(super) fn errors(&self) -> &[f64] {
        &self.errors
    }

    pub(super) fn cost(&self) -> Cost {
        self.cost
    }

    /// The largest distance of a share from its target.
    pub(super) fn error(&self) -> f64 {
        self.errors.iter().fold(0.0, |worst, error| error.abs().max(worst))
    }

    pub(super) fn reaches(&self, goal: Goal) -> bool {
        self.cost.absent <= goal.absent && self.cost.thin <= goal.thin && self.error() <= goal.error
    }

    /// Number of points, and the number of slots in which each instance stands, summed up.
    pub(super) fn extent(&self) -> (usize, usize) {
        (self.sizes.iter().sum(), self.appearances.iter().sum())
    }

    /// Whether one more point of the instance has room in the slot, and a relay of its own.
    pub(super) fn has_room(&self, slot: usize, instance: usize) -> bool {
        self.sizes[slot] < self.task.most_points
            && self.points(slot, instance) < self.task.most_of(instance)
            && (!self.task.crowded || self.has_seats(slot, &[Change { slot, instance, by: 1 }]))
    }

    /// Puts one more point of the instance into the slot, which [has room](Self::has_room).
    pub(super) fn add(&mut self, slot: usize, instance: usize) {
        self.apply(&[Change { slot, instance, by: 1 }]);
    }

    /// Returns the cost of the board after these changes; `None` if a rule forbids them.
    ///
    /// Changes of one slot follow each other.
    pub(super) fn cost_after(&self, changes: &[Change], gains: &mut Gains) -> Option<Cost> {
        let mut cost = self.cost;
        gains.clear();
        // The instances that come or go, with the number of slots that they then stand in.
        let mut crossings = [(usize::MAX, 0_usize); 4];
        for changes in changes.chunk_by(|a, b| a.slot == b.slot) {
            let slot = changes[0].slot;
            let stands = &self.slots[slot];
            let before = self.sizes[slot];
            let after = before.checked_add_signed(changes.iter().map(|change| change.by).sum())?;
            if after == 0 || after > self.task.most_points {
                return None;
            }
            let mut instances = stands.len();
            for change in changes {
                let points = self.points(slot, change.instance);
                let then = points.checked_add_signed(change.by)?;
                if then > self.task.most_of(change.instance) {
                    return None;
                }
                let crossing = isize::from(points == 0) - isize::from(then == 0);
                if crossing != 0 {
                    instances = instances.checked_add_signed(crossing)?;
                    let at = crossings
                        .iter()
                        .position(|(known, _)| [usize::MAX, change.instance].contains(known))?;
                    if crossings[at].0 == usize::MAX {
                        crossings[at] = (change.instance, self.appearances[change.instance]);
                    }
                    crossings[at].1 = crossings[at].1.checked_add_signed(crossing)?;
                }
                if points == 0 {
                    gains.add(
                        change.instance,
                        self.task.read_shares[slot] * then as f64 / after as f64,
                    );
                }
            }
            if self.task.crowded && changes.iter().any(|change| change.by > 0) && !self.has_seats(slot, changes) {
                return None;
            }
            let least = self.task.least_instances;
            cost.thin = cost.thin + usize::from(instances < least) - usize::from(stands.len() < least);
            for stand in stands {
                let by = changes.iter().find(|change| change.instance == stand.instance);
                let then = stand.points.checked_add_signed(by.map_or(0, |change| change.by))?;
                let part = |points: usize, of: usize| points as f64 / of as f64;
                let gain = part(then, after) - part(stand.points, before);
                gains.add(stand.instance, self.task.read_shares[slot] * gain);
            }
        }
        for (instance, appearances) in crossings {
            if instance != usize::MAX {
                let absent = usize::from(self.appearances[instance] == 0);
                cost.absent = cost.absent + usize::from(appearances == 0) - absent;
            }
        }
        for &instance in &gains.touched {
            let error = self.errors[instance];
            cost.roughness += fourth_power(error + gains.sums[instance]) - fourth_power(error);
        }
        Some(cost)
    }

    /// Makes the changes, which no rule forbids.
    pub(super) fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            self.shift_errors(change.slot, -1.0);
            let stands = &mut self.slots[change.slot];
            let at = stands.iter().position(|stand| stand.instance == change.instance);
            let before = at.map_or(0, |at| stands[at].points);
            let points = before.saturating_add_signed(change.by);
            match at {
                Some(at) if points == 0 => {
                    stands.swap_remove(at);
                    self.appearances[change.instance] -= 1;
                }
                Some(at) => stands[at].points = points,
                None => {
                    stands.push(Stand {
                        instance: change.instance,
                        points,
                    });
                    self.appearances[change.instance] += 1;
                }
            }
            self.sizes[change.slot] = self.sizes[change.slot] + points - before;
            self.shift_errors(change.slot, 1.0);
        }
        let thin = |stands: &&Vec<Stand>| stands.len() < self.task.least_instances;
        self.cost = Cost {
            absent: self.appearances.iter().filter(|&&slots| slots == 0).count(),
            thin: self.slots.iter().filter(thin).count(),
            roughness: self.errors.iter().copied().map(fourth_power).sum(),
        };
    }

    /// Exchanges places of instances that stand in several slots, all of one replica, with others'
    /// places in another replica, where that changes no share. The loss of a replica's directories
    /// then takes no instance away.
    pub(super) fn straddle(&mut self, free: &[bool]) {
        let mut gains = Gains::new(self.task);
        for instance in 0..self.task.instances() {
            if let Some(changes) = self.exchange(instance, free, &mut gains) {
                self.apply(&changes);
            }
        }
    }

    /// An exchange that brings the instance to another replica, if it needs one and there is one.
    fn exchange(&self, instance: usize, free: &[bool], gains: &mut Gains) -> Option<[Change; 4]> {
        let task = self.task;
        let stands = self.stands_of(instance);
        if !self.is_lopsided(&stands) {
            return None;
        }
        let alike = |a: usize, b: usize| self.sizes[a] == self.sizes[b] && task.read_shares[a] == task.read_shares[b];
        for &here in stands.iter().filter(|&&slot| free[slot]) {
            let elsewhere =
                |&slot: &usize| free[slot] && task.replicas[slot] != task.replicas[here] && alike(slot, here);
            for there in (0..task.slots()).filter(elsewhere) {
                for other in self.slots[there].iter().map(|stand| stand.instance) {
                    let mut then = self.stands_of(other);
                    then.retain(|&slot| slot != there || self.points(there, other) > 1);
                    then.push(here);
                    let by = |slot, instance, by| Change { slot, instance, by };
                    let changes = [
                        by(here, instance, -1),
                        by(here, other, 1),
                        by(there, instance, 1),
                        by(there, other, -1),
                    ];
                    let harmless = |cost: Cost| cost.absent <= self.cost.absent && cost.thin <= self.cost.thin;
                    if !self.is_lopsided(&then) && self.cost_after(&changes, gains).is_some_and(harmless) {
                        return Some(changes);
                    }
                }
            }
        }
        None
    }

    fn stands_of(&self, instance: usize) -> Vec<usize> {
        (0..self.task.slots())
            .filter(|&slot| self.points(slot, instance) > 0)
            .collect()
    }

    /// Whether these are several slots of one replica only.
    fn is_lopsided(&self, slots: &[usize]) -> bool {
        let replica = |slot: usize| self.task.replicas[slot];
        slots.iter().any(|&slot| slot != slots[0]) && slots.iter().all(|&slot| replica(slot) == replica(slots[0]))
    }

    /// Takes what a slot gives to the shares away from them (−1), or adds it (1).
    fn shift_errors(&mut self, slot: usize, sign: f64) {
        for stand in &self.slots[slot] {
            let part = stand.points as f64 / self.sizes[slot] as f64;
            self.errors[stand.instance] += sign * self.task.read_shares[slot] * part;
        }
    }

    /// Whether the points of the slot find a relay each after these changes of it.
    fn has_seats(&self, slot: usize, changes: &[Change]) -> bool {
        let mut stands = self.slots[slot].clone();
        for change in changes {
            match stands.iter_mut().find(|stand| stand.instance == change.instance) {
                Some(stand) => stand.points = stand.points.saturating_add_signed(change.by),
                None => stands.push(Stand {
                    instance: change.instance,
                    points: change.by.unsigned_abs(),
                }),
            }
        }
        seats::assign(&stands, &self.task.offers, |_, _| 0).is_some()
    }
}

/// Growth of the shares of some instances. It is kept, so that looking at a step allocates nothing.
#[derive(Debug)]
pub(super) struct Gains {
    sums: Vec<f64>,
    /// The instances whose sum is not zero, though some may be named twice and have been added up
    /// to zero.
    touched: Vec<usize>,
}

impl Gains {
    pub(super) fn new(task: &Task) -> Self {
        Self {
            sums: vec![0.0; task.instances()],
            touched: Vec::new(),
        }
    }

    fn clear(&mut self) {
        for instance in self.touched.drain(..) {
            self.sums[instance] = 0.0;
        }
    }

    fn add(&mut self, instance: usize, gain: f64) {
        if self.sums[instance] == 0.0 {
            if self.touched.contains(&instance) {
                return self.sums[instance] = gain;
            }
            self.touched.push(instance);
        }
        self.sums[instance] += gain;
    }
}

fn fourth_power(x: f64) -> f64 {
    let square = x * x;
    square * square
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Six slots that are read alike, and instances with three points each.
    fn task(weights: &[u32], least_instances: usize) -> Task {
        let total: u32 = weights.iter().sum();
        let offers = (0..weights.len() as u128).map(|id| (3 * id..3 * id + 3).map(Relay::new).collect());
        Task {
            read_shares: vec![1.0 / 6.0; 6],
            replicas: vec![0, 0, 0, 1, 1, 1],
            deal_order: (0..6).collect(),
            targets: weights
                .iter()
                .map(|&weight| f64::from(weight) / f64::from(total))
                .collect(),
            offers: offers.collect(),
            crowded: false,
            most_points: 10,
            least_instances,
        }
    }

    #[test]
    fn no_plan_beats_the_least_error() {
        let near = |weights: &[u32], least_instances, error: f64| {
            let found = task(weights, least_instances).least_error();
            assert!((found - error).abs() < 1e-5, "{weights:?}: {found}");
        };
        near(&[1; 60], 1, 0.0);
        near(&[2, 1], 1, 0.0);
        // Three points of one instance beside one of the other: three quarters.
        near(&[9, 1], 2, 0.15);
        // An instance that stands has a sixtieth at least.
        near(&[1, 119], 1, 1.0 / 60.0 - 1.0 / 120.0);
    }
}
