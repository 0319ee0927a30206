//! The pool: Tor instances that the publisher runs itself, decided without IO.
//!
//! The model is Apache's pre-forking: processes are started ahead of need and wait, warm, until
//! they are needed. A master looks after their number and does nothing else. Here a warm process is
//! a Tor whose introduction points stand.
//!
//! The planner decides which of them serve and which are spares
//! ([`Settings::serving`](crate::Settings::serving)). So a spare takes over in the moment in which
//! an instance is seen dead, and the pool only fills the place again.
//!
//! [`Pool`] does no IO and reads no clock: events and the time go in, actions come out.
//!
//! # What always holds
//!
//! - There are never more processes than places.
//! - One start at a time: the next one waits until the last process answers, or is gone, and for
//!   the pause at least. So within a time `t` there are at most `t / pause + 1` starts, whatever
//!   dies.
//! - Starts that fail double the pause, up to [`LONGEST_PAUSE`]. A process that dies soon after it
//!   was ready is a start that failed, too. The pauses stay long until a process has been ready for
//!   a minute.
//! - A process that runs well is never stopped for another configuration unless all others stand
//!   ready. So a configuration that does not work costs one instance, and the others go on as they
//!   were.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::num::NonZeroU16;
use std::time::Duration;

use crate::InstanceName;
use crate::pause::{Backoff, LASTED};

/// Longest pause between starts that fail. So the pool stands soon after a mistake is corrected.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Longest time that a process may take to end when it is told to, before it is killed. A Tor that
/// is no relay ends at once.
const END_WITHIN: Duration = Duration::from_secs(5);

/// A place in the pool, counted from one. At any time it has one process or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(NonZeroU16);

impl Place {
    /// The places of a pool of `count`.
    pub fn first(count: u16) -> impl Iterator<Item = Self> {
        (1..=count).filter_map(NonZeroU16::new).map(Self)
    }

    /// Its number, from one.
    pub fn number(self) -> u16 {
        self.0.get()
    }

    /// Name of the instance in it, in every service: `pool-1` and so on.
    pub fn instance(self) -> InstanceName {
        InstanceName::of_place(self.0)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pool-{}", self.0)
    }
}

/// Number of processes, and the pace at which they may be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolSettings {
    /// Number of places, spares included; none dissolves the pool.
    pub places: u16,
    /// Shortest time from one start to the next.
    pub pause: Duration,
    /// Longest time that a process may take until it answers. Then it is ended and counts as a
    /// start that failed.
    pub answer_within: Duration,
}

impl PoolSettings {
    /// Settings for a pool with this number of places: a start a second, and thirty seconds until a
    /// process answers.
    pub fn new(places: u16) -> Self {
        Self {
            places,
            pause: Duration::from_secs(1),
            answer_within: Duration::from_secs(30),
        }
    }
}

/// News from the outside world for the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolEvent {
    /// The answer to [`PoolAction::Adopt`]: a process of an earlier publisher runs there and was
    /// taken over.
    Adopted {
        /// The place.
        place: Place,
        /// Whether it was started with what is configured now.
        current: bool,
    },
    /// The answer to [`PoolAction::Adopt`]: nothing runs there (any more).
    Vacant(Place),
    /// The process answers.
    Up(Place),
    /// The process offers introduction points for all that it hosts.
    Ready(Place),
    /// The process was asked and does not answer.
    Hung(Place),
    /// The process ended, or could not be started.
    Gone(Place),
    /// The configuration was read again.
    Configured {
        /// The settings in it.
        settings: PoolSettings,
        /// Whether processes must be started anew to have it.
        anew: bool,
    },
}

/// A request of the pool to its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a driver must carry out every action: a new one must not compile unnoticed"
)]
pub enum PoolAction {
    /// Look whether a process of an earlier publisher runs there, and answer with
    /// [`PoolEvent::Adopted`] or [`PoolEvent::Vacant`].
    Adopt(Place),
    /// Start a process there; [`PoolEvent::Up`] or [`PoolEvent::Gone`] comes next.
    Start(Place),
    /// Tell the process to end; [`PoolEvent::Gone`] comes next.
    Stop(Place),
    /// Kill it; [`PoolEvent::Gone`] comes next.
    Kill(Place),
}

/// State of a place of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum PlaceState {
    /// The driver looks whether a process of an earlier publisher is there.
    Looking,
    /// No process is there.
    Empty,
    /// The process was started and does not answer yet.
    Starting,
    /// The process answers, and has no introduction points yet.
    Warming,
    /// Its introduction points stand.
    Ready,
    /// The process was told to end.
    Stopping,
}

/// The machine that keeps the processes of a pool at their number.
///
/// ```
/// use std::time::Duration;
/// use onionweave_publish::pool::{Place, Pool, PoolAction, PoolEvent, PoolSettings};
///
/// let at = Duration::from_millis;
/// let mut pool = Pool::new(PoolSettings::new(2), at(0));
/// let [first, second] = [1, 2].map(|number| Place::first(2).nth(number - 1).unwrap());
/// // Nothing is left of an earlier publisher.
/// assert_eq!(pool.poll(), Some(PoolAction::Adopt(first)));
/// assert_eq!(pool.poll(), Some(PoolAction::Adopt(second)));
/// pool.handle(PoolEvent::Vacant(first), at(1));
/// pool.handle(PoolEvent::Vacant(second), at(1));
/// // One start at a time.
/// assert_eq!(pool.poll(), Some(PoolAction::Start(first)));
/// assert_eq!(pool.poll(), None);
/// pool.handle(PoolEvent::Up(first), at(300));
/// assert_eq!(pool.next_deadline(), Some(at(1001)));
/// pool.advance(at(1001));
/// assert_eq!(pool.poll(), Some(PoolAction::Start(second)));
/// ```
#[derive(Debug)]
pub struct Pool {
    settings: PoolSettings,
    /// Raised by every configuration that needs processes to be started anew.
    generation: u64,
    members: BTreeMap<Place, Member>,
    /// The starts that failed.
    backoff: Backoff,
    /// Uptime before which nothing is started, and nothing stopped that works.
    next_step: Duration,
    actions: VecDeque<PoolAction>,
}

#[derive(Debug)]
struct Member {
    state: State,
    /// Number of the configuration with which its process was started.
    generation: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Looking,
    Empty,
    Starting {
        until: Duration,
    },
    Warming,
    Ready {
        since: Duration,
    },
    Stopping {
        until: Duration,
    },
    /// The process was killed: there is nothing left to do but to wait.
    Killed {
        failed: bool,
    },
}

impl State {
    fn has_process(self) -> bool {
        !matches!(self, Self::Looking | Self::Empty)
    }

    fn is_ready(self) -> bool {
        matches!(self, Self::Ready { .. })
    }

    /// Whether the start of a process that ends now unasked failed: it was never ready, or not for
    /// long. `None` if there is no such process.
    fn failed(self, now: Duration) -> Option<bool> {
        match self {
            Self::Starting { .. } | Self::Warming => Some(true),
            Self::Ready { since } => Some(now.saturating_sub(since) < LASTED),
            _ => None,
        }
    }
}

impl Pool {
    /// A pool that looks first what an earlier publisher left.
    pub fn new(settings: PoolSettings, now: Duration) -> Self {
        let mut pool = Self {
            settings,
            generation: 0,
            members: BTreeMap::new(),
            backoff: Backoff::default(),
            next_step: now,
            actions: VecDeque::new(),
        };
        pool.add_places();
        pool
    }

    /// Takes note of an event. `now` is the time since any fixed moment and never goes back.
    ///
    /// Events about places that have no process which they could be about are ignored.
    pub fn handle(&mut self, event: PoolEvent, now: Duration) {
        match event {
            PoolEvent::Adopted { place, current } => self.adopted(place, current),
            PoolEvent::Vacant(place) => self.change(place, |state| match state {
                State::Looking => State::Empty,
                other => other,
            }),
            PoolEvent::Up(place) => self.change(place, |state| match state {
                State::Starting { .. } => State::Warming,
                other => other,
            }),
            PoolEvent::Ready(place) => self.ready(place, now),
            PoolEvent::Hung(place) => self.hung(place, now),
            PoolEvent::Gone(place) => self.gone(place, now),
            PoolEvent::Configured { settings, anew } => self.configured(settings, anew, now),
        }
        self.advance(now);
    }

    /// The next thing to do, if any. To be called until it returns `None` after every
    /// [`handle`](Self::handle) and [`advance`](Self::advance).
    pub fn poll(&mut self) -> Option<PoolAction> {
        self.actions.pop_front()
    }

    /// Uptime at which [`advance`](Self::advance) wants to be called, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Duration> {
        let ends = self.members.values().filter_map(|member| match member.state {
            State::Starting { until } | State::Stopping { until } => Some(until),
            _ => None,
        });
        let step = self.wants_step().then_some(self.next_step);
        ends.chain(step).min()
    }

    /// Does what is due.
    pub fn advance(&mut self, now: Duration) {
        self.end_the_slow(now);
        self.members
            .retain(|place, member| place.number() <= self.settings.places || member.state != State::Empty);
        if now < self.next_step {
            return;
        }
        if let Some(place) = self.to_stop() {
            let until = now + END_WITHIN;
            self.change(place, |_| State::Stopping { until });
            self.actions.push_back(PoolAction::Stop(place));
            self.next_step = now + self.settings.pause;
        } else if let Some(place) = self.to_start() {
            let until = now + self.settings.answer_within;
            let generation = self.generation;
            self.members.insert(
                place,
                Member {
                    state: State::Starting { until },
                    generation,
                },
            );
            self.actions.push_back(PoolAction::Start(place));
            self.next_step = now + self.settings.pause;
        }
    }

    /// State of each place.
    pub fn places(&self) -> impl Iterator<Item = (Place, PlaceState)> {
        self.members.iter().map(|(place, member)| {
            let state = match member.state {
                State::Looking => PlaceState::Looking,
                State::Empty => PlaceState::Empty,
                State::Starting { .. } => PlaceState::Starting,
                State::Warming => PlaceState::Warming,
                State::Ready { .. } => PlaceState::Ready,
                State::Stopping { .. } | State::Killed { .. } => PlaceState::Stopping,
            };
            (*place, state)
        })
    }

    /// Whether it is dissolved: there are no places and no processes.
    pub fn is_dissolved(&self) -> bool {
        self.settings.places == 0 && self.members.is_empty()
    }

    /// Number of starts that failed in a row, and the earliest uptime of the next one; `None` if
    /// the last one did not fail.
    pub fn failing(&self) -> Option<(u32, Duration)> {
        let failures = self.backoff.failures();
        (failures > 0).then_some((failures, self.next_step))
    }

    // What happened.

    fn adopted(&mut self, place: Place, current: bool) {
        let generation = self.generation;
        if let Some(member) = self.members.get_mut(&place)
            && member.state == State::Looking
        {
            member.state = State::Warming;
            if current {
                member.generation = generation;
            }
        }
    }

    fn ready(&mut self, place: Place, now: Duration) {
        if let Some(member) = self.members.get_mut(&place)
            && matches!(member.state, State::Starting { .. } | State::Warming)
        {
            member.state = State::Ready { since: now };
            self.backoff.succeed(now);
        }
    }

    fn hung(&mut self, place: Place, now: Duration) {
        if let Some(member) = self.members.get_mut(&place)
            && let Some(failed) = member.state.failed(now)
        {
            // A process that hangs does not hear a request to end.
            member.state = State::Killed { failed };
            self.actions.push_back(PoolAction::Kill(place));
        }
    }

    fn gone(&mut self, place: Place, now: Duration) {
        let Some(member) = self.members.get_mut(&place) else {
            return;
        };
        let failed = match member.state {
            State::Looking | State::Empty => return,
            State::Killed { failed } => failed,
            State::Stopping { .. } => false,
            state => state.failed(now).unwrap_or_default(),
        };
        member.state = State::Empty;
        if failed {
            let doublings = self.backoff.fail(now) - 1;
            let pause = self.settings.pause.saturating_mul(2_u32.saturating_pow(doublings));
            self.next_step = self.next_step.max(now + pause.min(LONGEST_PAUSE));
        }
    }

    fn configured(&mut self, settings: PoolSettings, anew: bool, now: Duration) {
        if settings.places < self.settings.places {
            // The slots of those that end are to be others' before.
            self.next_step = self.next_step.max(now + settings.pause);
        }
        self.settings = settings;
        if anew {
            self.generation += 1;
            // The cause of failed starts may be gone: the pause of ordinary starts is enough.
            self.backoff = Backoff::default();
            self.next_step = self.next_step.min(now + settings.pause);
        }
        self.add_places();
    }

    // What is to do.

    fn add_places(&mut self) {
        for place in Place::first(self.settings.places) {
            self.members.entry(place).or_insert_with(|| {
                self.actions.push_back(PoolAction::Adopt(place));
                Member {
                    state: State::Looking,
                    // Older than any until it is known to be current.
                    generation: self.generation.wrapping_sub(1),
                }
            });
        }
    }

    fn end_the_slow(&mut self, now: Duration) {
        for (place, member) in &mut self.members {
            let failed = match member.state {
                State::Starting { until } if until <= now => true,
                State::Stopping { until } if until <= now => false,
                _ => continue,
            };
            member.state = State::Killed { failed };
            self.actions.push_back(PoolAction::Kill(*place));
        }
    }

    fn wants_step(&self) -> bool {
        self.to_stop().is_some() || self.to_start().is_some()
    }

    /// A process that is too many, or runs with an old configuration and may go.
    fn to_stop(&self) -> Option<Place> {
        let running = || self.members.iter().filter(|(_, member)| member.state.has_process());
        let ending = |member: &Member| matches!(member.state, State::Stopping { .. } | State::Killed { .. });
        if running().any(|(_, member)| ending(member)) {
            return None;
        }
        // The last place goes first.
        let surplus = running().rev().find(|(place, _)| place.number() > self.settings.places);
        if let Some((place, _)) = surplus {
            return Some(*place);
        }
        let mut outdated = running().filter(|(_, member)| member.generation != self.generation);
        let all_ready = self.members.values().all(|member| member.state.is_ready());
        if all_ready {
            outdated.next().map(|(place, _)| *place)
        } else {
            // What is of no use yet need not wait for the others.
            outdated
                .find(|(_, member)| !member.state.is_ready())
                .map(|(place, _)| *place)
        }
    }

    fn to_start(&self) -> Option<Place> {
        let busy = |state| matches!(state, State::Looking | State::Starting { .. });
        let running = self
            .members
            .values()
            .filter(|member| member.state.has_process())
            .count();
        if running >= usize::from(self.settings.places) || self.members.values().any(|member| busy(member.state)) {
            return None;
        }
        self.members
            .iter()
            .find(|(place, member)| place.number() <= self.settings.places && member.state == State::Empty)
            .map(|(place, _)| *place)
    }

    fn change(&mut self, place: Place, next: impl FnOnce(State) -> State) {
        if let Some(member) = self.members.get_mut(&place) {
            member.state = next(member.state);
        }
    }
}

#[cfg(test)]
mod tests;
