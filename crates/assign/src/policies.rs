//! Names for policies, also for those of other crates.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;

use crate::{Error, Policy, PolicyName};

/// Function that makes a policy for a limit of points per descriptor.
type Maker<I, S> = Box<dyn Fn(NonZeroUsize) -> Box<dyn Policy<I, S>> + Send + Sync>;

/// Registry of policies by the names that a configuration may use.
///
/// ```
/// use std::num::NonZeroUsize;
/// use onionweave_assign::{Error, Instance, Plan, Policies, Policy, Round, Slot};
///
/// /// Gives every slot to the instance with the first name.
/// #[derive(Debug)]
/// struct First;
///
/// impl Policy<String, u8> for First {
///     fn plan(
///         &self,
///         instances: &[Instance<String>],
///         slots: &[Slot<u8>],
///         _previous: Option<&Plan<String, u8>>,
///         round: Round,
///     ) -> Result<Plan<String, u8>, Error> {
///         let first = instances.iter().min_by_key(|instance| &instance.id);
///         let first = first.ok_or(Error::NoInstances)?;
///         let mix = || first.points.iter().map(|&relay| (relay, first.id.clone())).collect();
///         Plan::new(round, slots.iter().map(|slot| (*slot.id(), mix())).collect())
///     }
///
///     fn name(&self) -> &str {
///         "first"
///     }
/// }
///
/// let mut policies = Policies::standard();
/// policies.add("first", |_limit| Box::new(First));
/// let limit = NonZeroUsize::new(10).unwrap();
/// assert_eq!(policies.policy("first", limit)?.name(), "first");
/// assert_eq!(policies.policy("mixed", limit)?.name(), "mixed");
/// assert!(matches!(policies.policy("last", limit), Err(Error::UnknownPolicy { .. })));
/// # Ok::<(), Error>(())
/// ```
pub struct Policies<I, S> {
    makers: BTreeMap<String, Maker<I, S>>,
}

impl<I, S> Policies<I, S> {
    /// Creates a registry without policies.
    pub const fn new() -> Self {
        Self {
            makers: BTreeMap::new(),
        }
    }

    /// Adds a policy, made by a function of the limit of points per descriptor. A policy that had
    /// the name before is replaced.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        make: impl Fn(NonZeroUsize) -> Box<dyn Policy<I, S>> + Send + Sync + 'static,
    ) {
        self.makers.insert(name.into(), Box::new(make));
    }

    /// Returns the names in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.makers.keys().map(String::as_str)
    }

    /// Makes the policy of this name, with a limit of points per descriptor.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPolicy`], which lists the names that exist.
    pub fn policy(&self, name: &str, points_per_descriptor: NonZeroUsize) -> Result<Box<dyn Policy<I, S>>, Error> {
        let make = self.makers.get(name);
        let make = make.ok_or_else(|| Error::unknown_policy(name, self.names()))?;
        Ok(make(points_per_descriptor))
    }
}

impl<I: Ord + Clone + 'static, S: Ord + Clone + 'static> Policies<I, S> {
    /// Creates a registry with the policies of this crate that a publisher may follow.
    pub fn standard() -> Self {
        let mut policies = Self::new();
        for &name in PolicyName::ALL.iter().filter(|name| name.is_for_publishers()) {
            policies.add(name.as_str(), move |limit| name.policy_with(limit));
        }
        policies
    }
}

impl<I, S> Default for Policies<I, S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<I, S> fmt::Debug for Policies<I, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_refused_with_the_known_ones() {
        let mut policies = Policies::<u8, u8>::standard();
        assert_eq!(
            policies.names().collect::<Vec<_>>(),
            ["hybrid", "mixed", "single", "weighted"]
        );
        policies.add("mixed", |limit| PolicyName::Single.policy_with(limit));
        assert_eq!(policies.policy("mixed", NonZeroUsize::MIN).unwrap().name(), "single");
        let error = policies.policy("race", NonZeroUsize::MIN).unwrap_err();
        let message = r#"there is no policy "race"; there is: hybrid, mixed, single, weighted"#;
        assert_eq!(error.to_string(), message);
        assert_eq!(format!("{policies:?}"), r#"{"hybrid", "mixed", "single", "weighted"}"#);
    }
}
