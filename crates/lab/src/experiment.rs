//! Redraws the figures of the thesis that Onionweave comes from, in virtual time or on private
//! networks of real Tor, beside the thesis's own numbers.
//!
//! ```text
//! cargo xtask experiment all                       # every figure, simulated
//! cargo xtask experiment failover --out target/mine
//! cargo xtask experiment race --real               # the same with real tor processes
//! ```
//!
//! Each experiment writes `NAME.csv` and `NAME.svg` (with `--real`, `NAME-real.csv` and so on, and
//! each visit in `NAME-visits1-real.csv`), and tells in one line how it compares to the thesis.
//!
//! # Layout
//!
//! | module | what is in it |
//! | --- | --- |
//! | `race`, `downloads`, `failover`, `mixed`, `hybrid`, `policies` | one experiment each: the set-up, how it is simulated, how it is run on real Tor, its picture and its verdict |
//! | `thesis` | the thesis's set-up and numbers, with their pages |
//! | `trace` | what instances sent along time, simulated or real |
//! | `series` | many simulations on all cores |
//! | `plot`, `output`, `progress` | pictures, files, bars |
//! | `real` | private networks of real Tor: instances, publisher, clients |

mod downloads;
mod failover;
mod hybrid;
mod mixed;
mod output;
mod plot;
mod policies;
mod progress;
mod race;
mod real;
mod series;
mod thesis;
mod trace;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use clap::ValueEnum;

use output::Output;

/// Redraw the figures of the thesis beside its own numbers
///
/// Without --real everything is simulated, in virtual time, with the thesis's own set-up: 100
/// directories, 300 clients, 50 000 seconds. Each experiment writes its data (CSV) and its picture
/// (SVG), and tells in one line how it compares.
#[derive(clap::Args)]
#[command(after_help = REAL)]
pub(crate) struct Args {
    /// Name of the experiment
    name: Name,

    /// In virtual time; this is the default
    #[arg(long, conflicts_with = "real")]
    sim: bool,

    /// On a private network of real tor processes on 127.0.0.1; see below for what that takes
    #[arg(long)]
    real: bool,

    /// The folder for data and pictures
    #[arg(long, value_name = "DIR", default_value = "target/experiments")]
    out: PathBuf,

    /// Decides all that is drawn; the simulator comes out the same for the same seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// A small part of everything: to try whether it runs, not to measure
    #[arg(long)]
    brief: bool,
}

const REAL: &str = "\
Simulated on two cores, race takes 25 s, downloads 4 s, failover 16 s, mixed 5 s, hybrid 1 s, policies 20 s, and all 70 s.

With --real on two cores, race takes 8 min, downloads 5, failover 7, mixed 8, hybrid 9, policies 6, and all 45 min at most, in which nothing else should
run on the machine. There are up to 144 instances at once (hybrid), 25 clients and 14 relays, each a process, and 2 GB of memory in all. What does not
come up the second time is left out, told, and makes the run fail in the end, but does not keep the rest from being shown. It uses tor 0.4.5.9, which is
built from source once per machine, or the tor that the environment variable ONIONWEAVE_TOR names.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// Figure 4.1: 2, 3 and 6 instances with one key overwrite each other
    Race,
    /// Figure 4.2: how long a fixed transfer takes with 1, 2, 3 and 6 instances
    Downloads,
    /// Figure 4.3: an instance dies half way, with even starts and with one that published last
    Failover,
    /// Figure 5.3: each directory hands out one instance; 2 to 6 instances, 1 000 requests
    Mixed,
    /// Chapter 6.1, never measured there: six master descriptors, 7 to 60 instances
    Hybrid,
    /// All policies on the same failures
    Policies,
    /// Every one of these
    All,
}

/// Settings of a run.
struct Run {
    real: bool,
    seed: u64,
    brief: bool,
    output: Output,
    /// Parts that an experiment on real Tor had to leave out.
    left_out: Mutex<Vec<String>>,
}

impl Run {
    /// Returns the full count, or the brief one if the run is only to be tried.
    fn count(&self, full: usize, brief: usize) -> usize {
        if self.brief { brief } else { full }
    }

    /// Returns the note of a picture about the set-up.
    fn note(&self, simulated: &str, real: &str) -> String {
        let brief = if self.brief {
            "Only to try it, a small part of everything. "
        } else {
            ""
        };
        if self.real {
            format!("{brief}Measured with real tor processes on one machine: {real}")
        } else {
            format!("{brief}Simulated: {simulated}")
        }
    }

    fn one(&self, name: Name) -> anyhow::Result<()> {
        match name {
            Name::Race => race::run(self),
            Name::Downloads => downloads::run(self),
            Name::Failover => failover::run(self),
            Name::Mixed => mixed::run(self),
            Name::Hybrid => hybrid::run(self),
            Name::Policies => policies::run(self),
            Name::All => self.all(),
        }?;
        let left_out = std::mem::take(&mut *self.left_out());
        anyhow::ensure!(left_out.is_empty(), "left out: {}", left_out.join("; "));
        Ok(())
    }

    /// Parts that could not be had; the rest is shown without them.
    fn left_out(&self) -> MutexGuard<'_, Vec<String>> {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one experiment after the other, also after one has failed.
    fn all(&self) -> anyhow::Result<()> {
        let singles = Name::value_variants().iter().filter(|&&name| name != Name::All);
        let mut failed = Vec::new();
        for &name in singles {
            if let Err(error) = self.one(name) {
                self.left_out().clear();
                let name = format!("{name:?}").to_lowercase();
                eprintln!("error: {name}: {error:#}");
                failed.push(name);
            }
        }
        anyhow::ensure!(failed.is_empty(), "not everything was done: {}", failed.join(", "));
        Ok(())
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let run = Run {
        // One of them at most is given.
        real: args.real && !args.sim,
        seed: args.seed,
        brief: args.brief,
        output: Output::create(&args.out, args.real)?,
        left_out: Mutex::default(),
    };
    run.one(args.name)
}
