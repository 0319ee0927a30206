//! Ed25519 certificates (cert-spec, section 2.1), as C Tor reads and writes them
//! (trunnel/ed25519_cert.trunnel, feature/nodelist/torcert.c).

use onionweave_ring::UnixTime;

use super::crypto::{self, KeyPair};
use super::error::CertificateProblem;

/// Label of the object that holds a certificate.
pub(super) const LABEL: &str = "ED25519 CERT";

/// Lifetime of every certificate, in seconds: `HS_DESC_CERT_LIFETIME`
/// (feature/hs/hs_descriptor.h:42).
pub(super) const LIFETIME_SECS: u64 = 54 * 3600;

const VERSION: u8 = 1;
/// `SIGNED_KEY_TYPE_ED25519`
const KEY_TYPE_ED25519: u8 = 1;
/// `CERTEXT_SIGNED_WITH_KEY`
const SIGNED_WITH_KEY: u8 = 4;
/// `CERTEXT_FLAG_AFFECTS_VALIDATION`
const AFFECTS_VALIDATION: u8 = 1;

/// Length of a certificate with one extension, which is all that C Tor writes here, in bytes.
const LEN: usize = 140;
const SIGNATURE_LEN: usize = 64;

/// Purpose of a certificate: the second byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The blinded key certifies the descriptor's signing key: `CERT_TYPE_SIGNING_HS_DESC`.
    Signing = 0x08,
    /// The signing key certifies a point's authentication key: `CERT_TYPE_AUTH_HS_IP_KEY`.
    Authentication = 0x09,
    /// The signing key certifies a point's encryption key: `CERT_TYPE_CROSS_HS_IP_KEYS`.
    Encryption = 0x0b,
}

/// A certificate whose type, expiry and signature have been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Certificate {
    pub(super) certified: [u8; 32],
    pub(super) signer: [u8; 32],
    pub(super) expires: UnixTime,
}

impl Certificate {
    /// Reads and checks as `cert_parse_and_validate` does (hs_descriptor.c:1371): the signer must
    /// be named in the certificate, and the certificate is good through the second at which it
    /// expires.
    pub(super) fn read(bytes: &[u8], kind: Kind, now: UnixTime) -> Result<Self, CertificateProblem> {
        let parsed = Parsed::read(bytes).ok_or(CertificateProblem::Damaged)?;
        if parsed.kind != kind as u8 {
            return Err(CertificateProblem::Type {
                wanted: kind as u8,
                found: parsed.kind,
            });
        }
        let signer = parsed.signer.ok_or(CertificateProblem::NoSigner)?;
        if now > parsed.expires {
            return Err(CertificateProblem::Expired {
                expired: parsed.expires,
            });
        }
        if !crypto::verify(&signer, parsed.signed, parsed.signature) {
            return Err(CertificateProblem::Signature);
        }
        Ok(Self {
            certified: parsed.certified,
            signer,
            expires: parsed.expires,
        })
    }
}

/// Writes a certificate as `tor_cert_create_raw` does (torcert.c:31), good for at least
/// [`LIFETIME_SECS`] after `from`.
pub(super) fn write(kind: Kind, certified: &[u8; 32], signer: &KeyPair, from: UnixTime) -> [u8; LEN] {
    let hours = expiry_hours(from);
    let mut bytes = Vec::with_capacity(LEN);
    bytes.extend_from_slice(&[VERSION, kind as u8]);
    bytes.extend_from_slice(&hours.to_be_bytes());
    bytes.push(KEY_TYPE_ED25519);
    bytes.extend_from_slice(certified);
    bytes.push(1);
    bytes.extend_from_slice(&[0, 32, SIGNED_WITH_KEY, 0]);
    bytes.extend_from_slice(signer.public());
    let signature = signer.sign(&bytes);
    bytes.extend_from_slice(&signature);
    match bytes.try_into() {
        Ok(bytes) => bytes,
        Err(_) => unreachable!("every part has a fixed length"),
    }
}

/// Last second of a certificate that is made at `from`.
pub(super) fn expiry(from: UnixTime) -> UnixTime {
    UnixTime::from_secs(u64::from(expiry_hours(from)) * 3600)
}

/// `CEIL_DIV(now + lifetime, 3600)` (torcert.c:53)
fn expiry_hours(from: UnixTime) -> u32 {
    let hours = from.as_secs().saturating_add(LIFETIME_SECS).div_ceil(3600);
    u32::try_from(hours).unwrap_or(u32::MAX)
}

/// `tor_cert_parse` (torcert.c:155).
struct Parsed<'a> {
    kind: u8,
    expires: UnixTime,
    certified: [u8; 32],
    signer: Option<[u8; 32]>,
    signed: &'a [u8],
    signature: &'a [u8; SIGNATURE_LEN],
}

impl<'a> Parsed<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (signed, signature) = bytes.split_last_chunk()?;
        let mut rest = signed;
        let [version, kind] = take(&mut rest)?;
        if version != VERSION {
            return None;
        }
        let hours = u32::from_be_bytes(take(&mut rest)?);
        let [_key_type] = take(&mut rest)?;
        let certified = take(&mut rest)?;
        let [extensions] = take(&mut rest)?;
        let mut signer = None;
        for _ in 0..extensions {
            let length = usize::from(u16::from_be_bytes(take(&mut rest)?));
            let [extension, flags] = take(&mut rest)?;
            let (body, after) = rest.split_at_checked(length)?;
            rest = after;
            if extension == SIGNED_WITH_KEY {
                if signer.is_some() {
                    return None;
                }
                signer = Some(body.try_into().ok()?);
            } else if flags & AFFECTS_VALIDATION != 0 {
                return None;
            }
        }
        rest.is_empty().then_some(Self {
            kind,
            expires: UnixTime::from_secs(u64::from(hours) * 3600),
            certified,
            signer,
            signed,
            signature,
        })
    }
}

/// Takes the next `N` bytes.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_795_349_684);

    fn written() -> [u8; LEN] {
        write(Kind::Authentication, &[3; 32], &KeyPair::from_seed(&[7; 32]), NOW)
    }

    #[test]
    fn reads_what_it_writes_until_it_expires() {
        let read = |now| Certificate::read(&written(), Kind::Authentication, now);
        let certificate = read(NOW).unwrap();
        assert_eq!(certificate.certified, [3; 32]);
        assert_eq!(&certificate.signer, KeyPair::from_seed(&[7; 32]).public());
        let left = certificate.expires.as_secs() - NOW.as_secs();
        assert!((LIFETIME_SECS..LIFETIME_SECS + 3600).contains(&left), "{left}");
        assert_eq!(certificate.expires.as_secs() % 3600, 0);
        assert_eq!(read(certificate.expires), Ok(certificate));
        let later = UnixTime::from_secs(certificate.expires.as_secs() + 1);
        let expired = certificate.expires;
        assert_eq!(read(later), Err(CertificateProblem::Expired { expired }));
    }

    #[test]
    fn every_bit_counts() {
        let (wanted, found) = (0x0b, 0x09);
        let other = Certificate::read(&written(), Kind::Encryption, NOW);
        assert_eq!(other, Err(CertificateProblem::Type { wanted, found }));
        for bit in 0..LEN * 8 {
            let mut bytes = written();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(
                Certificate::read(&bytes, Kind::Authentication, NOW).is_err(),
                "bit {bit}"
            );
        }
        for length in 0..LEN {
            let cut = Certificate::read(&written()[..length], Kind::Authentication, NOW);
            assert!(cut.is_err(), "{length} bytes");
        }
    }

    /// A certificate with these extensions, signed by the key that `written` uses.
    fn with_extensions(count: u8, extensions: &[u8]) -> Vec<u8> {
        let pair = KeyPair::from_seed(&[7; 32]);
        let bytes = [&written()[..39], &[count], extensions].concat();
        let signature = pair.sign(&bytes);
        [bytes, signature.to_vec()].concat()
    }

    #[test]
    fn extensions_are_read_as_tor_does() {
        let signer = [&[0, 32, 4, 0][..], KeyPair::from_seed(&[7; 32]).public()].concat();
        let table: &[(&str, u8, Vec<u8>, Option<CertificateProblem>)] = &[
            ("signer alone", 1, signer.clone(), None),
            (
                "an unknown one first",
                2,
                [&[0, 1, 9, 0, 5], &signer[..]].concat(),
                None,
            ),
            ("none", 0, Vec::new(), Some(CertificateProblem::NoSigner)),
            ("signer twice", 2, signer.repeat(2), Some(CertificateProblem::Damaged)),
            (
                "one that affects validation",
                2,
                [&[0, 0, 9, 1], &signer[..]].concat(),
                Some(CertificateProblem::Damaged),
            ),
            ("fewer than named", 2, signer.clone(), Some(CertificateProblem::Damaged)),
            (
                "more than named",
                1,
                signer.repeat(2),
                Some(CertificateProblem::Damaged),
            ),
            (
                "signer too short",
                1,
                [&[0, 31, 4, 0], &signer[4..35]].concat(),
                Some(CertificateProblem::Damaged),
            ),
        ];
        for (name, count, extensions, expected) in table {
            let read = Certificate::read(&with_extensions(*count, extensions), Kind::Authentication, NOW);
            assert_eq!(&read.err(), expected, "{name}");
        }
    }
}
