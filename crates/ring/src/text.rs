//! Reading and writing identifiers of a fixed size.

use core::fmt;

use data_encoding::{BASE32_NOPAD_NOCASE, BASE64_NOPAD, Encoding, HEXUPPER_PERMISSIVE};

use crate::Error;

/// A way of writing bytes as text, as strict as Tor is where it reads that text.
pub(crate) struct Alphabet {
    encoding: Encoding,
    allows: fn(u8) -> bool,
    /// Whether the encoding allows more than that.
    is_narrower: bool,
    /// Name of the allowed characters in error messages.
    description: &'static str,
}

/// Base32 in lower case: descriptors and commands take nothing else (`rend_valid_descriptor_id`,
/// feature/rend/rendcommon.c:739, against `BASE32_CHARS`, lib/encoding/binascii.h:53).
pub(crate) const BASE32_LOWER: Alphabet = Alphabet {
    encoding: BASE32_NOPAD_NOCASE,
    allows: |byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'),
    is_narrower: true,
    description: "lower-case base32 (a-z, 2-7)",
};

/// Base32 in either case, for host names (`tor_strlower`, core/or/connection_edge.c).
pub(crate) const BASE32_ANY_CASE: Alphabet = Alphabet {
    encoding: BASE32_NOPAD_NOCASE,
    allows: |byte| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'2'..=b'7'),
    is_narrower: false,
    description: "base32 (a-z, 2-7)",
};

/// Hexadecimal in either case.
pub(crate) const HEX: Alphabet = Alphabet {
    encoding: HEXUPPER_PERMISSIVE,
    allows: |byte| byte.is_ascii_hexdigit(),
    is_narrower: false,
    description: "a hexadecimal digit",
};

/// Base64 without padding, as digests are written in network-status documents (`digest_to_base64`,
/// lib/crypt_ops/crypto_format.c:275).
pub(crate) const BASE64: Alphabet = Alphabet {
    encoding: BASE64_NOPAD,
    allows: |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'),
    is_narrower: false,
    description: "unpadded base64 (A-Z, a-z, 0-9, +, /)",
};

/// A host name without its `.onion`, in either case, if it ends so.
pub(crate) fn without_onion(text: &str) -> &str {
    match text.rsplit_once('.') {
        Some((name, suffix)) if suffix.eq_ignore_ascii_case("onion") => name,
        _ => text,
    }
}

/// Reads exactly `N` bytes; `what` names them in errors.
pub(crate) fn decode<const N: usize>(what: &'static str, alphabet: &Alphabet, text: &str) -> Result<[u8; N], Error> {
    let expected = alphabet.encoding.encode_len(N);
    if text.len() != expected {
        return Err(Error::Length {
            what,
            expected,
            found: text.len(),
        });
    }
    let wrong_at = |position| Error::Character {
        what,
        position,
        alphabet: alphabet.description,
    };
    let first_wrong = || text.bytes().position(|byte| !(alphabet.allows)(byte));
    if let (true, Some(position)) = (alphabet.is_narrower, first_wrong()) {
        return Err(wrong_at(position));
    }
    // `decode_mut` wants a buffer of `decode_len` bytes, which for a text of `encode_len(N)` is N.
    let mut bytes = [0; N];
    match alphabet.encoding.decode_mut(text.as_bytes(), &mut bytes) {
        Ok(_) => Ok(bytes),
        // Bits of the last character beyond the last byte may be wrong as well.
        Err(partial) => Err(wrong_at(first_wrong().unwrap_or(partial.error.position))),
    }
}

/// Writes bytes in lower-case base32, as Tor does.
pub(crate) fn fmt_base32(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.pad(&BASE32_NOPAD_NOCASE.encode(bytes).to_ascii_lowercase())
}

/// Writes bytes in base64 without padding, as Tor does in network-status documents.
pub(crate) fn fmt_base64(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.pad(&BASE64_NOPAD.encode(bytes))
}

/// Writes bytes in upper-case hexadecimal, as Tor does.
pub(crate) fn fmt_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.pad(&HEXUPPER_PERMISSIVE.encode(bytes))
}

/// Implements serde's traits: as the text that `Display` writes and `FromStr` reads, in every
/// format.
macro_rules! serde_as_text {
    ($name:ty, $expected:literal) => {
        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;

                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(Visitor)
            }
        }
    };
}

pub(crate) use serde_as_text;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_what_is_allowed_is_read() {
        for alphabet in [&BASE32_LOWER, &BASE32_ANY_CASE, &HEX, &BASE64] {
            // Twenty zeros are written with one character only.
            let mut zero = alphabet.encoding.encode(&[0; 20]).remove(0);
            if alphabet.is_narrower {
                zero = zero.to_ascii_lowercase();
            }
            let rest = vec![zero as u8; alphabet.encoding.encode_len(20) - 1];
            for byte in 0..=0x7f_u8 {
                let text = String::from_utf8([&[byte], rest.as_slice()].concat()).unwrap();
                let read = decode::<20>("text", alphabet, &text);
                assert_eq!(
                    read.is_ok(),
                    (alphabet.allows)(byte),
                    "{text:?} as {}",
                    alphabet.description
                );
            }
        }
    }
}
