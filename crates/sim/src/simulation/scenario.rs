//! Parts of a [`Simulation`].

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use onionweave_assign::PolicyName;
use onionweave_desc::v2::ServiceKey;
use onionweave_publish::{InstanceSettings, Policy, Settings};
use onionweave_ring::{Fingerprint, UnixTime};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use super::clients::Clients;
use super::plan::{Crowd, Happening, InstancePlan, Pace};
use super::record::Record;
use super::servers::Server;
use super::shelves::{self, Shelves, View};
use super::{Gait, Reach, Simulation, micros};
use crate::Error;
use crate::engine::Engine;
use crate::fixtures::{self, Points};

/// Instances with one key, a publisher or none, and clients: what a [`Simulation`] is made of.
///
/// By default there are a hundred directories that stay, a hundred relays for introduction points,
/// and a publisher with the policy `mixed`. The same scenario with the same seed always comes out
/// the same.
///
/// ```
/// use std::time::Duration;
/// use onionweave_assign::PolicyName;
/// use onionweave_sim::{Crowd, Happening, Scenario};
///
/// const MINUTE: Duration = Duration::from_secs(60);
///
/// let scenario = |policy| {
///     Scenario::new(7)
///         .numbered(3)
///         .policy(policy)
///         .clients(Crowd::new(500).fresh().arriving(5 * MINUTE..=10 * MINUTE).pausing(MINUTE..=3 * MINUTE))
///         .at(30 * MINUTE, Happening::Dies("instance1".into()))
/// };
/// // Without a publisher, the one that published last has nearly all; with it, a third.
/// let race = scenario(PolicyName::Race).run(60 * MINUTE)?;
/// let mixed = scenario(PolicyName::Mixed).run(60 * MINUTE)?;
/// assert!(mixed.evenness() > race.evenness());
/// assert_eq!(mixed.missed(), 0);
/// # Ok::<(), onionweave_sim::Error>(())
/// ```
pub struct Scenario {
    seed: u64,
    start: UnixTime,
    directories: Directories,
    relays: usize,
    churn: f64,
    instances: Vec<InstancePlan>,
    policy: Option<Box<dyn Fn() -> Policy>>,
    loud: bool,
    change: Box<dyn Fn(&mut Settings)>,
    crowds: Vec<Crowd>,
    happenings: Vec<(Duration, Happening)>,
    pace: Pace,
    interval: Duration,
    most_visits: usize,
    key: Option<ServiceKey>,
    real_signatures: bool,
}

#[derive(Clone, Debug)]
enum Directories {
    Drawn(usize),
    Given(Vec<Fingerprint>),
}

impl Scenario {
    /// The part of the directories that leaves, and joins, from one hourly consensus to the next on
    /// the public network: a hundredth, rounded up. (Of all relays, 1.2 % averaged over a day would
    /// already be remarkable: Winter et al., *Identifying and characterizing Sybils in the Tor
    /// network*, 2016, section 5.1.)
    pub const PUBLIC_CHURN: f64 = 0.01;

    /// A scenario without instances and clients; `seed` decides all that is drawn.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            start: UnixTime::from_secs(1_795_349_700),
            directories: Directories::Drawn(100),
            relays: 100,
            churn: 0.0,
            instances: Vec::new(),
            policy: Some(Box::new(|| PolicyName::Mixed.policy())),
            loud: false,
            change: Box::new(|_| ()),
            crowds: Vec::new(),
            happenings: Vec::new(),
            pace: Pace::default(),
            interval: Duration::from_secs(60),
            most_visits: 0,
            key: None,
            real_signatures: false,
        }
    }

    // The network.

    /// Sets the number of relays that have the `HSDir` flag. By default 100, as in the thesis.
    #[must_use]
    pub fn directories(mut self, count: usize) -> Self {
        self.directories = Directories::Drawn(count);
        self
    }

    /// Names the relays that have the `HSDir` flag.
    #[must_use]
    pub fn directories_named(mut self, fingerprints: impl IntoIterator<Item = Fingerprint>) -> Self {
        self.directories = Directories::Given(fingerprints.into_iter().collect());
        self
    }

    /// Sets the number of relays for introduction points, at least ten. Tor draws one with a chance
    /// that goes by its bandwidth; here all are alike.
    #[must_use]
    pub fn relays(mut self, count: usize) -> Self {
        self.relays = count.max(10);
        self
    }

    /// With which chance each directory leaves in each hour, for good; as many new ones join. Then
    /// a consensus is made every hour, and everybody gets it when Tor would. By default 0; see
    /// [`PUBLIC_CHURN`](Self::PUBLIC_CHURN).
    #[must_use]
    pub fn churn(mut self, chance_an_hour: f64) -> Self {
        self.churn = chance_an_hour.clamp(0.0, 1.0);
        self
    }

    /// When it begins. By default a quarter past an hour, an hour into the service's time period.
    #[must_use]
    pub fn start(mut self, start: UnixTime) -> Self {
        self.start = start;
        self
    }

    /// Sets the durations of things.
    #[must_use]
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    // The service.

    /// Adds an instance.
    #[must_use]
    pub fn instance(mut self, plan: InstancePlan) -> Self {
        self.instances.push(plan);
        self
    }

    /// Adds instances.
    #[must_use]
    pub fn instances(mut self, plans: impl IntoIterator<Item = InstancePlan>) -> Self {
        self.instances.extend(plans);
        self
    }

    /// Adds the instances `instance1`, `instance2` and so on, as [`InstancePlan::numbered`].
    #[must_use]
    pub fn numbered(self, count: usize) -> Self {
        self.instances(InstancePlan::numbered(count))
    }

    /// Sets the writer of what the directories hand out. With [`PolicyName::Race`] there is no
    /// publisher, and the instances are loud, as Tor is by itself. With all others there is one
    /// that follows the policy, and the instances are quiet.
    #[must_use]
    pub fn policy(mut self, name: PolicyName) -> Self {
        if name == PolicyName::Race {
            (self.policy, self.loud) = (None, true);
            return self;
        }
        self.loud = false;
        self.policy_with(move || name.policy())
    }

    /// A publisher with a policy that this function makes.
    ///
    /// ```
    /// use onionweave_assign::Mixed;
    /// use onionweave_sim::Scenario;
    ///
    /// let scenario = Scenario::new(1).policy_with(|| Box::new(Mixed::default()));
    /// # drop(scenario);
    /// ```
    #[must_use]
    pub fn policy_with(mut self, policy: impl Fn() -> Policy + 'static) -> Self {
        self.policy = Some(Box::new(policy));
        self
    }

    /// Makes the instances publish by themselves over what the publisher writes, as in the thesis.
    #[must_use]
    pub fn loud(mut self) -> Self {
        self.loud = true;
        self
    }

    /// Changes the publisher's settings.
    #[must_use]
    pub fn settings(mut self, change: impl Fn(&mut Settings) + 'static) -> Self {
        self.change = Box::new(change);
        self
    }

    /// The service's key, instead of one that is the same in all scenarios. With it, signatures are
    /// real.
    #[must_use]
    pub fn key(mut self, key: ServiceKey) -> Self {
        (self.key, self.real_signatures) = (Some(key), true);
        self
    }

    // What happens.

    /// Adds clients.
    #[must_use]
    pub fn clients(mut self, crowd: Crowd) -> Self {
        self.crowds.push(crowd);
        self
    }

    /// Makes something happen.
    #[must_use]
    pub fn at(mut self, at: Duration, happening: Happening) -> Self {
        self.happenings.push((at, happening));
        self
    }

    // What is recorded.

    /// Sets the length of the [`Record`]'s intervals. By default a minute.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Records so many single visits: [`Record::visits`]. By default none.
    #[must_use]
    pub fn log_visits(mut self, most: usize) -> Self {
        self.most_visits = most;
        self
    }

    // Running it.

    /// Simulates so much time.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn run(self, time: Duration) -> Result<Record, Error> {
        self.run_with(time, |_| ())
    }

    /// Simulates so much time, and tells two hundred times how far it is.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn run_with(self, time: Duration, mut progress: impl FnMut(&Simulation)) -> Result<Record, Error> {
        const PARTS: u32 = 200;
        let mut simulation = self.build()?;
        for part in 1..=PARTS {
            simulation.run_until(time * part / PARTS);
            progress(&simulation);
        }
        Ok(simulation.finish())
    }

    /// Puts everything in its place.
    ///
    /// # Errors
    /// [`Error::UnknownInstance`] and [`Error::DuplicateInstance`]; [`Error::Descriptor`] if the
    /// fixtures cannot be read.
    pub fn build(self) -> Result<Simulation, Error> {
        self.check()?;
        let mut rng = ChaCha12Rng::seed_from_u64(self.seed);
        let key = match self.key {
            Some(key) => key,
            None => shelves::service_key(fixtures::private_key()?, self.real_signatures)?,
        };
        let directories = match self.directories {
            Directories::Given(fingerprints) => fingerprints,
            Directories::Drawn(count) => (0..count)
                .map(|_| Fingerprint::from(rng.random::<[u8; 20]>()))
                .collect(),
        };
        let shelves = Shelves::new(key.service_id(), self.real_signatures, directories, self.start);
        let instances = self.instances.iter().map(|plan| {
            let mut instance = InstanceSettings::new(plan.name().parse()?);
            instance.weight = plan.weight;
            Ok(instance)
        });
        let mut settings = Settings::new(instances.collect::<Result<_, Error>>()?)?;
        settings.quiet = !self.loud;
        (self.change)(&mut settings);
        let names = self.instances.iter().map(|plan| plan.name.clone());
        let record = Record::new(names, micros(self.interval), self.most_visits);
        let reaches = self.instances.iter().map(Reach::new).collect();
        let mut servers = Vec::new();
        for plan in self.instances {
            servers.push(Server::new(plan, View::drawn(&shelves, self.start, &mut rng))?);
        }
        let clients = Clients::new(&self.crowds, &mut rng);
        let mut simulation = Simulation {
            engine: Engine::new(self.start),
            key,
            churn: self.churn,
            pace: self.pace,
            gait: Gait::new(&self.pace),
            loud: self.loud,
            policy: self.policy,
            settings,
            points: Points::new()?.at_relays(&mut rng, self.relays),
            shelves,
            servers,
            reaches,
            lives: Vec::new(),
            publisher: None,
            loud_uploads: BTreeMap::new(),
            clients,
            next_pipe: None,
            record,
            rng,
            worn: Vec::new(),
        };
        simulation.begin(self.happenings);
        Ok(simulation)
    }

    fn check(&self) -> Result<(), Error> {
        let mut names: Vec<_> = self.instances.iter().map(InstancePlan::name).collect();
        names.sort_unstable();
        if let Some((name, _)) = names.iter().zip(names.iter().skip(1)).find(|(one, next)| one == next) {
            let name = (*name).to_owned();
            return Err(Error::DuplicateInstance { name });
        }
        for (_, happening) in &self.happenings {
            if let Some(name) = happening.instance().filter(|name| !names.contains(name)) {
                let name = name.to_owned();
                return Err(Error::UnknownInstance { name });
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario")
            .field("seed", &self.seed)
            .field("directories", &self.directories)
            .field("instances", &self.instances)
            .field("crowds", &self.crowds)
            .field("happenings", &self.happenings)
            .finish_non_exhaustive()
    }
}
