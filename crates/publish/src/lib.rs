#![doc = include_str!("../README.md")]

mod event;
#[doc(hidden)]
pub mod fuzz;
pub mod health;
mod machine;
mod moment;
pub mod pool;
mod report;

pub use event::{
    Action, Down, Event, Found, InstanceName, InstanceSettings, Settings, SlotId, Source, Stamp, Ticket, UploadAnswer,
};
pub use machine::{Machine, Policy};
pub use moment::Moment;
pub use report::{Cause, Report, Round};
