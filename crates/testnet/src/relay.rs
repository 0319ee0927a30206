//! A relay of the network, which is a directory of onion services too.

use std::fmt;
use std::path::Path;

use data_encoding::HEXUPPER;
use onionweave_control::{Connection, Endpoint, Events};
use rustix::process::Signal;

use crate::error::Error;
use crate::process::Tor;

/// A relay, or a directory authority, which is a relay too. All of them are directories of onion
/// services.
///
/// The consensus goes on naming a relay that was killed or stopped; authorities drop it after 45
/// minutes at the earliest (`REACHABLE_TIMEOUT`, `feature/dirauth/voteflags.c:472`).
#[derive(Debug)]
pub struct Relay {
    tor: Tor,
    fingerprint: [u8; 20],
}

impl Relay {
    pub(crate) fn new(tor: Tor, fingerprint: [u8; 20]) -> Self {
        Self { tor, fingerprint }
    }

    pub(crate) fn tor(&self) -> &Tor {
        &self.tor
    }

    /// Its nickname: `authority1` and so on, `relay1` and so on.
    pub fn nickname(&self) -> &str {
        self.tor.name()
    }

    /// SHA-1 of its identity key.
    pub fn fingerprint(&self) -> [u8; 20] {
        self.fingerprint
    }

    /// Its fingerprint as 40 upper-case hexadecimal digits.
    pub fn fingerprint_hex(&self) -> String {
        HEXUPPER.encode(&self.fingerprint)
    }
}

impl fmt::Display for Relay {
    /// `$FINGERPRINT~nickname`, as Tor writes it in events.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}~{}", self.fingerprint_hex(), self.nickname())
    }
}

/// Methods that relays, instances and clients have in common: each is a tor process.
macro_rules! process_methods {
    ($type:ty) => {
        impl $type {
            /// Its control port: a unix socket, with cookie authentication.
            pub fn control(&self) -> Endpoint {
                self.tor.endpoint()
            }

            /// Opens an authenticated control connection.
            ///
            /// # Errors
            ///
            /// [`Error::Control`].
            pub async fn connect(&self) -> Result<(Connection, Events), Error> {
                self.tor.connect().await
            }

            /// The folder with its configuration (`torrc`), its log (`log`) and its data.
            pub fn folder(&self) -> &Path {
                self.tor.folder()
            }

            /// Process, if one runs, started here or elsewhere.
            pub fn pid(&self) -> Option<u32> {
                self.tor.pid()
            }

            /// Ends it with SIGKILL and waits until it is gone. That works on a stopped process
            /// too, and does nothing when none runs.
            ///
            /// # Errors
            ///
            /// [`Error::Signal`].
            pub fn kill(&self) -> Result<(), Error> {
                self.tor.kill()
            }

            /// Stops it with SIGSTOP: its sockets stay open, and nothing answers.
            ///
            /// # Errors
            ///
            /// [`Error::NotRunning`], [`Error::Signal`].
            pub fn stop(&self) -> Result<(), Error> {
                self.tor.signal(Signal::STOP)
            }

            /// Continues it with SIGCONT.
            ///
            /// # Errors
            ///
            /// [`Error::NotRunning`], [`Error::Signal`].
            pub fn cont(&self) -> Result<(), Error> {
                self.tor.signal(Signal::CONT)
            }

            /// Starts it again, after ending it if it runs, and waits until it answers on its
            /// control port.
            ///
            /// # Errors
            ///
            /// [`Error::Exited`] or [`Error::TimedOut`] when it does not come back.
            pub async fn restart(&self) -> Result<(), Error> {
                self.tor.restart().await
            }
        }
    };
}
pub(crate) use process_methods;

process_methods!(Relay);
