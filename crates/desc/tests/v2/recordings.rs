//! Recordings of real tor processes are read, verified, and written again to the byte.

use onionweave_desc::Error;
use onionweave_desc::v2::{AgeVerdict, AuthorizationKind, ClientKeys, Draft, IntroductionPoint, ServiceKey};
use onionweave_ring::UnixTime;
use onionweave_ring::v2::{DescriptorId, Replica, TimePeriod};

use crate::support::{
    BASIC, BASIC_KEY, PLAIN, PLAIN_KEY, SECOND, STEALTH, completed, key, many_points, points, position, sign, verify,
};

#[test]
fn every_recording_verifies() {
    // (text, service ID from `hostname`, descriptor ID of replica 1 from the control port's events)
    let table = [
        (PLAIN, "rf75jzdtba4wnd6v", "qd2akclg2ygyy37bwtrc6c33jwclhbk6"),
        (SECOND, "rf75jzdtba4wnd6v", "qd2akclg2ygyy37bwtrc6c33jwclhbk6"),
        (BASIC, "z2p7lut3zzeost7w", "bj5u24zjlwp3lff5alx6p227qdik7iov"),
        (STEALTH[0], "gwpnw55cchilrd7k", "kq4cizzrbg65oievztyd7roar3aoj7jg"),
        (STEALTH[1], "ijvp6sjz3adpngel", "kyfrv3b6ye67cinv3azlygy3oo25ecrt"),
    ];
    for (text, service, id) in table {
        let descriptor = verify(text).unwrap();
        assert_eq!(descriptor.text(), text);
        assert_eq!(descriptor.service_id().to_string(), service);
        assert_eq!(descriptor.descriptor_id().to_string(), id);
        assert_eq!(descriptor.publication_time().to_string(), "2026-11-22 12:00:00");
        assert_eq!(descriptor.protocol_versions(), [2, 3]);
    }
}

#[test]
fn introduction_points_are_read() {
    let expected = [
        "introduction-point bdxndgjylwjzpnshov2wr3knnwmddzio\nip-address 127.0.0.1\nonion-port 5010\n",
        "introduction-point x4ca26wn7tyokgnmgxxwym3ma36ysd4y\nip-address 127.0.0.1\nonion-port 5014\n",
        "introduction-point bn36u2ht24lsqofp7qyilno3bypxpehz\nip-address 127.0.0.1\nonion-port 5015\n",
    ];
    let points = points(PLAIN);
    assert_eq!(points.len(), expected.len());
    for (point, expected) in points.iter().zip(expected) {
        assert!(point.to_string().starts_with(expected), "{point}");
        assert!(point.address().is_loopback());
    }
    assert_eq!(
        points[1].identity().to_string(),
        "BF040D7ACDFCF0E519AC35EF6C336C06FD890F98"
    );
    assert_eq!(points[1].port(), 5014);
}

#[test]
fn authorization_is_named() {
    let table = [
        (BASIC, AuthorizationKind::Basic),
        (STEALTH[0], AuthorizationKind::Stealth),
        (STEALTH[1], AuthorizationKind::Stealth),
    ];
    for (text, authorization) in table {
        let points = verify(text).unwrap().introduction_points();
        assert_eq!(points, Err(Error::ClientAuthorization(authorization)));
    }
}

#[test]
fn signing_again_gives_the_same_bytes() {
    let key = key(PLAIN_KEY);
    for text in [PLAIN, SECOND] {
        let recorded = verify(text).unwrap();
        let time = recorded.publication_time();
        let period = TimePeriod::at(&key.service_id(), time);
        let draft = Draft::new(recorded.introduction_points().unwrap());
        let signed = draft.sign(&key, period, Replica::ALL[1], time).unwrap();
        assert_eq!(signed.text(), completed(text));
        assert_eq!(verify(signed.text()), Ok(signed));
    }
}

/// Also of those with encrypted points, which are drawn at random and so cannot be written again.
#[test]
fn every_signature_is_made_again() {
    let clients = ClientKeys::parse(include_bytes!("../../testdata/stealth/client_keys")).unwrap();
    let clients: Vec<ServiceKey> = clients.iter().map(|client| client.key().unwrap().clone()).collect();
    let plain = key(PLAIN_KEY);
    let table = [
        (PLAIN, &plain),
        (SECOND, &plain),
        (BASIC, &key(BASIC_KEY)),
        (STEALTH[0], &clients[0]),
        (STEALTH[1], &clients[1]),
    ];
    for (text, key) in table {
        let signature = position(b"-----BEGIN SIGNATURE", text);
        assert_eq!(sign(text[..signature].to_vec(), key), completed(text));
    }
}

#[test]
fn replica_and_period_decide_the_descriptor_id() {
    let key = key(PLAIN_KEY);
    let time = UnixTime::from_iso("2026-11-22 12:00:00").unwrap();
    let now = TimePeriod::at(&key.service_id(), time);
    for period in [now.previous(), now, now.next()] {
        for replica in Replica::ALL {
            let signed = Draft::new(points(PLAIN)).sign(&key, period, replica, time).unwrap();
            let expected = DescriptorId::of(&key.service_id(), period, replica);
            assert_eq!(signed.descriptor_id(), expected);
            assert_eq!(signed.introduction_points().unwrap(), points(PLAIN));
        }
    }
}

#[test]
fn blank_lines_change_the_bytes_and_nothing_else() {
    let key = key(PLAIN_KEY);
    let time = UnixTime::from_iso("2026-11-22 12:00:00").unwrap();
    let period = TimePeriod::at(&key.service_id(), time);
    let texts: Vec<_> = (0..6)
        .map(|lines| {
            let draft = Draft::new(many_points(10)).trailing_blank_lines(lines);
            draft.sign(&key, period, Replica::ALL[0], time).unwrap()
        })
        .collect();
    for (index, descriptor) in texts.iter().enumerate() {
        assert_eq!(descriptor.introduction_points().unwrap(), many_points(10));
        assert!(texts[..index].iter().all(|other| other.text() != descriptor.text()));
    }
}

#[test]
fn lists_of_points_are_written_as_read() {
    for points in [points(PLAIN), points(SECOND), many_points(10)] {
        let text: String = points.iter().map(ToString::to_string).collect();
        assert_eq!(IntroductionPoint::parse_list(text.as_bytes()), Ok(points));
    }
}

#[test]
fn age_is_judged_as_directories_do() {
    // (seconds from publication to now, rendcache.c:672-682)
    let table = [
        (-24 * 3600 - 1, AgeVerdict::TooNew),
        (-24 * 3600, AgeVerdict::Accepted),
        (0, AgeVerdict::Accepted),
        (72 * 3600, AgeVerdict::Accepted),
        (72 * 3600 + 1, AgeVerdict::TooOld),
    ];
    let descriptor = verify(PLAIN).unwrap();
    for (age, verdict) in table {
        let now = descriptor.publication_time().as_secs().saturating_add_signed(age);
        assert_eq!(descriptor.age_verdict(UnixTime::from_secs(now)), verdict, "{age}");
    }
}
