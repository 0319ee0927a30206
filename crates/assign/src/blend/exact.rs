//! The exact search: a plan with given numbers of points in the slots whose shares come near enough
//! to their targets, if there is one.
//!
//! Slots that are read alike and hold equally many points are alike: a *group*. An instance's share
//! depends on its number of points in each group alone. A point is worth the read share of a slot
//! divided by the number of points in it. So of all numbers of points that an instance could have,
//! few bring it near its target.
//!
//! One choice for each instance is sought, such that every group is full. A dynamic programme over
//! the instances finds it if there is one. Its state is the number of points taken of each group.
//! One bit tells whether a state can be reached, so that many states go into a word. Points are
//! then dealt to the slots of their group like cards. That gives every slot its number, and no
//! instance two points more in one slot than in another.
//!
//! A layout says how many points each slot holds. Layouts with few groups come first, and of these
//! those with many points: they are the cheapest to look at, and offer the finest steps. The budget
//! ends the search, which finds the best of the boards that it has seen until then.

use std::cell::OnceCell;
use std::cmp::Reverse;

pub(super) use self::budget::Budget;
use self::places::{Places, Word};
use super::ROUNDING;
use super::board::{Board, Task};
use super::cast::by_turns;

mod budget;
mod places;

/// Largest number of groups: in v2, all six slots may differ.
const GROUPS: usize = 6;
/// Difference of errors below which no further search is needed.
const GAP: f64 = 1.0 / 1000.0;
/// Part of the budget, as its divisor, that is kept for the case that nothing good is found.
const RESERVE: usize = 3;
/// Cost, in units of the budget, of looking at some numbers of points.
const LOOK: usize = 12;
/// Cost, in units of the budget, of noting some numbers of points.
const NOTE: usize = 4;
/// Cost, in units of the budget, of making up a layout.
const LAY_OUT: usize = 60;
/// Largest number of layouts of one number of groups: enough for the six slots of v2 in any groups.
const LAYOUTS: usize = 2_500;

/// Distances from the targets that a plan aims at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aim {
    /// Distance from which on a plan is of no use.
    pub(super) beat: f64,
    /// Distance that is sought first.
    pub(super) good: f64,
    /// Distance that ends the search.
    pub(super) enough: f64,
    /// Budget for coming nearer than `good`.
    pub(super) refining: usize,
}

impl Aim {
    /// Any board with this error or less; nothing else is of use.
    pub(super) const fn within(error: f64) -> Self {
        Self {
            beat: error + 2.0 * ROUNDING,
            good: error,
            enough: error,
            refining: 0,
        }
    }
}

/// Fills the slots that are `free`, which are empty on this board.
///
/// Shares come as near to their targets as the aim demands, or as the budget allows. Returns `None`
/// if nothing was found that is of use.
pub(super) fn fill<'a>(
    kept: &Board<'a>,
    free: &[bool],
    order: &[usize],
    aim: Aim,
    budget: &mut Budget,
) -> Option<Board<'a>> {
    let table = Table::new(kept, free, order)?;
    let mut search = Search {
        table,
        aim,
        beat: aim.beat.min(1.0),
        best: None,
        refuted: [0.0; GROUPS],
    };
    // First what is good, wherever it is; if that is nowhere to be found, what is less bad.
    let reserve = budget.left / RESERVE;
    budget.left -= reserve;
    for groups in 1..=GROUPS {
        search.look(groups, groups == 1, budget);
    }
    budget.left += reserve;
    for groups in 2..=GROUPS {
        search.look(groups, true, budget);
    }
    search.best
}

/// A search in progress: the best board so far, and the aim.
struct Search<'b, 'a> {
    table: Table<'b, 'a>,
    aim: Aim,
    /// Distance from which on a board is of no use.
    beat: f64,
    best: Option<Board<'a>>,
    /// No board of one group, of two, and so on, is so near.
    refuted: [f64; GROUPS],
}

impl Search<'_, '_> {
    /// Looks for a better board among those of so many groups; if `humble`, also for one that is
    /// better without being good.
    fn look(&mut self, groups: usize, humble: bool, budget: &mut Budget) {
        let Aim {
            good, enough, refining, ..
        } = self.aim;
        while self.beat > enough + ROUNDING && !budget.is_spent() {
            let refuted = self.refuted[groups - 1];
            if self.beat - refuted < GAP {
                return;
            }
            let is_good = self.beat <= good + ROUNDING;
            let within = if is_good && refuted == 0.0 {
                enough
            } else if !is_good && refuted < good {
                good
            } else if is_good || humble {
                f64::midpoint(refuted, self.beat)
            } else {
                return;
            };
            match self.table.any(groups, within, budget) {
                Some(board) if board.error() < self.beat => {
                    if !is_good && board.error() <= good + ROUNDING {
                        budget.limit(refining);
                    }
                    self.beat = board.error();
                    self.best = Some(board);
                }
                _ => self.refuted[groups - 1] = refuted.max(within),
            }
        }
    }
}

/// Slots that are read alike and are to hold equally many points.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    /// Position of its class among those of slots that are read alike.
    class: usize,
    slots: usize,
    /// Number of points in each slot.
    size: usize,
    /// Share that one point gives.
    worth: f64,
}

impl Group {
    fn total(&self) -> usize {
        self.slots * self.size
    }
}

/// Groups of slots: the last is the largest; unused ones come first and have no slots.
type Layout = [Group; GROUPS];

/// Number of points that an instance has in each group.
type Counts = [usize; GROUPS];

/// The slots to be filled, and the board that they belong to.
struct Table<'b, 'a> {
    kept: &'b Board<'a>,
    task: &'a Task,
    order: &'b [usize],
    /// The free slots by what they are read, each class in the order in which slots are dealt to.
    classes: Vec<(f64, Vec<usize>)>,
    /// The fewest and the most points in a slot.
    sizes: (usize, usize),
    /// Number of instances that stand in no slot that is kept; each needs a point.
    absent: usize,
    /// All layouts of one group, of two, and so on, as soon as they were asked for.
    layouts: [OnceCell<Vec<Layout>>; GROUPS],
}

impl<'b, 'a> Table<'b, 'a> {
    /// `None` if too many slots are read differently.
    fn new(kept: &'b Board<'a>, free: &[bool], order: &'b [usize]) -> Option<Self> {
        let task = kept.task();
        let mut classes: Vec<(f64, Vec<usize>)> = Vec::new();
        let slots: Vec<_> = (0..task.slots()).filter(|&slot| free[slot]).collect();
        for turn in by_turns(slots.iter().map(|&slot| task.replicas[slot])) {
            let slot = slots[turn];
            let share = task.read_shares[slot];
            match classes.iter_mut().find(|(known, _)| (*known - share).abs() < ROUNDING) {
                Some((_, slots)) => slots.push(slot),
                None => classes.push((share, vec![slot])),
            }
        }
        if classes.is_empty() || classes.len() > GROUPS {
            return None;
        }
        let offered: usize = (0..task.instances()).map(|instance| task.most_of(instance)).sum();
        let (least, most) = (task.least_instances, task.most_points.min(offered));
        (least <= most).then(|| Self {
            kept,
            task,
            order,
            classes,
            sizes: (least, most),
            absent: (0..task.instances())
                .filter(|&instance| kept.appearances(instance) == 0)
                .count(),
            layouts: [const { OnceCell::new() }; GROUPS],
        })
    }

    /// Some board of so many groups that comes so near. `None` if there is none, or the budget is
    /// spent.
    fn any(&self, groups: usize, within: f64, budget: &mut Budget) -> Option<Board<'a>> {
        let layouts = self.layouts[groups - 1].get_or_init(|| {
            let layouts = self.layouts(groups);
            budget.spend(layouts.len() * LAY_OUT);
            layouts
        });
        for layout in layouts {
            budget.spend(LOOK);
            if budget.is_spent() {
                return None;
            }
            if let Some(counts) = self.counts(layout, within, budget)
                && let Some(board) = self.deal(layout, &counts)
            {
                return Some(board);
            }
        }
        None
    }

    /// All layouts of so many groups, those with the most points first: the more points, the finer
    /// the steps.
    fn layouts(&self, groups: usize) -> Vec<Layout> {
        let mut layouts = Vec::new();
        self.extend(0, groups, &mut Vec::new(), &mut layouts);
        let points = |layout: &Layout| -> usize { layout.iter().map(Group::total).sum() };
        layouts.retain(|layout| points(layout) >= self.absent);
        layouts.sort_by_cached_key(|layout| Reverse(points(layout)));
        layouts
    }

    /// Adds to the layouts those that begin with these groups and have so `many` more, the largest
    /// slots first, until there are enough.
    fn extend(&self, class: usize, many: usize, begun: &mut Vec<Group>, layouts: &mut Vec<Layout>) {
        if layouts.len() >= LAYOUTS {
            return;
        }
        let Some((share, slots)) = self.classes.get(class) else {
            if many == 0 {
                let mut layout = Layout::default();
                layout[..begun.len()].copy_from_slice(begun);
                layout.sort_by_key(Group::total);
                layouts.push(layout);
            }
            return;
        };
        let mine = || begun.iter().filter(|group| group.class == class);
        let left = slots.len() - mine().map(|group| group.slots).sum::<usize>();
        if left == 0 {
            return self.extend(class + 1, many, begun, layouts);
        }
        // Each group of a class is smaller in size than the one before, so none comes twice.
        let below = mine().next_back().map_or(self.sizes.1 + 1, |group| group.size);
        let later = self.classes.len() - class - 1;
        if many <= later {
            return;
        }
        let dealt: usize = begun.iter().map(Group::total).sum();
        let others: usize = self.classes[class + 1..].iter().map(|(_, slots)| slots.len()).sum();
        for size in (self.sizes.0..below).rev() {
            if dealt + left * size + others * self.sizes.1 < self.absent {
                return;
            }
            let only = many - later == 1;
            for count in if only { left..=left } else { 1..=left } {
                begun.push(Group {
                    class,
                    slots: count,
                    size,
                    worth: share / size as f64,
                });
                self.extend(class, many - 1, begun, layouts);
                begun.pop();
            }
        }
    }

    /// Returns for every instance its number of points in each group, such that all groups are full
    /// and no share is further from its target than `within`.
    fn counts(&self, layout: &Layout, within: f64, budget: &mut Budget) -> Option<Vec<Counts>> {
        let places = Places::new(layout, self.task.most_points)?;
        // Unused groups come first.
        let first = layout.iter().position(|group| group.slots > 0)?;
        let mut choices = Vec::new();
        // Where the choices of each instance end.
        let mut ends = Vec::with_capacity(self.order.len());
        for &instance in self.order {
            let begin = choices.len();
            let mut hand = Hand::new(self, layout, instance, within);
            hand.play(first, 0.0, &mut choices);
            budget.spend(hand.looked * LOOK + (choices.len() - begin) * NOTE);
            if choices.len() == begin || budget.is_spent() {
                return None;
            }
            ends.push(choices.len());
        }
        if !budget.allows(choices.len() * places.words) {
            return None;
        }

        // For the first so many instances which states can be reached.
        let mut reached = vec![Word::default(); places.words * (self.order.len() + 1)];
        reached[0] = 1;
        let mut begin = 0;
        for (row, &end) in ends.iter().enumerate() {
            let (from, to) = reached[row * places.words..].split_at_mut(places.words);
            for choice in &choices[begin..end] {
                places.step(choice.counts, from, to);
            }
            begin = end;
        }
        let mut state = layout.each_ref().map(Group::total);
        if !places.is_set(&reached, ends.len(), state) {
            return None;
        }
        let mut chosen = vec![Counts::default(); self.task.instances()];
        for row in (0..ends.len()).rev() {
            let begin = row.checked_sub(1).map_or(0, |before| ends[before]);
            let way = |choice: &Choice| {
                let mut before = state;
                for (before, count) in before.iter_mut().zip(choice.counts) {
                    *before = before.checked_sub(count)?;
                }
                places
                    .is_set(&reached, row, before)
                    .then_some((choice.error, choice.counts, before))
            };
            let ways = choices[begin..ends[row]].iter().filter_map(way);
            let (_, counts, before) = ways.min_by(|(a, ..), (b, ..)| a.total_cmp(b))?;
            chosen[self.order[row]] = counts;
            state = before;
        }
        Some(chosen)
    }

    /// Largest number of points of an instance in a slot of this size. A slot that one instance has
    /// alone counts as one of size one.
    fn most_of(&self, instance: usize, size: usize) -> usize {
        match size {
            0 | 1 => size,
            _ => (size + 1 - self.task.least_instances.max(2)).min(self.task.most_of(instance)),
        }
    }

    /// Gives every slot its points. `None` if too many of them are at the same relays.
    fn deal(&self, layout: &Layout, counts: &[Counts]) -> Option<Board<'a>> {
        let mut board = self.kept.clone();
        let mut met = vec![0_u32; self.task.instances() * self.task.instances()];
        let mut left: Vec<_> = self.classes.iter().map(|(_, slots)| &slots[..]).collect();
        for (at, group) in layout.iter().enumerate().rev().filter(|(_, group)| group.slots > 0) {
            let (slots, rest) = left[group.class].split_at(group.slots);
            left[group.class] = rest;
            for &instance in self.order {
                for _ in 0..counts[instance][at] {
                    let slot = self.seat(&board, slots, group.size, instance, &met)?;
                    for other in board.slot(slot).iter().map(|stand| stand.instance) {
                        met[instance * self.task.instances() + other] += 1;
                        met[other * self.task.instances() + instance] += 1;
                    }
                    board.add(slot, instance);
                }
            }
        }
        let cost = board.cost();
        (cost.absent == 0 && cost.thin == 0).then_some(board)
    }

    /// Returns the slot for one more point of an instance.
    ///
    /// It is always one of the emptiest, so that no instance comes round twice before the others
    /// did. Of these, it is one in which the instance has the fewest points, and then one in the
    /// replica in which it has the fewest. What is still open goes to the emptier replica, and then
    /// to a slot in which the instance meets those that it met least. If always the same instances
    /// met, one death would hit them all.
    fn seat(&self, board: &Board<'_>, slots: &[usize], size: usize, instance: usize, met: &[u32]) -> Option<usize> {
        let emptiest = slots.iter().map(|&slot| board.size(slot)).min()?;
        let in_replica = |replica: u8, points: &dyn Fn(usize) -> usize| -> usize {
            let slots = (0..self.task.slots()).filter(|&slot| self.task.replicas[slot] == replica);
            slots.map(points).sum()
        };
        let open = |slot: &&usize| board.size(**slot) < size && board.has_room(**slot, instance);
        let key = |slot: &&usize| {
            let (slot, replica) = (**slot, self.task.replicas[**slot]);
            let meetings: u32 = board
                .slot(slot)
                .iter()
                .map(|stand| met[instance * self.task.instances() + stand.instance])
                .sum();
            (
                board.points(slot, instance),
                in_replica(replica, &|slot| board.points(slot, instance)),
                in_replica(replica, &|slot| board.size(slot)),
                meetings,
            )
        };
        let among_emptiest = |slot: &&usize| board.size(**slot) == emptiest && open(slot);
        let slots = || slots.iter();
        // Where points are at the same relays, another slot may have to do.
        slots()
            .filter(among_emptiest)
            .min_by_key(key)
            .or_else(|| slots().filter(open).min_by_key(key))
            .copied()
    }
}

/// Numbers of points that an instance may have.
struct Choice {
    counts: Counts,
    /// Distance of its share from its target then.
    error: f64,
}

/// Finds the choices of one instance.
struct Hand<'l> {
    layout: &'l Layout,
    /// The most points that it may have in each group.
    most: Counts,
    /// The fewest in all groups together.
    least: usize,
    /// Share that it lacks, besides its share in the slots that are kept.
    lack: f64,
    /// Largest distance from that.
    within: f64,
    counts: Counts,
    /// Number of choices that were looked at.
    looked: usize,
}

impl<'l> Hand<'l> {
    fn new(table: &Table<'_, '_>, layout: &'l Layout, instance: usize, within: f64) -> Self {
        Self {
            layout,
            most: layout
                .each_ref()
                .map(|group| group.slots * table.most_of(instance, group.size)),
            least: usize::from(table.kept.appearances(instance) == 0),
            lack: -table.kept.errors()[instance],
            within: within + ROUNDING,
            counts: Counts::default(),
            looked: 0,
        }
    }

    /// Adds all choices that begin with the counts before `at`, which are worth that much together.
    fn play(&mut self, at: usize, worth: f64, choices: &mut Vec<Choice>) {
        self.looked += 1;
        let each = self.layout[at].worth;
        let high = self.lack + self.within - worth;
        if high < 0.0 {
            return;
        }
        if at + 1 < GROUPS {
            for count in 0..=self.most[at] {
                if count as f64 * each > high {
                    break;
                }
                self.counts[at] = count;
                self.play(at + 1, worth + count as f64 * each, choices);
            }
            return;
        }
        let low = high - 2.0 * self.within;
        let from = (low / each).ceil().max(0.0) as usize;
        let to = ((high / each).floor() as usize).min(self.most[at]);
        let before: usize = self.counts[..at].iter().sum();
        for count in from.max(self.least.saturating_sub(before))..=to {
            self.counts[at] = count;
            choices.push(Choice {
                counts: self.counts,
                error: (worth + count as f64 * each - self.lack).abs(),
            });
        }
    }
}
