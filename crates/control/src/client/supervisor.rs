//! A connection that is made again whenever it is lost.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::{Instant, sleep};

use super::dial::Dial;
use super::events::{self, EventSender};
use super::{Backoff, Connection, Endpoint, Events, Options};
use crate::{CloseReason, Credentials, Error, EventKind, Gap};

/// Settings of a [`Supervisor`].
///
/// ```
/// use std::time::Duration;
/// use onionweave_control::SupervisorOptions;
///
/// let options = SupervisorOptions::default().heartbeat(Some(Duration::from_secs(2))).seed(rand::random());
/// # drop(options);
/// ```
#[derive(Clone, Debug)]
pub struct SupervisorOptions {
    connection: Options,
    first_delay: Duration,
    longest_delay: Duration,
    heartbeat: Option<Duration>,
    seed: u64,
}

impl SupervisorOptions {
    /// Settings of each connection, and of the queue of events that outlives them.
    #[must_use]
    pub fn connection(self, connection: Options) -> Self {
        Self { connection, ..self }
    }

    /// Bounds between which the delays between attempts double; see [`Backoff`]. Default: 50
    /// milliseconds to 5 seconds.
    #[must_use]
    pub fn delays(self, first: Duration, longest: Duration) -> Self {
        Self {
            first_delay: first,
            longest_delay: longest,
            ..self
        }
    }

    /// Interval at which Tor is asked a question, as only that shows that it hangs: a stopped
    /// process keeps its connections. If it is not answered within [`Options::command_deadline`],
    /// the connection is given up. Default: every 30 seconds; `None` for never.
    #[must_use]
    pub fn heartbeat(self, heartbeat: Option<Duration>) -> Self {
        Self { heartbeat, ..self }
    }

    /// Sets the delays of many supervisors apart. Default: 0.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }
}

impl Default for SupervisorOptions {
    fn default() -> Self {
        Self {
            connection: Options::default(),
            first_delay: Duration::from_millis(50),
            longest_delay: Duration::from_secs(5),
            heartbeat: Some(Duration::from_secs(30)),
            seed: 0,
        }
    }
}

/// Keeps a control connection: connects again when it is lost, authenticates by whatever works
/// then, and asks for the same events again.
///
/// - **Reconnecting** begins at once, and goes on with growing delays until it succeeds, whatever
///   the reason is: a wrong password may be corrected while it tries. [`last`](Self::last) tells
///   the last reason.
/// - **Authenticating** begins with what worked last and goes through all that the [`Credentials`]
///   allow, and then the next ones: a password that was changed, a cookie that was replaced. Cookie
///   files are read anew each time.
/// - **Events** go on in one queue. Where there was no connection, it has
///   [`Event::Gap`](crate::Event::Gap).
/// - **Commands** are not repeated: whether one was carried out before the connection was lost
///   can't be known. Take the [`connection`](Self::connection) of the moment and send them there.
///
/// Clones share the connection; when the last is dropped, it is closed.
///
/// ```no_run
/// use onionweave_control::{Credentials, Endpoint, Event, EventKind, Supervisor, SupervisorOptions};
///
/// # async fn example() -> Result<(), onionweave_control::Error> {
/// let endpoint: Endpoint = "unix:/run/tor/control".parse()?;
/// let credentials = [Credentials::auto(), Credentials::password("the old one")?];
/// let (tor, mut events) = Supervisor::start(endpoint, credentials, SupervisorOptions::default());
/// tor.set_events(&[EventKind::NewConsensus]).await?;
/// while let Some(event) = events.recv().await {
///     match event {
///         // Something may have been missed: look at everything again.
///         Event::NewConsensus(_) | Event::Gap(_) | Event::Lagged(_) => {
///             let relays = tor.connection().await?.get_info("ns/all").await;
///             println!("{relays:?}");
///         }
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Supervisor {
    orders: mpsc::Sender<Order>,
    state: watch::Receiver<State>,
    subscription: Arc<Subscription>,
}

/// The events that the supervisor's user wants.
#[derive(Debug, Default)]
struct Subscription {
    /// Held while Tor is asked, so that the task's asking and the user's never overtake one
    /// another.
    kinds: Mutex<Vec<EventKind>>,
}

#[derive(Debug)]
enum Order {
    Credentials(Vec<Credentials>),
    /// Try again now.
    Retry,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// The last that became of an attempt or a connection.
    last: Option<Attempt>,
    /// Number of connections that have ended, and the reason of the last.
    ended: u64,
    reason: Option<CloseReason>,
    refused: Vec<EventKind>,
}

impl Supervisor {
    /// Begins to connect. `credentials` are tried in their order.
    ///
    /// Must be called within a tokio runtime with IO and time enabled.
    pub fn start(
        endpoint: Endpoint,
        credentials: impl IntoIterator<Item = Credentials>,
        options: SupervisorOptions,
    ) -> (Self, Events) {
        Self::dial(Dial::to(endpoint), credentials, options)
    }

    /// Begins to connect by a function that opens a stream: a tunnel, or memory. Errors call the
    /// control port by `name`.
    ///
    /// Must be called within a tokio runtime with time enabled.
    pub fn start_over<S, F>(
        name: &str,
        connect: impl Fn() -> F + Send + Sync + 'static,
        credentials: impl IntoIterator<Item = Credentials>,
        options: SupervisorOptions,
    ) -> (Self, Events)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
    {
        Self::dial(Dial::by(name, connect), credentials, options)
    }

    fn dial(
        dial: Dial,
        credentials: impl IntoIterator<Item = Credentials>,
        options: SupervisorOptions,
    ) -> (Self, Events) {
        let (sender, events) = events::queue(options.connection.event_queue, options.connection.event_queue_bytes);
        let (orders, received) = mpsc::channel(16);
        let (state, watched) = watch::channel(State::default());
        let subscription = Arc::default();
        let task = Task {
            backoff: Backoff::new(options.first_delay, options.longest_delay, options.seed),
            dial,
            methods: methods(credentials),
            options,
            events: sender,
            state,
            subscription: Arc::clone(&subscription),
            seen: None,
        };
        tokio::spawn(task.run(received));
        let supervisor = Self {
            orders,
            state: watched,
            subscription,
        };
        (supervisor, events)
    }

    /// The connection of the moment, waited for if there is none. It may be lost at any time.
    ///
    /// # Errors
    /// [`Error::Closed`] if the supervisor's task was ended with its runtime.
    pub async fn connection(&self) -> Result<Connection, Error> {
        let mut state = self.state.clone();
        let state = state.wait_for(|state| usable(state).is_some()).await;
        match state {
            Ok(state) => usable(&state).ok_or(Error::Closed(CloseReason::Local)),
            Err(_) => Err(Error::Closed(CloseReason::Local)),
        }
    }

    /// The same, but waited for no longer than this.
    ///
    /// # Errors
    /// The reason why the last attempt failed or the last connection ended, or
    /// [`Error::ConnectDeadline`] if no attempt has ended yet.
    pub async fn connection_within(&self, deadline: Duration) -> Result<Connection, Error> {
        match tokio::time::timeout(deadline, self.connection()).await {
            Ok(result) => result,
            Err(_) => Err(match self.last() {
                Some(Attempt::Failed(error)) => error,
                Some(Attempt::Lost(reason)) => Error::Closed(reason),
                Some(Attempt::Connected(_)) | None => Error::ConnectDeadline {
                    endpoint: "of the supervisor".to_owned(),
                    after: deadline,
                },
            }),
        }
    }

    /// The connection of the moment, if there is one.
    pub fn current(&self) -> Option<Connection> {
        usable(&self.state.borrow())
    }

    /// The last that became of an attempt or a connection; `None` before the first attempt has
    /// ended.
    pub fn last(&self) -> Option<Attempt> {
        self.state.borrow().last.clone()
    }

    /// The reason of the last attempt, if that failed. `None` while a connection stands, and when
    /// one was lost and no attempt has failed since.
    pub fn failure(&self) -> Option<Error> {
        match &self.state.borrow().last {
            Some(Attempt::Failed(error)) => Some(error.clone()),
            _ => None,
        }
    }

    /// Follows what becomes of the attempts to connect, beginning with the last one.
    pub fn attempts(&self) -> Attempts {
        let mut state = self.state.clone();
        let ended = state.borrow().ended;
        state.mark_changed();
        Attempts { state, ended }
    }

    /// Events that were asked for and that the Tor of the moment does not know.
    pub fn refused(&self) -> Vec<EventKind> {
        self.state.borrow().refused.clone()
    }

    /// Asks for exactly these events from now on, on this connection and all later ones.
    ///
    /// Without a connection, or if it is lost meanwhile, this succeeds at once, and the next one is
    /// asked; what that does not know is [`refused`](Self::refused).
    ///
    /// # Errors
    /// [`Error::Rejected`] with 552 for an event that Tor does not know, when the old set stays;
    /// [`Error::Argument`].
    pub async fn set_events(&self, kinds: &[EventKind]) -> Result<(), Error> {
        // Also what can't be written must not reach the next connection.
        crate::Command::set_events(kinds)?;
        let mut wanted = self.subscription.kinds.lock().await;
        let before = std::mem::replace(&mut *wanted, kinds.to_vec());
        let Some(connection) = self.current() else {
            return Ok(());
        };
        match connection.set_events(kinds).await {
            Err(error @ Error::Rejected { .. }) => {
                *wanted = before;
                Err(error)
            }
            // Anything else ended the connection.
            _ => Ok(()),
        }
    }

    /// Replaces the credentials, from the next attempt on, which is made at once if there is no
    /// connection.
    pub async fn set_credentials(&self, credentials: impl IntoIterator<Item = Credentials>) {
        let order = Order::Credentials(credentials.into_iter().collect());
        // The task ends only with its runtime.
        let _ = self.orders.send(order).await;
    }

    /// Makes the next attempt at once, if there is no connection.
    pub async fn retry(&self) {
        let _ = self.orders.send(Order::Retry).await;
    }
}

/// Outcome of an attempt to connect, or the end of the connection that it made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Attempt {
    /// The connection stands, and the events are asked for.
    Connected(Connection),
    /// The connection that stood has ended for this reason. Another attempt follows.
    Lost(CloseReason),
    /// No connection came to stand, for this reason. Another attempt follows.
    Failed(Error),
}

/// Outcomes of a [`Supervisor`]'s attempts, one after the other.
///
/// ```no_run
/// use onionweave_control::{Attempt, Supervisor};
///
/// # async fn example(tor: Supervisor) {
/// let mut attempts = tor.attempts();
/// while let Some(attempt) = attempts.next().await {
///     match attempt {
///         Attempt::Connected(_) => println!("connected"),
///         Attempt::Lost(reason) => println!("lost: {reason}; connecting anew"),
///         Attempt::Failed(error) => println!("{error}; trying again"),
///         _ => {}
///     }
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Attempts {
    state: watch::Receiver<State>,
    /// Number of ended connections that this reader knows of.
    ended: u64,
}

impl Attempts {
    /// The next that has not been seen. Where several have passed meanwhile, the last, and before
    /// it the end of a connection if there was one. `None` once the supervisor is gone.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Attempt> {
        loop {
            self.state.changed().await.ok()?;
            let state = self.state.borrow_and_update();
            let Some(last) = state.last.clone() else { continue };
            let news = std::mem::replace(&mut self.ended, state.ended) != state.ended;
            let reason = state
                .reason
                .clone()
                .filter(|_| news && !matches!(last, Attempt::Lost(_)));
            drop(state);
            if let Some(reason) = reason {
                self.state.mark_changed();
                return Some(Attempt::Lost(reason));
            }
            return Some(last);
        }
    }
}

fn usable(state: &State) -> Option<Connection> {
    match &state.last {
        Some(Attempt::Connected(connection)) if !connection.is_closed() => Some(connection.clone()),
        _ => None,
    }
}

/// Each way to authenticate by itself, as one that fails ends the connection.
fn methods(credentials: impl IntoIterator<Item = Credentials>) -> Vec<Credentials> {
    let methods = credentials.into_iter().flat_map(|credentials| credentials.methods());
    methods.collect()
}

/// The process behind a connection that was lost.
#[derive(Clone, Copy, Debug)]
struct Process {
    /// The number of Tor's process.
    id: Option<u64>,
    /// When it was first seen.
    since: Instant,
}

/// The process that answers now.
#[derive(Clone, Copy, Debug, Default)]
struct Answering {
    id: Option<u64>,
    /// For how long it runs.
    uptime: Option<Duration>,
}

struct Task {
    dial: Dial,
    methods: Vec<Credentials>,
    options: SupervisorOptions,
    backoff: Backoff,
    events: EventSender,
    state: watch::Sender<State>,
    subscription: Arc<Subscription>,
    /// The process that answered last.
    seen: Option<Process>,
}

impl Task {
    /// Ends when the last handle is dropped.
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut lost: Option<Instant> = None;
        loop {
            let result = tokio::select! {
                result = self.connect(lost.as_mut()) => result,
                order = orders.recv() => match order {
                    Some(order) => {
                        self.follow(order);
                        continue;
                    }
                    None => return,
                },
            };
            match result {
                Ok(connection) => {
                    let began = Instant::now();
                    let Some(reason) = self.watch(&connection, &mut orders).await else {
                        connection.close();
                        return;
                    };
                    tracing::debug!(endpoint = self.dial.name(), %reason, "control connection lost");
                    let now = Instant::now();
                    lost = Some(now);
                    self.show(Attempt::Lost(reason));
                    // Where connections do not last, there must be a pause between them.
                    if now.duration_since(began) >= self.options.longest_delay {
                        self.backoff.reset();
                        continue;
                    }
                }
                Err(error) => {
                    tracing::debug!(endpoint = self.dial.name(), %error, "no control connection");
                    self.show(Attempt::Failed(error));
                }
            }
            let delay = self.backoff.next_delay();
            tokio::select! {
                () = sleep(delay) => {}
                order = orders.recv() => match order {
                    Some(order) => self.follow(order),
                    None => return,
                },
            }
        }
    }

    /// Shows that there is no connection, and why.
    fn show(&self, last: Attempt) {
        self.state.send_modify(|state| {
            if let Attempt::Lost(reason) = &last {
                state.ended += 1;
                state.reason = Some(reason.clone());
            }
            state.last = Some(last);
            state.refused = Vec::new();
        });
    }

    fn follow(&mut self, order: Order) {
        match order {
            Order::Credentials(credentials) => self.methods = methods(credentials),
            Order::Retry => {}
        }
        self.backoff.reset();
    }

    /// Goes through the ways to authenticate, and makes the connection ready for use.
    async fn connect(&mut self, mut lost: Option<&mut Instant>) -> Result<Connection, Error> {
        let mut failure = None;
        for at in 0..self.methods.len().max(1) {
            let credentials = self.methods.get(at).cloned().unwrap_or_else(Credentials::null);
            let connected =
                Connection::connect_into(&self.dial, &credentials, &self.options.connection, self.events.clone());
            match connected.await {
                Ok(connection) => {
                    self.restore(&connection, lost.as_deref_mut()).await?;
                    // What works now is tried first the next time.
                    if at > 0 {
                        let working = self.methods.remove(at);
                        self.methods.insert(0, working);
                    }
                    return Ok(connection);
                }
                // The first reason is that of the way that worked last.
                Err(error) if is_about_credentials(&error) => failure = failure.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        Err(failure.unwrap_or_else(|| Error::NoUsableMethod {
            offered: "nothing".to_owned(),
            allowed: "none",
        }))
    }

    /// Asks for the events again, and shows the connection to all.
    async fn restore(&mut self, connection: &Connection, lost: Option<&mut Instant>) -> Result<(), Error> {
        let asked = self.subscription.clone();
        let kinds = asked.kinds.lock().await;
        let (process, known) = self.look(connection).await?;
        let knows = |kind: &EventKind| {
            known
                .as_ref()
                .is_none_or(|known| known.split(' ').any(|name| name == kind.as_str()))
        };
        let (accepted, refused): (Vec<_>, Vec<_>) = kinds.iter().cloned().partition(knows);

        // The gap comes before the first event that is asked for now.
        if let Some(lost) = lost {
            let gap = Gap::new(lost.elapsed(), self.restarted(process), kinds.clone(), refused.clone());
            self.events.push_gap(gap);
            // If this connection fails as well, the next gap begins here.
            *lost = Instant::now();
        }
        if !accepted.is_empty() {
            connection.set_events(&accepted).await?;
        }
        self.seen = Some(match self.seen {
            Some(seen) if self.restarted(process) == Some(false) => seen,
            _ => Process {
                id: process.id,
                since: Instant::now(),
            },
        });
        self.state.send_modify(|state| {
            state.last = Some(Attempt::Connected(connection.clone()));
            state.refused = refused;
        });
        Ok(())
    }

    /// The process that answers, and the events that it knows.
    async fn look(&self, connection: &Connection) -> Result<(Answering, Option<String>), Error> {
        match connection.get_infos(&["process/pid", "uptime", "events/names"]).await {
            Ok(mut values) => {
                let number = |key| values.get(key).and_then(|value| value.parse::<u64>().ok());
                let answering = Answering {
                    id: number("process/pid"),
                    uptime: number("uptime").map(Duration::from_secs),
                };
                Ok((answering, values.remove("events/names")))
            }
            // Of a Tor that does not tell nothing is known.
            Err(Error::Rejected { .. }) => Ok((Answering::default(), None)),
            Err(error) => Err(error),
        }
    }

    /// Whether the process that answers now is another than the one that answered last.
    fn restarted(&self, answering: Answering) -> Option<bool> {
        let seen = self.seen?;
        if seen.id? != answering.id? {
            return Some(true);
        }
        // The same number may have been given again, always so in a container. Tor counts whole
        // seconds.
        let at_least = seen.since.elapsed().saturating_sub(Duration::from_secs(2));
        Some(answering.uptime? < at_least)
    }

    /// Waits until the connection ends, and gives the reason; `None` when all handles are gone.
    async fn watch(&mut self, connection: &Connection, orders: &mut mpsc::Receiver<Order>) -> Option<CloseReason> {
        loop {
            let heartbeat = async {
                match self.options.heartbeat {
                    Some(heartbeat) => sleep(heartbeat).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                reason = connection.closed() => return Some(reason),
                order = orders.recv() => match order? {
                    Order::Credentials(credentials) => self.methods = methods(credentials),
                    Order::Retry => {}
                },
                () = heartbeat => {
                    // If it is not answered, the connection ends.
                    let _ = connection.get_info("process/pid").await;
                }
            }
        }
    }
}

/// Whether other credentials may do where these did not.
fn is_about_credentials(error: &Error) -> bool {
    matches!(
        error,
        Error::Rejected { .. } | Error::NoUsableMethod { .. } | Error::WrongServerHash | Error::CookieFile { .. }
    )
}
