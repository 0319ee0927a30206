//! Things that clients can see: consensuses, the directories that they name, the descriptors there,
//! and the introduction points in these.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use onionweave_desc::rsa::RustCrypto;
use onionweave_desc::v2::{Descriptor, IntroductionPoint, ServiceKey};
use onionweave_publish::{Found, SlotId, UploadAnswer};
use onionweave_ring::v2::{DescriptorId, Replica, ServiceId, TimePeriod};
use onionweave_ring::{Fingerprint, HashRing, UnixTime};
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use super::notes::NONE;
use crate::Fault;
use crate::place::Place;
use crate::seal::Seal;

/// The most introduction points that a client accepts (`feature/rend/rendcache.c:939`).
pub(super) const MOST_POINTS: usize = 10;
/// Three directories for each replica.
const PER_REPLICA: usize = onionweave_ring::v2::DIRECTORIES_PER_REPLICA;
const HOUR: u64 = 3600;

/// Every number that is kept here belongs to something that stays as long as this: nothing is ever
/// removed.
#[derive(Debug)]
pub(super) struct Shelves {
    service: ServiceId,
    real_signatures: bool,
    directories: BTreeMap<Fingerprint, Place>,
    spots: Vec<Spot>,
    spots_by_name: BTreeMap<(Fingerprint, DescriptorId), u32>,
    pub(super) texts: Vec<Text>,
    texts_by_bytes: HashMap<Box<[u8]>, u32>,
    pub(super) points: Vec<Point>,
    points_by_name: BTreeMap<IntroductionPoint, u32>,
    relays: BTreeMap<Fingerprint, u32>,
    /// The first was made in this hour, and one in each hour since.
    first_hour: UnixTime,
    consensuses: Vec<Consensus>,
    period: TimePeriod,
}

/// A directory and a descriptor ID.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) directory: Fingerprint,
    pub(super) id: DescriptorId,
    pub(super) period: TimePeriod,
    pub(super) replica: Replica,
    /// Number of the text that is handed out, [`NONE`] for nothing.
    pub(super) text: u32,
    /// Whether anybody answers.
    pub(super) answers: bool,
    /// Number of fetches that it answered with a text.
    pub(super) handed_out: u64,
    /// Number of fetches for which it had nothing.
    pub(super) missing: u64,
    /// Number of fetches that were never answered.
    pub(super) unanswered: u64,
}

impl Spot {
    pub(super) fn slot(&self) -> SlotId {
        SlotId::new(self.period, self.replica, self.directory)
    }
}

/// A descriptor, as far as clients care.
#[derive(Clone, Debug)]
pub(super) struct Text {
    /// Its publication time, in seconds.
    pub(super) time: u64,
    /// Its points in their order, each with its relay.
    points: [(u32, u32); MOST_POINTS],
    count: u8,
}

/// An introduction point: a circuit of an instance that ends at a relay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    /// Number of its owner; [`NONE`] for nobody's.
    pub(super) server: u32,
    pub(super) open: bool,
    /// Number of introductions that it has passed on.
    pub(super) introductions: u32,
    /// After how many it is replaced.
    pub(super) most: u32,
}

#[derive(Debug)]
struct Consensus {
    ring: HashRing,
    /// The directories that clients with this consensus ask now, for each replica.
    shelf: [Shelf; 2],
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Shelf {
    spots: [u32; PER_REPLICA],
    count: u8,
}

impl Shelves {
    pub(super) fn new(
        service: ServiceId,
        real_signatures: bool,
        directories: impl IntoIterator<Item = Fingerprint>,
        now: UnixTime,
    ) -> Self {
        let directories: BTreeMap<_, _> = directories
            .into_iter()
            .map(|fingerprint| (fingerprint, Place::default()))
            .collect();
        let ring = HashRing::new(directories.keys().copied());
        let mut shelves = Self {
            service,
            real_signatures,
            directories,
            spots: Vec::new(),
            spots_by_name: BTreeMap::new(),
            texts: Vec::new(),
            texts_by_bytes: HashMap::new(),
            points: Vec::new(),
            points_by_name: BTreeMap::new(),
            relays: BTreeMap::new(),
            first_hour: now.start_of_hour(),
            consensuses: Vec::new(),
            period: TimePeriod::at(&service, now),
        };
        shelves.add_consensus(ring);
        shelves
    }

    // Consensuses.

    /// In every hour, each directory leaves with this chance, and as many new ones join.
    pub(super) fn churn(&mut self, chance: f64, rng: &mut ChaCha12Rng) {
        let Some(newest) = self.consensuses.last() else { return };
        let mut stay: Vec<_> = newest.ring.iter().collect();
        let before = stay.len();
        stay.retain(|_| !rng.random_bool(chance));
        for _ in stay.len()..before {
            let new = Fingerprint::from(rng.random::<[u8; 20]>());
            self.directories.insert(new, Place::default());
            stay.push(new);
        }
        let ring = HashRing::new(stay);
        let gone: Vec<_> = newest.ring.iter().filter(|old| !ring.contains(old)).collect();
        for directory in gone {
            self.set_fault(&directory, Fault::Silent);
        }
        self.add_consensus(ring);
    }

    fn add_consensus(&mut self, ring: HashRing) {
        let shelf = self.shelf_of(&ring);
        self.consensuses.push(Consensus { ring, shelf });
    }

    /// Clients look elsewhere when a time period ends. Returns when the one ends that began.
    pub(super) fn turn(&mut self, now: UnixTime) -> UnixTime {
        self.period = TimePeriod::at(&self.service, now);
        for number in 0..self.consensuses.len() {
            let shelf = self.consensuses.get(number).map(|one| one.ring.clone());
            let shelf = shelf.map(|ring| self.shelf_of(&ring));
            if let (Some(one), Some(shelf)) = (self.consensuses.get_mut(number), shelf) {
                one.shelf = shelf;
            }
        }
        self.period.end(&self.service)
    }

    fn shelf_of(&mut self, ring: &HashRing) -> [Shelf; 2] {
        let period = self.period;
        Replica::ALL.map(|replica| {
            let mut shelf = Shelf {
                spots: [NONE; PER_REPLICA],
                count: 0,
            };
            for directory in DescriptorId::of(&self.service, period, replica).responsible(ring) {
                let spot = self.spot(directory, period, replica);
                if let Some(place) = shelf.spots.get_mut(usize::from(shelf.count)) {
                    *place = spot;
                    shelf.count += 1;
                }
            }
            shelf
        })
    }

    /// The number of the newest consensus.
    pub(super) fn newest(&self) -> usize {
        self.consensuses.len() - 1
    }

    /// When a consensus became valid.
    pub(super) fn valid_after(&self, consensus: usize) -> UnixTime {
        self.first_hour
            .saturating_add(Duration::from_secs(consensus as u64 * HOUR))
    }

    /// The newest consensus at some time that has already been.
    pub(super) fn newest_at(&self, time: UnixTime) -> usize {
        let hours = time.as_secs().saturating_sub(self.first_hour.as_secs()) / HOUR;
        (hours as usize).min(self.newest())
    }

    pub(super) fn ring(&self, consensus: usize) -> &HashRing {
        // Views come from `newest`, and consensuses stay.
        &self.consensuses[consensus.min(self.newest())].ring
    }

    /// The directories that clients with this consensus ask, for each replica.
    pub(super) fn shelf(&self, consensus: usize) -> &[Shelf; 2] {
        &self.consensuses[consensus.min(self.newest())].shelf
    }

    // Directories.

    /// The number of a directory and a descriptor ID.
    pub(super) fn spot(&mut self, directory: Fingerprint, period: TimePeriod, replica: Replica) -> u32 {
        let id = DescriptorId::of(&self.service, period, replica);
        if let Some(&spot) = self.spots_by_name.get(&(directory, id)) {
            return spot;
        }
        let number = self.spots.len() as u32;
        self.spots.push(Spot {
            directory,
            id,
            period,
            replica,
            text: NONE,
            answers: true,
            handed_out: 0,
            missing: 0,
            unanswered: 0,
        });
        self.spots_by_name.insert((directory, id), number);
        self.look(number);
        number
    }

    pub(super) fn spot_mut(&mut self, number: u32) -> &mut Spot {
        // Numbers come from `spot`, and spots stay.
        &mut self.spots[number as usize]
    }

    pub(super) fn spots(&self) -> &[Spot] {
        &self.spots
    }

    pub(super) fn set_fault(&mut self, directory: &Fingerprint, fault: Fault) {
        if let Some(place) = self.directories.get_mut(directory) {
            place.fault = fault;
        }
        self.look_at(directory);
    }

    pub(super) fn forget(&mut self, directory: &Fingerprint) {
        if let Some(place) = self.directories.get_mut(directory) {
            place.directory.forget();
        }
        self.look_at(directory);
    }

    /// A directory takes an upload that arrives. Returns the answer, if there is one.
    pub(super) fn upload(&mut self, directory: &Fingerprint, text: &[u8], now: UnixTime) -> Option<UploadAnswer> {
        let place = self.directories.get_mut(directory)?;
        let answer = match self.real_signatures {
            true => place.upload(&RustCrypto, text, now),
            false => place.upload(&Seal, text, now),
        };
        self.look_at(directory);
        answer
    }

    /// Returns what a directory tells a Tor that asks, if it answers.
    pub(super) fn read(&self, directory: &Fingerprint, id: &DescriptorId) -> Option<Found> {
        self.directories.get(directory)?.read(id)
    }

    /// The descriptors that directories hold for the present and the next time period.
    pub(super) fn held(&self) -> impl Iterator<Item = (&Spot, &Descriptor)> {
        self.spots.iter().filter_map(|spot| {
            let place = self.directories.get(&spot.directory)?;
            Some((spot, place.held(&spot.id)?))
        })
    }

    /// Notes what a directory hands out now.
    fn look_at(&mut self, directory: &Fingerprint) {
        let first = (*directory, DescriptorId::from([0; 20]));
        let last = (*directory, DescriptorId::from([0xff; 20]));
        let spots: Vec<u32> = self.spots_by_name.range(first..=last).map(|(_, &spot)| spot).collect();
        for spot in spots {
            self.look(spot);
        }
    }

    fn look(&mut self, number: u32) {
        let Spot { directory, id, .. } = *self.spot_mut(number);
        let place = self.directories.get(&directory);
        let answers = place.is_some_and(|place| place.fault != Fault::Silent);
        let held = place.and_then(|place| place.held(&id)).cloned();
        let text = held.map_or(NONE, |descriptor| self.text(&descriptor));
        let spot = self.spot_mut(number);
        (spot.text, spot.answers) = (text, answers);
    }

    // Texts and points.

    /// The number of a text: the same bytes have the same.
    fn text(&mut self, descriptor: &Descriptor) -> u32 {
        if let Some(&number) = self.texts_by_bytes.get(descriptor.text()) {
            return number;
        }
        let mut text = Text {
            time: descriptor.publication_time().as_secs(),
            points: [(NONE, NONE); MOST_POINTS],
            count: 0,
        };
        for point in descriptor.introduction_points().unwrap_or_default() {
            let pair = (self.point(&point), self.relay(point.identity()));
            if let Some(place) = text.points.get_mut(usize::from(text.count)) {
                *place = pair;
                text.count += 1;
            }
        }
        let number = self.texts.len() as u32;
        self.texts.push(text);
        self.texts_by_bytes.insert(descriptor.text().into(), number);
        number
    }

    /// The number of an introduction point. One that was not heard of before is nobody's.
    pub(super) fn point(&mut self, point: &IntroductionPoint) -> u32 {
        let next = self.points.len() as u32;
        let number = *self.points_by_name.entry(point.clone()).or_insert(next);
        if number == next {
            self.points.push(Point {
                server: NONE,
                open: false,
                introductions: 0,
                most: u32::MAX,
            });
        }
        number
    }

    pub(super) fn point_mut(&mut self, number: u32) -> &mut Point {
        // Numbers come from `point`, and points stay.
        &mut self.points[number as usize]
    }

    pub(super) fn relay(&mut self, relay: Fingerprint) -> u32 {
        let next = self.relays.len() as u32;
        *self.relays.entry(relay).or_insert(next)
    }
}

impl Text {
    /// The points with their relays.
    pub(super) fn points(&self) -> &[(u32, u32)] {
        self.points.get(..usize::from(self.count)).unwrap_or_default()
    }
}

impl Shelf {
    pub(super) fn spots(&self) -> &[u32] {
        self.spots.get(..usize::from(self.count)).unwrap_or_default()
    }
}

/// The consensus that a Tor has, and when it gets another.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct View {
    consensus: u32,
    /// In seconds since 1970, less those at which the first consensus was made.
    next: u32,
}

impl View {
    /// Returns the view of a Tor that has run for some hours.
    pub(super) fn drawn(shelves: &Shelves, now: UnixTime, rng: &mut ChaCha12Rng) -> Self {
        let mut view = Self::default();
        view.get(shelves, shelves.newest_at(now).saturating_sub(3), rng);
        view.advance(shelves, now, rng);
        view
    }

    /// The number of the consensus that is used at some time, which never goes back.
    pub(super) fn advance(&mut self, shelves: &Shelves, now: UnixTime, rng: &mut ChaCha12Rng) -> usize {
        loop {
            let next = UnixTime::from_secs(self.next(shelves));
            let newest = shelves.newest_at(next);
            // Where no consensus is made any more, there is none to wait for.
            if next > now || newest == self.consensus as usize {
                return self.consensus as usize;
            }
            self.get(shelves, newest, rng);
        }
    }

    /// When it gets another, in seconds since 1970.
    pub(super) fn next(&self, shelves: &Shelves) -> u64 {
        shelves.first_hour.as_secs() + u64::from(self.next)
    }

    /// A client gets another three quarters of an hour after the old one stopped being fresh, or up
    /// to seven eighths of the time until it is invalid later
    /// (`feature/nodelist/networkstatus.c:1180-1225`). A consensus is fresh for an hour and valid
    /// for three.
    fn get(&mut self, shelves: &Shelves, consensus: usize, rng: &mut ChaCha12Rng) {
        const FIRST: u64 = HOUR + HOUR * 3 / 4;
        const WITHIN: u64 = (3 * HOUR - FIRST) * 7 / 8;
        let since = shelves.valid_after(consensus).as_secs() - shelves.first_hour.as_secs();
        self.consensus = consensus as u32;
        self.next = (since + FIRST + rng.random_range(0..WITHIN)) as u32;
    }
}

/// A key whose signatures are as real as they shall be.
pub(super) fn service_key(private: onionweave_desc::rsa::PrivateKey, real: bool) -> Result<ServiceKey, crate::Error> {
    Ok(match real {
        true => ServiceKey::new(private, &RustCrypto)?,
        false => ServiceKey::new(private, &Seal)?,
    })
}
