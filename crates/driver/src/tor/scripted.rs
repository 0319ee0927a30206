//! Control ports in memory that answer from a script, for tests.
//!
//! No socket takes part, so tests run in paused time. It passes only while everybody waits, and
//! then at once.

use std::fmt;
use std::future::ready;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};
use tokio::time::sleep;

/// Number of bytes that wait in each direction before the writer has to wait, about as in a socket.
const BUFFER: usize = 64 << 10;
/// Router statuses of a recorded network.
const RELAYS: &str = include_str!("../../../ring/testdata/v2-network/ns_all.txt");

/// Answer of a script to a line.
pub(crate) enum Answer {
    /// The usual one.
    Usual,
    /// This text.
    Text(String),
    /// The usual one, after a time.
    Late(Duration),
    /// None, on a connection that stays.
    Never,
    /// None: the connection ends.
    HangUp,
}

/// Opens a connection, by its number from 0, or fails.
type Open = dyn Fn(usize) -> io::Result<()> + Send + Sync;
/// Answers a line on a connection, by the connection's number.
type Answers = dyn Fn(usize, &str) -> Answer + Send + Sync;

/// The control ports of a test.
pub(crate) struct Script {
    open: Box<Open>,
    answer: Box<Answers>,
    attempts: AtomicUsize,
    /// The lines that were read on all connections.
    lines: Mutex<Vec<String>>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").finish_non_exhaustive()
    }
}

impl Script {
    /// A port that lets everybody in and answers so.
    pub(crate) fn new(answer: impl Fn(usize, &str) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            open: Box::new(|_| Ok(())),
            answer: Box::new(answer),
            attempts: AtomicUsize::new(0),
            lines: Mutex::default(),
        }
    }

    /// A port that every attempt to connect fails at so, and that answers as usual where none does.
    pub(crate) fn opening(open: impl Fn(usize) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self {
            open: Box::new(open),
            ..Self::new(|_, _| Answer::Usual)
        }
    }

    /// Number of attempts to connect.
    pub(crate) fn attempts(&self) -> usize {
        self.attempts.load(Ordering::Relaxed)
    }

    /// The lines that were read and begin so.
    pub(crate) fn lines(&self, beginning: &str) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        lines
            .iter()
            .filter(|line| line.starts_with(beginning))
            .cloned()
            .collect()
    }

    /// Opens a stream to the port.
    pub(super) fn connect(self: std::sync::Arc<Self>) -> impl Future<Output = io::Result<DuplexStream>> {
        let number = self.attempts.fetch_add(1, Ordering::Relaxed);
        ready((self.open)(number).map(|()| {
            let (ours, theirs) = tokio::io::duplex(BUFFER);
            tokio::spawn(async move { self.serve(number, BufReader::new(theirs)).await });
            ours
        }))
    }

    async fn serve(&self, number: usize, mut stream: BufReader<DuplexStream>) {
        let mut line = String::new();
        while let Ok(1..) = stream.read_line(&mut line).await {
            let read = line.trim_end().to_owned();
            line.clear();
            // A command of several lines is answered after the last.
            while read.starts_with('+') && line != ".\r\n" {
                line.clear();
                if !matches!(stream.read_line(&mut line).await, Ok(1..)) {
                    return;
                }
            }
            line.clear();
            self.lines.lock().unwrap().push(read.clone());
            let text = match (self.answer)(number, &read) {
                Answer::Usual => usual(&read),
                Answer::Text(text) => text,
                Answer::Late(time) => {
                    sleep(time).await;
                    usual(&read)
                }
                Answer::Never => continue,
                Answer::HangUp => return,
            };
            if stream.write_all(text.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// Answer of a Tor that has circuits and a consensus, and hosts nothing.
fn usual(line: &str) -> String {
    let mut words = line.split(' ');
    match words.next() {
        Some("PROTOCOLINFO") => {
            "250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250-VERSION Tor=\"0.4.5.9\"\r\n250 OK\r\n".into()
        }
        Some("GETINFO") => {
            let mut answer = String::new();
            for key in words {
                let value = match key {
                    "version" => "0.4.5.9",
                    "process/pid" => "1",
                    "uptime" => "100",
                    "events/names" => "BW HS_DESC NEWCONSENSUS",
                    "status/circuit-established" => "1",
                    "consensus/valid-after" => "2026-11-22 12:18:00",
                    "consensus/fresh-until" => "2026-11-22 13:18:00",
                    "consensus/valid-until" => "2026-11-22 15:18:00",
                    "ns/all" => {
                        answer += &format!("250+ns/all=\r\n{}\r\n.\r\n", RELAYS.trim_end().replace('\n', "\r\n"));
                        continue;
                    }
                    _ => return "551 Not found in cache\r\n".into(),
                };
                answer += &format!("250-{key}={value}\r\n");
            }
            answer + "250 OK\r\n"
        }
        _ => "250 OK\r\n".into(),
    }
}
