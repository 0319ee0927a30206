#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod event;
#[doc(hidden)]
pub mod fuzz;
pub mod health;
mod machine;
mod moment;
pub mod pool;
mod report;
mod slot_id;
pub mod trace;

pub use event::{
    Action, Down, Event, Found, InstanceName, InstanceSettings, Settings, Source, Stamp, Ticket, UploadAnswer,
};
pub use machine::{Machine, Policy};
pub use moment::Moment;
pub use report::{Cause, Report, Round};
pub use slot_id::{Period, ReplicaNumber, SlotId};
