//! `[publisher.prober]`.

use std::path::PathBuf;

use onionweave_control::Endpoint;
use onionweave_driver as driver;
use serde::Deserialize;

use super::Publisher;
use super::values::{socks_endpoint, some_endpoint, some_path, tor};

/// The Tor that makes the requests of checks through Tor: `[publisher.prober]`.
///
/// It may be the one that carries uploads and audits: it never connects to the services' own
/// addresses, and so never calls one of their descriptors unusable.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Prober {
    /// Address of its SOCKS port.
    #[serde(deserialize_with = "socks_endpoint")]
    pub socks: Endpoint,
    /// Its control port. Default: the publisher's own Tor, [`Publisher::control`].
    #[serde(default, deserialize_with = "some_endpoint")]
    pub control: Option<Endpoint>,
    /// Its password file.
    #[serde(default, deserialize_with = "some_path")]
    pub password_file: Option<PathBuf>,
    /// Its cookie file, if Tor's own word on it does not hold here (another host, a container).
    #[serde(default, deserialize_with = "some_path")]
    pub cookie_file: Option<PathBuf>,
}

impl Prober {
    /// The prober as the builder takes it.
    pub(super) fn described(&self) -> driver::Prober {
        let prober = driver::Prober::new(self.socks.clone());
        match &self.control {
            Some(control) => prober.tor(tor(control, &self.password_file, &self.cookie_file)),
            None => prober,
        }
    }

    pub(super) fn check(&self, publisher: &Publisher) -> Result<(), String> {
        let access = self.password_file.is_some() || self.cookie_file.is_some();
        if self.password_file.is_some() && self.cookie_file.is_some() {
            Err("password_file and cookie_file exclude each other".into())
        } else if self.control.is_none() && access {
            Err("password_file and cookie_file need control".into())
        } else if self.control.is_none() && publisher.control.is_none() {
            Err("needs control, or publisher.control".into())
        } else {
            Ok(())
        }
    }
}
