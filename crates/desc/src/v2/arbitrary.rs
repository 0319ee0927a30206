//! `arbitrary`: values that a fuzzer may draw, all of them such as could have been read.
//!
//! A fuzzer finds no signature and no RSA key of a service. It draws the [`Draft`], and signs it
//! with a key that it was given.

use std::net::Ipv4Addr;

use arbitrary::{Arbitrary, Result, Unstructured};
use onionweave_ring::Fingerprint;

use super::authorization::MAX_BASIC_CLIENTS;
use super::{
    Authorization, ClientName, DescriptorCookie, Draft, IntroductionPoint, MAX_INTRODUCTION_POINTS, PublicKey,
};
use crate::der::{MODULUS_BITS, PublicParts};

/// Largest number of blank lines that keep a draft within the size of a descriptor.
const MOST_BLANK_LINES: u16 = 512;

/// An odd modulus of 1024 bits that is no product of two primes but by accident: it verifies
/// nothing.
impl<'a> Arbitrary<'a> for PublicKey {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        let exponent = input.arbitrary::<u32>()? | 1;
        public_key(input, exponent)
    }
}

/// With keys of the exponent 65537, on which clients insist, and a port that is not zero.
impl<'a> Arbitrary<'a> for IntroductionPoint {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        let relay = Fingerprint::from(input.arbitrary::<[u8; 20]>()?);
        point(input, relay)
    }
}

/// Draws one to ten points at different relays, for nobody in particular or for some clients. It
/// can be signed.
impl<'a> Arbitrary<'a> for Draft {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        let mut relays: Vec<[u8; 20]> = vec![input.arbitrary()?];
        while relays.len() < MAX_INTRODUCTION_POINTS && input.ratio(2, 3)? {
            relays.push(input.arbitrary()?);
        }
        relays.sort_unstable();
        relays.dedup();
        let points = relays
            .into_iter()
            .map(|relay| point(input, Fingerprint::from(relay)))
            .collect::<Result<_>>()?;
        let blank_lines = input.int_in_range(0..=MOST_BLANK_LINES)?;
        let draft = Self::new(points).trailing_blank_lines(blank_lines.into());
        Ok(match input.arbitrary::<Option<Authorization>>()? {
            Some(authorization) => draft.authorization(authorization),
            None => draft,
        })
    }
}

/// For one to sixteen clients, or for one.
impl<'a> Arbitrary<'a> for Authorization {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        let cookie = |bytes: [u8; DescriptorCookie::LEN]| DescriptorCookie::from(bytes);
        if input.arbitrary()? {
            return Ok(Self::Stealth(cookie(input.arbitrary()?)));
        }
        let clients = input.int_in_range(1..=MAX_BASIC_CLIENTS.min(16))?;
        let cookies = (0..clients).map(|_| Ok(cookie(input.arbitrary()?)));
        Ok(Self::Basic(cookies.collect::<Result<_>>()?))
    }
}

impl<'a> Arbitrary<'a> for ClientName {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        const LEGAL: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-_";
        let len = input.int_in_range(1..=Self::MAX_LEN)?;
        let name: String = (0..len)
            .map(|_| input.choose(LEGAL).map(|&byte| char::from(byte)))
            .collect::<Result<_>>()?;
        name.parse().map_err(|_| arbitrary::Error::IncorrectFormat)
    }
}

fn point(input: &mut Unstructured<'_>, relay: Fingerprint) -> Result<IntroductionPoint> {
    let address = Ipv4Addr::from(input.arbitrary::<[u8; 4]>()?);
    let port = input.int_in_range(1..=u16::MAX)?;
    let (onion_key, service_key) = (public_key(input, 65537)?, public_key(input, 65537)?);
    IntroductionPoint::new(relay, address, port, onion_key, service_key).map_err(|_| arbitrary::Error::IncorrectFormat)
}

fn public_key(input: &mut Unstructured<'_>, exponent: u32) -> Result<PublicKey> {
    let mut modulus: [u8; MODULUS_BITS / 8] = input.arbitrary()?;
    modulus[0] |= 0x80;
    modulus[MODULUS_BITS / 8 - 1] |= 1;
    let exponent = exponent.to_be_bytes();
    let leading_zeros = exponent.iter().take_while(|byte| **byte == 0).count();
    let parts = PublicParts {
        modulus: &modulus,
        exponent: exponent.get(leading_zeros..).unwrap_or_default(),
    };
    PublicKey::from_der(&parts.to_der()).map_err(|_| arbitrary::Error::IncorrectFormat)
}
