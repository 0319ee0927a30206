//! What must hold after every step.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::sync::Arc;
use std::time::Duration;

use onionweave_desc::v2::IntroductionPoint;
use onionweave_publish::{SlotId, Ticket};
use onionweave_ring::UnixTime;

use super::directories::Patience;
use super::log::Uptime;
use super::publisher::{Demand, Ending, Text};
use super::world::{LOOKS_UP, World};
use crate::fixtures::{self, PointName};

/// What the publisher knows and can do stands in every directory that answers after so long: the first look at the ring takes three
/// seconds, an upload of others is waited for during two, and at one directory several uploads wait for each other.
pub(super) const SWIFT: Duration = Duration::from_secs(6);
/// The longest pause of a slot after failures.
const PAUSE: Duration = Duration::from_secs(60);
/// The longest pause of a slot where somebody else wrote.
const TRUCE: Duration = Duration::from_secs(120);
/// How far from their own clock directories take a text.
const MAX_SKEW: i64 = 24 * 3600;
/// So many uploads an hour a slot may take in calm weather, where two publishers contest it.
const CONTESTED: u32 = 80;
/// And so many more a publisher, for what changes.
const CHANGES: u32 = 500;

impl World {
    /// How long a directory may hold something else than it should. What is not answered is given up; then the slot pauses, and once more
    /// if the lost answer was that of an audit which would have found an upload dropped. What a publisher cannot see it finds at the
    /// next audit, which may be given up as well; then the slot pauses, for that and for having been written over.
    fn patience(&self) -> Patience {
        let settings = &self.climate.settings;
        let seen = settings.answer_within + PAUSE * 2 + SWIFT;
        Patience {
            seen,
            unseen: settings.audit_every + seen + TRUCE,
        }
    }

    /// Looks at every publisher's slots and what the directories hold.
    pub(super) fn check(&mut self) {
        let mut wrong = None;
        let mut check_at = None::<Duration>;
        let (truth, now) = (self.truth(), self.now);
        for publisher in 0..self.publishers.len() {
            // If an hour or a period began at this moment, the others did not act yet.
            self.publishers[publisher].look_at_clock(truth, now);
            for (what, from) in self.flaws(publisher) {
                // Not wrong before that moment, and only if it is still so.
                if self.now > from {
                    wrong = wrong.or(Some(what));
                } else {
                    let next = from + Duration::from_millis(1);
                    check_at = Some(check_at.map_or(next, |at| at.min(next)));
                }
            }
        }
        self.check_at = check_at;
        if let Some(flaw) = wrong {
            let what = self.describe(flaw);
            self.broken(what);
        }
    }

    /// What is not as it shall be in the end, and until when it may be so.
    fn flaws(&mut self, index: usize) -> Vec<(Flaw, Duration)> {
        let truth = self.truth();
        let now = self.now;
        let patience = self.patience();
        let mut flaws = Vec::new();
        let Some(offering_since) = self.publishers[index].offering_since else {
            return flaws;
        };
        let demands = self.publishers[index].demands(truth, now);
        let publisher = &self.publishers[index];
        let stirred = publisher.stirred + SWIFT;
        let wall = publisher.wall(truth);
        let far_off = publisher.ahead.abs() > MAX_SKEW;
        let alone = self.publishers.len() == 1;
        // Of two, each may be leaving the slot to the other, and not know yet what the other wrote there.
        let swift = if alone { SWIFT } else { patience.unseen };
        let mut proved = publisher.machine.proved().map(|slot| (slot, ())).peekable();
        let mut texts = publisher.texts.iter().map(|(slot, text)| (*slot, text)).peekable();
        if !publisher.texts.keys().eq(demands.iter().map(|demand| &demand.slot)) {
            flaws.push((Flaw::Slots(index), stirred));
        }
        if publisher.time.is_some_and(|time| time < wall.start_of_hour()) {
            flaws.push((Flaw::Hour(index), stirred));
        }
        if let Some((build, from)) = self.far_is_named_from(index)
            && publisher.links[self.instances.len() - 1].watched
            && !publisher.names_far(&self.far.builds, build)
        {
            flaws.push((Flaw::Far(index), from));
        }
        for Demand { slot, id, since } in &*demands {
            let (Some(place), Some(text)) = (self.places.get(&slot.directory), next_at(&mut texts, slot)) else {
                continue;
            };
            let mut quiet = place.well_from(patience, now).max(*since + SWIFT);
            let held = place.held(id);
            if let Some(held) = held
                && held.publication_time() > wall
                && held.publication_time() > text.time
            {
                if alone && !publisher.dated_ahead.contains(slot) {
                    flaws.push((Flaw::NotReported(index, *slot), quiet.max(stirred)));
                }
                continue;
            }
            if far_off {
                continue;
            }
            quiet = quiet.max(publisher.clock_set + LOOKS_UP + SWIFT);
            if let Some(held) = held {
                // A moment ago it may have been a text of the future.
                let past = wall.as_secs().saturating_sub(held.publication_time().as_secs());
                quiet = quiet.max(now.saturating_sub(Duration::from_secs(past)) + SWIFT);
            }
            match held {
                None => flaws.push((
                    Flaw::Empty(index, *slot),
                    quiet.max(offering_since + SWIFT).max(stirred),
                )),
                Some(_) => {
                    let useless = place.points(id).iter().filter_map(|point| self.useless_since(point));
                    if let Some(since) = useless.min() {
                        let from = (since + swift).max(quiet).max(offering_since + SWIFT);
                        flaws.push((Flaw::Useless(index, *slot), from));
                    }
                }
            }
            let same = held.is_some_and(|held| text.ending.is_of(held.text()));
            let right = next_at(&mut proved, slot).is_some() && same;
            if alone && !right {
                flaws.push((Flaw::Differs(index, *slot), quiet.max(stirred)));
            }
        }
        flaws
    }

    /// Since when all publishers have known that a point is of no use; `None` if one has not.
    fn useless_since(&self, point: &PointName) -> Option<Duration> {
        let told = self.publishers.iter().map(|publisher| publisher.useless_since(point));
        let last = told.collect::<Option<Vec<_>>>()?.into_iter().max()?;
        // It may publish by itself, or have come back a moment before they are told.
        let mut instances = self.instances.iter().filter(|instance| instance.is_reached_at(point));
        let back = instances.any(|instance| instance.fit || self.climate.loud);
        (!back).then_some(last)
    }

    fn describe(&self, flaw: Flaw) -> String {
        let (Flaw::Slots(index)
        | Flaw::Hour(index)
        | Flaw::Far(index)
        | Flaw::Empty(index, _)
        | Flaw::Useless(index, _)
        | Flaw::Differs(index, _)
        | Flaw::NotReported(index, _)) = flaw;
        let publisher = &self.publishers[index];
        let well = flaw.slot().and_then(|slot| self.places.get(&slot.directory));
        let since = format!(
            "last told something on {}, offering since {}, directory well from {}",
            Uptime(publisher.stirred),
            Uptime(publisher.offering_since.unwrap_or_default()),
            Uptime(
                well.map(|place| place.well_from(self.patience(), self.now))
                    .unwrap_or_default()
            ),
        );
        let what = match flaw {
            Flaw::Slots(publisher) => {
                format!("publisher {publisher}: the machine's slots are not those that ring and clock demand")
            }
            Flaw::Hour(publisher) => {
                format!("publisher {publisher}: the publication time did not move with the hour")
            }
            Flaw::Far(publisher) => {
                format!("publisher {publisher}: the newest points of the far instance are not named")
            }
            Flaw::Empty(publisher, slot) => {
                format!("publisher {publisher}: slot {slot} is empty while an instance offers points")
            }
            Flaw::Useless(publisher, slot) => {
                format!("publisher {publisher}: slot {slot} names an instance that is known to be dead or unfit")
            }
            Flaw::Differs(publisher, slot) => {
                format!("publisher {publisher}: slot {slot} does not hold what it shall, or that is not known")
            }
            Flaw::NotReported(publisher, slot) => {
                format!("publisher {publisher}: slot {slot} holds a text of the future, and that is not reported")
            }
        };
        format!("{what}\n  {since}")
    }

    /// Looks at all texts that a machine wants.
    pub(super) fn check_wanted(&mut self, index: usize) {
        let publisher = &mut self.publishers[index];
        if !publisher.is_news() {
            return;
        }
        let mut texts = BTreeMap::new();
        let mut wrong = Vec::new();
        for (slot, descriptor) in publisher.machine.wanted() {
            let ending = Ending::of(descriptor.text());
            let known = publisher.texts.remove(&slot).filter(|known| known.ending == ending);
            let text = known.unwrap_or_else(|| {
                let points = descriptor.introduction_points().unwrap_or_default();
                let relays: BTreeSet<_> = points.iter().map(IntroductionPoint::identity).collect();
                let (count, different) = (points.len(), relays.len());
                if !(1..=10).contains(&count) || count != different {
                    wrong.push(format!("the text for {slot} has {count} points at {different} relays"));
                }
                Text {
                    ending,
                    time: descriptor.publication_time(),
                    points: points.iter().map(fixtures::name).collect(),
                }
            });
            texts.insert(slot, text);
        }
        publisher.texts = texts;
        let texts = &publisher.texts;
        let times: BTreeSet<_> = texts.values().map(|text| text.time).collect();
        if times.len() > 1 {
            wrong.push("the slots carry several publication times".into());
        }
        let different: BTreeSet<_> = texts
            .iter()
            .map(|(slot, text)| (slot.period, slot.replica, text.ending))
            .collect();
        if different.len() < texts.len() {
            wrong.push("two directories of a replica are given the same bytes".into());
        }
        if publisher.offering_since.is_some() {
            for (slot, text) in texts {
                if let Some((relay, _)) = text
                    .points
                    .iter()
                    .find(|point| publisher.useless_since(point).is_some())
                {
                    wrong.push(format!(
                        "the text for {slot} names an instance at {relay}, of which it was told that it is dead or unfit"
                    ));
                }
            }
            wrong.extend(publisher.check_roster());
        }
        wrong.extend(publisher.check_far(&self.far.builds));
        let time = times.last().copied();
        self.check_time(index, time);
        for what in wrong {
            self.broken(format!("publisher {index}: {what}"));
        }
    }

    /// The texts that name an instance.
    pub(super) fn texts_with(&self, index: usize, instance: usize) -> BTreeMap<SlotId, Ending> {
        let publisher = &self.publishers[index];
        let own: BTreeSet<_> = publisher.links[instance].points().collect();
        let texts = publisher.texts.iter();
        texts
            .filter(|(_, text)| text.points.iter().any(|point| own.contains(point)))
            .map(|(slot, text)| (*slot, text.ending))
            .collect()
    }

    /// A client that tried these texts while an instance was away takes the same bytes for the same hopeless texts.
    pub(super) fn check_rewritten(&mut self, index: usize, old: &BTreeMap<SlotId, Ending>) {
        let texts = &self.publishers[index].texts;
        let same = |(slot, ending): &(&SlotId, &Ending)| texts.get(*slot).is_some_and(|text| text.ending == **ending);
        if let Some((slot, _)) = old.iter().find(same) {
            self.broken(format!(
                "publisher {index}: the text for {slot} keeps its bytes though an instance was away"
            ));
        }
    }

    /// Looks whether the publication time moved, and where to.
    fn check_time(&mut self, index: usize, time: Option<UnixTime>) {
        let publisher = &self.publishers[index];
        let wall = publisher.wall(self.truth());
        let before = publisher.time;
        if time.is_none() || time == before {
            return;
        }
        // Time moves for all slots together, so all are written.
        self.publishers[index].stirred = self.now;
        self.publishers[index].time = time;
        if time > Some(wall) {
            self.broken(format!("publisher {index}: dates its texts {time:?}, but it is {wall}"));
        }
        let day_ahead = before.is_some_and(|before| before.as_secs() > wall.as_secs() + MAX_SKEW.unsigned_abs());
        if time < before && !day_ahead {
            self.broken(format!(
                "publisher {index}: the publication time went back from {before:?} to {time:?}"
            ));
        }
    }

    /// Looks at an upload that is about to be sent. Returns the points that it names.
    pub(super) fn check_upload(
        &mut self,
        index: usize,
        ticket: Ticket,
        slot: &SlotId,
        bytes: &[u8],
    ) -> Arc<[PointName]> {
        let now = self.now;
        let truth = self.truth();
        let caused = self.is_caused(index, slot);
        let slots = self.publishers[index].demands(truth, now).len() as u32;
        let within = self.climate.settings.answer_within;
        let publisher = &mut self.publishers[index];
        let mut wrong = Vec::new();

        let in_flight = publisher.in_flight.entry(*slot).or_default();
        in_flight.retain(|(_, sent)| now < *sent + within);
        if !in_flight.is_empty() {
            wrong.push(format!("a second upload is on its way for {slot}"));
        }
        in_flight.push((ticket, now));

        let text = publisher.machine.wanted().find(|(id, _)| id == slot);
        if text.is_none_or(|(_, text)| text.text() != bytes) {
            wrong.push(format!("what is uploaded to {slot} is not what it shall hold"));
        }
        let text = publisher.texts.get(slot);
        let points = text.map(|text| text.points.clone()).unwrap_or_default();
        if !caused {
            wrong.push(format!("an upload to {slot} although nothing happened"));
        }

        let hour = now.as_secs() / 3600;
        if publisher.hour.0 != hour || self.stormy {
            publisher.hour = (hour, 0);
        }
        publisher.hour.1 += 1;
        if publisher.hour.1 > slots.max(2) * CONTESTED + CHANGES {
            wrong.push(format!("{} uploads within an hour", publisher.hour.1));
        }
        for what in wrong {
            self.broken(format!("publisher {index}: {what}"));
        }
        points
    }

    /// Looks at an audit that is about to be sent.
    pub(super) fn check_audit(&mut self, index: usize, slot: &SlotId) {
        let caused = self.is_caused(index, slot);
        let every = self.climate.settings.audit_every;
        let last = self.publishers[index].audits.insert(*slot, self.now);
        if !caused && last.is_some_and(|last| self.now < last + every) {
            self.broken(format!(
                "publisher {index}: an audit of {slot} although nothing happened"
            ));
        }
    }

    /// Whether anything happened of late that is a reason to work at a slot.
    fn is_caused(&self, index: usize, slot: &SlotId) -> bool {
        let publisher = &self.publishers[index];
        let place = self.places.get(&slot.directory);
        let unwell = place.is_none_or(|place| self.now <= place.well_from(self.patience(), self.now));
        let ahead = publisher.dated_ahead.contains(slot) || publisher.ahead.abs() > MAX_SKEW;
        self.publishers.len() > 1 || unwell || ahead || self.now <= publisher.stirred + SWIFT
    }

    /// An upload was answered.
    pub(super) fn landed(&mut self, publisher: usize, ticket: Ticket) {
        for in_flight in self.publishers[publisher].in_flight.values_mut() {
            in_flight.retain(|(other, _)| *other != ticket);
        }
    }
}

/// The value for `key` among pairs in the order of their keys, which are asked for in that order.
fn next_at<K: Ord, V>(pairs: &mut Peekable<impl Iterator<Item = (K, V)>>, key: &K) -> Option<V> {
    while pairs.next_if(|(other, _)| other < key).is_some() {}
    pairs.next_if(|(other, _)| other == key).map(|(_, value)| value)
}

/// Something that is not as it shall be.
#[derive(Clone, Copy, Debug)]
enum Flaw {
    Slots(usize),
    Hour(usize),
    Far(usize),
    Empty(usize, SlotId),
    Useless(usize, SlotId),
    Differs(usize, SlotId),
    NotReported(usize, SlotId),
}

impl Flaw {
    fn slot(&self) -> Option<&SlotId> {
        match self {
            Self::Slots(_) | Self::Hour(_) | Self::Far(_) => None,
            Self::Empty(_, slot) | Self::Useless(_, slot) | Self::Differs(_, slot) | Self::NotReported(_, slot) => {
                Some(slot)
            }
        }
    }
}
