//! The RSA keys of a service and of its introduction points.

use std::fmt;
use std::sync::Arc;

use data_encoding::HEXUPPER;
use onionweave_ring::v2::ServiceId;
use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

use super::{Descriptor, UnverifiedDescriptor};
use crate::base64;
use crate::der::{MODULUS_BITS, PublicParts};
use crate::error::{Error, KeyProblem};
use crate::rsa::pem;
use crate::rsa::{Backend, PrivateKey, RustCrypto, SIGNATURE_LEN, SigningKey};
use crate::tokens::PUBLIC_KEY;

/// A public RSA key of 1024 bits with any exponent.
///
/// Two keys are equal when their numbers are. [`Display`](fmt::Display) writes the PEM object that
/// C Tor writes.
///
/// ```
/// use onionweave_desc::rsa::RustCrypto;
/// use onionweave_desc::v2::{PublicKey, ServiceKey};
///
/// let key = ServiceKey::from_pem(include_str!("../../testdata/plain/private_key"))?;
/// let public = PublicKey::from_der(key.public_key().as_der())?;
/// assert_eq!(&public, key.public_key());
/// assert!(public.exponent_is_65537());
/// assert_eq!(public.parts().modulus().len(), 128);
///
/// let (digest, signature) = ([7; 20], key.sign_digest(&[7; 20])?);
/// assert!(public.verify(&digest, &signature).is_ok());
/// assert!(public.verify_with(&RustCrypto, &[8; 20], &signature).is_err());
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey {
    /// Canonical DER of two numbers, the first of which has 1024 bits.
    der: Arc<[u8]>,
}

impl PublicKey {
    /// Reads the `RSAPublicKey` of PKCS#1 in DER, as Tor does: not quite canonical DER and trailing
    /// bytes are accepted (lib/crypt_ops/crypto_rsa_openssl.c:526).
    ///
    /// ```
    /// use onionweave_desc::v2::{PublicKey, ServiceKey};
    ///
    /// let key = ServiceKey::from_pem(include_str!("../../testdata/plain/private_key"))?;
    /// let public = PublicKey::from_der(key.public_key().as_der())?;
    /// assert_eq!(&public, key.public_key());
    /// assert!(PublicKey::from_der(b"no DER").is_err());
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::PublicKey`] if it cannot be decoded or the modulus does not have 1024 bits.
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        if PublicParts::from_usual_der(der).is_some() {
            return Ok(Self { der: der.into() });
        }
        let parts = PublicParts::from_der(der).ok_or(Error::PublicKey(KeyProblem::Damaged))?;
        match parts.bits() {
            MODULUS_BITS => Ok(Self {
                der: parts.to_der().into(),
            }),
            bits => Err(Error::PublicKey(KeyProblem::Size { bits })),
        }
    }

    /// Reads the PEM object `RSA PUBLIC KEY`, as Tor writes it.
    ///
    /// # Errors
    /// [`Error::PublicKey`] if there is no such object or it holds no key of 1024 bits.
    ///
    /// ```
    /// use onionweave_desc::v2::PublicKey;
    ///
    /// let pem = include_str!("../../testdata/keys/public.pem");
    /// let key = PublicKey::from_pem(pem)?;
    /// assert_eq!(key.to_string(), pem);
    /// assert_eq!(key.service_id().to_string(), "rf75jzdtba4wnd6v");
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, Error> {
        let (_, body) = pem::find(pem.as_ref(), &[PUBLIC_KEY]).map_err(Error::PublicKey)?;
        Self::from_der(&base64::decode(body).ok_or(Error::PublicKey(KeyProblem::Pem))?)
    }

    /// The key in canonical DER: what Tor hashes and writes, and the bytes received wherever those
    /// were canonical.
    pub fn as_der(&self) -> &[u8] {
        &self.der
    }

    /// The ID of the service whose permanent key this is.
    pub fn service_id(&self) -> ServiceId {
        ServiceId::from_public_key_der(&self.der)
    }

    /// Whether the public exponent is 65537, which clients demand of the keys of introduction
    /// points (`crypto_pk_public_exponent_ok`), though not of permanent keys.
    pub fn exponent_is_65537(&self) -> bool {
        self.parts().exponent_is_65537()
    }

    /// Checks a signature over a SHA-1 digest: PKCS#1 v1.5 padding, without the DigestInfo.
    ///
    /// As in C Tor (feature/dirparse/sigcommon.c:143), what was signed must *begin* with the
    /// digest.
    ///
    /// ```
    /// use onionweave_desc::v2::ServiceKey;
    ///
    /// let key = ServiceKey::from_pem(include_str!("../../testdata/plain/private_key"))?;
    /// let signature = key.sign_digest(&[7; 20])?;
    /// key.public_key().verify(&[7; 20], &signature)?;
    /// assert!(key.public_key().verify(&[8; 20], &signature).is_err());
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::WrongSignature`].
    pub fn verify(&self, digest: &[u8; 20], signature: &[u8]) -> Result<(), Error> {
        self.verify_with(&RustCrypto, digest, signature)
    }

    /// Does the same as [`verify`](Self::verify), computed by `rsa`.
    ///
    /// ```
    /// use onionweave_desc::rsa::RustCrypto;
    /// use onionweave_desc::v2::ServiceKey;
    ///
    /// let key = ServiceKey::from_pem(include_str!("../../testdata/plain/private_key"))?;
    /// let signature = key.sign_digest(&[7; 20])?;
    /// key.public_key().verify_with(&RustCrypto, &[7; 20], &signature)?;
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::WrongSignature`].
    pub fn verify_with(&self, rsa: &dyn Backend, digest: &[u8; 20], signature: &[u8]) -> Result<(), Error> {
        self.check(rsa.recover(self.parts(), signature), digest)
    }

    fn check(&self, recovered: Option<Vec<u8>>, digest: &[u8; 20]) -> Result<(), Error> {
        match recovered {
            Some(payload) if payload.starts_with(digest) => Ok(()),
            _ => Err(Error::WrongSignature),
        }
    }

    /// The two numbers.
    ///
    /// ```
    /// use onionweave_desc::v2::ServiceKey;
    ///
    /// let key = ServiceKey::from_pem(include_str!("../../testdata/plain/private_key"))?;
    /// let numbers = key.public_key().parts();
    /// assert_eq!(numbers.modulus().len(), 128);
    /// assert_eq!(numbers.exponent(), [1, 0, 1]);
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    pub fn parts(&self) -> PublicParts<'_> {
        // It was written from two numbers, and is read again as such.
        PublicParts::from_der(&self.der).unwrap_or(PublicParts {
            modulus: &[],
            exponent: &[],
        })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        base64::encode_object(PUBLIC_KEY, &self.der, &mut text);
        f.write_str(&text)
    }
}

impl fmt::Debug for PublicKey {
    /// Writes the SHA-1 of the DER, the digest by which Tor itself tells keys apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", HEXUPPER.encode(&Sha1::digest(&self.der)))
    }
}

/// The private key of a v2 service: RSA, 1024 bits.
///
/// It is wiped from memory when the last clone is dropped, and is never printed.
///
/// ```
/// use onionweave_desc::v2::ServiceKey;
///
/// let key = ServiceKey::from_pem(include_str!("../../testdata/plain/private_key"))?;
/// assert_eq!(key.service_id().to_string(), "rf75jzdtba4wnd6v");
///
/// let signature = key.sign_digest(&[7; 20])?;
/// assert!(key.public_key().verify(&[7; 20], &signature).is_ok());
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
#[derive(Clone)]
pub struct ServiceKey {
    private: Arc<PrivateKey>,
    rsa: &'static dyn Backend,
    /// The private key, ready in that back end.
    ready: Arc<dyn SigningKey>,
    public: PublicKey,
}

impl ServiceKey {
    /// The key with these numbers, with which `rsa` will sign and [verify](Self::verify).
    ///
    /// ```
    /// use onionweave_desc::rsa::{PrivateKey, RustCrypto};
    /// use onionweave_desc::v2::ServiceKey;
    ///
    /// let private = PrivateKey::from_pem(include_str!("../../testdata/plain/private_key"))?;
    /// let key = ServiceKey::new(private, &RustCrypto)?;
    /// assert_eq!(key.service_id().to_string(), "rf75jzdtba4wnd6v");
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::PrivateKey`] if the back end cannot use the key.
    pub fn new(private: PrivateKey, rsa: &'static dyn Backend) -> Result<Self, Error> {
        let public = PublicKey::from_der(&private.public_der())?;
        let ready = rsa.load(&private).map_err(Error::PrivateKey)?;
        Ok(Self {
            private: Arc::new(private),
            rsa,
            ready: ready.into(),
            public,
        })
    }

    /// Makes a new key.
    ///
    /// The source of random bytes is asked once, for 32 of them.
    ///
    /// ```
    /// use onionweave_desc::v2::ServiceKey;
    ///
    /// let key = ServiceKey::generate(getrandom::fill)?;
    /// assert!(key.public_key().exponent_is_65537());
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::RandomSource`] with what the source says.
    pub fn generate<E: fmt::Display>(random: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, Error> {
        Self::new(PrivateKey::generate(random)?, &RustCrypto)
    }

    /// Reads a key from PEM: PKCS#1 as in the file `private_key` that Tor writes, or PKCS#8.
    ///
    /// Text around the PEM block is passed over, in whatever encoding, and so are blocks with other
    /// labels in front of it.
    ///
    /// ```
    /// use onionweave_desc::v2::ServiceKey;
    ///
    /// let pkcs1 = ServiceKey::from_pem(include_str!("../../testdata/plain/private_key"))?;
    /// let pkcs8 = ServiceKey::from_pem(include_str!("../../testdata/keys/pkcs8.pem"))?;
    /// assert_eq!(pkcs1.service_id(), pkcs8.service_id());
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::PrivateKey`], whose [`KeyProblem`] tells an encrypted key, a key of the wrong size,
    /// a damaged key and something that is no private key apart.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, Error> {
        Self::new(PrivateKey::from_pem(pem)?, &RustCrypto)
    }

    /// Does the same as [`from_pem`](Self::from_pem), for a key that may be encrypted: see
    /// [`PrivateKey::from_pem_with_passphrase`]. Needs the feature `passphrase`.
    ///
    /// ```
    /// use onionweave_desc::v2::ServiceKey;
    ///
    /// let pem = include_str!("../../testdata/keys/passphrase/pkcs1-aes-256.pem");
    /// let key = ServiceKey::from_pem_with_passphrase(pem, "onionweave")?;
    /// assert_eq!(key.service_id().to_string(), "rf75jzdtba4wnd6v");
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::PrivateKey`], also with [`KeyProblem::WrongPassphrase`],
    /// [`KeyProblem::Unsupported`] and [`KeyProblem::Costly`].
    #[cfg(feature = "passphrase")]
    pub fn from_pem_with_passphrase(pem: impl AsRef<[u8]>, passphrase: impl AsRef<[u8]>) -> Result<Self, Error> {
        Self::new(PrivateKey::from_pem_with_passphrase(pem, passphrase)?, &RustCrypto)
    }

    /// The key in the form that Tor reads and writes: PKCS#1 in PEM.
    ///
    /// ```
    /// use onionweave_desc::v2::ServiceKey;
    ///
    /// let file = include_str!("../../testdata/plain/private_key");
    /// assert_eq!(*ServiceKey::from_pem(file)?.to_pem(), file);
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    pub fn to_pem(&self) -> Zeroizing<String> {
        self.private.to_pem()
    }

    /// The key in the form that most other programs prefer: PKCS#8 in PEM, as `openssl pkcs8 -topk8
    /// -nocrypt` writes it.
    ///
    /// ```
    /// use onionweave_desc::v2::ServiceKey;
    ///
    /// let key = ServiceKey::from_pem(include_str!("../../testdata/plain/private_key"))?;
    /// assert_eq!(*key.to_pkcs8_pem(), include_str!("../../testdata/keys/pkcs8.pem"));
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    pub fn to_pkcs8_pem(&self) -> Zeroizing<String> {
        self.private.to_pkcs8_pem()
    }

    /// The numbers of the key.
    ///
    /// ```
    /// use onionweave_desc::rsa::RustCrypto;
    /// use onionweave_desc::v2::ServiceKey;
    ///
    /// // The same key in another back end.
    /// let key = ServiceKey::from_pem(include_str!("../../testdata/plain/private_key"))?;
    /// let other = ServiceKey::new(key.private_key().clone(), &RustCrypto)?;
    /// assert_eq!(other.sign_digest(&[7; 20]), key.sign_digest(&[7; 20]));
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    pub fn private_key(&self) -> &PrivateKey {
        &self.private
    }

    /// The ID of the service.
    pub fn service_id(&self) -> ServiceId {
        self.public.service_id()
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a SHA-1 digest as Tor does: PKCS#1 v1.5 padding, without the DigestInfo
    /// (`crypto_pk_private_sign`, lib/crypt_ops/crypto_rsa_openssl.c:474). The same digest always
    /// gives the same signature.
    ///
    /// ```
    /// use onionweave_desc::v2::ServiceKey;
    ///
    /// let key = ServiceKey::from_pem(include_str!("../../testdata/plain/private_key"))?;
    /// let signature = key.sign_digest(&[7; 20])?;
    /// assert_eq!(key.sign_digest(&[7; 20])?, signature);
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::SigningFailed`] if the result does not verify: the machine computed wrongly.
    pub fn sign_digest(&self, digest: &[u8; 20]) -> Result<[u8; SIGNATURE_LEN], Error> {
        self.ready.sign(digest).ok_or(Error::SigningFailed)
    }

    /// Proves a descriptor as [`UnverifiedDescriptor::verify`] does, computed by the back end that
    /// signs with this key. Whose descriptor it is remains to be compared all the same.
    ///
    /// ```
    /// use onionweave_desc::v2::{ServiceKey, UnverifiedDescriptor};
    ///
    /// let key = ServiceKey::from_pem(include_str!("../../testdata/plain/private_key"))?;
    /// let text = include_bytes!("../../testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
    /// let descriptor = key.verify(UnverifiedDescriptor::parse(text)?)?;
    /// assert_eq!(descriptor.service_id(), key.service_id());
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`UnverifiedDescriptor::verify`].
    pub fn verify(&self, descriptor: UnverifiedDescriptor) -> Result<Descriptor, Error> {
        descriptor.verify_by(|key, digest, signature| key.check(self.rsa.recover(key.parts(), signature), digest))
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServiceKey").field(&self.service_id()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = include_str!("../../testdata/plain/private_key");
    const PKCS8: &str = include_str!("../../testdata/keys/pkcs8.pem");
    const PUBLIC: &str = include_str!("../../testdata/keys/public.pem");
    const DAMAGED: &str = include_str!("../../testdata/keys/damaged.pem");
    const TRUNCATED: &str = include_str!("../../testdata/keys/truncated.pem");
    const PKCS1_ENCRYPTED: &str = include_str!("../../testdata/keys/pkcs1-encrypted.pem");
    const PKCS8_ENCRYPTED: &str = include_str!("../../testdata/keys/pkcs8-encrypted.pem");
    const EC: &str = include_str!("../../testdata/keys/ec.pem");
    const EC_PKCS8: &str = include_str!("../../testdata/keys/ec-pkcs8.pem");
    const V3_PKCS8: &str = include_str!("../../testdata/keys/ed25519-pkcs8.pem");
    const RSA_512: &str = include_str!("../../testdata/keys/rsa-512.pem");
    const RSA_2048: &str = include_str!("../../testdata/keys/rsa-2048.pem");
    const ODD_EXPONENT: &str = include_str!("../../testdata/keys/exponent-799154905.pem");
    const LARGE_EXPONENT: &str = include_str!("../../testdata/keys/exponent-8589934593.pem");

    #[test]
    fn reads_both_forms() {
        for pem in [PLAIN, PKCS8, &format!("a comment\r\n{}", PLAIN.replace('\n', "\r\n"))] {
            let key = ServiceKey::from_pem(pem).unwrap();
            assert_eq!(key.service_id().to_string(), "rf75jzdtba4wnd6v");
        }
    }

    #[test]
    fn refuses_everything_else_with_its_reason() {
        let label = |label: &str| KeyProblem::Label(label.to_owned());
        let table = [
            ("empty", "", KeyProblem::NotPem),
            ("no PEM", "rf75jzdtba4wnd6v.onion\n", KeyProblem::NotPem),
            ("label not closed", "-----BEGIN RSA PRIVATE KEY\n", KeyProblem::Pem),
            ("cut short", TRUNCATED, KeyProblem::Pem),
            ("one bit of d flipped", DAMAGED, KeyProblem::Damaged),
            ("encrypted PKCS#1", PKCS1_ENCRYPTED, KeyProblem::Encrypted),
            ("encrypted PKCS#8", PKCS8_ENCRYPTED, KeyProblem::Encrypted),
            ("public key", PUBLIC, label("RSA PUBLIC KEY")),
            ("elliptic curve", EC, label("EC PRIVATE KEY")),
            ("elliptic curve in PKCS#8", EC_PKCS8, KeyProblem::Algorithm),
            ("v3 in PKCS#8", V3_PKCS8, KeyProblem::V3Key),
            (
                "v3 as Tor writes it",
                "== ed25519v1-secret: type0 ==\0\0\0",
                KeyProblem::V3Key,
            ),
            ("v3 of the control port", "ED25519-V3:MII=\n", KeyProblem::V3Key),
            ("v2 of the control port", "RSA1024:MII=\n", KeyProblem::ControlPortKey),
            ("512 bits", RSA_512, KeyProblem::Size { bits: 512 }),
            ("2048 bits", RSA_2048, KeyProblem::Size { bits: 2048 }),
        ];
        for (name, pem, problem) in table {
            let error = ServiceKey::from_pem(pem).unwrap_err();
            assert_eq!(error, Error::PrivateKey(problem), "{name}");
            assert!(!error.to_string().contains('\n'), "{name}: {error}");
        }
    }

    /// OpenSSL reads the key of each of these.
    #[test]
    fn text_around_the_key_says_nothing() {
        let quoted = include_str!("../../testdata/keys/quoted-begin.pem");
        let latin_1 = [
            b"Schl\xfcssel f\xfcr den Laden:\n".as_slice(),
            PLAIN.as_bytes(),
            b"\xa7\n",
        ]
        .concat();
        for (name, text) in [
            ("quoted first line", quoted.as_bytes()),
            ("Latin-1", &latin_1),
            ("byte-order mark", format!("\u{feff}{PLAIN}").as_bytes()),
            ("another block in front", format!("{PUBLIC}{PLAIN}").as_bytes()),
            (
                "a first line that is none",
                format!("-----BEGIN RSA PRIVATE KEY----- comes next\n{PLAIN}").as_bytes(),
            ),
            ("spaces behind lines", PLAIN.replace('\n', " \t\n").as_bytes()),
            (
                "indented",
                format!("\n    {}", PLAIN.replace('\n', "\n    ")).as_bytes(),
            ),
            ("no last line end", PLAIN.trim_end().as_bytes()),
        ] {
            let key = ServiceKey::from_pem(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(key.service_id().to_string(), "rf75jzdtba4wnd6v", "{name}");
        }
        let utf_16: Vec<u8> = format!("\u{feff}{PLAIN}")
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(
            ServiceKey::from_pem(utf_16).unwrap_err(),
            Error::PrivateKey(KeyProblem::Utf16)
        );
    }

    #[test]
    fn signs_what_the_public_half_verifies() {
        for pem in [PLAIN, ODD_EXPONENT, LARGE_EXPONENT] {
            let key = ServiceKey::from_pem(pem).unwrap();
            let signature = key.sign_digest(&[7; 20]).unwrap();
            assert_eq!(key.public_key().verify(&[7; 20], &signature), Ok(()));
            let other = key.public_key().verify(&[8; 20], &signature);
            assert_eq!(other, Err(Error::WrongSignature));
            assert_eq!(key.sign_digest(&[7; 20]), Ok(signature), "signing has no randomness");
        }
    }

    #[test]
    fn back_end_that_signs_verifies_too() {
        /// Signs as the default, and holds nothing for true.
        struct Sceptic;

        impl Backend for Sceptic {
            fn load(&self, key: &PrivateKey) -> Result<Box<dyn SigningKey>, KeyProblem> {
                RustCrypto.load(key)
            }

            fn recover(&self, _: PublicParts<'_>, _: &[u8]) -> Option<Vec<u8>> {
                None
            }
        }

        let text = include_bytes!("../../testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
        let parsed = UnverifiedDescriptor::parse(text).unwrap();
        let private = || PrivateKey::from_pem(PLAIN).unwrap();
        let key = ServiceKey::new(private(), &RustCrypto).unwrap();
        assert_eq!(key.verify(parsed.clone()).unwrap().text(), text);
        let sceptic = ServiceKey::new(private(), &Sceptic).unwrap();
        assert_eq!(sceptic.verify(parsed), Err(Error::WrongSignature));
    }

    #[test]
    fn generated_keys_can_be_written_and_read() {
        let key = ServiceKey::generate(getrandom::fill).unwrap();
        assert!(key.public_key().exponent_is_65537());
        let again = ServiceKey::from_pem(key.to_pem()).unwrap();
        assert_eq!(again.public_key(), key.public_key());
    }

    #[test]
    fn writes_the_file_that_tor_wrote() {
        let key = ServiceKey::from_pem(PLAIN).unwrap();
        assert_eq!(*key.to_pem(), PLAIN);
        assert_eq!(*key.to_pkcs8_pem(), PKCS8);
        assert_eq!(key.public_key().to_string(), PUBLIC);
    }

    #[test]
    fn debug_shows_the_service_alone() {
        let key = ServiceKey::from_pem(PLAIN).unwrap();
        assert_eq!(format!("{key:?}"), format!("ServiceKey({:?})", key.service_id()));
        assert!(format!("{key:#?}").len() < 80);
    }
}
