//! From the results of checks to the verdict on an instance, without IO.
//!
//! The words and the numbers are HAProxy's: an instance leaves after `fall` failures in a row and
//! returns after `rise` successes in a row. An instance that keeps coming and going has to do more
//! for each return. For every change costs a round of uploads, and a failing backend costs each
//! client its patience.

use std::time::Duration;

/// A departure so soon after the last return doubles what the next return takes. Each further time
/// like this without a departure halves it again: were all forgiven at once, a backend could flap
/// in bursts.
const CALM: Duration = Duration::from_secs(10 * 60);
/// Largest number of times that the successes for a return are doubled.
const MAX_DOUBLINGS: u32 = 5;

/// Numbers of results in a row that a change takes.
///
/// ```
/// use onionweave_publish::health::Steps;
///
/// let steps = Steps::default();
/// assert_eq!((steps.fall, steps.rise), (3, 2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Steps {
    /// Number of failures in a row after which the instance leaves. At least one.
    pub fall: u32,
    /// Number of successes in a row after which it returns, unless it left and returned lately. At
    /// least one.
    pub rise: u32,
}

impl Steps {
    /// Zero counts as one.
    pub const fn new(fall: u32, rise: u32) -> Self {
        Self {
            fall: if fall == 0 { 1 } else { fall },
            rise: if rise == 0 { 1 } else { rise },
        }
    }
}

/// HAProxy's.
impl Default for Steps {
    fn default() -> Self {
        Self::new(3, 2)
    }
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a check ends in one of these three ways")]
pub enum Outcome {
    /// The backend serves.
    Served,
    /// The backend does not serve, with the reason.
    Failed(String),
    /// The check itself could not be made, with the reason: that says nothing of the backend.
    Unknown(String),
}

/// A change of the verdict on an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a driver must pass every change on")]
pub enum Change {
    /// The instance is unfit, for this reason.
    Unfit(String),
    /// The instance is fit again.
    Fit,
}

/// The verdict on one instance.
///
/// Like an instance that was never checked, it begins as fit, but the very first failure takes it
/// out: there is no success that speaks for it.
///
/// A departure within ten minutes of the last return doubles what the next one takes, up to 32
/// times `rise`; each ten minutes without one halve it again. So, whatever the backend does, there
/// are at most `7 + time / min(10 minutes, fall + 32 × rise checks)` departures in any time.
///
/// ```
/// use std::time::Duration;
/// use onionweave_publish::health::{Change, Health, Outcome, Steps};
///
/// let mut health = Health::new(Steps::default());
/// let (down, mut now) = (Outcome::Failed("HTTP 503".into()), Duration::ZERO);
/// let mut tell = |outcome: &Outcome| {
///     now += Duration::from_secs(2);
///     health.take(outcome.clone(), now)
/// };
/// assert_eq!(tell(&Outcome::Served), None);
/// assert_eq!(tell(&down), None);
/// assert_eq!(tell(&down), None);
/// assert_eq!(tell(&down), Some(Change::Unfit("HTTP 503".into())));
/// assert_eq!(tell(&Outcome::Served), None);
/// assert_eq!(tell(&Outcome::Served), Some(Change::Fit));
/// ```
#[derive(Clone, Debug)]
pub struct Health {
    steps: Steps,
    fit: bool,
    /// Whether any check ever succeeded.
    proved: bool,
    /// Results in a row that speak against the verdict.
    against: u32,
    /// Number of times that the successes for a return are doubled, `0..=MAX_DOUBLINGS`.
    doublings: u32,
    /// The uptime of the last return.
    returned: Option<Duration>,
}

impl Health {
    /// An instance that was not checked yet.
    pub const fn new(steps: Steps) -> Self {
        Self {
            steps,
            fit: true,
            proved: false,
            against: 0,
            doublings: 0,
            returned: None,
        }
    }

    /// An instance that an earlier check found unfit.
    pub const fn unfit(steps: Steps) -> Self {
        Self {
            fit: false,
            ..Self::new(steps)
        }
    }

    /// The present verdict.
    pub const fn is_fit(&self) -> bool {
        self.fit
    }

    /// Number of successes in a row that the next return takes.
    pub const fn rise(&self) -> u32 {
        self.steps.rise.saturating_mul(1 << self.doublings)
    }

    /// Takes a result, and tells whether the verdict changes. `now` is any clock that only grows.
    pub fn take(&mut self, outcome: Outcome, now: Duration) -> Option<Change> {
        let why = match outcome {
            Outcome::Unknown(_) => return None,
            Outcome::Served => None,
            Outcome::Failed(why) => Some(why),
        };
        let first = !self.proved && self.fit;
        self.proved |= why.is_none();
        if why.is_none() == self.fit {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        match why {
            Some(why) if first || self.against >= self.steps.fall => {
                self.leave(now);
                Some(Change::Unfit(why))
            }
            None if self.against >= self.rise() => {
                self.fit = true;
                self.against = 0;
                self.returned = Some(now);
                Some(Change::Fit)
            }
            _ => None,
        }
    }

    fn leave(&mut self, now: Duration) {
        self.doublings = self.returned.map_or(0, |at| {
            let calm = now.saturating_sub(at).as_secs() / CALM.as_secs();
            let doublings = u64::from(self.doublings + 1).saturating_sub(calm);
            // At most `MAX_DOUBLINGS`, so it fits.
            doublings.min(u64::from(MAX_DOUBLINGS)) as u32
        });
        self.fit = false;
        self.against = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A verdict with a clock that goes on by a step at each result.
    struct Checked {
        health: Health,
        now: Duration,
        every: Duration,
    }

    impl Checked {
        fn new(fall: u32, rise: u32, every: u64) -> Self {
            Self {
                health: Health::new(Steps::new(fall, rise)),
                now: Duration::from_secs(1000),
                every: Duration::from_secs(every),
            }
        }

        fn served(&mut self) -> Option<Change> {
            self.take(Outcome::Served)
        }

        fn failed(&mut self) -> Option<Change> {
            self.take(Outcome::Failed("refused".into()))
        }

        fn take(&mut self, outcome: Outcome) -> Option<Change> {
            self.now += self.every;
            self.health.take(outcome, self.now)
        }

        /// Fails until it is unfit, then serves until it is fit; how many successes that took.
        fn flap(&mut self) -> u32 {
            while self.failed().is_none() {}
            let mut successes = 1;
            while self.served().is_none() {
                successes += 1;
            }
            successes
        }
    }

    fn unfit() -> Option<Change> {
        Some(Change::Unfit("refused".into()))
    }

    #[test]
    fn failures_and_successes_count_in_a_row() {
        let mut checked = Checked::new(3, 2, 2);
        let word = |change: Option<Change>| match change {
            None => '-',
            Some(Change::Fit) => 'F',
            Some(Change::Unfit(_)) => 'U',
        };
        let told: String = "++..+...+.++-..."
            .chars()
            .map(|result| match result {
                '+' => word(checked.served()),
                '.' => word(checked.failed()),
                _ => word(checked.take(Outcome::Unknown("no Tor".into()))),
            })
            .collect();
        assert_eq!(told, "-------U---F---U");
    }

    #[test]
    fn very_first_failure_takes_out() {
        assert_eq!(Checked::new(3, 2, 2).failed(), unfit());
        // What could not be checked is no first result.
        let mut checked = Checked::new(3, 2, 2);
        assert_eq!(checked.take(Outcome::Unknown("no Tor".into())), None);
        assert_eq!(checked.failed(), unfit());
    }

    #[test]
    fn unfit_from_before_has_to_rise() {
        let mut health = Health::unfit(Steps::new(3, 2));
        assert!(!health.is_fit());
        let now = Duration::ZERO;
        assert_eq!(health.take(Outcome::Failed("refused".into()), now), None);
        assert_eq!(health.take(Outcome::Served, now), None);
        assert_eq!(health.take(Outcome::Served, now), Some(Change::Fit));
    }

    #[test]
    fn each_return_takes_twice_as_many_successes_up_to_a_bound() {
        let mut checked = Checked::new(1, 2, 1);
        let took: Vec<_> = (0..8).map(|_| checked.flap()).collect();
        assert_eq!(took, [2, 4, 8, 16, 32, 64, 64, 64]);
    }

    #[test]
    fn calm_times_are_rewarded() {
        let mut checked = Checked::new(1, 2, 1);
        assert_eq!([checked.flap(), checked.flap(), checked.flap()], [2, 4, 8]);
        checked.now += CALM;
        assert_eq!(checked.flap(), 8);
        checked.now += 2 * CALM;
        assert_eq!(checked.flap(), 4);
        checked.now += 10 * CALM;
        assert_eq!(checked.flap(), 2);
    }

    #[test]
    fn zero_counts_as_one() {
        assert_eq!(Steps::new(0, 0), Steps::new(1, 1));
    }

    proptest! {
        /// The bound holds whatever the backend does, in every window.
        #[test]
        fn departures_are_bounded(
            (fall, rise, every) in (1_u32..5, 1_u32..5, 1_u64..30),
            // Runs of equal results, so that long ones occur.
            runs in prop::collection::vec((any::<bool>(), 1_u32..200), 1..200),
            window in 60_u64..20_000,
        ) {
            let mut checked = Checked::new(fall, rise, every);
            let mut left = Vec::new();
            for (serves, length) in runs {
                for _ in 0..length {
                    if serves {
                        checked.served();
                    } else if checked.failed().is_some() {
                        left.push(checked.now.as_secs());
                    }
                }
            }
            check_bound(&checked, &left, window)?;
        }

        /// The worst that a backend can do: it leaves as soon as it may, and sometimes waits for
        /// forgiveness first.
        #[test]
        fn departures_of_an_adversary_are_bounded(
            (fall, rise, every) in (1_u32..5, 1_u32..5, 1_u64..30),
            pauses in prop::collection::vec(prop_oneof![3 => Just(0), 1 => 0..8 * CALM.as_secs()], 1..200),
            window in 60_u64..100_000,
        ) {
            let mut checked = Checked::new(fall, rise, every);
            let mut left = Vec::new();
            for pause in pauses {
                checked.now += Duration::from_secs(pause);
                while checked.failed().is_none() {}
                left.push(checked.now.as_secs());
                while checked.served().is_none() {}
            }
            check_bound(&checked, &left, window)?;
        }
    }

    fn check_bound(checked: &Checked, left: &[u64], window: u64) -> Result<(), TestCaseError> {
        let Steps { fall, rise } = checked.health.steps;
        let slowest = u64::from(fall + rise * 32) * checked.every.as_secs();
        let limit = 7 + window / slowest.min(600);
        for (i, start) in left.iter().enumerate() {
            let within = left[i..].iter().take_while(|at| *at - start <= window).count();
            prop_assert!(within as u64 <= limit, "{within} in {window} s, limit {limit}");
        }
        Ok(())
    }
}
