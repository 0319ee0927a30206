//! A control connection without IO: which reply belongs to which command.
//!
//! Replies carry no identifier: they come in the order of the commands, and nothing else tells them
//! apart. But some commands of Tor give no final reply and some give two. So:
//!
//! - A reply that comes when no command waits is an error that ends the session
//!   ([`Error::StrayReply`]).
//! - A reply too many that comes while another command waits is taken for that command's; its own
//!   then is the stray one. Nothing can notice it earlier but the reply's form, which the typed
//!   calls of the tokio client check.
//! - A missing reply can only be noticed by a deadline, which is the driver's business, and after
//!   which the session must be ended.

use std::collections::VecDeque;

use crate::codec::{Decoder, Item, Limits, Reply};
use crate::{Command, Error, Event};

/// Names a command that was sent in this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// A message from Tor.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "one at a time, and moved on at once")]
pub enum Incoming {
    /// The reply to a command.
    #[non_exhaustive]
    Reply {
        /// The command.
        ticket: Ticket,
        /// Its reply, positive or negative.
        reply: Reply,
    },
    /// An event, with about the memory that it holds in bytes.
    #[non_exhaustive]
    Event {
        /// The event.
        event: Event,
        /// About how many bytes it holds.
        weight: usize,
    },
}

/// Matches replies to commands, in order.
///
/// ```
/// use onionweave_control::{Incoming, Session};
/// use onionweave_control::{Command, Limits};
///
/// let mut session = Session::new(Limits::default());
/// let version = session.send(&Command::get_info(["version"])?);
/// let quit = session.send(&Command::quit());
///
/// let mut input: &[u8] = b"250-version=0.4.5.9\r\n250 OK\r\n250 closing connection\r\n";
/// let Some(Incoming::Reply { ticket, .. }) = session.receive(&mut input)? else { panic!() };
/// assert_eq!(ticket, version);
/// let Some(Incoming::Reply { ticket, .. }) = session.receive(&mut input)? else { panic!() };
/// assert_eq!(ticket, quit);
/// # Ok::<(), onionweave_control::Error>(())
/// ```
///
/// To authenticate, send the commands of a [`Handshake`](crate::auth::Handshake) and give it the
/// replies.
#[derive(Debug, Default)]
pub struct Session {
    decoder: Decoder,
    /// The commands that wait for their reply, the oldest first.
    pending: VecDeque<Ticket>,
    next: u64,
    failure: Option<Error>,
}

impl Session {
    /// A session on a new connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            decoder: Decoder::new(limits),
            ..Self::default()
        }
    }

    /// Notes that `command` is being sent now. Its bytes must be written in the order of these
    /// calls.
    pub fn send(&mut self, command: &Command) -> Ticket {
        tracing::trace!(?command, "sent");
        let ticket = Ticket(self.next);
        self.next += 1;
        self.pending.push_back(ticket);
        ticket
    }

    /// Takes bytes from the front of `input` until something is complete, or `input` is empty and
    /// `None` is returned.
    ///
    /// # Errors
    /// Those of [`Decoder::decode`], and [`Error::StrayReply`]. The session is over then: every
    /// later call gives the same error.
    pub fn receive(&mut self, input: &mut &[u8]) -> Result<Option<Incoming>, Error> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let result = self.receive_next(input);
        if let Err(failure) = &result {
            self.failure = Some(failure.clone());
        }
        result
    }

    /// Checks that the connection may end here: outside every line, reply and event.
    ///
    /// # Errors
    /// [`Error::Truncated`], or the error that ended the session.
    pub fn finish(&self) -> Result<(), Error> {
        match &self.failure {
            Some(failure) => Err(failure.clone()),
            None => self.decoder.finish(),
        }
    }

    /// Whether a reply, or an event of several lines, has come in part; see [`Decoder::is_midway`].
    pub fn is_midway(&self) -> bool {
        self.decoder.is_midway()
    }

    /// Number of commands that wait for their reply.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    fn receive_next(&mut self, input: &mut &[u8]) -> Result<Option<Incoming>, Error> {
        let incoming = match self.decoder.decode(input)? {
            None => return Ok(None),
            Some(Item::Event(raw)) => {
                let weight = raw.weight();
                Incoming::Event {
                    event: Event::from_raw(raw),
                    weight,
                }
            }
            Some(Item::Reply(reply)) => match self.pending.pop_front() {
                Some(ticket) => Incoming::Reply { ticket, reply },
                None => {
                    return Err(Error::StrayReply {
                        code: reply.code(),
                        text: reply.text(),
                    });
                }
            },
        };
        Ok(Some(incoming))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays one transcript of `testdata/transcripts`.
    fn play(name: &str, transcript: &str) {
        let mut session = Session::default();
        let mut results = VecDeque::new();
        for (number, line) in transcript.lines().enumerate() {
            let place = format!("{name}:{}", number + 1);
            let (who, text) = line.split_at(line.len().min(3));
            let text = text.trim_end_matches('\r');
            match who.trim_end() {
                "C:" => {
                    let command = if text.starts_with('+') {
                        Command::raw_with_body(text, b"body")
                    } else {
                        Command::raw(text)
                    };
                    session.send(&command.unwrap());
                }
                "S:" => {
                    let wire = format!("{text}\r\n");
                    let mut input = wire.as_bytes();
                    loop {
                        match session.receive(&mut input) {
                            Ok(Some(Incoming::Reply { ticket, reply })) => {
                                results.push_back(format!("reply {}: {} {}", ticket.0, reply.code(), reply.text()));
                            }
                            Ok(Some(Incoming::Event { event, .. })) => results.push_back(match event {
                                Event::HsDesc(_) => "event HS_DESC".to_owned(),
                                Event::HsDescContent(_) => "event HS_DESC_CONTENT".to_owned(),
                                other => panic!("{place}: {other:?}"),
                            }),
                            Ok(None) => break,
                            Err(error) => {
                                results.push_back(format!("error {error}"));
                                break;
                            }
                        }
                    }
                }
                "=:" => assert_eq!(results.pop_front().as_deref(), Some(text), "{place}"),
                _ => panic!("{place}: {line}"),
            }
        }
        assert!(results.is_empty(), "{name}: {results:?}");
    }

    macro_rules! transcripts {
        ($($name:literal)*) => {
            #[test]
            fn transcripts() {
                $(play($name, include_str!(concat!("../testdata/transcripts/", $name, ".txt")));)*
            }
        };
    }

    transcripts! {
        "getinfo"
        "hspost-and-hsfetch"
        "not-authenticated"
        "safecookie"
        "two-final-replies"
        "two-final-replies-with-another-command"
    }

    #[test]
    fn the_end_may_come_between_messages_only() {
        let mut session = Session::default();
        session.send(&Command::quit());
        session.finish().unwrap();
        assert!(session.receive(&mut &b"250-a"[..]).unwrap().is_none());
        assert!(matches!(session.finish(), Err(Error::Truncated { .. })));
        assert_eq!(session.pending(), 1);
    }
}
