//! Client authorization: introduction points that only some clients can read (rend-spec-v2.txt,
//! section 2).
//!
//! - [`Authorization`]: for whom a [`Draft`](super::Draft) is written
//! - [`ClientKeys`]: Tor's file `client_keys`, in which a service keeps its clients
//! - [`HostnameFile`]: Tor's file `hostname`, from which its clients are told
//!
//! A client reads with
//! [`Descriptor::introduction_points_for`](super::Descriptor::introduction_points_for).

pub(crate) mod block;
mod client_keys;
mod hostname;

use onionweave_ring::v2::{AuthorizationKind, DescriptorCookie};

use super::ServiceKey;
use crate::error::Error;
use crate::secrets::Secrets;

pub use block::MAX_BASIC_CLIENTS;
pub use client_keys::{ClientKey, ClientKeys, ClientName};
pub use hostname::{ClientAddress, HostnameFile};

/// Names what is derived here, so that nothing else that is derived from a service's key can be the
/// same.
pub(crate) const DERIVATION: &[u8] = b"onionweave-desc v2 client authorization";

/// For whom the introduction points of a descriptor are encrypted.
///
/// C Tor draws what is needed for that at random. Here it is derived from the service's private key
/// and everything that is encrypted and signed, as RFC 6979 derives the nonces of signatures. So
/// the same draft gives the same bytes; and where anything differs, be it the period, the replica,
/// the time, a point or a client, so do all keys and key streams, which tell nothing to who does
/// not hold the private key.
///
/// The format itself has a flaw that no choice of keys mends: with basic authorization a client
/// that could read one descriptor knows enough to read what is later encrypted for the *other*
/// clients of that time. To shut one out, give the others new cookies.
///
/// ```
/// use onionweave_desc::v2::{Authorization, AuthorizationKind, DescriptorCookie};
///
/// let [alice, bob] = [DescriptorCookie::from([1; 16]), DescriptorCookie::from([2; 16])];
/// let both = Authorization::Basic(vec![alice.clone(), bob]);
/// assert_eq!(both.kind(), AuthorizationKind::Basic);
/// assert_eq!((both.cookies().len(), both.id_cookie()), (2, None));
///
/// let stealth = Authorization::Stealth(alice.clone());
/// assert_eq!(stealth.id_cookie(), Some(&alice), "it decides where the descriptor lies");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Authorization {
    /// A descriptor for all clients, each with its cookie. At most [`MAX_BASIC_CLIENTS`], of which
    /// the limit of 20 KiB for a descriptor leaves room for a few hundred.
    Basic(Vec<DescriptorCookie>),
    /// The descriptor of one client, to be signed with the key that the service keeps for this
    /// client.
    Stealth(DescriptorCookie),
}

impl Authorization {
    /// The kind of authorization.
    pub fn kind(&self) -> AuthorizationKind {
        match self {
            Self::Basic(_) => AuthorizationKind::Basic,
            Self::Stealth(_) => AuthorizationKind::Stealth,
        }
    }

    /// The cookies of all clients.
    pub fn cookies(&self) -> &[DescriptorCookie] {
        match self {
            Self::Basic(cookies) => cookies,
            Self::Stealth(cookie) => std::slice::from_ref(cookie),
        }
    }

    /// The cookie on which the descriptor ID depends, if it does (feature/rend/rendcommon.c:501).
    pub fn id_cookie(&self) -> Option<&DescriptorCookie> {
        match self {
            Self::Basic(_) => None,
            Self::Stealth(cookie) => Some(cookie),
        }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let cookies = self.cookies();
        if cookies.is_empty() {
            return Err(Error::NoClients);
        }
        if cookies.iter().any(DescriptorCookie::is_zero) {
            return Err(Error::ZeroCookie);
        }
        Ok(())
    }

    /// Encrypts `points`, which follow `header` in what will be signed with `key`.
    pub(super) fn encrypt(&self, points: &[u8], header: &str, key: &ServiceKey) -> Result<Vec<u8>, Error> {
        let secrets = self.derive_secrets(points, header, key);
        match self {
            Self::Basic(cookies) => block::encrypt_basic(points, cookies, &secrets),
            Self::Stealth(cookie) => Ok(block::encrypt_stealth(points, cookie, &secrets)),
        }
    }

    fn derive_secrets(&self, points: &[u8], header: &str, key: &ServiceKey) -> Secrets {
        let secret = key.private_key().exponent();
        let kind = [self.kind().number()];
        let cookies = self.cookies().iter().map(|cookie| cookie.as_bytes().as_slice());
        Secrets::derive(
            DERIVATION,
            [secret, header.as_bytes(), points, &kind].into_iter().chain(cookies),
        )
    }
}
