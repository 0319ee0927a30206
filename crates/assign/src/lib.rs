#![doc = include_str!("../README.md")]
//!
//! # Layout
//!
//! | module | what is in it |
//! | --- | --- |
//! | `input` | what a policy is given: [`Instance`] with its [`Relay`]s, [`Weight`], [`Slot`], [`Round`] |
//! | `policy` | the trait [`Policy`], and [`PolicyName`] for configuration files |
//! | `mixed` | the policy [`Mixed`] |
//! //! | `mixed::placement` | which slots those are, changing as few as possible |
//! | `plan` | what a policy answers: [`Plan`], and the [`Mix`] of each slot |
//! | `question` | what a policy is asked, checked and put in order |
//! | `quota` | how many places each instance gets, and who gets the remainder this round |
//! | `draw` | what is drawn at random |
//! | `error` | [`Error`] |

mod draw;
mod error;
mod input;
mod mixed;
mod plan;
mod policy;
mod question;
mod quota;

pub use error::Error;
pub use input::{Instance, Relay, Round, Slot, Weight};
pub use mixed::Mixed;
pub use plan::{Mix, Plan};
pub use policy::{Policy, PolicyName};
