//! The forms of single values.

use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use onionweave_assign::{PolicyName, Weight};
use onionweave_control::{Endpoint, Error as ControlError};
use onionweave_driver::{ServicePort, Tor};
use onionweave_publish::{InstanceName, Stamp};
use onionweave_ring::v2::{AuthorizationKind, ServiceId};
use serde::{Deserialize, Deserializer, de};

/// Takes the path of a unix socket from the folder.
pub(super) fn from_folder(folder: &Path, endpoint: &mut Endpoint) {
    if let Endpoint::Unix(path) = endpoint {
        *path = folder.join(&*path);
    }
}

/// The Tor with this control port and one of these files.
pub(super) fn tor(control: &Endpoint, password_file: &Option<PathBuf>, cookie_file: &Option<PathBuf>) -> Tor {
    let tor = Tor::new(control.clone());
    match (password_file, cookie_file) {
        (Some(file), _) => tor.password_file(file),
        (None, Some(file)) => tor.cookie_file(file),
        (None, None) => tor,
    }
}

pub(super) fn ports<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ServicePort>, D::Error> {
    let ports = Vec::<String>::deserialize(deserializer)?;
    let ports = ports.iter().map(|port| port.parse().map_err(de::Error::custom));
    ports.collect()
}

pub(super) fn some_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ServiceId>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(de::Error::custom)
}

pub(super) fn some_endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Endpoint>, D::Error> {
    let text = String::deserialize(deserializer)?;
    endpoint_named(&text, "control endpoint")
        .map(Some)
        .map_err(de::Error::custom)
}

pub(super) fn socks_endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Endpoint, D::Error> {
    endpoint_named(&String::deserialize(deserializer)?, "SOCKS endpoint").map_err(de::Error::custom)
}

/// Options of `ControlPort` and `SocksPort` that may follow the path of a socket in a torrc.
const SOCKET_OPTIONS: [&str; 3] = ["GroupWritable", "WorldWritable", "RelaxDirModeCheck"];

/// Reads an endpoint of this kind.
pub(super) fn endpoint_named(text: &str, what: &str) -> Result<Endpoint, String> {
    if let Some((_, rest)) = text.split_once("://") {
        return Err(format!(
            "\"{text}\" is no {what}: write \"HOST:PORT\" or \"unix:PATH\", such as \"{rest}\""
        ));
    }
    if let Some(path) = text.strip_prefix("unix:") {
        if let Some(option) = SOCKET_OPTIONS.iter().find(|option| path.ends_with(*option)) {
            return Err(format!(
                "\"{text}\" is no {what}: {option} is an option of the torrc; write \"unix:{}\"",
                path.trim_end_matches(option).trim_end()
            ));
        }
        if path.starts_with('@') {
            return Err(format!(
                "\"{text}\" is no {what}: Tor has no abstract sockets; write \"unix:PATH\""
            ));
        }
        whole(path)?;
    }
    text.parse().map_err(|error| match error {
        ControlError::Endpoint { problem, .. } => format!("\"{text}\" is no {what}: {problem}"),
        other => other.to_string(),
    })
}

/// Refuses what a shell would replace: nobody does here.
fn whole(path: &str) -> Result<(), String> {
    match path.starts_with('~') {
        true => Err(format!(
            "\"{path}\": ~ is the shell's word for a folder; write the whole path"
        )),
        false => Ok(()),
    }
}

pub(super) fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let text = String::deserialize(deserializer)?;
    whole(&text).map_err(de::Error::custom)?;
    Ok(text.into())
}

pub(super) fn some_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    path(deserializer).map(Some)
}

/// A command: program and arguments.
pub(super) fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let words = Vec::<String>::deserialize(deserializer)?;
    if let Some(program) = words.first() {
        whole(program).map_err(de::Error::custom)?;
    }
    Ok(words)
}

pub(super) fn yes() -> bool {
    true
}

/// Longest duration that makes sense anywhere: ten years.
const LONGEST_DURATION: Duration = Duration::from_secs(10 * 31_557_600);

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(Durations)
}

/// Reads a duration, and says to who leaves out the unit what to write.
struct Durations;

impl de::Visitor<'_> for Durations {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"2s\" or \"500ms\"")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Duration, E> {
        Err(E::custom(format!("{number} has no unit: write \"{number}s\"")))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Duration, E> {
        Err(E::custom(format!("{number} has no unit: write \"{number}s\"")))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Duration, E> {
        let milliseconds = number * 1000.0;
        Err(E::custom(format!(
            "{number} has no unit: write \"{milliseconds:.0}ms\""
        )))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
        let duration = humantime::parse_duration(text).map_err(|error| {
            E::custom(format!(
                "\"{text}\" is no duration such as \"2s\" or \"500ms\": {error}"
            ))
        })?;
        if duration > LONGEST_DURATION {
            return Err(E::custom(format!("\"{text}\" is too long: ten years are the limit")));
        }
        Ok(duration)
    }
}

pub(super) fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

pub(super) fn policy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PolicyName, D::Error> {
    let policy: PolicyName = String::deserialize(deserializer)?.parse().map_err(de::Error::custom)?;
    if !policy.is_for_publishers() {
        return Err(de::Error::custom(format!(
            "the policy \"{policy}\" is what happens without a publisher, for simulations alone"
        )));
    }
    Ok(policy)
}

pub(super) fn stamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Stamp, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "hour" => Ok(Stamp::Hour),
        "second" => Ok(Stamp::Second),
        other => Err(de::Error::custom(format!(
            "\"{other}\" is no stamp: write \"hour\" or \"second\""
        ))),
    }
}

pub(super) fn authorization<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<AuthorizationKind>, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "basic" => Ok(Some(AuthorizationKind::Basic)),
        "stealth" => Ok(Some(AuthorizationKind::Stealth)),
        other => Err(de::Error::custom(format!(
            "\"{other}\" is no client authorization: write \"basic\" or \"stealth\""
        ))),
    }
}

pub(super) fn weight<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Weight, D::Error> {
    NonZeroU32::deserialize(deserializer).map(Weight::from)
}

pub(super) fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<InstanceName, D::Error> {
    InstanceName::try_from(String::deserialize(deserializer)?).map_err(de::Error::custom)
}
