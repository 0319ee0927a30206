//! The knowledge of one instance.

use std::time::Duration;

use onionweave_assign::{Load, Weight};
use onionweave_ring::{OnionAddress, UnixTime};

use super::readings::Reading;
use crate::pause::pause_after;
use crate::version::{Point, Unfit};
use crate::{Down, InstanceSettings, Source};

/// After a restart an instance is given as long as a slot after so many failures and one more: sixteen seconds. The pause doubles with
/// each further restart.
const RESTART_PAUSE_DOUBLINGS: u32 = 6;

#[derive(Clone, Debug)]
pub(super) struct Instance {
    pub(super) weight: Weight,
    /// What was last measured of its load.
    pub(super) load: Option<Load>,
    restart: bool,
    pub(super) up: bool,
    /// Why a health check would not have it serve.
    pub(super) unfit: Option<String>,
    /// Why it is down, as far as the operator was told.
    told_down: Option<Down>,
    /// Its introduction points in canonical order; none while it is down or has none.
    pub(super) points: Vec<Point>,
    /// The last text that it answered with, to tell at a glance that nothing changed.
    pub(super) last_text: Vec<u8>,
    /// The publication time of that text.
    pub(super) dated: UnixTime,
    /// Its own address, if it has a key of its own.
    pub(super) address: Option<OnionAddress>,
    pub(super) source: Source,
    stale_after: Duration,
    /// The reading under way, where directories are asked, and the uptime at which the next begins.
    pub(super) reading: Option<Reading>,
    pub(super) next_reading: Duration,
    /// How many readings in a row got no answer at all.
    pub(super) failed_readings: u32,
    /// Restarts since it was last up, and when the next is due.
    restarts: u32,
    next_restart: Option<Duration>,
    pub(super) reported_loud: bool,
    /// Whether its clock and ours were last seen to differ.
    pub(super) clock_differs: bool,
    /// What was last reported wrong with its descriptor, so that each complaint is made once.
    pub(super) complaint: Option<Unfit>,
}

impl Instance {
    pub(super) fn new(settings: &InstanceSettings) -> Self {
        Self {
            weight: settings.weight,
            load: None,
            restart: settings.restart,
            up: false,
            unfit: None,
            told_down: None,
            points: Vec::new(),
            last_text: Vec::new(),
            dated: UnixTime::EPOCH,
            address: settings.address,
            source: settings.source,
            stale_after: settings.stale_after,
            reading: None,
            next_reading: Duration::ZERO,
            failed_readings: 0,
            restarts: 0,
            next_restart: None,
            reported_loud: false,
            clock_differs: false,
            complaint: None,
        }
    }

    pub(super) fn configure(&mut self, settings: &InstanceSettings) {
        self.weight = settings.weight;
        self.restart = settings.restart;
        self.stale_after = settings.stale_after;
        if (self.address, self.source) != (settings.address, settings.source) {
            // What was read elsewhere tells nothing.
            self.address = settings.address;
            self.source = settings.source;
            self.dated = UnixTime::EPOCH;
            self.reading = None;
            self.next_reading = Duration::ZERO;
        }
    }

    pub(super) fn came_up(&mut self) {
        self.up = true;
        self.told_down = None;
        self.restarts = 0;
        self.next_restart = None;
    }

    /// Its points are dead from this moment: introduction circuits die with the process. Returns whether that is news: a process
    /// that died cannot be reached either, but one that refuses needs its operator.
    pub(super) fn went_down(&mut self, now: Duration, why: &Down) -> bool {
        let news = match &self.told_down {
            None => true,
            Some(Down::Refused(_)) => false,
            Some(_) => matches!(why, Down::Refused(_)),
        };
        if news {
            self.told_down = Some(why.clone());
        }
        self.up = false;
        self.points.clear();
        self.last_text.clear();
        match why {
            Down::Unreachable(_) if self.restart => {
                self.next_restart.get_or_insert(now);
            }
            // It answers, so it runs: what it refuses, it would refuse after a restart too.
            Down::Refused(_) => self.next_restart = None,
            // A connection that just broke is first made anew.
            _ => {}
        }
        news
    }

    /// Whether it is to be restarted now; then the next restart waits longer.
    pub(super) fn take_restart(&mut self, now: Duration) -> bool {
        if self.up || self.next_restart.is_none_or(|due| now < due) {
            return false;
        }
        self.restarts = self.restarts.saturating_add(1);
        let pause = pause_after(self.restarts.saturating_add(RESTART_PAUSE_DOUBLINGS));
        self.next_restart = Some(now.saturating_add(pause));
        true
    }

    pub(super) fn restart_due(&self) -> Option<Duration> {
        self.next_restart
    }

    /// When directories are to be asked, or the answers are no longer waited for.
    pub(super) fn reading_due(&self) -> Option<Duration> {
        match (&self.reading, self.source) {
            (Some(reading), _) => Some(reading.give_up),
            (None, Source::Directories { .. }) => Some(self.next_reading),
            _ => None,
        }
    }

    /// From when what it offers is stale, if nothing else shows that it lives.
    pub(super) fn stale_from(&self) -> Option<UnixTime> {
        let believed = self.offers() && self.source != Source::Control;
        believed.then(|| self.stale_from_date(self.dated))
    }

    /// From when a descriptor of this date is stale.
    pub(super) fn stale_from_date(&self, dated: UnixTime) -> UnixTime {
        dated.saturating_add(self.stale_after)
    }

    pub(super) fn offers(&self) -> bool {
        self.up && !self.points.is_empty()
    }
}
