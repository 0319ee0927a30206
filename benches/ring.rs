//! The ring: reading it from a list of relays, finding the directories that are responsible for a
//! service, and what a new consensus changes.
#![allow(missing_docs, clippy::unwrap_used, reason = "Criterion's macros; a bench may panic")]

mod inputs;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use onionweave::ring::relays::RelayList;
use onionweave::ring::v2::{DescriptorId, Replica, RingChange, ServiceId, TimePeriod};
use onionweave::ring::{Fingerprint, HashRing, UnixTime};

const NOW: UnixTime = UnixTime::from_secs(1_795_349_239);

fn reading(criterion: &mut Criterion) {
    let document = inputs::ns_all();
    let mut group = criterion.benchmark_group("ring");
    group.throughput(Throughput::Bytes(document.len() as u64));
    group.bench_function(format!("ring from ns/all, {}", inputs::RELAYS), |bencher| {
        bencher.iter(|| RelayList::from_ns_all(black_box(&document)).unwrap().hash_ring());
    });
    group.finish();
}

fn building(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    for size in [7_000, 1_000_000] {
        let directories = directories(size);
        group.throughput(Throughput::Elements(size.into()));
        group.bench_function(format!("ring from fingerprints, {size}"), |bencher| {
            bencher.iter(|| HashRing::new(black_box(&directories).iter().copied()));
        });
    }
    group.finish();
}

fn looking_up(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    group.throughput(Throughput::Elements(1));
    // Each time another one, as nobody asks twice for the same.
    let mut services = services(4_096).into_iter().cycle();
    group.bench_function("descriptor IDs of both replicas", |bencher| {
        bencher.iter(|| descriptor_ids(&services.next().unwrap()));
    });
    for size in [7_000, 1_000_000] {
        let ring = HashRing::new(directories(size));
        group.bench_function(format!("responsible directories of both replicas, {size}"), |bencher| {
            bencher.iter(|| {
                let ids = descriptor_ids(&services.next().unwrap());
                ids.map(|id| take_three(id.responsible(&ring)))
            });
        });
        // What the ring's index is measured against.
        let sorted: Vec<Fingerprint> = ring.iter().collect();
        group.bench_function(
            format!("responsible directories of both replicas, {size}, by binary search"),
            |bencher| {
                bencher.iter(|| {
                    let ids = descriptor_ids(&services.next().unwrap());
                    ids.map(|id| {
                        let first = sorted.partition_point(|directory| directory.as_bytes() < id.as_bytes());
                        let (before, from) = sorted.split_at(first);
                        take_three(from.iter().chain(before).copied())
                    })
                });
            },
        );
    }
    group.finish();
}

fn changing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    // In an hour, some thirty relays come or go.
    let all = directories(7_000);
    let [old, new] = [&all[..6_985], &all[15..]].map(|relays| HashRing::new(relays.iter().copied()));
    group.bench_function("changes between two rings, 7000", |bencher| {
        bencher.iter(|| RingChange::between(black_box(&old), black_box(&new)));
    });
    let change = RingChange::between(&old, &new);
    let services = services(1_000);
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("services touched by a change, 1000", |bencher| {
        bencher.iter(|| {
            let touched = services
                .iter()
                .filter(|service| change.touches_service(service, black_box(NOW)));
            touched.count()
        });
    });
    group.finish();
}

fn descriptor_ids(service: &ServiceId) -> [DescriptorId; 2] {
    let period = TimePeriod::at(service, black_box(NOW));
    Replica::ALL.map(|replica| DescriptorId::of(service, period, replica))
}

/// Returns the first three, so that each is looked at.
fn take_three(mut directories: impl Iterator<Item = Fingerprint>) -> [Option<Fingerprint>; 3] {
    [(); 3].map(|()| directories.next())
}

/// Returns directories in no order.
fn directories(size: u32) -> Vec<Fingerprint> {
    (0..size).map(|number| digest(number).into()).collect()
}

fn services(count: u32) -> Vec<ServiceId> {
    (0..count)
        .map(|number| ServiceId::from_public_key_der(&digest(number)))
        .collect()
}

fn digest(number: u32) -> [u8; 20] {
    inputs::digest(number.wrapping_mul(2_654_435_761), number)
}

criterion_group!(benches, reading, building, looking_up, changing);
criterion_main!(benches);
