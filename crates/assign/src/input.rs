//! Input of a policy.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use crate::Error;

/// Onion-service instance that could be handed out.
///
/// `I` is whatever names the instance; a policy only compares it.
///
/// ```
/// use onionweave_assign::{Instance, Relay, Weight};
///
/// let relays = [17, 4, 25].map(Relay::new);
/// let strong = Instance::new("a", relays).weight(Weight::try_from(2)?);
/// assert_eq!((strong.id, strong.points.len()), ("a", 3));
/// # Ok::<(), onionweave_assign::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Instance<I> {
    /// Its name, unlike that of any other instance.
    pub id: I,
    /// Its part of the service, compared with the weights of the others.
    pub weight: Weight,
    /// The relays at which it has an introduction point now, in any order. An instance with none is
    /// not handed out. A relay that is named twice counts once.
    pub points: Vec<Relay>,
}

impl<I> Instance<I> {
    /// An instance with introduction points at these relays, with [weight one](Weight::ONE).
    pub fn new(id: I, points: impl IntoIterator<Item = Relay>) -> Self {
        Self {
            id,
            weight: Weight::ONE,
            points: points.into_iter().collect(),
        }
    }

    /// The same instance with another weight.
    #[must_use]
    pub fn weight(self, weight: Weight) -> Self {
        Self { weight, ..self }
    }
}

/// The relay at which an introduction point is: a number that the caller gives to each.
///
/// Of several points at one relay in one descriptor a client uses only the first. So a policy must
/// know which points are at the same relay, and nothing else about it. The same relay must have the
/// same number in all calls that a plan is handed on to. The first
/// sixteen bytes of a relay's identity make a good number: no two relays share them.
///
/// ```
/// use onionweave_assign::Relay;
///
/// let identity = [0xAB; 20];
/// let relay = Relay::from(*identity.first_chunk::<16>().unwrap());
/// assert_eq!(relay, Relay::new(0xABABABAB_ABABABAB_ABABABAB_ABABABAB));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Relay(u128);

impl Relay {
    /// The relay with this number.
    pub const fn new(number: u128) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u128 {
        self.0
    }
}

impl fmt::Display for Relay {
    /// Writes 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Relay {
    type Err = Error;

    /// Reads 32 hexadecimal digits. Fails with [`Error::Relay`] on anything else.
    fn from_str(text: &str) -> Result<Self, Error> {
        let is_written = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_written.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or_else(|| Error::Relay { relay: text.to_owned() })
    }
}

impl From<[u8; 16]> for Relay {
    /// The bytes are read as a number, the most significant first.
    fn from(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

/// Part that an instance carries, compared with the others: a whole number from 1 to 4294967295.
///
/// Only ratios matter: weights 1, 1, 2 and 10, 10, 20 give the same plans.
///
/// ```
/// use onionweave_assign::Weight;
///
/// assert_eq!("2".parse::<Weight>()?, Weight::try_from(2)?);
/// assert!(Weight::try_from(0).is_err());
/// # Ok::<(), onionweave_assign::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct Weight(NonZeroU32);

impl Weight {
    /// The weight of an instance that is given none.
    pub const ONE: Self = Self(NonZeroU32::MIN);

    /// The weight as a number.
    pub const fn as_u32(self) -> u32 {
        self.0.get()
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self::ONE
    }
}

impl From<NonZeroU32> for Weight {
    fn from(weight: NonZeroU32) -> Self {
        Self(weight)
    }
}

impl TryFrom<u32> for Weight {
    type Error = Error;

    /// Fails with [`Error::Weight`] on 0.
    fn try_from(weight: u32) -> Result<Self, Error> {
        NonZeroU32::new(weight).map(Self).ok_or_else(|| Error::Weight {
            weight: weight.to_string(),
        })
    }
}

impl FromStr for Weight {
    type Err = Error;

    /// Fails with [`Error::Weight`] on anything but a decimal number from 1 to 4294967295.
    fn from_str(text: &str) -> Result<Self, Error> {
        text.parse().map(Self).map_err(|_| Error::Weight {
            weight: text.to_owned(),
        })
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Place for a descriptor: a directory of a replica in a time period.
///
/// `S` is whatever names the slot; a policy only compares it.
///
/// ```
/// use onionweave_assign::{Error, Slot};
///
/// let slot = Slot::new("first directory of replica 0", 0, 1.0 / 6.0)?;
/// assert_eq!(slot.replica(), 0);
/// assert!(matches!(Slot::new((), 0, f64::NAN), Err(Error::ReadShare { .. })));
/// # Ok::<(), onionweave_assign::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Slot<S> {
    id: S,
    replica: u8,
    /// 0 <= `read_share` <= 1, hence finite.
    read_share: f64,
}

impl<S> Slot<S> {
    /// The slot `id` of `replica`, which a client's first fetch reads with the chance `read_share`.
    ///
    /// A directory that no client reads has the read share 0. Fails with [`Error::ReadShare`] on
    /// anything that is not a chance.
    pub fn new(id: S, replica: u8, read_share: f64) -> Result<Self, Error> {
        if (0.0..=1.0).contains(&read_share) {
            Ok(Self {
                id,
                replica,
                read_share,
            })
        } else {
            Err(Error::ReadShare { share: read_share })
        }
    }

    /// Slots that are read alike, each given by its name and its replica.
    ///
    /// ```
    /// use onionweave_assign::Slot;
    ///
    /// let slots = Slot::even([("x", 0), ("y", 0), ("z", 1), ("u", 1)]);
    /// assert_eq!((*slots[3].id(), slots[3].replica(), slots[3].read_share()), ("u", 1, 0.25));
    /// ```
    pub fn even(slots: impl IntoIterator<Item = (S, u8)>) -> Vec<Self> {
        let slots: Vec<_> = slots.into_iter().collect();
        let read_share = 1.0 / slots.len() as f64;
        let slot = |(id, replica)| Self {
            id,
            replica,
            read_share,
        };
        slots.into_iter().map(slot).collect()
    }

    /// Its name.
    pub fn id(&self) -> &S {
        &self.id
    }

    /// The replica of the descriptor it belongs to.
    pub fn replica(&self) -> u8 {
        self.replica
    }

    /// The chance, from 0 to 1, that a client's first fetch reads this slot.
    pub fn read_share(&self) -> f64 {
        self.read_share
    }
}

/// Turn of the rotation, and the seed of everything that is drawn at random.
///
/// Within one round the caller may ask for a plan as often as instances or slots come and go; the
/// number moves on at set intervals. A publisher that starts again with the same seed and number
/// makes the same draws. It knows slots that changed in the middle of the round only from the
/// previous plan.
///
/// ```
/// use onionweave_assign::Round;
///
/// let round = Round::new(7, 42);
/// assert_eq!(round.next(), Round::new(8, 42));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Round {
    number: u64,
    seed: u64,
}

impl Round {
    /// The round `number` of the draws that `seed` determines.
    pub const fn new(number: u64, seed: u64) -> Self {
        Self { number, seed }
    }

    /// Its number. Rounds follow each other by ones.
    pub const fn number(self) -> u64 {
        self.number
    }

    /// The seed of its draws.
    pub const fn seed(self) -> u64 {
        self.seed
    }

    /// The round after this one. After the last number comes 0.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::new(self.number.wrapping_add(1), self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_positive_whole_numbers() {
        for good in ["1", "2", "4294967295"] {
            assert_eq!(good.parse::<Weight>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "0",
            "-1",
            "1.5",
            "4294967296",
            " 1",
            "two",
            "inf",
            "-inf",
            "infinity",
            "NaN",
        ] {
            let weight = bad.to_owned();
            assert_eq!(bad.parse::<Weight>(), Err(Error::Weight { weight }));
        }
        assert_eq!(Weight::default().as_u32(), 1);
    }

    #[test]
    fn read_shares_are_chances() {
        for good in [0.0, f64::MIN_POSITIVE, 1.0 / 6.0, 1.0] {
            assert_eq!(Slot::new((), 0, good).unwrap().read_share(), good);
        }
        for bad in [-0.1, 1.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let error = Slot::new((), 0, bad).unwrap_err();
            assert!(matches!(error, Error::ReadShare { .. }), "{error}");
        }
    }

    #[test]
    fn relays_are_written_with_all_their_digits() {
        let relay = Relay::new(0xAB);
        assert_eq!(relay.to_string(), format!("{}ab", "0".repeat(30)));
        assert_eq!(relay.to_string().parse(), Ok(relay));
        assert_eq!("F".repeat(32).parse(), Ok(Relay::new(u128::MAX)));
        for bad in [
            "",
            "ab",
            &"0".repeat(33),
            &format!("+{}", "0".repeat(31)),
            &"g".repeat(32),
        ] {
            assert!(matches!(bad.parse::<Relay>(), Err(Error::Relay { .. })), "{bad}");
        }
    }

    #[test]
    fn rounds_never_run_out() {
        assert_eq!(Round::new(u64::MAX, 1).next(), Round::new(0, 1));
    }
}
