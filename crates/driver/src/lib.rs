#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod carrier;
mod check;
pub mod config;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod gauge;
pub mod key;
mod link;
mod pool;
mod prober;
mod publisher;
mod service;
mod sides;
mod state;
mod watch;

pub use error::Error;
pub use pool::PoolMember;
pub use publisher::{Publisher, Reports, ServiceReport};
