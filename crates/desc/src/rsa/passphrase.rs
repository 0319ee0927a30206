//! Decrypting private keys: PKCS#8 with PBES2 (RFC 8018), and the form that OpenSSL gave PKCS#1
//! before that.

mod pbes2;

use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit};
use data_encoding::HEXUPPER_PERMISSIVE;
use md5::{Digest as _, Md5};
use zeroize::Zeroizing;

use super::pem::Encrypted;
use crate::der::{SEQUENCE, read_value};
use crate::error::KeyProblem;

/// Limits of the cost of deriving a key from a passphrase.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Iterations of PBKDF2.
    pub(crate) iterations: u64,
    /// Bytes that scrypt fills and reads: 128 times the product of its parameters. Its memory is no
    /// more than that.
    pub(crate) scrypt_bytes: u64,
}

impl Limits {
    /// Some seconds at the most. OpenSSL writes 2 048 iterations, or 16 MiB, unless told otherwise.
    pub(crate) const DEFAULT: Self = Self {
        iterations: 10_000_000,
        scrypt_bytes: 256 << 20,
    };
}

/// The private key inside, in DER.
pub(crate) fn decrypt(
    encrypted: Encrypted<'_>,
    passphrase: &[u8],
    limits: Limits,
) -> Result<Zeroizing<Vec<u8>>, KeyProblem> {
    let plaintext = match encrypted {
        Encrypted::Pkcs1 { dek_info, content } => decrypt_pkcs1(dek_info, content, passphrase)?,
        Encrypted::Pkcs8(content) => pbes2::decrypt(&content, passphrase, limits)?,
    };
    // Of 256 wrong passphrases one gives right padding by accident; hardly any of those gives a
    // sequence of just this length.
    let mut rest = plaintext.as_slice();
    match read_value(SEQUENCE, &mut rest) {
        Some(_) if rest.is_empty() => Ok(plaintext),
        _ => Err(KeyProblem::WrongPassphrase),
    }
}

/// `PEM_do_header` of OpenSSL (crypto/pem/pem_lib.c).
fn decrypt_pkcs1(
    dek_info: &str,
    content: Zeroizing<Vec<u8>>,
    passphrase: &[u8],
) -> Result<Zeroizing<Vec<u8>>, KeyProblem> {
    let (name, iv) = dek_info.split_once(',').ok_or(KeyProblem::Damaged)?;
    let cipher = match name.trim() {
        "AES-128-CBC" => Cipher::Aes128,
        "AES-192-CBC" => Cipher::Aes192,
        "AES-256-CBC" => Cipher::Aes256,
        "DES-EDE3-CBC" => Cipher::TripleDes,
        other => return Err(KeyProblem::Unsupported(other.chars().take(40).collect())),
    };
    let iv = HEXUPPER_PERMISSIVE.decode(iv.trim().as_bytes()).ok();
    let iv = iv.ok_or(KeyProblem::Damaged)?;
    let salt = iv.get(..8).ok_or(KeyProblem::Damaged)?;
    cipher.decrypt(&bytes_to_key(passphrase, salt, cipher.key_len()), &iv, content)
}

/// `EVP_BytesToKey` with MD5 and one iteration: each digest is that of the digest before, the
/// passphrase and the salt.
fn bytes_to_key(passphrase: &[u8], salt: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(length + Md5::output_size()));
    let mut digest = Zeroizing::new([0; 16]);
    while key.len() < length {
        let before = if key.is_empty() { &[] } else { digest.as_slice() };
        let hash = Md5::new()
            .chain_update(before)
            .chain_update(passphrase)
            .chain_update(salt);
        *digest = hash.finalize().into();
        key.extend_from_slice(&*digest);
    }
    key.truncate(length);
    key
}

/// Block ciphers, in CBC mode with the padding of PKCS#7.
#[derive(Debug, Clone, Copy)]
enum Cipher {
    Aes128,
    Aes192,
    Aes256,
    TripleDes,
}

impl Cipher {
    fn key_len(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes192 | Self::TripleDes => 24,
            Self::Aes256 => 32,
        }
    }

    /// Decrypts in place. A key that is not [`key_len`](Self::key_len) long or an initialisation
    /// vector of another length than the block counts as damage.
    fn decrypt(self, key: &[u8], iv: &[u8], content: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, KeyProblem> {
        let decrypt = match self {
            Self::Aes128 => decrypt_with::<Decryptor<aes::Aes128Dec>>,
            Self::Aes192 => decrypt_with::<Decryptor<aes::Aes192Dec>>,
            Self::Aes256 => decrypt_with::<Decryptor<aes::Aes256Dec>>,
            Self::TripleDes => decrypt_with::<Decryptor<des::TdesEde3>>,
        };
        decrypt(key, iv, content)
    }
}

fn decrypt_with<D: KeyIvInit + BlockModeDecrypt>(
    key: &[u8],
    iv: &[u8],
    mut content: Zeroizing<Vec<u8>>,
) -> Result<Zeroizing<Vec<u8>>, KeyProblem> {
    let decryptor = D::new_from_slices(key, iv).map_err(|_| KeyProblem::Damaged)?;
    let plaintext = decryptor.decrypt_padded::<Pkcs7>(&mut content);
    let length = plaintext.map_err(|_| KeyProblem::WrongPassphrase)?.len();
    content.truncate(length);
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rsa::PrivateKey;
    use crate::{Error, base64, fuzz};

    const PASSPHRASE: &str = "onionweave";
    const PLAIN: &str = include_str!("../../testdata/plain/private_key");

    macro_rules! key {
        ($file:literal) => {
            (
                $file,
                include_str!(concat!("../../testdata/keys/passphrase/", $file)),
            )
        };
    }

    const READABLE: [(&str, &str); 14] = [
        key!("pkcs8-aes-128.pem"),
        key!("pkcs8-aes-192.pem"),
        key!("pkcs8-aes-256.pem"),
        key!("pkcs8-des3.pem"),
        key!("pkcs8-sha1.pem"),
        key!("pkcs8-sha1-des3.pem"),
        key!("pkcs8-sha224.pem"),
        key!("pkcs8-sha384.pem"),
        key!("pkcs8-sha512.pem"),
        key!("pkcs8-scrypt.pem"),
        key!("pkcs1-aes-128.pem"),
        key!("pkcs1-aes-192.pem"),
        key!("pkcs1-aes-256.pem"),
        key!("pkcs1-des3.pem"),
    ];

    fn read(pem: &str, passphrase: &str) -> Result<PrivateKey, KeyProblem> {
        PrivateKey::from_pem_with_passphrase(pem, passphrase).map_err(|error| match error {
            Error::PrivateKey(problem) => problem,
            other => panic!("{other}"),
        })
    }

    #[test]
    fn what_openssl_writes_is_read() {
        for (name, pem) in READABLE {
            let key = read(pem, PASSPHRASE).unwrap_or_else(|problem| panic!("{name}: {problem}"));
            assert_eq!(*key.to_pem(), PLAIN, "{name}");
            let key =
                read(&pem.replace('\n', "\r\n"), PASSPHRASE).unwrap_or_else(|problem| panic!("{name}: {problem}"));
            assert_eq!(*key.to_pem(), PLAIN, "{name}, CR before LF");
            assert_eq!(
                PrivateKey::from_pem(pem).unwrap_err(),
                Error::PrivateKey(KeyProblem::Encrypted),
                "{name}"
            );
        }
        assert_eq!(*read(PLAIN, PASSPHRASE).unwrap().to_pem(), PLAIN, "not encrypted");
    }

    #[test]
    fn wrong_passphrases_are_wrong() {
        for (name, pem) in READABLE {
            for passphrase in ["", "onionweav", "Onionweave", "onionweave\n"] {
                assert_eq!(
                    read(pem, passphrase).unwrap_err(),
                    KeyProblem::WrongPassphrase,
                    "{name}, {passphrase:?}"
                );
            }
        }
    }

    /// Enough of them that some leave right padding behind.
    #[test]
    fn no_wrong_passphrase_passes_for_damage() {
        let (_, pem) = key!("pkcs1-des3.pem");
        for number in 0..2_000 {
            assert_eq!(read(pem, &number.to_string()).unwrap_err(), KeyProblem::WrongPassphrase);
        }
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let unsupported = |name: &str| KeyProblem::Unsupported(name.to_owned());
        let costly = |cost, unit, limit| KeyProblem::Costly { cost, unit, limit };
        let table = [
            (key!("pkcs8-pbes1-md5-des.pem"), unsupported("pbeWithMD5AndDES-CBC")),
            (
                key!("pkcs8-pkcs12-des3.pem"),
                unsupported("pbeWithSHA1And3-KeyTripleDES-CBC"),
            ),
            (key!("pkcs8-camellia-256.pem"), unsupported("CAMELLIA-256-CBC")),
            (key!("pkcs8-aria-128.pem"), unsupported("1.2.410.200046.1.1.2")),
            (key!("pkcs8-sha512-256.pem"), unsupported("1.2.840.113549.2.13")),
            (key!("pkcs1-camellia-256.pem"), unsupported("CAMELLIA-256-CBC")),
            (
                key!("pkcs8-10000001-iterations.pem"),
                costly(10_000_001, "iterations of PBKDF2", 10_000_000),
            ),
            (
                key!("pkcs8-scrypt-34-gb.pem"),
                costly(33_824_964_608, "bytes of scrypt", 268_435_456),
            ),
            (key!("pkcs8-ec.pem"), KeyProblem::Algorithm),
        ];
        for ((name, pem), problem) in table {
            assert_eq!(read(pem, PASSPHRASE).unwrap_err(), problem, "{name}");
        }
    }

    #[test]
    fn headers_that_say_too_little_are_refused() {
        let (_, pem) = key!("pkcs1-aes-128.pem");
        let table = [
            (
                "Proc-Type: 4,ENCRYPTED\n",
                "Proc-Type: 4,CRYPTED\n",
                KeyProblem::Damaged,
            ),
            ("DEK-Info: ", "DEC-Info: ", KeyProblem::Pem),
            ("DEK-Info: AES-128-CBC,", "DEK-Info: AES-128-CBC ", KeyProblem::Damaged),
            ("DEK-Info: AES-128-CBC,", "DEK-Info: AES-128-CBC,0", KeyProblem::Damaged),
            (
                "DEK-Info: AES-128-CBC,",
                "DEK-Info: AES-128-CBC,00",
                KeyProblem::Damaged,
            ),
            ("DEK-Info: AES-128-CBC,", "DEK-Info: AES-128-CBC,,", KeyProblem::Damaged),
            ("DEK-Info: AES-128-CBC,", "DEK-Info: DES-EDE3-CBC,", KeyProblem::Damaged),
        ];
        for (from, to, problem) in table {
            assert_eq!(read(&pem.replace(from, to), PASSPHRASE).unwrap_err(), problem, "{to}");
        }
    }

    /// Every byte of the parameters is changed; what counts is that nothing panics and nothing
    /// takes long.
    #[test]
    fn changed_parameters_do_no_harm() {
        for pem in [
            include_str!("../../testdata/fuzz-corpus/service_key/pkcs8-pbkdf2.pem"),
            include_str!("../../testdata/fuzz-corpus/service_key/pkcs8-scrypt.pem"),
            include_str!("../../testdata/fuzz-corpus/service_key/pkcs8-des3.pem"),
        ] {
            let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
            let der = base64::decode(body.as_bytes()).unwrap();
            for place in 0..130 {
                for change in [1, 0x80, 0xff] {
                    let mut der = der.clone();
                    der[place] ^= change;
                    let mut pem = String::new();
                    base64::encode_object("ENCRYPTED PRIVATE KEY", &der, &mut pem);
                    fuzz::service_key(pem.as_bytes());
                }
            }
        }
    }
}
