//! The directories, and how they are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use onionweave_desc::rsa::RustCrypto;
use onionweave_desc::v2::Descriptor;
use onionweave_publish::{Found, UploadAnswer};
use onionweave_ring::v2::DescriptorId;
use onionweave_ring::{Fingerprint, HashRing, UnixTime};

use crate::Fault;
use crate::fixtures::PointName;
use crate::place::Place;
use crate::seal::Seal;

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
pub(super) struct Watched {
    place: Place,
    points: BTreeMap<DescriptorId, Arc<[PointName]>>,
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

impl Watched {
    pub(super) fn new(real: bool) -> Self {
        Self {
            place: Place::default(),
            points: BTreeMap::new(),
            lies: false,
            listed: true,
            failed: Duration::ZERO,
            disturbed: Duration::ZERO,
            real,
        }
    }

    pub(super) fn is_silent(&self) -> bool {
        self.place.fault == Fault::Silent
    }

    pub(super) fn set_fault(&mut self, fault: Fault, now: Duration) {
        self.place.fault = fault;
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
        let failed = if self.is_silent() { now } else { self.failed };
        (failed + patience.seen).max(self.disturbed + patience.unseen)
    }

    pub(super) fn forget(&mut self, now: Duration) {
        self.place.directory.forget();
        self.points.clear();
        self.disturbed = now;
    }

    /// Takes an upload that arrives. Returns its answer, if there is one.
    pub(super) fn upload(&mut self, upload: &Text, clock: UnixTime, now: Duration) -> Option<UploadAnswer> {
        let fault = self.place.fault;
        let answer = match self.real {
            true => self.place.upload(&RustCrypto, &upload.bytes, clock),
            false => self.place.upload(&Seal, &upload.bytes, clock),
        };
        // It counts what it drops and refuses.
        if self.place.fault != fault {
            self.failed = now;
        }
        if self.held(&upload.id).is_some_and(|held| held.text() == &*upload.bytes) {
            self.points.insert(upload.id, upload.points.clone());
        }
        answer
    }

    /// What a Tor tells that asks it, if it answers.
    pub(super) fn read(&self, id: &DescriptorId) -> Option<Found> {
        self.place.read(id)
    }

    pub(super) fn held(&self, id: &DescriptorId) -> Option<&Descriptor> {
        self.place.held(id)
    }

    /// The introduction points that what it holds names.
    pub(super) fn points(&self, id: &DescriptorId) -> &[PointName] {
        self.points.get(id).map(|points| &**points).unwrap_or_default()
    }
}

/// A descriptor on its way.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) id: DescriptorId,
    pub(super) bytes: Arc<[u8]>,
    /// The introduction points that it names.
    pub(super) points: Arc<[PointName]>,
}

/// Those that the consensus lists.
pub(super) fn ring(places: &BTreeMap<Fingerprint, Watched>) -> HashRing {
    HashRing::new(places.iter().filter(|(_, place)| place.listed).map(|(&id, _)| id))
}
