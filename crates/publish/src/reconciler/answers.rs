//! Answers of directories to uploads and audits, and the proof that they give.

use std::collections::BTreeMap;

use super::slot::{Glance, Seen, Slot, Work};
use super::{Reconciler, Sight};
use crate::machine::Context;
use crate::{Cause, Found, Report, SlotId, Ticket, UploadAnswer};

/// Reason of a failure where no answer came in time.
const NO_ANSWER: &str = "no answer in time";

impl Reconciler {
    pub(crate) fn upload_answered(&mut self, ticket: Ticket, answer: UploadAnswer, cx: &mut Context<'_>) {
        self.upload_ended(ticket, Some(answer), cx);
    }

    /// Ends an upload; without an answer, it took too long.
    pub(super) fn upload_ended(&mut self, ticket: Ticket, answer: Option<UploadAnswer>, cx: &mut Context<'_>) {
        let now = cx.now.uptime();
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
        let is_proved = matches!(slot.seen(), Seen::Proved(proved) if *proved == bytes);
        match (&answer, glance) {
            (Some(UploadAnswer::Accepted), Glance::Asked { ticket, give_up }) => {
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
        let uploads = &mut self.counts.uploads;
        match &answer {
            Some(UploadAnswer::Accepted) => uploads.accepted += 1,
            Some(UploadAnswer::Refused(_)) => uploads.refused += 1,
            Some(UploadAnswer::Interrupted) | None => uploads.unanswered += 1,
        }
        match answer {
            Some(UploadAnswer::Accepted) => {
                self.pace.uploaded(now.saturating_sub(since));
                if !is_proved {
                    slot.see(Seen::Accepted(bytes), now);
                }
            }
            // The text was there already. Whether this upload brought it, another audit tells.
            _ if is_proved => {
                slot.see(Seen::Accepted(bytes), now);
            }
            Some(UploadAnswer::Interrupted) => {
                slot.see(Seen::Other, now);
            }
            Some(UploadAnswer::Refused(why)) => {
                slot.see(Seen::Other, now);
                self.trouble(id, why, cx);
            }
            None => {
                slot.see(Seen::Other, now);
                self.trouble(id, NO_ANSWER.to_owned(), cx);
            }
        }
    }

    /// Ends an audit that was not answered in time.
    pub(super) fn audit_unanswered(&mut self, ticket: Ticket, cx: &mut Context<'_>) {
        self.audited(ticket, Found::Failed(NO_ANSWER.to_owned()), cx);
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
                if wanted.is_some_and(|wanted| same_text(&wanted, &text)) {
                    self.found_ours(id, cx);
                } else {
                    self.counts.audits.foreign += 1;
                    self.found_other(id, &text, cx);
                }
            }
            Found::Nothing => {
                self.counts.audits.nothing += 1;
                self.not_there(id, "the directory holds nothing", cx);
            }
            // Nobody can read back what only authorized clients can read.
            Found::Unusable(_) if self.rules.sealed => self.found_sealed(id, cx),
            Found::Unusable(why) => {
                self.counts.audits.foreign += 1;
                self.not_there(id, &format!("what the directory holds is unusable: {why}"), cx);
            }
            Found::Failed(why) => {
                self.counts.audits.failed += 1;
                if wanted.is_some() {
                    self.trouble(id, format!("cannot be read back: {why}"), cx);
                }
            }
            Found::Interrupted => self.counts.audits.failed += 1,
        }
    }

    /// A directory was looked at while the upload was on its way. Whatever else it holds, the
    /// upload may have come after that.
    fn glanced(&mut self, id: SlotId, found: &Found, cx: &mut Context<'_>) {
        let Some(wanted) = self.slots.get(&id).and_then(|slot| slot.wanted.as_ref()) else {
            return;
        };
        let is_there = match found {
            Found::Text(text) => same_text(wanted, text),
            Found::Nothing => false,
            Found::Unusable(_) | Found::Failed(_) | Found::Interrupted => return,
        };
        self.pace.arrived(is_there);
        if is_there {
            self.found_ours(id, cx);
        }
    }

    /// A directory holds the text that is wanted.
    fn found_ours(&mut self, id: SlotId, cx: &mut Context<'_>) {
        if let Some(slot) = self.slots.get_mut(&id)
            && std::mem::take(&mut slot.hasty)
        {
            self.loud_pace.arrived(true);
        }
        self.prove(id, cx);
    }

    /// Notes that a slot is proved.
    fn prove(&mut self, id: SlotId, cx: &mut Context<'_>) {
        let now = cx.now.uptime();
        self.counts.audits.ours += 1;
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.prove(now, now.saturating_add(self.rules.audit_every));
            self.rounds.proved(cx.now, id);
        }
    }

    /// A directory holds another text than the one wanted.
    fn found_other(&mut self, id: SlotId, text: &[u8], cx: &mut Context<'_>) {
        let now = cx.now;
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        if let Some(time) = cx.version.recognize(text) {
            self.sights.push(Sight::Dated(time));
            if time > now.wall() {
                // Each date is told once.
                if slot.dated_ahead.replace(time) != Some(time) {
                    cx.outbox.report(Report::DatedAhead { slot: id, until: time });
                }
            }
        }
        let seen = slot.see(Seen::Other, now.uptime());
        if std::mem::take(&mut slot.hasty) {
            // Ours arrived first.
            self.loud_pace.arrived(false);
            return;
        }
        match seen {
            // Our last text but one: the wanted text changed while this one was on its way.
            Seen::Accepted(accepted) if same_text(&accepted, text) => {}
            Seen::Accepted(_) if slot.wanted.is_some() => {
                self.rounds.note(now, id, [Cause::Dropped]);
                self.trouble(id, "accepted our descriptor but kept another".into(), cx);
            }
            Seen::Proved(_) => {
                let contest = slot.contest(now.uptime(), self.seed);
                self.rounds.note(now, id, [Cause::Overwritten]);
                self.answer_contest(id, contest, cx);
            }
            _ => {}
        }
    }

    /// A directory holds something that is sealed for authorized clients.
    ///
    /// It is ours if ours was accepted last. Directories drop an accepted text for its age alone
    /// (`rendcache.c:672-688`), and no text of ours is older than what we know to be there.
    fn found_sealed(&mut self, id: SlotId, cx: &mut Context<'_>) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        match slot.seen() {
            Seen::Accepted(bytes) | Seen::Proved(bytes) if slot.wanted.as_ref() == Some(bytes) => self.prove(id, cx),
            _ => {
                self.counts.audits.foreign += 1;
                slot.see(Seen::Other, cx.now.uptime());
            }
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
        if let Seen::Accepted(_) = slot.see(Seen::Other, cx.now.uptime()) {
            self.trouble(id, format!("accepted our descriptor, but {why}"), cx);
        }
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
