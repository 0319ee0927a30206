//! Who serves: the instances that the plan is made for.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use super::Machine;
use crate::{Cause, InstanceName, Report};

impl Machine {
    pub(super) fn instance_unfit(&mut self, name: &InstanceName, why: String) {
        let Some(instance) = self.instances.get_mut(name) else {
            return;
        };
        let news = instance.unfit.replace(why.clone()).is_none();
        if news {
            self.change(Cause::Unfit(name.clone()));
            self.report(Report::Unfit(name.clone(), why));
        }
    }

    pub(super) fn instance_fit(&mut self, name: &InstanceName) {
        let was_unfit = self.instances.get_mut(name).and_then(|instance| instance.unfit.take());
        if was_unfit.is_some() {
            self.change(Cause::Fit(name.clone()));
            self.report(Report::Fit(name.clone()));
        }
    }

    /// Decides who serves: those who offer points and are fit, as many as shall serve at once.
    ///
    /// Whoever serves goes on. Were the places given anew whenever somebody returns, clients would be sent from one instance to
    /// another for nothing, and back.
    pub(super) fn muster(&mut self) {
        let ready: BTreeSet<_> = self.ready().cloned().collect();
        let places = self.settings.serving.map_or(usize::MAX, NonZeroUsize::get);
        let stay = self.serving.intersection(&ready).take(places).cloned();
        let mut serving: BTreeSet<_> = stay.collect();
        let spares = ready.difference(&serving).take(places - serving.len()).cloned();
        let come: Vec<_> = spares.collect();
        serving.extend(come);
        self.serving = serving;
    }

    /// Those who could serve: who offers points and is fit, or, if nobody is, who offers points.
    fn ready(&self) -> impl Iterator<Item = &InstanceName> {
        let offer = self.instances.iter().filter(|(_, instance)| instance.offers());
        let all_unfit = offer.clone().all(|(_, instance)| instance.unfit.is_some());
        offer
            .filter(move |(_, instance)| all_unfit || instance.unfit.is_none())
            .map(|(name, _)| name)
    }
}
