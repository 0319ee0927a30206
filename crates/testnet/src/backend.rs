//! Web server behind an onion service, which answers with its name.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::error::{Error, IoContext};

/// Longest time that a client may take to ask.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// Longest request, in bytes.
const REQUEST_BYTES: usize = 8 * 1024;

/// A web server on 127.0.0.1 that answers every request with its name and counts them.
///
/// It ends when it is dropped.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), onionweave_testnet::Error> {
/// let backend = onionweave_testnet::Backend::start("a").await?;
/// assert!(backend.address().ip().is_loopback());
/// assert_eq!(backend.requests(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Backend {
    name: String,
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    server: JoinHandle<()>,
}

impl Backend {
    /// Starts the server on a free port.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when there is none.
    pub async fn start(name: impl Into<String>) -> Result<Self, Error> {
        Self::start_at(name, (Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// Starts the server where another was before, which was dropped: the backend is back.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when somebody listens there.
    pub async fn start_at(name: impl Into<String>, address: SocketAddr) -> Result<Self, Error> {
        let name = name.into();
        let path = Path::new("a port on 127.0.0.1");
        let listener = TcpListener::bind(address).await.doing("listen on", path)?;
        let address = listener.local_addr().doing("listen on", path)?;
        let requests = Arc::new(AtomicU64::new(0));
        let server = tokio::spawn(serve(listener, name.clone(), Arc::clone(&requests)));
        Ok(Self {
            name,
            address,
            requests,
            server,
        })
    }

    /// The name it answers with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Address at which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Number of requests that it has answered.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, name: String, requests: Arc<AtomicU64>) {
    let answer: Arc<str> = format!(
        "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{name}",
        name.len()
    )
    .into();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (answer, requests) = (Arc::clone(&answer), Arc::clone(&requests));
                tokio::spawn(timeout(REQUEST_LIMIT, async move {
                    // A client that goes away early is no concern of the others.
                    if reply(stream, &answer).await.is_ok() {
                        requests.fetch_add(1, Ordering::Relaxed);
                    }
                }));
            }
            // Too many open files, most likely: some will close.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Reads one request up to its blank line, and answers it.
async fn reply(mut stream: TcpStream, answer: &str) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut part = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let length = stream.read(&mut part).await?;
        if length == 0 || request.len() > REQUEST_BYTES {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        request.extend_from_slice(part.get(..length).unwrap_or_default());
    }
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
