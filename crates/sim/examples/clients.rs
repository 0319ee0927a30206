//! Clients in virtual time: who of a million reaches which instance, and how long they wait.
//!
//! ```text
//! cargo run --release -p onionweave-sim --example clients
//! cargo run --release -p onionweave-sim --example clients -- --policy race --instances 3 --kill 2@3h --fresh
//! cargo run --release -p onionweave-sim --example clients -- --clients 300 --bytes 51200 --cap 1024000 --pause 1s..1m
//! ```
//!
//! How far a long run has come is told on the standard error output.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "programs print")]

use std::fs;
use std::io::IsTerminal as _;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use onionweave_assign::PolicyName;
use onionweave_sim::{Crowd, Happening, InstancePlan, Miss, Record, Scenario};

const SECOND: Duration = Duration::from_secs(1);
/// Time between two lines in which a long run tells how far it has come, where there is no terminal
/// for a bar.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// Width of the longest bar, in characters.
const BAR: usize = 40;

/// Let clients visit a service of several instances in virtual time, and tell whom they reached
#[derive(Parser)]
struct Args {
    /// Number of clients
    #[arg(long, default_value_t = 1_000_000)]
    clients: u32,
    /// Number of hours
    #[arg(long, default_value_t = 5.0)]
    hours: f64,
    /// Writer of the descriptors: race (nobody but the instances), mixed, single, hybrid, weighted
    #[arg(long, default_value_t = PolicyName::Mixed)]
    policy: PolicyName,
    /// Number of instances
    #[arg(long, default_value_t = 3)]
    instances: usize,
    /// An instance dies: its number, and when, such as 2@90m; may be given again
    #[arg(long, value_name = "N@TIME", value_parser = numbered)]
    kill: Vec<(usize, Duration)>,
    /// An instance hangs; as --kill
    #[arg(long, value_name = "N@TIME", value_parser = numbered)]
    hang: Vec<(usize, Duration)>,
    /// An instance starts (again), or goes on; as --kill
    #[arg(long, value_name = "N@TIME", value_parser = numbered)]
    restart: Vec<(usize, Duration)>,
    /// Over what time the clients arrive
    #[arg(long, default_value = "1m..1h", value_parser = range)]
    arrive: RangeInclusive<Duration>,
    /// Time that they wait between two visits
    #[arg(long, default_value = "3m..3m", value_parser = range)]
    pause: RangeInclusive<Duration>,
    /// They forget everything before each visit
    #[arg(long)]
    fresh: bool,
    /// They use a new circuit for each visit
    #[arg(long)]
    isolated: bool,
    /// Number of bytes that each visit fetches
    #[arg(long, default_value_t = 0)]
    bytes: u64,
    /// Number of bytes that each instance can send in a second
    #[arg(long)]
    cap: Option<u64>,
    /// Number of directories
    #[arg(long, default_value_t = 100)]
    directories: usize,
    /// The part of the directories that leaves and joins in every hour; the public network's is
    /// 0.01
    #[arg(long, default_value_t = 0.0)]
    churn: f64,
    /// Instances publish by themselves over what the publisher writes
    #[arg(long)]
    loud: bool,
    /// Decides all that is drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the tables as CSV into this folder
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    ensure!(
        args.hours > 0.0 && args.hours <= 24.0 * 365.0,
        "--hours must be positive, and at most a year"
    );
    ensure!((0.0..=1.0).contains(&args.churn), "--churn must be between 0 and 1");
    let time = Duration::from_secs_f64(args.hours * 3600.0);
    let scenario = scenario(&args)?;

    let began = Instant::now();
    let bar = ProgressBar::new(1000);
    if std::io::stderr().is_terminal() {
        let style = ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}  {eta} left")?;
        bar.set_style(style);
    } else {
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    let (mut memory, mut told) = (0, began);
    let record = scenario.run_with(time, |simulation| {
        let part = simulation.now().as_secs_f64() / time.as_secs_f64();
        bar.set_position((part * 1000.0) as u64);
        bar.set_message(format!(
            "{:.1} h, {} clients",
            simulation.now().as_secs_f64() / 3600.0,
            simulation.arrived()
        ));
        memory = simulation.memory();
        if bar.is_hidden() && told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            eprintln!(
                "{:.1} of {} h, {} clients",
                simulation.now().as_secs_f64() / 3600.0,
                args.hours,
                simulation.arrived()
            );
        }
    })?;
    bar.finish_and_clear();
    let took = began.elapsed();

    print(&record, &args);
    let visits = record.served() + record.missed();
    println!(
        "\n{} clients, {visits} visits, {} steps in {:.1} s: {:.2} µs for each visit; the clients remember {:.0} MB",
        record.clients(),
        record.steps(),
        took.as_secs_f64(),
        took.as_secs_f64() * 1e6 / visits.max(1) as f64,
        memory as f64 / 1e6,
    );
    if let Some(folder) = &args.out {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        for (name, text) in [
            ("intervals.csv", record.intervals_csv()),
            ("instances.csv", record.instances_csv()),
            ("directories.csv", record.directories_csv()),
        ] {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        }
        println!("the tables are in {}", folder.display());
    }
    Ok(())
}

fn scenario(args: &Args) -> anyhow::Result<Scenario> {
    let mut crowd = Crowd::new(args.clients)
        .arriving(args.arrive.clone())
        .pausing(args.pause.clone())
        .fetching(args.bytes);
    if args.fresh {
        crowd = crowd.fresh();
    }
    if args.isolated {
        crowd = crowd.isolated();
    }
    let plans = InstancePlan::numbered(args.instances)
        .into_iter()
        .map(|plan| match args.cap {
            Some(cap) => plan.cap(cap),
            None => plan,
        });
    let mut scenario = Scenario::new(args.seed)
        .directories(args.directories)
        .churn(args.churn)
        .instances(plans)
        .policy(args.policy)
        .clients(crowd);
    if args.loud {
        scenario = scenario.loud();
    }
    let name = |number: usize| format!("instance{number}");
    for &(number, at) in &args.kill {
        scenario = scenario.at(at, Happening::Dies(name(number)));
    }
    for &(number, at) in &args.hang {
        scenario = scenario.at(at, Happening::Hangs(name(number)));
    }
    for &(number, at) in &args.restart {
        scenario = scenario.at(at, Happening::GoesOn(name(number)));
        scenario = scenario.at(at, Happening::Starts(name(number)));
    }
    Ok(scenario)
}

fn print(record: &Record, args: &Args) {
    println!("what each instance got, with the policy {}:\n", args.policy);
    let most = record
        .instances()
        .iter()
        .map(|one| one.served)
        .max()
        .unwrap_or_default();
    println!(
        "{:12} {:>12} {:>7}  {:40} {:>14} {:>7}",
        "instance", "visits", "", "", "introductions", "points"
    );
    for (one, share) in record.instances().iter().zip(record.shares()) {
        println!(
            "{:12} {:>12} {:>5.1} %  {:40} {:>14} {:>7}",
            one.name,
            one.served,
            100.0 * share,
            bar(one.served, most),
            one.introductions,
            one.points
        );
        if one.bytes > 0.0 {
            println!("{:12} {:>9.1} MB", "", one.bytes / 1e6);
        }
    }
    println!("evenness (Jain's index): {:.4}", record.evenness());

    println!("\nwhat the directories handed out:\n");
    println!(
        "{:40} {:>6} {:>7} {:>10} {:>10} {:>10}",
        "directory", "period", "replica", "texts", "nothing", "no answer"
    );
    for one in record.directories() {
        println!(
            "{:40} {:>6} {:>7} {:>10} {:>10} {:>10}",
            one.directory,
            one.period.number(),
            one.replica.number(),
            one.handed_out,
            one.missing,
            one.unanswered
        );
    }

    println!("\nvisits in vain: {}", record.missed());
    let most = Miss::ALL
        .iter()
        .map(|&cause| record.missed_by(cause))
        .max()
        .unwrap_or_default();
    for cause in Miss::ALL {
        let missed = record.missed_by(cause);
        if missed > 0 {
            println!("{cause:16} {missed:>12}  {}", bar(missed, most));
        }
    }
    for outage in record.outages() {
        println!(
            "nobody was served from {} s to {} s",
            outage.start.as_secs(),
            outage.end.as_secs()
        );
    }

    println!(
        "\n{:20} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "waiting", "median", "90 %", "99 %", "99.9 %", "longest"
    );
    for (what, times) in [
        ("until connected", record.waited()),
        ("in vain", record.waited_in_vain()),
    ] {
        if times.count() > 0 {
            let [median, most, nearly, all] = [0.5, 0.9, 0.99, 0.999].map(|part| times.quantile(part).as_secs_f64());
            let longest = times.longest().as_secs_f64();
            println!("{what:20} {median:>8.2} s {most:>8.2} s {nearly:>8.2} s {all:>8.2} s {longest:>8.2} s");
        }
    }
}

fn bar(count: u64, most: u64) -> String {
    let width = (count as f64 / most.max(1) as f64 * BAR as f64).round() as usize;
    "█".repeat(width)
}

/// Reads `2@90m`.
fn numbered(text: &str) -> anyhow::Result<(usize, Duration)> {
    let (number, at) = text.split_once('@').context("it is written as 2@90m")?;
    Ok((number.parse().context("the instances are numbered from 1")?, time(at)?))
}

/// Reads `1s..1m`.
fn range(text: &str) -> anyhow::Result<RangeInclusive<Duration>> {
    let (from, to) = text.split_once("..").context("it is written as 1s..10m")?;
    let (from, to) = (time(from)?, time(to)?);
    ensure!(from <= to, "{text} goes backwards");
    Ok(from..=to)
}

/// Reads `90s`, `1.5m` or `2h`.
fn time(text: &str) -> anyhow::Result<Duration> {
    let units = [("h", 3600 * SECOND), ("m", 60 * SECOND), ("s", SECOND)];
    let (number, unit) = units
        .iter()
        .find_map(|(letter, unit)| Some((text.strip_suffix(letter)?, *unit)))
        .context("a time is written as 90s, 1.5m or 2h")?;
    let number: f64 = number.parse().context("a time is written as 90s, 1.5m or 2h")?;
    ensure!(
        (0.0..1e6).contains(&number),
        "{text} is not a time that can be simulated"
    );
    Ok(unit.mul_f64(number))
}
