//! A conversation with Tor that has every command in it, for a Tor without a network. Real Tors are
//! asked it (`real_tor.rs`), and what they answered is replayed (`transcripts.rs`).

use std::fmt::Debug;
use std::time::Duration;

use onionweave_control::{
    AddOnion, CircuitId, CircuitUse, ClientAuth, Command, Connection, Error, EventKind, Events, ExtendCircuit, HsFetch,
    HsPost, OnionKeyAlgorithm, RouterPurpose, Signal, StreamCloseReason, StreamId,
};

const PATIENCE: Duration = Duration::from_secs(60);
const V2: &str = "6r7x5o465oo27s35";
const V3: &str = "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd";
/// An expanded key of which nobody has the service: the scalar's lowest three bits and its highest
/// are clear.
const KEY: &str = "ED25519-V3:CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICEgJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQ==";

/// Lines of the conversation, one for each call.
pub(crate) struct Record {
    lines: Vec<String>,
}

impl Record {
    /// Notes what a call gave; an error by its text.
    fn note<T: Debug>(&mut self, call: &str, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => {
                self.lines.push(format!("{call} -> {value:?}"));
                Some(value)
            }
            Err(error) => {
                assert!(matches!(error, Error::Rejected { .. }), "{call}: {error}");
                self.lines.push(format!("{call} -> {error}"));
                None
            }
        }
    }

    async fn event(&mut self, events: &mut Events) {
        let event = tokio::time::timeout(PATIENCE, events.recv()).await;
        let event = event.expect("no event").expect("the connection ended");
        self.lines.push(format!("event {event:?}"));
    }
}

/// Holds the conversation, and tells how each call ended. No call may end but with an answer or
/// with Tor's refusal.
pub(crate) async fn hold(tor: &Connection, events: &mut Events) -> Vec<String> {
    let mut record = Record { lines: Vec::new() };
    let r = &mut record;

    r.note(
        "get_info",
        tor.get_infos(&["version", "events/names", "signal/names", "features/names"])
            .await,
    );
    r.note("get_info onions/current", tor.get_info("onions/current").await);
    r.note("get_info of no such key", tor.get_info("no/such/key").await);
    r.note(
        "use_feature",
        tor.use_feature(&["VERBOSE_NAMES", "EXTENDED_EVENTS"]).await,
    );
    r.note("use_feature of none", tor.use_feature(&["TELEPATHY"]).await);

    // Configuration.
    r.note("set_events", tor.set_events(&[EventKind::ConfChanged]).await);
    r.note(
        "set_events of transports",
        tor.set_events(&[EventKind::PtLog, EventKind::PtStatus]).await,
    );
    let options = [
        ("ContactInfo", "a # \"b\" \\ ä"),
        ("NodeFamily", "$0102030405060708090A0B0C0D0E0F1011121314"),
    ];
    r.note("set_conf", tor.set_conf(&options).await);
    r.event(events).await;
    r.note(
        "set_conf of a list",
        tor.set_conf(&[("NodeFamily", "a"), ("NodeFamily", "b")]).await,
    );
    r.event(events).await;
    r.note(
        "get_conf",
        tor.get_conf(&["ContactInfo", "nodefamily", "Nickname"]).await,
    );
    r.note(
        "get_conf of no such option",
        tor.get_conf(&["ContactInfo", "NoSuchOption"]).await,
    );
    r.note("reset_conf", tor.reset_conf(&["ContactInfo", "NodeFamily"]).await);
    r.event(events).await;
    r.note(
        "set_conf of no such option",
        tor.set_conf(&[("NoSuchOption", "1")]).await,
    );
    r.note(
        "set_conf of a bad value",
        tor.set_conf(&[("MaxCircuitDirtiness", "soon")]).await,
    );
    r.note("load_conf", tor.load_conf("NoSuchOption 1\n").await);
    r.note("save_conf", tor.save_conf(false).await);

    // Signals and timeouts.
    r.note(
        "set_events",
        tor.set_events(&[EventKind::Signal, EventKind::BuildTimeoutSet]).await,
    );
    r.note("signal", tor.signal(Signal::Heartbeat).await);
    r.event(events).await;
    r.note("drop_timeouts", tor.drop_timeouts().await);
    r.event(events).await;
    r.note("drop_guards", tor.drop_guards().await);
    r.note("take_ownership", tor.take_ownership().await);
    r.note("drop_ownership", tor.drop_ownership().await);

    // Addresses.
    r.note("set_events", tor.set_events(&[EventKind::AddrMap]).await);
    r.note(
        "map_address",
        tor.map_address(&[("1.2.3.4", "torproject.org"), ("5.6.7.8", "@@@")])
            .await,
    );
    r.event(events).await;
    r.note("set_events of none", tor.set_events(&[]).await);
    r.note("resolve", tor.resolve(&["torproject.org"], false).await);

    // Circuits and streams.
    let (circuit, stream) = (CircuitId::new(77_777), StreamId::new(77_777));
    r.note(
        "extend_circuit",
        tor.extend_circuit(&ExtendCircuit::new().hop([1; 20])).await,
    );
    r.note(
        "extend_circuit of none",
        tor.extend_circuit(&ExtendCircuit::existing(circuit).hop([1; 20])).await,
    );
    let unknown = ExtendCircuit::new().purpose(CircuitUse::Other("art".to_owned()));
    r.note("extend_circuit for art", tor.extend_circuit(&unknown).await);
    r.note(
        "set_circuit_purpose",
        tor.set_circuit_purpose(circuit, &CircuitUse::Controller).await,
    );
    r.note("close_circuit", tor.close_circuit(circuit, true).await);
    r.note("attach_stream", tor.attach_stream(stream, Some(circuit), Some(2)).await);
    r.note(
        "redirect_stream",
        tor.redirect_stream(stream, "torproject.org", Some(443)).await,
    );
    r.note("close_stream", tor.close_stream(stream, StreamCloseReason::Done).await);

    // Onion services.
    let new = AddOnion::new_key(OnionKeyAlgorithm::Best)
        .port_to(80, "127.0.0.1:8080")
        .max_streams(5);
    if let Some(onion) = r.note("add_onion", tor.add_onion(&new).await) {
        r.note("get_info onions/current", tor.get_info("onions/current").await);
        r.note("del_onion", tor.del_onion(onion.address()).await);
    }
    let flags = AddOnion::with_key(KEY.parse().unwrap())
        .port(80)
        .detach()
        .close_circuit_at_max_streams();
    let detached = r.note("add_onion of a key", tor.add_onion(&flags).await);
    r.note("add_onion of the same key", tor.add_onion(&flags).await);
    if let Some(onion) = detached {
        r.note("get_info onions/detached", tor.get_info("onions/detached").await);
        r.note("del_onion", tor.del_onion(onion.address()).await);
        r.note("del_onion again", tor.del_onion(onion.address()).await);
    }
    let single = AddOnion::new_key(OnionKeyAlgorithm::Best)
        .port(80)
        .discard_key()
        .non_anonymous();
    r.note("add_onion, not anonymous", tor.add_onion(&single).await);
    let basic = AddOnion::new_key(OnionKeyAlgorithm::Rsa1024)
        .port(80)
        .discard_key()
        .basic_client("alice", Some(("c".repeat(21) + "A").into()))
        .basic_client("bob", None);
    r.note("add_onion for v2 clients", tor.add_onion(&basic).await);
    let restricted = AddOnion::new_key(OnionKeyAlgorithm::Ed25519V3)
        .port(80)
        .discard_key()
        .v3_client("FCV0C0ELDKKDPSFGVIB8YOW8DLT5R5XHOOU6EEXL7ABW6RPAGZ7A".replace(['0', '8'], "A"));
    r.note("add_onion for a v3 client", tor.add_onion(&restricted).await);
    let pow = AddOnion::new_key(OnionKeyAlgorithm::Ed25519V3)
        .port(80)
        .discard_key()
        .pow_defenses(true)
        .pow_queue_rate(10)
        .pow_queue_burst(20);
    r.note("add_onion with proof of work", tor.add_onion(&pow).await);

    // Clients of onion services.
    let client = ClientAuth::new(V3, [7; 32]).unwrap();
    r.note("onion_client_auth_add", tor.onion_client_auth_add(&client).await);
    let named = client.clone().named("alice").unwrap();
    r.note("onion_client_auth_add again", tor.onion_client_auth_add(&named).await);
    r.note(
        "onion_client_auth_add, permanent",
        tor.onion_client_auth_add(&named.permanent()).await,
    );
    r.note("onion_client_auth_view", tor.onion_client_auth_view(None).await);
    r.note(
        "onion_client_auth_view of one",
        tor.onion_client_auth_view(Some(V3)).await,
    );
    r.note("onion_client_auth_remove", tor.onion_client_auth_remove(V3).await);
    r.note("onion_client_auth_remove again", tor.onion_client_auth_remove(V3).await);

    // Descriptors.
    r.note(
        "post_descriptor",
        tor.post_descriptor(b"router a\n", Some(&RouterPurpose::Bridge), true)
            .await,
    );
    let purpose = RouterPurpose::Other("art".to_owned());
    r.note(
        "post_descriptor for art",
        tor.post_descriptor(b"router a\n", Some(&purpose), false).await,
    );
    r.note(
        "hs_fetch",
        tor.hs_fetch(&HsFetch::address(V3).unwrap().server([1; 20])).await,
    );
    r.note(
        "hs_fetch of v2",
        tor.hs_fetch(&HsFetch::address(V2).unwrap().server([1; 20])).await,
    );
    r.note("hs_post", tor.hs_post(&[[1; 20]], Some(V3), b"text\n").await);
    r.note(
        "hs_post of anything",
        tor.hs_post(&[], Some(V3), b"text\n.\n..\n").await,
    );
    let post = HsPost::v3(V3, "text").unwrap().server([1; 20]);
    r.note("post", tor.post(&post, PATIENCE).await.map(|_| "sent"));
    let fetch = HsFetch::address(V3).unwrap().server([1; 20]);
    r.note("fetch", tor.fetch(&fetch, PATIENCE).await.map(|_| "sent"));

    let obsolete = Command::raw("SETROUTERPURPOSE a b").unwrap();
    r.note(
        "an obsolete command",
        tor.command(obsolete, PATIENCE).await.map(|reply| reply.text()),
    );
    let none = Command::raw("SING").unwrap();
    r.note(
        "no command",
        tor.command(none, PATIENCE).await.map(|reply| reply.text()),
    );
    r.note("quit", tor.quit().await);
    record.lines
}
