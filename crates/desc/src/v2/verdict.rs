//! Verdicts of others on a text: a directory that is offered it, and a client that fetched it.
//!
//! Both begin with the same parser (`rend_parse_v2_service_descriptor`, rendparse.c:73), and differ
//! in what they check beside. Directories don't look at introduction points, accept several
//! descriptors at once, and answer 200 even to what they drop. Clients read one descriptor, insist
//! on what they asked for and on introduction points, and know which of those failed them. The file
//! names are below `feature/rend` where no other folder is named.

mod client;
mod directory;

pub use client::{Fetch, FetchVerdict, Known};
pub use directory::{Fate, Offer, UploadVerdict};
