//! Address of a control port.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::Error;

/// Address of a control port.
///
/// ```
/// use onionweave_control::Endpoint;
///
/// let endpoint: Endpoint = "unix:/run/tor/control".parse()?;
/// assert_eq!(endpoint.to_string(), "unix:/run/tor/control");
/// let endpoint: Endpoint = "[::1]:9051".parse()?;
/// assert!(matches!(endpoint, Endpoint::Tcp(address) if address.as_str() == "[::1]:9051"));
/// # Ok::<(), onionweave_control::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// A unix socket (`ControlSocket`, or `ControlPort unix:PATH`), by its path.
    Unix(PathBuf),
    /// A TCP port (`ControlPort`).
    Tcp(HostPort),
}

/// `HOST:PORT`, where an IPv6 address stands in brackets. `Display` writes it so, as
/// [`Endpoint`] reads it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort(String);

impl HostPort {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostPort {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| refuse(text, "expected unix:PATH or HOST:PORT"))?;
        if host.is_empty() {
            return Err(refuse(text, "the host is empty"));
        }
        if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
            return Err(refuse(text, "an IPv6 address must stand in brackets"));
        }
        match port.parse::<u16>() {
            Ok(1..) => Ok(Self(text.to_owned())),
            _ => Err(refuse(text, "the port is no number from 1 to 65535")),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn refuse(text: &str, problem: &'static str) -> Error {
    Error::Endpoint {
        text: text.chars().take(200).collect(),
        problem,
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    /// Reads `unix:PATH` or `HOST:PORT`.
    fn from_str(text: &str) -> Result<Self, Error> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err(refuse(text, "the path is empty"))
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        text.parse().map(Self::Tcp)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        for text in [
            "unix:/a b/c",
            "unix:relative",
            "localhost:9051",
            "127.0.0.1:1",
            "[::1]:65535",
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn no_other_form() {
        for text in [
            "",
            "unix:",
            "9051",
            ":9051",
            "host:",
            "host:0",
            "host:65536",
            "host:+1x",
            "::1:9051",
            "/run/tor/control",
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains("is no control endpoint"), "{text}: {error}");
        }
    }
}
