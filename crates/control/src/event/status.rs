//! `STATUS_CLIENT`, control-spec section 4.1.10; feature/control/control_events.c:1690-1737.

use std::str;

use crate::codec::RawEvent;
use crate::text::{arguments, split_word};

/// The state of Tor as a client changed.
///
/// Actions that C Tor sends: `BOOTSTRAP`, `ENOUGH_DIR_INFO`, `NOT_ENOUGH_DIR_INFO`,
/// `CIRCUIT_ESTABLISHED`, `CIRCUIT_NOT_ESTABLISHED`, `CONSENSUS_ARRIVED`, `DANGEROUS_PORT`,
/// `DANGEROUS_SOCKS`, `SOCKS_BAD_HOSTNAME`, `SOCKS_UNKNOWN_PROTOCOL`.
///
/// ```
/// use onionweave_control::StatusClient;
///
/// // What GETINFO status/bootstrap-phase answers has the same form as the event.
/// let status = StatusClient::parse(b"NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY=\"Done\"").unwrap();
/// assert_eq!(status.bootstrap_progress(), Some(100));
/// assert_eq!(status.argument("SUMMARY"), Some("Done"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusClient {
    severity: Severity,
    action: String,
    arguments: Vec<(String, String)>,
}

impl StatusClient {
    /// Reads the text of the event after `STATUS_CLIENT `, which is also the value of `GETINFO
    /// status/bootstrap-phase` (feature/control/control_bootstrap.c:149-172). `None` for any other
    /// text.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (severity, rest) = split_word(text)?;
        let (action, rest) = split_word(rest)?;
        let arguments = arguments(rest)?.into_iter().map(|argument| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (
                argument.key.as_deref().map(text).unwrap_or_default(),
                text(&argument.value),
            )
        });
        Some(Self {
            severity: Severity::from_word(severity)?,
            action: str::from_utf8(action).ok()?.to_owned(),
            arguments: arguments.collect(),
        })
    }

    /// `None` if it has not the known form.
    pub(super) fn from_raw(raw: &RawEvent) -> Option<Self> {
        let [line] = raw.lines() else { return None };
        let (_keyword, rest) = split_word(line.text())?;
        Self::parse(rest)
    }

    /// How serious it is.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// What happened, such as `BOOTSTRAP`.
    pub fn action(&self) -> &str {
        &self.action
    }

    /// The value of a keyword, unquoted; bytes that are not UTF-8 are replaced.
    pub fn argument(&self, key: &str) -> Option<&str> {
        self.arguments
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// All keywords with their values, in order. A word without `=` has an empty keyword.
    pub fn arguments(&self) -> impl Iterator<Item = (&str, &str)> {
        self.arguments.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// How far Tor's start has come, 0 to 100, if this is a `BOOTSTRAP`.
    pub fn bootstrap_progress(&self) -> Option<u8> {
        if self.action != "BOOTSTRAP" {
            return None;
        }
        self.argument("PROGRESS")?.parse().ok()
    }
}

/// How serious a status event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// Worth knowing.
    Notice,
    /// Something is wrong.
    Warn,
    /// Something does not work.
    Err,
}

impl Severity {
    fn from_word(word: &[u8]) -> Option<Self> {
        match word {
            b"NOTICE" => Some(Self::Notice),
            b"WARN" => Some(Self::Warn),
            b"ERR" => Some(Self::Err),
            _ => None,
        }
    }
}
