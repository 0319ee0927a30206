//! A witness of a publisher: it hears everything that the publisher is told, asks for and wants,
//! and says what breaks a rule.

mod far;
mod news;
mod texts;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use onionweave_desc::v2::Descriptor;
use onionweave_publish::{Action, Event, InstanceName, Moment, Report, Settings, SlotId, Ticket};
use onionweave_ring::v2::{DescriptorId, Replica, ServiceId, TimePeriod};
use onionweave_ring::{HashRing, UnixTime};

use crate::fixtures::PointName;
use far::Far;
use news::Link;
use texts::Text;
pub(crate) use texts::{Ending, read_signed};
pub use trace::TraceWitness;

/// Longest time after which what a publisher knows and can do stands in every directory that
/// answers: the first look at the ring takes three seconds, an upload of others is waited for
/// during two, and at one directory several uploads wait for each other.
pub(crate) const SWIFT: Duration = Duration::from_secs(6);

/// Largest difference, in seconds, between a text's date and its own clock at which a directory
/// takes the text.
pub(crate) const MAX_SKEW: i64 = 24 * 3600;

/// Reads a descriptor whose signature is good. `None` for any other text.
pub type ReadText = fn(&[u8]) -> Option<Descriptor>;

/// A witness of one process of a publisher.
///
/// It has beliefs of its own about what the publisher knows, which it draws from the events alone,
/// and never asks the publisher's machine. It hears a simulated publisher and the trace of a real
/// one alike.
///
/// These rules hold at any time:
///
/// - all texts carry one publication time, which never goes back, and never moves beyond the
///   publisher's clock;
/// - no two directories of a replica are given the same bytes, and no text names a relay twice;
/// - after an instance built its descriptor anew, the texts that name it have other bytes;
/// - no text names an instance of which the publisher was told that it is dead, or unfit while
///   another is fit;
/// - all other instances have a part in the texts, or as many as the settings let serve, and an
///   instance that serves goes on;
/// - an instance that is read from a file or from directories is never believed by an older
///   descriptor than before;
/// - one upload at a time is on its way for a slot, and it is the text that the slot is wanted to
///   hold.
///
/// Some seconds after the last news, the slots are those that ring and clock demand, and the
/// publication time is that of the hour.
#[derive(Debug)]
pub struct Witness {
    service: ServiceId,
    settings: Settings,
    read: ReadText,

    links: BTreeMap<InstanceName, Link>,
    ring: HashRing,
    /// The newest moment that it heard of.
    now: Moment,
    /// When the publisher was last told anything, or a clock told it.
    stirred: Duration,
    /// Since when it has had anything to offer without a break.
    offering_since: Option<Duration>,
    /// Introduction points that it was told are of no use any more, and when.
    dead: BTreeMap<PointName, Duration>,
    /// Those of instances that are unfit while others are fit, and since when.
    shunned: BTreeMap<PointName, Duration>,
    /// The instance that is read from a file or from directories.
    far: Far,
    /// Whether the publisher was told of other points or of another health since its texts were
    /// last looked at.
    news: bool,
    /// Number of seconds by which its wall clock was ahead of its uptime when it last looked, in
    /// seconds.
    ahead: u64,
    /// The present by its wall clock.
    era: Option<Era>,
    demands: Option<Demands>,

    /// The texts that it wants.
    texts: BTreeMap<SlotId, Text>,
    /// The publication time of its texts.
    time: Option<UnixTime>,
    /// Instances whose points its texts name.
    served: BTreeSet<InstanceName>,
    /// The texts that named an instance which has just built its descriptor anew.
    hopeless: BTreeMap<SlotId, Ending>,
    /// Uploads that were neither answered nor given up, and when they were asked for.
    uploading: BTreeMap<SlotId, Vec<(Ticket, Duration)>>,
    /// The uploads that were asked for since the texts were last looked at.
    fresh: Vec<(SlotId, Arc<[u8]>)>,
    /// Slots of which it said that they hold a text of the future.
    dated_ahead: BTreeSet<SlotId>,
    objections: Vec<String>,
}

/// The hour, and the periods that are published.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Era {
    hour: u64,
    periods: Vec<TimePeriod>,
}

/// The slots that ring and clock demand.
#[derive(Debug)]
struct Demands {
    ring: HashRing,
    periods: Vec<TimePeriod>,
    slots: Arc<[Demand]>,
}

/// A slot that is demanded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    pub(crate) slot: SlotId,
    pub(crate) id: DescriptorId,
    /// The uptime from which it has been.
    pub(crate) since: Duration,
}

impl Witness {
    /// A witness of a publisher that knows nothing yet. `read` decides which texts of instances are
    /// genuine.
    pub fn new(service: ServiceId, settings: Settings, read: ReadText, now: Moment) -> Self {
        let links = news::links(&settings);
        Self {
            service,
            settings,
            read,
            links,
            ring: HashRing::new([]),
            now,
            ahead: ahead(now),
            stirred: now.uptime(),
            offering_since: None,
            dead: BTreeMap::new(),
            shunned: BTreeMap::new(),
            far: Far::default(),
            news: false,
            era: None,
            demands: None,
            texts: BTreeMap::new(),
            time: None,
            served: BTreeSet::new(),
            hopeless: BTreeMap::new(),
            uploading: BTreeMap::new(),
            fresh: Vec::new(),
            dated_ahead: BTreeSet::new(),
            objections: Vec::new(),
        }
    }

    /// A witness of the process that takes the place of this one. It knows nothing, and what its
    /// predecessor knew is of no use until it is told again.
    #[must_use]
    pub fn succeeded(self, settings: Settings, now: Moment) -> Self {
        let mut dead = self.dead;
        let alive = self.links.values().flat_map(Link::points);
        dead.extend(alive.map(|&point| (point, now.uptime())));
        Self {
            dead,
            ..Self::new(self.service, settings, self.read, now)
        }
    }

    /// Hears what the publisher is told.
    pub fn told(&mut self, event: &Event, now: Moment) {
        self.polled(now);
        match event {
            Event::Directories(directories) => self.ring = directories.hash_ring().clone(),
            Event::InstanceDown { instance, .. } => self.learn(instance, None),
            Event::InstanceOffers {
                instance,
                text,
                rebuilt,
            } => self.offered(instance, text, *rebuilt),
            Event::InstanceOffersNothing { instance } => self.learn(instance, Some(Vec::new())),
            Event::InstanceUnfit { instance, .. } => self.learn_health(instance, true),
            Event::InstanceFit { instance } => self.learn_health(instance, false),
            Event::UploadAnswered { ticket, .. } => {
                for uploading in self.uploading.values_mut() {
                    uploading.retain(|(other, _)| other != ticket);
                }
                return;
            }
            Event::Audited { .. } => return,
            Event::Read { found, .. } => return self.read_far(found),
            Event::Configured(settings) => self.configured(settings),
            _ => {}
        }
        self.stirred = now.uptime();
    }

    /// The publisher looks at its clocks.
    fn polled(&mut self, now: Moment) {
        let ahead = ahead(now);
        if std::mem::replace(&mut self.ahead, ahead) != ahead {
            self.stirred = now.uptime();
        }
        self.waited(now);
    }

    /// Hears that time has passed, whether or not the publisher has looked at its clocks.
    pub fn waited(&mut self, now: Moment) {
        self.now = now;
        let era = Era {
            hour: now.wall().as_secs() / 3600,
            periods: TimePeriod::published(&self.service, now.wall()).collect(),
        };
        if self.era.as_ref() != Some(&era) {
            self.era = Some(era);
            self.stirred = now.uptime();
        }
    }

    /// Hears what the publisher asks for.
    pub fn asked(&mut self, action: &Action, now: Moment) {
        self.polled(now);
        match action {
            Action::Upload { ticket, slot, text, .. } => {
                let given_up = self.settings.answer_within;
                let uploading = self.uploading.entry(*slot).or_default();
                uploading.retain(|(_, asked)| now.uptime() < *asked + given_up);
                if !uploading.is_empty() {
                    self.objections
                        .push(format!("a second upload is on its way for {slot}"));
                }
                uploading.push((*ticket, now.uptime()));
                self.fresh.push((*slot, text.clone()));
            }
            Action::Report(Report::DatedAhead { slot, .. }) => {
                self.dated_ahead.insert(*slot);
            }
            // When it reads what such an instance offers is its own affair.
            Action::Report(Report::Offers(instance, _)) if self.is_far(instance) => self.stirred = now.uptime(),
            _ => {}
        }
    }

    /// Hears which texts the publisher wants, after everything that it asked for at this moment.
    pub fn wants<'a>(&mut self, texts: impl Iterator<Item = (SlotId, &'a [u8])>, now: Moment) {
        self.polled(now);
        self.look_at_texts(texts);
        for (slot, text) in std::mem::take(&mut self.fresh) {
            if self.texts.get(&slot).is_none_or(|wanted| !wanted.ending.is_of(&text)) {
                self.objections
                    .push(format!("what is uploaded to {slot} is not what it is wanted to hold"));
            }
        }
    }

    /// The rules that were broken since this was last asked, one sentence each.
    pub fn objections(&mut self) -> Vec<String> {
        std::mem::take(&mut self.objections)
    }

    /// The rules that are not kept yet, each with the uptime from which that breaks them.
    pub fn overdue(&mut self) -> Vec<(&'static str, Duration)> {
        let mut overdue = Vec::new();
        if self.offering_since.is_none() {
            return overdue;
        }
        let due = self.stirred + SWIFT;
        let demands = self.demands();
        if !self.texts.keys().eq(demands.iter().map(|demand| &demand.slot)) {
            overdue.push(("the slots are not those that ring and clock demand", due));
        }
        if self.time.is_some_and(|time| time < self.now.wall().start_of_hour()) {
            overdue.push(("the publication time did not move with the hour", due));
        }
        overdue
    }

    // Beliefs that others compare with the truth.

    pub(crate) const fn stirred(&self) -> Duration {
        self.stirred
    }

    pub(crate) const fn offering_since(&self) -> Option<Duration> {
        self.offering_since
    }

    pub(crate) fn is_dated_ahead(&self, slot: &SlotId) -> bool {
        self.dated_ahead.contains(slot)
    }

    /// Since when it has known that a point is of no use.
    pub(crate) fn useless_since(&self, point: &PointName) -> Option<Duration> {
        self.dead.get(point).or_else(|| self.shunned.get(point)).copied()
    }

    /// The texts that it wants, in the order of their slots.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&SlotId, &Text)> {
        self.texts.iter()
    }

    /// The slots that its ring and its clock demand, in order.
    pub(crate) fn demands(&mut self) -> Arc<[Demand]> {
        let periods: Vec<_> = TimePeriod::published(&self.service, self.now.wall()).collect();
        let known = self.demands.as_ref();
        if let Some(known) = known.filter(|known| known.periods == periods && known.ring == self.ring) {
            return known.slots.clone();
        }
        let before: BTreeMap<_, _> = known
            .iter()
            .flat_map(|known| &*known.slots)
            .map(|demand| (demand.slot, demand.since))
            .collect();
        let since = |slot: &SlotId| before.get(slot).copied().unwrap_or(self.now.uptime());
        let slots: Arc<[_]> = demanded(&self.service, &self.ring, &periods)
            .into_iter()
            .map(|(slot, id)| Demand {
                slot,
                id,
                since: since(&slot),
            })
            .collect();
        self.demands = Some(Demands {
            ring: self.ring.clone(),
            periods,
            slots: slots.clone(),
        });
        slots
    }
}

/// Returns the number of seconds by which the wall clock is ahead of the uptime.
fn ahead(now: Moment) -> u64 {
    now.wall().as_secs().wrapping_sub(now.uptime().as_secs())
}

/// The slots that a ring demands in these periods, in order.
pub(crate) fn demanded(service: &ServiceId, ring: &HashRing, periods: &[TimePeriod]) -> Vec<(SlotId, DescriptorId)> {
    let mut demanded = Vec::new();
    for &period in periods {
        for replica in Replica::ALL {
            let id = DescriptorId::of(service, period, replica);
            let slots = id
                .responsible(ring)
                .map(|directory| SlotId::new(period, replica, directory));
            demanded.extend(slots.map(|slot| (slot, id)));
        }
    }
    demanded.sort_unstable_by_key(|&(slot, _)| slot);
    demanded
}
