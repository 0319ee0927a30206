//! Relay identities.

use core::fmt;
use core::str::FromStr;

use crate::{Error, text};

/// The identity of a relay: the SHA-1 digest of its RSA identity key.
///
/// Fingerprints order as bytes, which is the order of the hash ring.
///
/// Read from what Tor's control port calls a *HexName* (`hex_digest_nickname_decode`,
/// feature/nodelist/routerlist.c:684): 40 hexadecimal digits of either case, with an optional `$`
/// before and an optional `~nickname` or `=nickname` behind. The nickname is checked for its form
/// and dropped.
///
/// ```
/// use onionweave_ring::Fingerprint;
///
/// let long: Fingerprint = "$38328B342F6D11B2F32C9040078621802B9BC0FF~test000a".parse()?;
/// let short: Fingerprint = "38328b342f6d11b2f32c9040078621802b9bc0ff".parse()?;
/// assert_eq!(long, short);
/// assert_eq!(long.to_string(), "38328B342F6D11B2F32C9040078621802B9BC0FF");
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Fingerprint([u8; 20]);

impl Fingerprint {
    /// The 20 bytes of the digest.
    ///
    /// ```
    /// use onionweave_ring::Fingerprint;
    ///
    /// assert_eq!(Fingerprint::from([7; 20]).as_bytes(), &[7; 20]);
    /// ```
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// Reads the unpadded base64 of an `r` line.
    pub(crate) fn from_base64(text: &str) -> Result<Self, Error> {
        text::decode("relay identity", &text::BASE64, text).map(Self)
    }
}

impl From<[u8; 20]> for Fingerprint {
    fn from(digest: [u8; 20]) -> Self {
        Self(digest)
    }
}

impl From<Fingerprint> for [u8; 20] {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.0
    }
}

/// Forty hexadecimal digits, with an optional `$` before and an optional nickname behind.
impl FromStr for Fingerprint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.strip_prefix('$').unwrap_or(text);
        let digits = match text.split_once(['~', '=']) {
            Some((_, nickname)) if !is_legal_nickname(nickname) => return Err(Error::Nickname),
            Some((digits, _)) => digits,
            None => text,
        };
        text::decode("relay fingerprint", &text::HEX, digits).map(Self)
    }
}

/// Forty upper-case hexadecimal digits.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::fmt_hex(&self.0, f)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

text::serde_as_text!(Fingerprint, "a relay fingerprint: 40 hexadecimal digits");

/// A nickname is 1 to 19 ASCII letters and digits (feature/nodelist/nickname.c:19,
/// core/or/or.h:112,553).
pub(crate) fn is_legal_nickname(text: &str) -> bool {
    (1..=19).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGITS: &str = "38328B342F6D11B2F32C9040078621802B9BC0FF";

    #[test]
    fn reads_hex_names() {
        let lower = DIGITS.to_lowercase();
        for text in [
            DIGITS,
            &lower,
            &format!("${DIGITS}"),
            &format!("{DIGITS}~test000a"),
            &format!("${DIGITS}=test000a"),
            &format!("${lower}~{}", "x".repeat(19)),
        ] {
            assert_eq!(text.parse::<Fingerprint>().unwrap().to_string(), DIGITS, "{text}");
        }
    }

    #[test]
    fn refuses_with_a_reason() {
        for (text, reason) in [
            ("", "relay fingerprint takes 40 characters, found 0"),
            ("$", "relay fingerprint takes 40 characters, found 0"),
            (
                DIGITS.trim_end_matches("FF"),
                "relay fingerprint takes 40 characters, found 38",
            ),
            (
                &format!("$${DIGITS}"),
                "relay fingerprint takes 40 characters, found 41",
            ),
            (&format!("{DIGITS} "), "relay fingerprint takes 40 characters, found 41"),
            (
                &DIGITS.replace('F', "G"),
                "relay fingerprint: byte 9 is not a hexadecimal digit",
            ),
            (&format!("{DIGITS}~"), "what follows the `~` or `=` is not a nickname"),
            (
                &format!("{DIGITS}~a-b"),
                "what follows the `~` or `=` is not a nickname",
            ),
            (
                &format!("{DIGITS}={}", "x".repeat(20)),
                "what follows the `~` or `=` is not a nickname",
            ),
        ] {
            let error = text.parse::<Fingerprint>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(digest: [u8; 20]) {
            let fingerprint = Fingerprint::from(digest);
            prop_assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
            prop_assert_eq!(fingerprint.to_string().to_lowercase().parse(), Ok(fingerprint));
        }
    }
}
