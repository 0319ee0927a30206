//! Private networks of real Tor: where experiments play with `--real`.
//!
//! # Layout
//!
//! - `stage`: the network and its clients.
//! - `service`: instances with one key, what stands behind them, and their publisher.
//! - `visits`: what clients do, and what came of it.

mod service;
mod stage;
mod visits;

pub(crate) use service::{Plan, Service};
pub(crate) use stage::Stage;

pub(crate) use crate::stage::play;
pub(crate) use visits::{Visiting, answered, in_vain, outage, trace, waits};
