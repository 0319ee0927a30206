//! Events that the machine is told, and actions that it asks for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use onionweave_assign::Load;
use onionweave_ring::{DescriptorId, Directories, Fingerprint};

use crate::{InstanceName, Report, Settings, SlotId};

/// Number of one upload, audit or reading. A late answer is never taken for that to a later
/// question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(crate) u64);

impl Ticket {
    /// The ticket with this number, for tests of drivers. The machine counts from zero.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// News from the outside world.
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
        /// Name of the instance.
        instance: InstanceName,
    },
    /// The control connection to an instance broke, or could not be made, or does not answer.
    InstanceDown {
        /// Name of the instance.
        instance: InstanceName,
        /// The observation.
        why: Down,
    },
    /// An instance's own descriptor was read, wherever its [`Source`](crate::Source) is.
    InstanceOffers {
        /// Name of the instance.
        instance: InstanceName,
        /// Text of the descriptor, unverified.
        text: Vec<u8>,
        /// Whether the instance built its descriptor anew (`HS_DESC CREATED`).
        ///
        /// Tor also does so after its introduction circuits broke and came back. Then the published
        /// bytes must change even if the points did not: a client that tried meanwhile has given up
        /// all points of the old text. It takes the same bytes for the same hopeless descriptor
        /// (`rendcache.c:966-973`).
        rebuilt: bool,
    },
    /// An instance has no descriptor, or none yet.
    InstanceOffersNothing {
        /// Name of the instance.
        instance: InstanceName,
    },
    /// An instance's Tor does not tell its descriptor, for a reason that its operator should know.
    /// [`InstanceOffersNothing`](Self::InstanceOffersNothing) says what follows for the plan.
    InstanceRefuses {
        /// Name of the instance.
        instance: InstanceName,
        /// The reason, and what to look at.
        why: String,
    },
    /// The backend of an instance cannot be used, so the plan leaves the instance out.
    ///
    /// If nobody who offers points is fit, all who offer points are used: a check that condemns
    /// everybody is more likely wrong than right.
    InstanceUnfit {
        /// Name of the instance.
        instance: InstanceName,
        /// The finding of the check.
        why: String,
    },
    /// An instance may be used again. All are fit until something else is said.
    InstanceFit {
        /// Name of the instance.
        instance: InstanceName,
    },
    /// An instance's load was measured.
    ///
    /// It counts where [`Settings::damping`] says how. Weights stay as they are configured until a
    /// load is measured.
    InstanceLoad {
        /// Name of the instance.
        instance: InstanceName,
        /// The load; `None` if it could not be found out.
        load: Option<Load>,
    },
    /// An instance's Tor began to upload a descriptor of the service (`HS_DESC UPLOAD`) that this
    /// publisher did not give it.
    InstanceUploads {
        /// Name of the instance.
        instance: InstanceName,
        /// Whether the instance built it just before (`HS_DESC CREATED`), so that it is loud.
        ///
        /// If not, another controller, perhaps a second publisher, posts through this Tor.
        own: bool,
        /// The directory that receives it.
        directory: Fingerprint,
        /// The descriptor ID that names it there.
        descriptor_id: DescriptorId,
    },
    /// The last upload of an instance that was on its way to a directory ended, well or badly. Tor
    /// does not say under which descriptor ID.
    InstanceUploadEnded {
        /// Name of the instance.
        instance: InstanceName,
        /// The directory.
        directory: Fingerprint,
    },
    /// The answer to [`Action::Upload`].
    UploadAnswered {
        /// The upload's ticket.
        ticket: Ticket,
        /// The result.
        answer: UploadAnswer,
    },
    /// The answer to [`Action::Audit`].
    Audited {
        /// The audit's ticket.
        ticket: Ticket,
        /// The directory's holding.
        found: Found,
    },
    /// The answer to [`Action::Read`].
    Read {
        /// The reading's ticket.
        ticket: Ticket,
        /// The directory's holding.
        found: Found,
    },
    /// The configuration was read, for the first time or again.
    Configured(Settings),
}

/// The reason for which an instance counts as down.
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
    /// The instance holds the connection but did not answer a question in this time.
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

/// The result of an upload.
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

/// The finding of an audit or a reading at a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Found {
    /// The directory holds this text.
    Text(Vec<u8>),
    /// The directory holds nothing under that descriptor ID.
    Nothing,
    /// The directory holds something that the reading Tor would not use, with Tor's reason.
    ///
    /// That is all there is to learn of a text for authorized clients: `HSFETCH` has no cookie to
    /// read it with (`feature/control/control_cmd.c:1500`).
    Unusable(String),
    /// The directory could not be asked, with the reason.
    Failed(String),
    /// The reading Tor went away before there was an answer.
    Interrupted,
}

/// A request of the machine to its driver.
#[derive(Clone, Debug)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a driver must carry out every action: a new one must not compile unnoticed"
)]
pub enum Action {
    /// Post `text` to the slot's directory, and answer with [`Event::UploadAnswered`].
    #[non_exhaustive]
    Upload {
        /// The ticket for the answer.
        ticket: Ticket,
        /// The slot, which names the directory.
        slot: SlotId,
        /// The descriptor ID that names the text there.
        descriptor_id: DescriptorId,
        /// The signed descriptor.
        text: Arc<[u8]>,
        /// Number of failures of this slot in a row. A driver with several Tors takes another one
        /// at each attempt.
        attempt: u32,
    },
    /// Read back what the slot's directory holds, and answer with [`Event::Audited`]. It may be
    /// asked for while an upload to the slot is on its way.
    #[non_exhaustive]
    Audit {
        /// The ticket for the answer.
        ticket: Ticket,
        /// The slot, which names the directory.
        slot: SlotId,
        /// The descriptor ID that names the text there.
        descriptor_id: DescriptorId,
        /// Number of failures of this slot in a row, as in [`Action::Upload`].
        attempt: u32,
    },
    /// Read what a directory holds of an instance with an address of its own, and answer with
    /// [`Event::Read`].
    #[non_exhaustive]
    Read {
        /// The ticket for the answer.
        ticket: Ticket,
        /// The directory.
        directory: Fingerprint,
        /// The descriptor ID that names the text there.
        descriptor_id: DescriptorId,
        /// Number of readings of this instance that failed in a row; see [`Action::Upload`].
        attempt: u32,
    },
    /// Run the instance's restart command.
    #[non_exhaustive]
    Restart {
        /// Name of the instance.
        instance: InstanceName,
    },
    /// Tell the operator.
    Report(Report),
}
