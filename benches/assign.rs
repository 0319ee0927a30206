//! Plans: what a round costs before anything is signed.
#![allow(missing_docs, clippy::unwrap_used, reason = "Criterion's macros; a bench may panic")]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use onionweave::assign::{Instance, PolicyName, Relay, Round, Slot};

/// Three directories for each of two replicas.
const SLOTS: u8 = 6;

fn plan(criterion: &mut Criterion) {
    let slots: Vec<Slot<u8>> = (0..SLOTS)
        .map(|slot| Slot::new(slot, slot / 3, 1.0 / f64::from(SLOTS)).unwrap())
        .collect();
    let policy = PolicyName::default().policy();
    let mut group = criterion.benchmark_group("plan");
    for count in [6, 60] {
        let instances: Vec<_> = (0..count)
            .map(|id| Instance::new(id, (3 * id..3 * id + 3).map(Relay::new)))
            .collect();
        let first = policy.plan(&instances, &slots, None, Round::new(0, 7)).unwrap();
        group.bench_function(BenchmarkId::new("anew", count), |bencher| {
            bencher.iter(|| policy.plan(&instances, &slots, None, Round::new(0, 7)).unwrap());
        });
        group.bench_function(BenchmarkId::new("after a death", count), |bencher| {
            bencher.iter(|| {
                policy
                    .plan(&instances[1..], &slots, Some(&first), Round::new(0, 7))
                    .unwrap()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, plan);
criterion_main!(benches);
