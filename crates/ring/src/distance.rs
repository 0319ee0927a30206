//! Distances along the ring.

use core::fmt;
use core::iter::Sum;
use core::ops::Add;

/// Distance along the ring, exactly: a number of points, of which the whole ring has 2^160.
///
/// Descriptor IDs are digests, so the [fraction](Self::fraction) of the ring that a stretch covers
/// is the chance that a descriptor ID falls into it.
///
/// ```
/// use onionweave_ring::Distance;
///
/// let quarter = Distance::between(&[0xc0; 20], &[0; 20]);
/// assert!((quarter.fraction() - 0.25).abs() < 0.01);
/// assert_eq!(quarter + Distance::between(&[0; 20], &[0xc0; 20]), Distance::RING);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Distance {
    // Compared in this order: the distance is `high * 2^128 + low`.
    high: u64,
    low: u128,
}

/// 2^32: what the four leading bytes of a point can count to, and one more.
const HIGH_OF_RING: u64 = 1 << 32;
const TWO_TO_128: f64 = 340_282_366_920_938_463_463_374_607_431_768_211_456.0;

impl Distance {
    /// From a point to itself.
    ///
    /// ```
    /// use onionweave_ring::Distance;
    ///
    /// assert_eq!(Distance::between(&[7; 20], &[7; 20]), Distance::ZERO);
    /// ```
    pub const ZERO: Self = Self { high: 0, low: 0 };

    /// Once around the ring: 2^160 points.
    ///
    /// ```
    /// use onionweave_ring::Distance;
    ///
    /// assert_eq!(Distance::RING.fraction(), 1.0);
    /// ```
    pub const RING: Self = Self {
        high: HIGH_OF_RING,
        low: 0,
    };

    /// From one point forwards to another, past the end of the ring to its beginning if need be;
    /// zero if they are equal.
    ///
    /// ```
    /// use onionweave_ring::Distance;
    ///
    /// let (first, last) = ([0; 20], [0xff; 20]);
    /// assert!(Distance::between(&first, &last).fraction() > 0.99);
    /// assert!(Distance::between(&last, &first).fraction() < 1e-47);
    /// assert_eq!(Distance::between(&last, &last), Distance::ZERO);
    /// ```
    pub fn between(from: &[u8; 20], to: &[u8; 20]) -> Self {
        let (from, to) = (Self::from_start(from), Self::from_start(to));
        let (low, borrow) = to.low.overflowing_sub(from.low);
        let high = (HIGH_OF_RING + to.high - from.high - u64::from(borrow)) % HIGH_OF_RING;
        Self { high, low }
    }

    /// From the first point of the ring to this one.
    fn from_start(point: &[u8; 20]) -> Self {
        let [a, b, c, d, low @ ..] = *point;
        Self {
            high: u32::from_be_bytes([a, b, c, d]).into(),
            low: u128::from_be_bytes(low),
        }
    }

    /// Fraction of the ring, to the precision of the type: 1.0 is once around.
    ///
    /// ```
    /// use onionweave_ring::Distance;
    ///
    /// let half = Distance::between(&[0; 20], b"\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    /// assert_eq!(half.fraction(), 0.5);
    /// ```
    pub fn fraction(self) -> f64 {
        (self.high as f64 + self.low as f64 / TWO_TO_128) / HIGH_OF_RING as f64
    }
}

/// Saturates at some four thousand million times around the ring.
impl Add for Distance {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let (low, carry) = self.low.overflowing_add(other.low);
        let high = self.high.saturating_add(other.high).saturating_add(carry.into());
        Self { high, low }
    }
}

impl Sum for Distance {
    fn sum<I: Iterator<Item = Self>>(distances: I) -> Self {
        distances.fold(Self::ZERO, Self::add)
    }
}

impl fmt::Debug for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Distance({:e} of the ring)", self.fraction())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn point(high: u32, low: u128) -> [u8; 20] {
        let mut point = [0; 20];
        point[..4].copy_from_slice(&high.to_be_bytes());
        point[4..].copy_from_slice(&low.to_be_bytes());
        point
    }

    #[test]
    fn counts_points() {
        for (from, to, high, low) in [
            (point(0, 0), point(0, 5), 0, 5),
            (point(0, u128::MAX), point(1, 0), 0, 1),
            (point(7, 3), point(7, 2), HIGH_OF_RING - 1, u128::MAX),
            (point(u32::MAX, u128::MAX), point(0, 0), 0, 1),
            (point(0, 0), point(u32::MAX, u128::MAX), HIGH_OF_RING - 1, u128::MAX),
        ] {
            assert_eq!(Distance::between(&from, &to), Distance { high, low }, "{from:?} {to:?}");
        }
    }

    proptest! {
        #[test]
        fn there_and_back_is_once_around(from: [u8; 20], to: [u8; 20]) {
            prop_assume!(from != to);
            prop_assert_eq!(Distance::between(&from, &to) + Distance::between(&to, &from), Distance::RING);
        }

        #[test]
        fn a_detour_adds_whole_rings(from: [u8; 20], over: [u8; 20], to: [u8; 20]) {
            let straight = Distance::between(&from, &to);
            let detour: Distance = [Distance::between(&from, &over), Distance::between(&over, &to)].into_iter().sum();
            prop_assert!(detour == straight || detour == straight + Distance::RING);
        }

        #[test]
        fn fractions_order_as_distances(a: [u8; 20], b: [u8; 20]) {
            let [a, b] = [a, b].map(|to| Distance::between(&[0; 20], &to));
            prop_assert!(a.fraction() < 1.0);
            prop_assert_eq!(a.cmp(&b).is_lt(), a.fraction() < b.fraction());
        }
    }
}
