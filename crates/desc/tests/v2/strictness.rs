//! What C Tor accepts and refuses, as tables: one line per rule, with the place of the rule below `src/` of tor 0.4.5.9.
//!
//! The verdicts are those of `rend_parse_v2_service_descriptor` and `rend_parse_introduction_points` of tor 0.4.5.9, linked into a
//! small program and called with the same texts.

use onionweave_desc::v2::{IntroductionPoint, PublicKey, UnverifiedDescriptor};
use onionweave_desc::{Error, KeyProblem};
use onionweave_ring::v2::{DescriptorId, Replica, SecretIdPart, TimePeriod};
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use sha1::{Digest, Sha1};

use crate::support::{ODD_EXPONENT_KEY, PLAIN, PLAIN_KEY, key, object, points, replace, sign, unsigned, verify};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Accept,
    Reject,
}
use Verdict::{Accept, Reject};

/// A rule, and an edit of the recorded text that obeys or breaks it.
struct Case {
    name: &'static str,
    rule: &'static str,
    verdict: Verdict,
    /// What is replaced before signing.
    edits: Vec<(Vec<u8>, Vec<u8>)>,
    /// What is replaced after signing.
    tampering: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Case {
    fn and(mut self, from: &str, to: &str) -> Self {
        self.edits.push((from.into(), to.into()));
        self
    }

    fn text(&self) -> Vec<u8> {
        let apply = |text: Vec<u8>, edits: &[(Vec<u8>, Vec<u8>)]| {
            edits.iter().fold(text, |text, (from, to)| replace(&text, from, to))
        };
        let text = apply([unsigned(), b"signature\n".to_vec()].concat(), &self.edits);
        apply(sign(text, &key(PLAIN_KEY)), &self.tampering)
    }
}

fn edit(name: &'static str, rule: &'static str, verdict: Verdict, from: &str, to: impl AsRef<[u8]>) -> Case {
    let edits = vec![(from.into(), to.as_ref().to_vec())];
    Case {
        name,
        rule,
        verdict,
        edits,
        tampering: vec![],
    }
}

fn tamper(name: &'static str, rule: &'static str, verdict: Verdict, from: &str, to: &str) -> Case {
    let tampering = vec![(from.into(), to.into())];
    Case {
        name,
        rule,
        verdict,
        edits: vec![],
        tampering,
    }
}

#[rustfmt::skip]
fn layout() -> Vec<Case> {
    vec![
        edit("as written", "rendcommon.c:623", Accept, "version 2", "version 2"),
        edit("blank lines", "util_string.c:304", Accept, "version 2\n", "\n\n version 2\n \t\r\n\n"),
        edit("comment line", "util_string.c:320", Accept, "version 2\n", "#version 1\nversion 2\n"),
        edit("comment behind an argument", "parsecommon.c:181", Accept, "version 2\n", "version 2 # two\n"),
        edit("comment without a space", "parsecommon.c:177", Reject, "version 2\n", "version 2#two\n"),
        edit("argument ended by #", "parsecommon.c:177", Accept, "version 2\n", "version 2#\n"),
        edit("keyword ended by #", "parsecommon.c:176", Reject, "permanent-key\n", "permanent-key#\n"),
        edit("comment in place of an argument", "parsecommon.c:176", Reject, "version 2\n", "version # 2\n"),
        edit("comment where there is no argument", "parsecommon.c:176", Reject, "permanent-key\n", "permanent-key # c\n"),
        edit("tabs", "util_string.c:384", Accept, "version 2\n", "\tversion\t\t2\t\n"),
        edit("CR before LF", "util_string.c:382", Accept, "version 2\n", "version 2\r\n"),
        edit("CR behind a keyword", "util_string.c:382", Accept, "permanent-key\n", "permanent-key\r\n"),
        edit("CR behind the time", "time_fmt.c:346", Reject, "12:00:00\n", "12:00:00\r\n"),
        edit("CR on a BEGIN line", "parsecommon.c:366", Reject, "BEGIN MESSAGE-----\n", "BEGIN MESSAGE-----\r\n"),
        edit("CR on an END line", "parsecommon.c:384", Reject, "END MESSAGE-----\n", "END MESSAGE-----\r\n"),
        edit("vertical tab before a number", "parse_int.c:72", Accept, "version 2\n", "version \x0b2\n"),
        edit("form feed before a keyword", "util_string.c:304", Reject, "version 2\n", "\x0cversion 2\n"),
        edit("`opt` before a keyword", "parsecommon.c:303", Accept, "version 2\n", "opt version 2\n"),
        edit("`opt` twice", "parsecommon.c:303", Reject, "version 2\n", "opt opt version 2\n"),
        edit("`opt` alone", "parsecommon.c:351", Accept, "version 2\n", "opt\nversion 2\n"),
        edit("blank line at the start", "rendparse.c:97", Reject, "rendezvous", "\nrendezvous"),
        edit("`opt` at the start", "rendparse.c:97", Reject, "rendezvous", "opt rendezvous"),
        edit("annotation", "parsecommon.c:125", Reject, "version 2\n", "@type v2\nversion 2\n"),
        edit("annotation behind `opt`", "parsecommon.c:348", Reject, "version 2\n", "opt @type v2\nversion 2\n"),
        edit("annotation at the start", "rendparse.c:97", Reject, "rendezvous", "@type v2\nrendezvous"),
        edit("unknown item", "parsecommon.c:351", Accept, "version 2\n", "mood good or bad\nversion 2\n"),
        edit("not UTF-8 in an unknown item", "parsecommon.c:351", Accept, "version 2\n", b"mood \xff\xfe\nversion 2\n"),
        edit("not UTF-8 in an argument", "rendparse.c:157", Reject, "version 2\n", b"version 2\xff\n"),
        edit("NUL in an unknown item", "rendparse.c:111", Reject, "version 2\n", "mood \0\nversion 2\n"),
        tamper("NUL after the signature", "rendparse.c:111", Accept, "-----END SIGNATURE-----\n", "-----END SIGNATURE-----\0"),
        edit("keyword in capitals", "parsecommon.c:314", Reject, "version 2\n", "Version 2\n"),
        edit("longer keyword", "parsecommon.c:314", Reject, "version 2\n", "versions 2\n"),
        edit("items in another order", "parsecommon.c:131", Accept, "protocol-versions 2,3\n", "").and("version 2\n", "protocol-versions 2,3\nversion 2\n"),
        edit("second version", "parsecommon.c:136", Reject, "version 2\n", "version 2\nversion 2\n"),
        edit("second first item", "parsecommon.c:136", Reject, "version 2\n", " rendezvous-service-descriptor a\nversion 2\n"),
        edit("no version", "parsecommon.c:132", Reject, "version 2\n", ""),
        edit("no secret ID part", "parsecommon.c:132", Reject, "secret-id-part", "secret-id-parts"),
        edit("no time", "parsecommon.c:132", Reject, "publication-time", "publication-times"),
        edit("no protocol versions", "parsecommon.c:132", Reject, "protocol-versions 2,3\n", ""),
        edit("no introduction points", "rendparse.c:34", Accept, "introduction-points\n", "points\n"),
        tamper("item after the signature", "parsecommon.c:147", Reject, "-----END SIGNATURE-----\n", "-----END SIGNATURE-----\nmood good\n"),
        tamper("blank after the signature", "parsecommon.c:89", Accept, "-----END SIGNATURE-----\n", "-----END SIGNATURE-----\n\n # c\n \n"),
        tamper("no LF at the end", "parsecommon.c:381", Accept, "-----END SIGNATURE-----\n", "-----END SIGNATURE-----"),
    ]
}

#[rustfmt::skip]
fn arguments() -> Vec<Case> {
    vec![
        edit("second argument", "parsecommon.c:338", Reject, "version 2\n", "version 2 3\n"),
        edit("no argument", "parsecommon.c:335", Reject, "version 2\n", "version\n"),
        edit("argument where there is none", "parsecommon.c:338", Reject, "permanent-key\n", "permanent-key x\n"),
        edit("version 3", "rendparse.c:158", Reject, "version 2\n", "version 3\n"),
        edit("version +02", "parse_int.c:72", Accept, "version 2\n", "version +02\n"),
        edit("version 2x", "parse_int.c:29", Reject, "version 2\n", "version 2x\n"),
        edit("version 2^32 + 2", "parse_int.c:35", Reject, "version 2\n", "version 4294967298\n"),
        edit("ID in capitals", "rendcommon.c:744", Reject, "descriptor qd2", "descriptor QD2"),
        edit("ID too long", "rendcommon.c:741", Reject, "descriptor qd2", "descriptor aqd2"),
        edit("ID too short", "rendcommon.c:741", Reject, "descriptor qd2", "descriptor qd"),
        edit("ID with a 1", "rendcommon.c:744", Reject, "descriptor qd2", "descriptor qd1"),
        edit("ID of another key", "rendparse.c:240", Reject, "descriptor qd2", "descriptor qd3"),
        edit("secret ID part in capitals", "rendparse.c:175", Reject, "secret-id-part d4s", "secret-id-part D4S"),
        edit("another secret ID part", "rendparse.c:240", Reject, "secret-id-part d4s", "secret-id-part d4t"),
        edit("time with single digits", "time_fmt.c:342", Accept, "2026-11-22 12:00:00", "2026-1-2 3:4:5"),
        edit("time with T", "time_fmt.c:352", Reject, "22 12:00", "22T12:00"),
        edit("text after the time", "time_fmt.c:346", Reject, "12:00:00\n", "12:00:00 UTC\n"),
        edit("space after the time", "time_fmt.c:346", Reject, "12:00:00\n", "12:00:00 \n"),
        edit("spaces before the time", "util_string.c:342", Accept, "time 2026", "time  \t2026"),
        edit("second 60", "time_fmt.c:359", Accept, "12:00:00", "12:00:60"),
        edit("hour 24", "time_fmt.c:359", Reject, "12:00:00", "24:00:00"),
        edit("30 February", "time_fmt.c:134", Reject, "2026-11-22", "2026-02-30"),
        edit("before 1970", "time_fmt.c:358", Reject, "2026-11-22", "1969-11-22"),
        edit("year 10000", "time_fmt.c:342", Accept, "2026-11-22", "10000-11-22"),
        edit("words among the protocol versions", "rendparse.c:204", Accept, "2,3\n", "x,,2,+3,99,-1\n"),
        edit("space among the protocol versions", "parsecommon.c:338", Reject, "2,3\n", "2, 3\n"),
        edit("empty protocol versions", "parsecommon.c:335", Reject, "2,3\n", "\n"),
    ]
}

#[rustfmt::skip]
fn objects() -> Vec<Case> {
    let private = std::str::from_utf8(PLAIN_KEY).unwrap();
    let bad_key = "-----BEGIN RSA PUBLIC KEY-----\nYQ==\n-----END RSA PUBLIC KEY-----\n";
    vec![
        edit("blank before an object", "parsecommon.c:359", Accept, "-----BEGIN MESSAGE", "\n # c\n\t -----BEGIN MESSAGE"),
        edit("blanks in base64", "binascii.c:365", Accept, "aW50cm9k", "a W\t5\r0\n\x0bcm9k"),
        edit("form feed in base64", "binascii.c:365", Reject, "aW50cm9k", "aW50\x0ccm9k"),
        edit("other characters in base64", "binascii.c:418", Reject, "aW50cm9k", "aW50_m9k"),
        edit("no padding", "binascii.c:391", Accept, "KCg==\n", "KCg\n"),
        edit("lonely last character", "binascii.c:449", Reject, "KCg==\n", "KC\n"),
        edit("anything behind the padding", "binascii.c:424", Accept, "KCg==\n", "KCg==\n?! \u{20ac}\n"),
        edit("END within a line", "parsecommon.c:375", Accept, "KCg==\n", "KCg== "),
        edit("END of another object", "parsecommon.c:385", Reject, "END MESSAGE", "END MASSAGE"),
        edit("text after END", "parsecommon.c:384", Reject, "END MESSAGE-----\n", "END MESSAGE----- \n"),
        tamper("no END", "parsecommon.c:377", Reject, "-----END SIGNATURE-----\n", ""),
        edit("BEGIN without a label", "parsecommon.c:365", Reject, "BEGIN MESSAGE", "BEGIN "),
        edit("points of another type", "rendparse.c:216", Reject, "BEGIN MESSAGE", "BEGIN MASSAGE").and("END MESSAGE", "END MASSAGE"),
        edit("points without an object", "parsecommon.c:211", Reject, "introduction-points\n", "introduction-points\nmood good\n"),
        edit("object for version", "parsecommon.c:200", Reject, "version 2\n", "version 2\n-----BEGIN X-----\n-----END X-----\n"),
        edit("key for version", "parsecommon.c:407", Reject, "version 2\n", format!("version 2\n{bad_key}")),
        edit("private key for the permanent key", "parsecommon.c:414", Reject, "permanent-key\n", format!("permanent-key\n{private}")),
        edit("damaged permanent key", "parsecommon.c:411", Reject, "MIGJAoGB", "MIGJAoGC"),
        edit("object with no item", "parsecommon.c:351", Accept, "secret-id-part", "-----BEGIN x-----\n-----END x-----\nsecret-id-part"),
        edit("unknown item with an object", "parsecommon.c:355", Accept, "version 2\n", "mood\n-----BEGIN x y-----\n-----END x y-----\nversion 2\n"),
        edit("unknown item with a damaged key", "parsecommon.c:411", Reject, "version 2\n", format!("mood\n{bad_key}version 2\n")),
        edit("unknown item with a private key", "parsecommon.c:416", Accept, "version 2\n", format!("mood\n{private}version 2\n")),
        edit("signature with an argument", "parsecommon.c:338", Reject, "signature\n", "signature x\n"),
        edit("signature with spaces", "parsecommon.c:319", Accept, "signature\n", "signature \t\r\n"),
        tamper("signature of another type", "sigcommon.c:160", Reject, "BEGIN SIGNATURE", "BEGIN SIGMATURE"),
        tamper("indented signature line", "sigcommon.c:46", Reject, "\nsignature\n", "\n signature\n"),
    ]
}

#[test]
fn descriptors() {
    for case in [layout(), arguments(), objects()].into_iter().flatten() {
        // As a directory reads an upload, which is a string: a NUL byte ends it.
        let text = case.text();
        let parsed = UnverifiedDescriptor::parse_prefix(&text);
        let verdict = parsed.and_then(|(parsed, _)| parsed.verify()).map(drop);
        let expected = case.verdict == Accept;
        assert_eq!(verdict.is_ok(), expected, "{} ({}): {verdict:?}", case.name, case.rule);
    }
}

#[test]
fn rejections_name_the_line() {
    for (from, to, message) in [
        (
            "version 2\n",
            "version 2 3\n",
            "descriptor, line 2: `version` takes 1 arguments, found 2",
        ),
        (
            "version 2\n",
            "\n#\n@x\n",
            "descriptor, line 4: annotations are not allowed",
        ),
        ("version 2\n", "", "descriptor, line 59: `version` is missing"),
        (
            "version 2\n",
            "version 2\nversion 2\n",
            "descriptor, line 3: a second `version`",
        ),
        (
            "END MESSAGE",
            "END MASSAGE",
            "descriptor, line 53: no matching `-----END` line closes the object",
        ),
        (
            "aW50cm9k",
            "aW5\x0ccm9k",
            "descriptor, line 14: the object is not base64",
        ),
        (
            "MIGJAoGB",
            "MIGJAoGC",
            "descriptor, line 4: key: the key is damaged, or is not an RSA key",
        ),
        (
            "12:00:00\n",
            "12:00:61\n",
            "descriptor, line 10: `publication-time` is not a time of the form YYYY-MM-DD HH:MM:SS",
        ),
    ] {
        let error = verify(&edit("", "", Reject, from, to).text()).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

/// The permanent key may have any exponent, but must have 1024 bits (rendparse.c:30).
#[test]
fn permanent_keys() {
    let odd = key(ODD_EXPONENT_KEY);
    let secret_id_part = SecretIdPart::new(TimePeriod::from(20_000), Replica::ALL[0], None);
    let text = |key_text: &str| {
        let id = DescriptorId::new(&odd.service_id(), &secret_id_part);
        let text = format!(
            "rendezvous-service-descriptor {id}\nversion 2\npermanent-key\n{key_text}secret-id-part {secret_id_part}\n\
             publication-time 2026-11-22 12:00:00\nprotocol-versions 2\nsignature\n"
        );
        sign(text.into_bytes(), &odd)
    };
    let encoded = |der: &[u8]| String::from_utf8(object("RSA PUBLIC KEY", der)).unwrap();
    let der = odd.public_key().as_der();

    let descriptor = verify(&text(&encoded(der))).unwrap();
    assert_eq!(descriptor.public_key(), odd.public_key());
    let followed = verify(&text(&encoded(&[der, b"more"].concat()))).unwrap();
    assert_eq!(followed.public_key().as_der(), der, "Tor hashes what it decoded");

    let private = RsaPrivateKey::from_pkcs1_pem(include_str!("../../testdata/keys/rsa-2048.pem")).unwrap();
    let large = rsa::pkcs1::EncodeRsaPublicKey::to_pkcs1_der(&private.to_public_key()).unwrap();
    let error = verify(&text(&encoded(large.as_bytes()))).unwrap_err();
    assert!(error.to_string().contains("the modulus has 2048 bits"), "{error}");
    assert_eq!(
        PublicKey::from_der(large.as_bytes()),
        Err(Error::PublicKey(KeyProblem::Size { bits: 2048 }))
    );
}

/// What is signed must begin with the digest, and the number that signs it may be written short (sigcommon.c:143,
/// OpenSSL's `RSA_public_decrypt`).
#[test]
fn signatures() {
    let private = RsaPrivateKey::from_pkcs1_pem(std::str::from_utf8(PLAIN_KEY).unwrap()).unwrap();
    let signed = |number: u32, payload: fn([u8; 20]) -> Vec<u8>, shape: fn(Vec<u8>) -> Vec<u8>| {
        let text = [unsigned(), format!("mood {number}\nsignature\n").into_bytes()].concat();
        let payload = payload(Sha1::digest(&text).into());
        let signature = private.sign(Pkcs1v15Sign::new_unprefixed(), &payload).unwrap();
        let zero = signature[0] == 0;
        (zero, [text, object("SIGNATURE", &shape(signature))].concat())
    };
    let verdict = |payload, shape| verify(&signed(0, payload, shape).1).map(drop);
    let wrong = Err(Error::WrongSignature);

    assert_eq!(verdict(|digest| digest.to_vec(), |signature| signature), Ok(()));
    assert_eq!(
        verdict(|digest| [&digest[..], b"more"].concat(), |signature| signature),
        Ok(())
    );
    assert_eq!(
        verdict(|digest| [b"\0", &digest[..]].concat(), |signature| signature),
        wrong
    );
    assert_eq!(verdict(|digest| digest[..19].to_vec(), |signature| signature), wrong);
    // The DigestInfo of SHA-1, which every other user of RSA writes.
    let digest_info = |digest: [u8; 20]| {
        [
            b"\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14",
            &digest[..],
        ]
        .concat()
    };
    assert_eq!(verdict(digest_info, |signature| signature), wrong);
    assert_eq!(
        verdict(|digest| digest.to_vec(), |signature| [b"\0", &signature[..]].concat()),
        wrong
    );
    assert_eq!(
        verdict(|digest| digest.to_vec(), |signature| signature[1..].to_vec()),
        wrong
    );
    assert_eq!(verdict(|digest| digest.to_vec(), |_| vec![]), wrong);
    assert_eq!(verdict(|digest| digest.to_vec(), |_| vec![0xff; 128]), wrong);

    let short = (0..10_000)
        .map(|number| signed(number, |digest| digest.to_vec(), |signature| signature[1..].to_vec()))
        .find(|(zero, _)| *zero);
    assert_eq!(verify(&short.unwrap().1).map(drop), Ok(()));
}

/// Only what stands above the first line that *begins* with `signature` is signed (sigcommon.c:46).
#[test]
fn the_signed_part_ends_early() {
    let text = replace(&unsigned(), b"version 2\n", b"signatures are fun\nversion 2\n");
    let text = sign([text, b"signature\n".to_vec()].concat(), &key(PLAIN_KEY));
    assert!(verify(&text).is_ok());
    assert!(verify(&replace(&text, b"protocol-versions 2,3", b"protocol-versions 4,5")).is_ok());
    let error = verify(&replace(&text, b"signatures are fun", b"signatures are bad"));
    assert_eq!(error, Err(Error::WrongSignature));
}

/// A list of introduction points, edited.
fn list(from: &str, to: &str) -> Vec<u8> {
    let text: String = points(PLAIN).iter().map(ToString::to_string).collect();
    replace(text.as_bytes(), from.as_bytes(), to.as_bytes())
}

#[test]
#[rustfmt::skip]
fn introduction_points() {
    let id = "bdxndgjylwjzpnshov2wr3knnwmddzio";
    let capitals = id.to_ascii_uppercase();
    let odd = key(ODD_EXPONENT_KEY).public_key().to_string();
    let onion_key = points(PLAIN)[0].onion_key().to_string();
    let service_key = points(PLAIN)[0].service_key().to_string();
    // (name, rule, points or `None` if refused, list)
    let table = [
        ("as written", "rendcommon.c:244", Some(3), list("port 5010", "port 5010")),
        ("blank lines at the end", "util_string.c:304", Some(3), [list("port 5010", "port 5010"), b"\n\n\n".to_vec()].concat()),
        ("blank line between points", "rendparse.c:408", Some(3), list("\nintroduction-point x4", "\n\nintroduction-point x4")),
        ("text before the first point", "rendparse.c:404", None, list("introduction-point", "\nintroduction-point")),
        ("indented second point", "parsecommon.c:136", None, list("\nintroduction-point x4", "\n introduction-point x4")),
        ("unknown items", "parsecommon.c:351", Some(3), list("ip-address", "mood good\nip-address")),
        ("annotation", "parsecommon.c:125", None, list("ip-address", "@mood good\nip-address")),
        ("`opt`", "parsecommon.c:303", Some(3), list("ip-address", "opt ip-address")),
        ("NUL", "parsecommon.c:71", None, list("ip-address", "mood \0\nip-address")),
        ("identity in capitals", "binascii.c:111", Some(3), list(id, &capitals)),
        ("identity followed by more", "rendparse.c:436", Some(3), list(id, &format!("{id}!!"))),
        ("identity too short", "rendparse.c:436", None, list(id, id.trim_start_matches('b'))),
        ("identity with a 1", "binascii.c:113", None, list(id, &id.replace('b', "1"))),
        ("no address", "parsecommon.c:132", None, list("ip-address 127.0.0.1\n", "")),
        ("two addresses", "parsecommon.c:136", None, list("onion-port", "ip-address 127.0.0.1\nonion-port")),
        ("leading zero", "inaddr.c:53", None, list("127.0.0.1", "127.0.0.01")),
        ("three numbers", "inaddr.c:47", None, list("127.0.0.1", "127.0.1")),
        ("number 256", "inaddr.c:65", None, list("127.0.0.1", "127.0.0.256")),
        ("IPv6", "rendparse.c:457", None, list("127.0.0.1", "::1")),
        ("IPv6 in brackets", "rendparse.c:457", None, list("127.0.0.1", "[::1]")),
        ("mapped IPv4", "rendparse.c:457", None, list("127.0.0.1", "::ffff:127.0.0.1")),
        ("name", "rendparse.c:452", None, list("127.0.0.1", "localhost")),
        ("port 0", "rendparse.c:467", None, list("onion-port 5010", "onion-port 0")),
        ("port 65535", "rendparse.c:467", Some(3), list("onion-port 5010", "onion-port 65535")),
        ("port 65536", "rendparse.c:467", None, list("onion-port 5010", "onion-port 65536")),
        ("port +0080", "parse_int.c:72", Some(3), list("onion-port 5010", "onion-port +0080")),
        ("port 80x", "parse_int.c:29", None, list("onion-port 5010", "onion-port 80x")),
        ("onion key with another exponent", "rendparse.c:479", None, list(&onion_key, &odd)),
        ("service key with another exponent", "rendparse.c:489", None, list(&service_key, &odd)),
        ("no service key", "parsecommon.c:132", None, list(&format!("service-key\n{service_key}"), "")),
        ("keys in another order", "parsecommon.c:131", Some(3), list(
            &format!("onion-key\n{onion_key}service-key\n{service_key}"),
            &format!("service-key\n{service_key}onion-key\n{onion_key}"),
        )),
    ];
    for (name, rule, expected, text) in table {
        let read = IntroductionPoint::parse_list(&text);
        assert_eq!(read.as_ref().ok().map(Vec::len), expected, "{name} ({rule}): {read:?}");
    }
}
