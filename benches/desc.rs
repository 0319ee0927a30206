//! Descriptors: how long it takes to read, verify, and sign one. Signing is what a round costs: once per slot.
#![allow(missing_docs, clippy::unwrap_used, reason = "Criterion's macros; a bench may panic")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use onionweave::desc::v2::{Draft, ServiceKey, UnverifiedDescriptor};
use onionweave::ring::v2::{Replica, TimePeriod};

const TEXT: &[u8] = include_bytes!("../crates/desc/testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
const KEY: &str = include_str!("../crates/desc/testdata/plain/private_key");

fn descriptor(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("descriptor");
    group.throughput(Throughput::Bytes(TEXT.len() as u64));

    let unverified = UnverifiedDescriptor::parse(TEXT).unwrap();
    let descriptor = unverified.clone().verify().unwrap();
    group.bench_function("parse", |bencher| {
        bencher.iter(|| UnverifiedDescriptor::parse(black_box(TEXT)).unwrap());
    });
    group.bench_function("verify", |bencher| {
        bencher.iter(|| unverified.clone().verify().unwrap());
    });
    group.bench_function("introduction points", |bencher| {
        bencher.iter(|| descriptor.introduction_points().unwrap());
    });

    let key = ServiceKey::from_pem(KEY).unwrap();
    let draft = Draft::new(descriptor.introduction_points().unwrap());
    let time = descriptor.publication_time();
    let period = TimePeriod::at(&key.service_id(), time);
    group.bench_function("sign", |bencher| {
        bencher.iter(|| draft.sign(&key, period, Replica::ALL[0], black_box(time)).unwrap());
    });
    group.finish();
}

criterion_group!(benches, descriptor);
criterion_main!(benches);
