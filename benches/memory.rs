//! Allocations of an operation: their number, their bytes, and the most bytes at once. Printed as
//! JSON.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench may panic, and prints"
)]

mod inputs;
mod work;

use std::collections::BTreeMap;
use std::hint::black_box;

use allocation_counter::measure;
use onionweave::desc::rsa::RustCrypto;
use onionweave::ring::HashRing;
use serde::Serialize;
use work::descriptors::{self, Service};
use work::ring::{self, Asker};

/// The directories of a ring that no network has.
const MILLION: u32 = 1_000_000;

#[derive(Serialize)]
struct Cost {
    allocations: u64,
    bytes: u64,
    /// The most bytes at any one time, what is handed back included.
    peak: u64,
}

fn main() {
    let verified = descriptors::parse_and_verify(&RustCrypto);
    let service = Service::new(&RustCrypto);
    let asker = Asker::new();
    let ns_all = inputs::ns_all();
    let million: Vec<_> = (0..MILLION)
        .map(|number| inputs::digest(number.wrapping_mul(2_654_435_761), number).into())
        .collect();

    let costs = BTreeMap::from([
        ("parse", cost(descriptors::parse)),
        (
            "introduction points",
            cost(|| descriptors::introduction_points(&verified)),
        ),
        ("verify", cost(|| descriptors::parse_and_verify(&RustCrypto))),
        ("sign", cost(|| service.sign())),
        ("six", cost(|| service.sign_six())),
        ("directories", cost(|| asker.responsible())),
        ("ring", cost(|| ring::ring_of(&ns_all))),
        (
            "ring of a million",
            cost(|| million.iter().copied().collect::<HashRing>()),
        ),
    ]);
    println!("{}", serde_json::to_string_pretty(&costs).unwrap());
}

/// The cost of the second time: the first may fill what is filled once.
fn cost<T>(mut operation: impl FnMut() -> T) -> Cost {
    operation();
    let counted = measure(|| {
        black_box(operation());
    });
    Cost {
        allocations: counted.count_total,
        bytes: counted.bytes_total,
        peak: counted.bytes_max,
    }
}
