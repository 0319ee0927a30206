//! Proof that somebody knows a service's address.

use core::fmt;

use super::{Address, BlindedId, sha3_256};

/// Secret of everybody who knows a service's address, for one blinded key (`hs_get_subcredential`,
/// feature/hs/hs_common.c:565). It decrypts the descriptor, so it is not shown.
///
/// ```
/// use onionweave_ring::v3::{Address, Period, Subcredential};
///
/// let address: Address = "g4onrhjcsgeysofzamzk6ijeetfcs47gcmddlpgsqyzq6w7aemzgg5yd".parse()?;
/// let id = address.blinded_id(Period::new(20_780, 1440));
/// let subcredential = Subcredential::new(&address, &id);
/// assert_eq!(subcredential.as_bytes().len(), 32);
/// assert_eq!(format!("{subcredential:?}"), "Subcredential(..)");
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Subcredential([u8; 32]);

impl Subcredential {
    /// The subcredential of a service for one of its blinded keys.
    pub fn new(address: &Address, blinded_id: &BlindedId) -> Self {
        let credential = sha3_256(&[b"credential", address.public_key()]);
        Self(sha3_256(&[b"subcredential", &credential, blinded_id.as_bytes()]))
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Subcredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subcredential(..)")
    }
}
