//! A trace: what passes between a publisher's machine and the world, in a form that outlives both.
//!
//! A driver makes an [`Entry`] of each event and action with a [`Recorder`], and writes the entries
//! wherever it likes; with the feature `serde` one line of JSON each. The entries hold descriptors,
//! which directories hand out to everybody. They hold no key and no client's cookie. The
//! simulator's witness checks a trace, no matter which driver recorded it.
//!
//! ```
//! use std::time::Duration;
//! use onionweave_publish::trace::{Passed, Recorder, Told};
//! use onionweave_publish::{Event, InstanceName, Moment};
//! use onionweave_ring::UnixTime;
//!
//! let recorder = Recorder::default();
//! let name: InstanceName = "a".parse()?;
//! let now = Moment::new(UnixTime::from_secs(1_795_349_239), Duration::ZERO);
//! let entry = recorder.told(&Event::InstanceUp { instance: name.clone() }, now);
//! assert!(matches!(entry.passed, Passed::Told(Told::Up { instance, .. }) if instance == name));
//! # Ok::<(), onionweave_publish::NameError>(())
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use onionweave_ring::{DescriptorId, Fingerprint, OnionAddress, UnixTime};

use crate::{Action, Event, InstanceName, Moment, Settings, SlotId};

mod convert;

/// An event, an action or a change, and the moment at which it passed.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Entry {
    /// The time by the steady clock.
    pub uptime: Duration,
    /// The time by the publisher's wall clock.
    pub wall: UnixTime,
    /// The thing that passed.
    pub passed: Passed,
}

impl Entry {
    /// The moment at which it passed.
    pub const fn moment(&self) -> Moment {
        Moment::new(self.wall, self.uptime)
    }
}

/// Something that passed between a machine and the world.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Passed {
    /// A machine was made, which knows nothing yet.
    #[non_exhaustive]
    Started {
        /// The service's address.
        service: OnionAddress,
        /// The settings as far as a trace has them.
        settings: Configuration,
    },
    /// The machine was told an event.
    Told(Told),
    /// The machine asked for an action.
    Asked(Asked),
    /// The texts that the machine wants changed: each other text, and `None` for each slot that is
    /// gone.
    Wants(Vec<(SlotId, Option<String>)>),
}

/// The settings as far as a trace has them: those by which a publisher is judged.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Configuration {
    /// The instances.
    pub instances: Vec<Instance>,
    /// Number of instances that serve at once; `None` for all.
    pub serving: Option<std::num::NonZeroUsize>,
    /// Longest time that an upload or an audit may take.
    pub answer_within: Duration,
}

/// An instance in a [`Configuration`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Instance {
    /// Its name.
    pub name: InstanceName,
    /// Its address, if that is another than the service's.
    pub address: Option<OnionAddress>,
    /// Whether its descriptor is read from a file.
    pub file: bool,
    /// The pause between readings, if its descriptor is read from directories.
    pub directories: Option<Duration>,
}

/// An event. `text` is a descriptor's, with a replacement character for each byte that is not
/// UTF-8.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[allow(missing_docs, reason = "the fields are those of the events")]
#[non_exhaustive]
pub enum Told {
    /// [`Event::Directories`], as the relays on the ring.
    Directories(Vec<Fingerprint>),
    /// [`Event::InstanceUp`].
    #[non_exhaustive]
    Up { instance: InstanceName },
    /// [`Event::InstanceDown`].
    #[non_exhaustive]
    Down { instance: InstanceName, why: String },
    /// [`Event::InstanceOffers`].
    #[non_exhaustive]
    Offers {
        instance: InstanceName,
        text: String,
        rebuilt: bool,
    },
    /// [`Event::InstanceOffersNothing`].
    #[non_exhaustive]
    OffersNothing { instance: InstanceName },
    /// [`Event::InstanceRefuses`].
    #[non_exhaustive]
    Refuses { instance: InstanceName, why: String },
    /// [`Event::InstanceUnfit`].
    #[non_exhaustive]
    Unfit { instance: InstanceName, why: String },
    /// [`Event::InstanceFit`].
    #[non_exhaustive]
    Fit { instance: InstanceName },
    /// [`Event::InstanceLoad`].
    #[non_exhaustive]
    Load { instance: InstanceName, load: Option<f64> },
    /// [`Event::InstanceUploads`].
    #[non_exhaustive]
    Uploads {
        instance: InstanceName,
        own: bool,
        directory: Fingerprint,
        descriptor_id: DescriptorId,
    },
    /// [`Event::InstanceUploadEnded`].
    #[non_exhaustive]
    UploadEnded {
        instance: InstanceName,
        directory: Fingerprint,
    },
    /// [`Event::UploadAnswered`].
    #[non_exhaustive]
    Answered { ticket: u64, answer: Answer },
    /// [`Event::Audited`].
    #[non_exhaustive]
    Audited { ticket: u64, found: Seen },
    /// [`Event::Read`].
    #[non_exhaustive]
    Read { ticket: u64, found: Seen },
    /// [`Event::Configured`].
    Configured(Configuration),
}

/// An [`UploadAnswer`](crate::UploadAnswer).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Answer {
    /// [`UploadAnswer::Accepted`](crate::UploadAnswer::Accepted).
    Accepted,
    /// [`UploadAnswer::Refused`](crate::UploadAnswer::Refused).
    Refused(String),
    /// [`UploadAnswer::Interrupted`](crate::UploadAnswer::Interrupted).
    Interrupted,
}

/// A [`Found`](crate::Found).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Seen {
    /// [`Found::Text`](crate::Found::Text).
    Text(String),
    /// [`Found::Nothing`](crate::Found::Nothing).
    Nothing,
    /// [`Found::Unusable`](crate::Found::Unusable).
    Unusable(String),
    /// [`Found::Failed`](crate::Found::Failed).
    Failed(String),
    /// [`Found::Interrupted`](crate::Found::Interrupted).
    Interrupted,
}

/// An action.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[allow(missing_docs, reason = "the fields are those of the actions")]
#[non_exhaustive]
pub enum Asked {
    /// [`Action::Upload`].
    #[non_exhaustive]
    Upload {
        ticket: u64,
        slot: SlotId,
        descriptor_id: DescriptorId,
        text: String,
        attempt: u32,
    },
    /// [`Action::Audit`].
    #[non_exhaustive]
    Audit {
        ticket: u64,
        slot: SlotId,
        descriptor_id: DescriptorId,
        attempt: u32,
    },
    /// [`Action::Read`].
    #[non_exhaustive]
    Read {
        ticket: u64,
        directory: Fingerprint,
        descriptor_id: DescriptorId,
        attempt: u32,
    },
    /// [`Action::Restart`].
    #[non_exhaustive]
    Restart { instance: InstanceName },
    /// [`Report::DatedAhead`](crate::Report::DatedAhead).
    #[non_exhaustive]
    DatedAhead { slot: SlotId, until: UnixTime },
    /// [`Report::Offers`](crate::Report::Offers).
    #[non_exhaustive]
    Offers { instance: InstanceName, points: usize },
    /// Any other [`Report`](crate::Report), as the line that an operator reads.
    Report(String),
}

/// Makes entries of what passes. It does no IO: its caller writes them.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    wanted: BTreeMap<SlotId, Arc<[u8]>>,
}

impl Recorder {
    /// The first entry of a trace: a machine was made.
    pub fn started(&self, service: OnionAddress, settings: &Settings, now: Moment) -> Entry {
        let settings = settings.into();
        entry(Passed::Started { service, settings }, now)
    }

    /// The entry of an event, to be made before the machine handles it.
    pub fn told(&self, event: &Event, now: Moment) -> Entry {
        entry(Passed::Told(event.into()), now)
    }

    /// The entry of an action.
    pub fn asked(&self, action: &Action, now: Moment) -> Entry {
        entry(Passed::Asked(action.into()), now)
    }

    /// The entry of what the machine wants once it has nothing more to ask for; `None` if that is
    /// what it wanted before.
    pub fn wants<'a>(&mut self, texts: impl Iterator<Item = (SlotId, &'a [u8])>, now: Moment) -> Option<Entry> {
        let mut gone = std::mem::take(&mut self.wanted);
        let mut changed = Vec::new();
        for (slot, text) in texts {
            let before = gone.remove(&slot);
            let same = before.filter(|before| **before == *text);
            if same.is_none() {
                changed.push((slot, Some(lossy(text))));
            }
            self.wanted.insert(slot, same.unwrap_or_else(|| text.into()));
        }
        changed.extend(gone.into_keys().map(|slot| (slot, None)));
        (!changed.is_empty()).then(|| entry(Passed::Wants(changed), now))
    }
}

const fn entry(passed: Passed, now: Moment) -> Entry {
    Entry {
        uptime: now.uptime(),
        wall: now.wall(),
        passed,
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
