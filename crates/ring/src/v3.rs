//! Names of version 3 onion services and of their descriptors (rend-spec-v3, sections 1.3, 2.1, 2.2
//! and appendix A.2). Needs the feature `v3`.
//!
//! An [`Address`] is a public key. Each [`Period`] blinds it with a factor of its own to a
//! [`BlindedId`], under which directories keep the descriptor without learning whose it is. Who
//! knows the address knows the [`Subcredential`] as well, which decrypts the descriptor.
//!
//! References are to files below `src/` of tor 0.4.8.

mod address;
mod blinded_id;
mod period;
mod subcredential;

pub use address::Address;
pub use blinded_id::BlindedId;
pub use period::Period;
pub use subcredential::Subcredential;

use sha3::{Digest, Sha3_256};

/// SHA3-256 of all parts, one after the other.
fn sha3_256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha3_256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}
