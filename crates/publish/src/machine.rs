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
//!   even when all its points are dead (`rendcache.c:946-953`).
//! - The time is never in the future, and never older than a text that is already there: a directory keeps the newest
//!   (`rendcache.c:686`) and answers 200 all the same (`rendcache.c:736-742`), so only reading back proves anything.
//! - Every directory gets bytes of its own, and new ones whenever an instance came back (see `text.rs`).
//! - No relay stands twice in a text (`rendclient.c:162-171`).
//! - One upload at a time is on its way to a directory, because `UPLOADED` does not say which one it answers.
//! - In the last hour of a time period the next period's slots are filled too (`rendservice.c:3861-3893`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use onionweave_assign as assign;
use onionweave_desc::v2::{Descriptor, ServiceKey, UnverifiedDescriptor};
use onionweave_ring::relays::Lifetime;
use onionweave_ring::v2::{self, DescriptorId, Replica, ServiceId, TimePeriod};
use onionweave_ring::{Fingerprint, HashRing, UnixTime};

use crate::report::Round;
use crate::{
    Action, Cause, Down, Event, Found, InstanceName, Moment, Report, Settings, SlotId, Stamp, Ticket, UploadAnswer,
};

mod instance;
mod slot;
mod text;

use instance::Instance;
use slot::{Need, Seen, Slot, Work};

/// Clients refuse a descriptor with more points (`MAX_INTRO_POINTS`, `rendcache.c:928`).
const POINTS_PER_DESCRIPTOR: usize = 10;
/// How long the first look at the ring may take. A dead directory never answers, and must not hold up the living.
const SURVEY_WITHIN: Duration = Duration::from_secs(3);
/// How long an upload of others is waited for. Tor says nothing when a directory does not answer.
const HOLD_FOR_OTHERS: Duration = Duration::from_secs(2);
/// A clock that is further behind the consensus than this is reported.
const CLOCK_BEHIND: Duration = Duration::from_secs(30 * 60);
/// Tor itself calls a consensus reasonably live until then (`REASONABLY_LIVE_TIME`, `nodelist/networkstatus.c:1484`).
const CONSENSUS_STALE: Duration = Duration::from_secs(24 * 3600);

/// How instances and slots are matched.
pub type Policy = Box<dyn assign::Policy<InstanceName, SlotId>>;

/// The reconciler of one v2 onion service. See the [module's documentation](self).
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
    ring: Option<HashRing>,
    slots: BTreeMap<SlotId, Slot>,
    plans: BTreeMap<TimePeriod, assign::Plan<InstanceName, SlotId>>,

    /// The publication time of all slots.
    time: Option<UnixTime>,
    /// The newest publication time that was seen anywhere for this service.
    newest_seen: Option<UnixTime>,
    /// The next text's number; see `text.rs`.
    next_variant: u64,
    /// Instances whose slots need new bytes though their points are the same.
    fresh_bytes: BTreeSet<InstanceName>,

    /// Slots that the first look at the ring still waits for; `None` before it began.
    survey: Option<BTreeSet<SlotId>>,
    /// The uploads that are on their way, at most one to a directory, and when each is given up.
    uploading: BTreeMap<Fingerprint, (Ticket, Duration)>,
    /// The uploads of others that are on their way.
    others: BTreeMap<Fingerprint, Others>,
    tickets: BTreeMap<Ticket, SlotId>,
    next_ticket: u64,

    /// Why the next texts are written.
    causes: BTreeSet<Cause>,
    batch: Option<Batch>,
    /// Slots that the last round ended without.
    missing: BTreeSet<SlotId>,
    complaints: Complaints,
    actions: VecDeque<Action>,
}

/// A round of work under way.
#[derive(Debug)]
struct Batch {
    began: Duration,
    causes: BTreeSet<Cause>,
    slots: BTreeSet<SlotId>,
}

/// Uploads of others on their way to one directory. Tor does not say which descriptor ID an `UPLOADED` answers, so all
/// slots there wait until the last one is answered.
#[derive(Debug)]
struct Others {
    pending: u32,
    until: Duration,
    slots: BTreeSet<SlotId>,
    cause: Cause,
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
        Self {
            service_id: key.service_id(),
            key,
            policy,
            settings,
            seed,
            instances,
            ring: None,
            slots: BTreeMap::new(),
            plans: BTreeMap::new(),
            time: None,
            newest_seen: None,
            next_variant: seed,
            fresh_bytes: BTreeSet::new(),
            survey: None,
            uploading: BTreeMap::new(),
            others: BTreeMap::new(),
            tickets: BTreeMap::new(),
            next_ticket: 0,
            causes: BTreeSet::from([Cause::Started]),
            batch: None,
            missing: BTreeSet::new(),
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
            Event::Directories { ring, lifetime } => self.directories(ring, lifetime, now),
            Event::InstanceUp { instance } => self.instance_up(&instance),
            Event::InstanceDown { instance, why } => self.instance_down(&instance, why, now),
            Event::InstanceOffers {
                instance,
                text,
                rebuilt,
            } => self.instance_offers(&instance, text, rebuilt),
            Event::InstanceOffersNothing { instance } => self.set_points(&instance, Vec::new()),
            Event::InstanceUploads {
                instance,
                own,
                directory,
                descriptor_id,
            } => self.instance_uploads(&instance, own, directory, descriptor_id, now),
            Event::InstanceUploadEnded { directory, .. } => self.upload_of_others_ended(directory, now),
            Event::UploadAnswered { ticket, answer } => self.upload_answered(ticket, answer, now),
            Event::Audited { ticket, found } => self.audited(ticket, found, now),
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
        let restarts = self.instances.values().filter_map(Instance::restart_due);
        let uploads = self.uploading.values().map(|&(_, give_up)| give_up);
        let wall = self
            .next_wall_change(now.wall())
            .into_iter()
            .map(|target| now.uptime_at(target));
        slots.chain(restarts).chain(uploads).chain(wall).min()
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
    pub fn plans(&self) -> &BTreeMap<TimePeriod, assign::Plan<InstanceName, SlotId>> {
        &self.plans
    }

    /// Whether every slot was proved to hold what it shall, and there is at least one.
    pub fn is_settled(&self) -> bool {
        !self.slots.is_empty() && self.slots.values().all(Slot::is_proved)
    }

    // Events.

    fn directories(&mut self, ring: HashRing, lifetime: Option<Lifetime>, now: Moment) {
        let few = (ring.len() < v2::DIRECTORIES_PER_REPLICA).then_some(ring.len());
        if few != self.complaints.few_directories {
            self.complaints.few_directories = few;
            if let Some(count) = few {
                self.report(Report::FewDirectories(count));
            }
        }
        if let Some(lifetime) = lifetime {
            self.check_clock(&lifetime, now.wall());
        }
        // A consensus without directories is a consensus that went wrong; the last ring serves on.
        if !ring.is_empty() && self.ring.as_ref() != Some(&ring) {
            self.ring = Some(ring);
            self.causes.insert(Cause::DirectoriesMoved);
        }
    }

    fn check_clock(&mut self, lifetime: &Lifetime, now: UnixTime) {
        let behind = now.saturating_add(CLOCK_BEHIND) < lifetime.valid_after();
        let stale = now > lifetime.valid_until().saturating_add(CONSENSUS_STALE);
        let off = behind || stale;
        if off && !self.complaints.clock_off {
            self.report(Report::ClockOff {
                now,
                valid_after: lifetime.valid_after(),
                valid_until: lifetime.valid_until(),
            });
        }
        self.complaints.clock_off = off;
    }

    fn instance_up(&mut self, name: &InstanceName) {
        if let Some(instance) = self.instances.get_mut(name)
            && !instance.up
        {
            instance.came_up();
            self.report(Report::Up(name.clone()));
        }
    }

    fn instance_down(&mut self, name: &InstanceName, why: Down, now: Moment) {
        let Some(instance) = self.instances.get_mut(name) else {
            return;
        };
        let offered = instance.offers();
        // A connection that just broke is first made anew: only an instance that cannot be reached needs a restart.
        instance.went_down(now.uptime(), matches!(why, Down::Unreachable(_)));
        if offered {
            self.causes.insert(Cause::Left(name.clone()));
        }
        self.report(Report::Down(name.clone(), why));
    }

    fn instance_offers(&mut self, name: &InstanceName, text: Vec<u8>, rebuilt: bool) {
        let Some(instance) = self.instances.get_mut(name).filter(|instance| instance.up) else {
            return;
        };
        if instance.last_text == text && instance.complaint.is_none() {
            if rebuilt && instance.offers() {
                self.causes.insert(Cause::Rebuilt(name.clone()));
                self.fresh_bytes.insert(name.clone());
            }
            return;
        }
        match self.read(&text) {
            Ok((descriptor, points)) => {
                self.saw_time(descriptor.publication_time());
                let same_points = self.instances.get_mut(name).is_some_and(|instance| {
                    instance.last_text = text;
                    instance.complaint = None;
                    instance.points == points
                });
                if !same_points {
                    self.set_points(name, points);
                } else if rebuilt {
                    self.causes.insert(Cause::Rebuilt(name.clone()));
                    self.fresh_bytes.insert(name.clone());
                }
            }
            Err(why) => {
                // Its last good points may still be good; they stay until it goes down or offers others.
                if let Some(instance) = self.instances.get_mut(name)
                    && instance.complaint.as_ref() != Some(&why)
                {
                    instance.complaint = Some(why.clone());
                    self.report(Report::Unusable {
                        instance: name.clone(),
                        why,
                    });
                }
            }
        }
    }

    /// Reads an instance's descriptor, trusting nothing.
    fn read(&self, text: &[u8]) -> Result<(Descriptor, Vec<onionweave_desc::v2::IntroductionPoint>), String> {
        let descriptor = UnverifiedDescriptor::parse(text)
            .and_then(UnverifiedDescriptor::verify)
            .map_err(|error| error.to_string())?;
        if descriptor.service_id() != self.service_id {
            return Err(format!(
                "it belongs to {}, not to {}",
                descriptor.service_id(),
                self.service_id
            ));
        }
        let points = descriptor.introduction_points().map_err(|error| error.to_string())?;
        let points = text::canonical(&points, POINTS_PER_DESCRIPTOR);
        Ok((descriptor, points))
    }

    fn set_points(&mut self, name: &InstanceName, points: Vec<onionweave_desc::v2::IntroductionPoint>) {
        let Some(instance) = self.instances.get_mut(name).filter(|instance| instance.up) else {
            return;
        };
        if instance.points == points {
            return;
        }
        let cause = match (instance.points.is_empty(), points.is_empty()) {
            // Whoever tried it while it was gone has given up these points; see `text.rs`.
            (true, _) => {
                self.fresh_bytes.insert(name.clone());
                Cause::Joined(name.clone())
            }
            (false, true) => {
                instance.last_text.clear();
                Cause::Left(name.clone())
            }
            (false, false) => Cause::PointsChanged(name.clone()),
        };
        instance.points = points;
        let count = instance.points.len();
        self.causes.insert(cause);
        self.report(Report::Offers(name.clone(), count));
    }

    fn instance_uploads(
        &mut self,
        name: &InstanceName,
        own: bool,
        directory: Fingerprint,
        descriptor_id: DescriptorId,
        now: Moment,
    ) {
        let unexpected = own && self.settings.quiet;
        let Some(instance) = self.instances.get_mut(name) else {
            return;
        };
        if unexpected && !instance.reported_loud {
            instance.reported_loud = true;
            self.report(Report::Loud(name.clone()));
        }
        let until = now.uptime().saturating_add(HOLD_FOR_OTHERS);
        let cause = if own {
            Cause::Published(name.clone())
        } else {
            Cause::Overwritten
        };
        for (id, slot) in &mut self.slots {
            if id.directory != directory || slot.descriptor_id != descriptor_id {
                continue;
            }
            let others = self.others.entry(directory).or_insert_with(|| Others {
                pending: 0,
                until,
                slots: BTreeSet::new(),
                cause: cause.clone(),
            });
            others.pending = others.pending.saturating_add(1);
            others.until = until;
            others.slots.insert(*id);
            slot.held_until = until;
            slot.seen = Seen::Other;
            note(&mut self.batch, now, *id, [cause.clone()]);
        }
    }

    fn upload_of_others_ended(&mut self, directory: Fingerprint, now: Moment) {
        let Some(others) = self.others.get_mut(&directory) else {
            return;
        };
        others.pending = others.pending.saturating_sub(1);
        if others.pending == 0 {
            self.release(directory, now);
        }
    }

    /// A directory now holds what others wrote: it is our turn.
    fn release(&mut self, directory: Fingerprint, now: Moment) {
        let Some(others) = self.others.remove(&directory) else {
            return;
        };
        for id in others.slots {
            let Some(slot) = self.slots.get_mut(&id) else {
                continue;
            };
            slot.held_until = Duration::ZERO;
            slot.seen = Seen::Other;
            // An audit under way may have read the text of before.
            if let Work::Auditing { ticket, .. } = slot.work {
                self.tickets.remove(&ticket);
                slot.work = Work::Idle;
            }
            note(&mut self.batch, now, id, [others.cause.clone()]);
            // An instance publishes on a schedule of its own. Whoever else writes here may be answering us.
            if others.cause == Cause::Overwritten
                && let Some(pause) = slot.contest(now.uptime())
            {
                self.report(Report::Contested { slot: id, pause });
            }
        }
        self.restamp(now.wall());
    }

    fn upload_answered(&mut self, ticket: Ticket, answer: UploadAnswer, now: Moment) {
        self.uploading.retain(|_, (other, _)| *other != ticket);
        let Some((id, slot)) = taken(&mut self.tickets, &mut self.slots, ticket) else {
            return;
        };
        let Work::Uploading { bytes, .. } = std::mem::replace(&mut slot.work, Work::Idle) else {
            return;
        };
        match answer {
            UploadAnswer::Accepted => slot.seen = Seen::Accepted(bytes),
            UploadAnswer::Interrupted => slot.seen = Seen::Other,
            UploadAnswer::Refused(why) => {
                slot.seen = Seen::Other;
                self.trouble(id, why, now);
            }
        }
    }

    fn audited(&mut self, ticket: Ticket, found: Found, now: Moment) {
        let Some((id, slot)) = taken(&mut self.tickets, &mut self.slots, ticket) else {
            return;
        };
        slot.work = Work::Idle;
        if let Some(survey) = &mut self.survey {
            survey.remove(&id);
        }
        let wanted = slot.wanted.as_ref().map(|wanted| wanted.bytes.clone());
        match found {
            Found::Text(text) => {
                if let Some(wanted) = wanted.filter(|wanted| same_text(wanted, &text)) {
                    slot.prove(wanted, now.uptime().saturating_add(self.settings.audit_every));
                    if self.missing.remove(&id) {
                        note(&mut self.batch, now, id, [Cause::Failed]);
                    }
                } else {
                    self.found_other(id, &text, now);
                }
            }
            Found::Nothing => self.not_there(id, "the directory holds nothing", now),
            Found::Unusable(why) => self.not_there(id, &format!("what the directory holds is unusable: {why}"), now),
            Found::Failed(why) => {
                if wanted.is_some() {
                    self.trouble(id, format!("cannot be read back: {why}"), now);
                }
            }
            Found::Interrupted => {}
        }
    }

    /// A directory holds another text than the one wanted.
    fn found_other(&mut self, id: SlotId, text: &[u8], now: Moment) {
        let time = UnverifiedDescriptor::parse(text)
            .and_then(UnverifiedDescriptor::verify)
            .ok()
            .filter(|descriptor| descriptor.service_id() == self.service_id)
            .map(|descriptor| descriptor.publication_time());
        if let Some(time) = time {
            self.saw_time(time);
            if time > now.wall() {
                self.report(Report::DatedAhead { slot: id, until: time });
            }
        }
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        match std::mem::replace(&mut slot.seen, Seen::Other) {
            // Our last text but one: the wanted text changed while this one was on its way.
            Seen::Accepted(accepted) if same_text(&accepted, text) => {}
            Seen::Accepted(_) if slot.wanted.is_some() => {
                note(&mut self.batch, now, id, [Cause::Dropped]);
                self.trouble(id, "accepted our descriptor but kept another".into(), now);
            }
            Seen::Proved(_) => {
                if let Some(pause) = slot.contest(now.uptime()) {
                    self.actions
                        .push_back(Action::Report(Report::Contested { slot: id, pause }));
                }
                note(&mut self.batch, now, id, [Cause::Overwritten]);
                self.restamp(now.wall());
            }
            _ => {}
        }
    }

    /// A directory holds nothing that clients could use.
    fn not_there(&mut self, id: SlotId, why: &str, now: Moment) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        if slot.wanted.is_none() {
            return;
        }
        note(&mut self.batch, now, id, [Cause::Dropped]);
        // A directory that had it and lost it was restarted: it is filled again at once.
        if let Seen::Accepted(_) = std::mem::replace(&mut slot.seen, Seen::Other) {
            self.trouble(id, format!("accepted our descriptor, but {why}"), now);
        }
    }

    fn configured(&mut self, settings: Settings) {
        let mut old = std::mem::take(&mut self.instances);
        for instance in &settings.instances {
            let mut known = old.remove(&instance.name).unwrap_or_else(|| Instance::new(instance));
            known.configure(instance);
            self.instances.insert(instance.name.clone(), known);
        }
        self.settings = settings;
        self.causes.insert(Cause::Configured);
    }

    // Consequences.

    /// Brings everything up to `now`: what was not answered, what the clock changed, what is wanted, what is to be done.
    fn settle(&mut self, now: Moment) {
        self.give_up(now);
        self.restart(now);
        if self.anyone_offers() {
            self.complaints.nobody_left = false;
            self.place(now);
            if self.is_surveyed(now) {
                self.want(now);
            }
            self.work(now);
        } else if !self.complaints.nobody_left && self.causes.iter().any(|cause| matches!(cause, Cause::Left(_))) {
            self.complaints.nobody_left = true;
            self.report(Report::NobodyLeft);
        }
        self.finish(now);
    }

    fn anyone_offers(&self) -> bool {
        self.instances.values().any(Instance::offers)
    }

    /// Ends the work that was not answered in time.
    fn give_up(&mut self, now: Moment) {
        let up = now.uptime();
        let mut uploads = Vec::new();
        let mut audits = Vec::new();
        for slot in self.slots.values() {
            match slot.work {
                Work::Uploading { ticket, give_up, .. } if give_up <= up => uploads.push(ticket),
                Work::Auditing { ticket, give_up } if give_up <= up => audits.push(ticket),
                _ => {}
            }
        }
        let why = || "no answer in time".to_owned();
        for ticket in uploads {
            self.upload_answered(ticket, UploadAnswer::Refused(why()), now);
        }
        for ticket in audits {
            self.audited(ticket, Found::Failed(why()), now);
        }
        self.uploading.retain(|_, (_, give_up)| *give_up > up);
        let silent: Vec<_> = self
            .others
            .iter()
            .filter(|(_, others)| others.until <= up)
            .map(|(&directory, _)| directory)
            .collect();
        for directory in silent {
            self.release(directory, now);
        }
    }

    fn restart(&mut self, now: Moment) {
        for (name, instance) in &mut self.instances {
            if instance.take_restart(now.uptime()) {
                self.actions.push_back(Action::Restart { instance: name.clone() });
            }
        }
    }

    /// Computes the slots: published periods, their replicas, the responsible directories.
    fn place(&mut self, now: Moment) {
        let Some(ring) = &self.ring else {
            return;
        };
        let mut slots = BTreeMap::new();
        for period in v2::published_periods(&self.service_id, now.wall()) {
            for replica in Replica::ALL {
                let descriptor_id = DescriptorId::of(&self.service_id, period, replica);
                for directory in descriptor_id.responsible(ring) {
                    let id = SlotId::new(period, replica, directory);
                    let slot = self.slots.remove(&id).unwrap_or_else(|| Slot::new(descriptor_id));
                    slots.insert(id, slot);
                }
            }
        }
        let known: BTreeSet<_> = self.plans.keys().copied().collect();
        if slots.keys().any(|id| !known.contains(&id.period)) && !known.is_empty() {
            self.causes.insert(Cause::PeriodBegan);
        }
        // What is left are slots that are no longer ours. An upload that is still on its way keeps its directory busy.
        for (id, slot) in std::mem::replace(&mut self.slots, slots) {
            if let Work::Auditing { ticket, .. } | Work::Uploading { ticket, .. } = slot.work {
                self.tickets.remove(&ticket);
            }
            self.missing.remove(&id);
            if let Some(survey) = &mut self.survey {
                survey.remove(&id);
            }
        }
        let periods: BTreeSet<_> = self.slots.keys().map(|id| id.period).collect();
        self.plans.retain(|period, _| periods.contains(period));
    }

    /// Looks at every slot once before the first upload: our texts must not be older than what is there. Returns whether
    /// that is done.
    fn is_surveyed(&mut self, now: Moment) -> bool {
        if self.slots.is_empty() {
            return false;
        }
        let Some(survey) = &self.survey else {
            let within = SURVEY_WITHIN.min(self.settings.answer_within);
            for id in self.slots.keys().copied().collect::<Vec<_>>() {
                self.audit(id, within, now);
            }
            self.survey = Some(self.slots.keys().copied().collect());
            return false;
        };
        // An audit that was interrupted or failed has told all that it will.
        survey.is_empty()
    }

    /// Decides what every slot shall hold.
    fn want(&mut self, now: Moment) {
        self.advance_time(now.wall());
        let Some(time) = self.time else {
            return;
        };
        self.plan(time);
        let stale = self.stale_slots(time);
        if !stale.is_empty() && self.restamp(now.wall()) {
            // Now all texts are of another time, so all are stale.
            return self.want(now);
        }
        let causes = std::mem::take(&mut self.causes);
        self.fresh_bytes.clear();
        for (id, points) in stale {
            let variant = self.fresh_variant(id, points.len());
            match text::write(&self.key, id, points, variant, time) {
                Ok(wanted) => {
                    if let Some(slot) = self.slots.get_mut(&id) {
                        slot.wanted = Some(wanted);
                        // Something happened: try at once, also where the last try failed.
                        slot.not_before = slot.not_before.min(now.uptime());
                    }
                    note(&mut self.batch, now, id, causes.iter().cloned());
                }
                Err(error) => self.trouble(id, error.to_string(), now),
            }
        }
    }

    /// Moves the publication time on with the hour, and beyond anything newer that was seen, but never into the future.
    fn advance_time(&mut self, now: UnixTime) {
        let seen = self.newest_seen.filter(|&seen| seen <= now);
        let time = now.start_of_hour().max(seen.unwrap_or(UnixTime::from_secs(0)));
        match self.time {
            Some(current) if current >= time => {}
            current => {
                self.time = Some(time);
                if current.is_some() {
                    self.causes.insert(Cause::TimeMoved);
                }
            }
        }
    }

    /// With second stamps, every change takes the present second. Returns whether the time moved.
    fn restamp(&mut self, now: UnixTime) -> bool {
        let Some(time) = self.time.filter(|_| self.settings.stamp == Stamp::Second) else {
            return false;
        };
        let moved = now > time;
        self.time = Some(time.max(now));
        moved
    }

    fn plan(&mut self, time: UnixTime) {
        let instances: Vec<_> = self
            .instances
            .iter()
            .filter(|(_, instance)| instance.offers())
            .map(|(name, instance)| {
                // At most ten, see `canonical`.
                assign::Instance::new(name.clone(), instance.points.len() as u32).weight(instance.weight)
            })
            .collect();
        // The hour's number, so that a restarted publisher goes on where it was.
        let round = assign::Round::new(time.as_secs() / 3600, self.seed);
        let mut periods: BTreeMap<TimePeriod, Vec<SlotId>> = BTreeMap::new();
        for &id in self.slots.keys() {
            periods.entry(id.period).or_default().push(id);
        }
        for (period, ids) in periods {
            // Each replica is drawn with equal chance and has as many directories as the other (`rendclient.c:630-663`).
            let share = 1.0 / ids.len() as f64;
            let plan = ids
                .into_iter()
                .map(|id| assign::Slot::new(id, id.replica.number(), share))
                .collect::<Result<Vec<_>, _>>()
                .and_then(|slots| self.policy.plan(&instances, &slots, self.plans.get(&period), round));
            match plan {
                Ok(plan) => {
                    self.plans.insert(period, plan);
                }
                // There are instances and slots, and their names are unique: whatever this is, the last plan is better.
                Err(error) => tracing::error!(%error, "no plan; the last one stays"),
            }
        }
    }

    /// The slots whose text must be written anew, with the points that it shall have.
    fn stale_slots(&self, time: UnixTime) -> Vec<(SlotId, Vec<onionweave_desc::v2::IntroductionPoint>)> {
        let mut stale = Vec::new();
        for (&id, slot) in &self.slots {
            let Some(planned) = self.plans.get(&id.period).and_then(|plan| plan.slot(&id)) else {
                continue;
            };
            let mut points = Vec::new();
            for (name, &count) in planned {
                if let Some(instance) = self.instances.get(name) {
                    points.extend(instance.points.iter().take(count as usize).cloned());
                }
            }
            let points = text::canonical(&points, POINTS_PER_DESCRIPTOR);
            let fresh = planned.keys().any(|name| self.fresh_bytes.contains(name));
            let current = slot
                .wanted
                .as_ref()
                .is_some_and(|wanted| wanted.points == points && wanted.descriptor.publication_time() == time);
            if !points.is_empty() && (fresh || !current) {
                stale.push((id, points));
            }
        }
        stale
    }

    /// A variant that no other slot of the replica has, nor this one had.
    fn fresh_variant(&mut self, id: SlotId, points: usize) -> u64 {
        let variants = text::variants(points);
        let taken: BTreeSet<_> = self
            .slots
            .iter()
            .filter(|(other, _)| other.period == id.period && other.replica == id.replica)
            .filter_map(|(_, slot)| Some(slot.wanted.as_ref()?.variant % variants))
            .collect();
        // There are at least 32 variants and at most three slots, so one is free.
        loop {
            let variant = self.next_variant % variants;
            self.next_variant = self.next_variant.wrapping_add(1);
            if !taken.contains(&variant) {
                return variant;
            }
        }
    }

    /// Starts the work that the slots need.
    fn work(&mut self, now: Moment) {
        let ids: Vec<_> = self.slots.keys().copied().collect();
        for id in ids {
            match self.slots.get(&id).map(|slot| slot.need(now.uptime())) {
                Some(Need::Audit) => self.audit(id, self.settings.answer_within, now),
                Some(Need::Upload) if !self.uploading.contains_key(&id.directory) => self.upload(id, now),
                _ => {}
            }
        }
    }

    fn upload(&mut self, id: SlotId, now: Moment) {
        let ticket = self.ticket(id);
        let give_up = now.uptime().saturating_add(self.settings.answer_within);
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let Some(wanted) = &slot.wanted else {
            return;
        };
        slot.work = Work::Uploading {
            ticket,
            bytes: wanted.bytes.clone(),
            give_up,
        };
        self.uploading.insert(id.directory, (ticket, give_up));
        self.actions.push_back(Action::Upload {
            ticket,
            slot: id,
            text: wanted.bytes.clone(),
            attempt: slot.failures,
        });
    }

    fn audit(&mut self, id: SlotId, within: Duration, now: Moment) {
        let ticket = self.ticket(id);
        let give_up = now.uptime().saturating_add(within);
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        slot.work = Work::Auditing { ticket, give_up };
        self.actions.push_back(Action::Audit {
            ticket,
            slot: id,
            descriptor_id: slot.descriptor_id,
            attempt: slot.failures,
        });
    }

    fn ticket(&mut self, id: SlotId) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket = self.next_ticket.wrapping_add(1);
        self.tickets.insert(ticket, id);
        ticket
    }

    /// Notes a failure of a slot and tells the operator of the first ones.
    fn trouble(&mut self, id: SlotId, why: String, now: Moment) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let pause = slot.fail(now.uptime());
        let failures = slot.failures;
        self.report(Report::Trouble {
            slot: id,
            why,
            failures,
            pause,
        });
    }

    fn saw_time(&mut self, time: UnixTime) {
        self.newest_seen = self.newest_seen.max(Some(time));
    }

    /// Ends the round if every slot of it is proved, ailing or gone.
    fn finish(&mut self, now: Moment) {
        let done = |id: &SlotId| {
            self.slots
                .get(id)
                .is_none_or(|slot| slot.is_proved() || slot.is_ailing())
        };
        let Some(batch) = self.batch.take_if(|batch| batch.slots.iter().all(done)) else {
            return;
        };
        let (proved, missing): (BTreeSet<_>, BTreeSet<_>) = batch
            .slots
            .into_iter()
            .filter(|id| self.slots.contains_key(id))
            .partition(|id| self.slots.get(id).is_some_and(Slot::is_proved));
        self.missing.extend(&missing);
        let plan = self
            .plans
            .values()
            .flat_map(|plan| plan.slots())
            .map(|(&slot, points)| (slot, points.clone()))
            .collect();
        self.report(Report::Proved(Round {
            causes: batch.causes,
            proved,
            missing,
            plan,
            took: now.uptime().saturating_sub(batch.began),
        }));
    }

    /// The next wall-clock time at which slots or publication time change by themselves.
    fn next_wall_change(&self, now: UnixTime) -> Option<UnixTime> {
        self.ring.as_ref()?;
        if !self.anyone_offers() {
            return None;
        }
        let hour = now.start_of_hour().saturating_add(Duration::from_secs(3600));
        let end = TimePeriod::at(&self.service_id, now).end(&self.service_id);
        // The overlap begins when *fewer* than 3600 seconds are left (`rendservice.c:3861-3893`).
        let overlap = end.saturating_sub(v2::OVERLAP).saturating_add(Duration::from_secs(1));
        let ahead = self.newest_seen.filter(|_| self.time < self.newest_seen);
        [Some(hour), Some(end), Some(overlap), ahead]
            .into_iter()
            .flatten()
            .filter(|&change| change > now)
            .min()
    }

    fn report(&mut self, report: Report) {
        self.actions.push_back(Action::Report(report));
    }
}

/// The slot that `ticket` was given for, if it is still waiting for it.
fn taken<'a>(
    tickets: &mut BTreeMap<Ticket, SlotId>,
    slots: &'a mut BTreeMap<SlotId, Slot>,
    ticket: Ticket,
) -> Option<(SlotId, &'a mut Slot)> {
    let id = tickets.remove(&ticket)?;
    Some((id, slots.get_mut(&id)?))
}

/// Adds a slot to the round under way, or begins one.
fn note(batch: &mut Option<Batch>, now: Moment, slot: SlotId, causes: impl IntoIterator<Item = Cause>) {
    let batch = batch.get_or_insert_with(|| Batch {
        began: now.uptime(),
        causes: BTreeSet::new(),
        slots: BTreeSet::new(),
    });
    batch.slots.insert(slot);
    batch.causes.extend(causes);
}

/// Whether a directory's text is the one that was uploaded. Tor's control protocol may add or drop a final line end.
fn same_text(ours: &[u8], theirs: &[u8]) -> bool {
    ours.trim_ascii_end() == theirs.trim_ascii_end()
}
