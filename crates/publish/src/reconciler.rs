//! The reconciler: makes the directories hold what is wanted.
//!
//! It knows the wanted texts and what each directory was proved to hold. [`Slot::need`] turns a
//! difference into work.
//!
//! - `answers`: answers of directories, and the proof that they give
//! - `slot`: one slot, and the one place that decides what it needs
//! - `others`: uploads of instances and of other publishers, and the answer to them
//! - `pace`: the time after which an upload has probably arrived
//! - `rounds`: rounds of work, from the first difference to the last proof
//! - `status`: its part of a snapshot

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use onionweave_ring::{Fingerprint, UnixTime};

use crate::machine::Context;
use crate::status::Counts;
use crate::wanted::Wanted;
use crate::{Action, Moment, Report, Round, Settings, SlotId, Stamp, Ticket};

mod answers;
mod others;
mod pace;
mod rounds;
mod slot;
mod status;

use others::Others;
use pace::Pace;
use rounds::Rounds;
use slot::{Glance, Need, Slot, Work};

/// Longest time, in all, of the first look at the ring. A dead directory never answers, and must
/// not hold up the living.
const SURVEY_WITHIN: Duration = Duration::from_secs(3);

/// An observation of the reconciler that the planner must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// A directory holds a text of this service with this date.
    Dated(UnixTime),
    /// Somebody wrote over a text of ours.
    Overwritten,
}

#[derive(Debug)]
pub(crate) struct Reconciler {
    rules: Rules,
    seed: u64,
    slots: BTreeMap<SlotId, Slot>,
    /// Number of the last change of the wanted ring that was taken.
    revision: u64,
    /// Slots that the first look at the ring still waits for; `None` before it began.
    survey: Option<BTreeSet<SlotId>>,
    /// The pace at which uploads of ours are looked for.
    pace: Pace,
    /// The uploads that are on their way, at most one for a slot, and when each is given up. A slot
    /// that was lost and is ours again waits for the one of before, which would write over the next
    /// if it arrived after it.
    uploading: BTreeMap<SlotId, (Ticket, Duration)>,
    /// The pace at which uploads of loud instances are answered.
    loud_pace: Pace,
    /// The uploads of others that are on their way.
    others: BTreeMap<Fingerprint, Others>,
    tickets: BTreeMap<Ticket, SlotId>,
    rounds: Rounds,
    counts: Counts,
    sights: Vec<Sight>,
}

/// The settings that matter here.
#[derive(Clone, Copy, Debug)]
struct Rules {
    audit_every: Duration,
    answer_within: Duration,
    /// Whether only authorized clients can read the texts, so that nobody can read them back.
    sealed: bool,
    /// Whether each new text outranks what others publish, whenever it arrives.
    outranks: bool,
}

impl From<&Settings> for Rules {
    fn from(settings: &Settings) -> Self {
        Self {
            audit_every: settings.audit_every,
            answer_within: settings.answer_within,
            sealed: settings.authorization.is_some(),
            outranks: settings.stamp == Stamp::Second,
        }
    }
}

impl Reconciler {
    pub(crate) fn new(settings: &Settings, seed: u64) -> Self {
        Self {
            rules: settings.into(),
            seed,
            slots: BTreeMap::new(),
            revision: 0,
            survey: None,
            pace: Pace::of_glances(),
            uploading: BTreeMap::new(),
            loud_pace: Pace::of_answers(),
            others: BTreeMap::new(),
            tickets: BTreeMap::new(),
            rounds: Rounds::default(),
            counts: Counts::default(),
            sights: Vec::new(),
        }
    }

    pub(crate) fn configure(&mut self, settings: &Settings) {
        self.rules = settings.into();
    }

    /// Forgets all slots, and looks at the ring anew before the next upload.
    pub(crate) fn start_over(&mut self) {
        for slot in std::mem::take(&mut self.slots).values() {
            for ticket in slot.work.tickets() {
                self.tickets.remove(&ticket);
            }
        }
        self.survey = None;
    }

    /// The observations since this was last called.
    pub(crate) fn sights(&mut self) -> Vec<Sight> {
        std::mem::take(&mut self.sights)
    }

    pub(crate) fn proved(&self) -> impl Iterator<Item = SlotId> {
        let slots = self.slots.iter();
        slots.filter(|(_, slot)| slot.is_proved()).map(|(&id, _)| id)
    }

    pub(crate) fn is_settled(&self) -> bool {
        !self.slots.is_empty() && self.slots.values().all(Slot::is_proved)
    }

    pub(crate) fn next_deadline(&self, up: Duration) -> Option<Duration> {
        let slots = self.slots.values().filter_map(|slot| slot.wakes_at(up));
        let uploads = self.uploading.values().map(|&(_, give_up)| give_up);
        slots.chain(uploads).min()
    }

    /// Ends the round under way, if each of its slots is proved, ailing or gone. The caller adds
    /// the plan.
    pub(crate) fn close_round(&mut self, now: Moment) -> Option<Round> {
        let mut round = self.rounds.close(&self.slots, now)?;
        round.sealed = self.rules.sealed;
        self.counts.rounds.add(round.took);
        Some(round)
    }

    /// Takes the wanted ring: its slots, and the texts that changed since it was last taken.
    pub(crate) fn take(&mut self, wanted: &Wanted, cx: &mut Context<'_>) {
        let mut slots = BTreeMap::new();
        for (&id, target) in &wanted.targets {
            let slot = self.slots.remove(&id);
            slots.insert(
                id,
                slot.unwrap_or_else(|| Slot::new(target.descriptor_id, cx.now.uptime())),
            );
        }
        // What is left are slots that are no longer ours. An upload that is still on its way keeps
        // its directory busy.
        for (id, slot) in std::mem::replace(&mut self.slots, slots) {
            for ticket in slot.work.tickets() {
                self.tickets.remove(&ticket);
            }
            self.rounds.forget(&id);
            if let Some(survey) = &mut self.survey {
                survey.remove(&id);
            }
        }
        let taken = std::mem::replace(&mut self.revision, wanted.revision);
        for (&id, target) in &wanted.targets {
            if target.revised <= taken {
                continue;
            }
            if let Some(why) = &target.unwritable {
                self.trouble(id, why.clone(), cx);
            } else if let (Some(text), Some(slot)) = (&target.text, self.slots.get_mut(&id)) {
                slot.want(text.bytes.clone(), cx.now.uptime());
                self.rounds.note(cx.now, id, wanted.causes.iter().cloned());
            }
        }
    }

    /// Looks at every slot once before the first upload: our texts must not be older than what is
    /// there. Returns whether that is done.
    pub(crate) fn is_surveyed(&mut self, cx: &mut Context<'_>) -> bool {
        if self.slots.is_empty() {
            return false;
        }
        let survey = self.survey.get_or_insert_with(|| self.slots.keys().copied().collect());
        let unasked: Vec<_> = survey
            .iter()
            .copied()
            .filter(|id| self.slots.get(id).is_some_and(|slot| matches!(slot.work, Work::Idle)))
            .collect();
        let done = survey.is_empty();
        let within = SURVEY_WITHIN.min(self.rules.answer_within);
        for id in unasked {
            self.audit(id, within, cx);
        }
        done
    }

    /// Starts the work that the slots need.
    pub(crate) fn work(&mut self, cx: &mut Context<'_>) {
        let ids: Vec<_> = self.slots.keys().copied().collect();
        for id in ids {
            match self.slots.get(&id).map(|slot| slot.need(cx.now.uptime())) {
                Some(Need::Audit) => self.audit(id, self.rules.answer_within, cx),
                Some(Need::Glance) => self.glance(id, cx),
                Some(Need::Upload) if !self.uploading.contains_key(&id) => self.upload(id, cx),
                _ => {}
            }
        }
    }

    fn upload(&mut self, id: SlotId, cx: &mut Context<'_>) {
        let ticket = self.ticket(id, cx);
        let up = cx.now.uptime();
        let give_up = up.saturating_add(self.rules.answer_within);
        // Nobody can read back what only authorized clients can read.
        let delay = self.pace.delay().filter(|_| !self.rules.sealed);
        let others = self
            .others
            .get(&id.directory)
            .filter(|others| others.slots.contains(&id));
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        // A directory that failed is given time.
        let glance = match delay.filter(|_| slot.failures() == 0) {
            Some(delay) => Glance::At(up.saturating_add(delay)),
            None => Glance::None,
        };
        slot.hasty = others.is_some();
        let Some(text) = slot.send(ticket, up, give_up, glance) else {
            return;
        };
        self.uploading.insert(id, (ticket, give_up));
        self.rounds.uploaded();
        cx.outbox.push(Action::Upload {
            ticket,
            slot: id,
            descriptor_id: slot.descriptor_id,
            text,
            attempt: slot.failures(),
        });
    }

    fn audit(&mut self, id: SlotId, within: Duration, cx: &mut Context<'_>) {
        let (ticket, give_up) = (self.ticket(id, cx), cx.now.uptime().saturating_add(within));
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.work = Work::Auditing {
                ticket,
                give_up,
                glance: false,
            };
            cx.outbox.push(look(id, slot, ticket));
        }
    }

    /// Looks while the upload is still on its way.
    fn glance(&mut self, id: SlotId, cx: &mut Context<'_>) {
        let give_up = cx.now.uptime().saturating_add(self.rules.answer_within);
        let asked = self.ticket(id, cx);
        if let Some(slot) = self.slots.get_mut(&id)
            && let Work::Uploading { glance, .. } = &mut slot.work
        {
            *glance = Glance::Asked { ticket: asked, give_up };
            cx.outbox.push(look(id, slot, asked));
        }
    }

    fn ticket(&mut self, id: SlotId, cx: &mut Context<'_>) -> Ticket {
        let ticket = cx.outbox.ticket();
        self.tickets.insert(ticket, id);
        ticket
    }

    /// Ends the work that was not answered in time.
    pub(crate) fn give_up(&mut self, cx: &mut Context<'_>) {
        let up = cx.now.uptime();
        let mut uploads = Vec::new();
        let mut audits = Vec::new();
        for slot in self.slots.values() {
            match slot.work {
                Work::Uploading { ticket, give_up, .. } if give_up <= up => uploads.push(ticket),
                Work::Auditing { ticket, give_up, .. } if give_up <= up => audits.push(ticket),
                _ => {}
            }
        }
        for ticket in uploads {
            self.upload_ended(ticket, None, cx);
        }
        for ticket in audits {
            self.audit_unanswered(ticket, cx);
        }
        self.uploading.retain(|_, (_, give_up)| *give_up > up);
        let silent: Vec<_> = self
            .others
            .iter()
            .filter(|(_, others)| others.until <= up)
            .map(|(&directory, _)| directory)
            .collect();
        for directory in silent {
            self.release(directory, cx);
        }
    }

    /// Notes a failure of a slot, which waits before the next try, and reports it.
    fn trouble(&mut self, id: SlotId, why: String, cx: &mut Context<'_>) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let pause = slot.fail(why.clone(), cx.now.uptime());
        let failures = slot.failures();
        cx.outbox.report(Report::Trouble {
            slot: id,
            why,
            failures,
            pause,
        });
    }
}

/// Asks what a slot's directory holds.
fn look(id: SlotId, slot: &Slot, ticket: Ticket) -> Action {
    Action::Audit {
        ticket,
        slot: id,
        descriptor_id: slot.descriptor_id,
        attempt: slot.failures(),
    }
}
