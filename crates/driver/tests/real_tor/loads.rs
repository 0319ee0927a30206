//! Weights that follow the loads of instances.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::time::Instant;

use onionweave_assign::Weight;
use onionweave_desc::v2::IntroductionPoint;
use onionweave_publish::{Cause, Report};
use onionweave_testnet::{Holding, Instance};

use crate::SECOND;
use crate::harness::{
    Extra, Fleet, Lease, Reader, Running, away_from_the_full_hour, clients, config, renew, verified, visit,
};

/// What part of the points that directories hand out is an instance's.
fn part(found: &BTreeMap<onionweave_publish::SlotId, Holding>, own: &[IntroductionPoint]) -> f64 {
    let parts = found.values().map(|holding| {
        let points = verified(holding.text().unwrap()).introduction_points().unwrap();
        points.iter().filter(|point| own.contains(point)).count() as f64 / points.len() as f64
    });
    parts.sum::<f64>() / found.len() as f64
}

/// Reads the directories until an instance's part is what it shall be, for ten seconds at most.
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

/// How many times the weight of b is that of a, as reported.
fn ratio(report: &Report) -> Option<f64> {
    let Report::Weighed(weights) = report else {
        return None;
    };
    let of = |name: &str| weights.get(name).copied().map(Weight::as_u32);
    Some(f64::from(of("b")?) / f64::from(of("a")?))
}

/// A command tells the loads of two instances: the one with nine times the load gets less in every directory, and its part again when loads
/// are alike. Then Tor itself tells them: the one that most clients visit has more to do, and gets less.
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

    let commands = |name: &str, instance: &Instance| {
        format!(
            "control = \"{}\"\nload = {{ command = [\"cat\", {:?}], every = \"1s\" }}\n",
            instance.control(),
            file(name),
        )
    };
    let extra = Extra {
        service: "policy = \"weighted\"\nbalance = { time = \"2s\" }",
        instance: Some(&commands),
        ..Extra::default()
    };
    away_from_the_full_hour(120 * SECOND).await;
    let mut running = Running::start(&fleet, &["a", "b"], extra);
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

    // Nine clients of ten are a's by right. What a has to do is compared as it is, not by the weight.
    let bandwidths = |name: &str, instance: &Instance| {
        let weight = if name == "a" { 9 } else { 1 };
        format!(
            "control = \"{}\"\nweight = {weight}\nload = {{ bandwidth = true, per_weight = false, every = \"1s\" }}\n",
            instance.control(),
        )
    };
    let extra = Extra {
        instance: Some(&bandwidths),
        service: "policy = \"weighted\"\nbalance = { time = \"5s\" }",
        ..extra
    };
    let clients = clients(&network, 6, &[]).await;
    running
        .publisher
        .reload(config(&fleet, &["a", "b"], extra, &running.folder).builder().unwrap())
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
