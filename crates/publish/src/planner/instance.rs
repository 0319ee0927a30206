//! The knowledge of one instance.

use std::time::Duration;

use onionweave_assign::{Load, Weight};
use onionweave_ring::{OnionAddress, UnixTime};

use super::readings::Reading;
use crate::complaint::Complaint;
use crate::pause::{Backoff, LASTED, pause_after};
use crate::version::{Point, Unfit};
use crate::{Down, InstanceSettings, Source};

/// After a restart an instance is given as long as a slot after so many failures and one more:
/// sixteen seconds. The pause doubles with each further restart.
const RESTART_PAUSE_DOUBLINGS: u32 = 6;

#[derive(Clone, Debug)]
pub(super) struct Instance {
    pub(super) weight: Weight,
    /// Its load when it was last measured.
    pub(super) load: Option<Load>,
    restart: bool,
    pub(super) up: bool,
    /// The verdict of a health check that would not have it serve.
    pub(super) unfit: Complaint<String>,
    pub(super) down: Complaint<Down>,
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
    /// The readings that got no answer at all.
    pub(super) readings: Backoff,
    /// Uptime since which it is up.
    up_since: Option<Duration>,
    /// Restarts since it was last up for long, and when the next is due.
    restarts: u32,
    next_restart: Option<Duration>,
    /// The end of the pause after the last restart. Being up for a moment does not shorten it.
    rests_until: Duration,
    pub(super) reported_loud: bool,
    /// The date that its clock wrote and the time on ours, if the two were last seen to differ.
    pub(super) clock_differs: Option<(UnixTime, UnixTime)>,
    /// The fault of its descriptor.
    pub(super) unusable: Complaint<Unfit>,
    /// Number of changes of its state, and the uptime of the last.
    pub(super) changes: u64,
    pub(super) last_change: Option<Duration>,
}

impl Instance {
    pub(super) fn new(settings: &InstanceSettings) -> Self {
        Self {
            weight: settings.weight,
            load: None,
            restart: settings.restart,
            up: false,
            unfit: Complaint::default(),
            down: Complaint::default(),
            points: Vec::new(),
            last_text: Vec::new(),
            dated: UnixTime::EPOCH,
            address: settings.address,
            source: settings.source,
            stale_after: settings.stale_after,
            reading: None,
            next_reading: Duration::ZERO,
            readings: Backoff::default(),
            up_since: None,
            restarts: 0,
            next_restart: None,
            rests_until: Duration::ZERO,
            reported_loud: false,
            clock_differs: None,
            unusable: Complaint::default(),
            changes: 0,
            last_change: None,
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

    pub(super) fn came_up(&mut self, now: Duration) {
        self.up = true;
        self.up_since = Some(now);
        self.changed(now);
        self.down.settle();
        self.next_restart = None;
    }

    /// Notes that its state changed.
    pub(super) fn changed(&mut self, now: Duration) {
        self.changes += 1;
        self.last_change = Some(now);
    }

    /// Its points are dead from this moment: introduction circuits die with the process. Returns
    /// whether the reason is news.
    pub(super) fn went_down(&mut self, now: Duration, why: &Down) -> bool {
        let news = self.is_news(why);
        if std::mem::take(&mut self.up) {
            self.changed(now);
        }
        if let Some(since) = self.up_since.take()
            && now.saturating_sub(since) >= LASTED.max(self.restart_pause())
        {
            self.restarts = 0;
            self.rests_until = Duration::ZERO;
        }
        self.points.clear();
        self.last_text.clear();
        match why {
            Down::Unreachable(_) if self.restart => {
                self.next_restart.get_or_insert(now.max(self.rests_until));
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
        self.rests_until = now.saturating_add(self.restart_pause());
        self.next_restart = Some(self.rests_until);
        true
    }

    /// The pause after the last restart.
    fn restart_pause(&self) -> Duration {
        pause_after(self.restarts.saturating_add(RESTART_PAUSE_DOUBLINGS))
    }

    /// Whether the operator has not heard this reason of this outage yet. Notes it.
    fn is_news(&mut self, why: &Down) -> bool {
        // A process that died cannot be reached either: that goes without saying.
        let follows =
            matches!(why, Down::Unreachable(_)) && matches!(self.down.told(), [Down::Lost(_) | Down::Silent(_)]);
        self.down.raise(why.clone()) && !follows
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn restartable() -> Instance {
        let mut settings = InstanceSettings::new("a".parse().unwrap());
        settings.restart = true;
        Instance::new(&settings)
    }

    fn unreachable() -> Down {
        Down::Unreachable("connection refused".into())
    }

    /// The instance dies 0.4 s after each start. Without growing pauses it would be restarted 14
    /// times in 20 s.
    #[test]
    fn an_instance_that_dies_after_each_start_is_restarted_with_growing_pauses() {
        let mut instance = restartable();
        let mut restarts = Vec::new();
        let step = Duration::from_millis(100);
        let (mut now, mut dies) = (Duration::ZERO, None);
        instance.went_down(now, &unreachable());
        while now < 300 * SECOND {
            if instance.take_restart(now) {
                restarts.push(now);
                instance.came_up(now);
                dies = Some(now + Duration::from_millis(400));
            }
            if dies.is_some_and(|at| at <= now) {
                dies = None;
                instance.went_down(now, &Down::Lost("closed".into()));
                instance.went_down(now, &unreachable());
            }
            now += step;
        }
        let pauses: Vec<_> = restarts.windows(2).map(|two| (two[1] - two[0]).as_secs()).collect();
        assert_eq!(pauses[..2], [16, 32], "{pauses:?}");
        assert!(pauses[2..].iter().all(|&pause| pause == 60), "{pauses:?}");
    }

    #[test]
    fn an_instance_that_lasted_is_restarted_at_once() {
        let mut instance = restartable();
        for start in [0, 1000, 2000] {
            let start = start * SECOND;
            instance.went_down(start, &unreachable());
            assert!(instance.take_restart(start));
            instance.came_up(start + SECOND);
        }
    }

    #[test]
    fn each_new_reason_is_told_once() {
        let mut instance = restartable();
        let missing = Down::Unreachable("no such file".into());
        let forbidden = Down::Unreachable("permission denied".into());
        let reasons = [&missing, &forbidden, &missing, &forbidden, &missing];
        let news = reasons.map(|why| instance.went_down(SECOND, why));
        assert_eq!(news, [true, true, false, false, false]);
        // After the next outage it is news again; and who lost its connection cannot be reached.
        instance.came_up(SECOND);
        let lost = Down::Lost("closed".into());
        let news = [&lost, &missing, &forbidden].map(|why| instance.went_down(SECOND, why));
        assert_eq!(news, [true, false, true]);
    }
}
