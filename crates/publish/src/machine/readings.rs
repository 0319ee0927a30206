//! Reading an instance's descriptor from the directories, where its control port is out of reach.
//!
//! Every responsible directory is asked, and the newest date wins. Descriptors are dated with the full hour, so a directory may show one
//! that was replaced within the hour again, and its date would not betray it. Therefore, among those of the newest date, the one wins
//! that most directories hold: an instance uploads to all of them, so one that lies is outvoted.

use std::collections::BTreeMap;
use std::time::Duration;

use onionweave_desc::v2::IntroductionPoint;
use onionweave_ring::OnionAddress;
use onionweave_ring::v2::{DescriptorId, Replica, TimePeriod};

use super::Machine;
use super::offers::Offer;
use super::slot::pause_after;
use crate::{Action, Found, InstanceName, Moment, Source, Ticket};

/// A reading under way.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// How many directories were asked.
    asked: usize,
    answers: Vec<Found>,
    /// Whoever has not answered by then is not waited for.
    pub(super) give_up: Duration,
}

impl Machine {
    /// Begins the readings that are due, and ends those that took too long.
    pub(super) fn read_instances(&mut self, now: Moment) {
        let due: Vec<_> = self
            .instances
            .iter()
            .filter(|(_, instance)| instance.reading_due().is_some_and(|due| due <= now.uptime()))
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            self.conclude(&name, now);
            self.begin_reading(&name, now);
        }
    }

    fn begin_reading(&mut self, name: &InstanceName, now: Moment) {
        let Some(instance) = self.instances.get_mut(name) else {
            return;
        };
        let (Source::Directories { every }, Some(address)) =
            (instance.source, instance.address.and_then(OnionAddress::v2))
        else {
            return;
        };
        let Some(directories) = &self.directories else {
            return;
        };
        if now.uptime() < instance.next_reading {
            return;
        }
        instance.next_reading = now.uptime().saturating_add(every);
        let period = TimePeriod::at(&address, now.wall());
        let mut asked = 0;
        for replica in Replica::ALL {
            let descriptor_id = DescriptorId::of(&address, period, replica);
            for directory in descriptor_id.responsible(directories.hash_ring()) {
                let ticket = Ticket(self.next_ticket);
                self.next_ticket = self.next_ticket.wrapping_add(1);
                self.readings.insert(ticket, name.clone());
                self.actions.push_back(Action::Read {
                    ticket,
                    directory,
                    descriptor_id: descriptor_id.into(),
                    attempt: instance.failed_readings,
                });
                asked += 1;
            }
        }
        instance.reading = (asked > 0).then(|| Reading {
            asked,
            answers: Vec::new(),
            give_up: now.uptime().saturating_add(self.settings.answer_within),
        });
    }

    pub(super) fn reading_answered(&mut self, ticket: Ticket, found: Found, now: Moment) {
        let Some(name) = self.readings.remove(&ticket) else {
            return;
        };
        let Some(reading) = self
            .instances
            .get_mut(&name)
            .and_then(|instance| instance.reading.as_mut())
        else {
            return;
        };
        reading.answers.push(found);
        if reading.answers.len() == reading.asked {
            self.conclude(&name, now);
        }
    }

    /// Ends the reading of an instance and draws its conclusion.
    fn conclude(&mut self, name: &InstanceName, now: Moment) {
        let Some(instance) = self.instances.get_mut(name) else {
            return;
        };
        let Some(reading) = instance.reading.take() else {
            return;
        };
        self.readings.retain(|_, other| other != name);
        let answered = |found: &Found| matches!(found, Found::Text(_) | Found::Nothing | Found::Unusable(_));
        if reading.answers.iter().any(answered) {
            instance.failed_readings = 0;
        } else {
            // It is our side that is at fault; at the start, no Tor may be there to ask.
            instance.failed_readings = instance.failed_readings.saturating_add(1);
            let sooner = now.uptime().saturating_add(pause_after(instance.failed_readings));
            instance.next_reading = instance.next_reading.min(sooner);
        }
        let empty = reading
            .answers
            .iter()
            .filter(|found| matches!(found, Found::Nothing))
            .count();
        let texts = reading.answers.into_iter().filter_map(|found| match found {
            Found::Text(text) => Some(text),
            _ => None,
        });
        let mut offers = Vec::new();
        let mut complaint = None;
        for text in texts {
            match self.read(name, &text, now.wall()) {
                Ok(offer) => offers.push((text, offer)),
                Err(why) => complaint = complaint.or(Some(why)),
            }
        }
        match (self.elect(name, offers), complaint) {
            (Some((text, offer)), _) => {
                self.instance_up(name);
                self.believe(name, text, offer, false, now.wall());
            }
            (None, Some(why)) => self.disbelieve(name, why),
            // One directory that forgot, while others don't answer, says little.
            (None, None) if empty * 2 > reading.asked => self.set_points(name, Vec::new()),
            (None, None) => {}
        }
    }

    /// Of the newest date, what most directories hold; where as many hold something else, what was believed before.
    fn elect(&self, name: &InstanceName, offers: Vec<(Vec<u8>, Offer)>) -> Option<(Vec<u8>, Offer)> {
        let believed = &self.instances.get(name)?.points;
        let newest = offers.iter().map(|(_, offer)| offer.dated).max()?;
        let offers: Vec<_> = offers.into_iter().filter(|(_, offer)| offer.dated == newest).collect();
        let mut votes: BTreeMap<&[IntroductionPoint], usize> = BTreeMap::new();
        for (_, offer) in &offers {
            *votes.entry(&offer.points).or_default() += 1;
        }
        let (elected, _) = votes
            .into_iter()
            .max_by_key(|(points, votes)| (*votes, *points == believed.as_slice()))?;
        let elected = elected.to_vec();
        offers.into_iter().find(|(_, offer)| offer.points == elected)
    }
}
