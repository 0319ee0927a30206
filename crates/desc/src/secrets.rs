//! Bytes that are derived where C Tor draws them at random, so that the same input gives the same
//! text.

use hkdf::{Hkdf, HkdfExtract};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Bytes that only the holder of a service's private key can tell from random ones.
#[derive(Clone)]
pub(crate) struct Secrets(Hkdf<Sha256>);

impl Secrets {
    /// Derives from all these parts, of which one is secret. Each goes in with its length in front,
    /// so that no two lists give the same.
    ///
    /// `derivation` says what they are for, so that nothing else that is derived from the same key
    /// can be the same.
    pub(crate) fn derive<'a>(derivation: &[u8], parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut extract = HkdfExtract::<Sha256>::new(Some(derivation));
        for part in parts {
            extract.input_ikm(&(part.len() as u64).to_be_bytes());
            extract.input_ikm(part);
        }
        Self(extract.finalize().1)
    }

    /// `N` bytes for one purpose.
    pub(crate) fn bytes<const N: usize>(&self, purpose: &str) -> Zeroizing<[u8; N]> {
        self.bytes_of(purpose, &[])
    }

    /// `N` bytes for one purpose and one thing among those that it concerns.
    pub(crate) fn bytes_of<const N: usize>(&self, purpose: &str, thing: &[u8]) -> Zeroizing<[u8; N]> {
        const { assert!(N <= 255 * 32, "HKDF gives 255 digests and no more") };
        let mut bytes = Zeroizing::new([0; N]);
        match self.0.expand_multi_info(&[purpose.as_bytes(), thing], &mut *bytes) {
            Ok(()) => bytes,
            Err(_) => unreachable!("the length was checked when this was compiled"),
        }
    }
}
