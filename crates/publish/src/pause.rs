//! Back-offs, and numbers that look drawn.

use std::time::Duration;

/// Pause after the first failure. It doubles with each further one.
const FIRST: Duration = Duration::from_millis(250);
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(60);

/// Time, one minute, that something must have been good before its next failure counts as a first
/// one.
pub(crate) const LASTED: Duration = Duration::from_secs(60);

/// Failures, and how long to pause for them. A success that does not last shortens no pause: what
/// fails after each brief success would be tried without end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    /// Failures since the last success.
    failures: u32,
    /// Failures since it was last good for [`LASTED`].
    level: u32,
    /// Uptime of the first success after the last failure.
    good_since: Option<Duration>,
}

impl Backoff {
    /// Number of failures in a row: since the last success, however brief.
    pub(crate) const fn failures(self) -> u32 {
        self.failures
    }

    /// Notes a failure. Returns the number of failures since it was last good for long, at least 1.
    pub(crate) fn fail(&mut self, now: Duration) -> u32 {
        let lasted = |since| now.saturating_sub(since) >= LASTED;
        if self.good_since.take().is_some_and(lasted) {
            self.level = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.level = self.level.saturating_add(1);
        self.level
    }

    /// Notes a success.
    pub(crate) fn succeed(&mut self, now: Duration) {
        self.failures = 0;
        self.good_since.get_or_insert(now);
    }
}

/// The pause before try number `failures + 1`.
pub(crate) fn pause_after(failures: u32) -> Duration {
    FIRST
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(LONGEST)
}

/// A number from 0 up to 1 that looks drawn: another one for each seed and number (the finalizer of
/// splitmix64).
pub(crate) fn fraction(seed: u64, number: u32) -> f64 {
    let mut mixed = seed.wrapping_add(u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        let pauses = [0, 1, 2, 3, 8, 9, 40].map(|failures| pause_after(failures).as_millis());
        assert_eq!(pauses, [250, 250, 500, 1000, 32_000, 60_000, 60_000]);
    }

    #[test]
    fn brief_successes_shorten_no_pause() {
        let mut backoff = Backoff::default();
        let second = Duration::from_secs(1);
        let mut now = Duration::ZERO;
        for level in 1..=5 {
            assert_eq!(backoff.fail(now), level);
            assert_eq!(backoff.failures(), 1);
            backoff.succeed(now);
            now += LASTED - second;
            // Another success is no new beginning.
            backoff.succeed(now);
            assert_eq!(backoff.failures(), 0);
        }
        now += second;
        assert_eq!((backoff.fail(now), backoff.fail(now + LASTED)), (1, 2));
        assert_eq!(backoff.failures(), 2);
    }

    #[test]
    fn fractions_are_those_of_splitmix64() {
        // The first outputs of splitmix64 for seed 0 (Vigna,
        // https://prng.di.unimi.it/splitmix64.c).
        for (number, output) in [
            (1, 0xe220_a839_7b1d_cdaf_u64),
            (2, 0x6e78_9e6a_a1b9_65f4),
            (3, 0x06c4_5d18_8009_454f),
        ] {
            assert_eq!(fraction(0, number), (output >> 11) as f64 / (1_u64 << 53) as f64);
        }
    }
}
