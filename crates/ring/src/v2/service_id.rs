//! The name of a service.

use core::fmt;
use core::str::FromStr;

use sha1::{Digest as _, Sha1};

use crate::{Error, text};

/// A service's permanent identifier: the first ten bytes of the SHA-1 digest of its public key.
///
/// Written in base32, and with `.onion` behind, it is the service's address (`rend_get_service_id`,
/// feature/rend/rendcommon.c:712).
///
/// ```
/// use onionweave_ring::v2::ServiceId;
///
/// let id: ServiceId = "rf75jzdtba4wnd6v.onion".parse()?;
/// assert_eq!(id.to_string(), "rf75jzdtba4wnd6v");
/// assert!("rf75jzdtba4wnd60".parse::<ServiceId>().is_err());
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct ServiceId([u8; 10]);

impl ServiceId {
    /// The identifier that belongs to a public key.
    ///
    /// `der` is the key as descriptors carry it, a DER-encoded PKCS#1 `RSAPublicKey`. It is hashed
    /// as it is and not looked into.
    ///
    /// ```
    /// use data_encoding::BASE64;
    /// use onionweave_ring::v2::ServiceId;
    ///
    /// let der = BASE64
    ///     .decode(
    ///         b"MIGJAoGBAL8xwnDahuwiADHGHCNxr3uLEinA/iWCLmEnSStXg0tHBeZzAOq9aVH8O7WxjuIMdBz8s/DM0aSdXovK/u9jr8YZ\
    ///           0Hxiqjx9vEaoN5MRvrU/IJ51U6kz2yGFPDkzhL5JY8FFHdHtJlWUpum0DTfLN7PsyY3hsIxgqJ2fWq7JjeunAgMBAAE=",
    ///     )
    ///     .expect("it is base64");
    /// assert_eq!(ServiceId::from_public_key_der(&der).to_string(), "rf75jzdtba4wnd6v");
    /// ```
    pub fn from_public_key_der(der: &[u8]) -> Self {
        let digest: [u8; 20] = Sha1::digest(der).into();
        Self(core::array::from_fn(|index| digest[index]))
    }

    /// The ten bytes.
    ///
    /// ```
    /// use onionweave_ring::v2::ServiceId;
    ///
    /// assert_eq!(ServiceId::from([7; 10]).as_bytes(), &[7; 10]);
    /// ```
    pub const fn as_bytes(&self) -> &[u8; 10] {
        &self.0
    }
}

impl From<[u8; 10]> for ServiceId {
    fn from(bytes: [u8; 10]) -> Self {
        Self(bytes)
    }
}

/// Number of characters of a v3 address without `.onion` (rend-spec-v3, section 6).
const V3_ADDRESS_LEN: usize = 56;

/// Sixteen base32 characters of either case, with or without `.onion` behind.
///
/// Tor turns host names into lower case before it looks at them (core/or/connection_edge.c:1778).
impl FromStr for ServiceId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let name = text::without_onion(text);
        match name.len() {
            _ if text.contains('/') => Err(Error::Url),
            V3_ADDRESS_LEN => Err(Error::V3Address),
            _ => text::decode("v2 service ID", &text::BASE32_ANY_CASE, name).map(Self),
        }
    }
}

/// Sixteen lower-case base32 characters, without `.onion`.
impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::fmt_base32(&self.0, f)
    }
}

impl fmt::Debug for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceId({self})")
    }
}

text::serde_as_text!(ServiceId, "a v2 service ID: 16 characters of base32");

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn other_names_are_named() {
        for (text, error) in [
            (
                "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion",
                Error::V3Address,
            ),
            ("http://rf75jzdtba4wnd6v.onion", Error::Url),
            ("rf75jzdtba4wnd6v.onion/", Error::Url),
        ] {
            assert_eq!(text.parse::<ServiceId>(), Err(error));
        }
    }

    /// From the descriptor of a service of the recording in `testdata/v2-network`.
    #[test]
    fn comes_from_the_public_key() {
        let der = BASE64
            .decode(
                b"MIGJAoGBAL8xwnDahuwiADHGHCNxr3uLEinA/iWCLmEnSStXg0tHBeZzAOq9aVH8O7WxjuIMdBz8s/DM0aSdXovK/u9jr8YZ\
                  0Hxiqjx9vEaoN5MRvrU/IJ51U6kz2yGFPDkzhL5JY8FFHdHtJlWUpum0DTfLN7PsyY3hsIxgqJ2fWq7JjeunAgMBAAE=",
            )
            .unwrap();
        assert_eq!(ServiceId::from_public_key_der(&der).to_string(), "rf75jzdtba4wnd6v");
    }

    #[test]
    fn refuses_with_a_reason() {
        for (text, reason) in [
            ("", "v2 service ID takes 16 characters, found 0"),
            (".onion", "v2 service ID takes 16 characters, found 0"),
            ("rf75jzdtba4wnd6", "takes 16 characters, found 15"),
            ("www.rf75jzdtba4wnd6v.onion", "takes 16 characters, found 20"),
            ("rf75jzdtba4wnd6v.onion.", "takes 16 characters, found 23"),
            ("rf75jzdtba4wnd6v.com", "takes 16 characters, found 20"),
            (
                "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion",
                "this is the address of a v3 onion service (56 characters)",
            ),
            ("rf75jzdtba4wnd61", "byte 15 is not base32"),
            ("rf75jzdtba4wnd=v", "byte 14 is not base32"),
            ("rf75jzdtba4wndöv", "takes 16 characters, found 17"),
        ] {
            let error = text.parse::<ServiceId>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(bytes: [u8; 10]) {
            let id = ServiceId::from(bytes);
            let text = id.to_string();
            prop_assert_eq!(text.parse(), Ok(id));
            prop_assert_eq!(format!("{text}.onion").parse(), Ok(id));
            prop_assert_eq!(format!("{text}.ONION").to_uppercase().parse(), Ok(id));
        }
    }
}
