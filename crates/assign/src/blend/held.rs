//! The slots as they are, and their repair with as few changes as possible.

use std::collections::BTreeMap;

use super::board::{Board, Goal, Task};
use super::cast::Cast;
use super::exact::{self, Aim, Budget};
use super::fresh::fresh;
use super::search::{self, Patience};
use super::stand::Stand;
use super::{EXACT, ROUNDING, Rules};
use crate::question::Question;
use crate::{Mix, Plan, Relay};

/// Work that the exact search may do for a repair, in units of [`Budget`]: about half a
/// millisecond.
const BUDGET: usize = 450_000;
/// Number of unbroken slots up to which every selection of slots to write anew is tried.
const SELECTED: usize = 8;

/// Contents of the slots, as far as their points are still there.
pub(super) struct Held {
    /// For each slot the instance that stands in it at each relay.
    pub(super) seats: Vec<BTreeMap<Relay, usize>>,
    /// For each slot the points of each instance that stay if nothing else changes.
    stands: Vec<Vec<Stand>>,
    /// The slots that must be written: points are gone, or it is new.
    broken: Vec<bool>,
}

impl Held {
    pub(super) fn new<I: Ord, S: Ord>(
        task: &Task,
        cast: &Cast,
        question: &Question<'_, I, S>,
        previous: Option<&Plan<I, S>>,
    ) -> Self {
        let mut held = Self {
            seats: Vec::new(),
            stands: Vec::new(),
            broken: Vec::new(),
        };
        for slot in &question.slots {
            let mix = previous.and_then(|plan| plan.slot(slot.id()));
            let mut seats = BTreeMap::new();
            let mut points: BTreeMap<usize, usize> = BTreeMap::new();
            for (relay, id) in mix.into_iter().flat_map(Mix::points) {
                let Some(instance) = question.position(id).and_then(|instance| cast.place(instance)) else {
                    continue;
                };
                *points.entry(instance).or_default() += 1;
                if task.offers[instance].binary_search(&relay).is_ok() {
                    seats.insert(relay, instance);
                }
            }
            // Alone in a slot, an instance has all its points there.
            let lonely = points.len() == 1
                && points
                    .iter()
                    .all(|(&instance, &points)| points < task.most_of(instance));
            let whole = mix.is_some_and(|mix| mix.len() == seats.len() && (1..=task.most_points).contains(&mix.len()));
            held.broken.push(!whole || lonely);
            held.seats.push(seats);
            let stand = |(instance, points): (usize, usize)| Stand { instance, points };
            held.stands.push(points.into_iter().map(stand).collect());
        }
        held
    }

    /// Returns the contents of the slots, without those that are to be written anew.
    fn board<'a>(&self, task: &'a Task, free: &[bool]) -> Board<'a> {
        let mut board = Board::new(task);
        for (slot, stands) in self.stands.iter().enumerate().filter(|(slot, _)| !free[*slot]) {
            for stand in stands {
                for _ in 0..stand.points {
                    if board.has_room(slot, stand.instance) {
                        board.add(slot, stand.instance);
                    }
                }
            }
        }
        board
    }

    /// The board that comes of changing as few slots as reach what a fresh board does, and which
    /// they are.
    pub(super) fn repaired<'a>(&self, task: &'a Task, rules: Rules, order: &[usize]) -> (Board<'a>, Vec<bool>) {
        let all = vec![true; task.slots()];
        if !self.broken.contains(&false) {
            return (fresh(rules, task, order), all);
        }
        let held = self.board(task, &vec![false; task.slots()]);
        let near = Goal {
            absent: 0,
            thin: 0,
            error: rules.tolerance() + ROUNDING,
        };
        if held.reaches(near) {
            return (held, self.broken.clone());
        }
        let fresh = fresh(rules, task, order);
        // An instance that comes takes nothing away from the others, so the slots may be written
        // for the nearest plan.
        let comes = held.cost().absent > fresh.cost().absent;
        let tolerance = if comes { EXACT } else { rules.tolerance() };
        let goal = Goal {
            absent: fresh.cost().absent,
            thin: fresh.cost().thin,
            error: fresh.error().max(tolerance) + ROUNDING,
        };
        if held.reaches(goal) {
            return (held, self.broken.clone());
        }
        let mut budget = Budget::new(BUDGET);
        self.repaired_exactly(task, order, goal, &mut budget)
            .or_else(|| self.repaired_by_steps(task, held, goal, &mut Patience::after(&budget, BUDGET)))
            .unwrap_or((fresh, all))
    }

    /// The board that comes of changing as few slots as can be.
    fn repaired_exactly<'a>(
        &self,
        task: &'a Task,
        order: &[usize],
        goal: Goal,
        budget: &mut Budget,
    ) -> Option<(Board<'a>, Vec<bool>)> {
        let kept: Vec<_> = (0..task.slots()).filter(|&slot| !self.broken[slot]).collect();
        if kept.len() > SELECTED || goal.absent > 0 || goal.thin > 0 {
            return None;
        }
        let mut selections: Vec<u32> = (0..1 << kept.len()).collect();
        selections.sort_by_key(|selection| selection.count_ones());
        let aim = Aim::within(goal.error - ROUNDING);
        for selection in selections {
            let mut free = self.broken.clone();
            for (at, &slot) in kept.iter().enumerate() {
                free[slot] |= selection >> at & 1 == 1;
            }
            let board = self.board(task, &free);
            if let Some(mut board) = exact::fill(&board, &free, order, aim, budget) {
                board.straddle(&free);
                return Some((board, free));
            }
        }
        None
    }

    /// The board that comes of small steps in the slots that must be written, and in one more after
    /// the other.
    fn repaired_by_steps<'a>(
        &self,
        task: &'a Task,
        held: Board<'a>,
        goal: Goal,
        patience: &mut Patience,
    ) -> Option<(Board<'a>, Vec<bool>)> {
        let mut board = held;
        let mut free = self.broken.clone();
        search::improve(&mut board, &free, goal, patience);
        while !board.reaches(goal) && free.contains(&false) && !patience.is_over() {
            let mut best: Option<(Board<'a>, usize)> = None;
            for slot in (0..task.slots()).filter(|&slot| !free[slot]) {
                let mut also = free.clone();
                also[slot] = true;
                let mut then = board.clone();
                search::improve(&mut then, &also, goal, patience);
                if best.as_ref().is_none_or(|(best, _)| then.cost() < best.cost()) {
                    best = Some((then, slot));
                }
            }
            let (then, slot) = best?;
            board = then;
            free[slot] = true;
        }
        board.reaches(goal).then_some((board, free))
    }
}
