//! The ring against a network of real tor processes: `testdata/v2-network`.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its recording fails")]

use data_encoding::BASE64;
use onionweave_ring::relays::{Form, Relay, RelayList};
use onionweave_ring::v2::{DescriptorCookie, DescriptorId, Replica, SecretIdPart, ServiceId, TimePeriod};
use onionweave_ring::{Fingerprint, HashRing, UnixTime};

const NS_ALL: &str = include_str!("../testdata/v2-network/ns_all.txt");
const CONSENSUS: &str = include_str!("../testdata/v2-network/consensus.txt");
const MICRODESC_CONSENSUS: &str = include_str!("../testdata/v2-network/consensus-microdesc.txt");
const EVENTS: &str = include_str!("../testdata/v2-network/events.txt");

/// A descriptor that Tor made, and where it sent it.
#[derive(Debug)]
struct Published {
    instance: String,
    service: ServiceId,
    time: UnixTime,
    replica: Replica,
    id: DescriptorId,
    /// In the order of the uploads, which is that of C Tor's walk along the ring.
    directories: Vec<Fingerprint>,
}

/// Joins each `CREATED` event with the `UPLOAD` events of the same instance and descriptor ID.
fn published() -> Vec<Published> {
    let events: Vec<Vec<&str>> = EVENTS.lines().map(|line| line.split(' ').collect()).collect();
    let mut published = Vec::new();
    for event in &events {
        let [time, instance, "HS_DESC", "CREATED", address, _, _, id, replica] = event[..] else {
            continue;
        };
        let uploads = events.iter().filter_map(|upload| match upload[..] {
            [_, from, "HS_DESC", "UPLOAD", _, _, directory, sent] if from == instance && sent == id => {
                Some(directory.parse().unwrap())
            }
            _ => None,
        });
        let (seconds, _fraction) = time.split_once('.').unwrap();
        let number: u8 = replica.strip_prefix("REPLICA=").unwrap().parse().unwrap();
        published.push(Published {
            instance: instance.to_owned(),
            service: address.parse().unwrap(),
            time: UnixTime::from_secs(seconds.parse().unwrap()),
            replica: number.try_into().unwrap(),
            id: id.parse().unwrap(),
            directories: uploads.collect(),
        });
    }
    published
}

/// The cookies of the stealth service's clients, by the address that each client knows.
fn cookie(service: &ServiceId) -> Option<DescriptorCookie> {
    let text = match service.to_string().as_str() {
        "gwpnw55cchilrd7k" => "2KohXVDgp8ESS6hWRTRc4A==",
        "ijvp6sjz3adpngel" => "DfS2xDS/PHLzVIyaJVipMg==",
        _ => return None,
    };
    let bytes: [u8; 16] = BASE64.decode(text.as_bytes()).unwrap().try_into().unwrap();
    Some(bytes.into())
}

#[test]
fn the_three_documents_tell_of_the_same_relays() {
    let router_statuses = RelayList::parse(NS_ALL).unwrap();
    let plain = RelayList::parse(CONSENSUS).unwrap();
    let microdesc = RelayList::parse(MICRODESC_CONSENSUS).unwrap();

    assert_eq!(router_statuses.form(), Form::RouterStatuses);
    assert_eq!(plain.form(), Form::PlainConsensus);
    assert_eq!(microdesc.form(), Form::MicrodescConsensus);

    assert_eq!(router_statuses.relays().len(), 18);
    // Router statuses do not tell who serves version 3.
    let known = |list: &RelayList| -> Vec<_> {
        let known = |relay: &Relay| (relay.fingerprint(), relay.nickname().to_owned(), relay.is_hsdir());
        list.relays().iter().map(known).collect()
    };
    assert_eq!(known(&router_statuses), known(&plain));
    assert_eq!(plain.relays(), microdesc.relays());

    assert_eq!(router_statuses.lifetime(), None);
    assert_eq!(plain.lifetime(), microdesc.lifetime());
    let lifetime = plain.lifetime().unwrap();
    assert_eq!(lifetime.valid_after().to_string(), "2026-11-22 12:07:40");
    assert_eq!(lifetime.fresh_until().to_string(), "2026-11-22 12:08:00");
    assert_eq!(lifetime.valid_until().to_string(), "2026-11-22 12:08:20");
}

#[test]
fn descriptor_ids_are_those_that_tor_computed() {
    let published = published();
    // Plain (two instances), basic, and stealth for two clients: two replicas each.
    assert_eq!(published.len(), 10);
    for descriptor in published {
        let period = TimePeriod::at(&descriptor.service, descriptor.time);
        let cookie = cookie(&descriptor.service);
        let part = SecretIdPart::new(period, descriptor.replica, cookie.as_ref());
        assert_eq!(
            DescriptorId::new(&descriptor.service, &part),
            descriptor.id,
            "{descriptor:?}"
        );
        assert_eq!(cookie.is_some(), descriptor.instance == "stealth");
        assert_eq!(TimePeriod::published(&descriptor.service, descriptor.time).count(), 1);
    }
}

/// The documents are one consensus younger than the uploads, and list one relay more: see
/// `testdata/README.md`.
fn ring_at_upload(document: &str) -> HashRing {
    let relays = RelayList::parse(document).unwrap();
    without(&relays.hash_ring(), latecomer(&relays))
}

fn latecomer(relays: &RelayList) -> Fingerprint {
    let mut named = relays.relays().iter().filter(|relay| relay.nickname() == "test013r");
    named.next().unwrap().fingerprint()
}

fn without(ring: &HashRing, relay: Fingerprint) -> HashRing {
    ring.iter().filter(|directory| *directory != relay).collect()
}

fn agrees_with_tor(ring: &HashRing, descriptor: &Published) -> bool {
    descriptor
        .id
        .responsible(ring)
        .eq(descriptor.directories.iter().copied())
}

#[test]
fn responsible_directories_are_those_to_which_tor_uploaded() {
    for document in [NS_ALL, CONSENSUS, MICRODESC_CONSENSUS] {
        let ring = ring_at_upload(document);
        for descriptor in published() {
            assert_eq!(descriptor.directories.len(), 3);
            assert!(agrees_with_tor(&ring, &descriptor), "{descriptor:?}");
        }
    }
}

/// Tor did not know the latecomer yet: this test holds what that conclusion rests on.
#[test]
fn only_the_latecomer_separates_the_documents_from_the_uploads() {
    let relays = RelayList::parse(CONSENSUS).unwrap();
    let ring = relays.hash_ring();
    let latecomer = latecomer(&relays);
    let published = published();

    let valid_after = relays.lifetime().unwrap().valid_after();
    for descriptor in &published {
        assert!(descriptor.time < valid_after);
        // Where the latecomer is not concerned, the documents themselves agree with Tor.
        let concerned = descriptor.id.responsible(&ring).any(|directory| directory == latecomer);
        assert_eq!(agrees_with_tor(&ring, descriptor), !concerned, "{descriptor:?}");
    }

    let explains_all = |relay: &Fingerprint| {
        let ring = without(&ring, *relay);
        published.iter().all(|descriptor| agrees_with_tor(&ring, descriptor))
    };
    let explanations: Vec<_> = ring.iter().filter(explains_all).collect();
    assert_eq!(explanations, [latecomer]);
}

/// In the recording, `test000a` and `test006r` held both replicas of the service `basic`.
#[test]
fn a_directory_may_be_responsible_for_both_replicas() {
    let relays = RelayList::parse(NS_ALL).unwrap();
    let ring = ring_at_upload(NS_ALL);
    let service: ServiceId = "z2p7lut3zzeost7w".parse().unwrap();
    let period = TimePeriod::at(&service, UnixTime::from_secs(1_795_349_239));
    let [first, second] = Replica::ALL
        .map(|replica| -> Vec<_> { DescriptorId::of(&service, period, replica).responsible(&ring).collect() });
    let mut in_both: Vec<_> = relays
        .relays()
        .iter()
        .filter(|relay| first.contains(&relay.fingerprint()) && second.contains(&relay.fingerprint()))
        .map(|relay| relay.nickname())
        .collect();
    in_both.sort_unstable();
    assert_eq!(in_both, ["test000a", "test006r"]);
}

#[test]
fn relays_without_the_flag_are_not_on_the_ring() {
    let document = NS_ALL.replacen(" HSDir ", " ", 5);
    let relays = RelayList::parse(&document).unwrap();
    assert_eq!(relays.relays().len(), 18);
    assert_eq!(relays.hash_ring().len(), 13);

    let none = RelayList::parse(&NS_ALL.replace(" HSDir ", " ")).unwrap();
    assert_eq!(none.hash_ring(), HashRing::default());
}
