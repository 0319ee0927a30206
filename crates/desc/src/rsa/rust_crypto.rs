//! The back end in Rust.

use ::rsa::BigUint;
use zeroize::Zeroizing;

use super::{Backend, PrivateKey, PublicParts, SIGNATURE_LEN, SigningKey};
use crate::error::KeyProblem;

/// The numbers of the crate `rsa`, `num-bigint-dig`: the default.
///
/// It signs and verifies with any exponent, where the keys of `rsa` itself end at 2^33 - 1. It does
/// not blind: its signatures take a time that depends on the key and on what is signed.
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
    fn load(&self, key: &PrivateKey) -> Result<Box<dyn SigningKey>, KeyProblem> {
        Ok(Box::new(Numbers::new(key)))
    }

    fn recover(&self, key: PublicParts<'_>, signature: &[u8]) -> Option<Vec<u8>> {
        let modulus = BigUint::from_bytes_be(key.modulus());
        let exponent = BigUint::from_bytes_be(key.exponent());
        let signature_number = BigUint::from_bytes_be(signature);
        let odd = key.modulus().last().is_some_and(|byte| byte % 2 == 1);
        if !odd || exponent >= modulus || signature.len() > key.modulus().len() || signature_number >= modulus {
            return None;
        }
        let number = signature_number.modpow(&exponent, &modulus).to_bytes_be();
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

/// The numbers of a private key, as they are computed with.
struct Numbers {
    modulus: BigUint,
    public_exponent: BigUint,
    primes: [Zeroizing<BigUint>; 2],
    crt_exponents: [Zeroizing<BigUint>; 2],
    coefficient: Zeroizing<BigUint>,
}

impl Numbers {
    fn new(key: &PrivateKey) -> Self {
        let secret = |bytes: &[u8]| Zeroizing::new(BigUint::from_bytes_be(bytes));
        Self {
            modulus: BigUint::from_bytes_be(key.public_parts().modulus()),
            public_exponent: BigUint::from_bytes_be(key.public_parts().exponent()),
            primes: key.primes().map(secret),
            crt_exponents: key.crt_exponents().map(secret),
            coefficient: secret(key.coefficient()),
        }
    }

    /// Raises to the private exponent by the Chinese remainder theorem (RFC 8017, section 5.1.2,
    /// step 2b).
    ///
    /// `None` if the result, raised to the public exponent, is not what it began with: a fault in
    /// one half would give the primes away.
    fn raise(&self, number: &BigUint) -> Option<BigUint> {
        let [p, q] = &self.primes;
        let [dp, dq] = &self.crt_exponents;
        let half_p = Zeroizing::new(number.modpow(dp, p));
        let half_q = Zeroizing::new(number.modpow(dq, q));
        // Their difference modulo p, kept from going below zero.
        let difference = Zeroizing::new(&*half_p + &**p - &*half_q % &**p);
        let factor = Zeroizing::new(&*difference * &*self.coefficient % &**p);
        let result = &*factor * &**q + &*half_q;
        (result.modpow(&self.public_exponent, &self.modulus) == *number).then_some(result)
    }
}

impl SigningKey for Numbers {
    fn sign(&self, digest: &[u8; 20]) -> Option<[u8; SIGNATURE_LEN]> {
        let mut block = [0xff; SIGNATURE_LEN];
        let (padding, payload) = block.split_last_chunk_mut()?;
        *payload = *digest;
        let (ends, _) = padding.split_first_chunk_mut()?;
        *ends = [0, 1];
        *padding.last_mut()? = 0;
        let bytes = self.raise(&BigUint::from_bytes_be(&block))?.to_bytes_be();
        let mut signature = [0; SIGNATURE_LEN];
        let zeros = SIGNATURE_LEN.checked_sub(bytes.len())?;
        signature.get_mut(zeros..)?.copy_from_slice(&bytes);
        Some(signature)
    }
}
