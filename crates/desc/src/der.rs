//! PKCS#1 keys in DER, read with the tolerance of OpenSSL's `d2i_RSAPublicKey` and
//! `d2i_RSAPrivateKey`, and written canonically.
//!
//! C Tor decodes a key with that function and, whenever it needs bytes again, be it to hash a key
//! into a service ID or to write it down, encodes what it decoded (lib/crypt_ops/crypto_rsa.c:356,
//! crypto_rsa_openssl.c:501). So the canonical form is the identity of a key, whatever form it was
//! received in.

/// Length of the modulus of every key in a v2 descriptor, in bits (`PK_BYTES`).
pub(crate) const MODULUS_BITS: usize = 1024;

pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTET_STRING: u8 = 0x04;
const INDEFINITE: u8 = 0x80;
const END_OF_CONTENTS: &[u8] = &[0, 0];
/// A tag, and a length in four bytes.
const LONGEST_HEADER: usize = 5;

/// The two numbers of a public key, big-endian, without leading zeros.
///
/// ```
/// use onionweave_desc::v2::PublicKey;
///
/// let key = PublicKey::from_pem(include_str!("../testdata/keys/public.pem"))?;
/// let numbers = key.parts();
/// assert_eq!((numbers.modulus().len(), numbers.exponent()), (128, [1, 0, 1].as_slice()));
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicParts<'a> {
    pub(crate) modulus: &'a [u8],
    pub(crate) exponent: &'a [u8],
}

impl<'a> PublicParts<'a> {
    /// Reads `SEQUENCE { INTEGER, INTEGER }`.
    pub(crate) fn from_der(der: &'a [u8]) -> Option<Self> {
        Self::from_usual_der(der).or_else(|| {
            let [modulus, exponent] = read_integers(der)?;
            Some(Self { modulus, exponent })
        })
    }

    /// Reads what nearly every key is: 1024 bits, the exponent 65537, canonical DER. `None` for any
    /// other.
    pub(crate) fn from_usual_der(der: &'a [u8]) -> Option<Self> {
        let numbers = der.strip_prefix(b"\x30\x81\x89\x02\x81\x81\x00")?;
        let modulus = numbers.strip_suffix(b"\x02\x03\x01\x00\x01")?;
        let canonical = modulus.len() == MODULUS_BITS / 8 && bits(modulus) == MODULUS_BITS;
        canonical.then_some(Self {
            modulus,
            exponent: &[1, 0, 1],
        })
    }

    pub(crate) fn to_der(self) -> Vec<u8> {
        write_integers(&[self.modulus, self.exponent])
    }

    /// Length of the modulus in bits.
    pub(crate) fn bits(&self) -> usize {
        bits(self.modulus)
    }

    pub(crate) fn exponent_is_65537(&self) -> bool {
        self.exponent == [1, 0, 1]
    }

    /// The modulus, big-endian, without leading zeros.
    pub fn modulus(&self) -> &'a [u8] {
        self.modulus
    }

    /// The public exponent, big-endian, without leading zeros: any number, also one that no sound
    /// key has.
    pub fn exponent(&self) -> &'a [u8] {
        self.exponent
    }
}

/// Reads a sequence of exactly `N` integers, big-endian, without leading zeros.
///
/// As in OpenSSL (crypto/asn1/tasn_dec.c, x_bignum.c), tags may be in their long form, lengths
/// padded or indefinite, integers are taken as unsigned, leading zeros are ignored, and so is
/// anything after the sequence.
pub(crate) fn read_integers<const N: usize>(mut der: &[u8]) -> Option<[&[u8]; N]> {
    let mut fields = Sequence::open(&mut der)?;
    let integers = fields.integers()?;
    fields.close(&mut der)?;
    Some(integers)
}

/// Reads an `RSAPrivateKey` (RFC 8017, appendix A.1.2): its version, and eight numbers as
/// [`read_integers`] reads them.
///
/// Unlike these numbers, the version must be written in its shortest form and fit an `i32`
/// (crypto/asn1/x_int64.c). Further primes may be listed, but are not returned.
pub(crate) fn read_private_key(mut der: &[u8]) -> Option<(i32, [&[u8]; 8])> {
    let mut fields = Sequence::open(&mut der)?;
    let version = read_int32(read_value(INTEGER, &mut fields.rest)?)?;
    let numbers = fields.integers()?;
    if !fields.is_at_end() {
        let mut primes = Sequence::open(&mut fields.rest)?;
        while !primes.is_at_end() {
            let mut prime = Sequence::open(&mut primes.rest)?;
            let _: [&[u8]; 3] = prime.integers()?;
            prime.close(&mut primes.rest)?;
        }
        primes.close(&mut fields.rest)?;
    }
    fields.close(&mut der)?;
    Some((version, numbers))
}

/// The values of a sequence that are yet to be read.
struct Sequence<'a> {
    /// With an indefinite length, all that is left of the input.
    rest: &'a [u8],
    indefinite: bool,
}

impl<'a> Sequence<'a> {
    /// Opens the sequence that `input` begins with, and moves `input` past it if its length is
    /// known.
    fn open(input: &mut &'a [u8]) -> Option<Self> {
        let unlimited = strip_tag(SEQUENCE, input).and_then(|rest| rest.strip_prefix(&[INDEFINITE]));
        match unlimited {
            Some(rest) => Some(Self { rest, indefinite: true }),
            None => Some(Self {
                rest: read_value(SEQUENCE, input)?,
                indefinite: false,
            }),
        }
    }

    /// Unsigned integers, big-endian, without leading zeros.
    fn integers<const N: usize>(&mut self) -> Option<[&'a [u8]; N]> {
        let mut integers: [&[u8]; N] = [&[]; N];
        for integer in &mut integers {
            *integer = without_leading_zeros(read_value(INTEGER, &mut self.rest)?);
        }
        Some(integers)
    }

    fn is_at_end(&self) -> bool {
        match self.indefinite {
            true => self.rest.starts_with(END_OF_CONTENTS),
            false => self.rest.is_empty(),
        }
    }

    /// Makes sure that nothing is left, and moves `input` past the sequence if that was not done
    /// before.
    fn close(self, input: &mut &'a [u8]) -> Option<()> {
        match self.indefinite {
            true => *input = self.rest.strip_prefix(END_OF_CONTENTS)?,
            false if self.rest.is_empty() => {}
            false => return None,
        }
        Some(())
    }
}

/// `ossl_c2i_uint64_int` (crypto/asn1/a_int.c) and the limits of `INT32` (x_int64.c). No bytes at
/// all are a zero, too.
fn read_int32(bytes: &[u8]) -> Option<i32> {
    let negative = bytes.first().is_some_and(|byte| *byte >= 0x80);
    let padded = match bytes {
        [0x00, next, ..] => *next < 0x80,
        [0xff, next, ..] => *next >= 0x80,
        _ => false,
    };
    if padded || bytes.len() > 4 {
        return None;
    }
    let sign = if negative { -1 } else { 0 };
    Some(bytes.iter().fold(sign, |number, byte| number << 8 | i32::from(*byte)))
}

/// Writes a sequence of integers in canonical DER, without ever moving what it has written.
pub(crate) fn write_integers(integers: &[&[u8]]) -> Vec<u8> {
    let length = integers.iter().map(|number| integer_len(number)).sum();
    let mut der = Vec::with_capacity(length + LONGEST_HEADER);
    der.push(SEQUENCE);
    write_length(length, &mut der);
    for number in integers {
        write_integer(number, &mut der);
    }
    der
}

/// Wraps an `RSAPrivateKey` into the `PrivateKeyInfo` of PKCS#8 (RFC 5208, section 5).
pub(crate) fn write_pkcs8(pkcs1: &[u8]) -> Vec<u8> {
    /// Version 0, and the algorithm rsaEncryption with its parameter NULL.
    const HEADER: &[u8] = b"\x02\x01\x00\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
    let length = HEADER.len() + 1 + length_len(pkcs1.len()) + pkcs1.len();
    let mut der = Vec::with_capacity(length + LONGEST_HEADER);
    der.push(SEQUENCE);
    write_length(length, &mut der);
    der.extend_from_slice(HEADER);
    der.push(OCTET_STRING);
    write_length(pkcs1.len(), &mut der);
    der.extend_from_slice(pkcs1);
    der
}

/// Length of a number without leading zeros, in bits.
pub(crate) fn bits(number: &[u8]) -> usize {
    number
        .first()
        .map_or(0, |top| number.len() * 8 - top.leading_zeros() as usize)
}

/// Reads one value with a definite length and moves `input` past it.
pub(crate) fn read_value<'a>(tag: u8, input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let rest = strip_tag(tag, input)?;
    let (length, rest) = read_length(rest)?;
    let (value, rest) = rest.split_at_checked(length)?;
    *input = rest;
    Some(value)
}

/// Length that follows the tag. Its long form, which is meant for numbers above 30, will do for
/// any, and its number may have zeros in front (`ASN1_get_object`, crypto/asn1/asn1_lib.c).
fn strip_tag(tag: u8, input: &[u8]) -> Option<&[u8]> {
    /// The bits of the number in a tag, all of which are set in the long form.
    const NUMBER: u8 = 0x1f;
    let (&first, rest) = input.split_first()?;
    if first == tag {
        return Some(rest);
    }
    let rest = Some(rest).filter(|_| first == tag | NUMBER)?;
    let zeros = rest.iter().take_while(|byte| **byte == 0x80).count();
    rest.get(zeros..)?.strip_prefix(&[tag & NUMBER])
}

/// `asn1_get_length` (crypto/asn1/asn1_lib.c).
fn read_length(input: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = input.split_first()?;
    if first < 0x80 {
        return Some((usize::from(first), rest));
    }
    // With 0x80, the indefinite form, there would be no bytes here; only a sequence may have it.
    let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
    let bytes = without_leading_zeros(bytes);
    // No key is longer than three bytes can say; anything else could not fit the input.
    if first == INDEFINITE || bytes.len() > 3 {
        return None;
    }
    Some((
        bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
        rest,
    ))
}

pub(crate) fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

fn write_integer(number: &[u8], out: &mut Vec<u8>) {
    out.push(INTEGER);
    write_length(number.len() + usize::from(needs_zero(number)), out);
    if needs_zero(number) {
        out.push(0);
    }
    out.extend_from_slice(number);
}

/// A zero in front keeps the number positive; the number zero is one zero.
fn needs_zero(number: &[u8]) -> bool {
    number.first().is_none_or(|top| *top >= 0x80)
}

/// Number of bytes that [`write_integer`] writes.
fn integer_len(number: &[u8]) -> usize {
    let value = number.len() + usize::from(needs_zero(number));
    1 + length_len(value) + value
}

/// Number of bytes that [`write_length`] writes.
fn length_len(length: usize) -> usize {
    match length {
        0..0x80 => 1,
        _ => 1 + without_leading_zeros(&length.to_be_bytes()).len(),
    }
}

fn write_length(length: usize, out: &mut Vec<u8>) {
    if length < 0x80 {
        out.push(length as u8);
        return;
    }
    let bytes = length.to_be_bytes();
    let bytes = without_leading_zeros(&bytes);
    out.push(0x80 | bytes.len() as u8);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The numbers 0x85 and 65537.
    const CANONICAL: &[u8] = b"\x30\x09\x02\x02\x00\x85\x02\x03\x01\x00\x01";

    #[test]
    fn reads_what_openssl_reads() {
        // (form, DER, whether d2i_RSAPublicKey of OpenSSL 3.0 accepts it)
        let table: &[(&str, &[u8], bool)] = &[
            ("canonical", CANONICAL, true),
            (
                "bytes after the sequence",
                b"\x30\x09\x02\x02\x00\x85\x02\x03\x01\x00\x01\xff",
                true,
            ),
            ("negative modulus", b"\x30\x08\x02\x01\x85\x02\x03\x01\x00\x01", true),
            (
                "leading zeros",
                b"\x30\x0b\x02\x03\x00\x00\x85\x02\x04\x00\x01\x00\x01",
                true,
            ),
            (
                "length in two bytes",
                b"\x30\x81\x09\x02\x02\x00\x85\x02\x03\x01\x00\x01",
                true,
            ),
            (
                "length with zeros",
                b"\x30\x83\x00\x00\x09\x02\x02\x00\x85\x02\x03\x01\x00\x01",
                true,
            ),
            (
                "indefinite",
                b"\x30\x80\x02\x02\x00\x85\x02\x03\x01\x00\x01\x00\x00",
                true,
            ),
            (
                "indefinite without end",
                b"\x30\x80\x02\x02\x00\x85\x02\x03\x01\x00\x01",
                false,
            ),
            (
                "indefinite integer",
                b"\x30\x0b\x02\x80\x85\x00\x00\x02\x03\x01\x00\x01",
                false,
            ),
            (
                "third field",
                b"\x30\x0a\x02\x01\x85\x02\x03\x01\x00\x01\x05\x00",
                false,
            ),
            ("no exponent", b"\x30\x04\x02\x02\x00\x85", false),
            (
                "sequence too long",
                b"\x30\x0a\x02\x02\x00\x85\x02\x03\x01\x00\x01",
                false,
            ),
            (
                "integer too long",
                b"\x30\x09\x02\x02\x00\x85\x02\x04\x01\x00\x01",
                false,
            ),
            ("a set", b"\x31\x09\x02\x02\x00\x85\x02\x03\x01\x00\x01", false),
            ("a bit string", b"\x30\x09\x02\x02\x00\x85\x03\x03\x01\x00\x01", false),
            (
                "length of nine bytes",
                b"\x30\x89\x01\x00\x00\x00\x00\x00\x00\x00\x09",
                false,
            ),
            ("nothing", b"", false),
            ("tag alone", b"\x30", false),
        ];
        for (form, der, accepted) in table {
            let parts = PublicParts::from_der(der);
            assert_eq!(parts.is_some(), *accepted, "{form}");
            if let Some(parts) = parts {
                assert_eq!(parts.to_der(), CANONICAL, "{form}");
            }
        }
    }

    #[test]
    fn usual_keys_are_those_of_1024_bits_in_canonical_form() {
        let usual = PublicParts {
            modulus: &[0x80; 128],
            exponent: &[1, 0, 1],
        };
        let der = usual.to_der();
        assert_eq!(PublicParts::from_usual_der(&der), Some(usual));
        let unusual = [
            PublicParts {
                exponent: &[1, 0, 3],
                ..usual
            }
            .to_der(),
            PublicParts {
                modulus: &[0x80; 127],
                ..usual
            }
            .to_der(),
            PublicParts {
                modulus: &[0x7f; 128],
                ..usual
            }
            .to_der(),
            [&der, [0].as_slice()].concat(),
        ];
        for der in unusual {
            assert_eq!(PublicParts::from_usual_der(&der), None);
            assert!(PublicParts::from_der(&der).is_some());
        }
    }

    #[test]
    fn zero_has_no_bits() {
        let zeros = PublicParts::from_der(b"\x30\x05\x02\x01\x00\x02\x00").unwrap();
        assert_eq!(zeros.bits(), 0);
        assert_eq!(zeros.to_der(), b"\x30\x06\x02\x01\x00\x02\x01\x00");
    }

    #[test]
    fn reads_private_keys_as_openssl_does() {
        let numbers: Vec<u8> = (1..=8).flat_map(|number| [INTEGER, 1, number]).collect();
        // (version, what follows the numbers, the version that d2i_RSAPrivateKey of OpenSSL 3.0
        // reads)
        let table: &[(&[u8], &[u8], Option<i32>)] = &[
            (b"\x02\x01\x00", b"", Some(0)),
            (b"\x02\x00", b"", Some(0)),
            (b"\x1f\x02\x01\x00", b"", Some(0)),
            (b"\x02\x01\x01", b"", Some(1)),
            (b"\x02\x01\xff", b"", Some(-1)),
            (b"\x02\x02\xff\x7f", b"", Some(-129)),
            (b"\x02\x02\x00\x80", b"", Some(128)),
            (b"\x02\x04\x7f\xff\xff\xff", b"", Some(i32::MAX)),
            (b"\x02\x04\x80\x00\x00\x00", b"", Some(i32::MIN)),
            (b"\x02\x02\x00\x00", b"", None),
            (b"\x02\x02\xff\xff", b"", None),
            (b"\x02\x05\x00\xff\xff\xff\xff", b"", None),
            (b"\x02\x05\xff\x7f\xff\xff\xff", b"", None),
            (b"\x0a\x01\x00", b"", None),
            (b"\x02\x01\x00", b"\x30\x00", Some(0)),
            (b"\x02\x01\x00", b"\x30\x80\x00\x00", Some(0)),
            (
                b"\x02\x01\x00",
                b"\x30\x0b\x30\x09\x02\x01\x03\x02\x01\x01\x02\x01\x01",
                Some(0),
            ),
            (
                b"\x02\x01\x00",
                b"\x30\x80\x30\x09\x02\x01\x03\x02\x01\x01\x02\x01\x01\x00\x00",
                Some(0),
            ),
            (b"\x02\x01\x00", b"\x30\x08\x30\x06\x02\x01\x03\x02\x01\x01", None),
            (b"\x02\x01\x00", b"\x30\x02\x30\x00", None),
            (b"\x02\x01\x00", b"\x30\x03\x02\x01\x03", None),
            (b"\x02\x01\x00", b"\x31\x00", None),
            (b"\x02\x01\x00", b"\x05\x00", None),
            (b"\x02\x01\x00", b"\x30\x00\x30\x00", None),
        ];
        for (version, behind, expected) in table {
            let fields = [version, &numbers[..], behind].concat();
            let definite = [&[SEQUENCE, fields.len() as u8], &fields[..]].concat();
            let indefinite = [&[SEQUENCE, INDEFINITE], &fields[..], END_OF_CONTENTS].concat();
            for der in [definite, indefinite] {
                let read = read_private_key(&der);
                assert_eq!(read.map(|(version, _)| version), *expected, "{}", der.escape_ascii());
                if let Some((_, numbers)) = read {
                    assert_eq!(numbers.concat(), [1, 2, 3, 4, 5, 6, 7, 8]);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn round_trip(modulus: Vec<u8>, exponent: Vec<u8>) {
            let modulus = without_leading_zeros(&modulus);
            let exponent = without_leading_zeros(&exponent);
            let parts = PublicParts { modulus, exponent };
            let der = parts.to_der();
            prop_assert_eq!(PublicParts::from_der(&der), Some(parts));
        }

        #[test]
        fn usual_keys_are_read_as_all_others(top in 0x80..=u8::MAX, place in 0..140_usize, byte: u8) {
            let mut modulus = [7; 128];
            modulus[0] = top;
            let usual = PublicParts { modulus: &modulus, exponent: &[1, 0, 1] };
            let mut der = usual.to_der();
            der[place] = byte;
            if let Some(parts) = PublicParts::from_usual_der(&der) {
                prop_assert_eq!(read_integers(&der), Some([parts.modulus, parts.exponent]));
                prop_assert_eq!(parts.to_der(), der);
            }
        }

        #[test]
        fn never_panics(der: Vec<u8>) {
            let _ = PublicParts::from_der(&der);
        }
    }
}
