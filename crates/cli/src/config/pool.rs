//! `[pool]`: instances that the publisher runs itself.

use std::fmt;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use onionweave_driver::{self as driver, PoolSize};
use serde::{Deserialize, Deserializer, de};

use super::values::{duration, path};

const FEWEST_FILES: u64 = driver::Pool::FEWEST_FILES;

/// The instances that the publisher runs itself, each of which hosts every service that has
/// [`ports`](super::Service::ports).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Pool {
    /// Number of instances that serve at once: a number, or `"cores"`, since one Tor uses one core.
    /// Default: `"cores"`.
    #[serde(deserialize_with = "size")]
    pub size: PoolSize,
    /// Number of spares, which are started ahead of need and wait with their introduction points
    /// ready. Default: one.
    #[serde(deserialize_with = "spare")]
    pub spare: u16,
    /// The binary: a path, or a name to be looked for in `PATH`. It must have v2 onion services.
    /// Default: `tor`.
    #[serde(deserialize_with = "path")]
    pub tor: PathBuf,
    /// Lines for the end of each instance's configuration.
    #[serde(deserialize_with = "torrc")]
    pub torrc: Vec<String>,
    /// Whether they outlive the publisher, whose next start then finds them. By default they end
    /// with it, in the same moment, however it ends.
    pub keep: bool,
    /// Memory, in bytes, that each may fill with queued data before it closes the circuits that
    /// hold most (`MaxMemInQueues`). Default: half of the machine's memory, in equal parts. Tor's
    /// own default is up to two fifths of the machine for each process
    /// (`app/config/config.c:4092`), which all together don't have.
    #[serde(deserialize_with = "memory")]
    pub memory: Option<u64>,
    /// Number of files and connections that each may have open; a stream to a backend is one.
    /// Default: 16384, or what the publisher itself may have if that is less. Tor takes all that it
    /// may (`lib/process/restrict.c:239`), and an instance under attack must leave some to the
    /// others.
    #[serde(deserialize_with = "open_files")]
    pub open_files: Option<u64>,
    /// The least time from one start to the next. Starts that fail double it, up to a minute.
    /// Default: one second, so that a pool of eight stands within ten and a Tor that exits at once
    /// costs next to nothing.
    #[serde(deserialize_with = "duration")]
    pub start_pause: Duration,
    /// Longest time until one answers on its control socket. A slower one is ended, and its start
    /// has failed. Default: thirty seconds; it takes a quarter of a second.
    #[serde(deserialize_with = "duration")]
    pub start_within: Duration,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            size: PoolSize::Cores,
            spare: 1,
            tor: PathBuf::from("tor"),
            torrc: Vec::new(),
            keep: false,
            memory: None,
            open_files: None,
            start_pause: Duration::from_secs(1),
            start_within: Duration::from_secs(30),
        }
    }
}

impl Pool {
    /// The pool as the builder takes it.
    pub(super) fn described(&self) -> driver::Pool {
        let mut pool = driver::Pool::new(self.size)
            .spare(self.spare)
            .tor(&self.tor)
            .torrc(self.torrc.iter().cloned())
            .keep(self.keep)
            .start_pause(self.start_pause)
            .start_within(self.start_within);
        if let Some(memory) = self.memory {
            pool = pool.memory(memory);
        }
        if let Some(files) = self.open_files {
            pool = pool.open_files(files);
        }
        pool
    }

    pub(super) fn resolve(&mut self, folder: &Path) {
        // A bare name is looked for in PATH.
        if self.tor.components().count() > 1 {
            self.tor = folder.join(&self.tor);
        }
    }
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PoolSize, D::Error> {
    let most = driver::Pool::MOST_INSTANCES;
    let wrong = |shown: &dyn fmt::Display| {
        de::Error::custom(format!(
            "{shown} is no size of a pool: write \"cores\" or a number from 1 to {most}"
        ))
    };
    match toml::Value::deserialize(deserializer)? {
        toml::Value::String(text) if text == "cores" => Ok(PoolSize::Cores),
        toml::Value::Integer(number) => match u16::try_from(number).ok().and_then(NonZeroU16::new) {
            Some(size) if size.get() <= driver::Pool::MOST_INSTANCES => Ok(PoolSize::Exactly(size)),
            _ => Err(wrong(&number)),
        },
        other => Err(wrong(&other)),
    }
}

fn spare<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let most = driver::Pool::MOST_SPARES;
    let number = i64::deserialize(deserializer)?;
    u16::try_from(number)
        .ok()
        .filter(|&number| number <= driver::Pool::MOST_SPARES)
        .ok_or_else(|| de::Error::custom(format!("{number} spares: write a number from 0 to {most}")))
}

fn torrc<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let lines = Vec::<String>::deserialize(deserializer)?;
    lines
        .iter()
        .try_for_each(|line| driver::Pool::check_line(line))
        .map_err(de::Error::custom)?;
    Ok(lines)
}

fn memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let number = |text: &str, unit: u64| text.trim_end().parse::<u64>().ok()?.checked_mul(unit);
    let bytes = match (text.strip_suffix("MB"), text.strip_suffix("GB")) {
        (Some(text), _) => number(text, 1 << 20),
        (_, Some(text)) => number(text, 1 << 30),
        _ => None,
    };
    match bytes {
        Some(bytes) if bytes >= driver::Pool::LEAST_MEMORY => Ok(Some(bytes)),
        Some(_) => Err(de::Error::custom(format!("\"{text}\" is too little: at least 64 MB"))),
        None => Err(de::Error::custom(format!(
            "\"{text}\" is no amount of memory such as \"512 MB\" or \"2 GB\""
        ))),
    }
}

fn open_files<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let number = u64::deserialize(deserializer)?;
    if number < FEWEST_FILES {
        return Err(de::Error::custom(format!(
            "{number} is too few: at least {FEWEST_FILES}"
        )));
    }
    Ok(Some(number))
}
