//! The other identity of a relay.

use core::fmt;
use core::str::FromStr;

use crate::{Error, text};

/// The Ed25519 identity of a relay: a public key, as long-lived as the RSA key behind its
/// [`Fingerprint`](crate::Fingerprint).
///
/// Microdescriptors carry it in their line `id ed25519` (dir-spec, section 3.3). It is not looked
/// into: whether it is a point on the curve is for those to ask who verify with it.
///
/// ```
/// use onionweave_ring::Ed25519Identity;
///
/// let identity: Ed25519Identity = "wNQtJJaZ7PYLHxayx949jBXMDq/TEyo6oStrUkMMds8".parse()?;
/// assert_eq!(identity.as_bytes()[0], 0xc0);
/// assert_eq!(identity.to_string(), "wNQtJJaZ7PYLHxayx949jBXMDq/TEyo6oStrUkMMds8");
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Ed25519Identity([u8; 32]);

impl Ed25519Identity {
    /// The 32 bytes of the key.
    ///
    /// ```
    /// use onionweave_ring::Ed25519Identity;
    ///
    /// assert_eq!(Ed25519Identity::from([7; 32]).as_bytes(), &[7; 32]);
    /// ```
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Ed25519Identity {
    fn from(key: [u8; 32]) -> Self {
        Self(key)
    }
}

impl From<Ed25519Identity> for [u8; 32] {
    fn from(identity: Ed25519Identity) -> Self {
        identity.0
    }
}

/// Forty-three characters of base64 without padding.
impl FromStr for Ed25519Identity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text::decode("Ed25519 identity", &text::BASE64, text).map(Self)
    }
}

/// Forty-three characters of base64 without padding.
impl fmt::Display for Ed25519Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::fmt_base64(&self.0, f)
    }
}

impl fmt::Debug for Ed25519Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ed25519Identity({self})")
    }
}

text::serde_as_text!(Ed25519Identity, "an Ed25519 identity: 43 characters of unpadded base64");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_with_a_reason() {
        for (text, reason) in [
            ("", "Ed25519 identity takes 43 characters, found 0"),
            (
                "wNQtJJaZ7PYLHxayx949jBXMDq/TEyo6oStrUkMMds8=",
                "takes 43 characters, found 44",
            ),
            (
                "wNQtJJaZ7PYLHxayx949jBXMDq_TEyo6oStrUkMMds8",
                "byte 26 is not unpadded base64",
            ),
            // 43 characters are 32 bytes and two bits, which must be 0.
            (
                "wNQtJJaZ7PYLHxayx949jBXMDq/TEyo6oStrUkMMds9",
                "byte 42 is not unpadded base64",
            ),
        ] {
            let error = text.parse::<Ed25519Identity>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(key: [u8; 32]) {
            let identity = Ed25519Identity::from(key);
            prop_assert_eq!(identity.to_string().parse(), Ok(identity));
        }
    }
}
