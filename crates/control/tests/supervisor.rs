//! The supervisor against scripted control ports that fail in every way.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::future::ready;
use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use onionweave_control::{
    Attempt, CloseReason, Credentials, Error, Event, EventKind, Events, Gap, Options, Password, Supervisor,
    SupervisorOptions,
};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::fake_tor::{FakeTor, Port, listen_always};

#[path = "common/fake_tor.rs"]
mod fake_tor;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(150);
const PASSWORD_OFFER: &[u8] = b"250-PROTOCOLINFO 1\r\n250-AUTH METHODS=HASHEDPASSWORD\r\n250 OK\r\n";

fn options() -> SupervisorOptions {
    SupervisorOptions::default()
        .connection(Options::default().connect_deadline(LONG).command_deadline(LONG))
        .delays(Duration::from_millis(1), Duration::from_millis(20))
        .heartbeat(None)
}

fn start(endpoint: &Port) -> (Supervisor, Events) {
    endpoint.supervise([Credentials::auto()], options())
}

async fn next(events: &mut Events) -> Event {
    tokio::time::timeout(LONG, events.recv())
        .await
        .expect("no event")
        .expect("the queue ended")
}

async fn next_gap(events: &mut Events) -> Gap {
    match next(events).await {
        Event::Gap(gap) => gap,
        other => panic!("{other:?}"),
    }
}

fn bytes(event: &Event) -> u64 {
    let Event::Bw(event) = event else { panic!("{event:?}") };
    event.read()
}

#[tokio::test(start_paused = true)]
async fn events_go_on_with_a_gap_where_there_was_no_connection() {
    let endpoint = listen_always(async |number, mut tor: FakeTor| {
        tor.let_in().await;
        // The third one is the same process as the second.
        tor.introduce([7, 8, 8][number.min(2)], 100, "CIRC BW").await;
        if number == 0 {
            // Asked for when the connection stands already.
            tor.expect("SETEVENTS BW STREAM").await;
            tor.send(b"552 Unrecognized event \"STREAM\"\r\n").await;
        }
        tor.expect("SETEVENTS BW CIRC").await;
        tor.send(format!("250 OK\r\n650 BW {number} 0\r\n").as_bytes()).await;
        if number == 2 {
            tor.fall_silent().await;
        }
    })
    .await;
    let (tor, mut events) = start(&endpoint);
    tor.connection().await.unwrap();
    let error = tor.set_events(&[EventKind::Bw, EventKind::Stream]).await.unwrap_err();
    assert!(matches!(error, Error::Rejected { code: 552, .. }), "{error}");
    tor.set_events(&[EventKind::Bw, EventKind::Circ]).await.unwrap();

    assert_eq!(bytes(&next(&mut events).await), 0);
    let gap = next_gap(&mut events).await;
    assert_eq!(gap.restarted(), Some(true));
    assert_eq!(gap.kinds(), [EventKind::Bw, EventKind::Circ]);
    assert!(gap.refused().is_empty());
    assert!(gap.lasted() < LONG);
    assert_eq!(bytes(&next(&mut events).await), 1);
    assert_eq!(next_gap(&mut events).await.restarted(), Some(false));
    assert_eq!(bytes(&next(&mut events).await), 2);
    tor.connection().await.unwrap();
    assert!(tor.failure().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_uptime_tells_two_processes_of_one_number_apart() {
    let gone = Arc::new(Notify::new());
    let over = Arc::clone(&gone);
    let endpoint = listen_always(move |number, mut tor: FakeTor| {
        let over = Arc::clone(&over);
        async move {
            tor.let_in().await;
            tor.introduce(1, [1000, 0][number.min(1)], "BW").await;
            if number == 0 {
                over.notified().await;
            } else {
                tor.fall_silent().await;
            }
        }
    })
    .await;
    let (tor, mut events) = start(&endpoint);
    tor.connection().await.unwrap();
    // Tor counts whole seconds, so two are granted.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    gone.notify_one();
    assert_eq!(next_gap(&mut events).await.restarted(), Some(true));
}

#[tokio::test(start_paused = true)]
async fn a_tor_that_does_not_tell_is_none_of_which_is_known() {
    let endpoint = listen_always(async |number, mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("GETINFO process/pid uptime events/names").await;
        tor.send(b"552 Unrecognized key \"uptime\"\r\n").await;
        if number == 1 {
            tor.fall_silent().await;
        }
    })
    .await;
    let (_tor, mut events) = start(&endpoint);
    assert_eq!(next_gap(&mut events).await.restarted(), None);
}

#[tokio::test(start_paused = true)]
async fn events_that_the_next_tor_does_not_know_are_told() {
    let endpoint = listen_always(async |number, mut tor: FakeTor| {
        tor.let_in().await;
        if number == 0 {
            tor.introduce(1, 0, "BW CIRC").await;
            tor.expect("SETEVENTS CIRC BW").await;
            tor.send(b"250 OK\r\n").await;
        } else {
            tor.introduce(2, 0, "BW").await;
            tor.expect("SETEVENTS BW").await;
            tor.send(b"250 OK\r\n").await;
            tor.fall_silent().await;
        }
    })
    .await;
    let (tor, mut events) = start(&endpoint);
    tor.set_events(&[EventKind::Circ, EventKind::Bw]).await.unwrap();
    let gap = next_gap(&mut events).await;
    assert_eq!(gap.refused(), [EventKind::Circ]);
    tor.connection().await.unwrap();
    assert_eq!(tor.refused(), [EventKind::Circ]);
}

#[tokio::test(start_paused = true)]
async fn a_password_that_was_changed() {
    // Lets in with `first` at first, then with `second` only.
    let endpoint = listen_always(async |number, mut tor: FakeTor| {
        tor.expect("PROTOCOLINFO 1").await;
        tor.send(PASSWORD_OFFER).await;
        let line = tor.line().await;
        let right = if number == 0 { "first" } else { "second" };
        if line != format!("AUTHENTICATE \"{right}\"") {
            tor.send(b"515 Authentication failed: Password did not match\r\n").await;
            return;
        }
        tor.send(b"250 OK\r\n").await;
        tor.introduce(1, 0, "BW").await;
        if number > 0 {
            tor.fall_silent().await;
        }
    })
    .await;
    let passwords = ["first", "second"].map(|password| Credentials::password(password).unwrap());
    let (tor, mut events) = endpoint.supervise(passwords, options());
    assert!(tokio::time::timeout(LONG, tor.connection()).await.is_ok());
    next_gap(&mut events).await;
    tokio::time::timeout(LONG, tor.connection()).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_password_that_nobody_knows_yet() {
    let endpoint = listen_always(async |_, mut tor: FakeTor| {
        tor.expect("PROTOCOLINFO 1").await;
        tor.send(PASSWORD_OFFER).await;
        if tor.line().await == "AUTHENTICATE \"new\"" {
            tor.send(b"250 OK\r\n").await;
            tor.introduce(1, 0, "BW").await;
            return tor.fall_silent().await;
        }
        tor.send(b"515 Authentication failed: Password did not match\r\n").await;
    })
    .await;
    // So long a pause that only the order ends it.
    let patient = options().delays(LONG * 100, LONG * 100);
    let (tor, _events) = endpoint.supervise([Credentials::password("old").unwrap()], patient);
    let error = tor.connection_within(SHORT).await.unwrap_err();
    assert!(matches!(error, Error::Rejected { code: 515, .. }), "{error}");
    assert!(tor.current().is_none());
    tor.set_credentials([Credentials::password("new").unwrap()]).await;
    tor.connection_within(LONG).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cookie_that_fails_gives_way_to_the_password() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&[7; 32]).unwrap();
    let attempts = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&attempts);
    let endpoint = listen_always(move |_, mut tor: FakeTor| {
        let count = Arc::clone(&count);
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            tor.expect("PROTOCOLINFO 1").await;
            tor.send(b"250-PROTOCOLINFO 1\r\n250-AUTH METHODS=COOKIE,SAFECOOKIE,HASHEDPASSWORD\r\n250 OK\r\n")
                .await;
            let line = tor.line().await;
            if line.starts_with("AUTHCHALLENGE") {
                // Not the cookie that the file holds.
                let hash = "AB".repeat(32);
                tor.send(format!("250 AUTHCHALLENGE SERVERHASH={hash} SERVERNONCE={hash}\r\n").as_bytes())
                    .await;
                return;
            }
            assert_eq!(line, "AUTHENTICATE \"secret\"");
            tor.send(b"250 OK\r\n").await;
            tor.introduce(1, 0, "BW").await;
            // The second connection stands.
            if count.load(Ordering::SeqCst) > 2 {
                tor.fall_silent().await;
            }
        }
    })
    .await;
    let both = Credentials::cookie_file(file.path()).with_password(Password::new("secret").unwrap());
    let (tor, mut events) = endpoint.supervise([both], options());
    next_gap(&mut events).await;
    tor.connection_within(LONG).await.unwrap();
    // The cookie is tried once; after that, what worked comes first.
    assert_eq!(attempts.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_tor_that_hangs_is_found_by_the_heartbeat() {
    let endpoint = listen_always(async |number, mut tor: FakeTor| {
        tor.let_in().await;
        tor.introduce(1, 0, "BW").await;
        if number == 0 {
            tor.expect("GETINFO process/pid").await;
        }
        tor.fall_silent().await;
    })
    .await;
    let options = options()
        .connection(Options::default().command_deadline(SHORT))
        .heartbeat(Some(SHORT));
    let started = Instant::now();
    let (_tor, mut events) = endpoint.supervise([Credentials::auto()], options);
    next_gap(&mut events).await;
    assert!(started.elapsed() >= 2 * SHORT && started.elapsed() < LONG);
}

#[tokio::test(start_paused = true)]
async fn confusion_is_mended_by_another_connection() {
    let endpoint = listen_always(async |number, mut tor: FakeTor| {
        tor.let_in().await;
        tor.introduce(1, 0, "BW").await;
        tor.expect("GETINFO version").await;
        if number == 0 {
            // Two final replies.
            tor.send(b"250-version=0\r\n250 OK\r\n250 OK\r\n").await;
        } else {
            tor.send(b"250-version=1\r\n250 OK\r\n").await;
        }
        tor.fall_silent().await;
    })
    .await;
    let (tor, mut events) = start(&endpoint);
    assert_eq!(tor.connection().await.unwrap().get_info("version").await.unwrap(), "0");
    next_gap(&mut events).await;
    assert_eq!(tor.connection().await.unwrap().get_info("version").await.unwrap(), "1");
}

#[tokio::test(start_paused = true)]
async fn nobody_listens_at_first() {
    let port = listen_always(async |_, mut tor: FakeTor| {
        tor.let_in().await;
        tor.introduce(1, 1, "BW").await;
        tor.fall_silent().await;
    })
    .await;
    let listens = Arc::new(AtomicBool::new(false));
    let open = Arc::clone(&listens);
    let connect = move || {
        ready(match open.load(Ordering::SeqCst) {
            true => Ok(port.open()),
            false => Err(ErrorKind::ConnectionRefused.into()),
        })
    };
    let (tor, _events) = Supervisor::start_over("tunnel", connect, [Credentials::auto()], options());
    let error = tor.connection_within(SHORT).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot connect to the control port tunnel: connection refused"
    );
    assert!(matches!(tor.last(), Some(Attempt::Failed(_))));
    listens.store(true, Ordering::SeqCst);
    tor.connection_within(LONG).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_tor_that_always_closes_is_asked_with_growing_pauses() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&attempts);
    let endpoint = listen_always(move |_, mut tor: FakeTor| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            tor.let_in().await;
            tor.introduce(1, 0, "BW").await;
        }
    })
    .await;
    let pauses = options().delays(Duration::from_millis(40), Duration::from_secs(10));
    let (_tor, mut events) = endpoint.supervise([Credentials::auto()], pauses);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // At least 20, 40, 80, 160, 320, 640 milliseconds.
    let attempts = attempts.load(Ordering::SeqCst);
    assert!((2..=6).contains(&attempts), "{attempts} attempts");
    // However often it was lost: nothing came in between, so it is one gap.
    next_gap(&mut events).await;
    assert_eq!(events.try_recv(), None);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_closes() {
    let closed = Arc::new(Notify::new());
    let notify = Arc::clone(&closed);
    let endpoint = listen_always(move |_, mut tor: FakeTor| {
        let notify = Arc::clone(&notify);
        async move {
            tor.let_in().await;
            tor.introduce(1, 0, "BW").await;
            assert_eq!(tor.wait_for_end().await, b"");
            notify.notify_one();
        }
    })
    .await;
    let (tor, mut events) = start(&endpoint);
    let connection = tor.connection().await.unwrap();
    let clone = tor.clone();
    drop(tor);
    assert!(clone.current().is_some());
    drop(clone);
    tokio::time::timeout(LONG, closed.notified()).await.unwrap();
    assert!(matches!(connection.closed().await, CloseReason::Local));
    assert_eq!(tokio::time::timeout(LONG, events.recv()).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn every_attempt_can_be_followed() {
    let seen = Arc::new(Notify::new());
    let go_on = Arc::clone(&seen);
    let endpoint = listen_always(move |number, mut tor: FakeTor| {
        let go_on = Arc::clone(&go_on);
        async move {
            match number {
                0 => {
                    tor.let_in().await;
                    tor.introduce(1, 100, "BW").await;
                    go_on.notified().await;
                }
                // This one hangs up at once.
                1 => {}
                _ => {
                    tor.let_in().await;
                    tor.introduce(1, 100, "BW").await;
                    tor.fall_silent().await;
                }
            }
        }
    })
    .await;
    let (tor, _events) = start(&endpoint);
    assert!(tor.last().is_none());
    let mut attempts = tor.attempts();
    assert!(matches!(attempts.next().await, Some(Attempt::Connected(_))));
    seen.notify_one();
    // A connection that was cut is no attempt that failed.
    let Some(Attempt::Lost(reason)) = attempts.next().await else {
        panic!("the connection was lost");
    };
    assert!(matches!(reason, CloseReason::Eof), "{reason}");
    assert!(tor.failure().is_none());
    let Some(Attempt::Failed(error)) = attempts.next().await else {
        panic!("the attempt failed");
    };
    assert!(matches!(error, Error::Closed(CloseReason::Eof)), "{error}");
    assert!(tor.failure().is_some());
    assert!(matches!(attempts.next().await, Some(Attempt::Connected(_))));

    // One that comes later learns how things stand, and then nothing for as long as nothing
    // changes.
    let mut late = tor.attempts();
    assert!(matches!(late.next().await, Some(Attempt::Connected(_))));
    assert!(tokio::time::timeout(LONG, late.next()).await.is_err());
    drop(tor);
    assert!(tokio::time::timeout(LONG, late.next()).await.unwrap().is_none());
}

/// A confusion or a late answer ends the connection, not the Tor.
#[tokio::test(start_paused = true)]
async fn one_odd_or_late_answer_leads_to_another_connection() {
    let endpoint = listen_always(async |number, mut tor: FakeTor| {
        tor.let_in().await;
        tor.introduce(1, 100, "BW").await;
        tor.expect("GETINFO version").await;
        match number {
            0 => tor.send(b"250 OK\r\n").await,
            1 => {}
            _ => tor.send(b"250-version=1\r\n250 OK\r\n").await,
        }
        tor.fall_silent().await;
    })
    .await;
    let (tor, _events) = start(&endpoint);
    let mut attempts = tor.attempts();
    for number in 0..3 {
        let Some(Attempt::Connected(connection)) = attempts.next().await else {
            panic!("connection {number}");
        };
        let answer = connection.with_deadline(SHORT).get_info("version").await;
        let Err(error) = answer else {
            assert_eq!(number, 2);
            return;
        };
        let Some(Attempt::Lost(reason)) = attempts.next().await else {
            panic!("connection {number}: {error}");
        };
        match number {
            0 => assert!(matches!(reason, CloseReason::Protocol(_)), "{reason}"),
            _ => assert!(matches!(reason, CloseReason::Deadline { .. }), "{reason}"),
        }
    }
    panic!("no answer");
}
