//! Tor's reports by itself: the asynchronous replies of control-spec section 4.1.
//!
//! Interpreting never fails and never loses anything: an event that is not known, or has not the
//! form it is known to have, is [`Event::Unknown`] with its lines as they came.

use crate::codec::RawEvent;
use crate::text::split_word;
use crate::{Error, EventKind, OtherUpload};

pub use self::bandwidth::{Bw, CellQueue, CellStats, CircBw, Congestion, ConnBw, ConnectionKind, StreamBw};
pub use self::circuit::{
    BuildFlag, Circ, CircMinor, Circuit, CircuitChange, CircuitPurpose, CircuitReason, CircuitStatus, HsState,
    SocksAuth,
};
pub use self::gap::Gap;
pub use self::hs_desc::{HsAuth, HsDesc, HsDescAction, HsDescContent, HsDescReason};
pub use self::network::{
    AddrMap, BuildTimeoutChange, BuildTimeoutSet, ClientsSeen, Guard, GuardStatus, NetworkLiveness, NewConsensus,
    NewDesc, Ns, OrConn, OrConnReason, OrConnStatus,
};
pub use self::process::{ConfChanged, LogMessage, SignalReceived, TransportLaunched, TransportMessage};
pub use self::status::{Severity, Status};
pub use self::stream::{ClientProtocol, Stream, StreamPurpose, StreamReason, StreamStatus};

mod bandwidth;
mod circuit;
mod display;
mod gap;
mod hs_desc;
mod network;
mod process;
mod status;
mod stream;

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
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum Event {
    /// `CIRC`: a circuit was begun, built, extended, or is no more.
    Circ(Box<Circ>),
    /// `CIRC_MINOR`: a circuit changed its purpose.
    CircMinor(Box<CircMinor>),
    /// `STREAM`: a stream was opened, attached, or is no more.
    Stream(Box<Stream>),
    /// `ORCONN`: a connection to a relay was begun, stands, or is no more.
    OrConn(OrConn),
    /// `BW`: bytes of the last second.
    Bw(Bw),
    /// `STREAM_BW`: bytes of a stream.
    StreamBw(StreamBw),
    /// `CIRC_BW`: bytes of a circuit.
    CircBw(Box<CircBw>),
    /// `CONN_BW`: bytes of a connection.
    ConnBw(ConnBw),
    /// `CELL_STATS`: cells of a circuit.
    CellStats(Box<CellStats>),
    /// `DEBUG` to `ERR`: a line of the log.
    Log(LogMessage),
    /// `NEWDESC`: server descriptors came.
    NewDesc(NewDesc),
    /// `ADDRMAP`: an address is mapped to another.
    AddrMap(AddrMap),
    /// `DESCCHANGED`: this relay's own descriptor changed.
    DescChanged,
    /// `NS`: relays changed their status.
    Ns(Ns),
    /// `STATUS_GENERAL`: the state of Tor.
    StatusGeneral(Status),
    /// `STATUS_CLIENT`: the state of Tor as a client.
    StatusClient(Status),
    /// `STATUS_SERVER`: the state of Tor as a relay.
    StatusServer(Status),
    /// `GUARD`: an entry guard changed.
    Guard(Guard),
    /// `CLIENTS_SEEN`: from which countries a bridge was used.
    ClientsSeen(ClientsSeen),
    /// `NEWCONSENSUS`: Tor uses a new list of relays.
    NewConsensus(NewConsensus),
    /// `BUILDTIMEOUT_SET`: how long circuits may take to be built.
    BuildTimeoutSet(BuildTimeoutSet),
    /// `SIGNAL`: Tor received a signal.
    Signal(SignalReceived),
    /// `CONF_CHANGED`: options were changed.
    ConfChanged(ConfChanged),
    /// `TRANSPORT_LAUNCHED`: a pluggable transport was started.
    TransportLaunched(TransportLaunched),
    /// `PT_LOG`: a pluggable transport logged something.
    PtLog(TransportMessage),
    /// `PT_STATUS`: a pluggable transport said something of itself.
    PtStatus(TransportMessage),
    /// `HS_DESC`: something happened to an onion service's descriptor.
    HsDesc(HsDesc),
    /// `HS_DESC_CONTENT`: the end of a fetch, with the descriptor if there is one.
    HsDescContent(HsDescContent),
    /// `NETWORK_LIVENESS`: whether Tor thinks the network reachable.
    NetworkLiveness(NetworkLiveness),
    /// Any other event.
    Unknown(RawEvent),
    /// This many events were dropped here, because nobody read them in time. Only the tokio client
    /// makes this one.
    Lagged(u64),
    /// An upload that this client did not begin was begun or ended through this Tor. The tokio
    /// client makes this one, of `HS_DESC` events.
    OtherUpload(OtherUpload),
    /// There was no connection here for a while. Only a supervised connection makes this one.
    Gap(Gap),
}

impl Event {
    /// Interprets an event.
    pub fn from_raw(raw: RawEvent) -> Self {
        let kind = str::from_utf8(raw.keyword()).map(EventKind::from_word);
        let Ok(kind) = kind else { return Self::Unknown(raw) };
        match kind {
            // These hold large bodies, which are not copied.
            EventKind::HsDescContent => {
                return HsDescContent::from_raw(raw).map_or_else(Self::Unknown, Self::HsDescContent);
            }
            EventKind::NewConsensus => {
                return NewConsensus::from_raw(raw).map_or_else(Self::Unknown, Self::NewConsensus);
            }
            EventKind::Ns => return Ns::from_raw(raw).map_or_else(Self::Unknown, Self::Ns),

            EventKind::Circ => Circ::from_raw(&raw).map(Box::new).map(Self::Circ),
            EventKind::CircMinor => CircMinor::from_raw(&raw).map(Box::new).map(Self::CircMinor),
            EventKind::Stream => Stream::from_raw(&raw).map(Box::new).map(Self::Stream),
            EventKind::OrConn => OrConn::from_raw(&raw).map(Self::OrConn),
            EventKind::Bw => Bw::from_raw(&raw).map(Self::Bw),
            EventKind::StreamBw => StreamBw::from_raw(&raw).map(Self::StreamBw),
            EventKind::CircBw => CircBw::from_raw(&raw).map(Box::new).map(Self::CircBw),
            EventKind::ConnBw => ConnBw::from_raw(&raw).map(Self::ConnBw),
            EventKind::CellStats => CellStats::from_raw(&raw).map(Box::new).map(Self::CellStats),
            EventKind::Debug | EventKind::Info | EventKind::Notice | EventKind::Warn | EventKind::Err => {
                LogMessage::from_raw(&raw).map(Self::Log)
            }
            EventKind::NewDesc => NewDesc::from_raw(&raw).map(Self::NewDesc),
            EventKind::AddrMap => AddrMap::from_raw(&raw).map(Self::AddrMap),
            EventKind::DescChanged => process::is_only(&raw, b"DESCCHANGED").then_some(Self::DescChanged),
            EventKind::StatusGeneral => Status::from_raw(&raw).map(Self::StatusGeneral),
            EventKind::StatusClient => Status::from_raw(&raw).map(Self::StatusClient),
            EventKind::StatusServer => Status::from_raw(&raw).map(Self::StatusServer),
            EventKind::Guard => Guard::from_raw(&raw).map(Self::Guard),
            EventKind::ClientsSeen => ClientsSeen::from_raw(&raw).map(Self::ClientsSeen),
            EventKind::BuildTimeoutSet => BuildTimeoutSet::from_raw(&raw).map(Self::BuildTimeoutSet),
            EventKind::Signal => SignalReceived::from_raw(&raw).map(Self::Signal),
            EventKind::ConfChanged => ConfChanged::from_raw(&raw).map(Self::ConfChanged),
            EventKind::TransportLaunched => TransportLaunched::from_raw(&raw).map(Self::TransportLaunched),
            EventKind::PtLog => TransportMessage::from_raw(&raw).map(Self::PtLog),
            EventKind::PtStatus => TransportMessage::from_raw(&raw).map(Self::PtStatus),
            EventKind::HsDesc => HsDesc::from_raw(&raw).map(Self::HsDesc),
            EventKind::NetworkLiveness => NetworkLiveness::from_raw(&raw).map(Self::NetworkLiveness),
            EventKind::Other(_) => None,
        }
        .unwrap_or(Self::Unknown(raw))
    }

    /// The kind of event, as it is asked for with `SETEVENTS`; `None` for those that the client
    /// makes.
    pub fn kind(&self) -> Option<EventKind> {
        Some(match self {
            Self::Circ(_) => EventKind::Circ,
            Self::CircMinor(_) => EventKind::CircMinor,
            Self::Stream(_) => EventKind::Stream,
            Self::OrConn(_) => EventKind::OrConn,
            Self::Bw(_) => EventKind::Bw,
            Self::StreamBw(_) => EventKind::StreamBw,
            Self::CircBw(_) => EventKind::CircBw,
            Self::ConnBw(_) => EventKind::ConnBw,
            Self::CellStats(_) => EventKind::CellStats,
            Self::NewDesc(_) => EventKind::NewDesc,
            Self::AddrMap(_) => EventKind::AddrMap,
            Self::DescChanged => EventKind::DescChanged,
            Self::Ns(_) => EventKind::Ns,
            Self::StatusGeneral(_) => EventKind::StatusGeneral,
            Self::StatusClient(_) => EventKind::StatusClient,
            Self::StatusServer(_) => EventKind::StatusServer,
            Self::Guard(_) => EventKind::Guard,
            Self::ClientsSeen(_) => EventKind::ClientsSeen,
            Self::NewConsensus(_) => EventKind::NewConsensus,
            Self::BuildTimeoutSet(_) => EventKind::BuildTimeoutSet,
            Self::Signal(_) => EventKind::Signal,
            Self::ConfChanged(_) => EventKind::ConfChanged,
            Self::TransportLaunched(_) => EventKind::TransportLaunched,
            Self::PtLog(_) => EventKind::PtLog,
            Self::PtStatus(_) => EventKind::PtStatus,
            Self::HsDesc(_) => EventKind::HsDesc,
            Self::HsDescContent(_) => EventKind::HsDescContent,
            Self::NetworkLiveness(_) => EventKind::NetworkLiveness,
            Self::Log(message) => EventKind::from_word(message.severity().as_str()),
            Self::Unknown(raw) => EventKind::from_word(str::from_utf8(raw.keyword()).ok()?),
            Self::OtherUpload(_) | Self::Lagged(_) | Self::Gap(_) => return None,
        })
    }

    /// Reads one event from its bytes as they come over the wire.
    ///
    /// # Errors
    /// Those of [`RawEvent::parse`]: the bytes are not exactly one event.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        RawEvent::parse(bytes).map(Self::from_raw)
    }
}

/// The text after the keyword of an event of one line without data.
fn only_line(raw: &RawEvent) -> Option<&[u8]> {
    match raw.lines() {
        [line] if line.data().is_none() => split_word(line.text()).map(|(_keyword, rest)| rest),
        _ => None,
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
            Event::StatusClient(event) | Event::StatusServer(event) | Event::StatusGeneral(event) => {
                for (key, value) in event.arguments().iter() {
                    add(key, Some(format!("{value:?}")));
                }
                add(
                    "progress",
                    event.bootstrap_progress().map(|progress| progress.to_string()),
                );
                parts.insert(0, format!("{:?} {}", event.severity(), event.action()));
            }
            Event::Ns(event) => parts.push(format!("NS \"{}\"", event.body().escape_ascii())),
            Event::NewConsensus(event) => parts.push(format!("NEWCONSENSUS {:?}", event.text().unwrap())),
            Event::NetworkLiveness(liveness) => parts.push(format!("NETWORK_LIVENESS {liveness:?}")),
            Event::Unknown(raw) => parts.push(format!("unknown \"{}\"", raw.keyword().escape_ascii())),
            // Each field that is there, by its name.
            event => parts.push(without_absent(&format!("{event:?}"))),
        }
        parts.join(" ")
    }

    /// Leaves out the fields that `Debug` shows as absent or empty.
    fn without_absent(shown: &str) -> String {
        const ABSENT: [&str; 4] = ["SocksAuth { username: None, .. }", "None", "[]", "Arguments([])"];
        let mut shown = shown.to_owned();
        for absent in ABSENT {
            let end = format!(": {absent}");
            while let Some((before, after)) = shown.split_once(&end) {
                let (before, _field) = before.rsplit_once(' ').unwrap();
                shown = format!("{before} {}", after.trim_start_matches(", "));
            }
        }
        shown.replace(",  }", " }")
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
        assert_eq!(driven, 105);
    }

    #[test]
    fn bytes_that_are_not_text() {
        let event = Event::parse(b"650 B\xffW 1 2\r\n").unwrap();
        assert!(matches!(event, Event::Unknown(_)));

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
