//! The key of the simulated service, and introduction points.

use std::net::Ipv4Addr;

use onionweave_desc::rsa::PrivateKey;
use onionweave_desc::v2::{IntroductionPoint, UnverifiedDescriptor};
use onionweave_ring::Fingerprint;
use rand::seq::IndexedRandom as _;
use rand::{Rng, RngExt as _};

use crate::Error;

/// The key of every simulated service.
const KEY: &str = include_str!("../testdata/private_key");
/// The key of an instance with an address of its own.
const INSTANCE_KEY: &str = include_str!("../testdata/instance_key");
/// Descriptor whose introduction points lend their RSA keys: making new ones would take longer than
/// the simulation.
const DONOR: &[u8] = include_bytes!("../testdata/descriptor.txt");

pub(crate) fn private_key() -> Result<PrivateKey, Error> {
    Ok(PrivateKey::from_pem(KEY)?)
}

pub(crate) fn instance_key() -> Result<PrivateKey, Error> {
    Ok(PrivateKey::from_pem(INSTANCE_KEY)?)
}

/// Identity of an introduction point among all others: its relay may have others too, and the
/// addresses here are drawn anew.
pub(crate) type PointName = (Fingerprint, Ipv4Addr);

pub(crate) fn name(point: &IntroductionPoint) -> PointName {
    (point.identity(), point.address())
}

/// Makes introduction points at relays of their own.
#[derive(Clone, Debug)]
pub(crate) struct Points {
    donors: Vec<IntroductionPoint>,
    /// The relays to choose from; if there are none, each point gets a new one.
    relays: Vec<Fingerprint>,
}

impl Points {
    pub(crate) fn new() -> Result<Self, Error> {
        let donors = UnverifiedDescriptor::parse(DONOR)?.verify()?.introduction_points()?;
        let relays = Vec::new();
        Ok(Self { donors, relays })
    }

    /// Places points at this number of relays only, so that instances meet at some.
    pub(crate) fn at_relays(mut self, rng: &mut impl Rng, count: usize) -> Self {
        self.relays = (0..count)
            .map(|_| Fingerprint::from(rng.random::<[u8; 20]>()))
            .collect();
        self
    }

    pub(crate) fn draw(&self, rng: &mut impl Rng, count: usize) -> Vec<IntroductionPoint> {
        let mut relays = self.relays.sample(rng, count).copied().collect::<Vec<_>>();
        let donors = self.donors.iter().cycle().take(count);
        donors
            .filter_map(|donor| {
                let relay = relays
                    .pop()
                    .unwrap_or_else(|| Fingerprint::from(rng.random::<[u8; 20]>()));
                let address = Ipv4Addr::from(rng.random::<[u8; 4]>());
                let (onion_key, service_key) = (donor.onion_key().clone(), donor.service_key().clone());
                IntroductionPoint::new(relay, address, 9001, onion_key, service_key).ok()
            })
            .collect()
    }
}
