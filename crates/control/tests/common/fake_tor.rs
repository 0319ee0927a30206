//! The other side of a control connection, for tests: a listener whose behaviour is a short script.
#![allow(dead_code, reason = "each file of tests uses another part of it")]

use std::future::Future;
use std::time::Duration;

use onionweave_control::Endpoint;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What a Tor without authentication offers.
pub(crate) const NULL_OFFER: &[u8] =
    b"250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250-VERSION Tor=\"0.4.5.9\"\r\n250 OK\r\n";

/// Listens, and runs the script on the first connection. A failed assertion in it ends the
/// connection.
pub(crate) async fn listen<F: Future<Output = ()> + Send + 'static>(
    script: impl FnOnce(FakeTor) -> F + Send + 'static,
) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::Tcp(listener.local_addr().unwrap().to_string());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        script(FakeTor {
            stream: BufReader::new(stream),
        })
        .await;
    });
    endpoint
}

/// Listens, and runs the script on every connection, with its number from 0.
pub(crate) async fn listen_always<F: Future<Output = ()> + Send + 'static>(
    script: impl Fn(usize, FakeTor) -> F + Send + 'static,
) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::Tcp(listener.local_addr().unwrap().to_string());
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(script(
                number,
                FakeTor {
                    stream: BufReader::new(stream),
                },
            ));
        }
    });
    endpoint
}

/// One connection, as Tor sees it.
pub(crate) struct FakeTor {
    stream: BufReader<TcpStream>,
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

    /// Sends `bytes` again and again until a line comes, which must come in one piece.
    pub(crate) async fn line_under_flood(&mut self, bytes: &[u8]) -> String {
        loop {
            let mut line = String::new();
            tokio::select! {
                biased;
                _ = self.stream.read_line(&mut line) => return line.trim_end_matches("\r\n").to_owned(),
                () = std::future::ready(()) => {}
            }
            self.send(bytes).await;
        }
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // The controller may have closed by then, which its own assertions are about.
        let _ = self.stream.get_mut().write_all(bytes).await;
    }

    /// Lets anybody in.
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
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(self.stream);
    }
}
