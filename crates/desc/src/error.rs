//! Errors of descriptors, drafts and keys.

use std::fmt;

use onionweave_ring::v2::{AuthorizationKind, DescriptorId, ServiceId};
use onionweave_ring::{Fingerprint, UnixTime};

use crate::v2::ClientName;

/// Everything that this crate refuses, and why.
///
/// Positions are lines, counted from 1, of the text named in the message.
///
/// ```
/// use onionweave_desc::v2::UnverifiedDescriptor;
/// use onionweave_desc::{Error, Malformed, Section};
///
/// let text = include_str!("../testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
/// let error = UnverifiedDescriptor::parse(text.replace("version 2", "version 3").as_bytes()).unwrap_err();
/// assert_eq!(error.to_string(), "descriptor, line 2: `version` is not 2");
/// let Error::Malformed { section, line, problem, .. } = error else { panic!("{error}") };
/// assert_eq!((section, line), (Section::Descriptor, 2));
/// assert!(matches!(problem, Malformed::Value { keyword: "version", .. }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is something else, or begins with white space or an annotation.
    #[error("not a v2 descriptor: it does not begin with `rendezvous-service-descriptor `")]
    NotADescriptor,

    /// The text is a descriptor of a v3 service.
    #[error("not a v2 descriptor, but one of v3 (`hs-descriptor`)")]
    V3Descriptor,

    /// The descriptor is longer than directories and clients accept.
    #[error("descriptor has {size} bytes, the limit is {limit}")]
    TooLong {
        /// Length of the descriptor, or of what it would become, in bytes.
        size: usize,
        /// The limit in bytes, `REND_DESC_MAX_SIZE`.
        limit: usize,
    },

    /// No line begins with `signature`, so there is no telling what was signed. A text cut short
    /// ends up here.
    #[error("descriptor has no line that begins with `signature`: it is cut short or was never signed")]
    Unsigned,

    /// Something follows where the whole input was to be one descriptor.
    #[error("descriptor ends at byte {byte}, but more follows")]
    TrailingData {
        /// Offset of the first byte that does not belong to the descriptor.
        byte: usize,
    },

    /// A line breaks the rules of the format.
    #[error("{section}, line {line}: {problem}")]
    Malformed {
        /// The text that holds the line.
        section: Section,
        /// The line within that text, counted from 1.
        line: usize,
        /// The rule.
        problem: Malformed,
    },

    /// The signature was not made by the descriptor's permanent key over this text.
    #[error("the signature does not match the text and its permanent key")]
    WrongSignature,

    /// The descriptor ID is not the one that belongs to the permanent key and the secret ID part.
    #[error(
        "descriptor ID {written} does not belong to the permanent key and the secret ID part, which give {computed}"
    )]
    WrongDescriptorId {
        /// The ID that the text bears.
        written: DescriptorId,
        /// The ID that follows from its key and its secret ID part.
        computed: DescriptorId,
    },

    /// The introduction points are encrypted for authorized clients.
    #[error("introduction points are encrypted for authorized clients ({0} authorization)")]
    ClientAuthorization(AuthorizationKind),

    /// Encrypted introduction points are too short for what their first bytes announce.
    #[error("encrypted introduction points ({kind} authorization) have {size} bytes, they take at least {needed}")]
    AuthorizationTooShort {
        /// The kind that their first byte names.
        kind: AuthorizationKind,
        /// Number of bytes that there are.
        size: usize,
        /// Number of bytes that there must be.
        needed: usize,
    },

    /// The introduction points were not encrypted for the holder of this cookie.
    #[error("the cookie does not decrypt the introduction points ({0} authorization)")]
    WrongCookie(AuthorizationKind),

    /// A service with authorization has no client.
    #[error("there is no authorized client")]
    NoClients,

    /// There are more clients than encrypted introduction points have entries for.
    #[error("there are {found} authorized clients, the limit is {limit}")]
    TooManyClients {
        /// Number that there is.
        found: usize,
        /// Largest number that there may be.
        limit: usize,
    },

    /// A cookie is all zeros, which clients take for none.
    #[error("an authorization cookie is all zeros; clients would not use it")]
    ZeroCookie,

    /// Text that is not the name of a client.
    #[error("client name {0:?} is not 1 to 16 of the characters A-Z, a-z, 0-9, `+`, `-` and `_`")]
    ClientName(String),

    /// Two clients have the same name.
    #[error("client `{0}` occurs twice")]
    RepeatedClient(ClientName),

    /// A client of a service with stealth authorization has no key of its own.
    #[error("client `{0}` has no key of its own, which stealth authorization takes")]
    MissingClientKey(ClientName),

    /// The lines of a `hostname` file are of both kinds of authorization.
    #[error("some clients are authorized by basic authorization and some by stealth, a service has one kind")]
    MixedAuthorization,

    /// A file is longer than Tor ever writes it.
    #[error("{section} has {size} bytes, the limit is {limit}")]
    FileTooLong {
        /// The file.
        section: Section,
        /// Number of bytes that it has.
        size: usize,
        /// Largest number of bytes that are read.
        limit: usize,
    },

    /// Clients accept one to ten introduction points.
    #[error("descriptor has {found} introduction points, clients accept 1 to {limit}")]
    IntroductionPointCount {
        /// Number that there is.
        found: usize,
        /// Largest number that there may be, `MAX_INTRO_POINTS`.
        limit: usize,
    },

    /// Two introduction points of one text are at the same relay. Clients would only ever use the
    /// first.
    #[error("relay {0} occurs twice among the introduction points; clients use only the first")]
    RepeatedRelay(Fingerprint),

    /// The port of an introduction point is zero.
    #[error("introduction point at relay {0} has port 0")]
    PortZero(Fingerprint),

    /// A key of an introduction point has an exponent that clients refuse.
    #[error("introduction point at relay {relay}: the {key} key does not have the exponent 65537")]
    Exponent {
        /// The relay of the introduction point.
        relay: Fingerprint,
        /// `onion` or `service`.
        key: &'static str,
    },

    /// A draft lists no protocol version, or one that C Tor cannot write.
    #[error("protocol versions {0:?} cannot be written: there must be one at least, and none above 7")]
    ProtocolVersions(Vec<u8>),

    /// A client got the descriptor of another service than it asked for.
    #[error("descriptor is of the service {found}, {wanted} was asked for")]
    WrongService {
        /// Service whose descriptor it is.
        found: ServiceId,
        /// Service whose descriptor was asked for.
        wanted: ServiceId,
    },

    /// A client got a descriptor with another ID than it asked for.
    #[error("descriptor has the ID {found}, {wanted} was asked for")]
    UnexpectedDescriptorId {
        /// Its ID.
        found: DescriptorId,
        /// The one that was asked for.
        wanted: DescriptorId,
    },

    /// A client got a descriptor from too long ago.
    #[error("descriptor was published at {published}, more than 72 hours before {now}")]
    TooOld {
        /// Its publication time.
        published: UnixTime,
        /// When it was judged.
        now: UnixTime,
    },

    /// A client got a descriptor of the future.
    #[error("descriptor was published at {published}, more than 24 hours after {now}")]
    TooNew {
        /// Its publication time.
        published: UnixTime,
        /// When it was judged.
        now: UnixTime,
    },

    /// A client has failed to reach the service through every introduction point of the descriptor,
    /// or there is none.
    #[error(
        "none of the introduction points is usable: the client failed at each of them a short while ago, or there is none"
    )]
    NoUsablePoints,

    /// A public key could not be decoded, or has a size that Tor does not accept here.
    #[error("public key: {0}")]
    PublicKey(KeyProblem),

    /// A private key could not be decoded, or cannot be the key of a v2 service.
    #[error("private key: {0}")]
    PrivateKey(KeyProblem),

    /// The source of random bytes failed, so no key was made.
    #[error("no random bytes: {0}")]
    RandomSource(String),

    /// The RSA implementation noticed that its own result was wrong, which takes a fault of the
    /// machine.
    #[error("signing failed: the RSA operation did not verify")]
    SigningFailed,

    /// A key or a descriptor of version 3 is refused. Needs the feature `v3`.
    #[cfg(feature = "v3")]
    #[error(transparent)]
    V3(#[from] crate::v3::Problem),
}

impl Error {
    /// The same error in a text that begins `lines` lines earlier.
    pub(crate) fn lines_later(mut self, lines: usize) -> Self {
        if let Self::Malformed { line, .. } = &mut self {
            *line += lines;
        }
        self
    }
}

/// Text that a position refers to.
///
/// ```
/// use onionweave_desc::Section;
///
/// assert_eq!(Section::ClientKeys.to_string(), "client_keys file");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Section {
    /// The descriptor itself.
    Descriptor,
    /// The list of introduction points, once decoded and decrypted.
    IntroductionPoints,
    /// Tor's file `client_keys`.
    ClientKeys,
    /// Tor's file `hostname`.
    Hostname,
    /// Middle layer of a v3 descriptor, decrypted: for whom introduction points are encrypted.
    Superencrypted,
    /// Inner layer of a v3 descriptor, once decrypted: its header and its introduction points.
    Encrypted,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Descriptor => "descriptor",
            Self::IntroductionPoints => "introduction points",
            Self::ClientKeys => "client_keys file",
            Self::Hostname => "hostname file",
            Self::Superencrypted => "superencrypted layer",
            Self::Encrypted => "encrypted layer",
        })
    }
}

/// The rule of the format that a line breaks.
///
/// ```
/// use onionweave_desc::v2::IntroductionPoint;
/// use onionweave_desc::{Error, Malformed};
///
/// let error = IntroductionPoint::parse_list(b"introduction-point \n").unwrap_err();
/// assert!(matches!(error, Error::Malformed { problem: Malformed::ArgumentCount { wanted: 1, found: 0, .. }, .. }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// A NUL byte.
    #[error("a NUL byte")]
    Nul,
    /// A line that begins with `@`.
    #[error("annotations are not allowed")]
    Annotation,
    /// An item that must be there is not.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// An item that may stand once stands again.
    #[error("a second `{0}`")]
    Repeated(&'static str),
    /// The text must begin with another item.
    #[error("`{0}` must come first")]
    NotFirst(&'static str),
    /// The text goes on after the item that ends it.
    #[error("`{0}` must come last")]
    NotLast(&'static str),
    /// An item has too few or too many arguments.
    #[error("`{keyword}` takes {wanted} arguments, found {found}")]
    ArgumentCount {
        /// The item.
        keyword: &'static str,
        /// The number of arguments it takes.
        wanted: usize,
        /// The number of arguments on the line.
        found: usize,
    },
    /// An item has fewer arguments than it takes at least.
    #[error("`{keyword}` takes at least {least} arguments, found {found}")]
    TooFewArguments {
        /// The item.
        keyword: &'static str,
        /// The least number of arguments it takes.
        least: usize,
        /// The number of arguments on the line.
        found: usize,
    },
    /// An item has more arguments than any item may have.
    #[error("`{keyword}` has {found} arguments, the limit is {limit}")]
    TooManyArguments {
        /// The item.
        keyword: &'static str,
        /// The limit, `MAX_ARGS`.
        limit: usize,
        /// The number of arguments on the line.
        found: usize,
    },
    /// An argument is not what the item takes.
    #[error("`{keyword}` is not {wanted}")]
    Value {
        /// The item.
        keyword: &'static str,
        /// Value that it should have.
        wanted: &'static str,
    },
    /// A `-----BEGIN` or `-----END` line that ends in CRLF.
    #[error("the line ends in CRLF; Tor takes LF alone behind `-----BEGIN` and `-----END` lines")]
    LineEnd,
    /// `-----BEGIN` without a name and five closing dashes.
    #[error("the `-----BEGIN` line is malformed")]
    ObjectBegin,
    /// No `-----END` line that closes the object.
    #[error("no matching `-----END` line closes the object")]
    ObjectEnd,
    /// The object is not base64.
    #[error("the object is not base64")]
    Base64,
    /// The item has an object, but takes none.
    #[error("`{0}` takes no object")]
    UnexpectedObject(&'static str),
    /// The item has no object, or one of another type.
    #[error("`{keyword}` must have an object of type {label}")]
    MissingObject {
        /// The item.
        keyword: &'static str,
        /// The type of object it takes.
        label: &'static str,
    },
    /// A key was found where it must not be, or cannot be used.
    #[error("key: {0}")]
    Key(KeyProblem),
    /// A line of the file `hostname` is something else.
    #[error("the line is not {0}")]
    Line(&'static str),
    /// An authorization cookie cannot be read.
    #[error("{0}")]
    Cookie(onionweave_ring::Error),
    /// Two clients have the same name.
    #[error("a second client `{0}`")]
    RepeatedClient(ClientName),
}

/// Reason why a key cannot be used.
///
/// ```
/// use onionweave_desc::v2::ServiceKey;
/// use onionweave_desc::{Error, KeyProblem};
///
/// let large = ServiceKey::from_pem(include_str!("../testdata/keys/rsa-2048.pem"));
/// assert_eq!(large.unwrap_err(), Error::PrivateKey(KeyProblem::Size { bits: 2048 }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyProblem {
    /// There is no PEM block at all.
    #[error("no PEM block found; expected `-----BEGIN RSA PRIVATE KEY-----`")]
    NotPem,
    /// The text is in UTF-16, as some editors write it.
    #[error("the text is in UTF-16; write it in UTF-8 or ASCII")]
    Utf16,
    /// The key is that of a v3 service: Tor's `hs_ed25519_secret_key`, a PEM block with an Ed25519
    /// key, or `ED25519-V3:` and base64 as on the control port.
    #[error(
        "this is the key of a v3 onion service (Ed25519); \
         a v2 service has an RSA key of 1024 bits, in Tor's file `private_key`"
    )]
    V3Key,
    /// The key is written as on the control port: `RSA1024:` and base64.
    #[error(
        "this is a key as the control port writes it; put what follows `RSA1024:` between the lines \
         `-----BEGIN RSA PRIVATE KEY-----` and `-----END RSA PRIVATE KEY-----`"
    )]
    ControlPortKey,
    /// The PEM block holds a key of another algorithm.
    #[error("the PEM block holds a key of another algorithm, and not an RSA key")]
    Algorithm,
    /// The PEM block holds something else.
    #[error("the PEM block is labelled {0:?}, expected an RSA private key")]
    Label(String),
    /// The PEM block is not closed, or not base64.
    #[error("the PEM block is cut short or not base64")]
    Pem,
    /// The key is encrypted, and no passphrase was given. Tor itself cannot read such keys.
    #[error("the key is encrypted, and no passphrase was given")]
    Encrypted,
    /// The key is encrypted, and the program cannot use a passphrase.
    #[error("the key is encrypted, and this program was built without the feature `passphrase`")]
    NeedsFeature,
    /// The passphrase does not decrypt the key.
    #[error("the passphrase is wrong, or the key is damaged")]
    WrongPassphrase,
    /// The key is encrypted in a way that is not known here: the name or object identifier of the
    /// cipher, of the function that makes its key out of the passphrase, or of both together.
    #[error("the key is encrypted with {0:?}, which is not supported; OpenSSL can convert it")]
    Unsupported(String),
    /// The key says that it would take very long, or very much memory, to make its cipher's key out
    /// of the passphrase.
    #[error("using the passphrase would take {cost} {unit}, the limit is {limit}")]
    Costly {
        /// Amount that it would take.
        cost: u64,
        /// Name of the amount.
        unit: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The key cannot be decoded, or its parts contradict each other.
    #[error("the key is damaged, or is not an RSA key")]
    Damaged,
    /// The modulus does not have 1024 bits.
    #[error("the modulus has {bits} bits, v2 onion services use 1024")]
    Size {
        /// Length of the modulus in bits.
        bits: usize,
    },
    /// The public exponent is not 65537, where Tor insists on it.
    #[error("the exponent is not 65537")]
    Exponent,
}
