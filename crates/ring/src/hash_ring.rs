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

    proptest! {
        /// C Tor's walk (feature/rend/rendcommon.c:859-871), over all relays and without a binary search.
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
