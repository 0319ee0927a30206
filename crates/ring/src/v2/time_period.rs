//! The days of a service.

use core::fmt;

use super::{OVERLAP, PERIOD, ServiceId};
use crate::UnixTime;

const PERIOD_SECS: u64 = PERIOD.as_secs();

/// A number of days since 1970, during which a service keeps its descriptor IDs.
///
/// The days of different services begin at different times of the day, so that not all descriptors
/// move at once. Those of a service whose identifier begins with the byte `b` begin `b × 86400 /
/// 256` seconds before midnight UTC (`get_time_period`, feature/rend/rendcommon.c:124). Hence a
/// period has a start only together with a service.
///
/// C Tor cuts the time to 32 bits before it divides (:132); this type does not, which differs from
/// 2106 on.
///
/// ```
/// use onionweave_ring::UnixTime;
/// use onionweave_ring::v2::{ServiceId, TimePeriod};
///
/// let service: ServiceId = "rf75jzdtba4wnd6v".parse()?;
/// let now = UnixTime::from_iso("2026-11-22 12:07:19")?;
/// let period = TimePeriod::at(&service, now);
///
/// assert_eq!(period.number(), 20780);
/// assert!(period.start(&service) <= now && now < period.end(&service));
/// assert_eq!(period.end(&service), period.next().start(&service));
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct TimePeriod(u32);

impl TimePeriod {
    /// The period with this number.
    ///
    /// ```
    /// use onionweave_ring::v2::TimePeriod;
    ///
    /// assert_eq!(TimePeriod::new(20_780), TimePeriod::from(20_780));
    /// ```
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The period in which `now` lies for this service (`get_time_period`,
    /// feature/rend/rendcommon.c:124).
    ///
    /// Beyond the last number there is (in some 11.7 million years) it stays at that number.
    ///
    /// ```
    /// use onionweave_ring::UnixTime;
    /// use onionweave_ring::v2::{ServiceId, TimePeriod};
    ///
    /// let now = UnixTime::from_iso("2026-11-22 23:00:00")?;
    /// // The days of a service that begins with 0 are those of the calendar; others begin earlier.
    /// let [early, late] = [[0xff; 10], [0; 10]].map(|id| TimePeriod::at(&ServiceId::from(id), now));
    /// assert_eq!(early, late.next());
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    pub fn at(service: &ServiceId, now: UnixTime) -> Self {
        let shifted = now.as_secs().saturating_add(shift(service));
        Self(u32::try_from(shifted / PERIOD_SECS).unwrap_or(u32::MAX))
    }

    /// The period's number, which is what goes into the [secret ID part](super::SecretIdPart).
    ///
    /// ```
    /// use onionweave_ring::v2::TimePeriod;
    ///
    /// assert_eq!(TimePeriod::new(20_780).number(), 20_780);
    /// ```
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The period after this one; the last one there is has none and is returned itself.
    ///
    /// ```
    /// use onionweave_ring::v2::TimePeriod;
    ///
    /// assert_eq!(TimePeriod::new(20_780).next(), TimePeriod::new(20_781));
    /// ```
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The period before this one; period 0 has none and is returned itself.
    ///
    /// ```
    /// use onionweave_ring::v2::TimePeriod;
    ///
    /// assert_eq!(TimePeriod::new(20_780).previous(), TimePeriod::new(20_779));
    /// ```
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The first second of this period for this service, or the epoch if period 0 began before it.
    ///
    /// ```
    /// use onionweave_ring::v2::{ServiceId, TimePeriod};
    ///
    /// let start = TimePeriod::new(20_780).start(&ServiceId::from([0x80; 10]));
    /// assert_eq!(start.to_string(), "2026-11-22 12:00:00");
    /// ```
    pub fn start(self, service: &ServiceId) -> UnixTime {
        let midnight = u64::from(self.0) * PERIOD_SECS;
        UnixTime::from_secs(midnight.saturating_sub(shift(service)))
    }

    /// The first second that is no longer in this period: the start of the next.
    ///
    /// ```
    /// use onionweave_ring::v2::{ServiceId, TimePeriod};
    ///
    /// let end = TimePeriod::new(20_780).end(&ServiceId::from([0; 10]));
    /// assert_eq!(end.to_string(), "2026-11-24 00:00:00");
    /// ```
    pub fn end(self, service: &ServiceId) -> UnixTime {
        let midnight = (u64::from(self.0) + 1) * PERIOD_SECS;
        UnixTime::from_secs(midnight - shift(service))
    }

    /// Seconds until this period ends: 1 to 86400 while `now` lies in it, 0 when it is over, more
    /// than 86400 before it.
    ///
    /// For the period of `now` this is C Tor's `get_seconds_valid` (feature/rend/rendcommon.c:138).
    ///
    /// ```
    /// use onionweave_ring::UnixTime;
    /// use onionweave_ring::v2::{ServiceId, TimePeriod};
    ///
    /// let service = ServiceId::from([0; 10]);
    /// let now = UnixTime::from_iso("2026-11-22 23:59:00")?;
    /// assert_eq!(TimePeriod::at(&service, now).seconds_left(&service, now), 60);
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    pub fn seconds_left(self, service: &ServiceId, now: UnixTime) -> u64 {
        self.end(service).as_secs().saturating_sub(now.as_secs())
    }

    /// Returns the periods for which a service has descriptors out at `now`: the current one, and
    /// in its last hour the next one too.
    ///
    /// As C Tor, which publishes the next period's descriptors when *fewer* than 3600 seconds are
    /// left (feature/rend/rendservice.c:3871).
    ///
    /// ```
    /// use onionweave_ring::UnixTime;
    /// use onionweave_ring::v2::{ServiceId, TimePeriod};
    ///
    /// let service = ServiceId::from([0; 10]);
    /// let at = |time| Ok::<_, onionweave_ring::Error>(TimePeriod::published(&service, UnixTime::from_iso(time)?).count());
    /// assert_eq!(at("2026-11-22 22:59:59")?, 1);
    /// assert_eq!(at("2026-11-22 23:30:00")?, 2);
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    pub fn published(service: &ServiceId, now: UnixTime) -> impl Iterator<Item = Self> + use<> {
        let current = Self::at(service, now);
        let in_overlap = current.seconds_left(service, now) < OVERLAP.as_secs();
        core::iter::once(current).chain(in_overlap.then(|| current.next()))
    }
}

impl From<u32> for TimePeriod {
    fn from(number: u32) -> Self {
        Self(number)
    }
}

/// The period's number.
impl fmt::Display for TimePeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of seconds before midnight at which the service's periods begin: 0 to 86062.
fn shift(service: &ServiceId) -> u64 {
    let [first, ..] = *service.as_bytes();
    u64::from(first) * PERIOD_SECS / 256
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn service(first: u8) -> ServiceId {
        let mut bytes = [7; 10];
        bytes[0] = first;
        bytes.into()
    }

    fn periods(service: &ServiceId, now: u64) -> Vec<u32> {
        TimePeriod::published(service, UnixTime::from_secs(now))
            .map(TimePeriod::number)
            .collect()
    }

    #[test]
    fn periods_begin_before_midnight_by_the_first_byte() {
        let midnight = UnixTime::from_secs(20_000 * 86_400);
        for (first, seconds_before) in [(0, 0), (1, 337), (128, 43_200), (255, 86_062)] {
            let service = service(first);
            let start = TimePeriod::new(20_000).start(&service);
            assert_eq!(midnight.seconds_since(start), seconds_before);
            assert_eq!(TimePeriod::at(&service, start).number(), 20_000);
            let second_before = UnixTime::from_secs(start.as_secs() - 1);
            assert_eq!(TimePeriod::at(&service, second_before).number(), 19_999);
        }
    }

    #[test]
    fn the_next_period_is_published_in_the_last_hour() {
        let service = service(0);
        let end = TimePeriod::new(20_000).end(&service).as_secs();
        assert_eq!(periods(&service, end - 86_400), [20_000]);
        assert_eq!(periods(&service, end - 3_600), [20_000]);
        assert_eq!(periods(&service, end - 3_599), [20_000, 20_001]);
        assert_eq!(periods(&service, end - 1), [20_000, 20_001]);
        assert_eq!(periods(&service, end), [20_001]);
    }

    #[test]
    fn the_first_and_the_last_period_have_no_neighbour() {
        let service = service(255);
        let (first, last) = (TimePeriod::new(0), TimePeriod::new(u32::MAX));
        assert_eq!(first.previous(), first);
        assert_eq!(first.start(&service), UnixTime::EPOCH);
        assert_eq!(last.next(), last);
        assert_eq!(TimePeriod::at(&service, UnixTime::from_secs(u64::MAX)), last);
    }

    proptest! {
        #[test]
        fn every_second_lies_in_its_period(first: u8, now in 0..u64::from(u32::MAX) * 86_400) {
            let (service, now) = (service(first), UnixTime::from_secs(now));
            let period = TimePeriod::at(&service, now);
            prop_assert!(period.start(&service) <= now && now < period.end(&service));

            let left = period.seconds_left(&service, now);
            prop_assert!((1..=86_400).contains(&left));
            prop_assert_eq!(now.saturating_add(core::time::Duration::from_secs(left)), period.end(&service));
            prop_assert_eq!(period.next().seconds_left(&service, now), left + 86_400);
            prop_assert_eq!(period.previous().seconds_left(&service, now), if period.number() == 0 { left } else { 0 });
        }

        #[test]
        fn periods_touch(first: u8, number in 0..u32::MAX) {
            let (service, period) = (service(first), TimePeriod::new(number));
            prop_assert_eq!(period.end(&service), period.next().start(&service));
            prop_assert_eq!(period.next().previous(), period);
        }

        /// While C Tor's 32 bits last.
        #[test]
        fn agrees_with_c_tor(first: u8, now in 0..u32::MAX - 86_400) {
            let service = service(first);
            let period = TimePeriod::at(&service, UnixTime::from_secs(now.into()));
            let shifted = now + u32::from(first) * 86_400 / 256;
            prop_assert_eq!(period.number(), shifted / 86_400);
            let seconds_valid = 86_400 - shifted % 86_400;
            prop_assert_eq!(period.seconds_left(&service, UnixTime::from_secs(now.into())), u64::from(seconds_valid));
        }
    }
}
