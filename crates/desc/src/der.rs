//! PKCS#1 public keys in DER, read with the tolerance of OpenSSL's `d2i_RSAPublicKey` and written canonically.
//!
//! C Tor decodes a key with that function and, whenever it needs bytes again, be it to hash a key into a service ID or to
//! write it down, encodes what it decoded (lib/crypt_ops/crypto_rsa.c:356, crypto_rsa_openssl.c:501). So the canonical
//! form is the identity of a key, whatever form it was received in.

/// Length of the modulus of every key in a v2 descriptor, in bits (`PK_BYTES`).
pub(crate) const MODULUS_BITS: usize = 1024;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const INDEFINITE: u8 = 0x80;

/// The two numbers of a public key, big-endian, without leading zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PublicParts<'a> {
    pub(crate) modulus: &'a [u8],
    pub(crate) exponent: &'a [u8],
}

impl<'a> PublicParts<'a> {
    /// Reads `SEQUENCE { INTEGER, INTEGER }`.
    ///
    /// As in OpenSSL (crypto/asn1/tasn_dec.c, x_bignum.c), lengths may be padded or indefinite, both integers are taken as
    /// unsigned, leading zeros are ignored, and so is anything after the sequence.
    pub(crate) fn from_der(mut der: &'a [u8]) -> Option<Self> {
        let indefinite = der.get(1) == Some(&INDEFINITE);
        let mut fields = if indefinite {
            der.strip_prefix(&[SEQUENCE, INDEFINITE])?
        } else {
            read_value(SEQUENCE, &mut der)?
        };
        let modulus = read_value(INTEGER, &mut fields)?;
        let exponent = read_value(INTEGER, &mut fields)?;
        let complete = if indefinite {
            fields.starts_with(&[0, 0])
        } else {
            fields.is_empty()
        };
        complete.then(|| Self {
            modulus: without_leading_zeros(modulus),
            exponent: without_leading_zeros(exponent),
        })
    }

    pub(crate) fn to_der(self) -> Vec<u8> {
        let mut fields = Vec::with_capacity(self.modulus.len() + self.exponent.len() + 8);
        write_integer(self.modulus, &mut fields);
        write_integer(self.exponent, &mut fields);
        let mut der = Vec::with_capacity(fields.len() + 4);
        der.push(SEQUENCE);
        write_length(fields.len(), &mut der);
        der.extend_from_slice(&fields);
        der
    }

    /// Length of the modulus in bits.
    pub(crate) fn bits(&self) -> usize {
        self.modulus
            .first()
            .map_or(0, |top| self.modulus.len() * 8 - top.leading_zeros() as usize)
    }

    pub(crate) fn exponent_is_65537(&self) -> bool {
        self.exponent == [1, 0, 1]
    }
}

/// Reads one value with a definite length and moves `input` past it.
fn read_value<'a>(tag: u8, input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (&found, rest) = input.split_first()?;
    if found != tag {
        return None;
    }
    let (length, rest) = read_length(rest)?;
    let (value, rest) = rest.split_at_checked(length)?;
    *input = rest;
    Some(value)
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

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

fn write_integer(number: &[u8], out: &mut Vec<u8>) {
    // A zero in front keeps the number positive; the number zero is one zero.
    let padded = number.first().is_none_or(|top| *top >= 0x80);
    out.push(INTEGER);
    write_length(number.len() + usize::from(padded), out);
    if padded {
        out.push(0);
    }
    out.extend_from_slice(number);
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
    fn zero_has_no_bits() {
        let zeros = PublicParts::from_der(b"\x30\x05\x02\x01\x00\x02\x00").unwrap();
        assert_eq!(zeros.bits(), 0);
        assert_eq!(zeros.to_der(), b"\x30\x06\x02\x01\x00\x02\x01\x00");
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
        fn never_panics(der: Vec<u8>) {
            let _ = PublicParts::from_der(&der);
        }
    }
}
