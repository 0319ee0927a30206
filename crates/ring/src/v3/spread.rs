//! The directories of a descriptor, and how many of the clients ask each.

use super::{BlindedId, Place, Ring};
use crate::relays::OnionServices;

/// The directories that store a descriptor, and the part of the clients that each one serves.
///
/// Services upload to more directories than clients ask, so that a client with an older consensus
/// finds the descriptor as well. A client picks one directory of those that it asks, each with the
/// same chance and whatever the replica (`pick_hsdir_v3`, feature/hs/hs_client.c).
///
/// ```
/// use onionweave_ring::relays::OnionServices;
/// use onionweave_ring::v3::{BlindedId, Directory, Period, Ring, SharedRandom, Spread};
/// use onionweave_ring::{Ed25519Identity, Fingerprint};
///
/// let directories = (0..100).map(|n| Directory::new(Fingerprint::from([n; 20]), Ed25519Identity::from([n; 32])));
/// let ring = Ring::new(Period::new(20_780, 1440), SharedRandom::from([7; 32]), directories);
/// let spread = Spread::new(&ring, &BlindedId::from([9; 32]), &OnionServices::default());
/// assert_eq!((spread.stored().len(), spread.asked().len()), (8, 6));
/// let total: f64 = spread.stored().iter().map(|place| spread.read_share(place)).sum();
/// assert!((total - 1.0).abs() < 1e-12);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    stored: Vec<Place>,
    asked: Vec<Place>,
}

impl Spread {
    /// The directories of the descriptor with this blinded key on this ring.
    pub fn new(ring: &Ring, id: &BlindedId, values: &OnionServices) -> Self {
        Self {
            stored: ring.responsible(id, values).collect(),
            asked: ring.asked(id, values).collect(),
        }
    }

    /// The directories to which services upload, in C Tor's order.
    pub fn stored(&self) -> &[Place] {
        &self.stored
    }

    /// The directories that clients ask, in C Tor's order.
    ///
    /// As long as the spread for clients is not the larger one, each of them is
    /// [stored](Self::stored), though maybe for another replica.
    pub fn asked(&self) -> &[Place] {
        &self.asked
    }

    /// The part of the clients of this descriptor that ask the directory of this place: one divided
    /// by the number of directories that are asked, or zero.
    pub fn read_share(&self, place: &Place) -> f64 {
        match self.asked.iter().any(|asked| asked.directory() == place.directory()) {
            true => 1.0 / self.asked.len() as f64,
            false => 0.0,
        }
    }
}
