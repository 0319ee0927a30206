//! The name of a v3 descriptor.

use core::fmt;
use core::str::FromStr;

use crate::{Error, text};

/// A public key that a period has blinded, under which directories keep a service's descriptor.
///
/// It is not looked into: whether it is a point of the curve is for those to ask who verify with
/// it.
///
/// ```
/// use onionweave_ring::v3::BlindedId;
///
/// let id: BlindedId = "QP+xpEjRBaFfY+wZDXOhsn2wcAGlDVkc1CApgbexGEA".parse()?;
/// assert_eq!(id.as_bytes()[0], 0x40);
/// assert_eq!(id.to_string(), "QP+xpEjRBaFfY+wZDXOhsn2wcAGlDVkc1CApgbexGEA");
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct BlindedId([u8; 32]);

impl BlindedId {
    /// The 32 bytes of the key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for BlindedId {
    fn from(key: [u8; 32]) -> Self {
        Self(key)
    }
}

/// Forty-three characters of base64 without padding, as in `HS_DESC` events.
impl FromStr for BlindedId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text::decode("blinded key", &text::BASE64, text).map(Self)
    }
}

/// Forty-three characters of base64 without padding, as in `HS_DESC` events.
impl fmt::Display for BlindedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::fmt_base64(&self.0, f)
    }
}

impl fmt::Debug for BlindedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlindedId({self})")
    }
}

text::serde_as_text!(BlindedId, "a blinded key: 43 characters of unpadded base64");
