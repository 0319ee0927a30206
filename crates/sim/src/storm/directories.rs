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
use crate::fixtures::PointName;

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

/// How long it may take until all is well again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// After something that a publisher is told of, or finds when it is not told.
    pub(super) seen: Duration,
    /// After something that a publisher cannot know of before it looks.
    pub(super) unseen: Duration,
}

/// A directory, what was last done to it, and who stands in its texts.
#[derive(Debug)]
pub(super) struct Place {
    directory: Directory,
    points: BTreeMap<DescriptorId, Arc<[PointName]>>,
    mood: Mood,
    /// Whether it shows far instances' old texts.
    pub(super) lies: bool,
    /// Whether the consensus lists it.
    pub(super) listed: bool,
    /// When something last went wrong here that a publisher is told of, or finds when it is not told.
    failed: Duration,
    /// When something last went wrong here that no publisher can know of before it looks.
    disturbed: Duration,
    /// Whether signatures are real.
    real: bool,
}

impl Place {
    pub(super) fn new(real: bool) -> Self {
        Self {
            directory: Directory::default(),
            points: BTreeMap::new(),
            mood: Mood::Well,
            lies: false,
            listed: true,
            failed: Duration::ZERO,
            disturbed: Duration::ZERO,
            real,
        }
    }

    pub(super) fn mood(&self) -> Mood {
        self.mood
    }

    pub(super) fn set_mood(&mut self, mood: Mood, now: Duration) {
        self.mood = mood;
        self.failed = now;
    }

    /// Notes that something went wrong here which publishers are told of, or find when they are not told.
    pub(super) fn fail(&mut self, now: Duration) {
        self.failed = now;
    }

    /// Notes that something went wrong here which no publisher can know of before it looks.
    pub(super) fn disturb(&mut self, now: Duration) {
        self.disturbed = now;
    }

    /// From when all must be well here, if nothing else goes wrong.
    pub(super) fn well_from(&self, patience: Patience, now: Duration) -> Duration {
        let failed = if self.mood == Mood::Silent { now } else { self.failed };
        (failed + patience.seen).max(self.disturbed + patience.unseen)
    }

    pub(super) fn forget(&mut self, now: Duration) {
        self.directory.forget();
        self.points.clear();
        self.disturbed = now;
    }

    /// Takes an upload that arrives. Returns its answer, if there is one.
    pub(super) fn upload(&mut self, upload: &Text, clock: UnixTime, now: Duration) -> Option<UploadAnswer> {
        match &mut self.mood {
            Mood::Silent => None,
            Mood::Drops(n) if *n > 0 => {
                *n -= 1;
                self.failed = now;
                Some(UploadAnswer::Accepted)
            }
            Mood::Refuses(n) if *n > 0 => {
                *n -= 1;
                self.failed = now;
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
            self.points.insert(descriptor.descriptor_id(), upload.points.clone());
        }
        match verdict.is_accepted() {
            true => UploadAnswer::Accepted,
            false => UploadAnswer::Refused("UPLOAD_REJECTED".into()),
        }
    }

    pub(super) fn held(&self, id: &DescriptorId) -> Option<&Descriptor> {
        self.directory.fetch(id)
    }

    /// The introduction points that what it holds names.
    pub(super) fn points(&self, id: &DescriptorId) -> &[PointName] {
        self.points.get(id).map(|points| &**points).unwrap_or_default()
    }
}

/// A descriptor on its way.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) bytes: Arc<[u8]>,
    /// The introduction points that it names.
    pub(super) points: Arc<[PointName]>,
}

/// Those that the consensus lists.
pub(super) fn ring(places: &BTreeMap<Fingerprint, Place>) -> HashRing {
    HashRing::new(places.iter().filter(|(_, place)| place.listed).map(|(&id, _)| id))
}
