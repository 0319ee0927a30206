//! A visit: the rules by which a client of tor 0.4.5.9 finds a service. Places in Tor are below
//! `src/feature/rend` where nothing else is said.

use std::time::Duration;

use onionweave_ring::UnixTime;
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use super::clients::{Client, Clients};
use super::notes::{NONE, Topic};
use super::record::{Miss, Outcome, Record};
use super::shelves::{MOST_POINTS, Shelves, Text};
use super::{Gait, Micros, Reach, SECOND, below};
use crate::instance::State;

/// `REND_CACHE_MAX_AGE` and `REND_CACHE_MAX_SKEW`, `rendcache.h:17-20`.
const OLDEST: Duration = Duration::from_secs((48 + 24) * 3600);
/// Time for which a relay counts as failed, in seconds (`REND_CACHE_FAILURE_MAX_AGE`,
/// `rendcache.h:22`).
const FAILED_FOR: u32 = 5 * 60;
/// Time for which a circuit can be idle and still be used, in seconds (`MaxCircuitDirtiness`; each
/// use begins it anew for a rendezvous circuit, `core/or/circuituse.c:160`,
/// `core/or/circuituse.c:2986`).
const CIRCUIT_KEPT: u32 = 10 * 60;
/// Time between two looks of an instance which of its own circuits are as old and have no stream,
/// in seconds (`NewCircuitPeriod`, and a second for the comparison,
/// `core/or/circuituse.c:1366-1371`). It counts from the rendezvous (`rendservice.c:3493`), so that
/// it closes circuits on which clients still rely, whatever the comment at
/// `core/or/circuituse.c:1534` says.
const CIRCUITS_LOOKED_AT: u64 = 31;

/// Surroundings of a client that does something.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    /// Until when nothing happens but what clients do: so far a client may go on alone.
    pub(super) horizon: Micros,
    pub(super) start: UnixTime,
    pub(super) gait: &'a Gait,
    pub(super) churns: bool,
    pub(super) shelves: &'a mut Shelves,
    pub(super) servers: &'a mut [Reach],
    /// The instance of each process that there has been.
    pub(super) lives: &'a [u32],
    pub(super) record: &'a mut Record,
    pub(super) rng: &'a mut ChaCha12Rng,
    /// Introduction points that have passed on as much as they shall, and when.
    pub(super) worn: &'a mut Vec<(Micros, u32)>,
    /// Instance whose transfers changed.
    pub(super) touched: &'a mut bool,
}

/// A visit under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    pub(super) began: Micros,
    /// When Tor last began to count how old the stream is.
    born: Micros,
    /// When it was connected.
    pub(super) connected: Micros,
    pub(super) phase: Phase,
    /// The replicas that the stream itself asked for, a bit for each.
    own: u8,
    /// Number of directories that were asked.
    pub(super) fetches: u16,
    /// The first of them.
    pub(super) first_asked: u32,
}

/// Next step of a client.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    Begins,
    /// The client asks a directory.
    Asks {
        /// Whether the stream does, or something else for it.
        own: bool,
    },
    /// A directory answers.
    Answered {
        spot: u32,
    },
    /// The client draws an introduction point, after something went wrong with another.
    Draws(Miss),
    /// The client is connected, and fetches something.
    Joined(u32),
    /// The client is given something by an instance.
    Transfers(u32),
    GivesUp(Miss),
}

/// Outcome of a step.
pub(super) enum Step {
    Later(Micros, Phase),
    Transfers(u32),
    /// The visit is over, or will be at that time.
    Over {
        at: Micros,
        outcome: Outcome,
    },
}

impl Attempt {
    pub(super) const fn begin(at: Micros) -> Self {
        Self {
            began: at,
            born: at,
            connected: at,
            phase: Phase::Begins,
            own: 0,
            fetches: 0,
            first_asked: NONE,
        }
    }
}

impl Scene<'_> {
    pub(super) fn clock(&self, at: Micros) -> UnixTime {
        UnixTime::from_secs(self.start.as_secs() + at / SECOND)
    }
}

impl Clients {
    pub(super) fn take_step(
        &mut self,
        client: &mut Client,
        number: u32,
        attempt: &mut Attempt,
        at: Micros,
        scene: &mut Scene<'_>,
    ) -> Step {
        let step = match attempt.phase {
            Phase::Begins => self.begin(client, at, scene),
            Phase::Asks { own } => self.ask(client, number, attempt, at, own, scene),
            Phase::Answered { spot } => self.answered(client, attempt, at, spot, scene),
            Phase::Draws(_) => self.draw(client, at, scene),
            Phase::Joined(server) => self.join(client, number, at, server, scene),
            // Nobody is called while it is given something.
            Phase::Transfers(server) => Step::Later(at, Phase::Joined(server)),
            Phase::GivesUp(cause) => self.give_up(client, attempt, at, cause, scene),
        };
        // A stream that is not attached is given up when it is old enough
        // (core/or/connection_edge.c:1163, core/or/circuituse.c:2868).
        let last = attempt.born + scene.gait.give_up;
        match step {
            Step::Later(when, Phase::Asks { .. } | Phase::Answered { .. }) if when >= last => {
                Step::Later(last.max(at), Phase::GivesUp(Miss::NoDescriptor))
            }
            Step::Later(when, Phase::Draws(cause)) if when >= last => Step::Later(last.max(at), Phase::GivesUp(cause)),
            step => step,
        }
    }

    fn begin(&mut self, client: &mut Client, at: Micros, scene: &mut Scene<'_>) -> Step {
        let habit = self.habit_of(client);
        if habit.fresh {
            client.text = NONE;
            client.gone = 0;
            self.notes.retain(&mut client.notes, |_, _| false);
        }
        if client.text != NONE && is_too_old(text_of(scene.shelves, client), scene.clock(at)) {
            client.text = NONE;
        }
        if !habit.isolated && client.circuit != NONE {
            if let Some(server) = circuit_leads_to(client, at, scene) {
                client.used = seconds(at);
                let hangs = scene
                    .servers
                    .get(server as usize)
                    .is_some_and(|one| one.state == State::Hangs);
                return match hangs {
                    // A stream that is attached waits for as long
                    // (core/or/connection_edge.c:1190-1205).
                    true => Step::Later(at + scene.gait.give_up, Phase::GivesUp(Miss::Silent)),
                    false => self.connect(client, at + scene.gait.reuse, server, scene),
                };
            }
            client.circuit = NONE;
        }
        if client.text != NONE && self.any_usable(client, at, scene) {
            // A descriptor is used for as long as there is a point to try
            // (core/or/connection_edge.c:2035, 2090).
            return self.draw(client, at, scene);
        }
        Step::Later(at, Phase::Asks { own: true })
    }

    // Directories.

    /// Draws the replica, and then one of its directories that were not asked lately
    /// (`rendclient.c:610-675`, `feature/hs/hs_common.c:1634-1708`).
    fn ask(
        &mut self,
        client: &mut Client,
        number: u32,
        attempt: &mut Attempt,
        at: Micros,
        own: bool,
        scene: &mut Scene<'_>,
    ) -> Step {
        let now = seconds(at);
        let requery = scene.gait.requery;
        if client.notes != NONE {
            // `last + period >= now` bars a directory (feature/hs/hs_common.c:1662).
            self.notes.retain(&mut client.notes, |topic, noted| match topic {
                Topic::Asked(_) => noted + requery >= now,
                Topic::Failed(_) => noted + FAILED_FOR >= now,
            });
        }
        let clock = scene.clock(at);
        let consensus = match self.views.get_mut(number as usize) {
            Some(view) => view.advance(scene.shelves, clock, scene.rng),
            None => scene.shelves.newest(),
        };
        let shelf = *scene.shelves.shelf(consensus);
        let first = usize::from(scene.rng.random::<bool>());
        for replica in [first, 1 - first] {
            if own {
                attempt.own |= 1 << replica;
            }
            let mut left = [NONE; MOST_POINTS];
            let mut count = 0;
            for &spot in shelf.get(replica).map(|shelf| shelf.spots()).unwrap_or_default() {
                let barred = self
                    .notes
                    .iter(client.notes)
                    .any(|(topic, _)| topic == Topic::Asked(spot));
                if !barred && let Some(place) = left.get_mut(count) {
                    *place = spot;
                    count += 1;
                }
            }
            if count == 0 {
                continue;
            }
            let spot = left
                .get(below(scene.rng, count as u64) as usize)
                .copied()
                .unwrap_or(NONE);
            self.notes.add(&mut client.notes, Topic::Asked(spot), now);
            scene.record.fetches += 1;
            if attempt.first_asked == NONE {
                attempt.first_asked = spot;
            }
            attempt.fetches = attempt.fetches.saturating_add(1);
            let seen = scene.shelves.spot_mut(spot);
            if seen.answers {
                return Step::Later(at + scene.gait.fetch, Phase::Answered { spot });
            }
            seen.unanswered += 1;
            // When its connection is closed at last, another directory is asked
            // (feature/dirclient/dirclient.c:3023-3036).
            return Step::Later(at + scene.gait.silent_directory, Phase::Asks { own: false });
        }
        // Nobody tells the stream, so it waits until it is too old (`rendclient.c:676-681`,
        // `rendclient.c:737-741`).
        Step::Later(attempt.born + scene.gait.give_up, Phase::GivesUp(Miss::NoDescriptor))
    }

    /// Keeps a text, or not (`rendcache.c:966-995`), and goes on with what there is then
    /// (`rendclient.c:922-966`).
    fn answered(
        &mut self,
        client: &mut Client,
        attempt: &mut Attempt,
        at: Micros,
        spot: u32,
        scene: &mut Scene<'_>,
    ) -> Step {
        let seen = scene.shelves.spot_mut(spot);
        let again = Phase::Asks { own: false };
        if !seen.answers {
            seen.unanswered += 1;
            return Step::Later(at + scene.gait.silent_directory, again);
        }
        let number = seen.text;
        if number == NONE {
            seen.missing += 1;
            return Step::Later(at, again);
        }
        seen.handed_out += 1;
        if !self.keeps(client, number, at, scene.clock(at), scene.shelves) {
            return Step::Later(at, again); // feature/dirclient/dirclient.c:2841
        }
        if !self.any_usable(client, at, scene) {
            return self.give_up(client, attempt, at, Miss::NothingNew, scene);
        }
        attempt.born = at; // rendclient.c:951
        self.draw(client, at, scene)
    }

    /// Takes a text that was fetched. Returns whether the client accepts it, be it that it goes on
    /// with the one that it has. The whole of the rules, with those that no text here can break, is
    /// `onionweave_desc::v2::Fetch::judge`.
    fn keeps(&mut self, client: &mut Client, number: u32, at: Micros, clock: UnixTime, shelves: &Shelves) -> bool {
        let text = text(shelves, number);
        if is_too_old(text, clock) {
            return false; // rendcache.c:955
        }
        let held = (client.text != NONE).then(|| text_of(shelves, client).time);
        // The bytes that it holds, it has already (rendcache.c:969); and an older text does not
        // take the place of a newer one (rendcache.c:979).
        if number == client.text || held.is_some_and(|held| held > text.time) {
            return true;
        }
        let gone = self.failed_points(client, text, at);
        // Failures at relays that the text does not name are forgotten (rendcache.c:413-452).
        let points = text.points();
        self.notes.retain(&mut client.notes, |topic, _| match topic {
            Topic::Failed(failed) => points.iter().any(|&(_, relay)| relay == failed),
            Topic::Asked(_) => true,
        });
        if points.len() == gone.count_ones() as usize {
            return false; // rendcache.c:990
        }
        (client.text, client.gone) = (number, gone);
        true
    }

    /// Returns the points of a text that are at relays that failed lately, a bit for each.
    fn failed_points(&self, client: &Client, text: &Text, at: Micros) -> u16 {
        if client.notes == NONE {
            return 0;
        }
        let now = seconds(at);
        let mut points = 0;
        for (topic, noted) in self.notes.iter(client.notes) {
            // rendcache.c:267-280
            if let Topic::Failed(failed) = topic
                && noted + FAILED_FOR >= now
            {
                for (i, &(_, relay)) in text.points().iter().enumerate() {
                    points |= u16::from(relay == failed) << i;
                }
            }
        }
        points
    }

    // Introduction points.

    /// The points that it has not taken out and that are not at a relay that failed
    /// (`rendclient.c:1047-1067`), a bit for each.
    fn usable(&self, client: &Client, text: &Text, at: Micros) -> u16 {
        let all = (1 << text.points().len()) - 1;
        all & !client.gone & !self.failed_points(client, text, at)
    }

    fn any_usable(&self, client: &Client, at: Micros, scene: &Scene<'_>) -> bool {
        self.usable(client, text_of(scene.shelves, client), at) != 0
    }

    /// Draws one of the points evenly (`rendclient.c:1087`) and introduces itself.
    fn draw(&mut self, client: &mut Client, at: Micros, scene: &mut Scene<'_>) -> Step {
        let text = text_of(scene.shelves, client);
        let usable = self.usable(client, text, at);
        if usable == 0 {
            // rendclient.c:878-892: somebody else for the stream
            return Step::Later(at, Phase::Asks { own: false });
        }
        let mut left = usable;
        for _ in 0..below(scene.rng, u64::from(usable.count_ones())) {
            left &= left - 1;
        }
        let drawn = left.trailing_zeros() as usize;
        // The key is that of the first point at the relay that was not taken out
        // (rendclient.c:162-171), and so is what is taken out if that fails (rendclient.c:833-848).
        let points = text.points();
        let relay = points.get(drawn).map_or(NONE, |&(_, relay)| relay);
        let first = points
            .iter()
            .enumerate()
            .find(|&(i, point)| point.1 == relay && client.gone & 1 << i == 0);
        let Some((i, &(number, _))) = first else {
            return Step::Later(at, Phase::Asks { own: false });
        };
        let point = scene.shelves.point_mut(number);
        let server = point.server;
        if !point.open {
            client.gone |= 1 << i;
            self.fail(client, relay, at);
            return Step::Later(at + scene.gait.dead_point, Phase::Draws(Miss::DeadPoints));
        }
        point.introductions += 1;
        if point.introductions == point.most {
            scene.worn.push((at, number));
        }
        if scene
            .servers
            .get(server as usize)
            .is_some_and(|one| one.state == State::Hangs)
        {
            // The relay acknowledges it all the same; nothing is held against the point
            // (core/or/circuituse.c:774-795).
            return Step::Later(at + scene.gait.silent_instance, Phase::Draws(Miss::Silent));
        }
        if let Some(instance) = scene.record.instances.get_mut(server as usize) {
            instance.introductions += 1;
        }
        self.connect(client, at + scene.gait.connect, server, scene)
    }

    /// Notes that a relay failed, if that is not noted (`rendcache.c:456-467`).
    fn fail(&mut self, client: &mut Client, relay: u32, at: Micros) {
        let now = seconds(at);
        self.notes.retain(&mut client.notes, |topic, noted| match topic {
            Topic::Failed(_) => noted + FAILED_FOR >= now,
            Topic::Asked(_) => true,
        });
        let known = self
            .notes
            .iter(client.notes)
            .any(|(topic, _)| topic == Topic::Failed(relay));
        if !known {
            self.notes.add(&mut client.notes, Topic::Failed(relay), now);
        }
    }

    // The end.

    /// Notes that the client is connected, or will be at that time.
    fn connect(&self, client: &mut Client, at: Micros, server: u32, scene: &mut Scene<'_>) -> Step {
        let habit = self.habit_of(client);
        let Some(reach) = scene.servers.get(server as usize) else {
            return Step::Later(at, Phase::Asks { own: false });
        };
        if !habit.isolated {
            if client.circuit != reach.life {
                client.circuit = reach.life;
                client.closes = seconds(at) + CIRCUIT_KEPT + next_look(scene.rng);
            }
            client.used = seconds(at);
        }
        if habit.bytes > 0 && reach.pipe.is_some() {
            return Step::Later(at, Phase::Joined(server));
        }
        if habit.bytes > 0 {
            scene.record.sent(server as usize, at, at, habit.bytes as f64);
        }
        Step::Over {
            at,
            outcome: Outcome::Served(server as usize),
        }
    }

    fn join(&mut self, client: &Client, number: u32, at: Micros, server: u32, scene: &mut Scene<'_>) -> Step {
        let bytes = self.habit_of(client).bytes;
        let broken = Step::Over {
            at,
            outcome: Outcome::Missed(Miss::BrokenOff),
        };
        let Some(reach) = scene.servers.get_mut(server as usize) else {
            return broken;
        };
        match (reach.state, &mut reach.pipe) {
            (State::Runs, Some(pipe)) => {
                let (since, sent) = pipe.advance(at);
                pipe.begin(number, bytes);
                *scene.touched = true;
                scene.record.sent(server as usize, since, at, sent);
                Step::Transfers(server)
            }
            // Between the introduction and the first byte.
            (State::Hangs, _) => Step::Later(at + scene.gait.give_up, Phase::GivesUp(Miss::Silent)),
            _ => broken,
        }
    }

    /// The stream ends unattached. With it ends the attempt, and what it asked is forgotten: but
    /// Tor looks only for the descriptor IDs that the stream itself has computed, and those that
    /// something else asked for it stay noted (`rendclient.c:991-1001`; a stream's own IDs are
    /// wrong until it fetches, `feature/hs/hs_common.c:423-454`, and `rendclient.c:649-655` puts
    /// right the copy that fetches).
    fn give_up(
        &mut self,
        client: &mut Client,
        attempt: &Attempt,
        at: Micros,
        cause: Miss,
        scene: &mut Scene<'_>,
    ) -> Step {
        if cause != Miss::BrokenOff && attempt.own != 0 {
            let spots = scene.shelves.spots();
            self.notes.retain(&mut client.notes, |topic, _| match topic {
                Topic::Asked(spot) => {
                    let replica = spots.get(spot as usize).map_or(0, |spot| spot.replica.number());
                    attempt.own & 1 << replica == 0
                }
                Topic::Failed(_) => true,
            });
        }
        Step::Over {
            at,
            outcome: Outcome::Missed(cause),
        }
    }
}

/// The instance to which a client still has a circuit.
fn circuit_leads_to(client: &Client, at: Micros, scene: &Scene<'_>) -> Option<u32> {
    let server = *scene.lives.get(client.circuit as usize)?;
    let reach = scene.servers.get(server as usize)?;
    let is_closed = seconds(at) >= client.closes && reach.state == State::Runs;
    let stands = reach.life == client.circuit && client.used + CIRCUIT_KEPT > seconds(at) && !is_closed;
    stands.then_some(server)
}

/// In how many seconds an instance looks next at its circuits.
fn next_look(rng: &mut ChaCha12Rng) -> u32 {
    1 + below(rng, CIRCUITS_LOOKED_AT) as u32
}

impl Client {
    /// Notes that the client has all that it wanted over its circuit.
    pub(super) fn lets_go(&mut self, at: Micros, rng: &mut ChaCha12Rng) {
        if self.circuit != NONE && seconds(at) >= self.closes {
            self.closes = seconds(at) + next_look(rng);
        }
    }
}

/// Nobody accepts a text that is so old, or keeps it (`rendcache.c:295`, `rendcache.c:955`).
fn is_too_old(text: &Text, clock: UnixTime) -> bool {
    text.time < clock.saturating_sub(OLDEST).as_secs()
}

fn text(shelves: &Shelves, number: u32) -> &Text {
    // Numbers of texts come from spots and clients, which have them from `Shelves`, and texts stay.
    &shelves.texts[number as usize]
}

fn text_of<'a>(shelves: &'a Shelves, client: &Client) -> &'a Text {
    text(shelves, client.text)
}

fn seconds(at: Micros) -> u32 {
    (at / SECOND) as u32
}

#[cfg(test)]
mod tests {
    use onionweave_desc::Error;
    use onionweave_desc::rsa::RustCrypto;
    use onionweave_desc::v2::{Descriptor, Draft, Fetch, FetchVerdict, IntroductionPoint, Known, ServiceKey};
    use onionweave_ring::Fingerprint;
    use onionweave_ring::v2::{Replica, TimePeriod};
    use rand::SeedableRng as _;

    use super::*;
    use crate::fixtures::{self, Points};

    const NOW: UnixTime = UnixTime::from_secs(1_795_349_700);

    /// All texts, all that may be held, all relays that may have failed: the client here and the
    /// verdict of `desc`, which was held against real Tor, keep the same text with the same points.
    #[test]
    fn texts_are_kept_as_tor_keeps_them() {
        let key = ServiceKey::new(fixtures::private_key().unwrap(), &RustCrypto).unwrap();
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        let points = Points::new().unwrap().draw(&mut rng, 4);
        let period = TimePeriod::at(&key.service_id(), NOW);
        let [replica, _] = Replica::ALL;
        let directory = Fingerprint::from([7; 20]);
        let mut shelves = Shelves::new(key.service_id(), true, [directory], NOW);
        let spot = shelves.spot(directory, period, replica);
        // Which points, and how many hours old. A directory takes them only in the order of time.
        let drafts: [(&[usize], u64); 7] = [
            (&[0, 1], 80),
            (&[0, 1, 2], 72),
            (&[0, 1, 2], 2),
            (&[0, 1, 2], 1),
            (&[2, 3], 1),
            (&[1], 0),
            (&[3, 0], 0),
        ];
        let texts: Vec<(u32, Descriptor)> = drafts
            .iter()
            .map(|(which, hours)| {
                let chosen: Vec<IntroductionPoint> = which.iter().map(|&i| points[i].clone()).collect();
                let time = NOW.start_of_hour().saturating_sub(Duration::from_secs(hours * 3600));
                let text = Draft::new(chosen).sign(&key, period, replica, time).unwrap();
                // The directory's clock goes with the texts.
                shelves.upload(&directory, text.text(), time);
                (shelves.spot_mut(spot).text, text)
            })
            .collect();
        let relays: Vec<_> = points.iter().map(IntroductionPoint::identity).collect();
        let numbers: Vec<_> = relays.iter().map(|&relay| shelves.relay(relay)).collect();

        let at = 1000 * SECOND;
        let mut cases = 0;
        for (number, fetched) in &texts {
            for held in [None].into_iter().chain(texts.iter().map(Some)) {
                for failed in 0_usize..16 {
                    let mut clients = Clients::new(&[], &mut rng);
                    let mut client = Client::for_test(held.map_or(NONE, |held| held.0));
                    let failed = |i: &usize| failed >> i & 1 == 1;
                    for i in (0..4).filter(failed) {
                        clients.notes.add(&mut client.notes, Topic::Failed(numbers[i]), 999);
                    }
                    let failed: Vec<_> = (0..4).filter(failed).map(|i| relays[i]).collect();

                    let accepts = clients.keeps(&mut client, *number, at, NOW, &shelves);
                    let known = Known::default().held(held.map(|held| &held.1)).failed(&failed);
                    let verdict = Fetch::new(fetched.descriptor_id()).judge(fetched.text(), |_| known, NOW);
                    match verdict {
                        Ok(FetchVerdict::Stored { points, .. }) => {
                            assert!(accepts && client.text == *number);
                            let text = text_of(&shelves, &client);
                            let usable = clients.usable(&client, text, at);
                            let left = text.points().iter().enumerate().filter(|(i, _)| usable & 1 << i != 0);
                            let left: Vec<_> = left.map(|(_, &(_, relay))| relay).collect();
                            let expected: Vec<_> = points.iter().map(|one| shelves.relay(one.identity())).collect();
                            assert_eq!(left, expected);
                        }
                        Ok(_) => assert!(accepts && Some(client.text) == held.map(|held| held.0)),
                        Err(Error::NoUsablePoints | Error::TooOld { .. }) => {
                            assert!(!accepts && client.text == held.map_or(NONE, |held| held.0));
                        }
                        Err(error) => panic!("{error}"),
                    }
                    cases += 1;
                }
            }
        }
        assert_eq!(cases, 7 * 8 * 16);
    }
}
