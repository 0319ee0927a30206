//! Weights that follow the loads of instances.

use std::time::Duration;

use onionweave_assign::{Balance, Damping, Load, Measured, Weight};

use super::Planner;
use super::instance::Instance;
use crate::machine::Context;
use crate::{Cause, InstanceName, Report};

/// Gives weights by loads.
#[derive(Clone, Debug)]
pub(super) struct Scales {
    balance: Balance<InstanceName>,
    /// The uptime at which it was last asked; none before a load was measured.
    asked: Option<Duration>,
}

impl Scales {
    pub(super) const fn new(damping: Damping) -> Self {
        Self {
            balance: Balance::new(damping),
            asked: None,
        }
    }

    /// The weight that follows the loads; `None` for an instance without one.
    fn weight_of(&self, name: &InstanceName) -> Option<Weight> {
        self.balance.weights().get(name).copied()
    }
}

impl Planner {
    /// The weight of an instance now: configured, or following its load.
    pub(super) fn weight_of(&self, name: &InstanceName, instance: &Instance) -> Weight {
        let scales = self.scales.as_ref();
        let follows = scales.and_then(|scales| scales.weight_of(name));
        follows.unwrap_or(instance.weight)
    }

    pub(super) fn instance_load(&mut self, name: &InstanceName, load: Option<Load>, cx: &mut Context<'_>) {
        if let Some(instance) = self.instances.get_mut(name) {
            instance.load = load;
            self.weigh(Some(cx.now.uptime()), cx);
        }
    }

    /// Follows loads as the settings say now.
    pub(super) fn configure_scales(&mut self, cx: &mut Context<'_>) {
        match (self.settings.damping, &mut self.scales) {
            (Some(damping), Some(scales)) => scales.balance.set_damping(damping),
            (damping, scales) => *scales = damping.map(Scales::new),
        }
        // A new instance gets a weight beside those that follow loads.
        self.weigh(None, cx);
    }

    /// Gives weights by the loads that are known, unless none ever was. Without an uptime, none has
    /// passed.
    fn weigh(&mut self, uptime: Option<Duration>, cx: &mut Context<'_>) {
        let Some(scales) = &mut self.scales else {
            return;
        };
        if scales.asked.is_none() && self.instances.values().all(|instance| instance.load.is_none()) {
            return;
        }
        let Some(uptime) = uptime.or(scales.asked) else {
            return;
        };
        let elapsed = uptime.saturating_sub(scales.asked.replace(uptime).unwrap_or(uptime));
        let measured: Vec<_> = self
            .instances
            .iter()
            .map(|(name, instance)| {
                // An instance outside the plan has nothing to do, which tells nothing of what it
                // can do.
                let load = instance.load.filter(|_| self.roster.serves(name));
                Measured::new(name.clone(), instance.weight, load)
            })
            .collect();
        if scales.balance.weigh(&measured, elapsed) {
            let weights = scales.balance.weights().clone();
            self.change(Cause::Weighed);
            cx.outbox.report(Report::Weighed(weights));
        }
    }
}
