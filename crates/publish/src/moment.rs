//! The two clocks that the machine is told.

use std::time::Duration;

use onionweave_ring::UnixTime;

/// A moment on two clocks.
///
/// Time periods and publication times follow the *wall* clock, which an operator or NTP may set
/// back or forward. Deadlines follow *uptime*, which only grows. Keeping both in one value lets a
/// clock step move the former without firing or losing any of the latter.
///
/// ```
/// use std::time::Duration;
/// use onionweave_publish::Moment;
/// use onionweave_ring::UnixTime;
///
/// let start = Moment::new(UnixTime::from_secs(1_795_349_239), Duration::ZERO);
/// let later = start.after(Duration::from_millis(1500));
/// assert_eq!(later.uptime(), Duration::from_millis(1500));
/// assert_eq!(later.wall().as_secs(), 1_795_349_240);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    wall: UnixTime,
    uptime: Duration,
}

impl Moment {
    /// The moment at which the wall clock shows `wall` and the steady clock `uptime` since its
    /// (arbitrary) start.
    pub const fn new(wall: UnixTime, uptime: Duration) -> Self {
        Self { wall, uptime }
    }

    /// Time on the wall clock, in whole seconds.
    pub const fn wall(self) -> UnixTime {
        self.wall
    }

    /// Time on the steady clock since its start.
    pub const fn uptime(self) -> Duration {
        self.uptime
    }

    /// The moment `by` later on both clocks. The wall clock moves by whole seconds.
    pub fn after(self, by: Duration) -> Self {
        Self {
            wall: self.wall.saturating_add(by),
            uptime: self.uptime.saturating_add(by),
        }
    }

    /// The uptime at which the wall clock will show `target` if nobody sets it; `uptime` itself if
    /// it already has.
    pub(crate) fn uptime_at(self, target: UnixTime) -> Duration {
        let ahead = target.as_secs().saturating_sub(self.wall.as_secs());
        self.uptime.saturating_add(Duration::from_secs(ahead))
    }
}
