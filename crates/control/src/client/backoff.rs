//! Pauses between attempts.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Delays that double from the first to the longest. Each is shortened at random by up to a half,
/// so that many clients that lost the same Tor do not return at the same moment.
///
/// The randomness comes from a seed: the same seed gives the same delays, in one version of this
/// library.
///
/// ```
/// use std::time::Duration;
/// use onionweave_control::Backoff;
///
/// let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1), 42);
/// let delays: Vec<_> = (0..10).map(|_| backoff.next_delay()).collect();
/// assert!(delays[0] >= Duration::from_millis(50) && delays[0] <= Duration::from_millis(100));
/// assert!(delays[9] >= Duration::from_millis(500) && delays[9] <= Duration::from_secs(1));
///
/// let mut again = Backoff::new(Duration::from_millis(100), Duration::from_secs(1), 42);
/// assert_eq!(again.next_delay(), delays[0]);
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    /// Number of delays given since the beginning.
    attempt: u32,
    rng: SmallRng,
}

impl Backoff {
    /// Delays from `first` to `longest`.
    pub fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        Self {
            first,
            longest: longest.max(first),
            attempt: 0,
            rng: SmallRng::seed_from_u64(seed),
        }
    }

    /// The next delay.
    pub fn next_delay(&mut self) -> Duration {
        let full = self
            .first
            .saturating_mul(1_u32.checked_shl(self.attempt).unwrap_or(u32::MAX))
            .min(self.longest);
        self.attempt = self.attempt.saturating_add(1);
        full.mul_f64(self.rng.random_range(0.5..=1.0))
    }

    /// The next delay is the first one again.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn begins_anew() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(100), 1);
        for _ in 0..50 {
            backoff.next_delay();
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn within_bounds(first in 0_u64..10_000, longest in 0_u64..10_000_000, seed: u64, count in 1_u32..80) {
            let (first, longest) = (Duration::from_millis(first), Duration::from_millis(longest));
            let mut backoff = Backoff::new(first, longest, seed);
            for attempt in 0..count {
                let full = first.as_secs_f64() * 2_f64.powi(i32::try_from(attempt).unwrap());
                let full = full.min(longest.max(first).as_secs_f64());
                let delay = backoff.next_delay().as_secs_f64();
                prop_assert!(delay >= full / 2.0 - 1e-6 && delay <= full + 1e-6, "{delay} of {full}");
            }
        }
    }
}
