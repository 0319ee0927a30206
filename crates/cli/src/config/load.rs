//! `load = { ... }` and `balance = { ... }`.

use std::time::Duration;

use onionweave_assign::Damping;
use onionweave_driver::LoadGauge;
use serde::{Deserialize, Deserializer, de};

use super::values::some_duration;

/// Times in which weights may follow loads.
const TIME: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));

/// Reads the table of a gauge.
pub(super) fn some_load<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<LoadGauge>, D::Error> {
    let gauge = Raw::deserialize(deserializer)?.gauge().map_err(de::Error::custom)?;
    Ok(Some(gauge))
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
        let gauge = match (self.command, self.http, self.bandwidth) {
            (Some(command), None, None) => LoadGauge::command(command),
            (None, Some(url), None) => LoadGauge::http(&url).map_err(|problem| problem.to_string())?,
            (None, None, Some(true)) => LoadGauge::bandwidth(),
            _ => {
                return Err(
                    "write one of command = [\"PROGRAM\"], http = \"http://HOST:PORT/PATH\" and bandwidth = true"
                        .into(),
                );
            }
        };
        let (every, within, per_weight) = (gauge.every, gauge.within, gauge.per_weight);
        let gauge = gauge
            .every(self.every.unwrap_or(every))
            .within(self.within.unwrap_or(within))
            .per_weight(self.per_weight.unwrap_or(per_weight));
        gauge.validate().map_err(|problem| problem.to_string())?;
        Ok(gauge)
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
            #[serde(default, deserialize_with = "some_load")]
            load: Option<LoadGauge>,
        }
        toml::from_str::<Text>(&format!("load = {{ {table} }}"))
            .map(|text| text.load.unwrap())
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
