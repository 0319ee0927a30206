#![doc = include_str!("../README.md")]
//!
//! # Layout
//!
//! | module | what is in it |
//! | --- | --- |
//! | `input` | what a policy is given: [`Instance`], [`Weight`], [`Slot`], [`Round`] |
//! | `policy` | the trait [`Policy`], and [`PolicyName`] for configuration files |
//! | `mixed` | the policy [`Mixed`] |
//! | `mixed::quota` | how many slots each instance gets, and who gets the remainder this round |
//! | `mixed::placement` | which slots those are, changing as few as possible |
//! | `plan` | what a policy answers: [`Plan`] |
//! | `error` | [`Error`] |

mod error;
mod input;
mod mixed;
mod plan;
mod policy;

pub use error::Error;
pub use input::{Instance, Round, Slot, Weight};
pub use mixed::Mixed;
pub use plan::Plan;
pub use policy::{Policy, PolicyName};
