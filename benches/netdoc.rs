//! Our own tokenizers beside those of tor-netdoc's `parse2`, on what both can read.
#![allow(
    missing_docs,
    dead_code,
    clippy::unwrap_used,
    reason = "Criterion's macros; a bench may panic; the structs are those of tests"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use onionweave::desc::v2::{IntroductionPoint, UnverifiedDescriptor};
use onionweave::ring::relays::RelayList;

#[path = "../crates/desc/tests/netdoc/parse2.rs"]
mod parse2;
#[path = "../crates/ring/tests/netdoc/statuses.rs"]
mod statuses;

/// A descriptor with three introduction points.
const DESCRIPTOR: &str = include_str!("../crates/desc/testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
/// Number of relays of the public network.
const RELAYS: u32 = 6400;

fn descriptors(criterion: &mut Criterion) {
    // The newline that the control protocol does not transmit.
    let text = format!("{DESCRIPTOR}\n");
    let mut group = criterion.benchmark_group("descriptor, unverified");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("ours", |bencher| {
        bencher.iter(|| UnverifiedDescriptor::parse(black_box(text.as_bytes())).unwrap());
    });
    group.bench_function("parse2", |bencher| {
        bencher.iter(|| parse2::Descriptor::parse(black_box(&text)).unwrap())
    });
    group.finish();

    let points = UnverifiedDescriptor::parse(text.as_bytes()).and_then(UnverifiedDescriptor::verify);
    let points = points.unwrap().introduction_points().unwrap();
    let list: String = points.iter().map(ToString::to_string).collect();
    let mut group = criterion.benchmark_group("three introduction points");
    group.throughput(Throughput::Bytes(list.len() as u64));
    group.bench_function("ours", |bencher| {
        bencher.iter(|| IntroductionPoint::parse_list(black_box(list.as_bytes())).unwrap());
    });
    group.bench_function("parse2", |bencher| {
        bencher.iter(|| parse2::IntroductionPoint::parse_list(black_box(&list)).unwrap());
    });
    group.finish();
}

fn router_statuses(criterion: &mut Criterion) {
    let list = statuses::large(RELAYS);
    let with_protocols = statuses::with_protocols(&list);
    let mut group = criterion.benchmark_group("ns/all of 6400 relays");
    group.sample_size(20);
    group.throughput(Throughput::Bytes(list.len() as u64));
    group.bench_function("ours", |bencher| {
        bencher.iter(|| RelayList::from_ns_all(black_box(&list)).unwrap())
    });
    group.bench_function("parse2", |bencher| {
        bencher.iter(|| statuses::parse2(black_box(&with_protocols)).unwrap())
    });
    group.finish();
}

criterion_group!(benches, descriptors, router_statuses);
criterion_main!(benches);
