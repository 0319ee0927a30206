//! How the configuration says what is to be checked.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use onionweave_control::Endpoint;
use onionweave_publish::health::Steps;
use serde::{Deserialize, Deserializer, de};

use super::values::{endpoint_named, from_folder, some_duration};

/// How often a backend may be checked at most, and at least.
const EVERY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3600));
/// How long a check may take.
const WITHIN: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(300));
/// So many results in a row may be demanded.
const MOST_STEPS: u32 = 100;

/// A check of what an instance leads to, as `check = { ... }` says it.
///
/// ```
/// use onionweave_driver::config::{Check, Config, Probe};
///
/// let config = Config::parse(
///     r#"
///     [[service]]
///     key = "private_key"
///
///     [[service.instance]]
///     name = "a"
///     control = "unix:/run/tor-a/control"
///     check = { http = "http://127.0.0.1:8080/healthz", every = "5s", fall = 2 }
///     "#,
///     "/etc/onionweave".as_ref(),
/// )?;
/// let check = config.services[0].instances[0].check.as_ref().unwrap();
/// assert_eq!(check.to_string(), "http://127.0.0.1:8080/healthz");
/// assert_eq!((check.steps.fall, check.steps.rise), (2, 2));
/// # Ok::<(), onionweave_driver::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// What is asked.
    pub probe: Probe,
    /// How often. Default: every two seconds; through Tor, every minute.
    pub every: Duration,
    /// How long the answer may take. Default: two seconds; through Tor, thirty.
    pub within: Duration,
    /// How many failures take the instance out, and how many successes bring it back. Default: three and two.
    pub steps: Steps,
}

/// What a check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Probe {
    /// Whether a connection is accepted there (`tcp = "HOST:PORT"` or `tcp = "unix:PATH"`).
    Tcp(Endpoint),
    /// What a web server answers (`http = "http://HOST:PORT/PATH"`).
    Http {
        /// Where, as `HOST:PORT`.
        address: String,
        /// What is asked of it.
        request: HttpRequest,
    },
    /// Whether the instance can be reached through Tor, by its own introduction points (`tor = PORT`).
    Tor {
        /// Which port of the onion service, as in `HiddenServicePort`.
        port: u16,
        /// What is asked there, if more than a connection is wanted (`path = "/PATH"`).
        request: Option<HttpRequest>,
    },
}

/// An HTTP request with the method GET.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpRequest {
    /// The path, with the query if there is one.
    pub path: String,
    /// The header `Host`; `None` through Tor, where it is the onion address.
    pub host: Option<String>,
    /// The status that is expected; `None` for any from 200 to 399.
    pub status: Option<u16>,
}

impl Check {
    pub(super) fn resolve(&mut self, folder: &Path) {
        if let Probe::Tcp(endpoint) = &mut self.probe {
            from_folder(folder, endpoint);
        }
    }
}

/// What is asked.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.probe {
            Probe::Tcp(Endpoint::Tcp(address)) => write!(f, "tcp {address}"),
            Probe::Tcp(endpoint) => write!(f, "{endpoint}"),
            Probe::Http { address, request } => write!(f, "http://{address}{}", request.path),
            Probe::Tor { port, request } => {
                let path = request.as_ref().map_or("", |request| &request.path);
                write!(f, "port {port}{path} through Tor")
            }
        }
    }
}

impl<'de> Deserialize<'de> for Check {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Raw::deserialize(deserializer)?.check().map_err(de::Error::custom)
    }
}

/// The keys as they stand there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    tcp: Option<String>,
    http: Option<String>,
    tor: Option<u16>,
    path: Option<String>,
    status: Option<u16>,
    #[serde(default, deserialize_with = "some_duration")]
    every: Option<Duration>,
    #[serde(default, deserialize_with = "some_duration")]
    within: Option<Duration>,
    fall: Option<u32>,
    rise: Option<u32>,
}

impl Raw {
    fn check(self) -> Result<Check, String> {
        let default = Steps::default();
        let steps = Steps::new(
            bounded("fall", self.fall.unwrap_or(default.fall))?,
            bounded("rise", self.rise.unwrap_or(default.rise))?,
        );
        let through_tor = self.tor.is_some();
        let or = |value: Option<Duration>, direct: u64, tor: u64| {
            value.unwrap_or(Duration::from_secs(if through_tor { tor } else { direct }))
        };
        let (every, within) = (or(self.every, 2, 60), or(self.within, 2, 30));
        if !(EVERY.0..=EVERY.1).contains(&every) {
            return Err("every must lie between 100ms and 1h".into());
        }
        if !(WITHIN.0..=WITHIN.1).contains(&within) {
            return Err("within must lie between 10ms and 5m".into());
        }
        Ok(Check {
            probe: self.probe()?,
            every,
            within,
            steps,
        })
    }

    fn probe(self) -> Result<Probe, String> {
        let status = self.status.map(valid_status).transpose()?;
        match (self.tcp, self.http, self.tor, self.path) {
            (Some(address), None, None, None) if status.is_none() => {
                endpoint_named(&address, "address").map(Probe::Tcp)
            }
            (None, Some(url), None, None) => {
                let (address, host, path) = parse_url(&url)?;
                let request = HttpRequest {
                    path,
                    host: Some(host),
                    status,
                };
                Ok(Probe::Http { address, request })
            }
            (None, None, Some(0), _) => Err("tor: the port is no number from 1 to 65535".into()),
            (None, None, Some(port), None) if status.is_none() => Ok(Probe::Tor { port, request: None }),
            (None, None, Some(port), Some(path)) => {
                let request = HttpRequest {
                    path: valid_path(path)?,
                    host: None,
                    status,
                };
                let request = Some(request);
                Ok(Probe::Tor { port, request })
            }
            (Some(_), None, None, None) | (None, None, Some(_), None) => {
                Err("status needs http, or tor with a path".into())
            }
            (Some(_), None, None, Some(_)) | (None, Some(_), None, Some(_)) => {
                Err("path goes with tor; for http it stands in the URL".into())
            }
            _ => Err("write one of tcp = \"HOST:PORT\", http = \"http://HOST:PORT/PATH\" and tor = PORT".into()),
        }
    }
}

fn bounded(name: &str, steps: u32) -> Result<u32, String> {
    match steps {
        1..=MOST_STEPS => Ok(steps),
        _ => Err(format!("{name} must lie between 1 and {MOST_STEPS}")),
    }
}

fn valid_status(status: u16) -> Result<u16, String> {
    match status {
        200..=599 => Ok(status),
        _ => Err(format!(
            "{status} is no final HTTP status: it must lie between 200 and 599"
        )),
    }
}

/// Address to connect to, header `Host` and path of a URL.
pub(super) fn parse_url(url: &str) -> Result<(String, String, String), String> {
    let wrong = |why: &str| format!("\"{url}\" is no URL such as \"http://127.0.0.1:8080/healthz\": {why}");
    let uri: hyper::Uri = url.parse().map_err(|error| wrong(&format!("{error}")))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err(wrong("https is not spoken; check with tcp, or through Tor")),
        _ => return Err(wrong("it must begin with http://")),
    }
    let authority = uri.authority().ok_or_else(|| wrong("the host is missing"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("a name and password are not sent"));
    }
    // `Uri` does not look whether what it takes for a port is a number.
    let address = match authority.port() {
        Some(_) => authority.as_str().to_owned(),
        None => format!("{authority}:80"),
    };
    let endpoint = endpoint_named(&address, "address").map_err(|error| wrong(&error))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok((endpoint.to_string(), authority.as_str().to_owned(), path.to_owned()))
}

fn valid_path(path: String) -> Result<String, String> {
    if !path.starts_with('/') {
        return Err(format!("path \"{path}\" must begin with /"));
    }
    match path.parse::<hyper::http::uri::PathAndQuery>() {
        Ok(parsed) if parsed.as_str() == path => Ok(path),
        _ => Err(format!("path \"{path}\" cannot stand in an HTTP request")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(table: &str) -> Result<Check, String> {
        #[derive(Debug, Deserialize)]
        struct Text {
            check: Check,
        }
        toml::from_str::<Text>(&format!("check = {{ {table} }}"))
            .map(|text| text.check)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn every_form() {
        for (table, shown) in [
            ("tcp = \"localhost:80\"", "tcp localhost:80"),
            ("tcp = \"unix:/run/web\"", "unix:/run/web"),
            (
                "http = \"http://127.0.0.1:8080/healthz?a=b\"",
                "http://127.0.0.1:8080/healthz?a=b",
            ),
            ("http = \"http://[::1]\"", "http://[::1]:80/"),
            ("tor = 80", "port 80 through Tor"),
            ("tor = 80, path = \"/x\", status = 204", "port 80/x through Tor"),
        ] {
            assert_eq!(parse(table).map(|check| check.to_string()), Ok(shown.to_owned()));
        }
    }

    #[test]
    fn defaults_and_values() {
        let check = parse("tcp = \"h:1\"").unwrap();
        assert_eq!(
            (check.every, check.within),
            (Duration::from_secs(2), Duration::from_secs(2))
        );
        let check = parse("tor = 1").unwrap();
        assert_eq!(
            (check.every, check.within),
            (Duration::from_secs(60), Duration::from_secs(30))
        );
        let check = parse("tor = 1, every = \"1s\", within = \"3s\", fall = 4, rise = 5").unwrap();
        assert_eq!(
            (check.every, check.within),
            (Duration::from_secs(1), Duration::from_secs(3))
        );
        assert_eq!(check.steps, Steps::new(4, 5));
        let check = parse("http = \"http://h:1/\", status = 503").unwrap();
        let Probe::Http { request, .. } = check.probe else {
            panic!("{check:?}")
        };
        assert_eq!((request.status, request.host.as_deref()), (Some(503), Some("h:1")));
    }

    #[test]
    fn mistakes_are_told() {
        for (table, expected) in [
            ("", "write one of tcp"),
            ("every = \"1s\"", "write one of tcp"),
            ("tcp = \"h:1\", tor = 1", "write one of tcp"),
            ("tcp = \"h\"", "\"h\" is no address"),
            ("tcp = \"h:1\", status = 200", "status needs http"),
            ("tor = 1, status = 200", "status needs http"),
            ("tor = 0", "tor: the port"),
            ("tor = true", "invalid type"),
            ("tor = 1, path = \"x\"", "path \"x\" must begin"),
            ("tor = 1, path = \"/ x\"", "path \"/ x\" cannot stand"),
            ("tor = 1, path = \"/x#y\"", "path \"/x#y\" cannot stand"),
            ("http = \"http://h/\", path = \"/\"", "path goes with tor"),
            ("http = \"h:80/x\"", "\"h:80/x\" is no URL"),
            ("http = \"https://h/\"", "\"https://h/\" is no URL"),
            ("http = \"http://u:p@h/\"", "\"http://u:p@h/\" is no URL"),
            ("http = \"http://h:0/\"", "\"http://h:0/\" is no URL"),
            ("http = \"http://h:99999/\"", "\"http://h:99999/\" is no URL"),
            ("http = \"http:///x\"", "\"http:///x\" is no URL"),
            ("http = \"http://h/\", status = 100", "100 is no final HTTP status"),
            ("tcp = \"h:1\", fall = 0", "fall must lie between 1 and 100"),
            ("tcp = \"h:1\", rise = 101", "rise must lie between 1 and 100"),
            ("tcp = \"h:1\", every = \"1ms\"", "every must lie between 100ms and 1h"),
            ("tcp = \"h:1\", within = \"6m\"", "within must lie between 10ms and 5m"),
            ("tcp = \"h:1\", within = \"soon\"", "\"soon\" is no duration"),
            ("tcp = \"h:1\", inter = \"1s\"", "unknown field `inter`"),
        ] {
            let error = parse(table).unwrap_err();
            assert!(error.starts_with(expected), "{table}\n gave {error:?}");
        }
    }
}
