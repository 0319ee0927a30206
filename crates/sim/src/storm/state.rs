//! What is true in a storm, whatever anybody knows of it.

use std::collections::BTreeMap;
use std::time::Duration;

use onionweave_desc::v2::ServiceKey;
use onionweave_publish::{InstanceName, Machine, Moment, Settings};
use onionweave_ring::{Fingerprint, HashRing, UnixTime};

use super::climate::{Climate, Season};
use super::directories::Watched;
use super::far::Far;
use crate::instance::Instance;

/// The network and its publishers.
#[derive(Debug)]
pub(super) struct State {
    /// The time since the storm began.
    pub(super) now: Duration,
    pub(super) climate: Climate,
    pub(super) season: Season,
    pub(super) stormy: bool,
    pub(super) key: ServiceKey,
    pub(super) far: Far,
    pub(super) places: BTreeMap<Fingerprint, Watched>,
    pub(super) instances: Vec<Instance>,
    /// One, and at times a second.
    pub(super) publishers: Vec<Publisher>,
}

/// A publisher: the machine, its clock, and what its driver knows.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) machine: Machine,
    pub(super) settings: Settings,
    /// The number of its process: what was asked by an earlier one is not answered to a later one.
    pub(super) life: u32,
    /// How far its wall clock is ahead, in seconds.
    pub(super) ahead: i64,
    /// When its clock was last set.
    pub(super) clock_set: Duration,
    pub(super) links: Vec<Link>,
    /// The directories that it was told of.
    pub(super) ring: HashRing,
    /// The number of the far instance's descriptor that it was last told of, where it watches a file.
    pub(super) far_told: Option<u32>,
    /// When the machine wants to be called.
    pub(super) deadline: Option<Duration>,
}

/// A driver's connection to one instance.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    /// Whether the configuration names it.
    pub(super) watched: bool,
    /// The connection is broken until then, although the instance may live.
    pub(super) broken_until: Duration,
    /// The process and the descriptor of which the machine was told; `None` while the connection is down.
    pub(super) told: Option<Told>,
    /// Whether the machine was told that no connection can be made.
    pub(super) told_unreachable: bool,
    /// Whether the machine was told that the instance cannot be used.
    pub(super) unfit: bool,
}

/// Which process of an instance a machine was told of, and which of its descriptors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) life: u32,
    pub(super) builds: u32,
}

impl State {
    /// The true time, by which directories live.
    pub(super) fn truth(&self) -> UnixTime {
        let seconds = Duration::from_secs(self.now.as_secs());
        self.climate.start.saturating_add(seconds)
    }

    /// The present by a publisher's clocks.
    pub(super) fn moment(&self, publisher: usize) -> Moment {
        let ahead = self.publishers[publisher].ahead;
        let wall = UnixTime::from_secs(self.truth().as_secs().saturating_add_signed(ahead));
        Moment::new(wall, self.now)
    }

    /// The publishers whose connection to an instance stands.
    pub(super) fn watching(&self, instance: usize) -> Vec<usize> {
        (0..self.publishers.len())
            .filter(|&publisher| self.publishers[publisher].links[instance].told.is_some())
            .collect()
    }

    /// Whether a publisher's process of this number still runs.
    pub(super) fn lives(&self, publisher: usize, life: u32) -> bool {
        let process = self.publishers.get(publisher).map(|publisher| publisher.life);
        process == Some(life)
    }

    pub(super) fn fail(&mut self, directory: &Fingerprint) {
        if let Some(place) = self.places.get_mut(directory) {
            place.fail(self.now);
        }
    }

    pub(super) fn disturb(&mut self, directory: &Fingerprint) {
        if let Some(place) = self.places.get_mut(directory) {
            place.disturb(self.now);
        }
    }
}

impl Publisher {
    /// A publisher that knows nothing yet.
    pub(super) fn new(key: &ServiceKey, climate: &Climate, settings: Settings, seed: u64) -> Self {
        let link = |name: &InstanceName| Link {
            watched: settings.instances().iter().any(|instance| instance.name == *name),
            ..Link::default()
        };
        Self {
            links: climate.names().map(link).collect(),
            machine: Machine::new(key.clone(), climate.policy.policy(), settings.clone(), seed),
            settings,
            life: 0,
            ahead: 0,
            clock_set: Duration::ZERO,
            ring: HashRing::new([]),
            far_told: None,
            deadline: None,
        }
    }

    /// Kills it and starts another in its place, which knows nothing.
    pub(super) fn restart(&mut self, key: &ServiceKey, climate: &Climate, seed: u64, life: u32) {
        *self = Self {
            life,
            ahead: self.ahead,
            ..Self::new(key, climate, self.settings.clone(), seed)
        };
    }
}
