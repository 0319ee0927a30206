//! Reading an instance's descriptor from the directories, where its control port is out of reach.
//!
//! Every responsible directory is asked, and the newest date wins. Descriptors are dated with the
//! full hour, so a directory may show one that was replaced within the hour again, and its date
//! would not betray it. Therefore, among those of the newest date, the one wins that most
//! directories hold: an instance uploads to all of them, so one that lies is outvoted.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Planner;
use crate::machine::Context;
use crate::pause::pause_after;
use crate::version::{Offer, Point};
use crate::{Action, Found, InstanceName, Source, Ticket};

/// A reading under way.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// Number of directories that were asked.
    asked: usize,
    answers: Vec<Found>,
    /// Uptime at which the rest of the answers is given up.
    pub(super) give_up: Duration,
}

/// The instance that each reading on its way is about.
pub(super) type Readings = BTreeMap<Ticket, InstanceName>;

impl Planner {
    /// Begins the readings that are due, and ends those that took too long.
    pub(super) fn read_instances(&mut self, cx: &mut Context<'_>) {
        let due: Vec<_> = self
            .instances
            .iter()
            .filter(|(_, instance)| instance.reading_due().is_some_and(|due| due <= cx.now.uptime()))
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            self.conclude(&name, cx);
            self.begin_reading(&name, cx);
        }
    }

    fn begin_reading(&mut self, name: &InstanceName, cx: &mut Context<'_>) {
        let Some(instance) = self.instances.get_mut(name) else {
            return;
        };
        let (Source::Directories { every }, Some(address)) = (instance.source, instance.address) else {
            return;
        };
        let Some(directories) = &self.directories else {
            return;
        };
        let up = cx.now.uptime();
        if up < instance.next_reading {
            return;
        }
        instance.next_reading = up.saturating_add(every);
        let questions = cx.version.readings(address, directories, cx.now.wall());
        let asked = questions.len();
        for question in questions {
            let ticket = cx.outbox.ticket();
            self.readings.insert(ticket, name.clone());
            cx.outbox.push(Action::Read {
                ticket,
                directory: question.directory,
                descriptor_id: question.descriptor_id,
                attempt: instance.readings.failures(),
            });
        }
        instance.reading = (asked > 0).then(|| Reading {
            asked,
            answers: Vec::new(),
            give_up: up.saturating_add(self.settings.answer_within),
        });
    }

    pub(super) fn reading_answered(&mut self, ticket: Ticket, found: Found, cx: &mut Context<'_>) {
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
            self.conclude(&name, cx);
        }
    }

    /// Ends the reading of an instance and draws its conclusion.
    fn conclude(&mut self, name: &InstanceName, cx: &mut Context<'_>) {
        let Some(instance) = self.instances.get_mut(name) else {
            return;
        };
        let Some(reading) = instance.reading.take() else {
            return;
        };
        self.readings.retain(|_, other| other != name);
        let answered = |found: &Found| matches!(found, Found::Text(_) | Found::Nothing | Found::Unusable(_));
        if reading.answers.iter().any(answered) {
            instance.readings.succeed(cx.now.uptime());
        } else {
            // It is our side that is at fault; at the start, no Tor may be there to ask.
            let level = instance.readings.fail(cx.now.uptime());
            let sooner = cx.now.uptime().saturating_add(pause_after(level));
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
            match self.read(name, &text, cx) {
                Some(Ok(offer)) => offers.push((text, offer)),
                Some(Err(why)) => complaint = complaint.or(Some(why)),
                None => {}
            }
        }
        match (self.elect(name, offers), complaint) {
            (Some((text, offer)), _) => {
                self.instance_up(name, cx);
                self.believe(name, text, offer, false, cx);
            }
            (None, Some(why)) => self.disbelieve(name, why, cx),
            // One directory that forgot, while others don't answer, says little.
            (None, None) if empty * 2 > reading.asked => self.set_points(name, Vec::new(), cx),
            (None, None) => {}
        }
    }

    /// Of the newest date, what most directories hold; where as many hold something else, what was
    /// believed before.
    fn elect(&self, name: &InstanceName, offers: Vec<(Vec<u8>, Offer)>) -> Option<(Vec<u8>, Offer)> {
        let believed = &self.instances.get(name)?.points;
        let newest = offers.iter().map(|(_, offer)| offer.dated).max()?;
        let offers: Vec<_> = offers.into_iter().filter(|(_, offer)| offer.dated == newest).collect();
        let mut votes: BTreeMap<&[Point], usize> = BTreeMap::new();
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
