//! Machines in virtual time: one engine for all worlds that drive them.

use std::fmt;
use std::time::Duration;

use onionweave_publish::{Action, Event, Machine, Moment};
use onionweave_ring::UnixTime;

use crate::queue::Queue;

/// Number of actions, for one call of a machine, that no publisher reaches.
///
/// A machine asks for an upload and an audit of each slot, and for some reports.
const MOST_ACTIONS: usize = 10_000;

/// Way in which a machine has something to do for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Circle {
    /// The actions of one call do not end.
    Actions,
    /// The next deadline has passed when the machine was just called.
    Deadline,
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Actions => "the machine has something to do for ever",
            Self::Deadline => "the machine asks to be called at once for ever",
        })
    }
}

/// The time, the events to come, and the machines of a world.
///
/// `D` is the world's type of an event to come. Machines are numbered from zero, in the order in
/// which they were [added](Self::add).
#[derive(Debug)]
pub struct Engine<D> {
    /// The true time at the start.
    start: UnixTime,
    now: Duration,
    queue: Queue<D>,
    hosts: Vec<Host>,
}

/// A machine and its clock.
#[derive(Debug)]
struct Host {
    machine: Machine,
    /// Number of seconds by which its wall clock is ahead of the true time.
    ahead: i64,
    /// Uptime at which the machine wants to be called.
    deadline: Option<Duration>,
}

/// The next step of a world.
enum Step<D> {
    Event(D),
    /// The deadline of a machine.
    Deadline(usize),
}

impl<D> Engine<D> {
    /// Creates an engine without machines and events, at uptime zero.
    ///
    /// `start` is the true time at uptime zero.
    pub fn new(start: UnixTime) -> Self {
        Self {
            start,
            now: Duration::ZERO,
            queue: Queue::new(),
            hosts: Vec::new(),
        }
    }

    /// Adds a machine, whose wall clock is right, and returns its number.
    ///
    /// The machine is called for the first time when it is told something.
    pub fn add(&mut self, machine: Machine) -> usize {
        self.hosts.push(Host {
            machine,
            ahead: 0,
            deadline: None,
        });
        self.hosts.len() - 1
    }

    /// Puts another machine in the place of one, as a restart of a publisher does. The clock stays.
    ///
    /// The machine is called for the first time when it is told something.
    pub fn replace(&mut self, host: usize, machine: Machine) {
        let host = &mut self.hosts[host];
        (host.machine, host.deadline) = (machine, None);
    }

    /// Removes the machines from this number on.
    pub fn truncate(&mut self, hosts: usize) {
        self.hosts.truncate(hosts);
    }

    /// Returns the number of machines.
    pub const fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// Returns the machine of this number.
    ///
    /// # Panics
    ///
    /// Panics if there is no such machine, as all methods do that take a number.
    pub fn machine(&self, host: usize) -> &Machine {
        &self.hosts[host].machine
    }

    /// Returns the true time at uptime zero.
    pub const fn start(&self) -> UnixTime {
        self.start
    }

    /// Returns the time since the start.
    pub const fn uptime(&self) -> Duration {
        self.now
    }

    /// Returns the true time, in whole seconds, which no clock step moves.
    pub const fn truth(&self) -> UnixTime {
        self.start.saturating_add(Duration::from_secs(self.now.as_secs()))
    }

    /// Returns the present by the clocks of a machine.
    pub fn moment(&self, host: usize) -> Moment {
        let wall = self.truth().as_secs().saturating_add_signed(self.hosts[host].ahead);
        Moment::new(UnixTime::from_secs(wall), self.now)
    }

    /// Returns the number of seconds by which the wall clock of a machine is ahead of the true
    /// time.
    pub fn ahead(&self, host: usize) -> i64 {
        self.hosts[host].ahead
    }

    /// Sets the wall clock of a machine forward by `by` seconds, or back if that is negative.
    ///
    /// The machine is not called, but its next deadline follows the clock.
    pub fn step_clock(&mut self, host: usize, by: i64) {
        self.step_clock_unnoticed(host, by);
        let moment = self.moment(host);
        let host = &mut self.hosts[host];
        host.deadline = host.machine.next_deadline(moment);
    }

    /// Sets the wall clock of a machine as [`step_clock`](Self::step_clock) does, while its driver
    /// sleeps.
    ///
    /// The next deadline stays where it was until the machine is called.
    pub fn step_clock_unnoticed(&mut self, host: usize, by: i64) {
        self.hosts[host].ahead = self.hosts[host].ahead.saturating_add(by);
    }

    /// Plans an event after `delay`. Of two at the same time, the one planned earlier happens
    /// first.
    pub fn after(&mut self, delay: Duration, due: D) {
        self.at(self.now.saturating_add(delay), due);
    }

    /// Plans an event at an uptime. An event that is late happens first.
    pub fn at(&mut self, uptime: Duration, due: D) {
        self.queue.push(uptime, due);
    }

    /// Moves the time to this uptime while all drivers sleep, unless it is past.
    ///
    /// Deadlines and planned events until then wait, and are late.
    pub fn sleep_until(&mut self, uptime: Duration) {
        self.now = self.now.max(uptime);
    }

    /// Returns the uptime of the next event or deadline.
    pub fn next_at(&self) -> Option<Duration> {
        let deadlines = self.hosts.iter().filter_map(|host| host.deadline);
        deadlines.chain(self.queue.next_at()).min()
    }

    /// Polls a machine for all that it asks for, and notes its next deadline.
    fn poll(&mut self, host: usize) -> (Vec<Action>, Option<Circle>) {
        let moment = self.moment(host);
        let host = &mut self.hosts[host];
        let actions: Vec<_> = std::iter::from_fn(|| host.machine.poll(moment))
            .take(MOST_ACTIONS)
            .collect();
        host.deadline = host.machine.next_deadline(moment);
        let circle = if actions.len() == MOST_ACTIONS {
            Some(Circle::Actions)
        } else if host.deadline.is_some_and(|at| at <= self.now) {
            Some(Circle::Deadline)
        } else {
            None
        };
        (actions, circle)
    }

    /// Advances to the next step until `end`, or else to `end`.
    fn advance(&mut self, end: Duration) -> Option<Step<D>> {
        let event = self.queue.next_at();
        let hosts = self.hosts.iter().enumerate();
        let deadline = hosts.filter_map(|(number, host)| Some((host.deadline?, number))).min();
        let next = event.into_iter().chain(deadline.map(|(at, _)| at)).min();
        let Some(at) = next.filter(|at| *at <= end) else {
            self.now = self.now.max(end);
            return None;
        };
        self.now = self.now.max(at);
        if event == Some(at) {
            return self.queue.pop().map(Step::Event);
        }
        deadline.map(|(_, host)| Step::Deadline(host))
    }
}

/// A network, or a part of one, around machines in virtual time.
///
/// A world says how it answers the actions of its machines and what happens at the events that it
/// planned. The provided methods are the driver's part, which is the same for all worlds.
///
/// # Panics
///
/// The provided methods panic if a machine has something to do for ever, unless the world has a
/// [`circle`](Self::circle) of its own.
///
/// ```
/// use std::time::Duration;
/// use onionweave_sim::{Engine, World};
/// use onionweave_publish::{Action, Event, Found, InstanceSettings, Machine, Settings};
/// # use onionweave_desc::v2::ServiceKey;
/// # use onionweave_ring::{Directories, Fingerprint, UnixTime};
///
/// /// Directories that hold nothing.
/// struct Empty {
///     engine: Engine<Event>,
///     audits: usize,
/// }
///
/// impl World for Empty {
///     type Due = Event;
///
///     fn engine(&mut self) -> &mut Engine<Event> {
///         &mut self.engine
///     }
///
///     fn act(&mut self, _: usize, action: Action) {
///         if let Action::Audit { ticket, .. } = action {
///             self.audits += 1;
///             let answer = Event::Audited { ticket, found: Found::Nothing };
///             self.engine.after(Duration::from_millis(140), answer);
///         }
///     }
///
///     fn happen(&mut self, answer: Event) {
///         self.tell(0, answer);
///     }
/// }
///
/// let key = ServiceKey::from_pem(include_str!("../../publish/testdata/private_key"))?;
/// let settings = Settings::new(vec![InstanceSettings::new("a".parse().unwrap())]).unwrap();
/// let policy = onionweave_assign::PolicyName::Mixed.policy();
/// let mut engine = Engine::new(UnixTime::from_iso("2026-11-22 12:05:00").expect("a time"));
/// engine.add(Machine::new(key, policy, settings, 1));
/// let mut world = Empty { engine, audits: 0 };
/// let relays = (0..=255).map(|first| Fingerprint::from([first; 20]));
/// world.tell(0, Event::Directories(Directories::from_iter(relays).into()));
/// world.pass(Duration::from_secs(60));
/// assert_eq!(world.engine.uptime(), Duration::from_secs(60));
/// # Ok::<(), onionweave_desc::Error>(())
/// ```
pub trait World {
    /// Event to come.
    type Due;

    /// Returns the engine of this world.
    fn engine(&mut self) -> &mut Engine<Self::Due>;

    /// Does what a machine asks for.
    fn act(&mut self, host: usize, action: Action);

    /// Carries out a planned event.
    fn happen(&mut self, due: Self::Due);

    /// Takes note that all actions of a call were passed to [`act`](Self::act). Does nothing by
    /// default.
    fn rest(&mut self, host: usize) {
        let _ = host;
    }

    /// Takes note that a machine has something to do for ever. Panics by default.
    fn circle(&mut self, host: usize, circle: Circle) {
        panic!("machine {host}: {circle}");
    }

    /// Tells a machine an event, and does what it asks for.
    fn tell(&mut self, host: usize, event: Event) {
        let engine = self.engine();
        let moment = engine.moment(host);
        engine.hosts[host].machine.handle(event, moment);
        self.call(host);
    }

    /// Calls a machine, and does what it asks for.
    fn call(&mut self, host: usize) {
        let (actions, circle) = self.engine().poll(host);
        for action in actions {
            self.act(host, action);
        }
        if let Some(circle) = circle {
            self.circle(host, circle);
        }
        self.rest(host);
    }

    /// Takes the next step if there is one until the uptime `end`, or else lets the time pass until
    /// `end`. Returns whether there was one.
    fn step(&mut self, end: Duration) -> bool {
        match self.engine().advance(end) {
            Some(Step::Event(due)) => self.happen(due),
            Some(Step::Deadline(host)) => self.call(host),
            None => return false,
        }
        true
    }

    /// Advances time, and carries out all that is due until then.
    fn pass(&mut self, time: Duration) {
        let end = self.engine().now.saturating_add(time);
        while self.step(end) {}
    }
}
