//! Rings of many directories, for many services.

use onionweave_ring::v2::{DescriptorId, Replica, RingChange, ServiceId, TimePeriod};
use onionweave_ring::{Fingerprint, HashRing, UnixTime};
use sha1::{Digest as _, Sha1};

const NOW: UnixTime = UnixTime::from_secs(1_795_349_239);

/// Digests of numbers, as good as those of keys.
fn digest(number: u32) -> [u8; 20] {
    Sha1::digest(number.to_be_bytes()).into()
}

fn ring(directories: impl Iterator<Item = u32>) -> HashRing {
    directories.map(digest).map(Fingerprint::from).collect()
}

fn service(number: u32) -> ServiceId {
    ServiceId::from_public_key_der(&number.to_le_bytes())
}

/// The responsible directories of both replicas; how many there are, so that nothing is left out.
fn count_responsible(service: &ServiceId, ring: &HashRing) -> usize {
    let period = TimePeriod::at(service, NOW);
    let ids = Replica::ALL.map(|replica| DescriptorId::of(service, period, replica));
    ids.iter().map(|id| id.responsible(ring).count()).sum()
}

#[test]
fn looking_up_allocates_nothing() {
    let counted = allocation_counter::measure(|| drop(ring(0..2)));
    assert!(counted.count_total > 0, "allocations are not counted");

    for directories in [0, 1, 7_000] {
        let ring = ring(0..directories);
        let change = RingChange::between(&ring, &self::ring(10..directories.max(10)));
        let mut found = 0;
        let allocations = allocation_counter::measure(|| {
            for number in 0..1_000 {
                let service = service(number);
                found += count_responsible(&service, &ring);
                found += usize::from(change.touches_service(&service, NOW));
            }
        });
        assert_eq!(allocations.count_total, 0, "{directories} directories");
        assert!(found >= 1_000 * 6 || directories < 3);
    }
}

#[test]
fn a_million_directories_and_thousands_of_services() {
    const DIRECTORIES: u32 = 1_000_000;
    let directories: Vec<_> = (0..DIRECTORIES).map(digest).map(Fingerprint::from).collect();
    let ring = HashRing::new(directories.iter().copied());
    assert_eq!(ring.len(), directories.len());

    // The nearest, without the ring's help.
    let mut sorted = directories;
    sorted.sort_unstable();
    for number in 0..5_000 {
        let id = DescriptorId::of(&service(number), TimePeriod::new(20_780), Replica::ALL[0]);
        let first = sorted.partition_point(|relay| relay.as_bytes() < id.as_bytes());
        let nearest = sorted.iter().cycle().skip(first).take(3).copied();
        assert!(id.responsible(&ring).eq(nearest), "{id}");
    }

    // One in a thousand comes, and as many go: each moves the descriptors of a stretch of three.
    let next = self::ring(1_000..DIRECTORIES + 1_000);
    let change = RingChange::between(&ring, &next);
    assert_eq!((change.joined().len(), change.left().len()), (1_000, 1_000));
    let touched = (0..5_000).filter(|number| change.touches_service(&service(*number), NOW));
    // Two descriptors of each service, at 3/1000 for each way of changing: 12/1000 of 5000, more or
    // less.
    let touched = touched.count();
    assert!((30..90).contains(&touched), "{touched}");
}
