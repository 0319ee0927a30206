//! Link specifiers (tor-spec, "EXTEND2"): how to reach the relay of an introduction point
//! (trunnel/ed25519_cert.trunnel of C Tor).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use onionweave_ring::{Ed25519Identity, Fingerprint};

/// A way to reach or to recognise a relay.
///
/// ```
/// use onionweave_desc::v3::{LinkSpecifier, LinkSpecifiers};
///
/// let specifiers = LinkSpecifiers::from_bytes(&[1, 0, 6, 127, 0, 0, 1, 0x13, 0x88])?;
/// let [LinkSpecifier::Address(address)] = specifiers.iter().collect::<Vec<_>>()[..] else { panic!() };
/// assert_eq!(address.to_string(), "127.0.0.1:5000");
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LinkSpecifier<'a> {
    /// An address and a port: types 0 (IPv4) and 1 (IPv6).
    Address(SocketAddr),
    /// The SHA-1 of the relay's RSA key: type 2.
    Rsa(Fingerprint),
    /// The relay's Ed25519 key: type 3.
    Ed25519(Ed25519Identity),
    /// A type that this crate does not know.
    #[non_exhaustive]
    Unknown {
        /// The type.
        kind: u8,
        /// The content, up to 255 bytes.
        body: &'a [u8],
    },
}

/// List of link specifiers, byte for byte as it was received.
///
/// ```
/// use onionweave_desc::v3::LinkSpecifiers;
///
/// let bytes = [&[2, 2, 20][..], &[7; 20], &[9, 1, 5]].concat();
/// let specifiers = LinkSpecifiers::from_bytes(&bytes)?;
/// assert_eq!(specifiers.as_bytes(), bytes);
/// assert_eq!(specifiers.rsa_identity(), Some([7; 20].into()));
/// assert_eq!(specifiers.ed25519_identity(), None);
/// assert_eq!(specifiers.address(), None);
/// assert_eq!(specifiers.iter().count(), 2);
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkSpecifiers(Vec<u8>);

impl LinkSpecifiers {
    /// Reads a list as C Tor does (`decode_link_specifiers`, feature/hs/hs_descriptor.c:1207): the
    /// known types have their length, unknown ones any, and nothing may follow.
    ///
    /// # Errors
    /// [`Problem::LinkSpecifiers`](super::Problem::LinkSpecifiers).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, crate::Error> {
        let list = Self(bytes.to_vec());
        if list.end() != Some(bytes.len()) {
            return Err(super::Problem::LinkSpecifiers.into());
        }
        Ok(list)
    }

    /// The list as it stands in a descriptor, before base64: the number of specifiers, then each
    /// with its type and its length in front.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Every specifier, in order.
    pub fn iter(&self) -> impl Iterator<Item = LinkSpecifier<'_>> {
        let mut rest = self.0.get(1..).unwrap_or_default();
        std::iter::from_fn(move || take(&mut rest))
    }

    /// The relay's identity in the directory, by which C Tor's clients tell points apart.
    pub fn rsa_identity(&self) -> Option<Fingerprint> {
        self.iter().find_map(|specifier| match specifier {
            LinkSpecifier::Rsa(identity) => Some(identity),
            _ => None,
        })
    }

    /// The relay's Ed25519 identity.
    pub fn ed25519_identity(&self) -> Option<Ed25519Identity> {
        self.iter().find_map(|specifier| match specifier {
            LinkSpecifier::Ed25519(identity) => Some(identity),
            _ => None,
        })
    }

    /// The first address.
    pub fn address(&self) -> Option<SocketAddr> {
        self.iter().find_map(|specifier| match specifier {
            LinkSpecifier::Address(address) => Some(address),
            _ => None,
        })
    }

    /// Offset at which as many specifiers end as the first byte announces.
    fn end(&self) -> Option<usize> {
        let (&count, mut rest) = self.0.split_first()?;
        for _ in 0..count {
            take(&mut rest)?;
        }
        Some(self.0.len() - rest.len())
    }
}

impl fmt::Debug for LinkSpecifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Takes the next specifier. `None` at the end, and where one is cut short or has a wrong length.
fn take<'a>(rest: &mut &'a [u8]) -> Option<LinkSpecifier<'a>> {
    let [kind, length, after @ ..] = *rest else {
        return None;
    };
    let (body, after) = after.split_at_checked(usize::from(*length))?;
    let specifier = match kind {
        0 => {
            let (address, port) = body.split_last_chunk()?;
            let address: [u8; 4] = address.try_into().ok()?;
            LinkSpecifier::Address((Ipv4Addr::from(address), u16::from_be_bytes(*port)).into())
        }
        1 => {
            let (address, port) = body.split_last_chunk()?;
            let address: [u8; 16] = address.try_into().ok()?;
            LinkSpecifier::Address((Ipv6Addr::from(address), u16::from_be_bytes(*port)).into())
        }
        2 => LinkSpecifier::Rsa(<[u8; 20]>::try_from(body).ok()?.into()),
        3 => LinkSpecifier::Ed25519(<[u8; 32]>::try_from(body).ok()?.into()),
        kind => LinkSpecifier::Unknown { kind: *kind, body },
    };
    *rest = after;
    Some(specifier)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_trunnel_reads() {
        // (bytes, how many specifiers, if it can be read)
        let table: &[(&[u8], Option<usize>)] = &[
            (&[], None),
            (&[0], Some(0)),
            (&[0, 0], None),
            (&[1], None),
            (&[1, 0, 6, 1, 2, 3, 4, 5, 6], Some(1)),
            (&[1, 0, 5, 1, 2, 3, 4, 5], None),
            (&[1, 0, 7, 1, 2, 3, 4, 5, 6, 7], None),
            (&[1, 0, 6, 1, 2, 3, 4, 5], None),
            (&[1, 2, 0], None),
            (&[1, 3, 1, 7], None),
            (&[1, 4, 0], Some(1)),
            (&[1, 255, 2, 7, 7], Some(1)),
            (&[1, 255, 2, 7, 7, 0], None),
            (&[2, 255, 2, 7, 7], None),
            (&[2, 255, 2, 7, 7, 9, 0], Some(2)),
        ];
        for (bytes, expected) in table {
            let read = LinkSpecifiers::from_bytes(bytes);
            assert_eq!(read.ok().map(|list| list.iter().count()), *expected, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn as_many_as_announced(bytes in proptest::collection::vec(0_u8..40, 0..80)) {
            if let Ok(list) = LinkSpecifiers::from_bytes(&bytes) {
                prop_assert_eq!(list.iter().count(), usize::from(bytes[0]));
                prop_assert_eq!(list.as_bytes(), bytes);
            }
        }
    }
}
