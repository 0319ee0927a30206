//! Operations on rings.

use std::hint::black_box;

use onionweave::ring::relays::RelayList;
use onionweave::ring::v2::{DescriptorId, Replica, ServiceId, TimePeriod};
use onionweave::ring::{HashRing, UnixTime};

use crate::inputs;

/// Number of directories that the aims for the ring are set for.
const DIRECTORIES: u32 = 7000;

pub(crate) fn ring_of(ns_all: &str) -> HashRing {
    RelayList::from_ns_all(black_box(ns_all)).unwrap().hash_ring()
}

/// A service that asks a ring for its directories.
pub(crate) struct Asker {
    ring: HashRing,
    service: ServiceId,
    period: TimePeriod,
}

impl Asker {
    pub(crate) fn new() -> Self {
        let step = u32::MAX / DIRECTORIES;
        let service = ServiceId::from_public_key_der(b"any key");
        Self {
            ring: (0..DIRECTORIES)
                .map(|number| inputs::digest(number * step, number).into())
                .collect(),
            service,
            period: TimePeriod::at(&service, UnixTime::from_secs(1_795_349_239)),
        }
    }

    /// The directories of both replicas; they are counted, so that each is looked up.
    pub(crate) fn responsible(&self) -> usize {
        let responsible = |replica| {
            let id = DescriptorId::of(black_box(&self.service), self.period, replica);
            id.responsible(black_box(&self.ring)).map(black_box).count()
        };
        Replica::ALL.map(responsible).iter().sum()
    }
}
