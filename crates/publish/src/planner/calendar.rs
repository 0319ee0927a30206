//! The publication time of all texts.

use std::collections::BTreeSet;
use std::time::Duration;

use onionweave_ring::UnixTime;

use crate::Stamp;

/// Longest time that directories take a text ahead of their clocks (`rendcache.c:678`).
///
/// Where our own time is further ahead, the clock was wrong by more than a day when it was taken,
/// and has been set right. No directory has a text of that time, and none will take one before it
/// has come.
const MOST_AHEAD: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Default)]
pub(super) struct Calendar {
    /// The publication time of all slots.
    time: Option<UnixTime>,
    /// Whether somebody wrote over a text of ours. With second stamps, the next texts are dated
    /// anew to outrank that.
    outranked: bool,
    /// The publication times beyond `time` that were seen anywhere for this service.
    newer_seen: BTreeSet<UnixTime>,
}

impl Calendar {
    /// Moves the publication time on with the hour, and beyond anything newer that was seen, but
    /// never into the future. It goes back in one case alone: see [`MOST_AHEAD`]. Returns the time,
    /// and whether it moved.
    pub(super) fn advance(&mut self, now: UnixTime, stamp: Stamp) -> (UnixTime, bool) {
        let seen = self.newer_seen.range(..=now).next_back().copied();
        let time = now.start_of_hour().max(seen.unwrap_or(UnixTime::EPOCH));
        let (time, moved) = match self.time {
            Some(current) if (time..=now.saturating_add(MOST_AHEAD)).contains(&current) => (current, false),
            before => (time, before.is_some()),
        };
        self.time = Some(time);
        self.newer_seen.retain(|&seen| seen > time);
        if std::mem::take(&mut self.outranked) {
            self.restamp(now, stamp);
        }
        (self.time.unwrap_or(time), moved)
    }

    /// With second stamps, every change takes the present second. Returns the time if it moved.
    pub(super) fn restamp(&mut self, now: UnixTime, stamp: Stamp) -> Option<UnixTime> {
        let time = self.time.filter(|&time| stamp == Stamp::Second && now > time)?;
        self.time = Some(time.max(now));
        self.newer_seen.retain(|&seen| seen > now);
        self.time
    }

    /// Takes note that the texts are to outrank another one. Returns whether that changes anything.
    pub(super) fn outrank(&mut self, stamp: Stamp) -> bool {
        self.outranked |= stamp == Stamp::Second;
        stamp == Stamp::Second
    }

    /// Takes note of a time that was seen. Returns whether that may change the publication time.
    pub(super) fn saw(&mut self, time: UnixTime) -> bool {
        Some(time) > self.time && self.newer_seen.insert(time)
    }

    /// The next time after `now` at which the publication time changes by itself.
    pub(super) fn next_change(&self, now: UnixTime) -> UnixTime {
        let hour = now.start_of_hour().saturating_add(Duration::from_secs(3600));
        let ahead = self.newer_seen.iter().copied().find(|&seen| seen > now);
        ahead.map_or(hour, |ahead| ahead.min(hour))
    }
}
