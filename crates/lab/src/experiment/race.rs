//! Figure 4.1: several instances with one key overwrite each other's descriptors.

use std::time::Duration;

use onionweave_assign::PolicyName;

use crate::experiment::plot::{self, Axis, Layer, Panel, Picture, Sign};
use crate::experiment::series::{self, Spread};
use crate::experiment::thesis::{self, Finding};
use crate::experiment::trace::{Trace, ranked};
use crate::experiment::{Run, real};

/// A graph of the figure.
struct Graph {
    name: &'static str,
    instances: usize,
    /// Factor by which it is longer than the others.
    longer: u32,
    finding: Option<&'static Finding>,
}

static GRAPHS: [Graph; 4] = [
    Graph::new("A", 2, 1, Some(&thesis::RACE_OF_TWO)),
    Graph::new("B", 3, 1, Some(&thesis::RACE_OF_THREE)),
    Graph::new("C", 6, 1, None),
    Graph::new("D", 6, thesis::LONGER, None),
];

/// From this part of the bytes on, in percent, an instance is said to get traffic.
const TRAFFIC: f64 = 1.0;
/// Interval of the record of bytes, where the run is not longer.
const STEP: Duration = Duration::from_secs(100);

/// Outcome of a graph.
struct Measured {
    graph: &'static Graph,
    /// The first run.
    trace: Trace,
    /// Each run's shares in percent, the largest first.
    shares: Vec<Vec<f64>>,
    /// Over how much time the rates are averaged, and how long it is in all, in seconds.
    averaged: f64,
    length: f64,
}

pub(crate) fn run(run: &Run) -> anyhow::Result<()> {
    let measured = if run.real { measure(run)? } else { simulate(run)? };
    let picture = picture(run, &measured);
    run.output
        .finish("race", &csv(&measured), &picture, &verdict(run, &measured))
}

impl Graph {
    const fn new(name: &'static str, instances: usize, longer: u32, finding: Option<&'static Finding>) -> Self {
        Self {
            name,
            instances,
            longer,
            finding,
        }
    }
}

fn simulate(run: &Run) -> anyhow::Result<Vec<Measured>> {
    let length = if run.brief { thesis::TICKS / 20 } else { thesis::TICKS };
    let jobs: Vec<_> = GRAPHS
        .iter()
        .flat_map(|graph| {
            let runs = if graph.longer > 1 {
                run.count(24, 2)
            } else {
                run.count(100, 4)
            };
            (0..runs as u64).map(move |number| (graph, run.seed + number))
        })
        .collect();
    let traces = series::each("race: simulations", &jobs, |&(graph, seed)| {
        let scenario = thesis::scenario(seed, graph.instances)
            .policy(PolicyName::Race)
            .clients(thesis::crowd())
            .interval(STEP * graph.longer);
        Ok(Trace::of(&scenario.run(length * graph.longer)?))
    })?;
    let mut measured = Vec::new();
    for ((graph, _), trace) in jobs.into_iter().zip(traces) {
        let (averaged, length) = (thesis::AVERAGED * graph.longer, length * graph.longer);
        collect(&mut measured, graph, trace, averaged, length);
    }
    Ok(measured)
}

/// Time that clients visit on real Tor, and the time from one identity to the next.
const REAL_LENGTH: Duration = Duration::from_secs(240);
const REAL_EVERY: Duration = Duration::from_secs(30);
/// Time between two publications of an instance there in graph D.
const REAL_PERIOD: u64 = 30;

/// On real Tor each run is a service of its own, and clients come with fresh identities: with a
/// dozen of them there is no other way to enough requests. What the long run needs, points that are
/// given up after 18 hours, is not to be had there; instead, the instances publish again and again,
/// and new clients meet new lots.
fn measure(run: &Run) -> anyhow::Result<Vec<Measured>> {
    let length = if run.brief { REAL_LENGTH / 6 } else { REAL_LENGTH };
    let runs = run.count(4, 1);
    let cases = GRAPHS.iter().flat_map(|graph| {
        let runs = if graph.longer > 1 { 1 } else { runs };
        std::iter::repeat_n(graph, runs)
    });
    let cases: Vec<_> = cases.collect();
    let plans = cases.iter().map(|graph| {
        let period = if graph.longer > 1 { REAL_PERIOD } else { 3600 };
        real::Plan::new(graph.instances).line(format!("RendPostPeriod {period} seconds"))
    });
    let plans: Vec<_> = plans.collect();
    let visits = real::play(async {
        let stage = real::Stage::start(run, "race", run.count(12, 3), &[]).await?;
        // One after the other, so that the instances of each start together.
        let services = stage.services(&plans, 1).await;
        let visiting = real::Visiting::fresh().every(REAL_EVERY).lasting(length);
        Ok(stage.visit(&services, visiting).await)
    })?;
    let mut measured = Vec::new();
    for (graph, visits) in cases.into_iter().zip(&visits).filter(|(_, visits)| !visits.is_empty()) {
        let trace = real::trace(visits, graph.instances, REAL_EVERY / 3);
        collect(&mut measured, graph, trace, 2 * REAL_EVERY, length);
    }
    Ok(measured)
}

/// Adds a run to its graph.
fn collect(measured: &mut Vec<Measured>, graph: &'static Graph, trace: Trace, averaged: Duration, length: Duration) {
    let shares = ranked(trace.shares());
    match measured.last_mut().filter(|last| last.graph.name == graph.name) {
        Some(last) => last.shares.push(shares),
        None => measured.push(Measured {
            graph,
            trace,
            shares: vec![shares],
            averaged: averaged.as_secs_f64(),
            length: length.as_secs_f64(),
        }),
    }
}

impl Measured {
    fn rank(&self, rank: usize) -> Spread {
        Spread::of(self.shares.iter().filter_map(|shares| shares.get(rank).copied()))
    }

    /// Returns the number of instances that got traffic, in each run.
    fn with_traffic(&self) -> impl Iterator<Item = usize> {
        let shares = self.shares.iter();
        shares.map(|shares| shares.iter().filter(|&&share| share >= TRAFFIC).count())
    }

    /// Returns in words the numbers of instances that got traffic, and the frequency of each.
    fn counts_with_traffic(&self) -> String {
        let (least, most) = self.with_traffic().fold((usize::MAX, 0), |(least, most), count| {
            (least.min(count), most.max(count))
        });
        if least >= most {
            return format!("{most} get traffic");
        }
        let usual = (least..=most).max_by_key(|&count| self.runs_with(count));
        format!("{least} to {most} get traffic, most often {}", usual.unwrap_or(most))
    }

    /// In how many runs so many instances got traffic.
    fn runs_with(&self, instances: usize) -> usize {
        self.with_traffic().filter(|&count| count == instances).count()
    }

    /// The same, as words.
    fn how_often(&self, instances: usize) -> String {
        format!("{} of {} runs", self.runs_with(instances), self.shares.len())
    }
}

/// Returns the mean shares of instances, in percent and the largest first, if each of six
/// directories draws one instance at random.
fn fair_lots(instances: usize) -> Vec<f64> {
    const SLOTS: u32 = 6;
    let outcomes = instances.pow(SLOTS);
    let mut sums = vec![0.0; instances];
    for outcome in 0..outcomes {
        let mut counts = vec![0.0; instances];
        for slot in 0..SLOTS {
            let drawn = outcome / instances.pow(slot) % instances;
            counts.get_mut(drawn).into_iter().for_each(|count| *count += 1.0);
        }
        for (sum, count) in sums.iter_mut().zip(ranked(counts)) {
            *sum += count;
        }
    }
    let whole = outcomes as f64 * f64::from(SLOTS);
    sums.into_iter().map(|sum| 100.0 * sum / whole).collect()
}

fn csv(measured: &[Measured]) -> String {
    let mut csv = String::from("graph,seconds,what,bytes or visits\n");
    for one in measured {
        one.trace.write_csv(&mut csv, one.graph.name);
    }
    csv.push_str("\ngraph,run,rank,percent of the bytes\n");
    for one in measured {
        for (run, shares) in one.shares.iter().enumerate() {
            for (rank, share) in shares.iter().enumerate() {
                csv.push_str(&format!("{},{},{},{share:.3}\n", one.graph.name, run + 1, rank + 1));
            }
        }
    }
    csv
}

fn verdict(run: &Run, measured: &[Measured]) -> String {
    let [two, three, six, long] = measured else {
        return "nothing was measured".to_owned();
    };
    let mut parts = Vec::new();
    for one in [two, three] {
        let Some(finding) = one.graph.finding else { continue };
        let thesis: Vec<_> = finding.shares.iter().map(|&share| plot::number(share)).collect();
        let within = (0..finding.shares.len())
            .zip(finding.shares)
            .filter(|&(rank, &share)| one.rank(rank).contains(share))
            .count();
        parts.push(format!(
            "{} instances: the largest share is {:.0} % ({}: {:.0} to {:.0} %); the thesis's {} % (page {}): {} of {} in range",
            one.graph.instances,
            one.rank(0).median,
            series::span(one.shares.len()),
            one.rank(0).low,
            one.rank(0).high,
            thesis.join("/"),
            finding.page,
            within,
            finding.shares.len(),
        ));
    }
    for (one, thesis) in [(six, thesis::SIX_WITH_TRAFFIC), (long, 6)] {
        let how = match one.graph.longer {
            1 => "6 instances".to_owned(),
            _ if run.real => format!("6 that publish every {REAL_PERIOD} s"),
            longer => format!("{longer} times as long"),
        };
        parts.push(format!(
            "{how}: {}; the thesis's {thesis} in {}",
            one.counts_with_traffic(),
            one.how_often(thesis),
        ));
    }
    parts.join("; ")
}

fn picture(run: &Run, measured: &[Measured]) -> Picture {
    let mut panels = Vec::new();
    let seconds = if run.real { "seconds" } else { "seconds (ticks)" };
    for one in measured {
        let title = match one.graph.longer {
            1 => format!("{}: {} instances", one.graph.name, one.graph.instances),
            _ if run.real => format!(
                "{}: {} instances, published every {REAL_PERIOD} s",
                one.graph.name, one.graph.instances
            ),
            longer => format!(
                "{}: {} instances, {longer} times as long",
                one.graph.name, one.graph.instances
            ),
        };
        let lines = (0..one.graph.instances).map(|i| (plot::color(i), one.trace.cumulative(i)));
        panels.push(lines_panel(
            title,
            (seconds, "megabytes sent since the beginning"),
            one.length,
            lines,
        ));
    }
    for one in measured {
        let intervals = (one.averaged / one.trace.step).round().max(1.0) as usize;
        let lines = (0..one.graph.instances).map(|i| (plot::color(i), one.trace.rate(i, intervals)));
        let title = format!("{}: averages over {} s", one.graph.name, plot::number(one.averaged));
        panels.push(lines_panel(
            title,
            (seconds, "kilobytes in a second"),
            one.length,
            lines,
        ));
    }
    panels.extend(measured.iter().map(shares_panel));
    let mut key: Vec<_> = (0..6)
        .map(|i| (Sign::Line(plot::color(i)), format!("instance {}", i + 1)))
        .collect();
    key.push((Sign::Bar(plot::IDEAL), "median of all runs".to_owned()));
    let most_runs = measured.iter().map(|one| one.shares.len()).max().unwrap_or_default();
    let span = if most_runs < series::MANY {
        "all runs"
    } else {
        "nine tenths of the runs"
    };
    key.push((Sign::Range(plot::color(3)), span.to_owned()));
    key.push((Sign::Dashed(plot::THESIS), "six fair lots, on average".to_owned()));
    key.push((Sign::Diamond(plot::THESIS), "the thesis's one run".to_owned()));
    Picture {
        title: format!("Race: instances with one key overwrite each other ({})", thesis::RACE_PAGES),
        notes: vec![
            run.note(
                "100 directories, 300 clients fetch 50 KiB over and over; each of six directories keeps what was uploaded last, so each run is a draw of six lots",
                "12 clients fetch 50 KiB over and over, each time with a fresh identity; each run is a service of its own; in D instances publish every 30 s",
            ),
            format!(
                "Upper rows: the first run. Lowest row: each instance's part of the bytes over all runs, the largest first; at least {} % of the bytes count as traffic.",
                plot::number(TRAFFIC)
            ),
        ],
        key,
        columns: 4,
        panels,
    }
}

fn lines_panel(
    title: String,
    (x, y): (&str, &str),
    length: f64,
    lines: impl Iterator<Item = (plotters::style::RGBColor, Vec<(f64, f64)>)>,
) -> Panel {
    let lines: Vec<_> = lines.collect();
    let values = lines.iter().flat_map(|(_, points)| points.iter().map(|(_, y)| *y));
    let top = 1.08 * values.fold(0.0, f64::max);
    Panel {
        title,
        x: Axis::new(x, 0.0..length),
        y: Axis::new(y, 0.0..top),
        layers: lines
            .into_iter()
            .map(|(color, points)| Layer::Line(color, points))
            .collect(),
    }
}

fn shares_panel(one: &Measured) -> Panel {
    let mut layers = Vec::new();
    for (rank, lots) in fair_lots(one.graph.instances).into_iter().enumerate() {
        let spread = one.rank(rank);
        let x = rank as f64;
        layers.push(Layer::Bar(plot::IDEAL, (x, spread.median), 0.6));
        layers.push(Layer::Range(plot::color(3), x, (spread.low, spread.high)));
        if one.graph.longer == 1 {
            layers.push(Layer::Dashed(plot::THESIS, vec![(x - 0.4, lots), (x + 0.4, lots)]));
        }
        if let Some(&share) = one.graph.finding.and_then(|finding| finding.shares.get(rank)) {
            layers.push(Layer::Diamond(plot::THESIS, (x + 0.18, share)));
        }
    }
    let runs = match (one.graph.instances, one.graph.longer) {
        (6, 1) => format!(
            "{} with traffic in {}",
            thesis::SIX_WITH_TRAFFIC,
            one.how_often(thesis::SIX_WITH_TRAFFIC)
        ),
        (6, _) => format!("6 with traffic in {}", one.how_often(6)),
        _ => series::runs(one.shares.len()),
    };
    Panel {
        title: format!("{}: shares, {runs}", one.graph.name),
        x: Axis::names("instances, the one with most first", 1..=one.graph.instances),
        y: Axis::new("percent of the bytes", 0.0..102.0),
        layers,
    }
}
