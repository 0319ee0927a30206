//! The outer layer, which directories see: first parsed, then verified. References are to
//! feature/hs/hs_descriptor.c.

use std::fmt;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use onionweave_ring::UnixTime;
use onionweave_ring::v3::{BlindedId, Subcredential};

use super::certificate::{self, Certificate, Kind};
use super::clients::ClientSecretKey;
use super::crypto;
use super::error::Problem;
use super::{Descriptor, MAX_DESCRIPTOR_LEN, inner};
use crate::base64;
use crate::bytes::{find, find_byte, parse_unsigned, split_at};
use crate::error::{Error, Section};
use crate::tokens::{Arguments, Items, ObjectRule, Rule};

/// `hs_desc_v3_token_table` (:133)
static RULES: [Rule; 6] = [
    Rule::once("hs-descriptor", Arguments::One, ObjectRule::None).first(),
    Rule::once("descriptor-lifetime", Arguments::One, ObjectRule::None),
    Rule::once(
        "descriptor-signing-key-cert",
        Arguments::None,
        ObjectRule::Label(certificate::LABEL),
    ),
    Rule::once("revision-counter", Arguments::One, ObjectRule::None),
    Rule::once("superencrypted", Arguments::None, ObjectRule::Label("MESSAGE")),
    Rule::once("signature", Arguments::One, ObjectRule::None).last(),
];
const VERSION: usize = 0;
const LIFETIME: usize = 1;
const CERTIFICATE: usize = 2;
const REVISION_COUNTER: usize = 3;
const SUPERENCRYPTED: usize = 4;
const SIGNATURE: usize = 5;

/// Start of the first line that is not signed (:2074).
static SIGNATURE_LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\nsignature "));
/// Stands in front of what is signed: `str_desc_sig_prefix` (:107).
pub(super) const SIGNATURE_PREFIX: &[u8] = b"Tor onion service descriptor sig v3";
/// Length of a signature in base64 without padding, in characters: `ED25519_SIG_BASE64_LEN`.
const SIGNATURE_BASE64_LEN: usize = 86;

/// Longest lifetime, in minutes: `HS_DESC_MAX_LIFETIME` (hs_descriptor.h:33).
const MAX_LIFETIME_MINUTES: u32 = 12 * 60;

/// A descriptor whose outer form is right, but of which nothing has been proved.
///
/// ```
/// use onionweave_desc::v3::{Problem, UnverifiedDescriptor};
/// use onionweave_ring::UnixTime;
///
/// let text = include_str!("../../testdata/v3/snapshot-11/plain.txt");
/// let now = UnixTime::from_secs(1_795_350_166);
/// assert!(UnverifiedDescriptor::parse(text.as_bytes())?.verify(now).is_ok());
///
/// // Whoever changes a word changes what was signed.
/// let forged = text.replace("descriptor-lifetime 180", "descriptor-lifetime 181");
/// let forged = UnverifiedDescriptor::parse(forged.as_bytes())?;
/// assert_eq!(forged.verify(now).unwrap_err(), Problem::WrongSignature.into());
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct UnverifiedDescriptor {
    outer: Outer,
    certificate: Vec<u8>,
    signature: [u8; 64],
    signed_len: usize,
}

/// Fields of the outer layer.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Outer {
    pub(super) text: Vec<u8>,
    /// C Tor multiplies the minutes in 32 bits, so that this need not be a whole number of them.
    pub(super) lifetime_secs: u32,
    pub(super) revision_counter: u64,
    pub(super) superencrypted: Vec<u8>,
}

impl UnverifiedDescriptor {
    /// Parses a text as `hs_desc_decode_plaintext` does (:2644), short of what takes cryptography.
    /// It ends before a NUL byte: C Tor reads strings. The last newline may be missing, as it is in
    /// what `GETINFO` answers.
    ///
    /// # Errors
    /// [`Problem::NotADescriptor`], [`Problem::TooLong`] unless it is shorter than
    /// [`MAX_DESCRIPTOR_LEN`], [`Problem::Lifetime`], [`Problem::LayerTooShort`], and
    /// [`Error::Malformed`] with the line.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        Self::parse_below(text, MAX_DESCRIPTOR_LEN)
    }

    /// Parses as [`parse`](Self::parse) does, with the limit that the consensus sets: its parameter
    /// `HSV3MaxDescriptorSize`, in bytes.
    ///
    /// ```
    /// use onionweave_desc::v3::UnverifiedDescriptor;
    ///
    /// let text = include_bytes!("../../testdata/v3/snapshot-11/plain.txt");
    /// assert!(UnverifiedDescriptor::parse_below(text, text.len()).is_err());
    /// assert!(UnverifiedDescriptor::parse_below(text, text.len() + 1).is_ok());
    /// ```
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_below(text: &[u8], limit: usize) -> Result<Self, Error> {
        let text = match find_byte(0, text) {
            Some(end) => split_at(text, end).0,
            None => text,
        };
        let size = text.len();
        if size >= limit {
            return Err(Problem::TooLong { size, limit }.into());
        }
        if find(b"hs-descriptor", text).is_none() {
            return Err(Problem::NotADescriptor.into());
        }
        let mut items = Items::read(Section::Descriptor, text, &RULES)?;
        // `hs_desc_is_supported_version` (hs_descriptor.h:275)
        if parse_unsigned(items.get(VERSION)?.argument, 0, u32::MAX.into()) != Some(3) {
            return Err(items.bad_value(VERSION, "3"));
        }
        let minutes = parse_unsigned(items.get(LIFETIME)?.argument, 0, u32::MAX.into())
            .and_then(|minutes| u32::try_from(minutes).ok())
            .ok_or_else(|| items.bad_value(LIFETIME, "a number of minutes"))?;
        let lifetime_secs = minutes.wrapping_mul(60);
        let limit = MAX_LIFETIME_MINUTES;
        if lifetime_secs > limit * 60 {
            return Err(Problem::Lifetime { minutes, limit }.into());
        }
        let revision_counter = parse_unsigned(items.get(REVISION_COUNTER)?.argument, 0, u64::MAX)
            .ok_or_else(|| items.bad_value(REVISION_COUNTER, "a number of 64 bits"))?;
        let signature = items.get(SIGNATURE)?.argument;
        let signature = (signature.len() == SIGNATURE_BASE64_LEN)
            .then(|| base64::decode(signature))
            .flatten()
            .and_then(|signature| signature.try_into().ok())
            .ok_or_else(|| items.bad_value(SIGNATURE, "64 bytes in base64 without padding"))?;
        let signed_len = SIGNATURE_LINE
            .find(text)
            .map(|newline| newline + 1)
            .ok_or_else(|| items.bad_value(SIGNATURE, "at the start of a line, with one space behind it"))?;
        let certificate = items.take_object(CERTIFICATE).unwrap_or_default();
        let superencrypted = items.take_object(SUPERENCRYPTED).unwrap_or_default();
        inner::check_length(super::Layer::Superencrypted, &superencrypted)?;
        Ok(Self {
            outer: Outer {
                text: text.to_vec(),
                lifetime_secs,
                revision_counter,
                superencrypted,
            },
            certificate,
            signature,
            signed_len,
        })
    }

    /// The text, up to a NUL byte.
    pub fn text(&self) -> &[u8] {
        &self.outer.text
    }

    /// Proves that the holder of a blinded key certified the signing key, and that the signing key
    /// signed the text (`cert_is_valid`, :1326, and `desc_sig_is_valid`, :2045). The certificate
    /// must be good at `now`.
    ///
    /// The caller compares whose blinded key it is.
    ///
    /// # Errors
    /// [`Problem::SigningKey`] and [`Problem::WrongSignature`].
    pub fn verify(self, now: UnixTime) -> Result<SealedDescriptor, Error> {
        let certificate = Certificate::read(&self.certificate, Kind::Signing, now).map_err(Problem::SigningKey)?;
        self.verify_under(certificate, now)
    }

    /// Verifies as [`verify`](Self::verify) does, for a descriptor that must be of one service and
    /// one period.
    ///
    /// ```
    /// use onionweave_desc::v3::UnverifiedDescriptor;
    /// use onionweave_ring::UnixTime;
    /// use onionweave_ring::v3::BlindedId;
    ///
    /// let text = include_bytes!("../../testdata/v3/snapshot-11/plain.txt");
    /// let now = UnixTime::from_secs(1_795_350_166);
    /// let descriptor = UnverifiedDescriptor::parse(text)?;
    /// let id = descriptor.clone().verify(now)?.blinded_id();
    /// assert!(descriptor.clone().verify_for(&id, now).is_ok());
    /// assert!(descriptor.verify_for(&BlindedId::from([7; 32]), now).is_err());
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`verify`](Self::verify), and [`Problem::WrongBlindedId`].
    pub fn verify_for(self, wanted: &BlindedId, now: UnixTime) -> Result<SealedDescriptor, Error> {
        let certificate = Certificate::read(&self.certificate, Kind::Signing, now).map_err(Problem::SigningKey)?;
        let found = BlindedId::from(certificate.signer);
        if found != *wanted {
            let wanted = *wanted;
            return Err(Problem::WrongBlindedId { found, wanted }.into());
        }
        self.verify_under(certificate, now)
    }

    fn verify_under(self, certificate: Certificate, now: UnixTime) -> Result<SealedDescriptor, Error> {
        let signed = self.outer.text.get(..self.signed_len).unwrap_or_default();
        let message = [SIGNATURE_PREFIX, signed].concat();
        if !crypto::verify(&certificate.certified, &message, &self.signature) {
            return Err(Problem::WrongSignature.into());
        }
        Ok(SealedDescriptor::new(self.outer, certificate, now))
    }
}

impl fmt::Debug for UnverifiedDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedDescriptor")
            .field("revision_counter", &self.outer.revision_counter)
            .field("size", &self.outer.text.len())
            .finish_non_exhaustive()
    }
}

/// A descriptor whose outer layer has been verified, and whose inner layers are still encrypted.
///
/// This is as far as a directory comes.
///
/// ```
/// use onionweave_desc::v3::UnverifiedDescriptor;
/// use onionweave_ring::UnixTime;
///
/// let text = include_bytes!("../../testdata/v3/snapshot-11/plain.txt");
/// let sealed = UnverifiedDescriptor::parse(text)?.verify(UnixTime::from_secs(1_795_350_166))?;
/// assert_eq!(sealed.text(), text);
/// assert_eq!(sealed.lifetime_minutes(), 180);
/// assert!(sealed.revision_counter() > 0);
/// assert_eq!(sealed.size_class(), 10_000);
/// assert_eq!(sealed.signing_key_expires().to_string(), "2026-11-24 19:00:00");
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SealedDescriptor {
    outer: Outer,
    certificate: Certificate,
    verified_at: UnixTime,
}

impl SealedDescriptor {
    pub(super) fn new(outer: Outer, certificate: Certificate, verified_at: UnixTime) -> Self {
        Self {
            outer,
            certificate,
            verified_at,
        }
    }

    /// The text, up to a NUL byte.
    pub fn text(&self) -> &[u8] {
        &self.outer.text
    }

    /// The blinded key, under which directories keep the descriptor.
    pub fn blinded_id(&self) -> BlindedId {
        self.certificate.signer.into()
    }

    /// Number by which directories and clients tell the newer of two descriptors.
    pub fn revision_counter(&self) -> u64 {
        self.outer.revision_counter
    }

    /// Time for which directories keep the descriptor, in whole minutes.
    pub fn lifetime_minutes(&self) -> u32 {
        self.outer.lifetime_secs / 60
    }

    /// The last second at which the certificate of the signing key is good.
    pub fn signing_key_expires(&self) -> UnixTime {
        self.certificate.expires
    }

    /// Length of the middle layer with its padding, in bytes, by which directories can sort
    /// descriptors: C Tor pads to a multiple of 10 000.
    pub fn size_class(&self) -> usize {
        self.outer.superencrypted.len().saturating_sub(inner::OVERHEAD)
    }

    /// Decrypts and reads both inner layers as C Tor's clients do (`hs_desc_decode_descriptor`,
    /// :2721), with a client's key if there is one. Certificates must be good at the time for
    /// which the outer layer was verified.
    ///
    /// ```
    /// use onionweave_desc::v3::{ServiceKey, UnverifiedDescriptor};
    /// use onionweave_ring::UnixTime;
    /// use onionweave_ring::v3::Subcredential;
    ///
    /// let text = include_bytes!("../../testdata/v3/snapshot-11/ten-points.txt");
    /// let sealed = UnverifiedDescriptor::parse(text)?.verify(UnixTime::from_secs(1_795_350_166))?;
    /// let key = ServiceKey::from_file(include_bytes!("../../testdata/v3/keys/ten-points/hs_ed25519_secret_key"))?;
    /// let subcredential = Subcredential::new(&key.address(), &sealed.blinded_id());
    /// assert_eq!(sealed.open(&subcredential, None)?.points().len(), 10);
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Problem::WrongMac`] if the subcredential is another one, [`Problem::ClientKeyNeeded`],
    /// [`Problem::NotAuthorized`], [`Problem::TooManyPoints`], [`Problem::LayerTooShort`],
    /// [`Problem::EmptyLayer`], and [`Error::Malformed`] with the layer and the line. A point that
    /// cannot be used spoils nothing else: see [`Descriptor::skipped`].
    pub fn open(self, subcredential: &Subcredential, client: Option<&ClientSecretKey>) -> Result<Descriptor, Error> {
        inner::open(self, subcredential, client)
    }

    pub(super) fn blinded_key(&self) -> &[u8; 32] {
        &self.certificate.signer
    }

    pub(super) fn signing_key(&self) -> &[u8; 32] {
        &self.certificate.certified
    }

    pub(super) fn superencrypted(&self) -> &[u8] {
        &self.outer.superencrypted
    }

    pub(super) fn verified_at(&self) -> UnixTime {
        self.verified_at
    }
}

impl fmt::Debug for SealedDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedDescriptor")
            .field("blinded_id", &self.blinded_id())
            .field("revision_counter", &self.outer.revision_counter)
            .field("size", &self.outer.text.len())
            .finish_non_exhaustive()
    }
}
