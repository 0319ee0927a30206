//! RSA: private keys as numbers, and the one trait behind which the arithmetic is done.
//!
//! Tor signs a bare SHA-1 with PKCS#1 v1.5 padding but without the DigestInfo that names the hash.
//! The caller chooses the code that does the exponentiations: [`RustCrypto`] unless one of the
//! functions that take a [`Backend`] is called, or `OpenSsl` with the feature `openssl`. Both give
//! the same bytes and the same verdicts, for any public exponent. OpenSSL is faster: `cargo bench
//! --bench desc --features openssl` tells by how much.
//!
//! ```
//! use onionweave_desc::rsa::{PrivateKey, RustCrypto};
//! use onionweave_desc::v2::{ServiceKey, UnverifiedDescriptor};
//!
//! // With the feature `openssl`, `OpenSsl` can stand wherever `RustCrypto` stands here.
//! let private = PrivateKey::from_pem(include_str!("../testdata/plain/private_key"))?;
//! let key = ServiceKey::new(private, &RustCrypto)?;
//! let text = include_bytes!("../testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
//! let descriptor = UnverifiedDescriptor::parse(text)?.verify_with(&RustCrypto)?;
//! assert_eq!(descriptor.service_id(), key.service_id());
//! # Ok::<(), onionweave_desc::Error>(())
//! ```

#[cfg(feature = "openssl")]
mod open_ssl;
#[cfg(feature = "passphrase")]
pub(crate) mod passphrase;
pub(crate) mod pem;
mod private_key;
mod random;
mod rust_crypto;

#[cfg(feature = "openssl")]
pub use open_ssl::OpenSsl;
pub(crate) use pem::PKCS1_LABEL;
pub use private_key::PrivateKey;
pub use rust_crypto::RustCrypto;

use crate::der::MODULUS_BITS;
pub use crate::der::PublicParts;
use crate::error::KeyProblem;

/// Length of a signature in bytes: that of the modulus.
pub const SIGNATURE_LEN: usize = MODULUS_BITS / 8;

/// An implementation of RSA for keys of 1024 bits.
///
/// ```
/// use onionweave_desc::rsa::{Backend, PrivateKey, RustCrypto};
/// use onionweave_desc::v2::PublicKey;
///
/// /// Works for any back end.
/// fn round_trip(rsa: &dyn Backend, private: &PrivateKey, public: &PublicKey) -> bool {
///     let Ok(key) = rsa.load(private) else { return false };
///     let Some(signature) = key.sign(&[7; 20]) else { return false };
///     rsa.recover(public.parts(), &signature).as_deref() == Some(&[7; 20])
/// }
///
/// let private = PrivateKey::from_pem(include_str!("../testdata/plain/private_key"))?;
/// let public = PublicKey::from_der(&private.public_der())?;
/// assert!(round_trip(&RustCrypto, &private, &public));
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
pub trait Backend: Send + Sync {
    /// Makes a key ready to sign. Its numbers have been checked: see [`PrivateKey`].
    ///
    /// # Errors
    /// [`KeyProblem::Damaged`] if this implementation cannot use the key.
    fn load(&self, key: &PrivateKey) -> Result<Box<dyn SigningKey>, KeyProblem>;

    /// Returns what the holder of the private key padded and signed: `RSA_public_decrypt` with
    /// PKCS#1 padding, as C Tor calls it (crypto_rsa_openssl.c:444). `None` if there is no such
    /// thing.
    ///
    /// `key` may be any two numbers of which the first has 1024 bits, `signature` any bytes. In
    /// detail, OpenSSL 3.0 refuses
    ///
    /// - an even modulus, and an exponent that is not below it (crypto/rsa/rsa_ossl.c,
    ///   crypto/bn/bn_exp.c);
    /// - a signature that is longer than the modulus, or not below it as a number; a shorter one is
    ///   as good as one with zeros in front;
    /// - a block that is not `00 01`, eight or more bytes `FF`, `00` and the payload, which may be
    ///   empty (rsa_pk1.c).
    fn recover(&self, key: PublicParts<'_>, signature: &[u8]) -> Option<Vec<u8>>;
}

/// A private key that a [`Backend`] has made ready. It wipes itself when it is dropped.
///
/// ```
/// use onionweave_desc::rsa::{Backend, PrivateKey, RustCrypto};
///
/// let private = PrivateKey::from_pem(include_str!("../testdata/plain/private_key"))?;
/// let key = RustCrypto.load(&private).map_err(onionweave_desc::Error::PrivateKey)?;
/// assert_eq!(key.sign(&[7; 20]), key.sign(&[7; 20]));
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
pub trait SigningKey: Send + Sync {
    /// Pads and signs a SHA-1 digest: `RSA_private_encrypt` with PKCS#1 padding, as C Tor calls it
    /// (lib/crypt_ops/crypto_rsa_openssl.c:474). The same digest always gives the same signature.
    ///
    /// `None` if the result does not verify. One prime's half computed wrongly would give the other
    /// prime away to anyone who sees the signature, so every implementation must check before it
    /// lets go of one.
    fn sign(&self, digest: &[u8; 20]) -> Option<[u8; SIGNATURE_LEN]>;
}
