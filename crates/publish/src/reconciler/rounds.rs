//! Rounds of work: from the first difference between the wanted and the seen ring to the proof that
//! there is none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::slot::Slot;
use crate::{Cause, Moment, Round, SlotId};

#[derive(Debug, Default)]
pub(super) struct Rounds {
    open: Option<Open>,
    /// Slots that the last round ended without.
    missing: BTreeSet<SlotId>,
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
        Some(Round {
            causes: open.causes,
            proved,
            missing,
            plan: BTreeMap::new(),
            sealed: false,
            took: now.uptime().saturating_sub(open.began),
        })
    }
}
