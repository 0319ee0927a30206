//! The clients: as many as there are, each as small as it can be.

use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use super::notes::{NONE, Notes};
use super::plan::Crowd;
use super::record::{Miss, Outcome};
use super::shelves::View;
use super::visit::{Attempt, Phase, Scene, Step};
use super::wheel::Wheel;
use super::{Micros, below, micros};

/// All clients.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) habits: Vec<Habit>,
    pub(super) clients: Vec<Client>,
    /// Each one's consensus; none if there is only one consensus.
    pub(super) views: Vec<View>,
    pub(super) notes: Notes,
    /// The visits that are under way and wait for something.
    attempts: Attempts,
    wheel: Wheel,
    arrivals: Vec<Arrivals>,
    next_arrival: Option<(Micros, usize)>,
}

/// Memory of a client. The rest is in notes, of which most have none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    /// The number of the descriptor that it holds.
    pub(super) text: u32,
    pub(super) notes: u32,
    /// The process to which it has a rendezvous circuit.
    pub(super) circuit: u32,
    /// When it last used that, in seconds.
    pub(super) used: u32,
    /// When that process closes it, if nothing flows then, in seconds.
    pub(super) closes: u32,
    attempt: u32,
    visits_left: u32,
    /// The points of the descriptor that it took out, a bit for each.
    pub(super) gone: u16,
    pub(super) habit: u16,
}

/// Behaviour of a crowd's clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habit {
    pause: (Micros, Micros),
    visits: u32,
    pub(super) fresh: bool,
    pub(super) isolated: bool,
    pub(super) bytes: u64,
    patience: Micros,
}

#[cfg(test)]
impl Client {
    /// A client that holds this text.
    pub(super) const fn for_test(text: u32) -> Self {
        Self {
            text,
            notes: NONE,
            circuit: NONE,
            used: 0,
            closes: 0,
            attempt: NONE,
            visits_left: 1,
            gone: 0,
            habit: 0,
        }
    }
}

/// The moments at which the clients of a crowd arrive, each drawn when the one before has come.
#[derive(Debug)]
struct Arrivals {
    /// Number of those that have yet to come, the next one among them.
    left: u32,
    next: Option<Micros>,
    end: Micros,
}

/// The visits under way.
#[derive(Debug, Default)]
struct Attempts {
    attempts: Vec<Attempt>,
    free: Vec<u32>,
}

impl Clients {
    pub(super) fn new(crowds: &[Crowd], rng: &mut ChaCha12Rng) -> Self {
        let mut clients = Self {
            habits: crowds.iter().map(Habit::new).collect(),
            clients: Vec::new(),
            views: Vec::new(),
            notes: Notes::new(),
            attempts: Attempts::default(),
            wheel: Wheel::default(),
            arrivals: crowds.iter().map(|crowd| Arrivals::new(crowd, rng)).collect(),
            next_arrival: None,
        };
        clients.look_for_arrivals();
        clients
    }

    /// When somebody does something next.
    pub(super) fn next_at(&mut self) -> Option<Micros> {
        let wheel = self.wheel.next_at();
        wheel.into_iter().chain(self.next_arrival.map(|(at, _)| at)).min()
    }

    /// Has the next client do what is next, and all that follows until `scene.horizon`.
    pub(super) fn step(&mut self, scene: &mut Scene<'_>) {
        let appointment = self.wheel.next_at();
        match self.next_arrival {
            Some((at, crowd)) if appointment.is_none_or(|next| at <= next) => self.arrive(at, crowd, scene),
            _ => {
                if let Some((at, client)) = self.wheel.pop() {
                    self.go_on(client, at, scene);
                }
            }
        }
    }

    fn arrive(&mut self, at: Micros, crowd: usize, scene: &mut Scene<'_>) {
        let visits_left = self.habits.get(crowd).map_or(0, |habit| habit.visits);
        let number = self.clients.len() as u32;
        self.clients.push(Client {
            text: NONE,
            notes: NONE,
            circuit: NONE,
            used: 0,
            closes: 0,
            attempt: NONE,
            visits_left,
            gone: 0,
            habit: crowd as u16,
        });
        if scene.churns {
            self.views.push(View::drawn(scene.shelves, scene.clock(at), scene.rng));
        }
        if let Some(arrivals) = self.arrivals.get_mut(crowd) {
            arrivals.draw(at, scene.rng);
        }
        self.look_for_arrivals();
        if visits_left > 0 {
            self.go_on(number, at, scene);
        }
    }

    /// A client does what is next.
    fn go_on(&mut self, number: u32, at: Micros, scene: &mut Scene<'_>) {
        // Appointments are those of clients, who stay.
        let mut client = self.clients[number as usize];
        let waiting = std::mem::replace(&mut client.attempt, NONE);
        let mut attempt = self.attempts.take(waiting).unwrap_or_else(|| Attempt::begin(at));
        let mut at = at;
        loop {
            scene.record.steps += 1;
            match self.take_step(&mut client, number, &mut attempt, at, scene) {
                Step::Later(when, phase) => {
                    attempt.phase = phase;
                    at = when;
                    // Transfers touch each other, so they begin in the order of time.
                    if when > scene.horizon || matches!(phase, Phase::Joined(_)) {
                        client.attempt = self.attempts.keep(attempt);
                        self.wheel.push(when, number);
                        break;
                    }
                }
                Step::Transfers(server) => {
                    attempt.phase = Phase::Transfers(server);
                    attempt.connected = at;
                    client.attempt = self.attempts.keep(attempt);
                    break;
                }
                Step::Over { at, outcome } => {
                    attempt.connected = at;
                    scene.record.visit(number, &attempt, at, outcome, scene.shelves.spots());
                    self.part(&mut client, number, at, scene.rng);
                    break;
                }
            }
        }
        self.clients[number as usize] = client;
    }

    /// A transfer is done.
    pub(super) fn transferred(&mut self, number: u32, at: Micros, scene: &mut Scene<'_>) {
        let Some(attempt) = self.transfer_of(number) else {
            return;
        };
        if let Phase::Transfers(server) = attempt.phase {
            let outcome = Outcome::Served(server as usize);
            scene.record.visit(number, &attempt, at, outcome, scene.shelves.spots());
        }
        if let Some(client) = self.clients.get_mut(number as usize) {
            client.lets_go(at, scene.rng);
        }
        self.leave(number, at, scene.rng);
    }

    /// A transfer broke off, at once or when its client lost its patience.
    pub(super) fn broke_off(&mut self, number: u32, at: Micros, hangs: bool, scene: &mut Scene<'_>) {
        let Some(mut attempt) = self.transfer_of(number) else {
            return;
        };
        if hangs {
            attempt.phase = Phase::GivesUp(Miss::BrokenOff);
            let patience = self
                .clients
                .get(number as usize)
                .map(|client| self.habit_of(client).patience);
            if let Some(client) = self.clients.get_mut(number as usize) {
                client.attempt = self.attempts.keep(attempt);
            }
            self.wheel.push(at + patience.unwrap_or_default(), number);
            return;
        }
        let outcome = Outcome::Missed(Miss::BrokenOff);
        scene.record.visit(number, &attempt, at, outcome, scene.shelves.spots());
        self.leave(number, at, scene.rng);
    }

    fn transfer_of(&mut self, number: u32) -> Option<Attempt> {
        let client = self.clients.get_mut(number as usize)?;
        let waiting = std::mem::replace(&mut client.attempt, NONE);
        self.attempts.take(waiting)
    }

    fn leave(&mut self, number: u32, at: Micros, rng: &mut ChaCha12Rng) {
        if let Some(&(mut client)) = self.clients.get(number as usize) {
            self.part(&mut client, number, at, rng);
            self.clients[number as usize] = client;
        }
    }

    /// A visit is over; the next one comes after a pause, unless it was the last.
    fn part(&mut self, client: &mut Client, number: u32, at: Micros, rng: &mut ChaCha12Rng) {
        client.visits_left = client.visits_left.saturating_sub(1);
        if client.visits_left == 0 {
            // Nobody will ask what it remembers.
            self.notes.retain(&mut client.notes, |_, _| false);
            return;
        }
        let (least, span) = self.habit_of(client).pause;
        let pause = least + below(rng, span);
        self.wheel.push(at + pause, number);
    }

    pub(super) fn habit_of(&self, client: &Client) -> Habit {
        // Clients are made with the number of their crowd, and habits stay.
        self.habits[usize::from(client.habit)]
    }

    /// Returns the number of clients that have arrived.
    pub(super) fn arrived(&self) -> u64 {
        self.clients.len() as u64
    }

    /// Returns the number of bytes of memory that hold what clients remember.
    pub(super) fn room(&self) -> usize {
        self.clients.capacity() * size_of::<Client>()
            + self.views.capacity() * size_of::<View>()
            + self.attempts.attempts.capacity() * size_of::<Attempt>()
            + self.notes.room()
    }

    fn look_for_arrivals(&mut self) {
        let crowds = self.arrivals.iter().enumerate();
        self.next_arrival = crowds.filter_map(|(crowd, one)| Some((one.next?, crowd))).min();
    }
}

impl Habit {
    fn new(crowd: &Crowd) -> Self {
        let (least, most) = (micros(*crowd.pausing.start()), micros(*crowd.pausing.end()));
        Self {
            pause: (least, most.saturating_sub(least) + 1),
            visits: crowd.visits.unwrap_or(u32::MAX),
            fresh: crowd.fresh,
            isolated: crowd.isolated || crowd.fresh,
            bytes: crowd.bytes,
            patience: micros(crowd.patience),
        }
    }
}

impl Arrivals {
    fn new(crowd: &Crowd, rng: &mut ChaCha12Rng) -> Self {
        let (start, end) = (micros(*crowd.arriving.start()), micros(*crowd.arriving.end()));
        let mut arrivals = Self {
            left: crowd.clients + 1,
            next: None,
            end: end.max(start),
        };
        arrivals.draw(start, rng);
        arrivals
    }

    /// Somebody came at that time: draws when the next one comes. Of n moments that are drawn
    /// evenly from what is left of the time, none comes before a part x of it with the chance (1 -
    /// x)^n.
    fn draw(&mut self, now: Micros, rng: &mut ChaCha12Rng) {
        self.left -= 1;
        self.next = (self.left > 0).then(|| {
            let part = 1.0 - rng.random::<f64>().powf(1.0 / f64::from(self.left));
            now + ((self.end - now) as f64 * part) as Micros
        });
    }
}

impl Attempts {
    fn keep(&mut self, attempt: Attempt) -> u32 {
        let Some(number) = self.free.pop() else {
            self.attempts.push(attempt);
            return self.attempts.len() as u32 - 1;
        };
        if let Some(place) = self.attempts.get_mut(number as usize) {
            *place = attempt;
        }
        number
    }

    fn take(&mut self, number: u32) -> Option<Attempt> {
        let attempt = *self.attempts.get(number as usize)?;
        self.free.push(number);
        Some(attempt)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn a_client_is_small() {
        assert_eq!(size_of::<Client>(), 32);
    }

    #[test]
    fn arrivals_are_even_and_in_order() {
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        let minute = Duration::from_secs(60);
        let crowd = Crowd::new(10_000).arriving(minute..=2 * minute);
        let mut arrivals = Arrivals::new(&crowd, &mut rng);
        let mut times = Vec::new();
        while let Some(at) = arrivals.next {
            times.push(at);
            arrivals.draw(at, &mut rng);
        }
        assert_eq!(times.len(), 10_000);
        assert!(times.is_sorted());
        // Kolmogorov and Smirnov: 1.95 / √n is passed once in a thousand.
        let worst = times.iter().enumerate().map(|(number, &at)| {
            let expected = (number as f64 + 0.5) / 10_000.0;
            ((at as f64 / 60e6 - 1.0) - expected).abs()
        });
        assert!(worst.fold(0.0, f64::max) < 0.0195);
    }
}
