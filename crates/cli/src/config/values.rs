//! How single values are written.

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
    text.parse().map(Some).map_err(de::Error::custom)
}

pub(super) fn socks_endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Endpoint, D::Error> {
    endpoint_named(&String::deserialize(deserializer)?, "SOCKS endpoint").map_err(de::Error::custom)
}

/// Reads an endpoint that is no control port.
pub(super) fn endpoint_named(text: &str, what: &str) -> Result<Endpoint, String> {
    text.parse().map_err(|error| match error {
        ControlError::Endpoint { problem, .. } => format!("\"{text}\" is no {what}: {problem}"),
        other => other.to_string(),
    })
}

pub(super) fn yes() -> bool {
    true
}

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|error| {
        de::Error::custom(format!(
            "\"{text}\" is no duration such as \"2s\" or \"500ms\": {error}"
        ))
    })
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
    let name = String::deserialize(deserializer)?;
    if name.is_empty() || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(de::Error::custom(
            "an instance's name must not be empty nor hold white space",
        ));
    }
    Ok(name.into())
}
