//! Chapter 6.1: six different master descriptors of ten points each, so up to sixty instances. The
//! thesis proposes it and did not measure it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use onionweave_assign::{Instance, PolicyName, Relay, Round, Slot};
use onionweave_sim::{Crowd, Happening, InstancePlan, Record, Scenario};

use crate::experiment::plot::{self, Axis, Layer, Panel, Picture, Sign};
use crate::experiment::trace::percent;
use crate::experiment::{Run, real, series, thesis};

/// Cases, each with a number of instances and a policy: a regular service, the thesis's limit, and
/// the larger ones of chapter 6.1.
const CASES: [(usize, PolicyName); 7] = [
    (1, PolicyName::Mixed),
    (6, PolicyName::Mixed),
    (7, PolicyName::Hybrid),
    (10, PolicyName::Hybrid),
    (20, PolicyName::Hybrid),
    (40, PolicyName::Hybrid),
    (60, PolicyName::Hybrid),
];

/// "thousands of client requests": as many as ask ten instances for all they can send.
const CLIENTS: u32 = 6_000;
/// For shares, what is drawn must be drawn often.
const VISITORS: u32 = 300_000;
const MINUTE: Duration = Duration::from_secs(60);
/// Share of instances that die: one in ten.
const DYING: usize = 10;

/// Outcome for a number of instances.
struct Measured {
    instances: usize,
    policy: PolicyName,
    /// Each instance's part of the visits, in percent.
    shares: Vec<f64>,
    /// Load that the plan gives the busiest introduction point, in percent of all clients, and the
    /// number of points that carry the service.
    busiest_point: f64,
    points: usize,
    /// Rate of all clients together, in megabytes per second.
    throughput: f64,
    /// Time that a client waited for its 50 KiB, in seconds: the median and a high quantile.
    median: f64,
    slowest: f64,
    /// Visits in vain after a tenth of the instances died, all visits, and the longest time until a
    /// visit was served.
    missed: u64,
    visits: u64,
    longest: f64,
}

pub(crate) fn run(run: &Run) -> anyhow::Result<()> {
    let measured = if run.real { measure(run)? } else { simulate(run)? };
    let picture = picture(run, &measured);
    run.output
        .finish("hybrid", &csv(&measured), &picture, &verdict(run, &measured))
}

fn simulate(run: &Run) -> anyhow::Result<Vec<Measured>> {
    series::each("hybrid: simulations", &CASES, |&(instances, policy)| {
        let (points, busiest_point) = loads(instances, policy)?;
        let calm = shares(run, instances, policy)?;
        let (throughput, [median, slowest]) = transfers(run, instances, policy)?;
        let deaths = deaths(run, instances, policy)?;
        let counts: Vec<_> = calm.instances().iter().map(|one| one.served as f64).collect();
        Ok(Measured {
            instances,
            policy,
            shares: percent(&counts),
            busiest_point,
            points,
            throughput,
            median,
            slowest,
            missed: deaths.missed(),
            visits: deaths.missed() + deaths.served(),
            longest: deaths.waited().longest().as_secs_f64(),
        })
    })
}

fn scenario(run: &Run, policy: PolicyName, plans: impl IntoIterator<Item = InstancePlan>) -> Scenario {
    // Sixty instances with three points each want more relays than the thesis has.
    Scenario::new(run.seed)
        .directories(thesis::DIRECTORIES)
        .relays(1000)
        .instances(plans)
        .policy(policy)
}

/// Many clients that each come once within one round, so that shares are the plan's and not the
/// draw's.
fn shares(run: &Run, instances: usize, policy: PolicyName) -> anyhow::Result<Record> {
    let visitors = Crowd::new(run.count(VISITORS as usize, 3_000) as u32)
        .fresh()
        .visits(1)
        .arriving(70 * MINUTE..=110 * MINUTE);
    let scenario = scenario(run, policy, InstancePlan::numbered(instances)).clients(visitors);
    Ok(scenario.run(112 * MINUTE)?)
}

/// Instances of limited bandwidth, and clients enough to fill ten of them.
fn transfers(run: &Run, instances: usize, policy: PolicyName) -> anyhow::Result<(f64, [f64; 2])> {
    let (from, to) = (10 * MINUTE, if run.brief { 12 * MINUTE } else { 30 * MINUTE });
    let crowd = Crowd::new(run.count(CLIENTS as usize, 600) as u32)
        .fresh()
        .arriving(2 * MINUTE..=3 * MINUTE)
        .pausing(thesis::PAUSE)
        .fetching(thesis::TRANSFER);
    let plans = InstancePlan::numbered(instances)
        .into_iter()
        .map(|plan| plan.cap(thesis::CAP));
    let record = scenario(run, policy, plans)
        .clients(crowd)
        .log_visits(usize::MAX)
        .run(to)?;
    let settled = record.visits().iter().filter(|visit| visit.ended >= from);
    let mut times: Vec<_> = settled.map(|visit| (visit.ended - visit.began).as_secs_f64()).collect();
    times.sort_by(f64::total_cmp);
    let at = |part: f64| {
        times
            .get((part * times.len().saturating_sub(1) as f64) as usize)
            .copied()
    };
    let bytes = times.len() as f64 * thesis::TRANSFER as f64;
    let throughput = bytes / (to - from).as_secs_f64() / 1e6;
    Ok((throughput, [at(0.5), at(0.99)].map(Option::unwrap_or_default)))
}

/// Makes one instance in ten die at the same moment, while new clients come all the time.
fn deaths(run: &Run, instances: usize, policy: PolicyName) -> anyhow::Result<Record> {
    let visitors = Crowd::new(run.count(VISITORS as usize / 5, 3_000) as u32)
        .fresh()
        .visits(1)
        .arriving(29 * MINUTE..=31 * MINUTE);
    let mut scenario = scenario(run, policy, InstancePlan::numbered(instances)).clients(visitors);
    for number in 1..=dying(instances) {
        scenario = scenario.at(30 * MINUTE, Happening::Dies(format!("instance{number}")));
    }
    Ok(scenario.run(40 * MINUTE)?)
}

/// Returns the number of introduction points that carry the service, and the load of the busiest in
/// percent of all clients, by the plan.
fn loads(instances: usize, policy: PolicyName) -> anyhow::Result<(usize, f64)> {
    const POINTS: usize = 3;
    let all: Vec<_> = (0..instances)
        .map(|one| Instance::new(one, (0..POINTS).map(|point| Relay::new((one * POINTS + point) as u128))))
        .collect();
    let slots = (0..6_u8).map(|slot| Slot::new(slot, slot / 3, 1.0 / 6.0));
    let slots = slots.collect::<Result<Vec<_>, _>>()?;
    let plan = policy.policy().plan(&all, &slots, None, Round::new(0, 0))?;
    let loads: BTreeMap<_, _> = plan.loads(&slots);
    let busiest = loads.values().copied().fold(0.0, f64::max);
    Ok((loads.len(), 100.0 * busiest))
}

/// Without caps: two cores would be the limit, not the instances. All cases run at the same time,
/// each with a service of its own; they start one after the other, so that those that wait have the
/// machine for themselves.
fn measure(run: &Run) -> anyhow::Result<Vec<Measured>> {
    let clients = run.count(20, 4);
    let cases = CASES;
    let plans = cases
        .iter()
        .map(|&(instances, policy)| real::Plan::new(instances).policy(policy));
    let plans: Vec<_> = plans.collect();
    let (calm, after) = real::play(async {
        let stage = real::Stage::start(run, "hybrid", clients, &[]).await?;
        let services = stage.services(&plans, 1).await;
        let visiting = real::Visiting::fresh().each(run.count(600, 12) / clients);
        let calm = stage.visit(&services, visiting).await;
        // A tenth of them dies, and clients come at once.
        for (service, (instances, _)) in services.iter().zip(&cases) {
            service.kill(0..dying(*instances))?;
        }
        let visiting = real::Visiting::fresh().each(run.count(4, 1));
        Ok((calm, stage.visit(&services, visiting).await))
    })?;
    let measured = cases
        .into_iter()
        .zip(calm.iter().zip(&after))
        .filter(|(_, (calm, _))| !calm.is_empty())
        .map(|((instances, policy), (calm, after))| {
            let counts = real::answered(calm, instances);
            let counts: Vec<_> = counts.into_iter().map(|count| count as f64).collect();
            let times = real::waits(calm);
            let at = |part: f64| {
                let place = (part * times.len().saturating_sub(1) as f64) as usize;
                times.get(place).copied().unwrap_or_default()
            };
            let took = calm.iter().map(|visit| visit.ended).fold(0.0, f64::max);
            let (points, busiest_point) = loads(instances, policy)?;
            anyhow::Ok(Measured {
                instances,
                policy,
                shares: percent(&counts),
                busiest_point,
                points,
                throughput: counts.iter().sum::<f64>() * thesis::TRANSFER as f64 / took / 1e6,
                median: at(0.5),
                slowest: at(0.99),
                missed: real::in_vain(after),
                visits: after.len() as u64,
                longest: real::waits(after).last().copied().unwrap_or_default(),
            })
        });
    measured.collect()
}

/// Returns the number of instances that die. The only instance may not: nothing could be said of
/// that.
fn dying(instances: usize) -> usize {
    instances.div_ceil(DYING).min(instances - 1)
}

impl Measured {
    /// The largest and the smallest share, in fair shares.
    fn extremes(&self) -> (f64, f64) {
        let fair = 100.0 / self.instances as f64;
        let shares = self.shares.iter().map(|share| share / fair);
        shares.fold((0.0_f64, f64::INFINITY), |(most, least), share| {
            (most.max(share), least.min(share))
        })
    }
}

fn csv(measured: &[Measured]) -> String {
    let mut csv = String::from(
        "instances,policy,introduction points,busiest point in percent,Jain's index,largest error in points,\
         megabytes per second,median seconds,99 % seconds,visits while a tenth dies,in vain,longest wait\n",
    );
    for one in measured {
        // Writing to a string does not fail.
        let _ = writeln!(
            csv,
            "{},{},{},{:.3},{:.5},{:.3},{:.3},{:.2},{:.2},{},{},{:.2}",
            one.instances,
            one.policy,
            one.points,
            one.busiest_point,
            series::evenness(&one.shares),
            series::largest_error(&one.shares),
            one.throughput,
            one.median,
            one.slowest,
            one.visits,
            one.missed,
            one.longest
        );
    }
    csv.push_str("\ninstances,instance,percent of the visits\n");
    for one in measured {
        for (instance, share) in one.shares.iter().enumerate() {
            let _ = writeln!(csv, "{},{},{share:.3}", one.instances, instance + 1);
        }
    }
    csv
}

fn verdict(run: &Run, measured: &[Measured]) -> String {
    let (Some(first), Some(last)) = (measured.first(), measured.last()) else {
        return "nothing was measured".to_owned();
    };
    let hybrid = || measured.iter().filter(|one| one.policy == PolicyName::Hybrid);
    let serving = |one: &Measured| one.shares.iter().filter(|&&share| share > 0.0).count();
    let serving = match hybrid().find(|one| serving(one) < one.instances) {
        None => format!("all of 7 to {} instances serve at once", last.instances),
        Some(one) => format!("of {} instances only {} serve", one.instances, serving(one)),
    };
    let errors = hybrid().map(|one| series::largest_error(&one.shares));
    let (most, least) = last.extremes();
    let mut parts = vec![format!(
        "{serving}, none farther than {:.2} points from an even share (with {}: {least:.2} to {most:.2} fair shares)",
        errors.fold(0.0, f64::max),
        last.instances,
    )];
    if run.real {
        let missed: u64 = hybrid().map(|one| one.missed).sum();
        let visits: u64 = hybrid().map(|one| one.visits).sum();
        parts.push(format!(
            "{missed} of {visits} visits in vain right after one instance in ten died"
        ));
    } else {
        parts.push(format!(
            "{} introduction points instead of {}, the busiest with {:.1} % instead of {:.1} %; {:.1} instead of {:.1} MB/s",
            last.points, first.points, last.busiest_point, first.busiest_point, last.throughput, first.throughput,
        ));
    }
    parts.push("the thesis (page 37) expected up to 60 instances and did not measure".to_owned());
    parts.join("; ")
}

fn picture(run: &Run, measured: &[Measured]) -> Picture {
    let places = || measured.iter().enumerate().map(|(place, one)| (place as f64, one));
    let axis = || Axis::names("instances", measured.iter().map(|one| one.instances));
    let color = |one: &Measured| match one.policy {
        PolicyName::Hybrid => plot::color(0),
        _ => plot::IDEAL,
    };
    let bars = |value: fn(&Measured) -> f64, text: fn(&Measured) -> String| {
        places().flat_map(move |(x, one)| {
            [
                Layer::Bar(color(one), (x, value(one)), 0.66),
                Layer::Text((x, value(one)), text(one)),
            ]
        })
    };
    let top = |value: fn(&Measured) -> f64| 1.18 * measured.iter().map(value).fold(0.0, f64::max);

    let mut shares = vec![Layer::Dashed(
        plot::IDEAL,
        vec![(-0.6, 1.0), (measured.len() as f64 - 0.4, 1.0)],
    )];
    for (x, one) in places() {
        let count = one.shares.len() as f64;
        for (instance, share) in one.shares.iter().enumerate() {
            let aside = if count > 1.0 {
                (instance as f64 / (count - 1.0) - 0.5) * 0.6
            } else {
                0.0
            };
            shares.push(Layer::Dot(plot::color(instance), (x + aside, share * count / 100.0)));
        }
    }
    let most_uneven = measured.iter().map(|one| one.extremes().0).fold(1.0, f64::max);
    let mut waits = Vec::new();
    for (x, one) in places() {
        waits.push(Layer::Bar(plot::color(5), (x - 0.18, one.median), 0.32));
        waits.push(Layer::Bar(plot::color(4), (x + 0.18, one.slowest), 0.32));
    }
    let throughput_top = top(|one| one.throughput);
    let mut throughput = Vec::new();
    for (x, one) in places() {
        let cap = one.instances as f64 * thesis::CAP as f64 / 1e6;
        let has_cap = !run.real && cap < throughput_top;
        throughput.push(Layer::Bar(color(one), (x, one.throughput), 0.66));
        if has_cap {
            throughput.push(Layer::Dashed(plot::THESIS, vec![(x - 0.42, cap), (x + 0.42, cap)]));
        }
        let above = if has_cap {
            one.throughput.max(cap)
        } else {
            one.throughput
        };
        throughput.push(Layer::Text((x, above), format!("{:.1}", one.throughput)));
    }
    let mut panels = vec![Panel {
        title: "each instance's part of the visits".to_owned(),
        x: axis(),
        y: Axis::new("in fair shares (1 is even)", 0.0..(1.1 * most_uneven).max(1.5)),
        layers: shares,
    }];
    // What is computed from plans, and what caps do, was not measured on real Tor.
    let simulated = [
        Panel {
            title: "introduction points that carry the service".to_owned(),
            x: axis(),
            y: Axis::new("points", 0.0..top(|one| one.points as f64)),
            layers: bars(|one| one.points as f64, |one| one.points.to_string()).collect(),
        },
        Panel {
            title: "clients that the busiest point carries".to_owned(),
            x: axis(),
            y: Axis::new("percent", 0.0..top(|one| one.busiest_point)),
            layers: bars(|one| one.busiest_point, |one| format!("{:.1}", one.busiest_point)).collect(),
        },
        Panel {
            title: "what all clients together get".to_owned(),
            x: axis(),
            y: Axis::new("megabytes in a second", 0.0..throughput_top),
            layers: throughput,
        },
    ];
    if !run.real {
        panels.extend(simulated);
    }
    panels.extend([
        Panel {
            title: "how long 50 KiB take".to_owned(),
            x: axis(),
            y: Axis::powers("seconds", 0.1..top(|one| one.slowest).max(1.0)),
            layers: waits,
        },
        Panel {
            title: "when one instance in ten dies".to_owned(),
            x: axis(),
            y: Axis::new("longest wait of a visit, in seconds", 0.0..top(|one| one.longest)),
            layers: bars(|one| one.longest, |one| format!("{} in vain", one.missed)).collect(),
        },
    ]);
    let mut key = vec![
        (
            Sign::Bar(plot::IDEAL),
            "a regular service, and mixed with six".to_owned(),
        ),
        (Sign::Bar(plot::color(0)), "hybrid".to_owned()),
        (Sign::Bar(plot::color(5)), "median".to_owned()),
        (Sign::Bar(plot::color(4)), "99 % take no longer".to_owned()),
    ];
    if !run.real {
        key.push((Sign::Dashed(plot::THESIS), "all caps together".to_owned()));
    }
    Picture {
        title: format!("Hybrid: six master descriptors, up to sixty instances ({})", thesis::HYBRID_PAGES),
        notes: vec![
            run.note(
                "shares are those of 300 000 new clients; 6 000 clients fetch 50 KiB over and over from instances that send at most 1 024 000 bytes in a second",
                "20 clients make 600 requests to each number of instances, one every ten seconds with a fresh identity; nothing is capped",
            ),
            if run.real && !run.brief {
                "The thesis proposes this and did not measure it. Each of 60 instances has about ten requests, so drawing alone puts most between 0.4 and 1.6 fair shares."
            } else {
                "The thesis proposes this and did not measure it."
            }
            .to_owned(),
        ],
        key,
        columns: 3,
        panels,
    }
}
