//! The ring: reading it from a list of relays, and finding the directories that are responsible for a descriptor.
#![allow(missing_docs, clippy::unwrap_used, reason = "Criterion's macros; a bench may panic")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use onionweave::ring::relays::RelayList;
use onionweave::ring::v2::{DescriptorId, Replica, ServiceId, TimePeriod};
use onionweave::ring::{Fingerprint, HashRing, UnixTime};

/// The answer to `GETINFO ns/all` in a network of eighteen relays.
const NS_ALL: &str = include_str!("../crates/ring/testdata/v2-network/ns_all.txt");

/// As many directories as the public network had, at even distances.
const DIRECTORIES: u32 = 4000;

fn ring(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    group.throughput(Throughput::Bytes(NS_ALL.len() as u64));
    group.bench_function("read ns/all", |bencher| {
        bencher.iter(|| RelayList::from_ns_all(black_box(NS_ALL)).unwrap().hash_ring());
    });
    group.finish();

    let ring = HashRing::new((0..DIRECTORIES).map(directory));
    let service: ServiceId = "rf75jzdtba4wnd6v".parse().unwrap();
    let period = TimePeriod::at(&service, UnixTime::from_secs(1_795_349_239));
    let mut group = criterion.benchmark_group("look-up");
    group.bench_function("descriptor ID", |bencher| {
        bencher.iter(|| DescriptorId::of(black_box(&service), period, Replica::ALL[0]));
    });
    let id = DescriptorId::of(&service, period, Replica::ALL[0]);
    group.bench_function("responsible directories", |bencher| {
        bencher.iter(|| black_box(&id).responsible(&ring).count());
    });
    group.finish();
}

fn directory(number: u32) -> Fingerprint {
    let mut digest = [0; 20];
    let place = number * (u32::MAX / DIRECTORIES);
    digest[..4].copy_from_slice(&place.to_be_bytes());
    digest.into()
}

criterion_group!(benches, ring);
criterion_main!(benches);
