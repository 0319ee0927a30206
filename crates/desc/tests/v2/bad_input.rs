//! Refusals, and their words.

use onionweave_desc::v2::{Draft, IntroductionPoint, UnverifiedDescriptor};
use onionweave_desc::{Error, Malformed, Section};
use onionweave_ring::UnixTime;
use onionweave_ring::v2::{Replica, TimePeriod};

use crate::support::{
    BASIC, BASIC_KEY, LIMIT, ODD_EXPONENT_KEY, PLAIN, PLAIN_KEY, SECOND, completed, key, many_points, points, position,
    replace, sign, unsigned, verify, with_points,
};

fn draft(points: Vec<IntroductionPoint>) -> Result<(), Error> {
    signed(Draft::new(points))
}

fn signed(draft: Draft) -> Result<(), Error> {
    let period = TimePeriod::from(20_000);
    draft
        .sign(
            &key(PLAIN_KEY),
            period,
            Replica::ALL[0],
            UnixTime::from_secs(1_800_000_000),
        )
        .map(drop)
}

#[test]
fn truncated_anywhere() {
    for length in 0..PLAIN.len() {
        let error = verify(&PLAIN[..length]).unwrap_err();
        assert!(!error.to_string().contains('\n'), "{length}: {error}");
    }
}

#[test]
fn tampered_fields() {
    let other_id = "a".repeat(32);
    let edits: [(&str, &[u8], &[u8]); 6] = [
        (
            "descriptor ID",
            b"qd2akclg2ygyy37bwtrc6c33jwclhbk6",
            other_id.as_bytes(),
        ),
        (
            "secret ID part",
            b"d4syc7afwvtxmni7fpeheu472epxiluv",
            other_id.as_bytes(),
        ),
        ("publication time", b"12:00:00", b"13:00:00"),
        ("protocol versions", b"2,3", b"2,4"),
        (
            "introduction points",
            b"aW50cm9kdWN0aW9uLXBvaW50IGJkeG",
            b"aW50cm9kdWN0aW9uLXBvaW50IGJkeH",
        ),
        ("permanent key", b"MIGJAoGBAL8xwn", b"MIGJAoGBAL8ywn"),
    ];
    for (name, from, to) in edits {
        assert_eq!(verify(&replace(PLAIN, from, to)), Err(Error::WrongSignature), "{name}");
    }
    let version = verify(&replace(PLAIN, b"version 2", b"version 3")).unwrap_err();
    assert_eq!(version.to_string(), "descriptor, line 2: `version` is not 2");
    let signature = verify(&replace(PLAIN, b"CTRA7", b"CTRA8"));
    assert_eq!(signature, Err(Error::WrongSignature));
}

#[test]
fn signed_by_another_key() {
    let text = sign([unsigned(), b"signature\n".to_vec()].concat(), &key(BASIC_KEY));
    assert_eq!(verify(&text), Err(Error::WrongSignature));
}

#[test]
fn descriptor_id_of_another_service() {
    let theirs = verify(BASIC).unwrap().descriptor_id();
    let ours = verify(PLAIN).unwrap().descriptor_id();
    let text = replace(&unsigned(), ours.to_string().as_bytes(), theirs.to_string().as_bytes());
    let text = sign([text, b"signature\n".to_vec()].concat(), &key(PLAIN_KEY));
    assert_eq!(
        verify(&text),
        Err(Error::WrongDescriptorId {
            written: theirs,
            computed: ours
        })
    );
}

#[test]
fn nothing_or_something_else() {
    for text in [&b""[..], b"\n", b"@type x\n", &PLAIN[1..], &[b" ", PLAIN].concat()] {
        assert_eq!(verify(text), Err(Error::NotADescriptor));
    }
    assert_eq!(verify(b"hs-descriptor 3\n"), Err(Error::V3Descriptor));
}

#[test]
fn two_descriptors_are_not_one() {
    let both = [completed(PLAIN), completed(SECOND)].concat();
    assert_eq!(verify(&both), Err(Error::TrailingData { byte: PLAIN.len() + 1 }));
    let (first, rest) = UnverifiedDescriptor::parse_prefix(&both).unwrap();
    assert_eq!((first.text(), rest), (&completed(PLAIN)[..], &completed(SECOND)[..]));
}

#[test]
fn longer_than_20_kib() {
    let longest = [PLAIN, &vec![b'\n'; LIMIT - PLAIN.len()]].concat();
    assert_eq!(verify(&longest).map(drop), Ok(()));
    let longer = [&longest[..], b"\n"].concat();
    assert_eq!(
        verify(&longer),
        Err(Error::TooLong {
            size: LIMIT + 1,
            limit: LIMIT
        })
    );
}

#[test]
fn no_or_too_many_points_received() {
    let list = |count| -> Vec<u8> {
        many_points(count)
            .iter()
            .flat_map(|point| point.to_string().into_bytes())
            .chain([b'\n'])
            .collect()
    };
    // A directory keeps all of these; clients refuse some.
    for count in [0, 1, 10, 11, 18] {
        let descriptor = verify(&with_points(&list(count))).unwrap();
        let expected = match count {
            1..=10 => Ok(many_points(count)),
            found => Err(Error::IntroductionPointCount { found, limit: 10 }),
        };
        assert_eq!(descriptor.introduction_points(), expected, "{count}");
    }
    let without = unsigned();
    let without = &without[..position(b"introduction-points", &without)];
    let descriptor = verify(&sign([without, b"signature\n"].concat(), &key(PLAIN_KEY))).unwrap();
    let expected = Err(Error::IntroductionPointCount { found: 0, limit: 10 });
    assert_eq!(descriptor.introduction_points(), expected);
}

#[test]
fn a_bad_point_is_named_by_its_line() {
    let list: String = points(PLAIN).iter().map(ToString::to_string).collect();
    let list = list.replace("onion-port 5015", "onion-port 0");
    let error = verify(&with_points(list.as_bytes()))
        .unwrap()
        .introduction_points()
        .unwrap_err();
    let problem = Malformed::Value {
        keyword: "onion-port",
        wanted: "a port from 1 to 65535",
    };
    // Each point takes 15 lines.
    assert_eq!(
        error,
        Error::Malformed {
            section: Section::IntroductionPoints,
            line: 33,
            problem
        }
    );
}

#[test]
fn drafts_of_no_or_eleven_points() {
    assert_eq!(
        draft(vec![]),
        Err(Error::IntroductionPointCount { found: 0, limit: 10 })
    );
    assert_eq!(
        draft(many_points(11)),
        Err(Error::IntroductionPointCount { found: 11, limit: 10 })
    );
    assert_eq!(draft(many_points(1)), Ok(()));
    assert_eq!(draft(many_points(10)), Ok(()));
}

#[test]
fn drafts_with_a_relay_twice() {
    let mut twice = many_points(3);
    let other = &points(SECOND)[0];
    let same_relay = IntroductionPoint::new(
        twice[1].identity(),
        other.address(),
        other.port(),
        other.onion_key().clone(),
        other.service_key().clone(),
    );
    twice.push(same_relay.unwrap());
    assert_eq!(draft(twice.clone()), Err(Error::RepeatedRelay(twice[1].identity())));
}

#[test]
fn drafts_longer_than_20_kib() {
    for lines in [20_000, LIMIT, usize::MAX] {
        let error = signed(Draft::new(many_points(10)).trailing_blank_lines(lines)).unwrap_err();
        assert!(matches!(error, Error::TooLong { limit: LIMIT, .. }), "{error}");
    }
}

#[test]
fn drafts_with_versions_that_cannot_be_written() {
    for versions in [&[][..], &[8], &[2, 3, 255]] {
        let error = signed(Draft::new(many_points(1)).protocol_versions(versions)).unwrap_err();
        assert_eq!(error, Error::ProtocolVersions(versions.to_vec()));
    }
    assert_eq!(signed(Draft::new(many_points(1)).protocol_versions(&[7, 0, 7])), Ok(()));
}

#[test]
fn points_that_clients_refuse() {
    let good = &points(PLAIN)[0];
    let odd = key(ODD_EXPONENT_KEY).public_key().clone();
    let point = |port, onion_key, service_key| {
        IntroductionPoint::new(good.identity(), good.address(), port, onion_key, service_key).map(drop)
    };
    let (onion, service) = (good.onion_key().clone(), good.service_key().clone());
    let relay = good.identity();
    assert_eq!(point(0, onion.clone(), service.clone()), Err(Error::PortZero(relay)));
    let error = Error::Exponent { relay, key: "onion" };
    assert_eq!(point(1, odd.clone(), service.clone()), Err(error));
    let error = Error::Exponent { relay, key: "service" };
    assert_eq!(point(1, onion.clone(), odd), Err(error));
    assert_eq!(point(1, onion, service), Ok(()));
}
