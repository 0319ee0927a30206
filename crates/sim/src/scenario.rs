//! Scenarios with clients: who reaches whom, when, in how long, and why not.
//!
//! # Layout
//!
//! | module | what is in it |
//! | --- | --- |
//! | `plan` | what a scenario is made of: [`InstancePlan`], [`Crowd`], [`Happening`], [`Pace`] |
//! | `clients` | all clients, thirty-two bytes each; `notes`, what else they remember; `wheel`, when each does something next |
//! | `visit` | the rules by which a client finds a service |
//! | `shelves` | what clients can see: consensuses, directories, texts, introduction points |
//! | `world` | everything else that happens; `servers`, the instances; `publisher`, the machine; `pipe`, bandwidth |
//! | `record` | what came of it: [`Record`] |
//!
//! # Time
//!
//! What happens to the network waits in one queue, what clients do in a wheel of their own. Clients meet only through the network, so a
//! client whose next step comes before anything happens to the network takes it at once, and most visits are one event. A step
//! has no effect on the network within two seconds (a worn-out introduction point is replaced later than that), so a client may go that far ahead
//! of the others and nothing comes out otherwise. Only transfers from instances whose bandwidth is limited touch each other, and these
//! begin and end in the order of time.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use onionweave_assign::PolicyName;
use onionweave_desc::v2::{Descriptor, ServiceKey};
use onionweave_publish::{InstanceSettings, Policy, Settings, SlotId};
use onionweave_ring::{Fingerprint, UnixTime};
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use crate::Error;
use crate::fixtures::{self, Points};
use crate::instance::State;
use crate::queue::Queue;

mod clients;
mod notes;
mod pipe;
mod plan;
mod publisher;
mod record;
mod servers;
mod shelves;
mod visit;
mod wheel;
mod world;

pub use plan::{Crowd, Happening, InstancePlan, Pace};
pub use record::{DirectoryRecord, InstanceRecord, Interval, Miss, Outcome, Record, Times, Visit};

use clients::Clients;
use pipe::Pipe;
use publisher::Publisher;
use servers::Server;
use shelves::{Shelves, View};
use visit::Scene;
use world::Due;

/// Microseconds of the virtual time.
type Micros = u64;

const SECOND: Micros = 1_000_000;
/// How far a client may go ahead of the others.
const AHEAD: Micros = 2 * SECOND;
/// A worn-out introduction point is looked for once a second (`feature/rend/rendservice.c:4115`).
const LOOKS: Micros = SECOND;

fn micros(time: Duration) -> Micros {
    time.as_micros() as Micros
}

/// A number below `span`, all as likely as makes no difference. It costs a multiplication, and is drawn for every visit.
fn below(rng: &mut ChaCha12Rng, span: u64) -> u64 {
    ((u128::from(rng.next_u64()) * u128::from(span)) >> 64) as u64
}

/// Instances with one key, a publisher or none, and clients: what a [`Simulation`] is made of.
///
/// By default there are a hundred directories that stay, a hundred relays for introduction points, and a publisher with the policy
/// `mixed`. The same scenario with the same seed always comes out the same.
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
    /// The part of the directories that leaves, and joins, from one hourly consensus to the next on the public network: a hundredth, rounded
    /// up. (Of all relays, 1.2 % averaged over a day would already be remarkable: Winter et al., *Identifying and characterizing Sybils in the Tor network*,
    /// 2016, section 5.1.)
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

    /// How many relays have the `HSDir` flag. By default 100, as in the thesis.
    #[must_use]
    pub fn directories(mut self, count: usize) -> Self {
        self.directories = Directories::Drawn(count);
        self
    }

    /// Which relays have the `HSDir` flag.
    #[must_use]
    pub fn directories_named(mut self, fingerprints: impl IntoIterator<Item = Fingerprint>) -> Self {
        self.directories = Directories::Given(fingerprints.into_iter().collect());
        self
    }

    /// How many relays there are for introduction points, at least ten. Tor draws one with a chance that goes by its bandwidth; here all
    /// are alike.
    #[must_use]
    pub fn relays(mut self, count: usize) -> Self {
        self.relays = count.max(10);
        self
    }

    /// With which chance each directory leaves in each hour, for good; as many new ones join. Then a consensus is made every hour, and everybody
    /// gets it when Tor would. By default 0; see [`PUBLIC_CHURN`](Self::PUBLIC_CHURN).
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

    /// How long things take.
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

    /// Who writes what the directories hand out: with [`PolicyName::Race`] there is no publisher, and the instances are loud, as Tor is by itself;
    /// with all others there is one that follows the policy, and the instances are quiet.
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

    /// Lets the instances publish by themselves over what the publisher writes, as in the thesis.
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

    /// The service's key, instead of one that is the same in all scenarios. With it, signatures are real.
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

    /// Lets something happen.
    #[must_use]
    pub fn at(mut self, at: Duration, happening: Happening) -> Self {
        self.happenings.push((at, happening));
        self
    }

    // What is recorded.

    /// How long the intervals of the [`Record`] are. By default a minute.
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
    /// [`Error::UnknownInstance`] and [`Error::DuplicateInstance`]; [`Error::Descriptor`] if the fixtures cannot be read.
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
            let mut instance = InstanceSettings::new(plan.name());
            instance.weight = plan.weight;
            instance
        });
        let mut settings = Settings::new(instances.collect());
        settings.quiet = !self.loud;
        (self.change)(&mut settings);
        let names = self.instances.iter().map(|plan| plan.name.clone());
        let record = Record::new(names, micros(self.interval), self.most_visits);
        let reaches = self.instances.iter().map(Reach::new).collect();
        let mut servers = Vec::new();
        for plan in self.instances {
            servers.push(Server::new(plan, View::drawn(&shelves, self.start, &mut rng)));
        }
        let clients = Clients::new(&self.crowds, &mut rng);
        let mut simulation = Simulation {
            start: self.start,
            now: 0,
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
            queue: Queue::new(),
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

/// A [`Scenario`] that runs.
///
/// ```
/// use std::time::Duration;
/// use onionweave_sim::{Crowd, Scenario};
///
/// const MINUTE: Duration = Duration::from_secs(60);
///
/// let mut simulation = Scenario::new(3).numbered(2).clients(Crowd::new(1000)).build()?;
/// for minute in 1..=30 {
///     simulation.run_until(minute * MINUTE);
/// }
/// assert_eq!(simulation.held().count(), 6, "three directories for each of two replicas");
/// let record = simulation.finish();
/// assert_eq!(record.clients(), 1000);
/// # Ok::<(), onionweave_sim::Error>(())
/// ```
pub struct Simulation {
    start: UnixTime,
    now: Micros,
    key: ServiceKey,
    churn: f64,
    pace: Pace,
    gait: Gait,
    loud: bool,
    /// Makes the publisher's policy, if there may be a publisher.
    policy: Option<Box<dyn Fn() -> Policy>>,
    settings: Settings,
    points: Points,
    shelves: Shelves,
    servers: Vec<Server>,
    /// What clients meet of each instance.
    reaches: Vec<Reach>,
    /// The instance of each process that there has been.
    lives: Vec<u32>,
    publisher: Option<Publisher>,
    /// How many uploads of an instance are on their way to a directory.
    loud_uploads: BTreeMap<(u32, Fingerprint), u32>,
    clients: Clients,
    queue: Queue<Due>,
    /// When the next transfer is done, and at which instance.
    next_pipe: Option<(Micros, u32)>,
    record: Record,
    rng: ChaCha12Rng,
    worn: Vec<(Micros, u32)>,
}

/// What clients meet of an instance.
#[derive(Debug)]
struct Reach {
    state: State,
    /// The number of its process.
    life: u32,
    /// Its bandwidth, if that is limited.
    pipe: Option<Pipe>,
}

/// A [`Pace`] in the unit in which clients count.
#[derive(Clone, Copy, Debug)]
struct Gait {
    fetch: Micros,
    silent_directory: Micros,
    connect: Micros,
    dead_point: Micros,
    silent_instance: Micros,
    give_up: Micros,
    reuse: Micros,
    /// In seconds.
    requery: u32,
}

impl Simulation {
    fn begin(&mut self, happenings: Vec<(Duration, Happening)>) {
        for server in &self.servers {
            if let Some(at) = server.plan.starts_at {
                let starts = Happening::Starts(server.plan.name.clone());
                self.queue.push(at, Due::Happens(starts));
            }
        }
        for (at, happening) in happenings {
            self.queue.push(at, Due::Happens(happening));
        }
        let end = self.shelves.turn(self.start);
        self.at_time(end, Due::Period);
        if self.churn > 0.0 {
            self.at_time(self.shelves.valid_after(1), Due::Consensus);
        }
        self.start_publisher();
    }

    /// Simulates until this time after the beginning.
    pub fn run_until(&mut self, end: Duration) {
        let end = micros(end);
        loop {
            let network = self.network_at();
            let client = self.clients.next_at();
            match (network, client) {
                (Some(network), _) if network <= end && client.is_none_or(|client| network <= client) => {
                    self.now = network.max(self.now);
                    self.network_step(network);
                }
                (_, Some(client)) if client <= end => {
                    let horizon = network.unwrap_or(Micros::MAX).min(client + AHEAD);
                    self.clients_step(horizon);
                }
                _ => break,
            }
        }
        self.now = self.now.max(end);
    }

    /// How much time has been simulated.
    pub const fn now(&self) -> Duration {
        Duration::from_micros(self.now)
    }

    /// How many clients have arrived.
    pub fn arrived(&self) -> u64 {
        self.clients.arrived()
    }

    /// How many bytes of memory hold what the clients remember.
    pub fn memory(&self) -> usize {
        self.clients.room()
    }

    /// The descriptors that directories hold, in the places where somebody looks or writes.
    pub fn held(&self) -> impl Iterator<Item = (SlotId, &Descriptor)> {
        self.shelves.held().map(|(spot, descriptor)| (spot.slot(), descriptor))
    }

    /// Whether there is a publisher, and every slot holds what it wants.
    pub fn is_settled(&self) -> bool {
        self.publisher.as_ref().is_some_and(|one| one.machine().is_settled())
    }

    /// Ends it.
    pub fn finish(mut self) -> Record {
        for server in 0..self.reaches.len() as u32 {
            self.advance_pipe(server);
        }
        self.record.end = self.now;
        self.record.clients = self.clients.arrived();
        let spots = self.shelves.spots().iter();
        let seen = spots.filter(|spot| spot.handed_out + spot.missing + spot.unanswered > 0);
        self.record.directories = seen
            .map(|spot| DirectoryRecord {
                directory: spot.directory,
                period: spot.period,
                replica: spot.replica,
                handed_out: spot.handed_out,
                missing: spot.missing,
                unanswered: spot.unanswered,
            })
            .collect();
        self.record
    }

    /// When something happens next that is not only a client's doing.
    fn network_at(&self) -> Option<Micros> {
        let queue = self.queue.next_at().map(micros);
        let publisher = self.publisher.as_ref().and_then(|one| one.deadline);
        let pipe = self.next_pipe.map(|(at, _)| at);
        queue.into_iter().chain(publisher).chain(pipe).min()
    }

    fn network_step(&mut self, at: Micros) {
        if self.next_pipe.is_some_and(|(next, _)| next == at) {
            self.end_transfer();
        } else if self.queue.next_at().map(micros) == Some(at) {
            if let Some(due) = self.queue.pop() {
                self.happen(due);
            }
        } else {
            self.call_publisher(None);
        }
    }

    fn clients_step(&mut self, horizon: Micros) {
        let mut touched = false;
        let (clients, mut scene) = self.scene(horizon, &mut touched);
        clients.step(&mut scene);
        self.follow(touched);
    }

    /// What clients have done to the network.
    fn follow(&mut self, touched: bool) {
        if touched {
            self.look_at_pipes();
        }
        while let Some((at, point)) = self.worn.pop() {
            let server = self.shelves.point_mut(point).server;
            if let Some(reach) = self.reaches.get(server as usize) {
                let life = reach.life;
                self.at(at + LOOKS, Due::Expires { server, life, point });
            }
        }
    }

    fn scene<'a>(&'a mut self, horizon: Micros, touched: &'a mut bool) -> (&'a mut Clients, Scene<'a>) {
        let scene = Scene {
            horizon,
            start: self.start,
            gait: &self.gait,
            churns: self.churn > 0.0,
            shelves: &mut self.shelves,
            servers: &mut self.reaches,
            lives: &self.lives,
            record: &mut self.record,
            rng: &mut self.rng,
            worn: &mut self.worn,
            touched,
        };
        (&mut self.clients, scene)
    }

    // Transfers.

    fn end_transfer(&mut self) {
        let Some((at, server)) = self.next_pipe else { return };
        self.advance_pipe(server);
        let pipe = self
            .reaches
            .get_mut(server as usize)
            .and_then(|reach| reach.pipe.as_mut());
        let client = pipe.and_then(Pipe::end);
        if let Some(client) = client {
            let mut touched = false;
            let (clients, mut scene) = self.scene(at, &mut touched);
            clients.transferred(client, at, &mut scene);
        }
        self.look_at_pipes();
    }

    /// Breaks off all transfers from an instance.
    fn break_off(&mut self, server: u32, hangs: bool) {
        self.advance_pipe(server);
        let pipe = self
            .reaches
            .get_mut(server as usize)
            .and_then(|reach| reach.pipe.as_mut());
        for client in pipe.map(Pipe::cut).unwrap_or_default() {
            let (now, mut touched) = (self.now, false);
            let (clients, mut scene) = self.scene(now, &mut touched);
            clients.broke_off(client, now, hangs, &mut scene);
        }
        self.look_at_pipes();
    }

    fn advance_pipe(&mut self, server: u32) {
        let reach = self.reaches.get_mut(server as usize);
        if let Some(pipe) = reach.and_then(|reach| reach.pipe.as_mut()) {
            let (since, sent) = pipe.advance(self.now);
            if sent > 0.0 {
                self.record.sent(server as usize, since, self.now, sent);
            }
        }
    }

    fn look_at_pipes(&mut self) {
        let pipes = (0..).zip(&self.reaches);
        let ends = pipes.filter_map(|(server, reach)| Some((reach.pipe.as_ref()?.next_at()?, server)));
        self.next_pipe = ends.min();
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("now", &self.now())
            .field("arrived", &self.arrived())
            .field("publisher", &self.publisher)
            .finish_non_exhaustive()
    }
}

impl Reach {
    fn new(plan: &InstancePlan) -> Self {
        Self {
            state: State::Dead,
            life: notes::NONE,
            pipe: plan.cap.map(Pipe::new),
        }
    }
}

impl Gait {
    fn new(pace: &Pace) -> Self {
        Self {
            fetch: micros(pace.fetch),
            silent_directory: micros(pace.silent_directory),
            connect: micros(pace.connect),
            dead_point: micros(pace.dead_point),
            silent_instance: micros(pace.silent_instance),
            give_up: micros(pace.give_up),
            reuse: micros(pace.reuse),
            requery: pace.requery.as_secs() as u32,
        }
    }
}
