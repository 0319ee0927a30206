//! What Tor reports by itself: the asynchronous replies of control-spec section 4.1.
//!
//! Interpreting never fails and never loses anything: an event that is not known, or has not the
//! form it is known to have, is [`Event::Unknown`] with its lines as they came.

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
    /// This many events were dropped here, because nobody read them in time. Only the tokio client
    /// makes this one.
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

/// A new consensus: the list of relays that Tor uses from now on
/// (feature/control/control_events.c:1540-1591).
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

#[cfg(test)]
mod tests {
    use data_encoding::HEXUPPER;

    use super::*;

    /// An event in one line; what is absent is left out.
    fn describe(event: &Event) -> String {
        let mut parts: Vec<String> = Vec::new();
        let mut add = |name: &str, value: Option<String>| parts.extend(value.map(|value| format!("{name}={value}")));
        match event {
            Event::HsDesc(event) => {
                add("address", event.address().map(str::to_owned));
                add("auth", event.auth().map(|auth| format!("{auth:?}")));
                add("hsdir", event.hsdir().map(ToString::to_string));
                add("id", event.descriptor_id().map(str::to_owned));
                add("reason", event.reason().map(|reason| format!("{reason:?}")));
                add("replica", event.replica().map(|replica| replica.to_string()));
                add("index", event.hsdir_index().map(|index| HEXUPPER.encode(index)));
                add("extra", (!event.extra().is_empty()).then(|| event.extra().join(",")));
                parts.insert(0, format!("HS_DESC {:?}", event.action()));
            }
            Event::HsDescContent(event) => {
                add("address", event.address().map(str::to_owned));
                add("id", Some(event.descriptor_id().to_owned()));
                add("hsdir", event.hsdir().map(ToString::to_string));
                add("content", Some(format!("\"{}\"", event.content().escape_ascii())));
                parts.insert(0, "HS_DESC_CONTENT".to_owned());
            }
            Event::StatusClient(event) => {
                for (key, value) in event.arguments() {
                    add(key, Some(format!("{value:?}")));
                }
                add(
                    "progress",
                    event.bootstrap_progress().map(|progress| progress.to_string()),
                );
                parts.insert(0, format!("STATUS_CLIENT {:?} {}", event.severity(), event.action()));
            }
            Event::NewConsensus(event) => parts.push(format!("NEWCONSENSUS {:?}", event.text().unwrap())),
            Event::NetworkLiveness(liveness) => parts.push(format!("NETWORK_LIVENESS {liveness:?}")),
            Event::Unknown(raw) => parts.push(format!("unknown \"{}\"", raw.keyword().escape_ascii())),
            Event::Lagged(lost) => parts.push(format!("lagged {lost}")),
        }
        parts.join(" ")
    }

    #[test]
    fn named_vectors() {
        let mut driven = 0;
        for block in include_str!("../testdata/events.txt").split("\n\n") {
            let mut wire = String::new();
            let (mut name, mut expected) = ("", "");
            for line in block.lines() {
                match line.split_once(' ').unwrap_or((line, "")) {
                    ("name", rest) => name = rest,
                    (">", rest) => wire.extend([rest, "\r\n"]),
                    ("=", rest) => expected = rest,
                    _ => panic!("{name}: {line}"),
                }
            }
            let event = Event::parse(wire.as_bytes()).expect(name);
            assert_eq!(describe(&event), expected, "{name}");
            if let Event::Unknown(raw) = event {
                assert_eq!(
                    raw,
                    RawEvent::parse(wire.as_bytes()).unwrap(),
                    "{name}: nothing is lost"
                );
            }
            driven += 1;
        }
        assert_eq!(driven, 42);
    }

    #[test]
    fn bytes_that_are_not_text() {
        let event = Event::parse(b"650 HS_DESC UPLOADED \xff UNKNOWN UNKNOWN\r\n").unwrap();
        assert!(matches!(event, Event::Unknown(_)));

        let event = Event::parse(b"650 STATUS_CLIENT NOTICE X A=\xff\r\n").unwrap();
        let Event::StatusClient(status) = event else {
            panic!("{event:?}")
        };
        assert_eq!(status.argument("A"), Some("\u{fffd}"));

        let event = Event::parse(b"650+NEWCONSENSUS\r\n\xff\r\n.\r\n650 OK\r\n").unwrap();
        let Event::NewConsensus(consensus) = event else {
            panic!("{event:?}")
        };
        assert_eq!(consensus.body(), b"\xff\n");
        assert!(consensus.text().is_err());
    }
}
