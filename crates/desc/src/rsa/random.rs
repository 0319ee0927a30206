//! The random numbers of which a key is made.

use ::rsa::rand_core::{CryptoRng, Error, RngCore, impls};
use aes::Aes256;
use ctr::Ctr64BE;
use ctr::cipher::{KeyIvInit as _, StreamCipher as _};

/// Number of bytes that a key is made of. Finding its primes takes an unknown number, so a stream
/// is drawn from these.
pub(super) const SEED_LEN: usize = 32;

/// The key stream of AES-256 in counter mode, as the generators of NIST SP 800-90A use it.
pub(super) struct Seeded(Ctr64BE<Aes256>);

impl Seeded {
    pub(super) fn new(seed: &[u8; SEED_LEN]) -> Self {
        Self(Ctr64BE::new(seed.into(), &[0; 16].into()))
    }
}

impl RngCore for Seeded {
    fn next_u32(&mut self) -> u32 {
        impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
        self.0.apply_keystream(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Seeded {}
