//! The client on tokio: connections over TCP and unix sockets.
//!
//! One task owns the socket. [`Connection`] hands it commands and can be cloned freely; [`Events`]
//! receives what Tor reports. How it behaves:
//!
//! - **Deadlines.** Every command has one, 10 seconds by default: the longest silence. A reply that
//!   arrives slowly is no silence, and is waited for up to [`Options::answer_limit`]. When a
//!   deadline passes, the connection is closed, since a late reply could not be told from the next
//!   command's; all callers that wait get an error, and so does every later call.
//! - **Cancelling.** Dropping the future of a call is safe. If the command was sent already, its
//!   reply is awaited, matched and discarded, within the same deadline.
//! - **Slow readers.** Events wait in a queue that is bounded in number and bytes. When it is full,
//!   events are dropped, and [`Event::Lagged`](crate::Event::Lagged) says how many at the place
//!   where they are missing. Replies never wait for events.
//! - **Confusion.** A stray reply, a reply whose form does not fit its command, or bytes that are
//!   not the control protocol close the connection: nothing after that could be trusted.
//! - **Uploads and fetches.** [`Connection::post`] and [`Connection::fetch`] tell what became of
//!   them at each directory, within a deadline, whatever becomes of the queue of events.
//! - **Reconnecting.** A [`Supervisor`] makes a connection again whenever it is lost.
//! - **The end.** [`Connection::closed`] resolves with the reason as soon as the socket ends.
//!   Dropping the last [`Connection`] closes it.

use std::time::Duration;

use crate::codec::Limits;

pub use self::backoff::Backoff;
pub use self::connection::Connection;
pub use self::endpoint::{Endpoint, HostPort};
pub use self::events::Events;
pub use self::supervisor::{Attempt, Attempts, Supervisor, SupervisorOptions};
pub use self::tracked::Answers;

mod backoff;
mod calls;
mod connection;
mod dial;
mod driver;
mod endpoint;
mod events;
mod state;
mod subscriptions;
mod supervisor;
mod tracked;

/// Settings of a connection.
///
/// ```
/// use std::time::Duration;
/// use onionweave_control::Options;
///
/// let options = Options::default().command_deadline(Duration::from_secs(2));
/// # drop(options);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Options {
    connect_deadline: Duration,
    command_deadline: Duration,
    answer_limit: Duration,
    event_queue: usize,
    event_queue_bytes: usize,
    limits: Limits,
}

impl Options {
    /// Longest time that connecting and authenticating may take together. Default: 10 seconds.
    #[must_use]
    pub fn connect_deadline(self, connect_deadline: Duration) -> Self {
        Self {
            connect_deadline,
            ..self
        }
    }

    /// Longest time for which Tor may be silent while a command waits for its reply. Default: 10
    /// seconds.
    ///
    /// It counts from the call, and anew whenever part of a reply arrives, or part of an event of
    /// several lines: `GETINFO ns/all` has 2.5 MB on the public network, and what waits behind it
    /// must wait. Events of one line prove nothing about a reply and do not count.
    #[must_use]
    pub fn command_deadline(self, command_deadline: Duration) -> Self {
        Self {
            command_deadline,
            ..self
        }
    }

    /// Longest time, from the call on, until the whole reply of a command must have arrived,
    /// however steadily it does. A longer deadline of the command itself goes first. Default: 5
    /// minutes, in which 2.5 MB arrive at 9 kB/s.
    #[must_use]
    pub fn answer_limit(self, answer_limit: Duration) -> Self {
        Self { answer_limit, ..self }
    }

    /// Number of events that may wait to be received, at least one. Default: 4096.
    #[must_use]
    pub fn event_queue(self, events: usize) -> Self {
        Self {
            event_queue: events.max(1),
            ..self
        }
    }

    /// Number of bytes, roughly, that the waiting events may hold; a single event is kept whatever
    /// its size. Default: 64 MiB.
    #[must_use]
    pub fn event_queue_bytes(self, bytes: usize) -> Self {
        Self {
            event_queue_bytes: bytes,
            ..self
        }
    }

    /// Largest sizes of a line, a reply and an event.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_deadline: Duration::from_secs(10),
            command_deadline: Duration::from_secs(10),
            answer_limit: Duration::from_secs(300),
            event_queue: 4096,
            event_queue_bytes: 64 << 20,
            limits: Limits::default(),
        }
    }
}
