//! Instances that are known through a file or through directories: what is believed, and what is
//! not.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use onionweave_assign::PolicyName;
use onionweave_desc::v2::{Draft, IntroductionPoint, ServiceKey, UnverifiedDescriptor};
use onionweave_publish::version::V2;
use onionweave_publish::{
    Action, Event, Found, InstanceSettings, Machine, Report, Settings, Source, Ticket, UploadAnswer,
};
use onionweave_ring::v2::{self, Replica, TimePeriod};
use onionweave_ring::{DescriptorId, Fingerprint, HashRing, UnixTime};
use onionweave_sim::{Engine, World};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const EVERY: Duration = Duration::from_secs(30);

/// Five minutes after a full hour; neither key's time period ends within the next hours.
fn start() -> UnixTime {
    UnixTime::from_iso("2026-11-22 12:05:00").unwrap()
}

fn service_key() -> ServiceKey {
    ServiceKey::from_pem(include_str!("../testdata/private_key")).unwrap()
}

/// The key of an instance that has one of its own.
fn own_key() -> ServiceKey {
    ServiceKey::from_pem(include_str!("../testdata/instance_key")).unwrap()
}

/// Three introduction points that differ from those of another number.
fn points(number: u8) -> Vec<IntroductionPoint> {
    let text = include_bytes!("../testdata/descriptor.txt");
    let donors = UnverifiedDescriptor::parse(text).unwrap().verify().unwrap();
    let donors = donors.introduction_points().unwrap();
    let point = |i: u8| {
        let donor = &donors[usize::from(i) % donors.len()];
        let keys = (donor.onion_key().clone(), donor.service_key().clone());
        IntroductionPoint::new(
            Fingerprint::from([number * 10 + i; 20]),
            Ipv4Addr::new(10, 0, number, i),
            9001,
            keys.0,
            keys.1,
        )
    };
    (0..3).map(|i| point(i).unwrap()).collect()
}

fn signed(key: &ServiceKey, number: u8, period_at: UnixTime, dated: UnixTime) -> Vec<u8> {
    let period = TimePeriod::at(&key.service_id(), period_at);
    let [replica, _] = Replica::ALL;
    let draft = Draft::new(points(number));
    draft.sign(key, period, replica, dated).unwrap().text().to_vec()
}

/// The instance `a`, and directories that accept everything.
struct Accepting {
    /// The events to come are the directories' answers.
    engine: Engine<Event>,
    /// Holding of each directory under the instance's own address.
    held: BTreeMap<Fingerprint, Found>,
    /// The directories that were asked.
    asked: BTreeSet<Fingerprint>,
    texts: BTreeMap<DescriptorId, Vec<u8>>,
    complaints: Vec<String>,
    /// Number of introduction points that it was last reported to offer.
    offered: Option<usize>,
    due: Vec<Ticket>,
}

impl World for Accepting {
    type Due = Event;

    fn engine(&mut self) -> &mut Engine<Event> {
        &mut self.engine
    }

    fn act(&mut self, _: usize, action: Action) {
        let answer = match action {
            Action::Upload {
                ticket,
                descriptor_id,
                text,
                ..
            } => {
                self.texts.insert(descriptor_id, text.to_vec());
                let answer = UploadAnswer::Accepted;
                Event::UploadAnswered { ticket, answer }
            }
            Action::Audit {
                ticket, descriptor_id, ..
            } => {
                let text = self.texts.get(&descriptor_id).cloned();
                let found = text.map_or(Found::Nothing, Found::Text);
                Event::Audited { ticket, found }
            }
            Action::Read { ticket, directory, .. } => {
                self.asked.insert(directory);
                match self.held.get(&directory) {
                    Some(found) => {
                        let found = found.clone();
                        Event::Read { ticket, found }
                    }
                    None => return self.due.push(ticket),
                }
            }
            Action::Report(Report::Unusable { why, .. }) => return self.complaints.push(why.to_string()),
            Action::Report(Report::Offers(_, count)) => {
                self.offered = Some(count);
                return;
            }
            _ => return,
        };
        self.engine.after(Duration::ZERO, answer);
    }

    fn happen(&mut self, answer: Event) {
        World::tell(self, 0, answer);
    }
}

impl Accepting {
    fn new(source: Source) -> Self {
        let mut instance = InstanceSettings::new("a".parse().unwrap());
        instance.source = source;
        if source != Source::File {
            instance.address = Some(own_key().service_id().into());
        }
        let settings = Settings::new(vec![instance]).unwrap();
        let machine = Machine::new(service_key(), PolicyName::Mixed.policy(), settings, 1);
        let mut engine = Engine::new(start());
        engine.add(machine);
        let mut world = Self {
            engine,
            held: BTreeMap::new(),
            asked: BTreeSet::new(),
            texts: BTreeMap::new(),
            complaints: Vec::new(),
            offered: None,
            due: Vec::new(),
        };
        // Spread evenly, so that the replicas have no directory in common.
        let ring = HashRing::new((0..=255).map(|first| Fingerprint::from([first; 20])));
        world.tell(Event::Directories(Arc::new(ring.into())));
        world
    }

    /// Tells the machine an event, with all answers that it leads to at once.
    fn tell(&mut self, event: Event) {
        World::tell(self, 0, event);
        self.wait(Duration::ZERO);
    }

    fn wait(&mut self, time: Duration) {
        self.pass(time);
    }

    /// The points that clients are given.
    fn published(&self) -> BTreeSet<u8> {
        let machine = self.engine.machine(0);
        let texts = machine
            .wanted()
            .flat_map(|(_, target)| target.points())
            .filter_map(V2::introduction_point);
        texts.map(|point| point.identity().as_bytes()[0] / 10).collect()
    }

    fn offers(&mut self, text: Vec<u8>) {
        let instance = "a".parse().unwrap();
        let rebuilt = false;
        self.tell(Event::InstanceOffers {
            instance,
            text,
            rebuilt,
        });
    }

    /// The problems with descriptors that a snapshot tells.
    fn status_problems(&self) -> Vec<String> {
        let status = self.engine.machine(0).status(self.engine.moment(0));
        let problems = status.problems.iter();
        let unusable = problems.filter(|problem| matches!(problem, Report::Unusable { .. }));
        unusable.map(ToString::to_string).collect()
    }

    fn complaint(&mut self) -> String {
        let complaint = self.complaints.pop().unwrap_or_default();
        assert!(self.complaints.is_empty(), "{:?}", self.complaints);
        complaint
    }

    /// The six directories that were asked, and now all hold this.
    fn all_hold(&mut self, found: &Found) {
        self.held = self.asked.iter().map(|&directory| (directory, found.clone())).collect();
    }
}

#[test]
fn file_is_believed_as_far_as_it_goes() {
    let mut world = Accepting::new(Source::File);
    let hour = start().start_of_hour();
    let key = service_key();
    world.tell(Event::InstanceUp {
        instance: "a".parse().unwrap(),
    });
    world.offers(signed(&key, 1, hour, hour));
    world.wait(SECOND);
    assert_eq!(world.published(), BTreeSet::from([1]));

    let day = 24 * HOUR;
    let past = |hours: u32| hour.saturating_sub(HOUR * hours);
    let mut tampered = signed(&key, 2, hour, hour);
    let at = tampered.len() - 60;
    tampered[at] ^= 1;
    for (text, expected) in [
        (tampered, "signature"),
        (signed(&own_key(), 2, hour, hour), "it belongs to"),
        (signed(&key, 2, hour.saturating_sub(day), hour), "had no descriptor ID"),
        (
            signed(&key, 2, past(1), past(1)),
            "but one of 2026-11-22 12:00:00 was there before",
        ),
        (signed(&key, 2, past(3), past(3)), "too long before"),
        (signed(&key, 2, past(80), past(80)), "more than three days before"),
        (
            signed(&key, 2, hour.saturating_add(2 * day), hour.saturating_add(2 * day)),
            "more than a day ahead",
        ),
    ] {
        world.offers(text);
        let complaint = world.complaint();
        assert!(complaint.contains(expected), "{complaint:?} is not about {expected:?}");
        assert_eq!(world.published(), BTreeSet::from([1]), "{complaint}");
    }

    world.offers(signed(&key, 3, hour, hour));
    world.wait(SECOND);
    assert_eq!(world.published(), BTreeSet::from([3]));
}

#[test]
fn what_grows_old_is_given_up_and_returns() {
    let mut world = Accepting::new(Source::File);
    let hour = start().start_of_hour();
    let key = service_key();
    world.tell(Event::InstanceUp {
        instance: "a".parse().unwrap(),
    });
    let old = signed(&key, 1, hour, hour);
    world.offers(old.clone());
    // Dated 12:00, and believed until 14:15.
    world.wait(2 * HOUR);
    assert_eq!(world.complaint(), "");
    world.wait(11 * 60 * SECOND);
    assert_eq!(
        world.complaint(),
        "it is dated 2026-11-22 12:00:00, and no newer one has come"
    );

    world.offers(old);
    assert!(world.complaint().contains("too long before 2026-11-22 14:16:00"));
    let later = hour.saturating_add(2 * HOUR);
    world.offers(signed(&key, 2, later, later));
    world.wait(SECOND);
    assert_eq!(world.published(), BTreeSet::from([2]));
}

#[test]
fn instance_that_dated_ahead_may_set_its_clock_right() {
    let mut world = Accepting::new(Source::File);
    let hour = start().start_of_hour();
    let ahead = hour.saturating_add(5 * HOUR);
    world.tell(Event::InstanceUp {
        instance: "a".parse().unwrap(),
    });
    world.offers(signed(&service_key(), 1, ahead, ahead));
    world.offers(signed(&service_key(), 2, hour, hour));
    world.wait(SECOND);
    assert_eq!(world.published(), BTreeSet::from([2]));
}

#[test]
fn directories_are_asked_every_half_minute_and_outvote_the_one_that_lies() {
    let mut world = Accepting::new(Source::Directories { every: EVERY });
    let hour = start().start_of_hour();
    let key = own_key();
    let text = |number| Found::Text(signed(&key, number, hour, hour));
    assert_eq!(world.asked.len(), 6, "both replicas' directories");
    let service = key.service_id();
    let period = TimePeriod::at(&service, hour);
    let ring = HashRing::new((0..=255).map(|first| Fingerprint::from([first; 20])));
    let responsible = Replica::ALL.map(|replica| v2::DescriptorId::of(&service, period, replica));
    let responsible = responsible.iter().flat_map(|id| id.responsible(&ring));
    assert_eq!(world.asked, responsible.collect());

    world.all_hold(&text(1));
    world.wait(EVERY);
    assert_eq!(world.published(), BTreeSet::from([1]));

    // The instance moved on within the hour; one directory shows what was there before.
    world.all_hold(&text(2));
    let liar = *world.asked.first().unwrap();
    world.held.insert(liar, text(1));
    world.wait(EVERY);
    assert_eq!(world.published(), BTreeSet::from([2]));

    // Of the hour before: one that all agree on is not believed either, once a newer was seen.
    let before = hour.saturating_sub(HOUR);
    world.all_hold(&Found::Text(signed(&key, 3, before, before)));
    world.wait(EVERY);
    assert_eq!(world.published(), BTreeSet::from([2]));
    assert!(world.complaint().contains("was there before"));

    // A new one at one directory alone is newer than what all others still have.
    world.engine.step_clock(0, 3600);
    let later = hour.saturating_add(HOUR);
    world.all_hold(&text(2));
    world.held.insert(liar, Found::Text(signed(&key, 4, later, later)));
    world.wait(EVERY);
    assert_eq!(world.published(), BTreeSet::from([4]));
}

#[test]
fn directories_that_hold_nothing_are_believed_when_most_say_so() {
    let mut world = Accepting::new(Source::Directories { every: EVERY });
    let hour = start().start_of_hour();
    let text = Found::Text(signed(&own_key(), 1, hour, hour));
    world.all_hold(&text);
    world.wait(EVERY);
    assert_eq!(world.offered, Some(3));

    let directories: Vec<_> = world.asked.iter().copied().collect();
    world.all_hold(&Found::Failed("timeout".into()));
    world.held.insert(directories[0], Found::Nothing);
    world.wait(4 * EVERY);
    assert_eq!(world.offered, Some(3), "one that forgot says little");

    world.all_hold(&Found::Nothing);
    world.held.insert(directories[0], Found::Failed("timeout".into()));
    world.wait(EVERY);
    assert_eq!(world.offered, Some(0));
    world.held.insert(directories[0], text.clone());
    world.wait(EVERY);
    assert_eq!(world.offered, Some(3));
}

#[test]
fn reading_that_nobody_answers_is_given_up_and_begun_again() {
    let mut world = Accepting::new(Source::Directories { every: EVERY });
    assert_eq!(world.due.len(), 6);
    // Twenty seconds for an answer; then at once the next one.
    world.wait(25 * SECOND);
    assert_eq!(world.due.len(), 12);
    let hour = start().start_of_hour();
    let text = Found::Text(signed(&own_key(), 1, hour, hour));
    for ticket in std::mem::take(&mut world.due) {
        // The first six are too late, and count for nothing.
        let found = text.clone();
        world.tell(Event::Read { ticket, found });
    }
    world.wait(SECOND);
    assert_eq!(world.published(), BTreeSet::from([1]));
}

/// Without growing pauses the directories would be asked four times a second.
#[test]
fn readings_that_fail_after_each_success_are_repeated_ever_more_seldom() {
    let every = 5 * SECOND;
    let mut world = Accepting::new(Source::Directories { every });
    let hour = start().start_of_hour();
    let text = Found::Text(signed(&own_key(), 1, hour, hour));
    let mut pauses = Vec::new();
    let mut failed = true;
    for _ in 0..8 {
        // The readings that were asked for are answered now.
        let found = match failed {
            true => Found::Failed("timeout".into()),
            false => text.clone(),
        };
        for ticket in std::mem::take(&mut world.due) {
            world.tell(Event::Read {
                ticket,
                found: found.clone(),
            });
        }
        let asked = world.engine.uptime();
        while world.due.is_empty() {
            world.wait(SECOND / 4);
        }
        pauses.push((failed, world.engine.uptime() - asked));
        failed = !failed;
    }
    let failed = pauses.iter().filter(|(failed, _)| *failed).map(|(_, pause)| *pause);
    let expected = [SECOND / 4, SECOND / 2, SECOND, 2 * SECOND];
    assert_eq!(failed.collect::<Vec<_>>(), expected);
}

/// The complaint holds the time at which it was made, which is no reason to make it again.
#[test]
fn a_descriptor_that_is_too_old_is_complained_of_once() {
    let mut world = Accepting::new(Source::File);
    world.tell(Event::InstanceUp {
        instance: "a".parse().unwrap(),
    });
    let old = start().start_of_hour().saturating_sub(4 * 24 * HOUR);
    let text = signed(&service_key(), 1, old, old);
    world.offers(text.clone());
    assert!(world.complaint().contains("before"));
    for _ in 0..5 {
        world.wait(10 * SECOND);
        world.offers(text.clone());
        assert_eq!(world.complaint(), "");
    }
}

#[test]
fn refusals_of_a_control_port_are_told_once_each_until_the_descriptor_is_told() {
    let mut world = Accepting::new(Source::Control);
    let instance = || "a".parse().unwrap();
    world.tell(Event::InstanceUp { instance: instance() });
    let refuses = |why: &str| Event::InstanceRefuses {
        instance: instance(),
        why: why.to_owned(),
    };
    for why in ["a filter stands before it", "it does not host the service"] {
        world.tell(refuses(why));
        assert_eq!(world.complaint(), why);
    }
    world.tell(refuses("a filter stands before it"));
    assert_eq!(world.complaint(), "", "they alternate");
    assert_eq!(
        world.status_problems(),
        ["a: its descriptor cannot be used: a filter stands before it"]
    );

    world.offers(signed(&own_key(), 1, start(), start().start_of_hour()));
    assert_eq!((world.complaint().as_str(), world.offered), ("", Some(3)));
    assert_eq!(world.status_problems(), [""; 0]);
    world.tell(refuses("a filter stands before it"));
    assert_eq!(world.complaint(), "a filter stands before it", "it is news again");
}
