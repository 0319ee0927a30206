//! The promises of the mixed policy, held against random input and, where the cases are few,
//! against every plan there is.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do; clippy knows tests only by their attribute"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;

use onionweave_assign::{Error, Instance, Mix, Mixed, Plan, Policy, Relay, Round, Slot, Weight};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// Instances are named by numbers, slots by (replica, position).
type TestPlan = Plan<u8, (u8, u8)>;

fn instance(id: u8, weight: u32, points: u8) -> Instance<u8> {
    let relays = (0..points).map(|n| Relay::new(u128::from(id) << 8 | u128::from(n)));
    Instance::new(id, relays).weight(Weight::try_from(weight).unwrap())
}

/// Contents of a slot whose only instance is this one, with three points.
fn alone(id: u8) -> Mix<u8> {
    instance(id, 1, 3).points.into_iter().map(|relay| (relay, id)).collect()
}

/// Instances 0, 1, ... with these weights.
fn weighted(weights: &[u32]) -> Vec<Instance<u8>> {
    (0..)
        .zip(weights)
        .map(|(id, &weight)| instance(id, weight, 3))
        .collect()
}

fn equal(count: usize) -> Vec<Instance<u8>> {
    weighted(&vec![1; count])
}

/// `first` slots in replica 0 and `second` in replica 1, all read alike.
fn slots([first, second]: [u8; 2]) -> Vec<Slot<(u8, u8)>> {
    let read_share = 1.0 / f64::from(first + second);
    let ids = (0..first).map(|n| (0, n)).chain((0..second).map(|n| (1, n)));
    ids.map(|id| Slot::new(id, id.0, read_share).unwrap()).collect()
}

fn plan(instances: &[Instance<u8>], slots: &[Slot<(u8, u8)>], previous: Option<&TestPlan>, round: Round) -> TestPlan {
    Mixed::new().plan(instances, slots, previous, round).unwrap()
}

fn count(plan: &TestPlan, instance: &Instance<u8>) -> usize {
    plan.slots_of(&instance.id).count()
}

/// Number of live instances that have several slots, and all in one of two replicas.
fn lopsided(plan: &TestPlan) -> usize {
    let mut replicas: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    for ((replica, _), mix) in plan.slots() {
        for instance in mix.instances().into_keys() {
            replicas.entry(*instance).or_default().push(*replica);
        }
    }
    replicas
        .values()
        .filter(|replicas| replicas.len() >= 2 && replicas.iter().min() == replicas.iter().max())
        .count()
}

fn live(instances: &[Instance<u8>]) -> Vec<&Instance<u8>> {
    instances
        .iter()
        .filter(|instance| !instance.points.is_empty())
        .collect()
}

/// The quota of an instance, rounded down and rounded up.
fn quota(instances: &[Instance<u8>], instance: &Instance<u8>, slots: usize) -> RangeInclusive<usize> {
    let total: u64 = live(instances).iter().map(|i| u64::from(i.weight.as_u32())).sum();
    let share = slots as u64 * u64::from(instance.weight.as_u32());
    (share / total) as usize..=share.div_ceil(total) as usize
}

/// Fails unless the plan fills every slot with one live instance and all its points, and gives
/// every instance its quota.
fn assert_sound(plan: &TestPlan, instances: &[Instance<u8>], slots: &[Slot<(u8, u8)>]) {
    assert!(
        plan.slots()
            .map(|(slot, _)| slot)
            .eq(slots.iter().map(Slot::id).collect::<BTreeSet<_>>())
    );
    for (_, mix) in plan.slots() {
        let holders = mix.instances();
        assert_eq!(holders.len(), 1);
        let holder = live(instances)
            .into_iter()
            .find(|i| holders.contains_key(&i.id))
            .unwrap();
        let expected = holder.points.iter().take(10).map(|&relay| (relay, holder.id));
        assert_eq!(*mix, expected.collect());
    }
    for instance in live(instances) {
        let quota = quota(instances, instance, slots.len());
        assert!(
            quota.contains(&count(plan, instance)),
            "{instance:?}: {quota:?} in {plan:?}"
        );
    }
}

prop_compose! {
    fn any_instance()(weight in prop_oneof![1..6_u32, 1..=u32::MAX], points in 0..14_u8)
        -> (u32, u8)
    {
        (weight, points)
    }
}

/// Up to a dozen instances of different weights, one of which at least has a point to offer.
fn any_instances() -> impl Strategy<Value = Vec<Instance<u8>>> {
    prop::collection::btree_map(0..20_u8, any_instance(), 1..12)
        .prop_map(|all| {
            all.into_iter()
                .map(|(id, (weight, points))| instance(id, weight, points))
                .collect::<Vec<_>>()
        })
        .prop_filter("someone must live", |all| all.iter().any(|i| !i.points.is_empty()))
}

fn any_sides() -> impl Strategy<Value = [u8; 2]> {
    [0..8_u8, 0..8_u8].prop_filter("there must be a slot", |sides| *sides != [0, 0])
}

fn any_round() -> impl Strategy<Value = Round> {
    (prop_oneof![0..40_u64, any::<u64>()], any::<u64>()).prop_map(|(number, seed)| Round::new(number, seed))
}

/// Any plan of the same round or of another, of instances and slots that may be gone or new.
fn any_previous(round: Round) -> impl Strategy<Value = Option<TestPlan>> {
    let slot = (0..2_u8, 0..8_u8);
    let number = prop_oneof![Just(round.number()), any::<u64>()];
    (number, prop::collection::btree_map(slot, 0..20_u8, 0..16)).prop_map(move |(number, held)| {
        let slots = held
            .into_iter()
            .map(|(slot, instance)| (slot, alone(instance)))
            .collect();
        Plan::new(Round::new(number, round.seed()), slots).ok()
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        // Seeds of failures go beside this file; the default looks for a library's root.
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    /// The quotas hold, nobody absent stays, and asking again changes nothing, whatever came
    /// before.
    #[test]
    fn every_plan_is_sound(
        instances in any_instances(),
        sides in any_sides(),
        (round, previous) in any_round().prop_flat_map(|round| (Just(round), any_previous(round))),
    ) {
        let slots = slots(sides);
        let fresh = plan(&instances, &slots, None, round);
        assert_sound(&fresh, &instances, &slots);

        let next = plan(&instances, &slots, previous.as_ref(), round);
        assert_sound(&next, &instances, &slots);
        prop_assert_eq!(&plan(&instances, &slots, Some(&next), round), &next);
    }

    /// The plan does not depend on the order in which instances and slots are listed.
    #[test]
    fn order_does_not_matter(
        instances in any_instances(),
        (shuffled, shuffled_slots, sides) in any_sides().prop_flat_map(|sides| (
            any::<prop::sample::Index>(), Just(slots(sides)).prop_shuffle(), Just(sides),
        )),
        (round, previous) in any_round().prop_flat_map(|round| (Just(round), any_previous(round))),
    ) {
        let mut rotated = instances.clone();
        rotated.rotate_left(shuffled.index(instances.len()));
        rotated.reverse();
        prop_assert_eq!(
            plan(&instances, &slots(sides), previous.as_ref(), round),
            plan(&rotated, &shuffled_slots, previous.as_ref(), round)
        );
    }

    /// The previous plan has no say in who gets the remainder of a new round, and no more instances
    /// are in one replica only than the numbers force.
    #[test]
    fn a_new_round_is_drawn_afresh(
        instances in any_instances(),
        sides in any_sides(),
        (round, previous) in any_round().prop_flat_map(|round| (Just(round), any_previous(round))),
    ) {
        let slots = slots(sides);
        let fresh = plan(&instances, &slots, None, round.next());
        let previous = previous.filter(|plan| plan.round().number() != round.next().number());
        let next = plan(&instances, &slots, previous.as_ref(), round.next());

        let counts: Vec<_> = instances.iter().map(|i| count(&fresh, i)).collect();
        let next_counts: Vec<_> = instances.iter().map(|i| count(&next, i)).collect();
        prop_assert_eq!(&counts, &next_counts);

        // Each instance with several slots needs one of the smaller side.
        let several = counts.iter().filter(|count| **count >= 2).count();
        let smaller = usize::from(*sides.iter().min().unwrap());
        if smaller > 0 {
            prop_assert_eq!(lopsided(&next), several.saturating_sub(smaller));
        }
    }

    /// Over a full rotation every instance gets exactly its part, wherever the rotation starts, and
    /// also when there are more instances than slots.
    #[test]
    fn a_full_rotation_is_exact(
        weights in prop::collection::vec(1..5_u32, 1..12),
        sides in any_sides(),
        rotation in prop_oneof![0..3_u64, any::<u32>().prop_map(u64::from)],
        seed: u64,
    ) {
        let (instances, slots) = (weighted(&weights), slots(sides));
        let rounds = u64::try_from(Mixed::rotation(&instances, slots.len())).unwrap();
        let mut got = vec![0; instances.len()];
        let mut previous = None;
        for step in 0..rounds {
            let round = Round::new(rotation * rounds + step, seed);
            let next = plan(&instances, &slots, previous.as_ref(), round);
            for (got, instance) in got.iter_mut().zip(&instances) {
                *got += count(&next, instance) as u64;
            }
            previous = Some(next);
        }
        let total: u64 = weights.iter().copied().map(u64::from).sum();
        for (got, weight) in got.into_iter().zip(weights) {
            prop_assert_eq!(got * total, rounds * slots.len() as u64 * u64::from(weight));
        }
    }
}

/// Every way to fill the slots such that instance i gets a number of them that `allowed[i]` holds.
fn all_fillings(allowed: &[RangeInclusive<usize>], slots: usize) -> Vec<Vec<usize>> {
    fn fill(allowed: &[RangeInclusive<usize>], slots: usize, filling: &mut Vec<usize>, all: &mut Vec<Vec<usize>>) {
        let count = |filling: &[usize], i| filling.iter().filter(|&&holder| holder == i).count();
        if filling.len() == slots {
            if allowed
                .iter()
                .enumerate()
                .all(|(i, range)| range.contains(&count(filling, i)))
            {
                all.push(filling.clone());
            }
            return;
        }
        for (i, range) in allowed.iter().enumerate() {
            if count(filling, i) < *range.end() {
                filling.push(i);
                fill(allowed, slots, filling, all);
                filling.pop();
            }
        }
    }
    let mut all = Vec::new();
    fill(allowed, slots, &mut Vec::new(), &mut all);
    all
}

/// The fillings with the fewest instances in one replica only.
fn balanced_fillings(allowed: &[RangeInclusive<usize>], sides: [u8; 2]) -> Vec<Vec<usize>> {
    let slots = slots(sides);
    let cost = |filling: &[usize]| {
        if sides.contains(&0) {
            return 0;
        }
        (0..allowed.len())
            .filter(|i| {
                let replicas: Vec<_> = slots
                    .iter()
                    .zip(filling)
                    .filter(|(_, holder)| *holder == i)
                    .map(|(slot, _)| slot.replica())
                    .collect();
                replicas.len() >= 2 && replicas.windows(2).all(|pair| pair[0] == pair[1])
            })
            .count()
    };
    let mut all = all_fillings(allowed, slots.len());
    let least = all.iter().map(|filling| cost(filling)).min().unwrap_or(0);
    all.retain(|filling| cost(filling) == least);
    // In order, for a quick look-up.
    all.sort();
    all
}

/// Fails unless `next` is one of the fillings, and none of them changes fewer slots.
fn assert_calmest(next: &TestPlan, previous: &TestPlan, fillings: &[Vec<usize>], ids: &[u8]) {
    let chosen: Vec<usize> = next
        .slots()
        .map(|(slot, _)| {
            let holder = next.instances_of(slot).next().unwrap();
            ids.iter().position(|id| id == holder).unwrap()
        })
        .collect();
    assert!(fillings.binary_search(&chosen).is_ok(), "{next:?} is not balanced");

    let before: Vec<Option<&u8>> = next
        .slots()
        .map(|(slot, _)| previous.instances_of(slot).next())
        .collect();
    let changes = |filling: &Vec<usize>| {
        let pairs = filling.iter().zip(&before);
        pairs
            .filter(|(holder, before)| **before != Some(&ids[**holder]))
            .count()
    };
    let least = fillings.iter().map(changes).min().unwrap();
    assert_eq!(next.changes(previous), least, "{next:?} after {previous:?}");
}

/// Every previous plan over the slots, in which a slot is new, or held by one of `ids` or by an
/// instance that is gone.
fn all_previous(sides: [u8; 2], ids: &[u8], round: Round) -> Vec<TestPlan> {
    const GONE: u8 = 99;
    let mut all: Vec<BTreeMap<(u8, u8), Mix<u8>>> = vec![BTreeMap::new()];
    for slot in slots(sides) {
        let mut longer = all.clone();
        for id in ids.iter().chain([&GONE]) {
            for held in &all {
                let mut held = held.clone();
                held.insert(*slot.id(), alone(*id));
                longer.push(held);
            }
        }
        all = longer;
    }
    all.into_iter().filter_map(|held| Plan::new(round, held).ok()).collect()
}

/// Up to three instances with weights up to three on up to four slots, after every possible plan:
/// no plan that is as even and as balanced changes fewer slots.
#[test]
fn no_small_case_changes_a_slot_too_many() {
    let all_weights: Vec<Vec<u32>> = (1..=3)
        .flat_map(|a| {
            let two = (1..=3).map(move |b| vec![a, b]);
            let three = (1..=3).flat_map(move |b| (1..=3).map(move |c| vec![a, b, c]));
            [vec![a]].into_iter().chain(two).chain(three)
        })
        .collect();
    let all_sides = [[1, 0], [0, 2], [1, 1], [3, 0], [2, 1], [1, 2], [2, 2], [3, 1]];
    let mut cases = 0;
    for weights in &all_weights {
        for sides in all_sides {
            let (instances, slots) = (weighted(weights), slots(sides));
            let ids: Vec<u8> = instances.iter().map(|i| i.id).collect();
            let now = Round::new(5, 11);

            let quotas: Vec<_> = instances.iter().map(|i| quota(&instances, i, slots.len())).collect();
            let free = balanced_fillings(&quotas, sides);
            let drawn = plan(&instances, &slots, None, now);
            let counts: Vec<_> = instances.iter().map(|i| count(&drawn, i)..=count(&drawn, i)).collect();
            let fixed = balanced_fillings(&counts, sides);

            for previous in all_previous(sides, &ids, now) {
                let next = plan(&instances, &slots, Some(&previous), now);
                let held: Vec<_> = instances.iter().map(|i| count(&previous, i)).collect();
                let even = held.iter().sum::<usize>() == slots.len()
                    && held.iter().zip(&quotas).all(|(held, quota)| quota.contains(held));
                if even {
                    let held: Vec<_> = held.into_iter().map(|held| held..=held).collect();
                    assert_calmest(&next, &previous, &balanced_fillings(&held, sides), &ids);
                } else {
                    assert_calmest(&next, &previous, &free, &ids);
                }
                cases += 1;
            }
            for previous in all_previous(sides, &ids, Round::new(4, 11)) {
                let next = plan(&instances, &slots, Some(&previous), now);
                assert_calmest(&next, &previous, &fixed, &ids);
                cases += 1;
            }
        }
    }
    assert!(cases > 20_000, "{cases}");
}

/// Six directories and one to eight equal instances, of which one or two come or go at once.
///
/// No plan changes fewer slots. If one goes, only the slots that it had change.
#[test]
fn six_directories_change_no_slot_too_many() {
    const NEW: u8 = 77;
    let six = slots([3, 3]);
    // For so many instances, the plans among which the calmest is to be found.
    let fillings: Vec<_> = (0..=10)
        .map(|count| {
            let instances = equal(count);
            let quotas = instances.iter().map(|i| quota(&instances, i, 6));
            balanced_fillings(&quotas.collect::<Vec<_>>(), [3, 3])
        })
        .collect();
    for seed in 0..4 {
        for before in 1..=8 {
            let round = Round::new(seed * 7, seed);
            let all = equal(before);
            let first = plan(&all, &six, None, round);
            assert_eq!(lopsided(&first), 0);

            let mut successors: Vec<Vec<Instance<u8>>> = vec![equal(before + 1), equal(before + 2)];
            for gone in 0..before {
                for other in gone..before {
                    let mut rest = all.clone();
                    rest.retain(|i| ![gone, other].contains(&usize::from(i.id)));
                    let mut replaced = rest.clone();
                    replaced.push(instance(NEW, 1, 3));
                    successors.push(replaced);
                    if !rest.is_empty() {
                        successors.push(rest);
                    }
                }
            }
            for instances in successors {
                let ids: Vec<u8> = instances.iter().map(|i| i.id).collect();
                let next = plan(&instances, &six, Some(&first), round);
                assert_calmest(&next, &first, &fillings[ids.len()], &ids);

                if ids.len() + 1 == before && !ids.contains(&NEW) {
                    let gone = all.iter().find(|i| !ids.contains(&i.id)).unwrap();
                    assert_eq!(next.changes(&first), count(&first, gone));
                }
                if ids.len() == before + 1 {
                    assert_eq!(next.changes(&first), 6 / ids.len());
                }
            }
        }
    }
}

/// A directory is replaced: its slot goes to the instance that had it, and no other slot changes.
#[test]
fn a_moved_directory_changes_its_slot_alone() {
    for instances in 1..=7 {
        let instances = equal(instances);
        let first = plan(&instances, &slots([3, 3]), None, Round::new(0, 3));
        for gone in 0..6 {
            let mut moved = slots([3, 3]);
            let replica = moved.remove(gone).replica();
            moved.push(Slot::new((replica, 9), replica, 1.0 / 6.0).unwrap());
            let next = plan(&instances, &moved, Some(&first), Round::new(0, 3));
            assert_eq!(next.changes(&first), 1);
            assert_sound(&next, &instances, &moved);
        }
    }
}

/// The thesis's table: how many slots the instances have in one round, and how long a rotation is.
#[test]
fn one_to_seven_instances_over_six_slots() {
    let table: [(&[usize], u128); 7] = [
        (&[6], 1),
        (&[3, 3], 1),
        (&[2, 2, 2], 1),
        (&[1, 1, 2, 2], 2),
        (&[1, 1, 1, 1, 2], 5),
        (&[1, 1, 1, 1, 1, 1], 1),
        (&[0, 1, 1, 1, 1, 1, 1], 7),
    ];
    for (expected, rotation) in table {
        let instances = equal(expected.len());
        assert_eq!(Mixed::rotation(&instances, 6), rotation);
        for round in 0..20 {
            let plan = plan(&instances, &slots([3, 3]), None, Round::new(round, 1));
            let mut counts: Vec<_> = instances.iter().map(|i| count(&plan, i)).collect();
            counts.sort_unstable();
            assert_eq!(counts, expected);
        }
    }
}

/// The seed draws the instance that gets the remainder first: over many seeds all get it alike.
#[test]
fn the_remainder_is_drawn_from_the_seed() {
    const SEEDS: u64 = 3000;
    for (instances, expected) in [(4, SEEDS / 2), (5, SEEDS / 5), (7, SEEDS * 6 / 7)] {
        let instances = equal(instances);
        for instance in &instances {
            let lucky = (0..SEEDS)
                .filter(|&seed| {
                    let plan = plan(&instances, &slots([3, 3]), None, Round::new(0, seed));
                    count(&plan, instance) == *quota(&instances, instance, 6).end()
                })
                .count() as u64;
            // Five standard deviations of 3000 fair draws are less than 140.
            assert!(lucky.abs_diff(expected) < 140, "{lucky} instead of {expected}");
        }
    }
}

/// The order of the draw is another in every rotation, so pairs of lucky instances differ too.
#[test]
fn every_rotation_is_drawn_anew() {
    let instances = equal(4);
    let pairs: BTreeSet<Vec<u8>> = (0..60)
        .map(|rotation| {
            let plan = plan(&instances, &slots([3, 3]), None, Round::new(rotation * 2, 1));
            let lucky = instances.iter().filter(|i| count(&plan, i) == 2);
            lucky.map(|i| i.id).collect()
        })
        .collect();
    assert_eq!(pairs.len(), 6, "{pairs:?}");
}

/// With one slot in replica 0 and four in replica 1, the draw 2 + 3 leaves an instance in one
/// replica only, and 1 + 4 does not. It stands all the same until the round ends.
#[test]
fn asking_again_does_not_undo_the_draw() {
    let (instances, slots) = (weighted(&[1, 3]), slots([1, 4]));
    let mut lucky = 0;
    for number in 0..4 {
        let first = plan(&instances, &slots, None, Round::new(number, 1));
        let again = plan(&instances, &slots, Some(&first), Round::new(number, 1));
        assert_eq!(again, first);
        lucky += usize::from(count(&again, &instances[0]) == 2);
    }
    assert_eq!(lucky, 1);
}

#[test]
fn the_seed_alone_does_not_begin_a_round() {
    let (instances, six) = (equal(5), slots([3, 3]));
    let first = plan(&instances, &six, None, Round::new(3, 1));
    let next = plan(&instances, &six, Some(&first), Round::new(3, 2));
    assert_eq!(next.changes(&first), 0);
    assert_eq!(next.round(), Round::new(3, 2));
}

/// After a policy that mixes instances in a slot, neither of them is favoured.
#[test]
fn a_slot_of_several_instances_is_held_by_none() {
    let (instances, slot) = (equal(2), slots([1, 0]));
    let mut holders = BTreeSet::new();
    for seed in 0..20 {
        let round = Round::new(0, seed);
        let mixture = [(Relay::new(0), 0), (Relay::new(1), 1)].into_iter().collect();
        let previous = Plan::new(round, BTreeMap::from([((0, 0), mixture)])).unwrap();
        let next = plan(&instances, &slot, Some(&previous), round);
        assert_eq!(next.changes(&previous), 1);
        holders.extend(next.instances_of(&(0, 0)).copied());
    }
    assert_eq!(holders, BTreeSet::from([0, 1]));
}

#[test]
fn points_are_cut_at_the_limit() {
    let one = [instance(0, 1, 12)];
    let slots = slots([1, 0]);
    let points = |policy: Mixed| {
        let plan = policy.plan(&one, &slots, None, Round::new(0, 0)).unwrap();
        plan.slot(&(0, 0)).unwrap().len()
    };
    assert_eq!(points(Mixed::default()), 10);
    let limit = |limit| Mixed::new().points_per_descriptor(NonZeroUsize::new(limit).unwrap());
    assert_eq!(points(limit(3)), 3);
    assert_eq!(points(limit(20)), 12);
}

/// Mixed counts slots; where they are not read alike, the shares tell.
#[test]
fn shares_tell_what_unequal_reading_does() {
    let slots = [Slot::new((0, 0), 0, 1.0).unwrap(), Slot::new((1, 0), 1, 0.0).unwrap()];
    let plan = plan(&equal(2), &slots, None, Round::new(0, 0));
    let mut shares: Vec<f64> = plan.shares(&slots).into_values().collect();
    shares.sort_by(f64::total_cmp);
    assert_eq!(shares, [0.0, 1.0]);
}

#[test]
fn what_cannot_be_planned_is_named() {
    let result = |instances: &[Instance<u8>], slots: &[Slot<(u8, u8)>]| {
        Mixed::new().plan(instances, slots, None, Round::new(0, 0)).unwrap_err()
    };
    let (two, six) = (equal(2), slots([3, 3]));

    assert_eq!(result(&[], &six), Error::NoInstances);
    assert_eq!(result(&[instance(0, 1, 0)], &six), Error::NoInstances);
    assert_eq!(result(&two, &[]), Error::NoSlots);

    let twice = [instance(4, 1, 3), instance(5, 1, 3), instance(4, 2, 0)];
    let error = result(&twice, &six);
    assert!(matches!(
        error,
        Error::DuplicateInstance {
            first: 0,
            second: 2,
            ..
        }
    ));

    let mut twice = slots([2, 0]);
    twice.push(Slot::new((0, 1), 1, 0.0).unwrap());
    let error = result(&two, &twice);
    assert!(matches!(
        error,
        Error::DuplicateSlot {
            first: 1,
            second: 2,
            ..
        }
    ));

    let error = result(&two, &slots([33, 32]));
    assert!(matches!(
        error,
        Error::TooManySlots {
            slots: 65,
            limit: 64,
            ..
        }
    ));

    let three = [0, 1, 2].map(|replica| Slot::new((replica, 0), replica, 0.1).unwrap());
    let error = result(&two, &three);
    assert!(matches!(
        error,
        Error::TooManyReplicas {
            replicas: 3,
            limit: 2,
            ..
        }
    ));
}

/// The largest plan there may be, with a thousand instances of the largest weights.
#[test]
fn a_thousand_instances_fit() {
    let instances: Vec<Instance<u16>> = (0..1000)
        .map(|id| {
            Instance::new(id, [Relay::new(id.into())]).weight(Weight::try_from(u32::MAX - u32::from(id)).unwrap())
        })
        .collect();
    let slots = slots([32, 32]);
    let plan = |previous: Option<&Plan<u16, (u8, u8)>>, number| {
        Mixed::new()
            .plan(&instances, &slots, previous, Round::new(number, 1))
            .unwrap()
    };
    let first = plan(None, u64::MAX - 1);
    let next = plan(Some(&first), u64::MAX);
    let holders: BTreeSet<_> = slots.iter().flat_map(|slot| next.instances_of(slot.id())).collect();
    assert_eq!(holders.len(), 64);
}
