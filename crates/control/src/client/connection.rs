//! Handles to a connection.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::driver::{self, Inputs, Request, Stream, Tap};
use super::events::{self, EventSender, Events};
use super::subscriptions::Subscriptions;
use super::tracked::Uploads;
use super::{Endpoint, Options};
use crate::auth::{Handshake, Step};
use crate::{CloseReason, Command, Credentials, Error, ProtocolInfo, Reply, Session};

/// How many commands wait in the channel to the task before callers wait themselves.
const REQUESTS: usize = 64;

/// A handle to an authenticated control connection. Clones share the connection; when the last is
/// dropped, it is closed.
///
/// ```no_run
/// use onionweave_control::{Connection, Credentials, Endpoint, Options};
///
/// # async fn example() -> Result<(), onionweave_control::Error> {
/// let endpoint: Endpoint = "unix:/run/tor/control".parse()?;
/// let (tor, _events) = Connection::connect(&endpoint, &Credentials::auto(), &Options::default()).await?;
/// println!("Tor {}", tor.get_info("version").await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Connection {
    requests: mpsc::Sender<Request>,
    pub(super) close: mpsc::Sender<CloseReason>,
    closed: watch::Receiver<Option<CloseReason>>,
    protocol_info: Arc<ProtocolInfo>,
    pub(super) command_deadline: Duration,
    pub(super) subscriptions: Arc<Subscriptions>,
    pub(super) uploads: Uploads,
}

impl Connection {
    /// Connects and authenticates, both within [`Options::connect_deadline`].
    ///
    /// Must be called within a tokio runtime with IO and time enabled.
    ///
    /// # Errors
    /// [`Error::Connect`], [`Error::ConnectDeadline`]; [`Error::CookieFile`] and those of
    /// [`Handshake`]; [`Error::Closed`] if the other side closes or does not speak the control
    /// protocol.
    pub async fn connect(
        endpoint: &Endpoint,
        credentials: &Credentials,
        options: &Options,
    ) -> Result<(Self, Events), Error> {
        let (sender, events) = events::queue(options.event_queue, options.event_queue_bytes);
        match Self::connect_into(endpoint, credentials, options, sender).await {
            Ok(connection) => Ok((connection, events)),
            Err(error) => Err(error),
        }
    }

    /// The same, with a queue of events that is there already.
    pub(super) async fn connect_into(
        endpoint: &Endpoint,
        credentials: &Credentials,
        options: &Options,
        events: EventSender,
    ) -> Result<Self, Error> {
        let after = options.connect_deadline;
        let started = Instant::now();
        // A deadline beyond what the clock can express is none.
        let deadline = started
            .checked_add(after)
            .unwrap_or_else(|| started + Duration::from_secs(86400 * 365));
        match timeout_at(
            deadline,
            Self::connect_patiently(endpoint, credentials, options, events),
        )
        .await
        {
            Ok(result) => result,
            Err(_) => Err(Error::ConnectDeadline {
                endpoint: endpoint.to_string(),
                after,
            }),
        }
    }

    async fn connect_patiently(
        endpoint: &Endpoint,
        credentials: &Credentials,
        options: &Options,
        events: EventSender,
    ) -> Result<Self, Error> {
        let failed = |source| Error::Connect {
            endpoint: endpoint.to_string(),
            source: Arc::new(source),
        };
        let stream: Box<dyn Stream + Unpin> = match endpoint {
            Endpoint::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(failed)?;
                stream.set_nodelay(true).map_err(failed)?;
                Box::new(stream)
            }
            Endpoint::Unix(path) => connect_unix(path).await.map_err(failed)?,
        };

        let (requests, request_receiver) = mpsc::channel(REQUESTS);
        let (close, close_receiver) = mpsc::channel(1);
        let (closed_sender, closed) = watch::channel(None);
        let inputs = Inputs {
            requests: request_receiver,
            close: close_receiver,
        };
        let subscriptions = Arc::new(Subscriptions::new(events.veil()));
        tokio::spawn(driver::run(
            tokio::io::split(stream),
            Session::new(options.limits),
            inputs,
            events,
            closed_sender,
        ));

        let mut connection = Self {
            requests,
            close,
            closed,
            protocol_info: Arc::default(),
            // The deadline over all of them comes first.
            command_deadline: options.connect_deadline.saturating_mul(2),
            subscriptions,
            uploads: Uploads::default(),
        };
        connection.protocol_info = Arc::new(connection.authenticate(credentials).await?);
        connection.command_deadline = options.command_deadline;
        Ok(connection)
    }

    async fn authenticate(&self, credentials: &Credentials) -> Result<ProtocolInfo, Error> {
        let (mut handshake, first) = Handshake::start(credentials.clone(), rand::random());
        let mut step = Step::Send(first);
        loop {
            step = match step {
                Step::Send(command) => handshake.reply(self.send(command, self.command_deadline).await?)?,
                Step::ReadCookie(path) => handshake.cookie(&read_cookie(path).await?)?,
                Step::Done(info) => return Ok(info),
            }
        }
    }

    /// Another handle to the same connection whose calls have this deadline.
    #[must_use]
    pub fn with_deadline(&self, command_deadline: Duration) -> Self {
        Self {
            command_deadline,
            ..self.clone()
        }
    }

    /// What Tor told about itself before authentication: its version, the ways to authenticate.
    /// Costs nothing.
    pub fn protocol_info(&self) -> &ProtocolInfo {
        &self.protocol_info
    }

    /// Sends any command and gives its reply, which must come within `deadline` from now.
    ///
    /// # Errors
    /// [`Error::Rejected`] for a negative reply; [`Error::Deadline`] after which the connection is
    /// closed; [`Error::Closed`].
    pub async fn command(&self, command: Command, deadline: Duration) -> Result<Reply, Error> {
        let name = command.name().to_owned();
        self.send(command, deadline).await?.into_result(&name)
    }

    /// Closes the connection now. Callers that wait get [`Error::Closed`].
    pub fn close(&self) {
        // When a wish to close is waiting already, this one is not needed.
        let _ = self.close.try_send(CloseReason::Local);
    }

    /// Resolves with the reason when the connection is closed, at once if it is already.
    pub async fn closed(&self) -> CloseReason {
        let mut closed = self.closed.clone();
        let reason = match closed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone(),
            // The task was ended with its runtime.
            Err(_) => None,
        };
        reason.unwrap_or(CloseReason::Local)
    }

    /// Whether the connection is closed.
    pub fn is_closed(&self) -> bool {
        self.closed.borrow().is_some() || self.closed.has_changed().is_err()
    }

    pub(super) async fn send(&self, command: Command, allowed: Duration) -> Result<Reply, Error> {
        self.send_with(command, allowed, None).await
    }

    pub(super) async fn send_with(
        &self,
        command: Command,
        allowed: Duration,
        tap: Option<Tap>,
    ) -> Result<Reply, Error> {
        let now = Instant::now();
        let deadline = now
            .checked_add(allowed)
            .unwrap_or_else(|| now + Duration::from_secs(86400 * 365));
        let name = command.name().to_owned();
        let (answer, answered) = oneshot::channel();
        let request = Request {
            command,
            deadline,
            allowed,
            answer,
            tap,
        };
        let exchange = async {
            // Either fails only when the task is over, which has told the reason before.
            self.requests.send(request).await.ok()?;
            answered.await.ok()
        };
        match timeout_at(deadline, exchange).await {
            Ok(Some(result)) => result,
            Ok(None) => Err(Error::Closed(self.closed().await)),
            // The task watches the commands that it has sent; this is for those that still wait to
            // be, and to agree with it.
            Err(_) => {
                let _ = self.close.try_send(CloseReason::Deadline {
                    command: name.clone(),
                    after: allowed,
                });
                self.closed().await;
                Err(Error::Deadline {
                    command: name,
                    after: allowed,
                })
            }
        }
    }
}

#[cfg(unix)]
async fn connect_unix(path: &Path) -> std::io::Result<Box<dyn Stream + Unpin>> {
    Ok(Box::new(tokio::net::UnixStream::connect(path).await?))
}

#[cfg(not(unix))]
async fn connect_unix(_path: &Path) -> std::io::Result<Box<dyn Stream + Unpin>> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Reads a cookie file without ever reading much or waiting for a pipe.
async fn read_cookie(path: PathBuf) -> Result<Zeroizing<Vec<u8>>, Error> {
    let read = {
        let path = path.clone();
        move || {
            if !std::fs::metadata(&path)?.is_file() {
                return Err(std::io::Error::other("it is not a regular file"));
            }
            // One byte more than a cookie has shows that it is too long.
            let mut content = Zeroizing::new(Vec::with_capacity(64));
            std::fs::File::open(&path)?.take(33).read_to_end(&mut content)?;
            Ok(content)
        }
    };
    let result = tokio::task::spawn_blocking(read)
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)));
    result.map_err(|error| Error::CookieFile {
        path,
        problem: error.to_string(),
    })
}
