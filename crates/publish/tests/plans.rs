//! Plans of a policy of somebody's own: nonsense is refused and reported once, and the last plan
//! stays.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use onionweave_assign::{self as assign, Mix, Mixed, Plan, Relay, Round, Slot};
use onionweave_desc::v2::{Draft, ServiceKey, UnverifiedDescriptor};
use onionweave_publish::{
    Action, Event, InstanceName, InstanceSettings, Machine, Moment, PlanError, Report, Settings, SlotId,
};
use onionweave_ring::v2::{Replica, TimePeriod};
use onionweave_ring::{Fingerprint, HashRing, UnixTime};

/// Fault of a plan.
#[derive(Clone, Copy, Debug)]
enum Nonsense {
    Nothing,
    NoPlan,
    MissingSlot,
    UnknownSlot,
    UnknownInstance,
    UnknownPoint,
}

const KINDS: [Nonsense; 6] = [
    Nonsense::Nothing,
    Nonsense::NoPlan,
    Nonsense::MissingSlot,
    Nonsense::UnknownSlot,
    Nonsense::UnknownInstance,
    Nonsense::UnknownPoint,
];

/// `mixed`, spoilt as the shared number says.
#[derive(Clone, Debug, Default)]
struct Spoilt(Arc<AtomicUsize>);

impl assign::Policy<InstanceName, SlotId> for Spoilt {
    fn plan(
        &self,
        instances: &[assign::Instance<InstanceName>],
        slots: &[Slot<SlotId>],
        previous: Option<&Plan<InstanceName, SlotId>>,
        round: Round,
    ) -> Result<Plan<InstanceName, SlotId>, assign::Error> {
        let plan = Mixed::default().plan(instances, slots, previous, round)?;
        let mut mixes: BTreeMap<SlotId, Mix<InstanceName>> = plan.slots().map(|(&id, mix)| (id, mix.clone())).collect();
        let (&first, mix) = plan.slots().next().unwrap();
        let (relay, name) = mix.points().next().unwrap();
        let only = |relay: Relay, name: &str| [(relay, name.parse::<InstanceName>().unwrap())].into_iter().collect();
        match KINDS[self.0.load(Ordering::Relaxed)] {
            Nonsense::Nothing => {}
            Nonsense::NoPlan => return Err(assign::Error::NoInstances),
            Nonsense::MissingSlot => {
                mixes.remove(&first);
            }
            Nonsense::UnknownSlot => {
                let mut foreign = first;
                foreign.directory = Fingerprint::from([1; 20]);
                mixes.insert(foreign, mix.clone());
            }
            Nonsense::UnknownInstance => {
                mixes.insert(first, only(relay, "nobody"));
            }
            Nonsense::UnknownPoint => {
                mixes.insert(first, only(Relay::new(7), name.as_str()));
            }
        }
        Plan::new(round, mixes)
    }

    fn name(&self) -> &str {
        "spoilt"
    }
}

fn key() -> ServiceKey {
    ServiceKey::from_pem(include_str!("../testdata/private_key")).unwrap()
}

/// A descriptor with three points that no other number has.
fn descriptor(number: u8, now: UnixTime) -> Vec<u8> {
    let text = include_bytes!("../testdata/descriptor.txt");
    let donors = UnverifiedDescriptor::parse(text).unwrap().verify().unwrap();
    let donors = donors.introduction_points().unwrap();
    let points = (0..3).zip(donors.iter()).map(|(i, donor)| {
        let relay = Fingerprint::from([number * 10 + i + 20; 20]);
        let (onion, service) = (donor.onion_key().clone(), donor.service_key().clone());
        onionweave_desc::v2::IntroductionPoint::new(relay, Ipv4Addr::new(10, 0, number, i), 9001, onion, service)
            .unwrap()
    });
    let period = TimePeriod::at(&key().service_id(), now);
    let signed = Draft::new(points.collect()).sign(&key(), period, Replica::ALL[0], now.start_of_hour());
    signed.unwrap().text().to_vec()
}

/// A machine whose directories never answer: only what is wanted and reported counts here.
struct World {
    machine: Machine,
    now: Moment,
    spoilt: Spoilt,
    reports: Vec<Report>,
}

impl World {
    fn new(names: &[&str]) -> Self {
        let now = Moment::new(UnixTime::from_iso("2026-11-22 12:05:00").unwrap(), Duration::ZERO);
        let spoilt = Spoilt::default();
        let instances = names
            .iter()
            .map(|&name| InstanceSettings::new(name.parse().unwrap()))
            .collect();
        let machine = Machine::new(key(), Box::new(spoilt.clone()), Settings::new(instances).unwrap(), 1);
        let mut world = Self {
            machine,
            now,
            spoilt,
            reports: Vec::new(),
        };
        let ring = HashRing::new((0..=255).map(|first| Fingerprint::from([first; 20])));
        world.tell(Event::Directories(Arc::new(ring.into())));
        for (number, name) in (0..).zip(["a", "b"]) {
            let instance = name.parse::<InstanceName>().unwrap();
            world.tell(Event::InstanceUp {
                instance: instance.clone(),
            });
            world.offer(name, number);
        }
        // The first look at the ring takes some seconds.
        world.wait(30);
        world
    }

    fn offer(&mut self, name: &str, number: u8) {
        self.tell(Event::InstanceOffers {
            instance: name.parse().unwrap(),
            text: descriptor(number, self.now.wall()),
            rebuilt: false,
        });
    }

    fn tell(&mut self, event: Event) {
        self.machine.handle(event, self.now);
        self.act();
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
        self.act();
    }

    fn act(&mut self) {
        while let Some(action) = self.machine.poll(self.now) {
            if let Action::Report(report) = action {
                self.reports.push(report);
            }
        }
    }

    fn spoil(&self, kind: usize) {
        self.spoilt.0.store(kind, Ordering::Relaxed);
    }

    fn refusals(&mut self) -> Vec<PlanError> {
        let reports = std::mem::take(&mut self.reports);
        let refused = |report| match report {
            Report::PlanRefused { policy, why, .. } => {
                assert_eq!(policy, "spoilt");
                Some(why)
            }
            _ => None,
        };
        reports.into_iter().filter_map(refused).collect()
    }
}

#[test]
fn nonsense_is_refused_once_for_each_reason_and_the_last_plan_stays() {
    let mut world = World::new(&["a", "b"]);
    assert_eq!(world.refusals(), []);
    let good = world.machine.plans().clone();
    assert!(!good.is_empty());
    for (number, kind) in (1_usize..).zip(&KINDS[1..]) {
        world.spoil(number);
        // Other points ask for another plan. They come twice, and the reason is told once.
        for other in [2, 3] {
            world.offer("b", other + 4 * (number as u8 % 2));
        }
        let refusals = world.refusals();
        assert_eq!(refusals.len(), 1, "{kind:?}: {refusals:?}");
        let expected = match kind {
            Nonsense::Nothing => false,
            Nonsense::NoPlan => matches!(refusals[0], PlanError::None { .. }),
            Nonsense::MissingSlot => matches!(refusals[0], PlanError::MissingSlot { .. }),
            Nonsense::UnknownSlot => matches!(refusals[0], PlanError::UnknownSlot { .. }),
            Nonsense::UnknownInstance => {
                matches!(&refusals[0], PlanError::UnknownInstance { instance, .. } if *instance == "nobody")
            }
            Nonsense::UnknownPoint => matches!(refusals[0], PlanError::UnknownPoint { .. }),
        };
        assert!(expected, "{kind:?}: {refusals:?}");
        assert_eq!(*world.machine.plans(), good, "{kind:?}");
    }
    // A policy that comes to its senses is heard.
    world.spoil(0);
    world.offer("b", 1);
    world.wait(1);
    assert_eq!(world.refusals(), []);
    assert!(world.machine.wanted().count() >= 6);
}

#[test]
fn reasons_that_take_turns_are_told_once_each() {
    let mut world = World::new(&["a", "b"]);
    world.refusals();
    let mut refusals = Vec::new();
    for turn in 0..10 {
        world.spoil(1 + turn % 3);
        world.offer("b", 2 + turn as u8 % 4);
        refusals.extend(world.refusals());
    }
    let kinds: Vec<_> = refusals.iter().map(std::mem::discriminant).collect();
    let status = world.machine.status(world.now);
    assert_eq!(kinds.len(), 3, "{refusals:?}");
    // The present one holds.
    let holds = |problem: &Report| matches!(problem, Report::PlanRefused { why, .. } if *why == refusals[0]);
    assert!(status.problems.iter().any(holds), "{:?}", status.problems);

    // A good plan ends that; the next refusal is news.
    world.spoil(0);
    world.offer("b", 1);
    assert!(world.machine.status(world.now).problems.is_empty());
    world.spoil(1);
    world.offer("b", 2);
    assert_eq!(world.refusals().len(), 1);
}

#[test]
fn two_instances_of_one_name_are_refused() {
    let instance = |name: &str| InstanceSettings::new(name.parse().unwrap());
    let refused = Settings::new(["a", "b", "a"].map(instance).to_vec()).unwrap_err();
    assert_eq!(refused.name, "a");
    let mut settings = Settings::new(["a", "b"].map(instance).to_vec()).unwrap();
    let refused = settings.set_instances(["b", "b"].map(instance).to_vec()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "two instances are named \"b\": give each a name of its own"
    );
    // Those of before stay.
    let names: Vec<_> = settings.instances().iter().map(|known| known.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
}
