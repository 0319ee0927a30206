//! A service as a target, and the relays that might want to be its directories.

use std::collections::BTreeMap;

use crate::v2::{DIRECTORIES_PER_REPLICA, DescriptorId, REPLICAS, Replica, ServiceId, TimePeriod};
use crate::{Distance, Fingerprint, HashRing};

/// A service in one time period, with the directories that are responsible for it.
///
/// ```
/// use onionweave_ring::v2::anatomy::Target;
/// use onionweave_ring::v2::{ServiceId, TimePeriod};
/// use onionweave_ring::{Fingerprint, HashRing};
///
/// let ring = HashRing::new((0..=255).map(|byte| Fingerprint::from([byte; 20])));
/// let service: ServiceId = "rf75jzdtba4wnd6v".parse()?;
/// let target = Target::of(&ring, &service, TimePeriod::new(20_780));
///
/// assert_eq!(target.slots().len(), 6);
/// // One key in some 40 falls in front of one of the third directories; to have all six takes more.
/// assert!(target.keys_for(1) < 60.0);
/// assert!(target.keys_for(6) > target.keys_for(5));
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    ids: [DescriptorId; REPLICAS],
    /// By replica, then in the order of the ring.
    slots: Vec<Slot>,
}

/// Directory that is responsible for a service, and its distance from the descriptor ID.
///
/// A relay that was made for a service is far nearer to its descriptor ID than chance would put it,
/// and is so again in the next period, with another key. That is how attempts to track services
/// were found in archives of consensuses (Biryukov, Pustogarov, Thill, Weinmann: *Content and
/// popularity analysis of Tor hidden services*, 2014).
///
/// ```
/// use onionweave_ring::v2::anatomy::Target;
/// use onionweave_ring::v2::{DescriptorId, Replica};
/// use onionweave_ring::{Fingerprint, HashRing};
///
/// // Somebody put a relay right behind the first descriptor ID.
/// let ids = [[0x81; 20], [0x31; 20]];
/// let mut made = ids[0];
/// made[2] += 1;
/// let evenly = (0..64).map(|part| [part << 2; 20]);
/// let ring = HashRing::new(evenly.chain([made]).map(Fingerprint::from));
///
/// let target = Target::new(&ring, ids.map(DescriptorId::from));
/// let [first, second, ..] = target.slots() else { panic!() };
/// assert_eq!((first.replica(), first.place()), (Replica::ALL[0], 1));
/// assert_eq!(first.directory(), Fingerprint::from(made));
/// assert!(first.ratio() > 100_000.0 && second.ratio() < 2.0);
/// assert!(first.chance() < 0.00001 && second.chance() > 0.1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slot {
    replica: Replica,
    place: usize,
    directory: Fingerprint,
    distance: Distance,
    /// On the whole ring; not 0.
    directories: usize,
}

impl Target {
    /// The descriptors of both replicas with these IDs, on this ring.
    ///
    /// ```
    /// use onionweave_ring::HashRing;
    /// use onionweave_ring::v2::anatomy::Target;
    ///
    /// let ids = [[1; 20], [2; 20]].map(Into::into);
    /// assert!(Target::new(&HashRing::default(), ids).slots().is_empty());
    /// ```
    pub fn new(ring: &HashRing, ids: [DescriptorId; REPLICAS]) -> Self {
        let slots = Replica::ALL.iter().zip(&ids).flat_map(|(replica, id)| {
            (1..).zip(id.responsible(ring)).map(|(place, directory)| Slot {
                replica: *replica,
                place,
                directory,
                distance: Distance::between(id.as_bytes(), directory.as_bytes()),
                directories: ring.len(),
            })
        });
        let slots = slots.collect();
        Self { ids, slots }
    }

    /// A service without stealth authorization, in this time period, on this ring.
    ///
    /// ```
    /// use onionweave_ring::v2::anatomy::Target;
    /// use onionweave_ring::v2::{DescriptorId, Replica, ServiceId, TimePeriod};
    /// use onionweave_ring::{Fingerprint, HashRing};
    ///
    /// let ring = HashRing::new((0..=255).map(|byte| Fingerprint::from([byte; 20])));
    /// let (service, period) = (ServiceId::from([7; 10]), TimePeriod::new(20_780));
    /// let ids = Replica::ALL.map(|replica| DescriptorId::of(&service, period, replica));
    /// assert_eq!(Target::of(&ring, &service, period), Target::new(&ring, ids));
    /// ```
    pub fn of(ring: &HashRing, service: &ServiceId, period: TimePeriod) -> Self {
        let ids = Replica::ALL.map(|replica| DescriptorId::of(service, period, replica));
        Self::new(ring, ids)
    }

    /// The responsible directories, by replica, then in the order of the ring: six, or fewer if the
    /// ring has fewer than three.
    ///
    /// ```
    /// use onionweave_ring::v2::anatomy::Target;
    /// use onionweave_ring::{Fingerprint, HashRing};
    ///
    /// let ring = HashRing::new((0..=255).map(|byte| Fingerprint::from([byte; 20])));
    /// let target = Target::new(&ring, [[1; 20], [200; 20]].map(Into::into));
    /// let bytes: Vec<u8> = target.slots().iter().map(|slot| slot.directory().as_bytes()[0]).collect();
    /// assert_eq!(bytes, [1, 2, 3, 200, 201, 202]);
    /// ```
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Number of random keys to generate, on average, until relays with some of them hold at least
    /// this many slots. The directories that are there already count as they stand. It is defined
    /// for one to six slots: for none it is 0, for more it is infinite.
    ///
    /// A key gets a slot if it falls between the descriptor ID and the third directory; then the
    /// third loses its own. To get two, both must fall in front of the second directory, or one in
    /// front of each replica's third, and so on. The result is the expectation over all ways of
    /// getting there. Let *p* be the chance that one more key leads to a better set *s*. Then a set
    /// of keys has *E* = (1 + Σ *p*(*s*) *E*(*s*)) / Σ *p*(*s*), and one that suffices has 0. For a
    /// single slot this is one divided by the part of the ring in front of the third directories.
    ///
    /// For the cost: a 1024-bit RSA key takes milliseconds; tools that only count up the exponent
    /// try millions in a second.
    ///
    /// ```
    /// use onionweave_ring::v2::anatomy::Target;
    /// use onionweave_ring::{Fingerprint, HashRing};
    ///
    /// let quarters = [[0; 20], [0x40; 20], [0x80; 20], [0xc0; 20]];
    /// let ring = HashRing::new(quarters.map(Fingerprint::from));
    /// // Three quarters, less one point, for one replica; the other three for the second: every key will do.
    /// let target = Target::new(&ring, [[0x01; 20], [0x81; 20]].map(Into::into));
    /// assert!(target.keys_for(1) < 1.01);
    /// assert_eq!(target.keys_for(0), 0.0);
    /// assert_eq!(target.keys_for(7), f64::INFINITY);
    /// ```
    pub fn keys_for(&self, slots: usize) -> f64 {
        if slots > REPLICAS * DIRECTORIES_PER_REPLICA {
            return f64::INFINITY;
        }
        let search = Search {
            slots,
            there: Replica::ALL.map(|replica| self.distances(replica).count()),
            pieces: self.pieces(),
        };
        search.keys(Keys::default(), &mut BTreeMap::new())
    }

    fn distances(&self, replica: Replica) -> impl Iterator<Item = Distance> {
        let slots = self.slots.iter().filter(move |slot| slot.replica == replica);
        slots.map(|slot| slot.distance)
    }

    /// Cuts the ring at each descriptor ID and each directory.
    fn pieces(&self) -> Vec<Piece> {
        let directories = self.slots.iter().map(|slot| *slot.directory.as_bytes());
        let mut cuts: Vec<[u8; 20]> = self.ids.iter().map(|id| *id.as_bytes()).chain(directories).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let next = cuts.iter().cycle().skip(1);
        let pieces = cuts.iter().zip(next).map(|(start, end)| {
            let chance = if start == end {
                1.0
            } else {
                Distance::between(start, end).fraction()
            };
            let behind = |(replica, id): (&Replica, &DescriptorId)| {
                let from_id = Distance::between(id.as_bytes(), start);
                self.distances(*replica).filter(|distance| *distance <= from_id).count()
            };
            let mut behind = Replica::ALL.iter().zip(&self.ids).map(behind);
            Piece {
                chance,
                behind: [(); REPLICAS].map(|()| behind.next().unwrap_or(DIRECTORIES_PER_REPLICA)),
            }
        });
        pieces.collect()
    }
}

/// A piece of the ring within which it makes no difference where a key falls.
struct Piece {
    /// Probability that a random key falls into it.
    chance: f64,
    /// For each replica: behind how many of its directories.
    behind: [usize; REPLICAS],
}

/// For each replica and each number of its directories: how many keys lie behind so many of them.
/// More than are left of three make no difference, and are not counted.
type Keys = [[usize; DIRECTORIES_PER_REPLICA]; REPLICAS];

struct Search {
    slots: usize,
    /// For each replica: how many directories it has without the keys.
    there: [usize; REPLICAS],
    pieces: Vec<Piece>,
}

impl Search {
    /// Number of further keys that it takes on average; see [`Target::keys_for`].
    fn keys(&self, keys: Keys, known: &mut BTreeMap<Keys, f64>) -> f64 {
        if self.held(&keys) >= self.slots {
            return 0.0;
        }
        if let Some(known) = known.get(&keys) {
            return *known;
        }
        let (mut chance, mut expectation) = (0.0, 1.0);
        for piece in &self.pieces {
            let mut with = keys;
            for (counts, behind) in with.iter_mut().zip(piece.behind) {
                if let Some(count) = counts.get_mut(behind) {
                    *count = (*count + 1).min(DIRECTORIES_PER_REPLICA - behind);
                }
            }
            // Each step adds a key, of which at most six count for each replica: the depth is
            // bounded.
            if with != keys {
                chance += piece.chance;
                expectation += piece.chance * self.keys(with, known);
            }
        }
        let expectation = expectation / chance;
        known.insert(keys, expectation);
        expectation
    }

    /// Number of slots that relays with these keys have.
    fn held(&self, keys: &Keys) -> usize {
        let by_replica = keys.iter().zip(self.there).map(|(counts, there)| {
            let (mut free, mut held) = (DIRECTORIES_PER_REPLICA, 0);
            for (directory, count) in counts.iter().enumerate() {
                let taken = free.min(*count);
                held += taken;
                free -= taken;
                // Then comes the next of those that are there.
                free = free.saturating_sub(usize::from(directory < there));
            }
            held
        });
        by_replica.sum()
    }
}

impl Slot {
    /// Replica whose descriptor the directory has.
    ///
    /// ```
    /// # use onionweave_ring::{Fingerprint, HashRing, v2::{Replica, anatomy::Target}};
    /// # let ring = HashRing::new((0..=255).map(|byte| Fingerprint::from([byte; 20])));
    /// let target = Target::new(&ring, [[1; 20], [2; 20]].map(Into::into));
    /// assert_eq!(target.slots()[3].replica(), Replica::ALL[1]);
    /// ```
    pub const fn replica(&self) -> Replica {
        self.replica
    }

    /// Whether it is the first, the second or the third directory of its replica: 1 to 3.
    ///
    /// ```
    /// # use onionweave_ring::{Fingerprint, HashRing, v2::anatomy::Target};
    /// # let ring = HashRing::new((0..=255).map(|byte| Fingerprint::from([byte; 20])));
    /// let target = Target::new(&ring, [[1; 20], [2; 20]].map(Into::into));
    /// assert_eq!(target.slots()[2].place(), 3);
    /// ```
    pub const fn place(&self) -> usize {
        self.place
    }

    /// The directory.
    ///
    /// ```
    /// # use onionweave_ring::{Fingerprint, HashRing, v2::anatomy::Target};
    /// # let ring = HashRing::new((0..=255).map(|byte| Fingerprint::from([byte; 20])));
    /// let target = Target::new(&ring, [[1; 20], [2; 20]].map(Into::into));
    /// assert_eq!(target.slots()[1].directory(), Fingerprint::from([2; 20]));
    /// ```
    pub const fn directory(&self) -> Fingerprint {
        self.directory
    }

    /// Distance of the directory from the descriptor ID.
    ///
    /// ```
    /// # use onionweave_ring::{Distance, Fingerprint, HashRing, v2::anatomy::Target};
    /// # let ring = HashRing::new((0..=255).map(|byte| Fingerprint::from([byte; 20])));
    /// let target = Target::new(&ring, [[1; 20], [2; 20]].map(Into::into));
    /// assert_eq!(target.slots()[0].distance(), Distance::ZERO);
    /// ```
    pub const fn distance(&self) -> Distance {
        self.distance
    }

    /// The mean gap between neighbours on this ring, divided by the distance from the descriptor ID
    /// to the directory.
    ///
    /// The statistic of the literature: for a first directory it is around 1, for a third around
    /// 1/3. Hundreds are rare, tens of thousands mean that the key was made for the service.
    ///
    /// ```
    /// # use onionweave_ring::{Fingerprint, HashRing, v2::anatomy::Target};
    /// # let ring = HashRing::new((0..=255).map(|byte| Fingerprint::from([byte; 20])));
    /// let target = Target::new(&ring, [[1; 20], [2; 20]].map(Into::into));
    /// assert!((target.slots()[2].ratio() - 0.5).abs() < 0.01);
    /// ```
    pub fn ratio(&self) -> f64 {
        1.0 / (self.directories as f64 * self.distance.fraction())
    }

    /// Probability that chance alone puts the directory of this place so near to the descriptor ID,
    /// or nearer.
    ///
    /// With *q* the fraction of the ring that is the distance, it is the chance that at least as
    /// many of *n* directories as the place says fall into it. That is the upper tail of a binomial
    /// distribution of *n* and *q*. A search through many services and periods finds small values
    /// by chance: expect one below 1/1000 in every thousand slots.
    ///
    /// ```
    /// # use onionweave_ring::{Fingerprint, HashRing, v2::anatomy::Target};
    /// # let ring = HashRing::new((0..=255).map(|byte| Fingerprint::from([byte; 20])));
    /// let target = Target::new(&ring, [[1; 20], [2; 20]].map(Into::into));
    /// // Three directories within two gaps.
    /// assert!((target.slots()[2].chance() - 0.32).abs() < 0.01);
    /// ```
    pub fn chance(&self) -> f64 {
        let (count, near) = (self.directories as f64, self.distance.fraction());
        let probability = |within: usize| {
            let ways: f64 = (0..within)
                .map(|taken| (count - taken as f64) / (taken + 1) as f64)
                .product();
            ways * near.powi(within as i32) * (1.0 - near).powf(count - within as f64)
        };
        // Of the two sums, the one that does not lose a small result in a difference of large
        // numbers.
        let chance: f64 = if count * near > 1.0 {
            1.0 - (0..self.place).map(probability).sum::<f64>()
        } else {
            (self.place..=self.directories.min(self.place + 30))
                .map(probability)
                .sum()
        };
        chance.clamp(0.0, 1.0)
    }
}
