//! The trait that every policy has, and the names of the policies of this crate.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use crate::{Blend, Error, Instance, Mixed, Plan, Race, Round, Single, Slot};

/// Highest number of introduction points in a v2 descriptor (C Tor
/// `feature/rend/rendcache.h:26`: `MAX_INTRO_POINTS`; `rendcache.c:939`).
pub(crate) const V2_POINTS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9);

/// Decides which introduction points each slot hands out.
///
/// A policy is a pure function: the same input gives the same plan, in whatever order instances,
/// their points and slots are listed.
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
    /// `slots` are those that are read together, so the slots of one time period. Their read shares
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

/// Name of a policy of this crate, as configurations write it.
///
/// A policy of one's own gets a name in a registry, [`Policies`](crate::Policies).
///
/// ```
/// use onionweave_assign::{Policy, PolicyName};
///
/// let name: PolicyName = "mixed".parse()?;
/// let policy = name.policy::<String, u8>();
/// assert_eq!(policy.name(), "mixed");
///
/// let error = "mixd".parse::<PolicyName>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#"there is no policy "mixd"; there is: race, mixed, single, hybrid, weighted"#
/// );
/// # Ok::<(), onionweave_assign::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
#[non_exhaustive]
pub enum PolicyName {
    /// `race`: the last one to publish has all slots, as without a publisher; see [`Race`].
    Race,
    /// `mixed`: one instance per slot; see [`Mixed`].
    #[default]
    Mixed,
    /// `single`: one master descriptor, the same in every slot; see [`Single`].
    Single,
    /// `hybrid`: points of several instances in every slot, and other ones in each; see
    /// [`Blend::hybrid`].
    Hybrid,
    /// `weighted`: shares as near to the targets as they can be; see [`Blend::weighted`].
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

    /// Returns the policy of this name, with at most ten points per descriptor, the limit of v2.
    pub fn policy<I: Ord + Clone, S: Ord + Clone>(self) -> Box<dyn Policy<I, S>> {
        self.policy_with(V2_POINTS)
    }

    /// Returns the policy of this name, with another limit of points per descriptor.
    ///
    /// ```
    /// use std::num::NonZeroUsize;
    /// use onionweave_assign::{Instance, PolicyName, Relay, Round, Slot};
    ///
    /// let slots = Slot::even((0..6).map(|n| (n, n / 3)));
    /// let instance = Instance::new("a", (1..=30).map(Relay::new));
    /// let limit = NonZeroUsize::new(20).unwrap();
    /// let policy = PolicyName::Mixed.policy_with(limit);
    /// let plan = policy.plan(&[instance], &slots, None, Round::new(0, 1))?;
    /// assert!(plan.slots().all(|(_, mix)| mix.len() == 20));
    /// # Ok::<(), onionweave_assign::Error>(())
    /// ```
    pub fn policy_with<I: Ord + Clone, S: Ord + Clone>(
        self,
        points_per_descriptor: NonZeroUsize,
    ) -> Box<dyn Policy<I, S>> {
        match self {
            Self::Race => Box::new(Race::new().points_per_descriptor(points_per_descriptor)),
            Self::Mixed => Box::new(Mixed::new().points_per_descriptor(points_per_descriptor)),
            Self::Single => Box::new(Single::new().points_per_descriptor(points_per_descriptor)),
            Self::Hybrid => Box::new(Blend::hybrid().points_per_descriptor(points_per_descriptor)),
            Self::Weighted => Box::new(Blend::weighted().points_per_descriptor(points_per_descriptor)),
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
        let known = Self::ALL.iter().copied().find(|known| known.as_str() == name);
        known.ok_or_else(|| Error::unknown_policy(name, Self::ALL.iter().map(|known| known.as_str())))
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
