//! A publisher: the machine, its clock, and what it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use onionweave_assign::PolicyName;
use onionweave_desc::v2::ServiceKey;
use onionweave_publish::{Event, Machine, Moment, Settings, SlotId, Ticket};
use onionweave_ring::v2::{self, DescriptorId, Replica, TimePeriod};
use onionweave_ring::{Fingerprint, HashRing, UnixTime};

use super::climate::NAMES;

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
    /// Relays that it was told are of no use any more, and when.
    dead: BTreeMap<Fingerprint, Duration>,
    /// The time of its texts.
    pub(super) time: Option<UnixTime>,
    /// Uploads that were neither answered nor given up.
    pub(super) in_flight: BTreeMap<Fingerprint, Vec<(Ticket, Duration)>>,
    /// Slots of which it said that they hold a text of the future.
    pub(super) dated_ahead: BTreeSet<SlotId>,
    /// What its wall clock makes of the present.
    era: Option<Era>,
    slots: Option<Slots>,
    /// Since when each slot is demanded.
    placed: BTreeMap<SlotId, Duration>,
    /// Uploads in the present hour.
    pub(super) hour: (u64, u32),
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
}

#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) life: u32,
    pub(super) builds: u32,
    pub(super) relays: Vec<Fingerprint>,
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
    ids: BTreeMap<SlotId, DescriptorId>,
}

impl Publisher {
    /// A publisher that knows nothing yet, in a network of so many instances.
    pub(super) fn new(key: &ServiceKey, settings: Settings, instances: usize, seed: u64) -> Self {
        let link = |name: &&str| Link {
            watched: settings.instances.iter().any(|instance| &*instance.name == *name),
            ..Link::default()
        };
        Self {
            links: NAMES.iter().take(instances).map(link).collect(),
            machine: Machine::new(key.clone(), PolicyName::Mixed.policy(), settings.clone(), seed),
            settings,
            life: 0,
            ahead: 0,
            ring: HashRing::new([]),
            deadline: None,
            stirred: Duration::ZERO,
            clock_set: Duration::ZERO,
            offering_since: None,
            dead: BTreeMap::new(),
            time: None,
            in_flight: BTreeMap::new(),
            dated_ahead: BTreeSet::new(),
            era: None,
            slots: None,
            placed: BTreeMap::new(),
            hour: (0, 0),
        }
    }

    /// Kills it and starts another in its place, which knows nothing.
    pub(super) fn restart(&mut self, key: &ServiceKey, seed: u64, life: u32, now: Duration) {
        let mut dead = std::mem::take(&mut self.dead);
        dead.extend(self.alive().map(|&relay| (relay, now)).collect::<Vec<_>>());
        *self = Self {
            life,
            ahead: self.ahead,
            stirred: now,
            dead,
            ..Self::new(key, self.settings.clone(), self.links.len(), seed)
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
        for relay in link.told.iter().flat_map(|told| &told.relays) {
            self.dead.insert(*relay, now);
        }
        link.told = told;
        for relay in link.told.iter().flat_map(|told| &told.relays) {
            self.dead.remove(relay);
        }
        if self.alive().next().is_none() {
            self.offering_since = None;
        } else {
            self.offering_since.get_or_insert(now);
        }
    }

    fn alive(&self) -> impl Iterator<Item = &Fingerprint> {
        let told = self.links.iter().filter_map(|link| link.told.as_ref());
        told.flat_map(|told| &told.relays)
    }

    /// Since when it has known that a relay is of no use.
    pub(super) fn dead_since(&self, relay: &Fingerprint) -> Option<Duration> {
        self.dead.get(relay).copied()
    }

    /// Looks at the wall clock: a new hour or period is a reason to work.
    pub(super) fn look_at_clock(&mut self, truth: UnixTime, now: Duration) {
        let wall = self.wall(truth);
        let hour = wall.as_secs() / 3600;
        let service = self.machine.service_id();
        let era = Era {
            hour,
            periods: v2::published_periods(&service, wall).collect(),
        };
        if self.era.as_ref() != Some(&era) {
            self.era = Some(era);
            self.stirred = now;
        }
    }

    /// The slots that its ring and its clock demand, computed apart from the machine.
    pub(super) fn slots(&mut self, truth: UnixTime, now: Duration) -> &BTreeMap<SlotId, DescriptorId> {
        let service = self.machine.service_id();
        let periods: Vec<_> = v2::published_periods(&service, self.wall(truth)).collect();
        let known = self
            .slots
            .take()
            .filter(|slots| slots.periods == periods && slots.ring == self.ring);
        let slots = known.unwrap_or_else(|| {
            let mut ids = BTreeMap::new();
            for &period in &periods {
                for replica in Replica::ALL {
                    let id = DescriptorId::of(&service, period, replica);
                    for directory in id.responsible(&self.ring) {
                        ids.insert(SlotId::new(period, replica, directory), id);
                    }
                }
            }
            self.placed.retain(|slot, _| ids.contains_key(slot));
            for slot in ids.keys() {
                self.placed.entry(*slot).or_insert(now);
            }
            Slots {
                ring: self.ring.clone(),
                periods,
                ids,
            }
        });
        &self.slots.insert(slots).ids
    }

    /// Since when a slot is demanded.
    pub(super) fn placed_since(&self, slot: &SlotId) -> Duration {
        self.placed.get(slot).copied().unwrap_or_default()
    }
}
