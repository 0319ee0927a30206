//! The two encrypted layers (rend-spec-v3, section 2.5): their keys, their bytes, and the cookie by
//! which authorized clients read the inner one. References are to feature/hs/hs_descriptor.c.

use onionweave_ring::v3::Subcredential;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::Problem;
use super::clients::{ClientKey, ClientSecretKey};
use super::crypto::{aes_256_ctr, sha3_256, shake_256, x25519};

/// Length of the salt in front of a layer, in bytes: `HS_DESC_ENCRYPTED_SALT_LEN`
/// (hs_descriptor.h:44).
pub(super) const SALT_LEN: usize = 16;
/// Length of the code behind a layer that authenticates it, in bytes.
const MAC_LEN: usize = 32;

/// Length of a client's name in one descriptor, in bytes: `HS_DESC_CLIENT_ID_LEN`
/// (hs_descriptor.h:62).
const CLIENT_ID_LEN: usize = 8;
/// Length of the cookie that authorized clients share, in bytes: `HS_DESC_DESCRIPTOR_COOKIE_LEN`
/// (hs_descriptor.h:63).
const COOKIE_LEN: usize = 16;

/// Secret that all authorized clients of one descriptor share.
pub(super) type Cookie = Zeroizing<[u8; COOKIE_LEN]>;

/// Layer of a descriptor that is encrypted.
///
/// ```
/// use onionweave_desc::v3::Layer;
///
/// assert_ne!(Layer::Superencrypted, Layer::Encrypted);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layer {
    /// The outer one, which anyone can read who knows the address.
    Superencrypted,
    /// The inner one, which may be for authorized clients alone.
    Encrypted,
}

impl Layer {
    /// `str_enc_const_superencryption` and `str_enc_const_encryption` (:103)
    const fn constant(self) -> &'static [u8] {
        match self {
            Self::Superencrypted => b"hsdir-superencrypted-data",
            Self::Encrypted => b"hsdir-encrypted-data",
        }
    }
}

/// Everything but the salt that the keys of a layer are made of.
#[derive(Clone, Copy)]
pub(super) struct LayerKey<'a> {
    pub(super) layer: Layer,
    pub(super) blinded_key: &'a [u8; 32],
    pub(super) cookie: Option<&'a Cookie>,
    pub(super) subcredential: &'a Subcredential,
    pub(super) revision_counter: u64,
}

/// Keys of one layer under one salt.
struct Keys {
    key: Zeroizing<[u8; 32]>,
    iv: [u8; 16],
    mac_key: Zeroizing<[u8; 32]>,
}

impl LayerKey<'_> {
    /// Decrypts a layer as `decrypt_desc_layer` does (:1544). What follows the first NUL is
    /// padding.
    pub(super) fn decrypt(&self, blob: &[u8]) -> Result<Vec<u8>, Problem> {
        let layer = self.layer;
        let size = blob.len();
        let too_short = Problem::LayerTooShort { layer, size };
        let Some((salt, rest)) = blob.split_first_chunk() else {
            return Err(too_short);
        };
        let Some((encrypted, mac)) = rest.split_last_chunk::<MAC_LEN>() else {
            return Err(too_short);
        };
        // `encrypted_data_length_is_valid` (:1406)
        if encrypted.is_empty() {
            return Err(too_short);
        }
        let keys = self.keys(salt);
        if !bool::from(keys.mac(salt, encrypted).ct_eq(mac)) {
            return Err(Problem::WrongMac(layer));
        }
        let mut text = encrypted.to_vec();
        aes_256_ctr(&keys.key, &keys.iv, &mut text);
        if let Some(padding) = crate::bytes::find_byte(0, &text) {
            text.truncate(padding);
        }
        if text.is_empty() {
            return Err(Problem::EmptyLayer(layer));
        }
        Ok(text)
    }

    /// Encrypts a layer that is padded already, as `encrypt_descriptor_data` does (:619).
    pub(super) fn encrypt(&self, text: &[u8], salt: &[u8; SALT_LEN]) -> Vec<u8> {
        let keys = self.keys(salt);
        let mut blob = Vec::with_capacity(SALT_LEN + text.len() + MAC_LEN);
        blob.extend_from_slice(salt);
        blob.extend_from_slice(text);
        if let Some(text) = blob.get_mut(SALT_LEN..) {
            aes_256_ctr(&keys.key, &keys.iv, text);
        }
        let mac = keys.mac(salt, blob.get(SALT_LEN..).unwrap_or_default());
        blob.extend_from_slice(&mac);
        blob
    }

    /// `build_secret_key_iv_mac` (:295)
    fn keys(&self, salt: &[u8; SALT_LEN]) -> Keys {
        let cookie = self.cookie.map_or(&[][..], |cookie| cookie.as_slice());
        let parts = [
            self.blinded_key,
            cookie,
            self.subcredential.as_bytes(),
            &self.revision_counter.to_be_bytes(),
            salt,
            self.layer.constant(),
        ];
        let mut output = Zeroizing::new([0; 32 + 16 + 32]);
        shake_256(&parts, &mut *output);
        let mut keys = Keys {
            key: Zeroizing::new([0; 32]),
            iv: [0; 16],
            mac_key: Zeroizing::new([0; 32]),
        };
        let (key, rest) = output.split_at(32);
        let (iv, mac_key) = rest.split_at(16);
        keys.key.copy_from_slice(key);
        keys.iv.copy_from_slice(iv);
        keys.mac_key.copy_from_slice(mac_key);
        keys
    }
}

impl Keys {
    /// `build_mac` (:178)
    fn mac(&self, salt: &[u8; SALT_LEN], encrypted: &[u8]) -> [u8; MAC_LEN] {
        let key_len = (self.mac_key.len() as u64).to_be_bytes();
        let salt_len = (salt.len() as u64).to_be_bytes();
        sha3_256(&[&key_len, &*self.mac_key, &salt_len, salt, encrypted])
    }
}

/// Line `auth-client`: the cookie, encrypted for one client; or random bytes that look like it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AuthClient {
    pub(super) id: [u8; CLIENT_ID_LEN],
    pub(super) iv: [u8; 16],
    pub(super) encrypted_cookie: [u8; COOKIE_LEN],
}

impl AuthClient {
    /// Encrypts the cookie for a client (`hs_desc_build_authorized_client`, :3042).
    pub(super) fn new(
        subcredential: &Subcredential,
        client: &ClientKey,
        ephemeral_secret: &[u8; 32],
        cookie: &Cookie,
        iv: [u8; 16],
    ) -> Self {
        let shared = x25519(ephemeral_secret, client.as_bytes());
        let (id, key) = cookie_keys(subcredential, &shared);
        let mut encrypted_cookie = **cookie;
        aes_256_ctr(&key, &iv, &mut encrypted_cookie);
        Self {
            id,
            iv,
            encrypted_cookie,
        }
    }
}

/// Finds the line that is for this client and decrypts the cookie (`decrypt_descriptor_cookie`,
/// :1471).
pub(super) fn find_cookie(
    clients: &[AuthClient],
    subcredential: &Subcredential,
    secret: &ClientSecretKey,
    ephemeral_key: &[u8; 32],
) -> Option<Cookie> {
    let shared = x25519(secret.as_bytes(), ephemeral_key);
    let (id, key) = cookie_keys(subcredential, &shared);
    let client = clients.iter().find(|client| bool::from(client.id.ct_eq(&id)))?;
    let mut cookie = Zeroizing::new(client.encrypted_cookie);
    aes_256_ctr(&key, &client.iv, &mut *cookie);
    Some(cookie)
}

/// `build_descriptor_cookie_keys` (:1432)
fn cookie_keys(subcredential: &Subcredential, shared: &[u8; 32]) -> ([u8; CLIENT_ID_LEN], Zeroizing<[u8; 32]>) {
    let mut output = Zeroizing::new([0; CLIENT_ID_LEN + 32]);
    shake_256(&[subcredential.as_bytes(), shared], &mut *output);
    let (mut id, mut key) = ([0; CLIENT_ID_LEN], Zeroizing::new([0; 32]));
    let (id_bytes, key_bytes) = output.split_at(CLIENT_ID_LEN);
    id.copy_from_slice(id_bytes);
    key.copy_from_slice(key_bytes);
    (id, key)
}
