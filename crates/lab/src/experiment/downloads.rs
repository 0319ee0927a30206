//! Figure 4.2: how long it takes until all clients have a fixed number of bytes, with more and more
//! instances of limited bandwidth.

use std::fmt::Write as _;
use std::time::Duration;

use onionweave_assign::PolicyName;
use onionweave_sim::{Outcome, Record};

use crate::experiment::plot::{self, Axis, Layer, Panel, Picture, Sign};
use crate::experiment::series::{self, Spread};
use crate::experiment::{Run, real, thesis};

const INSTANCES: [usize; 4] = [1, 2, 3, 6];
/// Policies: that of the thesis, and one with a publisher.
const POLICIES: [PolicyName; 2] = [PolicyName::Race, PolicyName::Mixed];
/// Nobody takes longer, unless something is broken.
const LONGEST: Duration = Duration::from_secs(20_000);

/// Size of each transfer, and the rate at which instances can send.
struct Load {
    clients: u32,
    downloads: u32,
    bytes: u64,
    cap: u64,
}

impl Load {
    const THESIS: Self = Self {
        clients: thesis::CLIENTS,
        downloads: thesis::DOWNLOADS,
        bytes: thesis::DOWNLOAD,
        cap: thesis::CAP,
    };
    /// Sizes that a dozen clients can do in minutes.
    const REAL: Self = Self {
        clients: 12,
        downloads: 5,
        bytes: thesis::DOWNLOAD / 8,
        cap: thesis::CAP / 16,
    };

    fn count(&self) -> u32 {
        self.clients * self.downloads
    }

    /// Returns the seconds that it takes if all instances send as fast as they can all the time.
    fn ideal(&self, instances: usize) -> f64 {
        f64::from(self.count()) * self.bytes as f64 / self.cap as f64 / instances as f64
    }
}

/// A run: the times at which downloads were complete, in seconds after the first client came, and
/// the number of those given up.
#[derive(Clone, Debug, Default)]
struct Downloads {
    done: Vec<f64>,
    failed: usize,
}

impl Downloads {
    /// Returns when the last was complete.
    fn last(&self) -> f64 {
        self.done.iter().copied().fold(0.0, f64::max)
    }
}

/// All runs with so many instances under a policy.
struct Measured {
    policy: PolicyName,
    instances: usize,
    runs: Vec<Downloads>,
}

impl Measured {
    fn last(&self) -> Spread {
        Spread::of(self.runs.iter().map(Downloads::last))
    }
}

pub(crate) fn run(run: &Run) -> anyhow::Result<()> {
    let (load, measured) = if run.real {
        (Load::REAL, measure(run)?)
    } else {
        (Load::THESIS, simulate(run)?)
    };
    let picture = picture(run, &load, &measured);
    run.output
        .finish("downloads", &csv(&measured), &picture, &verdict(&load, &measured))
}

fn cases() -> impl Iterator<Item = (PolicyName, usize)> {
    POLICIES
        .into_iter()
        .flat_map(|policy| INSTANCES.map(|instances| (policy, instances)))
}

fn simulate(run: &Run) -> anyhow::Result<Vec<Measured>> {
    let runs = run.count(100, 2) as u64;
    let jobs: Vec<_> = cases()
        .flat_map(|(policy, instances)| (0..runs).map(move |number| (policy, instances, run.seed + number)))
        .collect();
    let all = series::each("downloads: simulations", &jobs, |&(policy, instances, seed)| {
        let load = Load::THESIS;
        let crowd = thesis::crowd().fetching(load.bytes).visits(load.downloads);
        let scenario = thesis::scenario(seed, instances)
            .policy(policy)
            .clients(crowd)
            .log_visits(load.count() as usize);
        Ok(downloads(&scenario.run(LONGEST)?))
    })?;
    Ok(collect(
        jobs.iter().map(|&(policy, instances, _)| (policy, instances)).zip(all),
    ))
}

fn downloads(record: &Record) -> Downloads {
    let first = record
        .visits()
        .iter()
        .map(|visit| visit.began)
        .min()
        .unwrap_or_default();
    let mut downloads = Downloads::default();
    for visit in record.visits() {
        match visit.outcome {
            Outcome::Served(_) => downloads.done.push((visit.ended - first).as_secs_f64()),
            _ => downloads.failed += 1,
        }
    }
    downloads.done.sort_by(f64::total_cmp);
    downloads
}

fn collect(results: impl Iterator<Item = ((PolicyName, usize), Downloads)>) -> Vec<Measured> {
    let mut measured: Vec<Measured> = Vec::new();
    for ((policy, instances), downloads) in results {
        match measured
            .last_mut()
            .filter(|last| (last.policy, last.instances) == (policy, instances))
        {
            Some(last) => last.runs.push(downloads),
            None => measured.push(Measured {
                policy,
                instances,
                runs: vec![downloads],
            }),
        }
    }
    measured
}

/// The instances' bandwidth is limited by Tor itself, as in the thesis: `BandwidthRate`.
/// (`CountPrivateBandwidth` comes with `TestingTorNetwork`; without it Tor counts nothing on
/// loopback, `core/mainloop/connection.c:3353`.) All cases run at the same time, each with a
/// service of its own: caps are low enough that two cores are not what limits them.
fn measure(run: &Run) -> anyhow::Result<Vec<Measured>> {
    let load = Load::REAL;
    let runs = run.count(2, 1);
    let cases: Vec<_> = cases().flat_map(|case| std::iter::repeat_n(case, runs)).collect();
    let plans = cases.iter().map(|&(policy, instances)| {
        real::Plan::new(instances)
            .policy(policy)
            .bytes(if run.brief { load.bytes / 16 } else { load.bytes })
            .line(format!("BandwidthRate {} bytes", load.cap))
            .line(format!("BandwidthBurst {} bytes", load.cap))
            .line("RendPostPeriod 1 hour")
    });
    let plans: Vec<_> = plans.collect();
    let visits = real::play(async {
        let stage = real::Stage::start(run, "downloads", run.count(load.clients as usize, 3), &[]).await?;
        let services = stage.services(&plans, 2).await;
        let visiting = real::Visiting::returning().each(load.downloads as usize);
        Ok(stage.visit(&services, visiting).await)
    })?;
    let there = cases
        .iter()
        .copied()
        .zip(&visits)
        .filter(|(_, visits)| !visits.is_empty());
    let results = there.map(|(case, visits)| {
        let first = visits.iter().map(|visit| visit.at).fold(f64::INFINITY, f64::min);
        let served = visits.iter().filter(|visit| visit.instance.is_some());
        let mut done: Vec<_> = served.map(|visit| visit.ended - first).collect();
        done.sort_by(f64::total_cmp);
        let failed = real::in_vain(visits) as usize;
        (case, Downloads { done, failed })
    });
    Ok(collect(results))
}

fn csv(measured: &[Measured]) -> String {
    let mut csv = String::from("policy,instances,run,downloads,failed,seconds until the last was complete\n");
    for one in measured {
        for (number, run) in one.runs.iter().enumerate() {
            // Writing to a string does not fail.
            let _ = writeln!(
                csv,
                "{},{},{},{},{},{:.1}",
                one.policy,
                one.instances,
                number + 1,
                run.done.len(),
                run.failed,
                run.last()
            );
        }
    }
    csv.push_str("\npolicy,instances,seconds,downloads complete in the first run\n");
    for one in measured {
        for (complete, seconds) in one.runs.iter().take(1).flat_map(|run| run.done.iter().enumerate()) {
            let _ = writeln!(csv, "{},{},{seconds:.1},{}", one.policy, one.instances, complete + 1);
        }
    }
    csv
}

fn of_policy(measured: &[Measured], policy: PolicyName) -> impl Iterator<Item = &Measured> {
    measured.iter().filter(move |one| one.policy == policy)
}

fn verdict(load: &Load, measured: &[Measured]) -> String {
    let mut parts = Vec::new();
    for policy in POLICIES {
        let medians: Vec<_> = of_policy(measured, policy).map(|one| one.last().median).collect();
        let times: Vec<_> = medians.iter().map(|median| format!("{median:.0}")).collect();
        let shorter = medians.windows(2).all(|pair| matches!(pair, [one, next] if next < one));
        parts.push(format!(
            "{policy}: {} s with 1, 2, 3 and 6 instances, {}",
            times.join(", "),
            if shorter {
                "shorter with every step, as in the thesis"
            } else {
                "not shorter with every step, unlike in the thesis"
            }
        ));
    }
    parts.push(format!(
        "six caps alone would need {:.0} s; the thesis (pages 26 and 27) gives no numbers in its text",
        load.ideal(6)
    ));
    parts.join("; ")
}

fn picture(run: &Run, load: &Load, measured: &[Measured]) -> Picture {
    let end = 1.05 * measured.iter().map(|one| one.last().high).fold(1.0, f64::max);
    let mut panels: Vec<_> = POLICIES
        .into_iter()
        .map(|policy| Panel {
            title: match policy {
                PolicyName::Race => "race, as in the thesis: the first run".to_owned(),
                _ => format!("{policy}, with a publisher: the first run"),
            },
            x: Axis::new("seconds since the first client came", 0.0..end),
            y: Axis::new("downloads complete, in percent", 0.0..104.0),
            layers: of_policy(measured, policy)
                .enumerate()
                .filter_map(|(i, one)| Some(Layer::Line(plot::color(i), progress(one.runs.first()?, load))))
                .collect(),
        })
        .collect();
    let mut layers = Vec::new();
    for (i, policy) in POLICIES.into_iter().enumerate() {
        for (place, one) in of_policy(measured, policy).enumerate() {
            let x = place as f64 - 0.18 + 0.36 * i as f64;
            let last = one.last();
            layers.push(Layer::Bar(plot::color(4 + i), (x, last.median), 0.32));
            layers.push(Layer::Range(plot::THESIS, x, (last.low, last.high)));
        }
    }
    for (place, &instances) in INSTANCES.iter().enumerate() {
        let (x, ideal) = (place as f64, load.ideal(instances));
        layers.push(Layer::Dashed(plot::THESIS, vec![(x - 0.42, ideal), (x + 0.42, ideal)]));
    }
    let runs = measured.iter().map(|one| one.runs.len()).max().unwrap_or_default();
    panels.push(Panel {
        title: format!("until all are complete, {} each", series::runs(runs)),
        x: Axis::names("instances", INSTANCES),
        y: Axis::new("seconds", 0.0..end),
        layers,
    });
    let mut key: Vec<_> = INSTANCES
        .iter()
        .enumerate()
        .map(|(i, instances)| {
            (
                Sign::Line(plot::color(i)),
                match instances {
                    1 => "1 instance".to_owned(),
                    _ => format!("{instances} instances"),
                },
            )
        })
        .collect();
    key.push((Sign::Bar(plot::color(4)), "race, median".to_owned()));
    key.push((Sign::Bar(plot::color(5)), "mixed, median".to_owned()));
    let span = if runs < series::MANY {
        "all runs"
    } else {
        "nine tenths of the runs"
    };
    key.push((Sign::Range(plot::THESIS), span.to_owned()));
    key.push((
        Sign::Dashed(plot::THESIS),
        "if all instances always sent at their cap".to_owned(),
    ));
    let setup = format!(
        "{} clients download {} times {} KiB each; an instance sends at most {} bytes in a second",
        load.clients,
        load.downloads,
        plot::number(load.bytes as f64 / 1024.0),
        plot::number(load.cap as f64)
    );
    Picture {
        title: format!("Downloads: time until all are complete ({})", thesis::DOWNLOADS_PAGES),
        notes: vec![
            run.note(&setup, &setup),
            "The thesis says that the time shortens with every step; the numbers of its figure are not in its text."
                .to_owned(),
        ],
        key,
        columns: 3,
        panels,
    }
}

/// Returns the share of downloads that were complete by each time, in percent.
fn progress(run: &Downloads, load: &Load) -> Vec<(f64, f64)> {
    let each = 100.0 / f64::from(load.count());
    let steps = run.done.iter().enumerate();
    let last = run.done.len().saturating_sub(1);
    // More of them could not be told apart.
    let steps = steps.filter(|(before, _)| before % (last / 400 + 1) == 0 || *before == last);
    [(0.0, 0.0)]
        .into_iter()
        .chain(steps.map(|(before, &seconds)| (seconds, (before + 1) as f64 * each)))
        .collect()
}
