//! The reconciler's part of a snapshot.

use std::time::Duration;

use super::Reconciler;
use super::slot::{Seen, Slot, Work};
use crate::status::{Counts, Held, PastRound, SlotStatus, SlotWork, Trouble};
use crate::{Moment, Report, SlotId};

impl Reconciler {
    pub(crate) const fn counts(&self) -> Counts {
        self.counts
    }

    pub(crate) fn past_rounds(&self, now: Moment) -> Vec<PastRound> {
        self.rounds.past(now.uptime())
    }

    /// Fills in what is known of the directory.
    pub(crate) fn describe(&self, status: &mut SlotStatus, now: Moment) {
        if let Some(slot) = self.slots.get(&status.slot) {
            slot.describe(status, now.uptime());
        }
    }

    /// The reports about slots that still hold.
    pub(crate) fn problems(&self, now: Moment) -> impl Iterator<Item = Report> {
        let slots = self.slots.iter();
        slots.flat_map(move |(&id, slot)| slot.problems(id, now))
    }
}

impl Slot {
    fn describe(&self, status: &mut SlotStatus, now: Duration) {
        let wanted = self.wanted.as_ref();
        status.held = match self.seen() {
            Seen::Unknown => Held::Unknown,
            Seen::Accepted(bytes) if Some(bytes) == wanted => Held::Accepted,
            Seen::Proved(bytes) if Some(bytes) == wanted => Held::Proved,
            Seen::Accepted(_) | Seen::Proved(_) => Held::Outdated,
            Seen::Other => Held::Other,
        };
        status.work = match self.work {
            Work::Idle => SlotWork::Idle,
            Work::Uploading { .. } => SlotWork::Uploading,
            Work::Auditing { .. } => SlotWork::Auditing,
        };
        status.unproved_for = self.unproved_since().map(|since| now.saturating_sub(since));
        status.last_proof = self.last_proof().map(|at| now.saturating_sub(at));
        status.failures = self.failures();
        status.last_trouble = self.last_trouble().map(|(why, at)| Trouble {
            why: why.clone(),
            ago: now.saturating_sub(*at),
        });
        status.truce_for = self.truce_left(now);
        status.next = self.wakes_at(now).map(|at| at.saturating_sub(now));
    }

    fn problems(&self, slot: SlotId, now: Moment) -> impl Iterator<Item = Report> {
        let up = now.uptime();
        let trouble = self.last_trouble().filter(|_| self.failures() > 0);
        let trouble = trouble.map(|(why, _)| Report::Trouble {
            slot,
            why: why.clone(),
            failures: self.failures(),
            pause: self.not_before.saturating_sub(up),
        });
        let contested = self.truce_left(up).map(|pause| Report::Contested { slot, pause });
        let ahead = self.dated_ahead.filter(|&until| until > now.wall());
        let ahead = ahead.map(|until| Report::DatedAhead { slot, until });
        trouble.into_iter().chain(contested).chain(ahead)
    }
}
