//! Traces: what a publisher's witness says of them, and that they survive being written and read.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;

use onionweave_publish::trace::{Asked, Entry, Passed, Told};
use onionweave_sim::{Fault, Network, TraceWitness};

/// An hour and a half with deaths, other points, a hung directory, and a new hour.
fn trace() -> Vec<Entry> {
    let names = ["a", "b", "c"];
    let mut network = Network::builder(3).instances(names).recorded().build().unwrap();
    for name in names {
        network.start(name);
    }
    network.settle(Duration::from_secs(10)).unwrap();
    network.kill("b");
    network.run_for(Duration::from_secs(20));
    network.rotate("a");
    network.rebuild("c");
    let directory = network.machine().wanted().next().unwrap().0.directory;
    network.set_fault(directory, Fault::Silent);
    network.run_for(Duration::from_secs(1800));
    network.set_fault(directory, Fault::None);
    network.start("b");
    network.run_for(Duration::from_secs(3600));
    network.trace().to_vec()
}

fn as_lines(trace: &[Entry]) -> Vec<String> {
    trace
        .iter()
        .map(|entry| serde_json::to_string(entry).unwrap())
        .collect()
}

fn objections(trace: &[Entry]) -> Vec<String> {
    TraceWitness::check(trace).unwrap()
}

#[test]
fn witness_has_no_objection_to_a_good_trace_that_was_written_and_read() {
    let trace = trace();
    let read: Vec<Entry> = as_lines(&trace)
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(read, trace);
    let uploads = read.iter().filter(|entry| is_upload(entry)).count();
    assert!(uploads >= 18, "{uploads} uploads");
    assert_eq!(objections(&read), Vec::<String>::new());
}

fn is_upload(entry: &Entry) -> bool {
    matches!(entry.passed, Passed::Asked(Asked::Upload { .. }))
}

#[test]
fn witness_objects_to_an_upload_that_is_asked_for_twice() {
    let mut trace = trace();
    let at = trace.iter().position(is_upload).unwrap();
    trace.insert(at, trace[at].clone());
    assert!(objections(&trace)[0].contains("a second upload is on its way"));
}

#[test]
fn witness_objects_to_another_text_than_is_wanted() {
    let mut trace = trace();
    let at = trace.iter().position(is_upload).unwrap();
    if let Passed::Asked(Asked::Upload { text, .. }) = &mut trace[at].passed {
        text.push('\n');
    }
    assert!(objections(&trace)[0].contains("is not what it is wanted to hold"));
}

#[test]
fn witness_objects_to_a_dead_instance_in_the_texts() {
    let mut trace = trace();
    let mut death = trace
        .iter()
        .find(|entry| matches!(&entry.passed, Passed::Told(Told::Down { .. })))
        .unwrap()
        .clone();
    if let Passed::Told(Told::Down { instance, .. }) = &mut death.passed {
        *instance = "c".parse().unwrap();
    }
    // Told at the end, when all three serve; then nothing comes of it.
    let last = trace.last().unwrap();
    (death.uptime, death.wall) = (last.uptime, last.wall);
    trace.push(death.clone());
    trace.push(death);
    let objections = objections(&trace);
    assert!(
        objections.iter().any(|what| what.contains("dead or unfit")),
        "{objections:?}"
    );
}

#[test]
fn witness_objects_to_texts_that_stay_when_the_hour_turns() {
    let trace = trace();
    let hour = |entry: &Entry| entry.wall.as_secs() / 3600;
    let first = hour(&trace[0]);
    let stays: Vec<_> = trace
        .into_iter()
        .filter(|entry| hour(entry) == first || matches!(entry.passed, Passed::Told(_)))
        .collect();
    let objections = objections(&stays);
    assert!(
        objections
            .iter()
            .any(|what| what.contains("did not move with the hour")),
        "{objections:?}"
    );
}

#[test]
fn trace_begins_with_a_start() {
    assert!(TraceWitness::check(&trace()[1..]).is_err());
    assert!(TraceWitness::check(&[]).is_err());
}

#[test]
fn traces_hold_no_cookie() {
    let lines = as_lines(&trace()).join("\n");
    assert!(!lines.contains("authorization") && !lines.contains("PRIVATE KEY"));
}
