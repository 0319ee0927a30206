//! Rounds of work: from the first difference between the wanted and the seen ring to the proof that
//! there is none.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::slot::Slot;
use crate::status::PastRound;
use crate::{Cause, Moment, Round, SlotId};

/// Number of past rounds that are remembered.
const REMEMBERED: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Rounds {
    open: Option<Open>,
    /// Slots that the last round ended without.
    missing: BTreeSet<SlotId>,
    /// Number of uploads since the last round ended.
    uploads: u32,
    /// The last rounds, the newest last, each with the uptime of its end in place of its age.
    past: VecDeque<PastRound>,
}

/// A round under way.
#[derive(Debug)]
struct Open {
    began: Duration,
    causes: BTreeSet<Cause>,
    slots: BTreeSet<SlotId>,
}

impl Rounds {
    /// Adds a slot to the round under way, or begins one.
    pub(super) fn note(&mut self, now: Moment, slot: SlotId, causes: impl IntoIterator<Item = Cause>) {
        let open = self.open.get_or_insert_with(|| Open {
            began: now.uptime(),
            causes: BTreeSet::new(),
            slots: BTreeSet::new(),
        });
        open.slots.insert(slot);
        open.causes.extend(causes);
    }

    /// A slot was proved. If a round had ended without it, that makes a round of its own.
    pub(super) fn proved(&mut self, now: Moment, slot: SlotId) {
        if self.missing.remove(&slot) {
            self.note(now, slot, [Cause::Failed]);
        }
    }

    /// An upload began.
    pub(super) fn uploaded(&mut self) {
        self.uploads = self.uploads.saturating_add(1);
    }

    /// A slot is no longer ours.
    pub(super) fn forget(&mut self, slot: &SlotId) {
        self.missing.remove(slot);
    }

    /// Ends the round under way if each of its slots is proved, ailing or gone. The caller adds the
    /// plan.
    pub(super) fn close(&mut self, slots: &BTreeMap<SlotId, Slot>, now: Moment) -> Option<Round> {
        let done = |id: &SlotId| slots.get(id).is_none_or(|slot| slot.is_proved() || slot.is_ailing());
        let open = self.open.take_if(|open| open.slots.iter().all(done))?;
        let (proved, missing): (BTreeSet<_>, BTreeSet<_>) = open
            .slots
            .into_iter()
            .filter(|id| slots.contains_key(id))
            .partition(|id| slots.get(id).is_some_and(Slot::is_proved));
        self.missing.extend(&missing);
        let uploads = std::mem::take(&mut self.uploads);
        let took = now.uptime().saturating_sub(open.began);
        if self.past.len() == REMEMBERED {
            self.past.pop_front();
        }
        self.past.push_back(PastRound {
            ago: now.uptime(),
            causes: open.causes.clone(),
            uploads,
            proved: proved.len(),
            missing: missing.len(),
            took,
        });
        Some(Round {
            causes: open.causes,
            proved,
            missing,
            uploads,
            plan: BTreeMap::new(),
            sealed: false,
            took,
        })
    }

    /// The last rounds, the newest last.
    pub(super) fn past(&self, now: Duration) -> Vec<PastRound> {
        let aged = |round: &PastRound| PastRound {
            ago: now.saturating_sub(round.ago),
            ..round.clone()
        };
        self.past.iter().map(aged).collect()
    }
}
