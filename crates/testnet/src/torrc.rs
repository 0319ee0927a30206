//! Configuration files of the network's processes.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use onionweave_control::launch;

/// Role of a process in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// A directory authority, which is a relay too.
    Authority,
    /// A relay.
    Relay,
    /// An instance of an onion service.
    Instance,
    /// A client.
    Client,
}

/// Lines that the builder's caller adds: for one role, or for all.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExtraLines(Vec<(Option<Role>, String)>);

impl ExtraLines {
    pub(crate) fn push(&mut self, role: Option<Role>, line: String) {
        self.0.push((role, line));
    }

    fn of(&self, role: Role) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(only, _)| only.is_none_or(|only| only == role))
            .map(|(_, line)| line.as_str())
    }
}

/// Beginning of every configuration file of a network.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    authorities: Vec<String>,
    extra: ExtraLines,
}

impl Common {
    /// `authorities` are the arguments of `DirAuthority`.
    pub(crate) fn new(authorities: Vec<String>, extra: ExtraLines) -> Self {
        Self { authorities, extra }
    }

    /// A configuration for a role; what is specific to the process follows.
    pub(crate) fn torrc(&self, role: Role) -> Torrc {
        let mut torrc = Torrc::default()
            // Private addresses, short download delays, flags without waiting
            // (`app/config/testnet.inc`).
            .line("TestingTorNetwork 1")
            .line("SafeLogging 0")
            .line("NumCPUs 1")
            .line("MaxMemInQueues 256 MB");
        for authority in &self.authorities {
            torrc = torrc.line(format!("DirAuthority {authority}"));
        }
        self.extra.of(role).fold(torrc, Torrc::last)
    }
}

/// Lines that the library adds, and then those that override them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Torrc {
    lines: launch::Torrc,
    /// Of an option that is given twice Tor takes the last, so what callers add stands here.
    last: launch::Torrc,
}

impl Torrc {
    pub(crate) fn line(self, line: impl Display) -> Self {
        let lines = self.lines.line(&line.to_string());
        Self { lines, ..self }
    }

    /// Adds a line that overrides others.
    pub(crate) fn last(self, line: impl Display) -> Self {
        let last = self.last.line(&line.to_string());
        Self { last, ..self }
    }

    pub(crate) fn path(self, option: &str, path: &Path) -> Self {
        let lines = self.lines.option(option, path);
        Self { lines, ..self }
    }

    /// Adds an option whose value is a port that is a unix socket.
    pub(crate) fn unix_port(self, option: &str, path: &Path) -> Self {
        let lines = self.lines.unix_port(option, path);
        Self { lines, ..self }
    }

    /// Adds the lines of every relay, authorities among them.
    pub(crate) fn relay(self, name: &str, or_port: u16) -> Self {
        self.line(format_args!("Nickname {name}"))
            .line(format_args!("ORPort 127.0.0.1:{or_port}"))
            // Tor guesses no address on a machine that has no public one.
            .line("Address 127.0.0.1")
            .line("AssumeReachable 1")
            .line("ExitRelay 0")
            .line("ExitPolicy reject *:*")
            .line("SocksPort 0")
            .line("ShutdownWaitLength 0")
    }

    /// Adds the further lines of an authority.
    pub(crate) fn authority(self, dir_port: u16, voting_interval: Duration) -> Self {
        self.line(format_args!("DirPort 127.0.0.1:{dir_port}"))
            .line("AuthoritativeDirectory 1")
            .line("V3AuthoritativeDirectory 1")
            .line("ContactInfo none")
            // The least that Tor takes (`feature/dirauth/dirvote.h:29`).
            .line("TestingV3AuthInitialVotingInterval 5 seconds")
            .line("TestingV3AuthInitialVoteDelay 2 seconds")
            .line("TestingV3AuthInitialDistDelay 2 seconds")
            .line(format_args!(
                "V3AuthVotingInterval {} seconds",
                voting_interval.as_secs()
            ))
            .line("V3AuthVoteDelay 2 seconds")
            .line("V3AuthDistDelay 2 seconds")
            // Every relay is a guard and a directory of onion services from the first consensus on.
            .line("TestingDirAuthVoteGuard *")
            .line("TestingDirAuthVoteHSDir *")
    }

    pub(crate) fn finish(self) -> launch::Torrc {
        self.lines.append(&self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_lines_go_to_their_role() {
        let mut extra = ExtraLines::default();
        extra.push(None, "LearnCircuitBuildTimeout 0".into());
        extra.push(Some(Role::Client), "UseEntryGuards 0".into());
        let common = Common::new(vec!["first".into()], extra);
        let client = common.torrc(Role::Client).finish().to_string();
        let relay = common.torrc(Role::Relay).finish().to_string();
        assert!(client.contains("\nLearnCircuitBuildTimeout 0\n") && client.contains("\nUseEntryGuards 0\n"));
        assert!(relay.contains("\nLearnCircuitBuildTimeout 0\n") && !relay.contains("UseEntryGuards"));
        assert!(relay.contains("\nDirAuthority first\n"));
    }

    #[test]
    fn extra_lines_come_last() {
        let torrc = Torrc::default().last("ORPort 9").line("ORPort 1");
        assert_eq!(torrc.finish().to_string(), "ORPort 1\nORPort 9\n");
    }
}
