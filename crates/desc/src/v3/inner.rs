//! The two inner layers: for whom the introduction points are encrypted, and those points.
//! References are to feature/hs/hs_descriptor.c.

use std::fmt;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use onionweave_ring::UnixTime;
use onionweave_ring::v3::Subcredential;

use super::clients::ClientSecretKey;
use super::error::Problem;
use super::header::Header;
use super::layers::{AuthClient, Layer, LayerKey, SALT_LEN, find_cookie};
use super::point::{self, IntroductionPoint};
use super::{MAX_INTRODUCTION_POINTS, SealedDescriptor};
use crate::base64;
use crate::bytes::{count_lines, split_at};
use crate::error::{Error, Section};
use crate::tokens::{Arguments, Items, ObjectRule, Rule};

/// Bytes that a layer is longer than its text: a salt and an authentication code.
pub(super) const OVERHEAD: usize = SALT_LEN + 32;

/// `hs_desc_superencrypted_v3_token_table` (:144)
static MIDDLE: [Rule; 4] = [
    Rule::once("desc-auth-type", Arguments::AtLeast(1), ObjectRule::None).first(),
    Rule::once("desc-auth-ephemeral-key", Arguments::AtLeast(1), ObjectRule::None),
    Rule::once("auth-client", Arguments::AtLeast(3), ObjectRule::None).repeats(),
    Rule::once("encrypted", Arguments::None, ObjectRule::Label("MESSAGE")),
];
const AUTH_TYPE: usize = 0;
const EPHEMERAL_KEY: usize = 1;
const AUTH_CLIENT: usize = 2;
const ENCRYPTED: usize = 3;

/// Start of the next point: `str_intro_point_start` (:98).
static NEXT_POINT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\nintroduction-point "));

/// A descriptor that has been verified, decrypted and read.
///
/// ```
/// use onionweave_desc::v3::{ServiceKey, UnverifiedDescriptor};
/// use onionweave_ring::UnixTime;
/// use onionweave_ring::v3::Subcredential;
///
/// let text = include_bytes!("../../testdata/v3/snapshot-11/pow.txt");
/// let sealed = UnverifiedDescriptor::parse(text)?.verify(UnixTime::from_secs(1_795_350_166))?;
/// let key = ServiceKey::from_file(include_bytes!("../../testdata/v3/keys/pow/hs_ed25519_secret_key"))?;
/// let subcredential = Subcredential::new(&key.address(), &sealed.blinded_id());
/// let descriptor = sealed.open(&subcredential, None)?;
/// assert_eq!((descriptor.points().len(), descriptor.skipped().len()), (3, 0));
/// assert_eq!(descriptor.header().proof_of_work().map(|pow| pow.effort()), Some(0));
/// assert!(!descriptor.is_restricted());
/// assert_eq!(descriptor.auth_client_count(), 16, "none of them is a client");
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Descriptor {
    sealed: SealedDescriptor,
    middle: Middle,
    inner: Inner,
    restricted: bool,
}

impl Descriptor {
    /// The outer layer.
    pub fn sealed(&self) -> &SealedDescriptor {
        &self.sealed
    }

    /// The lines in front of the introduction points.
    pub fn header(&self) -> &Header {
        &self.inner.header
    }

    /// The introduction points that can be used, in the order of the text. There may be none: a
    /// service that has just started writes such descriptors.
    pub fn points(&self) -> &[IntroductionPoint] {
        &self.inner.points
    }

    /// The introduction points that cannot be used.
    pub fn skipped(&self) -> &[SkippedPoint] {
        &self.inner.skipped
    }

    /// Whether only authorized clients can read the introduction points.
    pub fn is_restricted(&self) -> bool {
        self.restricted
    }

    /// Number of `auth-client` lines. C Tor writes a multiple of sixteen, whether there are clients
    /// or not.
    pub fn auth_client_count(&self) -> usize {
        self.middle.clients.len()
    }
}

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Descriptor")
            .field("sealed", &self.sealed)
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// An introduction point that cannot be used.
///
/// ```
/// use onionweave_desc::v3::{Descriptor, SkippedPoint};
///
/// fn report(descriptor: &Descriptor) -> Vec<String> {
///     let skipped = descriptor.skipped().iter();
///     skipped.map(|point: &SkippedPoint| format!("point {}: {}", point.number(), point.reason())).collect()
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedPoint {
    number: usize,
    reason: Error,
}

impl SkippedPoint {
    /// The number of the point in the text, counted from 0.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The reason for which it cannot be used.
    pub fn reason(&self) -> &Error {
        &self.reason
    }
}

/// Decrypts and reads both layers.
pub(super) fn open(
    sealed: SealedDescriptor,
    subcredential: &Subcredential,
    client: Option<&ClientSecretKey>,
) -> Result<Descriptor, Error> {
    let mut key = LayerKey {
        layer: Layer::Superencrypted,
        blinded_key: sealed.blinded_key(),
        cookie: None,
        subcredential,
        revision_counter: sealed.revision_counter(),
    };
    let middle = Middle::read(&key.decrypt(sealed.superencrypted())?)?;

    let cookie = client.and_then(|client| {
        let ephemeral_key = &middle.ephemeral_key;
        find_cookie(&middle.clients, subcredential, client, ephemeral_key)
    });
    key.layer = Layer::Encrypted;
    key.cookie = cookie.as_ref();
    let text = key.decrypt(&middle.encrypted).map_err(|problem| match problem {
        Problem::WrongMac(_) if client.is_none() => Problem::ClientKeyNeeded,
        Problem::WrongMac(_) => Problem::NotAuthorized,
        other => other,
    })?;
    let inner = Inner::read(&text, sealed.signing_key(), sealed.verified_at())?;
    let restricted = cookie.is_some();
    Ok(Descriptor {
        sealed,
        middle,
        inner,
        restricted,
    })
}

/// `encrypted_data_length_is_valid` (:1406)
pub(super) fn check_length(layer: Layer, blob: &[u8]) -> Result<(), Problem> {
    match blob.len() {
        size @ ..=OVERHEAD => Err(Problem::LayerTooShort { layer, size }),
        _ => Ok(()),
    }
}

/// The middle layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Middle {
    ephemeral_key: [u8; 32],
    clients: Vec<AuthClient>,
    encrypted: Vec<u8>,
}

impl Middle {
    /// `desc_decode_superencrypted_v3` (:2270)
    pub(super) fn read(text: &[u8]) -> Result<Self, Error> {
        let mut items = Items::read(Section::Superencrypted, text, &MIDDLE)?;
        if items.get(AUTH_TYPE)?.argument != b"x25519" {
            return Err(items.bad_value(AUTH_TYPE, "x25519"));
        }
        let ephemeral_key = point::read_key(items.get(EPHEMERAL_KEY)?.argument)
            .ok_or_else(|| items.bad_value(EPHEMERAL_KEY, "32 bytes in base64"))?;
        let clients = items.all(AUTH_CLIENT).map(|item| {
            let [iv, encrypted_cookie, ..] = item.more[..] else {
                return None;
            };
            Some(AuthClient {
                id: read_bytes(item.argument)?,
                iv: read_bytes(iv)?,
                encrypted_cookie: read_bytes(encrypted_cookie)?,
            })
        });
        let clients = clients
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| items.bad_value(AUTH_CLIENT, "8, 16 and 16 bytes in base64"))?;
        let encrypted = items.take_object(ENCRYPTED).unwrap_or_default();
        check_length(Layer::Encrypted, &encrypted)?;
        Ok(Self {
            ephemeral_key,
            clients,
            encrypted,
        })
    }
}

/// `base64_decode` into a buffer of this size, which must be filled.
fn read_bytes<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    base64::decode(text)?.try_into().ok()
}

/// The inner layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inner {
    header: Header,
    points: Vec<IntroductionPoint>,
    skipped: Vec<SkippedPoint>,
}

impl Inner {
    /// `desc_decode_encrypted_v3` (:2384). The header's lines count wherever they stand, also among
    /// the points.
    pub(super) fn read(text: &[u8], signing_key: &[u8; 32], now: UnixTime) -> Result<Self, Error> {
        let header_end = NEXT_POINT.find(text).map_or(text.len(), |newline| newline + 1);
        let header = Header::read(text, header_end)?;
        let mut inner = Self {
            header,
            points: Vec::new(),
            skipped: Vec::new(),
        };
        let (_, mut rest) = split_at(text, header_end);
        let mut number = 0;
        while !rest.is_empty() {
            // The newline in front of the next point is part of neither (`decode_intro_points`,
            // :1983).
            let (point, after) = match NEXT_POINT.find(rest) {
                Some(newline) => (split_at(rest, newline).0, split_at(rest, newline + 1).1),
                None => (rest, &[][..]),
            };
            match IntroductionPoint::read(point, signing_key, now) {
                Ok(point) => inner.points.push(point),
                Err(reason) => {
                    let lines_before = count_lines(split_at(text, text.len() - rest.len()).0);
                    let reason = reason.lines_later(lines_before);
                    inner.skipped.push(SkippedPoint { number, reason });
                }
            }
            rest = after;
            number += 1;
        }
        let (found, limit) = (inner.points.len(), MAX_INTRODUCTION_POINTS);
        if found > limit {
            return Err(Problem::TooManyPoints { found, limit }.into());
        }
        Ok(inner)
    }
}
