//! The name of a descriptor of any version.

use core::fmt;
use core::str::FromStr;

use crate::{Error, text, v2};

/// Number of characters of a blinded key in base64 without padding, under which directories keep
/// descriptors of version 3.
const V3_LEN: usize = 43;

/// The name under which directories keep a descriptor, whatever its version.
///
/// The text is that of Tor's `HS_DESC` events: for version 2 it is 32 characters of lower-case
/// base32.
///
/// ```
/// use onionweave_ring::DescriptorId;
///
/// let id: DescriptorId = "qd2akclg2ygyy37bwtrc6c33jwclhbk6".parse()?;
/// assert_eq!(id.to_string(), "qd2akclg2ygyy37bwtrc6c33jwclhbk6");
/// assert!(id.v2().is_some());
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[non_exhaustive]
pub enum DescriptorId {
    /// The ID of a descriptor of version 2.
    V2(v2::DescriptorId),
}

impl DescriptorId {
    /// The ID of version 2, if the descriptor is of that version.
    pub const fn v2(self) -> Option<v2::DescriptorId> {
        match self {
            Self::V2(id) => Some(id),
        }
    }

    /// The bytes of the ID: 20 in version 2.
    ///
    /// ```
    /// use onionweave_ring::{DescriptorId, v2};
    ///
    /// let id = DescriptorId::from(v2::DescriptorId::from([7; 20]));
    /// assert_eq!(id.as_bytes(), [7; 20]);
    /// ```
    pub const fn as_bytes(&self) -> &[u8] {
        match self {
            Self::V2(id) => id.as_bytes(),
        }
    }
}

impl From<v2::DescriptorId> for DescriptorId {
    fn from(id: v2::DescriptorId) -> Self {
        Self::V2(id)
    }
}

impl PartialEq<v2::DescriptorId> for DescriptorId {
    fn eq(&self, id: &v2::DescriptorId) -> bool {
        self.v2().as_ref() == Some(id)
    }
}

/// The form in which Tor writes it, without additions.
impl FromStr for DescriptorId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() == V3_LEN {
            return Err(Error::Version3 { what: "descriptor ID" });
        }
        text.parse().map(Self::V2)
    }
}

/// The form in which Tor writes it.
impl fmt::Display for DescriptorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V2(id) => id.fmt(f),
        }
    }
}

text::serde_as_text!(DescriptorId, "a descriptor ID: 32 characters of base32");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_tells_the_version() {
        let id = v2::DescriptorId::from([7; 20]);
        assert_eq!(id.to_string().parse(), Ok(DescriptorId::from(id)));
        assert_eq!(DescriptorId::from(id).as_bytes(), [7; 20]);
        let error = "A".repeat(43).parse::<DescriptorId>().unwrap_err().to_string();
        assert_eq!(error, "descriptor ID: version 3 is not supported yet");
        let error = "a".repeat(31).parse::<DescriptorId>().unwrap_err();
        assert!(matches!(error, Error::Length { found: 31, .. }), "{error}");
    }
}
