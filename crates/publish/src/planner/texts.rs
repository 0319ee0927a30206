//! The texts: what each slot is to hold, written where the plan or the time changed.

use std::collections::BTreeSet;

use onionweave_ring::UnixTime;

use super::{Planner, offers};
use crate::machine::Context;
use crate::version::Point;
use crate::wanted::Text;
use crate::{Cause, SlotId};

impl Planner {
    /// Decides what every slot is to hold.
    pub(crate) fn want(&mut self, cx: &mut Context<'_>) {
        let now = cx.now.wall();
        let (stamp, moved) = self.calendar.advance(now, self.settings.stamp);
        if moved {
            self.causes.insert(Cause::TimeMoved);
        }
        self.plan(stamp, cx);
        let most = cx.version.habits().most_points;
        let mut stale = self.stale_slots(stamp, most);
        let mut stamp = stamp;
        if !stale.is_empty()
            && let Some(newer) = self.calendar.restamp(now, self.settings.stamp)
        {
            // Now all texts are of another time, so all are stale.
            stamp = newer;
            self.plan(stamp, cx);
            stale = self.stale_slots(stamp, most);
        }
        self.fresh_bytes.clear();
        self.wanted_during = self.next_wall_change(cx.version, now).map(|change| now..change);
        self.wanted.causes = std::mem::take(&mut self.causes);
        self.wanted.revision += 1;
        for (id, points) in stale {
            let variant = self.fresh_variant(id, cx.version.variants(points.len()));
            let written = cx.version.write(id, &points, stamp, variant);
            let Some(target) = self.wanted.targets.get_mut(&id) else {
                continue;
            };
            target.revised = self.wanted.revision;
            match written {
                Ok(bytes) => {
                    target.unwritable = None;
                    target.text = Some(Text {
                        bytes,
                        stamp,
                        points,
                        variant,
                    });
                }
                // It comes out the same until something changes: the clients or the points are too
                // many for one text.
                Err(error) => target.unwritable = Some(error.to_string()),
            }
        }
    }

    /// The slots whose text must be written anew, with the points that it is to have.
    fn stale_slots(&self, stamp: UnixTime, most: usize) -> Vec<(SlotId, Vec<Point>)> {
        let mut stale = Vec::new();
        for (&id, target) in &self.wanted.targets {
            let Some(planned) = self.plans.get(&id.period).and_then(|plan| plan.slot(&id)) else {
                continue;
            };
            let point = |(at, name)| self.points(name).iter().find(|point| point.relay() == at).cloned();
            let points: Vec<_> = planned.points().filter_map(point).collect();
            let points = offers::canonical(&points, most);
            let fresh = planned.points().any(|(_, name)| self.fresh_bytes.contains(name));
            let current = target
                .text
                .as_ref()
                .is_some_and(|text| text.points == points && text.stamp == stamp);
            if !points.is_empty() && (fresh || !current) {
                stale.push((id, points));
            }
        }
        stale
    }

    /// A variant that no other slot of the replica has, nor this one had.
    fn fresh_variant(&mut self, id: SlotId, variants: u64) -> u64 {
        let others = self.wanted.targets.iter();
        let taken: BTreeSet<_> = others
            .filter(|(other, _)| other.period == id.period && other.replica == id.replica)
            .filter_map(|(_, target)| Some(target.text.as_ref()?.variant % variants))
            .collect();
        // A version has more variants than a replica has slots, so one is free.
        loop {
            let variant = self.next_variant % variants;
            self.next_variant = self.next_variant.wrapping_add(1);
            if !taken.contains(&variant) {
                return variant;
            }
        }
    }
}
