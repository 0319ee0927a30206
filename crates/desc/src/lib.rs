#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod base64;
mod bytes;
mod der;
mod error;
#[doc(hidden)]
pub mod fuzz;
pub mod rsa;
mod tokens;
pub mod v2;

pub use error::{Error, KeyProblem, Malformed, Section};
