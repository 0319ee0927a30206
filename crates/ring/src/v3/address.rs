//! The address of a v3 service (rend-spec-v3, section 6).

use core::fmt;
use core::str::FromStr;

use curve25519_dalek::Scalar;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};

use super::{BlindedId, Period, sha3_256};
use crate::{Error, text};

/// The last byte of an address.
const VERSION: u8 = 3;

/// The base point of Ed25519 as the specification writes it: `str_ed25519_basepoint`
/// (feature/hs/hs_common.c:48).
const BASE_POINT: &[u8] = b"(15112221349535400772501151409588531511454012693041857206046113283949847762202, \
    46316835694926478169428394003475163141307993866256225615783033603165251855960)";

/// The address of a v3 service: its public key, of which the text also has a checksum and the
/// version.
///
/// ```
/// use onionweave_ring::v3::{Address, Period};
///
/// let address: Address = "g4onrhjcsgeysofzamzk6ijeetfcs47gcmddlpgsqyzq6w7aemzgg5yd.onion".parse()?;
/// assert_eq!(Address::from_public_key(*address.public_key())?, address);
/// let one = address.blinded_id(Period::new(20_780, 1440));
/// assert_ne!(one, address.blinded_id(Period::new(20_781, 1440)), "each period has its own");
///
/// // One character is wrong.
/// let wrong = "g4onrhjcsgeysofzamzk6ijeetfcs47gcmddlpgsqyzq6w7aemzgg5yd".replace("g4o", "g4p");
/// assert!(wrong.parse::<Address>().is_err());
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// A point of the curve, which is checked wherever one is made.
    public_key: [u8; 32],
}

impl Address {
    /// The address of the service with this public key (Ed25519).
    ///
    /// # Errors
    /// [`Error::AddressKey`] if it is no point of the curve, or one outside the group that Ed25519
    /// uses.
    pub fn from_public_key(public_key: [u8; 32]) -> Result<Self, Error> {
        // `ed25519_validate_pubkey` (lib/crypt_ops/crypto_ed25519.c): without this, several
        // addresses would lead to one service.
        let is_valid = |point: EdwardsPoint| point.is_torsion_free() && !point.is_small_order();
        match CompressedEdwardsY(public_key).decompress().is_some_and(is_valid) {
            true => Ok(Self { public_key }),
            false => Err(Error::AddressKey),
        }
    }

    /// The service's public key (Ed25519).
    pub const fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    /// The blinded key of a period (`hs_build_blinded_pubkey`, hs_common.c:927).
    pub fn blinded_id(&self, period: Period) -> BlindedId {
        let mut factor = self.blinding_factor(period);
        // `ed25519_ref10_gettweak` (ext/ed25519/ref10/blinding.c:16)
        factor[0] &= 248;
        factor[31] &= 63;
        factor[31] |= 64;
        match CompressedEdwardsY(self.public_key).decompress() {
            Some(point) => {
                let blinded = point * Scalar::from_bytes_mod_order(factor);
                BlindedId::from(blinded.compress().to_bytes())
            }
            None => unreachable!("it was checked to be a point"),
        }
    }

    /// The factor by which a period blinds the key, before bits are set in it
    /// (`build_blinded_key_param`, hs_common.c:436). Who holds the private key blinds that with the
    /// same factor.
    ///
    /// ```
    /// use onionweave_ring::v3::{Address, Period};
    ///
    /// let address: Address = "g4onrhjcsgeysofzamzk6ijeetfcs47gcmddlpgsqyzq6w7aemzgg5yd".parse()?;
    /// let factor = address.blinding_factor(Period::new(20_780, 1440));
    /// assert_ne!(factor, address.blinding_factor(Period::new(20_780, 720)));
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    pub fn blinding_factor(&self, period: Period) -> [u8; 32] {
        sha3_256(&[
            b"Derive temporary signing key\0",
            &self.public_key,
            BASE_POINT,
            b"key-blind",
            &period.number().to_be_bytes(),
            &u64::from(period.minutes()).to_be_bytes(),
        ])
    }

    /// The bytes of the text: key, checksum, version (`hs_build_address`, hs_common.c:901).
    fn to_bytes(self) -> [u8; 35] {
        let checksum = sha3_256(&[b".onion checksum", &self.public_key, &[VERSION]]);
        let [first, second, ..] = checksum;
        let mut bytes = [0; 35];
        let (key, rest) = bytes.split_at_mut(32);
        key.copy_from_slice(&self.public_key);
        rest.copy_from_slice(&[first, second, VERSION]);
        bytes
    }
}

/// Base32 characters of either case, with or without `.onion` behind.
impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes: [u8; 35] = text::decode("v3 onion address", &text::BASE32_ANY_CASE, text::without_onion(text))?;
        let [.., version] = bytes;
        if version != VERSION {
            return Err(Error::AddressVersion { found: version });
        }
        let mut public_key = [0; 32];
        for (to, from) in public_key.iter_mut().zip(bytes) {
            *to = from;
        }
        let address = Self { public_key };
        if address.to_bytes() != bytes {
            return Err(Error::AddressChecksum);
        }
        Self::from_public_key(public_key)
    }
}

/// Lower-case base32 characters, without `.onion`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::fmt_base32(&self.to_bytes(), f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

text::serde_as_text!(Address, "a v3 onion address: 56 characters of base32");

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::EIGHT_TORSION;
    use data_encoding::BASE32_NOPAD_NOCASE;

    use super::*;

    const TEXT: &str = "g4onrhjcsgeysofzamzk6ijeetfcs47gcmddlpgsqyzq6w7aemzgg5yd";

    /// The text with other bytes from `at` on.
    fn with(at: usize, bytes: &[u8]) -> String {
        let mut decoded = BASE32_NOPAD_NOCASE.decode(TEXT.as_bytes()).unwrap();
        decoded[at..at + bytes.len()].copy_from_slice(bytes);
        BASE32_NOPAD_NOCASE.encode(&decoded)
    }

    #[test]
    fn reads_what_tor_writes() {
        let address: Address = TEXT.parse().unwrap();
        assert_eq!(address.to_string(), TEXT);
        for text in [format!("{TEXT}.onion"), format!("{}.ONION", TEXT.to_uppercase())] {
            assert_eq!(text.parse(), Ok(address));
        }
    }

    #[test]
    fn refuses_with_a_reason() {
        let parse = |text: &str| text.parse::<Address>().unwrap_err();
        assert!(matches!(parse("g4onrhjcsgeysofz"), Error::Length { found: 16, .. }));
        assert!(matches!(parse(&TEXT.replace('g', "1")), Error::Character { .. }));
        assert_eq!(parse(&with(34, &[2])), Error::AddressVersion { found: 2 });
        assert_eq!(parse(&with(32, &[0])), Error::AddressChecksum);
        assert_eq!(parse(&with(0, &[0])), Error::AddressChecksum);
        // Half of all numbers are not the y of a point.
        let no_point = (0..=255).find(|byte| Address::from_public_key([*byte; 32]).is_err());
        assert_eq!(
            Address::from_public_key([no_point.unwrap(); 32]),
            Err(Error::AddressKey)
        );
        // The neutral element, and a valid key to which a point of small order was added.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert_eq!(Address::from_public_key(neutral), Err(Error::AddressKey));
        let point = CompressedEdwardsY(*TEXT.parse::<Address>().unwrap().public_key())
            .decompress()
            .unwrap();
        for torsion in &EIGHT_TORSION[1..] {
            let key = (point + torsion).compress().to_bytes();
            assert_eq!(Address::from_public_key(key), Err(Error::AddressKey));
        }
    }

    /// `HS_DESC CREATED` events of the recorded network, whose periods have eight minutes: the
    /// periods of the two descriptors that a service has at 12:12:05.
    #[test]
    fn blinded_keys_are_those_of_tor() {
        let table = [
            (
                TEXT,
                [
                    "QP+xpEjRBaFfY+wZDXOhsn2wcAGlDVkc1CApgbexGEA",
                    "UqmSJoE3gu8v/ux2L0SJfVzrShYn+HxB5HX3h8YnVSE",
                ],
            ),
            (
                "esczfvcziooqoidpm3kdom5pngj3nundxvsnbnafgzzznweqi7ua4ryd",
                [
                    "Bql9rUzkyQgpCPfABatIzENnd/R491Usl+i5uQon550",
                    "ZOTQToJhn+JKbLZgBOuF4mvVmZhlWd/dOirPCBRIXWs",
                ],
            ),
            (
                "wkq5cpve2qe7fy7k23b27cze2hmctx5ohvinj7bl725crdczctxhidid",
                [
                    "ZkvQ5Sgzo0aEDlHemRMZVj0K3ZXLt1MsG6npTLaBHyw",
                    "CHv9Pq73Hmd8vfRL1Lo50iQq5zbVGnlhAZe3n7Dhpr0",
                ],
            ),
        ];
        let number = 1_795_349_525 / 480;
        for (address, events) in table {
            let address: Address = address.parse().unwrap();
            let near: Vec<_> = (number - 2..=number + 2)
                .map(|number| address.blinded_id(Period::new(number, 8)).to_string())
                .collect();
            assert!(near.windows(2).any(|two| two == events), "{address}: {near:?}");
        }
    }
}
