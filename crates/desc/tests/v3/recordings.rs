//! Every recorded descriptor, read to the last line.

use std::collections::BTreeSet;

use onionweave_desc::v3::{LinkSpecifier, Problem};
use onionweave_desc::{Error, v3};
use onionweave_ring::UnixTime;
use onionweave_ring::v3::Subcredential;

use crate::support::{read, recordings};

#[test]
fn all_are_read_in_full() {
    let mut count = 0;
    for recording in recordings() {
        let (name, descriptor) = (recording.name, recording.open());
        let ten = name.ends_with("ten-points");
        assert_eq!(descriptor.points().len(), if ten { 10 } else { 3 }, "{name}");
        assert_eq!(descriptor.skipped(), [], "{name}");
        assert!(!descriptor.is_restricted(), "{name}");
        assert_eq!(descriptor.auth_client_count(), 16, "{name}");
        let sealed = descriptor.sealed();
        assert_eq!(sealed.text(), recording.text, "{name}");
        assert_eq!(sealed.lifetime_minutes(), 180, "{name}");
        assert_eq!(sealed.size_class(), if ten { 20_000 } else { 10_000 }, "{name}");
        let left = sealed.signing_key_expires().seconds_since(recording.taken_at);
        assert!((50 * 3600..55 * 3600).contains(&left), "{name}: {left}");

        let header = descriptor.header();
        let flow_control = header.flow_control().unwrap();
        assert_eq!(
            (flow_control.versions(), flow_control.sendme_increment()),
            ("1-2", 31),
            "{name}"
        );
        assert!(
            !header.is_single_onion() && header.intro_auth_required().is_none(),
            "{name}"
        );
        assert_eq!(header.unknown_lines().count(), 0, "{name}");
        assert_eq!(header.proof_of_work().is_some(), name.ends_with("pow"), "{name}");

        let relays: BTreeSet<_> = descriptor
            .points()
            .iter()
            .map(|point| point.rsa_identity().unwrap())
            .collect();
        assert_eq!(relays.len(), descriptor.points().len(), "{name}");
        for point in descriptor.points() {
            let kinds: Vec<_> = point.link_specifiers().iter().collect();
            assert!(
                matches!(
                    kinds[..],
                    [
                        LinkSpecifier::Address(_),
                        LinkSpecifier::Rsa(_),
                        LinkSpecifier::Ed25519(_)
                    ]
                ),
                "{name}: {kinds:?}"
            );
        }
        count += 1;
    }
    assert_eq!(count, 16);
}

/// `GETINFO` does not transmit the last newline, directories do.
#[test]
fn the_last_newline_may_be_there() {
    for recording in recordings() {
        let text = [recording.text, b"\n"].concat();
        let descriptor = read(&text, recording.taken_at, &recording.subcredential()).unwrap();
        assert_eq!(descriptor.points(), recording.open().points());
    }
}

#[test]
fn the_wrong_key_opens_nothing() {
    let all: Vec<_> = recordings().collect();
    for (one, other) in all.iter().zip(all.iter().skip(1)) {
        let wrong = Subcredential::new(&other.key.address(), &one.sealed().blinded_id());
        let error = one.sealed().open(&wrong, None).unwrap_err();
        assert_eq!(error, Error::V3(Problem::WrongMac(v3::Layer::Superencrypted)));
    }
}

#[test]
fn certificates_expire() {
    let recording = recordings().next().unwrap();
    let expires = recording.sealed().signing_key_expires();
    let parsed = || v3::UnverifiedDescriptor::parse(recording.text).unwrap();
    assert!(parsed().verify(expires).is_ok());
    let later = UnixTime::from_secs(expires.as_secs() + 1);
    let error = parsed().verify(later).unwrap_err().to_string();
    assert!(error.contains("it expired at"), "{error}");

    // The points' certificates expire with the hour before, and then there is no point that can be
    // used.
    let descriptor = parsed()
        .verify(expires)
        .unwrap()
        .open(&recording.subcredential(), None)
        .unwrap();
    assert_eq!((descriptor.points().len(), descriptor.skipped().len()), (0, 3));
    for point in descriptor.skipped() {
        assert!(point.reason().to_string().contains("expired"), "{}", point.reason());
    }
}

/// A text of which any bit is changed is refused.
#[test]
fn a_changed_bit_is_noticed() {
    let recording = recordings().next().unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for at in (0..recording.text.len()).step_by(97) {
        let mut text = recording.text.to_vec();
        text[at] ^= 1;
        match read(&text, recording.taken_at, &recording.subcredential()) {
            Ok(_) => accepted += 1,
            Err(_) => refused += 1,
        }
    }
    assert_eq!(accepted, 0, "of {refused}");
}
