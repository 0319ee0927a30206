//! Weights that follow the loads of instances.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use onionweave_assign::{Damping, Load, PolicyName, Weight};
use onionweave_desc::v2::{Draft, IntroductionPoint, ServiceKey, UnverifiedDescriptor};
use onionweave_publish::{Action, Down, Event, InstanceName, InstanceSettings, Machine, Report, Settings};
use onionweave_ring::v2::{Replica, TimePeriod};
use onionweave_ring::{Fingerprint, HashRing, UnixTime};
use onionweave_sim::{Engine, World};

const NAMES: [&str; 3] = ["a", "b", "c"];

fn start() -> UnixTime {
    UnixTime::from_iso("2026-11-22 12:05:00").unwrap()
}

fn key() -> ServiceKey {
    ServiceKey::from_pem(include_str!("../testdata/private_key")).unwrap()
}

/// A descriptor with three points that no other number has.
fn descriptor(number: u8) -> Vec<u8> {
    let text = include_bytes!("../testdata/descriptor.txt");
    let donors = UnverifiedDescriptor::parse(text).unwrap().verify().unwrap();
    let donors = donors.introduction_points().unwrap();
    let point = |i: u8| {
        let donor = &donors[usize::from(i) % donors.len()];
        let keys = (donor.onion_key().clone(), donor.service_key().clone());
        let relay = Fingerprint::from([number * 10 + i; 20]);
        IntroductionPoint::new(relay, Ipv4Addr::new(10, 0, number, i), 9001, keys.0, keys.1).unwrap()
    };
    let draft = Draft::new((0..3).map(point).collect());
    let now = start();
    let [replica, _] = Replica::ALL;
    let signed = draft.sign(
        &key(),
        TimePeriod::at(&key().service_id(), now),
        replica,
        now.start_of_hour(),
    );
    signed.unwrap().text().to_vec()
}

/// Three instances that offer points, and directories that never answer: only what is wanted counts
/// here.
struct Mute {
    engine: Engine<Infallible>,
    weighed: Vec<BTreeMap<InstanceName, Weight>>,
}

impl World for Mute {
    type Due = Infallible;

    fn engine(&mut self) -> &mut Engine<Infallible> {
        &mut self.engine
    }

    fn act(&mut self, _: usize, action: Action) {
        if let Action::Report(Report::Weighed(weights)) = action {
            self.weighed.push(weights);
        }
    }

    fn happen(&mut self, due: Infallible) {
        match due {}
    }
}

impl Mute {
    fn new() -> Self {
        let machine = Machine::new(key(), PolicyName::Hybrid.policy(), settings(&NAMES), 1);
        let mut engine = Engine::new(start());
        engine.add(machine);
        let mut world = Self {
            engine,
            weighed: Vec::new(),
        };
        let ring = HashRing::new((0..=255).map(|first| Fingerprint::from([first; 20])));
        world.tell(Event::Directories(Arc::new(ring.into())));
        for (number, name) in (0..).zip(NAMES) {
            let instance = name.parse::<InstanceName>().unwrap();
            world.tell(Event::InstanceUp {
                instance: instance.clone(),
            });
            world.tell(Event::InstanceOffers {
                instance,
                text: descriptor(number),
                rebuilt: false,
            });
        }
        // The first look at the ring takes some seconds.
        world.wait(5);
        world
    }

    fn tell(&mut self, event: Event) {
        World::tell(self, 0, event);
    }

    fn wait(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    fn machine(&self) -> &Machine {
        self.engine.machine(0)
    }

    /// Ten minutes in which these loads are measured every ten seconds.
    fn measure(&mut self, loads: [Option<f64>; 3]) {
        for _ in 0..60 {
            self.wait(10);
            self.load(loads);
        }
    }

    fn load(&mut self, loads: [Option<f64>; 3]) {
        for (name, load) in NAMES.into_iter().zip(loads) {
            self.tell(Event::InstanceLoad {
                instance: name.parse().unwrap(),
                load: load.map(|load| Load::new(load).unwrap()),
            });
        }
    }

    /// Number of points of each instance in each slot of the first period.
    fn plan(&self) -> Vec<BTreeMap<InstanceName, usize>> {
        let plan = self.machine().plans().values().next().unwrap();
        let counted = |mix: &onionweave_assign::Mix<InstanceName>| {
            let counts = mix.instances().into_iter();
            counts.map(|(name, points)| (name.clone(), points)).collect()
        };
        plan.slots().map(|(_, mix)| counted(mix)).collect()
    }

    /// Part of the points in all texts that is an instance's. Where texts are equally large, that
    /// is its share.
    fn part(&self, instance: &str) -> f64 {
        let plan = self.machine().plans().values().next().unwrap();
        let part = |mix: &onionweave_assign::Mix<InstanceName>| {
            let own = mix
                .instances()
                .get(&instance.parse::<InstanceName>().unwrap())
                .copied()
                .unwrap_or(0);
            own as f64 / mix.len() as f64
        };
        plan.slots().map(|(_, mix)| part(mix)).sum::<f64>() / plan.slots().len() as f64
    }
}

fn settings(names: &[&str]) -> Settings {
    let instances = names.iter().map(|name| InstanceSettings::new(name.parse().unwrap()));
    let mut settings = Settings::new(instances.collect()).unwrap();
    settings.damping = Some(Damping::default());
    settings
}

#[test]
fn shares_follow_loads_and_come_back() {
    let mut world = Mute::new();
    assert!((world.part("a") - 1.0 / 3.0).abs() < 1e-9);

    // Alike: nothing changes.
    world.measure([Some(0.5); 3]);
    assert!((world.part("a") - 1.0 / 3.0).abs() < 1e-9);

    // Four times as much for one: its share sinks, and everybody still stands in the plan.
    world.measure([Some(0.8), Some(0.2), Some(0.2)]);
    world.measure([Some(0.8), Some(0.2), Some(0.2)]);
    let expected = 1.0 / (1.0 + 2.0 * 4_f64.powf(0.75));
    let found = world.part("a");
    assert!((found - expected).abs() < 0.03, "{found} instead of {expected}");
    let plan = world.machine().plans().values().next().unwrap();
    assert!(plan.slots().all(|(_, mix)| mix.instances().len() >= 2));

    // It settled: ten minutes more change nothing.
    let told = world.weighed.len();
    world.measure([Some(0.8), Some(0.2), Some(0.2)]);
    world.measure([Some(0.8), Some(0.2), Some(0.2)]);
    assert!(world.weighed.len() <= told + 2, "{:?}", &world.weighed[told..]);

    // Nothing is known any more: all are as they are configured.
    for _ in 0..5 {
        world.measure([None; 3]);
    }
    assert!((world.part("a") - 1.0 / 3.0).abs() < 0.02, "{}", world.part("a"));
}

/// An instance that comes by a reload, or is configured anew, gets a weight at once beside those
/// that follow loads.
#[test]
fn a_reload_weighs_everybody() {
    let mut world = Mute::new();
    world.measure([Some(1.0), Some(2.0), Some(1.0)]);
    let mut four = settings(&["a", "b", "c", "d"]);
    let mut instances = four.instances().to_vec();
    instances[0].weight = Weight::try_from(2).unwrap();
    four.set_instances(instances).unwrap();
    world.tell(Event::Configured(four));
    let weights = world.weighed.last().unwrap();
    assert_eq!(weights.len(), 4);
    let of = |name: &str| f64::from(weights[name].as_u32());
    assert!((of("a") / of("c") - 2.0).abs() < 1e-3, "{weights:?}");
    assert!(of("d") > of("b") && of("d") <= of("c") * 2.0, "{weights:?}");
}

/// Loads change places again and again. Those that differ by two at every measurement change
/// nothing. Those that differ by sixteen every minute change weights, and with them the plan, no
/// more than once in five minutes. Besides, plans change with the hour.
#[test]
fn a_load_that_swings_makes_no_plan_thrash() {
    for (ratio, measurements, weighings) in [(2.0, 1, 0), (16.0, 6, 72)] {
        let mut world = Mute::new();
        world.measure([Some(1.0); 3]);
        let told = world.weighed.len();
        let (mut plan, mut changes) = (world.plan(), 0);
        // Six hours, measured every ten seconds.
        for n in 0..6 * 360 {
            let loads = match n / measurements % 2 {
                0 => [ratio, 1.0, f64::sqrt(ratio)],
                _ => [1.0, ratio, f64::sqrt(ratio)],
            };
            world.wait(10);
            world.load(loads.map(Some));
            let now = world.plan();
            changes += usize::from(now != plan);
            plan = now;
            let part = world.part("a");
            assert!((part - 1.0 / 3.0).abs() < 0.12, "{ratio}, {n}: {part}");
        }
        let weighed = world.weighed.len() - told;
        assert!(weighed <= weighings, "{ratio}: weighed {weighed} times");
        assert!(changes <= weighings + 6, "{ratio}: {changes} other plans");
    }
}

/// When loads are not to be followed any more, weights are as they are configured, at once.
#[test]
fn a_reload_ends_the_weighing() {
    let mut world = Mute::new();
    for _ in 0..3 {
        world.measure([Some(9.0), Some(1.0), Some(1.0)]);
    }
    assert!(world.part("a") < 0.2);
    let mut fixed = settings(&NAMES);
    fixed.damping = None;
    world.tell(Event::Configured(fixed));
    // As near as the policy promises while a round lasts.
    assert!((world.part("a") - 1.0 / 3.0).abs() < 1.0 / 120.0, "{}", world.part("a"));
    let told = world.weighed.len();
    world.measure([Some(9.0), Some(1.0), Some(1.0)]);
    assert_eq!(world.weighed.len(), told);
}

/// A spare has nothing to do, which is no reason to burden it beyond measure when it steps in.
#[test]
fn idle_spares_are_not_weighed() {
    let mut world = Mute::new();
    let mut two = settings(&NAMES);
    two.serving = NonZeroUsize::new(2);
    world.tell(Event::Configured(two));
    world.wait(1);
    world.measure([Some(1.0), Some(1.0), Some(0.0)]);
    world.tell(Event::InstanceDown {
        instance: "a".parse().unwrap(),
        why: Down::Lost("gone".into()),
    });
    world.wait(1);
    assert!((world.part("c") - 0.5).abs() < 1e-9, "{}", world.part("c"));
}

/// Weights stay as they are configured where no load is measured, or only that of an unknown
/// instance.
#[test]
fn without_loads_nothing_is_weighed() {
    let mut world = Mute::new();
    world.measure([None; 3]);
    world.tell(Event::InstanceLoad {
        instance: "x".parse().unwrap(),
        load: Some(Load::new(1.0).unwrap()),
    });
    assert!(world.weighed.is_empty());
}
