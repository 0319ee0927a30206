//! The work that is counted: in instructions by one bench, in memory by another.

use std::array;
use std::hint::black_box;
use std::net::Ipv4Addr;

use onionweave::desc::v2::{Descriptor, Draft, IntroductionPoint, ServiceKey, UnverifiedDescriptor};
use onionweave::ring::relays::RelayList;
use onionweave::ring::v2::{DescriptorId, Replica, ServiceId, TimePeriod};
use onionweave::ring::{Fingerprint, HashRing};

use crate::inputs;

/// As many directories as the aims for the ring are set for.
const DIRECTORIES: u32 = 7000;

/// The most introduction points of one descriptor.
const POINTS: usize = 10;

/// A descriptor with three introduction points, as Tor wrote it, and the key that it is signed with.
const TEXT: &[u8] = include_bytes!("../crates/desc/testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
const KEY: &str = include_str!("../crates/desc/testdata/plain/private_key");

pub(crate) fn parse() -> UnverifiedDescriptor {
    UnverifiedDescriptor::parse(black_box(TEXT)).unwrap()
}

pub(crate) fn parse_and_verify() -> Descriptor {
    parse().verify().unwrap()
}

pub(crate) fn introduction_points(descriptor: &Descriptor) -> Vec<IntroductionPoint> {
    black_box(descriptor).introduction_points().unwrap()
}

/// A service with six descriptors to be signed, each with ten introduction points of its own.
pub(crate) struct Service {
    key: ServiceKey,
    example: Descriptor,
    period: TimePeriod,
    drafts: [Draft; 6],
}

impl Service {
    pub(crate) fn new() -> Self {
        let key = ServiceKey::from_pem(KEY).unwrap();
        let example = parse_and_verify();
        let points = introduction_points(&example);
        let drafts = array::from_fn(|draft| {
            let numbers = draft * POINTS..(draft + 1) * POINTS;
            Draft::new(
                numbers
                    .map(|number| elsewhere(&points[number % points.len()], number))
                    .collect(),
            )
        });
        Self {
            period: TimePeriod::at(&key.service_id(), example.publication_time()),
            key,
            example,
            drafts,
        }
    }

    pub(crate) fn sign(&self) -> Descriptor {
        self.sign_draft(0)
    }

    pub(crate) fn sign_six(&self) -> [Descriptor; 6] {
        array::from_fn(|number| self.sign_draft(number))
    }

    fn sign_draft(&self, number: usize) -> Descriptor {
        let draft = &black_box(&self.drafts)[number];
        let replica = Replica::ALL[number / 3];
        draft
            .sign(&self.key, self.period, replica, self.example.publication_time())
            .unwrap()
    }
}

/// The same introduction point at another relay.
fn elsewhere(point: &IntroductionPoint, number: usize) -> IntroductionPoint {
    let number = u32::try_from(number).unwrap();
    let relay = Fingerprint::from(inputs::digest(number, 1));
    let keys = (point.onion_key().clone(), point.service_key().clone());
    IntroductionPoint::new(relay, Ipv4Addr::from(number), 9001, keys.0, keys.1).unwrap()
}

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
        let example = parse_and_verify();
        let step = u32::MAX / DIRECTORIES;
        Self {
            ring: (0..DIRECTORIES)
                .map(|number| inputs::digest(number * step, number).into())
                .collect(),
            service: example.service_id(),
            period: TimePeriod::at(&example.service_id(), example.publication_time()),
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
