//! How the configuration says what loads instances have, and how weights follow them.

use std::fmt;
use std::time::Duration;

use onionweave_assign::Damping;
use serde::{Deserialize, Deserializer, de};

use super::HttpRequest;
use super::check::parse_url;
use super::values::some_duration;

/// How often a load may be read at most, and at least.
const EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));
/// How long reading it may take.
const WITHIN: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(300));
/// How fast weights may follow.
const TIME: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));

/// Where an instance's load is read, as `load = { ... }` says it.
///
/// ```
/// use onionweave_driver::config::{Config, LoadSource};
///
/// let config = Config::parse(
///     r#"
///     [[service]]
///     key = "private_key"
///     policy = "weighted"
///     load = { bandwidth = true }
///     balance = { strength = 0.5, time = "10m" }
///
///     [[service.instance]]
///     name = "a"
///     control = "unix:/run/tor-a/control"
///
///     [[service.instance]]
///     name = "b"
///     control = "unix:/run/tor-b/control"
///     load = { http = "http://127.0.0.1:9100/load", every = "30s" }
///     "#,
///     "/etc/onionweave".as_ref(),
/// )?;
/// let service = &config.services[0];
/// assert_eq!(service.load_of(&service.instances[0]).unwrap().source, LoadSource::Bandwidth);
/// assert_eq!(service.load_of(&service.instances[1]).unwrap().to_string(), "http://127.0.0.1:9100/load");
/// # Ok::<(), onionweave_driver::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadGauge {
    /// What is read.
    pub source: LoadSource,
    /// How often. Default: every ten seconds.
    pub every: Duration,
    /// How long it may take. Default: five seconds.
    pub within: Duration,
    /// Whether it counts what the instance is given, of which one with twice the weight has twice as much by right, so that it is divided by
    /// the weight. Default: for bandwidth only.
    pub per_weight: bool,
}

/// What a load is read from. All but bandwidth give a number, from 0 on, in text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadSource {
    /// What a command writes to its standard output: program and arguments (`command = ["PROGRAM", "ARGUMENT"]`).
    Command(Vec<String>),
    /// What a web server answers (`http = "http://HOST:PORT/PATH"`).
    Http {
        /// Where, as `HOST:PORT`.
        address: String,
        /// What is asked of it.
        request: HttpRequest,
    },
    /// The bytes that its Tor reads and writes, by Tor's `BW` events (`bandwidth = true`).
    Bandwidth,
}

/// What is read.
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

impl<'de> Deserialize<'de> for LoadGauge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Raw::deserialize(deserializer)?.gauge().map_err(de::Error::custom)
    }
}

/// The keys as they stand there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    command: Option<Vec<String>>,
    http: Option<String>,
    bandwidth: Option<bool>,
    per_weight: Option<bool>,
    #[serde(default, deserialize_with = "some_duration")]
    every: Option<Duration>,
    #[serde(default, deserialize_with = "some_duration")]
    within: Option<Duration>,
}

impl Raw {
    fn gauge(self) -> Result<LoadGauge, String> {
        let every = self.every.unwrap_or(Duration::from_secs(10));
        let within = self.within.unwrap_or(Duration::from_secs(5));
        if !(EVERY.0..=EVERY.1).contains(&every) {
            return Err("every must lie between 1s and 1h".into());
        }
        if !(WITHIN.0..=WITHIN.1).contains(&within) {
            return Err("within must lie between 10ms and 5m".into());
        }
        let source = match (self.command, self.http, self.bandwidth) {
            (Some(command), None, None) if command.first().is_some_and(|program| !program.is_empty()) => {
                LoadSource::Command(command)
            }
            (Some(_), None, None) => return Err("the command is empty".into()),
            (None, Some(url), None) => {
                let (address, host, path) = parse_url(&url)?;
                let request = HttpRequest {
                    path,
                    host: Some(host),
                    status: None,
                };
                LoadSource::Http { address, request }
            }
            (None, None, Some(true)) => LoadSource::Bandwidth,
            _ => {
                return Err(
                    "write one of command = [\"PROGRAM\"], http = \"http://HOST:PORT/PATH\" and bandwidth = true"
                        .into(),
                );
            }
        };
        Ok(LoadGauge {
            per_weight: self.per_weight.unwrap_or(source == LoadSource::Bandwidth),
            source,
            every,
            within,
        })
    }
}

/// `balance = { strength = 0.75, time = "5m" }`.
pub(super) fn damping<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Damping, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Keys {
        strength: Option<f64>,
        #[serde(default, deserialize_with = "some_duration")]
        time: Option<Duration>,
    }
    let keys = Keys::deserialize(deserializer)?;
    let default = Damping::default();
    let time = keys.time.unwrap_or(default.time());
    if !(TIME.0..=TIME.1).contains(&time) {
        return Err(de::Error::custom("time must lie between 1s and 24h"));
    }
    Damping::new(keys.strength.unwrap_or(default.strength()), time).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(table: &str) -> Result<LoadGauge, String> {
        #[derive(Debug, Deserialize)]
        struct Text {
            load: LoadGauge,
        }
        toml::from_str::<Text>(&format!("load = {{ {table} }}"))
            .map(|text| text.load)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn every_form() {
        for (table, shown, per_weight) in [
            ("command = [\"/bin/load\", \"secret\"]", "\"/bin/load\"", false),
            (
                "http = \"http://h:1/x?a=b\", per_weight = true",
                "http://h:1/x?a=b",
                true,
            ),
            ("bandwidth = true", "bandwidth", true),
            ("bandwidth = true, per_weight = false", "bandwidth", false),
        ] {
            let gauge = parse(table).unwrap();
            assert_eq!((gauge.to_string().as_str(), gauge.per_weight), (shown, per_weight));
            assert_eq!((gauge.every.as_secs(), gauge.within.as_secs()), (10, 5));
        }
        let gauge = parse("bandwidth = true, every = \"1m\", within = \"1s\"").unwrap();
        assert_eq!((gauge.every.as_secs(), gauge.within.as_secs()), (60, 1));
    }

    #[test]
    fn mistakes_are_told() {
        for (table, expected) in [
            ("", "write one of command"),
            ("bandwidth = false", "write one of command"),
            ("bandwidth = true, http = \"http://h/\"", "write one of command"),
            ("command = []", "the command is empty"),
            ("command = [\"\"]", "the command is empty"),
            ("command = \"load\"", "invalid type"),
            ("http = \"h/x\"", "\"h/x\" is no URL"),
            ("bandwidth = true, every = \"1ms\"", "every must lie between 1s and 1h"),
            (
                "bandwidth = true, within = \"1h\"",
                "within must lie between 10ms and 5m",
            ),
            ("cpu = true", "unknown field `cpu`"),
        ] {
            let error = parse(table).unwrap_err();
            assert!(error.starts_with(expected), "{table}\n gave {error:?}");
        }
    }
}
