//! Weights from loads settle, whatever the loads, and take nobody out of the plan.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do; clippy knows tests only by their attribute"
)]

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use onionweave_assign::{Balance, Blend, Damping, Error, Instance, Load, Measured, Policy, Relay, Round, Slot, Weight};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// Largest distance of shares that the balance does not tell apart.
const CALM: f64 = 1.0 / 120.0;

fn weight(weight: u32) -> Weight {
    Weight::try_from(weight).unwrap()
}

fn measured(weights: &[u32], loads: impl IntoIterator<Item = f64>) -> Vec<Measured<usize>> {
    let loads = loads.into_iter().map(|load| Load::new(load).unwrap());
    let both = weights.iter().zip(loads).enumerate();
    both.map(|(id, (&w, load))| Measured::new(id, weight(w), Some(load)))
        .collect()
}

fn shares(weights: &BTreeMap<usize, Weight>) -> Vec<f64> {
    let weights = weights.values().map(|weight| f64::from(weight.as_u32()));
    let total: f64 = weights.clone().sum();
    weights.map(|weight| weight / total).collect()
}

fn in_proportion(parts: impl Iterator<Item = f64> + Clone) -> Vec<f64> {
    let total: f64 = parts.clone().sum();
    parts.map(|part| part / total).collect()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

prop_compose! {
    /// Strength, and a step's length as a part of the time in which weights follow.
    fn any_damping()(strength in 0.0..0.9_f64, step in 0.02..3.0_f64) -> (f64, Damping, Duration) {
        let time = Duration::from_secs(300);
        (strength, Damping::new(strength, time).unwrap(), time.mul_f64(step))
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        // Seeds of failures go beside this file; the default looks for a library's root.
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    /// Loads that stay as they are: shares come to weight / load^strength, and stay.
    #[test]
    fn constant_loads_settle(
        (strength, damping, step) in any_damping(),
        instances in prop::collection::vec((1..6_u32, 1.0..10.0_f64), 1..8),
    ) {
        let (weights, loads): (Vec<_>, Vec<_>) = instances.into_iter().unzip();
        let measured = measured(&weights, loads.clone());
        let mut balance = Balance::new(damping);
        for _ in 0..500 {
            balance.weigh(&measured, step);
        }
        let settled = balance.clone();
        for _ in 0..500 {
            prop_assert!(!balance.weigh(&measured, step));
        }
        prop_assert_eq!(balance.weights(), settled.weights());
        let expected = in_proportion(weights.iter().zip(&loads).map(|(&w, load)| f64::from(w) / load.powf(strength)));
        let found = shares(balance.weights());
        prop_assert!(distance(&found, &expected) <= CALM + 1e-5, "{:?} instead of {:?}", found, expected);
    }

    /// Loads that follow shares, some steps late: they settle for every delay, at weight and
    /// capacity as the documentation says.
    #[test]
    fn loads_that_follow_settle(
        (strength, damping, step) in any_damping(),
        instances in prop::collection::vec((1..4_u32, 1.0..6.0_f64), 2..7),
        delay in 0..30_usize,
    ) {
        let (weights, capacities): (Vec<_>, Vec<_>) = instances.into_iter().unzip();
        let mut balance = Balance::new(damping);
        let first = in_proportion(weights.iter().map(|&w| f64::from(w)));
        let mut past: VecDeque<Vec<f64>> = vec![first; delay + 1].into();
        let kept = (-step.as_secs_f64() / 300.0).exp();
        // So many times the delay until the largest error is a millionth of what it was. Weights
        // are kept for a time that is a delay, too.
        let rounds = 14.0 / -(kept + (1.0 - kept) * strength).ln();
        let held = (300.0 / step.as_secs_f64()).ceil() as usize;
        let steps = (rounds.ceil() as usize + 1) * (delay + held + 1);
        let mut last_change = 0;
        for now in 0..2 * steps {
            let served = past.pop_front().unwrap();
            let loads = served.iter().zip(&capacities).map(|(share, capacity)| share / capacity);
            if balance.weigh(&measured(&weights, loads), step) {
                last_change = now;
            }
            past.push_back(shares(balance.weights()));
        }
        prop_assert!(last_change <= steps, "changed at step {} of {}", last_change, 2 * steps);
        let bound = |(&w, capacity): (&u32, &f64)| (f64::from(w) * capacity.powf(strength)).powf(1.0 / (1.0 + strength));
        let expected = in_proportion(weights.iter().zip(&capacities).map(bound));
        let found = shares(balance.weights());
        // What is not told apart comes back `strength` times as large, and so on; and twice that
        // for the sum of shares.
        let slack = 2.0 * CALM / (1.0 - strength);
        prop_assert!(distance(&found, &expected) <= slack, "{:?} instead of {:?}", found, expected);
    }

    /// No weight is changed by more than a factor of eight, whatever is measured. So every instance
    /// stays in the plan, and no slot is empty.
    #[test]
    fn no_load_empties_a_slot(
        all in prop::collection::vec((1..6_u32, prop::option::of(prop_oneof![Just(0.0), 0.0..1.0_f64, any::<f64>()])), 1..=60),
        steps in 1..6_usize,
        step in prop_oneof![Just(Duration::ZERO), Just(Duration::MAX), (0..1000_u64).prop_map(Duration::from_secs)],
    ) {
        let mut balance = Balance::new(Damping::default());
        let measured: Vec<_> = all
            .iter()
            .enumerate()
            .map(|(id, &(w, load))| Measured::new(id, weight(w), load.and_then(|load| Load::new(load).ok())))
            .collect();
        for _ in 0..steps {
            balance.weigh(&measured, step);
        }
        prop_assert_eq!(balance.weights().len(), all.len());
        let factors: Vec<_> = all.iter().zip(balance.weights().values())
            .map(|(&(configured, _), given)| f64::from(given.as_u32()) / f64::from(configured))
            .collect();
        let (least, most) = factors.iter().fold((f64::MAX, 0.0_f64), |(least, most), &f| (least.min(f), most.max(f)));
        prop_assert!(most / least <= 8.01, "{:?}", factors);

        let instances: Vec<_> = balance.weights().iter()
            .map(|(&id, &w)| Instance::new(id, (0..3).map(|n| Relay::new((id * 3 + n) as u128))).weight(w))
            .collect();
        let slots: Vec<_> = (0..6_u8).map(|id| Slot::new(id, id / 3, 1.0 / 6.0).unwrap()).collect();
        for policy in [Box::new(Blend::hybrid()) as Box<dyn Policy<usize, u8>>, Box::new(Blend::weighted())] {
            let plan = policy.plan(&instances, &slots, None, Round::new(0, 1)).unwrap();
            prop_assert_eq!(plan.slots().count(), 6);
            prop_assert_eq!(plan.standing(), all.len());
        }
    }
}

/// Loads that swing within what makes no difference change nothing.
#[test]
fn small_swings_change_nothing() {
    let mut balance = Balance::new(Damping::default());
    balance.weigh(&measured(&[1, 1, 1], [0.5; 3]), Duration::ZERO);
    for n in 0..1000 {
        let swing = if n % 2 == 0 { 0.02 } else { -0.02 };
        let loads = [0.5 + swing, 0.5 - swing, 0.5];
        assert!(!balance.weigh(&measured(&[1, 1, 1], loads), Duration::from_secs(60)));
    }
}

/// Loads that jump between extremes, at every measurement or every few.
///
/// Weights are given no more often than once in the time in which they follow. They stay the closer
/// to even, the shorter the swing is.
#[test]
fn large_swings_are_bounded() {
    let time = Damping::default().time();
    for (period, furthest) in [(1, 0.02), (3, 0.05), (6, 0.1), (30, 0.3)] {
        let mut balance = Balance::new(Damping::default());
        balance.weigh(&measured(&[1, 1], [1.0; 2]), Duration::ZERO);
        let mut given = 0;
        // A day, measured every ten seconds.
        for n in 0..8640 {
            let loads = if n / period % 2 == 0 { [16.0, 1.0] } else { [1.0, 16.0] };
            given += u32::from(balance.weigh(&measured(&[1, 1], loads), Duration::from_secs(10)));
            let share = shares(balance.weights())[0];
            assert!((share - 0.5).abs() <= furthest, "period {period}: {share}");
        }
        let most = 86_400 / time.as_secs() as u32;
        assert!(given <= most, "period {period}: {given} of {most}");
    }
}

#[test]
fn who_comes_goes_or_is_not_measured_is_weighed_at_once() {
    let mut balance = Balance::new(Damping::default());
    let minute = Duration::from_secs(60);
    assert!(balance.weigh(&measured(&[1, 3], [1.0, 1.0]), minute));
    let three = measured(&[1, 3, 2], [1.0, 1.0, 1.0]);
    assert!(balance.weigh(&three, minute));
    assert!(distance(&shares(balance.weights()), &[1.0 / 6.0, 0.5, 1.0 / 3.0]) < 1e-6);
    assert!(balance.weigh(&three[..1], minute));
    assert_eq!(balance.weights().len(), 1);

    // Under a heavy load its weight sinks; when nothing is known of it any more, it comes back.
    let mut heavy = measured(&[1, 1], [9.0, 1.0]);
    for _ in 0..100 {
        balance.weigh(&heavy, minute);
    }
    assert!(shares(balance.weights())[0] < 0.2);
    heavy[0].load = None;
    for _ in 0..100 {
        balance.weigh(&heavy, minute);
    }
    assert!((shares(balance.weights())[0] - 0.5).abs() <= CALM);
    assert!(!balance.weigh(&[], minute) || balance.weights().is_empty());
}

#[test]
fn loads_are_numbers_from_zero_on() {
    for good in ["0", "0.5", " 17\n", "1e3"] {
        assert!(good.parse::<Load>().is_ok());
    }
    for bad in ["", "-0.5", "NaN", "inf", "-inf", "1e999", "0,5", "12 %"] {
        let load = bad.to_owned();
        assert!(matches!(bad.parse::<Load>(), Err(Error::Load { load: found, .. }) if found == load));
    }
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(Load::new(bad), Err(Error::Load { .. })));
        assert!(matches!(Damping::new(bad, Duration::ZERO), Err(Error::Strength { .. })));
    }
    assert!(Damping::new(1.0, Duration::ZERO).is_err());
    let load = Load::new(12.0).unwrap().per(weight(3));
    assert_eq!(load.as_f64(), 4.0);
}
