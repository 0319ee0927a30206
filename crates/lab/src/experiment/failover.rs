//! Figure 4.3: an instance dies half way.

use std::fmt::Write as _;
use std::time::Duration;

use futures_util::future::try_join_all;

use onionweave_assign::PolicyName;
use onionweave_sim::{Happening, Record, Scenario};
use tokio::time::{Instant, sleep_until};

use crate::experiment::plot::{self, Axis, Layer, Panel, Picture, Sign};
use crate::experiment::series::{self, Spread};
use crate::experiment::trace::Trace;
use crate::experiment::{Run, real, thesis};

/// A graph of the figure, or beside it.
struct Graph {
    name: &'static str,
    instances: usize,
    /// Scenario in which an instance starts after the others, so that it is in all directories, and
    /// then dies.
    late: bool,
    policy: PolicyName,
    /// The time of the death is drawn from an hour.
    any_time: bool,
}

static GRAPHS: [Graph; 5] = [
    Graph::new("A", 2, false, PolicyName::Race),
    Graph::new("B", 3, true, PolicyName::Race),
    Graph::new("C", 6, false, PolicyName::Race),
    Graph::new("D", 3, true, PolicyName::Mixed),
    Graph {
        any_time: true,
        ..Graph::new("B at any time", 3, true, PolicyName::Race)
    },
];
/// Number of them that are drawn along time.
const DRAWN: usize = 4;

/// Delay of the late one: "right after".
const LATER: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_secs(100);
/// Times around the death that are drawn.
const AROUND: (f64, f64) = (1_000.0, 4_000.0);
const HOUR: Duration = Duration::from_secs(3600);

/// Outcome of a graph.
struct Measured {
    graph: &'static Graph,
    /// The first run.
    trace: Trace,
    /// Time at which the instance died in it, in seconds.
    death: f64,
    length: f64,
    /// For each run, when the instance died, in seconds.
    deaths: Vec<f64>,
    /// For each run, for how many seconds nobody was served after the death.
    outages: Vec<f64>,
    /// The longest that a visit waited that was served.
    longest_wait: Vec<f64>,
}

pub(crate) fn run(run: &Run) -> anyhow::Result<()> {
    let measured = if run.real { measure(run)? } else { simulate(run)? };
    let picture = picture(run, &measured);
    run.output
        .finish("failover", &csv(&measured), &picture, &verdict(run, &measured))
}

impl Graph {
    const fn new(name: &'static str, instances: usize, late: bool, policy: PolicyName) -> Self {
        Self {
            name,
            instances,
            late,
            policy,
            any_time: false,
        }
    }

    fn title(&self) -> String {
        let how = if self.late {
            "the last to publish dies"
        } else {
            "even starts"
        };
        let policy = if self.policy == PolicyName::Race {
            ""
        } else {
            ", with a publisher"
        };
        format!("{}: {} instances, {how}{policy}", self.name, self.instances)
    }

    /// The instance at this place dies, unless another has more: one without traffic would not be
    /// missed.
    fn scenario(&self, seed: u64) -> Scenario {
        let plans = thesis::instances(self.instances).enumerate().map(|(i, plan)| {
            if self.late && i == 0 {
                plan.starts_at(thesis::INSTANCES_START + LATER)
            } else {
                plan
            }
        });
        thesis::network(seed)
            .instances(plans)
            .policy(self.policy)
            .clients(thesis::crowd())
            .interval(STEP)
    }
}

fn simulate(run: &Run) -> anyhow::Result<Vec<Measured>> {
    let length = if run.brief {
        thesis::DEATH + 2 * HOUR
    } else {
        thesis::TICKS
    };
    let runs = run.count(60, 2) as u64;
    let jobs: Vec<_> = GRAPHS
        .iter()
        .flat_map(|graph| (0..runs).map(move |number| (graph, number)))
        .collect();
    let records = series::each("failover: simulations", &jobs, |&(graph, number)| {
        let seed = run.seed + number;
        let mut death = thesis::DEATH;
        if graph.any_time {
            death += HOUR * number as u32 / runs as u32;
        }
        let victim = if graph.late {
            1
        } else {
            let served = graph.scenario(seed).run(death)?;
            let served: Vec<_> = served.instances().iter().map(|one| one.served).collect();
            busiest(&served) + 1
        };
        let scenario = graph
            .scenario(seed)
            .at(death, Happening::Dies(format!("instance{victim}")));
        let record = scenario.run(length)?;
        Ok((
            death,
            outage(&record, death),
            record.waited().longest(),
            Trace::of(&record),
        ))
    })?;
    let mut measured: Vec<Measured> = Vec::new();
    for ((graph, _), (death, outage, longest, trace)) in jobs.into_iter().zip(records) {
        let (outage, longest) = (outage.as_secs_f64(), longest.as_secs_f64());
        match measured.last_mut().filter(|last| last.graph.name == graph.name) {
            Some(last) => {
                last.deaths.push(death.as_secs_f64());
                last.outages.push(outage);
                last.longest_wait.push(longest);
            }
            None => measured.push(Measured {
                graph,
                trace,
                death: death.as_secs_f64(),
                length: length.as_secs_f64(),
                deaths: vec![death.as_secs_f64()],
                outages: vec![outage],
                longest_wait: vec![longest],
            }),
        }
    }
    Ok(measured)
}

/// The place of the instance that had most: "the first one will receive the majority of the
/// traffic" (page 26).
fn busiest(served: &[u64]) -> usize {
    let most = served.iter().enumerate().max_by_key(|(_, served)| **served);
    most.map_or(0, |(place, _)| place)
}

/// Returns the time for which nobody was served after the death.
fn outage(record: &Record, death: Duration) -> Duration {
    let outages = record.outages().into_iter().filter(|outage| outage.end > death);
    outages.map(|outage| outage.end - outage.start.max(death)).sum()
}

/// On real Tor an hour between two publications becomes two minutes, and everything else is as many
/// times shorter.
const FASTER: f64 = 30.0;
const REAL_PERIOD: f64 = 120.0;
/// Time from the others' publication to the instance's death, in the thesis's seconds. It follows
/// from its start, its death and an hour between two publications.
const DEATH_IN_PERIOD: f64 = 1_067.0;
/// No instance dies before.
const REAL_BEFORE: f64 = 40.0;
/// Clients wait for a connection as many times shorter than two minutes as makes them come often
/// enough to see the gap.
const REAL_PATIENCE: &str = "SocksTimeout 10 seconds";
const REAL_EVERY: Duration = Duration::from_secs(15);

/// All graphs run at the same time, each with a service of its own.
fn measure(run: &Run) -> anyhow::Result<Vec<Measured>> {
    let any_time = run.count(3, 1);
    let cases = GRAPHS.iter().flat_map(|graph| {
        let runs = if graph.any_time { any_time } else { 1 };
        (0..runs).map(move |number| (graph, number))
    });
    let cases: Vec<_> = cases.collect();
    let plans = cases.iter().map(|(graph, _)| {
        let plan = real::Plan::new(graph.instances)
            .policy(graph.policy)
            .line(format!("RendPostPeriod {REAL_PERIOD} seconds"));
        if graph.late { plan.first_is_late() } else { plan }
    });
    let plans: Vec<_> = plans.collect();
    let (visits, deaths, length) = real::play(async {
        let stage = real::Stage::start(run, "failover", run.count(12, 4), &[REAL_PATIENCE]).await?;
        let services = stage.services(&plans, 2).await;
        // Who has most, where that matters.
        let looks = real::Visiting::fresh().each(run.count(2, 1));
        let before = stage.visit(&services, looks).await;
        let began = Instant::now();
        let deaths = cases.iter().zip(&services).map(|((graph, number), service)| {
            let phase = DEATH_IN_PERIOD / FASTER + REAL_PERIOD / any_time as f64 * *number as f64;
            let published = began.duration_since(service.published).as_secs_f64();
            let phase = if graph.policy == PolicyName::Race { phase } else { 0.0 };
            REAL_BEFORE + (phase - published - REAL_BEFORE).rem_euclid(REAL_PERIOD)
        });
        let deaths: Vec<f64> = deaths.collect();
        let last = deaths.iter().copied().fold(0.0, f64::max);
        let length = last + REAL_PERIOD + 10.0;
        let killing = cases.iter().zip(&services).zip(before.iter().zip(&deaths)).map(
            async |(((graph, _), service), (visits, death))| {
                let victim = if graph.late {
                    0
                } else {
                    busiest(&real::answered(visits, graph.instances))
                };
                sleep_until(began + Duration::from_secs_f64(*death)).await;
                service.kill(victim..victim + 1)
            },
        );
        let visiting = real::Visiting::fresh()
            .every(REAL_EVERY)
            .lasting(Duration::from_secs_f64(length));
        let (visits, killed) = tokio::join!(stage.visit(&services, visiting), try_join_all(killing));
        killed?;
        Ok((visits, deaths, length))
    })?;
    let mut measured: Vec<Measured> = Vec::new();
    let there = cases.into_iter().zip(&visits).zip(deaths);
    for (((graph, _), visits), death) in there.filter(|((_, visits), _)| !visits.is_empty()) {
        let after: Vec<_> = visits.iter().filter(|visit| visit.at >= death).cloned().collect();
        let outage = real::outage(visits, death);
        let longest = real::waits(&after).last().copied().unwrap_or_default();
        match measured.last_mut().filter(|last| last.graph.name == graph.name) {
            Some(last) => {
                last.deaths.push(death);
                last.outages.push(outage);
                last.longest_wait.push(longest);
            }
            None => measured.push(Measured {
                graph,
                trace: real::trace(visits, graph.instances, REAL_EVERY / 3),
                death,
                length,
                deaths: vec![death],
                outages: vec![outage],
                longest_wait: vec![longest],
            }),
        }
    }
    Ok(measured)
}

impl Measured {
    fn outage(&self) -> Spread {
        Spread::of(self.outages.iter().copied())
    }

    fn longest_wait(&self) -> Spread {
        Spread::of(self.longest_wait.iter().copied())
    }
}

fn csv(measured: &[Measured]) -> String {
    let mut csv = String::from("graph,seconds,what,bytes or visits\n");
    for one in measured.iter().take(DRAWN) {
        one.trace.write_csv(&mut csv, one.graph.name);
    }
    csv.push_str("\ngraph,run,second of the death,seconds without service,longest wait of a visit that was served\n");
    for one in measured {
        let runs = one.deaths.iter().zip(&one.outages).zip(&one.longest_wait).enumerate();
        for (number, ((death, outage), longest)) in runs {
            // Writing to a string does not fail.
            let _ = writeln!(
                csv,
                "{},{},{death:.0},{outage:.1},{longest:.2}",
                one.graph.name,
                number + 1
            );
        }
    }
    csv
}

fn verdict(run: &Run, measured: &[Measured]) -> String {
    let find = |name: &str| measured.iter().find(|one| one.graph.name == name);
    let (Some(late), Some(any), Some(publisher)) = (find("B"), find("B at any time"), find("D")) else {
        return "nothing was measured".to_owned();
    };
    let scale = if run.real { FASTER } else { 1.0 };
    let thesis = thesis::OUTAGE.as_secs_f64() / scale;
    let compressed = if run.real {
        " in a time that is compressed thirty times"
    } else {
        ""
    };
    let even: Vec<_> = measured
        .iter()
        .filter(|one| !one.graph.late)
        .map(|one| format!("{:.0} s", one.outage().median))
        .collect();
    format!(
        "graph B: {:.0} s without service, and {:.0} to {:.0} s when the death comes at any time of the hour; the thesis found about {thesis:.0} \
         (page {}){compressed}; even starts (A, C): {}; with a publisher (D): {:.1} s, and the longest wait is {:.1} s",
        late.outage().median,
        any.outage().low,
        any.outage().high,
        thesis::OUTAGE_PAGE,
        even.join(" and "),
        publisher.outage().median,
        publisher.longest_wait().median,
    )
}

fn picture(run: &Run, measured: &[Measured]) -> Picture {
    let scale = if run.real { FASTER } else { 1.0 };
    let mut panels = Vec::new();
    for one in measured.iter().take(DRAWN) {
        let lines: Vec<_> = (0..one.graph.instances).map(|i| one.trace.cumulative(i)).collect();
        panels.push(along_time(
            one.graph.title(),
            "megabytes sent since the beginning",
            one,
            lines,
            (0.0, one.length),
            scale,
        ));
    }
    // With few clients, visits are too few to tell rates of shorter times.
    let averaged = if run.real { 3 } else { 1 };
    for one in measured.iter().take(DRAWN) {
        let lines: Vec<_> = (0..one.graph.instances).map(|i| one.trace.rate(i, averaged)).collect();
        let around = (
            (one.death - AROUND.0 / scale).max(0.0),
            (one.death + AROUND.1 / scale).min(one.length),
        );
        panels.push(along_time(
            format!("{}: around the death", one.graph.name),
            "kilobytes in a second",
            one,
            lines,
            around,
            scale,
        ));
    }
    let thesis = thesis::OUTAGE.as_secs_f64() / scale;
    let mut outages = bars(measured, Measured::outage);
    let of_b = measured.iter().position(|one| one.graph.name == "B");
    outages.extend(of_b.map(|place| Layer::Diamond(plot::THESIS, (place as f64 + 0.36, thesis))));
    let highest = |spread: fn(&Measured) -> Spread| measured.iter().map(|one| spread(one).high).fold(0.0, f64::max);
    let top = 1.15 * highest(Measured::outage).max(thesis);
    panels.push(Panel {
        title: "time without service after the death".to_owned(),
        x: Axis::names("graph", measured.iter().map(|one| one.graph.name)),
        y: Axis::new("seconds", 0.0..top),
        layers: outages,
    });
    if let Some(any) = measured.iter().find(|one| one.graph.any_time) {
        let dots = any.deaths.iter().zip(&any.outages);
        let dots = dots.map(|(&death, &outage)| Layer::Dot(plot::color(3), (death, outage)));
        let (from, to) = any.deaths.iter().fold((f64::INFINITY, 0.0_f64), |(from, to), &death| {
            (from.min(death), to.max(death))
        });
        let margin = 0.05 * (to - from).max(1.0);
        let found = Layer::Diamond(plot::THESIS, (from, thesis));
        panels.push(Panel {
            title: format!("{}: each run", any.graph.name),
            x: Axis::new(
                format!("time of the death, in {}", seconds(scale)),
                from - margin..to + margin,
            ),
            y: Axis::new("seconds without service", 0.0..top),
            layers: dots.chain([found]).collect(),
        });
    }
    panels.push(Panel {
        title: "longest wait of a visit that was served".to_owned(),
        x: Axis::names("graph", measured.iter().map(|one| one.graph.name)),
        y: Axis::new("seconds", 0.0..1.15 * highest(Measured::longest_wait).max(1.0)),
        layers: bars(measured, Measured::longest_wait),
    });
    let most_runs = measured.iter().map(|one| one.deaths.len()).max().unwrap_or_default();
    let span = if most_runs < series::MANY {
        "all runs"
    } else {
        "nine tenths of the runs"
    };
    let later = if run.real { "a few seconds" } else { "a minute" };
    let mut key: Vec<_> = (0..6)
        .map(|i| (Sign::Line(plot::color(i)), format!("instance {}", i + 1)))
        .collect();
    key.push((
        Sign::Bar(plot::BAD),
        "nobody is served, in the thesis's graph B".to_owned(),
    ));
    key.push((Sign::Bar(plot::color(3)), "median".to_owned()));
    key.push((Sign::Range(plot::color(0)), span.to_owned()));
    key.push((Sign::Diamond(plot::THESIS), "the thesis".to_owned()));
    Picture {
        title: format!("Failover: an instance dies half way ({})", thesis::FAILOVER_PAGES),
        notes: vec![
            run.note(
                "100 directories, 300 clients fetch 50 KiB over and over; in A and C the instance that has most dies after 20 000 s",
                "12 clients with fresh identities every 15 s; an hour between two publications is two minutes here, and the thesis's 2 000 ticks are 67 s",
            ),
            format!(
                "In B and D the one that dies had published {later} after the others, so that without a publisher all directories hand out its points alone; a flat line is an instance without traffic."
            ),
        ],
        key,
        columns: 4,
        panels,
    }
}

/// For each graph the median in seconds, and the range.
fn bars(measured: &[Measured], spread: fn(&Measured) -> Spread) -> Vec<Layer> {
    let bars = measured.iter().enumerate().flat_map(|(place, one)| {
        let (x, spread) = (place as f64, spread(one));
        let text = format!("{} s", plot::number((spread.median * 10.0).round() / 10.0));
        [
            Layer::Bar(plot::color(3), (x, spread.median), 0.6),
            Layer::Range(plot::color(0), x, (spread.low, spread.high)),
            Layer::Text((x, spread.high), text),
        ]
    });
    bars.collect()
}

/// Only the thesis's and the simulator's seconds are ticks.
fn seconds(scale: f64) -> &'static str {
    if scale > 1.0 { "seconds" } else { "seconds (ticks)" }
}

fn along_time(
    title: String,
    y: &str,
    one: &Measured,
    lines: Vec<Vec<(f64, f64)>>,
    (from, to): (f64, f64),
    scale: f64,
) -> Panel {
    let inside = |x: f64| (from..=to).contains(&x);
    let lines: Vec<Vec<_>> = lines
        .into_iter()
        .map(|line| line.into_iter().filter(|(x, _)| inside(*x)).collect())
        .collect();
    let top = 1.08 * lines.iter().flatten().map(|(_, y)| *y).fold(0.0, f64::max);
    let mut layers = Vec::new();
    if one.graph.name == "B" {
        let end = (one.death + thesis::OUTAGE.as_secs_f64() / scale).min(to);
        layers.push(Layer::Span(plot::BAD, (one.death, end)));
    }
    layers.push(Layer::Dashed(plot::IDEAL, vec![(one.death, 0.0), (one.death, top)]));
    layers.extend(
        lines
            .into_iter()
            .enumerate()
            .map(|(i, line)| Layer::Line(plot::color(i), line)),
    );
    Panel {
        title,
        x: Axis::new(seconds(scale), from..to),
        y: Axis::new(y, 0.0..top),
        layers,
    }
}
