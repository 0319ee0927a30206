//! Rules of every policy, held against random input, and promises of those that blend instances.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do; clippy knows tests only by their attribute"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use onionweave_assign::{Blend, Error, Instance, Mix, Plan, Policy, PolicyName, Relay, Round, Slot, Weight};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Instances are named by numbers, slots by (replica, position).
type TestPlan = Plan<u8, (u8, u8)>;
type TestPolicy = Box<dyn Policy<u8, (u8, u8)>>;

fn policies() -> impl Iterator<Item = TestPolicy> {
    PolicyName::ALL.iter().map(|name| name.policy())
}

/// An instance with points at relays that no other has.
fn instance(id: u8, weight: u32, points: u8) -> Instance<u8> {
    let relays = (0..points).map(|n| Relay::new(u128::from(id) << 8 | u128::from(n)));
    Instance::new(id, relays).weight(Weight::try_from(weight).unwrap())
}

/// Instances 0, 1, ... with these weights and three points each.
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

fn live(instances: &[Instance<u8>]) -> impl Iterator<Item = &Instance<u8>> {
    instances.iter().filter(|instance| !instance.points.is_empty())
}

/// The largest distance of a share from its target.
fn error(plan: &TestPlan, instances: &[Instance<u8>], slots: &[Slot<(u8, u8)>]) -> f64 {
    let total: f64 = live(instances).map(|i| f64::from(i.weight.as_u32())).sum();
    let shares = plan.shares(slots);
    let distance = |i: &Instance<u8>| {
        let share = shares.get(&i.id).copied().unwrap_or(0.0);
        (share - f64::from(i.weight.as_u32()) / total).abs()
    };
    live(instances).map(distance).fold(0.0, f64::max)
}

/// Fails unless every slot is filled with at most ten points, and all of them are offered.
fn assert_sound(plan: &TestPlan, instances: &[Instance<u8>], slots: &[Slot<(u8, u8)>]) {
    assert_sound_within(10, plan, instances, slots);
}

fn assert_sound_within(limit: usize, plan: &TestPlan, instances: &[Instance<u8>], slots: &[Slot<(u8, u8)>]) {
    let planned: BTreeSet<_> = plan.slots().map(|(slot, _)| *slot).collect();
    assert_eq!(planned, slots.iter().map(|slot| *slot.id()).collect());
    let offered: BTreeSet<(Relay, u8)> = instances
        .iter()
        .flat_map(|i| i.points.iter().map(|&relay| (relay, i.id)))
        .collect();
    for (slot, mix) in plan.slots() {
        assert!((1..=limit).contains(&mix.len()), "{slot:?} holds {mix:?}");
        for (relay, id) in mix.points() {
            assert!(offered.contains(&(relay, *id)), "{id} has no point at {relay:?}");
        }
    }
}

/// Up to a dozen instances of different weights, whose points are at few relays or at many, and one
/// of which at least has one.
fn any_instances() -> impl Strategy<Value = Vec<Instance<u8>>> {
    let weight = prop_oneof![Just(1_u32), 1..6_u32, 1..=u32::MAX];
    let relays = prop_oneof![
        prop::collection::vec(0..6_u128, 0..4),
        prop::collection::vec(any::<u128>(), 0..12),
    ];
    prop::collection::btree_map(0..20_u8, (weight, relays), 1..12)
        .prop_map(|all| {
            all.into_iter()
                .map(|(id, (weight, relays))| {
                    let weight = Weight::try_from(weight).unwrap();
                    Instance::new(id, relays.into_iter().map(Relay::new)).weight(weight)
                })
                .collect::<Vec<_>>()
        })
        .prop_filter("someone must live", |all| live(all).next().is_some())
}

/// Up to seven slots for each of two replicas, read as they come.
fn any_slots() -> impl Strategy<Value = Vec<Slot<(u8, u8)>>> {
    let read_share = prop_oneof![Just(0.1), Just(0.0), 0.0..=1.0];
    prop::collection::btree_map((0..2_u8, 0..7_u8), read_share, 1..9).prop_map(|slots| {
        let slots = slots.into_iter();
        slots.map(|(id, share)| Slot::new(id, id.0, share).unwrap()).collect()
    })
}

fn any_round() -> impl Strategy<Value = Round> {
    (prop_oneof![0..40_u64, any::<u64>()], any::<u64>()).prop_map(|(number, seed)| Round::new(number, seed))
}

/// Any plan of the same round or of another, of points and slots that may be gone or new.
fn any_previous(round: Round) -> impl Strategy<Value = Option<TestPlan>> {
    let mix = prop::collection::btree_map(0..6_u128, 0..20_u8, 1..6);
    let number = prop_oneof![Just(round.number()), any::<u64>()];
    let slots = prop::collection::btree_map((0..2_u8, 0..7_u8), mix, 0..9);
    (number, slots).prop_map(move |(number, slots)| {
        let mix = |mix: BTreeMap<u128, u8>| -> Mix<u8> {
            mix.into_iter().map(|(relay, id)| (Relay::new(relay), id)).collect()
        };
        let slots = slots.into_iter().map(|(slot, points)| (slot, mix(points))).collect();
        Plan::new(Round::new(number, round.seed()), slots).ok()
    })
}

fn round_and_previous() -> impl Strategy<Value = (Round, Option<TestPlan>)> {
    any_round().prop_flat_map(|round| (Just(round), any_previous(round)))
}

proptest! {
    #![proptest_config(ProptestConfig {
        // Seeds of failures go beside this file; the default looks for a library's root.
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        cases: 64,
        ..ProptestConfig::default()
    })]

    /// Every slot is filled from what is offered, and asking again changes nothing, whatever came
    /// before.
    #[test]
    fn every_plan_is_sound(
        instances in any_instances(),
        slots in any_slots(),
        (round, previous) in round_and_previous(),
    ) {
        for policy in policies() {
            let plan = policy.plan(&instances, &slots, previous.as_ref(), round).unwrap();
            assert_sound(&plan, &instances, &slots);
            let again = policy.plan(&instances, &slots, Some(&plan), round).unwrap();
            prop_assert_eq!(&again, &plan, "{}", policy.name());
        }
    }

    /// Plans keep to any limit of points per descriptor.
    #[test]
    fn limits_of_points_are_kept(
        instances in any_instances(),
        slots in any_slots(),
        round in any_round(),
        limit in 1..=20_usize,
    ) {
        for name in PolicyName::ALL {
            let policy: TestPolicy = name.policy_with(NonZeroUsize::new(limit).unwrap());
            let plan = policy.plan(&instances, &slots, None, round).unwrap();
            assert_sound_within(limit, &plan, &instances, &slots);
            let again = policy.plan(&instances, &slots, Some(&plan), round).unwrap();
            prop_assert_eq!(&again, &plan, "{}", name);
        }
    }

    /// The plan does not depend on the order in which instances, points and slots are listed, nor
    /// on points that are listed twice.
    #[test]
    fn order_does_not_matter(
        instances in any_instances(),
        (slots, shuffled) in any_slots().prop_flat_map(|slots| (Just(slots.clone()), Just(slots).prop_shuffle())),
        turn: prop::sample::Index,
        (round, previous) in round_and_previous(),
    ) {
        let mut turned = instances.clone();
        turned.rotate_left(turn.index(instances.len()));
        for instance in &mut turned {
            let doubled = instance.points.first().copied();
            instance.points.reverse();
            instance.points.extend(doubled);
        }
        for policy in policies() {
            prop_assert_eq!(
                policy.plan(&instances, &slots, previous.as_ref(), round).unwrap(),
                policy.plan(&turned, &shuffled, previous.as_ref(), round).unwrap()
            );
        }
    }

    /// Everyone stands somewhere in every round, as long as there are places and relays enough.
    #[test]
    fn nobody_is_left_out(
        weights in prop::collection::vec(prop_oneof![1..6_u32, 1..=u32::MAX], 1..=60),
        points in 1..5_u8,
        round in any_round(),
        death: prop::sample::Index,
    ) {
        let six = slots([3, 3]);
        let mut instances: Vec<_> = (0..).zip(&weights).map(|(id, &weight)| instance(id, weight, points)).collect();
        for policy in [PolicyName::Hybrid, PolicyName::Weighted] {
            let policy = policy.policy();
            let plan = policy.plan(&instances, &six, None, round).unwrap();
            prop_assert_eq!(plan.shares(&six).len(), instances.len());
            if instances.len() > 1 {
                instances.remove(death.index(instances.len()));
                let plan = policy.plan(&instances, &six, Some(&plan), round).unwrap();
                prop_assert_eq!(plan.shares(&six).len(), instances.len());
            }
        }
    }

    /// With two instances or more, no loss of one instance, one directory or one replica leaves a
    /// client without a live point.
    #[test]
    fn no_single_loss_takes_the_service_away(
        weights in prop::collection::vec(prop_oneof![1..3_u32, 1..=u32::MAX], 2..=20),
        points in 1..5_u8,
        round in any_round(),
    ) {
        let six = slots([3, 3]);
        let instances: Vec<_> = (0..).zip(&weights).map(|(id, &weight)| instance(id, weight, points)).collect();
        for policy in PolicyName::ALL {
            if !policy.is_for_publishers() {
                continue;
            }
            let plan = policy.policy().plan(&instances, &six, None, round).unwrap();
            let most = instances.iter().map(|i| plan.slots_of(&i.id).count()).max();
            // Where weights are unequal, the quota of one may be all slots.
            if *policy == PolicyName::Mixed && plan.standing() == 1 {
                prop_assert_eq!(most, Some(6));
                continue;
            }
            for gone in &instances {
                let left = plan.with_dead(|id| *id == gone.id, &six);
                prop_assert_eq!(left.unreachable, 0.0, "{} without {}", policy, gone.id);
            }
            // Every slot is filled, so any directory and any replica may go.
            prop_assert!(plan.slots().count() == 6 && plan.slots().all(|(_, mix)| !mix.is_empty()));
        }
    }

    /// The hybrid policy lets no slot depend on one instance.
    #[test]
    fn hybrid_has_two_instances_in_every_slot(
        weights in prop::collection::vec(1..4_u32, 2..=30),
        round in any_round(),
    ) {
        let (instances, six) = (weighted(&weights), slots([3, 3]));
        let plan = Blend::hybrid().plan(&instances, &six, None, round).unwrap();
        for (_, mix) in plan.slots() {
            prop_assert!(mix.instances().len() >= 2);
        }
    }

    /// More instances than places take turns, and over a rotation each stands equally often.
    #[test]
    fn those_who_find_no_place_take_turns(more in 1..10_usize, seed: u64) {
        let six = slots([3, 3]);
        for (policy, places) in [(PolicyName::Hybrid, 60), (PolicyName::Weighted, 60), (PolicyName::Single, 10)] {
            let instances = equal(places + more);
            let mut stood = vec![0; instances.len()];
            for number in 0..instances.len() as u64 {
                let round = Round::new(number, seed);
                let shares = policy.policy().plan(&instances, &six, None, round).unwrap().shares(&six);
                prop_assert_eq!(shares.len(), places);
                for id in shares.into_keys() {
                    stood[usize::from(id)] += 1;
                }
            }
            prop_assert_eq!(stood, vec![places; instances.len()], "{}", policy);
        }
    }
}

/// Instances of unequal weights that take turns have, over a rotation, the part of all places that
/// their weights say.
#[test]
fn turns_are_by_weight() {
    let six = slots([3, 3]);
    for (policy, count) in [
        (PolicyName::Hybrid, 65),
        (PolicyName::Weighted, 65),
        (PolicyName::Single, 15),
    ] {
        // Five have twice the weight of the others.
        let weights: Vec<u32> = (0..count).map(|id| if id < 5 { 2 } else { 1 }).collect();
        let instances = weighted(&weights);
        let total: u32 = weights.iter().sum();
        let mut shares = vec![0.0; count];
        for number in 0..u64::from(total) {
            let plan = policy
                .policy()
                .plan(&instances, &six, None, Round::new(number, 7))
                .unwrap();
            for (id, share) in plan.shares(&six) {
                shares[usize::from(id)] += share / f64::from(total);
            }
        }
        for (share, weight) in shares.iter().zip(&weights) {
            let target = f64::from(*weight) / f64::from(total);
            assert!((share - target).abs() < 1e-9, "{policy}: {share} instead of {target}");
        }
    }
}

/// Up to thirty instances of unequal weights: those in two slots or more are on both replicas.
///
/// The hybrid policy has three exceptions in a thousand plans. When an instance dies, it changes at
/// most one slot more than those in which the instance stood. The weighted policy comes nearer to
/// the targets, and pays with slots.
#[test]
fn unequal_instances_are_spread_and_die_quietly() {
    let six = slots([3, 3]);
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for (policy, most_lopsided, most_loud, furthest) in
        [(PolicyName::Hybrid, 3, 5, 1), (PolicyName::Weighted, 0, 150, 5)]
    {
        let (mut lopsided, mut loud) = (0, 0);
        for _ in 0..600 {
            let weights: Vec<u32> = (0..rng.random_range(2..=30)).map(|_| rng.random_range(1..4)).collect();
            let mut instances = weighted(&weights);
            let round = Round::new(0, rng.random());
            let plan = policy.policy().plan(&instances, &six, None, round).unwrap();
            let is_lopsided = |instance: &Instance<u8>| {
                let replicas: Vec<u8> = plan.slots_of(&instance.id).map(|slot| slot.0).collect();
                replicas.len() > 1 && replicas.iter().all(|&replica| replica == replicas[0])
            };
            lopsided += usize::from(instances.iter().any(is_lopsided));

            let gone = instances.remove(rng.random_range(0..instances.len())).id;
            let after = policy.policy().plan(&instances, &six, Some(&plan), round).unwrap();
            let had = plan.slots_of(&gone).count();
            let changed = after.changes(&plan);
            assert!(
                (had..=had + furthest).contains(&changed),
                "{policy}: {changed} for {had}"
            );
            loud += usize::from(changed > had);
        }
        assert!(lopsided <= most_lopsided, "{policy}: {lopsided} plans");
        assert!(loud <= most_loud, "{policy}: {loud} deaths");
    }
}

/// Up to sixty equal instances over six slots: no share is further from its target than 1/200.
///
/// Sizes differ by one at most. An instance with two slots or more is on both replicas. A slot is
/// as full as equal shares allow.
#[test]
fn hybrid_is_even_for_one_to_sixty() {
    let six = slots([3, 3]);
    for count in 1..=60 {
        let instances = equal(count);
        for seed in 0..3 {
            let plan = Blend::hybrid()
                .plan(&instances, &six, None, Round::new(0, seed))
                .unwrap();
            assert!(error(&plan, &instances, &six) < 1.0 / 200.0, "{count} instances");

            let sizes: BTreeSet<_> = plan.slots().map(|(_, mix)| mix.len()).collect();
            assert!(
                sizes.last().unwrap() - sizes.first().unwrap() <= 1,
                "{count} instances: {sizes:?}"
            );
            for instance in &instances {
                let stands: Vec<_> = plan.slots_of(&instance.id).collect();
                assert_eq!(stands.len(), 6.min(60 / count));
                let replicas: BTreeSet<_> = stands.iter().map(|slot| slot.0).collect();
                assert_eq!(replicas.len(), stands.len().min(2));
            }
        }
    }
}

/// All three points of each of two instances are in use, and carry alike.
#[test]
fn hybrid_uses_all_points() {
    let six = slots([3, 3]);
    let plan = Blend::hybrid().plan(&equal(2), &six, None, Round::new(0, 1)).unwrap();
    let loads = plan.loads(&six);
    assert_eq!(loads.len(), 6);
    for load in loads.into_values() {
        assert!((load - 1.0 / 6.0).abs() < 1e-9);
    }
}

/// Slots that are many, that belong to three replicas, or that are read unlike each other: no six
/// as in v2.
#[test]
fn other_numbers_of_slots_are_planned_too() {
    let even = |count: u8, replicas: u8| -> Vec<Slot<(u8, u8)>> {
        let ids = (0..count).map(|n| (n % replicas, n));
        ids.map(|id| Slot::new(id, id.0, 1.0 / f64::from(count)).unwrap())
            .collect()
    };
    let unlike = |count: u8| -> Vec<Slot<(u8, u8)>> {
        let whole: u32 = (1..=u32::from(count)).sum();
        let share = |n: u8| f64::from(n + 1) / f64::from(whole);
        (0..count)
            .map(|n| Slot::new((n % 2, n), n % 2, share(n)).unwrap())
            .collect()
    };
    // v3: eight slots, of which clients read six.
    let mut v3 = even(6, 2);
    v3.extend((0..2).map(|n| Slot::new((n, 9), n, 0.0).unwrap()));
    for (slots, worst) in [
        (even(1, 1), 1.0 / 8.0),
        (even(8, 2), 1.0 / 120.0),
        (even(9, 3), 1.0 / 120.0),
        (even(64, 2), 1.0 / 120.0),
        (unlike(4), 1.0 / 30.0),
        (unlike(8), 1.0 / 30.0),
        (unlike(64), 1.0 / 30.0),
        (v3, 1.0 / 120.0),
    ] {
        for weights in [&[1, 1, 1][..], &[1, 2, 3, 4], &[5, 1, 1, 1, 1, 1, 1]] {
            let instances = weighted(weights);
            for policy in [PolicyName::Hybrid, PolicyName::Weighted] {
                let round = Round::new(0, 1);
                let plan = policy.policy().plan(&instances, &slots, None, round).unwrap();
                assert_sound(&plan, &instances, &slots);
                let found = error(&plan, &instances, &slots);
                assert!(
                    found <= worst + 1e-9,
                    "{policy}, {} slots, {weights:?}: {found}",
                    slots.len()
                );
                let rest = &instances[1..];
                let after = policy.policy().plan(rest, &slots, Some(&plan), round).unwrap();
                assert_sound(&after, rest, &slots);
            }
        }
    }
}

/// Among few relays, no one has a relay twice and everyone finds a place.
#[test]
fn few_relays_are_shared_out() {
    let six = slots([3, 3]);
    // Six instances whose three points each are at the same nine relays, and three whose only point
    // is at the same one.
    let nine: Vec<_> = (0..6)
        .map(|id| Instance::new(id, (0..3).map(|n| Relay::new((u128::from(id) * 4 + n * 5) % 9))))
        .collect();
    let one: Vec<_> = (0..3).map(|id| Instance::new(id, [Relay::new(7)])).collect();
    for policy in [PolicyName::Hybrid, PolicyName::Weighted] {
        for (instances, worst) in [(&nine, 1.0 / 120.0), (&one, 1e-9)] {
            let plan = policy.policy().plan(instances, &six, None, Round::new(0, 1)).unwrap();
            assert_sound(&plan, instances, &six);
            assert!(error(&plan, instances, &six) <= worst, "{policy}: {plan:?}");
        }
    }
}

/// Weights nine to one: texts of both instances can give no more than three quarters to one of
/// them; the weighted policy may leave the other out of some.
#[test]
fn weighted_is_as_exact_as_points_allow() {
    let (instances, six) = (weighted(&[9, 1]), slots([3, 3]));
    let plan = |policy: TestPolicy| policy.plan(&instances, &six, None, Round::new(0, 1)).unwrap();
    assert!((error(&plan(Box::new(Blend::hybrid())), &instances, &six) - 0.15).abs() < 1e-9);
    let weighted = plan(Box::new(Blend::weighted()));
    assert!(error(&weighted, &instances, &six) < 1e-9, "{weighted:?}");
}

/// After a death in the middle of a round, only the slots of the dead instance are written, as long
/// as all shares stay within 1/120 of the new targets.
#[test]
fn a_departure_changes_the_slots_it_must() {
    let six = slots([3, 3]);
    let mut exceptions = BTreeSet::new();
    for count in 2..=60 {
        let instances = equal(count);
        let round = Round::new(3, count as u64);
        let before = Blend::hybrid().plan(&instances, &six, None, round).unwrap();
        for gone in [0, count / 2, count - 1] {
            let mut rest = instances.clone();
            let gone = rest.remove(gone).id;
            let after = Blend::hybrid().plan(&rest, &six, Some(&before), round).unwrap();
            let had: BTreeSet<_> = before.slots_of(&gone).collect();
            for (slot, mix) in after.slots() {
                let changed = before.slot(slot) != Some(mix);
                assert!(changed || !had.contains(slot), "{count} instances");
                if changed && !had.contains(slot) {
                    exceptions.insert(count);
                }
            }
            assert!(error(&after, &rest, &six) <= 1.0 / 120.0 + 1e-9);
        }
    }
    // Of 32, say, a slot of five is left with four, and each of them with 1/24, which is further
    // than 1/120 from 1/31.
    assert_eq!(exceptions, BTreeSet::from([23, 32, 33]));
}

/// A point that moves to another relay changes only the slots in which it stood, and no share.
#[test]
fn a_point_that_moves_changes_its_slots() {
    let six = slots([3, 3]);
    for count in [2, 3, 7, 20, 60] {
        let mut instances = equal(count);
        let round = Round::new(0, 1);
        let before = Blend::hybrid().plan(&instances, &six, None, round).unwrap();
        let moved = std::mem::replace(&mut instances[0].points[1], Relay::new(u128::MAX));
        let after = Blend::hybrid().plan(&instances, &six, Some(&before), round).unwrap();
        for (slot, mix) in after.slots() {
            let before = before.slot(slot).unwrap();
            let had = before.points().any(|(relay, _)| relay == moved);
            assert_eq!(mix != before, had);
            assert_eq!(mix.instances(), before.instances());
        }
    }
}

/// An instance may have weight enough for all places, and still does not stand alone, where there
/// are more instances than places.
#[test]
fn no_weight_is_so_large_that_one_stands_alone() {
    let weights: Vec<_> = (0..11).map(|id| if id == 3 { u32::MAX } else { 1 }).collect();
    let (instances, six) = (weighted(&weights), slots([3, 3]));
    let policy: TestPolicy = PolicyName::Single.policy();
    for number in 0..20 {
        let plan = policy.plan(&instances, &six, None, Round::new(number, 7)).unwrap();
        // Three points beside one.
        assert!(plan.shares(&six)[&3] >= 0.75 - 1e-9, "{plan:?}");
        assert_eq!(plan.with_dead(|id| *id == 3, &six).unreachable, 0.0, "{plan:?}");
    }
}

/// An instance that joins is reachable at once: sixty instances that come one after the other.
///
/// Shares are as near to even as those of a plan that is made anew.
#[test]
fn whoever_joins_is_reachable_at_once() {
    let six = slots([3, 3]);
    for policy in [PolicyName::Hybrid, PolicyName::Weighted] {
        let policy: TestPolicy = policy.policy();
        let round = Round::new(0, 7);
        let mut before = policy.plan(&equal(1), &six, None, round).unwrap();
        let mut written = 0;
        for count in 2..=60 {
            let instances = equal(count);
            let plan = |previous| policy.plan(&instances, &six, previous, round).unwrap();
            let after = plan(Some(&before));
            assert_eq!(after.shares(&six).len(), count);
            let (found, anew) = (error(&after, &instances, &six), error(&plan(None), &instances, &six));
            assert!(
                found <= anew.max(1.0 / 1000.0) + 1e-8,
                "{}, {count} instances: {found} instead of {anew}",
                policy.name()
            );
            written += after.changes(&before);
            before = after;
        }
        assert!(written < 60 * 3, "{}: {written} slots", policy.name());
    }
}

#[test]
fn single_is_the_same_everywhere_and_changes_as_a_whole() {
    let six = slots([3, 3]);
    for (count, points) in [(1, 3), (2, 6), (3, 9), (4, 8), (5, 10), (10, 10), (12, 10)] {
        let instances = equal(count);
        let policy: TestPolicy = PolicyName::Single.policy();
        let round = Round::new(0, 1);
        let plan = policy.plan(&instances, &six, None, round).unwrap();
        let mixes: Vec<_> = plan.slots().map(|(_, mix)| mix).collect();
        assert_eq!(mixes[0].len(), points, "{count} instances");
        assert!(mixes.windows(2).all(|pair| pair[0] == pair[1]));
        if count > 1 {
            let after = policy.plan(&instances[1..], &six, Some(&plan), round).unwrap();
            assert!([0, 6].contains(&after.changes(&plan)));
        }
    }
}

/// Slots that nobody is known to read are planned as if all read them alike.
#[test]
fn slots_that_nobody_reads_are_planned_alike() {
    let six = slots([3, 3]);
    let unread: Vec<_> = six
        .iter()
        .map(|slot| Slot::new(*slot.id(), slot.id().0, 0.0).unwrap())
        .collect();
    let instances = weighted(&[1, 2, 3, 4]);
    for policy in policies() {
        let plan = |slots: &[_]| policy.plan(&instances, slots, None, Round::new(0, 1)).unwrap();
        assert_eq!(plan(&unread), plan(&six), "{}", policy.name());
    }
}

/// An instance without points does not stand in a plan, and the others share what it would have.
#[test]
fn who_has_no_points_is_left_out() {
    let six = slots([3, 3]);
    let mut instances = weighted(&[1, 2, 3]);
    instances[2].points.clear();
    for policy in policies() {
        let plan = |instances: &[_]| policy.plan(instances, &six, None, Round::new(0, 1)).unwrap();
        assert_eq!(plan(&instances), plan(&instances[..2]), "{}", policy.name());
    }
}

#[test]
fn what_cannot_be_planned_is_named() {
    let (two, six) = (equal(2), slots([3, 3]));
    for policy in policies() {
        let result = |instances: &[Instance<u8>], slots: &[Slot<(u8, u8)>]| {
            policy.plan(instances, slots, None, Round::new(0, 0)).unwrap_err()
        };
        assert_eq!(result(&[], &six), Error::NoInstances);
        assert_eq!(result(&[instance(0, 1, 0)], &six), Error::NoInstances);
        assert_eq!(result(&two, &[]), Error::NoSlots);
        let twice = [instance(4, 1, 3), instance(5, 1, 3), instance(4, 2, 0)];
        assert!(matches!(
            result(&twice, &six),
            Error::DuplicateInstance {
                first: 0,
                second: 2,
                ..
            }
        ));
        let mut twice = slots([2, 0]);
        twice.push(Slot::new((0, 1), 1, 0.0).unwrap());
        assert!(matches!(
            result(&two, &twice),
            Error::DuplicateSlot {
                first: 1,
                second: 2,
                ..
            }
        ));
        assert!(matches!(
            result(&two, &slots([33, 32])),
            Error::TooManySlots {
                slots: 65,
                limit: 64,
                ..
            }
        ));
    }
}

/// Descriptors of twenty points, as v3 allows them: up to 120 equal instances stand, and unequal
/// weights are met within half of what a point carries then.
#[test]
fn twenty_points_carry_more_instances_and_finer_shares() {
    let (six, twenty) = (slots([3, 3]), NonZeroUsize::new(20).unwrap());
    let points = |weights: &[u32]| -> Vec<_> {
        let weights = (0..).zip(weights);
        weights.map(|(id, &weight)| instance(id, weight, 20)).collect()
    };
    for name in [PolicyName::Hybrid, PolicyName::Weighted] {
        let policy: TestPolicy = name.policy_with(twenty);
        let plan = policy.plan(&points(&[1; 120]), &six, None, Round::new(0, 7)).unwrap();
        assert_eq!(plan.standing(), 120);
        for weights in [
            &[1, 2, 3, 4][..],
            &[3, 5, 7, 11, 13, 17, 19],
            &[2; 33],
            &[1, 9, 9, 9, 9, 9, 9, 9],
        ] {
            let instances = points(weights);
            let plan = policy.plan(&instances, &six, None, Round::new(0, 7)).unwrap();
            let found = error(&plan, &instances, &six);
            assert!(found <= 1.0 / 240.0 + 1e-9, "{name}, {weights:?}: {found}");
        }
    }
}

/// The limits are settings.
#[test]
fn points_and_instances_of_a_slot_can_be_limited() {
    let (instances, six) = (equal(12), slots([3, 3]));
    let limit = |limit| NonZeroUsize::new(limit).unwrap();
    let narrow = Blend::hybrid().points_per_descriptor(limit(4));
    let plan = narrow.plan(&instances, &six, None, Round::new(0, 0)).unwrap();
    assert!(plan.slots().all(|(_, mix)| mix.len() == 4));
    let wide = Blend::weighted().instances_per_slot(limit(3));
    let plan = wide
        .plan(&weighted(&[9, 1, 1, 1]), &six, None, Round::new(0, 0))
        .unwrap();
    assert!(plan.slots().all(|(_, mix)| mix.instances().len() >= 3));
}
