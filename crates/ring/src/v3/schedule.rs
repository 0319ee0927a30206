//! The two periods for which a service publishes at one time (rend-spec-v3, sections 2.2.1 and
//! 2.2.4).

use super::{Period, sha3_256};
use crate::UnixTime;
use crate::relays::{Lifetime, OnionServices, SharedRandom};

/// Number of consensuses in one phase of the shared random protocol (`SHARED_RANDOM_N_ROUNDS`,
/// feature/dirauth/shared_random.h:17).
const ROUNDS: u64 = 12;

/// Number of phases in one run of the shared random protocol (`SHARED_RANDOM_N_PHASES`).
const PHASES: u64 = 2;

/// The rule by which a network's periods get their length.
///
/// ```
/// use onionweave_ring::UnixTime;
/// use onionweave_ring::relays::{Lifetime, OnionServices};
/// use onionweave_ring::v3::{Network, Schedule};
///
/// let [after, fresh, until] = [1_795_000_000, 1_795_000_020, 1_795_000_040].map(UnixTime::from_secs);
/// let lifetime = Lifetime::new(after, fresh, until);
/// let minutes = |network| Schedule::new(lifetime, &OnionServices::default(), network).now().minutes();
/// assert_eq!(minutes(Network::Public), 1440);
/// assert_eq!(minutes(Network::Testing), 8, "twenty-four intervals of twenty seconds");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Network {
    /// A network whose consensus sets the length.
    #[default]
    Public,
    /// A network with `TestingTorNetwork 1`, where a period is as long as a run of the shared
    /// random protocol (`get_time_period_length`, feature/hs/hs_common.c:243).
    Testing,
}

/// The two descriptors that a service has at one time, named as C Tor names them.
///
/// ```
/// use onionweave_ring::v3::Which;
///
/// assert_eq!(Which::Current.to_string(), "current");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Which {
    /// `desc_current`, of the earlier period and the previous shared random value.
    Current,
    /// `desc_next`, of the later period and the current shared random value.
    Next,
}

impl core::fmt::Display for Which {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Self::Current => "current",
            Self::Next => "next",
        })
    }
}

/// A descriptor of the two that a service has at one time: its period, and the value that places
/// the directories.
///
/// ```
/// use onionweave_ring::Directories;
/// use onionweave_ring::relays::{Microdescriptors, RelayList};
///
/// let list = RelayList::parse(include_str!("../../testdata/v3-network/consensus-microdesc.txt"))?;
/// let [current, next] = *Directories::from(&list).v3().expect("it is a consensus").schedule().publications();
/// assert_eq!(current.period().number() + 1, next.period().number());
/// assert_ne!(current.is_read(), next.is_read());
/// assert_ne!(current.value(), next.value());
/// assert_eq!([current.which(), next.which()].map(|which| which.to_string()), ["current", "next"]);
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    which: Which,
    period: Period,
    value: SharedRandom,
    is_read: bool,
}

impl Publication {
    /// The name of the descriptor in C Tor.
    pub const fn which(&self) -> Which {
        self.which
    }

    /// The period that blinds the key.
    pub const fn period(&self) -> Period {
        self.period
    }

    /// The shared random value, or the disaster value where the consensus has none.
    pub const fn value(&self) -> SharedRandom {
        self.value
    }

    /// Tells whether clients with the same consensus ask for this one.
    pub const fn is_read(&self) -> bool {
        self.is_read
    }
}

/// The periods of a consensus: the one that it lies in, and the two for which services publish.
///
/// The consensus decides, not the clock (`node_set_hsdir_index`, feature/nodelist/nodelist.c). From
/// a new shared random value to the next period, clients read the current descriptor; in the rest
/// of the day they read the next one (`hs_in_period_between_tp_and_srv`,
/// feature/hs/hs_common.c:987).
///
/// ```
/// use onionweave_ring::UnixTime;
/// use onionweave_ring::relays::{Lifetime, OnionServices};
/// use onionweave_ring::v3::{Network, Schedule};
///
/// let time = UnixTime::from_iso;
/// let lifetime = Lifetime::new(
///     time("2026-11-22 13:00:00")?,
///     time("2026-11-22 14:00:00")?,
///     time("2026-11-22 16:00:00")?,
/// );
/// let schedule = Schedule::new(lifetime, &OnionServices::default(), Network::Public);
/// let [current, next] = schedule.publications();
/// assert!(next.is_read() && next.period() == schedule.now() && !current.is_read());
/// assert_eq!(schedule.until(), time("2026-11-23 00:00:00")?);
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    now: Period,
    publications: [Publication; 2],
    until: UnixTime,
}

impl Schedule {
    /// The schedule of the consensus with this lifetime and these values.
    pub fn new(lifetime: Lifetime, values: &OnionServices, network: Network) -> Self {
        let valid_after = lifetime.valid_after().as_secs();
        // `get_voting_interval`, feature/hs_common/shared_random_client.c:56.
        let interval = lifetime.fresh_until().seconds_since(lifetime.valid_after());
        let interval = u64::try_from(interval).unwrap_or(0).max(1);
        let clock = Clock::new(interval, values, network);

        let now = clock.period_at(valid_after);
        let run_start = clock.run_start(valid_after);
        let change = clock.next_period_start(run_start);
        let is_before_change = (run_start..change).contains(&valid_after);

        let minutes = now.minutes();
        let period = |number: u64| Period::new(number, minutes);
        let (first, second) = match is_before_change {
            true => (now, period(now.number().saturating_add(1))),
            false => (period(now.number().saturating_sub(1)), now),
        };
        let publication = |which, period, value: Option<SharedRandom>, is_read| Publication {
            which,
            period,
            value: value.unwrap_or_else(|| SharedRandom::disaster(period)),
            is_read,
        };
        let run_end = run_start.saturating_add(clock.run());
        Self {
            now,
            publications: [
                publication(Which::Current, first, values.previous_value(), is_before_change),
                publication(Which::Next, second, values.current_value(), !is_before_change),
            ],
            until: UnixTime::from_secs(clock.next_period_start(valid_after).min(run_end)),
        }
    }

    /// The period that the consensus lies in.
    pub const fn now(&self) -> Period {
        self.now
    }

    /// The two descriptors, the current one first.
    pub const fn publications(&self) -> &[Publication; 2] {
        &self.publications
    }

    /// The time from which a consensus has another schedule: the start of the next period or of the
    /// next run of the shared random protocol, whichever comes first.
    pub const fn until(&self) -> UnixTime {
        self.until
    }
}

/// The time of a network, counted in intervals and periods.
struct Clock {
    /// In seconds.
    interval: u64,
    minutes: u32,
}

impl Clock {
    fn new(interval: u64, values: &OnionServices, network: Network) -> Self {
        let minutes = match network {
            Network::Public => values.period_minutes().into(),
            // C Tor asserts that it is not zero.
            Network::Testing => u32::try_from(interval.saturating_mul(ROUNDS * PHASES) / 60)
                .unwrap_or(u32::MAX)
                .max(1),
        };
        Self { interval, minutes }
    }

    /// Seconds in a run of the shared random protocol.
    const fn run(&self) -> u64 {
        self.interval.saturating_mul(ROUNDS * PHASES)
    }

    /// Seconds by which periods begin later than multiples of their length: half a run.
    const fn offset(&self) -> u64 {
        self.interval.saturating_mul(ROUNDS)
    }

    /// `hs_get_time_period_num`, feature/hs/hs_common.c:269.
    fn period_at(&self, time: u64) -> Period {
        let minutes = (time / 60).saturating_sub(self.offset() / 60);
        Period::new(minutes / u64::from(self.minutes), self.minutes)
    }

    /// `hs_get_start_time_of_next_time_period`, feature/hs/hs_common.c:324.
    fn next_period_start(&self, time: u64) -> u64 {
        let next = self.period_at(time).number() + 1;
        (next * u64::from(self.minutes))
            .saturating_mul(60)
            .saturating_add(self.offset())
    }

    /// `sr_state_get_start_time_of_current_protocol_run`,
    /// feature/hs_common/shared_random_client.c:244.
    fn run_start(&self, valid_after: u64) -> u64 {
        let round = valid_after / self.interval % (ROUNDS * PHASES);
        valid_after - round * self.interval
    }
}

impl SharedRandom {
    /// The value that takes the place of one on which the authorities did not agree
    /// (`compute_disaster_srv`, feature/hs/hs_common.c:340).
    ///
    /// ```
    /// use onionweave_ring::v3::{Period, SharedRandom};
    ///
    /// let [one, other] = [1, 2].map(|number| SharedRandom::disaster(Period::new(number, 1440)));
    /// assert_ne!(one, other);
    /// ```
    pub fn disaster(period: Period) -> Self {
        Self::from(sha3_256(&[
            b"shared-random-disaster",
            &u64::from(period.minutes()).to_be_bytes(),
            &period.number().to_be_bytes(),
        ]))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: u64 = 3600;

    fn public(valid_after: u64) -> Schedule {
        let times = [0, HOUR, 3 * HOUR].map(|more| UnixTime::from_secs(valid_after + more));
        let [valid_after, fresh_until, valid_until] = times;
        let lifetime = Lifetime::new(valid_after, fresh_until, valid_until);
        Schedule::new(lifetime, &OnionServices::default(), Network::Public)
    }

    /// The times and numbers of rend-spec-v3, section 2.2.1, and of C Tor's own test
    /// `test_time_period` (test/test_hs_common.c).
    #[test]
    fn periods_begin_at_noon() {
        for (time, number) in [
            ("2016-04-13 11:00:00", 16_903),
            ("2016-04-13 11:59:59", 16_903),
            ("2016-04-13 12:00:00", 16_904),
            ("2016-04-14 11:59:59", 16_904),
        ] {
            let valid_after = UnixTime::from_iso(time).unwrap().as_secs();
            assert_eq!(public(valid_after).now(), Period::new(number, 1440), "{time}");
        }
    }

    #[test]
    fn clients_read_the_current_one_in_the_morning() {
        let midnight = UnixTime::from_iso("2026-11-22 00:00:00").unwrap().as_secs();
        for hour in 0..48 {
            let schedule = public(midnight + hour * HOUR);
            let [current, next] = schedule.publications();
            let is_morning = hour % 24 < 12;
            assert_eq!(
                (current.is_read(), next.is_read()),
                (is_morning, !is_morning),
                "hour {hour}"
            );
            let read = if is_morning { current } else { next };
            assert_eq!(read.period(), schedule.now());
            let until = midnight + (hour / 12 + 1) * 12 * HOUR;
            assert_eq!(schedule.until(), UnixTime::from_secs(until), "hour {hour}");
        }
    }

    proptest! {
        /// Any consensus will do: nothing overflows, and the two periods follow each other.
        #[test]
        fn any_consensus_has_a_schedule(
            valid_after: u64, interval: u64, parameters: [i32; 4], is_testing: bool,
        ) {
            let fresh_until = UnixTime::from_secs(valid_after.saturating_add(interval));
            let lifetime = Lifetime::new(UnixTime::from_secs(valid_after), fresh_until, fresh_until);
            let values = OnionServices::default().with_parameters(parameters);
            let network = if is_testing { Network::Testing } else { Network::Public };
            let schedule = Schedule::new(lifetime, &values, network);
            let [current, next] = schedule.publications();
            prop_assert!(current.period() <= next.period());
            prop_assert!([current, next].iter().any(|one| one.is_read() && one.period() == schedule.now()));
            prop_assert_ne!(current.is_read(), next.is_read());
        }
    }
}
