//! `SETEVENTS`, control-spec section 3.4.

use super::Command;
use super::line::Line;
use crate::Error;
use crate::words::words;

impl Command {
    /// `SETEVENTS`: exactly these events from now on, replacing what was set
    /// (feature/control/control_cmd.c:388-428). None ends all.
    ///
    /// # Errors
    /// [`Error::Argument`] if an [`EventKind::Other`] is not one word.
    ///
    /// ```
    /// use onionweave_control::{Command, EventKind};
    ///
    /// let command = Command::set_events(&[EventKind::Circ, EventKind::HsDesc])?;
    /// assert_eq!(command.as_bytes(), b"SETEVENTS CIRC HS_DESC\r\n");
    /// # Ok::<(), onionweave_control::Error>(())
    /// ```
    pub fn set_events(kinds: &[EventKind]) -> Result<Self, Error> {
        let mut line = Line::new("SETEVENTS");
        for kind in kinds {
            line.word("event", kind.as_str())?;
        }
        line.end()
    }
}

words! {
    /// A kind of event to ask for with `SETEVENTS`: all of `control_event_table`,
    /// feature/control/control_events.c:78-112, and those that the specification has beside them.
    ///
    /// ```
    /// use onionweave_control::EventKind;
    ///
    /// assert_eq!(EventKind::from_word("HS_DESC"), EventKind::HsDesc);
    /// assert_eq!(EventKind::Other("FUTURE".to_owned()).as_str(), "FUTURE");
    /// ```
    pub enum EventKind else Other {
        /// Circuits.
        Circ = "CIRC",
        /// Circuits that change their purpose.
        CircMinor = "CIRC_MINOR",
        /// Streams of applications.
        Stream = "STREAM",
        /// Connections to relays.
        OrConn = "ORCONN",
        /// Bytes of the last second.
        Bw = "BW",
        /// Log messages of this severity alone, as for the four below.
        Debug = "DEBUG",
        /// Log messages.
        Info = "INFO",
        /// Log messages.
        Notice = "NOTICE",
        /// Log messages.
        Warn = "WARN",
        /// Log messages.
        Err = "ERR",
        /// Server descriptors that came.
        NewDesc = "NEWDESC",
        /// Addresses that are mapped to others, and the answers of `RESOLVE`.
        AddrMap = "ADDRMAP",
        /// This relay's own descriptor.
        DescChanged = "DESCCHANGED",
        /// Relays whose status changed.
        Ns = "NS",
        /// Tor in general.
        StatusGeneral = "STATUS_GENERAL",
        /// Tor as a client, its progress at start among it.
        StatusClient = "STATUS_CLIENT",
        /// Tor as a relay.
        StatusServer = "STATUS_SERVER",
        /// Entry guards.
        Guard = "GUARD",
        /// Bytes of each stream in the last second.
        StreamBw = "STREAM_BW",
        /// From which countries a bridge was used.
        ClientsSeen = "CLIENTS_SEEN",
        /// A new list of relays is in use.
        NewConsensus = "NEWCONSENSUS",
        /// Time that circuits may take to be built.
        BuildTimeoutSet = "BUILDTIMEOUT_SET",
        /// Signals that Tor received.
        Signal = "SIGNAL",
        /// Options that were changed.
        ConfChanged = "CONF_CHANGED",
        /// Bytes of each connection; only with `TestingEnableConnBwEvent`.
        ConnBw = "CONN_BW",
        /// Cells of each circuit; only with `TestingEnableCellStatsEvent`.
        CellStats = "CELL_STATS",
        /// Bytes of each circuit in the last second.
        CircBw = "CIRC_BW",
        /// Pluggable transports that were started.
        TransportLaunched = "TRANSPORT_LAUNCHED",
        /// Changes of onion service descriptors.
        HsDesc = "HS_DESC",
        /// Descriptors that were fetched.
        HsDescContent = "HS_DESC_CONTENT",
        /// Whether the network seems reachable.
        NetworkLiveness = "NETWORK_LIVENESS",
        /// Log lines of pluggable transports. Tor 0.4.5.9 and 0.4.9.11 write the event, but know no
        /// such name here and refuse it with 552.
        PtLog = "PT_LOG",
        /// Status lines of pluggable transports; refused as `PT_LOG` is.
        PtStatus = "PT_STATUS",
    }
}
