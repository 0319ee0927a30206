//! Properties of all points, all times and all texts.

use std::sync::LazyLock;

use onionweave_desc::v2::{Draft, IntroductionPoint, PublicKey, ServiceKey, UnverifiedDescriptor};
use onionweave_desc::{Error, fuzz};
use onionweave_ring::UnixTime;
use onionweave_ring::v2::{Replica, TimePeriod};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

use crate::support::{PLAIN, PLAIN_KEY, SECOND, key, many_points, points, position, verify};

static KEY: LazyLock<ServiceKey> = LazyLock::new(|| key(PLAIN_KEY));

/// Making keys is slow; those of the recordings do as well as new ones.
static PUBLIC_KEYS: LazyLock<Vec<PublicKey>> = LazyLock::new(|| {
    let points = [points(PLAIN), points(SECOND)].concat();
    points
        .iter()
        .flat_map(|point| [point.onion_key().clone(), point.service_key().clone()])
        .collect()
});

fn any_points() -> impl Strategy<Value = Vec<IntroductionPoint>> {
    let keys = || select(PUBLIC_KEYS.as_slice());
    let rest = (any::<[u8; 4]>(), 1..=u16::MAX, keys(), keys());
    btree_map(any::<[u8; 20]>(), rest, 1..=10).prop_map(|points| {
        let point = |(identity, (address, port, onion, service)): ([u8; 20], ([u8; 4], u16, PublicKey, PublicKey))| {
            IntroductionPoint::new(identity.into(), address.into(), port, onion, service).unwrap()
        };
        points.into_iter().map(point).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_signed_is_read(
        points in any_points(),
        versions in vec(0..=7_u8, 1..5),
        blank_lines in 0..20_usize,
        time in 0..253_402_300_800_u64,
        next in any::<bool>(),
        replica in select(Replica::ALL.as_slice()),
    ) {
        let time = UnixTime::from_secs(time);
        let period = TimePeriod::at(&KEY.service_id(), time);
        let period = if next { period.next() } else { period };
        let draft = Draft::new(points.clone()).protocol_versions(&versions).trailing_blank_lines(blank_lines);
        let signed = draft.sign(&KEY, period, replica, time).unwrap();

        let read = verify(signed.text()).unwrap();
        prop_assert_eq!(&read, &signed);
        prop_assert_eq!(read.introduction_points(), Ok(points));
        prop_assert_eq!(read.publication_time(), time);
        let mut versions = versions;
        versions.sort_unstable();
        versions.dedup();
        prop_assert_eq!(read.protocol_versions(), versions);
        prop_assert_eq!(draft.sign(&KEY, period, replica, time), Ok(signed), "signing has no randomness");
    }

    #[test]
    fn descriptors_survive_anything(text: Vec<u8>) {
        fuzz::descriptor(&text);
    }

    #[test]
    fn descriptors_survive_edits(edits in vec((0..PLAIN.len(), 0..4_usize, any::<Vec<u8>>()), 1..4)) {
        let mut text = PLAIN.to_vec();
        for (start, length, with) in edits {
            let start = start.min(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, with);
        }
        fuzz::descriptor(&text);
    }

    #[test]
    fn introduction_points_survive_edits(
        start in 0..2000_usize,
        length in 0..4_usize,
        with in select(&[" ", "\n", "#", "opt ", "@", "\0", "\r\n", "introduction-point ", "-----BEGIN X-----\n", "0", "=", "\u{fffd}"][..]),
    ) {
        let mut text: Vec<u8> = points(PLAIN).iter().flat_map(|point| point.to_string().into_bytes()).collect();
        let start = start.min(text.len());
        let end = (start + length).min(text.len());
        text.splice(start..end, with.bytes());
        fuzz::introduction_points(&text);
    }

    #[test]
    fn service_keys_survive_edits(start in 0..887_usize, with: char) {
        let mut text = std::str::from_utf8(PLAIN_KEY).unwrap().to_owned();
        text.replace_range(start..=start, with.encode_utf8(&mut [0; 4]));
        fuzz::service_key(text.as_bytes());
    }
}

/// Every byte of a signed text matters, but for white space around the signature and left-over bits
/// of its base64.
#[test]
fn every_flipped_byte_is_noticed() {
    let time = UnixTime::from_secs(1_800_000_000);
    let period = TimePeriod::at(&KEY.service_id(), time);
    let signed = Draft::new(many_points(1))
        .sign(&KEY, period, Replica::ALL[0], time)
        .unwrap();
    let end = position(b"\nsignature\n", signed.text()) + b"\nsignature\n".len();
    for index in 0..signed.text().len() {
        for bit in 0..8 {
            let mut text = signed.text().to_vec();
            text[index] ^= 1 << bit;
            match UnverifiedDescriptor::parse(&text).and_then(UnverifiedDescriptor::verify) {
                Err(Error::Malformed { line, .. }) => assert!(line <= 40, "byte {index}, bit {bit}: line {line}"),
                Err(_) => {}
                Ok(read) => {
                    assert!(index >= end, "byte {index}, bit {bit}");
                    assert_eq!(read.introduction_points(), signed.introduction_points());
                }
            }
        }
    }
}
