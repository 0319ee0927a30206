//! Uploads and audits on their way, and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use onionweave_publish::{Event, Found, SlotId, Ticket, UploadAnswer};
use onionweave_ring::Fingerprint;
use onionweave_ring::v2::{DescriptorId, Replica, TimePeriod};
use rand::RngExt as _;

use super::directories;
use super::world::{Due, World};

/// When a Tor gives up an upload that was not answered.
const GIVEN_UP: Duration = Duration::from_secs(90);

/// Something that arrives somewhere.
#[derive(Debug)]
pub(super) enum Message {
    /// An upload, at a directory. It says whom the answer is for, if that arrives.
    Upload {
        directory: Fingerprint,
        text: Arc<[u8]>,
        /// The publisher does not know of it, or not any more.
        astray: bool,
        reply: Option<Reply>,
    },
    /// A question, at a directory.
    Audit {
        directory: Fingerprint,
        id: DescriptorId,
        reply: Reply,
        /// Whether it is about a far instance.
        far: bool,
    },
    /// An answer, at a publisher.
    Answer { reply: Reply, event: Event },
    /// Something that a publisher sees at an instance.
    News { publisher: usize, life: u32, event: Event },
    /// The end of an upload that publishers were told of, at those that watch the instance which
    /// carries it.
    Ended { carrier: usize, directory: Fingerprint },
}

/// For whom an answer is, and how long it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply {
    publisher: usize,
    life: u32,
    ticket: Ticket,
    takes: Duration,
    twice: bool,
}

/// Fate of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Arrives,
    Lost,
    AnswerLost,
    /// The message, or its answer, takes very long, and others overtake it.
    Late,
    /// The message is delivered a second time, at some later time.
    Twice,
    AnsweredTwice,
    /// The Tor that carries it goes away, before or after it arrived.
    Interrupted {
        arrives: bool,
    },
    /// The message cannot be carried.
    Refused,
}

const FAULTS: [Fate; 8] = [
    Fate::Lost,
    Fate::AnswerLost,
    Fate::Late,
    Fate::Twice,
    Fate::AnsweredTwice,
    Fate::Interrupted { arrives: false },
    Fate::Interrupted { arrives: true },
    Fate::Refused,
];

fn found_event(far: bool, ticket: Ticket, found: Found) -> Event {
    match far {
        true => Event::Read { ticket, found },
        false => Event::Audited { ticket, found },
    }
}

impl World {
    pub(super) fn fate(&mut self) -> Fate {
        if !self.rng.random_bool(self.state.season.faulty) {
            return Fate::Arrives;
        }
        self.tally.faults += 1;
        self.state.far.calm_since = self.state.now();
        FAULTS[self.rng.random_range(0..FAULTS.len())]
    }

    pub(super) fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_micros(self.rng.random_range(range.start * 1000..range.end * 1000))
    }

    fn reply(&mut self, publisher: usize, ticket: Ticket, takes: std::ops::Range<u64>) -> Reply {
        Reply {
            publisher,
            life: self.state.publishers[publisher].life,
            ticket,
            takes: self.millis(takes),
            twice: false,
        }
    }

    /// Sends what a machine uploads on its way.
    pub(super) fn upload(&mut self, publisher: usize, ticket: Ticket, slot: SlotId, text: Arc<[u8]>) {
        self.tally.uploads += 1;
        let directory = slot.directory;
        let fate = self.fate();
        self.log.note(
            self.state.now(),
            format_args!("publisher {publisher} uploads to {slot}: {fate:?}"),
        );
        let mut reply = self.reply(publisher, ticket, 30..150);
        let mut way = self.millis(30..250);
        let mut answers = true;
        let mut arrives = true;
        match fate {
            Fate::Arrives => {}
            Fate::AnsweredTwice => reply.twice = true,
            Fate::Lost => arrives = false,
            Fate::AnswerLost => answers = false,
            Fate::Late => way = self.millis(500..60_000),
            Fate::Twice => {
                let again = Message::Upload {
                    directory,
                    text: text.clone(),
                    astray: true,
                    reply: None,
                };
                self.after(100..30_000, Due::Message(again));
            }
            Fate::Interrupted { arrives: arrived } => {
                arrives = arrived;
                answers = false;
                self.answer_later(
                    reply,
                    Event::UploadAnswered {
                        ticket,
                        answer: UploadAnswer::Interrupted,
                    },
                );
            }
            Fate::Refused => {
                arrives = false;
                let answer = UploadAnswer::Refused("no circuit".into());
                self.answer_later(reply, Event::UploadAnswered { ticket, answer });
            }
        }
        if !matches!(fate, Fate::Arrives | Fate::AnsweredTwice | Fate::Twice) {
            self.state.fail(&directory);
        }
        // The publisher gives it up, and something newer may be there when it arrives.
        let astray = matches!(fate, Fate::Late | Fate::Interrupted { .. });
        let carrier = self.announce(publisher, &slot);
        if arrives {
            let upload = Message::Upload {
                directory,
                text,
                astray,
                reply: answers.then_some(reply),
            };
            self.after_exactly(way, Due::Message(upload));
        }
        if let Some(carrier) = carrier {
            let ended = Message::Ended { carrier, directory };
            let takes = if arrives && answers {
                way + reply.takes
            } else {
                GIVEN_UP
            };
            self.after_exactly(takes, Due::Message(ended));
        }
    }

    /// Sends a question on its way.
    pub(super) fn audit(&mut self, publisher: usize, ticket: Ticket, slot: SlotId, id: DescriptorId) {
        self.tally.audits += 1;
        self.ask(publisher, ticket, slot.directory, id, false);
    }

    /// Sends a question on its way that is about a far instance.
    pub(super) fn read(&mut self, publisher: usize, ticket: Ticket, directory: Fingerprint, id: DescriptorId) {
        self.tally.readings += 1;
        self.ask(publisher, ticket, directory, id, true);
    }

    fn ask(&mut self, publisher: usize, ticket: Ticket, directory: Fingerprint, id: DescriptorId, far: bool) {
        let fate = self.fate();
        let mut reply = self.reply(publisher, ticket, 30..150);
        let mut way = self.millis(30..150);
        let failed = match fate {
            Fate::Arrives | Fate::Twice => None,
            Fate::AnsweredTwice => {
                reply.twice = true;
                None
            }
            Fate::Lost | Fate::AnswerLost => return self.lose(&directory),
            Fate::Late if self.rng.random() => {
                way = self.millis(500..60_000);
                None
            }
            Fate::Late => {
                reply.takes = self.millis(500..60_000);
                None
            }
            Fate::Interrupted { arrives: false } => Some(Found::Interrupted),
            Fate::Interrupted { arrives: true } => Some(Found::Unusable("BAD_DESC".into())),
            Fate::Refused => Some(Found::Failed("QUERY_NO_HSDIR".into())),
        };
        if !matches!(fate, Fate::Arrives | Fate::Twice) {
            self.log.note(
                self.state.now(),
                format_args!("publisher {publisher} asks {directory}: {fate:?}"),
            );
            self.state.fail(&directory);
        }
        match failed {
            Some(found) => self.answer_later(reply, found_event(far, ticket, found)),
            None => {
                let audit = Message::Audit {
                    directory,
                    id,
                    reply,
                    far,
                };
                self.after_exactly(way, Due::Message(audit));
            }
        }
    }

    fn lose(&mut self, directory: &Fingerprint) {
        self.log
            .note(self.state.now(), format_args!("an audit of {directory} is lost"));
        self.state.fail(directory);
    }

    fn answer_later(&mut self, reply: Reply, event: Event) {
        let answer = Message::Answer { reply, event };
        self.after_exactly(reply.takes, Due::Message(answer));
    }

    /// If a publisher's upload goes through an instance that the other watches, that one is told.
    fn announce(&mut self, publisher: usize, slot: &SlotId) -> Option<usize> {
        if self.state.publishers.len() < 2 || !self.state.climate.shared_carriers {
            return None;
        }
        let carrier = self.rng.random_range(0..self.state.instances.len());
        let descriptor_id = slot.v2_descriptor_id(&self.state.key.service_id())?;
        self.announce_to_others(Some(publisher), carrier, slot.directory, descriptor_id, false)
    }

    /// Tells publishers, except one, that an upload begins at an instance. Returns the instance.
    pub(super) fn announce_to_others(
        &mut self,
        except: Option<usize>,
        carrier: usize,
        directory: Fingerprint,
        descriptor_id: DescriptorId,
        own: bool,
    ) -> Option<usize> {
        *self.announced.entry((carrier, directory)).or_default() += 1;
        let instance = self.state.instances[carrier].name.clone();
        let watching = self.state.watching(carrier);
        for publisher in watching.into_iter().filter(|&publisher| Some(publisher) != except) {
            // Not at once: it may be in the middle of something.
            let event = Event::InstanceUploads {
                instance: instance.clone(),
                own,
                directory,
                descriptor_id: descriptor_id.into(),
            };
            self.after_exactly(
                Duration::from_millis(1),
                Due::Message(Message::News {
                    publisher,
                    life: self.state.publishers[publisher].life,
                    event,
                }),
            );
        }
        Some(carrier)
    }

    pub(super) fn arrives(&mut self, message: Message) {
        let truth = self.state.truth();
        match message {
            Message::Upload {
                directory,
                text,
                astray,
                reply,
            } => {
                let now = self.state.now();
                let Some(place) = self.state.places.get_mut(&directory) else {
                    return;
                };
                let answer = place.upload(&text, truth, now);
                if astray {
                    place.disturb(now);
                }
                self.changed = true;
                if let (Some(answer), Some(reply)) = (answer, reply) {
                    let ticket = reply.ticket;
                    self.answer_later(reply, Event::UploadAnswered { ticket, answer });
                }
            }
            Message::Audit {
                directory,
                id,
                reply,
                far,
            } => {
                let Some(place) = self.state.places.get(&directory) else {
                    return;
                };
                let lie = place.lies && far;
                let Some(found) = place.read(&id) else {
                    return;
                };
                let found = match found {
                    Found::Text(_) if lie => Found::Text(self.old_text(&id)),
                    found => found,
                };
                let ticket = reply.ticket;
                self.answer_later(reply, found_event(far, ticket, found));
            }
            Message::Answer { reply, event } => {
                if !self.state.lives(reply.publisher, reply.life) {
                    return;
                }
                if reply.twice {
                    let reply = Reply {
                        twice: false,
                        takes: self.millis(1..3000),
                        ..reply
                    };
                    self.answer_later(reply, event.clone());
                }
                self.tell(reply.publisher, event);
            }
            Message::News { publisher, life, event } => {
                if self.state.lives(publisher, life) {
                    self.tell(publisher, event);
                }
            }
            Message::Ended { carrier, directory } => {
                let pending = self.announced.entry((carrier, directory)).or_default();
                *pending = pending.saturating_sub(1);
                if *pending > 0 {
                    return;
                }
                for publisher in self.state.watching(carrier) {
                    let instance = self.state.instances[carrier].name.clone();
                    self.tell(publisher, Event::InstanceUploadEnded { instance, directory });
                }
            }
        }
    }

    /// Makes an instance publish by itself: the same text to all directories of a replica, by its
    /// own clock.
    pub(super) fn publish(&mut self, instance: usize) {
        let truth = self.state.truth();
        let ring = directories::ring(&self.state.places);
        let clock = self.state.instances[instance].clock(truth);
        let service = self.state.key.service_id();
        let unseen = self.state.watching(instance).len() < self.state.publishers.len();
        let period = TimePeriod::at(&service, clock);
        for replica in Replica::ALL {
            let Some(text) = self.state.instances[instance].text(&self.state.key, None, period, replica, clock) else {
                return;
            };
            let id = DescriptorId::of(&service, period, replica);
            let text: Arc<[u8]> = text.into();
            for directory in id.responsible(&ring) {
                let fate = self.fate();
                self.announce_to_others(None, instance, directory, id, true);
                let ended = Due::Message(Message::Ended {
                    carrier: instance,
                    directory,
                });
                if matches!(fate, Fate::Lost | Fate::Refused) {
                    self.state.disturb(&directory);
                    self.after_exactly(GIVEN_UP, ended);
                    continue;
                }
                let way = match fate {
                    Fate::Late => self.millis(500..60_000),
                    _ => self.millis(30..250),
                };
                let upload = Message::Upload {
                    directory,
                    text: text.clone(),
                    astray: unseen || fate != Fate::Arrives,
                    reply: None,
                };
                self.after_exactly(way, Due::Message(upload));
                let takes = match fate {
                    Fate::AnswerLost => GIVEN_UP,
                    _ => way + self.millis(30..150),
                };
                if fate != Fate::Arrives {
                    self.state.disturb(&directory);
                }
                self.after_exactly(takes, ended);
            }
        }
    }
}
