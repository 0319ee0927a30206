//! The numbers by which Tor names circuits, streams and connections.
//!
//! They are unique within one run of Tor. The specification allows sixteen letters and digits; C
//! Tor only ever writes and reads decimal numbers (`get_circ`, `get_stream`,
//! feature/control/control_cmd.c:547-575).

use std::fmt;
use std::str::FromStr;

use crate::Error;
use crate::text::number;

/// A circuit that begins at this Tor.
///
/// ```
/// use onionweave_control::CircuitId;
///
/// assert_eq!(CircuitId::new(12).to_string(), "12");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct CircuitId(u32);

impl CircuitId {
    /// The circuit with this number. Tor counts from 1.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn number(self) -> u32 {
        self.0
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| number(text).map(Self))?
    }
}

impl FromStr for CircuitId {
    type Err = Error;

    /// Reads a decimal number without sign.
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text).ok_or_else(|| refuse(text, "circuit"))
    }
}

impl fmt::Display for CircuitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A stream that an application, or Tor itself, opened through this Tor.
///
/// ```
/// use onionweave_control::StreamId;
///
/// assert_eq!(StreamId::new(7).number(), 7);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct StreamId(u64);

impl StreamId {
    /// The stream with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn number(self) -> u64 {
        self.0
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| number(text).map(Self))?
    }
}

impl FromStr for StreamId {
    type Err = Error;

    /// Reads a decimal number without sign.
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text).ok_or_else(|| refuse(text, "stream"))
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A connection of this Tor, such as one to a relay.
///
/// ```
/// use onionweave_control::ConnectionId;
///
/// assert_eq!(ConnectionId::new(3), ConnectionId::new(3));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// The connection with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn number(self) -> u64 {
        self.0
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| number(text).map(Self))?
    }
}

impl FromStr for ConnectionId {
    type Err = Error;

    /// Reads a decimal number without sign.
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text).ok_or_else(|| refuse(text, "connection"))
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn refuse(text: &str, of: &'static str) -> Error {
    Error::Id {
        text: text.chars().take(100).collect(),
        of,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_nothing_else_does() {
        assert_eq!("12".parse::<CircuitId>().unwrap().to_string(), "12");
        assert_eq!("18446744073709551615".parse::<StreamId>().unwrap().number(), u64::MAX);
        assert_eq!("3".parse::<ConnectionId>().unwrap(), ConnectionId::new(3));
        for text in ["", "-1", "+1", " 1", "1 ", "a", "4294967296"] {
            let error = text.parse::<CircuitId>().unwrap_err().to_string();
            assert_eq!(error, format!("{text:?} is no number of a circuit"));
        }
    }
}
