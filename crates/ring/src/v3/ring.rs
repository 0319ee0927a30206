//! The ring of directories of one period and one shared random value (rend-spec-v3, section 2.2.3).

use core::fmt;
use std::sync::Arc;

use super::{BlindedId, Period, SharedRandom, sha3_256};
use crate::relays::{OnionServices, Relay};
use crate::{Ed25519Identity, Fingerprint};

/// A point on the ring of version 3: a SHA3-256 digest, in upper-case hexadecimal as text, as in
/// the `HSDIR_INDEX` of `HS_DESC` events.
///
/// ```
/// use onionweave_ring::v3::Index;
///
/// assert_eq!(Index::from([0xab; 32]).to_string(), "AB".repeat(32));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index([u8; 32]);

impl Index {
    /// The point at which a relay stands (`hs_build_hsdir_index`, feature/hs/hs_common.c:1078).
    ///
    /// ```
    /// use onionweave_ring::Ed25519Identity;
    /// use onionweave_ring::v3::{Index, Period, SharedRandom};
    ///
    /// let (relay, value) = (Ed25519Identity::from([7; 32]), SharedRandom::from([8; 32]));
    /// let [today, tomorrow] = [1, 2].map(|number| Index::of_directory(&relay, value, Period::new(number, 1440)));
    /// assert_ne!(today, tomorrow, "relays move with each period");
    /// ```
    pub fn of_directory(identity: &Ed25519Identity, value: SharedRandom, period: Period) -> Self {
        Self(sha3_256(&[
            b"node-idx",
            identity.as_bytes(),
            value.as_bytes(),
            &period.number().to_be_bytes(),
            &u64::from(period.minutes()).to_be_bytes(),
        ]))
    }

    /// The point from which the directories of a descriptor follow; replicas count from 1
    /// (`hs_build_hs_index`, feature/hs/hs_common.c:1037).
    ///
    /// ```
    /// use onionweave_ring::v3::{BlindedId, Index, Period};
    ///
    /// let (id, period) = (BlindedId::from([7; 32]), Period::new(20_780, 1440));
    /// assert_ne!(Index::of_descriptor(&id, 1, period), Index::of_descriptor(&id, 2, period));
    /// ```
    pub fn of_descriptor(id: &BlindedId, replica: u8, period: Period) -> Self {
        Self(sha3_256(&[
            b"store-at-idx",
            id.as_bytes(),
            &u64::from(replica).to_be_bytes(),
            &u64::from(period.minutes()).to_be_bytes(),
            &period.number().to_be_bytes(),
        ]))
    }

    /// The 32 bytes.
    ///
    /// ```
    /// use onionweave_ring::v3::Index;
    ///
    /// assert_eq!(Index::from([7; 32]).as_bytes(), &[7; 32]);
    /// ```
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Index {
    fn from(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::text::fmt_hex(&self.0, f)
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Index({self})")
    }
}

/// A directory of version 3: a relay for which [`Relay::is_v3_hsdir`] holds and whose Ed25519
/// identity is known (`hs_get_responsible_hsdirs` and `node_has_hsdir_index`,
/// feature/hs/hs_common.c:1224 and :1182).
///
/// ```
/// use onionweave_ring::relays::RelayList;
/// use onionweave_ring::v3::Directory;
///
/// let list = RelayList::parse(include_str!("../../testdata/v3-network/consensus-microdesc.txt"))?;
/// let directories = list.relays().iter().filter_map(Directory::from_relay);
/// assert_eq!(directories.count(), 0, "without microdescriptors, no identity is known");
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Directory {
    fingerprint: Fingerprint,
    identity: Ed25519Identity,
}

impl Directory {
    /// A directory with this fingerprint and this Ed25519 identity.
    ///
    /// ```
    /// use onionweave_ring::v3::Directory;
    /// use onionweave_ring::{Ed25519Identity, Fingerprint};
    ///
    /// let (fingerprint, identity) = (Fingerprint::from([1; 20]), Ed25519Identity::from([2; 32]));
    /// assert_eq!(Directory::new(fingerprint, identity), Directory::new(fingerprint, identity));
    /// ```
    pub const fn new(fingerprint: Fingerprint, identity: Ed25519Identity) -> Self {
        Self { fingerprint, identity }
    }

    /// The relay as a directory, if it is one.
    pub fn from_relay(relay: &Relay) -> Option<Self> {
        let identity = relay.ed25519_identity().filter(|_| relay.is_v3_hsdir())?;
        Some(Self::new(relay.fingerprint(), identity))
    }
}

/// The directories in the order of their points, the last followed by the first, in one period and
/// under one shared random value.
///
/// All services share it. A look-up is a binary search, and allocates nothing. Clones share their
/// memory.
///
/// ```
/// use onionweave_ring::relays::OnionServices;
/// use onionweave_ring::v3::{BlindedId, Directory, Period, Ring, SharedRandom};
/// use onionweave_ring::{Ed25519Identity, Fingerprint};
///
/// let directories = (0..100).map(|n| Directory::new(Fingerprint::from([n; 20]), Ed25519Identity::from([n; 32])));
/// let ring = Ring::new(Period::new(20_780, 1440), SharedRandom::from([7; 32]), directories);
/// let (id, values) = (BlindedId::from([9; 32]), OnionServices::default());
/// assert_eq!(ring.responsible(&id, &values).count(), 2 * 4);
/// assert_eq!(ring.asked(&id, &values).count(), 2 * 3);
///
/// assert_eq!((ring.period().number(), ring.value()), (20_780, SharedRandom::from([7; 32])));
/// assert!(ring.len() == 100 && !ring.is_empty());
/// assert!(ring.iter().is_sorted());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    period: Period,
    value: SharedRandom,
    /// Ascending.
    places: Arc<[(Index, Fingerprint)]>,
}

impl Ring {
    /// The ring of these directories, given in any order.
    pub fn new(period: Period, value: SharedRandom, directories: impl IntoIterator<Item = Directory>) -> Self {
        let place = |directory: Directory| {
            let index = Index::of_directory(&directory.identity, value, period);
            (index, directory.fingerprint)
        };
        let mut places: Vec<_> = directories.into_iter().map(place).collect();
        places.sort_unstable();
        places.dedup();
        Self {
            period,
            value,
            places: places.into(),
        }
    }

    /// The period.
    pub const fn period(&self) -> Period {
        self.period
    }

    /// The shared random value.
    pub const fn value(&self) -> SharedRandom {
        self.value
    }

    /// The number of directories.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Tells whether there is no directory at all.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// All directories with their points, in ascending order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Index, Fingerprint)> + '_ {
        self.places.iter().copied()
    }

    /// The directories to which services upload a descriptor, in the order in which C Tor picks
    /// them (`hs_get_responsible_hsdirs`, feature/hs/hs_common.c:1224).
    pub fn responsible(&self, id: &BlindedId, values: &OnionServices) -> Responsible<'_> {
        self.walk(id, values.replicas(), values.spread_store())
    }

    /// The directories that clients ask for a descriptor, each as likely as any other.
    pub fn asked(&self, id: &BlindedId, values: &OnionServices) -> Responsible<'_> {
        self.walk(id, values.replicas(), values.spread_fetch())
    }

    /// Both values are within Tor's limits, so each is a small number.
    fn walk(&self, id: &BlindedId, replicas: u16, spread: u16) -> Responsible<'_> {
        Responsible {
            ring: self,
            id: *id,
            replicas: u8::try_from(replicas).unwrap_or(u8::MAX).min(MOST_REPLICAS as u8),
            spread: spread.into(),
            replica: 0,
            left: 0,
            walked: [(0, 0); MOST_REPLICAS],
        }
    }

    /// The position of the first directory at or after a point, past the end the first one.
    fn first_from(&self, point: Index) -> usize {
        match self.places.partition_point(|(index, _)| *index < point) {
            end if end == self.places.len() => 0,
            position => position,
        }
    }
}

/// Most replicas that a consensus can ask for.
const MOST_REPLICAS: usize = 16;

/// A place of a descriptor: a replica, and one of its directories.
///
/// ```
/// use onionweave_ring::relays::OnionServices;
/// use onionweave_ring::v3::{BlindedId, Directory, Period, Ring, SharedRandom};
/// use onionweave_ring::{Ed25519Identity, Fingerprint};
///
/// let directory = Directory::new(Fingerprint::from([1; 20]), Ed25519Identity::from([2; 32]));
/// let ring = Ring::new(Period::new(20_780, 1440), SharedRandom::from([7; 32]), [directory]);
/// let place = ring.responsible(&BlindedId::from([9; 32]), &OnionServices::default()).next();
/// let place = place.expect("there is a directory");
/// assert_eq!((place.replica(), place.directory()), (1, Fingerprint::from([1; 20])));
/// assert_eq!(ring.iter().next(), Some((place.index(), place.directory())));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    replica: u8,
    index: Index,
    directory: Fingerprint,
}

impl Place {
    /// The replica, counted from 1.
    pub const fn replica(&self) -> u8 {
        self.replica
    }

    /// The point at which the directory stands, which `HS_DESC` events call `HSDIR_INDEX`.
    pub const fn index(&self) -> Index {
        self.index
    }

    /// The directory.
    pub const fn directory(&self) -> Fingerprint {
        self.directory
    }
}

/// Iterator over the directories of a descriptor, replica by replica, each directory once.
///
/// A replica passes over the directories that an earlier one has taken. It made its way from its
/// own point without a gap, so what was taken are stretches of the ring, one for each replica.
///
/// ```
/// use onionweave_ring::relays::OnionServices;
/// use onionweave_ring::v3::{BlindedId, Directory, Period, Ring, SharedRandom};
/// use onionweave_ring::{Ed25519Identity, Fingerprint};
///
/// let directories = (0..5).map(|n| Directory::new(Fingerprint::from([n; 20]), Ed25519Identity::from([n; 32])));
/// let ring = Ring::new(Period::new(20_780, 1440), SharedRandom::from([7; 32]), directories);
/// let responsible = ring.responsible(&BlindedId::from([9; 32]), &OnionServices::default());
/// let replicas: Vec<_> = responsible.map(|place| place.replica()).collect();
/// assert_eq!(replicas, [1, 1, 1, 1, 2], "four directories are taken, one is left");
/// ```
#[derive(Clone, Debug)]
pub struct Responsible<'a> {
    ring: &'a Ring,
    id: BlindedId,
    replicas: u8,
    spread: usize,
    /// The replica that is on its way, counted from 1.
    replica: u8,
    /// Number of directories that it may still take.
    left: usize,
    /// Start and length of each replica's way, the first one's first.
    walked: [(usize, usize); MOST_REPLICAS],
}

impl Responsible<'_> {
    /// Tells whether one of the replicas has walked over this position.
    fn is_taken(&self, position: usize) -> bool {
        let len = self.ring.len();
        let begun = self.walked.iter().take(self.replica.into());
        begun
            .into_iter()
            .any(|(start, walked)| (position + len - start) % len < *walked)
    }
}

impl Iterator for Responsible<'_> {
    type Item = Place;

    fn next(&mut self) -> Option<Place> {
        let len = self.ring.len();
        loop {
            let way = usize::from(self.replica)
                .checked_sub(1)
                .and_then(|way| self.walked.get(way));
            let (start, walked) = way.copied().unwrap_or((0, len));
            if self.left == 0 || walked >= len {
                if self.replica == self.replicas || len == 0 {
                    return None;
                }
                let point = Index::of_descriptor(&self.id, self.replica + 1, self.ring.period);
                let way = self.walked.get_mut(usize::from(self.replica))?;
                *way = (self.ring.first_from(point), 0);
                self.replica += 1;
                self.left = self.spread;
                continue;
            }
            let position = (start + walked) % len;
            let is_taken = self.is_taken(position);
            self.walked.get_mut(usize::from(self.replica) - 1)?.1 += 1;
            if is_taken {
                continue;
            }
            self.left -= 1;
            let (index, directory) = *self.ring.places.get(position)?;
            return Some(Place {
                replica: self.replica,
                index,
                directory,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ring(directories: u8) -> Ring {
        let directories = (0..directories)
            .map(|number| Directory::new(Fingerprint::from([number; 20]), Ed25519Identity::from([number; 32])));
        Ring::new(Period::new(20_780, 1440), SharedRandom::from([7; 32]), directories)
    }

    fn values(replicas: u16, store: u16, fetch: u16) -> OnionServices {
        OnionServices::default().with_parameters([1440, replicas.into(), store.into(), fetch.into()])
    }

    /// C Tor's loop (feature/hs/hs_common.c:1290-1337), over lists.
    fn walked_plainly(ring: &Ring, id: &BlindedId, replicas: u16, spread: u16) -> Vec<(u8, Fingerprint)> {
        let mut taken: Vec<(u8, Fingerprint)> = Vec::new();
        if ring.is_empty() {
            return taken;
        }
        for replica in 1..=replicas as u8 {
            let point = Index::of_descriptor(id, replica, ring.period);
            let start = ring.iter().position(|(index, _)| index >= point).unwrap_or(0);
            let (mut position, mut added) = (start, 0);
            while added < spread {
                let (_, directory) = ring.iter().nth(position).unwrap();
                if !taken.iter().any(|(_, other)| *other == directory) {
                    taken.push((replica, directory));
                    added += 1;
                }
                position = (position + 1) % ring.len();
                if position == start {
                    break;
                }
            }
        }
        taken
    }

    #[test]
    fn an_empty_ring_has_nobody() {
        let ring = ring(0);
        assert!(ring.is_empty());
        assert_eq!(
            ring.responsible(&BlindedId::from([1; 32]), &values(16, 128, 128))
                .count(),
            0
        );
    }

    #[test]
    fn the_order_of_the_directories_does_not_matter() {
        let directories: Vec<_> = (0..50)
            .map(|number| Directory::new(Fingerprint::from([number; 20]), Ed25519Identity::from([number; 32])))
            .collect();
        let twice = directories.iter().rev().chain(&directories).copied();
        assert_eq!(
            Ring::new(Period::new(20_780, 1440), SharedRandom::from([7; 32]), twice),
            ring(50)
        );
    }

    proptest! {
        #[test]
        fn agrees_with_the_loop_of_tor(
            directories in 0_u8..60, id: [u8; 32], replicas in 1_u16..=16, spread in 1_u16..=20,
        ) {
            let (ring, id) = (ring(directories), BlindedId::from(id));
            let responsible = ring.responsible(&id, &values(replicas, spread, 3));
            let found: Vec<_> = responsible.map(|place| (place.replica(), place.directory())).collect();
            prop_assert_eq!(found, walked_plainly(&ring, &id, replicas, spread));
        }

        #[test]
        fn who_is_asked_has_it_as_long_as_clients_ask_no_more_than_store(
            directories in 0_u8..60, id: [u8; 32], replicas in 1_u16..=16, store in 1_u16..=12, less in 0_u16..12,
        ) {
            let (ring, id) = (ring(directories), BlindedId::from(id));
            let values = values(replicas, store, store.saturating_sub(less).max(1));
            let spread = super::super::Spread::new(&ring, &id, &values);
            for asked in spread.asked() {
                prop_assert!(spread.stored().iter().any(|place| place.directory() == asked.directory()));
            }
            let total: f64 = spread.stored().iter().map(|place| spread.read_share(place)).sum();
            prop_assert!(spread.stored().is_empty() || (total - 1.0).abs() < 1e-9, "{}", total);
        }
    }
}
