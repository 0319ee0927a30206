//! What the machine is told of the world: directories, who is up and who is down, configuration.

use std::sync::Arc;
use std::time::Duration;

use onionweave_ring::v2::DIRECTORIES_PER_REPLICA;
use onionweave_ring::{Directories, UnixTime};

use super::Machine;
use super::instance::Instance;
use crate::{Action, Cause, Down, InstanceName, Moment, Report, Settings};

/// A clock that is further behind the consensus than this is reported.
const CLOCK_BEHIND: Duration = Duration::from_secs(30 * 60);
/// Tor itself calls a consensus reasonably live until then (`REASONABLY_LIVE_TIME`, `feature/nodelist/networkstatus.c:1452`).
const CONSENSUS_STALE: Duration = Duration::from_secs(24 * 3600);

impl Machine {
    pub(super) fn learn_directories(&mut self, directories: Arc<Directories>) {
        let count = directories.hash_ring().len();
        let few = (count < DIRECTORIES_PER_REPLICA).then_some(count);
        if few != self.complaints.few_directories {
            self.complaints.few_directories = few;
            if let Some(count) = few {
                self.report(Report::FewDirectories(count));
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
    pub(super) fn check_clock(&mut self, now: UnixTime) {
        let Some(lifetime) = self.lifetime else {
            return;
        };
        let behind = now.saturating_add(CLOCK_BEHIND) < lifetime.valid_after();
        let stale = now > lifetime.valid_until().saturating_add(CONSENSUS_STALE);
        let off = behind || stale;
        if off && !self.complaints.clock_off {
            self.report(Report::ClockOff {
                now,
                valid_after: lifetime.valid_after(),
                valid_until: lifetime.valid_until(),
            });
        }
        self.complaints.clock_off = off;
    }

    pub(super) fn instance_up(&mut self, name: &InstanceName) {
        if let Some(instance) = self.instances.get_mut(name)
            && !instance.up
        {
            instance.came_up();
            self.report(Report::Up(name.clone()));
        }
    }

    pub(super) fn instance_down(&mut self, name: &InstanceName, why: Down, now: Moment) {
        let Some(instance) = self.instances.get_mut(name) else {
            return;
        };
        let offered = instance.offers();
        let news = instance.went_down(now.uptime(), &why);
        if offered {
            self.change(Cause::Left(name.clone()));
        }
        if news {
            self.report(Report::Down(name.clone(), why));
        }
    }

    pub(super) fn configured(&mut self, settings: Settings) {
        let mut old = std::mem::take(&mut self.instances);
        for instance in &settings.instances {
            let mut known = old.remove(&instance.name).unwrap_or_else(|| Instance::new(instance));
            known.configure(instance);
            self.instances.insert(instance.name.clone(), known);
        }
        let settings = std::mem::replace(&mut self.settings, settings);
        if settings.authorization != self.settings.authorization {
            self.clients_changed();
        }
        self.change(Cause::Configured);
        self.configure_scales();
    }

    /// Other clients may read the texts: all are written anew, at other places if a stealth cookie changed.
    fn clients_changed(&mut self) {
        for slot in std::mem::take(&mut self.slots).values() {
            for ticket in slot.work.tickets() {
                self.tickets.remove(&ticket);
            }
        }
        self.survey = None;
        for instance in self.instances.values_mut() {
            // What could not be read may be readable now.
            instance.last_text.clear();
        }
    }

    pub(super) fn restart(&mut self, now: Moment) {
        for (name, instance) in &mut self.instances {
            if instance.take_restart(now.uptime()) {
                self.actions.push_back(Action::Restart { instance: name.clone() });
            }
        }
    }
}
