//! Ten thousand days of faults.
//!
//! A seed that breaks anything is printed with the command that runs it alone. What it found becomes a scenario with a name
//! (`scenarios.rs`), since the seed itself draws other days once the weather changes.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use onionweave_sim::{Storm, Tally};

/// Without optimisation a day takes twenty times as long, and fewer must do.
const STORMS: u64 = if cfg!(debug_assertions) { 4 } else { 1000 };
const DAYS: u32 = 10;

#[test]
fn ten_thousand_days_of_faults() {
    let next = AtomicU64::new(0);
    let total = Mutex::new(Tally::default());
    let broken = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().unwrap().get() {
            scope.spawn(|| {
                while let seed @ ..STORMS = next.fetch_add(1, Ordering::Relaxed) {
                    match Storm::new(seed).days(DAYS).run() {
                        Ok(tally) => *total.lock().unwrap() += tally,
                        Err(error) => broken.lock().unwrap().push(error),
                    }
                }
            });
        }
    });
    let total = total.into_inner().unwrap();
    let broken = broken.into_inner().unwrap();
    println!("{total}");
    for error in broken.iter().take(3) {
        println!("{error}");
    }
    assert!(broken.is_empty(), "{} of {STORMS} storms broke", broken.len());
    assert_eq!(u64::from(total.days), STORMS * u64::from(DAYS));
    // There was something to survive.
    assert!(total.events > 10 * u64::from(total.days), "{total}");
    assert!(total.faults > 10 * u64::from(total.days), "{total}");
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
