//! The rules of version 2 (`rend-spec-v2.txt`).

use std::net::Ipv4Addr;
use std::sync::Arc;

use onionweave_assign::Relay;
use onionweave_desc::v2::{
    AgeVerdict, Authorization, Descriptor, IntroductionPoint, PublicKey, ServiceKey, UnverifiedDescriptor,
};
use onionweave_ring::v2::{self, DIRECTORIES_PER_REPLICA, DescriptorId, Replica, SecretIdPart, ServiceId, TimePeriod};
use onionweave_ring::{Directories, Fingerprint, OnionAddress, UnixTime};

use super::{Audience, Habits, Offer, Origin, Place, Point, Reading, Unfit, Unwritable, Version};
use crate::SlotId;

mod text;

/// Clients refuse a descriptor with more points (`MAX_INTRO_POINTS`, `rendcache.c:939`).
const MOST_POINTS: usize = 10;

/// The rules of version 2 for the service with one key.
#[derive(Clone, Debug)]
pub struct V2 {
    key: ServiceKey,
    service_id: ServiceId,
    authorization: Option<Authorization>,
}

impl V2 {
    /// The rules for the service with this key, which all clients may read.
    pub fn new(key: ServiceKey) -> Self {
        Self {
            service_id: key.service_id(),
            key,
            authorization: None,
        }
    }

    /// Reads a point of version 2; `None` if it is another version's.
    ///
    /// ```
    /// use onionweave_desc::v2::UnverifiedDescriptor;
    /// use onionweave_publish::version::V2;
    ///
    /// let text = include_bytes!("../../testdata/descriptor.txt");
    /// for point in UnverifiedDescriptor::parse(text)?.verify()?.introduction_points()? {
    ///     assert_eq!(V2::introduction_point(&V2::point(&point)), Some(point));
    /// }
    /// # Ok::<(), onionweave_desc::Error>(())
    /// ```
    pub fn introduction_point(point: &Point) -> Option<IntroductionPoint> {
        let (identity, rest) = point.as_bytes().split_first_chunk::<20>()?;
        let (address, rest) = rest.split_first_chunk::<4>()?;
        let (port, rest) = rest.split_first_chunk()?;
        let (onion_key, rest) = split_key(rest)?;
        let (service_key, _) = split_key(rest)?;
        let address = Ipv4Addr::from(*address);
        let port = u16::from_be_bytes(*port);
        IntroductionPoint::new(Fingerprint::from(*identity), address, port, onion_key, service_key).ok()
    }

    /// The point of the machine that stands for one of version 2. Points have the order of what
    /// they stand for.
    pub fn point(point: &IntroductionPoint) -> Point {
        let identity = *point.identity().as_bytes();
        let mut bytes = Vec::from(identity);
        bytes.extend(point.address().octets());
        bytes.extend(point.port().to_be_bytes());
        for key in [point.onion_key(), point.service_key()] {
            let der = key.as_der();
            // A text of 20 KiB holds no longer key.
            bytes.extend((der.len() as u16).to_be_bytes());
            bytes.extend(der);
        }
        // No two relays share the first sixteen bytes of their identities.
        let first = identity.first_chunk().copied().unwrap_or_default();
        Point::new(Relay::from(first), bytes)
    }

    /// The descriptor IDs under which a text of this date may stand.
    ///
    /// A text is dated with the full hour, in which a period may end. In the last hour of a period
    /// the next one's are out too.
    fn ids_at(&self, address: ServiceId, dated: UnixTime) -> impl Iterator<Item = DescriptorId> + use<'_> {
        let cookie = self.authorization.as_ref().and_then(Authorization::id_cookie);
        let cookie = cookie.filter(|_| address == self.service_id);
        let period = TimePeriod::at(&address, dated);
        [period, period.next()].into_iter().flat_map(move |period| {
            Replica::ALL.map(|replica| DescriptorId::new(&address, &SecretIdPart::new(period, replica, cookie)))
        })
    }

    fn points_of(&self, descriptor: &Descriptor) -> Result<Vec<IntroductionPoint>, Unfit> {
        let sealed = |error: onionweave_desc::Error| Unfit::Sealed { why: error.to_string() };
        let Some(authorization) = &self.authorization else {
            return descriptor.introduction_points().map_err(sealed);
        };
        if descriptor.authorization().is_none() {
            // Nobody finds an instance's own address, unless told.
            if descriptor.service_id() != self.service_id {
                return descriptor.introduction_points().map_err(sealed);
            }
            return Err(Unfit::Open);
        }
        // An instance may not know all clients yet.
        let mut why = "no client is authorized".to_owned();
        for cookie in authorization.cookies() {
            match descriptor.introduction_points_for(cookie) {
                Ok(points) => return Ok(points),
                Err(error) => why = error.to_string(),
            }
        }
        Err(Unfit::Sealed { why })
    }
}

impl From<ServiceKey> for Box<dyn Version> {
    fn from(key: ServiceKey) -> Self {
        Box::new(V2::new(key))
    }
}

impl Version for V2 {
    fn address(&self) -> OnionAddress {
        self.service_id.into()
    }

    fn habits(&self) -> Habits {
        Habits {
            most_points: MOST_POINTS,
            // A directory answers 200 even when it drops the text (`rendcache.c:736-742`).
        }
    }

    fn configure(&mut self, audience: Option<&Audience>) {
        self.authorization = audience.map(|Audience::V2(authorization)| authorization.clone());
    }

    fn shortage(&self, directories: &Directories) -> Option<usize> {
        let count = directories.hash_ring().len();
        (count < DIRECTORIES_PER_REPLICA).then_some(count)
    }

    fn place(&self, directories: &Directories, now: UnixTime) -> Vec<Place> {
        let cookie = self.authorization.as_ref().and_then(Authorization::id_cookie);
        let mut places = Vec::new();
        for period in TimePeriod::published(&self.service_id, now) {
            let start = places.len();
            for replica in Replica::ALL {
                let secret_id_part = SecretIdPart::new(period, replica, cookie);
                let descriptor_id = DescriptorId::new(&self.service_id, &secret_id_part);
                for directory in descriptor_id.responsible(directories.hash_ring()) {
                    places.push(Place {
                        slot: SlotId::new(period, replica, directory),
                        descriptor_id: descriptor_id.into(),
                        read_share: 0.0,
                    });
                }
            }
            // Each replica is drawn with equal chance and has as many directories as the other
            // (`rendclient.c:630-663`).
            let share = 1.0 / (places.len() - start) as f64;
            places.iter_mut().skip(start).for_each(|place| place.read_share = share);
        }
        places
    }

    fn next_change(&self, now: UnixTime) -> UnixTime {
        let end = TimePeriod::at(&self.service_id, now).end(&self.service_id);
        // The overlap begins when *fewer* than 3600 seconds are left (`rendservice.c:3861-3893`).
        let overlap = end
            .saturating_sub(v2::OVERLAP)
            .saturating_add(std::time::Duration::from_secs(1));
        if overlap > now { overlap } else { end }
    }

    fn readings(&self, of: OnionAddress, directories: &Directories, now: UnixTime) -> Vec<Reading> {
        let Some(address) = of.v2() else {
            return Vec::new();
        };
        let period = TimePeriod::at(&address, now);
        let ids = Replica::ALL.map(|replica| DescriptorId::of(&address, period, replica));
        let readings = ids.into_iter().flat_map(|id| {
            id.responsible(directories.hash_ring()).map(move |directory| Reading {
                directory,
                descriptor_id: id.into(),
            })
        });
        readings.collect()
    }

    fn read(&self, from: Origin, text: &[u8], now: UnixTime) -> Result<Offer, Unfit> {
        let descriptor = UnverifiedDescriptor::parse(text)
            .and_then(|descriptor| self.key.verify(descriptor))
            .map_err(|error| Unfit::Damaged { why: error.to_string() })?;
        let address = from.address.and_then(OnionAddress::v2).unwrap_or(self.service_id);
        if descriptor.service_id() != address {
            return Err(Unfit::Foreign {
                found: descriptor.service_id().into(),
                expected: address.into(),
            });
        }
        let dated = descriptor.publication_time();
        if !self.ids_at(address, dated).any(|id| id == descriptor.descriptor_id()) {
            return Err(Unfit::Misplaced {
                dated,
                address: address.into(),
                descriptor_id: descriptor.descriptor_id().into(),
            });
        }
        // A Tor that answers by itself shows nothing old, and it may be our clock that is off.
        if !from.is_own_tor {
            match descriptor.age_verdict(now) {
                AgeVerdict::Accepted => {}
                AgeVerdict::TooNew => return Err(Unfit::TooNew { dated, now }),
                _ => return Err(Unfit::TooOld { dated, now }),
            }
        }
        let points = self.points_of(&descriptor)?;
        Ok(Offer {
            dated,
            points: points.iter().map(Self::point).collect(),
        })
    }

    fn recognize(&self, text: &[u8]) -> Option<UnixTime> {
        let descriptor = UnverifiedDescriptor::parse(text).and_then(|descriptor| self.key.verify(descriptor));
        let ours = descriptor
            .ok()
            .filter(|descriptor| descriptor.service_id() == self.service_id)?;
        Some(ours.publication_time())
    }

    fn variants(&self, points: usize) -> u64 {
        text::variants(points)
    }

    fn write(&mut self, to: SlotId, points: &[Point], stamp: UnixTime, variant: u64) -> Result<Arc<[u8]>, Unwritable> {
        let (period, replica) = to.v2().ok_or_else(|| Unwritable::new("version 2 has no such slot"))?;
        let points: Option<Vec<_>> = points.iter().map(Self::introduction_point).collect();
        let points = points.ok_or_else(|| Unwritable::new("a point is of another version"))?;
        let authorization = self.authorization.as_ref();
        text::write(&self.key, authorization, period, replica, &points, variant, stamp)
            .map(|descriptor| Arc::from(descriptor.text()))
            .map_err(|error| Unwritable::new(error.to_string()))
    }
}

/// Splits off a key that its length precedes.
fn split_key(bytes: &[u8]) -> Option<(PublicKey, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (der, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    Some((PublicKey::from_der(der).ok()?, rest))
}
