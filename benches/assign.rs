//! Plans: what a round costs before anything is signed.
#![allow(missing_docs, clippy::unwrap_used, reason = "Criterion's macros; a bench may panic")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use onionweave::assign::{Instance, Plan, Policy, PolicyName, Relay, Round, Slot, Weight};

/// Three directories for each of two replicas.
const SLOTS: u8 = 6;
/// A plan for sixty instances may take so long, and the plans of a thousand services.
const SIXTY: Duration = Duration::from_millis(1);
const THOUSAND: Duration = Duration::from_secs(1);

type Boxed = Box<dyn Policy<u128, u8>>;

fn slots() -> Vec<Slot<u8>> {
    (0..SLOTS)
        .map(|slot| Slot::new(slot, slot / 3, 1.0 / f64::from(SLOTS)).unwrap())
        .collect()
}

/// Instances with three points each, and weights as they come.
fn instances(count: u128, weight: impl Fn(u128) -> u32) -> Vec<Instance<u128>> {
    (0..count)
        .map(|id| {
            let relays = (3 * id..3 * id + 3).map(Relay::new);
            Instance::new(id, relays).weight(Weight::try_from(weight(id)).unwrap())
        })
        .collect()
}

/// Weights from one to a hundred that follow no rule.
fn uneven(id: u128) -> u32 {
    (id * 7_919 % 100) as u32 + 1
}

/// The last instance, or the first, dies.
fn after_a_death(policy: &Boxed, instances: &[Instance<u128>], first: &Plan<u128, u8>) -> Plan<u128, u8> {
    policy
        .plan(&instances[1..], &slots(), Some(first), first.round())
        .unwrap()
}

fn plan(criterion: &mut Criterion) {
    let slots = slots();
    let mut aims = String::new();
    for &name in PolicyName::ALL {
        let policy: Boxed = name.policy();
        let mut group = criterion.benchmark_group(format!("plan/{name}"));
        for (count, kind, weight) in [
            (6, "equal", (|_| 1) as fn(u128) -> u32),
            (60, "equal", |_| 1),
            (60, "uneven", uneven),
        ] {
            let instances = instances(count, weight);
            let anew = |number| policy.plan(&instances, &slots, None, Round::new(number, 7)).unwrap();
            let first = anew(0);
            group.bench_function(BenchmarkId::new(format!("{kind}, anew"), count), |bencher| {
                bencher.iter(|| anew(0));
            });
            group.bench_function(BenchmarkId::new(format!("{kind}, after a death"), count), |bencher| {
                bencher.iter(|| after_a_death(&policy, &instances, &first));
            });
            if count == 60 {
                // The slowest of a hundred rounds, each time the better of two, so that an
                // interrupted one does not count.
                let slowest = (0..100)
                    .map(|number| took(|| anew(number)).min(took(|| anew(number))))
                    .max();
                let took = slowest.unwrap_or_default();
                let death = took_twice(|| after_a_death(&policy, &instances, &first));
                for (what, took) in [("slowest of a hundred rounds", took), ("after a death", death)] {
                    line(
                        &mut aims,
                        &format!("{name}, sixty {kind} instances, {what}"),
                        took,
                        SIXTY,
                    );
                }
            }
        }
        group.finish();
        let took = took(|| thousand(&policy, &slots));
        line(&mut aims, &format!("{name}, a thousand services"), took, THOUSAND);
    }
    eprintln!("\n{aims}");
}

/// Plans for a thousand services of one to twelve instances of different weights, or of equal ones.
fn thousand(policy: &Boxed, slots: &[Slot<u8>]) -> usize {
    let plans = (0..1000_u128).map(|service| {
        let weight = |id| if service % 2 == 0 { 1 } else { uneven(id + service) };
        let round = Round::new(0, service as u64);
        policy
            .plan(&instances(service % 12 + 1, weight), slots, None, round)
            .unwrap()
    });
    plans.map(|plan| plan.slots().count()).sum()
}

fn took<T>(work: impl FnOnce() -> T) -> Duration {
    let begin = Instant::now();
    black_box(work());
    begin.elapsed()
}

fn took_twice<T>(work: impl Fn() -> T) -> Duration {
    took(&work).min(took(&work))
}

/// A line that says what something took, and what it may take.
fn line(aims: &mut String, what: &str, took: Duration, aim: Duration) {
    let verdict = if took <= aim { "reached" } else { "NOT REACHED" };
    let _ = writeln!(aims, "{what:<64} {took:>12.1?}   aim {aim:?}: {verdict}");
}

criterion_group!(benches, plan);
criterion_main!(benches);
