#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod complaint;
mod event;
pub mod health;
mod instance_name;
mod machine;
mod moment;
mod pause;
mod planner;
pub mod pool;
mod reconciler;
mod report;
#[cfg(feature = "serde")]
mod serialized;
mod settings;
mod slot_id;
pub mod status;
pub mod trace;
pub mod version;
mod wanted;

pub use event::{Action, Down, Event, Found, Ticket, UploadAnswer};
pub use instance_name::{InstanceName, NameError};
pub use machine::{Machine, Policy};
pub use moment::Moment;
pub use planner::PlanError;
pub use report::{Cause, Report, Round};
pub use settings::{InstanceSettings, NamedTwice, Settings, Source, Stamp};
pub use slot_id::{Period, ReplicaNumber, SlotId};
pub use status::Status;
pub use wanted::{Target, Text, Wanted};
