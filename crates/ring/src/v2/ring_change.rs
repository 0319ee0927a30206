//! The changes that a new consensus brings.

use super::{DIRECTORIES_PER_REPLICA, DescriptorId, Replica, ServiceId, TimePeriod};
use crate::arcs::Arcs;
use crate::{Distance, Fingerprint, HashRing, UnixTime};

/// Difference between two rings, such as those of one consensus and the next, and the descriptors
/// that it concerns.
///
/// A relay joins when it is listed anew or gains the HSDir flag, and leaves when it is listed no
/// longer or loses the flag. Either moves the duties of its neighbours only: the descriptors with
/// an ID behind its third predecessor, up to the relay itself. These stretches are kept, so that
/// each of thousands of descriptors is asked after in O(log n) of the number of *changes*, with
/// neither of the rings at hand.
///
/// ```
/// use onionweave_ring::v2::{DescriptorId, RingChange};
/// use onionweave_ring::{Fingerprint, HashRing};
///
/// let relay = |byte| Fingerprint::from([byte; 20]);
/// let old = HashRing::new([10, 20, 30, 40, 50].map(relay));
/// let new = HashRing::new([10, 20, 30, 40, 45, 50].map(relay));
///
/// let change = RingChange::between(&old, &new);
/// assert_eq!(change.joined(), [relay(45)]);
/// assert!(change.left().is_empty());
///
/// // 20, 30 and 40 follow this one, before as after.
/// assert!(!change.touches(&DescriptorId::from([15; 20])));
/// // 30, 40 and 50 followed this one; now 50 has no part in it any more.
/// assert!(change.touches(&DescriptorId::from([25; 20])));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingChange {
    /// Ascending.
    joined: Vec<Fingerprint>,
    /// Ascending.
    left: Vec<Fingerprint>,
    touched: Arcs,
}

impl RingChange {
    /// Compares two rings.
    ///
    /// ```
    /// use onionweave_ring::v2::RingChange;
    /// use onionweave_ring::{Fingerprint, HashRing};
    ///
    /// let ring = HashRing::new([Fingerprint::from([1; 20])]);
    /// assert!(RingChange::between(&ring, &ring).is_empty());
    /// ```
    pub fn between(old: &HashRing, new: &HashRing) -> Self {
        let mut touched = Vec::new();
        let left = missing(old, new, &mut touched);
        let joined = missing(new, old, &mut touched);
        Self {
            joined,
            left,
            touched: Arcs::new(touched),
        }
    }

    /// The directories that are new, in the order of the ring.
    ///
    /// ```
    /// use onionweave_ring::v2::RingChange;
    /// use onionweave_ring::{Fingerprint, HashRing};
    ///
    /// let relay = Fingerprint::from([1; 20]);
    /// let change = RingChange::between(&HashRing::default(), &HashRing::new([relay]));
    /// assert_eq!(change.joined(), [relay]);
    /// ```
    pub fn joined(&self) -> &[Fingerprint] {
        &self.joined
    }

    /// The directories that are gone, in the order of the ring.
    ///
    /// ```
    /// use onionweave_ring::v2::RingChange;
    /// use onionweave_ring::{Fingerprint, HashRing};
    ///
    /// let relay = Fingerprint::from([1; 20]);
    /// let change = RingChange::between(&HashRing::new([relay]), &HashRing::default());
    /// assert_eq!(change.left(), [relay]);
    /// ```
    pub fn left(&self) -> &[Fingerprint] {
        &self.left
    }

    /// Whether the rings are equal.
    ///
    /// ```
    /// use onionweave_ring::HashRing;
    /// use onionweave_ring::v2::RingChange;
    ///
    /// assert!(RingChange::between(&HashRing::default(), &HashRing::default()).is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.left.is_empty()
    }

    /// Whether other directories are responsible for this descriptor than before; exactly, neither
    /// too often nor too rarely.
    ///
    /// ```
    /// use onionweave_ring::v2::{DescriptorId, RingChange};
    /// use onionweave_ring::{Fingerprint, HashRing};
    ///
    /// let old = HashRing::new([10, 20, 30, 40].map(|byte| Fingerprint::from([byte; 20])));
    /// let new = HashRing::new([10, 20, 30].map(|byte| Fingerprint::from([byte; 20])));
    /// let change = RingChange::between(&old, &new);
    /// assert!(!change.touches(&DescriptorId::from([10; 20])));
    /// assert!(change.touches(&DescriptorId::from([11; 20])));
    /// ```
    pub fn touches(&self, descriptor: &DescriptorId) -> bool {
        self.touched.contains(descriptor.as_bytes())
    }

    /// Whether it [touches](Self::touches) any descriptor that the service, without stealth
    /// authorization, has out at `now`.
    ///
    /// ```
    /// use onionweave_ring::v2::{RingChange, ServiceId};
    /// use onionweave_ring::{Fingerprint, HashRing, UnixTime};
    ///
    /// let old = HashRing::new((0..250).map(|byte| Fingerprint::from([byte; 20])));
    /// let new = HashRing::new((0..255).map(|byte| Fingerprint::from([byte; 20])));
    /// let change = RingChange::between(&old, &new);
    ///
    /// let now = UnixTime::from_iso("2026-11-22 12:07:19")?;
    /// let services = (0..=255).map(|byte| ServiceId::from([byte; 10]));
    /// let touched = services.filter(|service| change.touches_service(service, now)).count();
    /// assert!(touched < 25, "{touched} of 256 services have something to upload");
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    pub fn touches_service(&self, service: &ServiceId, now: UnixTime) -> bool {
        TimePeriod::published(service, now).any(|period| {
            Replica::ALL
                .iter()
                .any(|replica| self.touches(&DescriptorId::of(service, period, *replica)))
        })
    }

    /// Length of the part of the ring that has other directories than before; its
    /// [fraction](Distance::fraction) is the share of all descriptors that must be uploaded
    /// somewhere.
    ///
    /// ```
    /// use onionweave_ring::v2::RingChange;
    /// use onionweave_ring::{Distance, Fingerprint, HashRing};
    ///
    /// let first = HashRing::new([Fingerprint::from([1; 20])]);
    /// let change = RingChange::between(&HashRing::default(), &first);
    /// assert_eq!(change.touched(), Distance::RING);
    /// ```
    pub fn touched(&self) -> Distance {
        self.touched.len()
    }
}

/// The directories of one ring that are not on the other; adds the points for which they are
/// responsible to `touched`.
///
/// These are all that matters: where a directory takes or loses a duty though it is on both rings,
/// one of the three before or after is not.
fn missing(from: &HashRing, on: &HashRing, touched: &mut Vec<([u8; 20], [u8; 20])>) -> Vec<Fingerprint> {
    let mut missing = Vec::new();
    for (position, directory) in from.iter().enumerate() {
        if !on.contains(&directory) {
            missing.push(directory);
            touched.extend(from.duty(position, DIRECTORIES_PER_REPLICA));
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Few distinct values, so that neighbours meet.
    fn any_ring() -> impl Strategy<Value = BTreeSet<u8>> {
        prop::collection::btree_set(0_u8..40, 0..12)
    }

    fn ring(bytes: &BTreeSet<u8>) -> HashRing {
        bytes.iter().map(|byte| Fingerprint::from([*byte; 20])).collect()
    }

    fn bytes(fingerprints: &[Fingerprint]) -> Vec<u8> {
        fingerprints
            .iter()
            .map(|fingerprint| fingerprint.as_bytes()[0])
            .collect()
    }

    proptest! {
        #[test]
        fn touches_what_has_other_directories(old in any_ring(), new in any_ring()) {
            let (old_ring, new_ring) = (ring(&old), ring(&new));
            let change = RingChange::between(&old_ring, &new_ring);
            prop_assert_eq!(bytes(change.joined()), new.difference(&old).copied().collect::<Vec<_>>());
            prop_assert_eq!(bytes(change.left()), old.difference(&new).copied().collect::<Vec<_>>());
            prop_assert_eq!(change.is_empty(), old == new);

            for byte in 0..=40 {
                for last in [0, byte, 0xff] {
                    let mut point = [byte; 20];
                    point[19] = last;
                    let id = DescriptorId::from(point);
                    let differs = !id.responsible(&old_ring).eq(id.responsible(&new_ring));
                    prop_assert_eq!(change.touches(&id), differs, "{:?}", id);
                }
            }
        }

        /// A few relays come and go on a ring of many, as from one consensus to the next.
        #[test]
        fn a_service_is_touched_if_a_directory_of_its_changes(
            ring in prop::collection::btree_set(any::<[u8; 20]>(), 30..60),
            joining in prop::collection::vec(any::<[u8; 20]>(), 0..3),
            leaving in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
            services in prop::collection::vec(any::<[u8; 10]>(), 20),
            now in 0..4_000_000_000_u64,
        ) {
            let old: Vec<_> = ring.into_iter().map(Fingerprint::from).collect();
            let leaving: BTreeSet<_> = leaving.iter().map(|index| *index.get(&old)).collect();
            let staying = old.iter().copied().filter(|relay| !leaving.contains(relay));
            let new: HashRing = staying.chain(joining.into_iter().map(Fingerprint::from)).collect();
            let old = HashRing::new(old);

            let change = RingChange::between(&old, &new);
            let now = UnixTime::from_secs(now);
            for service in services.into_iter().map(ServiceId::from) {
                let mut ids = TimePeriod::published(&service, now)
                    .flat_map(|period| Replica::ALL.map(|replica| DescriptorId::of(&service, period, replica)));
                let touched = ids.any(|id| !id.responsible(&old).eq(id.responsible(&new)));
                prop_assert_eq!(change.touches_service(&service, now), touched);
            }
            prop_assert_eq!(change.touched() == Distance::ZERO, change.is_empty());
        }
    }
}
