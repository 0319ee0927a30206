//! A slot: the text that it is to hold, the text that it was seen to hold, and the work that is
//! under way there.

use std::sync::Arc;
use std::time::Duration;

use onionweave_ring::{DescriptorId, UnixTime};

use crate::Ticket;
use crate::pause::{Backoff, fraction, pause_after};

/// Number of failures in a row after which a slot is ailing: a round no longer waits for it.
const AILING: u32 = 3;
/// Number of times within [`PEACE`] that a slot may be written over before it is left alone for a
/// while: two publishers would answer each other for ever.
const CONTEST: u32 = 4;
/// Time without being written over after which a slot is at peace again.
const PEACE: Duration = Duration::from_secs(300);

/// The text that a slot was seen to hold.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    /// Nobody looked yet.
    Unknown,
    /// The directory accepted this text, which proves nothing yet.
    Accepted(Arc<[u8]>),
    /// The directory was read back and holds this text.
    Proved(Arc<[u8]>),
    /// The directory holds something else, or nothing, or nobody can tell.
    Other,
}

/// The work that is under way.
#[derive(Clone, Debug)]
pub(super) enum Work {
    Idle,
    Uploading {
        ticket: Ticket,
        bytes: Arc<[u8]>,
        since: Duration,
        give_up: Duration,
        glance: Glance,
    },
    Auditing {
        ticket: Ticket,
        give_up: Duration,
        /// Whether it was a [`Glance`], which may have come before the upload and proves nothing if
        /// it finds something else.
        glance: bool,
    },
}

/// An audit that is sent while the upload is still on its way.
///
/// Both spend most of their time on building a circuit. So the audit arrives after the upload if it
/// is sent after the first half of the time that uploads take. Then the directory is proved that
/// much earlier. If the audit arrives first, one fetch was in vain.
#[derive(Clone, Debug)]
pub(super) enum Glance {
    /// There is none, or it told nothing.
    None,
    At(Duration),
    Asked {
        ticket: Ticket,
        give_up: Duration,
    },
}

impl Work {
    /// The uptime at which the answer is no longer waited for.
    const fn give_up(&self) -> Option<Duration> {
        match self {
            Work::Idle => None,
            Work::Uploading { give_up, .. } | Work::Auditing { give_up, .. } => Some(*give_up),
        }
    }

    /// The tickets whose answers are waited for.
    pub(super) fn tickets(&self) -> impl Iterator<Item = Ticket> {
        let (work, glance) = match self {
            Work::Idle => (None, None),
            Work::Uploading {
                ticket,
                glance: Glance::Asked { ticket: glance, .. },
                ..
            } => (Some(*ticket), Some(*glance)),
            Work::Uploading { ticket, .. } | Work::Auditing { ticket, .. } => (Some(*ticket), None),
        };
        work.into_iter().chain(glance)
    }
}

/// The next thing that a slot needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Nothing,
    Upload,
    Glance,
    Audit,
}

#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) descriptor_id: DescriptorId,
    /// The text that it is to hold.
    pub(super) wanted: Option<Arc<[u8]>>,
    seen: Seen,
    /// Uptime since which the slot is not proved; `None` while it is.
    unproved_since: Option<Duration>,
    /// Uptime of the last proof.
    last_proof: Option<Duration>,
    /// The last failure and its uptime.
    last_trouble: Option<(String, Duration)>,
    /// The date of a text from the future that the directory keeps in place of ours.
    pub(super) dated_ahead: Option<UnixTime>,
    pub(super) work: Work,
    backoff: Backoff,
    /// No work before this uptime.
    pub(super) not_before: Duration,
    /// Whether the wanted text was never sent. It does not wait for what became of the one before
    /// it.
    untried: bool,
    /// When a proved slot is proved again.
    pub(super) next_audit: Duration,
    /// Uptime before which there is no upload, since others have one on its way to this slot.
    ///
    /// One of ours that arrives before theirs is overwritten at once (`rendcache.c:693`: among
    /// equal times the last one wins).
    pub(super) held_until: Duration,
    /// Uptime before which there is no reading, since theirs may yet write over what is there.
    pub(super) others_until: Duration,
    /// Whether our last upload was sent before theirs ended. It should have arrived after it; an
    /// audit tells whether it did.
    pub(super) hasty: bool,
    /// Number of times that this slot was written over, and the uptime of the last.
    contests: u32,
    last_contest: Duration,
    /// Uptime until which it is left alone for that.
    truce: Duration,
}

/// The answer to somebody else who wrote to a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contest {
    /// The slot is written at once.
    Answer,
    /// The slot is left alone for this time, since that happened too often.
    Truce(Duration),
    /// The slot is left alone already.
    Wait,
}

impl Slot {
    pub(super) fn new(descriptor_id: DescriptorId, now: Duration) -> Self {
        Self {
            descriptor_id,
            wanted: None,
            seen: Seen::Unknown,
            unproved_since: Some(now),
            last_proof: None,
            last_trouble: None,
            dated_ahead: None,
            work: Work::Idle,
            backoff: Backoff::default(),
            not_before: Duration::ZERO,
            untried: false,
            next_audit: Duration::ZERO,
            held_until: Duration::ZERO,
            others_until: Duration::ZERO,
            hasty: false,
            contests: 0,
            last_contest: Duration::ZERO,
            truce: Duration::ZERO,
        }
    }

    pub(super) const fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Number of failures in a row.
    pub(super) const fn failures(&self) -> u32 {
        self.backoff.failures()
    }

    pub(super) const fn unproved_since(&self) -> Option<Duration> {
        self.unproved_since
    }

    pub(super) const fn last_proof(&self) -> Option<Duration> {
        self.last_proof
    }

    pub(super) const fn last_trouble(&self) -> Option<&(String, Duration)> {
        self.last_trouble.as_ref()
    }

    /// Time for which the slot is still left alone, if it is.
    pub(super) fn truce_left(&self, now: Duration) -> Option<Duration> {
        self.truce.checked_sub(now).filter(|left| !left.is_zero())
    }

    /// Takes note of what the directory holds; returns what it held until now.
    pub(super) fn see(&mut self, seen: Seen, now: Duration) -> Seen {
        let before = std::mem::replace(&mut self.seen, seen);
        self.mind_proof(now);
        before
    }

    /// Keeps the time since which the slot is not proved.
    fn mind_proof(&mut self, now: Duration) {
        self.unproved_since = match self.is_proved() {
            true => None,
            false => self.unproved_since.or(Some(now)),
        };
    }

    /// Whether the directory was proved to hold what the slot wants.
    pub(super) fn is_proved(&self) -> bool {
        match (&self.seen, &self.wanted) {
            (Seen::Proved(seen), Some(wanted)) => seen == wanted,
            _ => false,
        }
    }

    /// Whether the directory has failed so often that a round does not wait for it.
    pub(super) fn is_ailing(&self) -> bool {
        self.failures() >= AILING
    }

    /// The next thing that the slot needs, and the uptime from which on it needs it.
    ///
    /// This is the one place that decides what makes the seen picture equal the wanted one.
    fn next_need(&self) -> Option<(Need, Duration)> {
        let wanted = self.wanted.as_ref()?;
        match &self.work {
            Work::Uploading {
                glance: Glance::At(at), ..
            } => Some((Need::Glance, self.others_until.max(*at))),
            Work::Uploading { .. } | Work::Auditing { .. } => None,
            Work::Idle => {
                let (need, from) = match &self.seen {
                    Seen::Proved(bytes) if bytes == wanted => (Need::Audit, self.next_audit),
                    Seen::Accepted(bytes) if bytes == wanted => (Need::Audit, self.others_until),
                    _ => (Need::Upload, self.held_until),
                };
                Some((need, self.not_before.max(from)))
            }
        }
    }

    /// The thing that the slot needs now.
    pub(super) fn need(&self, now: Duration) -> Need {
        let due = self.next_need().filter(|&(_, from)| from <= now);
        due.map_or(Need::Nothing, |(need, _)| need)
    }

    /// The uptime at which the answer of [`need`](Self::need) may change by time alone, or work is
    /// given up.
    ///
    /// What the slot needs already is for the next call that starts work. While nobody offers
    /// points, none does.
    pub(super) fn wakes_at(&self, now: Duration) -> Option<Duration> {
        let need = self.next_need().map(|(_, from)| from).filter(|&from| from > now);
        need.into_iter().chain(self.work.give_up()).min()
    }

    /// Takes the text that it is to hold from now on. Something happened, so it is tried at once,
    /// also where the last try failed.
    pub(super) fn want(&mut self, wanted: Arc<[u8]>, now: Duration) {
        self.wanted = Some(wanted);
        self.untried = true;
        self.not_before = self.not_before.min(now);
        self.truce = self.truce.min(now);
        self.mind_proof(now);
    }

    /// Notes that the wanted text is sent; returns it.
    pub(super) fn send(
        &mut self,
        ticket: Ticket,
        since: Duration,
        give_up: Duration,
        glance: Glance,
    ) -> Option<Arc<[u8]>> {
        let bytes = self.wanted.clone()?;
        self.untried = false;
        self.work = Work::Uploading {
            ticket,
            bytes: bytes.clone(),
            since,
            give_up,
            glance,
        };
        Some(bytes)
    }

    /// Notes a failure and returns the pause until the next try.
    pub(super) fn fail(&mut self, why: String, now: Duration) -> Duration {
        self.last_trouble = Some((why, now));
        self.work = Work::Idle;
        let level = self.backoff.fail(now);
        self.pause(now, pause_after(level))
    }

    /// Delays the wanted text, unless it is news. Returns the delay.
    fn pause(&mut self, now: Duration, pause: Duration) -> Duration {
        let pause = if self.untried { Duration::ZERO } else { pause };
        self.not_before = self.not_before.max(now.saturating_add(pause));
        pause
    }

    /// Notes that the directory holds the wanted text.
    pub(super) fn prove(&mut self, now: Duration, next_audit: Duration) {
        if let Some(wanted) = self.wanted.clone() {
            self.see(Seen::Proved(wanted), now);
        }
        self.last_proof = Some(now);
        self.dated_ahead = None;
        self.backoff.succeed(now);
        self.next_audit = next_audit;
    }

    /// Notes that somebody else wrote here.
    ///
    /// A truce is up to twice as long as a pause, as the seed has it: publishers that wait equally
    /// long would only meet again. It ends when it was to end, whatever others write meanwhile.
    /// Otherwise one that writes often enough would keep us from our slot for ever.
    pub(super) fn contest(&mut self, now: Duration, seed: u64) -> Contest {
        if now.saturating_sub(self.last_contest) > PEACE {
            self.contests = 0;
        }
        self.last_contest = now;
        self.see(Seen::Other, now);
        if now < self.truce {
            return Contest::Wait;
        }
        self.contests = self.contests.saturating_add(1);
        let Some(excess) = self.contests.checked_sub(CONTEST).filter(|&n| n > 0) else {
            return Contest::Answer;
        };
        let pause = pause_after(excess.saturating_add(2));
        let pause = self.pause(now, pause.saturating_add(pause.mul_f64(fraction(seed, excess))));
        self.truce = now.saturating_add(pause);
        Contest::Truce(pause)
    }
}

#[cfg(test)]
mod tests;
