//! What must hold after every step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use onionweave_desc::v2::IntroductionPoint;
use onionweave_publish::{SlotId, Ticket};
use onionweave_ring::Fingerprint;

use super::log::Uptime;
use super::world::{LOOKS_UP, World};

/// What the publisher knows and can do stands in every directory that answers after so long: the first look at the ring takes three
/// seconds, an upload of others is waited for during two, and at one directory several uploads wait for each other.
const SWIFT: Duration = Duration::from_secs(6);
/// The longest pauses of a slot: a minute after failures, and up to two where somebody else wrote.
const PAUSES: Duration = Duration::from_secs(60 + 120);
/// How far from their own clock directories take a text.
const MAX_SKEW: i64 = 24 * 3600;
/// So many uploads an hour a slot may take where two publishers contest it.
const CONTESTED: u32 = 80;

impl World {
    /// How long after it last failed a directory may hold something else than it should. What the publisher cannot see it finds at the
    /// next audit; that may be lost and given up; then the slot pauses, for the audit's failure and for having been written over.
    fn patience(&self) -> Duration {
        let settings = &self.climate.settings;
        settings.audit_every + settings.answer_within + PAUSES + SWIFT
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
        let demanded = self.publishers[index].slots(truth, now).clone();
        let publisher = &self.publishers[index];
        let stirred = publisher.stirred + SWIFT;
        let wall = publisher.wall(truth);
        let far_off = publisher.ahead.abs() > MAX_SKEW;
        let alone = self.publishers.len() == 1;
        // Of two, each may be leaving the slot to the other, and not know yet what the other wrote there.
        let swift = if alone { SWIFT } else { patience };
        let proved: BTreeSet<_> = publisher.machine.proved().collect();
        let wanted: BTreeMap<_, _> = publisher.machine.wanted().collect();
        if !wanted.keys().eq(demanded.keys()) {
            flaws.push((Flaw::Slots(index), stirred));
        }
        for (slot, id) in &demanded {
            let (Some(place), Some(descriptor)) = (self.places.get(&slot.directory), wanted.get(slot)) else {
                continue;
            };
            let mut quiet = (place.quiet_since(now) + patience).max(publisher.placed_since(slot) + SWIFT);
            let held = place.held(id);
            if let Some(held) = held
                && held.publication_time() > wall
                && held.publication_time() > descriptor.publication_time()
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
                    for relay in place.relays(id) {
                        if let Some(dead) = self.dead_since(relay) {
                            let from = (dead + swift).max(quiet).max(offering_since + SWIFT);
                            flaws.push((Flaw::Dead(index, *slot), from));
                            break;
                        }
                    }
                }
            }
            let right = held.is_some_and(|held| held.text() == descriptor.text()) && proved.contains(slot);
            if alone && !right {
                flaws.push((Flaw::Differs(index, *slot), quiet.max(stirred)));
            }
        }
        flaws
    }

    /// Since when all publishers have known that a relay leads to no instance; `None` if one has not.
    fn dead_since(&self, relay: &Fingerprint) -> Option<Duration> {
        let told = self.publishers.iter().map(|publisher| publisher.dead_since(relay));
        let last = told.collect::<Option<Vec<_>>>()?.into_iter().max()?;
        // It may have come back, and have published by itself, a moment before they are told.
        let back = self.instances.iter().any(|instance| instance.is_reached_at(relay));
        (!back).then_some(last)
    }

    fn describe(&self, flaw: Flaw) -> String {
        let (Flaw::Slots(index)
        | Flaw::Empty(index, _)
        | Flaw::Dead(index, _)
        | Flaw::Differs(index, _)
        | Flaw::NotReported(index, _)) = flaw;
        let publisher = &self.publishers[index];
        let quiet = flaw.slot().and_then(|slot| self.places.get(&slot.directory));
        let since = format!(
            "last told something on {}, offering since {}, directory quiet since {}",
            Uptime(publisher.stirred),
            Uptime(publisher.offering_since.unwrap_or_default()),
            Uptime(quiet.map(|place| place.quiet_since(self.now)).unwrap_or_default()),
        );
        let what = match flaw {
            Flaw::Slots(publisher) => {
                format!("publisher {publisher}: the machine's slots are not those that ring and clock demand")
            }
            Flaw::Empty(publisher, slot) => {
                format!("publisher {publisher}: slot {slot} is empty while an instance offers points")
            }
            Flaw::Dead(publisher, slot) => {
                format!("publisher {publisher}: slot {slot} names an instance that is known to be dead")
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

    /// Looks at all texts that a machine wants, when they changed.
    pub(super) fn check_wanted(&mut self, index: usize) {
        let publisher = &self.publishers[index];
        let mut times = BTreeSet::new();
        let mut texts = BTreeSet::new();
        let mut same = false;
        for (slot, descriptor) in publisher.machine.wanted() {
            times.insert(descriptor.publication_time());
            same |= !texts.insert((slot.period, slot.replica, descriptor.text()));
        }
        if same {
            self.broken(format!(
                "publisher {index}: two directories of a replica are given the same bytes"
            ));
        }
        if times.len() > 1 {
            self.broken(format!("publisher {index}: the slots carry several publication times"));
        }
    }

    /// Looks whether the publication time moved, and where to.
    pub(super) fn check_time(&mut self, index: usize) {
        let publisher = &self.publishers[index];
        let wall = publisher.wall(self.truth());
        let before = publisher.time;
        let time = publisher
            .machine
            .wanted()
            .next()
            .map(|(_, text)| text.publication_time());
        if time == before {
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

    /// Looks at an upload that is about to be sent. Returns the relays that it names.
    pub(super) fn check_upload(&mut self, index: usize, ticket: Ticket, slot: &SlotId) -> Arc<[Fingerprint]> {
        let now = self.now;
        let truth = self.truth();
        let patience = self.patience();
        let quiet = self.places.get(&slot.directory).map(|place| place.quiet_since(now));
        let alone = self.publishers.len() == 1;
        let slots = self.publishers[index].slots(truth, now).len() as u32;
        let settings = &self.climate.settings;
        let within = settings.answer_within;
        let publisher = &mut self.publishers[index];
        let mut wrong = Vec::new();

        let in_flight = publisher.in_flight.entry(slot.directory).or_default();
        in_flight.retain(|(_, sent)| now < *sent + within);
        if !in_flight.is_empty() {
            wrong.push(format!("a second upload is on its way to {}", slot.directory));
        }
        in_flight.push((ticket, now));

        let text = publisher.machine.wanted().find(|(id, _)| id == slot);
        let points = text
            .and_then(|(_, text)| text.introduction_points().ok())
            .unwrap_or_default();
        let relays: Arc<[Fingerprint]> = points.iter().map(IntroductionPoint::identity).collect();
        let different = relays.iter().collect::<BTreeSet<_>>().len();
        if !(1..=10).contains(&relays.len()) || different != relays.len() {
            let count = relays.len();
            wrong.push(format!("the text for {slot} has {count} points at {different} relays"));
        }
        if let Some(relay) = relays.iter().find(|relay| publisher.dead_since(relay).is_some()) {
            wrong.push(format!(
                "the text for {slot} names {relay}, of which it was told that it is dead"
            ));
        }

        let ahead = publisher.dated_ahead.contains(slot) || publisher.ahead.abs() > MAX_SKEW;
        let cause = quiet.is_some_and(|quiet| now <= quiet + patience) || now <= publisher.stirred + SWIFT || ahead;
        if alone && !cause {
            wrong.push(format!("an upload to {slot} although nothing happened"));
        }

        let hour = now.as_secs() / 3600;
        if publisher.hour.0 != hour {
            publisher.hour = (hour, 0);
        }
        publisher.hour.1 += 1;
        if !self.stormy && publisher.hour.1 > slots.max(2) * CONTESTED + 500 {
            wrong.push(format!("{} uploads within an hour", publisher.hour.1));
        }
        for what in wrong {
            self.broken(format!("publisher {index}: {what}"));
        }
        relays
    }

    /// An upload was answered.
    pub(super) fn landed(&mut self, publisher: usize, ticket: Ticket) {
        for in_flight in self.publishers[publisher].in_flight.values_mut() {
            in_flight.retain(|(other, _)| *other != ticket);
        }
    }
}

/// Something that is not as it shall be.
#[derive(Clone, Copy, Debug)]
enum Flaw {
    Slots(usize),
    Empty(usize, SlotId),
    Dead(usize, SlotId),
    Differs(usize, SlotId),
    NotReported(usize, SlotId),
}

impl Flaw {
    fn slot(&self) -> Option<&SlotId> {
        match self {
            Self::Slots(_) => None,
            Self::Empty(_, slot) | Self::Dead(_, slot) | Self::Differs(_, slot) | Self::NotReported(_, slot) => {
                Some(slot)
            }
        }
    }
}
