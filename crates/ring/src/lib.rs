#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod address;
mod arcs;
mod descriptor_id;
mod directories;
mod distance;
mod ed25519_identity;
mod error;
mod fingerprint;
mod hash_ring;
pub mod relays;
mod text;
mod unix_time;
pub mod v2;
#[cfg(feature = "v3")]
pub mod v3;

#[doc(hidden)]
pub mod fuzz;

pub use address::OnionAddress;
pub use descriptor_id::DescriptorId;
pub use directories::Directories;
pub use distance::Distance;
pub use ed25519_identity::Ed25519Identity;
pub use error::Error;
pub use fingerprint::Fingerprint;
pub use hash_ring::HashRing;
pub use unix_time::UnixTime;
