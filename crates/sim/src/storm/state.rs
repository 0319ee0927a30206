//! Truth of a storm, whatever anybody knows of it.

use std::collections::BTreeMap;
use std::time::Duration;

use onionweave_desc::v2::ServiceKey;
use onionweave_publish::{InstanceName, Machine, Moment, Settings};
use onionweave_ring::{Fingerprint, HashRing, UnixTime};

use super::climate::{Climate, Season};
use super::directories::Watched;
use super::far::Far;
use super::world::Due;
use crate::engine::Engine;
use crate::instance::Instance;

/// The network and its publishers.
#[derive(Debug)]
pub(super) struct State {
    /// Time, what will happen, and the publishers' machines and clocks.
    pub(super) engine: Engine<Due>,
    pub(super) climate: Climate,
    pub(super) season: Season,
    pub(super) stormy: bool,
    pub(super) key: ServiceKey,
    pub(super) far: Far,
    pub(super) places: BTreeMap<Fingerprint, Watched>,
    pub(super) instances: Vec<Instance>,
    /// The publishers: one, and at times a second.
    pub(super) publishers: Vec<Publisher>,
}

/// A publisher, without its machine: what its driver knows.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) settings: Settings,
    /// The number of its process: what was asked by an earlier one is not answered to a later one.
    pub(super) life: u32,
    /// When its clock was last set.
    pub(super) clock_set: Duration,
    pub(super) links: Vec<Link>,
    /// The directories that it was told of.
    pub(super) ring: HashRing,
    /// The number of the far instance's descriptor that it was last told of, where it watches a
    /// file.
    pub(super) far_told: Option<u32>,
}

/// A driver's connection to one instance.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    /// Whether the configuration names it.
    pub(super) watched: bool,
    /// The connection is broken until then, although the instance may live.
    pub(super) broken_until: Duration,
    /// The process and the descriptor of which the machine was told; `None` while the connection is
    /// down.
    pub(super) told: Option<Told>,
    /// Whether the machine was told that no connection can be made.
    pub(super) told_unreachable: bool,
    /// Whether the machine was told that the instance cannot be used.
    pub(super) unfit: bool,
}

/// The process of an instance that a machine was told of, and which of its descriptors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) life: u32,
    pub(super) builds: u32,
}

impl State {
    /// Returns the time since the storm began.
    pub(super) const fn now(&self) -> Duration {
        self.engine.uptime()
    }

    /// Returns the true time, by which directories live.
    pub(super) const fn truth(&self) -> UnixTime {
        self.engine.truth()
    }

    /// Returns the present by a publisher's clocks.
    pub(super) fn moment(&self, publisher: usize) -> Moment {
        self.engine.moment(publisher)
    }

    /// Starts a publisher beside the others, whose process has this number.
    pub(super) fn join(&mut self, life: u32, seed: u64) {
        let publisher = Publisher::new(&self.climate, self.climate.settings.clone(), life);
        self.engine.add(self.machine(&publisher.settings, seed));
        self.publishers.push(publisher);
    }

    /// Kills a publisher and starts another in its place, which knows nothing.
    pub(super) fn restart(&mut self, publisher: usize, life: u32, seed: u64) {
        let settings = self.publishers[publisher].settings.clone();
        self.engine.replace(publisher, self.machine(&settings, seed));
        self.publishers[publisher] = Publisher::new(&self.climate, settings, life);
    }

    /// Stops all publishers but the first.
    pub(super) fn stop_others(&mut self) {
        self.publishers.truncate(1);
        self.engine.truncate(1);
    }

    fn machine(&self, settings: &Settings, seed: u64) -> Machine {
        Machine::new(self.key.clone(), self.climate.policy.policy(), settings.clone(), seed)
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
            place.fail(self.engine.uptime());
        }
    }

    pub(super) fn disturb(&mut self, directory: &Fingerprint) {
        if let Some(place) = self.places.get_mut(directory) {
            place.disturb(self.engine.uptime());
        }
    }
}

impl Publisher {
    /// A publisher that knows nothing yet.
    fn new(climate: &Climate, settings: Settings, life: u32) -> Self {
        let link = |name: &InstanceName| Link {
            watched: settings.instances().iter().any(|instance| instance.name == *name),
            ..Link::default()
        };
        Self {
            links: climate.names().map(link).collect(),
            settings,
            life,
            clock_set: Duration::ZERO,
            ring: HashRing::new([]),
            far_told: None,
        }
    }
}
