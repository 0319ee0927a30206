//! The reconciler: makes the ring that is seen equal to the ring that is wanted.
//!
//! The machine does no IO and reads no clock. Its driver tells it what happened ([`Machine::handle`]), carries out what it asks
//! for ([`Machine::poll`]) and calls again when it wants to be called ([`Machine::next_deadline`]). The same machine runs against
//! real Tor, in the simulator and in tests.
//!
//! # How it works
//!
//! Two pictures are kept for each slot: the descriptor that it shall hold and what it was last proved to hold. Every event
//! changes one of them, and [`Slot::need`] turns a difference into work: upload, then read back, then nothing. There is no other
//! reason to upload, so there is no schedule to get wrong.
//!
//! # Rules of Tor that it keeps
//!
//! Lines are of tor 0.4.5.9, below `src/feature/rend`.
//!
//! - All slots carry one publication time, which moves for all of them together: a client keeps the newer of two descriptors
//!   even when all its points are dead (`rendcache.c:974-984`).
//! - The time is never in the future, and never older than a text that is already there: a directory keeps the newest
//!   (`rendcache.c:686`) and answers 200 all the same (`rendcache.c:736-742`), so only reading back proves anything.
//! - Every directory gets bytes of its own, and new ones whenever an instance came back (see `text.rs`).
//! - No relay stands twice in a text (`rendclient.c:162-171`).
//! - In the last hour of a time period the next period's slots are filled too (`rendservice.c:3861-3893`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use onionweave_assign as assign;
use onionweave_desc::v2::{Descriptor, IntroductionPoint, ServiceKey};
use onionweave_ring::relays::Lifetime;
use onionweave_ring::v2::ServiceId;
use onionweave_ring::{Directories, Fingerprint, UnixTime};

use crate::{Action, Cause, Event, InstanceName, Moment, Period, Report, Settings, SlotId, Ticket};

mod instance;
mod loads;
mod offers;
mod pace;
mod readings;
mod roster;
mod rounds;
mod seen;
mod slot;
mod text;
mod wanted;
mod world;

use instance::Instance;
use loads::Scales;
use pace::Pace;
use rounds::Rounds;
use seen::Others;
use slot::Slot;

/// Clients refuse a descriptor with more points (`MAX_INTRO_POINTS`, `rendcache.c:939`).
const POINTS_PER_DESCRIPTOR: usize = 10;

/// How instances and slots are matched.
pub type Policy = Box<dyn assign::Policy<InstanceName, SlotId>>;

/// The reconciler of one v2 onion service: makes the ring that is seen equal to the ring that is wanted.
///
/// ```
/// use std::time::Duration;
/// use onionweave_assign::Mixed;
/// use onionweave_publish::{Event, InstanceSettings, Machine, Moment, Settings};
/// use onionweave_ring::UnixTime;
/// # use onionweave_desc::v2::ServiceKey;
/// # let key = ServiceKey::from_pem(include_str!("../testdata/private_key")).unwrap();
///
/// let settings = Settings::new(vec![InstanceSettings::new("a"), InstanceSettings::new("b")]);
/// let mut machine = Machine::new(key, Box::new(Mixed::default()), settings, 42);
///
/// let now = Moment::new(UnixTime::from_secs(1_795_349_239), Duration::ZERO);
/// machine.handle(Event::InstanceUp { instance: "a".into() }, now);
/// while let Some(action) = machine.poll(now) {
///     println!("{action:?}"); // nothing to upload yet: no directories, no introduction points
/// }
/// ```
#[derive(Debug)]
pub struct Machine {
    key: ServiceKey,
    service_id: ServiceId,
    policy: Policy,
    settings: Settings,
    seed: u64,

    instances: BTreeMap<InstanceName, Instance>,
    /// Who serves, as far as the number is limited.
    serving: BTreeSet<InstanceName>,
    /// The weights that follow loads, if they do.
    scales: Option<Scales>,
    directories: Option<Arc<Directories>>,
    /// When the newest consensus is valid.
    lifetime: Option<Lifetime>,
    slots: BTreeMap<SlotId, Slot>,
    plans: BTreeMap<Period, assign::Plan<InstanceName, SlotId>>,

    /// The publication time of all slots.
    time: Option<UnixTime>,
    /// Somebody wrote over a text of ours. With second stamps, the next texts are dated anew to outrank that.
    outranked: bool,
    /// The publication times beyond it that were seen anywhere for this service.
    newer_seen: BTreeSet<UnixTime>,
    /// The next text's number; see `text.rs`.
    next_variant: u64,
    /// Instances whose slots need new bytes though their points are the same.
    fresh_bytes: BTreeSet<InstanceName>,
    /// The wall-clock times through which the wanted ring stays as it is if nothing changes; `None` if something did.
    wanted_during: Option<Range<UnixTime>>,

    /// Slots that the first look at the ring still waits for; `None` before it began.
    survey: Option<BTreeSet<SlotId>>,
    /// When to look whether an upload of ours arrived.
    pace: Pace,
    /// The uploads that are on their way, at most one for a slot, and when each is given up. A slot that was lost and is ours again waits for
    /// the one of before, which would write over the next if it arrived after it.
    uploading: BTreeMap<SlotId, (Ticket, Duration)>,
    /// When to answer an upload of a loud instance.
    loud_pace: Pace,
    /// The uploads of others that are on their way.
    others: BTreeMap<Fingerprint, Others>,
    tickets: BTreeMap<Ticket, SlotId>,
    /// The readings that are on their way, and of whom.
    readings: BTreeMap<Ticket, InstanceName>,
    next_ticket: u64,

    /// Why the next texts are written.
    causes: BTreeSet<Cause>,
    rounds: Rounds,
    complaints: Complaints,
    actions: VecDeque<Action>,
}

/// What was reported and still holds, so that it is reported once.
#[derive(Debug, Default)]
struct Complaints {
    nobody_left: bool,
    few_directories: Option<usize>,
    clock_off: bool,
}

impl Machine {
    /// The reconciler of the service with this `key`.
    ///
    /// `seed` decides all that is drawn: who gets the remainder, and with which variant the texts begin. Give each run another
    /// one, except where runs shall be the same.
    pub fn new(key: ServiceKey, policy: Policy, settings: Settings, seed: u64) -> Self {
        let instances = settings
            .instances
            .iter()
            .map(|instance| (instance.name.clone(), Instance::new(instance)))
            .collect();
        let scales = settings.damping.map(Scales::new);
        Self {
            service_id: key.service_id(),
            key,
            policy,
            settings,
            seed,
            instances,
            serving: BTreeSet::new(),
            scales,
            directories: None,
            lifetime: None,
            slots: BTreeMap::new(),
            plans: BTreeMap::new(),
            time: None,
            outranked: false,
            newer_seen: BTreeSet::new(),
            next_variant: seed,
            fresh_bytes: BTreeSet::new(),
            wanted_during: None,
            survey: None,
            pace: Pace::of_glances(),
            uploading: BTreeMap::new(),
            loud_pace: Pace::of_answers(),
            others: BTreeMap::new(),
            tickets: BTreeMap::new(),
            readings: BTreeMap::new(),
            next_ticket: 0,
            causes: BTreeSet::from([Cause::Started]),
            rounds: Rounds::default(),
            complaints: Complaints::default(),
            actions: VecDeque::new(),
        }
    }

    /// The service whose ring this is.
    pub fn service_id(&self) -> ServiceId {
        self.service_id
    }

    /// Takes note of an event. Its consequences come out of [`poll`](Self::poll).
    ///
    /// Events about instances or tickets that the machine does not know (any more) are ignored.
    pub fn handle(&mut self, event: Event, now: Moment) {
        match event {
            Event::Directories(directories) => self.learn_directories(directories),
            Event::InstanceUp { instance } => self.instance_up(&instance),
            Event::InstanceDown { instance, why } => self.instance_down(&instance, why, now),
            Event::InstanceOffers {
                instance,
                text,
                rebuilt,
            } => self.instance_offers(&instance, text, rebuilt, now),
            Event::InstanceOffersNothing { instance } => self.set_points(&instance, Vec::new()),
            Event::InstanceUnfit { instance, why } => self.instance_unfit(&instance, why),
            Event::InstanceFit { instance } => self.instance_fit(&instance),
            Event::InstanceLoad { instance, load } => self.instance_load(&instance, load, now),
            Event::InstanceUploads {
                instance,
                own,
                directory,
                descriptor_id,
            } => self.instance_uploads(&instance, own, directory, descriptor_id, now),
            Event::InstanceUploadEnded { instance, directory } => {
                self.upload_of_others_ended(&instance, directory, now);
            }
            Event::UploadAnswered { ticket, answer } => self.upload_answered(ticket, answer, now),
            Event::Audited { ticket, found } => self.audited(ticket, found, now),
            Event::Read { ticket, found } => self.reading_answered(ticket, found, now),
            Event::Configured(settings) => self.configured(settings),
        }
        self.settle(now);
    }

    /// The next thing to do, if any. To be called until it returns `None` after every [`handle`](Self::handle), and when
    /// [`next_deadline`](Self::next_deadline) has come. Calling it more often does no harm.
    pub fn poll(&mut self, now: Moment) -> Option<Action> {
        if self.actions.is_empty() {
            self.settle(now);
        }
        self.actions.pop_front()
    }

    /// The uptime at which [`poll`](Self::poll) may have something to do without any event, given that it is `now`.
    ///
    /// Changes with every call of the other two. If the wall clock is set, this is off by as much until the next call, so a
    /// driver should not sleep for longer than some seconds.
    pub fn next_deadline(&self, now: Moment) -> Option<Duration> {
        let slots = self.slots.values().filter_map(|slot| slot.wakes_at(now.uptime()));
        let instances = self.instances.values();
        let restarts = instances.clone().filter_map(Instance::restart_due);
        let readings = instances.clone().filter_map(Instance::reading_due);
        let readings = readings.filter(|_| self.directories.is_some());
        let uploads = self.uploading.values().map(|&(_, give_up)| give_up);
        let wall = self
            .next_wall_change(now.wall())
            .into_iter()
            .chain(instances.filter_map(Instance::stale_from))
            .map(|target| now.uptime_at(target));
        slots.chain(restarts).chain(readings).chain(uploads).chain(wall).min()
    }

    /// What each slot shall hold. Slots for which there is nothing yet are left out.
    pub fn wanted(&self) -> impl Iterator<Item = (SlotId, &Descriptor)> {
        self.slots
            .iter()
            .filter_map(|(&id, slot)| Some((id, &*slot.wanted.as_ref()?.descriptor)))
    }

    /// The slots that were proved to hold what they shall.
    pub fn proved(&self) -> impl Iterator<Item = SlotId> {
        self.slots
            .iter()
            .filter(|(_, slot)| slot.is_proved())
            .map(|(&id, _)| id)
    }

    /// The plan of each time period that is published.
    pub fn plans(&self) -> &BTreeMap<Period, assign::Plan<InstanceName, SlotId>> {
        &self.plans
    }

    /// The introduction points that an instance offers, as far as they may be believed; none from one that is unknown or down.
    pub fn introduction_points(&self, instance: &InstanceName) -> &[IntroductionPoint] {
        self.instances.get(instance).map_or(&[], |instance| &instance.points)
    }

    /// Whether every slot was proved to hold what it shall, and there is at least one.
    pub fn is_settled(&self) -> bool {
        !self.slots.is_empty() && self.slots.values().all(Slot::is_proved)
    }

    /// Brings everything up to `now`: what was not answered, what the clock changed, what is wanted, what is to be done.
    fn settle(&mut self, now: Moment) {
        self.give_up(now);
        self.restart(now);
        self.check_clock(now.wall());
        self.read_instances(now);
        self.expire(now.wall());
        if self.anyone_offers() {
            self.complaints.nobody_left = false;
            let wall = now.wall();
            if !self.wanted_during.as_ref().is_some_and(|times| times.contains(&wall)) {
                self.place(now);
                if self.is_surveyed(now) {
                    self.want(now);
                }
            }
            self.work(now);
        } else if !self.complaints.nobody_left && self.causes.iter().any(|cause| matches!(cause, Cause::Left(_))) {
            self.complaints.nobody_left = true;
            self.report(Report::NobodyLeft);
        }
        self.close_round(now);
    }

    fn anyone_offers(&self) -> bool {
        self.instances.values().any(Instance::offers)
    }

    /// Reports the round under way, if it has ended.
    fn close_round(&mut self, now: Moment) {
        if let Some(mut round) = self.rounds.close(&self.slots, now) {
            round.sealed = self.settings.authorization.is_some();
            round.plan = self
                .plans
                .values()
                .flat_map(|plan| plan.slots())
                .map(|(&slot, mix)| {
                    let counts = mix.instances().into_iter();
                    // At most ten, see `POINTS_PER_DESCRIPTOR`.
                    (slot, counts.map(|(name, count)| (name.clone(), count as u32)).collect())
                })
                .collect();
            self.report(Report::Proved(round));
        }
    }

    /// Notes that the wanted ring changes, and why.
    fn change(&mut self, cause: Cause) {
        self.causes.insert(cause);
        self.wanted_during = None;
    }

    fn report(&mut self, report: Report) {
        self.actions.push_back(Action::Report(report));
    }
}
