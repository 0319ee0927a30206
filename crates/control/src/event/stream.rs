//! `STREAM`: control-spec section 4.1.2; feature/control/control_events.c:785-914,
//! feature/control/control_fmt.c:174-263.

use super::circuit::list;
use super::{SocksAuth, only_line};
use crate::codec::RawEvent;
use crate::text::{Arguments, Fields, number};
use crate::words::words;
use crate::{CircuitId, StreamId};

/// A stream of an application, or of Tor itself, was opened, attached, or is no more.
///
/// ```
/// use onionweave_control::{CircuitId, Event, StreamStatus};
///
/// let line = b"650 STREAM 9 SENTCONNECT 4 example.com:443 CLIENT_PROTOCOL=SOCKS5 NYM_EPOCH=0 SESSION_GROUP=-2 \
///     ISO_FIELDS=SOCKS_USERNAME,SOCKS_PASSWORD\r\n";
/// let Event::Stream(event) = Event::parse(line)? else { panic!() };
/// assert_eq!(event.status(), &StreamStatus::SentConnect);
/// assert_eq!(event.circuit(), Some(CircuitId::new(4)));
/// assert_eq!(event.target(), "example.com:443");
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Stream {
    id: StreamId,
    status: StreamStatus,
    circuit: Option<CircuitId>,
    target: String,
    reason: Option<StreamReason>,
    remote_reason: Option<StreamReason>,
    source: Option<String>,
    source_address: Option<String>,
    purpose: Option<StreamPurpose>,
    socks: SocksAuth,
    client_protocol: Option<ClientProtocol>,
    nym_epoch: Option<u64>,
    session_group: Option<i64>,
    isolation: Vec<String>,
    extra: Arguments,
}

impl Stream {
    /// Reads the text of the event after `STREAM `, which is also the form of a line of `GETINFO
    /// stream-status`. `None` for any other text.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut fields = Fields::parse(text)?;
        let id = StreamId::parse(&fields.word()?)?;
        let status = StreamStatus::from_word(&fields.word()?);
        let circuit = CircuitId::parse(&fields.word()?)?;
        let target = fields.word()?;
        Some(Self {
            id,
            status,
            circuit: (circuit.number() != 0).then_some(circuit),
            target,
            reason: fields.text("REASON").map(|word| StreamReason::from_word(&word)),
            remote_reason: fields.text("REMOTE_REASON").map(|word| StreamReason::from_word(&word)),
            source: fields.text("SOURCE"),
            source_address: fields.text("SOURCE_ADDR"),
            purpose: fields.text("PURPOSE").map(|word| StreamPurpose::from_word(&word)),
            socks: SocksAuth::from_fields(&mut fields),
            client_protocol: fields
                .text("CLIENT_PROTOCOL")
                .map(|word| ClientProtocol::from_word(&word)),
            nym_epoch: fields.read("NYM_EPOCH", number),
            session_group: fields.read("SESSION_GROUP", |value| value.parse().ok()),
            isolation: list(fields.text("ISO_FIELDS"), str::to_owned),
            extra: fields.rest(),
        })
    }

    pub(super) fn from_raw(raw: &RawEvent) -> Option<Self> {
        Self::parse(only_line(raw)?)
    }

    /// Its number.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// The new status.
    pub fn status(&self) -> &StreamStatus {
        &self.status
    }

    /// The circuit that carries it; `None` if none does.
    pub fn circuit(&self) -> Option<CircuitId> {
        self.circuit
    }

    /// The target, as `HOST:PORT`. Tor's own streams may have an empty host or `(Tor_internal)`.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Reason for which it failed, was closed or detached.
    pub fn reason(&self) -> Option<&StreamReason> {
        self.reason.as_ref()
    }

    /// Reason that the relay gave that ended it, where the reason is [`StreamReason::End`].
    pub fn remote_reason(&self) -> Option<&StreamReason> {
        self.remote_reason.as_ref()
    }

    /// Whence the address comes to which it was mapped: `CACHE` or `EXIT`.
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// The application's address, as `ADDRESS:PORT`; only when it is new.
    pub fn source_address(&self) -> Option<&str> {
        self.source_address.as_deref()
    }

    /// The purpose; only when it is new.
    pub fn purpose(&self) -> Option<&StreamPurpose> {
        self.purpose.as_ref()
    }

    /// With what the application authenticated.
    pub fn socks(&self) -> &SocksAuth {
        &self.socks
    }

    /// Protocol of the application.
    pub fn client_protocol(&self) -> Option<&ClientProtocol> {
        self.client_protocol.as_ref()
    }

    /// Number of `NEWNYM` before it: streams of two epochs share no circuit.
    pub fn nym_epoch(&self) -> Option<u64> {
        self.nym_epoch
    }

    /// The group of the port that it came by.
    pub fn session_group(&self) -> Option<i64> {
        self.session_group
    }

    /// Fields that set it apart from other streams, such as `SOCKS_USERNAME` or `DESTADDR`.
    pub fn isolation(&self) -> &[String] {
        &self.isolation
    }

    /// Other arguments that Tor wrote.
    pub fn extra(&self) -> &Arguments {
        &self.extra
    }
}

words! {
    /// Status of a stream.
    pub enum StreamStatus else Unknown {
        /// Opened.
        New = "NEW",
        /// A look-up was asked for.
        NewResolve = "NEWRESOLVE",
        /// Its address was mapped to another.
        Remap = "REMAP",
        /// A request to connect was sent along its circuit.
        SentConnect = "SENTCONNECT",
        /// A request to look up was sent along its circuit.
        SentResolve = "SENTRESOLVE",
        /// Established.
        Succeeded = "SUCCEEDED",
        /// Failed for good.
        Failed = "FAILED",
        /// Closed.
        Closed = "CLOSED",
        /// Taken off its circuit; it may be tried again.
        Detached = "DETACHED",
        /// Waiting for the controller to attach it.
        ControllerWait = "CONTROLLER_WAIT",
        /// The other side was asked to pause; tor 0.4.7.
        XoffSent = "XOFF_SENT",
        /// The other side asks to pause; tor 0.4.7.
        XoffReceived = "XOFF_RECV",
        /// The other side was asked to go on; tor 0.4.7.
        XonSent = "XON_SENT",
        /// The other side asks to go on; tor 0.4.7.
        XonReceived = "XON_RECV",
    }
}

words! {
    /// Reason for which a stream ended (`stream_end_reason_to_control_string`, core/or/reasons.c).
    pub enum StreamReason else Unknown {
        /// The relay at the other end ended it; see the remote reason.
        End = "END",
        /// Anything else.
        Misc = "MISC",
        /// The name was not found.
        ResolveFailed = "RESOLVEFAILED",
        /// The host refused the connection.
        ConnectRefused = "CONNECTREFUSED",
        /// The relay does not let it out.
        ExitPolicy = "EXITPOLICY",
        /// The circuit is gone.
        Destroy = "DESTROY",
        /// A regular end.
        Done = "DONE",
        /// Timeout.
        Timeout = "TIMEOUT",
        /// There is no way to the host.
        NoRoute = "NOROUTE",
        /// The relay hibernates.
        Hibernating = "HIBERNATING",
        /// The relay failed.
        Internal = "INTERNAL",
        /// The relay has no resources left.
        ResourceLimit = "RESOURCELIMIT",
        /// The connection was reset.
        ConnReset = "CONNRESET",
        /// Somebody broke Tor's protocol.
        TorProtocol = "TORPROTOCOL",
        /// The relay is no directory.
        NotDirectory = "NOTDIRECTORY",
        /// No circuit could take it.
        CantAttach = "CANT_ATTACH",
        /// There is no network.
        NetUnreachable = "NET_UNREACHABLE",
        /// The application broke the SOCKS protocol.
        SocksProtocol = "SOCKS_PROTOCOL",
        /// The application broke the HTTP protocol.
        HttpProtocol = "HTTP_PROTOCOL",
        /// Directed to a private address.
        PrivateAddr = "PRIVATE_ADDR",
    }
}

words! {
    /// Purpose of a stream.
    pub enum StreamPurpose else Unknown {
        /// A fetch from a directory.
        DirFetch = "DIR_FETCH",
        /// An upload to a directory.
        DirUpload = "DIR_UPLOAD",
        /// A user's look-up.
        DnsRequest = "DNS_REQUEST",
        /// A test of this relay's own directory port.
        DirportTest = "DIRPORT_TEST",
        /// A user's traffic.
        User = "USER",
    }
}

words! {
    /// Protocol of an application (feature/control/control_fmt.c:196-218).
    pub enum ClientProtocol else Unknown {
        /// SOCKS 4 or 4a.
        Socks4 = "SOCKS4",
        /// SOCKS 5.
        Socks5 = "SOCKS5",
        /// A connection that was led to Tor unknowingly.
        Trans = "TRANS",
        /// The same on BSD.
        Natd = "NATD",
        /// DNS.
        Dns = "DNS",
        /// An HTTP proxy.
        HttpConnect = "HTTPCONNECT",
        /// Metrics.
        Metrics = "METRICS",
    }
}
