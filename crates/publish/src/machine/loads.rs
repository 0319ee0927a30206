//! Weights that follow the loads of instances.

use std::time::Duration;

use onionweave_assign::{Balance, Damping, Load, Measured, Weight};

use super::Machine;
use crate::{Cause, InstanceName, Moment, Report};

/// What gives weights by loads.
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
}

impl Machine {
    pub(super) fn instance_load(&mut self, name: &InstanceName, load: Option<Load>, now: Moment) {
        if let Some(instance) = self.instances.get_mut(name) {
            instance.load = load;
            self.weigh(Some(now.uptime()));
        }
    }

    /// Follows loads as the settings say now.
    pub(super) fn configure_scales(&mut self) {
        match (self.settings.damping, &mut self.scales) {
            (Some(damping), Some(scales)) => scales.balance.set_damping(damping),
            (damping, scales) => *scales = damping.map(Scales::new),
        }
        // Whoever came gets a weight beside those that follow loads.
        self.weigh(None);
    }

    /// Gives weights by the loads that are known, unless none ever was. Without an uptime, none has passed.
    fn weigh(&mut self, uptime: Option<Duration>) {
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
                // That one who is not in the plan has nothing to do says nothing of what it can do.
                let load = instance.load.filter(|_| self.serving.contains(name));
                Measured::new(name.clone(), instance.weight, load)
            })
            .collect();
        if scales.balance.weigh(&measured, elapsed) {
            let weights = scales.balance.weights().clone();
            self.change(Cause::Weighed);
            self.report(Report::Weighed(weights));
        }
    }

    /// What weight an instance has in the plan.
    pub(super) fn weight_of(&self, name: &InstanceName, configured: Weight) -> Weight {
        let given = self
            .scales
            .as_ref()
            .and_then(|scales| scales.balance.weights().get(name));
        given.copied().unwrap_or(configured)
    }
}
