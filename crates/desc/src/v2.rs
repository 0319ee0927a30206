//! Descriptors of version 2 onion services (rend-spec-v2.txt, section 1.3), as C Tor 0.4.5.9 reads and writes them.
//!
//! A text becomes an [`UnverifiedDescriptor`] by parsing and a [`Descriptor`] by verification; a [`Draft`] becomes a
//! [`Descriptor`] by being signed. What a [`Descriptor`] says has been proved, and its bytes are kept as received.
//!
//! Whether a text is *good* depends on who asks. [`UploadVerdict`] is what a directory does with the body of an upload, given what it holds;
//! [`Fetch::judge`] is what a client does with a text that it fetched, given what it asked for and what it knows.
//!
//! # Why not `tor-netdoc`
//!
//! Its parser and C Tor's disagree in both directions. It refuses the blank line that ends every real list of introduction points,
//! permanent keys with an exponent other than 65537, comments, leading spaces and the `opt` prefix, all of which Tor accepts; it
//! accepts surplus arguments, items after the signature, NUL bytes and later lines that begin with `signature`, which Tor
//! refuses or hashes differently. A publisher must know what directories and clients do with a text, so this module follows
//! `feature/dirparse/parsecommon.c` and `feature/rend/rendparse.c` instead, verdict for verdict. The tests hold a table of the rules against this
//! module and against a running Tor, and the verdicts of both on thousands of mutants against each other. No difference is known.
//!
//! References are to files below `src/` of tor 0.4.5.9.

#[cfg(feature = "arbitrary")]
mod arbitrary;
pub(crate) mod authorization;
mod descriptor;
mod draft;
pub(crate) mod introduction_point;
mod keys;
#[cfg(feature = "serde")]
mod serialized;
mod verdict;

pub use authorization::{
    Authorization, ClientAddress, ClientKey, ClientKeys, ClientName, HostnameFile, MAX_BASIC_CLIENTS,
};
pub use descriptor::{AgeVerdict, Descriptor, UnverifiedDescriptor};
pub use draft::Draft;
pub use introduction_point::IntroductionPoint;
pub use keys::{PublicKey, ServiceKey};
pub use onionweave_ring::v2::{AuthorizationKind, ClientCookie, DescriptorCookie};
pub use verdict::{Fate, Fetch, FetchVerdict, Known, Offer, UploadVerdict};

/// The longest descriptor that directories and clients accept, in bytes: `REND_DESC_MAX_SIZE` (core/or/or.h:388).
pub const MAX_DESCRIPTOR_LEN: usize = 20 * 1024;

/// The most introduction points that clients accept: `MAX_INTRO_POINTS` (feature/rend/rendcache.h:26).
pub const MAX_INTRODUCTION_POINTS: usize = 10;
