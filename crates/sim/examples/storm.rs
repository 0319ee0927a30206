//! Runs storms: the publisher's machine among seeded random faults.
//!
//! ```text
//! cargo run --release -p onionweave-sim --example storm -- --seed 17 --days 30
//! cargo run --release -p onionweave-sim --example storm -- --seeds 1000
//! ```
#![allow(clippy::print_stdout, reason = "programs print")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::ensure;
use clap::Parser;
use onionweave_sim::{Storm, Tally};

/// Run the publisher's machine among seeded random faults, and check after every step what must always hold
#[derive(Parser)]
struct Args {
    /// The seed of the first storm
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many storms, each with the next seed
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// How many days each
    #[arg(long, default_value_t = 10)]
    days: u32,
    /// How many of the things that happened last a failure tells
    #[arg(long, default_value_t = 60)]
    history: usize,
    /// Sign with RSA, which takes most of the time
    #[arg(long)]
    real_signatures: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let began = Instant::now();
    let (next, broken) = (AtomicU64::new(0), AtomicU64::new(0));
    let total = Mutex::new(Tally::default());
    let threads = thread::available_parallelism()?.get();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < args.seeds) {
                    match run(&args, args.seed + seed) {
                        Ok(tally) => *total.lock().unwrap_or_else(PoisonError::into_inner) += tally,
                        Err(error) => {
                            broken.fetch_add(1, Ordering::Relaxed);
                            println!("{error}\n");
                        }
                    }
                }
            });
        }
    });
    let total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{total}, in {:.1} s", began.elapsed().as_secs_f64());
    let broken = broken.into_inner();
    ensure!(broken == 0, "{broken} of {} storms broke", args.seeds);
    Ok(())
}

fn run(args: &Args, seed: u64) -> Result<Tally, onionweave_sim::Error> {
    let mut storm = Storm::new(seed).days(args.days).history(args.history);
    if args.real_signatures {
        storm = storm.real_signatures();
    }
    let tally = storm.run_with(|tally| {
        // A single storm is one that somebody looks at.
        if args.seeds == 1 {
            println!("seed {seed}: {tally}");
        }
    });
    if args.seeds > 1 && seed % 100 == 99 {
        println!("seed {seed} done");
    }
    tally
}
