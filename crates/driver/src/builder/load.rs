//! Gauges of the loads of instances.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use humantime::format_duration;

use super::check::parse_url;
use super::{CheckProblem, HttpRequest};

/// Times between two readings that make sense.
const EVERY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
/// Times that a reading may take.
const WITHIN: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(300);

/// Gauge of an instance's load, which its share of the traffic follows.
///
/// ```
/// use std::time::Duration;
/// use onionweave_driver::LoadGauge;
///
/// let gauge = LoadGauge::http("http://127.0.0.1:9100/load")?.every(Duration::from_secs(30));
/// assert_eq!(gauge.to_string(), "http://127.0.0.1:9100/load");
/// assert!(LoadGauge::bandwidth().per_weight && !gauge.per_weight);
/// # Ok::<(), onionweave_driver::CheckProblem>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadGauge {
    /// The place where the load is read.
    pub source: LoadSource,
    /// Time between two readings. Default: ten seconds.
    pub every: Duration,
    /// Longest time that a reading may take. Default: five seconds.
    pub within: Duration,
    /// Whether the load is divided by the instance's weight. Right for what is counted, of which an
    /// instance with twice the weight has twice as much by right. Default: for bandwidth only.
    pub per_weight: bool,
}

/// Place where a load is read. All but bandwidth give a number, from 0 on, in text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadSource {
    /// The standard output of a command: program and arguments.
    Command(Vec<String>),
    /// The answer of a web server.
    #[non_exhaustive]
    Http {
        /// Address of the server, as `HOST:PORT`.
        address: String,
        /// The request.
        request: HttpRequest,
    },
    /// The bytes that the instance's Tor reads and writes, by Tor's `BW` events.
    Bandwidth,
}

/// Mistake in a gauge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadProblem {
    /// A command without a program.
    #[error("the command is empty")]
    EmptyCommand,
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
}

impl LoadGauge {
    /// Reads the load from the standard output of a command: program and arguments.
    pub fn command<S: Into<String>>(command: impl IntoIterator<Item = S>) -> Self {
        Self::new(LoadSource::Command(command.into_iter().map(Into::into).collect()))
    }

    /// Reads the load from the answer to this URL, which begins with `http://`.
    ///
    /// # Errors
    ///
    /// [`CheckProblem::Url`].
    pub fn http(url: &str) -> Result<Self, CheckProblem> {
        let (address, request) = parse_url(url)?;
        Ok(Self::new(LoadSource::Http { address, request }))
    }

    /// Takes for the load the bytes that the instance's Tor reads and writes in a second, divided
    /// by its weight.
    pub fn bandwidth() -> Self {
        Self::new(LoadSource::Bandwidth).per_weight(true)
    }

    fn new(source: LoadSource) -> Self {
        Self {
            source,
            every: Duration::from_secs(10),
            within: Duration::from_secs(5),
            per_weight: false,
        }
    }

    /// Sets the time between two readings: from a second to an hour.
    #[must_use]
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// Sets the longest time that a reading may take: from 10 ms to five minutes.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Says whether the load is divided by the instance's weight.
    #[must_use]
    pub fn per_weight(mut self, per_weight: bool) -> Self {
        self.per_weight = per_weight;
        self
    }

    /// Looks whether the values make sense.
    ///
    /// # Errors
    ///
    /// [`LoadProblem::OutOfRange`] and [`LoadProblem::EmptyCommand`].
    pub fn validate(&self) -> Result<(), LoadProblem> {
        for (what, value, range) in [("every", self.every, EVERY), ("within", self.within, WITHIN)] {
            if !range.contains(&value) {
                let (least, most) = range.into_inner();
                return Err(LoadProblem::OutOfRange { what, least, most });
            }
        }
        match &self.source {
            LoadSource::Command(command) if command.first().is_none_or(String::is_empty) => {
                Err(LoadProblem::EmptyCommand)
            }
            _ => Ok(()),
        }
    }
}

/// The source.
impl fmt::Display for LoadGauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            // Arguments may hold what is nobody's business.
            LoadSource::Command(command) => {
                write!(f, "{:?}", command.first().map(String::as_str).unwrap_or_default())
            }
            LoadSource::Http { address, request } => write!(f, "http://{address}{}", request.path),
            LoadSource::Bandwidth => f.write_str("bandwidth"),
        }
    }
}
