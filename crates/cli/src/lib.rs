#![doc = include_str!("../README.md")]

pub mod config;
mod error;
#[doc(hidden)]
pub mod fuzz;
pub mod program;

pub use error::Error;
