//! Descriptors of version 2 onion services (rend-spec-v2.txt, section 1.3), as C Tor 0.4.5.9 reads
//! and writes them.
//!
//! A text becomes an [`UnverifiedDescriptor`] by parsing and a [`Descriptor`] by verification; a
//! [`Draft`] becomes a [`Descriptor`] by being signed. What a [`Descriptor`] says has been proved,
//! and its bytes are kept as received.
//!
//! Whether a text is *good* depends on who asks. [`UploadVerdict`] is what a directory does with
//! the body of an upload, given what it holds; [`Fetch::judge`] is what a client does with a text
//! that it fetched, given what it asked for and what it knows.
//!
//! # Why not `tor-netdoc`
//!
//! Its parsers are derived from structs (`parse2`), also outside its own crate, and what they make
//! of a text is not what C Tor makes of it, in both directions. They refuse the blank line that
//! ends every real list of introduction points, permanent keys with an exponent other than 65537,
//! blank lines, leading spaces, carriage returns, the `opt` prefix and base64 with spaces or
//! without padding, all of which Tor accepts. They accept surplus arguments, items after the
//! signature and NUL bytes, which Tor refuses, and take another view of what is signed if another
//! line begins with `signature`. A publisher must know what directories and clients do with a text,
//! so this module follows `feature/dirparse/parsecommon.c` and `feature/rend/rendparse.c` instead,
//! verdict for verdict. One difference is known: an RSA private key of three primes, which an
//! unknown item might have for its object, is refused.
//!
//! It also takes less: 40 000 instructions against 232 000 to parse a descriptor with three
//! introduction points, and 30 000 against 99 000 to read those (counted with Valgrind;
//! `benches/netdoc.rs` measures the time).
//!
//! The tests hold a table of the rules against this module and against a running Tor
//! (`tests/real_verdicts`), the verdicts of both on thousands of mutants against each other, and
//! what this module reads against what `parse2` reads (`tests/netdoc`).
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

/// The longest descriptor that directories and clients accept, in bytes: `REND_DESC_MAX_SIZE`
/// (core/or/or.h:388).
pub const MAX_DESCRIPTOR_LEN: usize = 20 * 1024;

/// The most introduction points that clients accept: `MAX_INTRO_POINTS`
/// (feature/rend/rendcache.h:26).
pub const MAX_INTRODUCTION_POINTS: usize = 10;
