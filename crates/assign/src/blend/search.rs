//! Local search: from a board that is nearly right to one that no small step makes better.

use super::board::{Board, Change, Cost, Gains, Goal};
use super::exact::Budget;

/// Number of steps that may be looked at after the exact search: about a tenth of a millisecond.
const PATIENCE: usize = 600;
/// Number of steps where there is no exact search: slots may be too many for it, or relays too few.
const MORE_PATIENCE: usize = 6_000;

/// Largest number of open steps of which pairs are looked at too.
const FEW: usize = 200;

/// Number of steps that may still be looked at. It bounds the time that a plan takes, and does not
/// depend on the speed of the machine.
#[derive(Debug)]
pub(super) struct Patience(usize);

impl Patience {
    /// Returns the patience after an exact search that had this budget: its work is not done twice.
    pub(super) fn after(budget: &Budget, begun: usize) -> Self {
        Self(if budget.left() == begun {
            MORE_PATIENCE
        } else {
            PATIENCE
        })
    }

    pub(super) fn is_over(&self) -> bool {
        self.0 == 0
    }

    /// Uses some up, if there is any left.
    fn allows_one_more(&mut self) -> bool {
        self.0 = self.0.saturating_sub(1);
        !self.is_over()
    }
}

/// Improves the slots that are `free` until the board reaches the goal, no step helps, or patience
/// is over.
pub(super) fn improve(board: &mut Board<'_>, free: &[bool], goal: Goal, patience: &mut Patience) {
    let mut gains = Gains::new(board.task());
    while !patience.is_over() && !board.reaches(goal) {
        if !best_step(board, free, patience, &mut gains) && !best_pair(board, free, patience, &mut gains) {
            return;
        }
    }
}

/// Takes the best step there is for the instance that is served worst, or else for the next.
fn best_step(board: &mut Board<'_>, free: &[bool], patience: &mut Patience, gains: &mut Gains) -> bool {
    for concern in concerns(board, free) {
        let mut best: Option<(Cost, Step)> = None;
        for step in steps(board, free, concern) {
            if !patience.allows_one_more() {
                break;
            }
            if let Some(cost) = board.cost_after(step.changes(), gains)
                && is_less(cost, best.as_ref().map_or(board.cost(), |(cost, _)| *cost))
            {
                best = Some((cost, step));
            }
        }
        if let Some((_, step)) = best {
            board.apply(step.changes());
            return true;
        }
    }
    false
}

/// Takes two steps that only together make the board better.
fn best_pair(board: &mut Board<'_>, free: &[bool], patience: &mut Patience, gains: &mut Gains) -> bool {
    for concern in concerns(board, free).into_iter().take(2) {
        let first_steps = steps(board, free, concern);
        if first_steps.len() > FEW {
            return false;
        }
        for first in first_steps {
            if !patience.allows_one_more() {
                return false;
            }
            if board.cost_after(first.changes(), gains).is_none() {
                continue;
            }
            let mut then = board.clone();
            then.apply(first.changes());
            let Some(&next) = concerns(&then, free).first() else {
                continue;
            };
            for second in steps(&then, free, next) {
                if !patience.allows_one_more() {
                    return false;
                }
                let cost = then.cost_after(second.changes(), gains);
                if cost.is_some_and(|cost| is_less(cost, board.cost())) {
                    then.apply(second.changes());
                    *board = then;
                    return true;
                }
            }
        }
    }
    false
}

/// Fault of a board.
#[derive(Clone, Copy)]
enum Concern {
    /// An instance stands nowhere.
    Absent(usize),
    /// A slot has too few instances.
    Thin(usize),
    /// An instance has too large a share.
    Above(usize),
    /// An instance has too small a share.
    Below(usize),
}

/// Lists the faults of a board, the worst first.
fn concerns(board: &Board<'_>, free: &[bool]) -> Vec<Concern> {
    let task = board.task();
    let mut concerns = Vec::new();
    if board.cost().absent > 0 {
        let absent = (0..task.instances()).filter(|&instance| board.appearances(instance) == 0);
        concerns.extend(absent.map(Concern::Absent));
    }
    if board.cost().thin > 0 {
        let thin = (0..task.slots()).filter(|&slot| free[slot] && board.slot(slot).len() < task.least_instances);
        concerns.extend(thin.map(Concern::Thin));
    }
    let mut by_error: Vec<_> = board.errors().iter().copied().enumerate().collect();
    by_error.sort_by(|(_, a), (_, b)| b.abs().total_cmp(&a.abs()));
    by_error.retain(|(_, error)| error.abs() > f64::EPSILON);
    concerns.extend(by_error.into_iter().map(|(instance, error)| {
        if error > 0.0 {
            Concern::Above(instance)
        } else {
            Concern::Below(instance)
        }
    }));
    concerns
}

/// The steps that could help, whether rules allow them or not.
fn steps(board: &Board<'_>, free: &[bool], concern: Concern) -> Vec<Step> {
    let task = board.task();
    let slots = || (0..task.slots()).filter(|&slot| free[slot]);
    let mut steps = Vec::new();
    match concern {
        Concern::Absent(instance) => {
            for slot in slots() {
                enter(board, slot, instance, &mut steps);
            }
        }
        Concern::Thin(slot) => {
            for instance in (0..task.instances()).filter(|&instance| board.points(slot, instance) == 0) {
                enter(board, slot, instance, &mut steps);
            }
        }
        Concern::Above(instance) => {
            for slot in slots().filter(|&slot| board.points(slot, instance) > 0) {
                steps.push(Step::new([less(slot, instance)]));
                for other in others(board, instance) {
                    steps.push(Step::new([more(slot, other)]));
                    steps.push(Step::new([less(slot, instance), more(slot, other)]));
                }
                for elsewhere in slots().filter(|&elsewhere| elsewhere != slot) {
                    walk(board, instance, slot, elsewhere, &mut steps);
                }
            }
        }
        Concern::Below(instance) => {
            for slot in slots() {
                let stands = board.points(slot, instance) > 0;
                steps.push(Step::new([more(slot, instance)]));
                for other in board.slot(slot).iter().map(|stand| stand.instance) {
                    if other == instance {
                        continue;
                    }
                    steps.push(Step::new([less(slot, other), more(slot, instance)]));
                    if stands {
                        steps.push(Step::new([less(slot, other)]));
                        for elsewhere in slots().filter(|&elsewhere| elsewhere != slot) {
                            steps.push(Step::new([less(slot, other), more(elsewhere, other)]));
                        }
                    }
                }
                for elsewhere in slots().filter(|&elsewhere| stands && elsewhere != slot) {
                    walk(board, instance, slot, elsewhere, &mut steps);
                }
            }
        }
    }
    steps
}

/// The steps by which an instance comes to stand in a slot.
fn enter(board: &Board<'_>, slot: usize, instance: usize, steps: &mut Vec<Step>) {
    steps.push(Step::new([more(slot, instance)]));
    for stand in board.slot(slot).iter().filter(|stand| stand.instance != instance) {
        steps.push(Step::new([less(slot, stand.instance), more(slot, instance)]));
    }
}

/// The steps by which a point of an instance goes from one slot to another, alone or in exchange.
fn walk(board: &Board<'_>, instance: usize, from: usize, to: usize, steps: &mut Vec<Step>) {
    steps.push(Step::new([less(from, instance), more(to, instance)]));
    for stand in board.slot(to).iter().filter(|stand| stand.instance != instance) {
        let other = stand.instance;
        steps.push(Step::new([
            less(from, instance),
            more(from, other),
            more(to, instance),
            less(to, other),
        ]));
    }
}

fn others(board: &Board<'_>, instance: usize) -> impl Iterator<Item = usize> {
    (0..board.task().instances()).filter(move |&other| other != instance)
}

fn more(slot: usize, instance: usize) -> Change {
    Change { slot, instance, by: 1 }
}

fn less(slot: usize, instance: usize) -> Change {
    Change { slot, instance, by: -1 }
}

/// Up to four changes that are made together. Those of one slot follow each other.
#[derive(Clone, Copy)]
struct Step {
    changes: [Change; 4],
    count: usize,
}

impl Step {
    fn new<const N: usize>(changes: [Change; N]) -> Self {
        let mut step = Self {
            changes: [Change::default(); 4],
            count: N,
        };
        step.changes[..N].copy_from_slice(&changes);
        step
    }

    fn changes(&self) -> &[Change] {
        &self.changes[..self.count]
    }
}

/// Whether the cost is less by more than rounding.
fn is_less(cost: Cost, than: Cost) -> bool {
    (cost.absent, cost.thin) < (than.absent, than.thin)
        || (cost.absent, cost.thin) == (than.absent, than.thin) && cost.roughness < than.roughness * (1.0 - 1e-9)
}
