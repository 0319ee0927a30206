//! Actions of the pool when processes come and go.

use super::*;

/// A pool and the time.
struct Scene {
    pool: Pool,
    now: Duration,
}

impl Scene {
    /// A pool whose places are vacant.
    fn new(places: u16) -> Self {
        let mut scene = Self {
            pool: Pool::new(PoolSettings::new(places), Duration::ZERO),
            now: Duration::ZERO,
        };
        for place in Place::first(places) {
            assert_eq!(scene.pool.poll(), Some(PoolAction::Adopt(place)));
            scene.tell(PoolEvent::Vacant(place));
        }
        scene
    }

    /// A pool in which all are ready.
    fn ready(places: u16) -> Self {
        let mut scene = Self::new(places);
        for place in Place::first(places) {
            assert_eq!(scene.actions_until(1), [PoolAction::Start(place)]);
            scene.tell(PoolEvent::Up(place));
            scene.tell(PoolEvent::Ready(place));
        }
        scene
    }

    fn tell(&mut self, event: PoolEvent) {
        self.pool.handle(event, self.now);
    }

    fn actions(&mut self) -> Vec<PoolAction> {
        std::iter::from_fn(|| self.pool.poll()).collect()
    }

    /// Passes this number of seconds, and returns the actions.
    fn actions_until(&mut self, seconds: u64) -> Vec<PoolAction> {
        let end = self.now + Duration::from_secs(seconds);
        let mut actions = self.actions();
        while let Some(at) = self.pool.next_deadline().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.pool.advance(self.now);
            let more = self.actions();
            assert!(!more.is_empty(), "called at {at:?} for nothing: {:?}", self.pool);
            actions.extend(more);
        }
        self.now = end;
        self.pool.advance(end);
        actions.extend(self.actions());
        actions
    }

    fn states(&self) -> Vec<PlaceState> {
        self.pool.places().map(|(_, state)| state).collect()
    }
}

fn place(number: u16) -> Place {
    Place(NonZeroU16::new(number).unwrap())
}

#[test]
fn one_start_at_a_time() {
    let mut scene = Scene::new(3);
    assert_eq!(scene.actions_until(20), [PoolAction::Start(place(1))]);
    scene.tell(PoolEvent::Up(place(1)));
    // It need not be ready for the next to be started.
    assert_eq!(scene.actions(), [PoolAction::Start(place(2))]);
    scene.tell(PoolEvent::Up(place(2)));
    assert_eq!(scene.actions(), [], "the pause");
    assert_eq!(scene.actions_until(1), [PoolAction::Start(place(3))]);
    scene.tell(PoolEvent::Up(place(3)));
    assert_eq!(scene.actions_until(1000), []);
    assert_eq!(scene.states(), [PlaceState::Warming; 3]);
}

#[test]
fn the_dead_are_started_anew_at_once() {
    let mut scene = Scene::ready(3);
    scene.actions_until(100);
    scene.tell(PoolEvent::Gone(place(2)));
    assert_eq!(scene.actions(), [PoolAction::Start(place(2))]);
    // Two more die: one a second.
    scene.tell(PoolEvent::Gone(place(1)));
    scene.tell(PoolEvent::Gone(place(3)));
    scene.tell(PoolEvent::Up(place(2)));
    assert_eq!(scene.actions(), []);
    assert_eq!(scene.actions_until(1), [PoolAction::Start(place(1))]);
}

#[test]
fn failing_starts_are_tried_ever_more_seldom() {
    let mut scene = Scene::new(2);
    let mut started = Vec::new();
    while scene.now < Duration::from_secs(400) {
        for action in scene.actions_until(1) {
            assert_eq!(action, PoolAction::Start(place(1)));
            started.push(scene.now.as_secs());
            scene.tell(PoolEvent::Gone(place(1)));
        }
    }
    let pauses: Vec<_> = started.windows(2).map(|two| two[1] - two[0]).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]);

    // Once one is ready, the row of failures has ended.
    while scene.actions_until(1).is_empty() {}
    scene.tell(PoolEvent::Up(place(1)));
    scene.tell(PoolEvent::Ready(place(1)));
    assert_eq!(scene.pool.failing(), None);
    assert_eq!(scene.actions_until(1), [PoolAction::Start(place(2))]);
}

/// Without growing pauses it would be started every second.
#[test]
fn what_dies_soon_after_it_was_ready_is_started_with_growing_pauses() {
    for hangs in [false, true] {
        let mut scene = Scene::new(1);
        let mut started = Vec::new();
        while scene.now < Duration::from_secs(400) {
            for action in scene.actions_until(1) {
                match action {
                    PoolAction::Start(place) => {
                        started.push(scene.now.as_secs());
                        scene.tell(PoolEvent::Up(place));
                        scene.tell(PoolEvent::Ready(place));
                        assert_eq!(scene.pool.failing(), None);
                        scene.tell(match hangs {
                            true => PoolEvent::Hung(place),
                            false => PoolEvent::Gone(place),
                        });
                    }
                    PoolAction::Kill(place) => scene.tell(PoolEvent::Gone(place)),
                    other => panic!("{other:?}"),
                }
            }
            let failing = scene.pool.failing().map(|(times, _)| times);
            assert!(hangs || failing == Some(1), "{failing:?}");
        }
        let pauses: Vec<_> = started.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(
            pauses
                .iter()
                .take(7)
                .zip([1, 2, 4, 8, 16, 32, 60])
                .all(|(pause, least)| *pause >= least),
            "{pauses:?}"
        );
        assert!(pauses.len() <= 12, "{pauses:?}");
    }
}

#[test]
fn a_process_that_was_ready_for_a_minute_has_lasted() {
    let mut scene = Scene::new(1);
    for _ in 0..5 {
        assert_eq!(scene.actions_until(1), [PoolAction::Start(place(1))]);
        scene.tell(PoolEvent::Up(place(1)));
        scene.tell(PoolEvent::Ready(place(1)));
        assert_eq!(scene.actions_until(60), []);
        scene.tell(PoolEvent::Gone(place(1)));
        assert_eq!(scene.pool.failing(), None);
    }
}

#[test]
fn what_never_answers_is_killed_and_counts_as_failed() {
    let mut scene = Scene::new(1);
    assert_eq!(scene.actions_until(29), [PoolAction::Start(place(1))]);
    assert_eq!(scene.actions_until(1), [PoolAction::Kill(place(1))]);
    assert_eq!(scene.actions_until(100), [], "it is not gone yet");
    scene.tell(PoolEvent::Gone(place(1)));
    assert_eq!(scene.pool.failing().map(|(times, _)| times), Some(1));
    assert_eq!(scene.actions_until(1), [PoolAction::Start(place(1))]);
}

#[test]
fn the_hung_are_killed() {
    let mut scene = Scene::ready(2);
    scene.tell(PoolEvent::Hung(place(2)));
    scene.tell(PoolEvent::Hung(place(2)));
    assert_eq!(scene.actions(), [PoolAction::Kill(place(2))]);
    scene.tell(PoolEvent::Gone(place(2)));
    assert_eq!(scene.actions_until(1), [PoolAction::Start(place(2))]);
}

#[test]
fn another_configuration_goes_round_one_by_one() {
    let mut scene = Scene::ready(3);
    let settings = PoolSettings::new(3);
    scene.tell(PoolEvent::Configured { settings, anew: false });
    assert_eq!(scene.actions_until(100), []);
    scene.tell(PoolEvent::Configured { settings, anew: true });
    for number in 1..=3 {
        assert_eq!(scene.actions(), [PoolAction::Stop(place(number))]);
        scene.tell(PoolEvent::Gone(place(number)));
        assert_eq!(scene.actions_until(1), [PoolAction::Start(place(number))]);
        scene.tell(PoolEvent::Up(place(number)));
        assert_eq!(scene.actions_until(100), [], "the others wait until it is ready");
        scene.tell(PoolEvent::Ready(place(number)));
    }
    assert_eq!(scene.actions_until(1000), []);
}

#[test]
fn configuration_that_does_not_work_costs_one_instance() {
    let mut scene = Scene::ready(3);
    let settings = PoolSettings::new(3);
    scene.tell(PoolEvent::Configured { settings, anew: true });
    assert_eq!(scene.actions(), [PoolAction::Stop(place(1))]);
    scene.tell(PoolEvent::Gone(place(1)));
    for _ in 0..1000 {
        for action in scene.actions_until(1) {
            assert_eq!(action, PoolAction::Start(place(1)));
            scene.tell(PoolEvent::Gone(place(1)));
        }
    }
    // The next one need not wait for what is of no use anyway.
    scene.tell(PoolEvent::Configured { settings, anew: true });
    assert_eq!(scene.actions_until(1), [PoolAction::Start(place(1))]);
    scene.tell(PoolEvent::Up(place(1)));
    scene.tell(PoolEvent::Configured { settings, anew: true });
    assert_eq!(scene.actions_until(1), [PoolAction::Stop(place(1))]);
}

#[test]
fn the_adopted_stay_if_they_are_current() {
    let mut pool = Pool::new(PoolSettings::new(2), Duration::ZERO);
    let actions: Vec<_> = std::iter::from_fn(|| pool.poll()).collect();
    assert_eq!(actions, [1, 2].map(|number| PoolAction::Adopt(place(number))));
    let mut scene = Scene {
        pool,
        now: Duration::ZERO,
    };
    for number in [1, 2] {
        let (place, current) = (place(number), number == 1);
        scene.tell(PoolEvent::Adopted { place, current });
        scene.tell(PoolEvent::Ready(place));
    }
    assert_eq!(scene.actions_until(1), [PoolAction::Stop(place(2))]);
}

#[test]
fn surplus_places_end_one_by_one_and_a_dissolved_pool_is_empty() {
    let mut scene = Scene::ready(3);
    let settings = PoolSettings::new(1);
    scene.tell(PoolEvent::Configured { settings, anew: false });
    assert_eq!(scene.actions_until(1), [PoolAction::Stop(place(3))]);
    // One that does not hear is killed.
    assert_eq!(scene.actions_until(10), [PoolAction::Kill(place(3))]);
    scene.tell(PoolEvent::Gone(place(3)));
    assert_eq!(scene.actions_until(1), [PoolAction::Stop(place(2))]);
    scene.tell(PoolEvent::Gone(place(2)));
    assert_eq!(scene.states(), [PlaceState::Ready]);

    let settings = PoolSettings::new(0);
    scene.tell(PoolEvent::Configured { settings, anew: false });
    assert_eq!(scene.actions_until(1), [PoolAction::Stop(place(1))]);
    assert!(!scene.pool.is_dissolved());
    scene.tell(PoolEvent::Gone(place(1)));
    assert!(scene.pool.is_dissolved());
    assert_eq!(scene.actions_until(1000), []);
}
