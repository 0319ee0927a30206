//! Circuits and streams: control-spec sections 3.10, 3.11, 3.13, 3.15 to 3.17.

use data_encoding::HEXUPPER;

use super::Command;
use super::line::Line;
use crate::words::words;
use crate::{ArgumentProblem, CircuitId, Error, StreamId};

impl Command {
    /// `EXTENDCIRCUIT`: builds a circuit, or makes one longer. Read the reply with
    /// [`CircuitId::from_reply`].
    ///
    /// # Errors
    /// [`Error::Argument`] for a purpose that is not one word, [`Error::CommandTooLong`].
    pub fn extend_circuit(extension: &ExtendCircuit) -> Result<Self, Error> {
        let mut line = Line::new("EXTENDCIRCUIT");
        line.word("circuit", &extension.circuit.number().to_string())?;
        if !extension.path.is_empty() {
            let path: Vec<_> = extension
                .path
                .iter()
                .map(|relay| format!("${}", HEXUPPER.encode(relay)))
                .collect();
            line.word("path", &path.join(","))?;
        }
        if let Some(purpose) = &extension.purpose {
            line.word_value("purpose", "purpose", purpose.as_str())?;
        }
        line.end()
    }

    /// `SETCIRCUITPURPOSE`: says what a circuit may be used for.
    ///
    /// # Errors
    /// [`Error::Argument`] for a purpose that is not one word.
    ///
    /// ```
    /// use onionweave_control::{CircuitId, CircuitUse, Command};
    ///
    /// let command = Command::set_circuit_purpose(CircuitId::new(4), &CircuitUse::Controller)?;
    /// assert_eq!(command.as_bytes(), b"SETCIRCUITPURPOSE 4 purpose=controller\r\n");
    /// # Ok::<(), onionweave_control::Error>(())
    /// ```
    pub fn set_circuit_purpose(circuit: CircuitId, purpose: &CircuitUse) -> Result<Self, Error> {
        let mut line = Line::new("SETCIRCUITPURPOSE");
        line.word("circuit", &circuit.to_string())?;
        line.word_value("purpose", "purpose", purpose.as_str())?;
        line.end()
    }

    /// `CLOSECIRCUIT`: closes a circuit, with `if_unused` only if no stream uses it; either way Tor
    /// answers `OK` (feature/control/control_cmd.c:1173-1190).
    ///
    /// ```
    /// use onionweave_control::{CircuitId, Command};
    ///
    /// assert_eq!(Command::close_circuit(CircuitId::new(4), true).as_bytes(), b"CLOSECIRCUIT 4 IfUnused\r\n");
    /// ```
    pub fn close_circuit(circuit: CircuitId, if_unused: bool) -> Self {
        let flag = if if_unused { " IfUnused" } else { "" };
        Self::fixed("CLOSECIRCUIT", &format!("CLOSECIRCUIT {circuit}{flag}\r\n"))
    }

    /// `ATTACHSTREAM`: puts a stream on a circuit, to leave it at the last relay or at hop `hop`,
    /// counted from 1. Without a circuit, Tor chooses one.
    ///
    /// Tor leaves streams to the controller only with `__LeaveStreamsUnattached 1`, and never
    /// attaches one that goes to an onion service (core/or/connection_edge.c:1992-1999).
    ///
    /// ```
    /// use onionweave_control::{CircuitId, Command, StreamId};
    ///
    /// let command = Command::attach_stream(StreamId::new(9), Some(CircuitId::new(4)), Some(2));
    /// assert_eq!(command.as_bytes(), b"ATTACHSTREAM 9 4 HOP=2\r\n");
    /// ```
    pub fn attach_stream(stream: StreamId, circuit: Option<CircuitId>, hop: Option<u8>) -> Self {
        let circuit = circuit.map_or(0, CircuitId::number);
        let hop = hop.map(|hop| format!(" HOP={hop}")).unwrap_or_default();
        Self::fixed("ATTACHSTREAM", &format!("ATTACHSTREAM {stream} {circuit}{hop}\r\n"))
    }

    /// `REDIRECTSTREAM`: gives a stream another target, as long as it is not attached.
    ///
    /// # Errors
    /// [`Error::Argument`] for an address that is not one word, or the port 0.
    ///
    /// ```
    /// use onionweave_control::{Command, StreamId};
    ///
    /// let command = Command::redirect_stream(StreamId::new(9), "example.com", Some(443))?;
    /// assert_eq!(command.as_bytes(), b"REDIRECTSTREAM 9 example.com 443\r\n");
    /// # Ok::<(), onionweave_control::Error>(())
    /// ```
    pub fn redirect_stream(stream: StreamId, address: &str, port: Option<u16>) -> Result<Self, Error> {
        let mut line = Line::new("REDIRECTSTREAM");
        line.word("stream", &stream.to_string())?;
        line.word("address", address)?;
        match port {
            Some(0) => return Err(line.refuse("port", ArgumentProblem::Form("is 0"))),
            Some(port) => line.word("port", &port.to_string())?,
            None => {}
        }
        line.end()
    }

    /// `CLOSESTREAM`: ends a stream and tells the application why.
    ///
    /// ```
    /// use onionweave_control::{Command, StreamCloseReason, StreamId};
    ///
    /// let command = Command::close_stream(StreamId::new(9), StreamCloseReason::Timeout);
    /// assert_eq!(command.as_bytes(), b"CLOSESTREAM 9 7\r\n");
    /// ```
    pub fn close_stream(stream: StreamId, reason: StreamCloseReason) -> Self {
        Self::fixed("CLOSESTREAM", &format!("CLOSESTREAM {stream} {}\r\n", reason.code()))
    }
}

/// The circuit that `EXTENDCIRCUIT` builds.
///
/// ```
/// use onionweave_control::{CircuitUse, Command, ExtendCircuit};
///
/// let extension = ExtendCircuit::new().hop([0xab; 20]).purpose(CircuitUse::Controller);
/// assert_eq!(
///     Command::extend_circuit(&extension)?.as_bytes(),
///     b"EXTENDCIRCUIT 0 $ABABABABABABABABABABABABABABABABABABABAB purpose=controller\r\n",
/// );
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendCircuit {
    /// 0 for a new one.
    circuit: CircuitId,
    path: Vec<[u8; 20]>,
    purpose: Option<CircuitUse>,
}

impl ExtendCircuit {
    /// A new circuit. Without hops, Tor chooses its whole path.
    #[allow(
        clippy::new_without_default,
        reason = "the default of an extension would be a new circuit, which is not obvious"
    )]
    pub fn new() -> Self {
        Self::existing(CircuitId::new(0))
    }

    /// More hops for a circuit. Tor refuses none at all.
    pub fn existing(circuit: CircuitId) -> Self {
        Self {
            circuit,
            path: Vec::new(),
            purpose: None,
        }
    }

    /// Adds a relay at the end, by its fingerprint.
    #[must_use]
    pub fn hop(mut self, fingerprint: [u8; 20]) -> Self {
        self.path.push(fingerprint);
        self
    }

    /// Use of a new circuit; [`CircuitUse::General`] if not said.
    #[must_use]
    pub fn purpose(self, purpose: CircuitUse) -> Self {
        Self {
            purpose: Some(purpose),
            ..self
        }
    }
}

words! {
    /// Use of a circuit of the controller (`circuit_purpose_from_string`,
    /// feature/control/control_cmd.c:714-727).
    ///
    /// ```
    /// use onionweave_control::CircuitUse;
    ///
    /// assert_eq!(CircuitUse::General.as_str(), "general");
    /// ```
    pub enum CircuitUse else Other {
        /// Tor attaches streams to it as to its own.
        General = "general",
        /// Only the controller attaches streams to it.
        Controller = "controller",
    }
}

/// Reason that an application is told when its stream is closed: the reasons of RELAY_END cells,
/// tor-spec section 6.3.
///
/// ```
/// use onionweave_control::StreamCloseReason;
///
/// assert_eq!(StreamCloseReason::Done.code(), 6);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamCloseReason {
    /// Anything else.
    Misc,
    /// The name was not found.
    ResolveFailed,
    /// The host refused the connection.
    ConnectRefused,
    /// No relay lets it out.
    ExitPolicy,
    /// The circuit is gone.
    Destroy,
    /// A regular end.
    Done,
    /// Timeout.
    Timeout,
    /// There is no way to the host.
    NoRoute,
    /// The relay hibernates.
    Hibernating,
    /// The relay failed.
    Internal,
    /// The relay has no resources left.
    ResourceLimit,
    /// The connection was reset.
    ConnReset,
    /// Somebody broke Tor's protocol.
    TorProtocol,
    /// The relay is no directory.
    NotDirectory,
}

impl StreamCloseReason {
    /// The number in the protocol, 1 to 14.
    pub fn code(self) -> u8 {
        match self {
            Self::Misc => 1,
            Self::ResolveFailed => 2,
            Self::ConnectRefused => 3,
            Self::ExitPolicy => 4,
            Self::Destroy => 5,
            Self::Done => 6,
            Self::Timeout => 7,
            Self::NoRoute => 8,
            Self::Hibernating => 9,
            Self::Internal => 10,
            Self::ResourceLimit => 11,
            Self::ConnReset => 12,
            Self::TorProtocol => 13,
            Self::NotDirectory => 14,
        }
    }
}
