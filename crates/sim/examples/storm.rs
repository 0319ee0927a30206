//! Runs storms: the publisher's machine among seeded random faults.
//!
//! ```text
//! cargo run --release -p onionweave-sim --example storm -- --seed 17 --days 30
//! cargo run --release -p onionweave-sim --example storm -- --seeds 1000
//! cargo run --release -p onionweave-sim --example storm -- --seeds 1000 --days 1 --digest
//! ```
//!
//! A storm that breaks is told on the standard output, with what happened last and the command that
//! runs it alone. How far a long run has come is told on the standard error output.
//!
//! `--digest` prints the digests of the storms in the form of `testdata/storm-digests.txt`: the
//! number of days, the first seed, and the digests of ten seeds. Two builds that print the same
//! lines let their publishers do the same things at the same times.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "programs print")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Parser;
use onionweave_sim::{Error, Storm, StormDigest, Tally};

/// Time between two lines in which a long run tells how far it has come.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// Number of digests on a line.
const DIGESTS_PER_LINE: usize = 10;

/// Run the publisher's machine among seeded random faults, and check after every step what must
/// always hold
#[derive(Clone, Copy, Parser)]
struct Args {
    /// The seed of the first storm
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Number of storms, each with the next seed
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Number of days of each
    #[arg(long, default_value_t = 10)]
    days: u32,
    /// Number of the last events that a failure tells
    #[arg(long, default_value_t = 60)]
    history: usize,
    /// Number of storms at once [default: one for each processor]
    #[arg(long)]
    threads: Option<usize>,
    /// Sign with RSA, which takes most of the time
    #[arg(long)]
    real_signatures: bool,
    /// Print the digests of what the publishers were told and asked for
    #[arg(long)]
    digest: bool,
}

/// Outcome of a storm.
enum Outcome {
    Tally(Tally),
    Digest(u64, StormDigest),
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let began = Instant::now();
    let threads = match args.threads {
        Some(threads) => threads.max(1),
        None => thread::available_parallelism()?.get(),
    };
    let (mut total, mut done, mut broken) = (Tally::default(), 0, 0_u64);
    let mut digests = BTreeMap::new();
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        let (send, outcomes) = mpsc::channel();
        for _ in 0..threads {
            let (send, next) = (send.clone(), &next);
            scope.spawn(move || {
                while let Some(number) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < args.seeds) {
                    let outcome = run(args, args.seed.wrapping_add(number));
                    // The receiver lives as long as this scope.
                    send.send(outcome).ok();
                }
            });
        }
        drop(send);
        let mut told = began;
        loop {
            match outcomes.recv_timeout(TELL_EVERY) {
                Ok(Ok(Outcome::Tally(tally))) => total += tally,
                Ok(Ok(Outcome::Digest(seed, digest))) => {
                    total.days += args.days;
                    digests.insert(seed, digest);
                }
                Ok(Err(error)) => {
                    broken += 1;
                    println!("{error}\n");
                }
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            }
            done += 1;
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                let left = began.elapsed().mul_f64((args.seeds - done) as f64 / done as f64);
                eprintln!(
                    "{done} of {} storms, {} days, {broken} broke, {} s left",
                    args.seeds,
                    total.days,
                    left.as_secs()
                );
            }
        }
    });
    match args.digest {
        true => print_digests(args.days, &digests),
        false => println!("{total}, in {:.1} s", began.elapsed().as_secs_f64()),
    }
    ensure!(broken == 0, "{broken} of {} storms broke", args.seeds);
    Ok(())
}

fn run(args: Args, seed: u64) -> Result<Outcome, Error> {
    let mut storm = Storm::new(seed).days(args.days).history(args.history);
    if args.real_signatures {
        storm = storm.real_signatures();
    }
    if args.digest {
        return Ok(Outcome::Digest(seed, storm.digest()?));
    }
    let tally = storm.run_with(|tally| {
        // A single storm is one that somebody looks at.
        if args.seeds == 1 {
            println!("seed {seed}: {tally}");
        }
    })?;
    Ok(Outcome::Tally(tally))
}

fn print_digests(days: u32, digests: &BTreeMap<u64, StormDigest>) {
    let digests: Vec<_> = digests.iter().collect();
    for line in digests.chunks(DIGESTS_PER_LINE) {
        let first = line.first().map_or(0, |(seed, _)| **seed);
        print!("{days} {first}");
        line.iter().for_each(|(_, digest)| print!(" {digest}"));
        println!();
    }
}
