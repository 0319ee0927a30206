//! The address of an onion service of any version.

use core::fmt;
use core::str::FromStr;

use crate::v2::ServiceId;
use crate::{Error, text};

/// Number of characters of a version 3 address without `.onion` (`HS_SERVICE_ADDR_LEN_BASE32`,
/// feature/hs/hs_common.h:105 of tor 0.4.9).
const V3_LEN: usize = 56;

/// The address of an onion service, whatever its version.
///
/// The length of the text tells the version: 16 characters are an address of version 2.
///
/// ```
/// use onionweave_ring::OnionAddress;
///
/// let address: OnionAddress = "rf75jzdtba4wnd6v.onion".parse()?;
/// assert_eq!(address.to_string(), "rf75jzdtba4wnd6v");
/// assert!(address.v2().is_some());
///
/// let v3 = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion".parse::<OnionAddress>();
/// assert_eq!(v3.unwrap_err().to_string(), "onion address: version 3 is not supported yet");
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[non_exhaustive]
pub enum OnionAddress {
    /// The address of a service of version 2.
    V2(ServiceId),
}

impl OnionAddress {
    /// The service ID of version 2, if the address is of that version.
    pub const fn v2(self) -> Option<ServiceId> {
        match self {
            Self::V2(id) => Some(id),
        }
    }
}

impl From<ServiceId> for OnionAddress {
    fn from(id: ServiceId) -> Self {
        Self::V2(id)
    }
}

impl PartialEq<ServiceId> for OnionAddress {
    fn eq(&self, id: &ServiceId) -> bool {
        self.v2().as_ref() == Some(id)
    }
}

/// Base32 characters of either case, with or without `.onion` behind.
impl FromStr for OnionAddress {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text::without_onion(text).len() == V3_LEN {
            return Err(Error::Version3 { what: "onion address" });
        }
        text.parse().map(Self::V2)
    }
}

/// Lower-case base32 characters, without `.onion`.
impl fmt::Display for OnionAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V2(id) => id.fmt(f),
        }
    }
}

text::serde_as_text!(OnionAddress, "an onion address: 16 characters of base32");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_tells_the_version() {
        let parse = |text: &str| text.parse::<OnionAddress>();
        let id = ServiceId::from([7; 10]);
        assert_eq!(parse(&id.to_string()), Ok(OnionAddress::from(id)));
        assert_eq!(parse(&format!("{id}.onion")), Ok(OnionAddress::from(id)));
        for text in ["a".repeat(56), format!("{}.ONION", "a".repeat(56))] {
            let error = parse(&text).unwrap_err().to_string();
            assert_eq!(error, "onion address: version 3 is not supported yet");
        }
        for length in [0, 15, 17, 55, 57] {
            let error = parse(&"a".repeat(length)).unwrap_err();
            assert!(
                matches!(error, Error::Length { found, .. } if found == length),
                "{error}"
            );
        }
    }
}
