#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod carrier;
mod check;
mod error;
mod gauge;
pub mod key;
mod net;
mod panics;
mod pool;
mod prepare;
mod prober;
mod program;
mod publisher;
mod service;
mod sides;
mod state;
mod status;
mod teller;
mod told;
mod tor;
mod watch;

pub use builder::{
    Builder, Check, CheckProblem, HttpRequest, Instance, LoadGauge, LoadProblem, LoadSource, Pool, PoolSize,
    PortProblem, Probe, Prober, Service, ServicePort, Tor,
};
pub use error::{Error, InstanceProblem, PoolProblem, ServiceProblem};
pub use pool::PoolMember;
pub use publisher::{Failure, Publisher, Reports, ServiceReport};
pub use status::{Monitor, PublisherStatus, StatusError, TorStatus};
