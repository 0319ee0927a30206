//! The features `serde` and `arbitrary`: what is written is read again, and what breaks a rule is
//! refused or not made.

#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

use std::collections::BTreeSet;
use std::fmt::Debug;

use arbitrary::{Arbitrary, Unstructured};
use onionweave_ring::relays::{Form, Lifetime, Microdescriptors, Relay, RelayList};
use onionweave_ring::v2::{DescriptorId, Replica, SecretIdPart, ServiceId, TimePeriod};
use onionweave_ring::{Ed25519Identity, Fingerprint, HashRing, UnixTime};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const NS_ALL: &str = include_str!("../testdata/v2-network/ns_all.txt");

#[test]
fn names_and_times_are_text_and_numbers() {
    let service: ServiceId = "rf75jzdtba4wnd6v".parse().unwrap();
    let period = TimePeriod::new(20_780);
    let [_, second] = Replica::ALL;
    let table = [
        (json!(service), json!("rf75jzdtba4wnd6v")),
        (json!(period), json!(20_780)),
        (json!(second), json!(1)),
        (json!(UnixTime::from_secs(1_795_349_260)), json!(1_795_349_260)),
        (json!(DescriptorId::from([0; 20])), json!("a".repeat(32))),
        (json!(SecretIdPart::from([0; 20])), json!("a".repeat(32))),
        (json!(Fingerprint::from([0xab; 20])), json!("AB".repeat(20))),
        (json!(Ed25519Identity::from([0; 32])), json!("A".repeat(43))),
        (json!(Form::MicrodescConsensus), json!("microdesc_consensus")),
    ];
    for (written, expected) in table {
        assert_eq!(written, expected);
    }
}

#[test]
fn a_list_of_relays_is_an_object() {
    let list = RelayList::parse(NS_ALL).unwrap();
    let written = json!(list);
    assert_eq!(written["form"], "router_statuses");
    assert_eq!(written["lifetime"], Value::Null);
    let first = json!({
        "fingerprint": "08EED199385D9397B647757568ED4D6D9831E50E",
        "nickname": "test010r",
        "is_hsdir": true,
        "speaks_v3": false,
        "ed25519_identity": null,
    });
    assert_eq!(written["relays"][0], first);
    let defaults = json!({
        "period_minutes": 1440,
        "replicas": 2,
        "spread_store": 4,
        "spread_fetch": 3,
        "current_value": null,
        "previous_value": null,
    });
    assert_eq!(written["onion_services"], defaults);
    // A list that was written before there was version 3.
    let mut older = written.clone();
    older.as_object_mut().unwrap().remove("onion_services");
    for relay in older["relays"].as_array_mut().unwrap() {
        relay.as_object_mut().unwrap().remove("speaks_v3");
    }
    assert_eq!(serde_json::from_value::<RelayList>(older).unwrap(), list);

    let ring = json!(list.hash_ring());
    assert_eq!(ring.as_array().unwrap().len(), 18);
    // In any order, and twice.
    let mut shuffled = ring.as_array().unwrap().clone();
    shuffled.reverse();
    shuffled.push(ring[3].clone());
    assert_eq!(
        serde_json::from_value::<HashRing>(json!(shuffled)).unwrap(),
        list.hash_ring()
    );
}

#[test]
fn what_breaks_a_rule_is_refused() {
    let relay = json!({ "fingerprint": "AB".repeat(20), "nickname": "a", "is_hsdir": true });
    let without = |nickname: &str| json!({ "fingerprint": "AB".repeat(20), "nickname": nickname, "is_hsdir": true });
    let lifetime = json!({ "valid_after": 1, "fresh_until": 2, "valid_until": 3 });
    for (error, reason) in [
        (refused::<ServiceId>(json!("rf75jzdtba4wnd60")), "byte 15 is not base32"),
        (refused::<ServiceId>(json!(7)), "expected a v2 service ID"),
        (refused::<DescriptorId>(json!("A".repeat(32))), "lower-case base32"),
        (
            refused::<SecretIdPart>(json!("a".repeat(31))),
            "takes 32 characters, found 31",
        ),
        (refused::<Fingerprint>(json!("AB")), "takes 40 characters, found 2"),
        (refused::<Ed25519Identity>(json!("")), "takes 43 characters, found 0"),
        (refused::<Replica>(json!(2)), "replica 2 does not exist"),
        (refused::<TimePeriod>(json!(-1)), "expected u32"),
        (refused::<UnixTime>(json!("2026-11-22 12:07:40")), "expected u64"),
        (refused::<Relay>(without("")), "1 to 19 letters and digits"),
        (refused::<Relay>(without("not a name")), "1 to 19 letters and digits"),
        (refused::<HashRing>(json!(["AB"])), "takes 40 characters, found 2"),
        (
            refused::<RelayList>(json!({ "form": "router_statuses", "relays": [] })),
            "router-status list: no relay is listed",
        ),
        (
            refused::<RelayList>(json!({ "form": "router_statuses", "relays": [relay], "lifetime": lifetime })),
            "a router-status list has no lifetime",
        ),
        (
            refused::<RelayList>(json!({ "form": "plain_consensus", "relays": [relay] })),
            "a plain consensus has a lifetime",
        ),
    ] {
        assert!(error.contains(reason), "{error}");
    }
}

fn refused<T: DeserializeOwned + Debug>(value: Value) -> String {
    serde_json::from_value::<T>(value).unwrap_err().to_string()
}

fn round_trips<T>(value: &T) -> Result<(), TestCaseError>
where
    T: Serialize + DeserializeOwned + Debug + PartialEq,
{
    let text = serde_json::to_string(value).unwrap();
    let read: T = serde_json::from_str(&text).unwrap();
    prop_assert_eq!(value, &read);
    Ok(())
}

/// Makes a value of a type from any bytes, if they suffice, and checks that it is read again as it
/// was written.
fn made_and_read<'a, T>(input: &mut Unstructured<'a>) -> Result<Option<T>, TestCaseError>
where
    T: Arbitrary<'a> + Serialize + DeserializeOwned + Debug + PartialEq,
{
    let Ok(value) = T::arbitrary(input) else {
        return Ok(None);
    };
    round_trips(&value)?;
    Ok(Some(value))
}

proptest! {
    #[test]
    fn what_is_written_is_read(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut input = Unstructured::new(&bytes);
        made_and_read::<ServiceId>(&mut input)?;
        made_and_read::<DescriptorId>(&mut input)?;
        made_and_read::<SecretIdPart>(&mut input)?;
        made_and_read::<Ed25519Identity>(&mut input)?;
        made_and_read::<Fingerprint>(&mut input)?;
        made_and_read::<TimePeriod>(&mut input)?;
        made_and_read::<UnixTime>(&mut input)?;
        made_and_read::<Lifetime>(&mut input)?;
        if let Some(replica) = made_and_read::<Replica>(&mut input)? {
            prop_assert!(Replica::ALL.contains(&replica));
        }
        if let Some(list) = made_and_read::<RelayList>(&mut input)? {
            prop_assert!(!list.relays().is_empty());
            prop_assert_eq!(list.lifetime().is_none(), list.form() == Form::RouterStatuses);
        }
        if let Some(ring) = made_and_read::<HashRing>(&mut input)? {
            prop_assert!(ring.iter().is_sorted_by(|a, b| a < b));
        }
    }
}

/// Not every input ends the test above before its last line.
#[test]
fn bytes_make_values_of_many_kinds() {
    let bytes: Vec<u8> = (0..20_000_u32)
        .map(|number| (number * number / 7 % 251) as u8)
        .collect();
    let mut input = Unstructured::new(&bytes);
    let mut forms = BTreeSet::new();
    let mut replicas = BTreeSet::new();
    let mut directories = 0;
    while let Ok(list) = RelayList::arbitrary(&mut input) {
        forms.insert(list.form().to_string());
        directories += list.hash_ring().len();
        replicas.extend(Replica::arbitrary(&mut input));
        if input.is_empty() {
            break;
        }
    }
    assert_eq!((forms.len(), replicas.len()), (3, 2));
    assert!(directories > 10);
}

#[test]
fn ed25519_identities_survive() {
    let microdescriptors = Microdescriptors::parse(include_str!("../testdata/v3-network/md_all.txt")).unwrap();
    let consensus = include_str!("../testdata/v3-network/consensus-microdesc.txt");
    let list = RelayList::parse_with(consensus, &microdescriptors).unwrap();
    let read: RelayList = serde_json::from_value(json!(list)).unwrap();
    assert!(read.relays()[0].ed25519_identity().is_some());
    assert_eq!(read, list);
}
