//! Operations on descriptors.

use std::array;
use std::hint::black_box;
use std::net::Ipv4Addr;

use onionweave::desc::rsa::{Backend, PrivateKey};
use onionweave::desc::v2::{Descriptor, Draft, IntroductionPoint, ServiceKey, UnverifiedDescriptor};
use onionweave::ring::Fingerprint;
use onionweave::ring::v2::{Replica, TimePeriod};

/// The most introduction points of one descriptor.
const POINTS: usize = 10;

/// A descriptor with three introduction points, as Tor wrote it, and the key that it is signed
/// with.
const TEXT: &[u8] = include_bytes!("../../crates/desc/testdata/plain/descriptor-rf75jzdtba4wnd6v.txt");
const KEY: &str = include_str!("../../crates/desc/testdata/plain/private_key");

pub(crate) fn parse() -> UnverifiedDescriptor {
    UnverifiedDescriptor::parse(black_box(TEXT)).unwrap()
}

pub(crate) fn parse_and_verify(rsa: &'static dyn Backend) -> Descriptor {
    parse().verify_with(rsa).unwrap()
}

pub(crate) fn introduction_points(descriptor: &Descriptor) -> Vec<IntroductionPoint> {
    black_box(descriptor).introduction_points().unwrap()
}

pub(crate) fn key(rsa: &'static dyn Backend) -> ServiceKey {
    ServiceKey::new(PrivateKey::from_pem(KEY).unwrap(), rsa).unwrap()
}

/// A service with six descriptors to be signed, each with ten introduction points of its own.
pub(crate) struct Service {
    key: ServiceKey,
    example: Descriptor,
    period: TimePeriod,
    drafts: [Draft; 6],
}

impl Service {
    pub(crate) fn new(rsa: &'static dyn Backend) -> Self {
        let key = key(rsa);
        let example = parse_and_verify(rsa);
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
    let number = u8::try_from(number).unwrap();
    let address = Ipv4Addr::new(192, 0, 2, number);
    let keys = (point.onion_key().clone(), point.service_key().clone());
    IntroductionPoint::new(Fingerprint::from([number; 20]), address, 9001, keys.0, keys.1).unwrap()
}
