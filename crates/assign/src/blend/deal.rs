//! Boards with which the search begins: cells dealt out like cards.
//!
//! A number of cells is divided among the instances in proportion to their targets, then dealt to
//! the emptiest slots, all cells of one instance after each other. So an instance stands in as many
//! slots as it has cells, on both replicas if it has two, and slots differ in size by one at most.
//! What is left to chance is the order of the instances.

use super::board::{Board, Task};

/// Number of boards that are dealt out to begin with.
const DEALT: usize = 6;

/// A way to begin: numbers of whole slots and of cells for each instance.
struct Hand {
    whole: Vec<usize>,
    cells: Vec<usize>,
    /// Largest distance of a share from its target, roughly.
    error: f64,
    /// Numbers of slots in which the instances stand, summed up.
    appearances: usize,
    total: usize,
}

/// The most promising boards to begin with. An error up to `precision` counts as none.
pub(super) fn openings<'a>(task: &'a Task, order: &[usize], precision: f64, generous: bool) -> Vec<Board<'a>> {
    let none = vec![0; task.instances()];
    let mut hands = hands(task, none);
    if task.least_instances <= 1 {
        let slots = task.slots() as f64;
        // Rounding errors must not turn three whole slots into two.
        let whole = task.targets.iter().map(|target| (target * slots + 1e-9) as usize);
        let whole: Vec<_> = whole.collect();
        if whole.iter().any(|&slots| slots > 0) {
            hands.extend(self::hands(task, whole));
        }
    }
    hands.sort_by(|a, b| {
        let error = |hand: &Hand| hand.error.max(precision);
        let total = if generous {
            b.total.cmp(&a.total)
        } else {
            a.total.cmp(&b.total)
        };
        error(a)
            .total_cmp(&error(b))
            .then(b.appearances.cmp(&a.appearances))
            .then(total)
            .then(a.error.total_cmp(&b.error))
    });
    hands.truncate(DEALT);
    hands.iter().map(|hand| deal(task, hand, order)).collect()
}

/// All numbers of cells that there may be beside the whole slots.
fn hands(task: &Task, whole: Vec<usize>) -> Vec<Hand> {
    let slots = task.slots();
    let taken: usize = whole.iter().sum();
    let left = slots - taken;
    let parts = |taken: usize| taken as f64 / slots as f64;
    let targets: Vec<_> = task
        .targets
        .iter()
        .zip(&whole)
        .map(|(target, &whole)| (target - parts(whole)).max(0.0))
        .collect();
    let least: Vec<_> = whole.iter().map(|&whole| usize::from(whole == 0)).collect();
    let most: Vec<_> = (0..task.instances())
        .map(|instance| left * task.most_of(instance))
        .collect();
    let hand = |total: usize| {
        let cells = apportion(&targets, &least, &most, total)?;
        let error = (0..task.instances()).fold(0.0_f64, |worst, instance| {
            let share = parts(whole[instance]) + parts(left) * cells[instance] as f64 / total.max(1) as f64;
            worst.max((share - task.targets[instance]).abs())
        });
        Some(Hand {
            error: (error * 1e9).round() / 1e9,
            appearances: cells.iter().map(|&cells| cells.min(left)).sum::<usize>() + taken,
            total: total + taken,
            whole: whole.clone(),
            cells,
        })
    };
    (left..=left * task.most_points).filter_map(hand).collect()
}

/// `total` cells in proportion to the targets, at least and at most so many for each: the largest
/// remainders are rounded up.
///
/// `None` if the limits forbid that total.
fn apportion(targets: &[f64], least: &[usize], most: &[usize], total: usize) -> Option<Vec<usize>> {
    if least.iter().sum::<usize>() > total || most.iter().sum::<usize>() < total {
        return None;
    }
    let sum: f64 = targets.iter().sum();
    let scale = if sum > 0.0 { total as f64 / sum } else { 0.0 };
    let mut cells: Vec<_> = (0..targets.len())
        .map(|i| ((targets[i] * scale + 1e-9) as usize).min(most[i]).max(least[i]))
        .collect();
    let mut dealt: usize = cells.iter().sum();
    let mut by_lack: Vec<_> = (0..targets.len()).collect();
    while dealt != total {
        let lack = |i: usize| targets[i] * scale - cells[i] as f64;
        by_lack.sort_by(|&a, &b| lack(b).total_cmp(&lack(a)));
        if dealt < total {
            for &i in by_lack
                .iter()
                .filter(|&&i| cells[i] < most[i])
                .take(total - dealt)
                .collect::<Vec<_>>()
            {
                cells[i] += 1;
                dealt += 1;
            }
        } else {
            let rich = by_lack.iter().rev().filter(|&&i| cells[i] > least[i]);
            for &i in rich.take(dealt - total).collect::<Vec<_>>() {
                cells[i] -= 1;
                dealt -= 1;
            }
        }
    }
    Some(cells)
}

fn deal<'a>(task: &'a Task, hand: &Hand, order: &[usize]) -> Board<'a> {
    let mut board = Board::new(task);
    let mut slots = task.deal_order.iter().copied();
    for &instance in order {
        for slot in slots.by_ref().take(hand.whole[instance]) {
            board.add(slot, instance);
        }
    }
    let open: Vec<_> = slots.collect();
    let mut met = vec![0_u32; task.instances() * task.instances()];
    for &instance in order {
        for _ in 0..hand.cells[instance] {
            let Some(slot) = seat_of(&board, &open, instance, &met) else {
                break;
            };
            for other in board.slot(slot).iter().map(|stand| stand.instance) {
                met[instance * task.instances() + other] += 1;
                met[other * task.instances() + instance] += 1;
            }
            board.add(slot, instance);
        }
    }
    // Where relays are few, cells found no room, and slots may have got none. Anyone has room in an
    // empty slot.
    for slot in 0..task.slots() {
        if board.size(slot) == 0 {
            board.add(slot, order[slot % order.len()]);
        }
    }
    board
}

/// Returns the best of the `open` slots for one more cell of an instance.
///
/// That is one in which it has the fewest cells. Of these, it is one in a replica where it has
/// none; then the emptiest; then one in which it meets those that it met least. If always the same
/// instances met, one death would hit them all.
fn seat_of(board: &Board<'_>, open: &[usize], instance: usize, met: &[u32]) -> Option<usize> {
    let task = board.task();
    let in_replica = |replica: u8| {
        let slots = open.iter().filter(|&&slot| task.replicas[slot] == replica);
        slots.map(|&slot| board.points(slot, instance)).sum::<usize>()
    };
    open.iter()
        .copied()
        .filter(|&slot| board.has_room(slot, instance))
        .min_by_key(|&slot| {
            let meetings: u32 = board
                .slot(slot)
                .iter()
                .map(|stand| met[instance * task.instances() + stand.instance])
                .sum();
            let twice_in_replica = board.appearances(instance) == 1 && in_replica(task.replicas[slot]) > 0;
            (
                board.points(slot, instance),
                twice_in_replica,
                board.size(slot),
                meetings,
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_follow_the_targets_within_the_limits() {
        let free = |n: usize| (vec![0; n], vec![99; n]);
        let (least, most) = free(3);
        assert_eq!(apportion(&[0.5, 0.3, 0.2], &least, &most, 10), Some(vec![5, 3, 2]));
        assert_eq!(apportion(&[0.5, 0.3, 0.2], &least, &most, 6), Some(vec![3, 2, 1]));
        assert_eq!(apportion(&[0.9, 0.05, 0.05], &[1; 3], &most, 10), Some(vec![8, 1, 1]));
        assert_eq!(apportion(&[0.9, 0.05, 0.05], &[1; 3], &[3; 3], 7), Some(vec![3, 2, 2]));
        assert_eq!(apportion(&[0.9, 0.1], &[1; 2], &[3; 2], 7), None);
        assert_eq!(apportion(&[0.9, 0.1], &[1; 2], &[3; 2], 1), None);
        assert_eq!(apportion(&[0.0, 0.0], &[0; 2], &[3; 2], 3), Some(vec![2, 1]));
    }
}
