//! The directories of version 3 that one consensus names.

use std::sync::{Arc, OnceLock};

use super::{Address, BlindedId, Directory, Network, Publication, Ring, Schedule, Spread};
use crate::relays::{OnionServices, RelayList};

/// The onion-service directories of version 3 of one consensus, with its schedule.
///
/// Each of the two rings is built when it is first asked for. All services share them.
///
/// ```
/// use onionweave_ring::Directories;
/// use onionweave_ring::relays::{Microdescriptors, RelayList};
/// use onionweave_ring::v3::{Address, Network};
///
/// let microdescriptors = Microdescriptors::parse(include_str!("../../testdata/v3-network/md_all.txt"))?;
/// let consensus = include_str!("../../testdata/v3-network/consensus-microdesc.txt");
/// let list = RelayList::parse_with(consensus, &microdescriptors)?;
/// let directories = Directories::of_network(&list, Network::Testing);
/// let v3 = directories.v3().expect("it is a consensus");
///
/// let address: Address = "g4onrhjcsgeysofzamzk6ijeetfcs47gcmddlpgsqyzq6w7aemzgg5yd".parse()?;
/// for (publication, id, spread) in v3.placements(&address) {
///     println!("{} {id}: {} directories", publication.which(), spread.stored().len());
/// }
/// assert!(v3.len() == 16 && !v3.is_empty());
/// assert_eq!(v3.schedule().publications().len(), v3.rings().count());
/// assert_eq!(v3.values(), list.onion_services());
///
/// use onionweave_ring::v3;
/// assert_eq!(v3::Directories::new(&list, Network::Testing).as_ref(), Some(v3));
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Directories {
    directories: Arc<[Directory]>,
    values: OnionServices,
    schedule: Schedule,
    /// The ring of each publication of the schedule, in their order.
    rings: [OnceLock<Ring>; 2],
}

impl Directories {
    /// The directories of a list of relays in this kind of network; `None` if the list is no
    /// consensus, and so tells neither time nor values.
    pub fn new(list: &RelayList, network: Network) -> Option<Self> {
        let values = list.onion_services().clone();
        Some(Self {
            directories: list.relays().iter().filter_map(Directory::from_relay).collect(),
            schedule: Schedule::new(list.lifetime()?, &values, network),
            values,
            rings: Default::default(),
        })
    }

    /// The number of directories.
    pub fn len(&self) -> usize {
        self.directories.len()
    }

    /// Tells whether there is no directory at all.
    pub fn is_empty(&self) -> bool {
        self.directories.is_empty()
    }

    /// The periods of the consensus.
    pub const fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The values of the consensus.
    pub const fn values(&self) -> &OnionServices {
        &self.values
    }

    /// The two publications with their rings, the current one first.
    pub fn rings(&self) -> impl Iterator<Item = (&Publication, &Ring)> {
        let publications = self.schedule.publications().iter().zip(&self.rings);
        publications.map(|(publication, ring)| {
            let build = || {
                Ring::new(
                    publication.period(),
                    publication.value(),
                    self.directories.iter().copied(),
                )
            };
            (publication, ring.get_or_init(build))
        })
    }

    /// The two descriptors of a service with their blinded keys and directories, the current one
    /// first.
    pub fn placements(&self, address: &Address) -> impl Iterator<Item = (&Publication, BlindedId, Spread)> {
        self.rings().map(|(publication, ring)| {
            let id = address.blinded_id(publication.period());
            (publication, id, Spread::new(ring, &id, &self.values))
        })
    }
}

/// Equal values lead every descriptor of every service to the same directories.
impl PartialEq for Directories {
    fn eq(&self, other: &Self) -> bool {
        self.schedule == other.schedule && self.values == other.values && self.directories == other.directories
    }
}

impl Eq for Directories {}
