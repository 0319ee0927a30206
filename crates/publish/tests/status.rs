//! Snapshots of a machine: what an operator is told, and that it is the truth.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeSet;
use std::time::Duration;

use onionweave_publish::status::{Held, SlotStatus};
use onionweave_publish::{Cause, Down, Event, Report, SlotId, Status};
use onionweave_sim::{Fault, Network};

const SECOND: Duration = Duration::from_secs(1);

fn network(names: &[&str]) -> Network {
    let mut network = Network::builder(7)
        .directories(20)
        .instances(names.iter().copied())
        .build()
        .unwrap();
    for name in names {
        network.start(name);
    }
    network
}

fn status(network: &Network) -> Status {
    network.machine().status(network.now())
}

/// A snapshot says the same as the machine's other methods, and nothing that contradicts itself.
fn check(network: &Network) {
    let (machine, status) = (network.machine(), status(network));
    assert_eq!(status.is_settled(), machine.is_settled());
    let proved: BTreeSet<SlotId> = machine.proved().collect();
    for slot in &status.slots {
        assert_eq!(slot.unproved_for.is_none(), proved.contains(&slot.slot));
        assert_eq!(slot.held == Held::Proved, proved.contains(&slot.slot));
        assert!(slot.last_proof.is_some() || !proved.contains(&slot.slot));
    }
    assert_eq!(status.unproved_for().is_none(), proved.len() == status.slots.len());
    for shares in status.shares.values() {
        let sum: f64 = shares.values().sum();
        assert!((sum - 1.0).abs() < 1e-9, "{shares:?}");
    }
    let counts = status.counts;
    assert_eq!(counts.rounds.count == 0, status.rounds.is_empty());
    let answered = counts.uploads.accepted + counts.uploads.refused + counts.uploads.unanswered;
    assert!(answered <= network.uploads());
    assert!(network.uploads() <= answered + status.slots.len() as u64);
}

/// Runs for so long and checks every snapshot on the way.
fn run_for(network: &mut Network, time: Duration) {
    let none = network.run_until(time, |network| {
        check(network);
        false
    });
    assert_eq!(none, None);
}

fn slot_at<'a>(status: &'a Status, id: &SlotId) -> &'a SlotStatus {
    status.slots.iter().find(|slot| slot.slot == *id).unwrap()
}

#[test]
fn a_settled_ring_has_no_problems() {
    let mut network = network(&["a", "b"]);
    let start = status(&network);
    assert!(!start.is_settled());
    run_for(&mut network, 5 * SECOND);
    let status = status(&network);
    assert!(status.is_settled());
    assert_eq!(status.problems, []);
    assert_eq!(status.slots.len(), 6);
    for slot in &status.slots {
        assert_eq!(slot.points, 3);
        assert_eq!(slot.instances.values().sum::<u32>(), 3);
        assert!(slot.last_proof.unwrap() < 5 * SECOND);
        assert_eq!((slot.failures, slot.last_trouble.clone()), (0, None));
        // The next audit, a minute after the last.
        let audit = slot.next.unwrap() + slot.last_proof.unwrap();
        assert_eq!(audit, 60 * SECOND);
    }
    assert_eq!((status.share_of("a"), status.share_of("b")), (0.5, 0.5));
    let [round] = &status.rounds[..] else {
        panic!("{:?}", status.rounds)
    };
    assert_eq!((round.uploads, round.proved, round.missing), (6, 6, 0));
    assert!(round.causes.contains(&Cause::Started));
    assert!(round.took < 2 * SECOND && round.ago > 3 * SECOND);
    assert_eq!(status.counts.uploads.accepted, 6);
    assert_eq!(status.counts.audits.ours, 6);
    for instance in &status.instances {
        assert!(instance.up && instance.serves && instance.dated.is_some());
        // It came up, and it offered points.
        assert_eq!((instance.points, instance.changes), (3, 2));
        assert_eq!(instance.last_change, Some(5 * SECOND));
    }
}

#[test]
fn a_slot_is_unproved_from_the_moment_of_the_change() {
    let mut network = network(&["a", "b"]);
    run_for(&mut network, 10 * SECOND);
    let with_b = |slot: &&SlotStatus| slot.instances.contains_key("b");
    let dead = status(&network).slots.iter().find(with_b).unwrap().slot;
    network.set_fault(dead.directory, Fault::Silent);
    network.kill("b");
    assert_eq!(status(&network).unproved_for(), Some(Duration::ZERO));
    run_for(&mut network, 15 * SECOND);
    let now = status(&network);
    let slot = slot_at(&now, &dead);
    assert_eq!(now.unproved_for(), Some(15 * SECOND));
    assert_eq!(slot.unproved_for, Some(15 * SECOND));
    assert_eq!(slot.held, Held::Outdated);
    assert!(slot.last_proof.unwrap() > 15 * SECOND);
    assert_eq!(now.slots.iter().filter(|slot| slot.unproved_for.is_some()).count(), 1);
    let b = now.instances.iter().find(|instance| instance.name == "b").unwrap();
    assert!(!b.up && !b.serves);
    assert_eq!((b.points, b.changes, b.last_change), (0, 3, Some(15 * SECOND)));
    assert!(matches!(&now.problems[..], [Report::Down(name, Down::Lost(_))] if *name == "b"));

    // After twenty seconds the upload counts as unanswered.
    run_for(&mut network, 7 * SECOND);
    let now = status(&network);
    let slot = slot_at(&now, &dead);
    assert!(slot.failures > 0);
    let trouble = slot.last_trouble.as_ref().unwrap();
    assert_eq!(trouble.why, "no answer in time");
    assert!(trouble.ago < 3 * SECOND);
    assert!(now.counts.uploads.unanswered > 0);
    assert!(
        now.problems
            .iter()
            .any(|problem| matches!(problem, Report::Trouble { slot, .. } if *slot == dead))
    );

    // A failure that is over is remembered, and no problem any more.
    network.set_fault(dead.directory, Fault::None);
    run_for(&mut network, 120 * SECOND);
    let now = status(&network);
    assert!(now.is_settled());
    let trouble = slot_at(&now, &dead).last_trouble.clone().unwrap();
    assert!(trouble.ago > 60 * SECOND);
    assert_eq!(now.problems.len(), 1, "{:?}", now.problems);
}

#[test]
fn an_empty_house_is_a_problem_in_words() {
    let mut network = network(&["a"]);
    run_for(&mut network, 5 * SECOND);
    network.tell(Event::InstanceUnfit {
        instance: "a".parse().unwrap(),
        why: "HTTP 503".into(),
    });
    run_for(&mut network, 5 * SECOND);
    let unfit = status(&network);
    // Nobody is fit, so all who offer points serve.
    assert!(unfit.instances[0].serves);
    assert_eq!(unfit.instances[0].unfit.as_deref(), Some("HTTP 503"));
    let words: Vec<_> = unfit.problems.iter().map(ToString::to_string).collect();
    assert_eq!(words, ["a: unfit to serve (HTTP 503)"]);

    network.kill("a");
    run_for(&mut network, SECOND);
    let empty = status(&network);
    assert!(!empty.instances[0].serves);
    assert!(empty.problems.contains(&Report::NobodyLeft));
    assert!(empty.problems.iter().all(|problem| !problem.to_string().contains('\n')));
}

#[test]
fn only_the_last_rounds_are_remembered() {
    let mut network = network(&["a", "b"]);
    for _ in 0..20 {
        network.rotate("a");
        run_for(&mut network, 5 * SECOND);
    }
    let status = status(&network);
    assert_eq!(status.rounds.len(), 16);
    assert!(status.counts.rounds.count > 16);
    let ages: Vec<_> = status.rounds.iter().map(|round| round.ago).collect();
    assert!(ages.is_sorted_by(|older, newer| older >= newer), "{ages:?}");
    assert!(status.rounds.iter().all(|round| round.uploads as usize >= round.proved));
    let sum = status.counts.rounds.sum;
    assert!(sum >= status.rounds.iter().map(|round| round.took).sum());
}

#[cfg(feature = "serde")]
#[test]
fn snapshots_are_written_as_json_and_read_again() {
    let mut network = network(&["a", "b"]);
    let directory = network.ring().iter().next().unwrap();
    network.set_fault(directory, Fault::Refuses(2));
    run_for(&mut network, 5 * SECOND);
    network.kill("b");
    run_for(&mut network, SECOND);
    let status = status(&network);
    let json = serde_json::to_string(&status).unwrap();
    let mut read: Status = serde_json::from_str(&json).unwrap();
    // As text, fractions are rounded.
    assert!((read.share_of("a") - 1.0).abs() < 1e-9);
    read.shares = status.shares.clone();
    assert_eq!(read, status);
}
