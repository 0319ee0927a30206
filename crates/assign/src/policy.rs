//! The trait that every policy has, and the policies' names.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Hybrid, Instance, Mixed, Plan, Race, Round, Single, Slot, Weighted};

/// Decides which introduction points each slot hands out.
///
/// A policy is a pure function: the same input gives the same plan, in whatever order instances, their points and slots are listed.
///
/// ```
/// use onionweave_assign::{Instance, Mixed, Policy, Relay, Round, Slot};
///
/// let policy: Box<dyn Policy<String, u8>> = Box::new(Mixed::default());
/// let instances = [Instance::new("a".to_owned(), [Relay::new(7)])];
/// let slots = [Slot::new(0, 0, 1.0)?];
/// let plan = policy.plan(&instances, &slots, None, Round::new(0, 1))?;
/// assert_eq!(plan.instances_of(&0).collect::<Vec<_>>(), ["a"]);
/// # Ok::<(), onionweave_assign::Error>(())
/// ```
pub trait Policy<I, S>: fmt::Debug + Send + Sync {
    /// Fills every slot.
    ///
    /// `slots` are those that are read together, so the slots of one time period: their read shares
    /// sum to 1, or to 0 as long as no client reads the period. `previous` is what the same slots
    /// hold now. It may name instances and slots that are gone, and may lack some that are new.
    ///
    /// # Errors
    ///
    /// [`Error::NoInstances`] if no instance has a point, [`Error::NoSlots`],
    /// [`Error::DuplicateInstance`], [`Error::DuplicateSlot`], and what the policy itself cannot
    /// handle.
    fn plan(
        &self,
        instances: &[Instance<I>],
        slots: &[Slot<S>],
        previous: Option<&Plan<I, S>>,
        round: Round,
    ) -> Result<Plan<I, S>, Error>;

    /// The policy's name, as configuration and logs write it.
    fn name(&self) -> &str;
}

/// The name of a policy in a configuration.
///
/// ```
/// use onionweave_assign::{Policy, PolicyName};
///
/// let name: PolicyName = "mixed".parse()?;
/// let policy = name.policy::<String, u8>();
/// assert_eq!(policy.name(), "mixed");
///
/// let error = "mixd".parse::<PolicyName>().unwrap_err();
/// assert_eq!(error.to_string(), r#"there is no policy "mixd"; there is: race, mixed, single, hybrid, weighted"#);
/// # Ok::<(), onionweave_assign::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PolicyName {
    /// `race`: the last one to publish has all slots, as without a publisher; see [`Race`].
    Race,
    /// `mixed`: one instance per slot; see [`Mixed`].
    #[default]
    Mixed,
    /// `single`: one master descriptor, the same in every slot; see [`Single`].
    Single,
    /// `hybrid`: points of several instances in every slot, and other ones in each; see [`Hybrid`].
    Hybrid,
    /// `weighted`: shares as near to the targets as they can be; see [`Weighted`].
    Weighted,
}

impl PolicyName {
    /// Every policy there is.
    pub const ALL: &[Self] = &[Self::Race, Self::Mixed, Self::Single, Self::Hybrid, Self::Weighted];

    /// The name as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Race => "race",
            Self::Mixed => "mixed",
            Self::Single => "single",
            Self::Hybrid => "hybrid",
            Self::Weighted => "weighted",
        }
    }

    /// The policy of this name with its usual settings.
    pub fn policy<I: Ord + Clone, S: Ord + Clone>(self) -> Box<dyn Policy<I, S>> {
        match self {
            Self::Race => Box::new(Race::default()),
            Self::Mixed => Box::new(Mixed::default()),
            Self::Single => Box::new(Single::default()),
            Self::Hybrid => Box::new(Hybrid::default()),
            Self::Weighted => Box::new(Weighted::default()),
        }
    }

    /// Whether a publisher may follow it. [`Race`] only imitates what happens without one.
    pub const fn is_for_publishers(self) -> bool {
        !matches!(self, Self::Race)
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for PolicyName {
    type Err = Error;

    /// Fails with [`Error::UnknownPolicy`], which lists the names that exist.
    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .iter()
            .copied()
            .find(|known| known.as_str() == name)
            .ok_or_else(|| Error::UnknownPolicy {
                name: name.to_owned(),
                known: Self::ALL
                    .iter()
                    .map(|known| known.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_policies() {
        for &name in PolicyName::ALL {
            assert_eq!(name.to_string().parse::<PolicyName>(), Ok(name));
            assert_eq!(name.policy::<u8, u8>().name(), name.as_str());
        }
        for unknown in ["", "Mixed", " mixed", "none"] {
            assert!(unknown.parse::<PolicyName>().is_err());
        }
    }
}
