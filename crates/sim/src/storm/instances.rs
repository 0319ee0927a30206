//! The instances: what they really are, whatever a publisher was told of them.

use onionweave_desc::v2::{Draft, IntroductionPoint, ServiceKey};
use onionweave_publish::InstanceName;
use onionweave_ring::UnixTime;
use onionweave_ring::v2::{Replica, TimePeriod};

use crate::fixtures::{PointName, name};

/// How a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Runs,
    /// It holds its connections and answers nothing.
    Hangs,
    Dead,
}

/// One Tor with the service's key.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) name: InstanceName,
    pub(super) state: State,
    /// Counts its processes.
    pub(super) life: u32,
    /// Counts the descriptors that it built, and the moments at which it lost one.
    pub(super) builds: u32,
    /// How far its clock is ahead, in seconds.
    pub(super) ahead: i64,
    /// Whether what it stands before can be used.
    pub(super) fit: bool,
    points: Vec<IntroductionPoint>,
    /// Whether it has points that work, and so a descriptor.
    offers: bool,
}

impl Instance {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: InstanceName::from(name),
            state: State::Dead,
            life: 0,
            builds: 0,
            ahead: 0,
            fit: true,
            points: Vec::new(),
            offers: false,
        }
    }

    /// Starts a new process, which has no descriptor yet.
    pub(super) fn start(&mut self) {
        self.state = State::Runs;
        self.life += 1;
        self.lose();
    }

    /// Builds a descriptor, with other points than before or with the same.
    pub(super) fn build(&mut self, points: Option<Vec<IntroductionPoint>>) {
        if let Some(points) = points {
            self.points = points;
        }
        self.offers = true;
        self.builds += 1;
    }

    /// Has no descriptor any more.
    pub(super) fn lose(&mut self) {
        self.offers = false;
        self.builds += 1;
    }

    pub(super) fn has_points(&self) -> bool {
        !self.points.is_empty()
    }

    /// Whether clients can reach it at this point.
    pub(super) fn is_reached_at(&self, point: &PointName) -> bool {
        let runs = self.state == State::Runs && self.offers;
        runs && self.points.iter().any(|own| name(own) == *point)
    }

    /// Its introduction points.
    pub(super) fn points(&self) -> Vec<PointName> {
        self.points.iter().map(name).collect()
    }

    pub(super) fn clock(&self, now: UnixTime) -> UnixTime {
        UnixTime::from_secs(now.as_secs().saturating_add_signed(self.ahead))
    }

    /// The descriptor that it builds for a replica, if it has points.
    pub(super) fn text(&self, key: &ServiceKey, replica: Replica, now: UnixTime) -> Option<Vec<u8>> {
        let period = TimePeriod::at(&key.service_id(), self.clock(now));
        self.text_for(key, period, replica, now)
    }

    /// The descriptor that it builds for a replica in a period, if it has points.
    pub(super) fn text_for(
        &self,
        key: &ServiceKey,
        period: TimePeriod,
        replica: Replica,
        now: UnixTime,
    ) -> Option<Vec<u8>> {
        let clock = self.clock(now);
        let draft = self.offers.then(|| Draft::new(self.points.clone()))?;
        let descriptor = draft.sign(key, period, replica, clock.start_of_hour()).ok()?;
        Some(descriptor.text().to_vec())
    }
}
