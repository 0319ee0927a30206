#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
//!
//! # Layout
//!
//! | module | contents |
//! | --- | --- |
//! | `input` | what a policy is given: [`Instance`] with its [`Relay`]s, [`Weight`], [`Slot`], [`Round`] |
//! | `policy` | the trait [`Policy`], and [`PolicyName`] for the policies of this crate |
//! | `policies` | [`Policies`], a registry of names for policies of one's own |
//! | `mixed` | the policy [`Mixed`] |
//! | `mixed::placement` | the slots of each instance, with as few changes as possible |
//! | `race`, `single` | the policies [`Race`] and [`Single`] |
//! | `blend` | the policy [`Blend`], and the search for plans with points of several instances |
//! | `blend::cast` | the instances that stand in a round, and the task that they set |
//! | `blend::fresh` | the best plan that asks for no previous one |
//! | `blend::held` | the slots as they are, and their repair with as few changes as possible |
//! | `blend::board` | number of points of each instance in each slot, and the shares that follow |
//! | `blend::deal` | boards to begin with: points dealt out like cards |
//! | `blend::exact` | exact search: whether a board comes so near to the targets, and which |
//! | `blend::search` | search by small steps, where slots are too many for the exact one |
//! | `blend::seats` | the relay of each point, none twice in a slot |
//! | `plan` | the answer of a policy: [`Plan`], and the [`Mix`] of each slot |
//! | `outlook` | clients' experience when instances die: [`Outlook`] |
//! | `load` | weights from measured loads: [`Balance`] |
//! | `question` | the input of a policy, checked and put in order |
//! | `quota` | number of places of each instance, and the remainder of this round |
//! | `draw` | random draws |
//! | `serialized` | the traits of serde (feature `serde`) |
//! | `fuzz` | functions that fuzzing drives (only under `cfg(fuzzing)`) |
//! | `error` | [`Error`] |

mod blend;
mod draw;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod input;
mod load;
mod mixed;
mod outlook;
mod plan;
mod policies;
mod policy;
mod question;
mod quota;
mod race;
#[cfg(feature = "serde")]
mod serialized;
mod single;

pub use blend::Blend;
pub use error::Error;
pub use input::{Instance, Relay, Round, Slot, Weight};
pub use load::{Balance, Damping, Load, Measured};
pub use mixed::Mixed;
pub use outlook::Outlook;
pub use plan::{Mix, Plan};
pub use policies::Policies;
pub use policy::{Policy, PolicyName};
pub use race::Race;
pub use single::Single;
