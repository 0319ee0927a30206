#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod base64;
mod bytes;
mod der;
mod error;
#[doc(hidden)]
pub mod fuzz;
pub mod rsa;
mod secrets;
#[cfg_attr(
    not(feature = "v3"),
    allow(dead_code, reason = "version 3 alone has some of the rules")
)]
mod tokens;
pub mod v2;
#[cfg(feature = "v3")]
pub mod v3;

pub use error::{Error, KeyProblem, Malformed, Section};
