//! The planner: what each slot is to hold, from instances, loads, directories and the time.
//!
//! - `instance`: the knowledge of one instance
//! - `offers`: the descriptors of instances, and whether they are believed
//! - `readings`: descriptors of instances that only directories show
//! - `roster`: the choice of the instances that serve
//! - `loads`: weights that follow loads
//! - `plan`: the instances that each slot is to name
//! - `texts`: the texts of the slots
//! - `calendar`: the publication time of all texts
//! - `status`: its part of a snapshot

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use onionweave_assign as assign;
use onionweave_ring::relays::Lifetime;
use onionweave_ring::{Directories, UnixTime};

use crate::complaint::Complaint;
use crate::machine::Context;
use crate::version::{Point, Unfit, Version};
use crate::wanted::{Target, Wanted};
use crate::{Action, Cause, Down, Event, InstanceName, Moment, Period, Policy, Report, Settings, SlotId};

mod calendar;
mod instance;
mod loads;
mod offers;
mod plan;
mod readings;
mod roster;
mod status;
mod texts;

use calendar::Calendar;
use instance::Instance;
use loads::Scales;
use readings::Readings;
use roster::Roster;

pub use plan::PlanError;

/// A clock that is further behind the consensus than this is reported.
const CLOCK_BEHIND: Duration = Duration::from_secs(30 * 60);
/// Tor itself calls a consensus reasonably live until then (`REASONABLY_LIVE_TIME`,
/// `feature/nodelist/networkstatus.c:1452`).
const CONSENSUS_STALE: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug)]
pub(crate) struct Planner {
    policy: Policy,
    settings: Settings,
    seed: u64,

    instances: BTreeMap<InstanceName, Instance>,
    readings: Readings,
    roster: Roster,
    /// The weights that follow loads, if they do.
    scales: Option<Scales>,
    directories: Option<Arc<Directories>>,
    /// The time during which the newest consensus is valid.
    lifetime: Option<Lifetime>,
    plans: BTreeMap<Period, assign::Plan<InstanceName, SlotId>>,

    calendar: Calendar,
    /// The next text's number; see `version/v2/text.rs`.
    next_variant: u64,
    /// Instances whose slots need new bytes though their points are the same.
    fresh_bytes: BTreeSet<InstanceName>,
    /// The wall-clock times through which the wanted ring stays as it is if nothing changes; `None`
    /// if something did.
    wanted_during: Option<Range<UnixTime>>,
    /// The reasons for which the next texts are written.
    causes: BTreeSet<Cause>,
    wanted: Wanted,

    complaints: Complaints,
}

/// Reports that still hold, so that each is made once.
#[derive(Debug, Default)]
struct Complaints {
    nobody_left: bool,
    few_directories: Complaint<usize>,
    clock_off: bool,
    /// The plans that are refused, by period.
    plans: BTreeMap<Period, Complaint<PlanError>>,
}

impl Planner {
    pub(crate) fn new(policy: Policy, settings: Settings, seed: u64) -> Self {
        let mut planner = Self {
            policy,
            seed,
            instances: BTreeMap::new(),
            readings: Readings::default(),
            roster: Roster::default(),
            scales: settings.damping.map(Scales::new),
            directories: None,
            lifetime: None,
            plans: BTreeMap::new(),
            calendar: Calendar::default(),
            next_variant: seed,
            fresh_bytes: BTreeSet::new(),
            wanted_during: None,
            causes: BTreeSet::from([Cause::Started]),
            wanted: Wanted::default(),
            complaints: Complaints::default(),
            settings,
        };
        planner.configure_instances();
        planner
    }

    pub(crate) const fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    pub(crate) const fn plans(&self) -> &BTreeMap<Period, assign::Plan<InstanceName, SlotId>> {
        &self.plans
    }

    pub(crate) fn points(&self, instance: &InstanceName) -> &[Point] {
        self.instances.get(instance).map_or(&[], |instance| &instance.points)
    }

    pub(crate) fn anyone_offers(&self) -> bool {
        self.instances.values().any(Instance::offers)
    }

    /// Whether something happened, or the clock reached a time, that may change the wanted ring.
    pub(crate) fn is_due(&self, now: Moment) -> bool {
        let wall = now.wall();
        !self.wanted_during.as_ref().is_some_and(|times| times.contains(&wall))
    }

    pub(crate) fn handle(&mut self, event: Event, cx: &mut Context<'_>) {
        match event {
            Event::Directories(directories) => self.learn_directories(directories, cx),
            Event::InstanceUp { instance } => self.instance_up(&instance, cx),
            Event::InstanceDown { instance, why } => self.instance_down(&instance, why, cx),
            Event::InstanceOffers {
                instance,
                text,
                rebuilt,
            } => self.instance_offers(&instance, text, rebuilt, cx),
            Event::InstanceOffersNothing { instance } => self.set_points(&instance, Vec::new(), cx),
            Event::InstanceRefuses { instance, why } => self.disbelieve(&instance, Unfit::Refused { why }, cx),
            Event::InstanceUnfit { instance, why } => self.instance_unfit(&instance, why, cx),
            Event::InstanceFit { instance } => self.instance_fit(&instance, cx),
            Event::InstanceLoad { instance, load } => self.instance_load(&instance, load, cx),
            Event::Read { ticket, found } => self.reading_answered(ticket, found, cx),
            // The reconciler's.
            Event::UploadAnswered { .. }
            | Event::Audited { .. }
            | Event::InstanceUploads { .. }
            | Event::InstanceUploadEnded { .. }
            | Event::Configured(_) => {}
        }
    }

    fn learn_directories(&mut self, directories: Arc<Directories>, cx: &mut Context<'_>) {
        let few = cx.version.shortage(&directories);
        match few {
            Some(count) if self.complaints.few_directories.raise(count) => {
                cx.outbox.report(Report::FewDirectories(count));
            }
            Some(_) => {}
            None => {
                self.complaints.few_directories.settle();
            }
        }
        self.lifetime = directories.lifetime().or(self.lifetime);
        let known = self.directories.as_ref();
        // A consensus without directories is a consensus that went wrong; the last ones serve on.
        if !directories.is_empty() && known.is_none_or(|known| !known.leads_like(&directories)) {
            self.directories = Some(directories);
            self.change(Cause::DirectoriesMoved);
        }
    }

    /// Compares the clock with the consensus.
    fn check_clock(&mut self, cx: &mut Context<'_>) {
        let off = self.clock_off(cx.now.wall());
        let was_off = std::mem::replace(&mut self.complaints.clock_off, off.is_some());
        if let Some(report) = off.filter(|_| !was_off) {
            cx.outbox.report(report);
        }
    }

    /// The report that clock and consensus don't fit, if they don't.
    fn clock_off(&self, now: UnixTime) -> Option<Report> {
        let lifetime = self.lifetime?;
        let behind = now.saturating_add(CLOCK_BEHIND) < lifetime.valid_after();
        let stale = now > lifetime.valid_until().saturating_add(CONSENSUS_STALE);
        (behind || stale).then(|| Report::ClockOff {
            now,
            valid_after: lifetime.valid_after(),
            valid_until: lifetime.valid_until(),
        })
    }

    fn instance_up(&mut self, name: &InstanceName, cx: &mut Context<'_>) {
        if let Some(instance) = self.instances.get_mut(name)
            && !instance.up
        {
            instance.came_up(cx.now.uptime());
            cx.outbox.report(Report::Up(name.clone()));
        }
    }

    fn instance_down(&mut self, name: &InstanceName, why: Down, cx: &mut Context<'_>) {
        let Some(instance) = self.instances.get_mut(name) else {
            return;
        };
        let offered = instance.offers();
        let news = instance.went_down(cx.now.uptime(), &why);
        if offered {
            self.change(Cause::Left(name.clone()));
        }
        if news {
            cx.outbox.report(Report::Down(name.clone(), why));
        }
    }

    fn instance_unfit(&mut self, name: &InstanceName, why: String, cx: &mut Context<'_>) {
        let Some(instance) = self.instances.get_mut(name) else {
            return;
        };
        let was_fit = instance.unfit.is_over();
        if instance.unfit.raise(why.clone()) {
            cx.outbox.report(Report::Unfit(name.clone(), why));
        }
        if was_fit {
            instance.changed(cx.now.uptime());
            self.change(Cause::Unfit(name.clone()));
        }
    }

    fn instance_fit(&mut self, name: &InstanceName, cx: &mut Context<'_>) {
        if let Some(instance) = self.instances.get_mut(name)
            && instance.unfit.settle()
        {
            instance.changed(cx.now.uptime());
            self.change(Cause::Fit(name.clone()));
            cx.outbox.report(Report::Fit(name.clone()));
        }
    }

    /// An upload by an instance's Tor began. Returns whether the instance is known.
    pub(crate) fn uploads(&mut self, name: &InstanceName, own: bool, cx: &mut Context<'_>) -> bool {
        let Some(instance) = self.instances.get_mut(name) else {
            return false;
        };
        if own && self.settings.quiet && !instance.reported_loud {
            instance.reported_loud = true;
            cx.outbox.report(Report::Loud(name.clone()));
        }
        true
    }

    /// Takes other settings. Returns whether other clients may read the texts, so that all are
    /// written anew, at other places if a stealth cookie changed.
    pub(crate) fn configure(&mut self, settings: Settings, cx: &mut Context<'_>) -> bool {
        let settings = std::mem::replace(&mut self.settings, settings);
        self.configure_instances();
        let others_read = settings.authorization != self.settings.authorization;
        if others_read {
            cx.version.configure(self.settings.authorization.as_ref());
            self.wanted.targets.clear();
            for instance in self.instances.values_mut() {
                // What could not be read may be readable now.
                instance.last_text.clear();
            }
        }
        self.change(Cause::Configured);
        self.configure_scales(cx);
        others_read
    }

    fn configure_instances(&mut self) {
        let mut old = std::mem::take(&mut self.instances);
        for settings in self.settings.instances() {
            let known = old.remove(&settings.name);
            let mut instance = known.unwrap_or_else(|| Instance::new(settings));
            instance.configure(settings);
            self.instances.insert(settings.name.clone(), instance);
        }
    }

    /// Does what is due by time: restarts, readings, and giving up what is stale.
    pub(crate) fn keep(&mut self, cx: &mut Context<'_>) {
        for (name, instance) in &mut self.instances {
            if instance.take_restart(cx.now.uptime()) {
                cx.outbox.push(Action::Restart { instance: name.clone() });
            }
        }
        self.check_clock(cx);
        self.read_instances(cx);
        self.expire(cx);
        if self.anyone_offers() {
            self.complaints.nobody_left = false;
        }
    }

    /// Reports that nobody offers points, once.
    pub(crate) fn complain(&mut self, cx: &mut Context<'_>) {
        if !self.complaints.nobody_left && self.causes.iter().any(|cause| matches!(cause, Cause::Left(_))) {
            self.complaints.nobody_left = true;
            cx.outbox.report(Report::NobodyLeft);
        }
    }

    pub(crate) fn next_deadline(&self, version: &dyn Version, now: Moment) -> Option<Duration> {
        let instances = self.instances.values();
        let restarts = instances.clone().filter_map(Instance::restart_due);
        let readings = instances.clone().filter_map(Instance::reading_due);
        let readings = readings.filter(|_| self.directories.is_some());
        let wall = self
            .next_wall_change(version, now.wall())
            .into_iter()
            .chain(instances.filter_map(Instance::stale_from))
            .map(|target| now.uptime_at(target));
        restarts.chain(readings).chain(wall).min()
    }

    /// The next wall-clock time at which slots or publication time change by themselves.
    fn next_wall_change(&self, version: &dyn Version, now: UnixTime) -> Option<UnixTime> {
        self.directories.as_ref()?;
        if !self.anyone_offers() {
            return None;
        }
        let own = self.calendar.next_change(now);
        Some(own.min(version.next_change(now)))
    }

    /// Notes that the wanted ring changes, and why.
    fn change(&mut self, cause: Cause) {
        self.causes.insert(cause);
        self.wanted_during = None;
    }

    /// A text of this service was seen that carries this time.
    pub(crate) fn saw_time(&mut self, time: UnixTime) {
        if self.calendar.saw(time) {
            self.wanted_during = None;
        }
    }

    /// Somebody wrote over a text of ours. With second stamps that is outranked, once there is
    /// something to write.
    pub(crate) fn outrank(&mut self) {
        if self.calendar.outrank(self.settings.stamp) {
            self.wanted_during = None;
        }
    }

    /// Computes the slots.
    pub(crate) fn place(&mut self, cx: &mut Context<'_>) {
        let Some(directories) = &self.directories else {
            return;
        };
        let mut targets = BTreeMap::new();
        for place in cx.version.place(directories, cx.now.wall()) {
            let known = self.wanted.targets.remove(&place.slot);
            let mut target = known.unwrap_or_else(|| Target::new(place.descriptor_id, place.read_share));
            target.read_share = place.read_share;
            targets.insert(place.slot, target);
        }
        self.wanted.targets = targets;
        let periods: BTreeSet<_> = self.wanted.targets.keys().map(|id| id.period).collect();
        if !self.plans.is_empty() && periods.iter().any(|period| !self.plans.contains_key(period)) {
            self.causes.insert(Cause::PeriodBegan);
        }
        self.plans.retain(|period, _| periods.contains(period));
        self.complaints.plans.retain(|period, _| periods.contains(period));
    }
}
