//! The task that holds the connection to one Tor.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use onionweave_control::{
    Attempt, CloseReason, Connection, Credentials, Error as ControlError, Event, EventKind, Events, HsDescAction,
    Options, Supervisor, SupervisorOptions, TorVersion,
};
use onionweave_publish::Down;
use onionweave_ring::v2::ServiceId;
use onionweave_ring::{Directories, UnixTime};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::consensus::{self, Read};
use super::refusals::Refusals;
use super::{Follower, FollowerId, Meter, Order, Question, Standing, TorInput, TorSettings, Tors, Undelivered, lock};
use crate::panics::spread_panic;

/// Pauses before a broken connection is made anew, the first and the longest. A Tor that was
/// restarted opens its control port after about 0.13 s.
const DELAYS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// Time in which Tor announces all descriptors of one building, a second: it announces them one by
/// one, in the same moment. One reading answers them all.
const ONE_REBUILDING: Duration = Duration::from_secs(1);
/// Number of heartbeats' questions in a heartbeat.
const BEATS: u32 = 4;
/// Largest number of descriptors that are asked for in a beat. What Tor announces is asked for at
/// once; this is for what it does not, and keeps a Tor with a thousand services from doing nothing
/// else.
const MOST_IN_A_BEAT: usize = 32;
/// Largest number of events of Tor's that wait to be read. A Tor with a thousand services uploads
/// to six directories for each, and tells of each upload twice.
const EVENT_QUEUE: usize = 32_768;

/// The task of one Tor.
pub(super) struct Actor {
    settings: TorSettings,
    tors: Tors,
    orders: mpsc::UnboundedReceiver<Order>,
    followers: BTreeMap<FollowerId, Followed>,
    meters: BTreeMap<FollowerId, Arc<Meter>>,
    questions: BTreeMap<Question, Asked>,
    /// The questions whose turn it is.
    due: BTreeSet<Question>,
    /// The question of the last beat that was last in order.
    turn: Option<Question>,
    state: State,
    /// The consensus that was read last.
    directories: Option<Arc<Directories>>,
    /// Readings of a consensus under way.
    reading: JoinSet<Option<Read>>,
    standing: Arc<Mutex<Standing>>,
}

/// A follower, and whether it lags behind.
struct Followed {
    follower: Follower,
    lags: bool,
}

/// The last that followers were told of the connection.
enum State {
    /// Nothing.
    Unknown,
    Up(Connection),
    Down(Down),
}

/// A question, and what became of it.
#[derive(Default)]
struct Asked {
    /// When the descriptor was last built anew.
    rebuilt: Option<Instant>,
    /// Whether that is news for the followers.
    is_rebuilt: bool,
    refusals: Refusals,
}

/// The end of a task: nobody follows any more.
struct Alone;

impl Actor {
    pub(super) fn new(
        settings: TorSettings,
        tors: Tors,
        orders: mpsc::UnboundedReceiver<Order>,
        standing: Arc<Mutex<Standing>>,
    ) -> Self {
        Self {
            settings,
            tors,
            orders,
            followers: BTreeMap::new(),
            meters: BTreeMap::new(),
            questions: BTreeMap::new(),
            due: BTreeSet::new(),
            turn: None,
            state: State::Unknown,
            directories: None,
            reading: JoinSet::new(),
            standing,
        }
    }

    pub(super) async fn run(mut self) {
        let Alone = self.keep().await;
    }

    async fn keep(&mut self) -> Alone {
        let access = self.settings.access.clone();
        let mut password = access.password();
        let credentials = access.credentials();
        if let Err(why) = &credentials {
            self.down(Down::Refused(why.to_string()));
        }
        let credentials = credentials.unwrap_or_else(|_| Credentials::null());
        let endpoint = self.settings.endpoint.clone();
        let (tor, mut events) = self.tors.supervise(endpoint, credentials, self.options());
        let mut attempts = tor.attempts();
        let mut stood_before = false;
        let mut failed_before = false;
        loop {
            let (beat_time, anybody_lags) = (self.beat_time(), self.anybody_lags());
            let attempt = tokio::select! {
                order = self.orders.recv() => match self.take_order(order, &tor).await {
                    Ok(()) => continue,
                    Err(alone) => return alone,
                },
                // With a connection, its heartbeat does so.
                () = sleep(beat_time), if anybody_lags => {
                    self.catch_up();
                    continue;
                }
                // The supervisor lives as long as its handle.
                Some(attempt) = attempts.next() => attempt,
            };
            match attempt {
                Attempt::Connected(connection) => {
                    if std::mem::replace(&mut stood_before, true) {
                        skip_to_gap(&mut events);
                    }
                    let why = match self.serve(&tor, &connection, &mut events).await {
                        Ok(why) => why,
                        Err(alone) => return alone,
                    };
                    self.reading.abort_all();
                    failed_before = false;
                    self.down(why);
                }
                Attempt::Failed(error) => {
                    let first = !std::mem::replace(&mut failed_before, true);
                    if let Some(why) = unreachable(&error, first) {
                        self.news_of_down(why);
                    }
                    // A new password is tried at once. Cookie files are read anew at every attempt.
                    let written = access.password();
                    if written != password {
                        password = written;
                        match access.credentials() {
                            Ok(changed) => tor.set_credentials([changed]).await,
                            Err(why) => self.news_of_down(Down::Refused(why.to_string())),
                        }
                    }
                }
                // `Lost`: serving the connection has told why it ended. Whether the Tor can be
                // reached shows next.
                _ => {}
            }
        }
    }

    /// Time from one question of the heartbeat to the next.
    fn beat_time(&self) -> Duration {
        self.settings.heartbeat / BEATS
    }

    fn options(&self) -> SupervisorOptions {
        // A question is asked four times in a heartbeat, and its answer may take a whole one: a Tor
        // that falls silent is down after one heartbeat and a quarter at most.
        let connection = Options::default()
            .connect_deadline(self.settings.heartbeat)
            .command_deadline(self.settings.heartbeat)
            .event_queue(EVENT_QUEUE);
        SupervisorOptions::default()
            .connection(connection)
            .delays(DELAYS.0, DELAYS.1)
            // This task asks questions of its own.
            .heartbeat(None)
            .seed(rand::random())
    }

    // Followers.

    async fn take_order(&mut self, order: Option<Order>, tor: &Supervisor) -> Result<(), Alone> {
        let Some(order) = order else { return Err(Alone) };
        let events_before = self.events();
        match order {
            Order::Follow(id, follower) => self.welcome(id, follower),
            Order::Measure(id, meter) => {
                self.meters.insert(id, meter);
            }
            Order::Leave(id) => {
                self.followers.remove(&id);
                self.meters.remove(&id);
                self.forget_questions();
                if self.followers.is_empty() && self.meters.is_empty() && self.tors.leave(&self.settings, &self.orders)
                {
                    return Err(Alone);
                }
            }
        }
        self.stand(|standing, actor| standing.services = actor.followers.len());
        if self.events() != events_before {
            // Without a connection the supervisor only takes note of them.
            if let Err(why) = tor.set_events(&self.events()).await {
                tracing::warn!(tor = %self.settings.endpoint, "it does not tell all events: {why}");
            }
        }
        Ok(())
    }

    /// Notes how the Tor stands, for those who ask.
    fn stand(&self, change: impl FnOnce(&mut Standing, &Self)) {
        change(&mut lock(&self.standing), self);
    }

    /// The events that somebody needs.
    fn events(&self) -> Vec<EventKind> {
        let mut events = Vec::new();
        if !self.followers.is_empty() {
            events.extend([EventKind::HsDesc, EventKind::NewConsensus]);
        }
        if !self.meters.is_empty() {
            events.push(EventKind::Bw);
        }
        events
    }

    fn welcome(&mut self, id: FollowerId, follower: Follower) {
        let question = follower.question;
        self.questions.entry(question).or_default();
        self.followers.insert(id, Followed { follower, lags: false });
        self.tell_state(id);
    }

    /// Tells a follower how the Tor stands, and what it asks for as soon as that is known.
    fn tell_state(&mut self, id: FollowerId) {
        let Some(followed) = self.followers.get(&id) else {
            return;
        };
        let question = followed.follower.question;
        match &self.state {
            State::Unknown => {}
            State::Down(why) => {
                let why = why.clone();
                self.tell_one(id, TorInput::Down(why));
            }
            State::Up(connection) => {
                let connection = connection.clone();
                self.tell_one(id, TorInput::Up(connection));
                if let Some(directories) = self.directories.clone() {
                    self.tell_one(id, TorInput::Directories(directories));
                }
                self.due.insert(question);
            }
        }
    }

    fn forget_questions(&mut self) {
        let wanted: BTreeSet<Question> = self
            .followers
            .values()
            .map(|followed| followed.follower.question)
            .collect();
        self.questions.retain(|question, _| wanted.contains(question));
        self.due.retain(|question| wanted.contains(question));
    }

    fn tell_all(&mut self, input: &TorInput) {
        self.tell(|_| true, input);
    }

    /// Tells something to the followers that it concerns.
    fn tell(&mut self, concerns: impl Fn(&Follower) -> bool, input: &TorInput) {
        let followers = self.followers.iter();
        let concerned = followers
            .filter(|(_, followed)| concerns(&followed.follower))
            .map(|(id, _)| *id);
        for id in concerned.collect::<Vec<_>>() {
            self.tell_one(id, input.clone());
        }
    }

    fn tell_one(&mut self, id: FollowerId, input: TorInput) {
        let Some(followed) = self.followers.get_mut(&id) else {
            return;
        };
        if followed.lags {
            return;
        }
        match followed.follower.inbox.put(input) {
            Ok(()) => {}
            Err(Undelivered::Full) => followed.lags = true,
            // It says so itself.
            Err(Undelivered::Gone) => {}
        }
    }

    fn anybody_lags(&self) -> bool {
        self.followers.values().any(|followed| followed.lags)
    }

    /// Tells everything anew to those that lagged behind, as soon as they read again.
    fn catch_up(&mut self) {
        let lagging = self
            .followers
            .iter()
            .filter(|(_, followed)| followed.lags)
            .map(|(id, _)| *id);
        for id in lagging.collect::<Vec<_>>() {
            if let Some(followed) = self.followers.get_mut(&id) {
                followed.lags = followed.follower.inbox.put(TorInput::Lagged(None)).is_err();
            }
            self.tell_state(id);
        }
    }

    fn up(&mut self, connection: &Connection) {
        self.state = State::Up(connection.clone());
        self.due = self.questions.keys().copied().collect();
        for asked in self.questions.values_mut() {
            *asked = Asked::default();
        }
        self.stand(|standing, _| {
            standing.connected = true;
            standing.down = None;
            standing.since = Instant::now();
        });
        self.tell_all(&TorInput::Up(connection.clone()));
    }

    fn down(&mut self, why: Down) {
        self.state = State::Down(why.clone());
        self.due.clear();
        self.stand(|standing, _| {
            standing.connected = false;
            standing.down = Some(why.clone());
            standing.since = Instant::now();
        });
        self.tell_all(&TorInput::Down(why));
    }

    /// Tells that the Tor is down, unless that was told for the same reason.
    fn news_of_down(&mut self, why: Down) {
        if !matches!(&self.state, State::Down(told) if *told == why) {
            self.down(why);
        }
    }

    // The connection.

    /// Serves a connection until it breaks, and returns why it did.
    async fn serve(&mut self, tor: &Supervisor, connection: &Connection, events: &mut Events) -> Result<Down, Alone> {
        self.stand(|standing, _| standing.connections += 1);
        let version = connection.get_info("version").await;
        self.stand(|standing, _| standing.tor = version.as_ref().ok().cloned());
        match version {
            Ok(version) if has_v2(&version) => {}
            Ok(version) => {
                let why = format!("Tor {version} has no v2 onion services; 0.4.5.10 was the last that had them");
                self.news_of_down(Down::Refused(why));
                // Another version may be started in its place.
                return self.sit_out(tor, connection).await;
            }
            Err(error) => return Ok(lost(&error)),
        }
        self.up(connection);
        self.read_directories(connection);
        let mut heart = interval(self.beat_time());
        heart.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                // Tor tells that it built descriptors and that it uploads them in one breath. All
                // of it is passed on before the descriptor is asked for, so that nothing is
                // uploaded just to be overwritten.
                Some(event) = events.recv() => {
                    self.take(event, connection);
                    while let Some(event) = events.try_recv() {
                        self.take(event, connection);
                    }
                }
                order = self.orders.recv() => self.take_order(order, tor).await?,
                why = end(connection) => return Ok(why),
                Some(read) = self.reading.join_next() => self.have_read(spread_panic(read)),
                _ = heart.tick() => self.beat(),
                () = std::future::ready(()), if !self.due.is_empty() => {
                    if let Err(why) = self.ask(connection).await {
                        return Ok(why);
                    }
                }
            }
        }
    }

    /// Waits until a Tor that is of no use has gone.
    async fn sit_out(&mut self, tor: &Supervisor, connection: &Connection) -> Result<Down, Alone> {
        loop {
            tokio::select! {
                why = end(connection) => return Ok(why),
                order = self.orders.recv() => self.take_order(order, tor).await?,
            }
        }
    }

    /// Passes an event on.
    fn take(&mut self, event: Event, connection: &Connection) {
        match event {
            Event::HsDesc(desc) if *desc.action() == HsDescAction::Created => {
                let address = desc.address().and_then(|address| address.parse().ok());
                if let Some(address) = address {
                    self.note_rebuilding(Question::Descriptor(address));
                }
            }
            Event::OtherUpload(upload) => {
                let address = upload.address().and_then(|address| address.parse::<ServiceId>().ok());
                if let Some(address) = address {
                    self.tell(
                        |follower| follower.addresses.contains(address),
                        &TorInput::Upload(upload),
                    );
                }
            }
            Event::Lagged(lost) => {
                self.tell_all(&TorInput::Lagged(Some(lost)));
                self.due = self.questions.keys().copied().collect();
            }
            Event::NewConsensus(_) => self.read_directories(connection),
            Event::Bw(second) => {
                for meter in self.meters.values() {
                    meter.add(second.read().saturating_add(second.written()));
                }
            }
            _ => {}
        }
    }

    /// Tor built the descriptor of an address anew.
    fn note_rebuilding(&mut self, question: Question) {
        if let Some(asked) = self.questions.get_mut(&question) {
            if asked.rebuilt.is_none_or(|at| at.elapsed() > ONE_REBUILDING) {
                asked.rebuilt = Some(Instant::now());
                asked.is_rebuilt = true;
            }
            self.due.insert(question);
        }
    }

    /// Makes the next questions due. Where there is none, another shows that the Tor lives.
    fn beat(&mut self) {
        self.catch_up();
        let after = self.turn.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.questions.range((after, Bound::Unbounded));
        let turn = rest
            .chain(&self.questions)
            .take(MOST_IN_A_BEAT.min(self.questions.len()));
        for (question, _) in turn {
            self.turn = Some(*question);
            self.due.insert(*question);
        }
        if self.questions.is_empty() {
            self.due.insert(Question::Circuits);
        }
    }

    /// Asks the next question that is due. The heartbeat is a question whose answer is also what
    /// followers want to know.
    async fn ask(&mut self, connection: &Connection) -> Result<(), Down> {
        let Some(question) = self.due.pop_first() else {
            return Ok(());
        };
        let answer = connection.get_info(&question.key()).await;
        let asked = self.questions.entry(question).or_default();
        let input = match (question, answer) {
            (Question::Circuits, Ok(answer)) => TorInput::Circuits(answer == "1"),
            (Question::Circuits, Err(ControlError::Rejected { .. })) => TorInput::Circuits(false),
            (Question::Descriptor(_), Ok(text)) if text.is_empty() => TorInput::OffersNothing,
            (Question::Descriptor(_), Ok(text)) => {
                asked.refusals = Refusals::default();
                TorInput::Offers {
                    text: text.into_bytes(),
                    rebuilt: std::mem::take(&mut asked.is_rebuilt),
                }
            }
            (Question::Descriptor(_), Err(ControlError::Rejected { code, text, .. })) => {
                if let Some(warning) = asked.refusals.take(code, &text, Instant::now()) {
                    self.tell(|follower| follower.question == question, &TorInput::Refuses(warning));
                }
                TorInput::OffersNothing
            }
            (_, Err(error)) => return Err(lost(&error)),
        };
        self.tell(|follower| follower.question == question, &input);
        Ok(())
    }

    // The consensus.

    /// Reads the directories, beside everything else, if the consensus is newer than the one that
    /// was read last.
    fn read_directories(&mut self, connection: &Connection) {
        let (connection, tors, endpoint) = (connection.clone(), self.tors.clone(), self.settings.endpoint.clone());
        let known: Option<UnixTime> = self.directories.as_deref().and_then(consensus::valid_after);
        self.reading.spawn(async move {
            match consensus::read(&connection, known, &tors).await {
                Ok(read) => read,
                // The connection tells itself that it ended.
                Err(_) if connection.is_closed() => None,
                Err(why) => {
                    tracing::warn!(tor = %endpoint, "cannot read the consensus: {why}");
                    None
                }
            }
        });
    }

    fn have_read(&mut self, read: Option<Option<Read>>) {
        let Some(Read { directories, is_shared }) = read.flatten() else {
            return;
        };
        let known = self.directories.as_deref().and_then(consensus::valid_after);
        self.stand(|standing, _| {
            standing.readings += u64::from(!is_shared);
            standing.consensus = directories.lifetime();
        });
        if consensus::valid_after(&directories) > known {
            self.directories = Some(Arc::clone(&directories));
            self.tell_all(&TorInput::Directories(directories));
        }
    }
}

async fn end(connection: &Connection) -> Down {
    match connection.closed().await {
        CloseReason::Deadline { after, .. } => Down::Silent(after),
        reason => Down::Lost(reason.to_string()),
    }
}

/// Passes over what was said on the connection before.
fn skip_to_gap(events: &mut Events) {
    while let Some(event) = events.try_recv() {
        if matches!(event, Event::Gap(_)) {
            return;
        }
    }
}

/// Tells what a failed attempt to connect means. A Tor that answers but does not let us in needs
/// its operator, not a restart. One that was reached, and then fell silent or hung up, is tried
/// once more before it counts as out of reach: the first time, nothing is told.
fn unreachable(error: &ControlError, first: bool) -> Option<Down> {
    Some(match error {
        ControlError::Rejected { .. }
        | ControlError::NoUsableMethod { .. }
        | ControlError::WrongServerHash
        | ControlError::CookieFile { .. }
        | ControlError::CookieLength { .. } => Down::Refused(error.to_string()),
        ControlError::Connect { .. } | ControlError::ConnectDeadline { .. } => Down::Unreachable(error.to_string()),
        _ if first => return None,
        _ => Down::Unreachable(error.to_string()),
    })
}

fn lost(error: &ControlError) -> Down {
    match error {
        ControlError::Deadline { after, .. } => Down::Silent(*after),
        ControlError::Rejected { .. } => Down::Refused(error.to_string()),
        _ => Down::Lost(error.to_string()),
    }
}

/// Tells whether a Tor that says it is of this version has v2 onion services. One that says what
/// nobody understands has none.
pub(crate) fn has_v2(version: &str) -> bool {
    version
        .parse()
        .is_ok_and(|version: TorVersion| version.has_v2_onion_services())
}
