//! All policies side by side, on the same failures.

use std::fmt::Write as _;
use std::time::Duration;

use futures_util::future::join_all;

use onionweave_assign::PolicyName;
use onionweave_sim::{Crowd, Happening, Record, Scenario};
use onionweave_testnet::Instance;
use tokio::time::sleep;

use crate::experiment::plot::{self, Axis, Layer, Panel, Picture, Sign};
use crate::experiment::series::{self, Spread};
use crate::experiment::trace::percent;
use crate::experiment::{Run, real, thesis};

const INSTANCES: usize = 6;
const MINUTE: Duration = Duration::from_secs(60);
/// An instance dies and returns after ten minutes, then the next, so that each is away as long as
/// any other.
const FIRST_DEATH: Duration = Duration::from_secs(30 * 60);
const BETWEEN_DEATHS: Duration = Duration::from_secs(25 * 60);
const AWAY: Duration = Duration::from_secs(10 * 60);
/// Between two deaths an instance hangs for so long.
const HANGS_AFTER: Duration = Duration::from_secs(15 * 60);
const HANGS_FOR: Duration = Duration::from_secs(5 * 60);
const LENGTH: Duration = Duration::from_secs(4 * 3600);
/// On real Tor an hour is two minutes, and clients wait for a connection as much shorter as makes
/// them come often enough to see gaps.
const REAL_PATIENCE: &str = "SocksTimeout 10 seconds";

/// Outcome of a run with a policy.
#[derive(Clone, Debug, Default)]
struct Outcome {
    /// Each instance's part of the visits, in percent.
    shares: Vec<f64>,
    /// For how many seconds nobody was served.
    without_service: f64,
    visits: f64,
    missed: f64,
    /// The time that 99.9 % of the visits waited at most, in seconds.
    slowest: f64,
    /// Texts that publisher and instances uploaded, in an hour.
    uploads: f64,
}

struct Measured {
    policy: PolicyName,
    runs: Vec<Outcome>,
}

/// Measures that are compared: the name of each, and the function that takes it from a run.
type Measure = (&'static str, &'static str, fn(&Outcome) -> f64);

const MEASURES: [Measure; 6] = [
    ("largest distance from an even share", "percentage points", |one| {
        series::largest_error(&one.shares)
    }),
    ("evenness", "Jain's index", |one| series::evenness(&one.shares)),
    ("time without service", "seconds", |one| one.without_service),
    ("visits in vain", "percent", |one| {
        100.0 * one.missed / one.visits.max(1.0)
    }),
    ("what 99.9 % of the visits wait at most", "seconds", |one| one.slowest),
    ("uploads", "texts in an hour", |one| one.uploads),
];

pub(crate) fn run(run: &Run) -> anyhow::Result<()> {
    let measured = if run.real { measure(run)? } else { simulate(run)? };
    let picture = picture(run, &measured);
    run.output
        .finish("policies", &csv(&measured), &picture, &verdict(&measured))
}

fn simulate(run: &Run) -> anyhow::Result<Vec<Measured>> {
    let runs = run.count(40, 2) as u64;
    let clients = run.count(3_000, 300) as u32;
    let jobs: Vec<_> = PolicyName::ALL
        .iter()
        .flat_map(|&policy| (0..runs).map(move |number| (policy, run.seed + number)))
        .collect();
    let outcomes = series::each("policies: simulations", &jobs, |&(policy, seed)| {
        let crowd = Crowd::new(clients)
            .fresh()
            .arriving(2 * MINUTE..=5 * MINUTE)
            .pausing(thesis::PAUSE);
        let mut scenario = Scenario::new(seed)
            .directories(thesis::DIRECTORIES)
            .numbered(INSTANCES)
            .policy(policy)
            .clients(crowd);
        for (at, happening) in failures() {
            scenario = scenario.at(at, happening);
        }
        Ok(outcome(&scenario.run(LENGTH)?))
    })?;
    let mut measured: Vec<Measured> = Vec::new();
    for ((policy, _), outcome) in jobs.into_iter().zip(outcomes) {
        match measured.last_mut().filter(|last| last.policy == policy) {
            Some(last) => last.runs.push(outcome),
            None => measured.push(Measured {
                policy,
                runs: vec![outcome],
            }),
        }
    }
    Ok(measured)
}

/// Each instance dies once and hangs once, and two directories die.
fn failures() -> Vec<(Duration, Happening)> {
    let mut failures = Vec::new();
    for number in 0..INSTANCES as u32 {
        let dies = FIRST_DEATH + BETWEEN_DEATHS * number;
        let name = |number: u32| format!("instance{}", number % INSTANCES as u32 + 1);
        failures.push((dies, Happening::Dies(name(number))));
        failures.push((dies + AWAY, Happening::Starts(name(number))));
        // It is another one that hangs.
        let other = name(number + 3);
        failures.push((dies + HANGS_AFTER, Happening::Hangs(other.clone())));
        failures.push((dies + HANGS_AFTER + HANGS_FOR, Happening::GoesOn(other)));
    }
    for (replica, at) in [(0, 80 * MINUTE), (1, 160 * MINUTE)] {
        failures.push((at, Happening::DirectoryDies { replica, place: 1 }));
        failures.push((at + AWAY, Happening::DirectoryReturns { replica, place: 1 }));
    }
    failures
}

fn outcome(record: &Record) -> Outcome {
    let served: Vec<_> = record.instances().iter().map(|one| one.served as f64).collect();
    let own: u64 = record.instances().iter().map(|one| one.uploads).sum();
    Outcome {
        shares: percent(&served),
        without_service: record.without_service().as_secs_f64(),
        visits: (record.served() + record.missed()) as f64,
        missed: record.missed() as f64,
        slowest: record.waited().quantile(0.999).as_secs_f64(),
        uploads: (record.uploads() + own) as f64 / (record.duration().as_secs_f64() / 3600.0),
    }
}

/// Each of six instances dies once and returns, one after the other, while clients with fresh
/// identities come. All policies run at the same time, each with a service of its own, and what
/// dies of one dies of all.
fn measure(run: &Run) -> anyhow::Result<Vec<Measured>> {
    let (each, away) = if run.brief { (16, 8) } else { (40, 20) };
    let (each, away) = (Duration::from_secs(each), Duration::from_secs(away));
    let plans = PolicyName::ALL.iter().map(|&policy| {
        real::Plan::new(INSTANCES)
            .policy(policy)
            .line("RendPostPeriod 2 minutes")
    });
    let plans: Vec<_> = plans.collect();
    let (visits, uploads) = real::play(async {
        let stage = real::Stage::start(run, "policies", run.count(14, 4), &[REAL_PATIENCE]).await?;
        let services = stage.services(&plans, 2).await;
        let before: Vec<_> = services.iter().map(real::Service::uploads).collect();
        let story = async {
            for victim in 0..INSTANCES {
                sleep(each - away).await;
                let victims = || services.iter().filter_map(|service| service.instances.get(victim));
                victims().try_for_each(Instance::kill)?;
                sleep(away).await;
                // One that does not return is told, and the others go on.
                for error in join_all(victims().map(Instance::restart))
                    .await
                    .into_iter()
                    .filter_map(Result::err)
                {
                    let gone = format!("instance {} did not return: {error}", victim + 1);
                    run.left_out().push(gone);
                }
            }
            anyhow::Ok(())
        };
        let visiting = real::Visiting::fresh().lasting(each * INSTANCES as u32);
        let (visits, story) = tokio::join!(stage.visit(&services, visiting), story);
        story?;
        let uploads = services
            .iter()
            .zip(before)
            .map(|(service, before)| service.uploads() - before);
        Ok((visits, uploads.collect::<Vec<_>>()))
    })?;
    let hours = (each * INSTANCES as u32).as_secs_f64() / 3600.0;
    let measured = PolicyName::ALL
        .iter()
        .zip(&visits)
        .zip(uploads)
        .filter(|((_, visits), _)| !visits.is_empty())
        .map(|((&policy, visits), uploads)| {
            let served = real::answered(visits, INSTANCES);
            let served: Vec<_> = served.into_iter().map(|count| count as f64).collect();
            Measured {
                policy,
                runs: vec![Outcome {
                    shares: percent(&served),
                    without_service: real::outage(visits, 0.0),
                    visits: visits.len() as f64,
                    missed: real::in_vain(visits) as f64,
                    slowest: real::waits(visits).last().copied().unwrap_or_default(),
                    uploads: uploads as f64 / hours,
                }],
            }
        });
    Ok(measured.collect())
}

impl Measured {
    fn spread(&self, measure: &Measure) -> Spread {
        Spread::of(self.runs.iter().map(measure.2))
    }
}

fn csv(measured: &[Measured]) -> String {
    let mut csv = String::from("policy,run");
    for (what, unit, _) in &MEASURES {
        // Writing to a string does not fail.
        let _ = write!(csv, ",{what} ({unit})");
    }
    csv.push('\n');
    for one in measured {
        for (number, run) in one.runs.iter().enumerate() {
            let _ = write!(csv, "{},{}", one.policy, number + 1);
            for (_, _, value) in &MEASURES {
                let _ = write!(csv, ",{:.4}", value(run));
            }
            csv.push('\n');
        }
    }
    csv
}

fn verdict(measured: &[Measured]) -> String {
    let [error, _, without, vain, ..] = &MEASURES;
    let lines = measured.iter().map(|one| {
        format!(
            "{}: {:.1} points from even, {:.0} s without service, {:.3} % in vain",
            one.policy,
            one.spread(error).median,
            one.spread(without).median,
            one.spread(vain).median
        )
    });
    let lines: Vec<_> = lines.collect();
    format!(
        "{}; the thesis compares only race and mixed, in words (pages 29 and 35)",
        lines.join("; ")
    )
}

fn picture(run: &Run, measured: &[Measured]) -> Picture {
    let panels = MEASURES.iter().map(|measure| {
        let mut layers = Vec::new();
        let mut top: f64 = 0.0;
        for (place, one) in measured.iter().enumerate() {
            let (x, spread) = (place as f64, one.spread(measure));
            layers.push(Layer::Bar(plot::color(place), (x, spread.median), 0.66));
            if one.runs.len() > 1 {
                layers.push(Layer::Range(plot::THESIS, x, (spread.low, spread.high)));
            }
            layers.push(Layer::Text((x, spread.high), short(spread.median)));
            top = top.max(spread.high);
        }
        Panel {
            title: measure.0.to_owned(),
            x: Axis::names("policy", measured.iter().map(|one| one.policy)),
            y: Axis::new(measure.1, 0.0..1.18 * top.max(0.01)),
            layers,
        }
    });
    let runs = measured.iter().map(|one| one.runs.len()).max().unwrap_or_default();
    let wait = if run.real {
        "a client waits for a connection for ten seconds at most"
    } else {
        "a directory that does not answer costs a client 31 s"
    };
    let mut key = Vec::new();
    if runs > 1 {
        key.push((Sign::Bar(plot::IDEAL), "bars: the median".to_owned()));
        key.push((Sign::Range(plot::THESIS), format!("nine tenths of {runs} runs")));
    }
    Picture {
        title: "Policies: six instances and the same failures (the thesis compares only in words)".to_owned(),
        notes: vec![
            run.note(
                "four hours; 3 000 clients, each visit one of a new client; each instance dies once for ten minutes and hangs once for five, and two directories die for ten",
                "each instance is killed once and returns after 20 s; 14 clients, new every 10 s; in the race they publish every two minutes",
            ),
            format!("An even share is 16.7 % for each instance; Jain's index is 1 if all have the same; {wait}."),
        ],
        key,
        columns: 3,
        panels: panels.collect(),
    }
}

/// A value with as many digits as one reads at a glance.
fn short(value: f64) -> String {
    match value {
        value if value >= 100.0 => plot::number(value.round()),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 0.1 || value == 0.0 => format!("{value:.2}"),
        value => format!("{value:.4}"),
    }
}
