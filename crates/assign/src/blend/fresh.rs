//! The best plan that asks for no previous one.

use super::board::{Board, Goal, Task};
use super::exact::{Aim, Budget};
use super::search::Patience;
use super::{EXACT, ROUNDING, Rules, deal, exact, search};

/// Work that the exact search may do, in units of [`Budget`]: about a millisecond.
const BUDGET: usize = 900_000;
/// Work that it may do once more where no plan within the aim was found and one may exist: some
/// milliseconds.
const PERSISTENCE: usize = 10 * BUDGET;
/// Work that it may do to come nearer than the aim.
const REFINING: usize = 200_000;
/// Distance from the least possible error below which no better plan is sought.
const NEARLY: f64 = EXACT / 2.0;

/// The best plan that asks for no previous one.
pub(super) fn fresh<'a>(rules: Rules, task: &'a Task, order: &[usize]) -> Board<'a> {
    let free = vec![true; task.slots()];
    let worth = |board: &Board<'_>| {
        let cost = board.cost();
        let (points, appearances) = board.extent();
        let points = if rules.generous { usize::MAX - points } else { points };
        let error = board.error();
        let counted = if error <= rules.tolerance() + ROUNDING {
            0.0
        } else {
            error
        };
        (cost.absent, cost.thin, counted, usize::MAX - appearances, points, error)
    };
    let first_aim = rules.aim();
    let least = task.least_error();
    // What is nearly as good as any plan is, ends the search, but not where the aim might be
    // reached yet.
    let best_there_is = least + NEARLY;
    let enough = rules.precision().max(EXACT).max(if least <= first_aim {
        best_there_is.min(first_aim)
    } else {
        best_there_is
    });
    let goal = |error: f64| Goal {
        absent: 0,
        thin: 0,
        error: error + ROUNDING,
    };
    let mut best: Option<Board<'a>> = None;
    for board in deal::openings(task, order, rules.precision(), rules.generous) {
        if best.as_ref().is_none_or(|best| worth(&board) < worth(best)) {
            best = Some(board);
        }
        if best.as_ref().is_some_and(|best| best.reaches(goal(enough))) {
            break;
        }
    }
    // There is always an opening: with one cell for each slot or for each instance, whichever is
    // more.
    let mut best = best.unwrap_or_else(|| Board::new(task));
    let mut budget = Budget::new(BUDGET);
    if !best.reaches(goal(enough)) {
        let is_flawless = best.cost().absent == 0 && best.cost().thin == 0;
        let aim = Aim {
            beat: if is_flawless { best.error() } else { f64::INFINITY },
            good: first_aim.max(enough),
            enough,
            refining: REFINING,
        };
        if let Some(board) = exact::fill(&Board::new(task), &free, order, aim, &mut budget) {
            best = board;
        }
    }
    if !best.reaches(goal(first_aim.max(enough))) {
        let mut improved = best.clone();
        search::improve(
            &mut improved,
            &free,
            goal(enough),
            &mut Patience::after(&budget, BUDGET),
        );
        // Its steps make errors smaller on the whole, though not always the largest.
        if worth(&improved) < worth(&best) {
            best = improved;
        }
    }
    if least <= first_aim && budget.was_short() && !best.reaches(goal(first_aim)) {
        let mut more = Budget::new(PERSISTENCE);
        if let Some(board) = exact::fill(&Board::new(task), &free, order, Aim::within(first_aim), &mut more) {
            best = board;
        }
    }
    best.straddle(&free);
    best
}
