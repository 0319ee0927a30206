//! What the machine is told of the world: directories, instances, configuration.

use std::time::Duration;

use onionweave_desc::v2::{Descriptor, IntroductionPoint, UnverifiedDescriptor};
use onionweave_ring::relays::Lifetime;
use onionweave_ring::v2::DIRECTORIES_PER_REPLICA;
use onionweave_ring::{HashRing, UnixTime};

use super::instance::Instance;
use super::slot::Work;
use super::{Machine, POINTS_PER_DESCRIPTOR, text};
use crate::{Action, Cause, Down, InstanceName, Moment, Report, Settings};

/// So close to the full hour, two clocks may well show different hours.
const HOUR_TURNS: u64 = 5 * 60;
/// A clock that is further behind the consensus than this is reported.
const CLOCK_BEHIND: Duration = Duration::from_secs(30 * 60);
/// Tor itself calls a consensus reasonably live until then (`REASONABLY_LIVE_TIME`, `feature/nodelist/networkstatus.c:1452`).
const CONSENSUS_STALE: Duration = Duration::from_secs(24 * 3600);

impl Machine {
    pub(super) fn directories(&mut self, ring: HashRing, lifetime: Option<Lifetime>) {
        let few = (ring.len() < DIRECTORIES_PER_REPLICA).then_some(ring.len());
        if few != self.complaints.few_directories {
            self.complaints.few_directories = few;
            if let Some(count) = few {
                self.report(Report::FewDirectories(count));
            }
        }
        self.lifetime = lifetime.or(self.lifetime);
        // A consensus without directories is a consensus that went wrong; the last ring serves on.
        if !ring.is_empty() && self.ring.as_ref() != Some(&ring) {
            self.ring = Some(ring);
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

    /// Compares the clock with that of an instance that has just dated its descriptor: with its full hour
    /// (`rendservice.c:1076-1077`).
    fn compare_clocks(&mut self, name: &InstanceName, theirs: UnixTime, now: UnixTime) {
        let past = now.as_secs() - now.start_of_hour().as_secs();
        let turning = !(HOUR_TURNS..3600 - HOUR_TURNS).contains(&past);
        let differ = theirs != now.start_of_hour();
        if turning && differ {
            return;
        }
        let Some(instance) = self.instances.get_mut(name) else {
            return;
        };
        if differ && !std::mem::replace(&mut instance.clock_differs, differ) {
            self.report(Report::ClocksDiffer {
                instance: name.clone(),
                theirs,
                ours: now,
            });
        } else {
            instance.clock_differs = differ;
        }
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

    pub(super) fn instance_offers(&mut self, name: &InstanceName, text: Vec<u8>, rebuilt: bool, now: Moment) {
        let Some(instance) = self.instances.get_mut(name).filter(|instance| instance.up) else {
            return;
        };
        if instance.last_text == text && instance.complaint.is_none() {
            let dated = instance.dated;
            if rebuilt && instance.offers() {
                self.change(Cause::Rebuilt(name.clone()));
                self.fresh_bytes.insert(name.clone());
                self.compare_clocks(name, dated, now.wall());
            }
            return;
        }
        match self.read(&text) {
            Ok((descriptor, points)) => {
                let dated = descriptor.publication_time();
                self.saw_time(dated);
                if rebuilt {
                    self.compare_clocks(name, dated, now.wall());
                }
                let same_points = self.instances.get_mut(name).is_some_and(|instance| {
                    instance.last_text = text;
                    instance.dated = dated;
                    instance.complaint = None;
                    instance.points == points
                });
                if !same_points {
                    self.set_points(name, points);
                } else if rebuilt {
                    self.change(Cause::Rebuilt(name.clone()));
                    self.fresh_bytes.insert(name.clone());
                }
            }
            Err(why) => {
                // Its last good points may still be good; they stay until it goes down or offers others.
                if let Some(instance) = self.instances.get_mut(name)
                    && instance.complaint.as_ref() != Some(&why)
                {
                    instance.complaint = Some(why.clone());
                    self.report(Report::Unusable {
                        instance: name.clone(),
                        why,
                    });
                }
            }
        }
    }

    /// Reads an instance's descriptor, trusting nothing.
    fn read(&self, text: &[u8]) -> Result<(Descriptor, Vec<IntroductionPoint>), String> {
        let descriptor = UnverifiedDescriptor::parse(text)
            .and_then(|descriptor| self.key.verify(descriptor))
            .map_err(|error| error.to_string())?;
        if descriptor.service_id() != self.service_id {
            return Err(format!(
                "it belongs to {}, not to {}",
                descriptor.service_id(),
                self.service_id
            ));
        }
        let points = self.points_of(&descriptor)?;
        let points = text::canonical(&points, POINTS_PER_DESCRIPTOR);
        Ok((descriptor, points))
    }

    fn points_of(&self, descriptor: &Descriptor) -> Result<Vec<IntroductionPoint>, String> {
        let Some(authorization) = &self.settings.authorization else {
            return descriptor.introduction_points().map_err(|error| error.to_string());
        };
        if descriptor.authorization().is_none() {
            return Err(
                "its introduction points are open to all clients; it needs HiddenServiceAuthorizeClient".into(),
            );
        }
        // An instance may not know all clients yet.
        let mut why = "no client is authorized".to_owned();
        for cookie in authorization.cookies() {
            match descriptor.introduction_points_for(cookie) {
                Ok(points) => return Ok(points),
                Err(error) => why = error.to_string(),
            }
        }
        Err(why)
    }

    pub(super) fn set_points(&mut self, name: &InstanceName, points: Vec<IntroductionPoint>) {
        let Some(instance) = self.instances.get_mut(name).filter(|instance| instance.up) else {
            return;
        };
        if instance.points == points {
            return;
        }
        let cause = match (instance.points.is_empty(), points.is_empty()) {
            // Whoever tried it while it was gone has given up these points; see `text.rs`.
            (true, _) => {
                self.fresh_bytes.insert(name.clone());
                Cause::Joined(name.clone())
            }
            (false, true) => {
                instance.last_text.clear();
                Cause::Left(name.clone())
            }
            (false, false) => Cause::PointsChanged(name.clone()),
        };
        instance.points = points;
        let count = instance.points.len();
        self.change(cause);
        self.report(Report::Offers(name.clone(), count));
    }

    pub(super) fn saw_time(&mut self, time: UnixTime) {
        if Some(time) > self.time && self.newer_seen.insert(time) {
            self.wanted_during = None;
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
    }

    /// Other clients may read the texts: all are written anew, at other places if a stealth cookie changed.
    fn clients_changed(&mut self) {
        for slot in std::mem::take(&mut self.slots).values() {
            if let Work::Auditing { ticket, .. } | Work::Uploading { ticket, .. } = slot.work {
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
