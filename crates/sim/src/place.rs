//! A directory at its place in the network, well or not.

use onionweave_desc::rsa::Backend;
use onionweave_desc::v2::Descriptor;
use onionweave_publish::{Found, UploadAnswer};
use onionweave_ring::UnixTime;
use onionweave_ring::v2::DescriptorId;

use crate::Directory;

/// Way in which an upload or an audit goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing goes wrong.
    #[default]
    None,
    /// The directory is dead: no answer, ever.
    Silent,
    /// The directory answers 200 and keeps nothing, `n` times more.
    DropsUploads(u32),
    /// The directory refuses, `n` times more.
    Refuses(u32),
}

/// A directory, and what is wrong with it.
#[derive(Debug, Default)]
pub(crate) struct Place {
    pub(crate) directory: Directory,
    pub(crate) fault: Fault,
}

impl Place {
    /// Takes an upload that arrives, at the time `now` by the directory's clock. Returns the
    /// answer, if there is one.
    pub(crate) fn upload(&mut self, rsa: &impl Backend, body: &[u8], now: UnixTime) -> Option<UploadAnswer> {
        let accepted = match &mut self.fault {
            Fault::Silent => return None,
            Fault::DropsUploads(left @ 1..) => {
                *left -= 1;
                true
            }
            Fault::Refuses(left @ 1..) => {
                *left -= 1;
                false
            }
            _ => self.directory.upload_with(rsa, body, now).is_accepted(),
        };
        Some(match accepted {
            true => UploadAnswer::Accepted,
            false => UploadAnswer::Refused("UPLOAD_REJECTED".into()),
        })
    }

    /// Returns what a Tor tells that asks it, if it answers.
    pub(crate) fn read(&self, id: &DescriptorId) -> Option<Found> {
        if self.fault == Fault::Silent {
            return None;
        }
        Some(match self.held(id) {
            Some(descriptor) if descriptor.authorization().is_some() => Found::Unusable("BAD_DESC".into()),
            Some(descriptor) => Found::Text(descriptor.text().to_vec()),
            None => Found::Nothing,
        })
    }

    pub(crate) fn held(&self, id: &DescriptorId) -> Option<&Descriptor> {
        self.directory.fetch(id)
    }
}
