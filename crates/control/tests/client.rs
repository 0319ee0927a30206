//! The tokio client against a scripted control port: everything that a real Tor does rarely or
//! never.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::StreamExt;
use onionweave_control::{
    CloseReason, Command, Connection, Credentials, Endpoint, Error, Event, EventKind, Events, Limits, Options, Signal,
    TorVersion,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::fake_tor::{FakeTor, NULL_OFFER, Port, listen};

#[path = "common/fake_tor.rs"]
mod fake_tor;

/// Long enough for anything on this machine, when a test does not wait for the deadline itself.
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(150);

fn options() -> Options {
    Options::default().connect_deadline(LONG).command_deadline(LONG)
}

async fn connect(endpoint: &Port) -> (Connection, Events) {
    endpoint.connect(&Credentials::auto(), &options()).await.unwrap()
}

/// Admits the client and answers `answer` to its first command, `GETINFO version`.
async fn answering(answer: &'static [u8]) -> Port {
    listen(async move |mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("GETINFO version").await;
        tor.send(answer).await;
        tor.fall_silent().await;
    })
    .await
}

/// The error that `GETINFO version` ends in, after which the connection must be closed.
async fn failure(answer: &'static [u8]) -> (Error, CloseReason) {
    let (tor, _events) = connect(&answering(answer).await).await;
    let error = tor.get_info("version").await.unwrap_err();
    let reason = tokio::time::timeout(LONG, tor.closed())
        .await
        .expect("the connection stays open");
    assert!(tor.is_closed());
    assert!(matches!(tor.get_info("version").await, Err(Error::Closed(_))));
    (error, reason)
}

#[tokio::test(start_paused = true)]
async fn typed_calls() {
    let endpoint = listen(async |mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("GETINFO version").await;
        tor.send(b"250-version=0.4.5.9\r\n250 OK\r\n").await;
        tor.expect("GETINFO a b").await;
        tor.send(b"250+a=\r\n1\r\n..2\r\n.\r\n250-b=\r\n250 OK\r\n").await;
        tor.expect("SETEVENTS HS_DESC CONF_CHANGED").await;
        tor.send(b"250 OK\r\n650-CONF_CHANGED\r\n650-Nickname=x\r\n650 OK\r\n")
            .await;
        tor.expect(&format!("+HSPOST SERVER=${}", "0A".repeat(20))).await;
        assert_eq!(tor.body().await, ["..first", "", "last"]);
        tor.send(b"250 OK\r\n").await;
        tor.expect("SETCONF Nickname=\"x\"").await;
        tor.send(b"513 Unacceptable option value: no\r\n").await;
        tor.expect("SIGNAL NEWNYM").await;
        tor.send(b"250 OK\r\n").await;
        tor.expect("TAKEOWNERSHIP").await;
        tor.send(b"250 OK\r\n").await;
        tor.expect("GETCONF SocksPort").await;
        tor.send(b"250-SocksPort=1\r\n250 SocksPort=2\r\n").await;
        tor.expect("QUIT").await;
        tor.send(b"250 closing connection\r\n").await;
    })
    .await;

    let (tor, mut events) = connect(&endpoint).await;
    assert_eq!(tor.protocol_info().tor_version(), Some("0.4.5.9"));
    assert_eq!(tor.get_info("version").await.unwrap(), "0.4.5.9");
    let values = tor.get_infos(&["a", "b"]).await.unwrap();
    assert_eq!((&*values["a"], &*values["b"]), ("1\n.2\n", ""));
    tor.set_events(&[EventKind::HsDesc, EventKind::ConfChanged])
        .await
        .unwrap();
    let Some(Event::ConfChanged(event)) = events.recv().await else {
        panic!()
    };
    assert_eq!(event.value("Nickname"), Some("x"));
    tor.hs_post(&[[10; 20]], None, b".first\n\nlast\n").await.unwrap();
    let error = tor.set_conf(&[("Nickname", "x")]).await.unwrap_err();
    assert!(
        matches!(&error, Error::Rejected { code: 513, text, .. } if text == "Unacceptable option value: no"),
        "{error}"
    );
    tor.signal(Signal::NewNym).await.unwrap();
    tor.take_ownership().await.unwrap();
    let reply = tor
        .command(Command::raw("GETCONF SocksPort").unwrap(), LONG)
        .await
        .unwrap();
    assert_eq!(reply.lines().len(), 2);
    tor.quit().await.unwrap();
    assert!(matches!(tor.closed().await, CloseReason::Eof));
    assert_eq!(events.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn no_reply_at_all_ends_at_the_deadline() {
    let endpoint = listen(async |mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("+HSPOST").await;
        tor.body().await;
        tor.fall_silent().await;
    })
    .await;
    let (tor, mut events) = connect(&endpoint).await;
    let impatient = tor.with_deadline(SHORT);
    let other = tor.clone();
    let other = tokio::spawn(async move { other.get_info("version").await });

    // The other call's deadline is far away, but the connection is gone for both.
    let started = Instant::now();
    let error = impatient.hs_post(&[], None, b"text\n").await.unwrap_err();
    assert!(started.elapsed() >= SHORT);
    let Error::Deadline { command, after, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!((&**command, *after), ("+HSPOST", SHORT));
    assert!(error.is_retryable());
    assert!(tor.is_closed());
    assert!(matches!(tor.closed().await, CloseReason::Deadline { .. }));
    assert!(matches!(
        other.await.unwrap(),
        Err(Error::Closed(CloseReason::Deadline { .. }))
    ));
    assert!(matches!(
        tor.signal(Signal::Heartbeat).await,
        Err(Error::Closed(CloseReason::Deadline { .. }))
    ));
    assert_eq!(events.recv().await, None);
    assert!(started.elapsed() < LONG);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_cannot_be_sent_has_its_deadline_too() {
    let endpoint = listen(async |mut tor: FakeTor| {
        tor.let_in().await;
        // Reads nothing more, so that the socket fills up.
        tor.fall_silent().await;
    })
    .await;
    let (tor, _events) = connect(&endpoint).await;
    let body = vec![b'x'; 1_000_000];
    let posts: Vec<_> = (0..30)
        .map(|_| {
            let (tor, body) = (tor.clone(), body.clone());
            tokio::spawn(async move { tor.hs_post(&[], None, &body).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let started = Instant::now();
    let error = tor.with_deadline(SHORT).get_info("version").await.unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    assert!(started.elapsed() < LONG);
    for post in posts {
        assert!(matches!(
            post.await.unwrap(),
            Err(Error::Closed(CloseReason::Deadline { .. }))
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_final_reply_is_confusion() {
    let (tor, _events) = connect(&answering(b"250-version=1\r\n250 OK\r\n250 OK\r\n").await).await;
    // The first reply is good; the second is nobody's.
    assert_eq!(tor.get_info("version").await.unwrap(), "1");
    let reason = tokio::time::timeout(LONG, tor.closed()).await.unwrap();
    assert_eq!(
        reason.to_string(),
        "Tor sent a reply that no command was waiting for: 250 OK"
    );
    let error = tor.get_info("version").await.unwrap_err();
    assert!(matches!(error, Error::Closed(CloseReason::Protocol(_))));
    assert!(error.is_retryable(), "on another connection");
}

#[tokio::test(start_paused = true)]
async fn a_second_final_reply_is_not_taken_for_a_value() {
    let endpoint = listen(async |mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("SIGNAL HEARTBEAT").await;
        tor.expect("GETINFO version").await;
        tor.send(b"250 OK\r\n250 OK\r\n250-version=1\r\n250 OK\r\n").await;
        tor.fall_silent().await;
    })
    .await;
    let (tor, _events) = connect(&endpoint).await;
    let (signal, version) = tokio::join!(tor.signal(Signal::Heartbeat), tor.get_info("version"));
    signal.unwrap();
    let error = version.unwrap_err();
    assert!(matches!(error, Error::UnexpectedReply { .. }), "{error}");
    tokio::time::timeout(LONG, tor.closed()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_reply_of_another_form_closes() {
    let (error, reason) = failure(b"250-uptime=1\r\n250 OK\r\n").await;
    assert!(matches!(error, Error::UnexpectedReply { .. }), "{error}");
    assert!(reason.to_string().contains("expected the value of version"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn rubbish_closes() {
    let (error, reason) = failure(b"\x16\x03\x01\x02\x00\n").await;
    assert!(matches!(error, Error::Closed(CloseReason::Protocol(_))), "{error}");
    // Five lines came with the authentication.
    assert_eq!(
        reason.to_string(),
        "line 6 of the control connection: expected a status code and one of '-', '+', ' ', found \"\\x16\\x03\\x01\\x02\\x00\""
    );
}

#[tokio::test(start_paused = true)]
async fn rubbish_instead_of_an_offer() {
    let endpoint = listen(async |mut tor: FakeTor| {
        tor.send(b"SSH-2.0-OpenSSH_9.2p1\r\n").await;
        tor.fall_silent().await;
    })
    .await;
    let error = endpoint.connect(&Credentials::auto(), &options()).await.unwrap_err();
    // Depending on which comes first, the rubbish or the command.
    assert!(matches!(error, Error::Closed(CloseReason::Protocol(_))), "{error}");
}

#[tokio::test(start_paused = true)]
async fn half_a_reply_and_the_end() {
    let endpoint = listen(async |mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("GETINFO version").await;
        tor.send(b"250-version=0.4").await;
    })
    .await;
    let (tor, _events) = connect(&endpoint).await;
    let error = tor.get_info("version").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the control connection is closed: the control connection ended inside a line, after 5 whole lines"
    );
    assert!(error.is_retryable());
}

#[tokio::test(start_paused = true)]
async fn the_end_is_noticed_at_once() {
    let (end, ended) = oneshot::channel::<()>();
    let endpoint = listen(async move |mut tor: FakeTor| {
        tor.let_in().await;
        let _ = ended.await;
    })
    .await;
    let (tor, mut events) = connect(&endpoint).await;
    assert!(!tor.is_closed());
    let started = Instant::now();
    drop(end);
    assert!(matches!(tor.closed().await, CloseReason::Eof));
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(events.recv().await, None);
    assert!(matches!(
        tor.get_info("version").await,
        Err(Error::Closed(CloseReason::Eof))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password() {
    let endpoint = listen(async |mut tor: FakeTor| {
        tor.expect("PROTOCOLINFO 1").await;
        tor.send(b"250-PROTOCOLINFO 1\r\n250-AUTH METHODS=HASHEDPASSWORD\r\n250 OK\r\n")
            .await;
        tor.expect("AUTHENTICATE \"guess \\\"this\\\"\"").await;
        tor.send(b"515 Authentication failed: Password did not match\r\n").await;
    })
    .await;
    let credentials = Credentials::password("guess \"this\"").unwrap();
    let error = endpoint.connect(&credentials, &options()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "AUTHENTICATE: Tor answered 515 Authentication failed: Password did not match"
    );
    assert!(!error.is_retryable());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_know_the_cookie_learns_nothing() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&[7; 32]).unwrap();
    let (learnt, rest) = oneshot::channel();
    let endpoint = listen(async move |mut tor: FakeTor| {
        tor.expect("PROTOCOLINFO 1").await;
        tor.send(b"250-PROTOCOLINFO 1\r\n250-AUTH METHODS=COOKIE,SAFECOOKIE COOKIEFILE=\"/nowhere\"\r\n250 OK\r\n")
            .await;
        assert!(tor.line().await.starts_with("AUTHCHALLENGE SAFECOOKIE "));
        let answer = format!(
            "250 AUTHCHALLENGE SERVERHASH={} SERVERNONCE={}\r\n",
            "AB".repeat(32),
            "CD".repeat(32)
        );
        tor.send(answer.as_bytes()).await;
        learnt.send(tor.wait_for_end().await).unwrap();
    })
    .await;
    let error = endpoint
        .connect(&Credentials::cookie_file(file.path()), &options())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::WrongServerHash), "{error}");
    assert_eq!(rest.await.unwrap(), b"");
}

#[tokio::test(start_paused = true)]
async fn cookie_files_of_no_use() {
    let folder = tempfile::tempdir().unwrap();
    let short = folder.path().join("short");
    std::fs::write(&short, [7; 31]).unwrap();
    let long = folder.path().join("long");
    std::fs::write(&long, [7; 4096]).unwrap();
    let missing = folder.path().join("missing");
    let table = [
        (short, "has 32 bytes, not 31"),
        (long, "has 32 bytes, not 33"),
        (missing, "No such file or directory"),
        (folder.path().to_owned(), "it is not a regular file"),
    ];
    for (path, message) in table {
        let endpoint = listen(async |mut tor: FakeTor| {
            tor.expect("PROTOCOLINFO 1").await;
            tor.send(b"250-PROTOCOLINFO 1\r\n250-AUTH METHODS=COOKIE,SAFECOOKIE\r\n250 OK\r\n")
                .await;
            tor.fall_silent().await;
        })
        .await;
        let error = endpoint
            .connect(&Credentials::cookie_file(&path), &options())
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(message) && text.contains(path.to_str().unwrap()),
            "{text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_huge_line() {
    let endpoint = listen(async |mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("GETINFO version").await;
        tor.send(b"250-version=").await;
        tor.send(&vec![b'x'; 3 << 20]).await;
        tor.fall_silent().await;
    })
    .await;
    let (tor, _events) = connect(&endpoint).await;
    let error = tor.get_info("version").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the control connection is closed: line 6 of the control connection: a line is longer than the limit of 1048576 bytes"
    );
}

#[tokio::test(start_paused = true)]
async fn a_reply_over_the_limit() {
    let endpoint = listen(async |mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("GETINFO ns/all").await;
        tor.send(b"250+ns/all=\r\n").await;
        for _ in 0..200 {
            tor.send(&b"r relay\r\n".repeat(100)).await;
        }
        tor.fall_silent().await;
    })
    .await;
    let options = options().limits(Limits::default().reply(100_000));
    let (tor, _events) = endpoint.connect(&Credentials::auto(), &options).await.unwrap();
    let error = tor.get_info("ns/all").await.unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("a reply is longer than the limit of 100000 bytes"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_reply_as_large_as_the_public_network() {
    let line = format!("r {}\r\n", "x".repeat(300));
    let lines = 10_000;
    let body = line.repeat(lines);
    let wire = [b"250+ns/all=\r\n", body.as_bytes(), b".\r\n250 OK\r\n"].concat();
    let endpoint = listen(async move |mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("GETINFO ns/all").await;
        tor.send(&wire).await;
        tor.fall_silent().await;
    })
    .await;
    let (tor, _events) = connect(&endpoint).await;
    assert_eq!(tor.get_info("ns/all").await.unwrap(), body.replace("\r\n", "\n"));
}

#[tokio::test(start_paused = true)]
async fn text_that_is_not_utf8() {
    let endpoint = listen(async |mut tor: FakeTor| {
        tor.let_in().await;
        for _ in 0..2 {
            tor.expect("GETINFO config-text").await;
            tor.send(b"250+config-text=\r\nContactInfo \xff\xfe\r\n.\r\n250 OK\r\n")
                .await;
        }
        tor.fall_silent().await;
    })
    .await;
    let (tor, _events) = connect(&endpoint).await;
    let error = tor.get_info("config-text").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the value of config-text is not UTF-8: byte 12 is invalid"
    );
    assert_eq!(
        tor.get_info_bytes("config-text").await.unwrap(),
        b"ContactInfo \xff\xfe\n"
    );
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_events_holds_up_no_reply() {
    const FLOOD: u64 = 50_000;
    let endpoint = listen(async |mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("SETEVENTS BW").await;
        tor.send(b"250 OK\r\n").await;
        for _ in 0..FLOOD / 1000 {
            tor.send(&b"650 BW 1 2\r\n".repeat(1000)).await;
        }
        tor.expect("GETINFO version").await;
        tor.send(b"250-version=1\r\n250 OK\r\n650 NETWORK_LIVENESS UP\r\n")
            .await;
    })
    .await;
    let options = options().event_queue(16);
    let (tor, mut events) = endpoint.connect(&Credentials::auto(), &options).await.unwrap();
    tor.set_events(&[EventKind::Bw]).await.unwrap();
    assert_eq!(tor.get_info("version").await.unwrap(), "1");
    tor.closed().await;

    let mut received = 0;
    let mut lost = 0;
    while let Some(event) = events.recv().await {
        match event {
            Event::Lagged(more) => lost += more,
            Event::Bw(_) | Event::NetworkLiveness(_) => received += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(received, 16);
    assert_eq!(received + lost, FLOOD + 1);
}

/// A stream that always has another event to read, so that reading never waits.
struct Flood {
    /// Bytes that are read before the events.
    greeting: &'static [u8],
    /// Bytes that were written, and the answer once a whole line has been.
    written: Vec<u8>,
    answer: &'static [u8],
}

impl Flood {
    const EVENT: &'static [u8] = b"650 BW 1 2\r\n";

    fn new(answer: &'static [u8]) -> Self {
        Self {
            greeting: b"",
            written: Vec::new(),
            answer,
        }
    }
}

impl AsyncRead for Flood {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // As a socket does: now and then others get their turn.
        let coop = ready!(tokio::task::coop::poll_proceed(cx));
        coop.made_progress();
        let next = match self.greeting {
            b"" => Self::EVENT,
            _ => std::mem::take(&mut self.greeting),
        };
        buffer.put_slice(next);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Flood {
    fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written.extend_from_slice(bytes);
        let answers: [(&[u8], &'static [u8]); 3] = [
            (b"PROTOCOLINFO 1\r\n", NULL_OFFER),
            (b"AUTHENTICATE\r\n", b"250 OK\r\n"),
            (b"GETINFO version\r\n", self.answer),
        ];
        let answer = answers.iter().find(|(command, _)| self.written.ends_with(command));
        self.greeting = answer.expect("no other command").1;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Moves time on, which stands still while anybody has work.
async fn time_passes() {
    loop {
        tokio::time::advance(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn events_without_end_hold_up_no_command() {
    let flood = Flood::new(b"250-version=1\r\n250 OK\r\n");
    let options = options().event_queue(16);
    let (tor, _events) = Connection::over(flood, &Credentials::auto(), &options).await.unwrap();
    assert_eq!(tor.get_info("version").await.unwrap(), "1");
}

#[tokio::test(start_paused = true)]
async fn events_without_end_outlast_no_deadline() {
    let (tor, _events) = Connection::over(Flood::new(b""), &Credentials::auto(), &options())
        .await
        .unwrap();
    tokio::spawn(time_passes());
    let started = Instant::now();
    let error = tor.with_deadline(SHORT).get_info("version").await.unwrap_err();
    assert!(matches!(error, Error::Deadline { after: SHORT, .. }), "{error}");
    assert!(started.elapsed() < LONG, "the deadline is the call's");
}

#[tokio::test(start_paused = true)]
async fn events_without_end_outlast_no_deadline_of_a_call_given_up() {
    let (tor, _events) = Connection::over(Flood::new(b""), &Credentials::auto(), &options())
        .await
        .unwrap();
    tokio::spawn(time_passes());
    // Only the task watches its deadline then.
    let call = tor.with_deadline(2 * SHORT);
    assert!(tokio::time::timeout(SHORT, call.get_info("version")).await.is_err());
    let reason = tokio::time::timeout(LONG, tor.closed()).await.unwrap();
    assert!(matches!(reason, CloseReason::Deadline { .. }), "{reason}");
}

/// A reply that takes 40 deadlines to arrive, as over a slow line, and a question that waits behind
/// it.
#[tokio::test(start_paused = true)]
async fn an_answer_that_arrives_slowly_is_no_silence() {
    let line = b"r relay\r\n";
    let endpoint = listen(async move |mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("GETINFO ns/all").await;
        tor.send(b"250+ns/all=\r\n").await;
        for _ in 0..80 {
            // In pieces that end anywhere.
            tor.send(&line[..3]).await;
            tokio::time::sleep(SHORT / 2).await;
            tor.send(&line[3..]).await;
        }
        tor.send(b".\r\n250 OK\r\n").await;
        tor.expect("GETINFO version").await;
        tor.send(b"250-version=1\r\n250 OK\r\n").await;
        tor.fall_silent().await;
    })
    .await;
    let options = options().command_deadline(SHORT);
    let (tor, _events) = endpoint.connect(&Credentials::auto(), &options).await.unwrap();
    let (relays, version) = tokio::join!(tor.get_info("ns/all"), tor.get_info("version"));
    assert_eq!(relays.unwrap(), "r relay\n".repeat(80));
    assert_eq!(version.unwrap(), "1");
}

#[tokio::test(start_paused = true)]
async fn a_long_event_that_arrives_slowly_is_no_silence() {
    let endpoint = listen(async move |mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("GETINFO version").await;
        tor.send(b"650+NEWCONSENSUS\r\n").await;
        for _ in 0..10 {
            tor.send(b"r relay\r\n").await;
            tokio::time::sleep(SHORT / 2).await;
        }
        tor.send(b".\r\n650 OK\r\n250-version=1\r\n250 OK\r\n").await;
        tor.fall_silent().await;
    })
    .await;
    let options = options().command_deadline(SHORT);
    let (tor, _events) = endpoint.connect(&Credentials::auto(), &options).await.unwrap();
    assert_eq!(tor.get_info("version").await.unwrap(), "1");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_stops_arriving_ends_at_the_deadline() {
    let endpoint = listen(async move |mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("GETINFO version").await;
        tokio::time::sleep(SHORT / 2).await;
        tor.send(b"250-version=0.4").await;
        tor.fall_silent().await;
    })
    .await;
    let options = options().command_deadline(SHORT);
    let (tor, _events) = endpoint.connect(&Credentials::auto(), &options).await.unwrap();
    let started = Instant::now();
    let error = tor.get_info("version").await.unwrap_err();
    assert!(matches!(error, Error::Deadline { after: SHORT, .. }), "{error}");
    assert!(started.elapsed() >= SHORT * 3 / 2 && started.elapsed() < 2 * SHORT);
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_end_ends_at_its_limit() {
    let endpoint = listen(async move |mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("GETINFO ns/all").await;
        tor.send(b"250+ns/all=\r\n").await;
        loop {
            tor.send(b"r relay\r\n").await;
            tokio::time::sleep(SHORT / 2).await;
        }
    })
    .await;
    let options = options().command_deadline(SHORT).answer_limit(LONG);
    let (tor, _events) = endpoint.connect(&Credentials::auto(), &options).await.unwrap();
    let started = Instant::now();
    let error = tor.get_info("ns/all").await.unwrap_err();
    assert!(matches!(error, Error::Deadline { after: LONG, .. }), "{error}");
    assert!(started.elapsed() >= LONG && started.elapsed() < LONG + SHORT);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_longer_than_the_limit_goes_first() {
    let endpoint = listen(async move |mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("GETINFO version").await;
        tokio::time::sleep(LONG).await;
        tor.send(b"250-version=1\r\n250 OK\r\n").await;
        tor.fall_silent().await;
    })
    .await;
    let options = options().answer_limit(SHORT);
    let (tor, _events) = endpoint.connect(&Credentials::auto(), &options).await.unwrap();
    assert_eq!(tor.with_deadline(2 * LONG).get_info("version").await.unwrap(), "1");
}

#[tokio::test(start_paused = true)]
async fn a_call_given_up_takes_nobodys_reply() {
    let (given_up, go_on) = oneshot::channel::<()>();
    let endpoint = listen(async move |mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("GETINFO first").await;
        go_on.await.unwrap();
        tor.send(b"250-first=1\r\n250 OK\r\n").await;
        tor.expect("GETINFO second").await;
        tor.send(b"250-second=2\r\n250 OK\r\n").await;
        tor.fall_silent().await;
    })
    .await;
    let (tor, _events) = connect(&endpoint).await;
    assert!(tokio::time::timeout(SHORT, tor.get_info("first")).await.is_err());
    let second = tokio::spawn({
        let tor = tor.clone();
        async move { tor.get_info("second").await }
    });
    given_up.send(()).unwrap();
    assert_eq!(second.await.unwrap().unwrap(), "2");
}

#[tokio::test(start_paused = true)]
async fn a_call_given_up_keeps_its_deadline() {
    let endpoint = listen(async |mut tor: FakeTor| {
        tor.let_in().await;
        tor.fall_silent().await;
    })
    .await;
    let (tor, _events) = connect(&endpoint).await;
    let call = tor.with_deadline(4 * SHORT);
    assert!(tokio::time::timeout(SHORT, call.get_info("version")).await.is_err());
    assert!(!tor.is_closed());
    let reason = tokio::time::timeout(LONG, tor.closed()).await.unwrap();
    assert!(matches!(reason, CloseReason::Deadline { .. }));
}

#[tokio::test(start_paused = true)]
async fn many_callers_at_once() {
    const CALLS: usize = 3000;
    let endpoint = listen(async |mut tor: FakeTor| {
        tor.let_in().await;
        for _ in 0..CALLS {
            let line = tor.line().await;
            let key = line.strip_prefix("GETINFO ").unwrap();
            tor.send(format!("250-{key}={key}\r\n250 OK\r\n").as_bytes()).await;
        }
        tor.fall_silent().await;
    })
    .await;
    let (tor, _events) = connect(&endpoint).await;
    let calls: Vec<_> = (0..CALLS)
        .map(|number| {
            let tor = tor.clone();
            tokio::spawn(async move { (number.to_string(), tor.get_info(&number.to_string()).await.unwrap()) })
        })
        .collect();
    for call in calls {
        let (asked, answered) = call.await.unwrap();
        assert_eq!(asked, answered);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_tor_accepts_and_never_answers() {
    let endpoint = listen(FakeTor::fall_silent).await;
    let started = Instant::now();
    let options = options().connect_deadline(SHORT);
    let error = endpoint.connect(&Credentials::auto(), &options).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the control port of the given stream did not let us in within 150ms"
    );
    assert!(started.elapsed() >= SHORT && started.elapsed() < LONG);
}

#[tokio::test(start_paused = true)]
async fn nobody_listens() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string().parse::<Endpoint>().unwrap();
    drop(listener);
    for endpoint in [endpoint, Endpoint::Unix("/nonexistent/control".into())] {
        let error = Connection::connect(&endpoint, &Credentials::auto(), &options())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error}");
        assert!(error.to_string().contains(&endpoint.to_string()), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_closes() {
    let (learnt, rest) = oneshot::channel();
    let endpoint = listen(async move |mut tor: FakeTor| {
        tor.let_in().await;
        learnt.send(tor.wait_for_end().await).unwrap();
    })
    .await;
    let (tor, mut events) = connect(&endpoint).await;
    let clone = tor.clone();
    drop(tor);
    assert!(!clone.is_closed());
    drop(clone);
    assert_eq!(tokio::time::timeout(LONG, rest).await.unwrap().unwrap(), b"");
    assert_eq!(events.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn closing_tells_who_waits() {
    let (tor, _events) = connect(&answering(b"").await).await;
    let waiting = tokio::spawn({
        let tor = tor.clone();
        async move { tor.get_info("version").await }
    });
    tokio::time::sleep(SHORT).await;
    tor.close();
    assert!(matches!(waiting.await.unwrap(), Err(Error::Closed(CloseReason::Local))));
    assert!(matches!(tor.closed().await, CloseReason::Local));
}

#[tokio::test(start_paused = true)]
async fn an_argument_that_is_refused_harms_nobody() {
    let endpoint = listen(async |mut tor: FakeTor| {
        tor.expect("PROTOCOLINFO 1").await;
        tor.send(NULL_OFFER).await;
        tor.expect("AUTHENTICATE").await;
        tor.send(b"250 OK\r\n").await;
        tor.expect("GETINFO version").await;
        tor.send(b"250-version=1\r\n250 OK\r\n").await;
        tor.fall_silent().await;
    })
    .await;
    let (tor, _events) = connect(&endpoint).await;
    assert!(matches!(
        tor.get_info("version\r\nSIGNAL HALT").await,
        Err(Error::Argument { .. })
    ));
    assert!(matches!(
        tor.set_conf(&[("ContactInfo", "a\nb")]).await,
        Err(Error::Argument { .. })
    ));
    assert_eq!(tor.get_info("version").await.unwrap(), "1");
}

#[tokio::test(start_paused = true)]
async fn what_a_tor_knows_comes_typed() {
    let relay = format!("${}~a", "0A".repeat(20));
    let circuits = format!("250+circuit-status=\r\n1 BUILT {relay} PURPOSE=GENERAL\r\n2 LAUNCHED\r\n.\r\n250 OK\r\n");
    let endpoint = listen(async move |mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("GETINFO circuit-status").await;
        tor.send(circuits.as_bytes()).await;
        tor.expect("GETINFO stream-status").await;
        tor.send(b"250-stream-status=\r\n250 OK\r\n").await;
        tor.expect("GETINFO orconn-status").await;
        tor.send(b"250+orconn-status=\r\nodd\r\n.\r\n250 OK\r\n").await;
        tor.expect("GETINFO status/bootstrap-phase").await;
        tor.send(b"250-status/bootstrap-phase=NOTICE BOOTSTRAP PROGRESS=85 TAG=x\r\n250 OK\r\n")
            .await;
        tor.fall_silent().await;
    })
    .await;
    let (tor, _events) = endpoint.connect(&Credentials::auto(), &options()).await.unwrap();
    // Told before authentication: no question is asked.
    assert_eq!(tor.version().await.unwrap(), TorVersion::new([0, 4, 5, 9]));
    let circuits = tor.circuits().await.unwrap();
    assert_eq!(
        circuits
            .iter()
            .map(|circ| circ.circuit().path().len())
            .collect::<Vec<_>>(),
        [1, 0]
    );
    assert!(tor.streams().await.unwrap().is_empty());
    let error = tor.or_connections().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "GETINFO: unexpected reply: expected orconn-status, found \"odd\""
    );
    assert_eq!(tor.bootstrap_phase().await.unwrap().bootstrap_progress(), Some(85));
}

#[tokio::test(start_paused = true)]
async fn a_bootstrap_is_waited_for() {
    let endpoint = listen(async move |mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("SETEVENTS STATUS_CLIENT").await;
        tor.send(b"250 OK\r\n").await;
        for last in [85, 100] {
            tor.expect("GETINFO status/bootstrap-phase").await;
            tor.send(b"250-status/bootstrap-phase=NOTICE BOOTSTRAP PROGRESS=0\r\n250 OK\r\n")
                .await;
            tokio::time::sleep(SHORT).await;
            tor.send(b"650 STATUS_CLIENT NOTICE CIRCUIT_ESTABLISHED\r\n").await;
            for progress in [5, last] {
                let event = format!("650 STATUS_CLIENT NOTICE BOOTSTRAP PROGRESS={progress} TAG=x\r\n");
                tor.send(event.as_bytes()).await;
            }
        }
        tor.expect("GETINFO status/bootstrap-phase").await;
        tor.send(b"250-status/bootstrap-phase=NOTICE BOOTSTRAP PROGRESS=100\r\n250 OK\r\n")
            .await;
    })
    .await;
    let (tor, mut events) = endpoint.connect(&Credentials::auto(), &options()).await.unwrap();
    let started = Instant::now();
    let error = tor.bootstrapped(LONG).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Tor has not finished its bootstrap within 20s: NOTICE BOOTSTRAP PROGRESS=85 TAG=x"
    );
    assert!(started.elapsed() >= LONG);
    tor.bootstrapped(LONG).await.unwrap();
    tor.bootstrapped(LONG).await.unwrap();
    // The reader of events asked for none of this.
    assert_eq!(events.try_recv(), None);
    // The connection ends; so does what waits for it.
    tor.closed().await;
    assert!(matches!(
        tor.bootstrapped(LONG).await,
        Err(Error::Closed(CloseReason::Eof))
    ));
}

#[tokio::test(start_paused = true)]
async fn events_are_a_stream() {
    let endpoint = listen(async move |mut tor: FakeTor| {
        tor.let_in().await;
        tokio::time::sleep(SHORT).await;
        tor.send(b"650 BW 1 2\r\n650 BW 3 4\r\n").await;
    })
    .await;
    let (_tor, events) = endpoint.connect(&Credentials::auto(), &options()).await.unwrap();
    let lines: Vec<_> = events.map(|event| event.to_string()).collect().await;
    assert_eq!(lines, ["BW 1 read, 2 written", "BW 3 read, 4 written"]);
}
