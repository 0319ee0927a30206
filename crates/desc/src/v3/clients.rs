//! Keys of authorized clients (rend-spec-v3, appendix G): Tor's files `authorized_clients/*.auth`
//! of a service, and `*.auth_private` of a client.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, BASE32_NOPAD_NOCASE};
use onionweave_ring::v3::Address;
use zeroize::Zeroizing;

use super::crypto;
use super::error::{ClientKeyFault, Problem};
use crate::error::Error;

/// Length of a key, in bytes.
const KEY_LEN: usize = 32;
/// Length of a key in base32 without padding, in characters.
const BASE32_LEN: usize = 52;

/// Longest file that is read, in bytes. Four fields and the white space around them are far
/// shorter.
const MAX_FILE_LEN: usize = 1024;

/// Public key of a client that may read a service's introduction points (X25519).
///
/// The text is that of Tor's files `authorized_clients/*.auth`.
///
/// ```
/// use onionweave_desc::v3::{ClientKey, ClientSecretKey};
///
/// let secret = ClientSecretKey::from([7; 32]);
/// let file = secret.public_key().to_string();
/// assert!(file.starts_with("descriptor:x25519:"));
/// assert_eq!(file.parse::<ClientKey>()?, secret.public_key());
/// assert_eq!(ClientKey::from_bytes(*secret.public_key().as_bytes())?, secret.public_key());
/// assert!(ClientKey::from_bytes([0; 32]).is_err());
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientKey([u8; KEY_LEN]);

impl ClientKey {
    /// The key with these bytes.
    ///
    /// # Errors
    /// [`Problem::ClientKey`] if they are all zeros, by which C Tor marks a missing key.
    pub fn from_bytes(bytes: [u8; KEY_LEN]) -> Result<Self, Error> {
        match bytes == [0; KEY_LEN] {
            true => Err(Problem::ClientKey(ClientKeyFault::Zero).into()),
            false => Ok(Self(bytes)),
        }
    }

    /// Reads a file `*.auth` as Tor does (`parse_authorized_client`, feature/hs/hs_service.c:1120):
    /// fields may have white space around them, and either case will do.
    ///
    /// ```
    /// use onionweave_desc::v3::ClientKey;
    ///
    /// let file = b"descriptor:x25519:O2JTUPUNLPYFK6LN3E4XSS4DTUAETOO7RPVUCQD63WRWIWQGNP5A\n";
    /// assert!(ClientKey::from_file(file).is_ok());
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Problem::ClientKey`] with the reason.
    pub fn from_file(file: &[u8]) -> Result<Self, Error> {
        let text = text(file)?;
        let fields: Vec<&str> = text.split(':').map(str::trim).collect();
        let [authorization, algorithm, key] = fields[..] else {
            return Err(Problem::ClientKey(match fields.len() {
                4 => ClientKeyFault::Private,
                found => ClientKeyFault::Fields {
                    expected: "`descriptor:x25519:KEY`",
                    found,
                },
            })
            .into());
        };
        check_kind(authorization, algorithm)?;
        let key = decode(key)?;
        Self::from_bytes(*key)
    }

    /// The 32 bytes of the key.
    pub const fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

impl FromStr for ClientKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::from_file(text.as_bytes())
    }
}

/// The content of a file `*.auth`, without a newline.
impl fmt::Display for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "descriptor:x25519:{}", BASE32_NOPAD.encode(&self.0))
    }
}

/// Private key of a client (X25519). It is wiped from memory when dropped, and never printed.
///
/// ```
/// use onionweave_desc::v3::{ClientSecretKey, ServiceKey};
///
/// let service = ServiceKey::from_seed(&[1; 32]).address();
/// let secret = ClientSecretKey::from([7; 32]);
/// let file = secret.to_file(&service);
/// let (address, read) = ClientSecretKey::from_file(file.as_bytes())?;
/// assert_eq!((address, read.public_key()), (service, secret.public_key()));
/// assert_eq!(format!("{secret:?}"), "ClientSecretKey(..)");
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
#[derive(Clone)]
pub struct ClientSecretKey(Zeroizing<[u8; KEY_LEN]>);

impl ClientSecretKey {
    /// Reads a file `*.auth_private` as Tor does (`parse_auth_file_content`,
    /// feature/hs/hs_client.c:1660): the service's address, and the key.
    ///
    /// # Errors
    /// [`Problem::ClientKey`] with the reason.
    pub fn from_file(file: &[u8]) -> Result<(Address, Self), Error> {
        let text = text(file)?;
        let fields: Vec<&str> = text.split(':').map(str::trim).collect();
        let [address, authorization, algorithm, key] = fields[..] else {
            let expected = "`ADDRESS:descriptor:x25519:KEY`";
            let found = fields.len();
            return Err(Problem::ClientKey(ClientKeyFault::Fields { expected, found }).into());
        };
        check_kind(authorization, algorithm)?;
        let address = address
            .parse()
            .map_err(|error| Problem::ClientKey(ClientKeyFault::Address(error)))?;
        let key = decode(key)?;
        if *key == [0; KEY_LEN] {
            return Err(Problem::ClientKey(ClientKeyFault::Zero).into());
        }
        Ok((address, Self(key)))
    }

    /// The content of a file `*.auth_private` for this service, without a newline.
    pub fn to_file(&self, service: &Address) -> Zeroizing<String> {
        // Room for the whole, so that no part of it is left behind by a move.
        let mut text = Zeroizing::new(String::with_capacity(MAX_FILE_LEN));
        text.push_str(&service.to_string());
        text.push_str(":descriptor:x25519:");
        BASE32_NOPAD.encode_append(self.as_bytes(), &mut text);
        text
    }

    /// The public key that belongs to it, which the service is told.
    pub fn public_key(&self) -> ClientKey {
        ClientKey(crypto::x25519_public(&self.0))
    }

    pub(super) fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

/// Any 32 bytes are a key.
impl From<[u8; KEY_LEN]> for ClientSecretKey {
    fn from(bytes: [u8; KEY_LEN]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for ClientSecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecretKey(..)")
    }
}

fn text(file: &[u8]) -> Result<&str, Problem> {
    let not_text = Problem::ClientKey(ClientKeyFault::NotText);
    if file.len() > MAX_FILE_LEN {
        return Err(not_text);
    }
    str::from_utf8(file).map_err(|_| not_text)
}

fn check_kind(authorization: &str, algorithm: &str) -> Result<(), Problem> {
    match (authorization, algorithm) {
        ("descriptor", "x25519") => Ok(()),
        _ => Err(Problem::ClientKey(ClientKeyFault::Algorithm)),
    }
}

fn decode(text: &str) -> Result<Zeroizing<[u8; KEY_LEN]>, Problem> {
    let wrong = Problem::ClientKey(ClientKeyFault::Base32);
    if text.len() != BASE32_LEN {
        return Err(wrong);
    }
    // Left-over bits may be anything, as in `base32_decode` (lib/encoding/binascii.c:90).
    let mut encoding = BASE32_NOPAD_NOCASE.specification();
    encoding.check_trailing_bits = false;
    let encoding = encoding.encoding().map_err(|_| wrong.clone())?;
    let mut key = Zeroizing::new([0; KEY_LEN]);
    match encoding.decode_mut(text.as_bytes(), &mut *key) {
        Ok(KEY_LEN) => Ok(key),
        _ => Err(wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(result: Result<impl fmt::Debug, Error>) -> ClientKeyFault {
        match result.unwrap_err() {
            Error::V3(Problem::ClientKey(fault)) => fault,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn refuses_with_a_reason() {
        let key = "A".repeat(51);
        let table = [
            ("descriptor:x25519:".to_owned(), ClientKeyFault::Base32),
            (format!("descriptor:x25519:{key}"), ClientKeyFault::Base32),
            (format!("descriptor:x25519:{key}1"), ClientKeyFault::Base32),
            (format!("descriptor:x25519:{key}A"), ClientKeyFault::Zero),
            (format!("descriptor:x448:{key}A"), ClientKeyFault::Algorithm),
            (format!("intro:x25519:{key}A"), ClientKeyFault::Algorithm),
            (format!("a:descriptor:x25519:{key}A"), ClientKeyFault::Private),
            ("x".repeat(MAX_FILE_LEN + 1), ClientKeyFault::NotText),
        ];
        for (text, expected) in table {
            assert_eq!(fault(text.parse::<ClientKey>()), expected, "{text}");
        }
        assert!(matches!(
            fault("".parse::<ClientKey>()),
            ClientKeyFault::Fields { found: 1, .. }
        ));
        assert_eq!(fault(ClientKey::from_file(b"\xff")), ClientKeyFault::NotText);
    }

    #[test]
    fn reads_as_tor_does() {
        // Left-over bits, lower case and white space do not matter.
        let key = format!("{}B", "a".repeat(50));
        for text in [
            format!("descriptor:x25519:{key}B\n"),
            format!(" descriptor : x25519 : {key}b\r\n"),
        ] {
            let read: ClientKey = text.parse().unwrap();
            assert_eq!(read.as_bytes()[31], 0b0000_0010, "{text}");
        }
    }

    /// Another implementation comes to the same public key.
    #[test]
    fn public_key_is_that_of_x25519() {
        use tor_llcrypto::pk::curve25519::{PublicKey, StaticSecret};

        let theirs = PublicKey::from(&StaticSecret::from([9; 32]));
        assert_eq!(
            ClientSecretKey::from([9; 32]).public_key().as_bytes(),
            theirs.as_bytes()
        );
    }
}
