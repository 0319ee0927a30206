//! Bytes in, replies and events out.
//!
//! The grammar is that of control-spec sections 2.3 and 2.5. Where C Tor's behaviour is wider or narrower:
//!
//! - A line may end in a bare LF. Tor itself ends lines in CRLF, but when a block of data begins with an empty line it writes that
//!   line's LF alone (`write_escaped_data`, feature/control/control_proto.c:97-101).
//! - Events never stand inside a reply (they are queued and flushed from the main loop, feature/control/control_events.c:447-492),
//!   so an event line inside a reply is an error, and so is the reverse.
//! - Everything is bytes: Tor passes on text that others wrote, in any encoding.
//!
//! The result does not depend on how the stream is cut into pieces, errors included.

use std::borrow::Cow;
use std::fmt;

use crate::Error;

pub use self::message::{Line, RawEvent, Reply};

pub mod data;
mod message;

/// What each line of a reply counts for beside its bytes, so that a reply of very many short lines is bounded as well.
const LINE_OVERHEAD: usize = size_of::<Line>();

/// How much one line, reply or event may hold before the connection is given up.
///
/// Sizes are in bytes as decoded: without line ends, status codes and doubled dots, but each line that is not data counts 64 bytes more.
///
/// ```
/// use onionweave_control::codec::Limits;
///
/// let limits = Limits::default().reply(8 << 20);
/// assert_eq!(limits.max_reply(), 8 << 20);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    line: usize,
    reply: usize,
    event: usize,
}

impl Limits {
    /// The same limits with at most `bytes` in a line, its line end not counted. Default: 1 MiB.
    #[must_use]
    pub fn line(self, bytes: usize) -> Self {
        Self { line: bytes, ..self }
    }

    /// The same limits with at most `bytes` in a reply. Default: 64 MiB (`GETINFO ns/all` of the public network has 2.5 MB).
    #[must_use]
    pub fn reply(self, bytes: usize) -> Self {
        Self { reply: bytes, ..self }
    }

    /// The same limits with at most `bytes` in an event. Default: 16 MiB (`NEWCONSENSUS` of the public network has 2.5 MB).
    #[must_use]
    pub fn event(self, bytes: usize) -> Self {
        Self { event: bytes, ..self }
    }

    /// The longest line, in bytes.
    pub fn max_line(&self) -> usize {
        self.line
    }

    /// The largest reply, in bytes.
    pub fn max_reply(&self) -> usize {
        self.reply
    }

    /// The largest event, in bytes.
    pub fn max_event(&self) -> usize {
        self.event
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line: 1 << 20,
            reply: 64 << 20,
            event: 16 << 20,
        }
    }
}

/// One whole message from Tor.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// The answer to the oldest command that has none yet.
    Reply(Reply),
    /// Something that happened, status code 6xx.
    Event(RawEvent),
}

/// Cuts the bytes from Tor into replies and events.
///
/// It holds at most one unfinished message, within its [`Limits`]. After an error it gives the same error for ever: the place of
/// the next message is lost.
///
/// ```
/// use onionweave_control::codec::{Decoder, Item};
///
/// let mut decoder = Decoder::default();
/// let mut input: &[u8] = b"250-version=0.4.5.9\r\n250 OK\r\n650 NETWORK_LI";
/// let Some(Item::Reply(reply)) = decoder.decode(&mut input)? else { panic!() };
/// assert_eq!(reply.lines()[0].text(), b"version=0.4.5.9");
/// assert_eq!(decoder.decode(&mut input)?, None);
/// assert!(input.is_empty());
///
/// let mut input: &[u8] = b"VENESS UP\r\n";
/// let Some(Item::Event(event)) = decoder.decode(&mut input)? else { panic!() };
/// assert_eq!(event.keyword(), b"NETWORK_LIVENESS");
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    limits: Limits,
    /// The beginning of a line whose end has not come. `partial.len() <= limits.line + 1`, for the CR.
    partial: Vec<u8>,
    /// The lines of the message being read, none between two messages. All have a code of 6xx or none has.
    lines: Vec<Line>,
    /// Whether the last of `lines` is waiting for the line `.` that ends its data.
    in_data: bool,
    /// What `lines` count for against the limits.
    size: usize,
    /// How many whole lines have been read.
    line_number: u64,
    failure: Option<Error>,
}

impl Decoder {
    /// A decoder at the beginning of a connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Takes bytes from the front of `input` until a message is complete, or `input` is empty and `None` is returned.
    ///
    /// Call it again with the rest of `input` until it returns `None`.
    ///
    /// # Errors
    /// [`Error::Malformed`] for what is not the control protocol, [`Error::TooLong`] where a limit is passed.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Item>, Error> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let result = self.decode_next(input);
        if let Err(failure) = &result {
            self.failure = Some(failure.clone());
            self.partial = Vec::new();
            self.lines = Vec::new();
        }
        result
    }

    /// Checks that the stream may end here.
    ///
    /// # Errors
    /// [`Error::Truncated`] inside a line, a reply or an event; an earlier error again.
    pub fn finish(&self) -> Result<(), Error> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let what = match self.lines.first() {
            Some(first) if first.is_event() => "an event",
            Some(_) => "a reply",
            None if !self.partial.is_empty() => "a line",
            None => return Ok(()),
        };
        Err(Error::Truncated {
            what,
            lines: self.line_number,
        })
    }

    fn decode_next(&mut self, input: &mut &[u8]) -> Result<Option<Item>, Error> {
        while let Some(line) = self.take_line(input)? {
            self.line_number += 1;
            if self.in_data {
                self.accept_data(&line)?;
            } else if let Some(item) = self.accept_line(&line)? {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }

    /// The next line without its end, or `None` when `input` is used up first.
    fn take_line<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Cow<'a, [u8]>>, Error> {
        let end = input.iter().position(|&byte| byte == b'\n');
        let (head, rest) = input.split_at(end.unwrap_or(input.len()));
        *input = rest;

        // A line of exactly the limit may still be followed by its CR.
        if self.partial.len().saturating_add(head.len()) > self.limits.line.saturating_add(1) {
            return Err(self.too_long("a line", self.limits.line));
        }
        if end.is_none() {
            self.partial.extend_from_slice(head);
            return Ok(None);
        }
        *input = rest.split_first().map_or(rest, |(_lf, rest)| rest);

        let line = if self.partial.is_empty() {
            Cow::Borrowed(head.strip_suffix(b"\r").unwrap_or(head))
        } else {
            let mut line = std::mem::take(&mut self.partial);
            line.extend_from_slice(head);
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            Cow::Owned(line)
        };
        if line.len() > self.limits.line {
            return Err(self.too_long("a line", self.limits.line));
        }
        Ok(Some(line))
    }

    /// A line of data, control-spec section 2.2 `CmdData`: a leading dot is removed, and a dot alone ends the data.
    fn accept_data(&mut self, line: &[u8]) -> Result<(), Error> {
        if line == b"." {
            self.in_data = false;
            return Ok(());
        }
        let content = line.strip_prefix(b".").unwrap_or(line);
        let is_event = self.lines.first().is_some_and(Line::is_event);
        self.charge(is_event, content.len() + 1)?;
        if let Some(last) = self.lines.last_mut() {
            last.push_data(content);
        }
        Ok(())
    }

    /// A line with a status code: the message is complete when a space follows the code.
    fn accept_line(&mut self, line: &[u8]) -> Result<Option<Item>, Error> {
        let malformed = |problem: String| Error::Malformed {
            line: self.line_number,
            problem,
        };

        let Some((
            &[
                hundreds @ b'2'..=b'6',
                tens @ b'0'..=b'9',
                ones @ b'0'..=b'9',
                separator,
            ],
            text,
        )) = line.split_first_chunk()
        else {
            return Err(malformed(format!(
                "expected a status code and one of '-', '+', ' ', found {}",
                Shown(line)
            )));
        };
        let code = [hundreds, tens, ones]
            .iter()
            .fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        let next = Line::new(code, text, separator == b'+');
        if !matches!(separator, b' ' | b'-' | b'+') {
            return Err(malformed(format!(
                "expected '-', '+' or ' ' after the status code, found {}",
                Shown(line)
            )));
        }
        if let Some(first) = self.lines.first()
            && first.is_event() != next.is_event()
        {
            let (outer, inner) = if first.is_event() {
                ("an event", "a reply")
            } else {
                ("a reply", "an event")
            };
            return Err(malformed(format!("{inner} inside {outer}: {}", Shown(line))));
        }

        let is_event = next.is_event();
        self.charge(is_event, text.len().saturating_add(LINE_OVERHEAD))?;
        self.lines.push(next);
        self.in_data = separator == b'+';
        if separator != b' ' {
            return Ok(None);
        }
        self.size = 0;
        let lines = std::mem::take(&mut self.lines);
        Ok(Some(if is_event {
            Item::Event(RawEvent::new(lines))
        } else {
            Item::Reply(Reply::new(lines))
        }))
    }

    /// Counts `bytes` more against the limit of the message being read.
    fn charge(&mut self, is_event: bool, bytes: usize) -> Result<(), Error> {
        self.size = self.size.saturating_add(bytes);
        let (what, limit) = if is_event {
            ("an event", self.limits.event)
        } else {
            ("a reply", self.limits.reply)
        };
        if self.size > limit {
            // The line has been counted already.
            return Err(Error::TooLong {
                line: self.line_number,
                what,
                limit,
            });
        }
        Ok(())
    }

    /// An error on the line that is being read.
    fn too_long(&self, what: &'static str, limit: usize) -> Error {
        Error::TooLong {
            line: self.line_number + 1,
            what,
            limit,
        }
    }
}

/// The beginning of a line, for an error message.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 60;
        let head = self.0.get(..SHOWN).unwrap_or(self.0);
        write!(f, "\"{}\"", head.escape_ascii())?;
        if head.len() < self.0.len() {
            f.write_str("...")
        } else {
            Ok(())
        }
    }
}
