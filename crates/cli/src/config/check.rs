//! `check = { ... }`.

use std::time::Duration;

use onionweave_driver::{Check, CheckProblem};
use serde::{Deserialize, Deserializer, de};

use super::values::{endpoint_named, some_duration};

/// Reads the table of a check.
pub(super) fn some_check<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Check>, D::Error> {
    let check = Raw::deserialize(deserializer)?.check().map_err(de::Error::custom)?;
    Ok(Some(check))
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
        let told = |problem: CheckProblem| problem.to_string();
        let mut check = match (&self.tcp, &self.http, self.tor, &self.path) {
            (Some(address), None, None, None) => Check::tcp(endpoint_named(address, "address")?),
            (None, Some(url), None, None) => Check::http(url).map_err(told)?,
            (None, None, Some(port), None) => Check::tor(port),
            (None, None, Some(port), Some(path)) => Check::tor(port).path(path).map_err(told)?,
            (Some(_), None, None, Some(_)) | (None, Some(_), None, Some(_)) => {
                return Err("path goes with tor; for http it stands in the URL".into());
            }
            _ => {
                return Err("write one of tcp = \"HOST:PORT\", http = \"http://HOST:PORT/PATH\" and tor = PORT".into());
            }
        };
        if let Some(status) = self.status {
            check = check.status(status).map_err(told)?;
        }
        check.every = self.every.unwrap_or(check.every);
        check.within = self.within.unwrap_or(check.within);
        check.steps.fall = self.fall.unwrap_or(check.steps.fall);
        check.steps.rise = self.rise.unwrap_or(check.steps.rise);
        check.validate().map_err(told)?;
        Ok(check)
    }
}

#[cfg(test)]
mod tests {
    use onionweave_driver::Probe;
    use onionweave_publish::health::Steps;

    use super::*;

    fn parse(table: &str) -> Result<Check, String> {
        #[derive(Debug, Deserialize)]
        struct Text {
            #[serde(default, deserialize_with = "some_check")]
            check: Option<Check>,
        }
        toml::from_str::<Text>(&format!("check = {{ {table} }}"))
            .map(|text| text.check.unwrap())
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
