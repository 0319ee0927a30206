//! Bytes in, replies and events out.
//!
//! The grammar is that of control-spec sections 2.3 and 2.5. Where C Tor's behaviour is wider or
//! narrower:
//!
//! - A line may end in a bare LF. Tor itself ends lines in CRLF, but when a block of data begins
//!   with an empty line it writes that line's LF alone (`write_escaped_data`,
//!   feature/control/control_proto.c:97-101).
//! - Events never stand inside a reply (they are queued and flushed from the main loop,
//!   feature/control/control_events.c:447-492), so an event line inside a reply is an error, and so
//!   is the reverse.
//! - Everything is bytes: Tor passes on text that others wrote, in any encoding.
//!
//! The result does not depend on how the stream is cut into pieces, errors included.

use std::borrow::Cow;
use std::fmt;

use crate::Error;

pub use self::message::{Line, RawEvent, Reply};

pub mod data;
mod message;

/// Weight of each line of a reply beside its bytes, so that a reply of very many short lines
/// is bounded as well.
const LINE_OVERHEAD: usize = size_of::<Line>();

/// Largest sizes of a line, reply or event before the connection is given up.
///
/// Sizes are in bytes as decoded: without line ends, status codes and doubled dots, but each line
/// that is not data counts 64 bytes more.
///
/// ```
/// use onionweave_control::Limits;
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

    /// The same limits with at most `bytes` in a reply. Default: 64 MiB (`GETINFO ns/all` of the
    /// public network has 2.5 MB).
    #[must_use]
    pub fn reply(self, bytes: usize) -> Self {
        Self { reply: bytes, ..self }
    }

    /// The same limits with at most `bytes` in an event. Default: 16 MiB (`NEWCONSENSUS` of the
    /// public network has 2.5 MB).
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

/// A whole message from Tor.
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
/// It holds at most one unfinished message, within its [`Limits`]. After an error it gives the same
/// error for ever: the place of the next message is lost.
///
/// ```
/// use onionweave_control::{Decoder, Item};
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
    /// The beginning of a line whose end has not come. `partial.len() <= limits.line + 1`, for the
    /// CR.
    partial: Vec<u8>,
    /// The lines of the message being read, none between two messages. All have a code of 6xx or
    /// none has.
    lines: Vec<Line>,
    /// Whether the last of `lines` is waiting for the line `.` that ends its data.
    in_data: bool,
    /// Weight of `lines` against the limits.
    size: usize,
    /// Number of whole lines that have been read.
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

    /// Takes bytes from the front of `input` until a message is complete, or `input` is empty and
    /// `None` is returned.
    ///
    /// Call it again with the rest of `input` until it returns `None`.
    ///
    /// # Errors
    /// [`Error::Malformed`] for what is not the control protocol, [`Error::TooLong`] where a limit
    /// is passed.
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

    /// Whether a message is under way whose arrival may take a while: part of a reply has come, or
    /// at least one line of an event that has more.
    ///
    /// The unfinished first line of an event does not count: events of one line without end prove
    /// nothing about the answer to a command.
    pub fn is_midway(&self) -> bool {
        !self.lines.is_empty() || self.partial.first().is_some_and(|&byte| byte != b'6')
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
        let end = memchr::memchr(b'\n', input);
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

    /// A line of data, control-spec section 2.2 `CmdData`: a leading dot is removed, and a dot
    /// alone ends the data.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All items, and how the stream ended.
    fn decode_pieces<'a>(limits: Limits, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Item>, Result<(), Error>) {
        let mut decoder = Decoder::new(limits);
        let mut items = Vec::new();
        for mut piece in pieces {
            loop {
                match decoder.decode(&mut piece) {
                    Ok(Some(item)) => items.push(item),
                    Ok(None) => break,
                    Err(error) => return (items, Err(error)),
                }
            }
            assert!(piece.is_empty());
        }
        (items, decoder.finish())
    }

    fn decode(bytes: &[u8]) -> (Vec<Item>, Result<(), Error>) {
        decode_pieces(Limits::default(), [bytes])
    }

    #[test]
    fn refuses_what_is_not_the_protocol() {
        let table: &[(&str, &[u8], &str)] = &[
            (
                "rubbish",
                b"\x16\x03\x01\r\n",
                "line 1 of the control connection: expected a status code",
            ),
            ("HTTP", b"HTTP/1.0 400 Bad Request\r\n", "expected a status code"),
            ("an empty line", b"\r\n", "expected a status code"),
            ("a short line", b"250\r\n", "expected a status code"),
            ("a code of 1xx", b"150 OK\r\n", "expected a status code"),
            ("a code of 7xx", b"750 OK\r\n", "expected a status code"),
            ("a code with a letter", b"25O OK\r\n", "expected a status code"),
            ("another separator", b"250_OK\r\n", "expected '-', '+' or ' '"),
            (
                "an event in a reply",
                b"250-a=b\r\n650 BW 0 0\r\n",
                "line 2 of the control connection: an event inside a reply",
            ),
            (
                "a reply in an event",
                b"650-A\r\n250 OK\r\n",
                "line 2 of the control connection: a reply inside an event",
            ),
            ("half a line", b"250 O", "ended inside a line, after 0 whole lines"),
            (
                "half a reply",
                b"250-a=b\r\n",
                "ended inside a reply, after 1 whole lines",
            ),
            (
                "half an event",
                b"650+A\r\n.\r\n",
                "ended inside an event, after 2 whole lines",
            ),
            (
                "data without end",
                b"250+a=\r\nb\r\n250 OK\r\n",
                "ended inside a reply, after 3 whole lines",
            ),
        ];
        for (name, bytes, message) in table {
            let (items, end) = decode(bytes);
            assert_eq!(items, [], "{name}");
            let error = end.expect_err(name).to_string();
            assert!(error.contains(message), "{name}: {error}");
        }
    }

    #[test]
    fn an_error_is_for_ever() {
        let mut decoder = Decoder::default();
        let first = decoder.decode(&mut &b"rubbish\r\n"[..]).unwrap_err().to_string();
        let second = decoder.decode(&mut &b"250 OK\r\n"[..]).unwrap_err().to_string();
        assert_eq!(first, second);
        assert_eq!(decoder.finish().unwrap_err().to_string(), first);
    }

    #[test]
    fn data_is_read_as_tor_means_it() {
        // `write_escaped_data` gives a first empty line a bare LF.
        let table: &[(&str, &[u8], &[u8])] = &[
            ("dots", b"..\r\n...\r\n..a\r\nb.\r\n", b".\n..\n.a\nb.\n"),
            ("no line", b"", b""),
            ("an empty line", b"\r\n", b"\n"),
            ("a first empty line as Tor writes it", b"\na\r\n", b"\na\n"),
            ("a CR of its own", b"a\rb\r\n", b"a\rb\n"),
            ("two CR", b"a\r\r\n", b"a\r\n"),
            (
                "something like a reply",
                b"250 OK\r\n650 BW 0 0\r\n",
                b"250 OK\n650 BW 0 0\n",
            ),
            ("not UTF-8", b"\xff\xfe\r\n", b"\xff\xfe\n"),
        ];
        for (name, wire, expected) in table {
            let bytes = [b"250+key=\r\n", *wire, b".\r\n250 OK\r\n"].concat();
            let (items, end) = decode(&bytes);
            end.unwrap();
            let [Item::Reply(reply)] = &*items else {
                panic!("{name}: {items:?}")
            };
            assert_eq!(reply.lines()[0].data(), Some(*expected), "{name}");
        }
    }

    #[test]
    fn limits_are_exact() {
        let limits = Limits::default()
            .line(20)
            .reply(2 * LINE_OVERHEAD + 30)
            .event(2 * LINE_OVERHEAD + 30);
        let table: &[(&str, &[u8], Option<&str>)] = &[
            ("a line of the limit", b"250 4567890123456789\r\n", None),
            ("a line of the limit and bare LF", b"250 4567890123456789\n", None),
            (
                "one more",
                b"250 45678901234567890\r\n",
                Some("line 1 of the control connection: a line is longer than the limit of 20"),
            ),
            ("one more with bare LF", b"250 45678901234567890\n", Some("line 1 of")),
            ("no end in sight", b"250 456789012345678901234567890", Some("line 1 of")),
            (
                "a reply of the limit",
                b"250+123456789=\r\n123456789\r\n1234567\r\n.\r\n250 OK\r\n",
                None,
            ),
            (
                "one more in a reply",
                b"250+123456789=\r\n123456789\r\n12345678\r\n.\r\n250 OK\r\n",
                Some("line 5 of the control connection: a reply is"),
            ),
            (
                "one more in an event",
                b"650+123456789=\r\n123456789\r\n12345678\r\n.\r\n650 OK\r\n",
                Some("line 5 of the control connection: an event is"),
            ),
            (
                "short lines",
                b"250-\r\n250-\r\n250-\r\n",
                Some("line 3 of the control connection: a reply is"),
            ),
        ];
        for (name, bytes, message) in table {
            let (_, end) = decode_pieces(limits, [*bytes]);
            match message {
                None => end.unwrap(),
                Some(message) => {
                    let error = end.expect_err(name).to_string();
                    assert!(error.starts_with(message), "{name}: {error}");
                }
            }
        }
    }

    #[test]
    fn two_replies_have_two_sizes() {
        let limits = Limits::default().reply(LINE_OVERHEAD + 10);
        let (items, end) = decode_pieces(limits, [&b"250 12345678\r\n250 12345678\r\n"[..]]);
        end.unwrap();
        assert_eq!(items.len(), 2);
    }

    /// Streams that are mostly protocol: pieces of it in any order.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            8 => prop::sample::select(vec![
                &b"250 OK\r\n"[..], b"250-key=value\r\n", b"250+key=\r\n", b".\r\n", b"..dot\r\n", b"text\r\n", b"\r\n", b"\n",
                b"552 no\r\n", b"650 BW 0 0\r\n", b"650+HS_DESC_CONTENT a b c\r\n", b"650 OK\r\n", b"650-CONF_CHANGED\r\n", b"\r", b".",
            ]).prop_map(<[u8]>::to_vec),
            1 => prop::collection::vec(any::<u8>(), 0..40),
        ];
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(stream in stream(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12), small in any::<bool>()) {
            let limits = if small { Limits::default().line(24).reply(200).event(200) } else { Limits::default() };
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.sort_unstable();
            let mut rest = &stream[..];
            let mut pieces = Vec::new();
            let mut taken = 0;
            for cut in cuts {
                let (piece, after) = rest.split_at(cut - taken);
                pieces.push(piece);
                rest = after;
                taken = cut;
            }
            pieces.push(rest);

            let whole = decode_pieces(limits, [&stream[..]]);
            let split = decode_pieces(limits, pieces);
            let bytewise = decode_pieces(limits, stream.chunks(1));
            prop_assert_eq!(format!("{whole:?}"), format!("{split:?}"));
            prop_assert_eq!(format!("{whole:?}"), format!("{bytewise:?}"));
        }

        #[test]
        fn data_comes_back(body in prop::collection::vec(prop_oneof![3 => prop::sample::select(b".\r\n a".to_vec()), 1 => any::<u8>()], 0..200)) {
            let mut expected = body.clone();
            if expected.last() != Some(&b'\n') {
                expected.push(b'\n');
            }
            let escaped = data::escape(&body);
            prop_assert_eq!(&data::unescape(&escaped), &expected);

            let (items, end) = decode(&[&b"250+key=\r\n"[..], &escaped, b"250 OK\r\n"].concat());
            prop_assert!(end.is_ok());
            let [Item::Reply(reply)] = &*items else { panic!("{items:?}") };
            prop_assert_eq!(reply.lines()[0].data(), Some(&expected[..]));
        }
    }
}
