//! The verdicts of this crate against those of a running tor 0.4.5.9.
//!
//! Without a network Tor still says of any text whether it is a descriptor: `+HSPOST` parses and
//! verifies it as a directory does (feature/control/control_cmd.c:1610) and is answered `250 OK` or
//! `554 Invalid descriptor`.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests may unwrap, their helpers too"
)]
#![allow(dead_code, reason = "the tables and helpers are shared with other tests")]

#[path = "../v2/cases.rs"]
mod cases;
mod mutant;
#[path = "../v2/support.rs"]
mod support;
mod tor;

use std::collections::BTreeMap;
use std::time::Instant;

use onionweave_desc::Error;
use onionweave_desc::v2::UploadVerdict;
use onionweave_ring::UnixTime;

use mutant::{Mutant, Stock};
use tor::Tor;

/// Sets the seed of the mutants; 1 by default.
const SEED: &str = "ONIONWEAVE_SEED";
/// Sets how many mutants there are.
const MUTANTS: &str = "ONIONWEAVE_MUTANTS";
const DEFAULT_MUTANTS: u64 = 12_000;
/// Number of mutants that are made, and offered, at a time.
const BATCH: u64 = 500;

/// Verdict of this crate. Which time it is makes no difference to whether an upload is accepted.
fn ours(body: &[u8]) -> Result<(), Error> {
    let verdict = UploadVerdict::new(body, |_| None, UnixTime::EPOCH);
    match verdict.error() {
        Some(error) if !verdict.is_accepted() => Err(error.clone()),
        _ => Ok(()),
    }
}

#[test]
fn tor_says_what_the_tables_say() {
    let cases = cases::descriptors();
    // Tor never sees a body that does not end in LF.
    let bodies: Vec<Vec<u8>> = cases.iter().map(|case| ended(case.text.clone())).collect();
    let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
    let theirs = Tor::start().accepts(&bodies, || {});
    for ((case, body), theirs) in cases.iter().zip(bodies).zip(theirs) {
        assert_eq!(theirs, case.accepted, "Tor: {} ({})", case.name, case.rule);
        assert_eq!(ours(body).is_ok(), case.accepted, "{} ({})", case.name, case.rule);
    }
    println!("{} cases", cases.len());
}

#[test]
fn tor_agrees_on_every_mutant() {
    let seed = number(SEED, 1);
    let count = number(MUTANTS, DEFAULT_MUTANTS);
    println!("{count} mutants of seed {seed} ({MUTANTS} and {SEED} set them)");
    let start = Instant::now();
    let stock = Stock::new();
    let mut tor = Tor::start();
    let mut accepted = 0;
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    let mut disagreements = Vec::new();
    for first in (0..count).step_by(BATCH as usize) {
        let mutants: Vec<Mutant> = (first..count.min(first + BATCH))
            .map(|number| Mutant::new(&stock, seed, number))
            .collect();
        let bodies: Vec<&[u8]> = mutants.iter().map(|mutant| mutant.text.as_slice()).collect();
        let mut ours_of_all = Vec::new();
        let theirs = tor.accepts(&bodies, || ours_of_all.extend(bodies.iter().map(|body| ours(body))));
        for ((mutant, ours), theirs) in mutants.iter().zip(ours_of_all).zip(theirs) {
            if ours.is_ok() != theirs {
                disagreements.push(format!("{mutant}\nTor: {theirs}, this crate: {ours:?}"));
            }
            match ours {
                Ok(()) => accepted += 1,
                Err(error) => *reasons.entry(reason(&error)).or_default() += 1,
            }
        }
    }
    println!("{accepted} accepted; refused, in {:.1?}:", start.elapsed());
    for (reason, count) in &reasons {
        println!("{count:8} {reason}");
    }
    assert!(
        disagreements.is_empty(),
        "{} disagreements:\n{}",
        disagreements.len(),
        disagreements.join("\n\n")
    );
    // Or the mutants would prove little.
    assert!(
        accepted * 5 > count && accepted * 5 < count * 4,
        "{accepted} of {count} accepted"
    );
    assert!(reasons.len() > 30, "only {} reasons for refusal", reasons.len());
}

/// An error without its line and numbers.
fn reason(error: &Error) -> String {
    match error {
        Error::Malformed { problem, .. } => problem.to_string(),
        Error::TooLong { .. } => "too long".to_owned(),
        Error::WrongDescriptorId { .. } => "wrong descriptor ID".to_owned(),
        other => other.to_string(),
    }
}

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(number) => number
            .parse()
            .unwrap_or_else(|_| panic!("{variable}={number} is no number")),
        Err(_) => default,
    }
}

/// The text as Tor gets to see it.
fn ended(mut text: Vec<u8>) -> Vec<u8> {
    if text.last() != Some(&b'\n') {
        text.push(b'\n');
    }
    text
}
