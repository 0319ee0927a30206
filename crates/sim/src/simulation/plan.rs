//! Parts of a scenario.

use std::ops::RangeInclusive;
use std::time::Duration;

use onionweave_assign::Weight;
use onionweave_desc::v2::IntroductionPoint;

/// A Tor with the service's key, and its future.
///
/// ```
/// use std::time::Duration;
/// use onionweave_sim::InstancePlan;
///
/// let late = InstancePlan::new("late").starts_at(Duration::from_secs(1800)).cap(1_024_000);
/// assert_eq!(late.name(), "late");
/// ```
#[derive(Clone, Debug)]
pub struct InstancePlan {
    pub(super) name: String,
    pub(super) starts_at: Option<Duration>,
    pub(super) cap: Option<u64>,
    pub(super) weight: Weight,
    pub(super) point_count: usize,
    pub(super) points: Option<Vec<IntroductionPoint>>,
    pub(super) looks_at: Option<Duration>,
}

impl InstancePlan {
    /// An instance that starts at once, with three introduction points and no limit of its
    /// bandwidth.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            starts_at: Some(Duration::ZERO),
            cap: None,
            weight: Weight::default(),
            point_count: 3,
            points: None,
            looks_at: None,
        }
    }

    /// The instances `instance1`, `instance2` and so on.
    ///
    /// ```
    /// use onionweave_sim::InstancePlan;
    ///
    /// let names: Vec<_> = InstancePlan::numbered(2).iter().map(|plan| plan.name().to_owned()).collect();
    /// assert_eq!(names, ["instance1", "instance2"]);
    /// ```
    pub fn numbered(count: usize) -> Vec<Self> {
        (1..=count)
            .map(|number| Self::new(format!("instance{number}")))
            .collect()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When its process starts.
    #[must_use]
    pub fn starts_at(mut self, at: Duration) -> Self {
        self.starts_at = Some(at);
        self
    }

    /// Makes it start only when [`Happening::Starts`] says so.
    #[must_use]
    pub fn not_yet(mut self) -> Self {
        self.starts_at = None;
        self
    }

    /// Sets the number of bytes that it serves in a second, shared evenly by all who fetch
    /// something at the time.
    #[must_use]
    pub fn cap(mut self, bytes_per_second: u64) -> Self {
        self.cap = Some(bytes_per_second);
        self
    }

    /// Its part of the traffic, for policies that heed weights.
    #[must_use]
    pub fn weight(mut self, weight: Weight) -> Self {
        self.weight = weight;
        self
    }

    /// Sets the number of introduction points that it opens, one to ten
    /// (`HiddenServiceNumIntroductionPoints`). By default three.
    #[must_use]
    pub fn point_count(mut self, count: usize) -> Self {
        self.point_count = count.clamp(1, 10);
        self
    }

    /// The introduction points that its first process has, instead of ones that are drawn.
    #[must_use]
    pub fn points(mut self, points: Vec<IntroductionPoint>) -> Self {
        self.point_count = points.len().clamp(1, 10);
        self.points = Some(points);
        self
    }

    /// At which moment of each second its process looks whether to publish; what is more than a
    /// second is cut off.
    ///
    /// Tor looks when it starts, and then a second after each look
    /// (`core/mainloop/periodic.c:101,146`): processes which a simulator such as Shadow starts at
    /// the same time look at the same time for ever. By default the moment is drawn for each
    /// publication: on machines, where every look takes a while, it wanders.
    ///
    /// ```
    /// use std::time::Duration;
    /// use onionweave_sim::InstancePlan;
    ///
    /// let together = InstancePlan::numbered(3).into_iter().map(|plan| plan.looks_at(Duration::ZERO));
    /// assert_eq!(together.count(), 3);
    /// ```
    #[must_use]
    pub const fn looks_at(mut self, moment: Duration) -> Self {
        self.looks_at = Some(Duration::from_nanos(moment.subsec_nanos() as u64));
        self
    }
}

/// Clients that behave alike.
///
/// A client arrives, visits the service, waits, visits it again, and so on. It chooses directories
/// and introduction points as Tor does, and keeps what Tor keeps: the descriptor, the rendezvous
/// circuit, which directories it asked, which points failed.
///
/// ```
/// use std::time::Duration;
/// use onionweave_sim::Crowd;
///
/// const SECOND: Duration = Duration::from_secs(1);
/// // As in the thesis: 50 KiB over and over, with a pause of up to a minute.
/// let crowd = Crowd::new(300)
///     .arriving(1200 * SECOND..=1260 * SECOND)
///     .pausing(SECOND..=60 * SECOND)
///     .fetching(50 * 1024);
/// assert_eq!(crowd.len(), 300);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crowd {
    pub(super) clients: u32,
    pub(super) arriving: RangeInclusive<Duration>,
    pub(super) pausing: RangeInclusive<Duration>,
    pub(super) visits: Option<u32>,
    pub(super) fresh: bool,
    pub(super) isolated: bool,
    pub(super) bytes: u64,
    pub(super) patience: Duration,
}

impl Crowd {
    /// Describes this number of clients, which arrive within the first minute, come back after one
    /// to ten minutes, again and again, and fetch nothing to speak of.
    pub const fn new(clients: u32) -> Self {
        Self {
            clients,
            arriving: Duration::ZERO..=Duration::from_secs(60),
            pausing: Duration::from_secs(60)..=Duration::from_secs(600),
            visits: None,
            fresh: false,
            isolated: false,
            bytes: 0,
            patience: Duration::from_secs(60),
        }
    }

    /// Number of clients.
    pub const fn len(&self) -> u32 {
        self.clients
    }

    /// Whether there is nobody.
    pub const fn is_empty(&self) -> bool {
        self.clients == 0
    }

    /// When they arrive, each at a moment that is drawn from this time, evenly.
    #[must_use]
    pub const fn arriving(mut self, during: RangeInclusive<Duration>) -> Self {
        self.arriving = during;
        self
    }

    /// Sets the time that they wait from the end of a visit to the next, drawn evenly. A client
    /// that was not served waits as well.
    #[must_use]
    pub const fn pausing(mut self, pause: RangeInclusive<Duration>) -> Self {
        self.pausing = pause;
        self
    }

    /// Sets the number of visits that each makes, counting those in vain. By default there is no
    /// end.
    #[must_use]
    pub const fn visits(mut self, visits: u32) -> Self {
        self.visits = Some(visits);
        self
    }

    /// Before each visit they forget everything, as after `SIGNAL NEWNYM`
    /// (`feature/hs/hs_client.c:2592-2610`): each is one of a new client.
    #[must_use]
    pub const fn fresh(mut self) -> Self {
        self.fresh = true;
        self
    }

    /// Each visit has a circuit of its own, as streams with other SOCKS passwords have; the
    /// descriptor is kept. Without this, a circuit to an instance is used again until it was idle
    /// for ten minutes, or the instance closes it: ten minutes after it was made, as soon as
    /// nothing flows.
    #[must_use]
    pub const fn isolated(mut self) -> Self {
        self.isolated = true;
        self
    }

    /// Sets the number of bytes that each visit fetches. It matters to instances with a
    /// [`cap`](InstancePlan::cap).
    #[must_use]
    pub const fn fetching(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets the time for which a client waits for a transfer of which nothing comes any more. By
    /// default a minute.
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

/// Something that befalls the network.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Happening {
    /// An instance's process starts, if none runs.
    Starts(String),
    /// An instance's process dies, with its introduction points and all its transfers.
    Dies(String),
    /// An instance's process hangs: it holds its circuits and answers nothing.
    Hangs(String),
    /// An instance that hung goes on.
    GoesOn(String),
    /// An instance replaces all its introduction points.
    Rotates(String),
    /// The publisher ends. What it has written stays.
    PublisherStops,
    /// A publisher starts that knows nothing of what was before.
    PublisherStarts,
    /// A directory that is responsible now answers nobody any more: the one at this place, 0 to 2,
    /// of replica 0 or 1.
    DirectoryDies {
        /// The replica.
        replica: u8,
        /// Number of the directory among the replica's, in the order of the ring.
        place: u8,
    },
    /// A directory that is responsible now answers again, and has forgotten everything.
    DirectoryReturns {
        /// The replica.
        replica: u8,
        /// Number of the directory among the replica's, in the order of the ring.
        place: u8,
    },
}

impl Happening {
    /// The instance that it befalls.
    pub(super) fn instance(&self) -> Option<&str> {
        match self {
            Self::Starts(name) | Self::Dies(name) | Self::Hangs(name) | Self::GoesOn(name) | Self::Rotates(name) => {
                Some(name)
            }
            _ => None,
        }
    }
}

/// Durations of things at a client, and at an instance.
///
/// The defaults were measured on private networks of tor 0.4.5.9, where nothing is far away:
/// `docs/faults.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pace {
    /// From asking a directory to having its answer: 0.2 s.
    pub fetch: Duration,
    /// Time for which a client insists on a directory that does not answer: 31 s.
    pub silent_directory: Duration,
    /// From drawing an introduction point to being connected, if all is well: 0.3 s.
    pub connect: Duration,
    /// From drawing a dead introduction point to knowing that: 0.45 s.
    pub dead_point: Duration,
    /// Time for which a client waits for an instance that got its introduction and does not come,
    /// before it draws again: 61 s. It is the time that circuits may take to be built, as long as a
    /// client has not learned another, and a second until it is looked at
    /// (`core/or/circuitstats.h:75`, `core/or/circuituse.c:532,574`).
    pub silent_instance: Duration,
    /// When a client gives up: two minutes after it began, or after it last got a descriptor
    /// (`SocksTimeout`, `app/config/config.c:661`; `core/or/connection_edge.c:1164`,
    /// `feature/rend/rendclient.c:951`).
    pub give_up: Duration,
    /// From the end of nothing to the first byte where a circuit stands: 0.1 s.
    pub reuse: Duration,
    /// Time for which a client does not ask a directory again: 15 minutes
    /// (`REND_HID_SERV_DIR_REQUERY_PERIOD`, `feature/hs/hs_common.h:279`). With `TestingTorNetwork`
    /// it is 5 s.
    pub requery: Duration,
    /// From the start of an instance, or the loss of an introduction point, to introduction points
    /// that stand: 2.3 s.
    pub establish: Duration,
    /// Time for which an instance's points must have stood before it builds a descriptor of them:
    /// 30 s (`MIN_REND_INITIAL_POST_DELAY`, `feature/rend/rendservice.c:4285`). With
    /// `TestingTorNetwork` it is 5 s.
    pub settle: Duration,
    /// Time between two buildings of an instance's descriptor: each hour (`RendPostPeriod`,
    /// `feature/rend/rendservice.c:3866`).
    pub post_period: Duration,
    /// The longest that an instance's own upload takes: 1.1 s. They take a tenth of a second at
    /// least, and are drawn evenly.
    pub own_upload: Duration,
    /// From the publisher's post to the directory's answer: 0.16 s.
    pub upload: Duration,
    /// From the publisher's audit to its answer: 0.14 s.
    pub audit: Duration,
    /// From an instance's death to the publisher's knowing: 3 ms.
    pub notice_death: Duration,
    /// From the moment in which an instance hangs to the publisher's knowing, at most: 2 s. It is
    /// drawn evenly from the upper half.
    pub notice_hang: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            fetch: Duration::from_millis(200),
            silent_directory: Duration::from_secs(31),
            connect: Duration::from_millis(300),
            dead_point: Duration::from_millis(450),
            silent_instance: Duration::from_secs(61),
            give_up: Duration::from_secs(120),
            reuse: Duration::from_millis(100),
            requery: Duration::from_secs(15 * 60),
            establish: Duration::from_millis(2300),
            settle: Duration::from_secs(30),
            post_period: Duration::from_secs(3600),
            own_upload: Duration::from_millis(1100),
            upload: Duration::from_millis(160),
            audit: Duration::from_millis(140),
            notice_death: Duration::from_millis(3),
            notice_hang: Duration::from_secs(2),
        }
    }
}

impl Pace {
    /// Returns the pace of a network with `TestingTorNetwork 1`, where instances publish after five
    /// seconds and then every two minutes, and clients ask a directory again after five seconds.
    ///
    /// ```
    /// use onionweave_sim::Pace;
    ///
    /// assert!(Pace::testing().settle < Pace::default().settle);
    /// ```
    pub fn testing() -> Self {
        Self {
            requery: Duration::from_secs(5),
            settle: Duration::from_secs(5),
            post_period: Duration::from_secs(120),
            ..Self::default()
        }
    }
}
