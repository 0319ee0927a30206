//! Duties of every back end for RSA: the verdicts and the bytes of OpenSSL, which is what Tor
//! computes with.
//!
//! With the feature `openssl` everything here runs over both back ends, and their answers are
//! compared.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::iter::repeat_n;

use num_bigint_dig::BigUint;
use onionweave_desc::rsa::{Backend, PrivateKey, PublicParts, RustCrypto, SIGNATURE_LEN, SigningKey};
use onionweave_desc::v2::{PublicKey, ServiceKey};
use onionweave_desc::{Error, KeyProblem};
use proptest::collection::vec;
use proptest::prelude::*;

macro_rules! key {
    ($file:literal) => {
        ($file, include_str!(concat!("../testdata/", $file)))
    };
}

const PLAIN: (&str, &str) = key!("plain/private_key");
/// Keys of many kinds of exponents. The last three are above 2^33 - 1, which the crate `rsa` holds
/// for too large.
const KEYS: [(&str, &str); 9] = [
    PLAIN,
    key!("basic/private_key"),
    key!("stealth/private_key"),
    key!("keys/pkcs8.pem"),
    key!("keys/exponent-799154905.pem"),
    key!("keys/exponent-3.pem"),
    key!("keys/exponent-8589934593.pem"),
    key!("keys/exponent-8589934593-of-6xrnjww7qw3dflwp.pem"),
    key!("keys/exponent-101-bits.pem"),
];

/// Tries `test` on one back end after the other.
macro_rules! on_each_backend {
    ($test:expr) => {
        $test("RustCrypto", &RustCrypto);
        #[cfg(feature = "openssl")]
        $test("OpenSsl", &onionweave_desc::rsa::OpenSsl);
    };
}

/// Bytes that the back ends recover, which must be the same.
fn recover(key: PublicParts<'_>, signature: &[u8]) -> Option<Vec<u8>> {
    let recovered = RustCrypto.recover(key, signature);
    #[cfg(feature = "openssl")]
    assert_eq!(
        onionweave_desc::rsa::OpenSsl.recover(key, signature),
        recovered,
        "OpenSSL differs for {key:?}, {signature:02x?}"
    );
    recovered
}

fn private(pem: &str) -> PrivateKey {
    PrivateKey::from_pem(pem).unwrap()
}

/// A key of any two numbers.
fn public(modulus: &BigUint, exponent: &BigUint) -> PublicKey {
    let integer = |number: &BigUint| {
        let bytes = number.to_bytes_be();
        [&[2, 0x82, 0, bytes.len() as u8 + 1, 0], bytes.as_slice()].concat()
    };
    let fields = [integer(modulus), integer(exponent)].concat();
    let length = (fields.len() as u16).to_be_bytes();
    PublicKey::from_der(&[&[0x30, 0x82], length.as_slice(), &fields].concat()).unwrap()
}

fn modulus() -> BigUint {
    BigUint::from_bytes_be(private(PLAIN.1).public_parts().modulus())
}

/// `00 01 FF… 00 payload`, with as many `FF` as fit.
fn padded(payload: &[u8]) -> Vec<u8> {
    block(&[1], SIGNATURE_LEN - 3 - payload.len(), &[&[0], payload].concat())
}

/// `00 kind FF… rest`, filled up with zeros.
fn block(kind: &[u8], filled: usize, rest: &[u8]) -> Vec<u8> {
    let mut block = [&[0], kind, &vec![0xff; filled], rest].concat();
    block.resize(SIGNATURE_LEN, 0);
    block
}

/// With the exponent 1 the signature is the block, so that every form can be tried.
#[test]
fn padding_is_read_as_openssl_reads_it() {
    let key = public(&modulus(), &1_u8.into());
    let digest = [7; 20].as_slice();
    let long = [7; SIGNATURE_LEN - 11].as_slice();
    // (form, signature, what `RSA_public_decrypt` of OpenSSL 3.0 makes of it)
    type Case<'a> = (&'a str, Vec<u8>, Option<&'a [u8]>);
    let table: [Case<'_>; 21] = [
        ("as signed", padded(digest), Some(digest)),
        ("empty payload", padded(&[]), Some(&[])),
        ("longest payload", padded(long), Some(long)),
        (
            "payload one byte longer",
            block(&[1], 7, &[&[0, 7], long].concat()),
            None,
        ),
        ("seven FF", block(&[1], 7, &[0, 9]), None),
        (
            "eight FF, payload of zeros",
            block(&[1], 8, &[0]),
            Some(&[0; SIGNATURE_LEN - 11]),
        ),
        ("payload that begins with zero", padded(&[0, 7]), Some(&[0, 7])),
        ("no FF", block(&[1], 0, &[0, 9]), None),
        (
            "another byte in the padding",
            block(&[1], 9, &[&[0xfe, 0], digest].concat()),
            None,
        ),
        ("no end of the padding", block(&[1], SIGNATURE_LEN - 2, &[]), None),
        ("end at the last byte", block(&[1], SIGNATURE_LEN - 3, &[]), Some(&[])),
        (
            "type 0",
            block(&[0], SIGNATURE_LEN - 23, &[&[0], digest].concat()),
            None,
        ),
        (
            "type 2",
            block(&[2], SIGNATURE_LEN - 23, &[&[0], digest].concat()),
            None,
        ),
        ("no zero in front", [&padded(digest)[1..], &[7]].concat(), None),
        (
            "without the zero in front, one byte shorter",
            padded(digest)[1..].to_vec(),
            Some(digest),
        ),
        ("last byte missing", padded(digest)[..SIGNATURE_LEN - 1].to_vec(), None),
        (
            "one zero too many in front",
            [&[0], padded(digest).as_slice()].concat(),
            None,
        ),
        ("nothing", vec![], None),
        ("zero", vec![0], None),
        ("the modulus", modulus().to_bytes_be(), None),
        ("above the modulus", vec![0xff; SIGNATURE_LEN], None),
    ];
    for (form, signature, payload) in table {
        assert_eq!(recover(key.parts(), &signature).as_deref(), payload, "{form}");
    }
}

#[test]
fn numbers_of_public_keys_are_judged_as_openssl_judges_them() {
    let number = |number: u64| BigUint::from(number);
    let n = modulus();
    let even = &n - 1_u8;
    let digest = [7; 20];
    // The block that a root is taken of ends in zeros: so much differs from it that the payload
    // still begins with the digest.
    let target = block(&[1], 8, &[&[0], digest.as_slice()].concat());
    let rooted = |exponent: usize| root(&BigUint::from_bytes_be(&target), exponent).to_bytes_be();
    // (numbers, modulus, exponent, signature, whether `RSA_public_decrypt` of OpenSSL 3.0 finds the
    // digest)
    let table = [
        ("exponent 0", &n, number(0), vec![1], false),
        ("exponent 1", &n, number(1), target.clone(), true),
        ("exponent 2", &n, number(2), rooted(2), true),
        ("exponent 3", &n, number(3), rooted(3), true),
        ("exponent 4", &n, number(4), rooted(4), true),
        ("exponent one below the modulus", &n, &n - 1_u8, target.clone(), false),
        ("exponent equal to the modulus", &n, n.clone(), target.clone(), false),
        ("exponent above the modulus", &n, &n + 1_u8, target.clone(), false),
        (
            "exponent of more bits than the modulus",
            &n,
            &n << 8,
            target.clone(),
            false,
        ),
        ("even modulus, exponent 1", &even, number(1), target.clone(), false),
        ("even modulus, exponent 3", &even, number(3), rooted(3), false),
    ];
    for (numbers, modulus, exponent, signature, accepted) in table {
        let key = public(modulus, &exponent);
        let found = recover(key.parts(), &signature).is_some_and(|payload| payload.starts_with(&digest));
        assert_eq!(found, accepted, "{numbers}");
        assert_eq!(key.verify(&digest, &signature).is_ok(), accepted, "{numbers}");
    }
}

/// The smallest number whose power with this exponent is not below `power`.
fn root(power: &BigUint, exponent: usize) -> BigUint {
    let one = BigUint::from(1_u8);
    let (mut low, mut high) = (one.clone(), &one << 1024);
    while low < high {
        let middle = (&low + &high) >> 1;
        let product: BigUint = repeat_n(&middle, exponent).product();
        if product < *power {
            low = middle + 1_u8;
        } else {
            high = middle;
        }
    }
    low
}

#[test]
fn signatures_are_the_same_and_verify() {
    for (name, pem) in KEYS {
        let mut signatures = Vec::new();
        on_each_backend!(|backend: &str, rsa| {
            let key = service_key(pem, rsa).unwrap();
            let signature = key.sign_digest(&[7; 20]).unwrap();
            assert_eq!(key.sign_digest(&[7; 20]), Ok(signature), "{name}, {backend}");
            assert_eq!(
                recover(key.public_key().parts(), &signature).as_deref(),
                Some([7; 20].as_slice()),
                "{name}"
            );
            signatures.push(signature);
        });
        assert!(signatures.windows(2).all(|pair| pair[0] == pair[1]), "{name}");
    }
}

/// `RSA_check_key` of OpenSSL refuses these, and with it C Tor.
#[test]
fn numbers_that_do_not_fit_together_are_no_private_key() {
    for (name, pem) in [
        key!("keys/damaged.pem"),
        key!("keys/damaged-coefficient.pem"),
        key!("keys/composite-prime.pem"),
    ] {
        let error = PrivateKey::from_pem(pem).unwrap_err();
        assert_eq!(error, Error::PrivateKey(KeyProblem::Damaged), "{name}");
    }
}

/// A machine that computes wrongly, which every back end must notice by itself.
struct Faulty;

impl Backend for Faulty {
    fn load(&self, _: &PrivateKey) -> Result<Box<dyn SigningKey>, KeyProblem> {
        Ok(Box::new(Self))
    }

    fn recover(&self, _: PublicParts<'_>, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

impl SigningKey for Faulty {
    fn sign(&self, _: &[u8; 20]) -> Option<[u8; SIGNATURE_LEN]> {
        None
    }
}

#[test]
fn faults_give_no_signature() {
    let key = service_key(PLAIN.1, &Faulty).unwrap();
    assert_eq!(key.sign_digest(&[7; 20]), Err(Error::SigningFailed));
}

/// The same key twice, then others: a key that is kept ready must not answer for another.
#[test]
fn keys_that_take_turns_are_not_confused() {
    let signed: Vec<_> = KEYS
        .iter()
        .map(|(_, pem)| {
            let key = service_key(pem, &RustCrypto).unwrap();
            let signature = key.sign_digest(&[7; 20]).unwrap();
            (key.public_key().clone(), signature)
        })
        .collect();
    for (key, _) in &signed {
        for (other, signature) in &signed {
            let found = recover(key.parts(), signature);
            assert_eq!(found == Some(vec![7; 20]), key == other);
        }
        // The same modulus, another exponent.
        let key = public(&BigUint::from_bytes_be(key.parts().modulus()), &1_u8.into());
        assert_eq!(recover(key.parts(), &padded(&[7; 20])), Some(vec![7; 20]));
    }
}

#[test]
fn debug_shows_no_number() {
    assert_eq!(format!("{:?}", private(PLAIN.1)), "PrivateKey { .. }");
}

fn service_key(pem: &str, rsa: &'static dyn Backend) -> Result<ServiceKey, Error> {
    ServiceKey::new(private(pem), rsa)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_digest_is_signed_and_recovered(digest: [u8; 20], key in 0..KEYS.len()) {
        let private = private(KEYS[key].1);
        let mut signatures = Vec::new();
        on_each_backend!(|_: &str, rsa| signatures.push(service_key(KEYS[key].1, rsa).unwrap().sign_digest(&digest).unwrap()));
        for signature in &signatures {
            prop_assert_eq!(signature, &signatures[0]);
        }
        prop_assert_eq!(recover(private.public_parts(), &signatures[0]), Some(digest.to_vec()));
    }

    #[test]
    fn changed_signatures_are_refused(digest: [u8; 20], byte in 0..SIGNATURE_LEN, change in 1..=u8::MAX) {
        let key = service_key(PLAIN.1, &RustCrypto).unwrap();
        let mut signature = key.sign_digest(&digest).unwrap();
        signature[byte] ^= change;
        prop_assert_ne!(recover(key.public_key().parts(), &signature), Some(digest.to_vec()));
    }

    /// Nearly every one is refused; what counts is that the back ends agree.
    #[test]
    fn any_numbers_get_one_verdict(
        mut modulus in vec(any::<u8>(), SIGNATURE_LEN),
        exponent in vec(any::<u8>(), 0..=SIGNATURE_LEN + 1),
        signature in vec(any::<u8>(), 0..=SIGNATURE_LEN + 1),
    ) {
        modulus[0] |= 0x80;
        let key = public(&BigUint::from_bytes_be(&modulus), &BigUint::from_bytes_be(&exponent));
        recover(key.parts(), &signature);
    }

    #[test]
    fn any_block_gets_one_verdict(
        filled in 0..SIGNATURE_LEN,
        edits in vec((0..SIGNATURE_LEN, any::<u8>()), 0..3),
        length in SIGNATURE_LEN - 2..=SIGNATURE_LEN + 1,
    ) {
        let mut signature = block(&[1], filled.min(SIGNATURE_LEN - 2), &[]);
        for (place, byte) in edits {
            signature[place] = byte;
        }
        signature.resize(length, 0);
        recover(public(&modulus(), &1_u8.into()).parts(), &signature);
    }
}
