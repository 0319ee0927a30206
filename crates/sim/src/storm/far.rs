//! An instance that is far away: its control port is out of reach, and its descriptor is read from
//! a file or from the directories.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use onionweave_assign::PolicyName;
use onionweave_desc::v2::ServiceKey;
use onionweave_publish::{Event, Source};
use onionweave_ring::v2::{DescriptorId, Replica, TimePeriod};
use onionweave_ring::{HashRing, UnixTime};
use rand::RngExt as _;
use rand::seq::IndexedRandom as _;

use super::directories;
use super::messages::{Fate, Message};
use super::state::State;
use super::world::{Due, World};
use crate::fixtures::PointName;
use crate::instance::State as Process;
use crate::witness::SWIFT;

/// Number of its old texts that are kept, to be shown again.
const OLD_TEXTS: usize = 60;

/// Knowledge of the far instance.
#[derive(Debug)]
pub(super) struct Far {
    /// Its own.
    pub(super) key: ServiceKey,
    /// The number of the last descriptor in which each point was.
    pub(super) builds: BTreeMap<PointName, u32>,
    texts: Vec<(DescriptorId, UnixTime, Vec<u8>)>,
    /// The text that was uploaded last, and its directories.
    newest: Option<Newest>,
    /// Since when nothing has befallen anybody.
    pub(super) calm_since: Duration,
}

#[derive(Debug)]
struct Newest {
    build: u32,
    period: TimePeriod,
    ring: HashRing,
}

impl Far {
    pub(super) fn new(key: ServiceKey) -> Self {
        Self {
            key,
            builds: BTreeMap::new(),
            texts: Vec::new(),
            newest: None,
            calm_since: Duration::ZERO,
        }
    }
}

impl World {
    /// The far instance built a descriptor: it uploads it to its own directories.
    pub(super) fn far_built(&mut self, index: usize) {
        let truth = self.state.truth();
        let ring = directories::ring(&self.state.places);
        let address = self.state.far.key.service_id();
        let (number, dated) = (self.state.instances[index].builds, truth.start_of_hour());
        let points = self.state.instances[index].points();
        self.state.far.newest = Some(Newest {
            build: number,
            period: TimePeriod::at(&address, truth),
            ring: ring.clone(),
        });
        self.state.far.calm_since = self.state.now();
        for point in &points {
            self.state.far.builds.insert(*point, number);
        }
        for period in TimePeriod::published(&address, truth).collect::<Vec<_>>() {
            for replica in Replica::ALL {
                let Some(bytes) = self.state.instances[index].text(&self.state.far.key, None, period, replica, truth)
                else {
                    return;
                };
                let id = DescriptorId::of(&address, period, replica);
                let texts = &mut self.state.far.texts;
                texts.push((id, dated, bytes.clone()));
                texts.drain(..texts.len().saturating_sub(OLD_TEXTS));
                let text: Arc<[u8]> = bytes.into();
                for directory in id.responsible(&ring) {
                    let way = match self.fate() {
                        Fate::Lost | Fate::Refused => continue,
                        Fate::Late => self.millis(500..60_000),
                        _ => self.millis(30..250),
                    };
                    let upload = Message::Upload {
                        directory,
                        text: text.clone(),
                        astray: false,
                        reply: None,
                    };
                    self.after_exactly(way, Due::Message(upload));
                }
            }
        }
    }

    /// A publisher looks at the file into which the far instance's descriptor is written, if there
    /// is one.
    pub(super) fn far_link(&mut self, publisher: usize, index: usize) {
        if self.state.climate.far != Some(Source::File) {
            return;
        }
        let it = &self.state.instances[index];
        let instance = it.name.clone();
        let (truth, period) = (
            self.state.truth(),
            TimePeriod::at(&self.state.far.key.service_id(), self.state.truth()),
        );
        let text = it.text(&self.state.far.key, None, period, Replica::ALL[1], truth);
        // Nobody rewrites the file of a process that is gone.
        let Some(text) = text.filter(|_| it.state != Process::Dead) else {
            return;
        };
        let builds = it.builds;
        let told = self.state.publishers[publisher].far_told;
        if told == Some(builds) {
            return;
        }
        if told.is_none() {
            self.tell(
                publisher,
                Event::InstanceUp {
                    instance: instance.clone(),
                },
            );
        }
        self.state.publishers[publisher].far_told = Some(builds);
        let event = Event::InstanceOffers {
            instance,
            text,
            rebuilt: false,
        };
        self.tell(publisher, event);
    }

    /// Somebody puts an old text of the far instance into its file.
    pub(super) fn replay(&mut self, publisher: usize) {
        let Some(index) = self.state.climate.far() else {
            return;
        };
        let newest = self.state.far.texts.last().map(|(_, dated, _)| *dated);
        let older = self
            .state
            .far
            .texts
            .iter()
            .filter(|(_, dated, _)| Some(*dated) < newest);
        let older: Vec<_> = older.map(|(_, _, text)| text.clone()).collect();
        if let Some(text) = older.choose(&mut self.rng).cloned()
            && self.state.publishers[publisher].far_told.is_some()
        {
            self.log
                .note(self.state.now(), "an old text is put into the far instance's file");
            let instance = self.state.instances[index].name.clone();
            let event = Event::InstanceOffers {
                instance,
                text,
                rebuilt: false,
            };
            self.tell(publisher, event);
        }
    }

    /// A directory begins to show old texts of the far instance, or stops that.
    pub(super) fn lie(&mut self) {
        let address = self.state.far.key.service_id();
        let ring = directories::ring(&self.state.places);
        let period = TimePeriod::at(&address, self.state.truth());
        let ids = Replica::ALL.map(|replica| DescriptorId::of(&address, period, replica));
        let own: Vec<_> = ids.iter().flat_map(|id| id.responsible(&ring)).collect();
        if let Some(directory) = own.choose(&mut self.rng)
            && let Some(place) = self.state.places.get_mut(directory)
        {
            place.lies = !place.lies;
            let lies = place.lies;
            self.log.note(
                self.state.now(),
                format_args!("{directory} lies about the far instance: {lies}"),
            );
        }
    }

    /// Any old text under a descriptor ID.
    pub(super) fn old_text(&mut self, id: &DescriptorId) -> Vec<u8> {
        let texts: Vec<_> = self.state.far.texts.iter().filter(|(other, ..)| other == id).collect();
        let at = self.rng.random_range(0..texts.len().max(1));
        texts.get(at).map(|(_, _, text)| text.clone()).unwrap_or_default()
    }
}

impl State {
    /// From when a publisher's texts must name the far instance's newest points, if there is such a
    /// time.
    pub(super) fn far_is_named_from(&self, publisher: usize) -> Option<(u32, Duration)> {
        let every = match self.climate.far? {
            Source::Directories { every } => every,
            _ => Duration::ZERO,
        };
        let it = &self.instances[self.climate.far()?];
        let newest = self.far.newest.as_ref()?;
        let ring = &self.publishers[publisher].ring;
        let same_place = newest.ring == *ring
            && directories::ring(&self.places) == *ring
            && newest.period == TimePeriod::at(&self.far.key.service_id(), self.truth());
        let well = self
            .places
            .values()
            .all(|place| !place.listed || (!place.is_silent() && !place.lies));
        // Where slots are few, instances take turns, and where texts name several, one point may
        // leave no room for another.
        let room = self.climate.policy == PolicyName::Mixed && ring.len() >= 3 && self.instances.len() <= 6;
        let calm = self.far.calm_since + every * 2 + self.climate.settings.answer_within + SWIFT;
        (it.state == Process::Runs && it.builds == newest.build && same_place && well && room)
            .then_some((newest.build, calm))
    }
}
