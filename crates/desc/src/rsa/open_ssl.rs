//! The back end of the system's OpenSSL, which is the one that Tor itself uses.

use std::cell::Cell;

use openssl::bn::BigNum;
use openssl::error::ErrorStack;
use openssl::pkey::{Private, Public};
use openssl::rsa::{Padding, Rsa};

use super::{Backend, PrivateKey, PublicParts, SIGNATURE_LEN, SigningKey};
use crate::error::KeyProblem;

/// The system's OpenSSL, through the crate `openssl`.
///
/// It signs and verifies with any exponent, and blinds what it signs.
///
/// ```
/// use onionweave_desc::rsa::{OpenSsl, PrivateKey};
/// use onionweave_desc::v2::ServiceKey;
///
/// // The public exponent of this key is 2^33 + 1.
/// let pem = include_str!("../../testdata/keys/exponent-8589934593.pem");
/// let key = ServiceKey::new(PrivateKey::from_pem(pem)?, &OpenSsl)?;
/// let signature = key.sign_digest(&[7; 20])?;
/// key.public_key().verify_with(&OpenSsl, &[7; 20], &signature)?;
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_structs,
    reason = "a name for functions, which will never hold anything"
)]
pub struct OpenSsl;

impl Backend for OpenSsl {
    fn load(&self, key: &PrivateKey) -> Result<Box<dyn SigningKey>, KeyProblem> {
        let load = || -> Result<_, ErrorStack> {
            let [p, q] = key.primes().map(BigNum::from_slice);
            let [dp, dq] = key.crt_exponents().map(BigNum::from_slice);
            Rsa::from_private_components(
                BigNum::from_slice(key.public_parts().modulus())?,
                BigNum::from_slice(key.public_parts().exponent())?,
                BigNum::from_slice(key.exponent())?,
                p?,
                q?,
                dp?,
                dq?,
                BigNum::from_slice(key.coefficient())?,
            )
        };
        match load() {
            Ok(key) => Ok(Box::new(Loaded(key))),
            Err(_) => Err(KeyProblem::Damaged),
        }
    }

    fn recover(&self, key: PublicParts<'_>, signature: &[u8]) -> Option<Vec<u8>> {
        if signature.len() > key.modulus().len() {
            return None;
        }
        let key = ReadyKey::take(key)?;
        let mut payload = vec![0; key.rsa.size() as usize];
        let length = key.rsa.public_decrypt(signature, &mut payload, Padding::PKCS1);
        key.put_back();
        payload.truncate(length.ok()?);
        Some(payload)
    }
}

struct Loaded(Rsa<Private>);

impl SigningKey for Loaded {
    fn sign(&self, digest: &[u8; 20]) -> Option<[u8; SIGNATURE_LEN]> {
        let Self(key) = self;
        let mut signature = [0; SIGNATURE_LEN];
        // OpenSSL too raises the result to the public exponent, and where that differs from what
        // was to be signed it computes again without the primes (crypto/rsa/rsa_ossl.c,
        // `rsa_ossl_mod_exp`).
        let signs = key.size() as usize == SIGNATURE_LEN;
        let length = signs.then(|| key.private_encrypt(digest, &mut signature, Padding::PKCS1).ok())??;
        (length == SIGNATURE_LEN).then_some(signature)
    }
}

thread_local! {
    /// The public key that this thread used last. A reader of descriptors often reads many of one
    /// service, and what OpenSSL computes for a key at its first use takes as long as that use
    /// itself.
    static LAST: Cell<Option<ReadyKey>> = const { Cell::new(None) };
}

/// A public key with what OpenSSL has computed for it.
struct ReadyKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    rsa: Rsa<Public>,
}

impl ReadyKey {
    /// The last key if it has these numbers, or else a new one. A thread that is ending has no last
    /// key.
    fn take(key: PublicParts<'_>) -> Option<Self> {
        let last = LAST.try_with(Cell::take).ok().flatten();
        last.filter(|last| last.modulus == key.modulus() && last.exponent == key.exponent())
            .or_else(|| Self::new(key))
    }

    fn new(key: PublicParts<'_>) -> Option<Self> {
        let modulus = BigNum::from_slice(key.modulus()).ok()?;
        let exponent = BigNum::from_slice(key.exponent()).ok()?;
        Some(Self {
            modulus: key.modulus().to_vec(),
            exponent: key.exponent().to_vec(),
            rsa: Rsa::from_public_components(modulus, exponent).ok()?,
        })
    }

    fn put_back(self) {
        let _ = LAST.try_with(|last| last.set(Some(self)));
    }
}
