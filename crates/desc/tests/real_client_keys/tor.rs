//! A Tor that reads the keys of a service's clients, and ends.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::process::{Child, Command, Stdio};

use onionweave_desc::v2::AuthorizationKind;
use onionweave_testnet::tor;

use crate::support::PLAIN_KEY;

/// Words that Tor wrote.
pub(crate) struct Files {
    pub(crate) client_keys: String,
    pub(crate) hostname: String,
}

/// Starts a Tor without a network for a service with these clients, until it has read its file
/// `client_keys` and has written it and `hostname` anew. `None` if it refuses the file.
pub(crate) fn run(kind: AuthorizationKind, names: &[&str], client_keys: Option<&[u8]>) -> Option<Files> {
    let folder = tempfile::Builder::new()
        .prefix("ow")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
        .unwrap();
    let service = folder.path().join("service");
    fs::DirBuilder::new().mode(0o700).create(&service).unwrap();
    fs::write(service.join("private_key"), PLAIN_KEY).unwrap();
    if let Some(client_keys) = client_keys {
        fs::write(service.join("client_keys"), client_keys).unwrap();
    }
    let torrc = folder.path().join("torrc");
    let options = format!(
        "DisableNetwork 1\nSocksPort 0\nDataDirectory {}\nLog notice stdout\n__OwningControllerProcess {}\n\
         HiddenServiceDir {}\nHiddenServiceVersion 2\nHiddenServicePort 80\nHiddenServiceAuthorizeClient {kind} {}\n",
        folder.path().join("data").display(),
        std::process::id(),
        service.display(),
        names.join(","),
    );
    fs::write(&torrc, options).unwrap();
    let child = Command::new(tor::binary().unwrap().path())
        .args([
            "-f".as_ref(),
            torrc.as_os_str(),
            "--defaults-torrc".as_ref(),
            "/dev/null".as_ref(),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut process = Process(child);

    let mut said = Vec::new();
    for line in BufReader::new(process.0.stdout.take().unwrap()).split(b'\n') {
        let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
        // Keys are read before.
        if line.contains("Bootstrapped 0%") {
            let read = |file| fs::read_to_string(service.join(file)).unwrap();
            return Some(Files {
                client_keys: read("client_keys"),
                hostname: read("hostname"),
            });
        }
        said.push(line);
    }
    let said = said.join("\n");
    assert!(said.contains("client_keys file could not be parsed"), "{said}");
    None
}

/// A process that ends with its owner.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
