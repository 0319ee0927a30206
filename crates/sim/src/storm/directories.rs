//! The directories, and how they are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use onionweave_desc::rsa::RustCrypto;
use onionweave_desc::v2::Descriptor;
use onionweave_publish::UploadAnswer;
use onionweave_ring::v2::DescriptorId;
use onionweave_ring::{Fingerprint, HashRing, UnixTime};

use super::seal::Seal;
use crate::Directory;

/// How a directory treats what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Well,
    /// It answers nothing.
    Silent,
    /// It answers 200 and keeps nothing, so many times more.
    Drops(u32),
    /// It refuses, so many times more.
    Refuses(u32),
}

/// A directory, what was last done to it, and who stands in its texts.
#[derive(Debug)]
pub(super) struct Place {
    directory: Directory,
    relays: BTreeMap<DescriptorId, Arc<[Fingerprint]>>,
    mood: Mood,
    /// Whether the consensus lists it.
    pub(super) listed: bool,
    disturbed: Duration,
    /// Whether signatures are real.
    real: bool,
}

impl Place {
    pub(super) fn new(real: bool) -> Self {
        Self {
            directory: Directory::default(),
            relays: BTreeMap::new(),
            mood: Mood::Well,
            listed: true,
            disturbed: Duration::ZERO,
            real,
        }
    }

    pub(super) fn mood(&self) -> Mood {
        self.mood
    }

    pub(super) fn set_mood(&mut self, mood: Mood, now: Duration) {
        self.mood = mood;
        self.disturbed = now;
    }

    /// Notes that something went wrong here which the publisher cannot know of.
    pub(super) fn disturb(&mut self, now: Duration) {
        self.disturbed = now;
    }

    /// Since when nothing went wrong here.
    pub(super) fn quiet_since(&self, now: Duration) -> Duration {
        if self.mood == Mood::Silent { now } else { self.disturbed }
    }

    pub(super) fn forget(&mut self, now: Duration) {
        self.directory.forget();
        self.relays.clear();
        self.disturbed = now;
    }

    /// Takes an upload that arrives. Returns its answer, if there is one.
    pub(super) fn upload(&mut self, upload: &Text, clock: UnixTime, now: Duration) -> Option<UploadAnswer> {
        match &mut self.mood {
            Mood::Silent => None,
            Mood::Drops(n) if *n > 0 => {
                *n -= 1;
                self.disturbed = now;
                Some(UploadAnswer::Accepted)
            }
            Mood::Refuses(n) if *n > 0 => {
                *n -= 1;
                self.disturbed = now;
                Some(UploadAnswer::Refused("UPLOAD_REJECTED".into()))
            }
            _ => Some(self.keep(upload, clock)),
        }
    }

    fn keep(&mut self, upload: &Text, clock: UnixTime) -> UploadAnswer {
        let verdict = match self.real {
            true => self.directory.upload_with(&RustCrypto, &upload.bytes, clock),
            false => self.directory.upload_with(&Seal, &upload.bytes, clock),
        };
        for descriptor in verdict.stored() {
            self.relays.insert(descriptor.descriptor_id(), upload.relays.clone());
        }
        match verdict.is_accepted() {
            true => UploadAnswer::Accepted,
            false => UploadAnswer::Refused("UPLOAD_REJECTED".into()),
        }
    }

    pub(super) fn held(&self, id: &DescriptorId) -> Option<&Descriptor> {
        self.directory.fetch(id)
    }

    /// The relays that what it holds names.
    pub(super) fn relays(&self, id: &DescriptorId) -> &[Fingerprint] {
        self.relays.get(id).map(|relays| &**relays).unwrap_or_default()
    }
}

/// A descriptor on its way.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) bytes: Arc<[u8]>,
    /// Where its introduction points are.
    pub(super) relays: Arc<[Fingerprint]>,
}

/// Those that the consensus lists.
pub(super) fn ring(places: &BTreeMap<Fingerprint, Place>) -> HashRing {
    HashRing::new(places.iter().filter(|(_, place)| place.listed).map(|(&id, _)| id))
}
