//! The names of slots, whatever the version of the service.

use std::fmt;

use onionweave_ring::{Error, Fingerprint, v2};

/// The number of a time period.
///
/// ```
/// use onionweave_publish::Period;
/// use onionweave_ring::v2::TimePeriod;
///
/// let period = Period::from(TimePeriod::new(20_780));
/// assert_eq!(period.number(), 20_780);
/// assert_eq!(TimePeriod::try_from(period)?, TimePeriod::new(20_780));
/// # Ok::<(), std::num::TryFromIntError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct Period(u64);

impl Period {
    /// The period with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl From<v2::TimePeriod> for Period {
    fn from(period: v2::TimePeriod) -> Self {
        Self(period.number().into())
    }
}

/// Fails for numbers beyond 32 bits, which version 2 does not have.
impl TryFrom<Period> for v2::TimePeriod {
    type Error = std::num::TryFromIntError;

    fn try_from(period: Period) -> Result<Self, Self::Error> {
        Ok(Self::new(period.0.try_into()?))
    }
}

impl PartialEq<v2::TimePeriod> for Period {
    fn eq(&self, period: &v2::TimePeriod) -> bool {
        *self == Self::from(*period)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a replica, counted as its version counts them: from 0 in version 2.
///
/// ```
/// use onionweave_publish::ReplicaNumber;
/// use onionweave_ring::v2::Replica;
///
/// let [_, second] = Replica::ALL;
/// assert_eq!(ReplicaNumber::from(second).number(), 1);
/// assert_eq!(Replica::try_from(ReplicaNumber::new(1))?, second);
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct ReplicaNumber(u8);

impl ReplicaNumber {
    /// The replica with this number.
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl From<v2::Replica> for ReplicaNumber {
    fn from(replica: v2::Replica) -> Self {
        Self(replica.number())
    }
}

/// Fails for anything but the replicas 0 and 1.
impl TryFrom<ReplicaNumber> for v2::Replica {
    type Error = Error;

    fn try_from(replica: ReplicaNumber) -> Result<Self, Error> {
        Self::try_from(replica.0)
    }
}

impl PartialEq<v2::Replica> for ReplicaNumber {
    fn eq(&self, replica: &v2::Replica) -> bool {
        *self == Self::from(*replica)
    }
}

impl fmt::Display for ReplicaNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place that is to hold a descriptor: a directory, for one replica of one time period.
///
/// A relay that is responsible for several replicas or periods has a slot for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct SlotId {
    /// The time period whose descriptor ID leads to the directory.
    pub period: Period,
    /// The replica whose descriptor ID leads to the directory.
    pub replica: ReplicaNumber,
    /// The responsible directory.
    pub directory: Fingerprint,
}

impl SlotId {
    /// The slot of `replica` in `period` at `directory`.
    pub fn new(period: impl Into<Period>, replica: impl Into<ReplicaNumber>, directory: Fingerprint) -> Self {
        Self {
            period: period.into(),
            replica: replica.into(),
            directory,
        }
    }

    /// Its period and replica as version 2 knows them, if version 2 has such ones.
    ///
    /// ```
    /// use onionweave_publish::SlotId;
    /// use onionweave_ring::Fingerprint;
    /// use onionweave_ring::v2::{Replica, TimePeriod};
    ///
    /// let [first, _] = Replica::ALL;
    /// let slot = SlotId::new(TimePeriod::new(20_780), first, Fingerprint::from([7; 20]));
    /// assert_eq!(slot.v2(), Some((TimePeriod::new(20_780), first)));
    /// ```
    pub fn v2(self) -> Option<(v2::TimePeriod, v2::Replica)> {
        Some((self.period.try_into().ok()?, self.replica.try_into().ok()?))
    }

    /// The descriptor ID without a cookie that leads clients of a service of version 2 to this
    /// slot.
    pub fn v2_descriptor_id(self, service: &v2::ServiceId) -> Option<v2::DescriptorId> {
        let (period, replica) = self.v2()?;
        Some(v2::DescriptorId::of(service, period, replica))
    }
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.period, self.replica, self.directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_period_replica_and_directory() {
        let slot = SlotId::new(Period::new(20_780), ReplicaNumber::new(1), Fingerprint::from([7; 20]));
        assert_eq!(slot.to_string(), format!("20780/1@{}", "07".repeat(20)));
    }

    #[test]
    fn other_versions_have_numbers_that_version_2_lacks() {
        let directory = Fingerprint::from([7; 20]);
        let period = Period::new(u64::from(u32::MAX) + 1);
        assert_eq!(SlotId::new(period, ReplicaNumber::new(1), directory).v2(), None);
        assert_eq!(SlotId::new(Period::new(1), ReplicaNumber::new(2), directory).v2(), None);
    }
}
