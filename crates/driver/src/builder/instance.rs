//! An instance of a service.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use onionweave_assign::Weight;
use onionweave_control::Endpoint;
use onionweave_publish::pool::Place;
use onionweave_publish::{InstanceName, InstanceSettings, Source};
use onionweave_ring::OnionAddress;
use onionweave_ring::v2::ServiceId;

use super::{Check, LoadGauge, LoadSource, Pool, Tor};
use crate::error::InstanceProblem;

/// Times between two looks at a file that make sense.
const FILE_POLLS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
/// Times between two readings of directories that make sense: each takes a circuit to each of them.
const DIRECTORY_POLLS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
/// Ages of descriptors that make sense: they are dated with the full hour, and no directory takes
/// one after three days (`rendcache.c:672`).
const STALE: RangeInclusive<Duration> = Duration::from_secs(3600)..=Duration::from_secs(72 * 3600);

/// Instance of a service.
///
/// ```
/// use onionweave_control::Endpoint;
/// use onionweave_driver::{Instance, Tor};
///
/// let near: Endpoint = "unix:/run/tor-a/control".parse()?;
/// let far = Tor::new("192.0.2.7:9051".parse()?).password_file("/etc/onionweave/b.password");
/// let a = Instance::new("a".parse()?, near).restart(["systemctl", "restart", "tor@a"]);
/// let b = Instance::new("b".parse()?, far);
/// let c = Instance::from_file("c".parse()?, "/run/tor-c/descriptor");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Instance {
    pub(crate) name: InstanceName,
    source: InstanceSource,
    pub(crate) address: Option<ServiceId>,
    poll: Option<Duration>,
    stale: Option<Duration>,
    pub(crate) weight: Weight,
    pub(crate) restart: Vec<String>,
    pub(crate) check: Option<Check>,
    pub(crate) load: Option<LoadGauge>,
}

/// Place from which the publisher knows an instance's descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
enum InstanceSource {
    /// Its Tor's control port.
    Tor(Tor),
    /// A file that somebody writes.
    File(PathBuf),
    /// The directories that its clients ask.
    Directories,
}

impl Instance {
    /// Default time between two readings of directories, or looks at a file: the thesis's own
    /// figure.
    pub const POLL: Duration = Duration::from_secs(30);

    /// An instance that is known through the control port of its Tor. `name` is unique within the
    /// service.
    pub fn new(name: InstanceName, tor: impl Into<Tor>) -> Self {
        Self::from_source(name, InstanceSource::Tor(tor.into()))
    }

    /// An instance whose descriptor is written into a file, where its control port is out of reach.
    pub fn from_file(name: InstanceName, file: impl Into<PathBuf>) -> Self {
        Self::from_source(name, InstanceSource::File(file.into()))
    }

    /// An instance with a key of its own, whose descriptor is read from the directories.
    pub fn from_directories(name: InstanceName, address: ServiceId) -> Self {
        Self::from_source(name, InstanceSource::Directories).address(address)
    }

    fn from_source(name: InstanceName, source: InstanceSource) -> Self {
        Self {
            name,
            source,
            address: None,
            poll: None,
            stale: None,
            weight: Weight::default(),
            restart: Vec::new(),
            check: None,
            load: None,
        }
    }

    /// The instance in a place of the pool: one like all others, in a folder of its own.
    pub(crate) fn of_pool(state: &Path, place: Place) -> Self {
        let socket = Endpoint::Unix(Pool::socket(state, place.number()));
        let cookie = Pool::folder(state, place.number()).join("cookie");
        Self::new(place.instance(), Tor::new(socket).cookie_file(cookie))
    }

    /// Names the address of its own key, if that is not the service's.
    pub fn address(mut self, address: ServiceId) -> Self {
        self.address = Some(address);
        self
    }

    /// Sets the time between two readings of directories (from a second to an hour), or looks at a
    /// file that does not seem to change (from 100 ms to an hour). Default: [`POLL`](Self::POLL).
    pub fn poll(mut self, poll: Duration) -> Self {
        self.poll = Some(poll);
        self
    }

    /// Sets the age until which a descriptor from a file or from directories is believed: from one
    /// hour to 72.
    ///
    /// Default: two hours and a quarter, since Tor dates descriptors with the full hour, and makes
    /// a new one each hour.
    pub fn stale(mut self, stale: Duration) -> Self {
        self.stale = Some(stale);
        self
    }

    /// Sets its part of the traffic, relative to the other instances. Default: 1.
    pub fn weight(mut self, weight: Weight) -> Self {
        self.weight = weight;
        self
    }

    /// Sets the command that restarts it: program and arguments.
    pub fn restart<S: Into<String>>(mut self, command: impl IntoIterator<Item = S>) -> Self {
        self.restart = command.into_iter().map(Into::into).collect();
        self
    }

    /// Sets a check of its own. Default: the service's.
    pub fn check(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    /// Sets a gauge of load of its own. Default: the service's.
    pub fn load(mut self, load: LoadGauge) -> Self {
        self.load = Some(load);
        self
    }

    pub(crate) fn tor(&self) -> Option<&Tor> {
        match &self.source {
            InstanceSource::Tor(tor) => Some(tor),
            _ => None,
        }
    }

    pub(crate) fn file(&self) -> Option<&Path> {
        match &self.source {
            InstanceSource::File(file) => Some(file),
            _ => None,
        }
    }

    /// Whether its descriptor is read from the directories.
    pub(crate) fn reads_directories(&self) -> bool {
        self.source == InstanceSource::Directories
    }

    pub(crate) fn poll_time(&self) -> Duration {
        self.poll.unwrap_or(Self::POLL)
    }

    pub(crate) fn settings(&self) -> InstanceSettings {
        let mut settings = InstanceSettings::new(self.name.clone());
        settings.weight = self.weight;
        settings.restart = !self.restart.is_empty();
        settings.address = self.address.map(OnionAddress::from);
        settings.source = match self.source {
            InstanceSource::Tor(_) => Source::Control,
            InstanceSource::File(_) => Source::File,
            InstanceSource::Directories => Source::Directories {
                every: self.poll_time(),
            },
        };
        settings.stale_after = self.stale.unwrap_or(settings.stale_after);
        settings
    }

    pub(super) fn validate(&self) -> Result<(), InstanceProblem> {
        if self.restart.first().is_some_and(String::is_empty) {
            return Err(InstanceProblem::EmptyRestart);
        }
        if let Some(load) = &self.load {
            load.validate().map_err(InstanceProblem::Load)?;
        }
        let polls = match &self.source {
            InstanceSource::Tor(_) if self.poll.is_some() || self.stale.is_some() => {
                return Err(InstanceProblem::NotPolled);
            }
            InstanceSource::Tor(_) => return Ok(()),
            _ if !self.restart.is_empty() => return Err(InstanceProblem::RestartWithoutControl),
            _ if self
                .load
                .as_ref()
                .is_some_and(|load| load.source == LoadSource::Bandwidth) =>
            {
                return Err(InstanceProblem::BandwidthWithoutControl);
            }
            InstanceSource::File(_) => FILE_POLLS,
            InstanceSource::Directories => DIRECTORY_POLLS,
        };
        for (what, value, range) in [("poll", self.poll, polls), ("stale", self.stale, STALE)] {
            if value.is_some_and(|value| !range.contains(&value)) {
                let (least, most) = range.into_inner();
                return Err(InstanceProblem::OutOfRange { what, least, most });
            }
        }
        Ok(())
    }
}
