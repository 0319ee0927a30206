//! Plans whose slots hold points of several instances: what [`Hybrid`](crate::Hybrid), [`Weighted`](crate::Weighted) and
//! [`Single`](crate::Single) have in common.

use std::collections::{BTreeMap, BTreeSet};

use rand::seq::SliceRandom;

use self::board::{Board, Goal, Stand, Task};
use self::exact::{Aim, Budget};
use self::search::Patience;
use crate::draw::{Purpose, rng};
use crate::question::Question;
use crate::quota::Quotas;
use crate::{Error, Mix, Plan, Relay, Round};

mod board;
mod deal;
mod exact;
mod search;
mod seats;

/// What is less than this is a rounding error.
const ROUNDING: f64 = 1e-9;
/// What the exact search may cost for a fresh plan: about a millisecond.
const BUDGET: usize = 900_000;
/// What it may cost to mend one.
const MENDING: usize = 450_000;
/// What it may cost once more where no plan within [`AIM`] was found and one may be: some milliseconds.
const PERSISTENCE: usize = 10 * BUDGET;
/// What it may cost to come nearer than [`AIM`].
const REFINING: usize = 200_000;
/// Of so many slots every selection is looked at for one that can be written anew and the others kept.
const SELECTED: usize = 8;
/// A plan whose shares are no further from their targets is as good as an exact one: nobody could tell them apart.
const EXACT: f64 = 1.0 / 1000.0;
/// A plan that is no further from what no plan can beat needs no search for a better one.
const NEARLY: f64 = EXACT / 2.0;
/// What is sought first: half the share of one of ten points in one of six slots.
const AIM: f64 = 1.0 / 120.0;

/// What a plan shall keep to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rules {
    /// The most points in a slot.
    pub(crate) points: usize,
    /// Where there are so many instances, each slot has points of so many.
    pub(crate) instances: usize,
    /// A plan whose shares are no further from their targets is as good as an exact one.
    pub(crate) precision: f64,
    /// No slot is changed as long as shares are no further from their targets.
    pub(crate) tolerance: f64,
    /// Whether slots shall have as many points as even shares allow, instead of as few as they need.
    pub(crate) generous: bool,
}

/// The plan that keeps to the rules: as near to the targets as the search comes, and in the middle of a round with few changes.
pub(crate) fn plan<I: Ord + Clone, S: Ord + Clone>(
    rules: Rules,
    question: &Question<'_, I, S>,
    previous: Option<&Plan<I, S>>,
    round: Round,
) -> Result<Plan<I, S>, Error> {
    let mut order: Vec<_> = (0..question.instances.len()).collect();
    order.shuffle(&mut rng(Purpose::Placement, round.number(), round));
    let previous = previous.filter(|plan| plan.round().number() == round.number());
    let cast = Cast::new(rules, question, previous, round, &order);
    let task = cast.task(rules, question);
    // The places of the instances in the drawn order among those who stand.
    let order: Vec<_> = order.iter().filter_map(|instance| cast.place(*instance)).collect();

    let held = Held::new(&task, &cast, question, previous);
    let (board, free) = held.mended(&task, rules, &order);
    let mixes = seat(&task, &cast, question, &held, board, &free);
    let filled = question.slots.iter().zip(mixes);
    Plan::new(round, filled.map(|(slot, mix)| (slot.id().clone(), mix)).collect())
}

/// The best plan that asks for no previous one.
fn fresh<'a>(rules: Rules, task: &'a Task, order: &[usize]) -> Board<'a> {
    let free = vec![true; task.slots()];
    let worth = |board: &Board<'_>| {
        let cost = board.cost();
        let (points, appearances) = board.extent();
        let points = if rules.generous { usize::MAX - points } else { points };
        let error = board.error();
        let counted = if error <= rules.tolerance + ROUNDING {
            0.0
        } else {
            error
        };
        (cost.absent, cost.thin, counted, usize::MAX - appearances, points, error)
    };
    let least = task.least_error();
    // What is nearly as good as any plan is, ends the search, but not where the aim might be reached yet.
    let best_there_is = least + NEARLY;
    let enough = rules.precision.max(EXACT).max(if least <= AIM {
        best_there_is.min(AIM)
    } else {
        best_there_is
    });
    let goal = |error: f64| Goal {
        absent: 0,
        thin: 0,
        error: error + ROUNDING,
    };
    let mut best: Option<Board<'a>> = None;
    for board in deal::openings(task, order, rules.precision, rules.generous) {
        if best.as_ref().is_none_or(|best| worth(&board) < worth(best)) {
            best = Some(board);
        }
        if best.as_ref().is_some_and(|best| best.reaches(goal(enough))) {
            break;
        }
    }
    // There is always an opening: with one cell for each slot or for each instance, whichever is more.
    let mut best = best.unwrap_or_else(|| Board::new(task));
    let mut budget = Budget::new(BUDGET);
    if !best.reaches(goal(enough)) {
        let is_flawless = best.cost().absent == 0 && best.cost().thin == 0;
        let aim = Aim {
            beat: if is_flawless { best.error() } else { f64::INFINITY },
            good: AIM.max(enough),
            enough,
            refining: REFINING,
        };
        if let Some(board) = exact::fill(&Board::new(task), &free, order, aim, &mut budget) {
            best = board;
        }
    }
    if !best.reaches(goal(AIM.max(enough))) {
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
    if least <= AIM && budget.was_short() && !best.reaches(goal(AIM)) {
        let mut more = Budget::new(PERSISTENCE);
        if let Some(board) = exact::fill(&Board::new(task), &free, order, Aim::within(AIM), &mut more) {
            best = board;
        }
    }
    best.straddle(&free);
    best
}

/// Who stands in this round.
struct Cast {
    /// The positions of the instances in the question, in order.
    instances: Vec<usize>,
    targets: Vec<f64>,
}

impl Cast {
    /// All instances; where there are more than places, as many as there are places, by turns.
    fn new<I: Ord, S: Ord>(
        rules: Rules,
        question: &Question<'_, I, S>,
        previous: Option<&Plan<I, S>>,
        round: Round,
        order: &[usize],
    ) -> Self {
        let places = question.slots.len() * rules.points;
        let weights: Vec<_> = question.instances.iter().map(|instance| instance.weight).collect();
        if weights.len() <= places {
            let total: f64 = weights.iter().map(|weight| f64::from(weight.as_u32())).sum();
            let targets = weights.iter().map(|weight| f64::from(weight.as_u32()) / total);
            return Self {
                instances: (0..weights.len()).collect(),
                targets: targets.collect(),
            };
        }
        let drawn: Vec<_> = Quotas::new(&weights, places)
            .drawn(round)
            .iter()
            .map(|places| *places.start())
            .collect();
        let held: BTreeSet<usize> = previous
            .into_iter()
            .flat_map(|plan| plan.slots())
            .flat_map(|(_, mix)| mix.points())
            .filter_map(|(_, id)| question.position(id))
            .collect();
        let turns = |instance: &usize| {
            let first = !held.contains(instance);
            (first, drawn[*instance] == 0)
        };
        let mut instances = order.to_vec();
        instances.sort_by_key(turns);
        let drawn_alone = drawn.iter().filter(|&&places| places > 0).count();
        // However much weight one has, it does not stand alone: its death would take the service away.
        instances.truncate(drawn_alone.max(held.len()).max(2).min(places));
        instances.sort_unstable();
        let places_of = |&instance: &usize| drawn[instance].max(1) as f64;
        let total: f64 = instances.iter().map(places_of).sum();
        Self {
            targets: instances.iter().map(|instance| places_of(instance) / total).collect(),
            instances,
        }
    }

    /// Where an instance of the question stands among the cast.
    fn place(&self, instance: usize) -> Option<usize> {
        self.instances.binary_search(&instance).ok()
    }

    fn task<I: Ord, S: Ord>(&self, rules: Rules, question: &Question<'_, I, S>) -> Task {
        let offers: Vec<_> = self
            .instances
            .iter()
            .map(|&instance| question.instances[instance].points.clone())
            .collect();
        let relays: BTreeSet<_> = offers.iter().flatten().collect();
        let read: f64 = question.slots.iter().map(|slot| slot.read_share()).sum();
        // What nobody reads yet is planned as if all were read alike.
        let read_share = |share: f64| {
            if read > 0.0 {
                share / read
            } else {
                1.0 / question.slots.len() as f64
            }
        };
        Task {
            read_shares: question
                .slots
                .iter()
                .map(|slot| read_share(slot.read_share()))
                .collect(),
            replicas: question.slots.iter().map(|slot| slot.replica()).collect(),
            deal_order: by_turns(question.slots.iter().map(|slot| slot.replica())),
            crowded: relays.len() < offers.iter().map(Vec::len).sum(),
            most_points: rules.points,
            least_instances: rules.instances.min(self.instances.len()).min(rules.points),
            targets: self.targets.clone(),
            offers,
        }
    }
}

/// The positions of the slots, taken by turns from each replica.
fn by_turns(replicas: impl Iterator<Item = u8>) -> Vec<usize> {
    let mut seen: BTreeMap<u8, usize> = BTreeMap::new();
    let mut turns: Vec<_> = replicas
        .enumerate()
        .map(|(slot, replica)| {
            let turn = seen.entry(replica).or_default();
            *turn += 1;
            (*turn, replica, slot)
        })
        .collect();
    turns.sort_unstable();
    turns.into_iter().map(|(_, _, slot)| slot).collect()
}

/// What the slots hold, as far as it is still there.
struct Held {
    /// For each slot who stands in it at which relay.
    seats: Vec<BTreeMap<Relay, usize>>,
    /// For each slot how many points of whom there shall be if nothing else changes.
    stands: Vec<Vec<Stand>>,
    /// The slots that must be written: points are gone, or it is new.
    broken: Vec<bool>,
}

impl Held {
    fn new<I: Ord, S: Ord>(
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

    /// What stands in the slots, without those that are to be written anew.
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

    /// The board that comes of changing as few slots as reach what a fresh board does, and which they are.
    fn mended<'a>(&self, task: &'a Task, rules: Rules, order: &[usize]) -> (Board<'a>, Vec<bool>) {
        let all = vec![true; task.slots()];
        if !self.broken.contains(&false) {
            return (fresh(rules, task, order), all);
        }
        let held = self.board(task, &vec![false; task.slots()]);
        let near = Goal {
            absent: 0,
            thin: 0,
            error: rules.tolerance + ROUNDING,
        };
        if held.reaches(near) {
            return (held, self.broken.clone());
        }
        let fresh = fresh(rules, task, order);
        // Whoever comes takes nothing away from anyone, so the slots may be written for what is nearest.
        let comes = held.cost().absent > fresh.cost().absent;
        let tolerance = if comes { EXACT } else { rules.tolerance };
        let goal = Goal {
            absent: fresh.cost().absent,
            thin: fresh.cost().thin,
            error: fresh.error().max(tolerance) + ROUNDING,
        };
        if held.reaches(goal) {
            return (held, self.broken.clone());
        }
        let mut budget = Budget::new(MENDING);
        self.mended_exactly(task, order, goal, &mut budget)
            .or_else(|| self.mended_by_steps(task, held, goal, &mut Patience::after(&budget, MENDING)))
            .unwrap_or((fresh, all))
    }

    /// The board that comes of changing as few slots as can be.
    fn mended_exactly<'a>(
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

    /// The board that comes of small steps in the slots that must be written, and in one more after the other.
    fn mended_by_steps<'a>(
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

/// Gives every point its relay. Slots that are not free keep theirs.
fn seat<I: Ord + Clone, S: Ord>(
    task: &Task,
    cast: &Cast,
    question: &Question<'_, I, S>,
    held: &Held,
    board: Board<'_>,
    free: &[bool],
) -> Vec<Mix<I>> {
    // How much each point carries so far.
    let mut burdens: BTreeMap<(usize, Relay), f64> = BTreeMap::new();
    let mut seated: Vec<Option<BTreeMap<Relay, usize>>> = vec![None; task.slots()];
    let kept = (0..task.slots()).filter(|&slot| !free[slot]);
    let written = task.deal_order.iter().copied().filter(|&slot| free[slot]);
    for slot in kept.chain(written) {
        let mut stands = board.slot(slot).to_vec();
        if let [only] = &mut stands[..] {
            only.points = task.most_of(only.instance);
        }
        stands.sort_by_key(|stand| stand.instance);
        let seats = if free[slot] {
            seats::assign(&stands, &task.offers, |instance, relay| {
                let burden = burdens.get(&(instance, relay)).copied().unwrap_or(0.0);
                ((burden * 1e9) as u64, !held.seats[slot].contains_key(&relay))
            })
        } else {
            Some(held.seats[slot].clone())
        };
        for (&relay, &instance) in seats.iter().flatten() {
            *burdens.entry((instance, relay)).or_default() +=
                task.read_shares[slot] / seats.as_ref().map_or(1, BTreeMap::len) as f64;
        }
        seated[slot] = seats;
    }
    let id = |instance: usize| question.instances[cast.instances[instance]].id.clone();
    seated
        .into_iter()
        .map(|seats| {
            seats
                .into_iter()
                .flatten()
                .map(|(relay, instance)| (relay, id(instance)))
                .collect()
        })
        .collect()
}
