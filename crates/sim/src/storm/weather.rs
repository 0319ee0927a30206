//! Events that befall instances, directories and publishers.

use std::time::Duration;

use onionweave_assign::Load;
use onionweave_publish::Event;
use onionweave_ring::Fingerprint;
use onionweave_ring::v2::TimePeriod;
use rand::RngExt as _;
use rand::seq::IteratorRandom as _;

use super::directories::Watched;
use super::judge::LOOKS_UP;
use super::world::{Due, World};
use crate::Fault;
use crate::engine::World as _;
use crate::instance::State as Process;
use crate::witness;

/// The end, or the next part, of something that befell somebody.
#[derive(Debug)]
pub(super) enum Turn {
    /// An instance's process starts in place of that one, to offer the same points or others.
    Starts { instance: usize, life: u32, same: bool },
    /// An instance has built its descriptor.
    Offers { instance: usize, life: u32, same: bool },
    /// A hung one goes on, or dies.
    HangEnds { instance: usize, life: u32, dies: bool },
    /// An instance goes on dying and starting.
    Flaps { instance: usize, left: u32 },
    /// The backend of an instance can be used again, or not any more.
    Health { instance: usize, left: u32 },
    /// Its clock is right again.
    ClockOfInstance { instance: usize },
    /// A directory is well again.
    Recovers { directory: Fingerprint },
    /// The publisher's clock is corrected.
    Clock { publisher: usize, by: i64 },
    /// Somebody notices that there are two publishers.
    SecondPublisherStops,
    /// A publisher that starts reads the consensus for the first time.
    ReadsConsensus { publisher: usize },
    /// The configuration names all instances again.
    ConfiguredAll { publisher: usize },
}

/// An upload or an audit is never lost twice as often as this many directories fall silent at once,
/// or nothing would be left to see.
const MOST_SILENT: usize = 3;

impl World {
    /// Something befalls somebody, and the next time is drawn.
    pub(super) fn weather(&mut self) {
        let next = self.state.season.until_next(&mut self.rng);
        self.after_exactly(next, Due::Weather);
        self.tally.events += 1;
        self.state.far.calm_since = self.state.now();
        self.changed = true;
        let instance = self.rng.random_range(0..self.state.instances.len());
        let publisher = self.rng.random_range(0..self.state.publishers.len());
        match self.rng.random_range(0..45) {
            0..4 => self.kill(instance),
            4..6 => self.hang(instance),
            6 => self.turn(Turn::Flaps { instance, left: 5 }),
            7..10 => self.rotate(instance),
            10..12 => self.rebuild(instance),
            12 => self.lose_points(instance),
            13 => self.rubbish(publisher, instance),
            14..16 => self.break_link(publisher, instance),
            16 => self.set_clock_of_instance(instance),
            17..19 if self.state.climate.loud => self.publish(instance),
            17..19 => self.rotate(instance),
            19..22 => self.silence(),
            22..24 => self.drop_uploads(),
            24..26 => self.refuse_uploads(),
            26..28 => self.forget(),
            28..30 => self.leave(),
            30..32 => self.join(),
            32 => self.jump(),
            33 => self.read_consensus_now(publisher),
            34..36 if self.state.climate.far.is_none() => self.step_clock(publisher),
            34..36 => self.replay(publisher),
            36 => self.restart_publisher(publisher),
            37 => self.configure(publisher),
            38 if self.state.climate.second_publisher => self.start_second_publisher(),
            40..43 if self.state.climate.far.is_some() => self.lie(),
            40..42 => self.turn(Turn::Health { instance, left: 0 }),
            42 => self.turn(Turn::Health { instance, left: 7 }),
            43..45 if self.state.climate.settings.damping.is_some() => self.measure(publisher),
            _ => self.call_for_nothing(publisher),
        }
    }

    // Instances.

    fn kill(&mut self, instance: usize) {
        if self.state.instances[instance].state == Process::Dead {
            return;
        }
        let name = self.state.instances[instance].name.clone();
        self.log.note(self.state.now(), format_args!("{name} dies"));
        self.state.instances[instance].state = Process::Dead;
        self.notice(instance, 1..100);
        // Most are started again soon, by somebody.
        let same = self.rng.random_bool(0.3);
        let life = self.state.instances[instance].life;
        let within = if self.rng.random_bool(0.8) {
            1_000..120_000
        } else {
            600_000..7_200_000
        };
        self.after(within, Due::Turn(Turn::Starts { instance, life, same }));
    }

    fn hang(&mut self, instance: usize) {
        if self.state.instances[instance].state != Process::Runs {
            return;
        }
        let name = self.state.instances[instance].name.clone();
        self.log.note(self.state.now(), format_args!("{name} hangs"));
        self.state.instances[instance].state = Process::Hangs;
        self.notice(instance, 2_000..4_000);
        let dies = self.rng.random();
        let life = self.state.instances[instance].life;
        self.after(500..600_000, Due::Turn(Turn::HangEnds { instance, life, dies }));
    }

    fn rotate(&mut self, instance: usize) {
        if self.state.instances[instance].state != Process::Runs {
            return;
        }
        let name = self.state.instances[instance].name.clone();
        self.log.note(self.state.now(), format_args!("{name} has other points"));
        let count = if self.rng.random_bool(0.9) {
            3
        } else {
            self.rng.random_range(1..=10)
        };
        let points = self.points.draw(&mut self.rng, count);
        self.state.instances[instance].build(Some(points));
        self.published(instance);
    }

    /// Makes an instance build its descriptor anew with the points that it has.
    pub(super) fn rebuild(&mut self, instance: usize) {
        let it = &mut self.state.instances[instance];
        if it.state == Process::Runs && it.has_points() {
            it.build(None);
            self.published(instance);
        }
    }

    /// Does what follows when an instance has built its descriptor.
    fn published(&mut self, instance: usize) {
        if self.state.climate.far() == Some(instance) {
            self.far_built(instance);
        }
        self.notice(instance, 1..50);
        if self.state.climate.loud {
            self.publish(instance);
        }
    }

    fn lose_points(&mut self, instance: usize) {
        if self.state.instances[instance].state != Process::Runs {
            return;
        }
        let name = self.state.instances[instance].name.clone();
        self.log
            .note(self.state.now(), format_args!("{name} has no descriptor any more"));
        self.state.instances[instance].lose();
        self.notice(instance, 1..50);
        let life = self.state.instances[instance].life;
        let same = self.rng.random();
        self.after(1_000..60_000, Due::Turn(Turn::Offers { instance, life, same }));
    }

    fn rubbish(&mut self, publisher: usize, instance: usize) {
        let name = self.state.instances[instance].name.clone();
        if self.state.publishers[publisher].links[instance].told.is_some() {
            self.log.note(
                self.state.now(),
                format_args!("{name} answers publisher {publisher} with rubbish"),
            );
            let text = b"rendezvous-service-descriptor rubbish\n".to_vec();
            let event = Event::InstanceOffers {
                instance: name,
                text,
                rebuilt: false,
            };
            self.tell(publisher, event);
        }
    }

    fn break_link(&mut self, publisher: usize, instance: usize) {
        let for_secs = self.rng.random_range(0..20);
        self.log.note(
            self.state.now(),
            format_args!("the link of publisher {publisher} to {instance} breaks"),
        );
        self.state.publishers[publisher].links[instance].broken_until =
            self.state.now() + Duration::from_secs(for_secs);
        self.after(1..20, Due::Link { publisher, instance });
    }

    fn set_clock_of_instance(&mut self, instance: usize) {
        // A far instance is believed by its dates.
        if self.state.climate.far() == Some(instance) {
            return;
        }
        let by = [-3600, 3600, 7200, 600][self.rng.random_range(0..4)];
        self.log.note(
            self.state.now(),
            format_args!("the clock of instance {instance} is {by} s ahead"),
        );
        self.state.instances[instance].ahead = by;
        self.after(60_000..7_200_000, Due::Turn(Turn::ClockOfInstance { instance }));
    }

    pub(super) fn turn(&mut self, turn: Turn) {
        self.changed = true;
        self.state.far.calm_since = self.state.now();
        match turn {
            Turn::Starts { instance, life, same } => {
                let it = &mut self.state.instances[instance];
                // A restart command ends what hangs.
                if it.life != life || it.state == Process::Runs {
                    return;
                }
                it.start();
                let (name, life) = (it.name.clone(), it.life);
                self.log.note(self.state.now(), format_args!("{name} starts"));
                self.notice(instance, 10..1_000);
                self.after(1_000..15_000, Due::Turn(Turn::Offers { instance, life, same }));
            }
            Turn::Offers { instance, life, same } => {
                let it = &self.state.instances[instance];
                if it.life == life && it.state == Process::Runs {
                    match same && it.has_points() {
                        true => self.rebuild(instance),
                        false => self.rotate(instance),
                    }
                }
            }
            Turn::HangEnds { instance, life, dies } => {
                let it = &mut self.state.instances[instance];
                if it.life == life && it.state == Process::Hangs {
                    it.state = Process::Runs;
                    match dies {
                        true => self.kill(instance),
                        false => {
                            self.log
                                .note(self.state.now(), format_args!("instance {instance} goes on"));
                            self.notice(instance, 10..2_000);
                        }
                    }
                }
            }
            Turn::Flaps { instance, left } => {
                match self.state.instances[instance].state {
                    Process::Dead => {
                        self.state.instances[instance].start();
                        self.notice(instance, 1..100);
                        self.rebuild(instance);
                    }
                    Process::Runs => {
                        self.state.instances[instance].state = Process::Dead;
                        self.notice(instance, 1..100);
                    }
                    Process::Hangs => {}
                }
                self.log
                    .note(self.state.now(), format_args!("{instance} flaps, {left} to go"));
                match left.checked_sub(1) {
                    Some(left) => self.after(200..4_000, Due::Turn(Turn::Flaps { instance, left })),
                    None => {
                        let life = self.state.instances[instance].life;
                        self.after(
                            1..5_000,
                            Due::Turn(Turn::Starts {
                                instance,
                                life,
                                same: true,
                            }),
                        );
                    }
                }
            }
            Turn::Health { instance, left } => {
                let it = &mut self.state.instances[instance];
                it.fit = !it.fit;
                let (name, fit) = (it.name.clone(), it.fit);
                self.log.note(self.state.now(), format_args!("{name} is fit: {fit}"));
                for publisher in 0..self.state.publishers.len() {
                    self.after(1..2_000, Due::Check { publisher, instance });
                }
                match left.checked_sub(1) {
                    Some(left) => self.after(200..4_000, Due::Turn(Turn::Health { instance, left })),
                    None if !fit => self.after(1_000..1_800_000, Due::Turn(Turn::Health { instance, left: 0 })),
                    None => {}
                }
            }
            Turn::ClockOfInstance { instance } => self.state.instances[instance].ahead = 0,
            Turn::Recovers { directory } => {
                let now = self.state.now();
                if let Some(place) = self.state.places.get_mut(&directory).filter(|place| place.listed) {
                    place.set_fault(Fault::None, now);
                    self.log.note(now, format_args!("{directory} is well again"));
                }
            }
            Turn::SecondPublisherStops => self.stop_second_publisher(),
            Turn::Clock { publisher, .. } | Turn::ReadsConsensus { publisher } | Turn::ConfiguredAll { publisher }
                if publisher >= self.state.publishers.len() => {}
            Turn::Clock { publisher, by } => self.set_clock(publisher, by),
            Turn::ReadsConsensus { publisher } => self.read_consensus_now(publisher),
            Turn::ConfiguredAll { publisher } => {
                let settings = self.state.climate.settings.clone();
                self.reconfigure(publisher, settings);
            }
        }
    }

    // Directories.

    /// A directory to which something may happen; preferably one that matters.
    fn any_directory(&mut self) -> Option<Fingerprint> {
        let service = self.state.key.service_id();
        let periods: Vec<_> = TimePeriod::published(&service, self.state.moment(0).wall()).collect();
        let demanded = witness::demanded(&service, &self.state.publishers[0].ring, &periods);
        let responsible: Vec<_> = demanded.into_iter().map(|(slot, _)| slot.directory).collect();
        let matters = self.rng.random_bool(0.8);
        let chosen = responsible.into_iter().filter(|_| matters).choose(&mut self.rng);
        chosen.or_else(|| self.state.places.keys().copied().choose(&mut self.rng))
    }

    pub(super) fn befall(&mut self, what: &str, change: impl FnOnce(&mut Watched, Duration)) {
        let now = self.state.now();
        if let Some(directory) = self.any_directory()
            && let Some(place) = self.state.places.get_mut(&directory).filter(|place| place.listed)
        {
            self.log.note(now, format_args!("{directory} {what}"));
            change(place, now);
        }
    }

    fn silence(&mut self) {
        let silent = self.state.places.values().filter(|place| place.is_silent()).count();
        if silent >= MOST_SILENT {
            return;
        }
        let now = self.state.now();
        if let Some(directory) = self.any_directory()
            && let Some(place) = self.state.places.get_mut(&directory).filter(|place| place.listed)
        {
            self.log.note(now, format_args!("{directory} falls silent"));
            place.set_fault(Fault::Silent, now);
            let within = if self.rng.random_bool(0.7) {
                1_000..60_000
            } else {
                60_000..3_600_000
            };
            self.after(within, Due::Turn(Turn::Recovers { directory }));
        }
    }

    fn drop_uploads(&mut self) {
        let times = self.rng.random_range(1..5);
        self.befall("drops uploads", |place, now| {
            place.set_fault(Fault::DropsUploads(times), now)
        });
    }

    fn refuse_uploads(&mut self) {
        let times = self.rng.random_range(1..5);
        self.befall("refuses uploads", |place, now| {
            place.set_fault(Fault::Refuses(times), now)
        });
    }

    fn forget(&mut self) {
        self.befall("forgets everything", Watched::forget);
    }

    fn leave(&mut self) {
        let listed = self.state.places.values().filter(|place| place.listed).count();
        if listed > 1 {
            self.befall("leaves", |place, now| {
                place.listed = false;
                place.set_fault(Fault::Silent, now);
            });
        }
    }

    fn join(&mut self) {
        let now = self.state.now();
        let gone = self
            .state
            .places
            .iter_mut()
            .filter(|(_, place)| !place.listed)
            .choose(&mut self.rng);
        let forgets = self.rng.random_bool(0.8);
        match gone {
            Some((directory, place)) => {
                self.log.note(now, format_args!("{directory} joins again"));
                place.listed = true;
                place.set_fault(Fault::None, now);
                if forgets {
                    place.forget(now);
                }
            }
            None => self.grow(),
        }
    }

    /// A directory joins that was never there.
    fn grow(&mut self) {
        let directory = Fingerprint::from(self.rng.random::<[u8; 20]>());
        self.log.note(self.state.now(), format_args!("{directory} joins"));
        let place = self.new_place();
        self.state.places.insert(directory, place);
    }

    /// Many directories leave and join at once, and all hear of it.
    fn jump(&mut self) {
        self.log.note(self.state.now(), "the consensus jumps");
        for _ in 0..self.state.climate.directories.div_ceil(3) {
            self.leave();
            match self.rng.random() {
                true => self.join(),
                false => self.grow(),
            }
        }
        for publisher in 0..self.state.publishers.len() {
            self.read_consensus_now(publisher);
        }
    }

    // Publishers.

    fn step_clock(&mut self, publisher: usize) {
        let minutes = match self.rng.random_range(0..10) {
            0 => 36 * 60,
            1 => -36 * 60,
            _ => self.rng.random_range(-150..150),
        };
        let by = minutes * 60 + self.rng.random_range(0..60);
        self.set_clock(publisher, by);
        let within = match self.rng.random_bool(0.8) {
            true => 1_000..300_000,
            false => 300_000..3_600_000,
        };
        self.after(within, Due::Turn(Turn::Clock { publisher, by: -by }));
    }

    fn set_clock(&mut self, publisher: usize, by: i64) {
        self.log.note(
            self.state.now(),
            format_args!("the clock of publisher {publisher} is set by {by} s"),
        );
        // Its driver sleeps, and looks up in a moment.
        self.state.engine.step_clock_unnoticed(publisher, by);
        self.state.publishers[publisher].clock_set = self.state.now();
        self.after(0..LOOKS_UP.as_millis() as u64, Due::Wakes { publisher });
    }

    fn restart_publisher(&mut self, publisher: usize) {
        self.log.note(
            self.state.now(),
            format_args!("publisher {publisher} is killed and starts again"),
        );
        let seed = self.rng.random();
        let life = self.next_life();
        self.state.restart(publisher, life, seed);
        self.judge.restarted(publisher, &self.state);
        self.starts(publisher);
    }

    fn starts(&mut self, publisher: usize) {
        self.after(1..1_000, Due::Turn(Turn::ReadsConsensus { publisher }));
        for instance in 0..self.state.instances.len() {
            self.after(1..1_500, Due::Link { publisher, instance });
            self.after(1..1_500, Due::Check { publisher, instance });
        }
    }

    fn next_life(&mut self) -> u32 {
        self.publishers_so_far += 1;
        self.publishers_so_far
    }

    fn start_second_publisher(&mut self) {
        if self.state.publishers.len() > 1 {
            return;
        }
        self.log.note(self.state.now(), "a second publisher starts");
        let (seed, life) = (self.rng.random(), self.next_life());
        self.state.join(life, seed);
        self.judge.joined(self.witness(1));
        self.starts(1);
        self.after(60_000..3_600_000, Due::Turn(Turn::SecondPublisherStops));
    }

    fn stop_second_publisher(&mut self) {
        self.log.note(self.state.now(), "the second publisher stops");
        self.state.stop_others();
        self.judge.others_stopped();
        let now = self.state.now();
        // What it wrote stays, unknown to the first.
        self.state.places.values_mut().for_each(|place| place.disturb(now));
    }

    /// The configuration leaves some instances out for a while.
    fn configure(&mut self, publisher: usize) {
        let mut settings = self.state.climate.settings.clone();
        let mut instances = settings.instances().to_vec();
        let mut left = instances.len();
        instances.retain(|_| {
            let stays = left == 1 || self.rng.random_bool(0.7);
            left -= usize::from(!stays);
            stays
        });
        // Fewer of them have no more names in common.
        if settings.set_instances(instances).is_err() {
            return;
        }
        self.reconfigure(publisher, settings);
        self.after(10_000..600_000, Due::Turn(Turn::ConfiguredAll { publisher }));
    }

    fn reconfigure(&mut self, publisher: usize, settings: onionweave_publish::Settings) {
        self.log.note(
            self.state.now(),
            format_args!(
                "publisher {publisher} is configured with {} instances",
                settings.instances().len()
            ),
        );
        for instance in 0..self.state.instances.len() {
            let name = &self.state.instances[instance].name;
            let watched = settings.instances().iter().any(|known| known.name == *name);
            let link = &mut self.state.publishers[publisher].links[instance];
            link.watched = watched;
            if !watched {
                (link.told, link.unfit) = (None, false);
                if self.state.climate.far() == Some(instance) {
                    self.state.publishers[publisher].far_told = None;
                }
            }
            self.after(1..1_500, Due::Link { publisher, instance });
            self.after(1..1_500, Due::Check { publisher, instance });
        }
        self.state.publishers[publisher].settings = settings.clone();
        self.tell(publisher, Event::Configured(settings));
    }

    /// A publisher learns how much each instance has to do, as far as that can be measured.
    fn measure(&mut self, publisher: usize) {
        self.log
            .note(self.state.now(), format_args!("publisher {publisher} measures loads"));
        for instance in 0..self.state.instances.len() {
            let load = match self.rng.random_bool(0.1) {
                true => None,
                // From nearly idle to a hundred times the usual.
                false => Load::new(10_f64.powf(self.rng.random_range(-3.0..2.0))).ok(),
            };
            let instance = self.state.instances[instance].name.clone();
            self.tell(publisher, Event::InstanceLoad { instance, load });
        }
    }

    /// Spurious calls are harmless.
    fn call_for_nothing(&mut self, publisher: usize) {
        for _ in 0..3 {
            self.call(publisher);
        }
    }
}
