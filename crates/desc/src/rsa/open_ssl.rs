//! The back end of the system's OpenSSL, which is the one that Tor itself uses.

use openssl::bn::BigNum;
use openssl::error::ErrorStack;
use openssl::pkey::Private;
use openssl::rsa::{Padding, Rsa};

use super::{Backend, PrivateKey, PublicParts, SIGNATURE_LEN};
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
    type Key = Rsa<Private>;

    fn load(&self, key: &PrivateKey) -> Result<Rsa<Private>, KeyProblem> {
        let load = || {
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
        load().map_err(|_: ErrorStack| KeyProblem::Damaged)
    }

    fn sign(key: &Rsa<Private>, digest: &[u8; 20]) -> Option<[u8; SIGNATURE_LEN]> {
        let mut signature = [0; SIGNATURE_LEN];
        // OpenSSL too raises the result to the public exponent, and where that differs from what was to be signed it computes again
        // without the primes (crypto/rsa/rsa_ossl.c, `rsa_ossl_mod_exp`).
        let signs = key.size() as usize == SIGNATURE_LEN;
        let length = signs.then(|| key.private_encrypt(digest, &mut signature, Padding::PKCS1).ok())??;
        (length == SIGNATURE_LEN).then_some(signature)
    }

    fn recover(&self, key: PublicParts<'_>, signature: &[u8]) -> Option<Vec<u8>> {
        if signature.len() > key.modulus().len() {
            return None;
        }
        let modulus = BigNum::from_slice(key.modulus()).ok()?;
        let exponent = BigNum::from_slice(key.exponent()).ok()?;
        let rsa = Rsa::from_public_components(modulus, exponent).ok()?;
        let mut payload = vec![0; rsa.size() as usize];
        let length = rsa.public_decrypt(signature, &mut payload, Padding::PKCS1).ok()?;
        payload.truncate(length);
        Some(payload)
    }
}
