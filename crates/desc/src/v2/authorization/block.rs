//! The object `introduction-points` of a service with client authorization.
//!
//! | basic | bytes |
//! | --- | --- |
//! | 1 | 1 |
//! | number of blocks of 16 client entries | 1 |
//! | entries, sorted | 20 each |
//! | initialization vector | 16 |
//! | introduction points, encrypted with the session key | the rest |
//!
//! An entry is an ID, the first four bytes of the SHA-1 of cookie and initialization vector, and
//! the session key, encrypted with the cookie and a zero vector. What fills up the last block looks
//! like entries.
//!
//! | stealth | bytes |
//! | --- | --- |
//! | 2 | 1 |
//! | initialization vector | 16 |
//! | introduction points, encrypted with the cookie | the rest |
//!
//! The cipher is AES-128 in counter mode.

use aes::Aes128;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use onionweave_ring::v2::{AuthorizationKind, DescriptorCookie};
use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::secrets::Secrets;
use crate::v2::introduction_point;

/// The most clients that a basic descriptor has entries for: C Tor writes fewer than 256 blocks
/// (feature/rend/rendcommon.c:311).
pub const MAX_BASIC_CLIENTS: usize = 255 * CLIENTS_PER_BLOCK;

/// `REND_BASIC_AUTH_CLIENT_MULTIPLE` (core/or/or.h:380)
const CLIENTS_PER_BLOCK: usize = 16;
/// `REND_BASIC_AUTH_CLIENT_ID_LEN` (core/or/or.h:375)
const ID_LEN: usize = 4;
/// `CIPHER_KEY_LEN`
const KEY_LEN: usize = 16;
/// `REND_BASIC_AUTH_CLIENT_ENTRY_LEN` (core/or/or.h:384)
const ENTRY_LEN: usize = ID_LEN + KEY_LEN;
/// `CIPHER_IV_LEN`
const IV_LEN: usize = 16;
/// Cipher with which `crypto_cipher_new` encrypts session keys: a cookie encrypts one key for each
/// of its descriptors with one key stream.
const ZERO_IV: [u8; IV_LEN] = [0; IV_LEN];
/// The kind and the number of blocks.
const BASIC_HEADER_LEN: usize = 2;
/// The kind.
const STEALTH_HEADER_LEN: usize = 1;

/// Kind of an object's encryption, by its first byte; `None` if it is not.
pub(crate) fn kind(object: &[u8]) -> Option<AuthorizationKind> {
    match object.first()? {
        1 => Some(AuthorizationKind::Basic),
        2 => Some(AuthorizationKind::Stealth),
        _ => None,
    }
}

/// Decrypts an object of this kind as C Tor's client does (`rend_decrypt_introduction_points`,
/// feature/rend/rendparse.c:268).
pub(crate) fn decrypt(kind: AuthorizationKind, object: &[u8], cookie: &DescriptorCookie) -> Result<Vec<u8>, Error> {
    match kind {
        AuthorizationKind::Stealth => decrypt_stealth(object, cookie),
        _ => decrypt_basic(object, cookie),
    }
}

fn decrypt_basic(object: &[u8], cookie: &DescriptorCookie) -> Result<Vec<u8>, Error> {
    let blocks = object.get(1).copied().map_or(0, usize::from);
    let entries_len = blocks * CLIENTS_PER_BLOCK * ENTRY_LEN;
    let parts = object
        .get(BASIC_HEADER_LEN..)
        .and_then(|rest| rest.split_at_checked(entries_len))
        .and_then(|(entries, rest)| Some((entries, split_iv(rest)?)));
    let Some((entries, (iv, points))) = parts else {
        return Err(Error::AuthorizationTooShort {
            kind: AuthorizationKind::Basic,
            size: object.len(),
            needed: BASIC_HEADER_LEN + entries_len + IV_LEN + 1,
        });
    };
    let id = client_id(cookie, iv);
    let (entries, _) = entries.as_chunks::<ENTRY_LEN>();
    let with_id = entries.iter().filter_map(|entry| entry.strip_prefix(&id));
    // Another client can have the same ID of four bytes, so the search goes on until the points are
    // found (rendparse.c:329).
    for encrypted_key in with_id {
        let mut session_key = Zeroizing::new([0; KEY_LEN]);
        session_key.copy_from_slice(encrypted_key);
        apply_cipher(cookie.as_bytes(), &ZERO_IV, &mut *session_key);
        let mut points = points.to_vec();
        apply_cipher(&session_key, iv, &mut points);
        if points.starts_with(introduction_point::START) {
            return Ok(points);
        }
    }
    Err(Error::WrongCookie(AuthorizationKind::Basic))
}

fn decrypt_stealth(object: &[u8], cookie: &DescriptorCookie) -> Result<Vec<u8>, Error> {
    let Some((iv, points)) = object.get(STEALTH_HEADER_LEN..).and_then(split_iv) else {
        return Err(Error::AuthorizationTooShort {
            kind: AuthorizationKind::Stealth,
            size: object.len(),
            needed: STEALTH_HEADER_LEN + IV_LEN + 1,
        });
    };
    let mut points = points.to_vec();
    apply_cipher(cookie.as_bytes(), iv, &mut points);
    // C Tor finds out when it finds no point in what it decrypted; no other key could have given
    // any.
    if points.starts_with(introduction_point::START) {
        Ok(points)
    } else {
        Err(Error::WrongCookie(AuthorizationKind::Stealth))
    }
}

/// The vector, and what was encrypted with it, which must be something.
fn split_iv(text: &[u8]) -> Option<(&[u8; IV_LEN], &[u8])> {
    text.split_first_chunk().filter(|(_, encrypted)| !encrypted.is_empty())
}

/// Encrypts for each of these clients (`rend_encrypt_v2_intro_points_basic`,
/// feature/rend/rendcommon.c:286).
pub(crate) fn encrypt_basic(points: &[u8], cookies: &[DescriptorCookie], secrets: &Secrets) -> Result<Vec<u8>, Error> {
    let blocks = cookies.len().div_ceil(CLIENTS_PER_BLOCK);
    let blocks_byte = u8::try_from(blocks).map_err(|_| Error::TooManyClients {
        found: cookies.len(),
        limit: MAX_BASIC_CLIENTS,
    })?;
    let session_key = secrets.bytes::<KEY_LEN>("session key");
    let iv = secrets.bytes::<IV_LEN>("initialization vector");
    let padding = secrets.bytes::<{ (CLIENTS_PER_BLOCK - 1) * ENTRY_LEN }>("padding");

    let mut entries: Vec<_> = cookies.iter().map(|cookie| entry(cookie, &iv, &session_key)).collect();
    let missing = blocks * CLIENTS_PER_BLOCK - entries.len();
    let (padding, _) = padding.as_chunks();
    entries.extend(padding.iter().take(missing));
    entries.sort_unstable();

    let mut object = vec![AuthorizationKind::Basic.number(), blocks_byte];
    object.extend_from_slice(entries.as_flattened());
    append_encrypted(points, &session_key, &iv, &mut object);
    Ok(object)
}

/// Encrypts for this client (`rend_encrypt_v2_intro_points_stealth`,
/// feature/rend/rendcommon.c:393).
pub(crate) fn encrypt_stealth(points: &[u8], cookie: &DescriptorCookie, secrets: &Secrets) -> Vec<u8> {
    let iv = secrets.bytes::<IV_LEN>("initialization vector");
    let mut object = vec![AuthorizationKind::Stealth.number()];
    append_encrypted(points, cookie.as_bytes(), &iv, &mut object);
    object
}

/// Entry that tells a client the session key.
fn entry(cookie: &DescriptorCookie, iv: &[u8; IV_LEN], session_key: &[u8; KEY_LEN]) -> [u8; ENTRY_LEN] {
    let mut entry = [0; ENTRY_LEN];
    let (id, key) = entry.split_at_mut(ID_LEN);
    id.copy_from_slice(&client_id(cookie, iv));
    key.copy_from_slice(session_key);
    apply_cipher(cookie.as_bytes(), &ZERO_IV, key);
    entry
}

/// By which a client finds its entry.
fn client_id(cookie: &DescriptorCookie, iv: &[u8; IV_LEN]) -> [u8; ID_LEN] {
    let digest: [u8; 20] = Sha1::new_with_prefix(cookie.as_bytes())
        .chain_update(iv)
        .finalize()
        .into();
    std::array::from_fn(|index| digest[index])
}

/// Encrypts as `crypto_cipher_encrypt_with_iv` does: first the vector, then what is encrypted with
/// it.
fn append_encrypted(points: &[u8], key: &[u8; KEY_LEN], iv: &[u8; IV_LEN], object: &mut Vec<u8>) {
    object.extend_from_slice(iv);
    let start = object.len();
    object.extend_from_slice(points);
    if let Some(points) = object.get_mut(start..) {
        apply_cipher(key, iv, points);
    }
}

/// Encrypts, or decrypts, in place.
fn apply_cipher(key: &[u8; KEY_LEN], iv: &[u8; IV_LEN], data: &mut [u8]) {
    Ctr128BE::<Aes128>::new(key.into(), iv.into()).apply_keystream(data);
}
