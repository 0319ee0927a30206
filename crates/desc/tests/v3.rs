//! Keys and descriptors of version 3, by their public interface.
#![cfg(feature = "v3")]
#![allow(clippy::unwrap_used, reason = "tests may unwrap, their helpers too")]

#[path = "v3/arti.rs"]
mod arti;
#[path = "v3/recordings.rs"]
mod recordings;
#[path = "v3/support.rs"]
mod support;
#[path = "v3/writing.rs"]
mod writing;
