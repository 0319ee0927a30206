//! The pool against processes that die, hang and fail to start at random, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::time::Duration;

use onionweave_publish::pool::{LONGEST_PAUSE, Place, PlaceState, Pool, PoolAction, PoolEvent, PoolSettings};
use proptest::prelude::*;

const MOST_PLACES: u16 = 6;

/// Blow to the pool from outside.
#[derive(Clone, Debug)]
enum Stroke {
    /// The process of this place dies.
    Death(u16),
    /// The process of this place hangs.
    Hang(u16),
    /// From now on this part of 256 starts fails, in the way of the second number.
    Luck(u8, u8),
    /// The configuration is read again.
    Reload { places: u16, anew: bool },
    /// Nothing.
    Calm,
}

fn stroke() -> impl Strategy<Value = Stroke> {
    prop_oneof![
        4 => (1..=MOST_PLACES).prop_map(Stroke::Death),
        1 => (1..=MOST_PLACES).prop_map(Stroke::Hang),
        1 => any::<(u8, u8)>().prop_map(|(part, way)| Stroke::Luck(part, way)),
        1 => (0..=MOST_PLACES, any::<bool>()).prop_map(|(places, anew)| Stroke::Reload { places, anew }),
        2 => Just(Stroke::Calm),
    ]
}

/// Future of a process, and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Up(Duration),
    Ready(Duration),
    Lives,
    Dies(Duration),
    /// The process never answers, and hears nothing.
    Deaf,
}

struct World {
    pool: Pool,
    now: Duration,
    settings: PoolSettings,
    processes: BTreeMap<Place, Fate>,
    starts: Vec<Duration>,
    luck: (u8, u8),
    draws: u8,
    /// Processes that a smaller pool has yet to end.
    allowed: usize,
}

impl World {
    fn new(places: u16, left: &[bool]) -> Self {
        let settings = PoolSettings::new(places);
        let mut world = Self {
            pool: Pool::new(settings, Duration::ZERO),
            now: Duration::ZERO,
            settings,
            processes: BTreeMap::new(),
            starts: Vec::new(),
            luck: (0, 0),
            draws: 0,
            allowed: usize::from(places),
        };
        // What an earlier publisher left.
        for (place, _) in Place::first(places).zip(left).filter(|(_, left)| **left) {
            world.processes.insert(place, Fate::Lives);
        }
        world.obey();
        world
    }

    fn tell(&mut self, event: PoolEvent) {
        self.pool.handle(event, self.now);
        self.obey();
    }

    fn obey(&mut self) {
        while let Some(action) = self.pool.poll() {
            match action {
                PoolAction::Adopt(place) => {
                    let event = match self.processes.get_mut(&place) {
                        Some(fate) => {
                            *fate = Fate::Ready(self.now);
                            PoolEvent::Adopted {
                                place,
                                current: place.number() % 2 == 0,
                            }
                        }
                        None => PoolEvent::Vacant(place),
                    };
                    self.pool.handle(event, self.now);
                }
                PoolAction::Start(place) => {
                    self.starts.push(self.now);
                    let fate = self.draw();
                    assert_eq!(self.processes.insert(place, fate), None, "started twice");
                }
                PoolAction::Stop(place) => match self.processes.get(&place) {
                    Some(Fate::Deaf) => {}
                    Some(_) => self.end(place),
                    None => panic!("nothing to stop at {place}"),
                },
                PoolAction::Kill(place) => {
                    assert!(self.processes.contains_key(&place), "nothing to kill at {place}");
                    self.end(place);
                }
            }
            self.check();
        }
    }

    fn draw(&mut self) -> Fate {
        self.draws = self.draws.wrapping_add(97);
        let (part, way) = self.luck;
        if self.draws >= part {
            return Fate::Up(self.now + Duration::from_millis(300));
        }
        match way % 3 {
            0 => Fate::Dies(self.now),
            1 => Fate::Dies(self.now + Duration::from_millis(700)),
            _ => Fate::Deaf,
        }
    }

    fn end(&mut self, place: Place) {
        self.processes.remove(&place);
        self.allowed = self.allowed.min(self.processes.len()).max(self.settings.places.into());
        self.pool.handle(PoolEvent::Gone(place), self.now);
    }

    fn check(&self) {
        assert!(self.processes.len() <= self.allowed, "{:?}", self.processes);
        let starting = self.pool.places().filter(|(_, state)| *state == PlaceState::Starting);
        assert!(starting.count() <= 1);
        // The newest start against all before: never more than one in a pause.
        if let [.., before, last] = self.starts[..] {
            assert!(last - before >= self.settings.pause, "{before:?}, {last:?}");
        }
    }

    fn pass(&mut self, until: Duration) {
        loop {
            let fate = self.processes.values().filter_map(|fate| match fate {
                Fate::Up(at) | Fate::Ready(at) | Fate::Dies(at) => Some(*at),
                _ => None,
            });
            let Some(at) = fate.chain(self.pool.next_deadline()).min().filter(|&at| at <= until) else {
                break;
            };
            self.now = self.now.max(at);
            let due = self.processes.iter().find_map(|(&place, &fate)| match fate {
                Fate::Up(at) | Fate::Ready(at) | Fate::Dies(at) if at <= self.now => Some((place, fate)),
                _ => None,
            });
            match due {
                Some((place, Fate::Up(_))) => {
                    let ready = Fate::Ready(self.now + Duration::from_secs(8));
                    self.processes.insert(place, ready);
                    self.tell(PoolEvent::Up(place));
                }
                Some((place, Fate::Ready(_))) => {
                    self.processes.insert(place, Fate::Lives);
                    self.tell(PoolEvent::Ready(place));
                }
                Some((place, _)) => {
                    self.end(place);
                    self.obey();
                }
                None => {
                    self.pool.advance(self.now);
                    self.obey();
                }
            }
        }
        self.now = until;
    }

    fn strike(&mut self, stroke: &Stroke) {
        let place = |number| Place::first(MOST_PLACES).nth(usize::from(number) - 1).unwrap();
        match *stroke {
            Stroke::Death(number) if self.processes.contains_key(&place(number)) => {
                self.end(place(number));
                self.obey();
            }
            Stroke::Hang(number) if self.processes.contains_key(&place(number)) => {
                self.processes.insert(place(number), Fate::Deaf);
                self.tell(PoolEvent::Hung(place(number)));
            }
            Stroke::Luck(part, way) => self.luck = (part, way),
            Stroke::Reload { places, anew } => {
                self.settings = PoolSettings::new(places);
                self.allowed = self.processes.len().max(places.into());
                let settings = self.settings;
                self.tell(PoolEvent::Configured { settings, anew });
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// There are never more processes than places, nor more than a start in each pause, and in the
    /// end all are ready.
    #[test]
    fn whatever_dies_the_pool_recovers_without_a_storm(
        places in 1..=MOST_PLACES,
        left in prop::collection::vec(any::<bool>(), usize::from(MOST_PLACES)),
        strokes in prop::collection::vec((0_u64..20_000, stroke()), 0..60),
    ) {
        let mut world = World::new(places, &left);
        for (after, stroke) in &strokes {
            world.pass(world.now + Duration::from_millis(*after));
            world.strike(stroke);
        }
        // Calm returns. Each place may have to be waited for, ended and started anew, after the
        // longest pause.
        world.luck = (0, 0);
        let steps = 2 * u32::from(world.settings.places.max(MOST_PLACES));
        world.pass(world.now + LONGEST_PAUSE + steps * Duration::from_secs(45));
        let states: Vec<_> = world.pool.places().map(|(_, state)| state).collect();
        prop_assert_eq!(states, vec![PlaceState::Ready; world.settings.places.into()]);
        prop_assert_eq!(world.processes.len(), usize::from(world.settings.places));
        prop_assert_eq!(world.pool.is_dissolved(), world.settings.places == 0);
        // And then there is nothing more to do.
        let starts = world.starts.len();
        world.pass(world.now + Duration::from_secs(86_400));
        prop_assert_eq!(world.starts.len(), starts);
    }
}
