//! Reading descriptors: first parsed, then verified.

use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use memchr::memmem::Finder;
use onionweave_ring::UnixTime;
use onionweave_ring::v2::{AuthorizationKind, DescriptorCookie, DescriptorId, SecretIdPart, ServiceId};
use sha1::{Digest, Sha1};

use super::authorization::block;
use super::{IntroductionPoint, MAX_DESCRIPTOR_LEN, MAX_INTRODUCTION_POINTS, PublicKey};
use crate::bytes::{find_byte, is_c_space, parse_number, split_at};
use crate::error::{Error, Section};
use crate::rsa::{Backend, RustCrypto};
use crate::tokens::{Arguments, Items, ObjectRule, Rule};

/// Every descriptor begins with this, up to the last byte (rendparse.c:97).
pub(super) const START: &[u8] = b"rendezvous-service-descriptor ";
/// The start of every v3 descriptor (rend-spec-v3, section 2.4).
const V3_START: &[u8] = b"hs-descriptor 3";
/// Keyword with which the next descriptor begins (rendparse.c:109).
static NEXT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\nrendezvous-service-descriptor "));
/// Beginning of the line that ends the signed part: it ends with the first line that begins like
/// this (rendparse.c:104).
static SIGNATURE_LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\nsignature"));

/// `desc_token_table` (rendparse.c:26). The items that must be there make up the seven that C Tor
/// asks for besides (rendparse.c:134).
static RULES: [Rule; 8] = [
    Rule::once("rendezvous-service-descriptor", Arguments::One, ObjectRule::None).first(),
    Rule::once("version", Arguments::One, ObjectRule::None),
    Rule::once("permanent-key", Arguments::None, ObjectRule::Key),
    Rule::once("secret-id-part", Arguments::One, ObjectRule::None),
    Rule::once("publication-time", Arguments::Line, ObjectRule::None),
    Rule::once("protocol-versions", Arguments::One, ObjectRule::None),
    Rule::once("introduction-points", Arguments::None, ObjectRule::Label("MESSAGE")).optional(),
    Rule::once("signature", Arguments::None, ObjectRule::Label("SIGNATURE")).last(),
];
const DESCRIPTOR_ID: usize = 0;
const VERSION: usize = 1;
const PERMANENT_KEY: usize = 2;
const SECRET_ID_PART: usize = 3;
const PUBLICATION_TIME: usize = 4;
const PROTOCOL_VERSIONS: usize = 5;
const INTRODUCTION_POINTS: usize = 6;
const SIGNATURE: usize = 7;

/// Longest time by which the publication time may lie in the future: `REND_CACHE_MAX_SKEW`
/// (rendcache.h:20).
const MAX_SKEW: Duration = Duration::from_secs(24 * 3600);
/// Longest time by which it may lie in the past: `REND_CACHE_MAX_AGE` and the skew
/// (rendcache.h:17).
const MAX_AGE: Duration = Duration::from_secs((48 + 24) * 3600);

/// A descriptor whose form is right, but of which nothing has been proved.
///
/// ```
/// use onionweave_desc::Error;
/// use onionweave_desc::v2::UnverifiedDescriptor;
///
/// let text = include_str!("../../testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
/// assert!(UnverifiedDescriptor::parse(text.as_bytes())?.verify().is_ok());
///
/// // Whoever changes a word changes what was signed.
/// let forged = text.replace("2026-11-22 12:00:00", "2026-11-22 13:00:00");
/// let forged = UnverifiedDescriptor::parse(forged.as_bytes())?;
/// assert_eq!(forged.verify().unwrap_err(), Error::WrongSignature);
///
/// // The body of an upload may hold several.
/// let body = format!("{text}\n{text}");
/// let (first, rest) = UnverifiedDescriptor::parse_prefix(body.as_bytes())?;
/// assert!(first.verify().is_ok());
/// assert_eq!(rest, text.as_bytes());
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
#[derive(Clone)]
pub struct UnverifiedDescriptor {
    descriptor: Descriptor,
    signature: Vec<u8>,
}

impl UnverifiedDescriptor {
    /// Parses a text that is one descriptor.
    ///
    /// # Errors
    /// As [`parse_prefix`](Self::parse_prefix), and [`Error::TrailingData`] if anything follows the
    /// descriptor.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let (descriptor, rest) = Self::parse_prefix(text)?;
        if !rest.is_empty() {
            return Err(Error::TrailingData {
                byte: text.len() - rest.len(),
            });
        }
        Ok(descriptor)
    }

    /// Parses the descriptor that `text` begins with, and returns what follows it, as
    /// `rend_parse_v2_service_descriptor` does with the strict form of times that directories ask
    /// for (rendparse.c:73).
    ///
    /// The descriptor ends where the next begins, or before a NUL byte: C Tor reads strings. The
    /// body of an upload is thus read by calling again as long as what is left begins with
    /// `rendezvous-service-descriptor `, as directories do (rendcache.c:733).
    ///
    /// # Errors
    /// [`Error::NotADescriptor`], [`Error::Unsigned`], [`Error::TooLong`], and [`Error::Malformed`]
    /// with the line.
    pub fn parse_prefix(text: &[u8]) -> Result<(Self, &[u8]), Error> {
        Self::parse_first(text, TimeSyntax::Strict)
    }

    /// Parses the descriptor that `text` begins with as clients do: whatever follows it is not
    /// looked at (rendcache.c:885), and neither is what follows the seconds of its publication time
    /// (rendparse.c:190).
    ///
    /// ```
    /// use onionweave_desc::v2::UnverifiedDescriptor;
    ///
    /// let text = include_str!("../../testdata/plain/descriptor-rf75jzdtba4wnd6v.txt").replace("12:00:00", "12:00:00 UTC");
    /// assert!(UnverifiedDescriptor::parse_as_client(text.as_bytes()).is_ok());
    /// assert!(UnverifiedDescriptor::parse(text.as_bytes()).is_err());
    /// ```
    ///
    /// # Errors
    /// As [`parse_prefix`](Self::parse_prefix).
    pub fn parse_as_client(text: &[u8]) -> Result<Self, Error> {
        Self::parse_first(text, TimeSyntax::Loose).map(|(descriptor, _)| descriptor)
    }

    /// Parses a text that is one descriptor, behind the annotations and blank lines that archives
    /// put in front: `@type hidden-service-descriptor 1.0` (CollecTor, "Hidden Service
    /// Descriptors").
    ///
    /// Directories and clients refuse annotations, and so do all other functions.
    ///
    /// ```
    /// use onionweave_desc::v2::UnverifiedDescriptor;
    ///
    /// let text = include_str!("../../testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
    /// let archived = format!("@type hidden-service-descriptor 1.0\n{text}");
    /// assert!(UnverifiedDescriptor::parse(archived.as_bytes()).is_err());
    /// assert_eq!(UnverifiedDescriptor::parse_archived(archived.as_bytes())?.text(), text.as_bytes());
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`parse`](Self::parse), with lines counted from the start of the text.
    pub fn parse_archived(text: &[u8]) -> Result<Self, Error> {
        let mut rest = text;
        let mut skipped = 0;
        while let Some(end) = find_byte(b'\n', rest) {
            let (line, after) = split_at(rest, end + 1);
            if !line.starts_with(b"@") && !line.trim_ascii().is_empty() {
                break;
            }
            rest = after;
            skipped += 1;
        }
        Self::parse(rest).map_err(|error| error.lines_later(skipped))
    }

    fn parse_first(text: &[u8], time_syntax: TimeSyntax) -> Result<(Self, &[u8]), Error> {
        let visible = visible(text);
        if !visible.starts_with(START) {
            return Err(match visible.starts_with(V3_START) {
                true => Error::V3Descriptor,
                false => Error::NotADescriptor,
            });
        }
        let end = NEXT.find(visible).map_or(visible.len(), |newline| newline + 1);
        if end > MAX_DESCRIPTOR_LEN {
            return Err(Error::TooLong {
                size: end,
                limit: MAX_DESCRIPTOR_LEN,
            });
        }
        let (document, rest) = split_at(text, end);
        Ok((Self::parse_document(document, time_syntax)?, rest))
    }

    fn parse_document(text: &[u8], time_syntax: TimeSyntax) -> Result<Self, Error> {
        // C Tor would look on into the next descriptor, but then the signature would be part of
        // what it signs.
        let signed_len = signed_len(text).ok_or(Error::Unsigned)?;
        let mut items = Items::read(Section::Descriptor, text, &RULES)?;

        let wanted = "32 characters of lower-case base32";
        let descriptor_id =
            parse_base32(items.get(DESCRIPTOR_ID)?.argument).ok_or_else(|| items.bad_value(DESCRIPTOR_ID, wanted))?;
        if parse_number(items.get(VERSION)?.argument, 0, i32::MAX.into()) != Some(2) {
            return Err(items.bad_value(VERSION, "2"));
        }
        let public_key = PublicKey::from_der(&items.get(PERMANENT_KEY)?.object)?;
        let secret_id_part =
            parse_base32(items.get(SECRET_ID_PART)?.argument).ok_or_else(|| items.bad_value(SECRET_ID_PART, wanted))?;
        let publication_time = time_syntax
            .read(items.get(PUBLICATION_TIME)?.argument)
            .ok_or_else(|| items.bad_value(PUBLICATION_TIME, "a time of the form YYYY-MM-DD HH:MM:SS"))?;
        let protocol_versions = parse_versions(items.get(PROTOCOL_VERSIONS)?.argument);
        let introduction_points = items.take_object(INTRODUCTION_POINTS);
        let signature = items.take_object(SIGNATURE).unwrap_or_default();

        let text = text.to_vec();
        let descriptor = Descriptor {
            text,
            signed_len,
            descriptor_id,
            public_key,
            secret_id_part,
            publication_time,
            protocol_versions,
            introduction_points,
        };
        Ok(Self { descriptor, signature })
    }

    /// Proves that the holder of the permanent key signed the text, and that the descriptor ID
    /// belongs to that key (rendparse.c:228-242).
    ///
    /// Whose descriptor it is remains for the caller to compare: anyone can sign a valid descriptor
    /// for a key of their own.
    ///
    /// # Errors
    /// [`Error::WrongSignature`] and [`Error::WrongDescriptorId`].
    pub fn verify(self) -> Result<Descriptor, Error> {
        self.verify_with(&RustCrypto)
    }

    /// Does the same as [`verify`](Self::verify), with the signature checked by `rsa`.
    ///
    /// ```
    /// use onionweave_desc::rsa::RustCrypto;
    /// use onionweave_desc::v2::UnverifiedDescriptor;
    ///
    /// let text = include_bytes!("../../testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
    /// let descriptor = UnverifiedDescriptor::parse(text)?.verify_with(&RustCrypto)?;
    /// assert_eq!(descriptor.text(), text);
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::WrongSignature`] and [`Error::WrongDescriptorId`].
    pub fn verify_with(self, rsa: &dyn Backend) -> Result<Descriptor, Error> {
        self.verify_by(|key, digest, signature| key.verify_with(rsa, digest, signature))
    }

    /// Verifies with whatever `check` makes of the permanent key, the digest of what is signed, and
    /// the signature.
    pub(super) fn verify_by(
        self,
        check: impl FnOnce(&PublicKey, &[u8; 20], &[u8]) -> Result<(), Error>,
    ) -> Result<Descriptor, Error> {
        let descriptor = self.descriptor;
        let digest = Sha1::digest(split_at(&descriptor.text, descriptor.signed_len).0).into();
        check(&descriptor.public_key, &digest, &self.signature)?;
        let computed = DescriptorId::new(&descriptor.service_id(), &descriptor.secret_id_part);
        if descriptor.descriptor_id != computed {
            return Err(Error::WrongDescriptorId {
                written: descriptor.descriptor_id,
                computed,
            });
        }
        Ok(descriptor)
    }

    /// The bytes of the descriptor, as received.
    pub fn text(&self) -> &[u8] {
        &self.descriptor.text
    }
}

impl fmt::Debug for UnverifiedDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedDescriptor")
            .field("claims", &self.descriptor)
            .finish_non_exhaustive()
    }
}

/// A descriptor that was signed with its permanent key and bears the descriptor ID that belongs to
/// it.
///
/// ```
/// use onionweave_desc::v2::UnverifiedDescriptor;
///
/// let text = include_bytes!("../../testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
/// let descriptor = UnverifiedDescriptor::parse(text)?.verify()?;
/// assert_eq!(descriptor.service_id().to_string(), "rf75jzdtba4wnd6v");
/// assert_eq!(descriptor.publication_time().to_string(), "2026-11-22 12:00:00");
/// assert_eq!(descriptor.introduction_points()?.len(), 3);
/// assert_eq!(descriptor.protocol_versions(), [2, 3]);
///
/// // The ID follows from the permanent key and what stands for period and replica.
/// use onionweave_ring::v2::DescriptorId;
/// let service = descriptor.public_key().service_id();
/// assert_eq!(descriptor.descriptor_id(), DescriptorId::new(&service, &descriptor.secret_id_part()));
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Descriptor {
    pub(super) text: Vec<u8>,
    /// Length of the signed part: `text[..signed_len]`. `signed_len <= text.len()`.
    pub(super) signed_len: usize,
    pub(super) descriptor_id: DescriptorId,
    pub(super) public_key: PublicKey,
    pub(super) secret_id_part: SecretIdPart,
    pub(super) publication_time: UnixTime,
    pub(super) protocol_versions: Vec<u8>,
    /// The decoded object, which may be encrypted.
    pub(super) introduction_points: Option<Vec<u8>>,
}

impl Descriptor {
    /// The bytes of the descriptor, as received or as signed.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The service. With stealth authorization every client has a service ID of its own.
    pub fn service_id(&self) -> ServiceId {
        self.public_key.service_id()
    }

    /// The permanent key.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The ID under which directories keep the descriptor.
    pub fn descriptor_id(&self) -> DescriptorId {
        self.descriptor_id
    }

    /// The part of the descriptor ID that stands for time period, replica and cookie.
    ///
    /// Neither directories nor clients check that it belongs to the present.
    pub fn secret_id_part(&self) -> SecretIdPart {
        self.secret_id_part
    }

    /// When the service says it published this. Directories keep the descriptor with the greatest.
    pub fn publication_time(&self) -> UnixTime {
        self.publication_time
    }

    /// Versions of the introduction protocol that the service speaks, ascending, without
    /// repetition, all below 16.
    pub fn protocol_versions(&self) -> &[u8] {
        &self.protocol_versions
    }

    /// For which kind of authorization the introduction points are encrypted, by their first byte;
    /// `None` if they are not.
    ///
    /// ```
    /// use onionweave_desc::v2::{AuthorizationKind, UnverifiedDescriptor};
    ///
    /// let text = include_bytes!("../../testdata/basic/descriptor-z2p7lut3zzeost7w.txt");
    /// let descriptor = UnverifiedDescriptor::parse(text)?.verify()?;
    /// assert_eq!(descriptor.authorization(), Some(AuthorizationKind::Basic));
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    pub fn authorization(&self) -> Option<AuthorizationKind> {
        block::kind(self.introduction_points.as_deref()?)
    }

    /// The introduction points, by the rules of clients (rendcache.c:910-947).
    ///
    /// # Errors
    /// [`Error::ClientAuthorization`] if they are encrypted, [`Error::IntroductionPointCount`]
    /// unless there are 1 to 10, and [`Error::Malformed`] with a line of the decoded text if one of
    /// them is wrong.
    pub fn introduction_points(&self) -> Result<Vec<IntroductionPoint>, Error> {
        let text = self.introduction_points.as_deref().unwrap_or_default();
        match block::kind(text) {
            Some(kind) => Err(Error::ClientAuthorization(kind)),
            None => read_points(text),
        }
    }

    /// The introduction points, as a client reads them that holds a cookie for the service
    /// (rendcache.c:910-947).
    ///
    /// What is encrypted says by itself how: the kind of authorization that the client was told of
    /// does not matter here, it only decides the descriptor ID. Points that are not encrypted are
    /// read as they are, and so are all points if the cookie is zero, which clients take for none.
    ///
    /// ```
    /// use onionweave_desc::v2::{ClientCookie, UnverifiedDescriptor};
    ///
    /// let text = include_bytes!("../../testdata/basic/descriptor-z2p7lut3zzeost7w.txt");
    /// let descriptor = UnverifiedDescriptor::parse(text)?.verify()?;
    /// let alice: ClientCookie = "/7+YSj84F0crQa7k9/ITkA".parse()?;
    /// assert_eq!(descriptor.introduction_points_for(alice.cookie())?.len(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`introduction_points`](Self::introduction_points); [`Error::WrongCookie`] and
    /// [`Error::AuthorizationTooShort`] if they cannot be decrypted.
    pub fn introduction_points_for(&self, cookie: &DescriptorCookie) -> Result<Vec<IntroductionPoint>, Error> {
        let text = self.introduction_points.as_deref().unwrap_or_default();
        match block::kind(text) {
            Some(kind) if !cookie.is_zero() => read_points(&block::decrypt(kind, text, cookie)?),
            _ => self.introduction_points(),
        }
    }

    /// The object with the introduction points, decoded; empty if there is none (rendcache.c:910).
    pub(super) fn introduction_points_object(&self) -> &[u8] {
        self.introduction_points.as_deref().unwrap_or_default()
    }

    /// Tells what a directory does with the descriptor at the time `now`, and a client too, as far
    /// as its age goes (rendcache.c:672-682, 955-965).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use onionweave_desc::v2::{AgeVerdict, UnverifiedDescriptor};
    ///
    /// let text = include_bytes!("../../testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
    /// let descriptor = UnverifiedDescriptor::parse(text)?.verify()?;
    /// let three_days_later = descriptor.publication_time().saturating_add(Duration::from_secs(72 * 3600));
    /// assert_eq!(descriptor.age_verdict(three_days_later), AgeVerdict::Accepted);
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    pub fn age_verdict(&self, now: UnixTime) -> AgeVerdict {
        if self.publication_time.saturating_add(MAX_AGE) < now {
            AgeVerdict::TooOld
        } else if self.publication_time > now.saturating_add(MAX_SKEW) {
            AgeVerdict::TooNew
        } else {
            AgeVerdict::Accepted
        }
    }
}

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Descriptor")
            .field("service_id", &self.service_id())
            .field("descriptor_id", &self.descriptor_id)
            .field("publication_time", &self.publication_time)
            .finish_non_exhaustive()
    }
}

/// Verdict of directories and clients on the age of a descriptor.
///
/// A directory answers an upload of the wrong age with success all the same, and drops it
/// (rendcache.c:736-742).
///
/// ```
/// use onionweave_desc::v2::{AgeVerdict, UnverifiedDescriptor};
/// use onionweave_ring::UnixTime;
///
/// let text = include_bytes!("../../testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
/// let descriptor = UnverifiedDescriptor::parse(text)?.verify()?;
/// let verdict = |now| Ok(descriptor.age_verdict(UnixTime::from_iso(now)?));
/// assert_eq!(verdict("2026-11-25 12:00:00"), Ok(AgeVerdict::Accepted));
/// assert_eq!(verdict("2026-11-25 12:00:01"), Ok(AgeVerdict::TooOld));
/// assert_eq!(verdict("2026-11-21 11:59:59"), Ok::<_, onionweave_ring::Error>(AgeVerdict::TooNew));
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AgeVerdict {
    /// Published at most 72 hours ago and at most 24 hours ahead.
    Accepted,
    /// Published more than 72 hours ago.
    TooOld,
    /// Published more than 24 hours in the future.
    TooNew,
}

/// Manner of reading the publication time: `as_hsdir` of `rend_parse_v2_service_descriptor`
/// (rendparse.c:92).
#[derive(Debug, Clone, Copy)]
enum TimeSyntax {
    /// The directories' manner.
    Strict,
    /// The clients' manner.
    Loose,
}

impl TimeSyntax {
    fn read(self, argument: &[u8]) -> Option<UnixTime> {
        match self {
            Self::Strict => UnixTime::from_iso(std::str::from_utf8(argument).ok()?).ok(),
            Self::Loose => UnixTime::from_iso_loose(argument.utf8_chunks().next()?.valid()).ok(),
        }
    }
}

/// The text as C Tor sees it, for which a NUL byte ends a string.
pub(super) fn visible(text: &[u8]) -> &[u8] {
    split_at(text, find_byte(0, text).unwrap_or(text.len())).0
}

/// The length of what is signed: all through the end of the first line that begins with
/// `signature`, whatever follows on it (`router_get_hash_impl_helper`,
/// feature/dirparse/sigcommon.c:27). `None` if there is no such line, or no LF after it.
fn signed_len(text: &[u8]) -> Option<usize> {
    let keyword = START.len() + SIGNATURE_LINE.find(text.get(START.len()..)?)? + SIGNATURE_LINE.needle().len();
    Some(keyword + find_byte(b'\n', text.get(keyword..)?)? + 1)
}

/// An ID of 20 bytes: `rend_valid_descriptor_id` (rendcommon.c:741), which takes lower case only.
fn parse_base32<T: std::str::FromStr>(argument: &[u8]) -> Option<T> {
    let valid = argument.len() == 32 && argument.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'));
    std::str::from_utf8(argument).ok().filter(|_| valid)?.parse().ok()
}

/// The bits that C Tor sets for `protocol-versions` (rendparse.c:195-209): what is no number, or
/// too large a one, counts for nothing.
fn parse_versions(argument: &[u8]) -> Vec<u8> {
    let number = |part: &[u8]| {
        let blank_end = part.iter().rev().take_while(|byte| is_c_space(**byte)).count();
        let part = part.get(..part.len() - blank_end)?;
        u8::try_from(parse_number(part, 0, 15)?).ok()
    };
    let mut versions: Vec<u8> = argument.split(|byte| *byte == b',').filter_map(number).collect();
    versions.sort_unstable();
    versions.dedup();
    versions
}

/// The points of a decoded and decrypted object. None at all are not worth a line number.
fn read_points(text: &[u8]) -> Result<Vec<IntroductionPoint>, Error> {
    if text.is_empty() {
        return Err(Error::IntroductionPointCount {
            found: 0,
            limit: MAX_INTRODUCTION_POINTS,
        });
    }
    IntroductionPoint::parse_list(text)
}
