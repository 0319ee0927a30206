//! Uploads of others, and the answer to them.

use std::collections::BTreeSet;
use std::time::Duration;

use onionweave_ring::{DescriptorId, Fingerprint};

use super::slot::{Contest, Glance, Seen, Work};
use super::{Reconciler, Sight};
use crate::machine::Context;
use crate::{Cause, InstanceName, Report, SlotId};

/// Longest time for which an upload of others is waited for. Tor says nothing when a directory does
/// not answer.
const HOLD_FOR_OTHERS: Duration = Duration::from_secs(2);

/// Uploads of others on their way to one directory. Tor does not say which descriptor ID an
/// `UPLOADED` answers, so all slots there wait until the last one is answered.
#[derive(Debug)]
pub(super) struct Others {
    /// The instances whose uploads are still to be answered.
    pending: BTreeSet<InstanceName>,
    since: Duration,
    pub(super) until: Duration,
    pub(super) slots: BTreeSet<SlotId>,
    cause: Cause,
}

impl Reconciler {
    /// An instance's Tor began to upload a text to a directory.
    pub(crate) fn others_upload(
        &mut self,
        name: &InstanceName,
        own: bool,
        directory: Fingerprint,
        descriptor_id: DescriptorId,
        cx: &mut Context<'_>,
    ) {
        let since = cx.now.uptime();
        let until = since.saturating_add(HOLD_FOR_OTHERS);
        // Our answer is to arrive just after theirs. Newer texts outrank theirs whenever they
        // arrive.
        let answer_after = self.loud_pace.delay().filter(|_| own && !self.rules.outranks);
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
            slot.held_until = match answer_after.filter(|_| alone && slot.failures() == 0) {
                Some(delay) => others.since.saturating_add(delay).min(until),
                None => until,
            };
            slot.others_until = until;
            slot.hasty = false;
            slot.see(Seen::Other, since);
            self.rounds.note(cx.now, *id, [cause.clone()]);
        }
    }

    pub(crate) fn upload_of_others_ended(&mut self, name: &InstanceName, directory: Fingerprint, cx: &mut Context<'_>) {
        let Some(others) = self.others.get_mut(&directory) else {
            return;
        };
        others.pending.remove(name);
        if others.pending.is_empty() {
            if let Cause::Published(_) = others.cause {
                self.loud_pace.uploaded(cx.now.uptime().saturating_sub(others.since));
            }
            self.release(directory, cx);
        }
    }

    /// A directory now holds what others wrote: it is our turn.
    pub(super) fn release(&mut self, directory: Fingerprint, cx: &mut Context<'_>) {
        let Some(others) = self.others.remove(&directory) else {
            return;
        };
        for id in others.slots {
            let Some(slot) = self.slots.get_mut(&id) else {
                continue;
            };
            slot.held_until = Duration::ZERO;
            slot.others_until = Duration::ZERO;
            let seen = match slot.seen() {
                // Which of the two arrived second, an audit tells.
                Seen::Accepted(bytes) | Seen::Proved(bytes) if slot.hasty => Seen::Accepted(bytes.clone()),
                _ => Seen::Other,
            };
            slot.see(seen, cx.now.uptime());
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
            self.rounds.note(cx.now, id, [others.cause.clone()]);
            // An instance publishes on a schedule of its own. Others who write here may be
            // answering us.
            let contest = match others.cause {
                Cause::Overwritten => slot.contest(cx.now.uptime(), self.seed),
                _ => Contest::Answer,
            };
            self.answer_contest(id, contest, cx);
        }
    }

    /// Somebody wrote over a text of ours: it is outranked, or left alone for a while if that went
    /// to and fro too often.
    pub(super) fn answer_contest(&mut self, id: SlotId, contest: Contest, cx: &mut Context<'_>) {
        match contest {
            Contest::Answer => self.sights.push(Sight::Overwritten),
            Contest::Truce(pause) => cx.outbox.report(Report::Contested { slot: id, pause }),
            Contest::Wait => {}
        }
    }
}
