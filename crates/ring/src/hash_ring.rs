//! The ring of onion-service directories.

use core::fmt;
use std::sync::Arc;

use crate::Fingerprint;

/// The relays with the HSDir flag, in the order of their fingerprints, the last followed by the
/// first.
///
/// Built once per consensus, from a handful of relays or from millions. A lookup takes a few steps,
/// however many relays there are, as long as their fingerprints are digests. In the worst case it
/// is a binary search. It allocates nothing. Clones share their memory.
///
/// ```
/// use onionweave_ring::{Fingerprint, HashRing};
///
/// let [a, b, c] = [10, 20, 30].map(|byte| Fingerprint::from([byte; 20]));
/// let ring = HashRing::new([c, a, b, a]);
/// assert_eq!(ring.len(), 3);
///
/// let from_twenty: Vec<_> = ring.successors(&[20; 20]).collect();
/// assert_eq!(from_twenty, [b, c, a]);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HashRing {
    /// Strictly ascending.
    fingerprints: Arc<[Fingerprint]>,
    index: Index,
}

impl HashRing {
    /// A ring of these relays, given in any order; one that is given twice counts once.
    ///
    /// ```
    /// use onionweave_ring::{Fingerprint, HashRing};
    ///
    /// let ring = HashRing::new([[2; 20], [1; 20], [2; 20]].map(Fingerprint::from));
    /// assert!(ring.iter().eq([[1; 20], [2; 20]].map(Fingerprint::from)));
    /// ```
    pub fn new(directories: impl IntoIterator<Item = Fingerprint>) -> Self {
        let mut fingerprints: Vec<_> = directories.into_iter().collect();
        fingerprints.sort_unstable();
        fingerprints.dedup();
        let index = Index::new(&fingerprints);
        Self {
            fingerprints: fingerprints.into(),
            index,
        }
    }

    /// The number of directories.
    ///
    /// ```
    /// use onionweave_ring::{Fingerprint, HashRing};
    ///
    /// assert_eq!(HashRing::new([Fingerprint::from([1; 20])]).len(), 1);
    /// ```
    pub fn len(&self) -> usize {
        self.fingerprints.len()
    }

    /// Whether there is no directory at all.
    ///
    /// ```
    /// use onionweave_ring::HashRing;
    ///
    /// assert!(HashRing::default().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.fingerprints.is_empty()
    }

    /// All directories in ascending order.
    ///
    /// ```
    /// use onionweave_ring::{Fingerprint, HashRing};
    ///
    /// let ring = HashRing::new([[3; 20], [1; 20]].map(Fingerprint::from));
    /// assert_eq!(ring.iter().next_back(), Some(Fingerprint::from([3; 20])));
    /// ```
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Fingerprint> + DoubleEndedIterator + '_ {
        self.fingerprints.iter().copied()
    }

    /// Whether this relay is on the ring.
    ///
    /// ```
    /// use onionweave_ring::{Fingerprint, HashRing};
    ///
    /// let relay = Fingerprint::from([1; 20]);
    /// assert!(HashRing::new([relay]).contains(&relay));
    /// assert!(!HashRing::default().contains(&relay));
    /// ```
    pub fn contains(&self, fingerprint: &Fingerprint) -> bool {
        self.position(fingerprint).is_some()
    }

    /// Every directory once, from the first one at or after `point` onwards, past the end of the
    /// ring to its beginning.
    ///
    /// A relay whose fingerprint equals `point` comes first, as in C Tor. There the search finds an
    /// equal entry before a greater one (`smartlist_bsearch_idx` in feature/rend/rendcommon.c:859).
    /// An index past the end becomes 0 (:860).
    ///
    /// ```
    /// use onionweave_ring::{Fingerprint, HashRing};
    ///
    /// let ring = HashRing::new([[1; 20], [2; 20]].map(Fingerprint::from));
    /// assert!(ring.successors(&[2; 20]).eq([[2; 20], [1; 20]].map(Fingerprint::from)));
    /// assert!(ring.successors(&[3; 20]).eq([[1; 20], [2; 20]].map(Fingerprint::from)));
    /// ```
    pub fn successors(&self, point: &[u8; 20]) -> impl Iterator<Item = Fingerprint> + use<'_> {
        // A position is at most the length, so this cannot panic.
        let (before, from) = self.fingerprints.split_at(self.first_from(point));
        from.iter().chain(before).copied()
    }

    /// Number of directories before this one in ascending order, if it is on the ring.
    pub(crate) fn position(&self, fingerprint: &Fingerprint) -> Option<usize> {
        let position = self.first_from(fingerprint.as_bytes());
        (self.fingerprints.get(position) == Some(fingerprint)).then_some(position)
    }

    /// The points for which the directory at this position is among the first `in_a_row`. They lie
    /// behind the first of the two, up to and including the second, which is the directory itself.
    /// `None` if there is no such directory.
    ///
    /// If the ring has no more than `in_a_row` directories, both are the directory: the stretch is
    /// the whole ring.
    pub(crate) fn duty(&self, position: usize, in_a_row: usize) -> Option<([u8; 20], [u8; 20])> {
        let len = self.len();
        let directory = self.fingerprints.get(position)?;
        let behind = self
            .fingerprints
            .get((position + len - in_a_row.min(len)) % len)
            .unwrap_or(directory);
        Some((*behind.as_bytes(), *directory.as_bytes()))
    }

    /// The position of the first directory at or after `point`, or the length if there is none.
    fn first_from(&self, point: &[u8; 20]) -> usize {
        let (start, end) = self.index.range(point);
        let candidates = self.fingerprints.get(start..end).unwrap_or_default();
        start + candidates.partition_point(|fingerprint| fingerprint.as_bytes() < point)
    }
}

/// A sequence of fingerprints in ascending order.
#[cfg(feature = "serde")]
impl serde::Serialize for HashRing {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// Takes directories in any order, like [`HashRing::new`].
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for HashRing {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<Fingerprint>::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(feature = "arbitrary")]
impl<'a> arbitrary::Arbitrary<'a> for HashRing {
    fn arbitrary(input: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        input.arbitrary_iter()?.collect()
    }
}

impl fmt::Debug for HashRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HashRing").field(&self.fingerprints).finish()
    }
}

impl FromIterator<Fingerprint> for HashRing {
    fn from_iter<I: IntoIterator<Item = Fingerprint>>(directories: I) -> Self {
        Self::new(directories)
    }
}

/// Index of the ring: the ring cut into as many equal parts as fit its size.
///
/// Fingerprints are digests, so a part holds one or two of them, and one step replaces all but the
/// last of a binary search. `benches/ring.rs` has both side by side.
#[derive(Clone, Default, PartialEq, Eq)]
struct Index {
    /// Number of fingerprints before each part, and at last the number of all: 2^n + 1 numbers for
    /// some n, or none at all for a ring of none.
    starts: Arc<[usize]>,
    /// 64 - n
    shift: u32,
}

impl Index {
    /// `fingerprints` are strictly ascending.
    fn new(fingerprints: &[Fingerprint]) -> Self {
        let Some(bits) = fingerprints.len().checked_ilog2() else {
            return Self::default();
        };
        let shift = u64::BITS - bits;
        let mut starts = Vec::with_capacity((1 << bits) + 1);
        for (position, fingerprint) in fingerprints.iter().enumerate() {
            while starts.len() <= part(fingerprint.as_bytes(), shift) {
                starts.push(position);
            }
        }
        starts.resize((1 << bits) + 1, fingerprints.len());
        Self {
            starts: starts.into(),
            shift,
        }
    }

    /// The positions between which the first fingerprint at or after `point` lies, the last one
    /// included.
    fn range(&self, point: &[u8; 20]) -> (usize, usize) {
        let part = part(point, self.shift);
        match self.starts.get(part..).unwrap_or_default() {
            [start, end, ..] => (*start, *end),
            _ => (0, 0),
        }
    }
}

/// The part in which a point lies: its first `64 - shift` bits.
fn part(point: &[u8; 20], shift: u32) -> usize {
    let [a, b, c, d, e, f, g, h, ..] = *point;
    let first_bits = u64::from_be_bytes([a, b, c, d, e, f, g, h])
        .checked_shr(shift)
        .unwrap_or(0);
    // Fewer bits than a length has.
    first_bits as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ring(bytes: &[u8]) -> HashRing {
        bytes.iter().map(|byte| Fingerprint::from([*byte; 20])).collect()
    }

    fn successors(ring: &HashRing, point: [u8; 20]) -> Vec<u8> {
        ring.successors(&point)
            .map(|fingerprint| fingerprint.as_bytes()[0])
            .collect()
    }

    #[test]
    fn an_equal_fingerprint_comes_first() {
        assert_eq!(successors(&ring(&[10, 20, 30]), [20; 20]), [20, 30, 10]);
    }

    #[test]
    fn a_greater_point_is_past_an_equal_prefix() {
        let mut point = [20; 20];
        point[19] += 1;
        assert_eq!(successors(&ring(&[10, 20, 30]), point), [30, 10, 20]);
    }

    #[test]
    fn the_ring_wraps_around() {
        assert_eq!(successors(&ring(&[10, 20, 30]), [31; 20]), [10, 20, 30]);
        assert_eq!(successors(&ring(&[0, 0xff]), [0xff; 20]), [0xff, 0]);
        assert_eq!(successors(&ring(&[0, 0xff]), [0; 20]), [0, 0xff]);
    }

    #[test]
    fn an_empty_ring_has_no_successors() {
        let ring = ring(&[]);
        assert!(ring.is_empty());
        assert!(successors(&ring, [1; 20]).is_empty());
    }

    #[test]
    fn clones_share_their_memory() {
        let ring = ring(&[10, 20, 30]);
        let clone = ring.clone();
        assert!(Arc::ptr_eq(&ring.fingerprints, &clone.fingerprints));
        assert!(Arc::ptr_eq(&ring.index.starts, &clone.index.starts));
    }

    proptest! {
        /// C Tor's walk (feature/rend/rendcommon.c:859-871), over all relays and without a binary
        /// search.
        #[test]
        fn agrees_with_a_walk_over_all_relays(
            // Few distinct values, so that points and fingerprints meet.
            bytes in prop::collection::vec(0_u8..24, 0..40),
            point in 0_u8..25,
        ) {
            let ring = ring(&bytes);
            let mut sorted = bytes.clone();
            sorted.sort_unstable();
            sorted.dedup();
            prop_assert_eq!(ring.len(), sorted.len());

            let start = sorted.iter().position(|byte| *byte >= point).unwrap_or(0);
            let walk: Vec<u8> = (0..sorted.len()).map(|step| sorted[(start + step) % sorted.len()]).collect();
            prop_assert_eq!(successors(&ring, [point; 20]), walk);
        }

        #[test]
        fn holds_what_it_was_given(digests in prop::collection::vec(any::<[u8; 20]>(), 0..20), other: [u8; 20]) {
            let ring: HashRing = digests.iter().copied().map(Fingerprint::from).collect();
            for digest in &digests {
                prop_assert!(ring.contains(&Fingerprint::from(*digest)));
                prop_assert_eq!(ring.successors(digest).next(), Some(Fingerprint::from(*digest)));
            }
            prop_assert_eq!(ring.contains(&Fingerprint::from(other)), digests.contains(&other));
            prop_assert!(ring.iter().is_sorted());
        }
    }
}
