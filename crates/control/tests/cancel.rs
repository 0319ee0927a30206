//! Dropping the future of a call at every point where it waits: the replies that come then are
//! attributed right.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use onionweave_control::{
    AddOnion, Answers, ClientAuth, Connection, Credentials, EventKind, ExtendCircuit, HsFetch, HsPost,
    OnionKeyAlgorithm, Options, SupervisorOptions,
};

use crate::fake_tor::{FakeTor, NULL_OFFER, listen, listen_always};

#[path = "common/fake_tor.rs"]
mod fake_tor;

const LONG: Duration = Duration::from_secs(20);

/// Polls a future until it has had to wait `times` times, and drops it then. `None` if it was
/// dropped.
async fn drop_after<F: Future>(times: u32, future: F) -> Option<F::Output> {
    let mut waited = 0;
    let mut future = pin!(future);
    poll_fn(move |context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if waited == times => Poll::Ready(None),
        Poll::Pending => {
            waited += 1;
            Poll::Pending
        }
    })
    .await
}

/// Answers every command as Tor does, slowly enough that callers have to wait, and `GETINFO x` with
/// `x`.
async fn answer_all(mut tor: FakeTor) {
    loop {
        let line = tor.line().await;
        if line.is_empty() {
            return;
        }
        if line.starts_with('+') {
            tor.body().await;
        }
        tokio::task::yield_now().await;
        let answer = match line.split(' ').next().unwrap() {
            "PROTOCOLINFO" => String::from_utf8(NULL_OFFER.to_vec()).unwrap(),
            "GETINFO" => {
                let keys = line.split(' ').skip(1).map(|key| format!("250-{key}={key}\r\n"));
                keys.collect::<String>() + "250 OK\r\n"
            }
            "GETCONF" => "250 Nickname=GETCONF\r\n".to_owned(),
            "MAPADDRESS" => "250 a=b\r\n".to_owned(),
            "EXTENDCIRCUIT" => "250 EXTENDED 5\r\n".to_owned(),
            "ADD_ONION" => "250-ServiceID=abc\r\n250 OK\r\n".to_owned(),
            "ONION_CLIENT_AUTH_VIEW" => "250-ONION_CLIENT_AUTH_VIEW\r\n250 OK\r\n".to_owned(),
            _ => "250 OK\r\n".to_owned(),
        };
        let (first, second) = answer.split_at(answer.len() / 2);
        tor.send(first.as_bytes()).await;
        tokio::task::yield_now().await;
        tor.send(second.as_bytes()).await;
    }
}

/// Drops `call` at each of its waits in turn, several at once, and proves each time that what
/// follows is answered right.
async fn survives<T, F: Future<Output = T>>(name: &str, tor: &Connection, call: impl Fn(Connection) -> F) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let mut ended = false;
    for times in 0..50 {
        let (one, two) = tokio::join!(
            drop_after(times, call(tor.clone())),
            drop_after(times / 2, call(tor.clone()))
        );
        drop(two);
        let key = NUMBER.fetch_add(1, Ordering::Relaxed).to_string();
        let after = tokio::time::timeout(LONG, tor.get_info(&key)).await.unwrap();
        assert_eq!(after.unwrap(), key, "{name}, dropped at wait {times}");
        if one.is_some() {
            ended = true;
            break;
        }
    }
    assert!(ended, "{name} does not end");
    assert!(!tor.is_closed(), "{name}");
}

#[tokio::test(start_paused = true)]
async fn every_call_at_every_wait() {
    let endpoint = listen(answer_all).await;
    let options = Options::default().connect_deadline(LONG).command_deadline(LONG);
    let (tor, _events) = endpoint.connect(&Credentials::auto(), &options).await.unwrap();
    let v3 = "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd";

    survives("get_info", &tor, async |tor| tor.get_info("x").await.unwrap()).await;
    survives("get_infos", &tor, async |tor| tor.get_infos(&["x", "y"]).await.unwrap()).await;
    survives("set_events", &tor, async |tor| {
        tor.set_events(&[EventKind::Circ]).await.unwrap();
    })
    .await;
    survives("get_conf", &tor, async |tor| {
        assert_eq!(tor.get_conf(&["Nickname"]).await.unwrap()[0].value(), Some("GETCONF"));
    })
    .await;
    survives("map_address", &tor, async |tor| {
        assert_eq!(tor.map_address(&[("a", "b")]).await.unwrap().len(), 1);
    })
    .await;
    survives("extend_circuit", &tor, async |tor| {
        assert_eq!(tor.extend_circuit(&ExtendCircuit::new()).await.unwrap().number(), 5);
    })
    .await;
    let onion = AddOnion::new_key(OnionKeyAlgorithm::Best).port(1);
    survives("add_onion", &tor, async |tor| {
        assert_eq!(tor.add_onion(&onion).await.unwrap().address(), "abc");
    })
    .await;
    let client = ClientAuth::new(v3, [1; 32]).unwrap();
    survives("onion_client_auth_add", &tor, async |tor| {
        tor.onion_client_auth_add(&client).await.unwrap();
    })
    .await;
    survives("onion_client_auth_view", &tor, async |tor| {
        assert!(tor.onion_client_auth_view(None).await.unwrap().is_empty());
    })
    .await;
    survives("hs_post", &tor, async |tor| {
        tor.hs_post(&[], None, b"text").await.unwrap()
    })
    .await;

    // Whether the upload is refused as one is on its way already does not matter here.
    let post = HsPost::v2("6r7x5o465oo27s35", "text").unwrap().server([1; 20]);
    survives("post", &tor, async |tor| {
        tor.post(&post, Duration::ZERO).await.map(Answers::all)
    })
    .await;
    let fetch = HsFetch::address(v3).unwrap().server([1; 20]);
    survives("fetch", &tor, async |tor| {
        let answers = tor.fetch(&fetch, Duration::from_millis(1)).await.unwrap();
        assert_eq!(answers.all().await.len(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn connecting_at_every_wait() {
    let endpoint = listen_always(async |_, tor: FakeTor| answer_all(tor).await).await;
    let options = Options::default().connect_deadline(LONG).command_deadline(LONG);
    for times in 0..50 {
        let credentials = Credentials::auto();
        let connect = endpoint.connect(&credentials, &options);
        if let Some(connected) = drop_after(times, connect).await {
            let (tor, _events) = connected.unwrap();
            assert_eq!(tor.get_info("x").await.unwrap(), "x");
            assert!(times > 0, "there is something to wait for");
            return;
        }
    }
    panic!("connecting does not end");
}

#[tokio::test(start_paused = true)]
async fn the_supervisor_at_every_wait() {
    let endpoint = listen_always(async |_, tor: FakeTor| answer_all(tor).await).await;
    let (tor, mut events) = endpoint.supervise([Credentials::auto()], SupervisorOptions::default());
    for times in 0..20 {
        drop_after(times, tor.connection()).await;
        drop_after(times, tor.set_events(&[EventKind::Circ])).await;
        drop_after(times, tor.retry()).await;
        // No event comes that would wake it again.
        drop_after(0, events.recv()).await;
    }
    let connection = tor.connection().await.unwrap();
    assert_eq!(connection.get_info("x").await.unwrap(), "x");
    tor.set_events(&[EventKind::Circ]).await.unwrap();
    assert!(tor.current().is_some());
}

/// The events that tracking needs are asked for again when the call that asked first was given up
/// before it was sent.
#[tokio::test(start_paused = true)]
async fn a_post_given_up_leaves_no_other_without_events() {
    let post = HsPost::v2("6r7x5o465oo27s35", "text").unwrap().server([1; 20]);
    let mut given_up = 0;
    for times in 0..6 {
        let endpoint = listen(async |mut tor: FakeTor| {
            tor.let_in().await;
            let mut asked = false;
            loop {
                let line = tor.line().await;
                if line.is_empty() {
                    return;
                }
                asked |= line == "SETEVENTS HS_DESC";
                if line.starts_with('+') {
                    tor.body().await;
                    assert!(asked, "nobody has asked for the answers");
                }
                tor.send(b"250 OK\r\n").await;
            }
        })
        .await;
        let (tor, _events) = endpoint
            .connect(&Credentials::auto(), &Options::default())
            .await
            .unwrap();
        given_up += usize::from(drop_after(times, tor.post(&post, Duration::ZERO)).await.is_none());
        tor.post(&post, Duration::ZERO).await.unwrap();
    }
    assert!(given_up > 1, "{given_up} calls were given up");
}
