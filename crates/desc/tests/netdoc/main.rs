//! Our tokenizer against another one, tor-netdoc's `parse2`, on the inputs that both must read:
//! what Tor and this crate write.
//!
//! Where they differ in what they accept, Tor is asked instead (`real_verdicts`); `v2` says why.
//! But whatever both accept, they must understand in the same way, unless it has a `#`, which ends
//! an argument for Tor and is part of it for `parse2`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests may unwrap, their helpers too"
)]
#![allow(missing_docs, reason = "derived code has none")]
#![allow(dead_code, reason = "helpers are shared with other tests")]

#[path = "../real_verdicts/mutant.rs"]
mod mutant;
mod parse2;
#[path = "../v2/support.rs"]
mod support;

use std::time::SystemTime;

use onionweave_desc::v2::{Descriptor, Draft, IntroductionPoint, PublicKey};
use onionweave_ring::UnixTime;
use onionweave_ring::v2::{Replica, TimePeriod};

use mutant::{Mutant, Stock};
use support::{
    BASIC, ODD_EXPONENT_KEY, PLAIN, PLAIN_KEY, SECOND, STEALTH, completed, key, many_points, points, verify,
};

/// Holds that both read the same. The object is compared as it is decoded, encrypted or not.
fn assert_same(ours: &Descriptor, theirs: &parse2::Descriptor) {
    assert_eq!(
        ours.descriptor_id().to_string(),
        theirs.rendezvous_service_descriptor.to_string()
    );
    assert_eq!(theirs.version.0, 2);
    let their_key = PublicKey::from_der(&theirs.permanent_key.der).unwrap();
    assert_eq!(*ours.public_key(), their_key);
    assert_eq!(ours.secret_id_part().to_string(), theirs.secret_id_part.to_string());
    let their_time = UnixTime::from(SystemTime::from(theirs.publication_time));
    assert_eq!(ours.publication_time(), their_time);
    let versions = theirs
        .protocol_versions
        .split(',')
        .filter_map(|version| version.trim().parse().ok());
    let mut versions: Vec<u8> = versions.filter(|version| *version < 16).collect();
    versions.sort_unstable();
    versions.dedup();
    assert_eq!(ours.protocol_versions(), versions);
    let message = theirs
        .introduction_points
        .as_ref()
        .map_or(&b""[..], |message| &message.bytes);
    match ours.introduction_points() {
        Ok(ours) => assert_same_points(&ours, message),
        Err(_) => assert_eq!(
            ours.authorization().map(|kind| kind.number()),
            message.first().copied().filter(|kind| matches!(kind, 1 | 2))
        ),
    }
}

fn assert_same_points(ours: &[IntroductionPoint], text: &[u8]) {
    // Tor ends every list with an empty line, which `parse2` refuses.
    let text = std::str::from_utf8(text).unwrap();
    let theirs = parse2::IntroductionPoint::parse_list(&format!("{}\n", text.trim_end())).unwrap();
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours.base32_identity(), theirs.introduction_point.to_string());
        assert_eq!((ours.address(), ours.port()), (theirs.ip_address, theirs.onion_port.0));
        assert_eq!(ours.onion_key().as_der(), theirs.onion_key.der);
        assert_eq!(ours.service_key().as_der(), theirs.service_key.der);
    }
}

fn assert_both_read(text: &[u8]) {
    let ours = verify(text).unwrap();
    let theirs = parse2::Descriptor::verified(std::str::from_utf8(text).unwrap()).unwrap();
    assert_same(&ours, &theirs);
}

#[test]
fn what_tor_wrote() {
    for text in [PLAIN, SECOND, BASIC, STEALTH[0], STEALTH[1]] {
        assert_both_read(&completed(text));
    }
}

#[test]
fn what_this_crate_writes() {
    let time = UnixTime::from_secs(1_800_000_000);
    for pem in [PLAIN_KEY, ODD_EXPONENT_KEY] {
        for count in 1..=10 {
            let draft = Draft::new(many_points(count))
                .protocol_versions(&[0, 2, 7])
                .trailing_blank_lines(count % 3);
            let signed = draft.sign(&key(pem), TimePeriod::from(20_000), Replica::ALL[count % 2], time);
            assert_both_read(signed.unwrap().text());
        }
    }
}

#[test]
fn mutants_that_both_accept() {
    let stock = Stock::new();
    let mut both = 0;
    for number in 0..1500 {
        let mutant = Mutant::new(&stock, 1, number);
        if mutant.text.contains(&b'#') {
            continue;
        }
        let theirs = std::str::from_utf8(&mutant.text).ok().map(parse2::Descriptor::verified);
        if let (Ok(ours), Some(Ok(theirs))) = (verify(&mutant.text), theirs) {
            assert_same(&ours, &theirs);
            both += 1;
        }
    }
    assert!(both > 150, "only {both}");
}

/// Obstacles that keep `parse2` from reading what Tor writes and accepts, and what it would let
/// pass: the reasons for a tokenizer of our own.
#[test]
fn differences_that_matter() {
    let with = |from: &str, to: &str| {
        let text = [support::unsigned(), b"signature\n".to_vec()].concat();
        let text = support::sign(support::replace(&text, from.as_bytes(), to.as_bytes()), &key(PLAIN_KEY));
        String::from_utf8(text).unwrap()
    };
    let theirs = |text: &str| parse2::Descriptor::verified(text).is_ok();
    let ours = |text: &str| verify(text.as_bytes()).is_ok();
    // (what, text, whether this crate accepts it, as Tor does; `parse2` says the opposite)
    let table = [
        ("blank line", with("version 2\n", "\nversion 2\n"), true),
        ("leading space", with("version 2\n", " version 2\n"), true),
        ("carriage return", with("version 2\n", "version 2\r\n"), true),
        ("`opt`", with("version 2\n", "opt version 2\n"), true),
        ("space in base64", with("aW50cm9k", "aW50 cm9k"), true),
        ("no padding", with("KCg==\n", "KCg\n"), true),
        ("second argument", with("version 2\n", "version 2 3\n"), false),
        ("text after the time", with("12:00:00\n", "12:00:00 UTC\n"), false),
        ("NUL", with("version 2\n", "mood \0\nversion 2\n"), false),
        (
            "item after the signature",
            String::from_utf8(completed(PLAIN)).unwrap() + "mood good\n",
            false,
        ),
        (
            "line that begins with signature",
            with("version 2\n", "signatures are fun\nversion 2\n"),
            true,
        ),
    ];
    for (what, text, accepted) in table {
        assert_eq!((ours(&text), theirs(&text)), (accepted, !accepted), "{what}");
    }
    let list: String = points(PLAIN).iter().map(ToString::to_string).collect();
    assert!(parse2::IntroductionPoint::parse_list(&list).is_ok());
    assert!(parse2::IntroductionPoint::parse_list(&format!("{list}\n")).is_err());
}
