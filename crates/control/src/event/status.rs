//! `STATUS_CLIENT`, `STATUS_SERVER`, `STATUS_GENERAL`: control-spec section 4.1.10;
//! feature/control/control_events.c:1690-1737.

use std::fmt;

use std::str;

use crate::codec::RawEvent;
use crate::text::{Arguments, Fields, split_word};

/// The state of Tor changed: as a client, as a relay, or in general.
///
/// Actions that C Tor sends of itself as a client: `BOOTSTRAP`, `ENOUGH_DIR_INFO`,
/// `NOT_ENOUGH_DIR_INFO`, `CIRCUIT_ESTABLISHED`, `CIRCUIT_NOT_ESTABLISHED`, `CONSENSUS_ARRIVED`,
/// `DANGEROUS_PORT`, `DANGEROUS_SOCKS`, `SOCKS_BAD_HOSTNAME`, `SOCKS_UNKNOWN_PROTOCOL`. As a relay:
/// `EXTERNAL_ADDRESS`, `CHECKING_REACHABILITY`, `REACHABILITY_SUCCEEDED`, `REACHABILITY_FAILED`,
/// `GOOD_SERVER_DESCRIPTOR`, `ACCEPTED_SERVER_DESCRIPTOR`, `BAD_SERVER_DESCRIPTOR`,
/// `NAMESERVER_STATUS`, `NAMESERVER_ALL_DOWN`, `DNS_HIJACKED`, `DNS_USELESS`, `HIBERNATION_STATUS`,
/// `SERVER_DESCRIPTOR_STATUS`. In general: `CLOCK_SKEW`, `CLOCK_JUMPED`, `DANGEROUS_VERSION`,
/// `TOO_MANY_CONNECTIONS`, `BUG`, `DIR_ALL_UNREACHABLE`.
///
/// ```
/// use onionweave_control::Status;
///
/// // What GETINFO status/bootstrap-phase answers has the same form as the event.
/// let status = Status::parse(b"NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY=\"Done\"").unwrap();
/// assert_eq!(status.bootstrap_progress(), Some(100));
/// assert_eq!(status.argument("SUMMARY"), Some("Done"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Status {
    severity: Severity,
    action: String,
    arguments: Arguments,
}

impl Status {
    /// Reads the text of the event after `STATUS_CLIENT `, which is also the value of `GETINFO
    /// status/bootstrap-phase` (feature/control/control_bootstrap.c:149-172). `None` for any other
    /// text.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (severity, rest) = split_word(text)?;
        let (action, rest) = split_word(rest)?;
        Some(Self {
            severity: Severity::from_word(severity)?,
            action: str::from_utf8(action).ok()?.to_owned(),
            arguments: Fields::parse(rest)?.rest(),
        })
    }

    /// `None` if it has not the known form.
    pub(super) fn from_raw(raw: &RawEvent) -> Option<Self> {
        Self::parse(super::only_line(raw)?)
    }

    /// The severity.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// Name of the change, such as `BOOTSTRAP`.
    pub fn action(&self) -> &str {
        &self.action
    }

    /// The value of a keyword, unquoted; bytes that are not UTF-8 are replaced.
    pub fn argument(&self, key: &str) -> Option<&str> {
        self.arguments.value(key)
    }

    /// All keywords with their values, words without keyword first.
    pub fn arguments(&self) -> &Arguments {
        &self.arguments
    }

    /// Progress of Tor's start, 0 to 100, if this is a `BOOTSTRAP`.
    pub fn bootstrap_progress(&self) -> Option<u8> {
        if self.action != "BOOTSTRAP" {
            return None;
        }
        self.argument("PROGRESS")?.parse().ok()
    }
}

/// Severity of a status event or log message, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum Severity {
    /// For who looks for faults in Tor.
    Debug,
    /// Actions of Tor.
    Info,
    /// Worth knowing.
    Notice,
    /// Something is wrong.
    Warn,
    /// Something does not work.
    Err,
}

impl Severity {
    /// The word in the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Notice => "NOTICE",
            Self::Warn => "WARN",
            Self::Err => "ERR",
        }
    }

    pub(super) fn from_word(word: &[u8]) -> Option<Self> {
        match word {
            b"DEBUG" => Some(Self::Debug),
            b"INFO" => Some(Self::Info),
            b"NOTICE" => Some(Self::Notice),
            b"WARN" => Some(Self::Warn),
            b"ERR" => Some(Self::Err),
            _ => None,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
