//! Reading secrets from files that nobody else may read.

use std::io::Read as _;
use std::path::Path;

use fs_mistrust::Mistrust;
use onionweave_desc::v2::{ClientKeys, ServiceKey};
use zeroize::Zeroizing;

use crate::Error;

/// A key or password file is a few lines; whatever is longer is another file.
const LONGEST_SECRET_FILE: u64 = 64 * 1024;

/// Reads a service's private key, as Tor writes it (`private_key` in the `HiddenServiceDir`).
///
/// # Errors
///
/// [`Error::Permissions`] if anybody but its owner can read or change the file, [`Error::File`] if
/// it cannot be read, [`Error::Key`] if it holds no RSA key of 1024 bits, or an encrypted one.
pub fn load_service_key(path: &Path) -> Result<ServiceKey, Error> {
    let pem = read_secret_bytes(path)?;
    ServiceKey::from_pem(&pem).map_err(|source| Error::Key {
        path: path.into(),
        source,
    })
}

/// Reads a service's private key that may be encrypted with the passphrase on the first line of
/// another file: PKCS#8, or PKCS#1 as OpenSSL wrote it formerly (see
/// `ServiceKey::from_pem_with_passphrase`).
///
/// Both files must be their owner's alone. Without the feature `passphrase` a key that is encrypted
/// is refused.
///
/// # Errors
///
/// As for [`load_service_key`], with [`Error::Key`] also for a wrong passphrase and for ciphers
/// that are not supported.
pub fn load_service_key_with_passphrase(path: &Path, passphrase: &Path) -> Result<ServiceKey, Error> {
    let pem = read_secret_bytes(path)?;
    let passphrase = read_secret(passphrase)?;
    let line = passphrase.split('\n').next().unwrap_or_default();
    let line = line.strip_suffix('\r').unwrap_or(line);
    decrypt(&pem, line).map_err(|source| Error::Key {
        path: path.into(),
        source,
    })
}

#[cfg(feature = "passphrase")]
fn decrypt(pem: &[u8], passphrase: &str) -> Result<ServiceKey, onionweave_desc::Error> {
    ServiceKey::from_pem_with_passphrase(pem, passphrase)
}

#[cfg(not(feature = "passphrase"))]
fn decrypt(pem: &[u8], _: &str) -> Result<ServiceKey, onionweave_desc::Error> {
    use onionweave_desc::{Error, KeyProblem};

    ServiceKey::from_pem(pem).map_err(|error| match error {
        Error::PrivateKey(KeyProblem::Encrypted) => Error::PrivateKey(KeyProblem::NeedsFeature),
        other => other,
    })
}

/// Reads the cookies of authorized clients, as Tor writes them (`client_keys` in the
/// `HiddenServiceDir`).
///
/// # Errors
///
/// As for [`load_service_key`].
pub fn load_client_keys(path: &Path) -> Result<ClientKeys, Error> {
    let text = read_secret_bytes(path)?;
    ClientKeys::parse(&text).map_err(|source| Error::Key {
        path: path.into(),
        source,
    })
}

/// Reads a small file that only its owner may read. Neither may others be able to change a folder
/// on the way to it.
///
/// The check can be turned off as in Arti, with `FS_MISTRUST_DISABLE_PERMISSIONS_CHECKS=1` in the
/// environment.
///
/// # Errors
///
/// [`Error::Permissions`] and [`Error::File`], as for [`load_service_key`].
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>, Error> {
    let mut bytes = read_secret_bytes(path)?;
    let text = String::from_utf8(std::mem::take(&mut *bytes)).map_err(|error| {
        // The bytes are a secret too.
        drop(Zeroizing::new(error.into_bytes()));
        Error::File {
            path: path.into(),
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, "not valid UTF-8"),
        }
    })?;
    Ok(Zeroizing::new(text))
}

/// Reads a small file as [`read_secret`] does, in whatever encoding.
fn read_secret_bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let file = |source| Error::File {
        path: path.into(),
        source,
    };
    // A missing file is an ordinary mistake and deserves an ordinary message.
    std::fs::metadata(path).map_err(file)?;
    // Not even the user's own group: its members change without the publisher's operator.
    let mistrust = Mistrust::builder()
        .trust_no_group_id()
        .controlled_by_default_env_var()
        .build()
        .map_err(|error| mistrusted(path, &error))?;
    mistrust
        .verifier()
        .require_file()
        .check(path)
        .map_err(|error| mistrusted(path, &error))?;
    let mut bytes = Zeroizing::new(Vec::new());
    let read = std::fs::File::open(path)
        .map_err(file)?
        .take(LONGEST_SECRET_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(file)?;
    if read as u64 > LONGEST_SECRET_FILE {
        let what = format!("longer than {LONGEST_SECRET_FILE} bytes: this is no key or password file");
        return Err(file(std::io::Error::new(std::io::ErrorKind::FileTooLarge, what)));
    }
    Ok(bytes)
}

fn mistrusted(path: &Path, error: &fs_mistrust::Error) -> Error {
    Error::Permissions {
        path: path.into(),
        why: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn key_file(mode: u32, text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let path = folder.path().join("private_key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    const KEY: &str = include_str!("../testdata/private_key");
    /// The same under the passphrase `onionweave`.
    const ENCRYPTED_KEY: &str = include_str!("../testdata/private_key.encrypted");

    #[test]
    fn private_key_is_read() {
        let (_folder, path) = key_file(0o600, KEY);
        let key = load_service_key(&path).unwrap();
        assert_eq!(key.service_id().to_string(), "rf75jzdtba4wnd6v");
    }

    #[test]
    fn encrypted_key_is_read_with_the_passphrase_of_a_file() {
        let (folder, path) = key_file(0o600, ENCRYPTED_KEY);
        let passphrase = |text: &str, mode| {
            let path = folder.path().join("passphrase");
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        for text in [
            "onionweave",
            "onionweave\n",
            "onionweave\r\n",
            "onionweave\nfor the key of the shop\n",
        ] {
            let read = load_service_key_with_passphrase(&path, &passphrase(text, 0o600));
            if cfg!(feature = "passphrase") {
                assert_eq!(read.unwrap().service_id().to_string(), "rf75jzdtba4wnd6v", "{text:?}");
            } else {
                let error = read.unwrap_err().to_string();
                assert!(error.ends_with("built without the feature `passphrase`"), "{error}");
            }
        }
        let error = load_service_key_with_passphrase(&path, &passphrase("garlic\n", 0o600)).unwrap_err();
        if cfg!(feature = "passphrase") {
            let error = error.to_string();
            assert!(
                error.ends_with("the passphrase is wrong, or the key is damaged"),
                "{error}"
            );
        }
        assert!(!format!("{error:?} {error}").contains("garlic"));

        let open = load_service_key_with_passphrase(&path, &passphrase("onionweave\n", 0o644));
        assert!(matches!(open, Err(Error::Permissions { .. })), "{open:?}");
        let error = load_service_key(&path).unwrap_err().to_string();
        assert!(
            error.ends_with("the key is encrypted, and no passphrase was given"),
            "{error}"
        );
    }

    #[test]
    fn key_that_others_can_read_is_refused() {
        for mode in [0o644, 0o640, 0o604, 0o620, 0o602] {
            let (_folder, path) = key_file(mode, KEY);
            let result = load_service_key(&path);
            assert!(matches!(result, Err(Error::Permissions { .. })), "{mode:o}: {result:?}");
        }
    }

    #[test]
    fn folder_is_no_key() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load_service_key(folder.path()).is_err());
    }

    #[test]
    fn long_missing_or_foreign_files_are_refused() {
        let (_folder, path) = key_file(0o600, &"x".repeat(100_000));
        let error = load_service_key(&path).unwrap_err().to_string();
        assert!(error.contains("longer than 65536 bytes"), "{error}");

        let (_folder, path) = key_file(0o600, "hello\n");
        assert!(matches!(load_service_key(&path), Err(Error::Key { .. })));

        let error = load_service_key(&path.with_file_name("none")).unwrap_err().to_string();
        assert!(error.contains("No such file"), "{error}");
    }
}
