//! A running Tor without a network, and its verdicts.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use onionweave_testnet::tor;

/// Longest time that Tor may take to start, and for any one reply.
const PATIENCE: Duration = Duration::from_secs(30);

/// A tor process and a control connection to it. It ends when dropped.
pub(crate) struct Tor {
    process: Child,
    connection: BufReader<UnixStream>,
    /// Folder of its files.
    _folder: tempfile::TempDir,
}

impl Tor {
    pub(crate) fn start() -> Self {
        let binary = tor::binary().unwrap();
        // Tor wants a unix socket's folder to be private, and the system its path to be short.
        let folder = tempfile::Builder::new()
            .prefix("ow")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .unwrap();
        let socket = folder.path().join("control");
        let torrc = folder.path().join("torrc");
        let options = format!(
            "DisableNetwork 1\nSocksPort 0\nControlSocket {}\nDataDirectory {}\nLog err stderr\n__OwningControllerProcess {}\n",
            socket.display(),
            folder.path().join("data").display(),
            std::process::id(),
        );
        std::fs::write(&torrc, options).unwrap();
        let process = Command::new(binary.path())
            .args([
                Path::new("-f"),
                &torrc,
                Path::new("--defaults-torrc"),
                Path::new("/dev/null"),
                Path::new("--hush"),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        let stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(error) => assert!(started.elapsed() < PATIENCE, "tor has no control socket: {error}"),
            }
            thread::sleep(Duration::from_millis(20));
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut tor = Self {
            process,
            connection: BufReader::new(stream),
            _folder: folder,
        };
        tor.connection.get_ref().write_all(b"AUTHENTICATE\r\n").unwrap();
        assert_eq!(tor.reply(), "250 OK");
        tor
    }

    /// Whether Tor accepts each of these bodies of `+HSPOST`, all of which end in LF: what a
    /// directory would answer.
    ///
    /// The commands are sent as fast as Tor takes them, and the replies come in the same order.
    pub(crate) fn accepts(&mut self, bodies: &[&[u8]], meanwhile: impl FnOnce()) -> Vec<bool> {
        let mut writer = self.connection.get_ref().try_clone().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                for body in bodies {
                    writer.write_all(&command(body)).unwrap();
                }
            });
            meanwhile();
            let verdict = |body: &&[u8]| match self.reply().as_str() {
                "250 OK" => true,
                "554 Invalid descriptor" => false,
                other => panic!("{other:?} to {:?}", body.escape_ascii().to_string()),
            };
            bodies.iter().map(verdict).collect()
        })
    }

    fn reply(&mut self) -> String {
        let mut line = String::new();
        self.connection.read_line(&mut line).unwrap();
        line.strip_suffix("\r\n")
            .map(str::to_owned)
            .unwrap_or_else(|| panic!("tor ended; it said {line:?}"))
    }
}

impl Drop for Tor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The command whose body Tor reads as exactly these bytes, whatever they are, as long as they end
/// in LF: it takes one dot off the start of every line and one CR off its end
/// (feature/control/control_proto.c:129), and minds neither NUL nor other control characters. Up to
/// 1 MiB would fit (control.c:280).
fn command(body: &[u8]) -> Vec<u8> {
    let mut command = b"+HSPOST\r\n".to_vec();
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            command.push(b'.');
        }
        let line = line.strip_suffix(b"\n");
        command.extend_from_slice(line.expect("a body ends in LF"));
        command.extend_from_slice(b"\r\n");
    }
    command.extend_from_slice(b".\r\n");
    command
}
