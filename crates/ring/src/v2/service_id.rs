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
pub struct ServiceId([u8; 10]);

impl ServiceId {
    /// The identifier that belongs to a public key.
    ///
    /// `der` is the key as descriptors carry it, a DER-encoded PKCS#1 `RSAPublicKey`. It is hashed as it is and not
    /// looked into.
    pub fn from_public_key_der(der: &[u8]) -> Self {
        let digest: [u8; 20] = Sha1::digest(der).into();
        Self(core::array::from_fn(|index| digest[index]))
    }

    /// The ten bytes.
    pub const fn as_bytes(&self) -> &[u8; 10] {
        &self.0
    }
}

impl From<[u8; 10]> for ServiceId {
    fn from(bytes: [u8; 10]) -> Self {
        Self(bytes)
    }
}

/// Sixteen base32 characters of either case, with or without `.onion` behind.
///
/// Tor turns host names into lower case before it looks at them (core/or/connection_edge.c:1778).
impl FromStr for ServiceId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let name = match text.rsplit_once('.') {
            Some((name, suffix)) if suffix.eq_ignore_ascii_case("onion") => name,
            _ => text,
        };
        text::decode("v2 service ID", &text::BASE32_ANY_CASE, name).map(Self)
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
