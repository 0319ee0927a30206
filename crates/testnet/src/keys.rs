//! Keys made before any tor starts: of services, relays and authorities.
//!
//! Tor makes its own keys where it finds none. Making these here means that every fingerprint is
//! known before the first process runs, so that all of them can start at once.

use std::fmt;

use data_encoding::{BASE32, BASE64, HEXUPPER};
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey, EncodeRsaPublicKey, LineEnding};
use rsa::rand_core::OsRng;
use rsa::traits::PublicKeyParts;
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use sha1::{Digest, Sha1};

use crate::error::Error;

/// Bits of a v2 service's key and of a relay's identity key. Tor takes no others (PK_BYTES,
/// `lib/crypt_ops/crypto_rsa.h:24`).
const BITS: usize = 1024;

/// The private key of a v2 onion service, as Tor keeps it in the file `private_key`.
///
/// Instances that are given the same key are instances of the same service. `Debug` shows the
/// service alone.
///
/// ```
/// use onionweave_testnet::ServiceKey;
///
/// let key = ServiceKey::generate()?;
/// assert_eq!(key.onion(), format!("{}.onion", key.service_id()));
/// assert_eq!(ServiceKey::from_pem(key.pem())?, key);
/// # Ok::<(), onionweave_testnet::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceKey {
    pem: String,
    service_id: String,
}

impl ServiceKey {
    /// Makes a new key.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] when the system has no randomness.
    pub fn generate() -> Result<Self, Error> {
        Self::new(&generate(BITS)?)
    }

    /// Reads a key in PKCS#1 PEM form (`-----BEGIN RSA PRIVATE KEY-----`), which is how Tor writes
    /// it.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] when the text is anything but an RSA key of 1024 bits.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let key = RsaPrivateKey::from_pkcs1_pem(pem).map_err(key_error)?;
        let bits = key.n().bits();
        if bits != BITS {
            return Err(key_error(format!("it has {bits} bits instead of {BITS}")));
        }
        Self::new(&key)
    }

    fn new(key: &RsaPrivateKey) -> Result<Self, Error> {
        let digest = public_digest(key)?;
        let (permanent_id, _) = digest.split_at(digest.len() / 2);
        Ok(Self {
            pem: private_pem(key)?,
            service_id: BASE32.encode(permanent_id).to_lowercase(),
        })
    }

    /// The key in PKCS#1 PEM form.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The service ID: 16 characters of lower-case base32.
    pub fn service_id(&self) -> &str {
        &self.service_id
    }

    /// The service's address: the service ID and `.onion`.
    pub fn onion(&self) -> String {
        format!("{}.onion", self.service_id)
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceKey")
            .field("service_id", &self.service_id)
            .finish_non_exhaustive()
    }
}

/// The identity key of a relay.
pub(crate) struct RelayKey {
    /// For the file `keys/secret_id_key`.
    pub(crate) pem: String,
    /// SHA-1 of the public key.
    pub(crate) fingerprint: [u8; 20],
}

impl RelayKey {
    pub(crate) fn generate() -> Result<Self, Error> {
        let key = generate(BITS)?;
        Ok(Self {
            pem: private_pem(&key)?,
            fingerprint: public_digest(&key)?,
        })
    }
}

/// Key with which a directory authority signs votes, and a certificate for it.
pub(crate) struct AuthorityKey {
    /// For the file `keys/authority_signing_key`.
    pub(crate) signing_pem: String,
    /// For the file `keys/authority_certificate`.
    pub(crate) certificate: String,
    /// SHA-1 of the identity key, by which the authority is known (`v3ident`), in upper-case hex.
    pub(crate) identity: String,
}

impl AuthorityKey {
    /// Makes keys, and a certificate as `tor-gencert` does (dir-spec, section 3.1;
    /// `tools/tor-gencert.c:446`).
    ///
    /// Tor sets no least size of these keys (`feature/dirparse/authcert_parse.c:34`), and they
    /// guard nothing here, so they are small.
    pub(crate) fn generate(validity: &Validity) -> Result<Self, Error> {
        let identity = generate(BITS)?;
        let signing = generate(BITS)?;
        let identity_digest = public_digest(&identity)?;
        let fingerprint = HEXUPPER.encode(&identity_digest);
        let mut certificate = format!(
            "dir-key-certificate-version 3\n\
             fingerprint {fingerprint}\n\
             dir-key-published {}\n\
             dir-key-expires {}\n\
             dir-identity-key\n{}\
             dir-signing-key\n{}\
             dir-key-crosscert\n{}\
             dir-key-certification\n",
            validity.from,
            validity.until,
            public_pem(&identity)?,
            public_pem(&signing)?,
            signature(&signing, &identity_digest, "ID SIGNATURE")?,
        );
        let digest = Sha1::digest(&certificate);
        certificate.push_str(&signature(&identity, &digest, "SIGNATURE")?);
        Ok(Self {
            signing_pem: private_pem(&signing)?,
            certificate,
            identity: fingerprint,
        })
    }
}

/// The time in which an authority's certificate is valid, in the form `YYYY-MM-DD HH:MM:SS`.
pub(crate) struct Validity {
    pub(crate) from: String,
    pub(crate) until: String,
}

fn generate(bits: usize) -> Result<RsaPrivateKey, Error> {
    RsaPrivateKey::new(&mut OsRng, bits).map_err(key_error)
}

fn private_pem(key: &RsaPrivateKey) -> Result<String, Error> {
    Ok(key.to_pkcs1_pem(LineEnding::LF).map_err(key_error)?.to_string())
}

fn public_pem(key: &RsaPrivateKey) -> Result<String, Error> {
    key.to_public_key().to_pkcs1_pem(LineEnding::LF).map_err(key_error)
}

/// SHA-1 of the public key in PKCS#1 DER form, from which Tor makes fingerprints and v2 service
/// IDs.
fn public_digest(key: &RsaPrivateKey) -> Result<[u8; 20], Error> {
    let der = key.to_public_key().to_pkcs1_der().map_err(key_error)?;
    Ok(Sha1::digest(der.as_bytes()).into())
}

/// A signature on a bare digest, without the algorithm's name, as an object of Tor's documents.
fn signature(key: &RsaPrivateKey, digest: &[u8], label: &str) -> Result<String, Error> {
    let signature = key.sign(Pkcs1v15Sign::new_unprefixed(), digest).map_err(key_error)?;
    let mut object = format!("-----BEGIN {label}-----\n");
    for line in signature.chunks(48) {
        object.push_str(&BASE64.encode(line));
        object.push('\n');
    }
    object.push_str(&format!("-----END {label}-----\n"));
    Ok(object)
}

fn key_error(reason: impl fmt::Display) -> Error {
    Error::Key {
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use rsa::RsaPublicKey;
    use rsa::pkcs1::DecodeRsaPublicKey;

    use super::*;

    /// See `testdata/README.md`.
    const WRITTEN_BY_TOR: &str = include_str!("../testdata/private_key");

    #[test]
    fn a_key_that_tor_wrote_has_the_service_id_that_tor_wrote() {
        let key = ServiceKey::from_pem(WRITTEN_BY_TOR).unwrap();
        assert_eq!(key.service_id(), "rf75jzdtba4wnd6v");
        assert_eq!(key.pem(), WRITTEN_BY_TOR);
        assert_eq!(
            format!("{key:?}"),
            "ServiceKey { service_id: \"rf75jzdtba4wnd6v\", .. }"
        );
    }

    #[test]
    fn what_is_no_such_key_is_refused() {
        let short = private_pem(&generate(512).unwrap()).unwrap();
        let truncated: String = WRITTEN_BY_TOR.lines().take(5).collect();
        for (text, reason) in [(short.as_str(), "512 bits"), (&truncated, "PEM"), ("", "PEM")] {
            let error = ServiceKey::from_pem(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    /// The public key, or the signature, that follows a keyword in a certificate.
    fn object(certificate: &str, keyword: &str) -> String {
        let (_, rest) = certificate.split_once(&format!("\n{keyword}\n")).unwrap();
        let end = rest.match_indices("-----\n").nth(1).unwrap();
        rest.get(..end.0 + end.1.len()).unwrap().to_owned()
    }

    /// The checks of `feature/dirparse/authcert_parse.c:131`.
    #[test]
    fn a_certificate_is_signed_by_both_keys() {
        let validity = Validity {
            from: "2020-01-01 00:00:00".into(),
            until: "2030-01-01 00:00:00".into(),
        };
        let authority = AuthorityKey::generate(&validity).unwrap();
        let certificate = &authority.certificate;
        let key = |keyword| RsaPublicKey::from_pkcs1_pem(&object(certificate, keyword)).unwrap();
        let signature = |keyword| {
            let text = object(certificate, keyword);
            let base64: String = text.lines().filter(|line| !line.starts_with('-')).collect();
            BASE64.decode(base64.as_bytes()).unwrap()
        };
        let verify = |key: &RsaPublicKey, digest: &[u8], signature: &[u8]| {
            key.verify(Pkcs1v15Sign::new_unprefixed(), digest, signature).unwrap();
        };
        let identity = key("dir-identity-key");
        let signing = key("dir-signing-key");

        let identity_digest = Sha1::digest(identity.to_pkcs1_der().unwrap().as_bytes());
        assert_eq!(HEXUPPER.encode(&identity_digest), authority.identity);
        assert!(certificate.contains(&format!("\nfingerprint {}\n", authority.identity)));
        verify(&signing, &identity_digest, &signature("dir-key-crosscert"));

        let (signed, _) = certificate.split_once("-----BEGIN SIGNATURE-----").unwrap();
        verify(&identity, &Sha1::digest(signed), &signature("dir-key-certification"));

        let private = RsaPrivateKey::from_pkcs1_pem(&authority.signing_pem).unwrap();
        assert_eq!(private.to_public_key(), signing);
    }
}
