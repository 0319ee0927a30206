//! Tor's knowledge of the network: `ORCONN`, `GUARD`, `NS`, `NEWCONSENSUS`, `NEWDESC`, `ADDRMAP`,
//! `NETWORK_LIVENESS`, `BUILDTIMEOUT_SET`, `CLIENTS_SEEN`. Control-spec sections 4.1.3, 4.1.6,
//! 4.1.7, 4.1.11, 4.1.12, 4.1.14 to 4.1.16, 4.1.27.

use std::str;
use std::time::{Duration, SystemTime};

use super::only_line;
use crate::codec::RawEvent;
use crate::text::{Arguments, Fields, number, utc, words as split_words};
use crate::words::words;
use crate::{ConnectionId, RelayName, StreamId};

/// A connection to a relay was begun, stands, or is no more
/// (feature/control/control_events.c:916-961).
///
/// ```
/// use onionweave_control::{Event, OrConnStatus};
///
/// let line = b"650 ORCONN $0102030405060708090A0B0C0D0E0F1011121314~a CLOSED REASON=DONE NCIRCS=2 ID=3\r\n";
/// let Event::OrConn(event) = Event::parse(line)? else { panic!() };
/// assert_eq!(event.status(), &OrConnStatus::Closed);
/// assert_eq!(event.relay().unwrap().nickname(), Some("a"));
/// assert_eq!(event.circuits(), Some(2));
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct OrConn {
    target: String,
    relay: Option<RelayName>,
    status: OrConnStatus,
    reason: Option<OrConnReason>,
    circuits: Option<u32>,
    id: Option<ConnectionId>,
    extra: Arguments,
}

impl OrConn {
    /// Reads the text of the event after `ORCONN `, which is also the form of a line of `GETINFO
    /// orconn-status`. `None` for any other text.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut fields = Fields::parse(text)?;
        let target = fields.word()?;
        Some(Self {
            relay: target.starts_with('$').then(|| target.parse().ok()).flatten(),
            target,
            status: OrConnStatus::from_word(&fields.word()?),
            reason: fields.text("REASON").map(|word| OrConnReason::from_word(&word)),
            circuits: fields.read("NCIRCS", number),
            id: fields.read("ID", ConnectionId::parse),
            extra: fields.rest(),
        })
    }

    pub(super) fn from_raw(raw: &RawEvent) -> Option<Self> {
        Self::parse(only_line(raw)?)
    }

    /// The other side as Tor names it: a relay, or `ADDRESS:PORT` while it is not known which.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The relay, if it is known which.
    pub fn relay(&self) -> Option<&RelayName> {
        self.relay.as_ref()
    }

    /// The new status.
    pub fn status(&self) -> &OrConnStatus {
        &self.status
    }

    /// Reason for which it failed or was closed.
    pub fn reason(&self) -> Option<&OrConnReason> {
        self.reason.as_ref()
    }

    /// Number of circuits that used it when it ended, if any.
    pub fn circuits(&self) -> Option<u32> {
        self.circuits
    }

    /// Its number.
    pub fn id(&self) -> Option<ConnectionId> {
        self.id
    }

    /// Other arguments that Tor wrote.
    pub fn extra(&self) -> &Arguments {
        &self.extra
    }
}

words! {
    /// Status of a connection to a relay.
    pub enum OrConnStatus else Unknown {
        /// Accepted from the other side.
        New = "NEW",
        /// Begun.
        Launched = "LAUNCHED",
        /// Established.
        Connected = "CONNECTED",
        /// Refused or failed before it stood.
        Failed = "FAILED",
        /// Closed.
        Closed = "CLOSED",
    }
}

words! {
    /// Reason for which a connection to a relay ended (`orconn_end_reason_to_control_string`,
    /// core/or/reasons.c).
    pub enum OrConnReason else Unknown {
        /// A regular end.
        Done = "DONE",
        /// The relay refused it.
        ConnectRefused = "CONNECTREFUSED",
        /// The relay is not the one it should be.
        Identity = "IDENTITY",
        /// Reset by the other side.
        ConnectReset = "CONNECTRESET",
        /// Timeout: too slow, or idle for too long.
        Timeout = "TIMEOUT",
        /// There is no way to the relay.
        NoRoute = "NOROUTE",
        /// The system failed.
        IoError = "IOERROR",
        /// Sockets or memory ran out.
        ResourceLimit = "RESOURCELIMIT",
        /// TLS failed.
        TlsError = "TLS_ERROR",
        /// The pluggable transport is missing.
        PtMissing = "PT_MISSING",
        /// Anything else.
        Misc = "MISC",
    }
}

/// An entry guard changed (feature/control/control_events.c:1813-1839).
///
/// ```
/// use onionweave_control::{Event, GuardStatus};
///
/// let line = b"650 GUARD ENTRY $0102030405060708090A0B0C0D0E0F1011121314~a NEW\r\n";
/// let Event::Guard(event) = Event::parse(line)? else { panic!() };
/// assert_eq!(event.status(), &GuardStatus::New);
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Guard {
    kind: String,
    relay: RelayName,
    status: GuardStatus,
    extra: Arguments,
}

impl Guard {
    pub(super) fn from_raw(raw: &RawEvent) -> Option<Self> {
        let mut fields = Fields::parse(only_line(raw)?)?;
        Some(Self {
            kind: fields.word()?,
            relay: fields.word()?.parse().ok()?,
            status: GuardStatus::from_word(&fields.word()?),
            extra: fields.rest(),
        })
    }

    /// The kind of guard; `ENTRY` in all versions.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The relay.
    pub fn relay(&self) -> &RelayName {
        &self.relay
    }

    /// The new status.
    pub fn status(&self) -> &GuardStatus {
        &self.status
    }

    /// Other arguments that Tor wrote.
    pub fn extra(&self) -> &Arguments {
        &self.extra
    }
}

words! {
    /// Change of an entry guard.
    pub enum GuardStatus else Unknown {
        /// Chosen.
        New = "NEW",
        /// Not a guard any more.
        Dropped = "DROPPED",
        /// Reachable.
        Up = "UP",
        /// Not reachable.
        Down = "DOWN",
        /// Unusable by its flags or the configuration.
        Bad = "BAD",
        /// Usable again.
        Good = "GOOD",
        /// Not a guard of the second layer any more.
        BadL2 = "BAD_L2",
    }
}

/// Relays whose status changed (feature/control/control_events.c:1575-1580).
///
/// ```
/// use onionweave_control::Event;
///
/// let Event::Ns(event) = Event::parse(b"650+NS\r\nr a ...\r\ns Running\r\n.\r\n650 OK\r\n")? else { panic!() };
/// assert_eq!(event.body(), b"r a ...\ns Running\n");
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Ns {
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::text::lossy_text"))]
    body: Vec<u8>,
}

impl Ns {
    pub(super) fn from_raw(raw: RawEvent) -> Result<Self, RawEvent> {
        only_data(raw).map(|body| Self { body })
    }

    /// The relays in the form of `GETINFO ns/all`, lines ended by LF.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body without a copy.
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }
}

/// A new consensus: the list of relays that Tor uses from now on
/// (feature/control/control_events.c:1540-1591).
///
/// Tor loads its cached consensus at start without this event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct NewConsensus {
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::text::lossy_text"))]
    body: Vec<u8>,
}

impl NewConsensus {
    pub(super) fn from_raw(raw: RawEvent) -> Result<Self, RawEvent> {
        only_data(raw).map(|body| Self { body })
    }

    /// The relays in the form of `GETINFO ns/all`, lines ended by LF.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body without a copy.
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// The body as text.
    ///
    /// # Errors
    /// If it is not UTF-8.
    pub fn text(&self) -> Result<&str, str::Utf8Error> {
        str::from_utf8(&self.body)
    }
}

/// The data of an event that is nothing else; the event itself if it has none.
fn only_data(raw: RawEvent) -> Result<Vec<u8>, RawEvent> {
    match raw.lines().first().and_then(|line| line.data()) {
        Some(_) => {
            let data = raw.into_lines().into_iter().next().and_then(|line| line.into_data());
            Ok(data.unwrap_or_default())
        }
        None => Err(raw),
    }
}

/// Server descriptors that came, but no microdescriptors
/// (feature/control/control_events.c:1439-1468).
///
/// ```
/// use onionweave_control::Event;
///
/// let line = b"650 NEWDESC $0102030405060708090A0B0C0D0E0F1011121314~a $FF02030405060708090A0B0C0D0E0F1011121314\r\n";
/// let Event::NewDesc(event) = Event::parse(line)? else { panic!() };
/// assert_eq!(event.relays().len(), 2);
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct NewDesc {
    relays: Vec<RelayName>,
}

impl NewDesc {
    pub(super) fn from_raw(raw: &RawEvent) -> Option<Self> {
        let relays = split_words(only_line(raw)?).map(|word| str::from_utf8(word).ok()?.parse().ok());
        Some(Self {
            relays: relays.collect::<Option<_>>()?,
        })
    }

    /// The relays.
    pub fn relays(&self) -> &[RelayName] {
        &self.relays
    }
}

/// An address is mapped to another, or a `RESOLVE` was answered
/// (feature/control/control_events.c:1475-1506).
///
/// ```
/// use onionweave_control::Event;
///
/// let line = b"650 ADDRMAP example.com 192.0.2.1 \"2026-01-01 02:00:00\" EXPIRES=\"2026-01-01 01:00:00\" CACHED=\"NO\"\r\n";
/// let Event::AddrMap(event) = Event::parse(line)? else { panic!() };
/// assert_eq!((event.from(), event.to()), ("example.com", Some("192.0.2.1")));
/// assert_eq!(event.cached(), Some(false));
/// assert!(event.expires().is_some());
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct AddrMap {
    from: String,
    to: Option<String>,
    expires: Option<SystemTime>,
    error: Option<String>,
    cached: Option<bool>,
    stream: Option<StreamId>,
    extra: Arguments,
}

impl AddrMap {
    pub(super) fn from_raw(raw: &RawEvent) -> Option<Self> {
        let mut fields = Fields::parse(only_line(raw)?)?;
        let from = fields.word()?;
        let to = fields.word()?;
        // In local time, for which the zone is missing: of no use.
        fields.word()?;
        Some(Self {
            from,
            to: (to != "<error>").then_some(to),
            expires: fields.read("EXPIRES", utc),
            error: fields.text("error"),
            cached: fields.read("CACHED", |value| match value {
                "YES" => Some(true),
                "NO" => Some(false),
                _ => None,
            }),
            stream: fields.read("STREAMID", StreamId::parse),
            extra: fields.rest(),
        })
    }

    /// The address that was asked for.
    pub fn from(&self) -> &str {
        &self.from
    }

    /// The new address; `None` if the look-up failed.
    pub fn to(&self) -> Option<&str> {
        self.to.as_deref()
    }

    /// Until when; `None` for ever.
    pub fn expires(&self) -> Option<SystemTime> {
        self.expires
    }

    /// Failure of a look-up: `yes` or `internal`.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Whether Tor keeps it, or only answers a `RESOLVE`.
    pub fn cached(&self) -> Option<bool> {
        self.cached
    }

    /// The stream for which it was looked up; tor 0.4.8.
    pub fn stream(&self) -> Option<StreamId> {
        self.stream
    }

    /// Other arguments that Tor wrote.
    pub fn extra(&self) -> &Arguments {
        &self.extra
    }
}

/// Whether Tor thinks the network reachable (feature/control/control_events.c:1518-1528).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum NetworkLiveness {
    /// Something came from the network.
    Up,
    /// Nothing has come for a while.
    Down,
}

impl NetworkLiveness {
    pub(super) fn from_raw(raw: &RawEvent) -> Option<Self> {
        match split_words(only_line(raw)?).next()? {
            b"UP" => Some(NetworkLiveness::Up),
            b"DOWN" => Some(NetworkLiveness::Down),
            _ => None,
        }
    }
}

/// Tor decided anew how long circuits may take to be built
/// (feature/control/control_events.c:145-189,1594-1636).
///
/// ```
/// use std::time::Duration;
/// use onionweave_control::{BuildTimeoutChange, Event};
///
/// let line = b"650 BUILDTIMEOUT_SET RESET TOTAL_TIMES=0 TIMEOUT_MS=60000 XM=0 ALPHA=0.000000 \
///     CUTOFF_QUANTILE=0.800000 TIMEOUT_RATE=0.000000 CLOSE_MS=60000 CLOSE_RATE=0.000000\r\n";
/// let Event::BuildTimeoutSet(event) = Event::parse(line)? else { panic!() };
/// assert_eq!(event.change(), &BuildTimeoutChange::Reset);
/// assert_eq!(event.timeout(), Some(Duration::from_secs(60)));
/// assert_eq!(event.cutoff_quantile(), Some(0.8));
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct BuildTimeoutSet {
    change: BuildTimeoutChange,
    arguments: Arguments,
}

impl BuildTimeoutSet {
    pub(super) fn from_raw(raw: &RawEvent) -> Option<Self> {
        let mut fields = Fields::parse(only_line(raw)?)?;
        Some(Self {
            change: BuildTimeoutChange::from_word(&fields.word()?),
            arguments: fields.rest(),
        })
    }

    /// The change.
    pub fn change(&self) -> &BuildTimeoutChange {
        &self.change
    }

    /// Number of circuits that were measured.
    pub fn total_times(&self) -> Option<u64> {
        number(self.arguments.value("TOTAL_TIMES")?)
    }

    /// After how long Tor gives up on using a circuit.
    pub fn timeout(&self) -> Option<Duration> {
        self.milliseconds("TIMEOUT_MS")
    }

    /// After how long Tor closes a circuit that it only goes on measuring.
    pub fn close(&self) -> Option<Duration> {
        self.milliseconds("CLOSE_MS")
    }

    /// The parameter Xm of the Pareto distribution of times.
    pub fn xm(&self) -> Option<Duration> {
        self.milliseconds("XM")
    }

    /// The parameter alpha of the Pareto distribution of times.
    pub fn alpha(&self) -> Option<f64> {
        self.ratio("ALPHA")
    }

    /// Share of the circuits that are to be built within the time.
    pub fn cutoff_quantile(&self) -> Option<f64> {
        self.ratio("CUTOFF_QUANTILE")
    }

    /// Share of the circuits that were not built within the time.
    pub fn timeout_rate(&self) -> Option<f64> {
        self.ratio("TIMEOUT_RATE")
    }

    /// Share of the circuits that were closed unmeasured.
    pub fn close_rate(&self) -> Option<f64> {
        self.ratio("CLOSE_RATE")
    }

    /// All that Tor said.
    pub fn arguments(&self) -> &Arguments {
        &self.arguments
    }

    fn milliseconds(&self, key: &str) -> Option<Duration> {
        number(self.arguments.value(key)?).map(Duration::from_millis)
    }

    fn ratio(&self, key: &str) -> Option<f64> {
        self.arguments.value(key)?.parse().ok()
    }
}

words! {
    /// Change of the time that circuits may take.
    pub enum BuildTimeoutChange else Unknown {
        /// Computed from measurements.
        Computed = "COMPUTED",
        /// Measurements were forgotten.
        Reset = "RESET",
        /// The network seems to be gone, so that it is at its default for now.
        Suspended = "SUSPENDED",
        /// Measurements made while the network was gone were forgotten.
        Discard = "DISCARD",
        /// The network is back.
        Resume = "RESUME",
    }
}

/// From which countries a bridge was used lately (feature/stats/geoip_stats.c:1192).
///
/// ```
/// use onionweave_control::Event;
///
/// let line = b"650 CLIENTS_SEEN TimeStarted=\"2026-01-01 00:00:00\" CountrySummary=us=16,de=8 IPVersions=v4=16,v6=8\r\n";
/// let Event::ClientsSeen(event) = Event::parse(line)? else { panic!() };
/// assert_eq!(event.countries(), [("us".to_owned(), 16), ("de".to_owned(), 8)]);
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ClientsSeen {
    since: Option<SystemTime>,
    countries: Vec<(String, u64)>,
    ip_versions: Vec<(String, u64)>,
    extra: Arguments,
}

impl ClientsSeen {
    pub(super) fn from_raw(raw: &RawEvent) -> Option<Self> {
        let mut fields = Fields::parse(only_line(raw)?)?;
        Some(Self {
            since: fields.read("TimeStarted", utc),
            countries: fields.read("CountrySummary", counts).unwrap_or_default(),
            ip_versions: fields.read("IPVersions", counts).unwrap_or_default(),
            extra: fields.rest(),
        })
    }

    /// Since when.
    pub fn since(&self) -> Option<SystemTime> {
        self.since
    }

    /// Number of clients by country, rounded up to a multiple of eight.
    pub fn countries(&self) -> &[(String, u64)] {
        &self.countries
    }

    /// Number of clients over IPv4 (`v4`) and IPv6 (`v6`), rounded likewise.
    pub fn ip_versions(&self) -> &[(String, u64)] {
        &self.ip_versions
    }

    /// Other arguments that Tor wrote.
    pub fn extra(&self) -> &Arguments {
        &self.extra
    }
}

/// A list such as `us=16,de=8`.
fn counts(text: &str) -> Option<Vec<(String, u64)>> {
    let pairs = text.split(',').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, count) = pair.split_once('=')?;
        Some((name.to_owned(), number(count)?))
    });
    pairs.collect()
}
