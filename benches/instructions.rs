//! Number of instructions of an operation under Valgrind: at most a fifth above what was accepted.
//!
//! `instructions.toml` has the accepted counts; `cargo xtask bench --accept` writes them anew.
#![allow(missing_docs, clippy::unwrap_used, reason = "Gungraun's macros; a bench may panic")]

mod inputs;
mod work;

use std::collections::BTreeMap;

use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use onionweave::desc::rsa::RustCrypto;
use onionweave::desc::v2::{Descriptor, IntroductionPoint, UnverifiedDescriptor};
use onionweave::ring::HashRing;
use serde::Deserialize;
use work::descriptors::{self, Service};
use work::ring::{self, Asker};

/// Most instructions of an operation, in hundredths of what was accepted.
const LIMIT: u64 = 120;

fn limit(operation: &str) -> LibraryBenchmarkConfig {
    #[derive(Deserialize)]
    struct Accepted {
        instructions: BTreeMap<String, u64>,
    }
    let accepted: Accepted = toml::from_str(include_str!("instructions.toml")).unwrap();
    // What was never accepted fails.
    let accepted = accepted.instructions.get(operation).copied().unwrap_or(0);
    let callgrind = Callgrind::with_args(["--cache-sim=no"])
        .hard_limits([(EventKind::Ir, accepted * LIMIT / 100)])
        .clone();
    LibraryBenchmarkConfig::default().tool(callgrind).clone()
}

#[library_benchmark(config = limit("parse"))]
fn parse() -> UnverifiedDescriptor {
    descriptors::parse()
}

#[library_benchmark(config = limit("introduction_points"))]
#[bench::three(descriptors::parse_and_verify(&RustCrypto))]
fn introduction_points(descriptor: Descriptor) -> (Descriptor, Vec<IntroductionPoint>) {
    let points = descriptors::introduction_points(&descriptor);
    (descriptor, points)
}

#[library_benchmark(config = limit("parse_and_verify"))]
fn parse_and_verify() -> Descriptor {
    descriptors::parse_and_verify(&RustCrypto)
}

#[library_benchmark(config = limit("sign"))]
#[bench::ten(Service::new(&RustCrypto))]
fn sign(service: Service) -> (Service, Descriptor) {
    let signed = service.sign();
    (service, signed)
}

#[library_benchmark(config = limit("sign_six"))]
#[bench::ten(Service::new(&RustCrypto))]
fn sign_six(service: Service) -> (Service, [Descriptor; 6]) {
    let signed = service.sign_six();
    (service, signed)
}

#[library_benchmark(config = limit("responsible"))]
#[bench::both_replicas(Asker::new())]
fn responsible(asker: Asker) -> (Asker, usize) {
    let count = asker.responsible();
    (asker, count)
}

#[library_benchmark(config = limit("ring_of_ns_all"))]
#[bench::network(inputs::ns_all())]
fn ring_of_ns_all(ns_all: String) -> (String, HashRing) {
    let ring = ring::ring_of(&ns_all);
    (ns_all, ring)
}

library_benchmark_group!(
    name = operations,
    benchmarks = [
        parse,
        introduction_points,
        parse_and_verify,
        sign,
        sign_six,
        responsible,
        ring_of_ns_all
    ]
);
main!(library_benchmark_groups = operations);
