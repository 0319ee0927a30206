#![doc = include_str!("../README.md")]

pub mod config;
mod error;
#[doc(hidden)]
pub mod fuzz;
pub mod log;
mod places;
pub mod program;

pub use config::Config;
pub use error::Error;

/// A configuration with every key, and what each means.
pub const SAMPLE: &str = include_str!("../onionweave.toml");
