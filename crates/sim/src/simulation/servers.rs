//! The instances: Tors with the service's key that open introduction points, build descriptors and,
//! if they are loud, publish them.
//!
//! Places in Tor are below `src/feature/rend`.

use onionweave_desc::v2::{IntroductionPoint, ServiceKey};
use onionweave_ring::UnixTime;
use onionweave_ring::v2::{OVERLAP, Replica, ServiceId, TimePeriod};
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use super::plan::{InstancePlan, Pace};
use super::shelves::View;
use super::{Micros, SECOND, below, micros};
use crate::Error;
use crate::fixtures::Points;
use crate::instance::Instance;

/// Time that an introduction point lasts, in seconds, from the first descriptor that names it
/// (`core/or/or.h:1093`, `rendservice.c:3923-3960`).
const LIFETIME: std::ops::Range<u64> = 18 * 3600..24 * 3600;
/// After so many introductions it is replaced (`core/or/or.h:1082-1085`, `rendservice.c:4264`).
const INTRODUCTIONS: std::ops::Range<u32> = 16_384..32_768;

/// A Tor.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) plan: InstancePlan,
    pub(super) instance: Instance,
    /// The points that it has and publishes.
    pub(super) points: Vec<Own>,
    /// Points that were replaced. They stay open until a descriptor without them is uploaded, so
    /// for ever if it is quiet (`rendservice.c:4060-4088`).
    pub(super) expiring: Vec<u32>,
    /// Whether points are on their way that stood before.
    pub(super) opening: bool,
    /// Since when its descriptor is not what it was (`rendservice.c:3448`).
    pub(super) dirty: Option<Micros>,
    /// When it builds its descriptor at the latest.
    pub(super) next_upload: Option<Micros>,
    /// Counts its plans to build a descriptor: only the latest stands.
    pub(super) plans: u32,
    pub(super) view: View,
}

/// A point of its own.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) number: u32,
    pub(super) point: IntroductionPoint,
    /// Whether a descriptor named it.
    pub(super) published: bool,
}

impl Server {
    pub(super) fn new(plan: InstancePlan, view: View) -> Result<Self, Error> {
        Ok(Self {
            instance: Instance::new(plan.name.parse()?),
            plan,
            points: Vec::new(),
            expiring: Vec::new(),
            opening: false,
            dirty: None,
            next_upload: None,
            plans: 0,
            view,
        })
    }

    /// The points that it opens, at relays where it has none.
    pub(super) fn draw_points(&mut self, points: &Points, rng: &mut ChaCha12Rng) -> Vec<IntroductionPoint> {
        if let Some(given) = self.plan.points.take() {
            return given;
        }
        let wanted = self.plan.point_count.saturating_sub(self.points.len());
        let taken: Vec<_> = self.points.iter().map(|own| own.point.identity()).collect();
        let mut drawn = points.draw(rng, wanted + taken.len());
        drawn.retain(|point| !taken.contains(&point.identity()));
        drawn.truncate(wanted);
        drawn
    }

    /// When it builds a descriptor next: when its points have stood for long enough, or else when
    /// the period is over. It looks once a second (`rendservice.c:4299-4338`).
    pub(super) fn builds_at(&mut self, now: Micros, pace: &Pace, rng: &mut ChaCha12Rng) -> Option<Micros> {
        if self.opening || self.points.is_empty() {
            return None;
        }
        let next = *self
            .next_upload
            .get_or_insert_with(|| now + micros(pace.settle) + below(rng, 2 * micros(pace.post_period)));
        let settled = self.dirty.map(|dirty| dirty + micros(pace.settle));
        let due = settled.map_or(next, |settled| settled.min(next));
        Some(match self.plan.looks_at {
            None => due.max(now) + 1 + below(rng, SECOND),
            Some(moment) => {
                // It compares whole seconds, and the due one must be past.
                let moment = micros(moment);
                let first_look = (due / SECOND + 1) * SECOND + moment;
                let next_look = (now.saturating_sub(moment) / SECOND + 1) * SECOND + moment;
                first_look.max(next_look)
            }
        })
    }

    /// Notes that it has built a descriptor: when the next one is due, whatever happens
    /// (`rendservice.c:3861-3871`).
    pub(super) fn built(&mut self, service: &ServiceId, clock: UnixTime, now: Micros, pace: &Pace) {
        let left = TimePeriod::at(service, clock).seconds_left(service, clock);
        let (overlap, period) = (OVERLAP.as_secs(), micros(pace.post_period));
        let next = if left.saturating_sub(overlap) * SECOND > period {
            period
        } else if left < overlap {
            (left + 1) * SECOND
        } else {
            (left - overlap + 1) * SECOND
        };
        self.next_upload = Some(now + next);
        self.dirty = None;
        let points = self.points.iter().map(|own| own.point.clone()).collect();
        self.instance.build(Some(points));
    }

    /// The texts that it publishes: for each replica, and for the next time period too when this
    /// one ends within the hour.
    pub(super) fn texts(&self, key: &ServiceKey, clock: UnixTime) -> Vec<(TimePeriod, Replica, Vec<u8>)> {
        let mut texts = Vec::new();
        for period in TimePeriod::published(&key.service_id(), clock) {
            for replica in Replica::ALL {
                let text = self.instance.text(key, None, period, replica, clock);
                texts.extend(text.map(|text| (period, replica, text)));
            }
        }
        texts
    }

    /// Returns what `GETINFO hs/service/desc/id` gives: the text that it built last.
    pub(super) fn offer(&self, key: &ServiceKey, clock: UnixTime) -> Option<Vec<u8>> {
        self.texts(key, clock).pop().map(|(_, _, text)| text)
    }
}

/// After how many introductions a new point is replaced.
pub(super) fn most_introductions(rng: &mut ChaCha12Rng) -> u32 {
    rng.random_range(INTRODUCTIONS)
}

/// Draws the time that a point lasts that was just published.
pub(super) fn lifetime(rng: &mut ChaCha12Rng) -> Micros {
    rng.random_range(LIFETIME) * SECOND
}
