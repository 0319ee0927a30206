//! PBES2, the encryption of PKCS#8 (RFC 8018, section 6.2 and appendix A; scrypt: RFC 7914, section
//! 7).

use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use super::{Cipher, Limits};
use crate::der::{INTEGER, OCTET_STRING, SEQUENCE, read_value, without_leading_zeros};
use crate::error::KeyProblem;

const OBJECT_IDENTIFIER: u8 = 0x06;

const PBES2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d";
const PBKDF2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c";
const SCRYPT: &[u8] = b"\x2b\x06\x01\x04\x01\xda\x47\x04\x0b";
const HMAC_SHA1: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x02\x07";
const HMAC_SHA224: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x02\x08";
const HMAC_SHA256: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x02\x09";
const HMAC_SHA384: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x02\x0a";
const HMAC_SHA512: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x02\x0b";
const AES_128_CBC: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01\x02";
const AES_192_CBC: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01\x16";
const AES_256_CBC: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01\x2a";
const DES_EDE3_CBC: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x03\x07";

/// Parameters that OpenSSL may also be told to write.
const UNSUPPORTED: [(&[u8], &str); 6] = [
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x03", "pbeWithMD5AndDES-CBC"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0a", "pbeWithSHA1AndDES-CBC"),
    (
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x03",
        "pbeWithSHA1And3-KeyTripleDES-CBC",
    ),
    (
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x06",
        "pbeWithSHA1And40BitRC2-CBC",
    ),
    (b"\x2b\x0e\x03\x02\x07", "DES-CBC"),
    (b"\x2a\x83\x08\x8c\x9a\x4b\x3d\x01\x01\x01\x04", "CAMELLIA-256-CBC"),
];

/// Decrypts an `EncryptedPrivateKeyInfo` (RFC 5958, section 3).
pub(super) fn decrypt(der: &[u8], passphrase: &[u8], limits: Limits) -> Result<Zeroizing<Vec<u8>>, KeyProblem> {
    let mut fields = Fields(der).take(SEQUENCE)?;
    let scheme = fields.take_algorithm()?;
    let ciphertext = fields.take(OCTET_STRING)?.0;
    if scheme.id != PBES2 {
        return Err(scheme.unsupported());
    }
    let mut parameters = Fields(scheme.parameters).take(SEQUENCE)?;
    let derivation = parameters.take_algorithm()?;
    let encryption = parameters.take_algorithm()?;
    let cipher = match encryption.id {
        AES_128_CBC => Cipher::Aes128,
        AES_192_CBC => Cipher::Aes192,
        AES_256_CBC => Cipher::Aes256,
        DES_EDE3_CBC => Cipher::TripleDes,
        _ => return Err(encryption.unsupported()),
    };
    let iv = Fields(encryption.parameters).take(OCTET_STRING)?.0;
    let key = derive(&derivation, passphrase, limits, cipher.key_len())?;
    cipher.decrypt(&key, iv, Zeroizing::new(ciphertext.to_vec()))
}

/// Derives a key of `length` bytes.
fn derive(
    derivation: &Algorithm<'_>,
    passphrase: &[u8],
    limits: Limits,
    length: usize,
) -> Result<Zeroizing<Vec<u8>>, KeyProblem> {
    let mut key = Zeroizing::new(vec![0; length]);
    let parameters = Fields(derivation.parameters).take(SEQUENCE)?;
    match derivation.id {
        PBKDF2 => derive_by_pbkdf2(parameters, passphrase, limits, &mut key)?,
        SCRYPT => derive_by_scrypt(parameters, passphrase, limits, &mut key)?,
        _ => return Err(derivation.unsupported()),
    }
    Ok(key)
}

/// `PBKDF2-params`: salt, iterations, perhaps the length of the key, and the function unless it is
/// HMAC-SHA-1.
fn derive_by_pbkdf2(
    mut parameters: Fields<'_>,
    passphrase: &[u8],
    limits: Limits,
    key: &mut [u8],
) -> Result<(), KeyProblem> {
    let salt = parameters.take(OCTET_STRING)?.0;
    let iterations = parameters.take_number()?;
    parameters.skip_length(key.len())?;
    let derive = if parameters.0.is_empty() {
        pbkdf2_hmac::<Sha1>
    } else {
        let function = parameters.take_algorithm()?;
        match function.id {
            HMAC_SHA1 => pbkdf2_hmac::<Sha1>,
            HMAC_SHA224 => pbkdf2_hmac::<Sha224>,
            HMAC_SHA256 => pbkdf2_hmac::<Sha256>,
            HMAC_SHA384 => pbkdf2_hmac::<Sha384>,
            HMAC_SHA512 => pbkdf2_hmac::<Sha512>,
            _ => return Err(function.unsupported()),
        }
    };
    check_cost("iterations of PBKDF2", Some(iterations), limits.iterations)?;
    let iterations = u32::try_from(iterations).ok().filter(|iterations| *iterations > 0);
    derive(passphrase, salt, iterations.ok_or(KeyProblem::Damaged)?, key);
    Ok(())
}

/// `scrypt-params`: salt, the three parameters N, r and p, and perhaps the length of the key.
fn derive_by_scrypt(
    mut parameters: Fields<'_>,
    passphrase: &[u8],
    limits: Limits,
    key: &mut [u8],
) -> Result<(), KeyProblem> {
    let salt = parameters.take(OCTET_STRING)?.0;
    let [n, r, p] = [
        parameters.take_number()?,
        parameters.take_number()?,
        parameters.take_number()?,
    ];
    parameters.skip_length(key.len())?;
    let bytes = [n, r, p].into_iter().try_fold(128, u64::checked_mul);
    check_cost("bytes of scrypt", bytes, limits.scrypt_bytes)?;
    let parameters = || {
        // Within the limit everything fits; N must be a power of two above one.
        let (r, p) = (u32::try_from(r).ok()?, u32::try_from(p).ok()?);
        let log_n = u8::try_from(n.checked_ilog2()?).ok()?;
        (n.is_power_of_two() && n > 1).then(|| scrypt::Params::new(log_n, r, p).ok())?
    };
    let parameters = parameters().ok_or(KeyProblem::Damaged)?;
    scrypt::scrypt(passphrase, salt, &parameters, key).map_err(|_| KeyProblem::Damaged)
}

/// `cost` is `None` if it is too large to be counted.
fn check_cost(unit: &'static str, cost: Option<u64>, limit: u64) -> Result<(), KeyProblem> {
    match cost.unwrap_or(u64::MAX) {
        cost if cost > limit => Err(KeyProblem::Costly { cost, unit, limit }),
        _ => Ok(()),
    }
}

/// An `AlgorithmIdentifier`.
struct Algorithm<'a> {
    id: &'a [u8],
    parameters: &'a [u8],
}

impl Algorithm<'_> {
    /// The error that names the algorithm.
    fn unsupported(&self) -> KeyProblem {
        let known = UNSUPPORTED.iter().find(|(id, _)| *id == self.id);
        KeyProblem::Unsupported(known.map_or_else(|| dotted(self.id), |(_, name)| (*name).to_owned()))
    }
}

/// Fields of a sequence that are yet to be read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The content of the next field, which has this tag.
    fn take(&mut self, tag: u8) -> Result<Fields<'a>, KeyProblem> {
        read_value(tag, &mut self.0).map(Fields).ok_or(KeyProblem::Damaged)
    }

    fn take_algorithm(&mut self) -> Result<Algorithm<'a>, KeyProblem> {
        let mut fields = self.take(SEQUENCE)?;
        let id = fields.take(OBJECT_IDENTIFIER)?.0;
        Ok(Algorithm {
            id,
            parameters: fields.0,
        })
    }

    fn take_number(&mut self) -> Result<u64, KeyProblem> {
        let bytes = without_leading_zeros(self.take(INTEGER)?.0);
        if bytes.len() > size_of::<u64>() {
            return Err(KeyProblem::Damaged);
        }
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Skips a length of the key, which may be there and must be right then.
    fn skip_length(&mut self, length: usize) -> Result<(), KeyProblem> {
        if self.0.first() == Some(&INTEGER) && self.take_number()? != length as u64 {
            return Err(KeyProblem::Damaged);
        }
        Ok(())
    }
}

/// An object identifier as people write it, cut off when it becomes too long to be one.
fn dotted(id: &[u8]) -> String {
    const LONGEST: usize = 32;
    let mut arcs: Vec<u64> = Vec::new();
    let mut arc: u64 = 0;
    for byte in id.iter().take(LONGEST) {
        arc = arc << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            // The first number holds two.
            if arcs.is_empty() {
                let first = (arc / 40).min(2);
                arcs.push(first);
                arc -= first * 40;
            }
            arcs.push(arc);
            arc = 0;
        }
    }
    let arcs: Vec<String> = arcs.iter().map(u64::to_string).collect();
    arcs.join(".")
}
