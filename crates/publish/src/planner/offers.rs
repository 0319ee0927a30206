//! The descriptors of instances, read with distrust, and whether they are believed.

use std::collections::BTreeSet;

use onionweave_ring::UnixTime;

use super::Planner;
use crate::machine::Context;
use crate::version::{Offer, Origin, Point, Unfit};
use crate::{Cause, InstanceName, Report, Source};

/// Time, in seconds, before and after a full hour during which two clocks may well show different
/// hours.
const HOUR_TURNS: u64 = 5 * 60;

/// The points in canonical order, without a relay twice and no more than `most`.
///
/// Of several points at one relay a client uses only the first (`rendclient.c:162-171` finds the
/// point by its relay).
pub(super) fn canonical(points: &[Point], most: usize) -> Vec<Point> {
    let mut relays = BTreeSet::new();
    let first = points.iter().filter(|point| relays.insert(point.relay()));
    let mut chosen: Vec<_> = first.take(most).cloned().collect();
    chosen.sort();
    chosen
}

impl Planner {
    pub(super) fn instance_offers(&mut self, name: &InstanceName, text: Vec<u8>, rebuilt: bool, cx: &mut Context<'_>) {
        let Some(instance) = self.instances.get_mut(name).filter(|instance| instance.up) else {
            return;
        };
        if instance.last_text == text && instance.unusable.is_over() {
            let dated = instance.dated;
            if rebuilt && instance.offers() {
                self.rebuilt(name, dated, cx);
            }
            return;
        }
        match self.read(name, &text, cx) {
            Some(Ok(offer)) => self.believe(name, text, offer, rebuilt, cx),
            // Its last good points may still be good; they stay until it goes down or offers
            // others, or until they are stale.
            Some(Err(why)) => self.disbelieve(name, why, cx),
            None => {}
        }
    }

    /// Takes on what an instance offers.
    pub(super) fn believe(
        &mut self,
        name: &InstanceName,
        text: Vec<u8>,
        offer: Offer,
        rebuilt: bool,
        cx: &mut Context<'_>,
    ) {
        let Some(instance) = self.instances.get_mut(name) else {
            return;
        };
        instance.last_text = text;
        instance.dated = offer.dated;
        instance.unusable.settle();
        let same_points = instance.points == offer.points;
        if instance.address.is_none() {
            // Under the service's own address it may have gone to directories too.
            self.saw_time(offer.dated);
        }
        if rebuilt && same_points {
            self.rebuilt(name, offer.dated, cx);
        } else if rebuilt {
            self.compare_clocks(name, offer.dated, cx);
        }
        self.set_points(name, offer.points, cx);
    }

    /// Reports what is wrong with an instance's descriptor, once.
    pub(super) fn disbelieve(&mut self, name: &InstanceName, why: Unfit, cx: &mut Context<'_>) {
        if let Some(instance) = self.instances.get_mut(name)
            && instance.unusable.raise_as(why.clone(), why.timeless())
        {
            cx.outbox.report(Report::Unusable {
                instance: name.clone(),
                why,
            });
        }
    }

    /// An instance has built its descriptor anew, with the same points.
    fn rebuilt(&mut self, name: &InstanceName, dated: UnixTime, cx: &mut Context<'_>) {
        self.change(Cause::Rebuilt(name.clone()));
        self.fresh_bytes.insert(name.clone());
        self.compare_clocks(name, dated, cx);
    }

    /// Reads an instance's descriptor, trusting nothing.
    pub(super) fn read(&self, name: &InstanceName, text: &[u8], cx: &Context<'_>) -> Option<Result<Offer, Unfit>> {
        let instance = self.instances.get(name)?;
        let is_own_tor = instance.source == Source::Control;
        let now = cx.now.wall();
        let read = cx.version.read(Origin::new(instance.address, is_own_tor), text, now);
        Some(read.and_then(|offer| {
            let dated = offer.dated;
            if !is_own_tor {
                if instance.stale_from_date(dated) <= now {
                    return Err(Unfit::Stale { dated, now });
                }
                // Dates of the future were a mistake that will be corrected.
                let before = instance.dated;
                if dated < before.min(now.start_of_hour()) {
                    return Err(Unfit::Replayed { dated, before });
                }
            }
            let points = canonical(&offer.points, cx.version.habits().most_points);
            Ok(Offer { dated, points })
        }))
    }

    pub(super) fn set_points(&mut self, name: &InstanceName, points: Vec<Point>, cx: &mut Context<'_>) {
        let Some(instance) = self.instances.get_mut(name).filter(|instance| instance.up) else {
            return;
        };
        if instance.points == points {
            return;
        }
        let cause = match (instance.points.is_empty(), points.is_empty()) {
            // Clients that tried it while it was gone have given up these points; see
            // `version/v2/text.rs`.
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
        instance.changed(cx.now.uptime());
        let count = instance.points.len();
        self.change(cause);
        cx.outbox.report(Report::Offers(name.clone(), count));
    }

    /// Gives up what was offered too long ago, where there is no other sign of life.
    pub(super) fn expire(&mut self, cx: &mut Context<'_>) {
        let now = cx.now.wall();
        let stale = |name: &InstanceName| {
            let instance = self.instances.get(name)?;
            instance.stale_from().filter(|&from| from <= now)?;
            Some((name.clone(), instance.dated))
        };
        let stale: Vec<_> = self.instances.keys().filter_map(stale).collect();
        for (name, dated) in stale {
            self.disbelieve(&name, Unfit::Expired { dated }, cx);
            self.set_points(&name, Vec::new(), cx);
        }
    }

    /// Compares the clock with that of an instance that has just dated its descriptor: with its
    /// full hour (`rendservice.c:1076-1077`).
    fn compare_clocks(&mut self, name: &InstanceName, theirs: UnixTime, cx: &mut Context<'_>) {
        let now = cx.now.wall();
        let past = now.as_secs() - now.start_of_hour().as_secs();
        let turning = !(HOUR_TURNS..3600 - HOUR_TURNS).contains(&past);
        let differ = theirs != now.start_of_hour();
        if turning && differ {
            return;
        }
        let Some(instance) = self.instances.get_mut(name) else {
            return;
        };
        let differed = std::mem::replace(&mut instance.clock_differs, differ.then_some((theirs, now)));
        if differ && differed.is_none() {
            cx.outbox.report(Report::ClocksDiffer {
                instance: name.clone(),
                theirs,
                ours: now,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use onionweave_assign::Relay;

    use super::*;

    #[test]
    fn relay_stands_once_and_order_does_not_matter() {
        let point = |relay, bytes: &[u8]| Point::new(Relay::new(relay), bytes);
        let points = [point(3, b"c"), point(1, b"a"), point(2, b"b"), point(1, b"A")];
        let expected = [point(1, b"a"), point(2, b"b"), point(3, b"c")];
        assert_eq!(
            canonical(&points, 10),
            expected,
            "clients use the first point of a relay"
        );
        assert_eq!(canonical(&[&points[1..], &points[..1]].concat(), 10), expected);
        assert_eq!(canonical(&points, 2), [point(1, b"a"), point(3, b"c")]);
    }
}
