//! Uploads and fetches that are followed, against a scripted control port.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::collections::BTreeMap;
use std::time::Duration;

use onionweave_control::{
    Connection, Credentials, Error, Event, EventKind, Events, FetchOutcome, HsDescReason, HsFetch, HsPost, Options,
    PostOutcome,
};

use tokio::time::Instant;

use crate::fake_tor::{FakeTor, Port, listen};

#[path = "common/fake_tor.rs"]
mod fake_tor;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(150);
const ADDRESS: &str = "6r7x5o465oo27s35";
const ID: &str = "hrzcfzm3ygt4qf2n4r3hlfiepvq4hxe6";

async fn connect(endpoint: &Port) -> (Connection, Events) {
    let options = Options::default().connect_deadline(LONG).command_deadline(LONG);
    endpoint.connect(&Credentials::auto(), &options).await.unwrap()
}

fn relay(number: u8) -> String {
    format!("${}", format!("{number:02X}").repeat(20))
}

fn uploaded(number: u8) -> String {
    format!("650 HS_DESC UPLOADED {ADDRESS} UNKNOWN {}~dir\r\n", relay(number))
}

fn post(directories: &[u8]) -> HsPost {
    directories
        .iter()
        .fold(HsPost::v2(ADDRESS, "text\n").unwrap(), |post, &number| {
            post.server([number; 20])
        })
}

#[tokio::test(start_paused = true)]
async fn an_upload_is_told_for_each_directory() {
    let endpoint = listen(async |mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("SETEVENTS HS_DESC").await;
        // What comes before the reply is another upload's.
        tor.send((uploaded(1) + "250 OK\r\n").as_bytes()).await;
        tor.expect(&format!(
            "+HSPOST SERVER={} SERVER={} SERVER={}",
            relay(1),
            relay(2),
            relay(3)
        ))
        .await;
        tor.body().await;
        let failed = format!(
            "650 HS_DESC FAILED {ADDRESS} UNKNOWN {} REASON=UPLOAD_REJECTED\r\n",
            relay(2)
        );
        tor.send((uploaded(3) + "250 OK\r\n" + &failed + &uploaded(1)).as_bytes())
            .await;
        tor.fall_silent().await;
    })
    .await;
    let (tor, mut events) = connect(&endpoint).await;
    let started = Instant::now();
    let mut answers = tor.post(&post(&[1, 2, 3]), 2 * SHORT).await.unwrap();
    let rejected = PostOutcome::Rejected(Some(HsDescReason::UploadRejected));
    assert_eq!(answers.next().await, Some(([2; 20], rejected)));
    assert_eq!(answers.unanswered(), [[1; 20], [3; 20]]);
    assert_eq!(answers.next().await, Some(([1; 20], PostOutcome::Uploaded)));
    assert!(started.elapsed() < LONG);
    assert_eq!(answers.next().await, Some(([3; 20], PostOutcome::NoAnswer)));
    assert!(started.elapsed() >= 2 * SHORT);
    assert_eq!(answers.next().await, None);
    // The reader of events asked for none of this.
    assert_eq!(events.try_recv(), None);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_is_told_for_each_directory() {
    let endpoint = listen(async |mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("SETEVENTS HS_DESC HS_DESC_CONTENT").await;
        tor.send(b"250 OK\r\n").await;
        tor.expect(&format!("HSFETCH v2-{ID} SERVER={} SERVER={}", relay(1), relay(2)))
            .await;
        let one = format!(
            "650+HS_DESC_CONTENT {ADDRESS} {ID} {}~a\r\nfirst\r\n..second\r\n.\r\n650 OK\r\n",
            relay(1)
        );
        let two = format!(
            "650 HS_DESC FAILED UNKNOWN NO_AUTH {0}~b {ID} REASON=NOT_FOUND\r\n\
             650+HS_DESC_CONTENT UNKNOWN {ID} {0}~b\r\n\r\n.\r\n650 OK\r\n",
            relay(2)
        );
        tor.send(("250 OK\r\n".to_owned() + &two + &one).as_bytes()).await;
        tor.fall_silent().await;
    })
    .await;
    let (tor, mut events) = connect(&endpoint).await;
    let fetch = HsFetch::v2_descriptor(ID).unwrap().server([1; 20]).server([2; 20]);
    let all = tor.fetch(&fetch, LONG).await.unwrap().all().await;
    let expected = BTreeMap::from([
        ([1; 20], FetchOutcome::Received(b"first\n.second\n".to_vec())),
        ([2; 20], FetchOutcome::Failed(Some(HsDescReason::NotFound))),
    ]);
    assert_eq!(all, expected);
    assert_eq!(events.try_recv(), None);
}

#[tokio::test(start_paused = true)]
async fn the_reader_of_events_gets_what_it_asked_for() {
    let endpoint = listen(async |mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("SETEVENTS BW").await;
        tor.send(b"250 OK\r\n").await;
        tor.expect("SETEVENTS BW HS_DESC").await;
        tor.send(b"250 OK\r\n").await;
        tor.expect(&format!("+HSPOST SERVER={}", relay(1))).await;
        tor.body().await;
        tor.send(("250 OK\r\n".to_owned() + &uploaded(1) + "650 BW 1 0\r\n").as_bytes())
            .await;
        // The reader changes its mind; tracking still needs its own.
        tor.expect("SETEVENTS CIRC HS_DESC").await;
        tor.send(("250 OK\r\n".to_owned() + &uploaded(2)).as_bytes()).await;
        tor.expect("SETEVENTS HS_DESC").await;
        tor.send(("250 OK\r\n".to_owned() + &uploaded(3)).as_bytes()).await;
        tor.fall_silent().await;
    })
    .await;
    let (tor, mut events) = connect(&endpoint).await;
    tor.set_events(&[EventKind::Bw]).await.unwrap();
    let all = tor.post(&post(&[1]), LONG).await.unwrap().all().await;
    assert_eq!(all, BTreeMap::from([([1; 20], PostOutcome::Uploaded)]));
    assert!(matches!(events.recv().await, Some(Event::Bw(_))));
    tor.set_events(&[EventKind::Circ]).await.unwrap();
    tor.set_events(&[EventKind::HsDesc]).await.unwrap();
    let Some(Event::HsDesc(event)) = events.recv().await else {
        panic!()
    };
    assert_eq!(event.hsdir().unwrap().fingerprint(), [3; 20]);
}

#[tokio::test(start_paused = true)]
async fn one_upload_at_a_time_for_a_service_at_a_directory() {
    let endpoint = listen(async |mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("SETEVENTS HS_DESC").await;
        tor.send(b"250 OK\r\n").await;
        loop {
            let line = tor.line().await;
            tor.body().await;
            // The second directory refuses all at once, the first says nothing.
            let answer = if line.contains("SERVER=$02") {
                "554 Invalid descriptor\r\n"
            } else {
                "250 OK\r\n"
            };
            tor.send(answer.as_bytes()).await;
        }
    })
    .await;
    let (tor, _events) = connect(&endpoint).await;
    let first = tor.post(&post(&[1, 3]), 2 * SHORT).await.unwrap();
    let conflict = |result: Result<_, Error>| matches!(result, Err(Error::UploadInFlight { .. }));
    assert!(conflict(tor.post(&post(&[4, 3]), LONG).await));
    // Nothing was noted for a directory of the upload that was refused.
    tor.post(&post(&[4]), SHORT).await.unwrap();
    let other = HsPost::v2("aaaaaaaaaaaaaaaa", "text").unwrap().server([1; 20]);
    tor.post(&other, SHORT).await.unwrap();
    let any = HsPost::v2_of_any("text").server([1; 20]);
    assert!(conflict(tor.post(&any, SHORT).await), "any is the first one too");

    // One that Tor refuses is over.
    for _ in 0..2 {
        let error = tor.post(&post(&[2]), LONG).await.unwrap_err();
        assert!(matches!(error, Error::Rejected { code: 554, .. }), "{error}");
    }
    assert!(!tor.is_closed(), "a refusal harms nothing");

    // Giving up the answers does not end the upload, but its deadline does.
    drop(first);
    assert!(conflict(tor.post(&post(&[1]), SHORT).await));
    tokio::time::sleep(2 * SHORT).await;
    tor.post(&post(&[1]), SHORT).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_connection_is_no_answer() {
    let endpoint = listen(async |mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("SETEVENTS HS_DESC").await;
        tor.send(b"250 OK\r\n").await;
        tor.line().await;
        tor.body().await;
        tor.send(("250 OK\r\n".to_owned() + &uploaded(2)).as_bytes()).await;
    })
    .await;
    let (tor, _events) = connect(&endpoint).await;
    let started = Instant::now();
    let answers = tor.post(&post(&[1, 2]), LONG * 100).await.unwrap();
    let expected = BTreeMap::from([([1; 20], PostOutcome::NoAnswer), ([2; 20], PostOutcome::Uploaded)]);
    assert_eq!(answers.all().await, expected);
    assert!(started.elapsed() < LONG, "at once");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_events_hides_no_answer() {
    let endpoint = listen(async |mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("SETEVENTS BW").await;
        tor.send(b"250 OK\r\n").await;
        tor.expect("SETEVENTS BW HS_DESC").await;
        tor.send(b"250 OK\r\n").await;
        tor.line().await;
        tor.body().await;
        tor.send(b"250 OK\r\n").await;
        let flood = "650 BW 1 2\r\n".repeat(1000);
        tor.send((flood.clone() + &uploaded(1) + &flood).as_bytes()).await;
        tor.fall_silent().await;
    })
    .await;
    let options = Options::default().event_queue(1);
    let (tor, _events) = endpoint.connect(&Credentials::auto(), &options).await.unwrap();
    tor.set_events(&[EventKind::Bw]).await.unwrap();
    let all = tor.post(&post(&[1]), LONG).await.unwrap().all().await;
    assert_eq!(all, BTreeMap::from([([1; 20], PostOutcome::Uploaded)]));
}

#[tokio::test(start_paused = true)]
async fn uploads_of_others_are_told_and_keep_ours_away() {
    let endpoint = listen(async |mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("SETEVENTS HS_DESC").await;
        let begun = |number| format!("650 HS_DESC UPLOAD {ADDRESS} UNKNOWN {}~dir {ID}\r\n", relay(number));
        tor.send(("250 OK\r\n".to_owned() + &begun(1) + &begun(2)).as_bytes())
            .await;
        tokio::time::sleep(LONG / 2).await;
        tor.send(uploaded(1).as_bytes()).await;
        tor.line().await;
        tor.body().await;
        // The second of theirs is given up by now, so this is ours.
        tor.send(("250 OK\r\n".to_owned() + &uploaded(2)).as_bytes()).await;
        tor.fall_silent().await;
    })
    .await;
    let (tor, mut events) = connect(&endpoint).await;
    tor.set_events(&[EventKind::HsDesc]).await.unwrap();
    let started = Instant::now();
    let mut others = Vec::new();
    while others.len() < 4 {
        let event = events.recv().await.unwrap();
        if matches!(event, Event::HsDesc(_)) {
            continue;
        }
        others.push(event.to_string());
        if others.len() == 2 {
            assert!(tor.is_uploading([1; 20], Some(ADDRESS)) && !tor.is_uploading([3; 20], None));
            let refused = tor.post(&post(&[1]), LONG).await;
            assert!(matches!(refused, Err(Error::UploadInFlight { .. })));
        }
    }
    let other = |number: u8, end: &str| format!("another's upload for {ADDRESS} to {} {end}", relay(number));
    assert_eq!(
        others,
        [
            other(1, "began"),
            other(2, "began"),
            other(1, "was accepted"),
            other(2, "was not answered")
        ]
    );
    assert!(started.elapsed() >= LONG, "it is waited for");
    let all = tor.post(&post(&[2]), LONG).await.unwrap().all().await;
    assert_eq!(all, BTreeMap::from([([2; 20], PostOutcome::Uploaded)]));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_tor_never_announces_has_not_begun() {
    let endpoint = listen(async |mut tor: FakeTor| {
        tor.let_in().await;
        tor.expect("SETEVENTS HS_DESC").await;
        tor.send(b"250 OK\r\n").await;
        tor.line().await;
        tor.body().await;
        let begun = format!("650 HS_DESC UPLOAD {ADDRESS} UNKNOWN {}~dir {ID}\r\n", relay(1));
        tor.send(("250 OK\r\n".to_owned() + &begun).as_bytes()).await;
        tor.fall_silent().await;
    })
    .await;
    let (tor, mut events) = connect(&endpoint).await;
    let text = format!("rendezvous-service-descriptor {ID}\n");
    let post = HsPost::v2(ADDRESS, text).unwrap().server([1; 20]).server([2; 20]);
    let started = Instant::now();
    let mut answers = tor.post(&post, LONG).await.unwrap();
    assert_eq!(answers.next().await, Some(([2; 20], PostOutcome::NotBegun)));
    assert!(started.elapsed() < LONG / 2);
    assert_eq!(answers.next().await, Some(([1; 20], PostOutcome::NoAnswer)));
    assert!(started.elapsed() >= LONG);
    assert_eq!(events.try_recv(), None);
}
