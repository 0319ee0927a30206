//! Onion services of version 3: their names, and where their descriptors belong (rend-spec-v3,
//! sections 1.3, 2.1, 2.2 and appendix A.2). Needs the feature `v3`.
//!
//! An [`Address`] is a public key. Each [`Period`] blinds it with a factor of its own to a
//! [`BlindedId`], under which directories keep the descriptor without learning whose it is. Who
//! knows the address knows the [`Subcredential`] as well, which decrypts the descriptor.
//!
//! The [`Schedule`] of a consensus tells for which two periods services publish at one time. Each
//! of the two has a [`Ring`], and a [`SharedRandom`] value that moves all directories on it. The
//! [`Spread`] of a descriptor is the directories that store it, and the part of the clients that
//! each one serves.
//!
//! References are to files below `src/` of tor 0.4.9.

mod address;
mod blinded_id;
mod directories;
mod period;
mod ring;
mod schedule;
mod spread;
mod subcredential;

pub use address::Address;
pub use blinded_id::BlindedId;
pub use directories::Directories;
pub use period::Period;
pub use ring::{Directory, Index, Place, Responsible, Ring};
pub use schedule::{Network, Publication, Schedule, Which};
pub use spread::Spread;
pub use subcredential::Subcredential;

pub use crate::relays::SharedRandom;

use sha3::{Digest, Sha3_256};

/// SHA3-256 of all parts, one after the other.
fn sha3_256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha3_256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}
