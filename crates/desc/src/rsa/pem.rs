//! Private keys in PEM.

use ::rsa::pkcs1::ALGORITHM_OID;
use ::rsa::pkcs8::PrivateKeyInfo;
use zeroize::Zeroizing;

use super::PrivateKey;
use crate::base64;
use crate::error::KeyProblem;

pub(crate) const PKCS1_LABEL: &str = "RSA PRIVATE KEY";
pub(crate) const PKCS8_LABEL: &str = "PRIVATE KEY";
const ENCRYPTED_PKCS8_LABEL: &str = "ENCRYPTED PRIVATE KEY";

/// What a passphrase is needed for.
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

/// Reads the first PEM block of a text, if need be through `decrypt`.
pub(crate) fn read(
    pem: &str,
    decrypt: impl FnOnce(Encrypted<'_>) -> Result<Zeroizing<Vec<u8>>, KeyProblem>,
) -> Result<PrivateKey, KeyProblem> {
    let (_, block) = pem.split_once("-----BEGIN ").ok_or(KeyProblem::NotPem)?;
    let (label, block) = block.split_once("-----").ok_or(KeyProblem::Pem)?;
    if ![PKCS1_LABEL, PKCS8_LABEL, ENCRYPTED_PKCS8_LABEL].contains(&label) {
        // A label of sensible length: nothing that follows an unclosed `-----BEGIN` may reach a log.
        return Err(KeyProblem::Label(label.chars().take(40).collect()));
    }
    let (block, _) = block.split_once("-----END ").ok_or(KeyProblem::Pem)?;
    let (dek_info, body) = split_headers(block)?;
    let content = base64::decode_secret(body.as_bytes()).ok_or(KeyProblem::Pem)?;
    match (label, dek_info) {
        (PKCS1_LABEL, Some(dek_info)) => PrivateKey::of_1024_bits(&decrypt(Encrypted::Pkcs1 { dek_info, content })?),
        (PKCS1_LABEL, None) => PrivateKey::of_1024_bits(&content),
        (PKCS8_LABEL, _) => read_pkcs8(&content),
        _ => read_pkcs8(&decrypt(Encrypted::Pkcs8(content))?),
    }
}

/// The header that says how a block is encrypted, if there is one, and what follows the headers.
///
/// Headers are what stands in front of the first empty line, if its first line has a colon (RFC 1421, section 4.4).
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
    if info.algorithm.assert_algorithm_oid(ALGORITHM_OID).is_err() {
        return Err(KeyProblem::Damaged);
    }
    PrivateKey::of_1024_bits(info.private_key)
}
