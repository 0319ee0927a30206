//! A directory, with the verdicts of Tor's.

use std::collections::BTreeMap;

use onionweave_desc::rsa::{Backend, RustCrypto};
use onionweave_desc::v2::{Descriptor, UploadVerdict};
use onionweave_ring::UnixTime;
use onionweave_ring::v2::DescriptorId;

/// A v2 directory.
///
/// ```
/// use onionweave_ring::UnixTime;
/// use onionweave_sim::Directory;
///
/// let mut directory = Directory::default();
/// let verdict = directory.upload(b"nonsense", UnixTime::from_secs(0));
/// assert_eq!(verdict.status(), 400);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Directory {
    held: BTreeMap<DescriptorId, Descriptor>,
}

impl Directory {
    /// Takes the body of an upload as C Tor does, at the time `now` by the directory's clock.
    pub fn upload(&mut self, body: &[u8], now: UnixTime) -> UploadVerdict {
        self.upload_with(&RustCrypto, body, now)
    }

    /// Does the same as [`upload`](Self::upload), with the signatures checked by `rsa`.
    ///
    /// ```
    /// use onionweave_desc::rsa::RustCrypto;
    /// use onionweave_ring::UnixTime;
    /// use onionweave_sim::Directory;
    ///
    /// let mut directory = Directory::default();
    /// let verdict = directory.upload_with(&RustCrypto, b"nonsense", UnixTime::EPOCH);
    /// assert_eq!(verdict.status(), 400);
    /// ```
    pub fn upload_with(&mut self, rsa: &impl Backend, body: &[u8], now: UnixTime) -> UploadVerdict {
        let verdict = UploadVerdict::new_with(rsa, body, |id| self.held.get(id), now);
        for descriptor in verdict.stored() {
            self.held.insert(descriptor.descriptor_id(), descriptor.clone());
        }
        verdict
    }

    /// Returns the text that it hands out for a descriptor ID.
    pub fn fetch(&self, id: &DescriptorId) -> Option<&Descriptor> {
        self.held.get(id)
    }

    /// Forgets everything, as a restart does.
    pub fn forget(&mut self) {
        self.held.clear();
    }
}
