//! `CIRC` and `CIRC_MINOR`: control-spec sections 4.1.1, 4.1.19;
//! feature/control/control_events.c:632-781, feature/control/control_fmt.c:71-171.

use std::fmt;
use std::time::SystemTime;

use super::only_line;
use crate::codec::RawEvent;
use crate::text::{Arguments, Fields, number, utc};
use crate::words::words;
use crate::{CircuitId, RelayName};

/// A circuit was begun, built, extended, or is no more.
///
/// ```
/// use onionweave_control::{CircuitPurpose, CircuitStatus, Event};
///
/// let line = b"650 CIRC 4 BUILT $0102030405060708090A0B0C0D0E0F1011121314~a BUILD_FLAGS=IS_INTERNAL,NEED_CAPACITY \
///     PURPOSE=GENERAL TIME_CREATED=2026-01-01T00:00:00.000000\r\n";
/// let Event::Circ(event) = Event::parse(line)? else { panic!() };
/// assert_eq!(event.status(), &CircuitStatus::Built);
/// assert_eq!(event.circuit().path().len(), 1);
/// assert_eq!(event.circuit().purpose(), Some(&CircuitPurpose::General));
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Circ {
    circuit: Circuit,
    status: CircuitStatus,
    reason: Option<CircuitReason>,
    remote_reason: Option<CircuitReason>,
}

impl Circ {
    /// Reads the text of the event after `CIRC `, which is also the form of a line of `GETINFO
    /// circuit-status`. `None` for any other text.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut fields = Fields::parse(text)?;
        let id = CircuitId::parse(&fields.word()?)?;
        let status = CircuitStatus::from_word(&fields.word()?);
        let reason = fields.text("REASON").map(|word| CircuitReason::from_word(&word));
        let remote_reason = fields.text("REMOTE_REASON").map(|word| CircuitReason::from_word(&word));
        Some(Self {
            circuit: Circuit::from_fields(id, fields),
            status,
            reason,
            remote_reason,
        })
    }

    pub(super) fn from_raw(raw: &RawEvent) -> Option<Self> {
        Self::parse(only_line(raw)?)
    }

    /// The circuit as it is now.
    pub fn circuit(&self) -> &Circuit {
        &self.circuit
    }

    /// The new status.
    pub fn status(&self) -> &CircuitStatus {
        &self.status
    }

    /// Reason for which it failed or was closed.
    pub fn reason(&self) -> Option<&CircuitReason> {
        self.reason.as_ref()
    }

    /// Reason that the relay gave that closed it, where the reason is [`CircuitReason::Destroyed`].
    pub fn remote_reason(&self) -> Option<&CircuitReason> {
        self.remote_reason.as_ref()
    }
}

/// A circuit changed its purpose.
///
/// ```
/// use onionweave_control::{CircuitChange, CircuitPurpose, Event, HsState};
///
/// let line = b"650 CIRC_MINOR 12 PURPOSE_CHANGED PURPOSE=HS_SERVICE_INTRO HS_STATE=HSSI_ESTABLISHED REND_QUERY=abc \
///     TIME_CREATED=2026-01-01T00:00:00.000000 OLD_PURPOSE=HS_SERVICE_INTRO OLD_HS_STATE=HSSI_CONNECTING\r\n";
/// let Event::CircMinor(event) = Event::parse(line)? else { panic!() };
/// assert_eq!(event.change(), &CircuitChange::PurposeChanged);
/// assert_eq!(event.circuit().hs_state(), Some(&HsState::ServiceIntroEstablished));
/// assert_eq!(event.old_purpose(), Some(&CircuitPurpose::HsServiceIntro));
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct CircMinor {
    circuit: Circuit,
    change: CircuitChange,
    old_purpose: Option<CircuitPurpose>,
    old_hs_state: Option<HsState>,
    old_time_created: Option<SystemTime>,
}

impl CircMinor {
    pub(super) fn from_raw(raw: &RawEvent) -> Option<Self> {
        let mut fields = Fields::parse(only_line(raw)?)?;
        let id = CircuitId::parse(&fields.word()?)?;
        let change = CircuitChange::from_word(&fields.word()?);
        let old_purpose = fields.text("OLD_PURPOSE").map(|word| CircuitPurpose::from_word(&word));
        let old_hs_state = fields.text("OLD_HS_STATE").map(|word| HsState::from_word(&word));
        let old_time_created = fields.read("OLD_TIME_CREATED", utc);
        Some(Self {
            circuit: Circuit::from_fields(id, fields),
            change,
            old_purpose,
            old_hs_state,
            old_time_created,
        })
    }

    /// The circuit as it is now.
    pub fn circuit(&self) -> &Circuit {
        &self.circuit
    }

    /// The change.
    pub fn change(&self) -> &CircuitChange {
        &self.change
    }

    /// The former purpose.
    pub fn old_purpose(&self) -> Option<&CircuitPurpose> {
        self.old_purpose.as_ref()
    }

    /// The former state, if it served an onion service.
    pub fn old_hs_state(&self) -> Option<&HsState> {
        self.old_hs_state.as_ref()
    }

    /// When it was created before it was taken for something else.
    pub fn old_time_created(&self) -> Option<SystemTime> {
        self.old_time_created
    }
}

/// A circuit as Tor describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Circuit {
    id: CircuitId,
    path: Vec<RelayName>,
    build_flags: Vec<BuildFlag>,
    purpose: Option<CircuitPurpose>,
    hs_state: Option<HsState>,
    rend_query: Option<String>,
    time_created: Option<SystemTime>,
    socks: SocksAuth,
    pow_effort: Option<u32>,
    conflux_id: Option<String>,
    conflux_rtt: Option<u64>,
    extra: Arguments,
}

impl Circuit {
    fn from_fields(id: CircuitId, mut fields: Fields) -> Self {
        Self {
            id,
            path: fields.word_if(parse_path).unwrap_or_default(),
            build_flags: list(fields.text("BUILD_FLAGS"), BuildFlag::from_word),
            purpose: fields.text("PURPOSE").map(|word| CircuitPurpose::from_word(&word)),
            hs_state: fields.text("HS_STATE").map(|word| HsState::from_word(&word)),
            rend_query: fields.text("REND_QUERY"),
            time_created: fields.read("TIME_CREATED", utc),
            socks: SocksAuth::from_fields(&mut fields),
            pow_effort: fields.read("HS_POW", |value| number(value.strip_prefix("v1,")?)),
            conflux_id: fields.text("CONFLUX_ID"),
            conflux_rtt: fields.read("CONFLUX_RTT", number),
            extra: fields.rest(),
        }
    }

    /// Its number.
    pub fn id(&self) -> CircuitId {
        self.id
    }

    /// The relays that it has reached, the first hop first.
    pub fn path(&self) -> &[RelayName] {
        &self.path
    }

    /// Properties with which Tor built it.
    pub fn build_flags(&self) -> &[BuildFlag] {
        &self.build_flags
    }

    /// The purpose.
    pub fn purpose(&self) -> Option<&CircuitPurpose> {
        self.purpose.as_ref()
    }

    /// The state, if it serves an onion service.
    pub fn hs_state(&self) -> Option<&HsState> {
        self.hs_state.as_ref()
    }

    /// The address of the onion service that it serves, without `.onion`.
    pub fn rend_query(&self) -> Option<&str> {
        self.rend_query.as_deref()
    }

    /// When it was created, or taken for something else.
    pub fn time_created(&self) -> Option<SystemTime> {
        self.time_created
    }

    /// With what the application that it is for authenticated.
    pub fn socks(&self) -> &SocksAuth {
        &self.socks
    }

    /// The effort of the proof of work that the client made or the service checked; tor 0.4.8.
    pub fn pow_effort(&self) -> Option<u32> {
        self.pow_effort
    }

    /// The set of circuits that carry one another's streams, if it is in one; tor 0.4.8.
    pub fn conflux_id(&self) -> Option<&str> {
        self.conflux_id.as_deref()
    }

    /// Its round-trip time in that set, in microseconds; tor 0.4.8.
    pub fn conflux_rtt(&self) -> Option<u64> {
        self.conflux_rtt
    }

    /// Other arguments that Tor wrote.
    pub fn extra(&self) -> &Arguments {
        &self.extra
    }
}

/// `LongName *("," LongName)`. `None` for another word.
fn parse_path(word: &str) -> Option<Vec<RelayName>> {
    word.split(',').map(|relay| relay.parse().ok()).collect()
}

/// A list with commas; none if absent or empty.
pub(super) fn list<T>(text: Option<String>, read: impl Fn(&str) -> T) -> Vec<T> {
    let text = text.unwrap_or_default();
    let words = text.split(',').filter(|word| !word.is_empty());
    words.map(read).collect()
}

/// With what an application authenticated at the SOCKS port, which sets its circuits apart. `Debug`
/// does not show the password.
#[derive(Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SocksAuth {
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::text::option_lossy"))]
    username: Option<Vec<u8>>,
    /// A secret, which is neither shown nor serialized.
    #[cfg_attr(feature = "serde", serde(skip))]
    password: Option<Vec<u8>>,
}

impl SocksAuth {
    pub(super) fn from_fields(fields: &mut Fields) -> Self {
        Self {
            username: fields.bytes("SOCKS_USERNAME"),
            password: fields.bytes("SOCKS_PASSWORD"),
        }
    }

    /// The user name, any bytes; `None` without or for an empty one.
    pub fn username(&self) -> Option<&[u8]> {
        self.username.as_deref()
    }

    /// The password, any bytes; `None` without or for an empty one.
    pub fn password(&self) -> Option<&[u8]> {
        self.password.as_deref()
    }
}

impl fmt::Debug for SocksAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let username = self.username.as_ref().map(|name| name.escape_ascii().to_string());
        f.debug_struct("SocksAuth")
            .field("username", &username)
            .finish_non_exhaustive()
    }
}

words! {
    /// Status of a circuit.
    pub enum CircuitStatus else Unknown {
        /// Begun.
        Launched = "LAUNCHED",
        /// All its hops stand: streams may use it.
        Built = "BUILT",
        /// All its hops stand, but one with a better guard may yet come.
        GuardWait = "GUARD_WAIT",
        /// Longer by one hop.
        Extended = "EXTENDED",
        /// Closed before it was built.
        Failed = "FAILED",
        /// Closed after it was built.
        Closed = "CLOSED",
    }
}

words! {
    /// Change of a circuit.
    pub enum CircuitChange else Unknown {
        /// Its purpose or its state.
        PurposeChanged = "PURPOSE_CHANGED",
        /// Taken for something else than it was built for.
        Cannibalized = "CANNIBALIZED",
    }
}

words! {
    /// Property with which a circuit was built.
    pub enum BuildFlag else Unknown {
        /// With one hop, for a directory.
        OnehopTunnel = "ONEHOP_TUNNEL",
        /// Within the network: no stream leaves by it.
        IsInternal = "IS_INTERNAL",
        /// Through fast relays only.
        NeedCapacity = "NEED_CAPACITY",
        /// Through steady relays only.
        NeedUptime = "NEED_UPTIME",
    }
}

words! {
    /// Purpose of a circuit (`circuit_purpose_to_controller_string`, core/or/circuitlist.c).
    pub enum CircuitPurpose else Unknown {
        /// Streams of applications, and directories.
        General = "GENERAL",
        /// A client's fetch of a descriptor.
        HsClientHsDir = "HS_CLIENT_HSDIR",
        /// From a client to an introduction point.
        HsClientIntro = "HS_CLIENT_INTRO",
        /// From a client to its rendezvous point.
        HsClientRend = "HS_CLIENT_REND",
        /// A service's upload of a descriptor.
        HsServiceHsDir = "HS_SERVICE_HSDIR",
        /// From a service to its introduction point.
        HsServiceIntro = "HS_SERVICE_INTRO",
        /// From a service to a client's rendezvous point.
        HsServiceRend = "HS_SERVICE_REND",
        /// Built ahead, for onion services with vanguards.
        HsVanguards = "HS_VANGUARDS",
        /// A relay's test of whether it can be reached.
        Testing = "TESTING",
        /// The controller's own.
        Controller = "CONTROLLER",
        /// Kept to see how long it takes to be built.
        MeasureTimeout = "MEASURE_TIMEOUT",
        /// A test of whether circuits are closed on purpose.
        PathBiasTesting = "PATH_BIAS_TESTING",
        /// Kept open to hide when it ended.
        CircuitPadding = "CIRCUIT_PADDING",
        /// Member of a set of circuits, not yet linked; tor 0.4.8.
        ConfluxUnlinked = "CONFLUX_UNLINKED",
        /// Member of a set of circuits, linked; tor 0.4.8.
        ConfluxLinked = "CONFLUX_LINKED",
        /// A relay's; a controller never sees it.
        Server = "SERVER",
    }
}

words! {
    /// State of a circuit for an onion service (`circuit_purpose_to_controller_hs_state_string`,
    /// core/or/circuitlist.c).
    pub enum HsState else Unknown {
        /// Client: on its way to the introduction point.
        ClientIntroConnecting = "HSCI_CONNECTING",
        /// Client: it asked to be introduced.
        ClientIntroSent = "HSCI_INTRO_SENT",
        /// Client: the introduction point answered.
        ClientIntroDone = "HSCI_DONE",
        /// Client: on its way to the rendezvous point.
        ClientRendConnecting = "HSCR_CONNECTING",
        /// Client: the rendezvous point waits.
        ClientRendEstablishedIdle = "HSCR_ESTABLISHED_IDLE",
        /// Client: the rendezvous point waits, and the service was told.
        ClientRendEstablishedWaiting = "HSCR_ESTABLISHED_WAITING",
        /// Client: the service came.
        ClientRendJoined = "HSCR_JOINED",
        /// Service: on its way to the introduction point, or to a directory.
        ServiceIntroConnecting = "HSSI_CONNECTING",
        /// Service: the introduction point stands.
        ServiceIntroEstablished = "HSSI_ESTABLISHED",
        /// Service: on its way to the client's rendezvous point.
        ServiceRendConnecting = "HSSR_CONNECTING",
        /// Service: it met the client.
        ServiceRendJoined = "HSSR_JOINED",
    }
}

words! {
    /// Reason for which a circuit ended (`circuit_end_reason_to_control_string`,
    /// core/or/reasons.c).
    pub enum CircuitReason else Unknown {
        /// None was given.
        None = "NONE",
        /// Somebody broke Tor's protocol.
        TorProtocol = "TORPROTOCOL",
        /// An internal error.
        Internal = "INTERNAL",
        /// The client asked for it.
        Requested = "REQUESTED",
        /// The relay hibernates.
        Hibernating = "HIBERNATING",
        /// Memory, sockets or circuit numbers ran out.
        ResourceLimit = "RESOURCELIMIT",
        /// A relay could not be reached.
        ConnectFailed = "CONNECTFAILED",
        /// A relay was not the one it should be.
        OrIdentity = "OR_IDENTITY",
        /// The connection below it was closed.
        ChannelClosed = "CHANNEL_CLOSED",
        /// Too old, or unused.
        Finished = "FINISHED",
        /// Timeout while it was built.
        Timeout = "TIMEOUT",
        /// A relay closed it; see the remote reason.
        Destroyed = "DESTROYED",
        /// There are not enough relays.
        NoPath = "NOPATH",
        /// No such onion service is known.
        NoSuchService = "NOSUCHSERVICE",
        /// Kept after its time was over to see how long it takes, and that is over too.
        MeasurementExpired = "MEASUREMENT_EXPIRED",
        /// Another circuit to the same introduction point was faster.
        IpNowRedundant = "IP_NOW_REDUNDANT",
        /// This side closed it.
        Origin = "ORIGIN",
    }
}

#[cfg(test)]
mod tests {
    use crate::Event;

    /// A relay's name with `=`, as Tor wrote it before 0.3.1 for one with the flag `Named`.
    #[test]
    fn old_names_of_relays() {
        let circuit = include_bytes!("../../testdata/event_old_relay_name.txt");
        let Event::Circ(event) = Event::parse(circuit).unwrap() else {
            panic!()
        };
        let path = event.circuit().path();
        let names: Vec<_> = path.iter().map(|relay| relay.nickname().unwrap()).collect();
        assert_eq!(names, ["alpha", "beta"]);
        assert!(event.circuit().extra().is_empty());

        let relay = "$7ED90E2833EE38A75795BA9237B0A4560E51E1A0=alpha";
        let parse = |text: &str| Event::parse(format!("650 {text}\r\n").as_bytes()).unwrap();
        let minor = parse(&format!(
            "CIRC_MINOR 2 PURPOSE_CHANGED {relay} PURPOSE=GENERAL OLD_PURPOSE=HS_VANGUARDS"
        ));
        assert!(matches!(minor, Event::CircMinor(event) if event.circuit().path().len() == 1));
        let connection = parse(&format!("ORCONN {relay} CONNECTED ID=5"));
        assert!(matches!(connection, Event::OrConn(event) if event.relay().unwrap().nickname() == Some("alpha")));
        let guard = parse(&format!("GUARD ENTRY {relay} NEW"));
        assert!(matches!(guard, Event::Guard(event) if event.relay().nickname() == Some("alpha")));
        let descriptor = parse(&format!("NEWDESC {relay} {relay}"));
        assert!(matches!(descriptor, Event::NewDesc(event) if event.relays().len() == 2));
        let answer = parse(&format!("HS_DESC UPLOADED 6r7x5o465oo27s35 UNKNOWN {relay}"));
        assert!(matches!(answer, Event::HsDesc(event) if event.hsdir().unwrap().nickname() == Some("alpha")));
        let stream = parse(&format!("STREAM 1 NEW 0 example.com.{relay}.exit:80 PURPOSE=USER"));
        let Event::Stream(event) = stream else { panic!() };
        assert_eq!(event.target(), format!("example.com.{relay}.exit:80"));
    }
}
