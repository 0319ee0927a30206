//! Parts of a network.

use std::collections::BTreeMap;
use std::time::Duration;

use onionweave_assign::PolicyName;
use onionweave_desc::rsa::RustCrypto;
use onionweave_desc::v2::ServiceKey;
use onionweave_publish::trace::Recorder;
use onionweave_publish::version::Audience;
use onionweave_publish::{InstanceSettings, Machine, Moment, Settings};
use onionweave_ring::{Fingerprint, UnixTime};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use super::{Delays, Network};
use crate::Error;
use crate::engine::Engine;
use crate::fixtures::{self, Points};
use crate::instance::Instance;
use crate::place::Place;

/// Builds a [`Network`].
#[derive(Debug)]
pub struct Builder {
    seed: u64,
    directories: usize,
    /// The settings, or the mistake in the names of the instances.
    settings: Result<Settings, Error>,
    start: UnixTime,
    delays: Delays,
    recorded: bool,
}

impl Builder {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            directories: 12,
            settings: Ok(Settings::default()),
            start: UnixTime::from_secs(1_795_349_700),
            delays: Delays::default(),
            recorded: false,
        }
    }

    /// Sets the number of relays that have the `HSDir` flag. Default: 12.
    pub fn directories(mut self, directories: usize) -> Self {
        self.directories = directories;
        self
    }

    /// The instances' names. They are down until [`Network::start`].
    pub fn instances<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let instances = names.into_iter().map(|name| Ok(InstanceSettings::new(name.parse()?)));
        let instances: Result<_, Error> = instances.collect();
        self.settings = self.settings.and_then(|mut settings| {
            settings.set_instances(instances?)?;
            Ok(settings)
        });
        self
    }

    /// Changes the publisher's settings.
    pub fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        if let Ok(settings) = &mut self.settings {
            change(settings);
        }
        self
    }

    /// When the simulation starts. Default: a quarter past an hour in 2026, an hour into the
    /// service's time period.
    pub fn start(mut self, start: UnixTime) -> Self {
        self.start = start;
        self
    }

    /// Sets the durations of things.
    pub fn delays(mut self, delays: Delays) -> Self {
        self.delays = delays;
        self
    }

    /// Keeps a trace of what the machine is told and asks for, see [`Network::trace`].
    pub fn recorded(mut self) -> Self {
        self.recorded = true;
        self
    }

    /// Makes the network, with the consensus known to the publisher and no instance up.
    ///
    /// # Errors
    ///
    /// [`Error`] if the name of an instance is none or stands twice, or the fixtures cannot be
    /// read.
    pub fn build(self) -> Result<Network, Error> {
        let settings = self.settings?;
        let key = ServiceKey::new(fixtures::private_key()?, &RustCrypto)?;
        let mut rng = ChaCha12Rng::seed_from_u64(self.seed);
        let directories = (0..self.directories)
            .map(|_| (Fingerprint::from(rng.random::<[u8; 20]>()), Place::default()))
            .collect();
        let instances = settings
            .instances()
            .iter()
            .map(|instance| (instance.name.clone(), Instance::new(instance.name.clone())))
            .collect();
        let trace = self.recorded.then(|| {
            let recorder = Recorder::default();
            let now = Moment::new(self.start, Duration::ZERO);
            let started = recorder.started(key.service_id().into(), &settings, now);
            (recorder, vec![started])
        });
        let authorization = match &settings.authorization {
            Some(Audience::V2(authorization)) => Some(authorization.clone()),
            _ => None,
        };
        let machine = Machine::new(key.clone(), PolicyName::Mixed.policy(), settings, self.seed);
        let mut engine = Engine::new(self.start);
        engine.add(machine);
        let mut network = Network {
            key,
            authorization,
            engine,
            trace,
            directories,
            instances,
            delays: self.delays,
            rng,
            reports: Vec::new(),
            restarts: Vec::new(),
            uploads: 0,
            checked_uploads: 0,
            audits: 0,
            on_their_way: BTreeMap::new(),
            loud: BTreeMap::new(),
            points: Points::new()?,
        };
        network.publish_consensus();
        Ok(network)
    }
}
