//! Handles to a connection.

use std::io::Read;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::dial::Dial;
use super::driver::{self, Allowance, Follow, Inputs, PATIENCE, Pulse, Request, Stream, later};
use super::events::{self, EventSender, Events};
use super::subscriptions::Subscriptions;
use super::tracked::Uploads;
use super::{Endpoint, Options};
use crate::auth::{Handshake, Step};
use crate::{CloseReason, Command, CookieProblem, Credentials, Error, ProtocolInfo, Reply, Session};

/// Number of commands that wait in the channel to the task before callers wait themselves.
const REQUESTS: usize = 64;

/// A handle to an authenticated control connection. Clones share the connection; when the last is
/// dropped, it is closed.
///
/// ```no_run
/// use onionweave_control::Connection;
///
/// # async fn example() -> Result<(), onionweave_control::Error> {
/// let (tor, _events) = Connection::open("unix:/run/tor/control").await?;
/// println!("Tor {} has {} circuits", tor.version().await?, tor.circuits().await?.len());
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
    answer_limit: Duration,
    pulse: Pulse,
    pub(super) subscriptions: Arc<Subscriptions>,
    pub(super) uploads: Uploads,
}

impl Connection {
    /// Connects to `HOST:PORT` or `unix:PATH` and authenticates by whatever Tor offers: its cookie
    /// file, or nothing. [`connect`](Self::connect) takes passwords and other settings.
    ///
    /// Must be called within a tokio runtime with IO and time enabled.
    ///
    /// # Errors
    /// [`Error::Endpoint`]; those of [`connect`](Self::connect).
    pub async fn open(endpoint: &str) -> Result<(Self, Events), Error> {
        Self::connect(&endpoint.parse()?, &Credentials::auto(), &Options::default()).await
    }

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
        let connection = Self::connect_into(&Dial::to(endpoint.clone()), credentials, options, sender).await?;
        Ok((connection, events))
    }

    /// Authenticates over a stream that is connected already, within [`Options::connect_deadline`]:
    /// one end of a pair of sockets, a tunnel, or memory.
    ///
    /// Must be called within a tokio runtime with time enabled.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), but never [`Error::Connect`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use onionweave_control::{Connection, Credentials, Error, Options};
    ///
    /// let (ours, theirs) = tokio::io::duplex(4096);
    /// drop(theirs);
    /// let error = Connection::over(ours, &Credentials::auto(), &Options::default()).await.unwrap_err();
    /// assert!(matches!(error, Error::Closed(_)));
    /// # }
    /// ```
    pub async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        credentials: &Credentials,
        options: &Options,
    ) -> Result<(Self, Events), Error> {
        let (sender, events) = events::queue(options.event_queue, options.event_queue_bytes);
        let authenticated = Self::begin(Box::new(stream), credentials, options, sender);
        let connection = in_time("of the given stream", options, authenticated).await?;
        Ok((connection, events))
    }

    /// The same as [`connect`](Self::connect), with a queue of events that is there already.
    pub(super) async fn connect_into(
        dial: &Dial,
        credentials: &Credentials,
        options: &Options,
        events: EventSender,
    ) -> Result<Self, Error> {
        let connected = async {
            let stream = dial.connect().await.map_err(|source| Error::Connect {
                endpoint: dial.name().to_owned(),
                source: Arc::new(source),
            })?;
            Self::begin(stream, credentials, options, events).await
        };
        in_time(dial.name(), options, connected).await
    }

    async fn begin(
        stream: Box<dyn Stream + Unpin>,
        credentials: &Credentials,
        options: &Options,
        events: EventSender,
    ) -> Result<Self, Error> {
        let (requests, request_receiver) = mpsc::channel(REQUESTS);
        let (close, close_receiver) = mpsc::channel(1);
        let (closed_sender, closed) = watch::channel(None);
        let inputs = Inputs {
            requests: request_receiver,
            close: close_receiver,
        };
        let subscriptions = Arc::new(Subscriptions::new(events.veil()));
        let pulse = Pulse::new();
        let uploads = Uploads::new();
        tokio::spawn(driver::run(
            tokio::io::split(stream),
            Session::new(options.limits),
            inputs,
            events,
            pulse.clone(),
            uploads.clone(),
            closed_sender,
        ));

        let mut connection = Self {
            requests,
            close,
            closed,
            protocol_info: Arc::default(),
            // The deadline over all of them comes first.
            command_deadline: options.connect_deadline.saturating_mul(2),
            answer_limit: options.answer_limit,
            pulse,
            subscriptions,
            uploads,
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

    /// Another handle to the same connection, whose calls have this deadline in the place of
    /// [`Options::command_deadline`].
    #[must_use]
    pub fn with_deadline(&self, command_deadline: Duration) -> Self {
        Self {
            command_deadline,
            ..self.clone()
        }
    }

    /// Tor's words about itself before authentication: its version, the ways to authenticate.
    /// Costs nothing.
    pub fn protocol_info(&self) -> &ProtocolInfo {
        &self.protocol_info
    }

    /// Sends any command and returns its reply. Tor may be silent for `deadline`; see
    /// [`Options::command_deadline`].
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
        follow: Option<Follow>,
    ) -> Result<Reply, Error> {
        let allowance = Allowance::new(allowed, self.answer_limit);
        let name = command.name().to_owned();
        let (answer, answered) = oneshot::channel();
        let request = Request {
            command,
            allowance,
            answer,
            follow,
        };
        let exchange = async {
            // Either fails only when the task is over, which has told the reason before.
            self.requests.send(request).await.ok()?;
            answered.await.ok()
        };
        let mut exchange = pin!(exchange);
        loop {
            let (due, after) = allowance.due(self.pulse.last());
            // The task watches the commands that it has sent, and first looks at what has come.
            // This is for a command that still waits to be sent.
            match timeout_at(later(due, PATIENCE), &mut exchange).await {
                Ok(Some(result)) => return result,
                Ok(None) => return Err(Error::Closed(self.closed().await)),
                Err(_) if allowance.due(self.pulse.last()).0 > due => {}
                Err(_) => {
                    let command = name.clone();
                    let _ = self.close.try_send(CloseReason::Deadline { command, after });
                    self.closed().await;
                    return Err(Error::Deadline { command: name, after });
                }
            }
        }
    }
}

/// Limits what connects and authenticates to [`Options::connect_deadline`].
async fn in_time<T>(
    endpoint: &str,
    options: &Options,
    connected: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let after = options.connect_deadline;
    match timeout_at(later(Instant::now(), after), connected).await {
        Ok(result) => result,
        Err(_) => Err(Error::ConnectDeadline {
            endpoint: endpoint.to_owned(),
            after,
        }),
    }
}

/// Reads a cookie file without ever reading much or waiting for a pipe.
async fn read_cookie(path: PathBuf) -> Result<Zeroizing<Vec<u8>>, Error> {
    let read = {
        let path = path.clone();
        move || {
            if !std::fs::metadata(&path)?.is_file() {
                return Ok(None);
            }
            // One byte more than a cookie has shows that it is too long.
            let mut content = Zeroizing::new(Vec::with_capacity(64));
            std::fs::File::open(&path)?.take(33).read_to_end(&mut content)?;
            Ok(Some(content))
        }
    };
    let result = tokio::task::spawn_blocking(read)
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)));
    let problem = match result {
        Ok(Some(content)) => return Ok(content),
        Ok(None) => CookieProblem::NotAFile,
        Err(error) => CookieProblem::Unreadable(Arc::new(error)),
    };
    Err(Error::CookieFile { path, problem })
}
