//! A trace: what passes between a publisher's machine and the world, in a form that outlives both.
//!
//! A driver makes an [`Entry`] of each event and action with a [`Recorder`], and writes the entries
//! wherever it likes; with the feature `serde` one line of JSON each. The entries hold descriptors,
//! which directories hand out to everybody. They hold no key and no client's cookie. The
//! simulator's witness checks a trace, whoever recorded it.
//!
//! ```
//! use std::time::Duration;
//! use onionweave_publish::trace::{Passed, Recorder, Told};
//! use onionweave_publish::{Event, Moment};
//! use onionweave_ring::UnixTime;
//!
//! let recorder = Recorder::default();
//! let now = Moment::new(UnixTime::from_secs(1_795_349_239), Duration::ZERO);
//! let entry = recorder.told(&Event::InstanceUp { instance: "a".into() }, now);
//! assert_eq!(entry.passed, Passed::Told(Told::Up { instance: "a".into() }));
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use onionweave_assign::Load;
use onionweave_ring::{DescriptorId, Directories, Fingerprint, HashRing, OnionAddress, UnixTime};

use crate::{
    Action, Down, Event, Found, InstanceSettings, Moment, Report, Settings, SlotId, Source, Ticket, UploadAnswer,
};

/// One thing that passed, and when.
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
    pub name: String,
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
    Up { instance: String },
    /// [`Event::InstanceDown`].
    Down { instance: String, why: String },
    /// [`Event::InstanceOffers`].
    Offers {
        instance: String,
        text: String,
        rebuilt: bool,
    },
    /// [`Event::InstanceOffersNothing`].
    OffersNothing { instance: String },
    /// [`Event::InstanceUnfit`].
    Unfit { instance: String, why: String },
    /// [`Event::InstanceFit`].
    Fit { instance: String },
    /// [`Event::InstanceLoad`].
    Load { instance: String, load: Option<f64> },
    /// [`Event::InstanceUploads`].
    Uploads {
        instance: String,
        own: bool,
        directory: Fingerprint,
        descriptor_id: DescriptorId,
    },
    /// [`Event::InstanceUploadEnded`].
    UploadEnded { instance: String, directory: Fingerprint },
    /// [`Event::UploadAnswered`].
    Answered { ticket: u64, answer: Answer },
    /// [`Event::Audited`].
    Audited { ticket: u64, found: Seen },
    /// [`Event::Read`].
    Read { ticket: u64, found: Seen },
    /// [`Event::Configured`].
    Configured(Configuration),
}

/// An [`UploadAnswer`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Answer {
    /// [`UploadAnswer::Accepted`].
    Accepted,
    /// [`UploadAnswer::Refused`].
    Refused(String),
    /// [`UploadAnswer::Interrupted`].
    Interrupted,
}

/// A [`Found`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Seen {
    /// [`Found::Text`].
    Text(String),
    /// [`Found::Nothing`].
    Nothing,
    /// [`Found::Unusable`].
    Unusable(String),
    /// [`Found::Failed`].
    Failed(String),
    /// [`Found::Interrupted`].
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
    Upload {
        ticket: u64,
        slot: SlotId,
        descriptor_id: DescriptorId,
        text: String,
        attempt: u32,
    },
    /// [`Action::Audit`].
    Audit {
        ticket: u64,
        slot: SlotId,
        descriptor_id: DescriptorId,
        attempt: u32,
    },
    /// [`Action::Read`].
    Read {
        ticket: u64,
        directory: Fingerprint,
        descriptor_id: DescriptorId,
        attempt: u32,
    },
    /// [`Action::Restart`].
    Restart { instance: String },
    /// [`Report::DatedAhead`].
    DatedAhead { slot: SlotId, until: UnixTime },
    /// [`Report::Offers`].
    Offers { instance: String, points: usize },
    /// Any other [`Report`], as the line that an operator reads.
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

impl From<&Settings> for Configuration {
    fn from(settings: &Settings) -> Self {
        let instance = |instance: &InstanceSettings| Instance {
            name: instance.name.to_string(),
            address: instance.address,
            file: instance.source == Source::File,
            directories: match instance.source {
                Source::Directories { every } => Some(every),
                _ => None,
            },
        };
        Self {
            instances: settings.instances.iter().map(instance).collect(),
            serving: settings.serving,
            answer_within: settings.answer_within,
        }
    }
}

/// The settings, with the defaults for all that a trace does not have.
impl From<&Configuration> for Settings {
    fn from(configuration: &Configuration) -> Self {
        let instance = |known: &Instance| {
            let mut instance = InstanceSettings::new(known.name.as_str());
            instance.address = known.address;
            instance.source = match known.directories {
                Some(every) => Source::Directories { every },
                None if known.file => Source::File,
                None => Source::Control,
            };
            instance
        };
        let mut settings = Self::new(configuration.instances.iter().map(instance).collect());
        settings.serving = configuration.serving;
        settings.answer_within = configuration.answer_within;
        settings
    }
}

impl From<&Event> for Told {
    fn from(event: &Event) -> Self {
        match event {
            Event::Directories(directories) => Self::Directories(directories.hash_ring().iter().collect()),
            Event::InstanceUp { instance } => Self::Up {
                instance: instance.to_string(),
            },
            Event::InstanceDown { instance, why } => Self::Down {
                instance: instance.to_string(),
                why: why.to_string(),
            },
            Event::InstanceOffers {
                instance,
                text,
                rebuilt,
            } => Self::Offers {
                instance: instance.to_string(),
                text: lossy(text),
                rebuilt: *rebuilt,
            },
            Event::InstanceOffersNothing { instance } => Self::OffersNothing {
                instance: instance.to_string(),
            },
            Event::InstanceUnfit { instance, why } => Self::Unfit {
                instance: instance.to_string(),
                why: why.clone(),
            },
            Event::InstanceFit { instance } => Self::Fit {
                instance: instance.to_string(),
            },
            Event::InstanceLoad { instance, load } => Self::Load {
                instance: instance.to_string(),
                load: load.map(Load::as_f64),
            },
            Event::InstanceUploads {
                instance,
                own,
                directory,
                descriptor_id,
            } => Self::Uploads {
                instance: instance.to_string(),
                own: *own,
                directory: *directory,
                descriptor_id: *descriptor_id,
            },
            Event::InstanceUploadEnded { instance, directory } => Self::UploadEnded {
                instance: instance.to_string(),
                directory: *directory,
            },
            Event::UploadAnswered { ticket, answer } => Self::Answered {
                ticket: ticket.0,
                answer: match answer {
                    UploadAnswer::Accepted => Answer::Accepted,
                    UploadAnswer::Refused(why) => Answer::Refused(why.clone()),
                    UploadAnswer::Interrupted => Answer::Interrupted,
                },
            },
            Event::Audited { ticket, found } => Self::Audited {
                ticket: ticket.0,
                found: found.into(),
            },
            Event::Read { ticket, found } => Self::Read {
                ticket: ticket.0,
                found: found.into(),
            },
            Event::Configured(settings) => Self::Configured(settings.into()),
        }
    }
}

/// The event, with the reason of an instance's end as text.
impl From<&Told> for Event {
    fn from(told: &Told) -> Self {
        let name = |instance: &String| instance.as_str().into();
        match told {
            Told::Directories(relays) => {
                let ring = HashRing::new(relays.iter().copied());
                Self::Directories(Arc::new(Directories::from(ring)))
            }
            Told::Up { instance } => Self::InstanceUp {
                instance: name(instance),
            },
            Told::Down { instance, why } => Self::InstanceDown {
                instance: name(instance),
                why: Down::Lost(why.clone()),
            },
            Told::Offers {
                instance,
                text,
                rebuilt,
            } => Self::InstanceOffers {
                instance: name(instance),
                text: text.clone().into_bytes(),
                rebuilt: *rebuilt,
            },
            Told::OffersNothing { instance } => Self::InstanceOffersNothing {
                instance: name(instance),
            },
            Told::Unfit { instance, why } => Self::InstanceUnfit {
                instance: name(instance),
                why: why.clone(),
            },
            Told::Fit { instance } => Self::InstanceFit {
                instance: name(instance),
            },
            Told::Load { instance, load } => Self::InstanceLoad {
                instance: name(instance),
                load: load.and_then(|load| Load::new(load).ok()),
            },
            Told::Uploads {
                instance,
                own,
                directory,
                descriptor_id,
            } => Self::InstanceUploads {
                instance: name(instance),
                own: *own,
                directory: *directory,
                descriptor_id: *descriptor_id,
            },
            Told::UploadEnded { instance, directory } => Self::InstanceUploadEnded {
                instance: name(instance),
                directory: *directory,
            },
            Told::Answered { ticket, answer } => Self::UploadAnswered {
                ticket: Ticket(*ticket),
                answer: match answer {
                    Answer::Accepted => UploadAnswer::Accepted,
                    Answer::Refused(why) => UploadAnswer::Refused(why.clone()),
                    Answer::Interrupted => UploadAnswer::Interrupted,
                },
            },
            Told::Audited { ticket, found } => Self::Audited {
                ticket: Ticket(*ticket),
                found: found.into(),
            },
            Told::Read { ticket, found } => Self::Read {
                ticket: Ticket(*ticket),
                found: found.into(),
            },
            Told::Configured(settings) => Self::Configured(settings.into()),
        }
    }
}

impl From<&Found> for Seen {
    fn from(found: &Found) -> Self {
        match found {
            Found::Text(text) => Self::Text(lossy(text)),
            Found::Nothing => Self::Nothing,
            Found::Unusable(why) => Self::Unusable(why.clone()),
            Found::Failed(why) => Self::Failed(why.clone()),
            Found::Interrupted => Self::Interrupted,
        }
    }
}

impl From<&Seen> for Found {
    fn from(seen: &Seen) -> Self {
        match seen {
            Seen::Text(text) => Self::Text(text.clone().into_bytes()),
            Seen::Nothing => Self::Nothing,
            Seen::Unusable(why) => Self::Unusable(why.clone()),
            Seen::Failed(why) => Self::Failed(why.clone()),
            Seen::Interrupted => Self::Interrupted,
        }
    }
}

impl From<&Action> for Asked {
    fn from(action: &Action) -> Self {
        match action {
            Action::Upload {
                ticket,
                slot,
                descriptor_id,
                text,
                attempt,
            } => Self::Upload {
                ticket: ticket.0,
                slot: *slot,
                descriptor_id: *descriptor_id,
                text: lossy(text),
                attempt: *attempt,
            },
            Action::Audit {
                ticket,
                slot,
                descriptor_id,
                attempt,
            } => Self::Audit {
                ticket: ticket.0,
                slot: *slot,
                descriptor_id: *descriptor_id,
                attempt: *attempt,
            },
            Action::Read {
                ticket,
                directory,
                descriptor_id,
                attempt,
            } => Self::Read {
                ticket: ticket.0,
                directory: *directory,
                descriptor_id: *descriptor_id,
                attempt: *attempt,
            },
            Action::Restart { instance } => Self::Restart {
                instance: instance.to_string(),
            },
            Action::Report(Report::DatedAhead { slot, until }) => Self::DatedAhead {
                slot: *slot,
                until: *until,
            },
            Action::Report(Report::Offers(instance, points)) => Self::Offers {
                instance: instance.to_string(),
                points: *points,
            },
            Action::Report(report) => Self::Report(report.to_string()),
        }
    }
}

impl Asked {
    /// The action; `None` for a report of which the trace has the line alone.
    pub fn action(&self) -> Option<Action> {
        Some(match self {
            Self::Upload {
                ticket,
                slot,
                descriptor_id,
                text,
                attempt,
            } => Action::Upload {
                ticket: Ticket(*ticket),
                slot: *slot,
                descriptor_id: *descriptor_id,
                text: text.as_bytes().into(),
                attempt: *attempt,
            },
            Self::Audit {
                ticket,
                slot,
                descriptor_id,
                attempt,
            } => Action::Audit {
                ticket: Ticket(*ticket),
                slot: *slot,
                descriptor_id: *descriptor_id,
                attempt: *attempt,
            },
            Self::Read {
                ticket,
                directory,
                descriptor_id,
                attempt,
            } => Action::Read {
                ticket: Ticket(*ticket),
                directory: *directory,
                descriptor_id: *descriptor_id,
                attempt: *attempt,
            },
            Self::Restart { instance } => Action::Restart {
                instance: instance.as_str().into(),
            },
            Self::DatedAhead { slot, until } => Action::Report(Report::DatedAhead {
                slot: *slot,
                until: *until,
            }),
            Self::Offers { instance, points } => Action::Report(Report::Offers(instance.as_str().into(), *points)),
            Self::Report(_) => return None,
        })
    }
}
