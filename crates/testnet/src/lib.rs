#![doc = include_str!("../README.md")]
//!
//! # Layout
//!
//! - [`tor`](mod@tor): finding, checking and building the tor binary.
//! - [`packages`]: installing Debian packages.
//! - [`Network`]: authorities and relays.
//! - [`Instance`]: onion services; [`Fleet`]: instances of one service.
//! - [`Backend`]: the web server behind an instance.
//! - [`Client`]: a visitor; [`Probe`]: a reader of what directories hold.
//!
//! File names with a line, such as `feature/dirauth/dirvote.h:46`, are below `src/` of tor 0.4.5.9.

mod backend;
mod client;
mod error;
mod fleet;
mod home;
mod instance;
mod keys;
mod network;
pub mod packages;
mod ports;
mod probe;
mod process;
mod relay;
pub mod tor;
mod torrc;

pub use onionweave_control::launch::LogExcerpt;

pub use backend::Backend;
pub use client::{Client, ClientBuilder};
pub use error::Error;
pub use fleet::Fleet;
pub use instance::{Instance, InstanceBuilder, SERVICE_PORT};
pub use keys::ServiceKey;
pub use network::{Network, NetworkBuilder, Progress};
pub use probe::{Holding, Place, Probe};
pub use relay::Relay;
pub use torrc::Role;
