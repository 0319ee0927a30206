//! A snapshot of all that an operator may ask of one service.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use onionweave_assign::{Load, Weight};
use onionweave_ring::relays::Lifetime;
use onionweave_ring::{OnionAddress, UnixTime};

use crate::{Cause, Down, InstanceName, Period, Report, SlotId};

/// The state of one service at one moment, as [`Machine::status`](crate::Machine::status) tells it.
///
/// Metrics, pages and a `status` command need nothing else of the machine. Times that have passed
/// are ages, so that a clock that was set does not falsify them.
///
/// ```
/// use std::time::Duration;
/// use onionweave_assign::Mixed;
/// use onionweave_publish::{InstanceSettings, Machine, Moment, Report, Settings};
/// use onionweave_ring::UnixTime;
/// # use onionweave_desc::v2::ServiceKey;
/// # let key = ServiceKey::from_pem(include_str!("../testdata/private_key")).unwrap();
///
/// let settings = Settings::new(vec![InstanceSettings::new("a".parse()?)])?;
/// let machine = Machine::new(key, Box::new(Mixed::default()), settings, 42);
///
/// let status = machine.status(Moment::new(UnixTime::from_secs(1_795_349_239), Duration::ZERO));
/// assert!(!status.is_settled());
/// for instance in &status.instances {
///     println!("{}: {} points", instance.name, instance.points);
/// }
/// assert_eq!(status.problems, [Report::NobodyLeft]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Status {
    /// Address of the service.
    pub address: OnionAddress,
    /// Time on the wall clock when the snapshot was taken.
    pub taken: UnixTime,
    /// Name of the policy.
    pub policy: String,
    /// Lifetime of the newest consensus; `None` before the first one.
    pub consensus: Option<Lifetime>,
    /// State of each slot, in order.
    pub slots: Vec<SlotStatus>,
    /// State of each instance, in order of names.
    pub instances: Vec<InstanceStatus>,
    /// Part of the clients, from 0 to 1, that the plan of each period gives each instance.
    pub shares: BTreeMap<Period, BTreeMap<InstanceName, f64>>,
    /// The last rounds of work, the newest last.
    pub rounds: Vec<PastRound>,
    /// Events since the machine was made.
    pub counts: Counts,
    /// Reports that still hold and want attention. The `Display` of each is one line.
    pub problems: Vec<Report>,
}

impl Status {
    /// Whether every slot is proved, and there is at least one.
    pub fn is_settled(&self) -> bool {
        !self.slots.is_empty() && self.slots.iter().all(|slot| slot.unproved_for.is_none())
    }

    /// Age of the oldest difference between the wanted ring and the proved one; `None` if there is
    /// no difference.
    pub fn unproved_for(&self) -> Option<Duration> {
        self.slots.iter().filter_map(|slot| slot.unproved_for).max()
    }

    /// Part of the clients, from 0 to 1, that the plan of the earliest period gives an instance.
    ///
    /// The earliest period is the present one. In its last hour there is a plan for the next one
    /// too.
    pub fn share_of(&self, instance: &str) -> f64 {
        let present = self.shares.first_key_value();
        present
            .and_then(|(_, shares)| shares.get(instance))
            .copied()
            .unwrap_or_default()
    }
}

/// State of one slot.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct SlotStatus {
    /// The slot: period, replica and directory.
    pub slot: SlotId,
    /// Part of the clients, from 0 to 1, that read this slot among those of its period.
    pub read_share: f64,
    /// Number of points that the plan gives the slot, by instance.
    pub instances: BTreeMap<InstanceName, u32>,
    /// Number of points in the text that the slot is to hold; 0 as long as there is no text.
    pub points: usize,
    /// State of the directory, as far as it is known.
    pub held: Held,
    /// Work that is under way at the directory.
    pub work: SlotWork,
    /// Time since the slot was proved or newly given a text; `None` while it is proved.
    pub unproved_for: Option<Duration>,
    /// Age of the last proof, if there was one.
    pub last_proof: Option<Duration>,
    /// Number of failures in a row.
    pub failures: u32,
    /// The last failure, also one that is long over.
    pub last_trouble: Option<Trouble>,
    /// Time for which the slot is still left alone since somebody else keeps writing there.
    pub truce_for: Option<Duration>,
    /// Time until the slot's next deadline; `None` if it waits for none.
    pub next: Option<Duration>,
}

/// State of a slot's directory, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Held {
    /// Nobody looked yet.
    Unknown,
    /// The directory accepted the wanted text. That proves nothing yet.
    Accepted,
    /// The directory was read back and holds the wanted text.
    Proved,
    /// The directory accepted or holds an earlier text of ours.
    Outdated,
    /// The directory holds something else, or nothing, or could not be asked.
    Other,
}

/// Work that is under way at a slot's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum SlotWork {
    /// There is none.
    Idle,
    /// An upload is on its way.
    Uploading,
    /// The directory is read back.
    Auditing,
}

/// A failure of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Trouble {
    /// The reason.
    pub why: String,
    /// Time since then.
    pub ago: Duration,
}

/// State of one instance.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct InstanceStatus {
    /// Name of the instance.
    pub name: InstanceName,
    /// Whether its control connection stands, or its descriptor is believed where that is the only
    /// sign of life.
    pub up: bool,
    /// The last reason for which it is down; `None` while it is up, and before anything was heard
    /// of it.
    pub down: Option<Down>,
    /// The reason for which a health check would not have it serve; `None` while it is fit.
    pub unfit: Option<String>,
    /// Whether the plan is made for it. A spare is up and fit, and waits.
    pub serves: bool,
    /// Number of introduction points that it offers.
    pub points: usize,
    /// Date of its last descriptor that was believed. Tor dates descriptors with the full hour.
    pub dated: Option<UnixTime>,
    /// Its weight now, configured or following its load.
    pub weight: Weight,
    /// Its last load; `None` if none was measured.
    pub load: Option<Load>,
    /// Number of changes: up, down, fit, unfit, other points.
    pub changes: u64,
    /// Age of the last change; `None` before the first.
    pub last_change: Option<Duration>,
    /// Time until its restart or the next reading of its descriptor, whichever is due first; `None`
    /// if neither is.
    pub next: Option<Duration>,
}

/// A round of work that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct PastRound {
    /// Time since its end.
    pub ago: Duration,
    /// The reasons for the work.
    pub causes: BTreeSet<Cause>,
    /// Number of uploads that began.
    pub uploads: u32,
    /// Number of slots that were written and then proved.
    pub proved: usize,
    /// Number of slots whose directories did not answer.
    pub missing: usize,
    /// Time from the first difference to the last proof.
    pub took: Duration,
}

/// Numbers of events since the machine was made. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Counts {
    /// Uploads, by result.
    pub uploads: UploadCounts,
    /// Audits, by result.
    pub audits: AuditCounts,
    /// Rounds of work, by duration.
    pub rounds: RoundTimes,
}

/// Numbers of uploads that ended, by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct UploadCounts {
    /// The directory accepted the text.
    pub accepted: u64,
    /// The directory or the uploading Tor refused it.
    pub refused: u64,
    /// No answer came in time, or the uploading Tor went away.
    pub unanswered: u64,
}

/// Numbers of audits that ended, by result.
///
/// A look that came too early, while the upload was still on its way, counts nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct AuditCounts {
    /// The directory held the wanted text.
    pub ours: u64,
    /// The directory held something else.
    pub foreign: u64,
    /// The directory held nothing.
    pub nothing: u64,
    /// The directory could not be asked, or gave no answer in time.
    pub failed: u64,
}

/// Histogram of the durations of rounds.
///
/// ```
/// use std::time::Duration;
/// use onionweave_publish::status::RoundTimes;
///
/// let mut times = RoundTimes::default();
/// times.add(Duration::from_millis(300));
/// times.add(Duration::from_secs(90));
/// let fast = RoundTimes::BOUNDS.iter().zip(times.within).find(|(_, within)| *within > 0);
/// assert_eq!(fast, Some((&Duration::from_millis(500), 1)));
/// assert_eq!((times.count, times.sum.as_millis()), (2, 90_300));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct RoundTimes {
    /// Number of rounds.
    pub count: u64,
    /// Sum of their durations.
    pub sum: Duration,
    /// Number of rounds that took at most as long as each of [`BOUNDS`](Self::BOUNDS).
    pub within: [u64; 9],
}

impl RoundTimes {
    /// Upper bounds of the histogram, from a tenth of a second to a minute.
    pub const BOUNDS: [Duration; 9] = [
        Duration::from_millis(100),
        Duration::from_millis(250),
        Duration::from_millis(500),
        Duration::from_secs(1),
        Duration::from_millis(2500),
        Duration::from_secs(5),
        Duration::from_secs(10),
        Duration::from_secs(30),
        Duration::from_secs(60),
    ];

    /// Adds a round that took this long.
    pub fn add(&mut self, took: Duration) {
        self.count += 1;
        self.sum = self.sum.saturating_add(took);
        for (bound, within) in Self::BOUNDS.iter().zip(&mut self.within) {
            *within += u64::from(took <= *bound);
        }
    }
}
