//! Refusals of keys and descriptors of version 3.

use onionweave_ring::v3::{Address, BlindedId};
use onionweave_ring::{Fingerprint, UnixTime};

use super::Layer;
use crate::error::Error;

/// Everything that is refused of version 3, and why, as far as it is not a broken line, which is
/// [`Error::Malformed`].
///
/// ```
/// use onionweave_desc::Error;
/// use onionweave_desc::v3::{KeyFault, Problem, ServiceKey};
///
/// let error = ServiceKey::from_file(&[0; 96]).unwrap_err();
/// assert_eq!(error, Error::V3(Problem::Key(KeyFault::Unknown)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A service's key cannot be used.
    #[error("private key: {0}")]
    Key(#[from] KeyFault),

    /// The file `hostname` names another service than the key beside it.
    #[error("the hostname is {found}, but the key is that of {wanted}")]
    #[non_exhaustive]
    OtherHostname {
        /// The address that belongs to the key.
        wanted: Address,
        /// The address in the file.
        found: Address,
    },

    /// A file `hostname` holds no address of version 3.
    #[error("the hostname file holds no onion address: {0}")]
    Hostname(onionweave_ring::Error),

    /// A file of a client's key cannot be used. Nothing of it is shown, since it may be a secret.
    #[error("client key: {0}")]
    ClientKey(#[from] ClientKeyFault),

    /// The text is something else.
    #[error("not a v3 descriptor: it does not begin with `hs-descriptor 3`")]
    NotADescriptor,

    /// The descriptor is as long as the limit or longer.
    #[error("descriptor has {size} bytes, it must have fewer than {limit}")]
    #[non_exhaustive]
    TooLong {
        /// Length of the descriptor, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },

    /// The lifetime is longer than directories keep anything.
    #[error("the lifetime is {minutes} minutes, the limit is {limit}")]
    #[non_exhaustive]
    Lifetime {
        /// The lifetime, in minutes.
        minutes: u32,
        /// The limit, in minutes.
        limit: u32,
    },

    /// The certificate of the descriptor's signing key is refused.
    #[error("certificate of the signing key: {0}")]
    SigningKey(CertificateProblem),

    /// The signature was not made by the descriptor's signing key over this text.
    #[error("the signature does not match the text and its signing key")]
    WrongSignature,

    /// The descriptor is another one than was asked for: of another service, or of another period.
    #[error("descriptor is signed under the blinded key {found}, {wanted} was asked for")]
    #[non_exhaustive]
    WrongBlindedId {
        /// The blinded key that certified its signing key.
        found: BlindedId,
        /// The one that was asked for.
        wanted: BlindedId,
    },

    /// A layer has no room for its salt, its authentication code and one byte.
    #[error("{layer:?} layer has {size} bytes, fewer than salt and authentication code take")]
    #[non_exhaustive]
    LayerTooShort {
        /// The layer.
        layer: Layer,
        /// Its length, in bytes.
        size: usize,
    },

    /// The authentication code of a layer is wrong: the subcredential is another one, or bytes were
    /// changed.
    #[error("{0:?} layer does not decrypt: the subcredential is of another service or period, or it is damaged")]
    WrongMac(Layer),

    /// Only authorized clients can read the inner layer, and no client's key was given.
    #[error("the introduction points are encrypted for authorized clients")]
    ClientKeyNeeded,

    /// The client whose key was given is none of those who can read the inner layer.
    #[error("the introduction points are not encrypted for this client key")]
    NotAuthorized,

    /// A layer holds nothing but padding.
    #[error("{0:?} layer is empty")]
    EmptyLayer(Layer),

    /// The list of link specifiers is cut short, or one of them has a wrong length.
    #[error("the link specifiers are damaged")]
    LinkSpecifiers,

    /// A certificate of an introduction point is refused.
    #[error("certificate of the {key} key: {problem}")]
    #[non_exhaustive]
    PointCertificate {
        /// `authentication` or `encryption`.
        key: &'static str,
        /// The reason.
        problem: CertificateProblem,
    },

    /// A descriptor to be written has no introduction point, so that no client could use it.
    #[error("there is no introduction point")]
    NoPoints,

    /// An introduction point to be written does not name its relay's RSA identity, by which C Tor's
    /// clients tell points apart.
    #[error("an introduction point does not name the RSA identity of its relay")]
    NoIdentity,

    /// A descriptor has more introduction points than clients accept.
    #[error("descriptor has {found} introduction points, clients accept {limit}")]
    #[non_exhaustive]
    TooManyPoints {
        /// Number of points that there are.
        found: usize,
        /// Number of points that there may be.
        limit: usize,
    },

    /// Two introduction points of one text are at the same relay. Clients would only ever use the
    /// first.
    #[error("relay {0} occurs twice among the introduction points; clients use only the first")]
    RepeatedRelay(Fingerprint),

    /// The bytes of an introduction point are not those that this crate writes.
    #[error("the bytes of the introduction point are damaged")]
    PointBytes,

    /// An encryption key that is no point of the curve, so that no certificate can be made for it.
    #[error("the encryption key of an introduction point is not on the curve")]
    OffCurve,

    /// A descriptor for authorized clients names none.
    #[error("there is no authorized client")]
    NoClients,

    /// The same client is named twice.
    #[error("a client's key occurs twice")]
    RepeatedClient,

    /// No revision counter lies within the bounds.
    #[error("the counter {counter} is outside the bounds {floor} to {ceiling}")]
    #[non_exhaustive]
    Counter {
        /// The counter that the time gives, raised to the floor.
        counter: u64,
        /// The least counter that will do.
        floor: u64,
        /// The largest counter that will do.
        ceiling: u64,
    },

    /// The time lies outside the life of a period's descriptors.
    #[error("descriptors of this period are written from {from} to {until}, not at {now}")]
    #[non_exhaustive]
    OutsidePeriod {
        /// When it was to be written.
        now: UnixTime,
        /// The first second.
        from: UnixTime,
        /// The last second.
        until: UnixTime,
    },
}

/// Reason for which a service's private key is refused. Nothing of the key is shown.
///
/// ```
/// use onionweave_desc::Error;
/// use onionweave_desc::v3::{KeyFault, Problem, ServiceKey};
///
/// let mut file = include_bytes!("../../testdata/v3/keys/plain/hs_ed25519_secret_key").to_vec();
/// file.pop();
/// let cut = ServiceKey::from_file(&file).unwrap_err();
/// assert_eq!(cut, Error::V3(Problem::Key(KeyFault::Length { found: 95, expected: 96 })));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFault {
    /// None of the forms that are read.
    #[error(
        "neither Tor's `hs_ed25519_secret_key` (it begins with `== ed25519v1-secret: type0 ==`), nor PKCS#8 in PEM \
         (`-----BEGIN PRIVATE KEY-----`), nor `ED25519-V3:` and base64 as on the control port"
    )]
    Unknown,
    /// Tor's file holds something else than a secret key.
    #[error("the file is tagged as something else than `ed25519v1-secret: type0`")]
    Tag,
    /// The key or the file has a wrong length.
    #[error("{found} bytes, expected {expected}")]
    Length {
        /// Length that was found, in bytes.
        found: usize,
        /// Length that it should have, in bytes.
        expected: usize,
    },
    /// The scalar is zero, so that anyone could sign.
    #[error("the scalar is zero")]
    Zero,
    /// The PEM block is cut short, or not base64.
    #[error("the PEM block is cut short or not base64")]
    Pem,
    /// The PEM block holds a key of another algorithm.
    #[error("the PEM block holds a key of another algorithm, and not an Ed25519 key")]
    Algorithm,
    /// The text behind `ED25519-V3:` is not base64.
    #[error("what follows `ED25519-V3:` is not base64")]
    Base64,
    /// The key is that of a v2 service.
    #[error("this is an RSA key, which services of version 2 have")]
    V2Key,
}

/// Reason for which a file with a client's key is refused.
///
/// ```
/// use onionweave_desc::Error;
/// use onionweave_desc::v3::{ClientKey, ClientKeyFault, Problem};
///
/// let error = "descriptor:rsa:abc".parse::<ClientKey>().unwrap_err();
/// assert_eq!(error, Error::V3(Problem::ClientKey(ClientKeyFault::Algorithm)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientKeyFault {
    /// The text has too few or too many fields.
    #[error("expected {expected}, found {found} fields")]
    Fields {
        /// The form of the file.
        expected: &'static str,
        /// The number of fields.
        found: usize,
    },
    /// The file is that of a client, with its private key, where the service's was expected.
    #[error("this is a client's `.auth_private` file; a service takes the `.auth` file with the public key")]
    Private,
    /// The kind of authorization or of key is unknown.
    #[error("the kind of authorization is not `descriptor`, or that of the key not `x25519`")]
    Algorithm,
    /// The key has a wrong length, or a character that base32 does not have.
    #[error("the key is not 52 characters of base32")]
    Base32,
    /// The key is all zeros.
    #[error("the key is all zeros")]
    Zero,
    /// The address is wrong.
    #[error("{0}")]
    Address(onionweave_ring::Error),
    /// The text is not ASCII, or longer than such a file can be.
    #[error("not a text of a single line")]
    NotText,
}

/// Reason for which a certificate is refused.
///
/// ```
/// use onionweave_desc::v3::CertificateProblem;
///
/// let problem = CertificateProblem::NoSigner;
/// assert_eq!(problem.to_string(), "it does not name the key that signed it");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateProblem {
    /// The certificate cannot be read.
    #[error("it is damaged, or has an extension that must be understood")]
    Damaged,
    /// The certificate is for something else.
    #[error("its type is {found:02x}, expected {wanted:02x}")]
    #[non_exhaustive]
    Type {
        /// The type that it should have.
        wanted: u8,
        /// The type that it has.
        found: u8,
    },
    /// The key that signed it is not named in it.
    #[error("it does not name the key that signed it")]
    NoSigner,
    /// The certificate is no longer good.
    #[error("it expired at {expired}")]
    #[non_exhaustive]
    Expired {
        /// The last second at which it was good.
        expired: UnixTime,
    },
    /// The key that it names did not sign it.
    #[error("its signature is wrong")]
    Signature,
    /// The key that signed it is not the descriptor's signing key.
    #[error("another key than the descriptor's signing key signed it")]
    OtherSigner,
    /// The certificate is for another key than the one that it stands beside.
    #[error("it certifies another key than the one beside it")]
    OtherKey,
}

impl From<KeyFault> for Error {
    fn from(fault: KeyFault) -> Self {
        Problem::Key(fault).into()
    }
}

impl From<ClientKeyFault> for Error {
    fn from(fault: ClientKeyFault) -> Self {
        Problem::ClientKey(fault).into()
    }
}
