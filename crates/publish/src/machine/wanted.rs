//! The wanted ring: which slots there are, and what each shall hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use onionweave_assign as assign;
use onionweave_desc::v2::{Authorization, IntroductionPoint};
use onionweave_ring::UnixTime;
use onionweave_ring::v2::{self, DescriptorId, Replica, SecretIdPart, TimePeriod};

use super::slot::Slot;
use super::{Machine, POINTS_PER_DESCRIPTOR, text};
use crate::{Cause, Moment, Period, SlotId, Stamp};

/// Directories drop what is dated further ahead (`rendcache.c:678`). Where our own time is, the clock was wrong by more than a day when it
/// was taken and has been set right: no directory has a text of that time, and none will take one before it has come.
const MOST_AHEAD: Duration = Duration::from_secs(24 * 3600);

impl Machine {
    /// Computes the slots: published periods, their replicas, the responsible directories.
    pub(super) fn place(&mut self, now: Moment) {
        let Some(directories) = &self.directories else {
            return;
        };
        let cookie = self.settings.authorization.as_ref().and_then(Authorization::id_cookie);
        let mut slots = BTreeMap::new();
        for period in TimePeriod::published(&self.service_id, now.wall()) {
            for replica in Replica::ALL {
                let secret_id_part = SecretIdPart::new(period, replica, cookie);
                let descriptor_id = DescriptorId::new(&self.service_id, &secret_id_part);
                for directory in descriptor_id.responsible(directories.hash_ring()) {
                    let id = SlotId::new(period, replica, directory);
                    let slot = self
                        .slots
                        .remove(&id)
                        .unwrap_or_else(|| Slot::new(descriptor_id.into()));
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
            for ticket in slot.work.tickets() {
                self.tickets.remove(&ticket);
            }
            self.rounds.forget(&id);
            if let Some(survey) = &mut self.survey {
                survey.remove(&id);
            }
        }
        let periods: BTreeSet<_> = self.slots.keys().map(|id| id.period).collect();
        self.plans.retain(|period, _| periods.contains(period));
    }

    /// Decides what every slot shall hold.
    pub(super) fn want(&mut self, now: Moment) {
        self.advance_time(now.wall());
        if std::mem::take(&mut self.outranked) {
            self.restamp(now.wall());
        }
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
        self.wanted_during = self.next_wall_change(now.wall()).map(|change| now.wall()..change);
        for (id, points) in stale {
            // The slots were made from periods and replicas of this version.
            let Some(place) = id.v2() else {
                continue;
            };
            let variant = self.fresh_variant(id, points.len());
            let authorization = self.settings.authorization.as_ref();
            match text::write(&self.key, authorization, place, points, variant, time) {
                Ok(wanted) => {
                    if let Some(slot) = self.slots.get_mut(&id) {
                        slot.want(wanted, now.uptime());
                    }
                    self.rounds.note(now, id, causes.iter().cloned());
                }
                // It comes out the same until something changes: the clients or the points are too many for one text.
                Err(error) => self.trouble(id, error.to_string(), now),
            }
        }
    }

    /// Moves the publication time on with the hour, and beyond anything newer that was seen, but never into the future. It goes
    /// back in one case alone: see [`MOST_AHEAD`].
    fn advance_time(&mut self, now: UnixTime) {
        let seen = self.newer_seen.range(..=now).next_back().copied();
        let time = now.start_of_hour().max(seen.unwrap_or(UnixTime::EPOCH));
        match self.time {
            Some(current) if (time..=now.saturating_add(MOST_AHEAD)).contains(&current) => {}
            current => {
                self.time = Some(time);
                if current.is_some() {
                    self.causes.insert(Cause::TimeMoved);
                }
            }
        }
        self.newer_seen.retain(|&seen| Some(seen) > self.time);
    }

    /// Somebody wrote over a text of ours. With second stamps that is outranked, once there is something to write.
    pub(super) fn outrank(&mut self) {
        if self.settings.stamp == Stamp::Second {
            self.outranked = true;
            self.wanted_during = None;
        }
    }

    /// With second stamps, every change takes the present second. Returns whether the time moved.
    fn restamp(&mut self, now: UnixTime) -> bool {
        let Some(time) = self.time.filter(|_| self.settings.stamp == Stamp::Second) else {
            return false;
        };
        self.time = Some(time.max(now));
        now > time
    }

    fn plan(&mut self, time: UnixTime) {
        self.muster();
        let instances: Vec<_> = self
            .instances
            .iter()
            .filter(|(name, _)| self.serving.contains(*name))
            .map(|(name, instance)| {
                assign::Instance::new(name.clone(), instance.points.iter().map(relay))
                    .weight(self.weight_of(name, instance.weight))
            })
            .collect();
        // The hour's number, so that a publisher restarted with the same seed goes on where it was.
        let round = assign::Round::new(time.as_secs() / 3600, self.seed);
        let mut periods: BTreeMap<Period, Vec<SlotId>> = BTreeMap::new();
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
    fn stale_slots(&self, time: UnixTime) -> Vec<(SlotId, Vec<IntroductionPoint>)> {
        let mut stale = Vec::new();
        for (&id, slot) in &self.slots {
            let Some(planned) = self.plans.get(&id.period).and_then(|plan| plan.slot(&id)) else {
                continue;
            };
            let point = |(at, name)| {
                let points = &self.instances.get(name)?.points;
                points.iter().find(|point| relay(point) == at).cloned()
            };
            let points: Vec<_> = planned.points().filter_map(point).collect();
            let points = text::canonical(&points, POINTS_PER_DESCRIPTOR);
            let fresh = planned.points().any(|(_, name)| self.fresh_bytes.contains(name));
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

    /// The next wall-clock time at which slots or publication time change by themselves.
    pub(super) fn next_wall_change(&self, now: UnixTime) -> Option<UnixTime> {
        self.directories.as_ref()?;
        if !self.anyone_offers() {
            return None;
        }
        let hour = now.start_of_hour().saturating_add(Duration::from_secs(3600));
        let end = TimePeriod::at(&self.service_id, now).end(&self.service_id);
        // The overlap begins when *fewer* than 3600 seconds are left (`rendservice.c:3861-3893`).
        let overlap = end.saturating_sub(v2::OVERLAP).saturating_add(Duration::from_secs(1));
        let ahead = self.newer_seen.iter().copied().find(|&seen| seen > now);
        [Some(hour), Some(end), Some(overlap), ahead]
            .into_iter()
            .flatten()
            .filter(|&change| change > now)
            .min()
    }
}

/// The relay of a point, as the policy knows it: by the first sixteen bytes of its identity, which no two relays share.
fn relay(point: &IntroductionPoint) -> assign::Relay {
    let identity = point.identity();
    let first = identity.as_bytes().iter().take(16);
    assign::Relay::new(first.fold(0, |number, &byte| number << 8 | u128::from(byte)))
}
