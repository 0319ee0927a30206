//! Days of faults: two thousand of them where the code is optimised, forty where it is not.
//!
//! The environment variable `ONIONWEAVE_STORMS` sets another number of storms, of ten days each.
//!
//! A seed that breaks anything is printed with the command that runs it alone. What it found
//! becomes a scenario with a name (`scenarios.rs`), since the seed itself draws other days once the
//! weather changes.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use onionweave_sim::{Storm, StormDigest, Tally};

/// Digests of storms, as `cargo run --release -p onionweave-sim --example storm -- --digest` prints
/// them.
const DIGESTS: &str = include_str!("../testdata/storm-digests.txt");

/// Number of storms. Without optimisation a day takes twenty times as long, and fewer must do.
const STORMS: u64 = if cfg!(debug_assertions) { 4 } else { 200 };
const DAYS: u32 = 10;

#[test]
fn nothing_breaks_in_days_of_faults() {
    let total = Mutex::new(Tally::default());
    let broken = Mutex::new(Vec::new());
    let count = std::env::var("ONIONWEAVE_STORMS").map_or(STORMS, |count| count.parse().unwrap());
    let storms: Vec<_> = (0..count).map(|seed| Storm::new(seed).days(DAYS)).collect();
    on_all_processors(&storms, |storm| match storm.run() {
        Ok(tally) => *total.lock().unwrap() += tally,
        Err(error) => broken.lock().unwrap().push(error),
    });
    let total = total.into_inner().unwrap();
    let broken = broken.into_inner().unwrap();
    println!("{total}");
    for error in broken.iter().take(3) {
        println!("{error}");
    }
    assert!(broken.is_empty(), "{} of {count} storms broke", broken.len());
    assert_eq!(u64::from(total.days), count * u64::from(DAYS));
    // There was something to survive.
    assert!(total.events > 10 * u64::from(total.days), "{total}");
    assert!(total.faults > 10 * u64::from(total.days), "{total}");
}

/// A refactoring changes nothing that happens. A change of behaviour on purpose records the digests
/// anew.
#[test]
fn publishers_do_the_same_things_at_the_same_times() {
    let recorded = recorded_digests();
    assert!(recorded.len() >= 1000, "only {} digests are recorded", recorded.len());
    // Without optimisation, the first day of some seeds.
    let share: Vec<_> = match cfg!(debug_assertions) {
        true => recorded.into_iter().step_by(100).take(10).collect(),
        false => recorded,
    };
    let different = Mutex::new(Vec::new());
    on_all_processors(&share, |(days, seed, recorded)| {
        let digest = Storm::new(*seed).days(*days).digest().unwrap();
        if digest != *recorded {
            different.lock().unwrap().push((*days, *seed));
        }
    });
    let mut different = different.into_inner().unwrap();
    different.sort_unstable();
    assert!(
        different.is_empty(),
        "{} of {} storms went otherwise than recorded; the first (days, seed): {:?}",
        different.len(),
        share.len(),
        different.iter().take(10).collect::<Vec<_>>()
    );
}

#[test]
fn digests_tell_storms_apart() {
    let digest = |seed, days| Storm::new(seed).days(days).digest().unwrap();
    assert_ne!(digest(0, 1), digest(1, 1));
    assert_ne!(digest(0, 1), digest(0, 2));
}

/// The days, the seed and the digest of each recorded storm.
fn recorded_digests() -> Vec<(u32, u64, StormDigest)> {
    let lines = DIGESTS.lines().filter(|line| !line.starts_with('#'));
    let storms = lines.flat_map(|line| {
        let mut words = line.split(' ');
        let days = words.next().unwrap().parse().unwrap();
        let first: u64 = words.next().unwrap().parse().unwrap();
        (first..)
            .zip(words)
            .map(move |(seed, digest)| (days, seed, digest.parse().unwrap()))
    });
    storms.collect()
}

/// Does the same with each of many things, on as many threads as there are processors.
fn on_all_processors<T: Sync>(things: &[T], act: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().unwrap().get() {
            scope.spawn(|| {
                while let Some(thing) = things.get(next.fetch_add(1, Ordering::Relaxed)) {
                    act(thing);
                }
            });
        }
    });
}

#[test]
fn real_signatures_change_nothing() {
    for seed in 0..2 {
        let storm = Storm::new(seed).days(1);
        assert_eq!(
            storm.real_signatures().run().unwrap(),
            storm.run().unwrap(),
            "seed {seed}"
        );
    }
}

#[test]
fn same_seed_same_days() {
    let storm = Storm::new(3);
    let mut first_day = None;
    let tally = storm.days(2).run_with(|tally| {
        first_day.get_or_insert(*tally);
    });
    assert_eq!(tally.unwrap(), storm.days(2).run().unwrap());
    assert_eq!(first_day.unwrap(), storm.days(1).run().unwrap());
}
