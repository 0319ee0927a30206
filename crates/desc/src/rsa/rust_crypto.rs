//! The back end in Rust.

use ::rsa::hazmat::rsa_encrypt;
use ::rsa::{BigUint, RsaPrivateKey, RsaPublicKey};
use tor_llcrypto::pk::rsa::KeyPair;

use super::{Backend, PrivateKey, PublicParts, SIGNATURE_LEN};
use crate::error::KeyProblem;

/// The crate `rsa`, through `tor-llcrypto`: the default.
///
/// It verifies with any exponent, but signs with none above 2^33 - 1. It does not blind: its signatures take a time that depends on the
/// key and on what is signed.
///
/// ```
/// use onionweave_desc::rsa::{PrivateKey, RustCrypto};
/// use onionweave_desc::v2::ServiceKey;
///
/// let private = PrivateKey::from_pem(include_str!("../../testdata/plain/private_key"))?;
/// let key = ServiceKey::new(private, &RustCrypto)?;
/// key.public_key().verify_with(&RustCrypto, &[7; 20], &key.sign_digest(&[7; 20])?)?;
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_structs,
    reason = "a name for functions, which will never hold anything"
)]
pub struct RustCrypto;

impl Backend for RustCrypto {
    type Key = KeyPair;

    fn load(&self, key: &PrivateKey) -> Result<KeyPair, KeyProblem> {
        let exponent = BigUint::from_bytes_be(key.public_parts().exponent());
        if exponent > BigUint::from(RsaPublicKey::MAX_PUB_EXPONENT) {
            return Err(KeyProblem::LargeExponent);
        }
        RsaPrivateKey::from_components(
            BigUint::from_bytes_be(key.public_parts().modulus()),
            exponent,
            BigUint::from_bytes_be(key.exponent()),
            key.primes().map(BigUint::from_bytes_be).into(),
        )
        .map(KeyPair::from)
        .map_err(|_| KeyProblem::Damaged)
    }

    fn sign(key: &KeyPair, digest: &[u8; 20]) -> Option<[u8; SIGNATURE_LEN]> {
        // `rsa` raises what it computed to the public exponent, and compares (its `rsa_decrypt_and_check`).
        key.sign(digest).ok()?.try_into().ok()
    }

    fn recover(&self, key: PublicParts<'_>, signature: &[u8]) -> Option<Vec<u8>> {
        let modulus = BigUint::from_bytes_be(key.modulus());
        let exponent = BigUint::from_bytes_be(key.exponent());
        let signature_number = BigUint::from_bytes_be(signature);
        let odd = key.modulus().last().is_some_and(|byte| byte % 2 == 1);
        if !odd || exponent >= modulus || signature.len() > key.modulus().len() || signature_number >= modulus {
            return None;
        }
        let key_number = RsaPublicKey::new_unchecked(modulus, exponent);
        let number = rsa_encrypt(&key_number, &signature_number).ok()?.to_bytes_be();
        // As a number the block has lost its leading zero, and must have lost just that one.
        if number.len() + 1 != key.modulus().len() {
            return None;
        }
        let padding = number.strip_prefix(&[1])?;
        let filled = padding.iter().take_while(|byte| **byte == 0xff).count();
        if filled < 8 {
            return None;
        }
        padding.get(filled..)?.strip_prefix(&[0]).map(<[u8]>::to_vec)
    }
}
