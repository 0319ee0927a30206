//! Descriptors of version 2, by their public interface.

#![allow(clippy::unwrap_used, reason = "tests may unwrap, their helpers too")]

#[path = "v2/authorization.rs"]
mod authorization;
#[path = "v2/bad_input.rs"]
mod bad_input;
#[path = "v2/cases.rs"]
mod cases;
#[path = "v2/client_cases.rs"]
mod client_cases;
#[path = "v2/client_files.rs"]
mod client_files;
#[path = "v2/properties.rs"]
mod properties;
#[path = "v2/recordings.rs"]
mod recordings;
#[path = "v2/strictness.rs"]
mod strictness;
#[path = "v2/support.rs"]
mod support;
#[path = "v2/verdicts.rs"]
mod verdicts;
