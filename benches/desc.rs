//! Descriptors: how long it takes to read, verify, and sign them, with each back end for RSA.
//! Signing is what a round costs: once per slot.
#![allow(missing_docs, clippy::unwrap_used, reason = "Criterion's macros; a bench may panic")]

#[path = "work/descriptors.rs"]
mod work;

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
#[cfg(feature = "openssl")]
use onionweave::desc::rsa::OpenSsl;
use onionweave::desc::rsa::{Backend, RustCrypto};
use work::Service;

fn descriptor(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("descriptor");
    group.bench_function("parse", |bencher| bencher.iter(work::parse));
    let verified = work::parse_and_verify(&RustCrypto);
    group.bench_function("parse to introduction points", |bencher| {
        bencher.iter(|| (work::parse(), work::introduction_points(&verified)));
    });
    with(&mut group, "rsa", &RustCrypto);
    #[cfg(feature = "openssl")]
    with(&mut group, "openssl", &OpenSsl);
    group.finish();
}

/// Operations that need RSA.
fn with(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, rsa: &'static dyn Backend) {
    let mut bench = |work: &str, operation: &dyn Fn()| {
        group.bench_function(BenchmarkId::new(work, name), |bencher| bencher.iter(operation));
    };
    let service = Service::new(rsa);
    let key = work::key(rsa);
    let digest = black_box([7; 20]);
    let signature = key.sign_digest(&digest).unwrap();
    let verify_alone = || {
        key.public_key()
            .verify_with(rsa, &digest, black_box(&signature))
            .unwrap()
    };
    bench("parse and verify", &|| drop(black_box(work::parse_and_verify(rsa))));
    bench("rsa verify alone", &verify_alone);
    bench("sign ten points", &|| drop(black_box(service.sign())));
    bench("rsa sign alone", &|| {
        drop(black_box(key.sign_digest(black_box(&digest))))
    });
    bench("six distinct of ten points", &|| drop(black_box(service.sign_six())));
}

criterion_group!(benches, descriptor);
criterion_main!(benches);
