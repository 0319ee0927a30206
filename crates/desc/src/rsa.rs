//! RSA: the one place that knows which implementation does it.
//!
//! Keys and signatures cross this border as bytes only. The implementation is that of `tor-llcrypto`, which is the `rsa` crate
//! underneath; another one (OpenSSL signs twice and verifies eight times as fast) has to offer these two types.
//!
//! Tor signs a bare SHA-1 with PKCS#1 v1.5 padding but without the DigestInfo that names the hash.

use std::sync::Arc;

use rsa::hazmat::rsa_encrypt;
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPrivateKey, RsaPublicKey};
use tor_llcrypto::pk::rsa::KeyPair;
use zeroize::Zeroizing;

use crate::der::{MODULUS_BITS, PublicParts};
use crate::error::KeyProblem;

/// Length of a signature in bytes.
pub(crate) const SIGNATURE_LEN: usize = MODULUS_BITS / 8;

/// A private key of any size up to 1024 bits. Its parts are wiped when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct PrivateKey(Arc<KeyPair>);

impl PrivateKey {
    /// A new key of 1024 bits. `None` cannot happen with a working random source.
    pub(crate) fn generate(rng: &mut impl rand::CryptoRng) -> Option<Self> {
        KeyPair::generate(rng).ok().map(|key| Self(Arc::new(key)))
    }

    /// Reads the `RSAPrivateKey` of PKCS#1 and checks that its parts fit together.
    pub(crate) fn from_pkcs1(der: &[u8]) -> Result<Self, KeyProblem> {
        // The numbers are looked at first: the checks are expensive for large ones, and a large exponent has its own error.
        let parts = rsa::pkcs1::RsaPrivateKey::try_from(der).map_err(|_| KeyProblem::Damaged)?;
        let public = PublicParts {
            modulus: parts.modulus.as_bytes(),
            exponent: parts.public_exponent.as_bytes(),
        };
        if public.bits() > MODULUS_BITS {
            return Err(KeyProblem::Size { bits: public.bits() });
        }
        if BigUint::from_bytes_be(public.exponent) > BigUint::from(RsaPublicKey::MAX_PUB_EXPONENT) {
            return Err(KeyProblem::LargeExponent);
        }
        KeyPair::from_der(der)
            .map(|key| Self(Arc::new(key)))
            .ok_or(KeyProblem::Damaged)
    }

    /// Reads the `PrivateKeyInfo` of PKCS#8.
    pub(crate) fn from_pkcs8(der: &[u8]) -> Result<Self, KeyProblem> {
        let info = rsa::pkcs8::PrivateKeyInfo::try_from(der).map_err(|_| KeyProblem::Damaged)?;
        if info.algorithm.assert_algorithm_oid(rsa::pkcs1::ALGORITHM_OID).is_err() {
            return Err(KeyProblem::Damaged);
        }
        Self::from_pkcs1(info.private_key)
    }

    pub(crate) fn to_pkcs1(&self) -> Option<Zeroizing<Vec<u8>>> {
        Some(self.0.as_key().to_pkcs1_der().ok()?.to_bytes())
    }

    /// The public key in canonical DER.
    pub(crate) fn public_der(&self) -> Vec<u8> {
        let key: &RsaPrivateKey = self.0.as_key();
        let (modulus, exponent) = (key.n().to_bytes_be(), key.e().to_bytes_be());
        PublicParts {
            modulus: &modulus,
            exponent: &exponent,
        }
        .to_der()
    }

    /// Pads and signs. The same digest gives the same signature. `None` if the result does not verify, or the key does not have
    /// 1024 bits.
    pub(crate) fn sign(&self, digest: &[u8; 20]) -> Option<[u8; SIGNATURE_LEN]> {
        self.0.sign(digest).ok()?.try_into().ok()
    }
}

/// What the holder of the private key padded and signed, which C Tor gets from `crypto_pk_public_checksig`
/// (lib/crypt_ops/crypto_rsa_openssl.c:444, that is OpenSSL's `RSA_public_decrypt`). `None` if there is no such thing.
pub(crate) fn recover(key: PublicParts<'_>, signature: &[u8]) -> Option<Vec<u8>> {
    let modulus = BigUint::from_bytes_be(key.modulus);
    let exponent = BigUint::from_bytes_be(key.exponent);
    let signature_number = BigUint::from_bytes_be(signature);
    // OpenSSL refuses each of these; an even modulus fails in its Montgomery multiplication.
    let odd = key.modulus.last().is_some_and(|byte| byte % 2 == 1);
    if !odd || exponent >= modulus || signature.len() > key.modulus.len() || signature_number >= modulus {
        return None;
    }
    let key_number = RsaPublicKey::new_unchecked(modulus, exponent);
    let number = rsa_encrypt(&key_number, &signature_number).ok()?.to_bytes_be();
    // The block is 00 01 FF.. 00 payload. As a number it has lost its leading zero, and must have lost just that one.
    if number.len() + 1 != key.modulus.len() {
        return None;
    }
    let padding = number.strip_prefix(&[1])?;
    let filled = padding.iter().take_while(|byte| **byte == 0xff).count();
    if filled < 8 {
        return None;
    }
    padding.get(filled..)?.strip_prefix(&[0]).map(<[u8]>::to_vec)
}
