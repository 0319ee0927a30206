//! The planner's part of a snapshot.

use std::collections::BTreeMap;

use onionweave_assign as assign;
use onionweave_ring::UnixTime;
use onionweave_ring::relays::Lifetime;

use super::Planner;
use super::instance::Instance;
use crate::status::{Held, InstanceStatus, SlotStatus, SlotWork};
use crate::{InstanceName, Moment, Period, Report};

impl Planner {
    pub(crate) fn policy(&self) -> &str {
        self.policy.name()
    }

    pub(crate) const fn lifetime(&self) -> Option<Lifetime> {
        self.lifetime
    }

    /// The slots, and what is wanted there. The reconciler knows the rest.
    pub(crate) fn slot_statuses(&self) -> impl Iterator<Item = SlotStatus> {
        let mut counts = self.counts();
        self.wanted.targets.iter().map(move |(&slot, target)| SlotStatus {
            slot,
            read_share: target.read_share,
            instances: counts.remove(&slot).unwrap_or_default(),
            points: target.points().len(),
            held: Held::Unknown,
            work: SlotWork::Idle,
            unproved_for: None,
            last_proof: None,
            failures: 0,
            last_trouble: None,
            truce_for: None,
            next: None,
        })
    }

    pub(crate) fn instance_statuses(&self, now: Moment) -> impl Iterator<Item = InstanceStatus> {
        let up = now.uptime();
        self.instances.iter().map(move |(name, instance)| InstanceStatus {
            name: name.clone(),
            up: instance.up,
            down: instance.down.reason().cloned(),
            unfit: instance.unfit.reason().cloned(),
            serves: self.roster.serves(name) && instance.offers(),
            points: instance.points.len(),
            dated: Some(instance.dated).filter(|&dated| dated > UnixTime::EPOCH),
            weight: self.weight_of(name, instance),
            load: instance.load,
            changes: instance.changes,
            last_change: instance.last_change.map(|at| up.saturating_sub(at)),
            next: instance
                .restart_due()
                .into_iter()
                .chain(instance.reading_due().filter(|_| self.directories.is_some()))
                .min()
                .map(|at| at.saturating_sub(up)),
        })
    }

    /// Part of the clients that the plan of each period gives each instance.
    pub(crate) fn shares(&self) -> BTreeMap<Period, BTreeMap<InstanceName, f64>> {
        let slots: Vec<_> = self
            .wanted
            .targets
            .iter()
            .filter_map(|(&id, target)| assign::Slot::new(id, id.replica.number(), target.read_share).ok())
            .collect();
        self.plans
            .iter()
            .map(|(&period, plan)| (period, plan.shares(&slots)))
            .collect()
    }

    /// The reports about the service and its instances that still hold.
    pub(crate) fn problems(&self, now: Moment) -> Vec<Report> {
        let mut problems = Vec::new();
        if !self.anyone_offers() {
            problems.push(Report::NobodyLeft);
        }
        problems.extend(
            self.complaints
                .few_directories
                .reason()
                .copied()
                .map(Report::FewDirectories),
        );
        problems.extend(self.clock_off(now.wall()));
        for (&period, refusal) in &self.complaints.plans {
            problems.extend(refusal.reason().map(|why| Report::PlanRefused {
                period,
                policy: self.policy.name().to_owned(),
                why: why.clone(),
            }));
        }
        for (name, instance) in &self.instances {
            problems.extend(self.problems_of(name, instance));
        }
        problems
    }

    fn problems_of(&self, name: &InstanceName, instance: &Instance) -> impl Iterator<Item = Report> {
        let down = instance
            .down
            .reason()
            .cloned()
            .map(|why| Report::Down(name.clone(), why));
        let unfit = instance
            .unfit
            .reason()
            .cloned()
            .map(|why| Report::Unfit(name.clone(), why));
        let complaint = instance.unusable.reason().cloned().map(|why| Report::Unusable {
            instance: name.clone(),
            why,
        });
        let clock = instance.clock_differs.map(|(theirs, ours)| Report::ClocksDiffer {
            instance: name.clone(),
            theirs,
            ours,
        });
        let is_loud = instance.reported_loud && self.settings.quiet;
        let loud = is_loud.then(|| Report::Loud(name.clone()));
        down.into_iter().chain(unfit).chain(complaint).chain(clock).chain(loud)
    }
}
