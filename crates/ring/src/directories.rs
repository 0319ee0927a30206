//! The directories that one consensus names.

use crate::relays::{Lifetime, RelayList};
#[cfg(feature = "v3")]
use crate::v3;
use crate::{Fingerprint, HashRing};

/// The onion-service directories of one consensus: everything that placing descriptors needs to
/// know of it.
///
/// One value serves all services, so it is built once for each consensus and shared in an `Arc`.
///
/// ```
/// use onionweave_ring::Directories;
/// use onionweave_ring::relays::RelayList;
///
/// let list = RelayList::parse(include_str!("../testdata/v2-network/ns_all.txt"))?;
/// let directories = Directories::from(&list);
/// assert_eq!(directories.hash_ring(), &list.hash_ring());
/// assert_eq!(directories.lifetime(), None, "router statuses alone have no dates");
/// # Ok::<(), onionweave_ring::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directories {
    ring: HashRing,
    lifetime: Option<Lifetime>,
    #[cfg(feature = "v3")]
    v3: Option<v3::Directories>,
}

impl Directories {
    /// The directories on this ring of version 2, from a consensus with this lifetime, where the
    /// source states one.
    ///
    /// ```
    /// use onionweave_ring::{Directories, HashRing};
    ///
    /// assert!(Directories::new(HashRing::new([]), None).is_empty());
    /// ```
    pub const fn new(ring: HashRing, lifetime: Option<Lifetime>) -> Self {
        Self {
            ring,
            lifetime,
            #[cfg(feature = "v3")]
            v3: None,
        }
    }

    /// The directories of a list of relays, of both versions, in this kind of network.
    ///
    /// ```
    /// use onionweave_ring::Directories;
    /// use onionweave_ring::relays::RelayList;
    /// use onionweave_ring::v3::Network;
    ///
    /// let list = RelayList::parse(include_str!("../testdata/v3-network/consensus-microdesc.txt"))?;
    /// let directories = Directories::of_network(&list, Network::Testing);
    /// assert_eq!(directories.v3().expect("it is a consensus").schedule().now().minutes(), 8);
    /// # Ok::<(), onionweave_ring::Error>(())
    /// ```
    #[cfg(feature = "v3")]
    pub fn of_network(list: &RelayList, network: v3::Network) -> Self {
        Self {
            v3: v3::Directories::new(list, network),
            ..Self::new(list.hash_ring(), list.lifetime())
        }
    }

    /// The directories of version 3, where the source is a consensus.
    #[cfg(feature = "v3")]
    pub const fn v3(&self) -> Option<&v3::Directories> {
        self.v3.as_ref()
    }

    /// Every relay with the `HSDir` flag, as version 2 orders them.
    pub const fn hash_ring(&self) -> &HashRing {
        &self.ring
    }

    /// The time during which the consensus is valid, where the source states it.
    pub const fn lifetime(&self) -> Option<Lifetime> {
        self.lifetime
    }

    /// Whether there is no directory at all.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Whether `other` leads every descriptor to the same directories, whatever its lifetime.
    ///
    /// ```
    /// use onionweave_ring::{Directories, Fingerprint};
    ///
    /// let one = Directories::from_iter([Fingerprint::from([1; 20])]);
    /// assert!(one.leads_like(&one));
    /// assert!(!one.leads_like(&Directories::from_iter([])));
    /// ```
    pub fn leads_like(&self, other: &Self) -> bool {
        #[cfg(feature = "v3")]
        if self.v3 != other.v3 {
            return false;
        }
        self.ring == other.ring
    }
}

/// Directories of a network whose consensus sets the length of periods.
impl From<&RelayList> for Directories {
    fn from(list: &RelayList) -> Self {
        #[cfg(feature = "v3")]
        return Self::of_network(list, v3::Network::Public);
        #[cfg(not(feature = "v3"))]
        Self::new(list.hash_ring(), list.lifetime())
    }
}

/// Directories of a consensus without dates.
impl From<HashRing> for Directories {
    fn from(ring: HashRing) -> Self {
        Self::new(ring, None)
    }
}

/// Directories of a consensus without dates.
impl FromIterator<Fingerprint> for Directories {
    fn from_iter<T: IntoIterator<Item = Fingerprint>>(directories: T) -> Self {
        HashRing::new(directories).into()
    }
}
