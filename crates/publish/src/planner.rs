//! The planner: what each slot is to hold, from instances, loads, directories and the time.
//!
//! - `instance`: the knowledge of one instance
//! - `offers`: the descriptors of instances, and whether they are believed
//! - `readings`: descriptors of instances that only directories show
//! - `roster`: the choice of the instances that serve
//! - `loads`: weights that follow loads
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
use crate::version::{Point, Version};
use crate::wanted::{Target, Text, Wanted};
use crate::{Action, Cause, Down, Event, InstanceName, Moment, Period, Policy, Report, Settings, SlotId};

mod calendar;
mod instance;
mod loads;
mod offers;
mod readings;
mod roster;
mod status;

use calendar::Calendar;
use instance::Instance;
use loads::Scales;
use readings::Readings;
use roster::Roster;

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

/// The reason why a policy's plan is refused. The last plan stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum PlanError {
    /// The policy has no plan.
    #[error("it has no plan: {why}")]
    #[non_exhaustive]
    None {
        /// The words of the policy.
        why: String,
    },
    /// The plan leaves out a slot.
    #[error("it leaves out the slot {slot}")]
    #[non_exhaustive]
    MissingSlot {
        /// The slot.
        slot: SlotId,
    },
    /// The plan fills a slot that does not exist.
    #[error("it fills {slot}, which is no slot of the service")]
    #[non_exhaustive]
    UnknownSlot {
        /// The slot.
        slot: SlotId,
    },
    /// The plan names an instance that does not serve.
    #[error("it gives the slot {slot} points of {instance}, which does not serve")]
    #[non_exhaustive]
    UnknownInstance {
        /// The slot.
        slot: SlotId,
        /// The instance.
        instance: InstanceName,
    },
    /// The plan names a point that its instance does not offer.
    #[error("it gives the slot {slot} a point that {instance} does not offer")]
    #[non_exhaustive]
    UnknownPoint {
        /// The slot.
        slot: SlotId,
        /// The instance.
        instance: InstanceName,
    },
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

    /// Number of points of each instance in each slot, as the plans have it.
    pub(crate) fn counts(&self) -> BTreeMap<SlotId, BTreeMap<InstanceName, u32>> {
        let slots = self.plans.values().flat_map(|plan| plan.slots());
        slots
            .map(|(&slot, mix)| {
                let counts = mix.instances().into_iter();
                // A text has few points, see `Habits`.
                (slot, counts.map(|(name, count)| (name.clone(), count as u32)).collect())
            })
            .collect()
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

    /// Decides what every slot is to hold.
    pub(crate) fn want(&mut self, cx: &mut Context<'_>) {
        let now = cx.now.wall();
        let (stamp, moved) = self.calendar.advance(now, self.settings.stamp);
        if moved {
            self.causes.insert(Cause::TimeMoved);
        }
        self.plan(stamp, cx);
        let most = cx.version.habits().most_points;
        let mut stale = self.stale_slots(stamp, most);
        let mut stamp = stamp;
        if !stale.is_empty()
            && let Some(newer) = self.calendar.restamp(now, self.settings.stamp)
        {
            // Now all texts are of another time, so all are stale.
            stamp = newer;
            self.plan(stamp, cx);
            stale = self.stale_slots(stamp, most);
        }
        self.fresh_bytes.clear();
        self.wanted_during = self.next_wall_change(cx.version, now).map(|change| now..change);
        self.wanted.causes = std::mem::take(&mut self.causes);
        self.wanted.revision += 1;
        for (id, points) in stale {
            let variant = self.fresh_variant(id, cx.version.variants(points.len()));
            let written = cx.version.write(id, &points, stamp, variant);
            let Some(target) = self.wanted.targets.get_mut(&id) else {
                continue;
            };
            target.revised = self.wanted.revision;
            match written {
                Ok(bytes) => {
                    target.unwritable = None;
                    target.text = Some(Text {
                        bytes,
                        stamp,
                        points,
                        variant,
                    });
                }
                // It comes out the same until something changes: the clients or the points are too
                // many for one text.
                Err(error) => target.unwritable = Some(error.to_string()),
            }
        }
    }

    fn plan(&mut self, stamp: UnixTime, cx: &mut Context<'_>) {
        self.roster.muster(&self.instances, self.settings.serving);
        let serving = self.instances.iter().filter(|(name, _)| self.roster.serves(name));
        let instances: Vec<_> = serving
            .map(|(name, instance)| {
                assign::Instance::new(name.clone(), instance.points.iter().map(Point::relay))
                    .weight(self.weight_of(name, instance))
            })
            .collect();
        // The hour's number, so that a publisher restarted with the same seed goes on where it was.
        let round = assign::Round::new(stamp.as_secs() / 3600, self.seed);
        let mut periods: BTreeMap<Period, Vec<_>> = BTreeMap::new();
        for (&id, target) in &self.wanted.targets {
            periods.entry(id.period).or_default().push((id, target.read_share));
        }
        for (period, ids) in periods {
            let plan = ids
                .into_iter()
                .map(|(id, share)| assign::Slot::new(id, id.replica.number(), share))
                .collect::<Result<Vec<_>, _>>()
                .and_then(|slots| self.policy.plan(&instances, &slots, self.plans.get(&period), round))
                .map_err(|error| PlanError::None { why: error.to_string() })
                .and_then(|plan| self.checked(period, plan));
            match plan {
                Ok(plan) => {
                    self.complaints.plans.remove(&period);
                    self.plans.insert(period, plan);
                }
                // Each new reason is told once; the last plan stays.
                Err(why) => {
                    if self.complaints.plans.entry(period).or_default().raise(why.clone()) {
                        let policy = self.policy.name().to_owned();
                        cx.outbox.report(Report::PlanRefused { period, policy, why });
                    }
                }
            }
        }
    }

    /// Refuses a plan that does not fill the slots of its period with points of those who serve.
    fn checked(
        &self,
        period: Period,
        plan: assign::Plan<InstanceName, SlotId>,
    ) -> Result<assign::Plan<InstanceName, SlotId>, PlanError> {
        let slots = self.wanted.targets.keys().filter(|slot| slot.period == period);
        if let Some(&slot) = slots.clone().find(|slot| plan.slot(slot).is_none()) {
            return Err(PlanError::MissingSlot { slot });
        }
        for (&slot, mix) in plan.slots() {
            if slot.period != period || !self.wanted.targets.contains_key(&slot) {
                return Err(PlanError::UnknownSlot { slot });
            }
            for (relay, name) in mix.points() {
                let instance = name.clone();
                if !self.roster.serves(name) {
                    return Err(PlanError::UnknownInstance { slot, instance });
                }
                if !self.points(name).iter().any(|point| point.relay() == relay) {
                    return Err(PlanError::UnknownPoint { slot, instance });
                }
            }
        }
        Ok(plan)
    }

    /// The slots whose text must be written anew, with the points that it is to have.
    fn stale_slots(&self, stamp: UnixTime, most: usize) -> Vec<(SlotId, Vec<Point>)> {
        let mut stale = Vec::new();
        for (&id, target) in &self.wanted.targets {
            let Some(planned) = self.plans.get(&id.period).and_then(|plan| plan.slot(&id)) else {
                continue;
            };
            let point = |(at, name)| self.points(name).iter().find(|point| point.relay() == at).cloned();
            let points: Vec<_> = planned.points().filter_map(point).collect();
            let points = offers::canonical(&points, most);
            let fresh = planned.points().any(|(_, name)| self.fresh_bytes.contains(name));
            let current = target
                .text
                .as_ref()
                .is_some_and(|text| text.points == points && text.stamp == stamp);
            if !points.is_empty() && (fresh || !current) {
                stale.push((id, points));
            }
        }
        stale
    }

    /// A variant that no other slot of the replica has, nor this one had.
    fn fresh_variant(&mut self, id: SlotId, variants: u64) -> u64 {
        let others = self.wanted.targets.iter();
        let taken: BTreeSet<_> = others
            .filter(|(other, _)| other.period == id.period && other.replica == id.replica)
            .filter_map(|(_, target)| Some(target.text.as_ref()?.variant % variants))
            .collect();
        // A version has more variants than a replica has slots, so one is free.
        loop {
            let variant = self.next_variant % variants;
            self.next_variant = self.next_variant.wrapping_add(1);
            if !taken.contains(&variant) {
                return variant;
            }
        }
    }
}
