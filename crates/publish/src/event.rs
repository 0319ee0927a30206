//! What the machine is told, and what it asks for.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use onionweave_assign::{Damping, Load, Weight};
use onionweave_ring::{DescriptorId, Directories, Fingerprint, OnionAddress};

use crate::version::Audience;
use crate::{InstanceName, Report, SlotId};

/// Names one upload, audit or reading, so that a late answer is never taken for the answer to a
/// later question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(crate) u64);

impl Ticket {
    /// The ticket with this number, for tests of drivers. The machine counts from zero.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// One thing that the outside world tells the machine.
///
/// Drivers make events, so the fields of each are complete: a further one has to be thought of
/// where events are made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A consensus was read, which names these directories. Services share the value.
    Directories(Arc<Directories>),
    /// The control connection to an instance stands.
    InstanceUp {
        /// Which instance.
        instance: InstanceName,
    },
    /// The control connection to an instance broke, or could not be made, or does not answer.
    InstanceDown {
        /// Which instance.
        instance: InstanceName,
        /// What was seen.
        why: Down,
    },
    /// An instance's own descriptor was read, wherever its [`Source`] is.
    InstanceOffers {
        /// Which instance.
        instance: InstanceName,
        /// The text of the descriptor, unverified.
        text: Vec<u8>,
        /// The instance built its descriptor anew (`HS_DESC CREATED`), which Tor also does after
        /// its introduction circuits broke and came back. Then the published bytes must change even
        /// if the points did not: a client that tried meanwhile has given up all points of the old
        /// text and takes the same bytes for the same hopeless descriptor (`rendcache.c:966-973`).
        rebuilt: bool,
    },
    /// An instance has no descriptor (yet).
    InstanceOffersNothing {
        /// Which instance.
        instance: InstanceName,
    },
    /// What an instance stands before cannot be used, whatever its Tor says: it is left out of the
    /// plan. If nobody who offers points is fit, all who offer points are used: a check that
    /// condemns everybody is more likely wrong than right.
    InstanceUnfit {
        /// Which instance.
        instance: InstanceName,
        /// What was seen.
        why: String,
    },
    /// An instance may be used again. All are fit until something else is said.
    InstanceFit {
        /// Which instance.
        instance: InstanceName,
    },
    /// An instance's load was measured. It counts where [`Settings::damping`] says how; as long as
    /// no instance's ever was, weights stay as they are configured.
    InstanceLoad {
        /// Which instance.
        instance: InstanceName,
        /// How much it has to do; `None` if that could not be found out.
        load: Option<Load>,
    },
    /// An instance's Tor began to upload a descriptor of the service (`HS_DESC UPLOAD`) that this
    /// publisher did not give it.
    InstanceUploads {
        /// Which instance.
        instance: InstanceName,
        /// Whether it is the instance's own: it built it just before (`HS_DESC CREATED`), so it is
        /// loud. If not, another controller, perhaps a second publisher, posts through this Tor.
        own: bool,
        /// To which directory.
        directory: Fingerprint,
        /// Under which descriptor ID.
        descriptor_id: DescriptorId,
    },
    /// The last upload of an instance that was on its way to a directory ended, well or badly. Tor
    /// does not say under which descriptor ID.
    InstanceUploadEnded {
        /// Which instance.
        instance: InstanceName,
        /// At which directory.
        directory: Fingerprint,
    },
    /// The answer to [`Action::Upload`].
    UploadAnswered {
        /// The upload's ticket.
        ticket: Ticket,
        /// What came of it.
        answer: UploadAnswer,
    },
    /// The answer to [`Action::Audit`].
    Audited {
        /// The audit's ticket.
        ticket: Ticket,
        /// What the directory holds.
        found: Found,
    },
    /// The answer to [`Action::Read`].
    Read {
        /// The reading's ticket.
        ticket: Ticket,
        /// What the directory holds.
        found: Found,
    },
    /// The configuration was read (again).
    Configured(Settings),
}

/// Why an instance counts as down.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Down {
    /// The connection ended: the process died, or was told to go.
    Lost(String),
    /// The instance holds the connection but did not answer a question in time.
    Silent(Duration),
    /// No connection could be made.
    Unreachable(String),
    /// The instance answered, but will not serve: wrong password, no v2 onion services. Restarting
    /// would not help.
    Refused(String),
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(why) => write!(f, "connection lost: {why}"),
            Self::Silent(after) => write!(f, "no answer within {} ms", after.as_millis()),
            Self::Unreachable(why) => write!(f, "unreachable: {why}"),
            Self::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}

/// What came of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum UploadAnswer {
    /// The directory answered 200. A v2 directory says so even when it drops the descriptor
    /// (`rendcache.c:736-742`), so this proves nothing yet.
    Accepted,
    /// The directory or the uploading Tor refused, in its own words.
    Refused(String),
    /// The uploading Tor went away before there was an answer.
    Interrupted,
}

/// What an audit found at a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Found {
    /// It holds this text.
    Text(Vec<u8>),
    /// It holds nothing under that descriptor ID.
    Nothing,
    /// It holds something that the reading Tor would not use, with Tor's reason. That is all there
    /// is to learn of a text for authorized clients: `HSFETCH` has no cookie to read it with
    /// (`feature/control/control_cmd.c:1500`).
    Unusable(String),
    /// It could not be asked, with the reason.
    Failed(String),
    /// The reading Tor went away before there was an answer.
    Interrupted,
}

/// What the machine asks of its driver.
#[derive(Clone, Debug)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a driver must carry out every action: a new one must not compile unnoticed"
)]
pub enum Action {
    /// Post `text` to the slot's directory, and answer with [`Event::UploadAnswered`].
    #[non_exhaustive]
    Upload {
        /// Goes into the answer.
        ticket: Ticket,
        /// Where to.
        slot: SlotId,
        /// Under which descriptor ID.
        descriptor_id: DescriptorId,
        /// The signed descriptor.
        text: Arc<[u8]>,
        /// How often this slot has failed in a row: a driver with several Tors takes another at
        /// each attempt.
        attempt: u32,
    },
    /// Read back what the slot's directory holds, and answer with [`Event::Audited`]. It may be
    /// asked for while an upload to the slot is on its way.
    #[non_exhaustive]
    Audit {
        /// Goes into the answer.
        ticket: Ticket,
        /// Where.
        slot: SlotId,
        /// Under which descriptor ID.
        descriptor_id: DescriptorId,
        /// As in [`Action::Upload`].
        attempt: u32,
    },
    /// Read what a directory holds of an instance with an address of its own, and answer with
    /// [`Event::Read`].
    #[non_exhaustive]
    Read {
        /// Goes into the answer.
        ticket: Ticket,
        /// Where.
        directory: Fingerprint,
        /// Under which descriptor ID.
        descriptor_id: DescriptorId,
        /// As in [`Action::Upload`]: how many readings of this instance failed in a row.
        attempt: u32,
    },
    /// Run the instance's restart command.
    #[non_exhaustive]
    Restart {
        /// Which instance.
        instance: InstanceName,
    },
    /// Tell the operator.
    Report(Report),
}

/// Which publication time the descriptors carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stamp {
    /// The present hour, as Tor itself writes it (`rendservice.c:1076-1077`).
    #[default]
    Hour,
    /// The present second. It outranks whatever loud instances publish for the rest of the hour,
    /// and a directory can tell that no ordinary Tor wrote it.
    Second,
}

/// What the configuration says of one service.
///
/// ```
/// use onionweave_publish::{InstanceSettings, Settings};
///
/// let instance = |name: &str| Ok(InstanceSettings::new(name.parse()?));
/// let settings = Settings::new(vec![instance("a")?, instance("b")?]).unwrap();
/// assert_eq!(settings.instances().len(), 2);
/// let refused = Settings::new(vec![instance("a")?, instance("a")?]).unwrap_err();
/// assert_eq!(refused.to_string(), "two instances are named \"a\": give each a name of its own");
/// # Ok::<(), onionweave_publish::NameError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The instances, no two of one name.
    instances: Vec<InstanceSettings>,
    /// How many instances serve at once. The others are spares, which wait with their introduction
    /// points ready: one takes the place of an instance that stops offering points, and keeps it.
    /// `None`: all serve.
    pub serving: Option<NonZeroUsize>,
    /// Whether the instances are expected not to publish by themselves
    /// (`PublishHidServDescriptors 0`).
    pub quiet: bool,
    /// Which publication time to write.
    pub stamp: Stamp,
    /// Which clients may read the introduction points; `None` for all.
    pub authorization: Option<Audience>,
    /// How often a slot that was proved is proved again.
    pub audit_every: Duration,
    /// How long an upload or an audit may take before it is given up and tried again.
    pub answer_within: Duration,
    /// How weights follow the loads of instances; `None` if they stay as they are configured.
    pub damping: Option<Damping>,
}

impl Settings {
    /// The defaults for these instances: all serve, quiet, hourly stamps, all clients, an audit a
    /// minute, twenty seconds for an answer, weights as they are configured.
    ///
    /// # Errors
    /// [`NamedTwice`] if two instances have one name.
    pub fn new(instances: Vec<InstanceSettings>) -> Result<Self, NamedTwice> {
        let mut settings = Self::default();
        settings.set_instances(instances)?;
        Ok(settings)
    }

    /// The instances, no two of one name.
    pub fn instances(&self) -> &[InstanceSettings] {
        &self.instances
    }

    /// Takes other instances in place of those that are there.
    ///
    /// # Errors
    /// [`NamedTwice`] if two of them have one name. Then those of before stay.
    pub fn set_instances(&mut self, instances: Vec<InstanceSettings>) -> Result<(), NamedTwice> {
        let mut names = BTreeSet::new();
        if let Some(again) = instances.iter().find(|instance| !names.insert(&instance.name)) {
            return Err(NamedTwice {
                name: again.name.clone(),
            });
        }
        self.instances = instances;
        Ok(())
    }
}

/// The defaults without any instance.
impl Default for Settings {
    fn default() -> Self {
        Self {
            instances: Vec::new(),
            serving: None,
            quiet: true,
            stamp: Stamp::Hour,
            authorization: None,
            audit_every: Duration::from_secs(60),
            answer_within: Duration::from_secs(20),
            damping: None,
        }
    }
}

/// The reason why instances are refused: two of them have one name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two instances are named \"{name}\": give each a name of its own")]
#[non_exhaustive]
pub struct NamedTwice {
    /// The name.
    pub name: InstanceName,
}

/// Where an instance's descriptor is found.
///
/// All of them lead to [`Event::InstanceOffers`]. What is found is believed if its signature is
/// good, it is the right key's, its descriptor ID is one that it has at its date, and its date is
/// not too far from the present. Where somebody between could show an old one again, it must not be
/// older than what was seen before either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// Its Tor is asked through the control port, which is a sign of life too.
    #[default]
    Control,
    /// It is written into a file.
    File,
    /// The directories are asked that its clients ask. That needs an
    /// [`address`](InstanceSettings::address) of its own: under the service's they hold what the
    /// publisher wrote.
    Directories {
        /// How often.
        every: Duration,
    },
}

/// What the configuration says of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstanceSettings {
    /// Its name, unique within the service.
    pub name: InstanceName,
    /// Its part of the traffic, relative to the other instances.
    pub weight: Weight,
    /// Whether there is a command that restarts it.
    pub restart: bool,
    /// The address under which the instance itself is known, if it has a key of its own; `None` if
    /// it has the service's.
    pub address: Option<OnionAddress>,
    /// Where its descriptor is found.
    pub source: Source,
    /// Where there is no sign of life but the descriptor: how long after its date it is believed.
    /// Tor builds a new one each hour, and dates it with the full hour.
    pub stale_after: Duration,
}

impl InstanceSettings {
    /// An instance of weight 1 with the service's key and without a restart command, known through
    /// its control port.
    pub fn new(name: InstanceName) -> Self {
        Self {
            name,
            weight: Weight::default(),
            restart: false,
            address: None,
            source: Source::Control,
            stale_after: Duration::from_secs(2 * 3600 + 15 * 60),
        }
    }
}
