//! Placements of version 3 against a network of real tor processes: `testdata/v3-snapshots`.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its recording fails")]

use std::collections::{BTreeMap, BTreeSet};

use onionweave_ring::relays::{Microdescriptors, RelayList, SharedRandom};
use onionweave_ring::v3::{Address, BlindedId, Network, Place, Which};
use onionweave_ring::{Directories, Fingerprint, UnixTime};

const EVENTS: &str = include_str!("../testdata/v3-snapshots/events.txt");
const HOSTNAMES: &str = include_str!("../testdata/v3-snapshots/hostnames.txt");

/// The network during a minute.
struct Snapshot {
    name: &'static str,
    consensus: &'static str,
    microdescriptors: &'static str,
    /// The answers to `GETINFO sr/current` and `sr/previous`.
    shared_random: [&'static str; 2],
    taken_at: &'static str,
    /// True if clients read the current descriptor.
    current_is_read: bool,
}

macro_rules! snapshot {
    ($name:literal, $current_is_read:literal) => {
        Snapshot {
            name: $name,
            consensus: include_str!(concat!(
                "../testdata/v3-snapshots/snapshot-",
                $name,
                "/consensus-microdesc.txt"
            )),
            microdescriptors: include_str!(concat!("../testdata/v3-snapshots/snapshot-", $name, "/md_all.txt")),
            shared_random: [
                include_str!(concat!("../testdata/v3-snapshots/snapshot-", $name, "/sr_current.txt")),
                include_str!(concat!("../testdata/v3-snapshots/snapshot-", $name, "/sr_previous.txt")),
            ],
            taken_at: include_str!(concat!(
                "../testdata/v3-snapshots/snapshot-",
                $name,
                "/taken-at-unix.txt"
            )),
            current_is_read: $current_is_read,
        }
    };
}

/// Both halves of the period twice, without a shared random value, with one, and with two.
const SNAPSHOTS: [Snapshot; 4] = [
    snapshot!("03", false),
    snapshot!("07", true),
    snapshot!("11", false),
    snapshot!("15", true),
];

impl Snapshot {
    fn directories(&self) -> Directories {
        let microdescriptors = Microdescriptors::parse(self.microdescriptors).unwrap();
        let list = RelayList::parse_with(self.consensus, &microdescriptors).unwrap();
        Directories::of_network(&list, Network::Testing)
    }
}

fn services() -> BTreeMap<&'static str, Address> {
    let lines = HOSTNAMES.lines().map(|line| line.split_once(' ').unwrap());
    lines.map(|(name, address)| (name, address.parse().unwrap())).collect()
}

/// A round of uploads of a descriptor: when it was, and the directories with their points, in
/// order.
#[derive(Debug)]
struct Round {
    service: &'static str,
    id: BlindedId,
    time: f64,
    directories: Vec<(Fingerprint, String)>,
}

fn rounds() -> Vec<Round> {
    let mut rounds: Vec<Round> = Vec::new();
    for line in EVENTS.lines() {
        let items: Vec<&str> = line.split(' ').collect();
        let [time, service, "HS_DESC", "UPLOAD", _, _, directory, id, index] = items[..] else {
            continue;
        };
        let (time, id): (f64, BlindedId) = (time.parse().unwrap(), id.parse().unwrap());
        let directory = (
            directory.parse().unwrap(),
            index.strip_prefix("HSDIR_INDEX=").unwrap().to_owned(),
        );
        match rounds.last_mut() {
            Some(round) if round.id == id && time - round.time < 5.0 => round.directories.push(directory),
            _ => rounds.push(Round {
                service,
                id,
                time,
                directories: vec![directory],
            }),
        }
    }
    rounds
}

fn placed(places: &[Place]) -> Vec<(Fingerprint, String)> {
    places
        .iter()
        .map(|place| (place.directory(), place.index().to_string()))
        .collect()
}

#[test]
fn placements_are_those_of_tor() {
    let rounds = rounds();
    let services = services();
    assert_eq!((rounds.len(), services.len()), (32, 4));
    let mut explained = BTreeSet::new();
    for snapshot in SNAPSHOTS {
        let directories = snapshot.directories();
        let v3 = directories.v3().unwrap();
        assert_eq!(v3.len(), 16);
        for (service, address) in &services {
            for (publication, id, spread) in v3.placements(address) {
                let points: BTreeMap<Fingerprint, String> = v3
                    .rings()
                    .filter(|(other, _)| *other == publication)
                    .flat_map(|(_, ring)| ring.iter())
                    .map(|(index, directory)| (directory, index.to_string()))
                    .collect();
                let theirs = rounds.iter().enumerate().filter(|(_, round)| round.id == id);
                let mut last = None;
                for (number, round) in theirs {
                    assert_eq!(&round.service, service);
                    for (directory, index) in &round.directories {
                        assert_eq!(points.get(directory), Some(index), "snapshot {}", snapshot.name);
                    }
                    explained.insert(number);
                    last = Some(round);
                }
                // Before 12:12:45 the network grew, so earlier rounds are of a smaller ring.
                let last = last.unwrap();
                let expected = placed(spread.stored());
                assert_eq!(
                    last.directories, expected,
                    "snapshot {}, {publication:?}",
                    snapshot.name
                );
            }
        }
    }
    assert_eq!(explained.len(), rounds.len(), "each round of Tor's is one of ours");
}

#[test]
fn halves_and_shared_random_values_are_those_of_the_recording() {
    for snapshot in SNAPSHOTS {
        let directories = snapshot.directories();
        let v3 = directories.v3().unwrap();
        let [current, next] = *v3.schedule().publications();
        assert_eq!((current.which(), next.which()), (Which::Current, Which::Next));
        assert_eq!(
            current.is_read(),
            snapshot.current_is_read,
            "snapshot {}",
            snapshot.name
        );
        assert_eq!(next.is_read(), !snapshot.current_is_read);
        assert_eq!(current.period().number() + 1, next.period().number());

        for (publication, text) in [next, current].iter().zip(snapshot.shared_random) {
            let expected = match text.trim() {
                "" => SharedRandom::disaster(publication.period()),
                value => value.parse().unwrap(),
            };
            assert_eq!(publication.value(), expected, "snapshot {}", snapshot.name);
        }
        let taken_at = UnixTime::from_secs(snapshot.taken_at.trim().parse().unwrap());
        assert!(taken_at < v3.schedule().until());
        // Half a period of eight minutes.
        assert!(v3.schedule().until().seconds_since(taken_at) <= 240);
    }
}

#[test]
fn a_descriptor_keeps_its_directories_when_next_becomes_current() {
    let [_, before, after, _] = SNAPSHOTS.map(|snapshot| snapshot.directories());
    let (before, after) = (before.v3().unwrap(), after.v3().unwrap());
    for address in services().values() {
        // The period has begun in between, so clients read the other one; nothing else moved.
        let pairs = before.placements(address).zip(after.placements(address));
        for ((one, id, spread), (other, other_id, other_spread)) in pairs {
            assert_eq!((id, spread), (other_id, other_spread));
            assert_ne!(one.is_read(), other.is_read());
        }
    }
}

#[test]
fn relays_that_do_not_serve_version_3_are_not_on_the_ring() {
    let [snapshot, ..] = SNAPSHOTS;
    let microdescriptors = Microdescriptors::parse(snapshot.microdescriptors).unwrap();
    let len = |consensus: &str| {
        let list = RelayList::parse_with(consensus, &microdescriptors).unwrap();
        (list.hash_ring().len(), Directories::from(&list).v3().unwrap().len())
    };
    assert_eq!(len(snapshot.consensus), (16, 16));
    assert_eq!(
        len(&snapshot
            .consensus
            .replacen("HSDir=2 HSIntro=4-5 HSRend=1-2", "HSDir=1", 3)),
        (16, 13)
    );
    assert_eq!(
        len(&snapshot.consensus.replacen(" HSDir Running", " Running", 5)),
        (11, 11)
    );
    // An entry of another microdescriptor.
    assert_eq!(len(&snapshot.consensus.replacen("\nm ", "\nm A", 2)), (16, 14));
    assert_eq!(len(&snapshot.consensus.replace(" HSDir Running", " Running")), (0, 0));
}
