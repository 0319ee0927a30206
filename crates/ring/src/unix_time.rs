//! Points in time as Tor's documents count them.

use core::fmt;
use core::time::Duration;
use std::time::SystemTime;

use crate::Error;

/// A point in time in whole seconds since 1970-01-01 00:00:00 UTC, without leap seconds.
///
/// This crate never asks a clock: the time is always an argument.
///
/// ```
/// use onionweave_ring::UnixTime;
///
/// let time = UnixTime::from_iso("2026-11-22 12:07:40")?;
/// assert_eq!(time.as_secs(), 1_795_349_260);
/// assert_eq!(time.start_of_hour().to_string(), "2026-11-22 12:00:00");
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct UnixTime(u64);

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;
/// Days in the 400 years after which the calendar repeats.
const DAYS_IN_CYCLE: u64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const DAYS_BEFORE_1970: u64 = 719_468;
/// 9999-12-31 23:59:59.
const END_OF_9999: u64 = 253_402_300_799;

impl UnixTime {
    /// 1970-01-01 00:00:00 UTC.
    ///
    /// ```
    /// use onionweave_ring::UnixTime;
    ///
    /// assert_eq!(UnixTime::EPOCH.to_string(), "1970-01-01 00:00:00");
    /// ```
    pub const EPOCH: Self = Self(0);

    /// The time `secs` seconds after the epoch.
    ///
    /// ```
    /// use onionweave_ring::UnixTime;
    ///
    /// assert_eq!(UnixTime::from_secs(1_234_567_890).to_string(), "2009-02-13 23:31:30");
    /// ```
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs)
    }

    /// Reads `YYYY-MM-DD HH:MM:SS` by the rules of C Tor's `parse_iso_time`
    /// (lib/encoding/time_fmt.c:336-394 and `tor_timegm`, :96), which are those of descriptors and
    /// network statuses.
    ///
    /// Each number but the year may have one digit instead of two. A second 60 counts as the first
    /// of the next minute. The year 2000 has no 29 February while 2300 has one (:124 asks whether
    /// `year - 1900` is a leap year).
    ///
    /// ```
    /// use onionweave_ring::UnixTime;
    ///
    /// assert_eq!(UnixTime::from_iso("2009-02-13 23:31:30")?.as_secs(), 1_234_567_890);
    /// assert!(UnixTime::from_iso("2009-02-13T23:31:30Z").is_err());
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Time`] for any other form, for a year before 1970 or from 2147483647 on, and for a
    /// day or hour that the calendar does not have.
    pub fn from_iso(text: &str) -> Result<Self, Error> {
        match Self::from_iso_prefix(text)? {
            (time, b"") => Ok(time),
            _ => Err(Error::Time("there is something behind the seconds")),
        }
    }

    /// Reads a time as [`from_iso`](Self::from_iso) does, whatever follows its seconds, as
    /// everybody but a directory reads the publication time of a descriptor (`strict` of
    /// `parse_iso_time_`, lib/encoding/time_fmt.c:346).
    ///
    /// ```
    /// use onionweave_ring::UnixTime;
    ///
    /// let time = UnixTime::from_iso_loose("2026-11-22 12:07:40 UTC")?;
    /// assert_eq!(time, UnixTime::from_iso("2026-11-22 12:07:40")?);
    /// assert!(UnixTime::from_iso("2026-11-22 12:07:40 UTC").is_err());
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Time`], as [`from_iso`](Self::from_iso) but for what follows.
    pub fn from_iso_loose(text: &str) -> Result<Self, Error> {
        Self::from_iso_prefix(text).map(|(time, _)| time)
    }

    /// The time, and what stands behind it.
    fn from_iso_prefix(text: &str) -> Result<(Self, &[u8]), Error> {
        let form = || Error::Time("it has another form");
        let mut rest = text.as_bytes();
        let year = take_number(&mut rest, usize::MAX).ok_or_else(form)?;
        let mut field = |separator| {
            rest = rest.strip_prefix(&[separator])?;
            take_number(&mut rest, 2)
        };
        let mut next = |separator| field(separator).ok_or_else(form);
        let month = next(b'-')?;
        let day = next(b'-')?;
        let (hour, minute, second) = (next(b' ')?, next(b':')?, next(b':')?);
        if !(1970..2_147_483_647).contains(&year) {
            return Err(Error::Time("the year is not between 1970 and 2147483646"));
        }
        if hour > 23 || minute > 59 || second > 60 {
            return Err(Error::Time("the day has no such hour, minute or second"));
        }
        if day < 1 || day > days_in_month(year, month) {
            return Err(Error::Time("the calendar has no such month or day"));
        }
        let days = days_since_1970(year, month, day);
        Ok((Self(days * DAY + hour * HOUR + minute * 60 + second), rest))
    }

    /// Seconds since the epoch.
    ///
    /// ```
    /// use onionweave_ring::UnixTime;
    ///
    /// assert_eq!(UnixTime::from_secs(1_795_349_260).as_secs(), 1_795_349_260);
    /// ```
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// The last full hour at or before this time: what services write as their publication time
    /// (feature/rend/rendservice.c:1076).
    ///
    /// ```
    /// use onionweave_ring::UnixTime;
    ///
    /// let time = UnixTime::from_iso("2026-11-22 12:07:40")?.start_of_hour();
    /// assert_eq!(time.to_string(), "2026-11-22 12:00:00");
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    #[must_use]
    pub const fn start_of_hour(self) -> Self {
        Self(self.0 - self.0 % HOUR)
    }

    /// This much later, in whole seconds (a fraction is cut off), or the last time there is.
    ///
    /// ```
    /// use core::time::Duration;
    /// use onionweave_ring::UnixTime;
    ///
    /// let time = UnixTime::from_secs(10).saturating_add(Duration::from_millis(1_900));
    /// assert_eq!(time, UnixTime::from_secs(11));
    /// ```
    #[must_use]
    pub const fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }

    /// This much earlier, in whole seconds (a fraction is cut off), or the epoch.
    ///
    /// ```
    /// use core::time::Duration;
    /// use onionweave_ring::UnixTime;
    ///
    /// let time = UnixTime::from_secs(10).saturating_sub(Duration::from_secs(11));
    /// assert_eq!(time, UnixTime::EPOCH);
    /// ```
    #[must_use]
    pub const fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration.as_secs()))
    }

    /// Seconds from `earlier` to this time; negative if `earlier` is the later one. Saturates.
    ///
    /// ```
    /// use onionweave_ring::UnixTime;
    ///
    /// let [earlier, later] = [5, 8].map(UnixTime::from_secs);
    /// assert_eq!(later.seconds_since(earlier), 3);
    /// assert_eq!(earlier.seconds_since(later), -3);
    /// ```
    pub const fn seconds_since(self, earlier: Self) -> i64 {
        match self.0.checked_signed_diff(earlier.0) {
            Some(seconds) => seconds,
            None if self.0 > earlier.0 => i64::MAX,
            None => i64::MIN,
        }
    }
}

/// A time before the epoch becomes the epoch; fractions of a second are cut off.
impl From<SystemTime> for UnixTime {
    fn from(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self(since_epoch.as_secs())
    }
}

/// A time beyond what the platform can express becomes the end of the year 9999.
impl From<UnixTime> for SystemTime {
    fn from(time: UnixTime) -> Self {
        Self::UNIX_EPOCH
            .checked_add(Duration::from_secs(time.0))
            .unwrap_or_else(|| Self::UNIX_EPOCH + Duration::from_secs(END_OF_9999))
    }
}

/// `YYYY-MM-DD HH:MM:SS` in UTC (`format_iso_time`, lib/encoding/time_fmt.c:294); the year has more
/// digits from 10000 on.
impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0 / DAY);
        let second = self.0 % DAY;
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
            second / HOUR,
            second / 60 % 60,
            second % 60
        )
    }
}

impl fmt::Debug for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnixTime({self})")
    }
}

/// Reads 1 to `width` decimal digits from the front (`scan_unsigned`, lib/string/scanf.c:35).
fn take_number(rest: &mut &[u8], width: usize) -> Option<u64> {
    let mut number: Option<u64> = None;
    for _ in 0..width {
        let Some((digit @ b'0'..=b'9', tail)) = rest.split_first() else {
            break;
        };
        let digit = u64::from(digit - b'0');
        number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
        *rest = tail;
    }
    number
}

/// Days of a month by C Tor's calendar (lib/encoding/time_fmt.c:120-128); 0 if there is no such
/// month.
fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        // C Tor means the year and asks for the years since 1900.
        2 if is_leap(year - 1900) => 29,
        2 => 28,
        _ => 0,
    }
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// Number of days from 1970-01-01 to a date with a month of 1 to 12. Its calendar begins the year
/// in March, so that the leap day is the last of its year.
const fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - DAYS_BEFORE_1970
}

/// The inverse of [`days_since_1970`]: year, month 1 to 12, day 1 to 31.
const fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_BEFORE_1970;
    let (cycle, day_of_cycle) = (days / DAYS_IN_CYCLE, days % DAYS_IN_CYCLE);
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = cycle * 400 + year_of_cycle;
    if month < 10 {
        (year, month + 3, day)
    } else {
        (year + 1, month - 9, day)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::UtcDateTime;
    use time::macros::format_description;

    use super::*;

    #[test]
    fn reads_what_c_tor_reads() {
        for (text, secs) in [
            ("1970-01-01 00:00:00", 0),
            ("2009-02-13 23:31:30", 1_234_567_890),
            ("2026-11-22 12:07:40", 1_795_349_260),
            // One digit, or more for the year, will do.
            ("2026-11-2 2:7:0", 1_793_585_220),
            ("0002026-11-22 12:07:40", 1_795_349_260),
            // A leap second is the next minute's first.
            ("2016-12-31 23:59:60", 1_483_228_800),
            ("2004-02-29 00:00:00", 1_078_012_800),
            ("2300-02-29 00:00:00", 10_418_889_600),
            ("2300-03-01 00:00:00", 10_418_889_600),
            ("2147483646-12-31 23:59:59", 67_767_976_201_996_799),
        ] {
            assert_eq!(UnixTime::from_iso(text), Ok(UnixTime::from_secs(secs)), "{text}");
        }
    }

    #[test]
    fn refuses_what_c_tor_refuses() {
        for text in [
            "",
            "2026",
            "2026-11-22",
            "2026-11-22 12:07",
            "2026-11-22T12:07:40",
            "2026-11-22  12:07:40",
            "2026/11/22 12:07:40",
            " 2026-11-22 12:07:40",
            "+2026-11-22 12:07:40",
            "-2026-11-22 12:07:40",
            "2026-011-22 12:07:40",
            "2026-11-22 12:07:40 ",
            "2026-11-22 12:07:40Z",
            "2026-11-22 12:07:400",
            "2026-11-22 12:07:-1",
            "1969-12-31 23:59:59",
            "2147483647-01-01 00:00:00",
            "18446744073709551616-01-01 00:00:00",
            "2026-00-22 12:07:40",
            "2026-13-22 12:07:40",
            "2026-11-00 12:07:40",
            "2026-11-31 12:07:40",
            "2026-02-29 12:07:40",
            "2000-02-29 12:07:40",
            "2026-11-22 24:00:00",
            "2026-11-22 12:60:00",
            "2026-11-22 12:07:61",
            "٢٠٢٦-11-22 12:07:40",
        ] {
            let error = UnixTime::from_iso(text).unwrap_err();
            assert!(matches!(error, Error::Time(_)), "{text}: {error}");
        }
    }

    #[test]
    fn loose_reading_forgives_what_follows_and_nothing_else() {
        for text in [
            "2026-11-22 12:07:40",
            "2026-11-22 12:07:40Z",
            "2026-11-22 12:07:40 \u{a0}",
            "2026-11-22 12:07:400",
            "2026-11-22 12:07:40.5 UTC",
        ] {
            let time = UnixTime::from_iso_loose(text);
            assert_eq!(time, Ok(UnixTime::from_secs(1_795_349_260)), "{text}");
        }
        for text in [
            "",
            "2026-11-22 12:07",
            "2026-11-22 12:07: 40",
            "2026-11-22T12:07:40Z",
            "1969-12-31 23:59:59Z",
        ] {
            assert_eq!(UnixTime::from_iso_loose(text), UnixTime::from_iso(text), "{text}");
        }
    }

    #[test]
    fn counts_from_system_time_and_back() {
        let time = UnixTime::from_secs(1_795_349_260);
        let system = SystemTime::from(time);
        assert_eq!(UnixTime::from(system), time);
        assert_eq!(UnixTime::from(system + Duration::from_millis(999)), time);

        let before_epoch = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(UnixTime::from(before_epoch), UnixTime::EPOCH);
        let last = UnixTime::from_secs(u64::MAX);
        assert_eq!(UnixTime::from(SystemTime::from(last)).as_secs(), END_OF_9999);
    }

    #[test]
    fn saturates() {
        let last = UnixTime::from_secs(u64::MAX);
        let second = Duration::from_secs(1);
        assert_eq!(last.saturating_add(second), last);
        assert_eq!(UnixTime::EPOCH.saturating_sub(second), UnixTime::EPOCH);
        assert_eq!(last.seconds_since(UnixTime::EPOCH), i64::MAX);
        assert_eq!(UnixTime::EPOCH.seconds_since(last), i64::MIN);
        assert_eq!(UnixTime::from_secs(5).seconds_since(UnixTime::from_secs(8)), -3);
        assert_eq!(last.to_string(), "584554051223-11-09 07:00:15");
    }

    proptest! {
        #[test]
        fn agrees_with_another_calendar(secs in 0..=END_OF_9999) {
            let theirs = UtcDateTime::from_unix_timestamp(secs.try_into().unwrap()).unwrap();
            let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
            let text = theirs.format(format).unwrap();
            prop_assert_eq!(UnixTime::from_secs(secs).to_string(), text);
        }

        #[test]
        fn reads_what_it_writes(secs in 0..=67_767_976_201_996_799_u64) {
            let time = UnixTime::from_secs(secs);
            // The one day that C Tor's calendar lacks.
            prop_assume!(!time.to_string().starts_with("2000-02-29"));
            prop_assert_eq!(UnixTime::from_iso(&time.to_string()), Ok(time));
        }

        #[test]
        fn the_hour_begins_at_most_an_hour_ago(secs: u64) {
            let time = UnixTime::from_secs(secs);
            prop_assert!((0..3600).contains(&time.seconds_since(time.start_of_hour())));
            prop_assert!(time.start_of_hour().to_string().ends_with(":00:00"));
        }
    }
}
