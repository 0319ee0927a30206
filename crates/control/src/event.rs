//! What Tor reports by itself: the asynchronous replies of control-spec section 4.1.
//!
//! Interpreting never fails and never loses anything: an event that is not known, or has not the form it is known to have, is
//! [`Event::Unknown`] with its lines as they came.

use std::str;

use crate::Error;
use crate::codec::RawEvent;

pub use self::hs_desc::{HsAuth, HsDesc, HsDescAction, HsDescContent, HsDescReason};
pub use self::status::{Severity, StatusClient};

mod hs_desc;
mod status;

/// Something that Tor reported.
///
/// ```
/// use onionweave_control::{Event, HsDescAction};
///
/// let line = b"650 HS_DESC UPLOADED 6r7x5o465oo27s35 UNKNOWN $0102030405060708090A0B0C0D0E0F1011121314~dir\r\n";
/// let Event::HsDesc(event) = Event::parse(line)? else { panic!() };
/// assert_eq!(event.action(), &HsDescAction::Uploaded);
/// assert_eq!(event.address(), Some("6r7x5o465oo27s35"));
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// `HS_DESC`: something happened to an onion service's descriptor.
    HsDesc(HsDesc),
    /// `HS_DESC_CONTENT`: the end of a fetch, with the descriptor if there is one.
    HsDescContent(HsDescContent),
    /// `STATUS_CLIENT`: the state of Tor as a client.
    StatusClient(StatusClient),
    /// `NEWCONSENSUS`: Tor uses a new list of relays.
    NewConsensus(NewConsensus),
    /// `NETWORK_LIVENESS`: whether Tor thinks the network reachable.
    NetworkLiveness(NetworkLiveness),
    /// Any other event.
    Unknown(RawEvent),
    /// This many events were dropped here, because nobody read them in time. Only the tokio client makes this one.
    Lagged(u64),
}

impl Event {
    /// Interprets an event.
    pub fn from_raw(raw: RawEvent) -> Self {
        match raw.keyword() {
            b"HS_DESC" => HsDesc::from_raw(&raw).map(Event::HsDesc),
            b"HS_DESC_CONTENT" => {
                return HsDescContent::from_raw(raw).map_or_else(Event::Unknown, Event::HsDescContent);
            }
            b"STATUS_CLIENT" => StatusClient::from_raw(&raw).map(Event::StatusClient),
            b"NEWCONSENSUS" => return NewConsensus::from_raw(raw).map_or_else(Event::Unknown, Event::NewConsensus),
            b"NETWORK_LIVENESS" => NetworkLiveness::from_raw(&raw).map(Event::NetworkLiveness),
            _ => None,
        }
        .unwrap_or(Event::Unknown(raw))
    }

    /// Reads one event from its bytes as they come over the wire.
    ///
    /// # Errors
    /// Those of [`RawEvent::parse`]: the bytes are not exactly one event.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        RawEvent::parse(bytes).map(Self::from_raw)
    }
}

/// A new consensus: the list of relays that Tor uses from now on (feature/control/control_events.c:1540-1591).
///
/// Tor loads its cached consensus at start without this event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewConsensus {
    body: Vec<u8>,
}

impl NewConsensus {
    fn from_raw(raw: RawEvent) -> Result<Self, RawEvent> {
        match raw.lines().first().and_then(|line| line.data()) {
            Some(_) => {
                let body = raw.into_lines().into_iter().next().and_then(|line| line.into_data());
                Ok(Self {
                    body: body.unwrap_or_default(),
                })
            }
            None => Err(raw),
        }
    }

    /// The relays in the form of `GETINFO ns/all`, lines ended by LF.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as text.
    ///
    /// # Errors
    /// If it is not UTF-8.
    pub fn text(&self) -> Result<&str, str::Utf8Error> {
        str::from_utf8(&self.body)
    }
}

/// Whether Tor thinks the network reachable (feature/control/control_events.c:1518-1528).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NetworkLiveness {
    /// Something came from the network.
    Up,
    /// Nothing has come for a while.
    Down,
}

impl NetworkLiveness {
    fn from_raw(raw: &RawEvent) -> Option<Self> {
        let [line] = raw.lines() else { return None };
        let mut words = crate::text::words(line.text()).skip(1);
        match words.next()? {
            b"UP" => Some(NetworkLiveness::Up),
            b"DOWN" => Some(NetworkLiveness::Down),
            _ => None,
        }
    }
}
