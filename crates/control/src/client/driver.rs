//! The task that owns the socket.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::events::EventSender;
use super::tracked::{Reservation, Uploads};
use crate::session::{Incoming, Session, Ticket};
use crate::{CloseReason, Command, Error, Event, Reply};

/// Number of bytes, roughly, that an event about another's upload holds.
const OTHER_WEIGHT: usize = 256;
/// Number of bytes that are read at once.
const READ_BYTES: usize = 64 << 10;
/// Number of commands that may wait for their reply. More wait in the channel, and then in their
/// callers.
const MAX_PENDING: usize = 1024;
/// Time for which reading goes on after the connection should have ended, where Tor may have said
/// something already. A caller grants the same to the task before it ends the connection itself.
pub(super) const PATIENCE: Duration = Duration::from_millis(200);
/// A year, which stands for ever: a deadline beyond what the clock can express is none.
const FOR_EVER: Duration = Duration::from_secs(86400 * 365);

/// A socket of either family.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Stream for T {}

/// A command on its way to the socket.
pub(super) struct Request {
    pub(super) command: Command,
    pub(super) allowance: Allowance,
    pub(super) answer: oneshot::Sender<Result<Reply, Error>>,
    /// The use that is made of the events after a positive reply.
    pub(super) follow: Option<Follow>,
}

/// Use of the events that come after a positive reply.
pub(super) enum Follow {
    /// A caller observes them.
    Tap(Tap),
    /// They are answers to this upload.
    Upload(Reservation),
}

/// Sees every event, beside the reader of events, from the reply on that it was sent with.
pub(super) struct Tap {
    /// When it is dropped at the latest.
    pub(super) until: Instant,
    /// Takes an event; `false` when it needs no more.
    pub(super) observe: Box<dyn FnMut(&Event) -> bool + Send + Sync>,
}

/// Inputs of the task beside the socket.
pub(super) struct Inputs {
    /// Ends when the last handle is dropped.
    pub(super) requests: mpsc::Receiver<Request>,
    /// A handle's wish to close.
    pub(super) close: mpsc::Receiver<CloseReason>,
}

/// A command that was sent and has no reply yet.
struct Waiting {
    ticket: Ticket,
    name: String,
    allowance: Allowance,
    /// Its receiver may be gone; the reply is awaited all the same.
    answer: oneshot::Sender<Result<Reply, Error>>,
    follow: Option<Follow>,
}

impl Waiting {
    fn missed(&self, after: Duration) -> CloseReason {
        let command = self.name.clone();
        CloseReason::Deadline { command, after }
    }
}

/// Time that a command has for its reply.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    asked: Instant,
    /// Longest silence, counted from the call and from each sign of life since.
    silence: Duration,
    /// Longest time from the call to the end of the reply, whatever comes meanwhile.
    whole: Duration,
}

impl Allowance {
    /// Counts from now on. `whole` is at least as long as `silence`.
    pub(super) fn new(silence: Duration, whole: Duration) -> Self {
        Self {
            asked: Instant::now(),
            silence,
            whole: whole.max(silence),
        }
    }

    /// The moment at which the reply is given up, with the last sign of life at `alive`; and the
    /// time that was allowed until then.
    pub(super) fn due(&self, alive: Instant) -> (Instant, Duration) {
        let silent = (later(self.asked.max(alive), self.silence), self.silence);
        let whole = (later(self.asked, self.whole), self.whole);
        if silent.0 <= whole.0 { silent } else { whole }
    }
}

/// The moment `duration` after `start`.
pub(super) fn later(start: Instant, duration: Duration) -> Instant {
    start.checked_add(duration).unwrap_or_else(|| start + FOR_EVER)
}

/// The moment of the last sign of life in an answer, shared by the task, which writes it, and
/// callers.
#[derive(Clone, Debug)]
pub(super) struct Pulse(Arc<Mutex<Instant>>);

impl Pulse {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    pub(super) fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// Moves commands, replies and events until the connection ends; then says why.
pub(super) async fn run<S: Stream + ?Sized>(
    socket: (ReadHalf<Box<S>>, WriteHalf<Box<S>>),
    session: Session,
    mut inputs: Inputs,
    events: EventSender,
    pulse: Pulse,
    uploads: Uploads,
    closed: watch::Sender<Option<CloseReason>>,
) where
    Box<S>: AsyncRead + AsyncWrite,
{
    let mut driver = Driver {
        session,
        waiting: VecDeque::new(),
        outgoing: None,
        taps: Vec::new(),
        events,
        pulse,
        uploads,
    };
    let reason = driver.run(socket, &mut inputs).await;
    tracing::debug!(%reason, "control connection closed");

    // First the reason, then the callers: one that finds its answer missing looks the reason up.
    closed.send_replace(Some(reason.clone()));
    driver.fail_waiting(&reason);
    // With the driver go its taps: who waits for their answers learns that none will come.
}

struct Driver {
    session: Session,
    /// In the order in which they were sent, as the session's tickets are.
    waiting: VecDeque<Waiting>,
    /// A command being written, and how much of it has been.
    outgoing: Option<(Command, usize)>,
    taps: Vec<Tap>,
    events: EventSender,
    pulse: Pulse,
    uploads: Uploads,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.uploads.end();
    }
}

impl Driver {
    async fn run<S>(
        &mut self,
        (mut reader, mut writer): (ReadHalf<S>, WriteHalf<S>),
        inputs: &mut Inputs,
    ) -> CloseReason
    where
        S: AsyncRead + AsyncWrite,
    {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            // No socket is touched by two branches at once, and each branch's future may be dropped
            // without loss: `read` and `write` have moved bytes only if they are ready.
            let expires = self.uploads.next_deadline();
            let due = self.earliest().map(|(due, ..)| due);
            let accepts = self.outgoing.is_none() && self.waiting.len() < MAX_PENDING;
            tokio::select! {
                // Reading comes after writing, or events without end would hold up commands; and
                // before deadlines, so that what has come is looked at before a deadline is found
                // to be missed.
                biased;
                // Without a sender left, no handle is left.
                reason = inputs.close.recv() => return reason.unwrap_or(CloseReason::Local),
                written = write_some(&mut writer, &mut self.outgoing) => {
                    match written {
                        // One that goes out in pieces shows that Tor takes it; one that vanishes in
                        // a buffer shows nothing.
                        Ok(Written::Piece) => self.pulse.beat(),
                        Ok(Written::Whole) => {}
                        // Tor may have closed after telling why: what it said is still to be read.
                        Err(error) => {
                            let reason = self.drain(&mut reader, &mut buffer).await;
                            return reason.unwrap_or_else(|| self.io_reason(error));
                        }
                    }
                }
                request = inputs.requests.recv(), if accepts => match request {
                    Some(request) => self.accept(request),
                    None => return CloseReason::Local,
                },
                read = reader.read(&mut buffer) => match read {
                    Ok(0) => return self.end_of_input(),
                    Ok(length) => {
                        if let Err(error) = self.receive(buffer.get(..length).unwrap_or_default()) {
                            return CloseReason::Protocol(Arc::new(error));
                        }
                        if let Some(reason) = self.long_overdue() {
                            return reason;
                        }
                    }
                    Err(error) => return self.io_reason(error),
                },
                () = reached(expires) => {
                    for other in self.uploads.expire() {
                        self.events.push(other, OTHER_WEIGHT);
                    }
                }
                () = reached(due) => {
                    if let Some((_, after, overdue)) = self.earliest() {
                        return overdue.missed(after);
                    }
                }
            }
        }
    }

    /// Takes a command to be written next.
    fn accept(&mut self, request: Request) {
        let Request {
            command,
            allowance,
            answer,
            follow,
        } = request;
        // A caller that gave up before its command was sent: nothing is sent.
        if answer.is_closed() {
            return;
        }
        let name = command.name().to_owned();
        let ticket = self.session.send(&command);
        self.waiting.push_back(Waiting {
            ticket,
            name,
            allowance,
            answer,
            follow,
        });
        self.outgoing = Some((command, 0));
    }

    /// Hands out what bytes from Tor complete.
    fn receive(&mut self, mut input: &[u8]) -> Result<(), Error> {
        while let Some(incoming) = self.session.receive(&mut input)? {
            match incoming {
                Incoming::Event { event, weight } => {
                    self.taps.retain_mut(|tap| (tap.observe)(&event));
                    let other = self.uploads.observe(&event);
                    self.events.push(event, weight);
                    if let Some(other) = other {
                        self.events.push(other, OTHER_WEIGHT);
                    }
                }
                Incoming::Reply { ticket, reply } => {
                    self.pulse.beat();
                    let waiting = self.waiting.pop_front();
                    debug_assert_eq!(waiting.as_ref().map(|waiting| waiting.ticket), Some(ticket));
                    if let Some(waiting) = waiting {
                        if reply.is_ok() {
                            self.follow(waiting.follow);
                        }
                        // A caller that gave up meanwhile does not want it.
                        let _ = waiting.answer.send(Ok(reply));
                    }
                }
            }
        }
        // A long answer that arrives slowly is no silence, and what waits behind it must wait for
        // its end.
        if self.session.is_midway() {
            self.pulse.beat();
        }
        Ok(())
    }

    /// Begins to use the events after a positive reply.
    fn follow(&mut self, follow: Option<Follow>) {
        match follow {
            Some(Follow::Tap(tap)) => {
                let now = Instant::now();
                self.taps.retain(|tap| tap.until > now);
                self.taps.push(tap);
            }
            Some(Follow::Upload(upload)) => upload.accepted(),
            None => {}
        }
    }

    /// The deadline that was missed while events kept coming, when the reply can't be expected to
    /// be among them any more.
    fn long_overdue(&self) -> Option<CloseReason> {
        let (due, after, overdue) = self.earliest()?;
        (due + PATIENCE < Instant::now()).then(|| overdue.missed(after))
    }

    /// The earliest deadline, the time that was allowed until then, and the command whose it is.
    fn earliest(&self) -> Option<(Instant, Duration, &Waiting)> {
        let alive = self.pulse.last();
        let dues = self.waiting.iter().map(|waiting| {
            let (due, after) = waiting.allowance.due(alive);
            (due, after, waiting)
        });
        dues.min_by_key(|(due, ..)| *due)
    }

    fn end_of_input(&self) -> CloseReason {
        match self.session.finish() {
            Ok(()) => CloseReason::Eof,
            Err(error) => CloseReason::Protocol(Arc::new(error)),
        }
    }

    fn io_reason(&self, error: io::Error) -> CloseReason {
        match error.kind() {
            // How a connection ends when the other side has not read everything.
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => self.end_of_input(),
            _ => CloseReason::Io(Arc::new(error)),
        }
    }

    /// Reads what is there already after a failure to write. Gives the reason if reading ends the
    /// connection by itself.
    async fn drain<R: AsyncRead + Unpin>(&mut self, reader: &mut R, buffer: &mut [u8]) -> Option<CloseReason> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match tokio::time::timeout_at(deadline, reader.read(buffer)).await {
                Ok(Ok(0)) => return Some(self.end_of_input()),
                Ok(Ok(length)) => {
                    if let Err(error) = self.receive(buffer.get(..length).unwrap_or_default()) {
                        return Some(CloseReason::Protocol(Arc::new(error)));
                    }
                }
                Ok(Err(_)) | Err(_) => return None,
            }
        }
    }

    /// Tells all callers. The one whose deadline passed hears of it, the others of the end.
    fn fail_waiting(&mut self, reason: &CloseReason) {
        let now = Instant::now();
        let alive = self.pulse.last();
        for waiting in self.waiting.drain(..) {
            let (due, after) = waiting.allowance.due(alive);
            let missed = matches!(reason, CloseReason::Deadline { .. }) && due <= now;
            let error = if missed {
                Error::Deadline {
                    command: waiting.name,
                    after,
                }
            } else {
                Error::Closed(reason.clone())
            };
            let _ = waiting.answer.send(Err(error));
        }
    }
}

/// Resolves at this moment; never if there is none.
async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

/// Part of a command that was written.
enum Written {
    /// All of it at once.
    Whole,
    /// A piece of it.
    Piece,
}

/// Writes a piece of the outgoing command; waits for ever if there is none.
async fn write_some<W: AsyncWrite + Unpin>(
    writer: &mut W,
    outgoing: &mut Option<(Command, usize)>,
) -> io::Result<Written> {
    let Some((command, written)) = outgoing else {
        return pending().await;
    };
    let rest = command.as_bytes().get(*written..).unwrap_or_default();
    let length = writer.write(rest).await?;
    if length == 0 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    *written += length;
    let is_whole = length >= command.as_bytes().len();
    if *written >= command.as_bytes().len() {
        *outgoing = None;
    }
    Ok(if is_whole { Written::Whole } else { Written::Piece })
}
