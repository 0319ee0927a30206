//! Primitives that descriptors of version 3 are made of, in the shape in which this module needs
//! them.
//!
//! One difference from C Tor is known: its Ed25519 (ed25519-donna) takes signatures whose scalar is
//! not reduced, which only who knows a valid signature can make out of it. They are refused here,
//! as Arti refuses them.

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit as _, StreamCipher as _};
use curve25519_dalek::montgomery::MontgomeryPoint;
use curve25519_dalek::{EdwardsPoint, Scalar};
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use sha2::Sha512;
use sha3::{Digest as _, Sha3_256};
use shake::{ExtendableOutput as _, Shake256, Update as _, XofReader as _};
use zeroize::{Zeroize as _, Zeroizing};

/// Ed25519 key pair whose secret half is expanded: a scalar, and 32 bytes that go into every nonce.
///
/// Both halves are secret; both take part in signing and in blinding.
#[derive(Clone)]
pub(super) struct KeyPair {
    /// The scalar as it was given, and the other half.
    secret: Zeroizing<[u8; 64]>,
    public: VerifyingKey,
}

impl KeyPair {
    /// Key pair of an expanded secret key. `None` if its scalar is zero.
    pub(super) fn from_expanded(secret: Zeroizing<[u8; 64]>) -> Option<Self> {
        let mut scalar = scalar(&secret);
        let point = EdwardsPoint::mul_base(&scalar);
        let is_zero = scalar == Scalar::ZERO;
        scalar.zeroize();
        if is_zero {
            return None;
        }
        let public = VerifyingKey::from(point);
        Some(Self { secret, public })
    }

    /// Key pair of a seed (RFC 8032, section 5.1.5).
    pub(super) fn from_seed(seed: &[u8; 32]) -> Self {
        let mut secret = Zeroizing::new([0; 64]);
        Sha512::new_with_prefix(seed).finalize_into((&mut *secret).into());
        let (low, _) = halves_mut(&mut secret);
        low[0] &= 248;
        low[31] &= 127;
        low[31] |= 64;
        match Self::from_expanded(secret) {
            Some(pair) => pair,
            // A clamped scalar lies between 2^254 and 2^255 and is a multiple of 8, the order of
            // the group is a prime: no multiple of it is in reach.
            None => unreachable!("a clamped scalar is not zero"),
        }
    }

    pub(super) fn public(&self) -> &[u8; 32] {
        self.public.as_bytes()
    }

    pub(super) fn secret(&self) -> &[u8; 64] {
        &self.secret
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let (_, hash_prefix) = halves(&self.secret);
        let expanded = ExpandedSecretKey {
            scalar: scalar(&self.secret),
            hash_prefix: *hash_prefix,
        };
        raw_sign::<ed25519_dalek::Sha512>(&expanded, message, &self.public).to_bytes()
    }

    /// Key pair blinded with a factor that is not yet clamped: `ed25519_ref10_blind_secret_key`
    /// (ext/ed25519/ref10/blinding.c:26).
    pub(super) fn blind(&self, factor: &[u8; 32]) -> Option<Self> {
        let (_, hash_prefix) = halves(&self.secret);
        let mut digest = Zeroizing::new([0; 64]);
        Sha512::new_with_prefix(b"Derive temporary signing key hash input")
            .chain_update(hash_prefix)
            .finalize_into((&mut *digest).into());

        let mut product = scalar(&self.secret) * Scalar::from_bytes_mod_order(clamped(factor));
        let mut secret = Zeroizing::new([0; 64]);
        let (low, high) = halves_mut(&mut secret);
        low.copy_from_slice(product.as_bytes());
        high.copy_from_slice(halves(&digest).0);
        product.zeroize();
        Self::from_expanded(secret)
    }
}

/// `ed25519_ref10_gettweak` (ref10/blinding.c:16). Not the usual clamping: the highest bit but one
/// is set and all above the factor's 254th are cleared.
fn clamped(factor: &[u8; 32]) -> [u8; 32] {
    let mut factor = *factor;
    factor[0] &= 248;
    factor[31] &= 63;
    factor[31] |= 64;
    factor
}

fn scalar(secret: &[u8; 64]) -> Scalar {
    let (low, _) = halves(secret);
    Scalar::from_bytes_mod_order(*low)
}

fn halves(secret: &[u8; 64]) -> (&[u8; 32], &[u8; 32]) {
    match secret.as_chunks() {
        ([low, high], []) => (low, high),
        _ => unreachable!("64 bytes are twice 32"),
    }
}

fn halves_mut(secret: &mut [u8; 64]) -> (&mut [u8; 32], &mut [u8; 32]) {
    match secret.as_chunks_mut() {
        ([low, high], []) => (low, high),
        _ => unreachable!("64 bytes are twice 32"),
    }
}

/// Whether this key made this signature.
pub(super) fn verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(public).is_ok_and(|key| key.verify(message, &Signature::from_bytes(signature)).is_ok())
}

/// The Ed25519 key with the same secret as an X25519 key, with an even x coordinate:
/// `ed25519_public_key_from_curve25519_public_key` with sign 0
/// (lib/crypt_ops/crypto_ed25519.c:478).
pub(super) fn edwards_of(x25519: &[u8; 32]) -> Option<[u8; 32]> {
    let point = MontgomeryPoint(*x25519).to_edwards(0)?;
    Some(point.compress().to_bytes())
}

/// Public key of an X25519 secret key.
pub(super) fn x25519_public(secret: &[u8; 32]) -> [u8; 32] {
    MontgomeryPoint::mul_base_clamped(*secret).to_bytes()
}

/// Secret that both sides of an X25519 exchange come to (RFC 7748, section 6.1).
pub(super) fn x25519(secret: &[u8; 32], public: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(MontgomeryPoint(*public).mul_clamped(*secret).to_bytes())
}

/// SHA3-256 of all parts, one after the other.
pub(super) fn sha3_256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha3_256::default();
    for part in parts {
        sha3::Digest::update(&mut hash, part);
    }
    hash.finalize().into()
}

/// Fills `out` with SHAKE-256 of all parts, one after the other.
pub(super) fn shake_256(parts: &[&[u8]], out: &mut [u8]) {
    let mut hash = Shake256::default();
    for part in parts {
        hash.update(part);
    }
    hash.finalize_xof().read(out);
}

/// Encrypts or decrypts with AES-256 in counter mode.
pub(super) fn aes_256_ctr(key: &[u8; 32], iv: &[u8; 16], data: &mut [u8]) {
    Ctr128BE::<Aes256>::new(key.into(), iv.into()).apply_keystream(data);
}
