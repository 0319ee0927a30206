//! The way to a Tor.

use std::cmp::Ordering;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use onionweave_control::{Credentials, Endpoint};
use zeroize::Zeroizing;

use crate::Error;
use crate::key::read_secret;

/// Control port of a Tor, and what the publisher authenticates with there.
///
/// An [`Endpoint`] alone is enough for a Tor that offers its cookie file, or asks for nothing.
///
/// ```
/// use onionweave_control::Endpoint;
/// use onionweave_driver::Tor;
///
/// let near: Endpoint = "unix:/run/tor/control".parse()?;
/// let far: Endpoint = "192.0.2.7:9051".parse()?;
/// let (near, far) = (Tor::new(near), Tor::new(far).password("onion"));
/// assert!(!format!("{far:?}").contains("onion"));
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tor {
    pub(crate) endpoint: Endpoint,
    pub(crate) access: Access,
}

impl Tor {
    /// The Tor with this control port. The publisher takes whatever authentication it offers: its
    /// cookie file, or none.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            access: Access::Offered,
        }
    }

    /// Authenticates with this password.
    #[must_use]
    pub fn password(self, password: &str) -> Self {
        let access = Access::Password(Secret(Arc::new(Zeroizing::new(password.to_owned()))));
        Self { access, ..self }
    }

    /// Authenticates with the password on the first line of this file. It is read at every
    /// connection.
    #[must_use]
    pub fn password_file(self, file: impl Into<PathBuf>) -> Self {
        let access = Access::PasswordFile(file.into());
        Self { access, ..self }
    }

    /// Authenticates with this cookie file, where the path that Tor itself names does not hold
    /// (another host, a container).
    #[must_use]
    pub fn cookie_file(self, file: impl Into<PathBuf>) -> Self {
        let access = Access::CookieFile(file.into());
        Self { access, ..self }
    }
}

impl From<Endpoint> for Tor {
    fn from(endpoint: Endpoint) -> Self {
        Self::new(endpoint)
    }
}

/// Secret with which the publisher authenticates. Files are read at every connection, so a password
/// may change meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    /// Anything that Tor offers: its cookie file, or nothing.
    Offered,
    /// This password.
    Password(Secret),
    /// The password in this file, on one line.
    PasswordFile(PathBuf),
    /// This cookie file.
    CookieFile(PathBuf),
}

impl Access {
    /// The content of the password file, if there is one and it can be read.
    pub(crate) fn password(&self) -> Option<Zeroizing<String>> {
        match self {
            Self::PasswordFile(path) => read_secret(path).ok(),
            _ => None,
        }
    }

    pub(crate) fn credentials(&self) -> Result<Credentials, Error> {
        match self {
            Self::Offered => Ok(Credentials::auto()),
            Self::CookieFile(path) => Ok(Credentials::cookie_file(path)),
            Self::Password(Secret(password)) => {
                Credentials::password(password.as_bytes()).map_err(|source| Error::Password { path: None, source })
            }
            Self::PasswordFile(path) => {
                let text = read_secret(path)?;
                Credentials::password(text.trim_end_matches(['\r', '\n'])).map_err(|source| Error::Password {
                    path: Some(path.clone()),
                    source,
                })
            }
        }
    }
}

/// A password that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Arc<Zeroizing<String>>);

impl Ord for Secret {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.as_str().cmp(other.0.as_str())
    }
}

impl PartialOrd for Secret {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}
