//! A digest of everything that passes between publishers and the world.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use onionweave_publish::{
    Action, Cause, Down, Event, Found, InstanceName, Moment, Report, Round, Settings, SlotId, Ticket, UploadAnswer,
};
use sha1::{Digest as _, Sha1};

/// The digest of a [`Storm`](crate::Storm): equal for two builds whose publishers were told and
/// asked for the same things at the same times.
///
/// It covers every event and every action with its time, the texts byte by byte, and the reports
/// without their wording. It depends on no type's name, layout or `Debug` output, so that it
/// outlives their refactoring.
///
/// ```
/// use onionweave_sim::{Storm, StormDigest};
///
/// let storm = Storm::new(7).days(1);
/// let digest = storm.digest()?;
/// assert_eq!(digest, storm.digest()?);
/// assert_eq!(digest.to_string().parse(), Ok(digest));
/// # Ok::<(), onionweave_sim::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StormDigest(u32);

impl fmt::Display for StormDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl FromStr for StormDigest {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u32::from_str_radix(text, 16).map(Self)
    }
}

/// Computes a [`StormDigest`] while the storm goes on.
#[derive(Debug, Default)]
pub(super) struct Digester {
    hash: Sha1,
    /// The number of each ticket, in the order in which the publishers' processes drew them.
    tickets: BTreeMap<(u32, Ticket), u64>,
}

impl Digester {
    /// Adds what the publisher's process number `life` is told.
    pub(super) fn event(&mut self, life: u32, event: &Event, now: Moment) {
        self.moment(life, now);
        match event {
            Event::Directories(directories) => {
                let ring = directories.hash_ring();
                self.number(0);
                self.number(ring.len() as u64);
                for directory in ring.iter() {
                    self.bytes(directory.as_bytes());
                }
                self.flag(directories.lifetime().is_some());
            }
            Event::InstanceUp { instance } => self.named(1, instance),
            Event::InstanceDown { instance, why } => {
                self.named(2, instance);
                self.down(why);
            }
            Event::InstanceOffers {
                instance,
                text,
                rebuilt,
            } => {
                self.named(3, instance);
                self.bytes(text);
                self.flag(*rebuilt);
            }
            Event::InstanceOffersNothing { instance } => self.named(4, instance),
            Event::InstanceRefuses { instance, .. } => self.named(16, instance),
            Event::InstanceUnfit { instance, .. } => self.named(5, instance),
            Event::InstanceFit { instance } => self.named(6, instance),
            Event::InstanceLoad { instance, load } => {
                self.named(7, instance);
                self.flag(load.is_some());
                self.number(load.map_or(0, |load| load.as_f64().to_bits()));
            }
            Event::InstanceUploads {
                instance,
                own,
                directory,
                descriptor_id,
            } => {
                self.named(8, instance);
                self.flag(*own);
                self.bytes(directory.as_bytes());
                self.bytes(descriptor_id.as_bytes());
            }
            Event::InstanceUploadEnded { instance, directory } => {
                self.named(9, instance);
                self.bytes(directory.as_bytes());
            }
            Event::UploadAnswered { ticket, answer } => {
                self.number(10);
                self.ticket(life, *ticket);
                self.number(match answer {
                    UploadAnswer::Accepted => 0,
                    UploadAnswer::Refused(_) => 1,
                    UploadAnswer::Interrupted => 2,
                    _ => u64::MAX,
                });
            }
            Event::Audited { ticket, found } => {
                self.number(11);
                self.ticket(life, *ticket);
                self.found(found);
            }
            Event::Read { ticket, found } => {
                self.number(12);
                self.ticket(life, *ticket);
                self.found(found);
            }
            Event::Configured(settings) => {
                self.number(13);
                self.settings(settings);
            }
            _ => self.number(u64::MAX),
        }
    }

    /// Adds what the publisher's process number `life` asks for.
    pub(super) fn action(&mut self, life: u32, action: &Action, now: Moment) {
        self.moment(life, now);
        match action {
            Action::Upload {
                ticket,
                slot,
                descriptor_id,
                text,
                attempt,
                ..
            } => {
                self.number(100);
                self.ticket(life, *ticket);
                self.slot(slot);
                self.bytes(descriptor_id.as_bytes());
                self.bytes(text);
                self.number((*attempt).into());
            }
            Action::Audit {
                ticket,
                slot,
                descriptor_id,
                attempt,
                ..
            } => {
                self.number(101);
                self.ticket(life, *ticket);
                self.slot(slot);
                self.bytes(descriptor_id.as_bytes());
                self.number((*attempt).into());
            }
            Action::Read {
                ticket,
                directory,
                descriptor_id,
                attempt,
                ..
            } => {
                self.number(102);
                self.ticket(life, *ticket);
                self.bytes(directory.as_bytes());
                self.bytes(descriptor_id.as_bytes());
                self.number((*attempt).into());
            }
            Action::Restart { instance, .. } => self.named(103, instance),
            Action::Report(report) => self.report(report),
        }
    }

    /// The digest of all that was added.
    pub(super) fn finish(self) -> StormDigest {
        let [a, b, c, d, ..]: [u8; 20] = self.hash.finalize().into();
        StormDigest(u32::from_be_bytes([a, b, c, d]))
    }

    fn report(&mut self, report: &Report) {
        match report {
            Report::Proved(round) => {
                self.number(200);
                self.round(round);
            }
            Report::Up(instance) => self.named(201, instance),
            Report::Down(instance, why) => {
                self.named(202, instance);
                self.down(why);
            }
            Report::Offers(instance, points) => {
                self.named(203, instance);
                self.number(*points as u64);
            }
            Report::Unfit(instance, _) => self.named(204, instance),
            Report::Fit(instance) => self.named(205, instance),
            Report::Weighed(weights) => {
                self.number(206);
                for (instance, weight) in weights {
                    self.named(weight.as_u32().into(), instance);
                }
            }
            Report::Unusable { instance, .. } => self.named(207, instance),
            Report::Loud(instance) => self.named(208, instance),
            Report::NobodyLeft => self.number(209),
            Report::Trouble {
                slot, failures, pause, ..
            } => {
                self.number(210);
                self.slot(slot);
                self.number((*failures).into());
                self.duration(*pause);
            }
            Report::Contested { slot, pause, .. } => {
                self.number(211);
                self.slot(slot);
                self.duration(*pause);
            }
            Report::DatedAhead { slot, until, .. } => {
                self.number(212);
                self.slot(slot);
                self.number(until.as_secs());
            }
            Report::FewDirectories(count) => {
                self.number(213);
                self.number(*count as u64);
            }
            Report::ClocksDiffer {
                instance, theirs, ours, ..
            } => {
                self.named(214, instance);
                self.number(theirs.as_secs());
                self.number(ours.as_secs());
            }
            Report::ClockOff { now, .. } => {
                self.number(215);
                self.number(now.as_secs());
            }
            _ => self.number(u64::MAX),
        }
    }

    fn round(&mut self, round: &Round) {
        self.number(round.causes.len() as u64);
        for cause in &round.causes {
            self.cause(cause);
        }
        self.slots(&round.proved);
        self.slots(&round.missing);
        for (slot, counts) in &round.plan {
            self.slot(slot);
            for (instance, count) in counts {
                self.named((*count).into(), instance);
            }
        }
        self.duration(round.took);
        self.flag(round.sealed);
    }

    fn cause(&mut self, cause: &Cause) {
        match cause {
            Cause::Started => self.number(0),
            Cause::Joined(instance) => self.named(1, instance),
            Cause::Left(instance) => self.named(2, instance),
            Cause::Unfit(instance) => self.named(3, instance),
            Cause::Fit(instance) => self.named(4, instance),
            Cause::PointsChanged(instance) => self.named(5, instance),
            Cause::Rebuilt(instance) => self.named(6, instance),
            Cause::Published(instance) => self.named(7, instance),
            Cause::Overwritten => self.number(8),
            Cause::Dropped => self.number(9),
            Cause::Failed => self.number(10),
            Cause::DirectoriesMoved => self.number(11),
            Cause::PeriodBegan => self.number(12),
            Cause::TimeMoved => self.number(13),
            Cause::Weighed => self.number(14),
            Cause::Configured => self.number(15),
            _ => self.number(u64::MAX),
        }
    }

    fn settings(&mut self, settings: &Settings) {
        self.number(settings.instances().len() as u64);
        for instance in settings.instances() {
            self.named(instance.weight.as_u32().into(), &instance.name);
            self.flag(instance.restart);
        }
        self.number(settings.serving.map_or(0, |count| count.get() as u64));
        self.flag(settings.quiet);
        self.duration(settings.audit_every);
        self.duration(settings.answer_within);
    }

    fn down(&mut self, why: &Down) {
        self.number(match why {
            Down::Lost(_) => 0,
            Down::Silent(_) => 1,
            Down::Unreachable(_) => 2,
            Down::Refused(_) => 3,
            _ => u64::MAX,
        });
    }

    fn found(&mut self, found: &Found) {
        match found {
            Found::Text(text) => {
                self.number(0);
                self.bytes(text);
            }
            Found::Nothing => self.number(1),
            Found::Unusable(_) => self.number(2),
            Found::Failed(_) => self.number(3),
            Found::Interrupted => self.number(4),
            _ => self.number(u64::MAX),
        }
    }

    fn ticket(&mut self, life: u32, ticket: Ticket) {
        let next = self.tickets.len() as u64;
        let number = *self.tickets.entry((life, ticket)).or_insert(next);
        self.number(number);
    }

    fn slots(&mut self, slots: &BTreeSet<SlotId>) {
        self.number(slots.len() as u64);
        for slot in slots {
            self.slot(slot);
        }
    }

    fn slot(&mut self, slot: &SlotId) {
        self.number(slot.period.number());
        self.number(slot.replica.number().into());
        self.bytes(slot.directory.as_bytes());
    }

    fn named(&mut self, number: u64, name: &InstanceName) {
        self.number(number);
        self.bytes(name.as_str().as_bytes());
    }

    fn moment(&mut self, life: u32, now: Moment) {
        self.number(life.into());
        self.duration(now.uptime());
        self.number(now.wall().as_secs());
    }

    fn duration(&mut self, duration: Duration) {
        self.number(duration.as_secs());
        self.number(duration.subsec_nanos().into());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.hash.update(bytes);
    }

    fn flag(&mut self, flag: bool) {
        self.number(flag.into());
    }

    fn number(&mut self, number: u64) {
        self.hash.update(number.to_be_bytes());
    }
}
