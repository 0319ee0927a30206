//! The settings of one service.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::time::Duration;

use onionweave_assign::{Damping, Weight};
use onionweave_ring::OnionAddress;

use crate::InstanceName;
use crate::version::Audience;

/// The publication time that the descriptors carry.
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

/// The settings of one service.
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
    /// Number of instances that serve at once; `None` for all.
    ///
    /// The others are spares, which wait with their introduction points ready. One takes the place
    /// of an instance that stops offering points, and keeps it.
    pub serving: Option<NonZeroUsize>,
    /// Whether the instances are expected not to publish by themselves
    /// (`PublishHidServDescriptors 0`).
    pub quiet: bool,
    /// The publication time to write.
    pub stamp: Stamp,
    /// The clients that may read the introduction points; `None` for all.
    pub authorization: Option<Audience>,
    /// Time after which a slot that was proved is proved again.
    pub audit_every: Duration,
    /// Longest time that an upload or an audit may take. Then it is given up and tried again.
    pub answer_within: Duration,
    /// The manner in which weights follow loads; `None` if they stay as they are configured.
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

/// The place where an instance's descriptor is found.
///
/// All of them lead to [`Event::InstanceOffers`](crate::Event::InstanceOffers). A descriptor is
/// believed under these conditions:
///
/// - Its signature is good, and the key is the right one.
/// - The address has its descriptor ID at its date.
/// - The date is not too far from the present.
/// - Where somebody between could show an old one again, it is no older than what was seen before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The instance's Tor, asked through its control port. Its answer is a sign of life too.
    #[default]
    Control,
    /// A file that somebody writes.
    File,
    /// The directories that the instance's clients ask.
    ///
    /// That needs an [`address`](InstanceSettings::address) of its own: under the service's they
    /// hold what the publisher wrote.
    Directories {
        /// Time from one reading to the next.
        every: Duration,
    },
}

/// The settings of one instance.
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
    /// The place where its descriptor is found.
    pub source: Source,
    /// Time after its date for which a descriptor is believed that is the only sign of life.
    ///
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
