//! The rules of one version of onion services: everything that the machine does not know about
//! descriptors.
//!
//! The machine knows slots, points and dates. A [`Version`] knows which slots there are, reads and
//! writes texts, and recognizes its own. [`V2`] is the first one; a simulator may bring a format of
//! its own.

use std::fmt;
use std::sync::Arc;

use onionweave_assign as assign;
use onionweave_ring::{DescriptorId, Directories, Fingerprint, OnionAddress, UnixTime};

use crate::SlotId;

mod v2;

pub use v2::V2;

/// The rules of one version, for one service.
///
/// An implementation is pure: it reads no clock and draws nothing at random, so that a machine with
/// the same seed does the same things again.
pub trait Version: fmt::Debug + Send + Sync {
    /// The address of the service.
    fn address(&self) -> OnionAddress;

    /// The constants in which versions differ.
    fn habits(&self) -> Habits;

    /// Takes note of which clients may read the introduction points; `None` means all.
    fn configure(&mut self, audience: Option<&Audience>);

    /// Number of directories, if there are too few to give each slot of a replica one of its own.
    fn shortage(&self, directories: &Directories) -> Option<usize>;

    /// The slots that clients may read now or soon.
    fn place(&self, directories: &Directories, now: UnixTime) -> Vec<Place>;

    /// The next time after `now` at which [`place`](Self::place) changes by itself.
    fn next_change(&self, now: UnixTime) -> UnixTime;

    /// The places where clients of the service `of` look for its descriptor.
    fn readings(&self, of: OnionAddress, directories: &Directories, now: UnixTime) -> Vec<Reading>;

    /// Reads an instance's descriptor, with distrust.
    ///
    /// # Errors
    /// [`Unfit`] says why the descriptor cannot be believed.
    fn read(&self, from: Origin, text: &[u8], now: UnixTime) -> Result<Offer, Unfit>;

    /// The date of a text of this service that somebody else wrote; `None` if the text is not of
    /// this service.
    fn recognize(&self, text: &[u8]) -> Option<UnixTime>;

    /// Number of different texts with so many points. Every number below it is a variant for
    /// [`write`](Self::write).
    fn variants(&self, points: usize) -> u64;

    /// Writes and signs the text for one slot.
    ///
    /// # Errors
    /// [`Unwritable`] says why there can be no such text. The same call fails again.
    fn write(&mut self, to: SlotId, points: &[Point], stamp: UnixTime, variant: u64) -> Result<Arc<[u8]>, Unwritable>;
}

/// The constants in which versions differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_structs,
    reason = "an implementation of `Version` must state each of them"
)]
pub struct Habits {
    /// Largest number of introduction points in one text.
    pub most_points: usize,
}

/// The clients that may read the introduction points of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Audience {
    /// The authorized clients of a service of version 2.
    V2(onionweave_desc::v2::Authorization),
}

impl From<onionweave_desc::v2::Authorization> for Audience {
    fn from(authorization: onionweave_desc::v2::Authorization) -> Self {
        Self::V2(authorization)
    }
}

/// An introduction point, which only its version can read.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(from = "Raw", into = "Raw")
)]
pub struct Point {
    relay: assign::Relay,
    bytes: Arc<[u8]>,
}

/// The form in which a point is serialized.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
struct Raw {
    relay: u128,
    bytes: Vec<u8>,
}

#[cfg(feature = "serde")]
impl From<Raw> for Point {
    fn from(raw: Raw) -> Self {
        Self::new(assign::Relay::new(raw.relay), raw.bytes)
    }
}

#[cfg(feature = "serde")]
impl From<Point> for Raw {
    fn from(point: Point) -> Self {
        Self {
            relay: point.relay.number(),
            bytes: point.bytes.to_vec(),
        }
    }
}

impl Point {
    /// The point at `relay` that its version writes as `bytes`.
    pub fn new(relay: assign::Relay, bytes: impl Into<Arc<[u8]>>) -> Self {
        Self {
            relay,
            bytes: bytes.into(),
        }
    }

    /// The relay, as policies know it.
    pub const fn relay(&self) -> assign::Relay {
        self.relay
    }

    /// The bytes that only the point's version understands.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The relay's number alone, as the bytes are many.
impl fmt::Debug for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Point({:032x})", self.relay.number())
    }
}

/// A slot, and how clients come to it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(
    clippy::exhaustive_structs,
    reason = "an implementation of `Version` must state all of it"
)]
pub struct Place {
    /// The slot.
    pub slot: SlotId,
    /// The name under which the directory keeps the text.
    pub descriptor_id: DescriptorId,
    /// Part of the clients, from 0 to 1, that read this slot among those of its period.
    pub read_share: f64,
}

/// A question that tells of an instance with an address of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_structs,
    reason = "an implementation of `Version` must state all of it"
)]
pub struct Reading {
    /// The directory to ask.
    pub directory: Fingerprint,
    /// The name of the descriptor to ask for.
    pub descriptor_id: DescriptorId,
}

/// The source of an instance's descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// The instance's own address; `None` if it has the service's.
    pub address: Option<OnionAddress>,
    /// Whether the instance's own Tor answered, which shows nothing old.
    pub is_own_tor: bool,
}

impl Origin {
    /// The origin of a descriptor of an instance with this address.
    pub const fn new(address: Option<OnionAddress>, is_own_tor: bool) -> Self {
        Self { address, is_own_tor }
    }
}

/// The contents of an instance's descriptor that may be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_structs,
    reason = "an implementation of `Version` must state all of it"
)]
pub struct Offer {
    /// The date of the descriptor.
    pub dated: UnixTime,
    /// Its points, as they stand there.
    pub points: Vec<Point>,
}

/// The reason why an instance's descriptor cannot be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Unfit {
    /// The text is no descriptor, or its signature is wrong.
    #[error("{why}")]
    #[non_exhaustive]
    Damaged {
        /// The place and the rule.
        why: String,
    },
    /// The instance's Tor does not tell the descriptor.
    #[error("{why}")]
    #[non_exhaustive]
    Refused {
        /// The reason, and what to look at.
        why: String,
    },
    /// The descriptor is another service's.
    #[error("it belongs to {found}, not to {expected}")]
    #[non_exhaustive]
    Foreign {
        /// The service that signed it.
        found: OnionAddress,
        /// The address of the instance.
        expected: OnionAddress,
    },
    /// The descriptor has a name that the service did not have at its date.
    #[error("it is dated {dated}, when {address} had no descriptor ID {descriptor_id}")]
    #[non_exhaustive]
    Misplaced {
        /// The date of the descriptor.
        dated: UnixTime,
        /// The address of the instance.
        address: OnionAddress,
        /// The name in the descriptor.
        descriptor_id: DescriptorId,
    },
    /// The date is too far ahead.
    #[error("it is dated {dated}, more than a day ahead of {now}")]
    #[non_exhaustive]
    TooNew {
        /// The date of the descriptor.
        dated: UnixTime,
        /// The time on this machine.
        now: UnixTime,
    },
    /// The date is so old that no directory keeps the descriptor.
    #[error("it is dated {dated}, more than three days before {now}")]
    #[non_exhaustive]
    TooOld {
        /// The date of the descriptor.
        dated: UnixTime,
        /// The time on this machine.
        now: UnixTime,
    },
    /// The date is older than what may be believed without another sign of life.
    #[error("it is dated {dated}, too long before {now} to be believed")]
    #[non_exhaustive]
    Stale {
        /// The date of the descriptor.
        dated: UnixTime,
        /// The time on this machine.
        now: UnixTime,
    },
    /// A newer descriptor was there before, so somebody shows an old one again.
    #[error("it is dated {dated}, but one of {before} was there before")]
    #[non_exhaustive]
    Replayed {
        /// The date of the descriptor.
        dated: UnixTime,
        /// The date of the newest one before it.
        before: UnixTime,
    },
    /// The descriptor was believed until now, and no newer one came.
    #[error("it is dated {dated}, and no newer one has come")]
    #[non_exhaustive]
    Expired {
        /// The date of the descriptor.
        dated: UnixTime,
    },
    /// All clients can read the points, while the service is for authorized clients only.
    #[error("its introduction points are open to all clients; it needs HiddenServiceAuthorizeClient")]
    Open,
    /// The points cannot be read.
    #[error("{why}")]
    #[non_exhaustive]
    Sealed {
        /// The reason.
        why: String,
    },
}

impl Unfit {
    /// The same reason, whenever it is found: with the date in place of the present time.
    pub(crate) fn timeless(&self) -> Self {
        let mut same = self.clone();
        match &mut same {
            Self::TooNew { dated, now } | Self::TooOld { dated, now } | Self::Stale { dated, now } => *now = *dated,
            _ => {}
        }
        same
    }
}

/// The reason why a text cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unwritable(pub(crate) String);

impl Unwritable {
    /// The error with this reason.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}
