//! The other side of a control connection, for tests: a port in memory whose behaviour is a short
//! script.
//!
//! No socket and no clock of the system takes part, so tests run in paused time: it passes only
//! while everybody waits, and then at once.
#![allow(dead_code, reason = "each file of tests uses another part of it")]

use std::future::{Future, pending, ready};
use std::sync::{Arc, Mutex};

use onionweave_control::{Connection, Credentials, Error, Events, Options, Supervisor, SupervisorOptions};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};

/// Number of bytes that wait in each direction before the writer has to wait, about as in a socket.
const BUFFER: usize = 64 << 10;

/// Offer of a Tor without authentication.
pub(crate) const NULL_OFFER: &[u8] =
    b"250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250-VERSION Tor=\"0.4.5.9\"\r\n250 OK\r\n";

/// A control port in memory.
#[derive(Clone)]
pub(crate) struct Port {
    accept: Arc<dyn Fn(FakeTor) + Send + Sync>,
}

impl Port {
    /// Opens a stream to it.
    pub(crate) fn open(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(BUFFER);
        (self.accept)(FakeTor {
            stream: BufReader::new(theirs),
        });
        ours
    }

    pub(crate) async fn connect(
        &self,
        credentials: &Credentials,
        options: &Options,
    ) -> Result<(Connection, Events), Error> {
        Connection::over(self.open(), credentials, options).await
    }

    pub(crate) fn supervise(
        &self,
        credentials: impl IntoIterator<Item = Credentials>,
        options: SupervisorOptions,
    ) -> (Supervisor, Events) {
        let port = self.clone();
        Supervisor::start_over("in memory", move || ready(Ok(port.open())), credentials, options)
    }
}

/// Listens, and runs the script on the first connection; others are refused. A failed assertion in
/// it ends the connection.
pub(crate) async fn listen<F: Future<Output = ()> + Send + 'static>(
    script: impl FnOnce(FakeTor) -> F + Send + 'static,
) -> Port {
    let script = Mutex::new(Some(script));
    Port {
        accept: Arc::new(move |tor| {
            if let Some(script) = script.lock().unwrap().take() {
                tokio::spawn(script(tor));
            }
        }),
    }
}

/// Listens, and runs the script on every connection, with its number from 0.
pub(crate) async fn listen_always<F: Future<Output = ()> + Send + 'static>(
    script: impl Fn(usize, FakeTor) -> F + Send + 'static,
) -> Port {
    let script = Mutex::new((0, script));
    Port {
        accept: Arc::new(move |tor| {
            let mut script = script.lock().unwrap();
            let number = script.0;
            script.0 += 1;
            tokio::spawn((script.1)(number, tor));
        }),
    }
}

/// A connection, as Tor sees it.
pub(crate) struct FakeTor {
    stream: BufReader<DuplexStream>,
}

impl FakeTor {
    /// The next line from the controller, without its end; empty at the end of the connection.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.unwrap();
        line.trim_end_matches("\r\n").to_owned()
    }

    /// The next line must be this one.
    pub(crate) async fn expect(&mut self, line: &str) {
        assert_eq!(self.line().await, line);
    }

    /// Reads a body up to and with the line `.`.
    pub(crate) async fn body(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await;
            if line == "." {
                return lines;
            }
            assert!(!line.is_empty() || lines.len() < 100, "a body without end");
            lines.push(line);
        }
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // The controller may have closed by then, which its own assertions are about.
        let _ = self.stream.get_mut().write_all(bytes).await;
    }

    /// Admits anybody.
    pub(crate) async fn let_in(&mut self) {
        self.expect("PROTOCOLINFO 1").await;
        self.send(NULL_OFFER).await;
        self.expect("AUTHENTICATE").await;
        self.send(b"250 OK\r\n").await;
    }

    /// Answers the question of a supervisor that has just connected.
    pub(crate) async fn introduce(&mut self, process: u64, uptime: u64, events: &str) {
        self.expect("GETINFO process/pid uptime events/names").await;
        let answer =
            format!("250-process/pid={process}\r\n250-uptime={uptime}\r\n250-events/names={events}\r\n250 OK\r\n");
        self.send(answer.as_bytes()).await;
    }

    /// Waits until the controller closes, and gives what it sent meanwhile.
    pub(crate) async fn wait_for_end(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest).await;
        rest
    }

    /// Holds the connection open without a word.
    pub(crate) async fn fall_silent(self) {
        pending::<()>().await;
        drop(self.stream);
    }
}
