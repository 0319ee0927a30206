//! One slot: the text that it is to hold, what it was seen to hold, and the work that is under way
//! there.

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
    /// It holds something else, or nothing, or nobody can tell.
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
/// Both spend most of their time on building a circuit, so the audit arrives after the upload if it
/// is sent after the first half of the time that uploads take, and the directory is proved that
/// much earlier. If it arrives before it, one fetch was in vain.
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
    /// No upload before this uptime: others have one on its way to this slot, and one of ours that
    /// arrives before theirs is overwritten at once (`rendcache.c:693`: among equal times the last
    /// one wins).
    pub(super) held_until: Duration,
    /// No reading before this uptime, or before theirs ended: what is there may be written over.
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
    /// It is answered at once.
    Answer,
    /// That happened too often: the slot is left alone for so long.
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

    /// The one place that decides what is to be done: whatever makes the seen picture equal the
    /// wanted one.
    pub(super) fn need(&self, now: Duration) -> Need {
        let Some(wanted) = &self.wanted else {
            return Need::Nothing;
        };
        match &self.work {
            Work::Uploading {
                glance: Glance::At(at), ..
            } if *at.max(&self.others_until) <= now => return Need::Glance,
            Work::Idle if self.not_before <= now => {}
            _ => return Need::Nothing,
        }
        match &self.seen {
            Seen::Proved(bytes) if bytes == wanted => {
                if now < self.next_audit {
                    Need::Nothing
                } else {
                    Need::Audit
                }
            }
            Seen::Accepted(bytes) if bytes == wanted => {
                if now < self.others_until {
                    Need::Nothing
                } else {
                    Need::Audit
                }
            }
            _ if now < self.held_until => Need::Nothing,
            _ => Need::Upload,
        }
    }

    /// When the answer of [`need`](Self::need) may change by time alone.
    pub(super) fn wakes_at(&self, now: Duration) -> Option<Duration> {
        match &self.work {
            // A glance that is due is for the next call that starts work; while nobody offers
            // points, none does.
            Work::Uploading {
                glance: Glance::At(at),
                give_up,
                ..
            } if now < *at.max(&self.others_until) => Some(*at.max(&self.others_until).min(give_up)),
            Work::Uploading { give_up, .. } | Work::Auditing { give_up, .. } => Some(*give_up),
            Work::Idle => {
                let wanted = self.wanted.as_ref()?;
                let wake = self.not_before.max(match &self.seen {
                    Seen::Proved(bytes) if bytes == wanted => self.next_audit,
                    Seen::Accepted(bytes) if bytes == wanted => self.others_until,
                    _ => self.held_until,
                });
                (wake > now).then_some(wake)
            }
        }
    }

    /// Takes a text that it shall hold from now on. Something happened, so it is tried at once,
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

    /// Lets the wanted text wait, unless it is news. Returns for how long.
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
    /// long would only meet again. It ends when it was to end, whatever others write meanwhile, or
    /// who writes often enough would keep us from our slot for ever.
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
mod tests {
    use onionweave_ring::v2;

    use super::*;
    use crate::pause::LASTED;

    #[test]
    fn publishers_with_other_seeds_wait_for_other_times() {
        let pauses = |seed| -> Vec<Duration> {
            let mut slot = Slot::new(v2::DescriptorId::from([0; 20]).into(), Duration::ZERO);
            let mut now = Duration::ZERO;
            let mut pauses = Vec::new();
            for _ in 0..12 {
                if let Contest::Truce(pause) = slot.contest(now, seed) {
                    now += pause;
                    pauses.push(pause);
                }
            }
            pauses
        };
        let (ours, theirs) = (pauses(1), pauses(2));
        assert_eq!(ours, pauses(1), "the same seed gives the same run");
        assert_eq!(ours.len(), 12 - CONTEST as usize);
        for (number, (ours, theirs)) in (1..).zip(ours.iter().zip(&theirs)) {
            let least = pause_after(number + 2);
            for pause in [*ours, *theirs] {
                assert!((least..least * 2).contains(&pause), "{pause:?}");
            }
            assert_ne!(ours, theirs);
        }
    }

    #[test]
    fn a_truce_ends_however_often_others_write() {
        let mut slot = Slot::new(v2::DescriptorId::from([0; 20]).into(), Duration::ZERO);
        let second = Duration::from_secs(1);
        let mut now = Duration::ZERO;
        let pause = loop {
            match slot.contest(now, 1) {
                Contest::Truce(pause) if pause > 10 * second => break pause,
                _ => now += second,
            }
        };
        let end = now + pause;
        assert_eq!(slot.not_before, end);
        while now < end {
            assert_eq!(slot.contest(now, 1), Contest::Wait);
            now += second;
        }
        assert_eq!(slot.not_before, end);
    }

    /// Without growing pauses a directory that takes each second upload would be tried four times a
    /// second.
    #[test]
    fn a_directory_that_fails_after_each_proof_waits_ever_longer() {
        let mut slot = Slot::new(v2::DescriptorId::from([0; 20]).into(), Duration::ZERO);
        let text: Arc<[u8]> = b"text"[..].into();
        slot.want(text, Duration::ZERO);
        let mut now = Duration::ZERO;
        let mut pauses = Vec::new();
        for _ in 0..10 {
            assert_eq!(slot.need(now), Need::Upload);
            slot.send(Ticket(0), now, now, Glance::None);
            let pause = slot.fail("refused".into(), now);
            assert_eq!(slot.failures(), 1, "one in a row");
            now += pause;
            slot.prove(now, now);
            assert_eq!(slot.failures(), 0);
            slot.see(Seen::Other, now);
            pauses.push(pause.as_millis());
        }
        assert_eq!(
            pauses,
            [250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]
        );
        // What is good for a minute has lasted.
        slot.prove(now, now);
        now += LASTED;
        assert_eq!(slot.fail("refused".into(), now), pause_after(1));
    }
}
