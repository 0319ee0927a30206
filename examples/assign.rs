//! Shows what a policy does: which instances each directory hands out, round by round, what part of
//! the clients each instance gets, how many introduction points carry them, and what clients meet
//! when instances die.
//!
//! ```text
//! cargo run --example assign -- --instances a,b=2,c --directories 6 --rounds 3
//! cargo run --example assign -- --instances 60 --policy hybrid --dead 5
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use clap::Parser;
use onionweave_assign::{Instance, Mix, Mixed, Plan, PolicyName, Relay, Round, Slot, Weight};
use serde::{Serialize, Serializer};

/// Largest number of instances that may be asked for by their number.
const MOST_INSTANCES: usize = 1000;
/// Time, in seconds, in which a client finds that a point is dead: seen on private networks of
/// tor 0.4.5.9.
const DEAD_POINT: f64 = 0.45;

/// Show which instances each directory of an onion service would hand out
///
/// All directories are read alike by the clients. The first half of them belongs to replica 0, the
/// second half to replica 1; if their number is odd, replica 0 has one more.
#[derive(Parser)]
#[command(name = "assign", version)]
struct Args {
    /// Names of the instances, separated by commas; `=N` behind a name is its weight, else 1. A
    /// number alone is how many there are
    #[arg(long, value_name = "NAME[=N],...|COUNT")]
    instances: String,

    /// Number of responsible directories, of both replicas together (v2: 6)
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u8).range(1..=64))]
    directories: u8,

    /// Number of introduction points that each instance offers
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    points: u32,

    /// The policy
    ///
    /// mixed: one instance per directory; race: the last one to publish has all of them; single:
    /// one text, the same everywhere; hybrid: points of several instances in every text, and other
    /// ones in each; weighted: shares as near to the weights as they can be
    #[arg(long, value_name = "NAME", default_value_t)]
    policy: PolicyName,

    /// Show what a new client meets when so many instances die before the next plan, whichever they
    /// are
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    dead: Option<usize>,

    /// Number of rounds to show
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    rounds: u64,

    /// Seed of all that is drawn at random
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Write JSON instead of tables
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        // Help and version are no errors.
        Err(error) if !error.use_stderr() => error.exit(),
        Err(error) => return fail(&first_paragraph(&error.to_string())),
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("error: {error:#}")),
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let instances = parse_instances(&args.instances, args.points)?;
    let slots = slots(args.directories);
    let policy = args.policy.policy();

    let mut rounds = Vec::new();
    let mut previous: Option<Plan<String, Directory>> = None;
    for number in 0..args.rounds {
        let round = Round::new(number, args.seed);
        let plan = policy.plan(&instances, &slots, previous.as_ref(), round)?;
        rounds.push(RoundReport::new(
            &plan,
            &instances,
            &slots,
            previous.as_ref(),
            args.dead,
        ));
        previous = Some(plan);
    }
    let report = Report {
        policy: args.policy.as_str(),
        rotation: Mixed::rotation(&instances, slots.len()),
        mean_shares: mean_shares(&rounds),
        rounds,
    };

    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(out.flush()?)
}

/// Reads `a,b=2,c`, or `3` for three instances.
fn parse_instances(list: &str, points: u32) -> anyhow::Result<Vec<Instance<String>>> {
    if let Ok(count) = list.trim().parse::<usize>() {
        ensure!(
            (1..=MOST_INSTANCES).contains(&count),
            "instances: {count} is not from 1 to {MOST_INSTANCES}"
        );
        let width = count.to_string().len();
        let names: Vec<_> = (1..=count).map(|number| format!("i{number:0width$}")).collect();
        return parse_instances(&names.join(","), points);
    }
    let mut instances: Vec<Instance<String>> = Vec::new();
    for (entry, position) in list.split(',').zip(1..) {
        let (name, weight) = match entry.split_once('=') {
            Some((name, weight)) => {
                let weight = weight.trim().parse::<Weight>();
                (name, weight.with_context(|| format!("instance {entry:?}"))?)
            }
            None => (entry, Weight::ONE),
        };
        let name = name.trim();
        ensure!(!name.is_empty(), "instance {position} of {list:?} has no name");
        if instances.iter().any(|instance| instance.id == name) {
            bail!("instance {name:?} is named twice");
        }
        // No two points at one relay, as it nearly always is among thousands of relays.
        let first = u128::from(points) * instances.len() as u128;
        let relays = (first..first + u128::from(points)).map(Relay::new);
        instances.push(Instance::new(name.to_owned(), relays).weight(weight));
    }
    Ok(instances)
}

/// A directory of a replica.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Directory {
    replica: u8,
    /// Position among the directories of the replica, from 0.
    position: u8,
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.replica, self.position)
    }
}

impl Serialize for Directory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn slots(directories: u8) -> Vec<Slot<Directory>> {
    let half = directories.div_ceil(2);
    Slot::even((0..directories).map(|n| {
        let id = Directory {
            replica: n / half,
            position: n % half,
        };
        (id, id.replica)
    }))
}

#[derive(Serialize)]
struct Report {
    policy: &'static str,
    /// After so many rounds every instance got exactly its part.
    rotation: u128,
    rounds: Vec<RoundReport>,
    mean_shares: BTreeMap<String, f64>,
}

#[derive(Serialize)]
struct RoundReport {
    round: u64,
    slots: Vec<SlotReport>,
    shares: BTreeMap<String, f64>,
    /// Number of slots that hand out other points than in the round before.
    changed: usize,
    /// Number of introduction points that carry the service.
    points: usize,
    /// Part of the clients that comes in at the busiest of them.
    busiest_point: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    deaths: Option<DeathReport>,
}

/// Experience of a new client, on average, when any `dead` of the instances in the plan are dead.
#[derive(Serialize)]
struct DeathReport {
    dead: usize,
    of: usize,
    first_point_dead: f64,
    dead_points: f64,
    text_dead: f64,
    unreachable: f64,
}

#[derive(Serialize)]
struct SlotReport {
    slot: Directory,
    replica: u8,
    read_share: f64,
    points: BTreeMap<String, usize>,
}

impl RoundReport {
    fn new(
        plan: &Plan<String, Directory>,
        instances: &[Instance<String>],
        slots: &[Slot<Directory>],
        previous: Option<&Plan<String, Directory>>,
        dead: Option<usize>,
    ) -> Self {
        let loads = plan.loads(slots);
        let deaths = dead.map(|dead| {
            let outlook = plan.with_any_dead(dead, slots);
            DeathReport {
                dead: dead.min(plan.standing()),
                of: plan.standing(),
                first_point_dead: outlook.first_point_dead,
                dead_points: outlook.dead_points,
                text_dead: outlook.text_dead,
                unreachable: outlook.unreachable,
            }
        });
        // Instances that wait for their turn have a share too: none.
        let mut shares: BTreeMap<_, _> = instances.iter().map(|i| (i.id.clone(), 0.0)).collect();
        shares.extend(plan.shares(slots));
        let slots = slots.iter().map(|slot| SlotReport {
            slot: *slot.id(),
            replica: slot.replica(),
            read_share: slot.read_share(),
            points: plan.slot(slot.id()).map(counts).unwrap_or_default(),
        });
        Self {
            round: plan.round().number(),
            slots: slots.collect(),
            shares,
            changed: previous.map_or(0, |previous| plan.changes(previous)),
            points: loads.len(),
            busiest_point: loads.into_values().fold(0.0, f64::max),
            deaths,
        }
    }
}

/// Number of points of each instance.
fn counts(mix: &Mix<String>) -> BTreeMap<String, usize> {
    let counts = mix.instances().into_iter();
    counts.map(|(instance, count)| (instance.clone(), count)).collect()
}

fn mean_shares(rounds: &[RoundReport]) -> BTreeMap<String, f64> {
    let mut means = BTreeMap::new();
    for round in rounds {
        for (instance, share) in &round.shares {
            *means.entry(instance.clone()).or_insert(0.0) += share / rounds.len() as f64;
        }
    }
    means
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for round in &self.rounds {
            writeln!(f, "{round}")?;
        }
        if let [_, _, ..] = *self.rounds {
            writeln!(
                f,
                "mean of {} rounds (a full rotation has {})",
                self.rounds.len(),
                self.rotation
            )?;
            write_bars(f, &self.mean_shares)?;
        }
        Ok(())
    }
}

impl fmt::Display for RoundReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "round {} (slots changed: {})", self.round, self.changed)?;
        writeln!(f, "  slot   read share  points")?;
        for slot in &self.slots {
            let points: Vec<_> = slot.points.iter().map(|(i, count)| format!("{i} × {count}")).collect();
            let directory = slot.slot.to_string();
            writeln!(
                f,
                "  {directory:<5} {:>10.1} %  {}",
                slot.read_share * 100.0,
                points.join(", ")
            )?;
        }
        write_bars(f, &self.shares)?;
        writeln!(
            f,
            "  {} introduction points; the busiest is used by {:.1} % of the clients",
            self.points,
            self.busiest_point * 100.0
        )?;
        self.deaths.as_ref().map_or(Ok(()), |deaths| write!(f, "{deaths}"))
    }
}

impl fmt::Display for DeathReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  when {} of {} die, whichever, a new client", self.dead, self.of)?;
        let dead = self.dead_points;
        for (chance, what) in [
            (self.first_point_dead, "finds the first point that it tries dead"),
            (
                self.text_dead,
                "finds all points of the text dead, and asks another directory",
            ),
            (self.unreachable, "reaches nobody"),
        ] {
            writeln!(f, "  {:>6.1} %  {what}", chance * 100.0)?;
        }
        let seconds = dead * DEAD_POINT;
        writeln!(
            f,
            "  {dead:>6.2}    dead points are tried on average, for {seconds:.1} s"
        )
    }
}

/// A line per instance, with a bar as long as its share.
fn write_bars(f: &mut fmt::Formatter<'_>, shares: &BTreeMap<String, f64>) -> fmt::Result {
    const WHOLE: f64 = 60.0;
    let width = shares.keys().map(|name| name.chars().count()).max().unwrap_or(0);
    for (instance, share) in shares {
        let bar = "█".repeat((share * WHOLE).round() as usize);
        writeln!(f, "  {instance:<width$} {:>5.1} % {bar}", share * 100.0)?;
    }
    Ok(())
}

fn fail(message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::FAILURE
}

/// Message of clap without the usage, on one line.
fn first_paragraph(text: &str) -> String {
    let lines = text.lines().take_while(|line| !line.trim().is_empty());
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error
        .downcast_ref::<io::Error>()
        .map(io::Error::kind)
        .or_else(|| error.downcast_ref::<serde_json::Error>()?.io_error_kind());
    kind == Some(io::ErrorKind::BrokenPipe)
}
