//! Tasks beside a Tor's connection: files that are watched, checks, and gauges of loads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use onionweave_publish::version::Point;
use onionweave_publish::{Down, Event, InstanceName};
use onionweave_ring::v2::ServiceId;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::check::{CheckSettings, Checker};
use crate::gauge::{Gauge, GaugeSettings};
use crate::panics::spread_panic;
use crate::prober::Knowledge;
use crate::teller::{Run, Teller};
use crate::tor::Tors;
use crate::watch::{Folders, Watch, WatchSettings};

/// Largest number of events that wait. A task that tells more waits too.
const INBOX: usize = 64;

/// Settings of the tasks beside an instance's connection, if it has one.
#[derive(Clone, Debug, Default)]
pub(super) struct SideSettings {
    pub(super) watches: BTreeMap<InstanceName, WatchSettings>,
    pub(super) checks: BTreeMap<InstanceName, CheckSettings>,
    pub(super) gauges: BTreeMap<InstanceName, GaugeSettings>,
}

/// A running task, and what it was started with.
struct Side<S> {
    run: Run,
    settings: S,
    task: AbortHandle,
}

/// The tasks beside the links of one machine.
pub(super) struct Sides {
    service: ServiceId,
    folders: Folders,
    tors: Tors,
    watches: BTreeMap<InstanceName, Side<WatchSettings>>,
    checks: BTreeMap<InstanceName, Side<CheckSettings>>,
    gauges: BTreeMap<InstanceName, Side<GaugeSettings>>,
    /// Those whom a check found unfit.
    unfit: BTreeSet<InstanceName>,
    knowledge: watch::Sender<Knowledge>,
    /// All tasks, ended with this.
    tasks: JoinSet<()>,
    runs: Run,
    to: mpsc::Sender<(Run, Event)>,
    from: mpsc::Receiver<(Run, Event)>,
}

impl Sides {
    /// None yet. `service` is whose descriptors count.
    pub(super) fn new(service: ServiceId, folders: Folders, tors: Tors) -> Self {
        let (to, from) = mpsc::channel(INBOX);
        Self {
            service,
            folders,
            tors,
            watches: BTreeMap::new(),
            checks: BTreeMap::new(),
            gauges: BTreeMap::new(),
            unfit: BTreeSet::new(),
            knowledge: watch::Sender::default(),
            tasks: JoinSet::new(),
            runs: 0,
            to,
            from,
        }
    }

    /// Waits for the next event. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Event {
        loop {
            let told = tokio::select! {
                Some(ended) = self.tasks.join_next() => {
                    spread_panic(ended);
                    continue;
                }
                told = self.from.recv() => told,
            };
            // Both ends are here, so there is always one who could send.
            let Some((run, event)) = told else {
                return std::future::pending().await;
            };
            let runs = self.watches.values().map(|side| side.run);
            if runs
                .chain(self.checks.values().map(|side| side.run))
                .chain(self.gauges.values().map(|side| side.run))
                .any(|known| known == run)
            {
                return event;
            }
        }
    }

    /// Takes note of what the machine is told.
    pub(super) fn observe(&mut self, event: &Event) {
        match event {
            Event::Directories(directories) => {
                let ring = directories.hash_ring();
                self.knowledge
                    .send_modify(|knowledge| knowledge.ring = Some(ring.clone()));
            }
            Event::InstanceUnfit { instance, .. } => {
                self.unfit.insert(instance.clone());
            }
            Event::InstanceFit { instance } => {
                self.unfit.remove(instance);
            }
            _ => {}
        }
    }

    /// Takes note of the points that the machine believes in, for the checks that need them.
    pub(super) fn learn<'a>(&mut self, points_of: impl Fn(&InstanceName) -> &'a [Point]) {
        for (instance, side) in &self.checks {
            if side.settings.prober.is_none() {
                continue;
            }
            // After every event, and mostly the same.
            let points = points_of(instance);
            self.knowledge.send_if_modified(|knowledge| {
                let known = knowledge.points.get(instance).map_or(&[][..], |points| points);
                if known == points {
                    return false;
                }
                knowledge.points.insert(instance.clone(), Arc::from(points));
                true
            });
        }
    }

    /// Ends what is not to be there any more or not as it is, and returns what the machine must
    /// hear of instances that stay.
    pub(super) fn end_all_but(
        &mut self,
        settings: &SideSettings,
        instance_stays: impl Fn(&InstanceName) -> bool,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        self.knowledge.send_if_modified(|knowledge| {
            knowledge.points.retain(|instance, _| instance_stays(instance));
            false
        });
        self.watches.retain(|instance, side| {
            let stays = settings.watches.get(instance) == Some(&side.settings);
            if !stays {
                side.task.abort();
                if instance_stays(instance) {
                    let instance = instance.clone();
                    let why = Down::Lost("its file is configured anew".into());
                    events.push(Event::InstanceDown { instance, why });
                }
            }
            stays
        });
        self.checks.retain(|instance, side| {
            let new = settings.checks.get(instance);
            let stays = new == Some(&side.settings);
            if !stays {
                side.task.abort();
            }
            // Another check would have to prove first that it is fit.
            if new.is_none() && self.unfit.remove(instance) && instance_stays(instance) {
                let instance = instance.clone();
                events.push(Event::InstanceFit { instance });
            }
            stays
        });
        self.gauges.retain(|instance, side| {
            let stays = settings.gauges.get(instance) == Some(&side.settings);
            if !stays {
                side.task.abort();
                if instance_stays(instance) {
                    let instance = instance.clone();
                    events.push(Event::InstanceLoad { instance, load: None });
                }
            }
            stays
        });
        events
    }

    /// Starts what is not there yet.
    pub(super) fn start_all(&mut self, settings: &SideSettings) {
        for (instance, settings) in &settings.watches {
            if self.watches.contains_key(instance) {
                continue;
            }
            let watch = Watch {
                instance: instance.clone(),
                service: self.service,
                settings: settings.clone(),
                folders: self.folders.clone(),
                tell: self.teller(),
            };
            let task = self.tasks.spawn(watch.run());
            self.watches.insert(instance.clone(), self.side(settings, task));
        }
        for (instance, settings) in &settings.checks {
            if self.checks.contains_key(instance) {
                continue;
            }
            let checker = Checker {
                instance: instance.clone(),
                settings: settings.clone(),
                fit: !self.unfit.contains(instance),
                knowledge: self.knowledge.subscribe(),
                tell: self.teller(),
            };
            let task = self.tasks.spawn(checker.run());
            self.checks.insert(instance.clone(), self.side(settings, task));
        }
        for (instance, settings) in &settings.gauges {
            if self.gauges.contains_key(instance) {
                continue;
            }
            let gauge = Gauge {
                instance: instance.clone(),
                settings: settings.clone(),
                tors: self.tors.clone(),
                tell: self.teller(),
            };
            let task = self.tasks.spawn(gauge.run());
            self.gauges.insert(instance.clone(), self.side(settings, task));
        }
    }

    /// The teller of the next task.
    fn teller(&mut self) -> Teller {
        self.runs += 1;
        Teller::new(self.runs, self.to.clone())
    }

    fn side<S: Clone>(&self, settings: &S, task: AbortHandle) -> Side<S> {
        Side {
            run: self.runs,
            settings: settings.clone(),
            task,
        }
    }
}
