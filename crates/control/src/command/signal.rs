//! `SIGNAL`, control-spec section 3.7.

use super::Command;

impl Command {
    /// `SIGNAL`.
    ///
    /// ```
    /// use onionweave_control::{Command, Signal};
    ///
    /// assert_eq!(Command::signal(Signal::NewNym).as_bytes(), b"SIGNAL NEWNYM\r\n");
    /// ```
    pub fn signal(signal: Signal) -> Self {
        let line = format!("SIGNAL {}\r\n", signal.as_str());
        Self::fixed("SIGNAL", &line)
    }
}

/// A signal to send with `SIGNAL` (feature/control/control.c:176-197).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// Read the configuration again. A Tor whose torrc is broken exits.
    Reload,
    /// Exit: a client at once, a relay after `ShutdownWaitLength`.
    Shutdown,
    /// Write statistics to the log.
    Dump,
    /// Log everything from now on.
    Debug,
    /// Exit at once.
    Halt,
    /// New circuits for new streams, and empty caches of descriptors. At most once in ten seconds,
    /// later ones are put off and merged.
    NewNym,
    /// Forget the addresses that were looked up.
    ClearDnsCache,
    /// Write a heartbeat to the log.
    Heartbeat,
    /// Leave dormant mode.
    Active,
    /// Enter dormant mode.
    Dormant,
}

impl Signal {
    /// The name in the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Signal::Reload => "RELOAD",
            Signal::Shutdown => "SHUTDOWN",
            Signal::Dump => "DUMP",
            Signal::Debug => "DEBUG",
            Signal::Halt => "HALT",
            Signal::NewNym => "NEWNYM",
            Signal::ClearDnsCache => "CLEARDNSCACHE",
            Signal::Heartbeat => "HEARTBEAT",
            Signal::Active => "ACTIVE",
            Signal::Dormant => "DORMANT",
        }
    }
}
