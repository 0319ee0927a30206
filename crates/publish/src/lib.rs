#![doc = include_str!("../README.md")]

#[cfg(feature = "tokio")]
pub mod config;
#[cfg(feature = "tokio")]
pub mod driver;
mod error;
mod event;
#[doc(hidden)]
pub mod fuzz;
pub mod health;
#[cfg(feature = "tokio")]
pub mod key;
mod machine;
mod moment;
pub mod pool;
mod report;

#[cfg(feature = "tokio")]
pub use driver::{PoolMember, Publisher, Reports, ServiceReport};
pub use error::Error;
pub use event::{
    Action, Down, Event, Found, InstanceName, InstanceSettings, Settings, SlotId, Source, Stamp, Ticket, UploadAnswer,
};
pub use machine::{Machine, Policy};
pub use moment::Moment;
pub use report::{Cause, Report, Round};
