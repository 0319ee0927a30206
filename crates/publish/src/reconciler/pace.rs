//! The time after which an upload has probably arrived, learned from those before.

use std::time::Duration;

/// Part of an upload's time after which the first glances are sent.
///
/// Uploads and audits spend most of their time on building a circuit. An audit that is sent that
/// much later seldom overtakes the upload.
const FIRST_PART: f64 = 0.5;
/// Part of an upload's time by which the next glance is earlier if one found the text.
///
/// One in sixteen comes too early, or one in ten if only the last part of an upload's time is late
/// enough. That one costs a fetch, and its slot the time from the upload's answer until the
/// glance's.
const GLANCE_EARLIER: f64 = 0.01;
/// The same part for answers to loud instances.
///
/// One in sixty comes too early, or one in forty. That one has to be uploaded again, and the other
/// five of its round are proved long before it.
const ANSWER_EARLIER: f64 = 0.002_5;
/// Part of an upload's time by which the next request is later if one came too early.
const LATER: f64 = 0.15;
const LEAST_PART: f64 = 0.25;

/// The time after an upload at which another request may be sent, so that it arrives second.
#[derive(Debug)]
pub(super) struct Pace {
    /// Time that uploads take of late until they are answered, if any was.
    takes: Option<Duration>,
    part: f64,
    earlier: f64,
}

impl Pace {
    /// For looking at a directory after an upload of ours.
    pub(super) const fn of_glances() -> Self {
        Self::new(GLANCE_EARLIER)
    }

    /// For an upload of ours after one of a loud instance.
    pub(super) const fn of_answers() -> Self {
        Self::new(ANSWER_EARLIER)
    }

    const fn new(earlier: f64) -> Self {
        Self {
            takes: None,
            part: FIRST_PART,
            earlier,
        }
    }

    /// Time to wait; `None` while it is unknown how long uploads take.
    pub(super) fn delay(&self) -> Option<Duration> {
        Some(self.takes?.mul_f64(self.part))
    }

    /// An upload was accepted after this time.
    pub(super) fn uploaded(&mut self, took: Duration) {
        self.takes = Some(self.takes.map_or(took, |before| (before * 3 + took) / 4));
    }

    /// Learns whether the later request arrived second.
    pub(super) fn arrived(&mut self, second: bool) {
        let part = match second {
            true => self.part - self.earlier,
            false => self.part + LATER,
        };
        self.part = part.clamp(LEAST_PART, 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_come_too_early_whatever_the_network_is_like() {
        // From which part of an upload's time on what is sent later arrives second.
        let arrives = || [0.0, 0.3, 0.6, 0.9];
        let glances = arrives().map(|arrives| (Pace::of_glances(), arrives, 100));
        let answers = arrives().map(|arrives| (Pace::of_answers(), arrives, 30));
        for (mut pace, arrives, most) in glances.into_iter().chain(answers) {
            assert_eq!(pace.delay(), None);
            let mut missed = 0;
            for _ in 0..1000 {
                pace.uploaded(Duration::from_secs(2));
                let found = pace.delay().unwrap() >= Duration::from_secs(2).mul_f64(arrives);
                missed += u32::from(!found);
                pace.arrived(found);
            }
            assert!(missed <= most, "{missed} for {arrives}");
            assert!(pace.delay().unwrap() <= Duration::from_secs(2));
        }
    }

    #[test]
    fn follows_how_long_uploads_take() {
        let mut pace = Pace::of_glances();
        pace.uploaded(Duration::from_secs(8));
        assert_eq!(pace.delay(), Some(Duration::from_secs(4)));
        for _ in 0..20 {
            pace.uploaded(Duration::from_millis(200));
        }
        let delay = pace.delay().unwrap();
        assert!(delay < Duration::from_millis(120), "{delay:?}");
    }
}
