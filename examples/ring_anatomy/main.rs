//! Measures a ring of directories: how evenly they are spread, for how much each is responsible,
//! and what it takes to become responsible for a service.
//!
//! ```text
//! cargo run --example ring_anatomy -- --relays cached-consensus --svg ring.svg --csv ring.csv
//! cargo run --example ring_anatomy -- --synthetic 6400 --service rf75jzdtba4wnd6v --at 2026-11-22T12:07:50Z
//! ```

mod plot;
#[path = "../common/program.rs"]
mod program;
#[path = "../common/relays.rs"]
mod relays;

use std::fmt::{self, Write as _};
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Parser;
use onionweave_ring::v2::anatomy::{Anatomy, Summary, Target, chance_of_random_relays};
use onionweave_ring::v2::{DescriptorId, Replica, ServiceId, TimePeriod};
use onionweave_ring::{Fingerprint, HashRing, UnixTime};

/// Measure a ring of v2 onion-service directories
///
/// Shows the distances of neighbours, the part of the ring that each directory is responsible for,
/// and how likely relays become responsible for a service. For a given service and time also: how
/// near its directories are to its descriptor IDs, whether that is suspicious, and how many keys
/// one must generate to get at its descriptors.
#[derive(Parser)]
#[command(name = "ring_anatomy", version)]
struct Args {
    #[command(flatten)]
    source: Source,

    /// Makes another ring with `--synthetic`
    #[arg(long, value_name = "NUMBER", default_value_t = 1, conflicts_with = "relays")]
    seed: u32,

    /// The ID or address of a service: 16 base32 characters, with or without `.onion`
    #[arg(long, value_name = "ID", requires = "at")]
    service: Option<ServiceId>,

    /// The time in question for the service, in UTC, such as 2026-11-22T12:07:50Z
    #[arg(long, value_name = "RFC3339", value_parser = program::parse_time, requires = "service")]
    at: Option<UnixTime>,

    /// A relay by its fingerprint, which may be given several times: how likely one of them becomes
    /// responsible for a service
    #[arg(long = "relay", value_name = "FINGERPRINT")]
    known: Vec<Fingerprint>,

    /// Draw the ring, and the service if there is one, into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Write each directory with its gap and its responsibility, in fractions of the ring, into
    /// this file
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// The network's relays: the answer to `GETINFO ns/all`, or a plain or microdesc consensus; `-`
    /// is standard input
    #[arg(long, value_name = "FILE")]
    relays: Option<PathBuf>,

    /// Number of directories with random fingerprints instead, to compare with
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    synthetic: Option<u32>,
}

fn main() -> ExitCode {
    program::main(|args: Args| run(&args))
}

fn run(args: &Args) -> anyhow::Result<()> {
    let ring = args.source.ring(args.seed)?;
    let report = Report::new(args, &ring)?;
    if let Some(path) = &args.svg {
        let picture = plot::draw(&report).context("the picture cannot be drawn")?;
        fs::write(path, picture).with_context(|| format!("svg {}", path.display()))?;
    }
    if let Some(path) = &args.csv {
        fs::write(path, report.csv()).with_context(|| format!("csv {}", path.display()))?;
    }
    program::print(report.to_string().as_bytes())
}

impl Source {
    fn ring(&self, seed: u32) -> anyhow::Result<HashRing> {
        if let Some(directories) = self.synthetic {
            return Ok(synthetic(directories, seed));
        }
        let path = self.relays.as_deref().context("neither relays nor a number is given")?;
        let ring = relays::read(path)?.hash_ring();
        ensure!(
            !ring.is_empty(),
            "relays {}: no relay has the HSDir flag",
            path.display()
        );
        Ok(ring)
    }
}

/// Descriptor IDs are digests, like fingerprints; so those of a service that does not exist will
/// do.
fn synthetic(directories: u32, seed: u32) -> HashRing {
    let mut service = [0; 10];
    service[..4].copy_from_slice(&seed.to_be_bytes());
    let digest = |number| DescriptorId::of(&service.into(), TimePeriod::new(number), Replica::ALL[0]);
    (0..directories)
        .map(|number| Fingerprint::from(*digest(number).as_bytes()))
        .collect()
}

/// Figures that are shown.
struct Report {
    /// Source of the ring.
    origin: String,
    /// In the order of the ring; gap and responsibility in fractions of it.
    directories: Vec<Directory>,
    gaps: Summary,
    duties: Summary,
    known: Option<Known>,
    service: Option<Service>,
}

struct Directory {
    fingerprint: Fingerprint,
    gap: f64,
    duty: f64,
}

/// Relays at places that are known.
struct Known {
    relays: usize,
    on_ring: usize,
    duty: f64,
    /// By [`DAYS`].
    chances: [f64; DAYS.len()],
}

struct Service {
    id: ServiceId,
    period: TimePeriod,
    target: Target,
}

/// Lengths of time, in days, for which somebody watches.
const DAYS: [u32; 4] = [1, 7, 30, 180];

/// Numbers of relays that somebody runs.
const RELAYS: [usize; 5] = [1, 5, 25, 100, 500];

impl Report {
    fn new(args: &Args, ring: &HashRing) -> anyhow::Result<Self> {
        let anatomy = Anatomy::new(ring);
        let directories: Vec<Directory> = anatomy
            .gaps()
            .zip(anatomy.duties())
            .map(|((fingerprint, gap), (_, duty))| Directory {
                fingerprint,
                gap: gap.fraction(),
                duty: duty.fraction(),
            })
            .collect();
        let summary = |values: &dyn Fn(&Directory) -> f64| {
            Summary::new(directories.iter().map(values)).context("there is no directory")
        };
        let (gaps, duties) = (
            summary(&|directory| directory.gap)?,
            summary(&|directory| directory.duty)?,
        );
        let origin = match (&args.source.relays, args.source.synthetic) {
            (Some(path), _) => path.display().to_string(),
            _ => format!("random fingerprints, seed {}", args.seed),
        };
        let relays = args.known.iter().copied();
        let known = (!args.known.is_empty()).then(|| Known {
            relays: args.known.len(),
            on_ring: relays.clone().filter(|relay| ring.contains(relay)).count(),
            duty: anatomy.duty(relays.clone()).fraction(),
            chances: DAYS.map(|days| anatomy.chance(relays.clone(), days)),
        });
        let service = args.service.zip(args.at).map(|(id, at)| {
            let period = TimePeriod::at(&id, at);
            let target = Target::of(ring, &id, period);
            Service { id, period, target }
        });
        Ok(Self {
            origin,
            directories,
            gaps,
            duties,
            known,
            service,
        })
    }

    fn csv(&self) -> String {
        let mut csv = "fingerprint,gap,responsibility\n".to_owned();
        for directory in &self.directories {
            let Directory { fingerprint, gap, duty } = directory;
            // Writing to a string does not fail.
            let _ = writeln!(csv, "{fingerprint},{gap:e},{duty:e}");
        }
        csv
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.directories.len();
        writeln!(f, "ring of {count} directories ({})", self.origin)?;
        writeln!(f)?;
        writeln!(
            f,
            "{:32}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "in fractions of the ring", "least", "median", "mean", "most", "Gini"
        )?;
        for (name, summary, gini) in [
            ("gap to the neighbour before", &self.gaps, "0.5"),
            ("responsible for", &self.duties, "0.3125"),
        ] {
            let [least, median, mean, most] = [summary.min(), summary.median(), summary.mean(), summary.max()];
            writeln!(
                f,
                "{name:32}{least:>10.1e}{median:>10.1e}{mean:>10.1e}{most:>10.1e}{:>10.4}  (random: {gini})",
                summary.gini()
            )?;
        }
        let mut busiest: Vec<&Directory> = self.directories.iter().collect();
        busiest.sort_by(|a, b| b.duty.total_cmp(&a.duty));
        for directory in busiest.iter().take(3) {
            let (fingerprint, percent) = (directory.fingerprint, 100.0 * directory.duty);
            writeln!(
                f,
                "  {fingerprint} is responsible for {percent:.3} % of all descriptors"
            )?;
        }

        writeln!(f)?;
        writeln!(
            f,
            "how likely relays become responsible for a given service within so many days, in percent"
        )?;
        writeln!(f, "{:32}{}", "", DAYS.map(|days| format!("{days:>10}")).concat())?;
        let percent = |chance: f64| format!("{:>10.3}", 100.0 * chance);
        for relays in RELAYS.into_iter().filter(|relays| *relays <= count) {
            let chances = DAYS.map(|days| percent(chance_of_random_relays(count, relays, days)));
            writeln!(f, "{:32}{}", format!("{relays} with random keys"), chances.concat())?;
        }
        if let Some(known) = &self.known {
            writeln!(f, "{:32}{}", "those given", known.chances.map(percent).concat())?;
            let Known {
                relays, on_ring, duty, ..
            } = known;
            writeln!(
                f,
                "  {on_ring} of {relays} given are on the ring, responsible for {:.3} % of it",
                100.0 * duty
            )?;
        }
        match &self.service {
            Some(service) => write!(f, "\n{service}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "service {} in time period {}", self.id, self.period)?;
        writeln!(f, "{:53}{:>12}{:>12}{:>12}", "", "distance", "ratio", "by chance")?;
        for slot in self.target.slots() {
            writeln!(
                f,
                "  replica {}, {}: {}{:>12.2e}{:>12.2}{:>12.2e}",
                slot.replica(),
                slot.place(),
                slot.directory(),
                slot.distance().fraction(),
                slot.ratio(),
                slot.chance()
            )?;
        }
        writeln!(
            f,
            "distance: from the descriptor ID, in fractions of the ring; ratio: the mean gap divided by the distance;"
        )?;
        writeln!(
            f,
            "by chance: how likely a directory of this place is as near, if nobody chose its key"
        )?;
        let keys = (1..=6).map(|slots| format!("{:.0} for {slots}", self.target.keys_for(slots)));
        writeln!(
            f,
            "keys to generate, on average, to hold so many slots: {}",
            keys.collect::<Vec<_>>().join(", ")
        )
    }
}
