#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub use onionweave_assign as assign;
pub use onionweave_control as control;
pub use onionweave_desc as desc;
pub use onionweave_driver as driver;
pub use onionweave_publish as publish;
pub use onionweave_ring as ring;
