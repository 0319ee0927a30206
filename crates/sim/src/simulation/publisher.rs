//! The publisher's machine in the scenario, and its driver.

use std::time::Duration;

use onionweave_desc::v2::ServiceKey;
use onionweave_publish::{Action, Event, Machine, Moment, Policy, Settings, SlotId, Ticket};
use onionweave_ring::UnixTime;
use onionweave_ring::v2::DescriptorId;

use super::shelves::View;
use super::{Micros, SECOND, micros};

/// What the machine asks of the network.
#[derive(Debug)]
pub(super) enum Asked {
    Upload(Ticket, SlotId, Box<[u8]>),
    Audit(Ticket, SlotId, DescriptorId),
}

/// A publisher that runs.
#[derive(Debug)]
pub(super) struct Publisher {
    machine: Machine,
    /// When the machine wants to be called.
    pub(super) deadline: Option<Micros>,
    /// Which consensus its Tor has.
    pub(super) view: View,
}

impl Publisher {
    pub(super) fn new(key: ServiceKey, policy: Policy, settings: Settings, seed: u64, view: View) -> Self {
        Self {
            machine: Machine::new(key, policy, settings, seed),
            deadline: None,
            view,
        }
    }

    /// Tells the machine something, or just calls it. Returns what it asks for.
    pub(super) fn call(&mut self, event: Option<Event>, start: UnixTime, now: Micros) -> Vec<Asked> {
        let wall = start.saturating_add(Duration::from_secs(now / SECOND));
        let moment = Moment::new(wall, Duration::from_micros(now));
        if let Some(event) = event {
            self.machine.handle(event, moment);
        }
        let mut asked = Vec::new();
        while let Some(action) = self.machine.poll(moment) {
            match action {
                Action::Upload { ticket, slot, text, .. } => asked.push(Asked::Upload(ticket, slot, (&*text).into())),
                Action::Audit {
                    ticket,
                    slot,
                    descriptor_id: onionweave_ring::DescriptorId::V2(id),
                    ..
                } => asked.push(Asked::Audit(ticket, slot, id)),
                _ => {}
            }
        }
        // The machine counts wall-clock deadlines from whole seconds, so one may lie a little back.
        let deadline = self.machine.next_deadline(moment);
        self.deadline = deadline.map(|at| micros(at).max(now + 1));
        asked
    }

    pub(super) const fn machine(&self) -> &Machine {
        &self.machine
    }
}
