//! The times between which a consensus is good.

use crate::UnixTime;

/// Times between which a consensus holds (dir-spec, section 3.4.1: `valid-after`, `fresh-until`,
/// `valid-until`).
///
/// ```
/// use onionweave_ring::relays::RelayList;
///
/// let list = RelayList::parse(include_str!("../../testdata/v2-network/consensus.txt"))?;
/// let lifetime = list.lifetime().expect("a consensus has one");
/// assert_eq!(lifetime.valid_after().to_string(), "2026-11-22 12:07:40");
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Lifetime {
    pub(super) valid_after: UnixTime,
    pub(super) fresh_until: UnixTime,
    pub(super) valid_until: UnixTime,
}

impl Lifetime {
    /// The lifetime that `GETINFO consensus/valid-after`, `fresh-until` and `valid-until` tell.
    ///
    /// ```
    /// use onionweave_ring::UnixTime;
    /// use onionweave_ring::relays::Lifetime;
    ///
    /// let [after, fresh, until] = ["2026-11-22 12:00:00", "2026-11-22 13:00:00", "2026-11-22 15:00:00"];
    /// let time = UnixTime::from_iso;
    /// let lifetime = Lifetime::new(time(after)?, time(fresh)?, time(until)?);
    /// assert_eq!(lifetime.valid_until().seconds_since(lifetime.valid_after()), 3 * 3600);
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    pub const fn new(valid_after: UnixTime, fresh_until: UnixTime, valid_until: UnixTime) -> Self {
        Self {
            valid_after,
            fresh_until,
            valid_until,
        }
    }

    /// From when on it holds.
    ///
    /// ```
    /// # use onionweave_ring::{UnixTime, relays::Lifetime};
    /// let [after, fresh, until] = [1, 2, 3].map(UnixTime::from_secs);
    /// assert_eq!(Lifetime::new(after, fresh, until).valid_after(), after);
    /// ```
    pub const fn valid_after(&self) -> UnixTime {
        self.valid_after
    }

    /// Until when it is the newest.
    ///
    /// ```
    /// # use onionweave_ring::{UnixTime, relays::Lifetime};
    /// let [after, fresh, until] = [1, 2, 3].map(UnixTime::from_secs);
    /// assert_eq!(Lifetime::new(after, fresh, until).fresh_until(), fresh);
    /// ```
    pub const fn fresh_until(&self) -> UnixTime {
        self.fresh_until
    }

    /// Until when it holds.
    ///
    /// ```
    /// # use onionweave_ring::{UnixTime, relays::Lifetime};
    /// let [after, fresh, until] = [1, 2, 3].map(UnixTime::from_secs);
    /// assert_eq!(Lifetime::new(after, fresh, until).valid_until(), until);
    /// ```
    pub const fn valid_until(&self) -> UnixTime {
        self.valid_until
    }
}
