//! The network: directories, instances, and the publisher's machine among them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use onionweave_desc::rsa::RustCrypto;
use onionweave_desc::v2::{
    Authorization, Descriptor, IntroductionPoint, ServiceKey, UnverifiedDescriptor, UploadVerdict,
};
use onionweave_publish::trace::{Entry, Recorder};
use onionweave_publish::{Action, Down, Event, InstanceName, Machine, Moment, Report, SlotId, Ticket};
use onionweave_ring::v2::{DescriptorId, Replica, SecretIdPart, TimePeriod};
use onionweave_ring::{Fingerprint, HashRing, UnixTime};
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use crate::engine::{Engine, World};
use crate::fixtures::Points;
use crate::instance::{self, Instance, State};
use crate::place::Place;
use crate::{Error, Fault};

mod builder;

pub use builder::Builder;

/// Durations of things, from the publisher's point of view. The defaults were measured on private
/// networks of tor 0.4.5.9.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Delays {
    /// From the post to the directory's answer: 0.16 s.
    pub upload: Duration,
    /// From the fetch to the descriptor: 0.14 s.
    pub audit: Duration,
    /// From a loud instance's upload to the directory's answer: 0.16 s.
    pub loud: Duration,
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            upload: Duration::from_millis(160),
            audit: Duration::from_millis(140),
            loud: Duration::from_millis(160),
        }
    }
}

/// Message on its way to a directory of a [`Network`].
#[derive(Debug)]
pub struct Due(Message);

#[derive(Debug)]
enum Message {
    Upload {
        ticket: Ticket,
        slot: SlotId,
        text: Vec<u8>,
    },
    Audit {
        ticket: Ticket,
        slot: SlotId,
        id: DescriptorId,
    },
    LoudUpload {
        instance: InstanceName,
        directory: Fingerprint,
        text: Vec<u8>,
    },
}

/// Number of the only machine of a network.
const HOST: usize = 0;

/// A network in virtual time, with the publisher's machine in it.
///
/// ```
/// use std::time::Duration;
/// use onionweave_sim::Network;
///
/// let mut network = Network::builder(7).directories(20).instances(["a", "b", "c"]).build()?;
/// network.start("a");
/// network.start("b");
/// network.start("c");
/// let took = network.settle(Duration::from_secs(10)).expect("the ring settles");
/// assert!(took < Duration::from_secs(1));
///
/// network.kill("b");
/// network.settle(Duration::from_secs(10)).expect("the ring settles");
/// assert!(network.handed_out().values().all(|holders| !holders.contains("b")));
/// # Ok::<(), onionweave_sim::Error>(())
/// ```
///
/// # Panics
///
/// A method that takes the name of an instance panics if the network has no such instance. A method
/// that changes a directory panics if there is no such directory. A misspelt name would else let a
/// test pass that tests nothing. The message names those that there are.
#[derive(Debug)]
pub struct Network {
    key: ServiceKey,
    authorization: Option<Authorization>,
    engine: Engine<Due>,
    /// Trace of what passed between the machine and the world, if that is recorded.
    trace: Option<(Recorder, Vec<Entry>)>,
    directories: BTreeMap<Fingerprint, Place>,
    instances: BTreeMap<InstanceName, Instance>,
    delays: Delays,
    rng: ChaCha12Rng,
    reports: Vec<(Duration, Report)>,
    restarts: Vec<InstanceName>,
    uploads: u64,
    /// Number of uploads at the last [`check`](Self::check).
    checked_uploads: u64,
    audits: u64,
    on_their_way: BTreeMap<SlotId, u32>,
    /// Uploads that instances make by themselves.
    loud: BTreeMap<(InstanceName, Fingerprint), u32>,
    points: Points,
}

impl Network {
    /// A network drawn from `seed`: the same seed gives the same run.
    pub fn builder(seed: u64) -> Builder {
        Builder::new(seed)
    }

    // What an experiment does to the network.

    /// Starts an instance, or lets it come back, with three new introduction points.
    #[track_caller]
    pub fn start(&mut self, name: &str) {
        self.instance(name);
        let points = self.new_points(3);
        self.start_with(name, points);
    }

    /// Starts an instance with these introduction points.
    #[track_caller]
    pub fn start_with(&mut self, name: &str, points: Vec<IntroductionPoint>) {
        let instance = self.instance(name);
        instance.start();
        let instance = instance.name.clone();
        self.tell(Event::InstanceUp { instance });
        self.offer_points(name, points);
    }

    /// Kills an instance.
    #[track_caller]
    pub fn kill(&mut self, name: &str) {
        self.fail(name, Down::Lost("killed".into()));
    }

    /// Ends an instance's connection as the control connection would tell it.
    #[track_caller]
    pub fn fail(&mut self, name: &str, why: Down) {
        let instance = self.instance(name);
        instance.state = State::Dead;
        let instance = instance.name.clone();
        self.tell(Event::InstanceDown { instance, why });
    }

    /// Gives an instance three new introduction points.
    #[track_caller]
    pub fn rotate(&mut self, name: &str) {
        self.instance(name);
        let points = self.new_points(3);
        self.offer_points(name, points);
    }

    /// Gives an instance these introduction points.
    #[track_caller]
    pub fn offer_points(&mut self, name: &str, points: Vec<IntroductionPoint>) {
        let period = TimePeriod::at(&self.key.service_id(), self.engine.truth());
        self.offer_for(name, points, period);
    }

    /// Gives an instance these introduction points, and lets it answer with its descriptor of that
    /// period.
    #[track_caller]
    pub fn offer_for(&mut self, name: &str, points: Vec<IntroductionPoint>, period: TimePeriod) {
        let instance = self.instance(name);
        instance.build(Some(points));
        let instance = instance.name.clone();
        let [_, replica] = Replica::ALL;
        if let Some(text) = self.instance_text(&instance, period, replica) {
            self.tell(Event::InstanceOffers {
                instance,
                text,
                rebuilt: true,
            });
        }
    }

    /// Gives the instances' configuration another authorization, `None` for none. They follow it
    /// when they build their descriptors the next time.
    pub fn authorize(&mut self, authorization: Option<Authorization>) {
        self.authorization = authorization;
    }

    /// Makes an instance build its descriptor anew with the points that it has.
    #[track_caller]
    pub fn rebuild(&mut self, name: &str) {
        let points = self.instance(name).introduction_points().to_vec();
        self.offer_points(name, points);
    }

    /// Makes an instance publish by itself, as a loud Tor does: the same text to all directories of
    /// a replica.
    #[track_caller]
    pub fn publish(&mut self, name: &str) {
        let name = self.instance(name).name.clone();
        let period = TimePeriod::at(&self.key.service_id(), self.engine.truth());
        let ring = self.ring();
        for replica in Replica::ALL {
            let Some(text) = self.instance_text(&name, period, replica) else {
                return;
            };
            let descriptor_id = self.descriptor_id(period, replica);
            for directory in descriptor_id.responsible(&ring).collect::<Vec<_>>() {
                self.tell(Event::InstanceUploads {
                    instance: name.clone(),
                    own: true,
                    directory,
                    descriptor_id: descriptor_id.into(),
                });
                *self.loud.entry((name.clone(), directory)).or_default() += 1;
                let upload = Message::LoudUpload {
                    instance: name.clone(),
                    directory,
                    text: text.clone(),
                };
                self.later(self.delays.loud, upload);
            }
        }
    }

    /// Offers a text of somebody else to a directory, without anybody telling the publisher.
    pub fn plant(
        &mut self,
        slot: SlotId,
        points: Vec<IntroductionPoint>,
        time: UnixTime,
    ) -> Result<UploadVerdict, Error> {
        let draft = instance::draft(points, self.authorization.as_ref());
        let (period, replica) = slot.v2().ok_or(Error::UnknownSlot { slot })?;
        let text = draft.sign(&self.key, period, replica, time)?;
        let now = self.engine.truth();
        let place = self.directories.entry(slot.directory).or_default();
        Ok(place.directory.upload(text.text(), now))
    }

    /// Changes how long things take from now on.
    pub fn set_delays(&mut self, delays: Delays) {
        self.delays = delays;
    }

    /// Makes a directory misbehave from now on.
    #[track_caller]
    pub fn set_fault(&mut self, directory: Fingerprint, fault: Fault) {
        self.directory(&directory).fault = fault;
    }

    /// Makes a directory forget everything.
    #[track_caller]
    pub fn forget(&mut self, directory: Fingerprint) {
        self.directory(&directory).directory.forget();
    }

    /// Adds a directory, known to the publisher with the next
    /// [`publish_consensus`](Self::publish_consensus).
    pub fn add_directory(&mut self, fingerprint: Fingerprint) {
        self.directories.entry(fingerprint).or_default();
    }

    /// Takes a directory off the network, known to the publisher with the next
    /// [`publish_consensus`](Self::publish_consensus).
    #[track_caller]
    pub fn remove_directory(&mut self, fingerprint: &Fingerprint) {
        self.directory(fingerprint);
        self.directories.remove(fingerprint);
    }

    /// Tells the publisher which directories there are.
    pub fn publish_consensus(&mut self) {
        let ring = self.ring();
        self.tell(Event::Directories(Arc::new(ring.into())));
    }

    /// Sets the publisher's wall clock, by so many seconds; the directories' clocks go on as they
    /// did.
    pub fn step_clock(&mut self, by: i64) {
        self.engine.step_clock(HOST, by);
    }

    /// Tells the machine something.
    pub fn tell(&mut self, event: Event) {
        if let Some((recorder, entries)) = &mut self.trace {
            entries.push(recorder.told(&event, self.engine.moment(HOST)));
        }
        World::tell(self, HOST, event);
    }

    // Time.

    /// Advances time.
    pub fn run_for(&mut self, time: Duration) {
        self.pass(time);
    }

    /// Advances time until every slot is proved, for at most `limit`. Returns how long it took.
    pub fn settle(&mut self, limit: Duration) -> Option<Duration> {
        self.run_until(limit, |network| network.machine().is_settled())
    }

    /// Advances time until `done`, for at most `limit`. Returns how long it took.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Option<Duration> {
        let start = self.engine.uptime();
        let end = start.saturating_add(limit);
        while !done(self) {
            if !self.step(end) {
                return None;
            }
        }
        Some(self.engine.uptime().saturating_sub(start))
    }

    /// Returns the instance of this name, or panics.
    #[track_caller]
    fn instance(&mut self, name: &str) -> &mut Instance {
        let known: Vec<_> = self.instances.keys().cloned().collect();
        let instance = self.instances.get_mut(name);
        instance.unwrap_or_else(|| panic!("no instance is called {name:?}; there are {}", list(&known)))
    }

    /// Returns the place of this directory, or panics.
    #[track_caller]
    fn directory(&mut self, fingerprint: &Fingerprint) -> &mut Place {
        let known: Vec<_> = self.directories.keys().copied().collect();
        let place = self.directories.get_mut(fingerprint);
        place.unwrap_or_else(|| panic!("no directory is called {fingerprint}; there are {}", list(&known)))
    }

    fn fault(&self, directory: &Fingerprint) -> Fault {
        self.directories
            .get(directory)
            .map(|place| place.fault)
            .unwrap_or_default()
    }

    fn later(&mut self, delay: Duration, message: Message) {
        // Up to a tenth more, so that answers come in any order.
        let jitter = self.rng.random_range(0..=delay.as_micros() as u64 / 10);
        self.engine.after(delay + Duration::from_micros(jitter), Due(message));
    }

    /// The descriptor that an instance builds by itself: its points, the present hour.
    fn instance_text(&self, name: &InstanceName, period: TimePeriod, replica: Replica) -> Option<Vec<u8>> {
        let instance = self
            .instances
            .get(name)
            .filter(|instance| instance.state == State::Runs)?;
        let authorization = self.authorization.as_ref();
        instance.text(&self.key, authorization, period, replica, self.engine.truth())
    }

    fn descriptor_id(&self, period: TimePeriod, replica: Replica) -> DescriptorId {
        let cookie = self.authorization.as_ref().and_then(Authorization::id_cookie);
        DescriptorId::new(&self.key.service_id(), &SecretIdPart::new(period, replica, cookie))
    }

    /// The points that a client reads, one that is authorized if that is asked for.
    fn points(&self, descriptor: &Descriptor) -> Vec<IntroductionPoint> {
        let Some(authorization) = &self.authorization else {
            return descriptor.introduction_points().unwrap_or_default();
        };
        let cookies = authorization.cookies().iter();
        cookies
            .filter_map(|cookie| descriptor.introduction_points_for(cookie).ok())
            .next()
            .unwrap_or_default()
    }

    /// Introduction points, each at a relay of its own.
    pub fn new_points(&mut self, count: usize) -> Vec<IntroductionPoint> {
        self.points.draw(&mut self.rng, count)
    }

    // What an experiment sees.

    /// The machine.
    pub fn machine(&self) -> &Machine {
        self.engine.machine(HOST)
    }

    /// The publisher's clocks.
    pub fn now(&self) -> Moment {
        self.engine.moment(HOST)
    }

    /// Every relay with the `HSDir` flag.
    pub fn ring(&self) -> HashRing {
        HashRing::new(self.directories.keys().copied())
    }

    /// The trace of what passed between the machine and the world; empty unless the network was
    /// built [`recorded`](Builder::recorded).
    pub fn trace(&self) -> &[Entry] {
        self.trace.as_ref().map(|(_, entries)| &**entries).unwrap_or_default()
    }

    /// Reports of the machine, with the uptime of each.
    pub fn reports(&self) -> &[(Duration, Report)] {
        &self.reports
    }

    /// The instances that the machine wanted restarted, in order.
    pub fn restarts(&self) -> &[InstanceName] {
        &self.restarts
    }

    /// Number of uploads.
    pub fn uploads(&self) -> u64 {
        self.uploads
    }

    /// Number of audits, glances among them.
    pub fn audits(&self) -> u64 {
        self.audits
    }

    /// Returns the text that a slot's directory holds.
    pub fn held(&self, slot: &SlotId) -> Option<Descriptor> {
        let (period, replica) = slot.v2()?;
        let id = self.descriptor_id(period, replica);
        self.directories.get(&slot.directory)?.held(&id).cloned()
    }

    /// Returns the instances whose introduction points each of the machine's slots is handed out
    /// with.
    pub fn handed_out(&self) -> BTreeMap<SlotId, BTreeSet<&str>> {
        self.machine()
            .wanted()
            .map(|(slot, _)| {
                let points = self.held(&slot).map(|held| self.points(&held)).unwrap_or_default();
                let holders = self
                    .instances
                    .iter()
                    .filter(|(_, instance)| points.iter().any(|point| instance.has(point)))
                    .map(|(name, _)| name.as_str())
                    .collect();
                (slot, holders)
            })
            .collect()
    }

    /// Checks the rules that hold at every moment, whatever happens.
    ///
    /// # Panics
    ///
    /// If it does not: then the machine broke a rule of Tor.
    fn check(&self) {
        let mut times = BTreeSet::new();
        let mut texts: BTreeMap<_, BTreeSet<&[u8]>> = BTreeMap::new();
        for (slot, target) in self.machine().wanted() {
            let read = UnverifiedDescriptor::parse(target.bytes()).and_then(|text| self.key.verify(text));
            let Ok(descriptor) = read else {
                panic!("the text for {slot} is no descriptor of the service");
            };
            times.insert(descriptor.publication_time());
            assert!(
                texts
                    .entry((slot.period, slot.replica))
                    .or_default()
                    .insert(target.bytes()),
                "two directories of a replica are wanted to hold the same bytes"
            );
            let points = self.points(&descriptor);
            assert!((1..=10).contains(&points.len()), "{} points", points.len());
            let relays: BTreeSet<_> = points.iter().map(IntroductionPoint::identity).collect();
            assert_eq!(relays.len(), points.len(), "a relay stands twice in a text");
        }
        assert!(times.len() <= 1, "the slots carry several publication times: {times:?}");
    }
}

impl World for Network {
    type Due = Due;

    fn engine(&mut self) -> &mut Engine<Due> {
        &mut self.engine
    }

    fn act(&mut self, _: usize, action: Action) {
        let now = self.now();
        if let Some((recorder, entries)) = &mut self.trace {
            entries.push(recorder.asked(&action, now));
        }
        match action {
            Action::Upload { ticket, slot, text, .. } => {
                self.uploads += 1;
                let on_their_way = self.on_their_way.entry(slot).or_default();
                *on_their_way += 1;
                assert!(
                    *on_their_way == 1 || self.fault(&slot.directory) == Fault::Silent,
                    "two uploads for {slot} are on their way"
                );
                let upload = Message::Upload {
                    ticket,
                    slot,
                    text: text.to_vec(),
                };
                self.later(self.delays.upload, upload);
            }
            Action::Audit {
                ticket,
                slot,
                descriptor_id: onionweave_ring::DescriptorId::V2(id),
                ..
            } => {
                self.audits += 1;
                self.later(self.delays.audit, Message::Audit { ticket, slot, id });
            }
            Action::Restart { instance, .. } => self.restarts.push(instance),
            Action::Report(report) => self.reports.push((now.uptime(), report)),
            _ => {}
        }
    }

    fn happen(&mut self, Due(message): Due) {
        let clock = self.engine.truth();
        match message {
            Message::Upload { ticket, slot, text } => {
                if let Some(on_their_way) = self.on_their_way.get_mut(&slot) {
                    *on_their_way = on_their_way.saturating_sub(1);
                }
                let place = self.directories.get_mut(&slot.directory);
                if let Some(answer) = place.and_then(|place| place.upload(&RustCrypto, &text, clock)) {
                    self.tell(Event::UploadAnswered { ticket, answer });
                }
            }
            Message::Audit { ticket, slot, id } => {
                let place = self.directories.get(&slot.directory);
                if let Some(found) = place.and_then(|place| place.read(&id)) {
                    self.tell(Event::Audited { ticket, found });
                }
            }
            Message::LoudUpload {
                instance,
                directory,
                text,
            } => {
                if let Some(place) = self.directories.get_mut(&directory) {
                    place.directory.upload(&text, clock);
                }
                let pending = self.loud.entry((instance.clone(), directory)).or_default();
                *pending = pending.saturating_sub(1);
                if *pending == 0 {
                    self.tell(Event::InstanceUploadEnded { instance, directory });
                }
            }
        }
    }

    fn rest(&mut self, _: usize) {
        let now = self.now();
        if let Some((recorder, entries)) = &mut self.trace {
            let machine = self.engine.machine(HOST);
            let wanted = machine.wanted().map(|(slot, text)| (slot, text.bytes()));
            entries.extend(recorder.wants(wanted, now));
        }
        // Whatever changes the wanted ring leads to uploads.
        if self.uploads != self.checked_uploads {
            self.checked_uploads = self.uploads;
            self.check();
        }
    }
}

fn list<T: ToString>(known: &[T]) -> String {
    if known.is_empty() {
        return "none".into();
    }
    known.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    /// Returns the message with which this panics.
    fn panic_of(act: impl FnOnce(&mut Network)) -> String {
        let mut network = Network::builder(1)
            .directories(2)
            .instances(["a", "b"])
            .build()
            .unwrap();
        let panic = catch_unwind(AssertUnwindSafe(|| act(&mut network))).unwrap_err();
        *panic.downcast::<String>().unwrap()
    }

    #[test]
    fn a_misspelt_instance_is_no_instance() {
        let period = TimePeriod::at(&network_key(), UnixTime::from_secs(1_795_349_700));
        let acts: [fn(&mut Network, TimePeriod); 8] = [
            |network, _| network.start("c"),
            |network, _| network.start_with("c", Vec::new()),
            |network, _| network.kill("c"),
            |network, _| network.rotate("c"),
            |network, _| network.offer_points("c", Vec::new()),
            |network, period| network.offer_for("c", Vec::new(), period),
            |network, _| network.rebuild("c"),
            |network, _| network.publish("c"),
        ];
        for (number, act) in acts.into_iter().enumerate() {
            let message = panic_of(|network| act(network, period));
            assert_eq!(message, "no instance is called \"c\"; there are a, b", "{number}");
        }
    }

    #[test]
    fn a_directory_that_left_is_no_directory() {
        let acts: [fn(&mut Network, Fingerprint); 3] = [
            |network, directory| network.set_fault(directory, Fault::Silent),
            |network, directory| network.forget(directory),
            |network, directory| network.remove_directory(&directory),
        ];
        for act in acts {
            let mut stays = None;
            let message = panic_of(|network| {
                let ring = network.ring();
                let mut directories = ring.iter();
                let gone = directories.next().unwrap();
                stays = directories.next();
                network.remove_directory(&gone);
                act(network, gone);
            });
            let stays = stays.unwrap().to_string();
            assert!(message.ends_with(&format!("; there are {stays}")), "{message}");
        }
    }

    fn network_key() -> onionweave_ring::v2::ServiceId {
        let network = Network::builder(1).build().unwrap();
        network.key.service_id()
    }
}
