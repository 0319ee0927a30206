//! The Tor that makes the requests of checks through Tor.

use onionweave_control::Endpoint;

use super::Tor;

/// Tor that makes the requests of checks through Tor ([`Check::tor`](super::Check::tor)).
///
/// It may be the one that carries uploads and audits: it never connects to the services' own
/// addresses, and so never calls one of their descriptors unusable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prober {
    pub(crate) socks: Endpoint,
    pub(crate) tor: Option<Tor>,
}

impl Prober {
    /// The Tor with this SOCKS port. Its control port is that of the publisher's own Tor
    /// ([`Builder::tor`](super::Builder::tor)) unless [`tor`](Self::tor) names another.
    pub fn new(socks: Endpoint) -> Self {
        Self { socks, tor: None }
    }

    /// Names its control port.
    #[must_use]
    pub fn tor(mut self, tor: impl Into<Tor>) -> Self {
        self.tor = Some(tor.into());
        self
    }
}
