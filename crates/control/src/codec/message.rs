//! Replies and events as they come: lines with a status code.

use std::borrow::Cow;

use super::{Decoder, Item};
use crate::Error;

/// A line of a reply or event, with the data that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Line {
    code: u16,
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::text::lossy_text"))]
    text: Vec<u8>,
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::text::option_lossy"))]
    data: Option<Vec<u8>>,
}

impl Line {
    pub(super) fn new(code: u16, text: &[u8], has_data: bool) -> Self {
        Self {
            code,
            text: text.to_vec(),
            data: has_data.then(Vec::new),
        }
    }

    pub(super) fn push_data(&mut self, line: &[u8]) {
        let data = self.data.get_or_insert_default();
        data.extend_from_slice(line);
        data.push(b'\n');
    }

    /// The status code, 200 to 699 (control-spec section 4).
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The text after the status code and its separator, without the line end.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The text with every byte that is not UTF-8 replaced.
    pub fn text_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.text)
    }

    /// The data of a line with `+`: dots un-stuffed, every line ended by LF alone.
    ///
    /// Data always ends in LF. Tor adds one where there was none
    /// (feature/control/control_proto.c:111-114), so the two cases can't be told apart; empty data
    /// comes as one empty line.
    pub fn data(&self) -> Option<&[u8]> {
        self.data.as_deref()
    }

    pub(super) fn is_event(&self) -> bool {
        self.code >= 600
    }

    pub(crate) fn into_data(self) -> Option<Vec<u8>> {
        self.data
    }

    /// Weight of the line, in bytes, where memory is bounded.
    fn weight(&self) -> usize {
        size_of::<Self>() + self.text.len() + self.data.as_ref().map_or(0, Vec::len)
    }
}

/// A whole reply to one command.
///
/// ```
/// use onionweave_control::Reply;
///
/// let reply = Reply::parse(b"552-Unrecognized key \"a\"\r\n552 Unrecognized key \"b\"\r\n")?;
/// assert_eq!(reply.code(), 552);
/// assert_eq!(reply.text(), "Unrecognized key \"a\"; Unrecognized key \"b\"");
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Never empty; no code is 6xx.
    lines: Vec<Line>,
}

impl Reply {
    pub(super) fn new(lines: Vec<Line>) -> Self {
        Self { lines }
    }

    /// Reads one reply from its bytes as they come over the wire.
    ///
    /// # Errors
    /// Those of [`Decoder::decode`], and [`Error::Malformed`] if there is no reply, an event, or
    /// more than one message.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        match parse_one(bytes)? {
            Item::Reply(reply) => Ok(reply),
            Item::Event(_) => Err(Error::Malformed {
                line: 1,
                problem: "expected a reply, found an event".to_owned(),
            }),
        }
    }

    /// The status code of the last line, which is the one that decides.
    pub fn code(&self) -> u16 {
        self.lines.last().map_or(0, Line::code)
    }

    /// Whether Tor did what it was asked to: status code 2xx.
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.code())
    }

    /// The text of all lines, joined by `; `, with bytes that are not UTF-8 replaced. Data is left
    /// out.
    pub fn text(&self) -> String {
        let texts: Vec<_> = self.lines.iter().map(Line::text_lossy).collect();
        texts.join("; ")
    }

    /// The lines, at least one, the last with the rest.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The lines, at least one.
    pub fn into_lines(self) -> Vec<Line> {
        self.lines
    }

    /// The values of a `GETINFO` reply, in the order of `keys`.
    ///
    /// A value is what follows `key=` on its line or, where it has several lines, the data below.
    ///
    /// # Errors
    /// [`Error::UnexpectedReply`] unless there is exactly one line for each key, in order, and an
    /// `OK` at the end.
    ///
    /// ```
    /// use onionweave_control::Reply;
    ///
    /// let reply = Reply::parse(b"250-version=0.4.5.9\r\n250+onions/current=\r\na\r\nb\r\n.\r\n250 OK\r\n")?;
    /// assert_eq!(reply.into_values(&["version", "onions/current"])?, [b"0.4.5.9".to_vec(), b"a\nb\n".to_vec()]);
    /// # Ok::<(), onionweave_control::Error>(())
    /// ```
    pub fn into_values(self, keys: &[&str]) -> Result<Vec<Vec<u8>>, Error> {
        let unexpected = |problem| Error::UnexpectedReply {
            command: "GETINFO".to_owned(),
            problem,
        };
        let found = self.lines.len();
        if found != keys.len() + 1 || self.lines.last().is_none_or(|line| line.text != b"OK") {
            return Err(unexpected(format!(
                "expected {} values and OK, got {found} lines",
                keys.len()
            )));
        }
        let value_of = |(line, key): (Line, &&str)| {
            let value = line
                .text
                .strip_prefix(key.as_bytes())
                .and_then(|rest| rest.strip_prefix(b"="));
            match (value, line.data) {
                (Some(b""), Some(data)) => Ok(data),
                (Some(value), None) => Ok(value.to_vec()),
                _ => Err(unexpected(format!(
                    "expected the value of {key}, got \"{}\"",
                    line.text.escape_ascii()
                ))),
            }
        };
        self.lines.into_iter().zip(keys).map(value_of).collect()
    }

    /// Nothing, if the reply is the one line `OK`.
    #[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "for the typed calls"))]
    pub(crate) fn into_ok(self, command: &str) -> Result<(), Error> {
        let reply = self.into_result(command)?;
        match reply.lines() {
            [line] if line.text() == b"OK" => Ok(()),
            _ => Err(Error::UnexpectedReply {
                command: command.to_owned(),
                problem: format!("expected OK, got {:?}", reply.text()),
            }),
        }
    }

    /// The reply if it is positive.
    ///
    /// # Errors
    /// [`Error::Rejected`] with Tor's code and text; `command` is the keyword to name in it.
    pub fn into_result(self, command: &str) -> Result<Self, Error> {
        if self.is_ok() {
            return Ok(self);
        }
        Err(Error::Rejected {
            command: command.to_owned(),
            code: self.code(),
            text: self.text(),
        })
    }
}

/// A whole event, not yet interpreted. [`Event`](crate::Event) is the interpreted form.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct RawEvent {
    /// Never empty; all codes are 6xx.
    lines: Vec<Line>,
}

impl RawEvent {
    pub(super) fn new(lines: Vec<Line>) -> Self {
        Self { lines }
    }

    /// Reads one event from its bytes as they come over the wire.
    ///
    /// # Errors
    /// Those of [`Decoder::decode`], and [`Error::Malformed`] if there is no event, a reply, or
    /// more than one message.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        match parse_one(bytes)? {
            Item::Event(event) => Ok(event),
            Item::Reply(_) => Err(Error::Malformed {
                line: 1,
                problem: "expected an event, found a reply".to_owned(),
            }),
        }
    }

    /// The event's name, such as `HS_DESC`: the first word of the first line.
    pub fn keyword(&self) -> &[u8] {
        let text = self.lines.first().map_or(&b""[..], Line::text);
        text.split(|&byte| byte == b' ').next().unwrap_or(text)
    }

    /// The lines, at least one. An event of several lines ends in a line `OK`, which is among them.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The lines, at least one.
    pub fn into_lines(self) -> Vec<Line> {
        self.lines
    }

    /// About how much memory the event holds, in bytes.
    pub fn weight(&self) -> usize {
        self.lines.iter().map(Line::weight).sum()
    }
}

fn parse_one(mut bytes: &[u8]) -> Result<Item, Error> {
    let mut decoder = Decoder::default();
    let item = decoder.decode(&mut bytes)?;
    decoder.finish()?;
    match item {
        Some(item) if bytes.is_empty() => Ok(item),
        Some(_) => Err(Error::Malformed {
            line: decoder.line_number + 1,
            problem: "more after the end of the message".to_owned(),
        }),
        None => Err(Error::Malformed {
            line: 1,
            problem: "no message".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name, a reply, the keys asked for, and their values unless the reply is refused.
    type Case<'a> = (&'a str, &'a [u8], &'a [&'a str], Option<&'a [&'a [u8]]>);

    #[test]
    fn values_must_be_those_asked_for() {
        let table: &[Case<'_>] = &[
            ("one", b"250-a=1\r\n250 OK\r\n", &["a"], Some(&[b"1"])),
            ("empty", b"250-a=\r\n250 OK\r\n", &["a"], Some(&[b""])),
            (
                "the same twice",
                b"250-a=1\r\n250-a=1\r\n250 OK\r\n",
                &["a", "a"],
                Some(&[b"1", b"1"]),
            ),
            ("a value with '='", b"250-a=b=c\r\n250 OK\r\n", &["a"], Some(&[b"b=c"])),
            ("a key with '='", b"250-a=b=c\r\n250 OK\r\n", &["a=b"], Some(&[b"c"])),
            (
                "several lines",
                b"250+a=\r\n1\r\n.\r\n250 OK\r\n",
                &["a"],
                Some(&[b"1\n"]),
            ),
            ("none asked for", b"250 OK\r\n", &[], Some(&[])),
            ("another key", b"250-b=1\r\n250 OK\r\n", &["a"], None),
            ("a longer key", b"250-ab=1\r\n250 OK\r\n", &["a"], None),
            ("no value", b"250 OK\r\n", &["a"], None),
            ("a value too many", b"250-a=1\r\n250-b=1\r\n250 OK\r\n", &["a"], None),
            ("another order", b"250-b=1\r\n250-a=1\r\n250 OK\r\n", &["a", "b"], None),
            ("data behind a value", b"250+a=1\r\n2\r\n.\r\n250 OK\r\n", &["a"], None),
            ("no OK", b"250-a=1\r\n250 b=2\r\n", &["a"], None),
        ];
        for (name, wire, keys, expected) in table {
            let values = Reply::parse(wire).unwrap().into_values(keys).ok();
            let expected = expected.map(|values| values.iter().map(|value| value.to_vec()).collect::<Vec<_>>());
            assert_eq!(values, expected, "{name}");
        }
    }

    #[test]
    fn parses_exactly_one_message() {
        for wire in [
            &b""[..],
            b"250 OK",
            b"250 OK\r\n250 OK\r\n",
            b"250 OK\r\n2",
            b"650 BW 0 0\r\n",
        ] {
            assert!(Reply::parse(wire).is_err(), "{wire:?}");
        }
        assert!(RawEvent::parse(b"250 OK\r\n").is_err());
        assert_eq!(RawEvent::parse(b"650 \r\n").unwrap().keyword(), b"");
    }

    #[test]
    fn the_last_line_decides() {
        let reply = Reply::parse(b"250-a\r\n551 b\r\n").unwrap();
        assert!(!reply.is_ok());
        let error = reply.into_result("GETINFO").unwrap_err();
        assert_eq!(error.to_string(), "GETINFO: Tor answered 551 a; b");
    }
}
