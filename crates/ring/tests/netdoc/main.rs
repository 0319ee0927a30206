//! Our scanner of router statuses against another one, tor-netdoc's `parse2`, on the inputs that
//! both must read: what Tor answers to `GETINFO ns/all`. For `parse2` it takes one more line for
//! each relay.

#![allow(clippy::unwrap_used, reason = "tests may unwrap, their helpers too")]

mod statuses;

use onionweave_ring::relays::RelayList;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::subsequence;

use statuses::{Listed, large, ns_all, parse2, with_protocols};

const RECORDED: &str = include_str!("../../testdata/v2-network/ns_all.txt");
const FLAGS: [&str; 14] = [
    "Authority",
    "BadExit",
    "Exit",
    "Fast",
    "Guard",
    "HSDir",
    "MiddleOnly",
    "NoEdConsensus",
    "Running",
    "Stable",
    "StaleDesc",
    "Sybil",
    "V2Dir",
    "Valid",
];

/// Checks that both read the same relays. Returns the number of directories among them.
fn assert_same(list: &str) -> usize {
    let ours = RelayList::from_ns_all(list).unwrap();
    let theirs = parse2(&with_protocols(list)).unwrap();
    assert_eq!(ours.relays().len(), theirs.len());
    for (ours, theirs) in ours.relays().iter().zip(&theirs) {
        assert_eq!(ours.fingerprint().as_bytes(), theirs.rsa_identity().as_bytes());
        assert_eq!(ours.nickname(), theirs.nickname());
        assert_eq!(ours.is_hsdir(), theirs.is_flagged_hsdir());
    }
    let directories = theirs.iter().filter(|relay| relay.is_flagged_hsdir()).count();
    assert_eq!(ours.hash_ring().len(), directories);
    directories
}

#[test]
fn what_tor_answered() {
    assert_eq!(assert_same(RECORDED), 18);
}

#[test]
fn a_list_as_long_as_the_public_networks() {
    assert_eq!(assert_same(&large(6400)), 3200);
}

/// Reason why `parse2` does not read it.
#[test]
fn parse2_refuses_what_tor_answered() {
    let error = parse2(RECORDED).unwrap_err();
    assert_eq!(error.problem.to_string(), "missing item pr");
    assert!(RelayList::from_ns_all(RECORDED).is_ok());
}

proptest! {
    #[test]
    fn any_list(
        relays in vec(
            (any::<[u8; 20]>(), "[a-zA-Z0-9]{1,19}", subsequence(FLAGS.as_slice(), 0..=FLAGS.len()), any::<bool>()),
            1..20,
        ),
    ) {
        let listed = |(identity, nickname, flags, ipv6)| Listed { identity, nickname, flags, ipv6 };
        let mut relays: Vec<Listed> = relays.into_iter().map(listed).collect();
        relays.sort_unstable_by_key(|relay| relay.identity);
        relays.dedup_by_key(|relay| relay.identity);
        assert_same(&ns_all(&relays));
    }
}
