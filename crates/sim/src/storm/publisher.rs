//! A publisher: the machine, its clock, and what it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use onionweave_desc::v2::ServiceKey;
use onionweave_publish::{Event, InstanceSettings, Machine, Moment, Settings, SlotId, Source, Ticket};
use onionweave_ring::v2::{DescriptorId, Replica, TimePeriod};
use onionweave_ring::{HashRing, UnixTime};

use super::climate::Climate;
use super::far::Build;
use crate::fixtures::PointName;

/// A publisher, with what it takes to judge it.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) machine: Machine,
    pub(super) settings: Settings,
    /// Its process: what was asked by an earlier one is not answered to a later one.
    pub(super) life: u32,
    /// How far its wall clock is ahead, in seconds.
    pub(super) ahead: i64,
    pub(super) links: Vec<Link>,
    /// The directories that it was told of.
    pub(super) ring: HashRing,
    /// When the machine wants to be called.
    pub(super) deadline: Option<Duration>,

    /// When it was last told anything, or a clock told it.
    pub(super) stirred: Duration,
    /// When its clock was last set.
    pub(super) clock_set: Duration,
    /// Since when it has had anything to offer without a break.
    pub(super) offering_since: Option<Duration>,
    /// Introduction points that it was told are of no use any more, and when.
    dead: BTreeMap<PointName, Duration>,
    /// Those of instances that are unfit while others are fit, and since when.
    shunned: BTreeMap<PointName, Duration>,
    /// The time of its texts.
    pub(super) time: Option<UnixTime>,
    /// Uploads that were neither answered nor given up.
    pub(super) in_flight: BTreeMap<SlotId, Vec<(Ticket, Duration)>>,
    /// What its slots shall hold.
    pub(super) texts: BTreeMap<SlotId, Text>,
    /// Whose points its texts name.
    served: BTreeSet<usize>,
    /// Whether it was told of other points or of another health since its texts were last looked at.
    news: bool,
    /// The date of the far instance's descriptor that its texts name, or named last.
    far: Option<UnixTime>,
    /// The number of the far instance's descriptor that it was last told of, where it watches a file.
    pub(super) far_told: Option<u32>,
    /// When each slot was last audited.
    pub(super) audits: BTreeMap<SlotId, Duration>,
    /// Slots of which it said that they hold a text of the future.
    pub(super) dated_ahead: BTreeSet<SlotId>,
    /// What its wall clock makes of the present.
    era: Option<Era>,
    slots: Option<Slots>,
    /// Uploads in calm weather in the present hour.
    pub(super) hour: (u64, u32),
}

/// What a slot shall hold.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) ending: Ending,
    pub(super) time: UnixTime,
    /// The introduction points that it names.
    pub(super) points: Arc<[PointName]>,
}

/// The end of a text. The signature there is computed from all that stands before it, so texts with equal ends are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ending([u8; Self::LEN]);

impl Ending {
    const LEN: usize = 120;

    pub(super) fn of(text: &[u8]) -> Self {
        let signature = Self::signature(text);
        Self(signature.last_chunk().copied().unwrap_or([0; Self::LEN]))
    }

    pub(super) fn is_of(&self, text: &[u8]) -> bool {
        Self::signature(text).last_chunk() == Some(&self.0)
    }

    /// What comes before the last line.
    fn signature(text: &[u8]) -> &[u8] {
        let text = text.trim_ascii_end();
        text.strip_suffix(b"-----END SIGNATURE-----").unwrap_or(text)
    }
}

/// What the machine was told of one instance.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    /// Whether the configuration names it.
    pub(super) watched: bool,
    /// The connection is broken until then, although the instance may live.
    pub(super) broken_until: Duration,
    pub(super) told: Option<Told>,
    /// Whether it was told that no connection can be made.
    pub(super) told_unreachable: bool,
    /// Whether it was told that the instance cannot be used.
    pub(super) unfit: bool,
}

impl Link {
    /// The points that the machine was told of.
    pub(super) fn points(&self) -> impl Iterator<Item = &PointName> {
        self.told.iter().flat_map(|told| &told.points)
    }

    fn offers(&self) -> bool {
        self.points().next().is_some()
    }
}

#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) life: u32,
    pub(super) builds: u32,
    pub(super) points: Vec<PointName>,
}

/// The hour, and the periods that are published.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Era {
    hour: u64,
    periods: Vec<TimePeriod>,
}

/// The slots that ring and clock demand.
#[derive(Debug)]
struct Slots {
    ring: HashRing,
    periods: Vec<TimePeriod>,
    demands: Arc<[Demand]>,
}

/// A slot that is demanded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    pub(super) slot: SlotId,
    pub(super) id: DescriptorId,
    /// Since when.
    pub(super) since: Duration,
}

impl Publisher {
    /// A publisher that knows nothing yet.
    pub(super) fn new(key: &ServiceKey, climate: &Climate, settings: Settings, seed: u64) -> Self {
        let link = |name: &&str| Link {
            watched: settings.instances.iter().any(|instance| &*instance.name == *name),
            ..Link::default()
        };
        Self {
            links: climate.names().iter().map(link).collect(),
            machine: Machine::new(key.clone(), climate.policy.policy(), settings.clone(), seed),
            settings,
            life: 0,
            ahead: 0,
            ring: HashRing::new([]),
            deadline: None,
            stirred: Duration::ZERO,
            clock_set: Duration::ZERO,
            offering_since: None,
            dead: BTreeMap::new(),
            shunned: BTreeMap::new(),
            texts: BTreeMap::new(),
            served: BTreeSet::new(),
            news: false,
            audits: BTreeMap::new(),
            far: None,
            far_told: None,
            time: None,
            in_flight: BTreeMap::new(),
            dated_ahead: BTreeSet::new(),
            era: None,
            slots: None,
            hour: (0, 0),
        }
    }

    /// Kills it and starts another in its place, which knows nothing.
    pub(super) fn restart(&mut self, key: &ServiceKey, climate: &Climate, seed: u64, life: u32, now: Duration) {
        let mut dead = std::mem::take(&mut self.dead);
        dead.extend(self.alive().map(|&point| (point, now)).collect::<Vec<_>>());
        *self = Self {
            life,
            ahead: self.ahead,
            stirred: now,
            dead,
            ..Self::new(key, climate, self.settings.clone(), seed)
        };
    }

    pub(super) fn moment(&self, truth: UnixTime, now: Duration) -> Moment {
        Moment::new(self.wall(truth), now)
    }

    pub(super) fn wall(&self, truth: UnixTime) -> UnixTime {
        UnixTime::from_secs(truth.as_secs().saturating_add_signed(self.ahead))
    }

    pub(super) fn handle(&mut self, event: Event, truth: UnixTime, now: Duration) {
        self.stirred = now;
        self.machine.handle(event, self.moment(truth, now));
    }

    /// Notes what was just told about an instance: the relays that it offers now.
    pub(super) fn learn(&mut self, instance: usize, told: Option<Told>, now: Duration) {
        let Some(link) = self.links.get_mut(instance) else {
            return;
        };
        for point in link.told.iter().flat_map(|told| &told.points) {
            self.dead.insert(*point, now);
        }
        link.told = told;
        for point in link.told.iter().flat_map(|told| &told.points) {
            self.dead.remove(point);
        }
        if self.alive().next().is_none() {
            self.offering_since = None;
        } else {
            self.offering_since.get_or_insert(now);
        }
        self.shun(now);
    }

    /// Notes what was just told about an instance: whether it can be used.
    pub(super) fn learn_health(&mut self, instance: usize, unfit: bool, now: Duration) {
        if let Some(link) = self.links.get_mut(instance) {
            link.unfit = unfit;
            self.shun(now);
        }
    }

    /// The unfit are left out while somebody is fit.
    fn shun(&mut self, now: Duration) {
        self.news = true;
        let before = std::mem::take(&mut self.shunned);
        let offering = self.links.iter().filter(|link| link.offers());
        let (unfit, fit): (Vec<_>, Vec<_>) = offering.partition(|link| link.unfit);
        if fit.is_empty() {
            return;
        }
        let points = unfit.into_iter().flat_map(Link::points);
        self.shunned = points
            .map(|point| (*point, before.get(point).copied().unwrap_or(now)))
            .collect();
    }

    fn alive(&self) -> impl Iterator<Item = &PointName> {
        self.links.iter().flat_map(Link::points)
    }

    /// Since when it has known that a point is of no use.
    pub(super) fn useless_since(&self, point: &PointName) -> Option<Duration> {
        self.dead.get(point).or_else(|| self.shunned.get(point)).copied()
    }

    /// The instances that could serve: who offers points and is fit, or, if nobody is, who offers points.
    fn ready(&self) -> BTreeSet<usize> {
        let offers = |(_, link): &(usize, &Link)| link.offers();
        let shunned = |link: &Link| link.points().any(|point| self.shunned.contains_key(point));
        let links = self.links.iter().enumerate().filter(offers);
        links
            .filter(|(_, link)| !shunned(link))
            .map(|(index, _)| index)
            .collect()
    }

    /// Whether its texts, or what is known of those whom they name, changed since this was last asked.
    pub(super) fn is_news(&mut self) -> bool {
        let mut texts = self.texts.iter();
        let mut same = self.machine.wanted().all(|(slot, descriptor)| {
            let known = texts.next().filter(|(known, _)| **known == slot);
            known.is_some_and(|(_, text)| text.ending.is_of(descriptor.text()))
        });
        same &= texts.next().is_none();
        std::mem::take(&mut self.news) || !same
    }

    /// Its machine knows nothing of the far instance any more.
    pub(super) fn forget_far(&mut self) {
        self.far = None;
        self.far_told = None;
    }

    /// Whether its texts name points of the far instance's descriptor of this number.
    pub(super) fn names_far(&self, builds: &BTreeMap<PointName, Build>, number: u32) -> bool {
        let mut named = self.texts.values().flat_map(|text| &*text.points);
        named.any(|point| builds.get(point).is_some_and(|build| build.number == number))
    }

    /// What is wrong with the far instance's points that its texts name.
    pub(super) fn check_far(&mut self, builds: &BTreeMap<PointName, Build>) -> Option<String> {
        let named = self.texts.values().flat_map(|text| &*text.points);
        let named: BTreeSet<_> = named.filter_map(|point| builds.get(point)).copied().collect();
        if named.len() > 1 {
            let count = named.len();
            return Some(format!("{count} descriptors of the far instance are named at once"));
        }
        let Build { number, first, last } = *named.first()?;
        if Some(number) < self.far_told {
            return Some(format!("descriptor {number} of the far instance is still believed"));
        }
        if let Some(before) = self.far.filter(|&before| last < before) {
            return Some(format!("a descriptor of {last} is believed after one of {before}"));
        }
        self.far = Some(first);
        None
    }

    /// What is wrong with the choice of those whose points its texts name.
    pub(super) fn check_roster(&mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        let ready = self.ready();
        let named: BTreeSet<_> = self.texts.values().flat_map(|text| &*text.points).collect();
        let is_named = |link: &Link| link.points().any(|point| named.contains(point));
        let served = (0..self.links.len())
            .filter(|&index| is_named(&self.links[index]))
            .collect();
        let before = std::mem::replace(&mut self.served, served);
        let served = &self.served;
        let places = self.settings.serving.map_or(usize::MAX, NonZeroUsize::get);
        if served.len() > places {
            wrong.push(format!("{} instances serve instead of {places}", served.len()));
        }
        // Where relays are shared, one instance's point may leave no room for another's, and where slots are few they take turns.
        let relays = |index: &usize| self.links[*index].points().map(|(relay, _)| relay);
        let apart = ready.iter().flat_map(relays).collect::<BTreeSet<_>>().len();
        let all = ready.iter().flat_map(relays).count();
        let is_far = |instance: &&InstanceSettings| instance.source != Source::Control;
        let far = self.settings.instances.iter().filter(is_far).count();
        let mut slots = BTreeMap::<_, usize>::new();
        for slot in self.texts.keys() {
            *slots.entry(slot.period).or_default() += 1;
        }
        if apart < all || slots.values().min().is_none_or(|&slots| slots < ready.len() + far) {
            return wrong;
        }
        if served.len() < places.min(ready.len()) {
            wrong.push(format!("{} of {} instances serve", served.len(), ready.len()));
        }
        if let Some(index) = before
            .iter()
            .find(|&index| ready.contains(index) && !served.contains(index))
        {
            wrong.push(format!("instance {index} serves no longer, for no reason"));
        }
        wrong
    }

    /// Looks at the wall clock: a new hour or period is a reason to work.
    pub(super) fn look_at_clock(&mut self, truth: UnixTime, now: Duration) {
        let wall = self.wall(truth);
        let hour = wall.as_secs() / 3600;
        let service = self.machine.service_id();
        let era = Era {
            hour,
            periods: TimePeriod::published(&service, wall).collect(),
        };
        if self.era.as_ref() != Some(&era) {
            self.era = Some(era);
            self.stirred = now;
        }
    }

    /// The slots that its ring and its clock demand, in order, computed apart from the machine.
    pub(super) fn demands(&mut self, truth: UnixTime, now: Duration) -> Arc<[Demand]> {
        let service = self.machine.service_id();
        let periods: Vec<_> = TimePeriod::published(&service, self.wall(truth)).collect();
        let known = self.slots.as_ref();
        if let Some(slots) = known.filter(|slots| slots.periods == periods && slots.ring == self.ring) {
            return slots.demands.clone();
        }
        let before: BTreeMap<_, _> = known
            .iter()
            .flat_map(|slots| &*slots.demands)
            .map(|demand| (demand.slot, demand.since))
            .collect();
        let mut demands = Vec::new();
        for &period in &periods {
            for replica in Replica::ALL {
                let id = DescriptorId::of(&service, period, replica);
                demands.extend(id.responsible(&self.ring).map(|directory| {
                    let slot = SlotId::new(period, replica, directory);
                    let since = before.get(&slot).copied().unwrap_or(now);
                    Demand { slot, id, since }
                }));
            }
        }
        demands.sort_unstable_by_key(|demand| demand.slot);
        let demands: Arc<[_]> = demands.into();
        self.slots = Some(Slots {
            ring: self.ring.clone(),
            periods,
            demands: demands.clone(),
        });
        demands
    }
}
