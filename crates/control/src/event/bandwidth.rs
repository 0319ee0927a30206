//! `BW`, `STREAM_BW`, `CIRC_BW`, `CONN_BW`, `CELL_STATS`: control-spec sections 4.1.4, 4.1.13,
//! 4.1.21 to 4.1.23; feature/control/control_events.c:963-1313.

use std::time::SystemTime;

use super::only_line;
use crate::codec::RawEvent;
use crate::text::{Arguments, Fields, number, utc};
use crate::words::words;
use crate::{CircuitId, ConnectionId, StreamId};

/// Number of bytes that Tor moved in the last second.
///
/// ```
/// use onionweave_control::Event;
///
/// let Event::Bw(event) = Event::parse(b"650 BW 100 200\r\n")? else { panic!() };
/// assert_eq!((event.read(), event.written()), (100, 200));
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Bw {
    read: u64,
    written: u64,
    extra: Arguments,
}

impl Bw {
    pub(super) fn from_raw(raw: &RawEvent) -> Option<Self> {
        let mut fields = Fields::parse(only_line(raw)?)?;
        Some(Self {
            read: number(&fields.word()?)?,
            written: number(&fields.word()?)?,
            extra: fields.rest(),
        })
    }

    /// Bytes read. Tor counts in 32 bits here.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// Bytes written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Other arguments that Tor wrote.
    pub fn extra(&self) -> &Arguments {
        &self.extra
    }
}

/// Number of bytes that went over a stream since the last such event.
///
/// ```
/// use onionweave_control::{Event, StreamId};
///
/// let Event::StreamBw(event) = Event::parse(b"650 STREAM_BW 9 100 200 2026-01-01T00:00:00.000000\r\n")? else { panic!() };
/// assert_eq!(event.id(), StreamId::new(9));
/// // Tor reads what the application writes.
/// assert_eq!((event.written(), event.read()), (100, 200));
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct StreamBw {
    id: StreamId,
    written: u64,
    read: u64,
    time: Option<SystemTime>,
    extra: Arguments,
}

impl StreamBw {
    pub(super) fn from_raw(raw: &RawEvent) -> Option<Self> {
        let mut fields = Fields::parse(only_line(raw)?)?;
        Some(Self {
            id: StreamId::parse(&fields.word()?)?,
            written: number(&fields.word()?)?,
            read: number(&fields.word()?)?,
            time: fields.word_if(utc),
            extra: fields.rest(),
        })
    }

    /// The stream.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Bytes that the application wrote.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that the application read.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// When Tor looked.
    pub fn time(&self) -> Option<SystemTime> {
        self.time
    }

    /// Other arguments that Tor wrote.
    pub fn extra(&self) -> &Arguments {
        &self.extra
    }
}

/// Number of bytes that went over a circuit since the last such event.
///
/// ```
/// use onionweave_control::Event;
///
/// let line = b"650 CIRC_BW ID=4 READ=1018 WRITTEN=509 TIME=2026-01-01T00:00:00.000000 DELIVERED_READ=700 \
///     OVERHEAD_READ=296 DELIVERED_WRITTEN=12 OVERHEAD_WRITTEN=486 SS=0 CWND=124 RTT=39 MIN_RTT=12\r\n";
/// let Event::CircBw(event) = Event::parse(line)? else { panic!() };
/// assert_eq!((event.read(), event.delivered_read(), event.overhead_read()), (1018, Some(700), Some(296)));
/// assert_eq!(event.congestion().unwrap().window(), 124);
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct CircBw {
    id: CircuitId,
    read: u64,
    written: u64,
    time: Option<SystemTime>,
    delivered_read: Option<u64>,
    overhead_read: Option<u64>,
    delivered_written: Option<u64>,
    overhead_written: Option<u64>,
    congestion: Option<Congestion>,
    extra: Arguments,
}

impl CircBw {
    pub(super) fn from_raw(raw: &RawEvent) -> Option<Self> {
        let mut fields = Fields::parse(only_line(raw)?)?;
        Some(Self {
            id: fields.read("ID", CircuitId::parse)?,
            read: fields.read("READ", number)?,
            written: fields.read("WRITTEN", number)?,
            time: fields.read("TIME", utc),
            delivered_read: fields.read("DELIVERED_READ", number),
            overhead_read: fields.read("OVERHEAD_READ", number),
            delivered_written: fields.read("DELIVERED_WRITTEN", number),
            overhead_written: fields.read("OVERHEAD_WRITTEN", number),
            congestion: Congestion::from_fields(&mut fields),
            extra: fields.rest(),
        })
    }

    /// The circuit.
    pub fn id(&self) -> CircuitId {
        self.id
    }

    /// Bytes read, headers of relay cells included.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// Bytes written, headers of relay cells included.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// When Tor looked.
    pub fn time(&self) -> Option<SystemTime> {
        self.time
    }

    /// Bytes of payload among those read that Tor took.
    pub fn delivered_read(&self) -> Option<u64> {
        self.delivered_read
    }

    /// Unused bytes in the cells that were read.
    pub fn overhead_read(&self) -> Option<u64> {
        self.overhead_read
    }

    /// Bytes of payload among those written.
    pub fn delivered_written(&self) -> Option<u64> {
        self.delivered_written
    }

    /// Unused bytes in the cells that were written.
    pub fn overhead_written(&self) -> Option<u64> {
        self.overhead_written
    }

    /// The state of congestion control, if the circuit has it; tor 0.4.7.
    pub fn congestion(&self) -> Option<&Congestion> {
        self.congestion.as_ref()
    }

    /// Other arguments that Tor wrote.
    pub fn extra(&self) -> &Arguments {
        &self.extra
    }
}

/// The state of a circuit's congestion control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Congestion {
    slow_start: bool,
    window: u64,
    rtt: u64,
    min_rtt: u64,
}

impl Congestion {
    /// All or none are taken.
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        // Each on its own, so that one that is not understood stays among the rest.
        let slow_start = fields.read("SS", |value| match value {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        });
        let window = fields.read("CWND", number);
        let rtt = fields.read("RTT", number);
        let min_rtt = fields.read("MIN_RTT", number);
        Some(Self {
            slow_start: slow_start?,
            window: window?,
            rtt: rtt?,
            min_rtt: min_rtt?,
        })
    }

    /// Whether it is in slow start.
    pub fn slow_start(&self) -> bool {
        self.slow_start
    }

    /// The window, in cells.
    pub fn window(&self) -> u64 {
        self.window
    }

    /// The round-trip time, smoothed, in milliseconds.
    pub fn rtt(&self) -> u64 {
        self.rtt
    }

    /// The least round-trip time, in milliseconds.
    pub fn min_rtt(&self) -> u64 {
        self.min_rtt
    }
}

/// Number of bytes that went over a connection; only with `TestingEnableConnBwEvent`.
///
/// ```
/// use onionweave_control::{ConnectionKind, Event};
///
/// let Event::ConnBw(event) = Event::parse(b"650 CONN_BW ID=3 TYPE=OR READ=1 WRITTEN=2\r\n")? else { panic!() };
/// assert_eq!(event.kind(), &ConnectionKind::Or);
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ConnBw {
    id: ConnectionId,
    kind: ConnectionKind,
    read: u64,
    written: u64,
    extra: Arguments,
}

impl ConnBw {
    pub(super) fn from_raw(raw: &RawEvent) -> Option<Self> {
        let mut fields = Fields::parse(only_line(raw)?)?;
        Some(Self {
            id: fields.read("ID", ConnectionId::parse)?,
            kind: ConnectionKind::from_word(&fields.text("TYPE")?),
            read: fields.read("READ", number)?,
            written: fields.read("WRITTEN", number)?,
            extra: fields.rest(),
        })
    }

    /// The connection.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// The kind of connection.
    pub fn kind(&self) -> &ConnectionKind {
        &self.kind
    }

    /// Bytes read.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// Bytes written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Other arguments that Tor wrote.
    pub fn extra(&self) -> &Arguments {
        &self.extra
    }
}

words! {
    /// A kind of connection.
    pub enum ConnectionKind else Unknown {
        /// To another relay.
        Or = "OR",
        /// Of directories.
        Dir = "DIR",
        /// Out of the network.
        Exit = "EXIT",
    }
}

/// Number of cells that went through a circuit's queues; only with `TestingEnableCellStatsEvent`.
///
/// ```
/// use onionweave_control::Event;
///
/// let line = b"650 CELL_STATS ID=14 OutboundQueue=19403 OutboundConn=15 OutboundAdded=create_fast:1,relay_early:2\r\n";
/// let Event::CellStats(event) = Event::parse(line)? else { panic!() };
/// assert_eq!(event.outbound().unwrap().added(), [("create_fast".to_owned(), 1), ("relay_early".to_owned(), 2)]);
/// assert!(event.inbound().is_none(), "the circuit begins here");
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct CellStats {
    id: Option<CircuitId>,
    inbound: Option<CellQueue>,
    outbound: Option<CellQueue>,
    extra: Arguments,
}

impl CellStats {
    pub(super) fn from_raw(raw: &RawEvent) -> Option<Self> {
        let mut fields = Fields::parse(only_line(raw)?)?;
        Some(Self {
            id: fields.read("ID", CircuitId::parse),
            inbound: CellQueue::from_fields("Inbound", &mut fields),
            outbound: CellQueue::from_fields("Outbound", &mut fields),
            extra: fields.rest(),
        })
    }

    /// The circuit, if it begins here.
    pub fn id(&self) -> Option<CircuitId> {
        self.id
    }

    /// The queue towards the circuit's beginning, if that is not here.
    pub fn inbound(&self) -> Option<&CellQueue> {
        self.inbound.as_ref()
    }

    /// The queue away from the circuit's beginning, if it goes on from here.
    pub fn outbound(&self) -> Option<&CellQueue> {
        self.outbound.as_ref()
    }

    /// Other arguments that Tor wrote.
    pub fn extra(&self) -> &Arguments {
        &self.extra
    }
}

/// A queue of a circuit's cells. Numbers are by command, such as `relay_early`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct CellQueue {
    queue: u64,
    connection: ConnectionId,
    added: Vec<(String, u64)>,
    removed: Vec<(String, u64)>,
    time: Vec<(String, u64)>,
}

impl CellQueue {
    fn from_fields(direction: &str, fields: &mut Fields) -> Option<Self> {
        let queue = fields.read(&format!("{direction}Queue"), number)?;
        let connection = fields.read(&format!("{direction}Conn"), ConnectionId::parse)?;
        let mut by_command = |what| {
            fields
                .read(&format!("{direction}{what}"), by_command)
                .unwrap_or_default()
        };
        Some(Self {
            queue,
            connection,
            added: by_command("Added"),
            removed: by_command("Removed"),
            time: by_command("Time"),
        })
    }

    /// The queue's number on its connection.
    pub fn queue(&self) -> u64 {
        self.queue
    }

    /// The connection.
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// Number of cells that were added.
    pub fn added(&self) -> &[(String, u64)] {
        &self.added
    }

    /// Number of cells that were removed.
    pub fn removed(&self) -> &[(String, u64)] {
        &self.removed
    }

    /// Time that those had waited together, in milliseconds.
    pub fn time(&self) -> &[(String, u64)] {
        &self.time
    }
}

/// `CellType ":" 1*DIGIT *( "," CellType ":" 1*DIGIT )`
fn by_command(text: &str) -> Option<Vec<(String, u64)>> {
    let pairs = text.split(',').map(|pair| {
        let (command, count) = pair.split_once(':')?;
        Some((command.to_owned(), number(count)?))
    });
    pairs.collect()
}
