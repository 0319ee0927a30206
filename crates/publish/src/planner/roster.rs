//! The choice of the instances that serve: those that the plan is made for.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use super::instance::Instance;
use crate::InstanceName;

#[derive(Debug, Default)]
pub(super) struct Roster {
    serving: BTreeSet<InstanceName>,
}

impl Roster {
    /// Whether the plan is made for this instance.
    pub(super) fn serves(&self, name: &InstanceName) -> bool {
        self.serving.contains(name)
    }

    /// Chooses those that serve: those that offer points and are fit, at most as many as `limit`.
    ///
    /// An instance that serves goes on. Were the places given anew whenever one returns, clients
    /// would be sent from one instance to another for nothing, and back.
    pub(super) fn muster(&mut self, instances: &BTreeMap<InstanceName, Instance>, limit: Option<NonZeroUsize>) {
        let ready: BTreeSet<_> = ready(instances).cloned().collect();
        let places = limit.map_or(usize::MAX, NonZeroUsize::get);
        let stay = self.serving.intersection(&ready).take(places).cloned();
        let mut serving: BTreeSet<_> = stay.collect();
        let spares = ready.difference(&serving).take(places - serving.len()).cloned();
        let come: Vec<_> = spares.collect();
        serving.extend(come);
        self.serving = serving;
    }
}

/// The instances that could serve: those that offer points and are fit, or, if none is fit, all
/// that offer points.
fn ready(instances: &BTreeMap<InstanceName, Instance>) -> impl Iterator<Item = &InstanceName> {
    let offer = instances.iter().filter(|(_, instance)| instance.offers());
    let all_unfit = offer.clone().all(|(_, instance)| !instance.unfit.is_over());
    offer
        .filter(move |(_, instance)| all_unfit || instance.unfit.is_over())
        .map(|(name, _)| name)
}
