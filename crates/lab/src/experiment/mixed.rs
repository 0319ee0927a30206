//! Figure 5.3: each directory hands out one instance, and ten clients make a thousand requests.

use std::fmt::Write as _;
use std::time::Duration;

use onionweave_assign::PolicyName;
use onionweave_sim::{Crowd, Scenario};

use crate::experiment::plot::{self, Axis, Layer, Panel, Picture, Sign};
use crate::experiment::series::{self, Spread};
use crate::experiment::trace::percent;
use crate::experiment::{Run, real, thesis};
use crate::statistics::chi_square;

const INSTANCES: [usize; 5] = [2, 3, 4, 5, 6];
/// Instances have their introduction points before the first client comes.
const FIRST: Duration = Duration::from_secs(120);

/// Outcome for a number of instances.
struct Measured {
    instances: usize,
    /// For each run, how many requests each instance answered.
    answered: Vec<Vec<u64>>,
    /// Number of requests of all runs that nobody answered.
    failed: u64,
}

pub(crate) fn run(run: &Run) -> anyhow::Result<()> {
    let measured = if run.real { measure(run)? } else { simulate(run)? };
    let picture = picture(run, &measured);
    run.output
        .finish("mixed", &csv(&measured), &picture, &verdict(&measured))
}

fn simulate(run: &Run) -> anyhow::Result<Vec<Measured>> {
    let runs = run.count(200, 3) as u64;
    let jobs: Vec<_> = INSTANCES
        .iter()
        .flat_map(|&instances| (0..runs).map(move |number| (instances, run.seed + number)))
        .collect();
    let records = series::each("mixed: simulations", &jobs, |&(instances, seed)| {
        let crowd = Crowd::new(thesis::MIXED_CLIENTS)
            .fresh()
            .visits(thesis::MIXED_REQUESTS)
            .arriving(FIRST..=FIRST + thesis::MIXED_PAUSE)
            .pausing(thesis::MIXED_PAUSE..=thesis::MIXED_PAUSE);
        let scenario = Scenario::new(seed)
            .directories(thesis::DIRECTORIES)
            .numbered(instances)
            .policy(PolicyName::Mixed)
            .clients(crowd);
        // A visit takes a moment besides the pause.
        Ok(scenario.run(FIRST + (thesis::MIXED_REQUESTS + 2) * thesis::MIXED_PAUSE)?)
    })?;
    let mut measured: Vec<Measured> = Vec::new();
    for ((instances, _), record) in jobs.into_iter().zip(records) {
        let answered: Vec<_> = record.instances().iter().map(|one| one.served).collect();
        if measured.last().is_none_or(|last| last.instances != instances) {
            measured.push(Measured::new(instances));
        }
        if let Some(last) = measured.last_mut() {
            last.answered.push(answered);
            last.failed += record.missed();
        }
    }
    Ok(measured)
}

/// Tor lets a client become somebody new every ten seconds, so that the three minutes between two
/// requests become ten seconds, more clients share the work, and each visits the services of all
/// numbers of instances with the same identity. The remainder with 4 and 5 instances rotates each
/// hour; within minutes it stays where it is, as in the thesis.
fn measure(run: &Run) -> anyhow::Result<Vec<Measured>> {
    let clients = run.count(25, 4);
    let requests = run.count((thesis::MIXED_CLIENTS * thesis::MIXED_REQUESTS) as usize, 12);
    let plans = INSTANCES.map(|instances| real::Plan::new(instances).policy(PolicyName::Mixed));
    let visits = real::play(async {
        let stage = real::Stage::start(run, "mixed", clients, &[]).await?;
        let services = stage.services(&plans, 2).await;
        let visiting = real::Visiting::fresh().each(requests / clients);
        Ok(stage.visit(&services, visiting).await)
    })?;
    let there = INSTANCES
        .into_iter()
        .zip(&visits)
        .filter(|(_, visits)| !visits.is_empty());
    let measured = there.map(|(instances, visits)| Measured {
        instances,
        answered: vec![real::answered(visits, instances)],
        failed: real::in_vain(visits),
    });
    Ok(measured.collect())
}

impl Measured {
    fn new(instances: usize) -> Self {
        Self {
            instances,
            answered: Vec::new(),
            failed: 0,
        }
    }

    /// The first run, in percent.
    fn first(&self) -> Vec<f64> {
        self.answered.first().map(|counts| shares(counts)).unwrap_or_default()
    }

    fn spread(&self, instance: usize) -> Spread {
        Spread::of(
            self.answered
                .iter()
                .filter_map(|counts| shares(counts).get(instance).copied()),
        )
    }

    /// Returns the distance of a run from an even split, in percentage points: the median of all
    /// runs.
    fn error(&self) -> f64 {
        let errors = self
            .answered
            .iter()
            .map(|counts| series::largest_error(&shares(counts)));
        Spread::of(errors).median
    }

    /// Returns the chance of counts at least as uneven as the first run's if all instances have the
    /// same share: Pearson's chi-square test.
    fn p(&self) -> f64 {
        let counts = self.answered.first().map(Vec::as_slice).unwrap_or_default();
        let even = vec![1.0 / self.instances as f64; self.instances];
        chi_square(counts, &even).map_or(f64::NAN, |(_, p)| p)
    }
}

fn shares(counts: &[u64]) -> Vec<f64> {
    percent(&counts.iter().map(|&count| count as f64).collect::<Vec<_>>())
}

fn csv(measured: &[Measured]) -> String {
    let mut csv = String::from("instances,run,instance,requests,percent\n");
    for one in measured {
        for (run, counts) in one.answered.iter().enumerate() {
            for (instance, (count, share)) in counts.iter().zip(shares(counts)).enumerate() {
                // Writing to a string does not fail.
                let _ = writeln!(csv, "{},{},{},{count},{share:.2}", one.instances, run + 1, instance + 1);
            }
        }
    }
    csv
}

fn verdict(measured: &[Measured]) -> String {
    let errors: Vec<_> = measured
        .iter()
        .map(|one| {
            let planned = series::largest_error(&thesis::planned(one.instances));
            let planned = if planned < 0.05 {
                String::new()
            } else {
                format!(", where the thesis's plan is off by {planned:.1}")
            };
            format!(
                "{:.1} with {} (p = {:.2}){planned}",
                one.error(),
                one.instances,
                one.p()
            )
        })
        .collect();
    let mut by_error: Vec<_> = measured.iter().collect();
    by_error.sort_by(|a, b| b.error().total_cmp(&a.error()));
    let mut least_even: Vec<_> = by_error.iter().take(2).map(|one| one.instances).collect();
    least_even.sort_unstable();
    let thesis = match least_even == thesis::LEAST_EVEN {
        true => "as in the thesis",
        false => "where in the thesis it was with 4 and 5",
    };
    let failed: u64 = measured.iter().map(|one| one.failed).sum();
    let least_even: Vec<_> = least_even.iter().map(usize::to_string).collect();
    format!(
        "percentage points from an even split, at most: {}; least even with {}, {thesis} (page 34); {failed} requests in vain",
        errors.join(", "),
        least_even.join(" and "),
    )
}

fn picture(run: &Run, measured: &[Measured]) -> Picture {
    let panels = measured.iter().map(|one| {
        let mut layers = Vec::new();
        let planned = thesis::planned(one.instances);
        let even = 100.0 / one.instances as f64;
        for (instance, share) in one.first().into_iter().enumerate() {
            let x = instance as f64;
            layers.push(Layer::Bar(plot::color(instance), (x, share), 0.7));
            if one.answered.len() > 1 {
                let spread = one.spread(instance);
                layers.push(Layer::Range(plot::THESIS, x, (spread.low, spread.high)));
            }
            if let Some(&planned) = planned.get(instance) {
                layers.push(Layer::Diamond(plot::THESIS, (x + 0.26, planned)));
            }
            layers.push(Layer::Text((x, 1.0), format!("{share:.1}")));
        }
        let end = one.instances as f64 - 0.5;
        layers.push(Layer::Dashed(plot::IDEAL, vec![(-0.5, even), (end, even)]));
        Panel {
            title: format!("{} instances", one.instances),
            x: Axis::names("instance", 1..=one.instances),
            y: Axis::new("percent of the requests", 0.0..60.0),
            layers,
        }
    });
    let runs = measured.iter().map(|one| one.answered.len()).max().unwrap_or_default();
    let mut key = vec![(Sign::Dashed(plot::IDEAL), "an even split".to_owned())];
    if runs > 1 {
        key.push((Sign::Range(plot::THESIS), format!("nine tenths of {runs} runs")));
    }
    let remainder = if run.real {
        "too, within minutes"
    } else {
        "it rotates each hour"
    };
    key.push((
        Sign::Diamond(plot::THESIS),
        format!("what the thesis's plan gives (5.1.3): the remainder is drawn once, here {remainder}"),
    ));
    Picture {
        title: format!("Mixed: each directory hands out one instance ({})", thesis::MIXED_PAGES),
        notes: vec![
            run.note(
                "100 directories; ten clients, each with a fresh request every three minutes for five hours: 1 000 requests; bars are the first run",
                "25 clients make 1 000 requests to each number of instances, each client one every ten seconds with a fresh identity",
            ),
            "The thesis found \"a fairly even split\", least even with 4 and 5 instances, and gives no numbers; there and here requests are drawn, so no split is exact."
                .to_owned(),
        ],
        key,
        columns: 3,
        panels: panels.collect(),
    }
}
