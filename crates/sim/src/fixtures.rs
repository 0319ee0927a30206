//! The key of the simulated service, and introduction points.

use std::net::Ipv4Addr;

use onionweave_desc::rsa::PrivateKey;
use onionweave_desc::v2::{IntroductionPoint, UnverifiedDescriptor};
use onionweave_ring::Fingerprint;
use rand::{Rng, RngExt as _};

use crate::Error;

/// The key of every simulated service.
const KEY: &str = include_str!("../testdata/private_key");
/// Whose introduction points' RSA keys are borrowed: making new ones would take longer than the simulation.
const DONOR: &[u8] = include_bytes!("../testdata/descriptor.txt");

pub(crate) fn private_key() -> Result<PrivateKey, Error> {
    Ok(PrivateKey::from_pem(KEY)?)
}

/// Makes introduction points at relays of their own.
#[derive(Clone, Debug)]
pub(crate) struct Points {
    donors: Vec<IntroductionPoint>,
}

impl Points {
    pub(crate) fn new() -> Result<Self, Error> {
        let donors = UnverifiedDescriptor::parse(DONOR)?.verify()?.introduction_points()?;
        Ok(Self { donors })
    }

    pub(crate) fn draw(&self, rng: &mut impl Rng, count: usize) -> Vec<IntroductionPoint> {
        let donors = self.donors.iter().cycle().take(count);
        donors
            .filter_map(|donor| {
                let relay = Fingerprint::from(rng.random::<[u8; 20]>());
                let address = Ipv4Addr::from(rng.random::<[u8; 4]>());
                let (onion_key, service_key) = (donor.onion_key().clone(), donor.service_key().clone());
                IntroductionPoint::new(relay, address, 9001, onion_key, service_key).ok()
            })
            .collect()
    }
}
