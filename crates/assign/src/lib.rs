#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
//!
//! # Layout
//!
//! | module | what is in it |
//! | --- | --- |
//! | `input` | what a policy is given: [`Instance`] with its [`Relay`]s, [`Weight`], [`Slot`], [`Round`] |
//! | `policy` | the trait [`Policy`], and [`PolicyName`] for configuration files |
//! | `mixed` | the policy [`Mixed`] |
//! | `mixed::placement` | which slots each instance gets, changing as few as possible |
//! | `race`, `single`, `hybrid`, `weighted` | the policies [`Race`], [`Single`], [`Hybrid`], [`Weighted`] |
//! | `blend` | what the last three have in common: slots with points of several instances |
//! | `blend::board` | how many points of whom stand in which slot, and what shares come of it |
//! | `blend::deal` | cells dealt out like cards: the board at once, where that is exact |
//! | `blend::exact` | where it is not: whether any board comes so near to the targets, and which |
//! | `blend::search` | where slots are too many or too unlike for that: small steps from board to better board |
//! | `blend::seats` | which relay each point is at, none twice in a slot |
//! | `plan` | what a policy answers: [`Plan`], and the [`Mix`] of each slot |
//! | `outlook` | what clients meet when instances die: [`Outlook`] |
//! | `load` | weights from measured loads: [`Balance`] |
//! | `question` | what a policy is asked, checked and put in order |
//! | `quota` | how many places each instance gets, and who gets the remainder this round |
//! | `draw` | what is drawn at random |
//! | `fuzz` | the functions that fuzzing drives |
//! | `error` | [`Error`] |

mod blend;
mod draw;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod hybrid;
mod input;
mod load;
mod mixed;
mod outlook;
mod plan;
mod policy;
mod question;
mod quota;
mod race;
mod single;
mod weighted;

pub use error::Error;
pub use hybrid::Hybrid;
pub use input::{Instance, Relay, Round, Slot, Weight};
pub use load::{Balance, Damping, Load, Measured};
pub use mixed::Mixed;
pub use outlook::Outlook;
pub use plan::{Mix, Plan};
pub use policy::{Policy, PolicyName};
pub use race::Race;
pub use single::Single;
pub use weighted::Weighted;
