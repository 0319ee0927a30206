//! Everything in a scenario but the clients: what happens to directories, instances and the
//! publisher.

use std::sync::Arc;
use std::time::Duration;

use onionweave_publish::{Action, Down, Event, Machine, SlotId, Ticket, UploadAnswer};
use onionweave_ring::v2::DescriptorId;
use onionweave_ring::{Fingerprint, UnixTime};
use rand::RngExt as _;

use super::notes::NONE;
use super::plan::Happening;
use super::servers::{self, Own};
use super::shelves::View;
use super::{HOST, Micros, SECOND, Simulation, micros};
use crate::Fault;
use crate::engine::{Engine, World};
use crate::instance::State;

/// Time between two looks at a Tor that hangs for what it has put off.
const PUT_OFF: Micros = SECOND;
/// The shortest time that an instance's own upload takes.
const OWN_UPLOAD: Micros = SECOND / 10;

/// Event to come of a [`Simulation`].
#[derive(Debug)]
pub enum Due {
    /// An event of the scenario.
    Happens(Happening),
    /// The next consensus is made.
    Consensus,
    /// The publisher's Tor gets a newer consensus.
    PublisherReads,
    /// A time period ends.
    Period,
    /// A process's new introduction points stand.
    Established { server: u32, life: u32 },
    /// A process builds its descriptor, unless it has made another plan.
    Builds { server: u32, life: u32, plan: u32 },
    /// A process replaces an introduction point.
    Expires { server: u32, life: u32, point: u32 },
    /// An instance's own upload arrives.
    Posted {
        server: u32,
        life: u32,
        directory: Fingerprint,
        text: Vec<u8>,
    },
    /// The publisher notices how an instance is.
    Noticed { server: u32 },
    /// The publisher's upload arrives, and it is told.
    Uploaded(Ticket, SlotId, Arc<[u8]>),
    /// The publisher's audit is answered.
    Audited(Ticket, SlotId, DescriptorId),
}

impl Simulation {
    fn befall(&mut self, happening: &Happening) {
        match happening {
            Happening::Starts(name) => self.with(name, Self::start_server),
            Happening::Dies(name) => self.with(name, Self::kill),
            Happening::Hangs(name) => self.with(name, Self::hang),
            Happening::GoesOn(name) => self.with(name, Self::go_on),
            Happening::Rotates(name) => self.with(name, Self::rotate),
            Happening::PublisherStops => self.stop_publisher(),
            Happening::PublisherStarts => self.start_publisher(),
            Happening::DirectoryDies { replica, place } => {
                if let Some(directory) = self.responsible(*replica, *place) {
                    self.shelves.set_fault(&directory, Fault::Silent);
                }
            }
            Happening::DirectoryReturns { replica, place } => {
                if let Some(directory) = self.responsible(*replica, *place) {
                    self.shelves.forget(&directory);
                    self.shelves.set_fault(&directory, Fault::None);
                }
            }
        }
    }

    fn with(&mut self, name: &str, act: fn(&mut Self, u32)) {
        // Names were looked up when the scenario was built.
        if let Some(server) = self.servers.iter().position(|server| server.plan.name == name) {
            act(self, server as u32);
        }
    }

    fn responsible(&self, replica: u8, place: u8) -> Option<Fingerprint> {
        let shelf = self.shelves.shelf(self.shelves.newest()).get(usize::from(replica))?;
        let spot = *shelf.spots().get(usize::from(place))?;
        Some(self.shelves.spots().get(spot as usize)?.directory)
    }

    // Instances.

    fn start_server(&mut self, server: u32) {
        let life = self.lives.len() as u32;
        let (Some(one), Some(reach)) = (
            self.servers.get_mut(server as usize),
            self.reaches.get_mut(server as usize),
        ) else {
            return;
        };
        if reach.state != State::Dead {
            return;
        }
        self.lives.push(server);
        (reach.life, reach.state) = (life, State::Runs);
        one.instance.start();
        one.points.clear();
        one.expiring.clear();
        (one.opening, one.dirty, one.next_upload) = (true, None, None);
        one.plans += 1;
        let stands = self.jittered(self.pace.establish);
        self.after(stands, Due::Established { server, life });
        // A control port is there within a fifth of a second.
        self.after(SECOND / 5, Due::Noticed { server });
    }

    fn established(&mut self, server: u32, life: u32) {
        match self.life_of(server, life) {
            Some(State::Runs) => {}
            Some(State::Hangs) => return self.after(PUT_OFF, Due::Established { server, life }),
            _ => return,
        }
        let now = self.tick();
        let Some(one) = self.servers.get_mut(server as usize) else {
            return;
        };
        for point in one.draw_points(&self.points, &mut self.rng) {
            let number = self.shelves.point(&point);
            let most = servers::most_introductions(&mut self.rng);
            let seen = self.shelves.point_mut(number);
            (seen.server, seen.open, seen.introductions, seen.most) = (server, true, 0, most);
            one.points.push(Own {
                number,
                point,
                published: false,
            });
            if let Some(instance) = self.record.instances.get_mut(server as usize) {
                instance.points += 1;
            }
        }
        one.opening = false;
        one.dirty = Some(now);
        self.plan_to_build(server, life);
    }

    fn plan_to_build(&mut self, server: u32, life: u32) {
        let now = self.tick();
        let Some(one) = self.servers.get_mut(server as usize) else {
            return;
        };
        one.plans += 1;
        let plan = one.plans;
        if let Some(at) = one.builds_at(now, &self.pace, &mut self.rng) {
            self.at(at, Due::Builds { server, life, plan });
        }
    }

    fn builds(&mut self, server: u32, life: u32, plan: u32) {
        // One that hangs plans anew when it goes on.
        if self.life_of(server, life) != Some(State::Runs) {
            return;
        }
        let (now, clock) = (self.tick(), self.clock());
        let service = self.key.service_id();
        let Some(one) = self.servers.get_mut(server as usize) else {
            return;
        };
        if one.plans != plan {
            return;
        }
        one.built(&service, clock, now, &self.pace);
        let mut expire = Vec::new();
        for own in one.points.iter_mut().filter(|own| !own.published) {
            own.published = true;
            expire.push((own.number, servers::lifetime(&mut self.rng)));
        }
        for (point, lasts) in expire {
            self.after(lasts, Due::Expires { server, life, point });
        }
        if self.loud {
            self.post(server, life);
        }
        self.offer(server, true);
        self.plan_to_build(server, life);
    }

    /// A loud instance uploads its texts (`rendservice.c:3796-3910`).
    fn post(&mut self, server: u32, life: u32) {
        let clock = self.clock();
        let Some(one) = self.servers.get_mut(server as usize) else {
            return;
        };
        let consensus = one.view.advance(&self.shelves, clock, &mut self.rng);
        let name = one.instance.name.clone();
        for (period, replica, text) in one.texts(&self.key, clock) {
            let descriptor_id = DescriptorId::of(&self.key.service_id(), period, replica);
            let directories: Vec<_> = descriptor_id.responsible(self.shelves.ring(consensus)).collect();
            for directory in directories {
                self.shelves.spot(directory, period, replica);
                if let Some(instance) = self.record.instances.get_mut(server as usize) {
                    instance.uploads += 1;
                }
                let longest = micros(self.pace.own_upload).max(OWN_UPLOAD);
                let takes = self.rng.random_range(OWN_UPLOAD..=longest);
                let text = text.clone();
                let posted = Due::Posted {
                    server,
                    life,
                    directory,
                    text,
                };
                self.after(takes, posted);
                if self.publisher.is_some() {
                    *self.loud_uploads.entry((server, directory)).or_default() += 1;
                    self.tell(Event::InstanceUploads {
                        instance: name.clone(),
                        own: true,
                        directory,
                        descriptor_id: descriptor_id.into(),
                    });
                }
            }
        }
    }

    fn posted(&mut self, server: u32, life: u32, directory: &Fingerprint, text: &[u8]) {
        let clock = self.clock();
        let answer = self.shelves.upload(directory, text, clock);
        if answer == Some(UploadAnswer::Accepted) && self.life_of(server, life).is_some() {
            // The points that it replaced have no use any more (`rendservice.c:4060-4088`).
            let expiring = self
                .servers
                .get_mut(server as usize)
                .map(|one| std::mem::take(&mut one.expiring));
            for point in expiring.unwrap_or_default() {
                self.shelves.point_mut(point).open = false;
            }
        }
        if let Some(pending) = self.loud_uploads.get_mut(&(server, *directory)) {
            *pending -= 1;
            if *pending == 0 {
                self.loud_uploads.remove(&(server, *directory));
                if let Some(instance) = self.servers.get(server as usize).map(|one| one.instance.name.clone()) {
                    self.tell(Event::InstanceUploadEnded {
                        instance,
                        directory: *directory,
                    });
                }
            }
        }
    }

    /// A process replaces one of its points.
    fn expires(&mut self, server: u32, life: u32, point: u32) {
        match self.life_of(server, life) {
            Some(State::Runs) => {}
            Some(State::Hangs) => return self.after(PUT_OFF, Due::Expires { server, life, point }),
            _ => return,
        }
        let Some(one) = self.servers.get_mut(server as usize) else {
            return;
        };
        let Some(place) = one.points.iter().position(|own| own.number == point) else {
            return;
        };
        one.points.remove(place);
        one.expiring.push(point);
        self.open_more(server, life);
    }

    fn rotate(&mut self, server: u32) {
        let Some(reach) = self.reaches.get(server as usize) else {
            return;
        };
        let life = reach.life;
        let Some(one) = self.servers.get_mut(server as usize) else {
            return;
        };
        let old = one.points.drain(..).map(|own| own.number);
        one.expiring.extend(old);
        if life != NONE {
            self.open_more(server, life);
        }
    }

    fn open_more(&mut self, server: u32, life: u32) {
        let Some(one) = self.servers.get_mut(server as usize) else {
            return;
        };
        if !std::mem::replace(&mut one.opening, true) {
            let stands = self.jittered(self.pace.establish);
            self.after(stands, Due::Established { server, life });
        }
    }

    fn kill(&mut self, server: u32) {
        let (Some(one), Some(reach)) = (
            self.servers.get_mut(server as usize),
            self.reaches.get_mut(server as usize),
        ) else {
            return;
        };
        if reach.state == State::Dead {
            return;
        }
        (reach.life, reach.state) = (NONE, State::Dead);
        one.instance.lose();
        let points = one.points.drain(..).map(|own| own.number).chain(one.expiring.drain(..));
        for point in points {
            self.shelves.point_mut(point).open = false;
        }
        self.break_off(server, false);
        let notices = micros(self.pace.notice_death);
        self.after(notices, Due::Noticed { server });
    }

    fn hang(&mut self, server: u32) {
        let Some(reach) = self.reaches.get_mut(server as usize) else {
            return;
        };
        if reach.state == State::Runs {
            reach.state = State::Hangs;
            self.break_off(server, true);
            let notices = micros(self.pace.notice_hang);
            let notices = self.rng.random_range(notices / 2..=notices);
            self.after(notices, Due::Noticed { server });
        }
    }

    fn go_on(&mut self, server: u32) {
        let Some(reach) = self.reaches.get_mut(server as usize) else {
            return;
        };
        if reach.state == State::Hangs {
            reach.state = State::Runs;
            let life = reach.life;
            self.plan_to_build(server, life);
            // The publisher connects again within a second.
            self.after(SECOND, Due::Noticed { server });
        }
    }

    /// Returns the state of a process, if it is still the one.
    fn life_of(&self, server: u32, life: u32) -> Option<State> {
        let reach = self.reaches.get(server as usize)?;
        (reach.life == life).then_some(reach.state)
    }

    // The publisher.

    pub(super) fn start_publisher(&mut self) {
        let Some(policy) = &self.policy else { return };
        if self.publisher.is_some() {
            return;
        }
        let view = View::drawn(&self.shelves, self.clock(), &mut self.rng);
        let seed = self.rng.random();
        let machine = Machine::new(self.key.clone(), policy(), self.settings.clone(), seed);
        self.engine.add(machine);
        self.publisher = Some(view);
        self.publisher_reads();
        for server in 0..self.servers.len() as u32 {
            self.noticed(server);
        }
    }

    fn stop_publisher(&mut self) {
        self.publisher = None;
        self.engine.truncate(HOST);
    }

    fn publisher_reads(&mut self) {
        let clock = self.clock();
        let Some(view) = &mut self.publisher else { return };
        let consensus = view.advance(&self.shelves, clock, &mut self.rng);
        let next = view.next(&self.shelves);
        let ring = self.shelves.ring(consensus).clone();
        self.tell(Event::Directories(Arc::new(ring.into())));
        if self.churn > 0.0 {
            self.at_time(UnixTime::from_secs(next), Due::PublisherReads);
        }
    }

    /// The publisher finds out how an instance is.
    fn noticed(&mut self, server: u32) {
        let (Some(one), Some(reach)) = (self.servers.get(server as usize), self.reaches.get(server as usize)) else {
            return;
        };
        let instance = one.instance.name.clone();
        match reach.state {
            State::Runs => {
                self.tell(Event::InstanceUp { instance });
                self.offer(server, false);
            }
            State::Hangs => self.tell(Event::InstanceDown {
                instance,
                why: Down::Silent(self.pace.notice_hang),
            }),
            State::Dead => self.tell(Event::InstanceDown {
                instance,
                why: Down::Lost("the connection ended".into()),
            }),
        }
    }

    fn offer(&mut self, server: u32, rebuilt: bool) {
        if self.publisher.is_none() {
            return;
        }
        let clock = self.clock();
        let Some(one) = self.servers.get(server as usize) else {
            return;
        };
        if let Some(text) = one.offer(&self.key, clock) {
            self.tell(Event::InstanceOffers {
                instance: one.instance.name.clone(),
                text,
                rebuilt,
            });
        }
    }

    /// Tells the publisher something, if there is one.
    fn tell(&mut self, event: Event) {
        if self.publisher.is_some() {
            World::tell(self, HOST, event);
        }
    }

    // Time.

    pub(super) const fn clock(&self) -> UnixTime {
        self.engine.truth()
    }

    /// Returns the time since the start, in the unit in which clients count.
    pub(super) const fn tick(&self) -> Micros {
        micros(self.engine.uptime())
    }

    pub(super) fn at(&mut self, at: Micros, due: Due) {
        self.engine.at(Duration::from_micros(at), due);
    }

    pub(super) fn after(&mut self, delay: Micros, due: Due) {
        self.at(self.tick() + delay, due);
    }

    /// Makes something happen at a time of the clock, or now if that is past.
    pub(super) fn at_time(&mut self, time: UnixTime, due: Due) {
        let seconds = time.as_secs().saturating_sub(self.engine.start().as_secs());
        self.at((seconds * SECOND).max(self.tick() + 1), due);
    }

    /// Up to a tenth more, so that answers come in any order.
    fn jittered(&mut self, delay: Duration) -> Micros {
        let delay = micros(delay);
        delay + self.rng.random_range(0..=delay / 10)
    }
}

impl World for Simulation {
    type Due = Due;

    fn engine(&mut self) -> &mut Engine<Due> {
        &mut self.engine
    }

    fn act(&mut self, _: usize, action: Action) {
        match action {
            Action::Upload { ticket, slot, text, .. } => {
                self.record.uploads += 1;
                if let Some((period, replica)) = slot.v2() {
                    self.shelves.spot(slot.directory, period, replica);
                }
                let takes = self.jittered(self.pace.upload);
                self.after(takes, Due::Uploaded(ticket, slot, text));
            }
            Action::Audit {
                ticket,
                slot,
                descriptor_id: onionweave_ring::DescriptorId::V2(id),
                ..
            } => {
                let takes = self.jittered(self.pace.audit);
                self.after(takes, Due::Audited(ticket, slot, id));
            }
            _ => {}
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Happens(happening) => self.befall(&happening),
            Due::Consensus => {
                self.shelves.churn(self.churn, &mut self.rng);
                let next = self.shelves.valid_after(self.shelves.newest() + 1);
                self.at_time(next, Due::Consensus);
            }
            Due::PublisherReads => self.publisher_reads(),
            Due::Period => {
                let end = self.shelves.turn(self.clock());
                self.at_time(end, Due::Period);
            }
            Due::Established { server, life } => self.established(server, life),
            Due::Builds { server, life, plan } => self.builds(server, life, plan),
            Due::Expires { server, life, point } => self.expires(server, life, point),
            Due::Posted {
                server,
                life,
                directory,
                text,
            } => self.posted(server, life, &directory, &text),
            Due::Noticed { server } => self.noticed(server),
            Due::Uploaded(ticket, slot, text) => {
                let clock = self.clock();
                if let Some(answer) = self.shelves.upload(&slot.directory, &text, clock) {
                    self.tell(Event::UploadAnswered { ticket, answer });
                }
            }
            Due::Audited(ticket, slot, id) => {
                if let Some(found) = self.shelves.read(&slot.directory, &id) {
                    self.tell(Event::Audited { ticket, found });
                }
            }
        }
    }
}
