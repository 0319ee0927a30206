//! Streams and HTTP requests of checks and gauges.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::time::Duration;

use humantime::format_duration;
use hyper::StatusCode;
use hyper::body::Body as _;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use onionweave_control::Endpoint;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::builder::HttpRequest;

/// Largest size, in bytes, of an answer's status and headers.
const LONGEST_HEAD: usize = 64 * 1024;

/// Reason why a stream or a request failed, in the plainest words.
#[derive(Debug, thiserror::Error)]
pub(super) enum NetError {
    #[error(transparent)]
    Late(#[from] Late),
    #[error("{}", plainly(.0))]
    Io(#[from] io::Error),
    #[error("no HTTP answer: {}", with_source(.0))]
    Http(#[from] hyper::Error),
    #[error(transparent)]
    Request(#[from] hyper::http::Error),
}

/// Silence for longer than somebody waits.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no answer within {}", format_duration(*.0))]
pub(super) struct Late(Duration);

/// Waits no longer than this.
pub(super) async fn in_time<T, E: From<Late>>(
    within: Duration,
    future: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    timeout(within, future)
        .await
        .unwrap_or_else(|_| Err(Late(within).into()))
}

/// A connection of any kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub(super) async fn connect(endpoint: &Endpoint) -> io::Result<Box<dyn Stream>> {
    match endpoint {
        Endpoint::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        Endpoint::Tcp(address) => Ok(Box::new(TcpStream::connect(address.as_str()).await?)),
        _ => Err(ErrorKind::Unsupported.into()),
    }
}

/// Makes a request, and returns the status of the answer and the first `most` bytes of its body.
pub(super) async fn send(
    stream: impl Stream + 'static,
    request: &HttpRequest,
    host: &str,
    most: usize,
) -> Result<(StatusCode, Vec<u8>), NetError> {
    let asked = hyper::Request::get(&request.path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("onionweave/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(String::new())?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(LONGEST_HEAD)
        .handshake(TokioIo::new(stream))
        .await?;
    let mut exchange = pin!(async {
        let (head, body) = sender.send_request(asked).await?.into_parts();
        let mut body = pin!(body);
        let mut text = Vec::new();
        while text.len() < most
            && let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await
        {
            if let Ok(data) = frame?.into_data() {
                text.extend_from_slice(&data);
            }
        }
        text.truncate(most);
        Ok::<_, hyper::Error>((head.status, text))
    });
    let answer = tokio::select! {
        answer = &mut exchange => answer,
        // It has read what there is to read, so the answer is there, or the error.
        _ = connection => exchange.await,
    };
    Ok(answer?)
}

/// An error of the system in its plainest words.
pub(super) fn plainly(error: &io::Error) -> String {
    match error.kind() {
        kind @ (ErrorKind::ConnectionRefused
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::NotFound
        | ErrorKind::PermissionDenied
        | ErrorKind::TimedOut) => kind.to_string(),
        _ => error.to_string(),
    }
}

fn with_source(error: &hyper::Error) -> String {
    match std::error::Error::source(error).and_then(|source| source.downcast_ref()) {
        Some(source) => plainly(source),
        None => error.to_string(),
    }
}
