//! The ring under the magnifying glass: who has how much of it, and what it takes to get in.
//!
//! Where a relay stands decides for which descriptors it is responsible. So it decides which
//! services the relay can watch, count, or make disappear (Biryukov, Pustogarov, Weinmann:
//! *Trawling for Tor Hidden Services: Detection, Measurement, Deanonymization*, IEEE S&P 2013).
//! This module puts numbers on that, for a given ring and for rings in general:
//!
//! | question | answer |
//! | --- | --- |
//! | how evenly are the directories spread? | [`Anatomy::gaps`], [`Summary`] |
//! | for how much of the ring is each responsible? | [`Anatomy::duties`], [`Anatomy::duty`] |
//! | how likely do these relays get to see a service, in so many days? | [`Anatomy::chance`] |
//! | how likely do relays with random keys get to see one? | [`chance_of_random_relays`] |
//! | how many keys must be generated to get at a given service? | [`Target::keys_for`] |
//! | did somebody do that? | [`Slot::ratio`], [`Slot::chance`] |
//!
//! # What is assumed
//!
//! Descriptor IDs, and the fingerprints of honest relays, fall anywhere on the ring with equal
//! probability, independently of each other: they are SHA-1 digests. Then the gaps between
//! neighbours on a ring of *n* directories have the mean 1/*n* of the ring, and are nearly
//! exponentially distributed. Duties are sums of three gaps, and have the mean 3/*n*. The Gini
//! coefficients of these two distributions are 1/2 and 5/16, which is what a healthy ring shows.
//!
//! Distances are exact; probabilities are computed in `f64`. The formulas stand with the functions,
//! and are tested against simulated rings.

mod summary;
mod target;

#[cfg(test)]
mod tests;

pub use summary::Summary;
pub use target::{Slot, Target};

use super::{DIRECTORIES_PER_REPLICA, REPLICAS};
use crate::arcs::Arcs;
use crate::{Distance, Fingerprint, HashRing};

/// A ring, looked at directory by directory.
///
/// ```
/// use onionweave_ring::relays::RelayList;
/// use onionweave_ring::v2::anatomy::{Anatomy, Summary};
///
/// let ring = RelayList::parse(include_str!("../../testdata/v2-network/ns_all.txt"))?.hash_ring();
/// let anatomy = Anatomy::new(&ring);
///
/// let shares = anatomy.duties().map(|(_, duty)| duty.fraction());
/// let summary = Summary::new(shares).expect("there are directories");
/// assert!((summary.mean() - 3.0 / 18.0).abs() < 1e-12);
/// println!("the busiest directory is responsible for {:.1} % of all descriptors", 100.0 * summary.max());
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Anatomy<'a> {
    ring: &'a HashRing,
}

impl<'a> Anatomy<'a> {
    /// Looks at this ring.
    ///
    /// ```
    /// use onionweave_ring::HashRing;
    /// use onionweave_ring::v2::anatomy::Anatomy;
    ///
    /// assert_eq!(Anatomy::new(&HashRing::default()).gaps().count(), 0);
    /// ```
    pub const fn new(ring: &'a HashRing) -> Self {
        Self { ring }
    }

    /// Each directory, and how far it is from the one before it. Together the gaps are the ring.
    ///
    /// ```
    /// use onionweave_ring::v2::anatomy::Anatomy;
    /// use onionweave_ring::{Distance, Fingerprint, HashRing};
    ///
    /// let [a, b] = [[0; 20], [0x40; 20]].map(Fingerprint::from);
    /// let ring = HashRing::new([a, b]);
    /// let gaps: Vec<_> = Anatomy::new(&ring).gaps().collect();
    /// assert_eq!(gaps[1], (b, Distance::between(&[0; 20], &[0x40; 20])));
    /// assert_eq!(gaps[0].1 + gaps[1].1, Distance::RING);
    /// ```
    pub fn gaps(&self) -> impl Iterator<Item = (Fingerprint, Distance)> + use<'a> {
        stretches(self.ring, 1)
    }

    /// Each directory, and for how much of the ring it is responsible: the chance that it is among
    /// the three for a descriptor. Together they are three times the ring.
    ///
    /// It is the distance to its third predecessor, or the whole ring if there are no more than
    /// three directories.
    ///
    /// ```
    /// use onionweave_ring::v2::anatomy::Anatomy;
    /// use onionweave_ring::{Distance, Fingerprint, HashRing};
    ///
    /// let ring = HashRing::new([[0; 20], [0x20; 20], [0x40; 20], [0x80; 20]].map(Fingerprint::from));
    /// let (last, duty) = Anatomy::new(&ring).duties().last().expect("there are four");
    /// assert_eq!(last, Fingerprint::from([0x80; 20]));
    /// assert_eq!(duty, Distance::between(&[0; 20], &[0x80; 20]));
    /// ```
    pub fn duties(&self) -> impl Iterator<Item = (Fingerprint, Distance)> + use<'a> {
        stretches(self.ring, DIRECTORIES_PER_REPLICA)
    }

    /// For how much of the ring at least one of these relays is responsible. Those that are not on
    /// the ring are passed over.
    ///
    /// ```
    /// use onionweave_ring::v2::anatomy::Anatomy;
    /// use onionweave_ring::{Distance, Fingerprint, HashRing};
    ///
    /// let ring = HashRing::new((0..8).map(|eighth| Fingerprint::from([eighth << 5; 20])));
    /// let anatomy = Anatomy::new(&ring);
    /// // Of two neighbours, each is responsible for most of what the other is.
    /// let neighbours = [[0x60; 20], [0x80; 20]].map(Fingerprint::from);
    /// assert_eq!(anatomy.duty(neighbours), Distance::between(&[0; 20], &[0x80; 20]));
    /// assert_eq!(anatomy.duty([]), Distance::ZERO);
    /// ```
    pub fn duty(&self, relays: impl IntoIterator<Item = Fingerprint>) -> Distance {
        let duties = relays.into_iter().filter_map(|relay| {
            let position = self.ring.position(&relay)?;
            self.ring.duty(position, DIRECTORIES_PER_REPLICA)
        });
        Arcs::new(duties).len()
    }

    /// Probability that at least one of these relays becomes responsible for a given service within
    /// `periods` time periods (that is, days), if the ring stays as it is.
    ///
    /// With *u* the fraction of the ring of their [`duty`](Self::duty), and two new descriptor IDs
    /// in each of *d* periods: 1 − (1 − *u*)^(2*d*).
    ///
    /// ```
    /// use onionweave_ring::v2::anatomy::Anatomy;
    /// use onionweave_ring::{Fingerprint, HashRing};
    ///
    /// let ring = HashRing::new((0..8).map(|eighth| Fingerprint::from([eighth << 5; 20])));
    /// let one = [Fingerprint::from([0x60; 20])];
    /// // Responsible for three eighths of the ring.
    /// let chance = Anatomy::new(&ring).chance(one, 1);
    /// assert!((chance - (1.0 - (5.0_f64 / 8.0).powi(2))).abs() < 1e-2);
    /// ```
    pub fn chance(&self, relays: impl IntoIterator<Item = Fingerprint>, periods: u32) -> f64 {
        let missed_by_one = 1.0 - self.duty(relays).fraction();
        1.0 - missed_by_one.powf(REPLICAS as f64 * f64::from(periods))
    }
}

/// Probability that at least one of `relays` relays becomes responsible for a service within
/// `periods` days. Their fingerprints are random, and all are among the `directories` of the ring.
///
/// For one period this is exact. Where the second descriptor ID falls among the *n* directories,
/// seen from the first, is equally likely to be behind none of them, one, ... or all *n*; hence the
/// six slots belong to six different directories, or to five, four or three. That none of *m*
/// different ones is among the *k* has the probability (*n*−*k*)/*n* · (*n*−*k*−1)/(*n*−1) ···
/// (*n*−*k*−*m*+1)/(*n*−*m*+1). For more than one period, it is assumed that the relays are placed
/// anew for each, which makes the chance a little larger than it is for relays that stay. For
/// relays whose places are known, ask [`Anatomy::chance`].
///
/// More relays than directories count as all of them; without any directory the chance is 0.
///
/// ```
/// use onionweave_ring::v2::anatomy::chance_of_random_relays;
///
/// // About one in a thousand for each relay and day.
/// let chance = chance_of_random_relays(6_000, 1, 1);
/// assert!((chance - 0.001).abs() < 1e-5);
/// // Twenty-five relays will have seen a given service after half a year, almost certainly.
/// assert!(chance_of_random_relays(6_000, 25, 180) > 0.98);
/// ```
pub fn chance_of_random_relays(directories: usize, relays: usize, periods: u32) -> f64 {
    if directories == 0 {
        return 0.0;
    }
    let in_a_row = DIRECTORIES_PER_REPLICA.min(directories);
    let others = directories.saturating_sub(relays);
    // That none of so many different directories is one of the relays.
    let missed = |different: usize| -> f64 {
        let factors = (0..different).map(|taken| others.saturating_sub(taken) as f64 / (directories - taken) as f64);
        factors.product()
    };
    // How many different directories the two replicas have if the second ID is behind so many of
    // those that follow the first.
    let different = |behind: usize| {
        let shared = (0..in_a_row).filter(|step| (behind + step) % directories < in_a_row);
        2 * in_a_row - shared.count()
    };
    let places = directories + 1;
    let near = (0..places.min(2 * in_a_row)).map(|step| match step % 2 {
        0 => step / 2,
        _ => directories - step / 2,
    });
    let sum_of_near: f64 = near.clone().map(|behind| missed(different(behind))).sum();
    let far = (places - near.count()) as f64;
    let missed_in_one = (sum_of_near + far * missed((2 * in_a_row).min(directories))) / places as f64;
    1.0 - missed_in_one.powf(f64::from(periods))
}

/// Each directory, and how long the stretch is in which it is among the first `in_a_row`.
fn stretches(ring: &HashRing, in_a_row: usize) -> impl Iterator<Item = (Fingerprint, Distance)> + use<'_> {
    ring.iter().enumerate().filter_map(move |(position, directory)| {
        let (behind, last) = ring.duty(position, in_a_row)?;
        let length = if behind == last {
            Distance::RING
        } else {
            Distance::between(&behind, &last)
        };
        Some((directory, length))
    })
}
