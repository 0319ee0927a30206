//! Tools that the tests have in common: the recordings, and a signer that knows nothing of the code
//! under test but RSA.

use data_encoding::BASE64;
use onionweave_desc::v2::{Descriptor, IntroductionPoint, ServiceKey, UnverifiedDescriptor};
use onionweave_desc::{Error, v2};
use sha1::{Digest, Sha1};

macro_rules! testdata {
    ($file:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/", $file))
    };
}

pub(crate) const PLAIN: &[u8] = testdata!("plain/descriptor-rf75jzdtba4wnd6v.txt");
pub(crate) const PLAIN_KEY: &[u8] = testdata!("plain/private_key");
pub(crate) const SECOND: &[u8] = testdata!("plain-second-instance/descriptor-rf75jzdtba4wnd6v.txt");
pub(crate) const BASIC: &[u8] = testdata!("basic/descriptor-z2p7lut3zzeost7w.txt");
pub(crate) const BASIC_KEY: &[u8] = testdata!("basic/private_key");
pub(crate) const STEALTH: [&[u8]; 2] = [
    testdata!("stealth/descriptor-gwpnw55cchilrd7k.txt"),
    testdata!("stealth/descriptor-ijvp6sjz3adpngel.txt"),
];
pub(crate) const PKCS8: &[u8] = testdata!("keys/pkcs8.pem");
pub(crate) const PUBLIC: &[u8] = testdata!("keys/public.pem");
pub(crate) const DAMAGED: &[u8] = testdata!("keys/damaged.pem");
pub(crate) const TRUNCATED: &[u8] = testdata!("keys/truncated.pem");
pub(crate) const RSA_512: &[u8] = testdata!("keys/rsa-512.pem");
pub(crate) const RSA_2048: &[u8] = testdata!("keys/rsa-2048.pem");
pub(crate) const ODD_EXPONENT_KEY: &[u8] = testdata!("keys/exponent-799154905.pem");

pub(crate) fn key(pem: &[u8]) -> ServiceKey {
    ServiceKey::from_pem(std::str::from_utf8(pem).unwrap()).unwrap()
}

/// Parses and verifies; every back end for RSA must come to the same verdict.
pub(crate) fn verify(text: &[u8]) -> Result<Descriptor, Error> {
    let parsed = UnverifiedDescriptor::parse(text)?;
    let verdict = parsed.clone().verify();
    #[cfg(feature = "openssl")]
    assert_eq!(parsed.verify_with(&onionweave_desc::rsa::OpenSsl), verdict);
    verdict
}

/// The points of a recording.
pub(crate) fn points(text: &[u8]) -> Vec<IntroductionPoint> {
    verify(text).unwrap().introduction_points().unwrap()
}

/// Makes as many points at relays of their own as asked for, with the keys of the recordings.
pub(crate) fn many_points(count: usize) -> Vec<IntroductionPoint> {
    let recorded = [points(PLAIN), points(SECOND)].concat();
    let point = |number: usize| {
        let template = &recorded[number % recorded.len()];
        IntroductionPoint::new(
            [number as u8; 20].into(),
            template.address(),
            template.port(),
            template.onion_key().clone(),
            template.service_key().clone(),
        )
    };
    (0..count).map(|number| point(number).unwrap()).collect()
}

/// The text of the recording up to its signature line.
pub(crate) fn unsigned() -> Vec<u8> {
    let end = position(b"signature\n", PLAIN);
    PLAIN[..end].to_vec()
}

/// Signs a text that ends with its signature line, over all up to the end of the first line that
/// begins with `signature`.
pub(crate) fn sign(text: Vec<u8>, key: &ServiceKey) -> Vec<u8> {
    let start = position(b"\nsignature", &text) + 1;
    let end = start + position(b"\n", &text[start..]) + 1;
    let signature = key.sign_digest(&Sha1::digest(&text[..end]).into()).unwrap();
    [text, object("SIGNATURE", &signature)].concat()
}

pub(crate) fn object(label: &str, bytes: &[u8]) -> Vec<u8> {
    let lines: Vec<String> = bytes.chunks(48).map(|line| BASE64.encode(line) + "\n").collect();
    format!("-----BEGIN {label}-----\n{}-----END {label}-----\n", lines.concat()).into_bytes()
}

/// The recording with another list of introduction points, signed anew.
pub(crate) fn with_points(list: &[u8]) -> Vec<u8> {
    text_with_points("2026-11-22 12:00:00", list)
}

/// The recording with another time and another list of introduction points, signed anew.
pub(crate) fn text_with_points(time: &str, list: &[u8]) -> Vec<u8> {
    let text = replace(&unsigned(), b"2026-11-22 12:00:00", time.as_bytes());
    let start = position(b"-----BEGIN MESSAGE", &text);
    let text = [&text[..start], &object("MESSAGE", list), b"signature\n"].concat();
    sign(text, &key(PLAIN_KEY))
}

/// Replaces the first occurrence.
pub(crate) fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let start = position(from, text);
    [&text[..start], to, &text[start + from.len()..]].concat()
}

pub(crate) fn position(needle: &[u8], text: &[u8]) -> usize {
    let found = text.windows(needle.len()).position(|window| window == needle);
    found.unwrap_or_else(|| panic!("{:?} is not there", needle.escape_ascii().to_string()))
}

/// Adds an LF to what the recordings have: the control protocol does not transmit the last one.
pub(crate) fn completed(text: &[u8]) -> Vec<u8> {
    [text, b"\n"].concat()
}

pub(crate) const LIMIT: usize = v2::MAX_DESCRIPTOR_LEN;
