//! The world of a storm, and its time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use onionweave_desc::rsa::RustCrypto;
use onionweave_desc::v2::ServiceKey;
use onionweave_publish::{Action, Down, Event, Report};
use onionweave_ring::v2::{Replica, TimePeriod};
use onionweave_ring::{DescriptorId, Fingerprint};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use super::climate::{Climate, Season};
use super::digest::Digester;
use super::directories::{self, Watched};
use super::far::Far;
use super::judge::Judge;
use super::log::Log;
use super::messages::Message;
use super::state::{State, Told};
use super::weather::Turn;
use super::{Broken, Storm, Tally};
use crate::Error;
use crate::engine::{self, Circle, Engine, World as _};
use crate::fixtures::{self, Points};
use crate::instance::{Instance, State as Process};
use crate::seal::{self, Seal};
use crate::witness::{self, Witness};

/// Number of relays that are introduction points, few enough for instances to meet at some.
const RELAYS: usize = 50;
/// When a connection that broke is first made anew.
const RECONNECT: Duration = Duration::from_secs(1);

/// Something that will happen.
#[derive(Debug)]
pub(super) enum Due {
    /// Something befalls somebody.
    Weather,
    /// The next season begins.
    Season,
    /// An event ends that was begun.
    Turn(Turn),
    /// A message arrives.
    Message(Message),
    /// An instance builds its descriptor anew, as it does every hour.
    Hourly(usize),
    /// A publisher notices what an instance is like.
    Link { publisher: usize, instance: usize },
    /// A publisher's check of an instance finds what it is like.
    Check { publisher: usize, instance: usize },
    /// A publisher reads the consensus.
    Consensus { publisher: usize },
    /// A publisher looks up by itself, as its driver does every five seconds.
    Wakes { publisher: usize },
}

#[derive(Debug)]
pub(super) struct World {
    storm: Storm,
    pub(super) rng: ChaCha12Rng,
    /// The truth.
    pub(super) state: State,
    /// Compares it with what the publishers do. It cannot write to the state.
    pub(super) judge: Judge,
    pub(super) points: Points,
    /// Number of processes of publishers that there have been.
    pub(super) publishers_so_far: u32,
    /// Actions of the publisher that is being called.
    asked: Vec<Action>,
    /// Uploads of others that the publishers were told of, by directory and by the instance that
    /// carries them.
    pub(super) announced: BTreeMap<(usize, Fingerprint), u32>,
    pub(super) tally: Tally,
    pub(super) log: Log,
    /// Notes what the publishers are told and ask for, if anybody wants to know.
    pub(super) digester: Option<Digester>,
    /// Whether anything happened since the last check.
    pub(super) changed: bool,
}

impl World {
    pub(super) fn new(storm: Storm) -> Result<Self, Error> {
        let mut rng = ChaCha12Rng::seed_from_u64(storm.seed);
        let mut climate = Climate::draw(&mut rng)?;
        let key = |private| match storm.real_signatures {
            true => ServiceKey::new(private, &RustCrypto),
            false => ServiceKey::new(private, &Seal),
        };
        let far = Far::new(key(fixtures::instance_key()?)?);
        let key = key(fixtures::private_key()?)?;
        let mut instances = climate.settings.instances().to_vec();
        if let (Some(source), Some(instance)) = (climate.far, instances.last_mut()) {
            instance.source = source;
            instance.address = Some(far.key.service_id().into());
        }
        climate.settings.set_instances(instances)?;
        let place = || Watched::new(storm.real_signatures);
        let places = (0..climate.directories)
            .map(|_| (Fingerprint::from(rng.random::<[u8; 20]>()), place()))
            .collect();
        let seed = rng.random();
        let mut world = Self {
            state: State {
                season: Season::stormy(&mut rng),
                stormy: true,
                instances: climate.names().cloned().map(Instance::new).collect(),
                engine: Engine::new(climate.start),
                climate,
                key,
                far,
                places,
                publishers: Vec::new(),
            },
            judge: Judge::default(),
            points: Points::new()?.at_relays(&mut rng, RELAYS),
            log: Log::new(storm.history),
            digester: None,
            storm,
            rng,
            publishers_so_far: 1,
            asked: Vec::new(),
            announced: BTreeMap::new(),
            tally: Tally::default(),
            changed: true,
        };
        world.state.join(0, seed);
        world.judge.joined(world.witness(0));
        world.begin();
        Ok(world)
    }

    fn begin(&mut self) {
        self.log
            .note(self.state.now(), format_args!("{:?}", self.state.climate));
        self.after(0..1000, Due::Consensus { publisher: 0 });
        for instance in 0..self.state.instances.len() {
            self.after(
                0..3000,
                Due::Turn(Turn::Starts {
                    instance,
                    life: 0,
                    same: false,
                }),
            );
            self.after(60_000..3_600_000, Due::Hourly(instance));
        }
        self.after_exactly(self.state.season.lasts, Due::Season);
        self.after(5_000..10_000, Due::Weather);
    }

    pub(super) fn new_place(&self) -> Watched {
        Watched::new(self.storm.real_signatures)
    }

    /// A witness of a publisher that starts.
    pub(super) fn witness(&self, publisher: usize) -> Witness {
        let settings = self.state.publishers[publisher].settings.clone();
        let read = match self.storm.real_signatures {
            true => witness::read_signed,
            false => seal::read,
        };
        let service = self.state.key.service_id();
        Witness::new(service, settings, read, self.state.moment(publisher))
    }

    /// Makes something happen after this number of milliseconds.
    pub(super) fn after(&mut self, millis: std::ops::Range<u64>, due: Due) {
        let delay = Duration::from_micros(
            self.rng
                .random_range(millis.start * 1000..millis.end.max(millis.start + 1) * 1000),
        );
        self.after_exactly(delay, due);
    }

    pub(super) fn after_exactly(&mut self, delay: Duration, due: Due) {
        self.state.engine.after(delay, due);
    }

    pub(super) fn run_until(&mut self, end: Duration) -> Result<(), Error> {
        while self.step(end) {
            self.tally.steps += 1;
            if self.changed || self.judge.look_at().is_some_and(|at| at <= self.state.now()) {
                self.changed = false;
                self.judge.look(&self.state);
            }
            if let Some(what) = self.judge.verdict() {
                return Err(Error::Broken(Box::new(Broken {
                    seed: self.storm.seed,
                    days: (self.state.now().as_secs() / 86400) as u32 + 1,
                    at: self.state.now(),
                    what,
                    history: self.log.to_string(),
                })));
            }
        }
        Ok(())
    }

    fn next_season(&mut self) {
        self.state.stormy = !self.state.stormy;
        self.state.season = match self.state.stormy {
            true => Season::stormy(&mut self.rng),
            false => Season::calm(&mut self.rng),
        };
        self.log.note(self.state.now(), format_args!("{:?}", self.state.season));
        self.after_exactly(self.state.season.lasts, Due::Season);
        if self.state.stormy {
            // Not to wait out the calm.
            self.after(0..5_000, Due::Weather);
        }
    }

    // Publishers.

    /// Tells a publisher something: what it did not ask for is news.
    pub(super) fn tell(&mut self, publisher: usize, event: Event) {
        let answer = matches!(
            event,
            Event::UploadAnswered { .. } | Event::Audited { .. } | Event::Read { .. }
        );
        self.changed |= !answer;
        let moment = self.state.moment(publisher);
        if let Some(digester) = &mut self.digester {
            digester.event(self.state.publishers[publisher].life, &event, moment);
        }
        self.judge.told(publisher, &event, &self.state);
        engine::World::tell(self, publisher, event);
    }

    fn obey(&mut self, publisher: usize, action: Action) {
        match action {
            Action::Upload { ticket, slot, text, .. } => self.upload(publisher, ticket, slot, text),
            Action::Audit {
                ticket,
                slot,
                descriptor_id: DescriptorId::V2(id),
                ..
            } => self.audit(publisher, ticket, slot, id),
            Action::Read {
                ticket,
                directory,
                descriptor_id: DescriptorId::V2(id),
                ..
            } => self.read(publisher, ticket, directory, id),
            Action::Restart { instance, .. } => {
                let known = &self.state.instances;
                if let Some(instance) = known.iter().position(|known| known.name == instance) {
                    let life = self.state.instances[instance].life;
                    let same = self.rng.random_bool(0.2);
                    self.after(3_000..10_000, Due::Turn(Turn::Starts { instance, life, same }));
                }
            }
            Action::Report(report) => self.report(publisher, &report),
            Action::Audit { .. } | Action::Read { .. } => {
                self.judge
                    .object("the machine asks for a descriptor of another version");
            }
        }
    }

    fn report(&mut self, publisher: usize, report: &Report) {
        if !matches!(report, Report::Proved(_)) {
            self.log
                .note(self.state.now(), format_args!("publisher {publisher}: {report}"));
        }
    }

    fn read_consensus(&mut self, publisher: usize) {
        self.after(1_800_000..5_400_000, Due::Consensus { publisher });
        self.read_consensus_now(publisher);
    }

    pub(super) fn read_consensus_now(&mut self, publisher: usize) {
        let ring = directories::ring(&self.state.places);
        if self.state.publishers[publisher].ring != ring {
            self.log.note(
                self.state.now(),
                format_args!("publisher {publisher} reads a consensus of {} directories", ring.len()),
            );
            self.state.publishers[publisher].ring = ring.clone();
            self.state.far.calm_since = self.state.now();
        }
        self.tell(publisher, Event::Directories(Arc::new(ring.into())));
    }

    // Links.

    /// Makes every publisher notice within this number of milliseconds that an instance changed.
    pub(super) fn notice(&mut self, instance: usize, millis: std::ops::Range<u64>) {
        for publisher in 0..self.state.publishers.len() {
            self.after(millis.clone(), Due::Link { publisher, instance });
        }
    }

    /// A publisher compares what it was told of an instance with what it finds.
    fn link(&mut self, publisher: usize, instance: usize) {
        let Instance {
            state, life, builds, ..
        } = self.state.instances[instance];
        let name = self.state.instances[instance].name.clone();
        let link = self.state.publishers[publisher].links[instance].clone();
        if !link.watched {
            return;
        }
        if self.state.climate.far() == Some(instance) {
            return self.far_link(publisher, instance);
        }
        let answers = state == Process::Runs && self.state.now() >= link.broken_until;
        match link.told {
            Some(told) if !answers || told.life != life => {
                let why = match state {
                    Process::Hangs => Down::Silent(Duration::from_secs(2)),
                    _ => Down::Lost("closed".into()),
                };
                let link = &mut self.state.publishers[publisher].links[instance];
                (link.told, link.told_unreachable) = (None, false);
                self.tell(publisher, Event::InstanceDown { instance: name, why });
                self.after_exactly(RECONNECT, Due::Link { publisher, instance });
            }
            Some(told) if told.builds != builds => self.tell_offer(publisher, instance, true),
            Some(_) => {}
            None if answers => {
                self.state.publishers[publisher].links[instance].told_unreachable = false;
                self.tell(publisher, Event::InstanceUp { instance: name });
                self.tell_offer(publisher, instance, false);
            }
            None if state == Process::Dead && !link.told_unreachable => {
                self.state.publishers[publisher].links[instance].told_unreachable = true;
                let why = Down::Unreachable("connection refused".into());
                self.tell(publisher, Event::InstanceDown { instance: name, why });
            }
            None => {}
        }
        // A connection that is broken is tried again when it can stand.
        if state == Process::Runs && self.state.now() < link.broken_until {
            self.after_exactly(link.broken_until - self.state.now(), Due::Link { publisher, instance });
        }
    }

    /// A publisher compares what it was told of an instance's health with what it finds.
    fn check_health(&mut self, publisher: usize, index: usize) {
        let instance = self.state.instances[index].name.clone();
        let unfit = !self.state.instances[index].fit;
        let link = &self.state.publishers[publisher].links[index];
        if !link.watched || link.unfit == unfit {
            return;
        }
        self.state.publishers[publisher].links[index].unfit = unfit;
        let event = match unfit {
            true => Event::InstanceUnfit {
                instance,
                why: "connection refused".into(),
            },
            false => Event::InstanceFit { instance },
        };
        self.tell(publisher, event);
    }

    fn tell_offer(&mut self, publisher: usize, instance: usize, rebuilt: bool) {
        let truth = self.state.truth();
        let [_, replica] = Replica::ALL;
        let it = &self.state.instances[instance];
        let name = it.name.clone();
        let clock = it.clock(truth);
        let period = TimePeriod::at(&self.state.key.service_id(), clock);
        let text = it.text(&self.state.key, None, period, replica, clock);
        let told = Told {
            life: it.life,
            builds: it.builds,
        };
        self.state.publishers[publisher].links[instance].told = Some(told);
        let event = match text {
            Some(text) => Event::InstanceOffers {
                instance: name,
                text,
                rebuilt,
            },
            None => Event::InstanceOffersNothing { instance: name },
        };
        self.tell(publisher, event);
    }
}

impl engine::World for World {
    type Due = Due;

    fn engine(&mut self) -> &mut Engine<Due> {
        &mut self.state.engine
    }

    fn act(&mut self, publisher: usize, action: Action) {
        if let Some(digester) = &mut self.digester {
            let moment = self.state.moment(publisher);
            digester.action(self.state.publishers[publisher].life, &action, moment);
        }
        self.judge.asked(publisher, &action, &self.state);
        self.asked.push(action);
    }

    fn rest(&mut self, publisher: usize) {
        self.judge.ended(publisher, &self.state);
        let asked = std::mem::take(&mut self.asked).into_iter();
        let (uploads, others): (Vec<_>, Vec<_>) = asked.partition(|action| matches!(action, Action::Upload { .. }));
        self.changed |= !uploads.is_empty();
        for action in others.into_iter().chain(uploads) {
            self.obey(publisher, action);
        }
    }

    fn circle(&mut self, _: usize, circle: Circle) {
        self.judge.object(circle.to_string());
    }

    fn happen(&mut self, due: Due) {
        if let Due::Link { publisher, .. }
        | Due::Check { publisher, .. }
        | Due::Consensus { publisher }
        | Due::Wakes { publisher } = due
            && publisher >= self.state.publishers.len()
        {
            return;
        }
        match due {
            Due::Weather => self.weather(),
            Due::Season => self.next_season(),
            Due::Turn(turn) => self.turn(turn),
            Due::Message(message) => self.arrives(message),
            Due::Hourly(instance) => {
                self.after(3_500_000..3_700_000, Due::Hourly(instance));
                if self.state.climate.hourly || self.state.climate.far() == Some(instance) {
                    self.rebuild(instance);
                }
            }
            Due::Link { publisher, instance } => self.link(publisher, instance),
            Due::Check { publisher, instance } => self.check_health(publisher, instance),
            Due::Consensus { publisher } => self.read_consensus(publisher),
            Due::Wakes { publisher } => {
                self.changed = true;
                self.call(publisher);
            }
        }
    }
}
