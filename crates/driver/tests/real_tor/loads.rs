//! Weights that follow the loads of instances.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::time::{Duration, Instant};

use onionweave_assign::{Damping, PolicyName, Weight};
use onionweave_desc::v2::IntroductionPoint;
use onionweave_driver::{Builder, Instance, LoadGauge, Publisher, Service};
use onionweave_publish::{Cause, Report};
use onionweave_testnet::Holding;

use crate::SECOND;
use crate::harness::{self, Fleet, Lease, Reader, Running, away_from_the_full_hour, clients, renew, verified, visit};

/// Returns an instance's part of the points that directories hand out.
fn part(found: &BTreeMap<onionweave_publish::SlotId, Holding>, own: &[IntroductionPoint]) -> f64 {
    let parts = found.values().map(|holding| {
        let points = verified(holding.text().unwrap()).introduction_points().unwrap();
        points.iter().filter(|point| own.contains(point)).count() as f64 / points.len() as f64
    });
    parts.sum::<f64>() / found.len() as f64
}

/// Reads the directories until an instance's part is within `wanted`, for ten seconds at most.
async fn settled(reader: &mut Reader, own: &[IntroductionPoint], wanted: Range<f64>) -> f64 {
    let deadline = Instant::now() + 10 * SECOND;
    loop {
        let found = part(&reader.read().await, own);
        if wanted.contains(&found) {
            return found;
        }
        assert!(Instant::now() < deadline, "{found} instead of {wanted:?}");
        tokio::time::sleep(SECOND / 5).await;
    }
}

/// Returns the weight of b as a multiple of that of a, as reported.
fn ratio(report: &Report) -> Option<f64> {
    let Report::Weighed(weights) = report else {
        return None;
    };
    let of = |name: &str| weights.get(name).copied().map(Weight::as_u32);
    Some(f64::from(of("b")?) / f64::from(of("a")?))
}

/// Publishes for these instances with weights that follow their loads over `time`.
fn weighted(fleet: &Fleet, instances: [Instance; 2], time: Duration) -> Builder {
    let damping = Damping::new(Damping::default().strength(), time).unwrap();
    let service = Service::new(harness::publishing(&fleet.key), PolicyName::Weighted.policy()).balance(damping);
    Publisher::builder().service(instances.into_iter().fold(service, Service::instance))
}

/// A command tells the loads of two instances: the one with nine times the load gets less in every
/// directory, and its part again when loads are alike. Then Tor itself tells them: the one that
/// most clients visit has more to do, and gets less.
#[tokio::test(flavor = "multi_thread")]
async fn shares_in_the_directories_follow_loads() {
    let network = Lease::take().await;
    let fleet = Fleet::start(&network, true, &["", ""]).await;
    let mut reader = Reader::start(&network, &fleet).await;
    let points = fleet.points().await;
    let own: Vec<_> = points["a"].iter().cloned().collect();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let set = |a: &str, b: &str| {
        fs::write(file("a"), a).unwrap();
        fs::write(file("b"), b).unwrap();
    };
    set("9\n", "1\n");

    let command = |name: &str| LoadGauge::command(["cat".into(), file(name).display().to_string()]).every(SECOND);
    let commanded = ["a", "b"].map(|name| fleet.described(name).load(command(name)));
    away_from_the_full_hour(120 * SECOND).await;
    let mut running = Running::start(weighted(&fleet, commanded, 2 * SECOND));
    // In the end b has 9^0.75 = 5.2 times the weight.
    let is_lower = |report: &Report| ratio(report).is_some_and(|ratio| ratio > 4.5);
    let found = running.report(40 * SECOND, is_lower).await;
    assert!(found.is_some(), "{:#?}", running.shown());
    let lower = settled(&mut reader, &own, 0.1..0.22).await;

    set("1\n", "1\n");
    let is_even = |report: &Report| ratio(report).is_some_and(|ratio| ratio < 1.15);
    let found = running.report(40 * SECOND, is_even).await;
    assert!(found.is_some(), "{:#?}", running.shown());
    let even = settled(&mut reader, &own, 0.45..0.55).await;
    println!(
        "of all points in the directories, a has {lower:.3} under nine times the load, and {even:.3} under the same"
    );
    let weighed = |report: &Report| matches!(report, Report::Proved(round) if round.causes.contains(&Cause::Weighed));
    assert!(running.seen.iter().any(|(_, report)| weighed(report)));

    // Nine clients of ten are a's by right. What a has to do is compared as it is, not by the
    // weight.
    let bandwidth = LoadGauge::bandwidth().per_weight(false).every(SECOND);
    let unequal = [("a", 9), ("b", 1)].map(|(name, weight)| {
        let weight = Weight::try_from(weight).unwrap();
        fleet.described(name).weight(weight).load(bandwidth.clone())
    });
    let clients = clients(&network, 6, &[]).await;
    running
        .publisher
        .reload(weighted(&fleet, unequal, 5 * SECOND))
        .await
        .unwrap();
    running.drain();
    let onion = fleet.key.onion();
    let visits = async {
        loop {
            renew(&clients).await;
            visit(&clients, &onion).await;
        }
    };
    // Of nine times the weight something is taken.
    let is_taken = |report: &Report| ratio(report).is_some_and(|ratio| ratio > 1.3 / 9.0);
    tokio::select! {
        found = running.report(90 * SECOND, is_taken) => {
            let (_, report) = found.expect("a's load is higher");
            println!("with most clients at a: {report}; requests {:?}", fleet.requests());
        }
        () = visits => {}
    }
}
