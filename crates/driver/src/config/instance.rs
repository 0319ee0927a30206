//! `[[service.instance]]`.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use onionweave_assign::Weight;
use onionweave_control::Endpoint;
use onionweave_publish::pool::Place;
use onionweave_publish::{InstanceName, InstanceSettings, Source};
use onionweave_ring::OnionAddress;
use onionweave_ring::v2::ServiceId;
use serde::Deserialize;

use super::values::{name, some_address, some_duration, some_endpoint, weight};
use super::{Check, LoadGauge, LoadSource, Pool};

/// How often a descriptor may be looked for at most: in a file, and at the directories.
const FASTEST_FILE_POLL: Duration = Duration::from_millis(100);
const FASTEST_DIRECTORY_POLL: Duration = Duration::from_secs(1);
/// And at least.
const SLOWEST_POLL: Duration = Duration::from_secs(3600);
/// A descriptor is dated with the full hour, and after three days no directory takes it (`rendcache.c:672`).
const STALE: RangeInclusive<Duration> = Duration::from_secs(3600)..=Duration::from_secs(72 * 3600);

/// One instance of a service.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Instance {
    /// Its name, unique within the service.
    #[serde(deserialize_with = "name")]
    pub name: InstanceName,
    /// Where its control port is.
    #[serde(default, deserialize_with = "some_endpoint")]
    pub control: Option<Endpoint>,
    /// The file into which its descriptor is written, where its control port is out of reach.
    pub file: Option<PathBuf>,
    /// The address of its own key, if that is not the service's. With neither `control` nor `file`, its descriptor is read from the
    /// directories.
    #[serde(default, deserialize_with = "some_address")]
    pub address: Option<ServiceId>,
    /// How often the directories are read, or that file is looked at even if nothing says that it changed. Default: thirty seconds.
    #[serde(default, deserialize_with = "some_duration")]
    pub poll: Option<Duration>,
    /// How long after its date a descriptor from a file or from directories is believed, if no newer one comes. Default: two hours and a
    /// quarter, since Tor dates descriptors with the full hour, and makes a new one each hour.
    #[serde(default, deserialize_with = "some_duration")]
    pub stale: Option<Duration>,
    /// The file that holds the control port's password, on one line.
    pub password_file: Option<PathBuf>,
    /// The cookie file, if Tor's own word on it does not hold here (another host, a container).
    pub cookie_file: Option<PathBuf>,
    /// Its part of the traffic, relative to the other instances. Default: 1.
    #[serde(default, deserialize_with = "weight")]
    pub weight: Weight,
    /// The command that restarts it: program and arguments.
    #[serde(default)]
    pub restart: Vec<String>,
    /// What is checked of it, besides that its Tor answers. Default: what the service says.
    pub check: Option<Check>,
    /// Where its load is read, which its share of the traffic follows. Default: what the service says.
    pub load: Option<LoadGauge>,
}

impl Instance {
    /// The default of [`poll`](Self::poll), the thesis's own figure.
    pub const POLL: Duration = Duration::from_secs(30);

    /// Whether its descriptor is read from the directories.
    pub fn reads_directories(&self) -> bool {
        self.control.is_none() && self.file.is_none()
    }

    pub(super) fn settings(&self) -> InstanceSettings {
        let mut settings = InstanceSettings::new(self.name.clone());
        settings.weight = self.weight;
        settings.restart = !self.restart.is_empty();
        settings.address = self.address.map(OnionAddress::from);
        settings.source = match (&self.control, &self.file) {
            (Some(_), _) => Source::Control,
            (None, Some(_)) => Source::File,
            (None, None) => Source::Directories {
                every: self.poll.unwrap_or(Self::POLL),
            },
        };
        settings.stale_after = self.stale.unwrap_or(settings.stale_after);
        settings
    }

    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.restart.first().is_some_and(String::is_empty) {
            return Err("the restart command is empty");
        }
        match (&self.control, &self.file, &self.address) {
            (None, None, None) => return Err("needs control, file, or an address of its own"),
            (Some(_), Some(_), _) => return Err("control and file exclude each other"),
            _ => {}
        }
        if self.password_file.is_some() && self.cookie_file.is_some() {
            return Err("password_file and cookie_file exclude each other");
        }
        if self.control.is_none() && (self.password_file.is_some() || self.cookie_file.is_some()) {
            return Err("password_file and cookie_file need control");
        }
        if self.control.is_none() && !self.restart.is_empty() {
            return Err("restart needs control: nothing else tells whether the instance runs");
        }
        if self.control.is_none()
            && self
                .load
                .as_ref()
                .is_some_and(|load| load.source == LoadSource::Bandwidth)
        {
            return Err("bandwidth as load needs control: Tor's events tell it");
        }
        if self.control.is_some() && (self.poll.is_some() || self.stale.is_some()) {
            return Err("poll and stale are for what is known without a control port");
        }
        let fastest = match self.file {
            Some(_) => FASTEST_FILE_POLL,
            None => FASTEST_DIRECTORY_POLL,
        };
        match (self.poll, self.stale) {
            (Some(poll), _) if poll < fastest => Err(match self.file {
                Some(_) => "poll of a file must be 100ms or more",
                None => "poll of directories must be 1s or more: each takes a circuit to each of them",
            }),
            (Some(poll), _) if poll > SLOWEST_POLL => Err("poll must be 1h or less"),
            (_, Some(stale)) if !STALE.contains(&stale) => Err("stale must lie between 1h and 72h"),
            _ => Ok(()),
        }
    }

    /// The instance in a place of the pool: one like all others, in a folder of its own.
    pub(crate) fn of_pool(state: &Path, place: Place) -> Self {
        Self {
            name: place.instance(),
            control: Some(Endpoint::Unix(Pool::socket(state, place.number()))),
            file: None,
            address: None,
            poll: None,
            stale: None,
            password_file: None,
            cookie_file: Some(Pool::folder(state, place.number()).join("cookie")),
            weight: Weight::default(),
            restart: Vec::new(),
            check: None,
            load: None,
        }
    }
}
