//! Tor's reports on itself as a process: `CONF_CHANGED`, `SIGNAL`, log messages,
//! `TRANSPORT_LAUNCHED`, `PT_LOG`, `PT_STATUS`. Control-spec sections 4.1.5, 4.1.17, 4.1.18,
//! 4.1.20, 4.1.28, 4.1.29.

use std::net::IpAddr;

use super::{Severity, only_line};
use crate::codec::RawEvent;
use crate::reply::ConfValue;
use crate::text::{Arguments, Fields, lossy, number, split_word};
use crate::words::words;

/// Options were changed, by a controller or by reading the torrc again
/// (feature/control/control_events.c:1842-1866).
///
/// ```
/// use onionweave_control::Event;
///
/// let wire = b"650-CONF_CHANGED\r\n650-ContactInfo=me\r\n650-Nickname\r\n650 OK\r\n";
/// let Event::ConfChanged(event) = Event::parse(wire)? else { panic!() };
/// assert_eq!(event.value("ContactInfo"), Some("me"));
/// assert_eq!(event.options()[1].value(), None, "back at its default");
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ConfChanged {
    options: Vec<ConfValue>,
}

impl ConfChanged {
    pub(super) fn from_raw(raw: &RawEvent) -> Option<Self> {
        let [_keyword, lines @ .., end] = raw.lines() else {
            return None;
        };
        if end.text() != b"OK" || raw.lines().iter().any(|line| line.data().is_some()) {
            return None;
        }
        let options = lines.iter().map(|line| ConfValue::from_line(line.text()));
        Some(Self {
            options: options.collect::<Option<_>>()?,
        })
    }

    /// The options with their new values; one that is a list comes several times.
    pub fn options(&self) -> &[ConfValue] {
        &self.options
    }

    /// The new value of an option, the first if it is a list; `None` if it did not change or has
    /// none any more.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.options.iter().find(|option| option.key() == key)?.value()
    }
}

words! {
    /// A signal that Tor received and acted upon (feature/control/control_events.c:1638-1660).
    /// `HALT` and `SHUTDOWN` give none, and neither does a `NEWNYM` that Tor ignores.
    ///
    /// ```
    /// use onionweave_control::{Event, SignalReceived};
    ///
    /// assert_eq!(Event::parse(b"650 SIGNAL NEWNYM\r\n")?, Event::Signal(SignalReceived::NewNym));
    /// # Ok::<(), onionweave_control::Error>(())
    /// ```
    pub enum SignalReceived else Unknown {
        /// The configuration was read again.
        Reload = "RELOAD",
        /// Statistics were logged.
        Dump = "DUMP",
        /// Everything is logged from now on.
        Debug = "DEBUG",
        /// New streams get new circuits.
        NewNym = "NEWNYM",
        /// Addresses that were looked up were forgotten.
        ClearDnsCache = "CLEARDNSCACHE",
        /// A heartbeat was logged.
        Heartbeat = "HEARTBEAT",
        /// Tor woke up.
        Active = "ACTIVE",
        /// Tor fell asleep.
        Dormant = "DORMANT",
    }
}

impl SignalReceived {
    pub(super) fn from_raw(raw: &RawEvent) -> Option<Self> {
        Fields::parse(only_line(raw)?)?
            .word()
            .map(|word| Self::from_word(&word))
    }
}

/// A line of Tor's log (feature/control/control_events.c:1381-1432).
///
/// ```
/// use onionweave_control::{Event, Severity};
///
/// let Event::Log(event) = Event::parse(b"650 NOTICE Bootstrapped 100% (done): Done\r\n")? else { panic!() };
/// assert_eq!(event.severity(), Severity::Notice);
/// assert_eq!(event.message(), "Bootstrapped 100% (done): Done");
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct LogMessage {
    severity: Severity,
    message: String,
}

impl LogMessage {
    pub(super) fn from_raw(raw: &RawEvent) -> Option<Self> {
        // The specification allows for data, which C Tor never sends.
        let message = match raw.lines() {
            [line] => {
                let text = line.text().get(raw.keyword().len()..).unwrap_or_default();
                text.strip_prefix(b" ").unwrap_or(text)
            }
            [line, _ok] => line.data()?,
            _ => return None,
        };
        Some(Self {
            severity: Severity::from_word(raw.keyword())?,
            message: lossy(message),
        })
    }

    /// The severity.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// The message; bytes that are not UTF-8 are replaced. C Tor makes spaces of line breaks.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// A pluggable transport was started (feature/control/control_events.c:1878-1892).
///
/// ```
/// use onionweave_control::Event;
///
/// let line = b"650 TRANSPORT_LAUNCHED server obfs4 127.0.0.1 4000\r\n";
/// let Event::TransportLaunched(event) = Event::parse(line)? else { panic!() };
/// assert!(event.is_server());
/// assert_eq!((event.name(), event.port()), ("obfs4", 4000));
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct TransportLaunched {
    mode: String,
    name: String,
    address: IpAddr,
    port: u16,
}

impl TransportLaunched {
    pub(super) fn from_raw(raw: &RawEvent) -> Option<Self> {
        let mut fields = Fields::parse(only_line(raw)?)?;
        let (mode, name, address) = (fields.word()?, fields.word()?, fields.word()?);
        Some(Self {
            mode,
            name,
            address: address.trim_matches(['[', ']']).parse().ok()?,
            port: number(&fields.word()?)?,
        })
    }

    /// `server` or `client`.
    pub fn mode(&self) -> &str {
        &self.mode
    }

    /// Whether it lets clients in, rather than out.
    pub fn is_server(&self) -> bool {
        self.mode == "server"
    }

    /// The transport's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address on which it listens.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The port on which it listens.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// Line that a pluggable transport logged (`PT_LOG`) or said of itself (`PT_STATUS`),
/// feature/client/transports.c:1190-1290.
///
/// ```
/// use onionweave_control::Event;
///
/// let line = b"650 PT_LOG PT=/usr/bin/obfs4proxy SEVERITY=warning MESSAGE=\"no way\"\r\n";
/// let Event::PtLog(event) = Event::parse(line)? else { panic!() };
/// assert_eq!(event.program(), "/usr/bin/obfs4proxy");
/// assert_eq!(event.arguments().value("MESSAGE"), Some("no way"));
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct TransportMessage {
    program: String,
    arguments: Arguments,
}

impl TransportMessage {
    pub(super) fn from_raw(raw: &RawEvent) -> Option<Self> {
        let mut fields = Fields::parse(only_line(raw)?)?;
        Some(Self {
            program: fields.text("PT")?,
            arguments: fields.rest(),
        })
    }

    /// The program.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The arguments: `SEVERITY` and `MESSAGE` in a log, `TRANSPORT` and others in a status.
    pub fn arguments(&self) -> &Arguments {
        &self.arguments
    }
}

/// Whether a text begins with this word and ends with it.
pub(super) fn is_only(raw: &RawEvent, word: &[u8]) -> bool {
    matches!(raw.lines(), [line] if split_word(line.text()) == Some((word, b"")))
}
