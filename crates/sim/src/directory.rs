//! A directory with Tor's acceptance rules.

use std::collections::BTreeMap;

use onionweave_desc::v2::{AgeVerdict, UnverifiedDescriptor};
use onionweave_ring::UnixTime;
use onionweave_ring::v2::DescriptorId;

/// What a directory does with an upload. Only [`Stored::Unparsable`] is told to the uploader: for all others it hears 200
/// (`feature/rend/rendcache.c:736-742`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stored {
    /// It is kept, and replaces whatever was there.
    Kept,
    /// It is dropped: older than 72 hours or more than 24 hours ahead (`rendcache.c:672-683`).
    WrongAge,
    /// It is dropped: what is there is newer (`rendcache.c:686`). An equally old one replaces what is there.
    NotNewer,
    /// It is refused with status 400.
    Unparsable,
}

/// A v2 directory.
///
/// ```
/// use onionweave_ring::UnixTime;
/// use onionweave_sim::{Directory, Stored};
///
/// let mut directory = Directory::default();
/// assert_eq!(directory.store(b"nonsense", UnixTime::from_secs(0)), Stored::Unparsable);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Directory {
    held: BTreeMap<DescriptorId, (UnixTime, Vec<u8>)>,
}

impl Directory {
    /// Takes one descriptor as C Tor does. It does not check whether it is responsible: neither does Tor.
    pub fn store(&mut self, text: &[u8], now: UnixTime) -> Stored {
        let Ok(descriptor) = UnverifiedDescriptor::parse(text).and_then(UnverifiedDescriptor::verify) else {
            return Stored::Unparsable;
        };
        if descriptor.age_verdict(now) != AgeVerdict::Accepted {
            return Stored::WrongAge;
        }
        let id = descriptor.descriptor_id();
        let time = descriptor.publication_time();
        if self.held.get(&id).is_some_and(|(held, _)| *held > time) {
            return Stored::NotNewer;
        }
        self.held.insert(id, (time, text.to_vec()));
        Stored::Kept
    }

    /// What it hands out for a descriptor ID.
    pub fn fetch(&self, id: &DescriptorId) -> Option<&[u8]> {
        self.held.get(id).map(|(_, text)| text.as_slice())
    }

    /// Forgets everything, as a restart does.
    pub fn forget(&mut self) {
        self.held.clear();
    }
}
