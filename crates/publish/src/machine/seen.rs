//! The seen ring: what directories were proved to hold, and the work that makes it equal the wanted one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use onionweave_desc::v2::UnverifiedDescriptor;
use onionweave_ring::{DescriptorId, Fingerprint};

use super::Machine;
use super::slot::{Contest, Glance, Need, Seen, Slot, Work};
use crate::{Action, Cause, Found, InstanceName, Moment, Report, SlotId, Stamp, Ticket, UploadAnswer};

/// How long the first look at the ring may take. A dead directory never answers, and must not hold up the living.
const SURVEY_WITHIN: Duration = Duration::from_secs(3);
/// How long an upload of others is waited for. Tor says nothing when a directory does not answer.
const HOLD_FOR_OTHERS: Duration = Duration::from_secs(2);

/// Uploads of others on their way to one directory. Tor does not say which descriptor ID an `UPLOADED` answers, so all
/// slots there wait until the last one is answered.
#[derive(Debug)]
pub(super) struct Others {
    /// Whose uploads are still to be answered.
    pending: BTreeSet<InstanceName>,
    since: Duration,
    until: Duration,
    slots: BTreeSet<SlotId>,
    cause: Cause,
}

impl Machine {
    /// Looks at every slot once before the first upload: our texts must not be older than what is there. Returns whether
    /// that is done.
    pub(super) fn is_surveyed(&mut self, now: Moment) -> bool {
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
        let within = SURVEY_WITHIN.min(self.settings.answer_within);
        for id in unasked {
            self.audit(id, within, now);
        }
        done
    }

    /// Starts the work that the slots need.
    pub(super) fn work(&mut self, now: Moment) {
        let ids: Vec<_> = self.slots.keys().copied().collect();
        for id in ids {
            match self.slots.get(&id).map(|slot| slot.need(now.uptime())) {
                Some(Need::Audit) => self.audit(id, self.settings.answer_within, now),
                Some(Need::Glance) => self.glance(id, now),
                Some(Need::Upload) if !self.uploading.contains_key(&id) => self.upload(id, now),
                _ => {}
            }
        }
    }

    fn upload(&mut self, id: SlotId, now: Moment) {
        let ticket = self.ticket(id);
        let up = now.uptime();
        let give_up = up.saturating_add(self.settings.answer_within);
        // Nobody can read back what only authorized clients can read.
        let delay = self.pace.delay().filter(|_| self.settings.authorization.is_none());
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
        self.actions.push_back(Action::Upload {
            ticket,
            slot: id,
            descriptor_id: slot.descriptor_id,
            text,
            attempt: slot.failures,
        });
    }

    fn audit(&mut self, id: SlotId, within: Duration, now: Moment) {
        let (ticket, give_up) = (self.ticket(id), now.uptime().saturating_add(within));
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.work = Work::Auditing {
                ticket,
                give_up,
                glance: false,
            };
            self.actions.push_back(look(id, slot, ticket));
        }
    }

    /// Looks while the upload is still on its way.
    fn glance(&mut self, id: SlotId, now: Moment) {
        let give_up = now.uptime().saturating_add(self.settings.answer_within);
        let asked = self.ticket(id);
        if let Some(slot) = self.slots.get_mut(&id)
            && let Work::Uploading { glance, .. } = &mut slot.work
        {
            *glance = Glance::Asked { ticket: asked, give_up };
            self.actions.push_back(look(id, slot, asked));
        }
    }

    fn ticket(&mut self, id: SlotId) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket = self.next_ticket.wrapping_add(1);
        self.tickets.insert(ticket, id);
        ticket
    }

    /// Ends the work that was not answered in time.
    pub(super) fn give_up(&mut self, now: Moment) {
        let up = now.uptime();
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
            self.upload_answered(ticket, UploadAnswer::Refused(why()), now);
        }
        for ticket in audits {
            self.audited(ticket, Found::Failed(why()), now);
        }
        self.uploading.retain(|_, (_, give_up)| *give_up > up);
        let silent: Vec<_> = self
            .others
            .iter()
            .filter(|(_, others)| others.until <= up)
            .map(|(&directory, _)| directory)
            .collect();
        for directory in silent {
            self.release(directory, now);
        }
    }

    pub(super) fn upload_answered(&mut self, ticket: Ticket, answer: UploadAnswer, now: Moment) {
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
                self.pace.uploaded(now.uptime().saturating_sub(since));
                if !is_proved {
                    slot.seen = Seen::Accepted(bytes);
                }
            }
            // It was there already. Whether by this upload, another audit tells.
            _ if is_proved => slot.seen = Seen::Accepted(bytes),
            UploadAnswer::Interrupted => slot.seen = Seen::Other,
            UploadAnswer::Refused(why) => {
                slot.seen = Seen::Other;
                self.trouble(id, why, now);
            }
        }
    }

    pub(super) fn audited(&mut self, ticket: Ticket, found: Found, now: Moment) {
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
            self.glanced(id, &found, now);
            return;
        }
        if found != Found::Interrupted
            && let Some(survey) = &mut self.survey
        {
            survey.remove(&id);
        }
        let wanted = slot.wanted.as_ref().map(|wanted| wanted.bytes.clone());
        match found {
            Found::Text(text) => {
                if let Some(wanted) = wanted.filter(|wanted| same_text(wanted, &text)) {
                    if std::mem::take(&mut slot.hasty) {
                        self.loud_pace.arrived(true);
                    }
                    slot.prove(wanted, now.uptime().saturating_add(self.settings.audit_every));
                    self.rounds.proved(now, id);
                } else {
                    self.found_other(id, &text, now);
                }
            }
            Found::Nothing => self.not_there(id, "the directory holds nothing", now),
            // Nobody can read back what only authorized clients can read.
            Found::Unusable(_) if self.settings.authorization.is_some() => self.found_sealed(id, now),
            Found::Unusable(why) => self.not_there(id, &format!("what the directory holds is unusable: {why}"), now),
            Found::Failed(why) => {
                if wanted.is_some() {
                    self.trouble(id, format!("cannot be read back: {why}"), now);
                }
            }
            Found::Interrupted => {}
        }
    }

    /// A directory was looked at while the upload was on its way. Whatever else it holds, the upload may have come after that.
    fn glanced(&mut self, id: SlotId, found: &Found, now: Moment) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let Some(wanted) = slot.wanted.as_ref().map(|wanted| wanted.bytes.clone()) else {
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
            slot.prove(wanted, now.uptime().saturating_add(self.settings.audit_every));
            self.rounds.proved(now, id);
        }
    }

    /// A directory holds another text than the one wanted.
    fn found_other(&mut self, id: SlotId, text: &[u8], now: Moment) {
        let time = UnverifiedDescriptor::parse(text)
            .and_then(|descriptor| self.key.verify(descriptor))
            .ok()
            .filter(|descriptor| descriptor.service_id() == self.service_id)
            .map(|descriptor| descriptor.publication_time());
        if let Some(time) = time {
            self.saw_time(time);
            if time > now.wall() {
                self.report(Report::DatedAhead { slot: id, until: time });
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
                self.rounds.note(now, id, [Cause::Dropped]);
                self.trouble(id, "accepted our descriptor but kept another".into(), now);
            }
            Seen::Proved(_) => {
                let contest = slot.contest(now.uptime(), self.seed);
                self.rounds.note(now, id, [Cause::Overwritten]);
                self.answer_contest(id, contest);
            }
            _ => {}
        }
    }

    /// A directory holds something that is sealed for authorized clients. It is ours if ours was accepted last: directories drop
    /// an accepted text for its age alone (`rendcache.c:672-688`), and no text of ours is older than what we know to be there.
    fn found_sealed(&mut self, id: SlotId, now: Moment) {
        let next_audit = now.uptime().saturating_add(self.settings.audit_every);
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let wanted = slot.wanted.as_ref().map(|wanted| wanted.bytes.clone());
        match &slot.seen {
            Seen::Accepted(bytes) | Seen::Proved(bytes) if wanted.as_ref() == Some(bytes) => {
                slot.prove(bytes.clone(), next_audit);
                self.rounds.proved(now, id);
            }
            _ => slot.seen = Seen::Other,
        }
    }

    /// A directory holds nothing that clients could use.
    fn not_there(&mut self, id: SlotId, why: &str, now: Moment) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        if slot.wanted.is_none() {
            return;
        }
        self.rounds.note(now, id, [Cause::Dropped]);
        // A directory that had it and lost it was restarted: it is filled again at once.
        if let Seen::Accepted(_) = std::mem::replace(&mut slot.seen, Seen::Other) {
            self.trouble(id, format!("accepted our descriptor, but {why}"), now);
        }
    }

    /// Notes a failure of a slot, which waits before the next try, and reports it.
    pub(super) fn trouble(&mut self, id: SlotId, why: String, now: Moment) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let pause = slot.fail(now.uptime());
        let failures = slot.failures;
        self.report(Report::Trouble {
            slot: id,
            why,
            failures,
            pause,
        });
    }

    pub(super) fn instance_uploads(
        &mut self,
        name: &InstanceName,
        own: bool,
        directory: Fingerprint,
        descriptor_id: DescriptorId,
        now: Moment,
    ) {
        let unexpected = own && self.settings.quiet;
        let Some(instance) = self.instances.get_mut(name) else {
            return;
        };
        if unexpected && !instance.reported_loud {
            instance.reported_loud = true;
            self.report(Report::Loud(name.clone()));
        }
        // While nobody offered points, nobody asked where they would go.
        self.place(now);
        let since = now.uptime();
        let until = since.saturating_add(HOLD_FOR_OTHERS);
        // Our answer shall arrive just after theirs. Newer texts outrank theirs whenever they arrive.
        let answer_after = self
            .loud_pace
            .delay()
            .filter(|_| own && self.settings.stamp == Stamp::Hour);
        let cause = if own {
            Cause::Published(name.clone())
        } else {
            Cause::Overwritten
        };
        for (id, slot) in &mut self.slots {
            if id.directory != directory || slot.descriptor_id != descriptor_id {
                continue;
            }
            let others = self.others.entry(directory).or_insert_with(|| Others {
                pending: BTreeSet::new(),
                since,
                until,
                slots: BTreeSet::new(),
                cause: cause.clone(),
            });
            others.pending.insert(name.clone());
            others.until = until;
            others.slots.insert(*id);
            let alone = others.pending.len() == 1;
            slot.held_until = match answer_after.filter(|_| alone && slot.failures == 0) {
                Some(delay) => others.since.saturating_add(delay).min(until),
                None => until,
            };
            slot.others_until = until;
            slot.hasty = false;
            slot.seen = Seen::Other;
            self.rounds.note(now, *id, [cause.clone()]);
        }
    }

    pub(super) fn upload_of_others_ended(&mut self, name: &InstanceName, directory: Fingerprint, now: Moment) {
        let Some(others) = self.others.get_mut(&directory) else {
            return;
        };
        others.pending.remove(name);
        if others.pending.is_empty() {
            if let Cause::Published(_) = others.cause {
                self.loud_pace.uploaded(now.uptime().saturating_sub(others.since));
            }
            self.release(directory, now);
        }
    }

    /// A directory now holds what others wrote: it is our turn.
    fn release(&mut self, directory: Fingerprint, now: Moment) {
        let Some(others) = self.others.remove(&directory) else {
            return;
        };
        for id in others.slots {
            let Some(slot) = self.slots.get_mut(&id) else {
                continue;
            };
            slot.held_until = Duration::ZERO;
            slot.others_until = Duration::ZERO;
            slot.seen = match std::mem::replace(&mut slot.seen, Seen::Other) {
                // Which of the two arrived second, an audit tells.
                Seen::Accepted(bytes) | Seen::Proved(bytes) if slot.hasty => Seen::Accepted(bytes),
                _ => Seen::Other,
            };
            // An audit under way may have read the text of before.
            match &mut slot.work {
                Work::Auditing { ticket, .. } => {
                    self.tickets.remove(ticket);
                    slot.work = Work::Idle;
                }
                Work::Uploading { glance, .. } => {
                    if let Glance::Asked { ticket, .. } = *glance {
                        self.tickets.remove(&ticket);
                        *glance = Glance::None;
                    }
                }
                Work::Idle => {}
            }
            self.rounds.note(now, id, [others.cause.clone()]);
            // An instance publishes on a schedule of its own. Whoever else writes here may be answering us.
            let contest = match others.cause {
                Cause::Overwritten => slot.contest(now.uptime(), self.seed),
                _ => Contest::Answer,
            };
            self.answer_contest(id, contest);
        }
    }

    /// Somebody wrote over a text of ours: it is outranked, or left alone for a while if that went to and fro too often.
    fn answer_contest(&mut self, id: SlotId, contest: Contest) {
        match contest {
            Contest::Answer => self.outrank(),
            Contest::Truce(pause) => self.report(Report::Contested { slot: id, pause }),
            Contest::Wait => {}
        }
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

/// Whether a directory's text is the one that was uploaded. Tor's control protocol may add or drop a final line end.
fn same_text(ours: &[u8], theirs: &[u8]) -> bool {
    ours.trim_ascii_end() == theirs.trim_ascii_end()
}
