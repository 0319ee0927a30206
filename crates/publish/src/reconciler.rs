//! The reconciler: makes the directories hold what is wanted.
//!
//! It knows the wanted texts and what each directory was proved to hold. [`Slot::need`] turns a
//! difference into work.
//!
//! - `slot`: one slot, and the one place that decides what it needs
//! - `others`: uploads of instances and of other publishers, and the answer to them
//! - `pace`: the time after which an upload has probably arrived
//! - `rounds`: rounds of work, from the first difference to the last proof

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use onionweave_ring::{Fingerprint, UnixTime};

use crate::machine::Context;
use crate::wanted::Wanted;
use crate::{Action, Cause, Found, Moment, Report, Round, Settings, SlotId, Stamp, Ticket, UploadAnswer};

mod others;
mod pace;
mod rounds;
mod slot;

use others::Others;
use pace::Pace;
use rounds::Rounds;
use slot::{Glance, Need, Seen, Slot, Work};

/// Longest time, in all, of the first look at the ring. A dead directory never answers, and must
/// not hold up the living.
const SURVEY_WITHIN: Duration = Duration::from_secs(3);

/// One thing that the reconciler saw and the planner must know.
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

    /// What was seen since this was last called.
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
        Some(round)
    }

    /// Takes the wanted ring: its slots, and the texts that changed since it was last taken.
    pub(crate) fn take(&mut self, wanted: &Wanted, cx: &mut Context<'_>) {
        let mut slots = BTreeMap::new();
        for (&id, target) in &wanted.targets {
            let slot = self.slots.remove(&id);
            slots.insert(id, slot.unwrap_or_else(|| Slot::new(target.descriptor_id)));
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
        let glance = match delay.filter(|_| slot.failures == 0) {
            Some(delay) => Glance::At(up.saturating_add(delay)),
            None => Glance::None,
        };
        slot.hasty = others.is_some();
        let Some(text) = slot.send(ticket, up, give_up, glance) else {
            return;
        };
        self.uploading.insert(id, (ticket, give_up));
        cx.outbox.push(Action::Upload {
            ticket,
            slot: id,
            descriptor_id: slot.descriptor_id,
            text,
            attempt: slot.failures,
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
        let why = || "no answer in time".to_owned();
        for ticket in uploads {
            self.upload_answered(ticket, UploadAnswer::Refused(why()), cx);
        }
        for ticket in audits {
            self.audited(ticket, Found::Failed(why()), cx);
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

    pub(crate) fn upload_answered(&mut self, ticket: Ticket, answer: UploadAnswer, cx: &mut Context<'_>) {
        self.uploading.retain(|_, (other, _)| *other != ticket);
        let Some((id, slot)) = taken(&mut self.tickets, &mut self.slots, ticket) else {
            return;
        };
        let Work::Uploading {
            bytes, since, glance, ..
        } = std::mem::replace(&mut slot.work, Work::Idle)
        else {
            return;
        };
        let is_proved = matches!(&slot.seen, Seen::Proved(proved) if *proved == bytes);
        match (&answer, glance) {
            (UploadAnswer::Accepted, Glance::Asked { ticket, give_up }) => {
                slot.work = Work::Auditing {
                    ticket,
                    give_up,
                    glance: true,
                };
            }
            (_, Glance::Asked { ticket, .. }) => {
                self.tickets.remove(&ticket);
            }
            _ => {}
        }
        match answer {
            UploadAnswer::Accepted => {
                self.pace.uploaded(cx.now.uptime().saturating_sub(since));
                if !is_proved {
                    slot.seen = Seen::Accepted(bytes);
                }
            }
            // It was there already. Whether by this upload, another audit tells.
            _ if is_proved => slot.seen = Seen::Accepted(bytes),
            UploadAnswer::Interrupted => slot.seen = Seen::Other,
            UploadAnswer::Refused(why) => {
                slot.seen = Seen::Other;
                self.trouble(id, why, cx);
            }
        }
    }

    pub(crate) fn audited(&mut self, ticket: Ticket, found: Found, cx: &mut Context<'_>) {
        let Some((id, slot)) = taken(&mut self.tickets, &mut self.slots, ticket) else {
            return;
        };
        let is_glance = match &mut slot.work {
            Work::Uploading { glance, .. } => {
                *glance = Glance::None;
                true
            }
            Work::Auditing { glance, .. } => {
                let is_glance = *glance;
                slot.work = Work::Idle;
                is_glance
            }
            Work::Idle => false,
        };
        if is_glance {
            self.glanced(id, &found, cx);
            return;
        }
        if found != Found::Interrupted
            && let Some(survey) = &mut self.survey
        {
            survey.remove(&id);
        }
        let wanted = slot.wanted.clone();
        match found {
            Found::Text(text) => {
                if let Some(wanted) = wanted.filter(|wanted| same_text(wanted, &text)) {
                    if std::mem::take(&mut slot.hasty) {
                        self.loud_pace.arrived(true);
                    }
                    slot.prove(wanted, cx.now.uptime().saturating_add(self.rules.audit_every));
                    self.rounds.proved(cx.now, id);
                } else {
                    self.found_other(id, &text, cx);
                }
            }
            Found::Nothing => self.not_there(id, "the directory holds nothing", cx),
            // Nobody can read back what only authorized clients can read.
            Found::Unusable(_) if self.rules.sealed => self.found_sealed(id, cx),
            Found::Unusable(why) => self.not_there(id, &format!("what the directory holds is unusable: {why}"), cx),
            Found::Failed(why) => {
                if wanted.is_some() {
                    self.trouble(id, format!("cannot be read back: {why}"), cx);
                }
            }
            Found::Interrupted => {}
        }
    }

    /// A directory was looked at while the upload was on its way. Whatever else it holds, the
    /// upload may have come after that.
    fn glanced(&mut self, id: SlotId, found: &Found, cx: &mut Context<'_>) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let Some(wanted) = slot.wanted.clone() else {
            return;
        };
        let is_there = match found {
            Found::Text(text) => same_text(&wanted, text),
            Found::Nothing => false,
            Found::Unusable(_) | Found::Failed(_) | Found::Interrupted => return,
        };
        self.pace.arrived(is_there);
        if is_there {
            if std::mem::take(&mut slot.hasty) {
                self.loud_pace.arrived(true);
            }
            slot.prove(wanted, cx.now.uptime().saturating_add(self.rules.audit_every));
            self.rounds.proved(cx.now, id);
        }
    }

    /// A directory holds another text than the one wanted.
    fn found_other(&mut self, id: SlotId, text: &[u8], cx: &mut Context<'_>) {
        if let Some(time) = cx.version.recognize(text) {
            self.sights.push(Sight::Dated(time));
            if time > cx.now.wall() {
                cx.outbox.report(Report::DatedAhead { slot: id, until: time });
            }
        }
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let seen = std::mem::replace(&mut slot.seen, Seen::Other);
        if std::mem::take(&mut slot.hasty) {
            // Ours arrived first.
            self.loud_pace.arrived(false);
            return;
        }
        match seen {
            // Our last text but one: the wanted text changed while this one was on its way.
            Seen::Accepted(accepted) if same_text(&accepted, text) => {}
            Seen::Accepted(_) if slot.wanted.is_some() => {
                self.rounds.note(cx.now, id, [Cause::Dropped]);
                self.trouble(id, "accepted our descriptor but kept another".into(), cx);
            }
            Seen::Proved(_) => {
                let contest = slot.contest(cx.now.uptime(), self.seed);
                self.rounds.note(cx.now, id, [Cause::Overwritten]);
                self.answer_contest(id, contest, cx);
            }
            _ => {}
        }
    }

    /// A directory holds something that is sealed for authorized clients. It is ours if ours was
    /// accepted last: directories drop an accepted text for its age alone (`rendcache.c:672-688`),
    /// and no text of ours is older than what we know to be there.
    fn found_sealed(&mut self, id: SlotId, cx: &mut Context<'_>) {
        let next_audit = cx.now.uptime().saturating_add(self.rules.audit_every);
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let wanted = slot.wanted.clone();
        match &slot.seen {
            Seen::Accepted(bytes) | Seen::Proved(bytes) if wanted.as_ref() == Some(bytes) => {
                slot.prove(bytes.clone(), next_audit);
                self.rounds.proved(cx.now, id);
            }
            _ => slot.seen = Seen::Other,
        }
    }

    /// A directory holds nothing that clients could use.
    fn not_there(&mut self, id: SlotId, why: &str, cx: &mut Context<'_>) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        if slot.wanted.is_none() {
            return;
        }
        self.rounds.note(cx.now, id, [Cause::Dropped]);
        // A directory that had it and lost it was restarted: it is filled again at once.
        if let Seen::Accepted(_) = std::mem::replace(&mut slot.seen, Seen::Other) {
            self.trouble(id, format!("accepted our descriptor, but {why}"), cx);
        }
    }

    /// Notes a failure of a slot, which waits before the next try, and reports it.
    fn trouble(&mut self, id: SlotId, why: String, cx: &mut Context<'_>) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let pause = slot.fail(cx.now.uptime());
        let failures = slot.failures;
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
        attempt: slot.failures,
    }
}

/// The slot that `ticket` was given for, if it is still waiting for it.
fn taken<'a>(
    tickets: &mut BTreeMap<Ticket, SlotId>,
    slots: &'a mut BTreeMap<SlotId, Slot>,
    ticket: Ticket,
) -> Option<(SlotId, &'a mut Slot)> {
    let id = tickets.remove(&ticket)?;
    Some((id, slots.get_mut(&id)?))
}

/// Whether a directory's text is the one that was uploaded. Tor's control protocol may add or drop
/// a final line end.
fn same_text(ours: &[u8], theirs: &[u8]) -> bool {
    ours.trim_ascii_end() == theirs.trim_ascii_end()
}
