//! Keys and descriptors of version 3 onion services (rend-spec-v3), as C Tor 0.4.9 reads and writes
//! them. Needs the feature `v3`.
//!
//! A text becomes an [`UnverifiedDescriptor`] by parsing and a [`SealedDescriptor`] by
//! verification, which is as far as a directory comes. A subcredential opens it to a
//! [`Descriptor`]; a restricted service takes a client's key besides. A [`Draft`] becomes a
//! [`SealedDescriptor`] by being signed with the [`PeriodKeys`] of a [`ServiceKey`].
//!
//! # Why not `tor-netdoc`
//!
//! Every directory knows the texts of Arti's builder by their size: it pads to another multiple
//! than C Tor. It writes one `auth-client` line where C Tor writes sixteen, and sorts the
//! introduction points. It drops proof of work and unknown lines. Arti's reader refuses texts
//! without a last newline, as `GETINFO` gives them. It refuses texts without introduction points,
//! as a starting instance has them.
//!
//! # Where this differs from C Tor
//!
//! - An introduction point whose `enc-key-cert` certifies another key than the one beside it is
//!   skipped. C Tor does not compare the two, and Arti refuses the whole text.
//! - Legacy keys of introduction points are passed over, and never written. Arti refuses a text
//!   that has one.
//! - An Ed25519 signature whose scalar is not reduced is refused, as Arti does.
//!
//! References are to files below `src/` of tor 0.4.8; the recordings in the tests are of tor
//! 0.4.9.11.

mod certificate;
mod clients;
mod counter;
mod crypto;
mod draft;
mod error;
mod header;
mod inner;
mod keys;
mod layers;
mod link_specifiers;
mod outer;
mod period_keys;
mod point;

pub use clients::{ClientKey, ClientSecretKey};
pub use draft::Draft;
pub use error::{CertificateProblem, ClientKeyFault, KeyFault, Problem};
pub use header::{FlowControl, Header, ProofOfWork};
pub use inner::{Descriptor, SkippedPoint};
pub use keys::ServiceKey;
pub use layers::Layer;
pub use link_specifiers::{LinkSpecifier, LinkSpecifiers};
pub use outer::{SealedDescriptor, UnverifiedDescriptor};
pub use period_keys::PeriodKeys;
pub use point::IntroductionPoint;

/// Length, in bytes, that a descriptor must stay below unless the consensus says otherwise:
/// `HS_DESC_MAX_LEN` (feature/hs/hs_descriptor.h:51), the default of `HSV3MaxDescriptorSize`.
pub const MAX_DESCRIPTOR_LEN: usize = 50_000;

/// Most introduction points that clients accept: `HS_CONFIG_V3_MAX_INTRO_POINTS`
/// (feature/hs/hs_config.h:18).
pub const MAX_INTRODUCTION_POINTS: usize = 20;
