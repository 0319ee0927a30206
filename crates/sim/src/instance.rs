//! The instances: what they really are, whatever a publisher was told of them.

use onionweave_desc::v2::{Authorization, Draft, IntroductionPoint, ServiceKey};
use onionweave_publish::InstanceName;
use onionweave_ring::UnixTime;
use onionweave_ring::v2::{Replica, TimePeriod};

use crate::fixtures::{PointName, name};

/// State of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Runs,
    /// The process holds its connections and answers nothing.
    Hangs,
    Dead,
}

/// A Tor with the service's key.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) name: InstanceName,
    pub(crate) state: State,
    /// Counts its processes.
    pub(crate) life: u32,
    /// Counts the descriptors that it built, and the moments at which it lost one.
    pub(crate) builds: u32,
    /// Number of seconds by which its clock is ahead.
    pub(crate) ahead: i64,
    /// Whether what it stands before can be used.
    pub(crate) fit: bool,
    points: Vec<IntroductionPoint>,
    /// Whether it has points that work, and so a descriptor.
    offers: bool,
}

impl Instance {
    pub(crate) const fn new(name: InstanceName) -> Self {
        Self {
            name,
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
    pub(crate) fn start(&mut self) {
        self.state = State::Runs;
        self.life += 1;
        self.lose();
    }

    /// Builds a descriptor, with other points than before or with the same.
    pub(crate) fn build(&mut self, points: Option<Vec<IntroductionPoint>>) {
        if let Some(points) = points {
            self.points = points;
        }
        self.offers = true;
        self.builds += 1;
    }

    /// Has no descriptor any more.
    pub(crate) fn lose(&mut self) {
        self.offers = false;
        self.builds += 1;
    }

    pub(crate) fn introduction_points(&self) -> &[IntroductionPoint] {
        &self.points
    }

    pub(crate) fn has_points(&self) -> bool {
        !self.points.is_empty()
    }

    /// Whether this is one of its points.
    pub(crate) fn has(&self, point: &IntroductionPoint) -> bool {
        self.points.contains(point)
    }

    /// Whether clients can reach it at this point.
    pub(crate) fn is_reached_at(&self, point: &PointName) -> bool {
        let runs = self.state == State::Runs && self.offers;
        runs && self.points.iter().any(|own| name(own) == *point)
    }

    /// Its introduction points.
    pub(crate) fn points(&self) -> Vec<PointName> {
        self.points.iter().map(name).collect()
    }

    pub(crate) fn clock(&self, now: UnixTime) -> UnixTime {
        UnixTime::from_secs(now.as_secs().saturating_add_signed(self.ahead))
    }

    /// The descriptor that it builds in a period for a replica, when its clock shows `clock`, if it
    /// has points.
    pub(crate) fn text(
        &self,
        key: &ServiceKey,
        authorization: Option<&Authorization>,
        period: TimePeriod,
        replica: Replica,
        clock: UnixTime,
    ) -> Option<Vec<u8>> {
        let draft = self.offers.then(|| draft(self.points.clone(), authorization))?;
        let descriptor = draft.sign(key, period, replica, clock.start_of_hour()).ok()?;
        Some(descriptor.text().to_vec())
    }
}

/// Builds the descriptor that a Tor makes of these points.
pub(crate) fn draft(points: Vec<IntroductionPoint>, authorization: Option<&Authorization>) -> Draft {
    let draft = Draft::new(points);
    match authorization {
        Some(authorization) => draft.authorization(authorization.clone()),
        None => draft,
    }
}
