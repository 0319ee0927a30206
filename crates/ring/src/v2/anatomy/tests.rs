use proptest::prelude::*;
use sha1::{Digest as _, Sha1};

use super::*;
use crate::v2::{DescriptorId, Replica};

/// Digests of consecutive numbers: the same in every run.
struct Digests {
    seed: &'static str,
    number: u32,
}

impl Digests {
    fn new(seed: &'static str) -> Self {
        Self { seed, number: 0 }
    }

    fn ring(&mut self, directories: usize) -> HashRing {
        self.take(directories).map(Fingerprint::from).collect()
    }

    fn ids(&mut self) -> [DescriptorId; 2] {
        [(); 2].map(|()| self.next().unwrap().into())
    }
}

impl Iterator for Digests {
    type Item = [u8; 20];

    fn next(&mut self) -> Option<[u8; 20]> {
        self.number += 1;
        let digest = Sha1::new_with_prefix(self.seed).chain_update(self.number.to_be_bytes());
        Some(digest.finalize().into())
    }
}

/// Whether a share of so many trials agrees with a probability, within four standard deviations.
#[track_caller]
fn assert_agrees(hits: usize, trials: usize, probability: f64) {
    let share = hits as f64 / trials as f64;
    let deviation = (probability * (1.0 - probability) / trials as f64).sqrt();
    assert!(
        (share - probability).abs() <= 4.0 * deviation,
        "{share} against {probability} ± {deviation}"
    );
}

fn responsible(ids: &[DescriptorId; 2], ring: &HashRing) -> Vec<Fingerprint> {
    ids.iter().flat_map(|id| id.responsible(ring)).collect()
}

#[test]
fn gaps_and_duties_of_a_random_ring() {
    let ring = Digests::new("even").ring(20_000);
    let anatomy = Anatomy::new(&ring);
    assert_eq!(anatomy.gaps().map(|(_, gap)| gap).sum::<Distance>(), Distance::RING);
    let duties: Distance = anatomy.duties().map(|(_, duty)| duty).sum();
    assert_eq!(duties, Distance::RING + Distance::RING + Distance::RING);

    let gaps = Summary::new(anatomy.gaps().map(|(_, gap)| gap.fraction() * 20_000.0)).unwrap();
    let duties = Summary::new(anatomy.duties().map(|(_, duty)| duty.fraction() * 20_000.0)).unwrap();
    // Of the exponential distribution, and of the sum of three such: mean, median, Gini.
    for (found, expected) in [
        (gaps.mean(), 1.0),
        (gaps.median(), std::f64::consts::LN_2),
        (gaps.gini(), 0.5),
        (duties.mean(), 3.0),
        (duties.median(), 2.674),
        (duties.gini(), 5.0 / 16.0),
    ] {
        assert!((found / expected - 1.0).abs() < 0.02, "{found} against {expected}");
    }
}

#[test]
fn small_rings() {
    for directories in 0..=3 {
        let ring = Digests::new("small").ring(directories);
        let anatomy = Anatomy::new(&ring);
        let gaps: Distance = anatomy.gaps().map(|(_, gap)| gap).sum();
        assert_eq!(
            gaps,
            if directories == 0 {
                Distance::ZERO
            } else {
                Distance::RING
            }
        );
        assert!(anatomy.duties().all(|(_, duty)| duty == Distance::RING));
        assert_eq!(
            anatomy.chance(ring.iter().take(1), 1),
            if directories == 0 { 0.0 } else { 1.0 }
        );

        // Every key gets a slot in both replicas while there are fewer than three directories.
        let target = Target::new(&ring, Digests::new("target").ids());
        assert_eq!(target.slots().len(), 2 * directories);
        let keys = target.keys_for(2);
        assert!(if directories < 3 { keys == 1.0 } else { keys > 1.0 }, "{keys}");
    }
    assert_eq!(
        Target::new(&HashRing::default(), Digests::new("").ids()).keys_for(6),
        3.0
    );
}

/// For relays at known places, over descriptor IDs.
#[test]
fn chance_of_relays_on_a_ring() {
    let mut digests = Digests::new("known");
    let ring = digests.ring(60);
    // Two neighbours, one apart, and one that is not there.
    let relays: Vec<_> = ring
        .iter()
        .skip(10)
        .take(2)
        .chain(ring.iter().skip(40).take(1))
        .collect();
    let strangers = [Fingerprint::from([7; 20])];
    let anatomy = Anatomy::new(&ring);
    assert_eq!(anatomy.chance(strangers, 5), 0.0);
    for periods in [1, 4] {
        let trials = 10_000;
        let seen = (0..trials).filter(|_| {
            let ids: Vec<_> = (0..periods).map(|_| digests.ids()).collect();
            ids.iter().any(|ids| {
                responsible(ids, &ring)
                    .iter()
                    .any(|directory| relays.contains(directory))
            })
        });
        assert_agrees(
            seen.count(),
            trials,
            anatomy.chance(relays.iter().copied().chain(strangers), periods),
        );
    }
}

/// For relays with random fingerprints, over rings.
#[test]
fn chance_of_relays_anywhere() {
    let mut digests = Digests::new("anywhere");
    for (directories, relays) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 1), (6, 1), (7, 3), (12, 2), (40, 5)] {
        let trials = 2_000;
        let seen = (0..trials).filter(|_| {
            let fingerprints: Vec<_> = digests.by_ref().take(directories).map(Fingerprint::from).collect();
            let ring: HashRing = fingerprints.iter().copied().collect();
            let responsible = responsible(&digests.ids(), &ring);
            fingerprints[..relays].iter().any(|relay| responsible.contains(relay))
        });
        let chance = chance_of_random_relays(directories, relays, 1);
        assert_agrees(seen.count(), trials, chance);
    }
}

#[test]
fn chance_of_relays_at_the_limits() {
    for (directories, relays, periods, chance) in [
        (0, 5, 1, 0.0),
        (100, 0, 7, 0.0),
        (100, 1, 0, 0.0),
        (100, 100, 1, 1.0),
        (100, 1_000, 1, 1.0),
        (3, 1, 1, 1.0),
    ] {
        assert_eq!(chance_of_random_relays(directories, relays, periods), chance);
    }
    let (one, ten) = (chance_of_random_relays(500, 3, 1), chance_of_random_relays(500, 3, 10));
    assert!((1.0 - ten - (1.0 - one).powi(10)).abs() < 1e-12);
}

/// Keys are generated until they suffice, again and again.
#[test]
fn keys_for_slots() {
    let mut digests = Digests::new("keys");
    for directories in [2, 4, 15] {
        let ring = digests.ring(directories);
        let ids = digests.ids();
        let target = Target::new(&ring, ids);
        let trials = 200_u32;
        let mut sums = [0.0; 6];
        let mut squares = [0.0; 6];
        for _ in 0..trials {
            // Keys that hold no slot, or none any more, never will again.
            let mut holding: Vec<Fingerprint> = Vec::new();
            let (mut generated, mut reached) = (0.0, 0);
            while reached < 6 {
                generated += 1.0;
                holding.push(digests.next().unwrap().into());
                let with: HashRing = ring.iter().chain(holding.iter().copied()).collect();
                let responsible = responsible(&ids, &with);
                holding.retain(|key| responsible.contains(key));
                let held = responsible
                    .iter()
                    .filter(|directory| holding.contains(directory))
                    .count();
                for slots in reached..held {
                    sums[slots] += generated;
                    squares[slots] += generated * generated;
                }
                reached = reached.max(held);
            }
        }
        for slots in 1..=6 {
            let mean = sums[slots - 1] / f64::from(trials);
            let variance = squares[slots - 1] / f64::from(trials) - mean * mean;
            let deviation = (variance / f64::from(trials)).sqrt();
            let expected = target.keys_for(slots);
            assert!(
                (mean - expected).abs() <= 4.0 * deviation + 1e-9,
                "{slots} of {directories}: {mean} against {expected}"
            );
        }
    }
}

/// Nearness of directories by chance, over rings.
#[test]
fn chance_of_being_near() {
    let mut digests = Digests::new("near");
    let trials = 3_000;
    for limit in [0.5, 0.05] {
        let mut below = [0; 3];
        for _ in 0..trials {
            let ring = digests.ring(30);
            let target = Target::new(&ring, digests.ids());
            for slot in target.slots().iter().take(3) {
                below[slot.place() - 1] += usize::from(slot.chance() < limit);
            }
        }
        for hits in below {
            assert_agrees(hits, trials, limit);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn chances_are_chances(
        ring in prop::collection::vec(any::<[u8; 20]>(), 1..40),
        ids: [[u8; 20]; 2],
    ) {
        let ring: HashRing = ring.into_iter().map(Fingerprint::from).collect();
        let target = Target::new(&ring, ids.map(DescriptorId::from));
        for slot in target.slots() {
            prop_assert!((0.0..=1.0).contains(&slot.chance()), "{:?} {}", slot, slot.chance());
        }
        let keys: Vec<f64> = (0..=6).map(|slots| target.keys_for(slots)).collect();
        // Up to rounding.
        prop_assert!(keys.is_sorted_by(|fewer, more| *fewer <= more * (1.0 + 1e-9)), "{:?}", keys);
        prop_assert!(keys[1] >= 1.0 - 1e-9);
        let of = |replica| target.slots().iter().filter(move |slot| slot.replica() == replica);
        prop_assert_eq!(Replica::ALL.map(|replica| of(replica).count()), [ring.len().min(3); 2]);
    }

    /// With one slot wanted, all that counts is the part of the ring in front of the third
    /// directories.
    #[test]
    fn one_slot_takes_a_key_in_front_of_a_third_directory(
        ring in prop::collection::btree_set(any::<[u8; 20]>(), 4..40),
        ids: [[u8; 20]; 2],
    ) {
        let ring: HashRing = ring.into_iter().map(Fingerprint::from).collect();
        let target = Target::new(&ring, ids.map(DescriptorId::from));
        let thirds = target.slots().iter().filter(|slot| slot.place() == 3);
        let part = Arcs::new(ids.iter().copied().zip(thirds.map(|slot| *slot.directory().as_bytes()))).len();
        prop_assert!((target.keys_for(1) * part.fraction() - 1.0).abs() < 1e-9);
    }
}
