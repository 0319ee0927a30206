//! Introduction points (rend-spec-v3, section 2.5.2.2). References are to
//! feature/hs/hs_descriptor.c.

use std::fmt;

use data_encoding::BASE64;
use onionweave_ring::{Ed25519Identity, Fingerprint, UnixTime};

use super::LinkSpecifiers;
use super::certificate::{self, Certificate, Kind};
use super::crypto::{self, KeyPair};
use super::error::{CertificateProblem, Problem};
use crate::base64;
use crate::error::{Error, Section};
use crate::tokens::{Arguments, Items, ObjectRule, Rule};

/// `hs_desc_intro_point_v3_token_table` (:163)
static RULES: [Rule; 7] = [
    Rule::once("introduction-point", Arguments::One, ObjectRule::None).first(),
    Rule::once("onion-key", Arguments::AtLeast(2), ObjectRule::Optional).repeats(),
    Rule::once("auth-key", Arguments::None, ObjectRule::Label(certificate::LABEL)),
    Rule::once("enc-key", Arguments::AtLeast(2), ObjectRule::Optional),
    Rule::once(
        "enc-key-cert",
        Arguments::AtLeast(0),
        ObjectRule::Label(certificate::LABEL),
    ),
    Rule::once("legacy-key", Arguments::AtLeast(0), ObjectRule::Key).optional(),
    Rule::once("legacy-key-cert", Arguments::AtLeast(0), ObjectRule::Optional).optional(),
];
const LINK_SPECIFIERS: usize = 0;
const ONION_KEY: usize = 1;
const AUTH_KEY: usize = 2;
const ENC_KEY: usize = 3;
const ENC_KEY_CERT: usize = 4;

/// Length of a key in base64, with and without padding, in characters
/// (lib/crypt_ops/crypto_format.c:171).
const KEY_BASE64_LENS: std::ops::RangeInclusive<usize> = 43..=44;

/// A relay at which a service awaits introductions, and the keys that are used there.
///
/// Certificates are no part of it: each descriptor that names the point has its own.
///
/// ```
/// use onionweave_desc::v3::{IntroductionPoint, LinkSpecifiers};
///
/// let specifiers = LinkSpecifiers::from_bytes(&[&[1, 2, 20][..], &[7; 20]].concat())?;
/// let point = IntroductionPoint::new(specifiers.clone(), [1; 32], [2; 32], [9; 32]);
/// assert_eq!(point.link_specifiers(), &specifiers);
/// assert_eq!((point.rsa_identity(), point.ed25519_identity()), (Some([7; 20].into()), None));
/// assert_eq!([point.onion_key(), point.auth_key(), point.enc_key()], [&[1; 32], &[2; 32], &[9; 32]]);
/// assert_eq!(IntroductionPoint::from_bytes(&point.to_bytes())?, point);
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IntroductionPoint {
    link_specifiers: LinkSpecifiers,
    onion_key: [u8; 32],
    auth_key: [u8; 32],
    enc_key: [u8; 32],
}

impl IntroductionPoint {
    /// An introduction point at the relay that these link specifiers name, whose onion key (X25519)
    /// is `onion_key`. `auth_key` (Ed25519) tells the service's introductions at that relay from
    /// others, and introductions are encrypted to `enc_key` (X25519).
    pub fn new(link_specifiers: LinkSpecifiers, onion_key: [u8; 32], auth_key: [u8; 32], enc_key: [u8; 32]) -> Self {
        Self {
            link_specifiers,
            onion_key,
            auth_key,
            enc_key,
        }
    }

    /// Reads one point as `decode_introduction_point` does (:1854).
    ///
    /// Two things differ. C Tor does not compare the key that `enc-key-cert` certifies with the one
    /// beside it; Arti does, and so does this. C Tor looks into legacy keys, which no Tor has
    /// written since 0.4.0; here they are skipped.
    pub(super) fn read(text: &[u8], signing_key: &[u8; 32], now: UnixTime) -> Result<Self, Error> {
        let items = Items::read(Section::Encrypted, text, &RULES)?;
        let link_specifiers = base64::decode(items.get(LINK_SPECIFIERS)?.argument)
            .ok_or_else(|| items.bad_value(LINK_SPECIFIERS, "base64"))?;
        let link_specifiers = LinkSpecifiers::from_bytes(&link_specifiers)?;

        // The last key of a known kind counts, but every one must be well-formed (:1809).
        let mut onion_key = None;
        for item in items.all(ONION_KEY).filter(|item| item.argument == b"ntor") {
            let key = read_key(item.more.first().copied().unwrap_or_default());
            onion_key = Some(key.ok_or_else(|| items.bad_value(ONION_KEY, "32 bytes in base64"))?);
        }
        let onion_key = onion_key.ok_or_else(|| items.bad_value(ONION_KEY, "of the kind `ntor`"))?;

        let certified = |index, kind, key| -> Result<[u8; 32], Error> {
            let certificate = Certificate::read(&items.get(index)?.object, kind, now);
            let certificate = certificate.and_then(|certificate| match certificate.signer == *signing_key {
                true => Ok(certificate.certified),
                false => Err(CertificateProblem::OtherSigner),
            });
            certificate.map_err(|problem| Problem::PointCertificate { key, problem }.into())
        };
        let auth_key = certified(AUTH_KEY, Kind::Authentication, "authentication")?;

        let item = items.get(ENC_KEY)?;
        if item.argument != b"ntor" {
            return Err(items.bad_value(ENC_KEY, "of the kind `ntor`"));
        }
        let enc_key = read_key(item.more.first().copied().unwrap_or_default())
            .ok_or_else(|| items.bad_value(ENC_KEY, "32 bytes in base64"))?;
        let cross_certified = certified(ENC_KEY_CERT, Kind::Encryption, "encryption")?;
        if crypto::edwards_of(&enc_key) != Some(cross_certified) {
            let (key, problem) = ("encryption", CertificateProblem::OtherKey);
            return Err(Problem::PointCertificate { key, problem }.into());
        }
        Ok(Self::new(link_specifiers, onion_key, auth_key, enc_key))
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// [`Problem::PointBytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let take = |bytes: &mut &[u8]| -> Option<[u8; 32]> {
            let (key, rest) = bytes.split_first_chunk()?;
            *bytes = rest;
            Some(*key)
        };
        let mut rest = bytes;
        let keys = (|| Some([take(&mut rest)?, take(&mut rest)?, take(&mut rest)?]))();
        let [onion_key, auth_key, enc_key] = keys.ok_or(Problem::PointBytes)?;
        let link_specifiers = LinkSpecifiers::from_bytes(rest).map_err(|_| Problem::PointBytes)?;
        Ok(Self::new(link_specifiers, onion_key, auth_key, enc_key))
    }

    /// The whole point in bytes, for those who carry it without looking into it: onion key,
    /// authentication key, encryption key, link specifiers.
    pub fn to_bytes(&self) -> Vec<u8> {
        let specifiers = self.link_specifiers.as_bytes();
        [&self.onion_key[..], &self.auth_key, &self.enc_key, specifiers].concat()
    }

    /// The ways to reach the relay, as they were received.
    pub fn link_specifiers(&self) -> &LinkSpecifiers {
        &self.link_specifiers
    }

    /// The relay's identity in the directory, by which C Tor's clients tell points apart.
    pub fn rsa_identity(&self) -> Option<Fingerprint> {
        self.link_specifiers.rsa_identity()
    }

    /// The relay's Ed25519 identity.
    pub fn ed25519_identity(&self) -> Option<Ed25519Identity> {
        self.link_specifiers.ed25519_identity()
    }

    /// The relay's onion key (X25519), to which clients extend their circuits.
    pub fn onion_key(&self) -> &[u8; 32] {
        &self.onion_key
    }

    /// The service's key at this relay (Ed25519), made for this introduction point alone.
    pub fn auth_key(&self) -> &[u8; 32] {
        &self.auth_key
    }

    /// The key to which introductions are encrypted (X25519).
    pub fn enc_key(&self) -> &[u8; 32] {
        &self.enc_key
    }

    /// Writes the point with these certificates as `encode_intro_point` does (:460).
    pub(super) fn write(&self, certificates: &Certificates, out: &mut String) {
        out.push_str("introduction-point ");
        BASE64.encode_append(self.link_specifiers.as_bytes(), out);
        out.push_str("\nonion-key ntor ");
        BASE64.encode_append(&self.onion_key, out);
        out.push_str("\nauth-key\n");
        base64::encode_object(certificate::LABEL, &certificates.auth_key, out);
        out.push_str("enc-key ntor ");
        BASE64.encode_append(&self.enc_key, out);
        out.push_str("\nenc-key-cert\n");
        base64::encode_object(certificate::LABEL, &certificates.enc_key, out);
    }
}

impl fmt::Debug for IntroductionPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identity = Ed25519Identity::from(self.auth_key);
        f.debug_struct("IntroductionPoint")
            .field("link_specifiers", &self.link_specifiers)
            .field("auth_key", &format_args!("{identity}"))
            .finish_non_exhaustive()
    }
}

/// The two certificates of a point in one descriptor.
#[derive(Clone)]
pub(super) struct Certificates {
    auth_key: Vec<u8>,
    enc_key: Vec<u8>,
}

impl Certificates {
    /// Makes them as `setup_desc_intro_point` does (feature/hs/hs_service.c:1661),
    /// from the start of the hour on.
    pub(super) fn new(point: &IntroductionPoint, signing_key: &KeyPair, now: UnixTime) -> Result<Self, Problem> {
        let hour = now.start_of_hour();
        let enc_key = crypto::edwards_of(&point.enc_key).ok_or(Problem::OffCurve)?;
        Ok(Self {
            auth_key: certificate::write(Kind::Authentication, &point.auth_key, signing_key, hour).to_vec(),
            enc_key: certificate::write(Kind::Encryption, &enc_key, signing_key, hour).to_vec(),
        })
    }
}

/// `curve25519_public_from_base64` (lib/crypt_ops/crypto_format.c:166)
pub(super) fn read_key(text: &[u8]) -> Option<[u8; 32]> {
    if !KEY_BASE64_LENS.contains(&text.len()) {
        return None;
    }
    base64::decode(text)?.try_into().ok()
}
