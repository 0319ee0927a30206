//! The machine: a planner that says what the ring is to hold, and a reconciler that makes the
//! directories hold it.
//!
//! The machine does no IO and reads no clock. Its driver tells it what happened
//! ([`Machine::handle`]), carries out what it asks for ([`Machine::poll`]) and calls again when it
//! wants to be called ([`Machine::next_deadline`]). The same machine runs against real Tor, in the
//! simulator and in tests.
//!
//! # Two halves
//!
//! The [`Planner`] knows instances, loads, directories and the time. It turns them into one value,
//! [`Wanted`]. The [`Reconciler`] knows that value and what directories were proved to hold. A
//! difference between the two is work: upload, then read back, then nothing. There is no other
//! reason to upload, so there is no schedule to get wrong. The reconciler tells the planner only
//! what it saw ([`Sight`]).
//!
//! # Rules of Tor that it keeps
//!
//! Lines are of tor 0.4.5.9, below `src/feature/rend`.
//!
//! - All slots carry one publication time, which moves for all of them together: a client keeps the
//!   newer of two descriptors even when all its points are dead (`rendcache.c:974-984`).
//! - The time is never in the future, and never older than a text that is already there. A
//!   directory keeps the newest (`rendcache.c:686`) and answers 200 all the same
//!   (`rendcache.c:736-742`), so only reading back proves anything.
//! - Every directory gets bytes of its own, and new ones whenever an instance came back (see
//!   `version/v2/text.rs`).
//! - No relay stands twice in a text (`rendclient.c:162-171`).
//! - In the last hour of a time period the next period's slots are filled too
//!   (`rendservice.c:3861-3893`).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use onionweave_assign as assign;
use onionweave_ring::OnionAddress;

use crate::planner::Planner;
use crate::reconciler::{Reconciler, Sight};
use crate::status::Status;
use crate::version::{Point, Version};
use crate::wanted::{Target, Wanted};
use crate::{Action, Event, InstanceName, Moment, Period, Report, Settings, SlotId, Ticket};

/// The rule by which instances and slots are matched.
pub type Policy = Box<dyn assign::Policy<InstanceName, SlotId>>;

/// The publisher of one onion service: makes the ring that is seen equal to the ring that is
/// wanted.
///
/// ```
/// use std::time::Duration;
/// use onionweave_assign::Mixed;
/// use onionweave_publish::{Event, InstanceSettings, Machine, Moment, Settings};
/// use onionweave_ring::UnixTime;
/// # use onionweave_desc::v2::ServiceKey;
/// # let key = ServiceKey::from_pem(include_str!("../testdata/private_key")).unwrap();
///
/// let instances = ["a".parse()?, "b".parse()?].map(InstanceSettings::new);
/// let settings = Settings::new(instances.to_vec())?;
/// let mut machine = Machine::new(key, Box::new(Mixed::default()), settings, 42);
///
/// let now = Moment::new(UnixTime::from_secs(1_795_349_239), Duration::ZERO);
/// machine.handle(Event::InstanceUp { instance: "a".parse()? }, now);
/// while let Some(action) = machine.poll(now) {
///     println!("{action:?}"); // nothing to upload yet: no directories, no introduction points
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Machine {
    version: Box<dyn Version>,
    planner: Planner,
    reconciler: Reconciler,
    outbox: Outbox,
}

/// The actions that the driver has not fetched yet.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    actions: VecDeque<Action>,
    next_ticket: u64,
}

impl Outbox {
    pub(crate) fn push(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(crate) fn report(&mut self, report: Report) {
        self.push(Action::Report(report));
    }

    /// A ticket that was never given before.
    pub(crate) fn ticket(&mut self) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket = self.next_ticket.wrapping_add(1);
        ticket
    }
}

/// The surroundings of one call, which planner and reconciler are handed alike.
pub(crate) struct Context<'a> {
    pub(crate) now: Moment,
    pub(crate) version: &'a mut dyn Version,
    pub(crate) outbox: &'a mut Outbox,
}

impl Machine {
    /// The machine of the service that `version` knows; a v2
    /// [`ServiceKey`](onionweave_desc::v2::ServiceKey) makes one.
    ///
    /// `seed` decides all that is drawn: who gets the remainder, and with which variant the texts
    /// begin. Give each run another one, except where runs are to be the same.
    pub fn new(version: impl Into<Box<dyn Version>>, policy: Policy, settings: Settings, seed: u64) -> Self {
        let mut version = version.into();
        version.configure(settings.authorization.as_ref());
        Self {
            reconciler: Reconciler::new(&settings, seed),
            planner: Planner::new(policy, settings, seed),
            version,
            outbox: Outbox::default(),
        }
    }

    /// The address of the service whose ring this is.
    pub fn address(&self) -> OnionAddress {
        self.version.address()
    }

    /// Takes note of an event. Its consequences come out of [`poll`](Self::poll).
    ///
    /// Events about instances or tickets that the machine does not know (any more) are ignored.
    pub fn handle(&mut self, event: Event, now: Moment) {
        let mut cx = Context {
            now,
            version: &mut *self.version,
            outbox: &mut self.outbox,
        };
        match event {
            Event::UploadAnswered { ticket, answer } => self.reconciler.upload_answered(ticket, answer, &mut cx),
            Event::Audited { ticket, found } => self.reconciler.audited(ticket, found, &mut cx),
            Event::InstanceUploadEnded { instance, directory } => {
                self.reconciler.upload_of_others_ended(&instance, directory, &mut cx);
            }
            Event::InstanceUploads {
                instance,
                own,
                directory,
                descriptor_id,
            } => {
                if self.planner.uploads(&instance, own, &mut cx) {
                    // While nobody offered points, nobody asked where they would go.
                    self.planner.place(&mut cx);
                    self.reconciler.take(self.planner.wanted(), &mut cx);
                    self.reconciler
                        .others_upload(&instance, own, directory, descriptor_id, &mut cx);
                }
            }
            Event::Configured(settings) => {
                self.reconciler.configure(&settings);
                if self.planner.configure(settings, &mut cx) {
                    self.reconciler.start_over();
                }
            }
            event => self.planner.handle(event, &mut cx),
        }
        self.settle(now);
    }

    /// The next thing to do, if any. To be called until it returns `None` after every
    /// [`handle`](Self::handle), and when [`next_deadline`](Self::next_deadline) has come. Calling
    /// it more often does no harm.
    pub fn poll(&mut self, now: Moment) -> Option<Action> {
        if self.outbox.actions.is_empty() {
            self.settle(now);
        }
        self.outbox.actions.pop_front()
    }

    /// The uptime at which [`poll`](Self::poll) may have something to do without any event, given
    /// that it is `now`.
    ///
    /// Changes with every call of the other two. If the wall clock is set, this is off by as much
    /// until the next call, so a driver should not sleep for longer than some seconds.
    pub fn next_deadline(&self, now: Moment) -> Option<Duration> {
        let planner = self.planner.next_deadline(&*self.version, now);
        let reconciler = self.reconciler.next_deadline(now.uptime());
        planner.into_iter().chain(reconciler).min()
    }

    /// The slots, and what each is to hold. Slots for which there is no text yet are left out.
    pub fn wanted(&self) -> impl Iterator<Item = (SlotId, &Target)> {
        let targets = self.planner.wanted().targets.iter();
        targets
            .filter(|(_, target)| target.text.is_some())
            .map(|(&slot, target)| (slot, target))
    }

    /// The wanted ring as one value.
    pub const fn wanted_ring(&self) -> &Wanted {
        self.planner.wanted()
    }

    /// The slots that were proved to hold what they are to hold.
    pub fn proved(&self) -> impl Iterator<Item = SlotId> {
        self.reconciler.proved()
    }

    /// The plan of each time period that is published.
    pub const fn plans(&self) -> &BTreeMap<Period, assign::Plan<InstanceName, SlotId>> {
        self.planner.plans()
    }

    /// The introduction points that an instance offers, as far as they may be believed; none from
    /// one that is unknown or down.
    pub fn points(&self, instance: &InstanceName) -> &[Point] {
        self.planner.points(instance)
    }

    /// Whether every slot was proved to hold what it is to hold, and there is at least one.
    pub fn is_settled(&self) -> bool {
        self.reconciler.is_settled()
    }

    /// A snapshot of all that an operator may ask.
    ///
    /// Nothing changes by it: what became due since the last [`poll`](Self::poll) is shown as it
    /// was left.
    pub fn status(&self, now: Moment) -> Status {
        let mut slots: Vec<_> = self.planner.slot_statuses().collect();
        for slot in &mut slots {
            self.reconciler.describe(slot, now);
        }
        let mut problems = self.planner.problems(now);
        problems.extend(self.reconciler.problems(now));
        Status {
            address: self.address(),
            taken: now.wall(),
            policy: self.planner.policy().to_owned(),
            consensus: self.planner.lifetime(),
            slots,
            instances: self.planner.instance_statuses(now).collect(),
            shares: self.planner.shares(),
            rounds: self.reconciler.past_rounds(now),
            counts: self.reconciler.counts(),
            problems,
        }
    }

    /// Brings everything up to `now`: what was not answered, what the clock changed, what is
    /// wanted, what is to be done.
    fn settle(&mut self, now: Moment) {
        let mut cx = Context {
            now,
            version: &mut *self.version,
            outbox: &mut self.outbox,
        };
        self.reconciler.give_up(&mut cx);
        for sight in self.reconciler.sights() {
            match sight {
                Sight::Dated(time) => self.planner.saw_time(time),
                Sight::Overwritten => self.planner.outrank(),
            }
        }
        self.planner.keep(&mut cx);
        if self.planner.anyone_offers() {
            if self.planner.is_due(now) {
                self.planner.place(&mut cx);
                self.reconciler.take(self.planner.wanted(), &mut cx);
                if self.reconciler.is_surveyed(&mut cx) {
                    self.planner.want(&mut cx);
                    self.reconciler.take(self.planner.wanted(), &mut cx);
                }
            }
            self.reconciler.work(&mut cx);
        } else {
            self.planner.complain(&mut cx);
        }
        if let Some(mut round) = self.reconciler.close_round(now) {
            round.plan = self.planner.counts();
            self.outbox.report(Report::Proved(round));
        }
    }
}
