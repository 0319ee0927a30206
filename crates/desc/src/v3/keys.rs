//! A service's private key, in the forms in which it is kept.

use std::fmt;
use std::sync::Arc;

use data_encoding::BASE64;
use onionweave_ring::v3::{Address, Period};
use zeroize::Zeroizing;

use super::crypto::KeyPair;
use super::error::{KeyFault, Problem};
use crate::base64;
use crate::error::{Error, KeyProblem};
use crate::rsa::pem;

/// First bytes of Tor's file, with the NULs that fill it up
/// (`crypto_write_tagged_contents_to_file`, lib/crypt_ops/crypto_format.c:40).
const TAG: &[u8; 32] = b"== ed25519v1-secret: type0 ==\0\0\0";
/// First bytes of the tags of all such files.
const ANY_TAG: &[u8] = b"== ed25519v1-";
/// Length of Tor's file, in bytes.
const FILE_LEN: usize = 96;

/// The form in which commands of the control port take the key.
const CONTROL_PORT: &[u8] = b"ED25519-V3:";

/// PKCS#8 (RFC 5958) of an Ed25519 key (RFC 8410, section 7) up to its seed.
const PKCS8_START: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
/// Object identifier of the algorithm, as it stands there.
const PKCS8_ALGORITHM: &[u8] = b"\x06\x03\x2b\x65\x70";

/// The private key of a v3 service: Ed25519, expanded.
///
/// An expanded key has two halves, a scalar and 32 bytes that go into every nonce. Both take part
/// in signing and in blinding; only the scalar decides the address. It is wiped from memory when
/// the last clone is dropped, and is never printed.
///
/// ```
/// use onionweave_desc::v3::ServiceKey;
///
/// let key = ServiceKey::from_file(include_bytes!("../../testdata/v3/keys/plain/hs_ed25519_secret_key"))?;
/// let hostname = include_str!("../../testdata/v3/keys/plain/hostname");
/// key.check_hostname(hostname)?;
/// assert_eq!(format!("{}.onion", key.address()), hostname.trim());
/// assert!(!format!("{key:?}").contains("secret"));
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
#[derive(Clone)]
pub struct ServiceKey {
    pair: Arc<KeyPair>,
}

impl ServiceKey {
    /// Reads a key in whatever form it is kept: Tor's file `hs_ed25519_secret_key`, PKCS#8 in PEM,
    /// or `ED25519-V3:` and base64 as on the control port.
    ///
    /// ```
    /// use onionweave_desc::v3::ServiceKey;
    ///
    /// let key = ServiceKey::from_seed(&[7; 32]);
    /// assert_eq!(ServiceKey::from_file(&*key.to_file())?.address(), key.address());
    /// assert_eq!(ServiceKey::from_file(key.to_control_port().as_bytes())?.address(), key.address());
    ///
    /// let pem = include_bytes!("../../testdata/keys/ed25519-pkcs8.pem");
    /// assert!(ServiceKey::from_file(pem).is_ok());
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Problem::Key`] with the reason.
    pub fn from_file(file: &[u8]) -> Result<Self, Error> {
        Ok(Self::read(file)?)
    }

    fn read(file: &[u8]) -> Result<Self, KeyFault> {
        if file.starts_with(ANY_TAG) {
            return Self::from_tagged(file);
        }
        let text = file.trim_ascii();
        if let Some(base64) = text.strip_prefix(CONTROL_PORT) {
            let secret = base64::decode_secret(base64).ok_or(KeyFault::Base64)?;
            return Self::from_secret(&secret, secret.len());
        }
        match pem::find(file, &[pem::PKCS8_LABEL, pem::PKCS1_LABEL]) {
            Ok((pem::PKCS8_LABEL, body)) => Self::from_pkcs8(&base64::decode_secret(body).ok_or(KeyFault::Pem)?),
            Ok(_) => Err(KeyFault::V2Key),
            Err(KeyProblem::Pem) => Err(KeyFault::Pem),
            Err(_) if text.starts_with(b"RSA1024:") => Err(KeyFault::V2Key),
            Err(_) => Err(KeyFault::Unknown),
        }
    }

    /// The key with this seed, which is what most programs call an Ed25519 private key
    /// (RFC 8032, section 5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self {
            pair: Arc::new(KeyPair::from_seed(seed)),
        }
    }

    /// The key with these two halves: 32 bytes of the scalar, least significant first, and 32 of
    /// the other half.
    ///
    /// As in C Tor, the scalar need not have the bits that a seed would give it: programs that
    /// search for an address count it up.
    ///
    /// ```
    /// use onionweave_desc::v3::ServiceKey;
    /// use zeroize::Zeroizing;
    ///
    /// // The scalar is one, so the public key is the base point.
    /// let mut halves = [7; 64];
    /// halves[..32].fill(0);
    /// halves[0] = 1;
    /// let key = ServiceKey::from_expanded(Zeroizing::new(halves))?;
    /// assert_eq!(key.address().to_string().len(), 56);
    /// assert!(ServiceKey::from_expanded(Zeroizing::new([0; 64])).is_err());
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Problem::Key`] if the scalar is zero.
    pub fn from_expanded(secret: Zeroizing<[u8; 64]>) -> Result<Self, Error> {
        Ok(Self::from_halves(secret)?)
    }

    fn from_halves(secret: Zeroizing<[u8; 64]>) -> Result<Self, KeyFault> {
        let pair = KeyPair::from_expanded(secret).ok_or(KeyFault::Zero)?;
        Ok(Self { pair: Arc::new(pair) })
    }

    /// `crypto_read_tagged_contents_from_file` (crypto_format.c:93)
    fn from_tagged(file: &[u8]) -> Result<Self, KeyFault> {
        let Some((tag, secret)) = file.split_first_chunk() else {
            return Err(KeyFault::Tag);
        };
        if tag != TAG {
            return Err(KeyFault::Tag);
        }
        if file.len() != FILE_LEN {
            let (found, expected) = (file.len(), FILE_LEN);
            return Err(KeyFault::Length { found, expected });
        }
        Self::from_secret(secret, file.len())
    }

    fn from_secret(secret: &[u8], found: usize) -> Result<Self, KeyFault> {
        let expected = 64;
        let mut halves = Zeroizing::new([0; 64]);
        if secret.len() != expected {
            return Err(KeyFault::Length { found, expected });
        }
        halves.copy_from_slice(secret);
        Self::from_halves(halves)
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, KeyFault> {
        match der.strip_prefix(PKCS8_START) {
            Some(seed) => match seed.try_into() {
                Ok(seed) => Ok(Self::from_seed(seed)),
                Err(_) => Err(KeyFault::Length {
                    found: seed.len(),
                    expected: 32,
                }),
            },
            None if !contains(der, PKCS8_ALGORITHM) => Err(KeyFault::Algorithm),
            None => Err(KeyFault::Pem),
        }
    }

    /// The 96 bytes of Tor's file `hs_ed25519_secret_key`.
    pub fn to_file(&self) -> Zeroizing<[u8; FILE_LEN]> {
        let mut file = Zeroizing::new([0; FILE_LEN]);
        let (tag, secret) = file.split_at_mut(TAG.len());
        tag.copy_from_slice(TAG);
        secret.copy_from_slice(self.pair.secret());
        file
    }

    /// The form in which `ADD_ONION` takes the key: `ED25519-V3:` and base64 of both halves.
    pub fn to_control_port(&self) -> Zeroizing<String> {
        // Room for the whole, so that no part of it is left behind by a move.
        let mut text = Zeroizing::new(String::with_capacity(CONTROL_PORT.len() + 88));
        text.push_str("ED25519-V3:");
        BASE64.encode_append(self.pair.secret(), &mut text);
        text
    }

    /// The address of the service.
    pub fn address(&self) -> Address {
        match Address::from_public_key(*self.pair.public()) {
            Ok(address) => address,
            Err(_) => unreachable!("a multiple of the base point is a point"),
        }
    }

    /// Checks that the file `hostname` beside the key names its service.
    ///
    /// # Errors
    /// [`Problem::OtherHostname`], and [`Problem::Hostname`] if the file holds no address of
    /// version 3.
    pub fn check_hostname(&self, file: &str) -> Result<(), Error> {
        let found: Address = file.trim().parse().map_err(Problem::Hostname)?;
        let wanted = self.address();
        match found == wanted {
            true => Ok(()),
            false => Err(Problem::OtherHostname { wanted, found }.into()),
        }
    }

    /// Signs with the long-lived key itself, which Tor never does: descriptors are signed with keys
    /// that are blinded by it.
    ///
    /// ```
    /// use onionweave_desc::v3::ServiceKey;
    ///
    /// let key = ServiceKey::from_seed(&[7; 32]);
    /// assert_eq!(key.sign(b"text"), key.clone().sign(b"text"));
    /// assert_ne!(key.sign(b"text"), ServiceKey::from_seed(&[8; 32]).sign(b"text"));
    /// ```
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.pair.sign(message)
    }

    /// The key of one period (`hs_build_blinded_keypair`, feature/hs/hs_common.c:1010).
    pub(super) fn blind(&self, period: Period) -> KeyPair {
        let factor = self.address().blinding_factor(period);
        match self.pair.blind(&factor) {
            Some(pair) => pair,
            None => unreachable!("neither the scalar nor a clamped factor is zero in a group of prime order"),
        }
    }
}

impl fmt::Debug for ServiceKey {
    /// Writes the address and nothing else.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceKey({})", self.address())
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! key_file {
        ($name:literal) => {
            include_bytes!(concat!(
                "../../testdata/v3/keys/",
                $name,
                "/hs_ed25519_secret_key"
            ))
        };
    }
    macro_rules! hostname {
        ($name:literal) => {
            include_str!(concat!("../../testdata/v3/keys/", $name, "/hostname"))
        };
    }

    const FILES: [(&[u8; 96], &str); 4] = [
        (key_file!("plain"), hostname!("plain")),
        (key_file!("plain-two"), hostname!("plain-two")),
        (key_file!("pow"), hostname!("pow")),
        (key_file!("ten-points"), hostname!("ten-points")),
    ];

    fn fault(file: &[u8]) -> KeyFault {
        match ServiceKey::from_file(file).unwrap_err() {
            Error::V3(Problem::Key(fault)) => fault,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn reads_what_tor_wrote_and_writes_it_back() {
        for (file, hostname) in FILES {
            let key = ServiceKey::from_file(file).unwrap();
            key.check_hostname(hostname).unwrap();
            assert_eq!(&*key.to_file(), file);
            let text = key.to_control_port();
            assert_eq!(&*ServiceKey::from_file(text.as_bytes()).unwrap().to_file(), file);
        }
        let key = ServiceKey::from_file(FILES[0].0).unwrap();
        let other = key.check_hostname(FILES[1].1).unwrap_err().to_string();
        assert!(other.contains("but the key is that of"), "{other}");
        assert!(key.check_hostname("rf75jzdtba4wnd6v.onion").is_err());
    }

    /// The vectors of RFC 8032, section 7.1, tests 1 and 2.
    #[test]
    fn seeds_are_those_of_the_rfc() {
        let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
        let table = [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
        ];
        for (seed, public, message, signature) in table {
            let key = ServiceKey::from_seed(&hex(seed).try_into().unwrap());
            assert_eq!(key.address().public_key().as_slice(), hex(public));
            assert_eq!(key.sign(&hex(message)).as_slice(), hex(signature));
        }
    }

    #[test]
    fn every_bit_of_the_second_half_counts() {
        let message = b"a text";
        let key = ServiceKey::from_file(FILES[0].0).unwrap();
        let period = Period::new(20_780, 1440);
        let blinded = key.blind(period);
        for bit in 0..256 {
            let mut file = *FILES[0].0;
            file[64 + bit / 8] ^= 1 << (bit % 8);
            let other = ServiceKey::from_file(&file).unwrap();
            assert_eq!(other.address(), key.address(), "bit {bit}");
            assert_ne!(other.sign(message), key.sign(message), "bit {bit}");
            let other = other.blind(period);
            assert_eq!(other.public(), blinded.public(), "bit {bit}");
            assert_ne!(other.sign(message), blinded.sign(message), "bit {bit}");
        }
    }

    #[test]
    fn blinding_the_secret_key_blinds_the_public_key() {
        for (file, _) in FILES {
            let key = ServiceKey::from_file(file).unwrap();
            for number in [0, 1, 20_780, u64::MAX] {
                let period = Period::new(number, 1440);
                let public = key.address().blinded_id(period);
                let blinded = key.blind(period);
                assert_eq!(blinded.public(), public.as_bytes());
                assert!(super::super::crypto::verify(
                    public.as_bytes(),
                    b"text",
                    &blinded.sign(b"text")
                ));
            }
        }
    }

    #[test]
    fn refuses_with_a_reason() {
        let file = *FILES[0].0;
        let with = |at: usize, bytes: &[u8]| {
            let mut file = file.to_vec();
            file[at..at + bytes.len()].copy_from_slice(bytes);
            file
        };
        let length = |found, expected| KeyFault::Length { found, expected };
        let table: &[(&str, Vec<u8>, KeyFault)] = &[
            ("empty", Vec::new(), KeyFault::Unknown),
            ("zeros", vec![0; 96], KeyFault::Unknown),
            ("tagged type1", with(24, b"1"), KeyFault::Tag),
            ("a public key", with(13, b"public: type0 ==\0"), KeyFault::Tag),
            ("cut in its tag", file[..20].to_vec(), KeyFault::Tag),
            ("cut", file[..95].to_vec(), length(95, 96)),
            ("longer", [&file[..], b"\n"].concat(), length(97, 96)),
            ("scalar zero", with(32, &[0; 32]), KeyFault::Zero),
            ("control port, cut", b"ED25519-V3:AAAA".to_vec(), length(3, 64)),
            ("control port, no base64", b"ED25519-V3:!".to_vec(), KeyFault::Base64),
            (
                "PKCS#1",
                b"-----BEGIN RSA PRIVATE KEY-----\n-----END RSA PRIVATE KEY-----\n".to_vec(),
                KeyFault::V2Key,
            ),
            ("v2 control port", b"RSA1024:AAAA".to_vec(), KeyFault::V2Key),
            (
                "PEM cut short",
                b"-----BEGIN PRIVATE KEY-----\nAAAA".to_vec(),
                KeyFault::Pem,
            ),
        ];
        for (name, file, expected) in table {
            assert_eq!(fault(file), *expected, "{name}");
        }
        let pem = |der: &[u8]| {
            format!(
                "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
                BASE64.encode(der)
            )
        };
        let x25519 = [
            b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x6e\x04\x22\x04\x20",
            &[7; 32][..],
        ]
        .concat();
        assert_eq!(fault(pem(&x25519).as_bytes()), KeyFault::Algorithm);
        let short = [PKCS8_START, &[7; 31]].concat();
        assert_eq!(fault(pem(&short).as_bytes()), length(31, 32));
        let whole = [PKCS8_START, &[7; 32]].concat();
        let key = ServiceKey::from_file(pem(&whole).as_bytes()).unwrap();
        assert_eq!(key.address(), ServiceKey::from_seed(&[7; 32]).address());
    }

    /// An unclamped scalar is read as it is: C Tor does not change it either.
    #[test]
    fn unclamped_scalars_are_kept() {
        let mut file = *FILES[0].0;
        file[32] |= 7;
        let key = ServiceKey::from_file(&file).unwrap();
        assert_eq!(*key.to_file(), file);
        assert!(super::super::crypto::verify(
            key.address().public_key(),
            b"text",
            &key.sign(b"text")
        ));
    }

    #[test]
    fn nothing_secret_is_shown() {
        let key = ServiceKey::from_file(FILES[0].0).unwrap();
        assert_eq!(format!("{key:?}"), format!("ServiceKey({})", key.address()));
    }
}
