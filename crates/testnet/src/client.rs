//! A client of onion services.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use onionweave_control::{Connection, Endpoint, Event, EventKind, Events, Signal as TorSignal};
use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_socks::tcp::Socks5Stream;

use crate::error::{Error, IoContext};
use crate::home::socket_path;
use crate::network::Network;
use crate::process::{BOOTSTRAP_LIMIT, Tor};
use crate::relay::process_methods;
use crate::torrc::{Role, Torrc};

/// Longest time that a fetch may take. Tor gives up after 120 s (`SocksTimeout`), so its own answer
/// comes first.
const FETCH_LIMIT: Duration = Duration::from_secs(150);
/// Longest answer, in bytes.
const ANSWER_LIMIT: u64 = 64 * 1024;
/// Longest time that Tor may put off a new identity: ten seconds (`MAX_SIGNEWNYM_RATE`,
/// `core/mainloop/mainloop.c:1320`), and some for a busy machine.
const NEW_IDENTITY_LIMIT: Duration = Duration::from_secs(20);

/// Describes a client to start; made by [`Network::client`].
#[derive(Debug)]
#[must_use = "nothing happens before `start`"]
pub struct ClientBuilder<'a> {
    network: &'a Network,
    name: String,
    extra: Vec<String>,
}

impl<'a> ClientBuilder<'a> {
    pub(crate) fn new(network: &'a Network, name: String) -> Self {
        Self {
            network,
            name,
            extra: Vec::new(),
        }
    }

    /// Adds a line at the end of its configuration.
    pub fn torrc(mut self, line: impl Into<String>) -> Self {
        self.extra.push(line.into());
        self
    }

    /// Starts it and waits until it has built a circuit.
    ///
    /// # Errors
    ///
    /// [`Error::Name`], or whatever keeps the process from starting.
    pub async fn start(self) -> Result<Client, Error> {
        let mut tor = Tor::prepare(self.network.home(), &self.name)?;
        let socks = socket_path(tor.folder(), "socks")?;
        let torrc = self.network.torrc(Role::Client).unix_port("SocksPort", &socks);
        tor.configure(self.extra.iter().fold(torrc, Torrc::last))?;
        tor.spawn()?;
        tor.wait_for_control().await?;
        tor.wait_for_bootstrap(BOOTSTRAP_LIMIT).await?;
        Ok(Client {
            tor,
            socks,
            streams: AtomicU64::new(0),
        })
    }
}

/// A Tor client.
///
/// It ends when it is dropped.
#[derive(Debug)]
pub struct Client {
    tor: Tor,
    socks: PathBuf,
    /// Streams so far; their number isolates each from the others.
    streams: AtomicU64,
}

impl Client {
    /// The name it was started with.
    pub fn name(&self) -> &str {
        self.tor.name()
    }

    /// The unix socket where it speaks SOCKS.
    pub fn socks(&self) -> &Path {
        &self.socks
    }

    /// Asks the web server behind an onion service for `/`, and returns the body of its answer.
    ///
    /// Every fetch is isolated from all others, so none shares a circuit. But the client keeps the
    /// service's descriptor until
    /// [`new_identity`](Self::new_identity).
    ///
    /// # Errors
    ///
    /// [`Error::Connect`] with Tor's reply when it gives up, after at most two minutes;
    /// [`Error::Answer`].
    pub async fn fetch(&self, onion: &str, port: u16) -> Result<String, Error> {
        let start = Instant::now();
        let answer_error = |reason: String| Error::Answer {
            client: self.name().to_owned(),
            address: format!("{onion}:{port}"),
            after: start.elapsed(),
            reason,
        };
        let fetch = async {
            let stream = self.connect_to(onion, port).await?;
            exchange(stream, onion)
                .await
                .map_err(|error| answer_error(error.to_string()))
        };
        let answer = match timeout(FETCH_LIMIT, fetch).await {
            Ok(answer) => answer?,
            Err(elapsed) => return Err(answer_error(elapsed.to_string())),
        };
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.0 200 ") => Ok(body.to_owned()),
            _ => Err(answer_error(format!(
                "{:?} is no HTTP answer with status 200",
                answer.lines().next().unwrap_or_default()
            ))),
        }
    }

    /// Connects to a port of an onion service, isolated from all other streams as with
    /// [`fetch`](Self::fetch). Takes what Tor takes, at most two minutes.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`] with Tor's reply when it gives up.
    pub async fn open(
        &self,
        onion: &str,
        port: u16,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>, Error> {
        self.connect_to(onion, port).await
    }

    async fn connect_to(&self, onion: &str, port: u16) -> Result<Socks5Stream<UnixStream>, Error> {
        let start = Instant::now();
        let stream = self.streams.fetch_add(1, Ordering::Relaxed).to_string();
        let socket = UnixStream::connect(&self.socks)
            .await
            .doing("connect to", &self.socks)?;
        Socks5Stream::connect_with_password_and_socket(socket, (onion, port), &stream, "isolated")
            .await
            .map_err(|source| Error::Connect {
                client: self.name().to_owned(),
                address: format!("{onion}:{port}"),
                after: start.elapsed(),
                source,
            })
    }

    /// Makes the client forget what it knows of onion services, and use new circuits (`SIGNAL
    /// NEWNYM`).
    ///
    /// Returns when Tor has done so. It does so at most once in ten seconds, and otherwise lets us
    /// wait.
    ///
    /// # Errors
    ///
    /// [`Error::Control`], or [`Error::TimedOut`] when Tor does not do it.
    pub async fn new_identity(&self) -> Result<(), Error> {
        let control_error = |source| self.control_error(source);
        let (connection, mut events) = self.connect().await?;
        connection
            .set_events(&[EventKind::Signal])
            .await
            .map_err(control_error)?;
        connection.signal(TorSignal::NewNym).await.map_err(control_error)?;
        let deadline = Instant::now() + NEW_IDENTITY_LIMIT;
        loop {
            match timeout_at(deadline, events.recv()).await {
                Ok(Some(Event::Signal(_))) => return Ok(()),
                Ok(Some(_)) => {}
                Ok(None) => {
                    return Err(Error::NotRunning {
                        name: self.name().to_owned(),
                        log: self.tor.log_excerpt(),
                    });
                }
                Err(_) => {
                    return Err(self
                        .tor
                        .timed_out("a new identity", NEW_IDENTITY_LIMIT, "no SIGNAL event".to_owned()));
                }
            }
        }
    }
}

process_methods!(Client);

impl Client {
    pub(crate) fn control_error(&self, source: onionweave_control::Error) -> Error {
        self.tor.control_error(source)
    }
}

/// Sends a request and reads the whole answer.
async fn exchange(mut stream: Socks5Stream<UnixStream>, host: &str) -> std::io::Result<String> {
    stream
        .write_all(format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes())
        .await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_LIMIT).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
