//! Tables of what Tor accepts and refuses: one line per rule, with the place of the rule below
//! `src/` of tor 0.4.5.9.
//!
//! The tables hold both sides: `strictness` asks this crate, `real_verdicts` asks a running Tor.

use data_encoding::BASE64;
use onionweave_desc::v2::ServiceKey;
use onionweave_ring::v2::{DescriptorId, Replica, SecretIdPart, TimePeriod};
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPublicKey};
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use sha1::{Digest, Sha1};

use crate::support::{
    LIMIT, ODD_EXPONENT_KEY, PLAIN, PLAIN_KEY, SECOND, completed, key, many_points, object, points, position, replace,
    sign, unsigned,
};

/// A text that obeys or breaks a rule, as a directory gets it.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) rule: &'static str,
    pub(crate) accepted: bool,
    pub(crate) text: Vec<u8>,
}

/// A list of introduction points that obeys or breaks a rule, as a client gets it.
#[derive(Debug, Clone)]
pub(crate) struct List {
    pub(crate) name: &'static str,
    pub(crate) rule: &'static str,
    /// Number of its points, if clients accept it.
    pub(crate) points: Option<usize>,
    pub(crate) text: Vec<u8>,
}

/// Everything that directories judge.
pub(crate) fn descriptors() -> Vec<Case> {
    [layout(), arguments(), objects(), keys(), signatures(), bodies()].concat()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Accept,
    Reject,
}
use Verdict::{Accept, Reject};

fn case(name: &'static str, rule: &'static str, verdict: Verdict, text: Vec<u8>) -> Case {
    let accepted = verdict == Accept;
    Case {
        name,
        rule,
        accepted,
        text,
    }
}

/// An edit of the recorded text, signed anew.
pub(crate) fn edited(from: &str, to: impl AsRef<[u8]>) -> Vec<u8> {
    let text = [unsigned(), b"signature\n".to_vec()].concat();
    sign(replace(&text, from.as_bytes(), to.as_ref()), &key(PLAIN_KEY))
}

fn edit(name: &'static str, rule: &'static str, verdict: Verdict, from: &str, to: impl AsRef<[u8]>) -> Case {
    case(name, rule, verdict, edited(from, to))
}

/// An edit of the recorded text behind what is signed.
fn tamper(name: &'static str, rule: &'static str, verdict: Verdict, from: &str, to: &str) -> Case {
    case(
        name,
        rule,
        verdict,
        replace(&completed(PLAIN), from.as_bytes(), to.as_bytes()),
    )
}

impl Case {
    /// Edits the text again and signs it anew.
    fn and(mut self, from: &str, to: &str) -> Self {
        self.text.truncate(position(b"-----BEGIN SIGNATURE", &self.text));
        self.text = sign(replace(&self.text, from.as_bytes(), to.as_bytes()), &key(PLAIN_KEY));
        self
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
        edit("tabs", "util_string.c:386", Accept, "version 2\n", "\tversion\t\t2\t\n"),
        edit("CR before LF", "util_string.c:384", Accept, "version 2\n", "version 2\r\n"),
        edit("CR behind a keyword", "util_string.c:384", Accept, "permanent-key\n", "permanent-key\r\n"),
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
    // SEQUENCE of 604 bytes { INTEGER 0, eight more }
    let der = BASE64.decode(private.lines().filter(|line| !line.starts_with('-')).collect::<String>().as_bytes()).unwrap();
    let with_version = |version: &[u8], behind: &[u8]| {
        let fields = [version, &der[7..], behind].concat();
        let sequence = [b"\x30\x82", &(fields.len() as u16).to_be_bytes()[..], &fields].concat();
        [b"mood\n", &object("RSA PRIVATE KEY", &sequence)[..], b"version 2\n"].concat()
    };
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
        edit("unknown item with a private key of version 2", "crypto_rsa_openssl.c:632", Accept, "version 2\n", with_version(b"\x02\x01\x02", b"")),
        edit("unknown item with a private key of version 1", "crypto_rsa_openssl.c:632", Reject, "version 2\n", with_version(b"\x02\x01\x01", b"")),
        edit("unknown item with a private key of version 00", "crypto_rsa_openssl.c:632", Reject, "version 2\n", with_version(b"\x02\x02\0\0", b"")),
        edit("unknown item with a private key and more primes", "crypto_rsa_openssl.c:632", Accept, "version 2\n", with_version(b"\x02\x01\0", b"\x30\0")),
        edit("unknown item with a private key and more numbers", "crypto_rsa_openssl.c:632", Reject, "version 2\n", with_version(b"\x02\x01\0", b"\x02\x01\0")),
        edit("signature with an argument", "parsecommon.c:338", Reject, "signature\n", "signature x\n"),
        edit("signature with spaces", "parsecommon.c:319", Accept, "signature\n", "signature \t\r\n"),
        tamper("signature of another type", "sigcommon.c:160", Reject, "BEGIN SIGNATURE", "BEGIN SIGMATURE"),
        tamper("indented signature line", "sigcommon.c:46", Reject, "\nsignature\n", "\n signature\n"),
    ]
}

/// A descriptor of this key, with the key written as this object.
fn with_key(key: &ServiceKey, object: &[u8]) -> Vec<u8> {
    let secret_id_part = SecretIdPart::new(TimePeriod::from(20_000), Replica::ALL[0], None);
    let id = DescriptorId::new(&key.service_id(), &secret_id_part);
    let before = format!("rendezvous-service-descriptor {id}\nversion 2\npermanent-key\n");
    let after = format!(
        "secret-id-part {secret_id_part}\npublication-time 2026-11-22 12:00:00\nprotocol-versions 2\nsignature\n"
    );
    sign([before.as_bytes(), object, after.as_bytes()].concat(), key)
}

/// Permanent keys: any exponent, but 1024 bits (rendparse.c:30), in any DER that OpenSSL's
/// `d2i_RSAPublicKey` reads. The descriptor ID follows from the canonical form.
#[rustfmt::skip]
fn keys() -> Vec<Case> {
    let (plain, odd) = (key(PLAIN_KEY), key(ODD_EXPONENT_KEY));
    let public = |der: &[u8]| object("RSA PUBLIC KEY", der);
    let der = plain.public_key().as_der();
    // SEQUENCE of 137 bytes { INTEGER of 129 bytes, INTEGER of 3 bytes }
    let (modulus, exponent) = (&der[6..135], &der[137..]);
    let form = |verdict, name, der: &[&[u8]]| case(name, "crypto_rsa_openssl.c:526", verdict, with_key(&plain, &public(&der.concat())));
    let large = RsaPrivateKey::from_pkcs1_pem(include_str!("../../testdata/keys/rsa-2048.pem")).unwrap();
    let small = RsaPrivateKey::from_pkcs1_pem(include_str!("../../testdata/keys/rsa-512.pem")).unwrap();
    let sized = |private: &RsaPrivateKey| with_key(&plain, &public(private.to_public_key().to_pkcs1_der().unwrap().as_bytes()));
    vec![
        case("another exponent", "parsecommon.c:218", Accept, with_key(&odd, &public(odd.public_key().as_der()))),
        case("2048 bits", "parsecommon.c:220", Reject, sized(&large)),
        case("512 bits", "parsecommon.c:220", Reject, sized(&small)),
        case("key of another service", "rendparse.c:228", Reject, with_key(&plain, &public(odd.public_key().as_der()))),
        form(Accept, "canonical", &[b"\x30\x81\x89\x02\x81\x81", modulus, b"\x02\x03", exponent]),
        form(Accept, "bytes after the key", &[der, b"more"]),
        form(Accept, "negative modulus", &[b"\x30\x81\x88\x02\x81\x80", &modulus[1..], b"\x02\x03", exponent]),
        form(Accept, "modulus with a zero more", &[b"\x30\x81\x8a\x02\x81\x82\0", modulus, b"\x02\x03", exponent]),
        form(Accept, "exponent with a zero", &[b"\x30\x81\x8a\x02\x81\x81", modulus, b"\x02\x04\0", exponent]),
        form(Accept, "long lengths", &[b"\x30\x83\0\0\x8c\x02\x82\0\x81", modulus, b"\x02\x82\0\x03", exponent]),
        form(Accept, "indefinite length", &[b"\x30\x80\x02\x81\x81", modulus, b"\x02\x03", exponent, b"\0\0"]),
        form(Reject, "indefinite length without an end", &[b"\x30\x80\x02\x81\x81", modulus, b"\x02\x03", exponent]),
        form(Reject, "third number", &[b"\x30\x81\x8c\x02\x81\x81", modulus, b"\x02\x03", exponent, b"\x02\x01\0"]),
        form(Accept, "long tags", &[b"\x3f\x10\x81\x8b\x1f\x02\x81\x81", modulus, b"\x1f\x02\x03", exponent]),
        form(Accept, "long tags with zeros", &[b"\x3f\x80\x80\x10\x81\x8b\x1f\x80\x02\x81\x81", modulus, b"\x02\x03", exponent]),
        form(Reject, "long tag of another number", &[b"\x3f\x11", &der[1..]]),
        form(Reject, "cut short", &[&der[..der.len() - 1]]),
        form(Reject, "a set", &[b"\x31", &der[1..]]),
        form(Reject, "nothing", &[]),
        case("SubjectPublicKeyInfo", "crypto_rsa_openssl.c:526", Reject, with_key(&plain, &public(&[
            b"\x30\x81\x9f\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\0\x03\x81\x8d\0", der,
        ].concat()))),
    ]
}

/// Holds that what is signed begins with the digest, and the number that signs it may be written
/// short (sigcommon.c:143, OpenSSL's `RSA_public_decrypt`).
#[rustfmt::skip]
fn signatures() -> Vec<Case> {
    let private = RsaPrivateKey::from_pkcs1_pem(std::str::from_utf8(PLAIN_KEY).unwrap()).unwrap();
    let sign_number = |number: u32, payload: fn([u8; 20]) -> Vec<u8>, shape: fn(Vec<u8>) -> Vec<u8>| {
        let text = [unsigned(), format!("mood {number}\nsignature\n").into_bytes()].concat();
        let payload = payload(Sha1::digest(&text).into());
        let signature = private.sign(Pkcs1v15Sign::new_unprefixed(), &payload).unwrap();
        let zero = signature[0] == 0;
        (zero, [text, object("SIGNATURE", &shape(signature))].concat())
    };
    let signed = |payload, shape| sign_number(0, payload, shape).1;
    let whole = |digest: [u8; 20]| digest.to_vec();
    // The DigestInfo of SHA-1, which every other user of RSA writes.
    let digest_info = |digest: [u8; 20]| [b"\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\0\x04\x14", &digest[..]].concat();
    let short = (0..10_000)
        .map(|number| sign_number(number, whole, |signature| signature[1..].to_vec()))
        .find(|(zero, _)| *zero);
    let another_text = replace(&completed(PLAIN), b"protocol-versions 2,3", b"protocol-versions 4,5");
    let early = edited("version 2\n", "signatures are fun\nversion 2\n");
    vec![
        case("of the digest alone", "sigcommon.c:143", Accept, signed(whole, |signature| signature)),
        case("of the digest and more", "sigcommon.c:143", Accept, signed(|digest| [&digest[..], b"more"].concat(), |signature| signature)),
        case("of a zero and the digest", "sigcommon.c:143", Reject, signed(|digest| [b"\0", &digest[..]].concat(), |signature| signature)),
        case("of half the digest", "sigcommon.c:143", Reject, signed(|digest| digest[..10].to_vec(), |signature| signature)),
        case("with DigestInfo", "sigcommon.c:143", Reject, signed(digest_info, |signature| signature)),
        case("zero in front", "crypto_rsa_openssl.c:444", Reject, signed(whole, |signature| [b"\0", &signature[..]].concat())),
        case("first byte missing", "crypto_rsa_openssl.c:444", Reject, signed(whole, |signature| signature[1..].to_vec())),
        case("first byte missing, which was zero", "crypto_rsa_openssl.c:444", Accept, short.unwrap().1),
        case("empty", "crypto_rsa_openssl.c:444", Reject, signed(whole, |_| vec![])),
        case("above the modulus", "crypto_rsa_openssl.c:444", Reject, signed(whole, |_| vec![0xff; 128])),
        case("of another text", "sigcommon.c:143", Reject, another_text),
        case("of another key", "sigcommon.c:143", Reject, sign([unsigned(), b"signature\n".to_vec()].concat(), &key(ODD_EXPONENT_KEY))),
        // Only what stands above the first line that *begins* with `signature` is signed.
        case("after a line that begins with signature", "sigcommon.c:46", Accept, replace(&early, b"protocol-versions 2,3", b"protocol-versions 4,5")),
        case("before it", "sigcommon.c:46", Reject, replace(&early, b"signatures are fun", b"signatures are bad")),
    ]
}

/// Bodies of several descriptors, and of none.
#[rustfmt::skip]
fn bodies() -> Vec<Case> {
    let (first, second) = (completed(PLAIN), completed(SECOND));
    let bad = replace(&second, b"version 2", b"version 3");
    vec![
        case("two", "rendparse.c:109", Accept, [&first[..], &second].concat()),
        case("the second bad", "rendparse.c:109", Accept, [&first[..], &bad].concat()),
        case("the second cut short", "rendparse.c:109", Accept, [&first[..], b"rendezvous-service-descriptor \n"].concat()),
        case("the first bad", "rendparse.c:158", Reject, [&bad[..], &first].concat()),
        case("text between", "parsecommon.c:147", Reject, [&first[..], b"mood\n", &second].concat()),
        case("blank lines between", "parsecommon.c:89", Accept, [&first[..], b"\n#\n", &second].concat()),
        case("20 KiB", "rendparse.c:115", Accept, [&first[..], &vec![b'\n'; LIMIT - first.len()]].concat()),
        case("a byte more", "rendparse.c:115", Reject, [&first[..], &vec![b'\n'; LIMIT + 1 - first.len()]].concat()),
        case("20 KiB, and another", "rendparse.c:115", Accept, [&first[..], &vec![b'\n'; LIMIT - first.len()], &second].concat()),
        case("seven items", "rendparse.c:134", Accept, without_list()),
        case("nothing but a beginning", "rendparse.c:102", Reject, b"rendezvous-service-descriptor \n".to_vec()),
        case("a blank line", "rendparse.c:97", Reject, b"\n".to_vec()),
    ]
}

/// The recording without the item `introduction-points`.
fn without_list() -> Vec<u8> {
    let text = unsigned();
    let end = position(b"introduction-points", &text);
    sign([&text[..end], b"signature\n"].concat(), &key(PLAIN_KEY))
}

fn points_of(count: usize) -> Vec<u8> {
    many_points(count)
        .iter()
        .flat_map(|point| point.to_string().into_bytes())
        .collect()
}

/// The recorded list of introduction points, edited.
fn list(from: &str, to: &str) -> Vec<u8> {
    let text: String = points(PLAIN).iter().map(ToString::to_string).collect();
    replace(text.as_bytes(), from.as_bytes(), to.as_bytes())
}

/// Lists of introduction points and what clients make of them.
#[rustfmt::skip]
pub(crate) fn lists() -> Vec<List> {
    let row = |name, rule, points, text| List { name, rule, points, text };
    let id = "bdxndgjylwjzpnshov2wr3knnwmddzio";
    let capitals = id.to_ascii_uppercase();
    let odd = key(ODD_EXPONENT_KEY).public_key().to_string();
    let onion_key = points(PLAIN)[0].onion_key().to_string();
    let service_key = points(PLAIN)[0].service_key().to_string();
    vec![
        row("as written", "rendcommon.c:244", Some(3), list("port 5010", "port 5010")),
        row("one point", "rendcache.c:934", Some(1), points_of(1)),
        row("ten points", "rendcache.c:939", Some(10), points_of(10)),
        row("eleven points", "rendcache.c:939", None, points_of(11)),
        row("something else", "rendcache.c:934", None, b"?".to_vec()),
        row("blank line", "rendcache.c:934", None, b"\n".to_vec()),
        row("relay twice", "rendparse.c:498", Some(2), points_of(1).repeat(2)),
        row("no LF at the end", "parsecommon.c:381", Some(3), list("port 5010", "port 5010").trim_ascii_end().to_vec()),
        row("blank lines at the end", "util_string.c:304", Some(3), [list("port 5010", "port 5010"), b"\n\n\n".to_vec()].concat()),
        row("blank line between points", "rendparse.c:408", Some(3), list("\nintroduction-point x4", "\n\nintroduction-point x4")),
        row("text before the first point", "rendparse.c:404", None, list("introduction-point", "\nintroduction-point")),
        row("indented second point", "parsecommon.c:136", None, list("\nintroduction-point x4", "\n introduction-point x4")),
        row("unknown items", "parsecommon.c:351", Some(3), list("ip-address", "mood good\nip-address")),
        row("annotation", "parsecommon.c:125", None, list("ip-address", "@mood good\nip-address")),
        row("`opt`", "parsecommon.c:303", Some(3), list("ip-address", "opt ip-address")),
        row("NUL", "parsecommon.c:71", None, list("ip-address", "mood \0\nip-address")),
        row("identity in capitals", "binascii.c:111", Some(3), list(id, &capitals)),
        row("identity followed by more", "rendparse.c:436", Some(3), list(id, &format!("{id}!!"))),
        row("identity too short", "rendparse.c:436", None, list(id, id.trim_start_matches('b'))),
        row("identity with a 1", "binascii.c:113", None, list(id, &id.replace('b', "1"))),
        row("no address", "parsecommon.c:132", None, list("ip-address 127.0.0.1\n", "")),
        row("two addresses", "parsecommon.c:136", None, list("onion-port", "ip-address 127.0.0.1\nonion-port")),
        row("leading zero", "inaddr.c:53", None, list("127.0.0.1", "127.0.0.01")),
        row("three numbers", "inaddr.c:47", None, list("127.0.0.1", "127.0.1")),
        row("number 256", "inaddr.c:65", None, list("127.0.0.1", "127.0.0.256")),
        row("IPv6", "rendparse.c:457", None, list("127.0.0.1", "::1")),
        row("IPv6 in brackets", "rendparse.c:457", None, list("127.0.0.1", "[::1]")),
        row("mapped IPv4", "rendparse.c:457", None, list("127.0.0.1", "::ffff:127.0.0.1")),
        row("name", "rendparse.c:452", None, list("127.0.0.1", "localhost")),
        row("port 0", "rendparse.c:467", None, list("onion-port 5010", "onion-port 0")),
        row("port 65535", "rendparse.c:467", Some(3), list("onion-port 5010", "onion-port 65535")),
        row("port 65536", "rendparse.c:467", None, list("onion-port 5010", "onion-port 65536")),
        row("port +0080", "parse_int.c:72", Some(3), list("onion-port 5010", "onion-port +0080")),
        row("port 80x", "parse_int.c:29", None, list("onion-port 5010", "onion-port 80x")),
        row("onion key with another exponent", "rendparse.c:479", None, list(&onion_key, &odd)),
        row("service key with another exponent", "rendparse.c:489", None, list(&service_key, &odd)),
        row("no service key", "parsecommon.c:132", None, list(&format!("service-key\n{service_key}"), "")),
        row("keys in another order", "parsecommon.c:131", Some(3), list(
            &format!("onion-key\n{onion_key}service-key\n{service_key}"),
            &format!("service-key\n{service_key}onion-key\n{onion_key}"),
        )),
    ]
}
