//! A Tor's task against control ports that fail in every way, in paused time.

use std::io::{Error as IoError, ErrorKind};

use tokio::time::timeout;

use super::scripted::{Answer, Script};
use super::*;

/// The heartbeat of every test here, the publisher's default.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(1000);

/// A follower of a scripted Tor.
struct Followed {
    script: Arc<Script>,
    tors: Tors,
    news: mpsc::Receiver<((), TorInput)>,
    _following: Following,
}

impl Followed {
    fn start(script: Script) -> Self {
        let script = Arc::new(script);
        let tors = Tors::scripted(&script);
        let (following, news) = follow(&tors, 10_000);
        Self {
            script,
            tors,
            news,
            _following: following,
        }
    }

    async fn next(&mut self) -> TorInput {
        let next = timeout(LONG, self.news.recv()).await;
        next.expect("nothing is told").expect("the task ended").1
    }

    /// The next news of the connection itself: the reason why it is down, or `None` if it stands.
    async fn turn(&mut self) -> Option<Down> {
        loop {
            match self.next().await {
                TorInput::Up(_) => return None,
                TorInput::Down(why) => return Some(why),
                _ => {}
            }
        }
    }

    /// All that is told within a time.
    async fn within(&mut self, time: Duration) -> Vec<TorInput> {
        let mut told = Vec::new();
        let listening = async {
            while let Some(((), input)) = self.news.recv().await {
                told.push(input);
            }
        };
        let _ = timeout(time, listening).await;
        told
    }
}

fn address() -> ServiceId {
    [7; 10].into()
}

fn settings() -> TorSettings {
    TorSettings {
        endpoint: "unix:/in/memory".parse().unwrap(),
        access: Access::Offered,
        heartbeat: HEARTBEAT,
    }
}

/// Follows the Tor of the tests with room for this many unread news, at least four: that is what a
/// follower that lagged is told at once.
fn follow(tors: &Tors, room: usize) -> (Following, mpsc::Receiver<((), TorInput)>) {
    let (inbox, news) = mpsc::channel(room);
    let follower = Follower {
        question: Question::Descriptor(address()),
        addresses: Addresses {
            descriptor: address(),
            service: address(),
        },
        inbox: Inbox::new((), inbox),
    };
    (tors.follow(&settings(), follower), news)
}

/// The reasons among the news why the Tor is down.
fn downs(news: &[TorInput]) -> Vec<Down> {
    let downs = news.iter().filter_map(|input| match input {
        TorInput::Down(why) => Some(why.clone()),
        _ => None,
    });
    downs.collect()
}

fn is_question(line: &str) -> bool {
    line.starts_with("GETINFO hs/service/desc/id/")
}

/// Fault 1: one lost connection, one odd answer or one late answer says nothing about whether the
/// Tor can be reached. Only a Tor out of reach is restarted.
#[tokio::test(start_paused = true)]
async fn connection_that_ends_once_is_made_anew_and_its_tor_is_not_out_of_reach() {
    let odd = || Answer::Text("250 OK\r\n".into());
    for name in ["cut", "odd", "late"] {
        let end = move || match name {
            "cut" => Answer::HangUp,
            "odd" => odd(),
            _ => Answer::Late(2 * HEARTBEAT),
        };
        // Nothing but the first question of the first connection goes wrong.
        let mut tor = Followed::start(Script::new(move |number, line| match number {
            0 if is_question(line) => end(),
            _ => Answer::Usual,
        }));
        assert_eq!(tor.turn().await, None, "{name}");
        let why = tor.turn().await.unwrap();
        match name {
            "late" => assert_eq!(why, Down::Silent(HEARTBEAT)),
            _ => assert!(matches!(why, Down::Lost(_)), "{name}: {why}"),
        }
        assert_eq!(tor.turn().await, None, "{name}");
        let later = tor.within(100 * HEARTBEAT).await;
        assert_eq!(downs(&later), [], "{name}");
        assert_eq!(tor.script.attempts(), 2, "{name}");
    }
}

/// Fault 1: the greeting of a connection may fail once as well.
#[tokio::test(start_paused = true)]
async fn greeting_that_fails_once_is_tried_again_and_its_tor_is_not_out_of_reach() {
    let mut tor = Followed::start(Script::new(|number, _| match number {
        0 => Answer::HangUp,
        _ => Answer::Usual,
    }));
    assert_eq!(tor.turn().await, None, "the first news is that it stands");

    let mut tor = Followed::start(Script::new(|_, _| Answer::HangUp));
    let why = tor.turn().await.unwrap();
    assert!(matches!(why, Down::Unreachable(_)), "{why}");
    assert!(tor.script.attempts() >= 2);
}

/// Fault 7: an answer may take the whole heartbeat.
#[tokio::test(start_paused = true)]
async fn answer_within_the_heartbeat_is_no_silence() {
    let late = HEARTBEAT - Duration::from_millis(10);
    let mut tor = Followed::start(Script::new(move |_, line| match is_question(line) {
        true => Answer::Late(late),
        false => Answer::Usual,
    }));
    assert_eq!(tor.turn().await, None);
    let told = tor.within(50 * HEARTBEAT).await;
    assert_eq!(downs(&told), []);
    let answers = told.iter().filter(|input| matches!(input, TorInput::OffersNothing));
    assert!(answers.count() >= 30);
}

/// Fault 7: a Tor that falls silent is down after a heartbeat and a quarter.
#[tokio::test(start_paused = true)]
async fn silence_of_a_heartbeat_is_told_within_a_heartbeat_and_a_quarter() {
    let silent_from = Instant::now() + 10 * HEARTBEAT;
    let mut tor = Followed::start(Script::new(move |number, line| {
        let is_silent = number == 0 && is_question(line) && Instant::now() >= silent_from;
        if is_silent { Answer::Never } else { Answer::Usual }
    }));
    assert_eq!(tor.turn().await, None);
    assert_eq!(tor.turn().await, Some(Down::Silent(HEARTBEAT)));
    let took = silent_from.elapsed();
    assert!(
        took >= HEARTBEAT && took <= HEARTBEAT + HEARTBEAT / 4 + Duration::from_millis(10),
        "{took:?}"
    );
}

/// Fault 5: each reason why a Tor cannot be reached is told, and none twice in a row.
#[tokio::test(start_paused = true)]
async fn each_new_reason_is_told_once() {
    const MISSING: usize = 7;
    const FORBIDDEN: usize = 14;
    let mut tor = Followed::start(Script::opening(|number| match number {
        ..MISSING => Err(IoError::from(ErrorKind::NotFound)),
        MISSING..FORBIDDEN => Err(IoError::from(ErrorKind::PermissionDenied)),
        _ => Ok(()),
    }));
    let missing = tor.turn().await.unwrap();
    let forbidden = tor.turn().await.unwrap();
    for (why, kind) in [
        (&missing, ErrorKind::NotFound),
        (&forbidden, ErrorKind::PermissionDenied),
    ] {
        let Down::Unreachable(text) = why else { panic!("{why}") };
        assert!(text.contains(&IoError::from(kind).to_string()), "{text}");
    }
    assert_eq!(tor.turn().await, None);
    assert_eq!(tor.script.attempts(), FORBIDDEN + 1);
    assert_eq!(tor.tors.statuses()[0].down, None);
}

/// Fault 6: a refusal that stays is told at once, and "not yet" after two minutes.
#[tokio::test(start_paused = true)]
async fn refusals_to_tell_a_descriptor_are_told_once_and_not_yet_is_given_time() {
    for (answer, earliest) in [
        ("510 Command filtered", 0),
        ("552 Unrecognized key", 0),
        ("551 Not found in cache", 120),
    ] {
        let start = Instant::now();
        let mut tor = Followed::start(Script::new(move |_, line| match is_question(line) {
            true => Answer::Text(format!("{answer}\r\n")),
            false => Answer::Usual,
        }));
        let warning = loop {
            if let TorInput::Refuses(warning) = tor.next().await {
                break warning;
            }
        };
        assert!(warning.ends_with(&format!("(Tor answered {answer})")), "{warning}");
        let took = start.elapsed().as_secs();
        assert!((earliest..=earliest + 1).contains(&took), "{answer}: {took} s");
        let later = tor.within(LONG).await;
        assert!(
            !later.iter().any(|input| matches!(input, TorInput::Refuses(_))),
            "{answer}"
        );
    }
}

/// Followers that do not read stand in nobody's way, and hear how things stand when they read
/// again.
#[tokio::test(start_paused = true)]
async fn follower_that_lags_delays_nobody_and_catches_up() {
    let cut_from = Instant::now() + 5 * HEARTBEAT;
    let stands_from = cut_from + 5 * HEARTBEAT;
    let script = Script::new(move |number, line| match number {
        0 if is_question(line) && Instant::now() >= cut_from => Answer::HangUp,
        1.. if Instant::now() < stands_from => Answer::HangUp,
        _ => Answer::Usual,
    });
    let mut quick = Followed::start(script);
    let (_following, mut slow) = follow(&quick.tors, 4);
    assert_eq!(quick.turn().await, None);
    assert!(matches!(quick.turn().await, Some(Down::Lost(_))));
    assert!(cut_from.elapsed() <= HEARTBEAT / 2);

    // The slow one read nothing until now. It hears of the end while there is no connection yet.
    let told = async {
        loop {
            let Some(((), input)) = slow.recv().await else {
                panic!("nothing is told")
            };
            if let TorInput::Down(why) = input {
                return why;
            }
        }
    };
    timeout(LONG, told).await.unwrap();
    assert!(Instant::now() < stands_from);
    assert_eq!(quick.tors.statuses().len(), 1);
}

/// Services that follow one Tor share its connection and its consensus, also one that comes late.
#[tokio::test(start_paused = true)]
async fn followers_of_a_tor_share_a_connection_and_a_reading_of_the_consensus() {
    let tor = Followed::start(Script::new(|_, _| Answer::Usual));
    let mut others: Vec<_> = (0..100).map(|_| follow(&tor.tors, 100)).collect();
    let mut shared: Vec<Arc<Directories>> = Vec::new();
    for _ in 0..2 {
        for (_, news) in &mut others {
            let directories = async {
                loop {
                    if let Some(((), TorInput::Directories(directories))) = news.recv().await {
                        return directories;
                    }
                }
            };
            shared.push(timeout(LONG, directories).await.unwrap());
        }
        others = (0..100).map(|_| follow(&tor.tors, 100)).collect();
    }
    assert!(shared.iter().all(|directories| Arc::ptr_eq(directories, &shared[0])));
    assert_eq!(tor.script.attempts(), 1);
    let readings = tor.script.lines("GETINFO consensus/valid-after consensus/fresh-until");
    assert_eq!(readings.len(), 1);
}
