//! Private keys in PEM.

use ::rsa::pkcs1::ALGORITHM_OID;
use ::rsa::pkcs8::{ObjectIdentifier, PrivateKeyInfo};
use zeroize::Zeroizing;

use super::PrivateKey;
use crate::base64;
use crate::bytes::{find_byte, split_at};
use crate::error::KeyProblem;

pub(crate) const PKCS1_LABEL: &str = "RSA PRIVATE KEY";
pub(crate) const PKCS8_LABEL: &str = "PRIVATE KEY";
const ENCRYPTED_PKCS8_LABEL: &str = "ENCRYPTED PRIVATE KEY";

/// Private key that a passphrase protects.
#[cfg_attr(
    not(feature = "passphrase"),
    allow(dead_code, reason = "without the feature nobody reads what is encrypted")
)]
pub(crate) enum Encrypted<'a> {
    /// Content of a block that has the headers of RFC 1421.
    Pkcs1 {
        /// The value of `DEK-Info`: a cipher, a comma, an initialisation vector.
        dek_info: &'a str,
        content: Zeroizing<Vec<u8>>,
    },
    /// The `EncryptedPrivateKeyInfo` of PKCS#8.
    Pkcs8(Zeroizing<Vec<u8>>),
}

/// The start of a PEM block's first line.
const BEGIN: &[u8] = b"-----BEGIN ";
/// The start of a PEM block's last line.
const END: &[u8] = b"-----END ";
/// The end of both lines.
const DASHES: &[u8] = b"-----";

/// Number of characters of a foreign label that an error shows. No label that is in use is longer.
const SHOWN_LABEL_LEN: usize = 40;

/// Algorithm of the keys of v3 services (RFC 8410, section 3).
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Reads the first private key of a text, if need be through `decrypt`.
pub(crate) fn read(
    text: &[u8],
    decrypt: impl FnOnce(Encrypted<'_>) -> Result<Zeroizing<Vec<u8>>, KeyProblem>,
) -> Result<PrivateKey, KeyProblem> {
    let (label, block) =
        find(text, &[PKCS1_LABEL, PKCS8_LABEL, ENCRYPTED_PKCS8_LABEL]).map_err(|problem| match problem {
            KeyProblem::NotPem => without_pem(text),
            other => other,
        })?;
    let block = str::from_utf8(block).map_err(|_| KeyProblem::Pem)?;
    let (dek_info, body) = split_headers(block)?;
    let content = base64::decode_secret(body.as_bytes()).ok_or(KeyProblem::Pem)?;
    match (label, dek_info) {
        (PKCS1_LABEL, Some(dek_info)) => PrivateKey::of_1024_bits(&decrypt(Encrypted::Pkcs1 { dek_info, content })?),
        (PKCS1_LABEL, None) => PrivateKey::of_1024_bits(&content),
        (PKCS8_LABEL, _) => read_pkcs8(&content),
        _ => read_pkcs8(&decrypt(Encrypted::Pkcs8(content))?),
    }
}

/// Finds the first PEM block with one of these labels: the label, and what stands between its first
/// and its last line.
///
/// As OpenSSL does (`PEM_read_bio_ex`, crypto/pem/pem_lib.c), it takes for a first line what begins
/// and ends as one, white space aside, and passes over all other text, in whatever encoding, and
/// over blocks with other labels.
pub(crate) fn find<'a>(text: &'a [u8], labels: &[&'static str]) -> Result<(&'static str, &'a [u8]), KeyProblem> {
    // Some editors put a byte-order mark in front of UTF-8.
    let mut rest = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut problem = KeyProblem::NotPem;
    while let Some(line) = take_line(&mut rest) {
        let Some(label) = line.trim_ascii().strip_prefix(BEGIN) else {
            continue;
        };
        let Some(label) = label.strip_suffix(DASHES) else {
            if problem == KeyProblem::NotPem {
                problem = KeyProblem::Pem;
            }
            continue;
        };
        if let Some(label) = labels.iter().find(|known| known.as_bytes() == label) {
            return Ok((label, until_end(rest).ok_or(KeyProblem::Pem)?));
        }
        if !matches!(problem, KeyProblem::Label(_)) {
            let label = String::from_utf8_lossy(label);
            problem = KeyProblem::Label(label.chars().take(SHOWN_LABEL_LEN).collect());
        }
    }
    Err(problem)
}

/// Returns what stands in front of the next line that ends a block.
fn until_end(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    loop {
        let length = text.len() - rest.len();
        if take_line(&mut rest)?.trim_ascii().starts_with(END) {
            return text.get(..length);
        }
    }
}

/// Takes the next line, without its LF.
fn take_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    if rest.is_empty() {
        return None;
    }
    let end = find_byte(b'\n', rest).unwrap_or(rest.len());
    let (line, after) = split_at(rest, end);
    *rest = after.strip_prefix(b"\n").unwrap_or(after);
    Some(line)
}

/// Tells what a text without a PEM block is instead.
fn without_pem(text: &[u8]) -> KeyProblem {
    let start = text.trim_ascii_start();
    if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
        KeyProblem::Utf16
    } else if start.starts_with(b"== ed25519v1-") || start.starts_with(b"ED25519-V3:") {
        KeyProblem::V3Key
    } else if start.starts_with(b"RSA1024:") {
        KeyProblem::ControlPortKey
    } else {
        KeyProblem::NotPem
    }
}

/// Splits off the header that says how a block is encrypted, if there is one, from what follows the
/// headers.
///
/// Headers are what stands in front of the first empty line, if its first line has a colon (RFC
/// 1421, section 4.4).
fn split_headers(block: &str) -> Result<(Option<&str>, &str), KeyProblem> {
    let block = block.trim_start();
    let mut dek_info = None;
    let mut encrypted = false;
    let mut rest = block;
    while let Some((line, after)) = rest.split_once('\n') {
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        match (name.trim(), value.trim()) {
            ("Proc-Type", value) => encrypted = value.ends_with("ENCRYPTED"),
            ("DEK-Info", value) => dek_info = Some(value),
            _ => {}
        }
        rest = after;
    }
    match (encrypted, dek_info) {
        (true, None) => Err(KeyProblem::Pem),
        (true, dek_info) => Ok((dek_info, rest)),
        (false, _) => Ok((None, rest)),
    }
}

fn read_pkcs8(der: &[u8]) -> Result<PrivateKey, KeyProblem> {
    let info = PrivateKeyInfo::try_from(der).map_err(|_| KeyProblem::Damaged)?;
    match info.algorithm.oid {
        ALGORITHM_OID => PrivateKey::of_1024_bits(info.private_key),
        ED25519 => Err(KeyProblem::V3Key),
        _ => Err(KeyProblem::Algorithm),
    }
}
