//! The directories, and how they are.

use std::collections::BTreeMap;
use std::time::Duration;

use onionweave_desc::rsa::RustCrypto;
use onionweave_desc::v2::Descriptor;
use onionweave_publish::{Found, UploadAnswer};
use onionweave_ring::v2::DescriptorId;
use onionweave_ring::{Fingerprint, HashRing, UnixTime};

use crate::Fault;
use crate::place::Place;
use crate::seal::Seal;

/// Longest time until all is well again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// After something that a publisher is told of, or finds when it is not told.
    pub(super) seen: Duration,
    /// After something that a publisher cannot know of before it looks.
    pub(super) unseen: Duration,
}

/// A directory, and what was last done to it.
#[derive(Debug)]
pub(super) struct Watched {
    place: Place,
    /// Whether it shows far instances' old texts.
    pub(super) lies: bool,
    /// Whether the consensus lists it.
    pub(super) listed: bool,
    /// When something last went wrong here that a publisher is told of, or finds when it is not
    /// told.
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

    /// Notes that something went wrong here which publishers are told of, or find when they are not
    /// told.
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
        self.disturbed = now;
    }

    /// Takes an upload that arrives. Returns its answer, if there is one.
    pub(super) fn upload(&mut self, text: &[u8], clock: UnixTime, now: Duration) -> Option<UploadAnswer> {
        let fault = self.place.fault;
        let answer = match self.real {
            true => self.place.upload(&RustCrypto, text, clock),
            false => self.place.upload(&Seal, text, clock),
        };
        // It counts what it drops and refuses.
        if self.place.fault != fault {
            self.failed = now;
        }
        answer
    }

    /// Returns what a Tor tells that asks it, if it answers.
    pub(super) fn read(&self, id: &DescriptorId) -> Option<Found> {
        self.place.read(id)
    }

    pub(super) fn held(&self, id: &DescriptorId) -> Option<&Descriptor> {
        self.place.held(id)
    }
}

/// Those that the consensus lists.
pub(super) fn ring(places: &BTreeMap<Fingerprint, Watched>) -> HashRing {
    HashRing::new(places.iter().filter(|(_, place)| place.listed).map(|(&id, _)| id))
}
