//! Scenarios with clients: who reaches whom, when, in how long, and why not.
//!
//! # Layout
//!
//! | module | what is in it |
//! | --- | --- |
//! | `scenario` | what a simulation is made of: [`Scenario`]; `plan`, its parts: [`InstancePlan`], [`Crowd`], [`Happening`], [`Pace`] |
//! | `clients` | all clients, thirty-two bytes each; `notes`, what else they remember; `wheel`, when each does something next |
//! | `visit` | the rules by which a client finds a service |
//! | `shelves` | what clients can see: consensuses, directories, texts, introduction points |
//! | `world` | everything else that happens, among it the publisher; `servers`, the instances; `pipe`, bandwidth |
//! | `record` | what came of it: [`Record`] |
//!
//! # Time
//!
//! What happens to the network waits in one queue, what clients do in a wheel of their own. Clients
//! meet only through the network, so a client whose next step comes before anything happens to the
//! network takes it at once, and most visits are one event. A step has no effect on the network
//! within two seconds (a worn-out introduction point is replaced later than that), so a client may
//! go that far ahead of the others and nothing comes out otherwise. Only transfers from instances
//! whose bandwidth is limited touch each other, and these begin and end in the order of time.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use onionweave_desc::v2::{Descriptor, ServiceKey};
use onionweave_publish::{Policy, Settings, SlotId};
use onionweave_ring::Fingerprint;
use rand::Rng as _;
use rand_chacha::ChaCha12Rng;

use crate::engine::{Engine, World as _};
use crate::fixtures::Points;
use crate::instance::State;

mod clients;
mod notes;
mod pipe;
mod plan;
mod record;
mod scenario;
mod servers;
mod shelves;
mod visit;
mod wheel;
mod world;

pub use plan::{Crowd, Happening, InstancePlan, Pace};
pub use record::{DirectoryRecord, InstanceRecord, Interval, Miss, Outcome, Record, Times, Visit};
pub use scenario::Scenario;

use clients::Clients;
use pipe::Pipe;
use servers::Server;
use shelves::{Shelves, View};
use visit::Scene;
use world::Due;

/// Microseconds of the virtual time.
type Micros = u64;

const SECOND: Micros = 1_000_000;
/// Longest time by which a client may go ahead of the others.
const AHEAD: Micros = 2 * SECOND;
/// A worn-out introduction point is looked for once a second (`feature/rend/rendservice.c:4115`).
const LOOKS: Micros = SECOND;

/// Number of the publisher's machine.
const HOST: usize = 0;

const fn micros(time: Duration) -> Micros {
    time.as_micros() as Micros
}

/// A number below `span`, all as likely as makes no difference. It costs a multiplication, and is
/// drawn for every visit.
fn below(rng: &mut ChaCha12Rng, span: u64) -> u64 {
    ((u128::from(rng.next_u64()) * u128::from(span)) >> 64) as u64
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
    /// Time, what will happen to the network, and the publisher's machine while it runs.
    engine: Engine<Due>,
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
    /// Parts of each instance that clients meet.
    reaches: Vec<Reach>,
    /// The instance of each process that there has been.
    lives: Vec<u32>,
    /// The consensuses of the publisher's Tor, while there is a publisher.
    publisher: Option<View>,
    /// Number of uploads of an instance that are on their way to a directory.
    loud_uploads: BTreeMap<(u32, Fingerprint), u32>,
    clients: Clients,
    /// When the next transfer is done, and at which instance.
    next_pipe: Option<(Micros, u32)>,
    record: Record,
    rng: ChaCha12Rng,
    worn: Vec<(Micros, u32)>,
}

/// Parts of an instance that clients meet.
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
                self.engine.at(at, Due::Happens(starts));
            }
        }
        for (at, happening) in happenings {
            self.engine.at(at, Due::Happens(happening));
        }
        let end = self.shelves.turn(self.engine.truth());
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
                    self.network_step(network);
                }
                (_, Some(client)) if client <= end => {
                    let horizon = network.unwrap_or(Micros::MAX).min(client + AHEAD);
                    self.clients_step(horizon);
                }
                _ => break,
            }
        }
        self.engine.sleep_until(Duration::from_micros(end));
    }

    /// Returns the time that has been simulated.
    pub const fn now(&self) -> Duration {
        self.engine.uptime()
    }

    /// Returns the number of clients that have arrived.
    pub fn arrived(&self) -> u64 {
        self.clients.arrived()
    }

    /// Returns the number of bytes of memory that hold what the clients remember.
    pub fn memory(&self) -> usize {
        self.clients.room()
    }

    /// The descriptors that directories hold, in the places where somebody looks or writes.
    pub fn held(&self) -> impl Iterator<Item = (SlotId, &Descriptor)> {
        self.shelves.held().map(|(spot, descriptor)| (spot.slot(), descriptor))
    }

    /// Whether there is a publisher, and every slot holds what it wants.
    pub fn is_settled(&self) -> bool {
        self.publisher.is_some() && self.engine.machine(HOST).is_settled()
    }

    /// Ends it.
    pub fn finish(mut self) -> Record {
        for server in 0..self.reaches.len() as u32 {
            self.advance_pipe(server);
        }
        self.record.end = self.tick();
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
        let engine = self.engine.next_at().map(micros);
        let pipe = self.next_pipe.map(|(at, _)| at);
        engine.into_iter().chain(pipe).min()
    }

    fn network_step(&mut self, at: Micros) {
        if self.next_pipe.is_some_and(|(next, _)| next == at) {
            self.engine.sleep_until(Duration::from_micros(at));
            self.end_transfer();
        } else {
            self.step(Duration::MAX);
        }
    }

    fn clients_step(&mut self, horizon: Micros) {
        let mut touched = false;
        let (clients, mut scene) = self.scene(horizon, &mut touched);
        clients.step(&mut scene);
        self.follow(touched);
    }

    /// Takes note of what clients have done to the network.
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
            start: self.engine.start(),
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
            let (now, mut touched) = (self.tick(), false);
            let (clients, mut scene) = self.scene(now, &mut touched);
            clients.broke_off(client, now, hangs, &mut scene);
        }
        self.look_at_pipes();
    }

    fn advance_pipe(&mut self, server: u32) {
        let now = self.tick();
        let reach = self.reaches.get_mut(server as usize);
        if let Some(pipe) = reach.and_then(|reach| reach.pipe.as_mut()) {
            let (since, sent) = pipe.advance(now);
            if sent > 0.0 {
                self.record.sent(server as usize, since, now, sent);
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
