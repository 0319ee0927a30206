//! Checks of the backends behind instances.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use humantime::format_duration;
use onionweave_control::{Endpoint, Error as ControlError};
use onionweave_publish::health::Steps;

/// Times between two checks that make sense.
const EVERY: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
/// Times that a check may take.
const WITHIN: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(300);
/// Number of results in a row that may be demanded.
const STEPS: RangeInclusive<u32> = 1..=100;

/// Check of an instance's backend.
///
/// ```
/// use std::time::Duration;
/// use onionweave_driver::Check;
///
/// let check = Check::http("http://127.0.0.1:8080/healthz")?.every(Duration::from_secs(5)).fall(2);
/// assert_eq!(check.to_string(), "http://127.0.0.1:8080/healthz");
/// assert_eq!((check.steps.fall, check.steps.rise), (2, 2));
/// # Ok::<(), onionweave_driver::CheckProblem>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// The question that is asked.
    pub probe: Probe,
    /// Time between two checks. Default: two seconds; through Tor, a minute.
    pub every: Duration,
    /// Longest time that the answer may take. Default: two seconds; through Tor, thirty.
    pub within: Duration,
    /// Number of failures that take the instance out, and of successes that bring it back. Default:
    /// three and two.
    pub steps: Steps,
}

/// Question that a check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Probe {
    /// A connection must be accepted there.
    Tcp(Endpoint),
    /// A web server must answer.
    #[non_exhaustive]
    Http {
        /// Address of the server, as `HOST:PORT`.
        address: String,
        /// The request.
        request: HttpRequest,
    },
    /// The instance must be reached through Tor, by its own introduction points.
    #[non_exhaustive]
    Tor {
        /// Port of the onion service, as in `HiddenServicePort`.
        port: u16,
        /// The request that is made there, if more than a connection is wanted.
        request: Option<HttpRequest>,
    },
}

/// HTTP request with the method GET.
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

/// Mistake in a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckProblem {
    /// A text is no URL that can be asked.
    #[error("\"{url}\" is no URL such as \"http://127.0.0.1:8080/healthz\": {why}")]
    #[non_exhaustive]
    Url {
        /// The text.
        url: String,
        /// The mistake in it.
        why: String,
    },
    /// A path cannot stand in an HTTP request.
    #[error("path \"{path}\" {why}")]
    #[non_exhaustive]
    Path {
        /// The path.
        path: String,
        /// The mistake in it.
        why: &'static str,
    },
    /// A status is none that ends a request.
    #[error("{0} is no final HTTP status: it must lie between 200 and 599")]
    Status(u16),
    /// A status is expected where no HTTP request is made.
    #[error("status needs http, or tor with a path")]
    StatusWithoutHttp,
    /// The port of an onion service is none.
    #[error("tor: the port is no number from 1 to 65535")]
    Port,
    /// A time makes no sense.
    #[error("{what} must lie between {} and {}", format_duration(*.least), format_duration(*.most))]
    #[non_exhaustive]
    OutOfRange {
        /// Name of the time.
        what: &'static str,
        /// Least value.
        least: Duration,
        /// Greatest value.
        most: Duration,
    },
    /// A number of results makes no sense.
    #[error("{0} must lie between {least} and {most}", least = STEPS.start(), most = STEPS.end())]
    Steps(&'static str),
    /// The publisher has no prober, which a check through Tor needs.
    #[error("a check through Tor needs a prober ([publisher.prober])")]
    NoProber,
}

impl Check {
    /// Checks whether a connection is accepted there.
    pub fn tcp(endpoint: Endpoint) -> Self {
        Self::new(Probe::Tcp(endpoint), Duration::from_secs(2), Duration::from_secs(2))
    }

    /// Checks whether a web server answers this URL, which begins with `http://`, with a status
    /// from 200 to 399.
    ///
    /// # Errors
    ///
    /// [`CheckProblem::Url`].
    pub fn http(url: &str) -> Result<Self, CheckProblem> {
        let (address, request) = parse_url(url)?;
        let probe = Probe::Http { address, request };
        Ok(Self::new(probe, Duration::from_secs(2), Duration::from_secs(2)))
    }

    /// Checks whether this port of the onion service can be reached through Tor, by the instance's
    /// own introduction points.
    pub fn tor(port: u16) -> Self {
        let probe = Probe::Tor { port, request: None };
        Self::new(probe, Duration::from_secs(60), Duration::from_secs(30))
    }

    fn new(probe: Probe, every: Duration, within: Duration) -> Self {
        Self {
            probe,
            every,
            within,
            steps: Steps::default(),
        }
    }

    /// Asks for a path at the port that [`tor`](Self::tor) reaches. Other checks stay as they are.
    ///
    /// # Errors
    ///
    /// [`CheckProblem::Path`].
    pub fn path(mut self, path: &str) -> Result<Self, CheckProblem> {
        let wrong = |why| CheckProblem::Path { path: path.into(), why };
        if !path.starts_with('/') {
            return Err(wrong("must begin with /"));
        }
        match path.parse::<hyper::http::uri::PathAndQuery>() {
            Ok(parsed) if parsed.as_str() == path => {}
            _ => return Err(wrong("cannot stand in an HTTP request")),
        }
        if let Probe::Tor { request, .. } = &mut self.probe {
            *request = Some(HttpRequest {
                path: path.into(),
                host: None,
                status: None,
            });
        }
        Ok(self)
    }

    /// Demands this status, and no other.
    ///
    /// # Errors
    ///
    /// [`CheckProblem::StatusWithoutHttp`] if no HTTP request is made, [`CheckProblem::Status`].
    pub fn status(mut self, status: u16) -> Result<Self, CheckProblem> {
        let (Probe::Http { request, .. }
        | Probe::Tor {
            request: Some(request), ..
        }) = &mut self.probe
        else {
            return Err(CheckProblem::StatusWithoutHttp);
        };
        if !(200..=599).contains(&status) {
            return Err(CheckProblem::Status(status));
        }
        request.status = Some(status);
        Ok(self)
    }

    /// Sets the time between two checks: from 100 ms to an hour.
    #[must_use]
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// Sets the longest time that an answer may take: from 10 ms to five minutes.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Sets the number of failures in a row after which the instance leaves: from 1 to 100.
    #[must_use]
    pub fn fall(mut self, fall: u32) -> Self {
        self.steps.fall = fall;
        self
    }

    /// Sets the number of successes in a row after which it returns: from 1 to 100.
    #[must_use]
    pub fn rise(mut self, rise: u32) -> Self {
        self.steps.rise = rise;
        self
    }

    /// Looks whether the values make sense.
    ///
    /// # Errors
    ///
    /// [`CheckProblem::OutOfRange`], [`CheckProblem::Steps`] and [`CheckProblem::Port`].
    pub fn validate(&self) -> Result<(), CheckProblem> {
        for (what, value, range) in [("every", self.every, EVERY), ("within", self.within, WITHIN)] {
            if !range.contains(&value) {
                let (least, most) = range.into_inner();
                return Err(CheckProblem::OutOfRange { what, least, most });
            }
        }
        for (what, value) in [("fall", self.steps.fall), ("rise", self.steps.rise)] {
            if !STEPS.contains(&value) {
                return Err(CheckProblem::Steps(what));
            }
        }
        match self.probe {
            Probe::Tor { port: 0, .. } => Err(CheckProblem::Port),
            _ => Ok(()),
        }
    }
}

/// The question.
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

/// The address of a URL, and the request that is made there.
pub(super) fn parse_url(url: &str) -> Result<(String, HttpRequest), CheckProblem> {
    let wrong = |why: &str| CheckProblem::Url {
        url: url.into(),
        why: why.into(),
    };
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
    let endpoint: Endpoint = address.parse().map_err(|error| match error {
        ControlError::Endpoint { problem, .. } => wrong(&format!("\"{address}\" is no address: {problem}")),
        other => wrong(&other.to_string()),
    })?;
    let request = HttpRequest {
        path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        host: Some(authority.as_str().to_owned()),
        status: None,
    };
    Ok((endpoint.to_string(), request))
}
