//! Time periods (rend-spec-v3, section 2.2.1).

/// A time period, in which a service has one blinded key: its number, and the length of all
/// periods.
///
/// ```
/// use onionweave_ring::v3::Period;
///
/// let period = Period::new(20_780, 1440);
/// assert_eq!((period.number(), period.minutes()), (20_780, 1440));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Period {
    number: u64,
    minutes: u32,
}

impl Period {
    /// The period with this number, counted from 1970, in a network whose periods have this length
    /// in minutes: `hsdir_interval` of the consensus, 1440 on the live network.
    pub const fn new(number: u64, minutes: u32) -> Self {
        Self { number, minutes }
    }

    /// The number, counted from 1970.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The length of every period, in minutes.
    pub const fn minutes(&self) -> u32 {
        self.minutes
    }
}
