//! The ring of onion-service directories.

use crate::Fingerprint;

/// The relays with the HSDir flag, in the order of their fingerprints, the last followed by the first.
///
/// Built once per consensus; a lookup is a binary search.
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HashRing {
    /// Strictly ascending.
    fingerprints: Vec<Fingerprint>,
}

impl HashRing {
    /// A ring of these relays, given in any order; one that is given twice counts once.
    pub fn new(directories: impl IntoIterator<Item = Fingerprint>) -> Self {
        let mut fingerprints: Vec<_> = directories.into_iter().collect();
        fingerprints.sort_unstable();
        fingerprints.dedup();
        Self { fingerprints }
    }

    /// The number of directories.
    pub fn len(&self) -> usize {
        self.fingerprints.len()
    }

    /// Whether there is no directory at all.
    pub fn is_empty(&self) -> bool {
        self.fingerprints.is_empty()
    }

    /// All directories in ascending order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Fingerprint> + DoubleEndedIterator + '_ {
        self.fingerprints.iter().copied()
    }

    /// Whether this relay is on the ring.
    pub fn contains(&self, fingerprint: &Fingerprint) -> bool {
        self.fingerprints.binary_search(fingerprint).is_ok()
    }

    /// Every directory once, from the first one at or after `point` onwards, past the end of the ring to its beginning.
    ///
    /// A relay whose fingerprint equals `point` comes first, as in C Tor: the search finds an equal entry before a
    /// greater one (`smartlist_bsearch_idx` in feature/rend/rendcommon.c:859), and an index past the end becomes 0
    /// (:860).
    pub fn successors(&self, point: &[u8; 20]) -> impl Iterator<Item = Fingerprint> + use<'_> {
        let start = self
            .fingerprints
            .partition_point(|fingerprint| fingerprint.as_bytes() < point);
        // `partition_point` is at most the length, so this cannot panic.
        let (before, from) = self.fingerprints.split_at(start);
        from.iter().chain(before).copied()
    }
}

impl FromIterator<Fingerprint> for HashRing {
    fn from_iter<I: IntoIterator<Item = Fingerprint>>(directories: I) -> Self {
        Self::new(directories)
    }
}
