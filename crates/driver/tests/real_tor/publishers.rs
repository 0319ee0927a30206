//! Publishers beside each other and one after the other, and what they are told of bad control
//! ports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use onionweave_control::Endpoint;
use onionweave_driver::{Builder, Instance, Publisher, Service, Tor};
use onionweave_publish::{Cause, Down, Report};
use onionweave_testnet::Holding;

use crate::SECOND;
use crate::harness::{self, Fleet, Lease, NAMES, Reader, Running, count, fresh};

/// Publishes for two instances; the seed decides all that is drawn.
fn seeded(fleet: &Fleet, seed: u64) -> Builder {
    Publisher::builder().service(fleet.service(&NAMES[..2]).seed(seed))
}

/// Two publishers that don't know of each other: both go on, neither storms the directories.
#[tokio::test(flavor = "multi_thread")]
async fn two_publishers_at_once_keep_the_service_up() {
    let network = Lease::take().await;
    let fleet = Fleet::start(&network, true, &[""; 2]).await;
    let mut reader = Reader::start(&network, &fleet).await;
    let mut first = Running::start(seeded(&fleet, 1));
    first.round(10 * SECOND, |_| true).await;
    let mut second = Running::start(seeded(&fleet, 2));
    second.round(10 * SECOND, |_| true).await;
    let points = fleet.points().await;
    let start = Instant::now();
    let mut readings = 0;
    while start.elapsed() < 10 * SECOND {
        let holders = reader.holders(&points).await;
        assert!(holders.values().all(Option::is_some), "{holders:?}");
        readings += 1;
    }
    first.drain();
    second.drain();
    let rounds = |running: &Running| {
        running
            .seen
            .iter()
            .filter(|(_, report)| matches!(report, Report::Proved(_)))
            .count()
    };
    println!(
        "two publishers: {readings} readings, rounds {} and {}",
        rounds(&first),
        rounds(&second)
    );
    assert!(rounds(&first) + rounds(&second) < 12);
    first.publisher.stop().await;
    second.publisher.stop().await;
}

/// The responsible directories are those to which Tor itself uploads.
#[tokio::test(flavor = "multi_thread")]
async fn ring_is_the_one_that_tor_uploads_to() {
    use onionweave_control::{Event, EventKind, HsDescAction};
    use onionweave_ring::UnixTime;
    use onionweave_ring::relays::RelayList;
    use onionweave_ring::v2::{DescriptorId, Replica, ServiceId, TimePeriod};

    let network = Lease::take().await;
    let mut checked = 0;
    for name in ["a", "b", "c", "d"] {
        let instance = network
            .instance(fresh(name))
            .service_key(&harness::calm_key())
            .quiet(false)
            .torrc("RendPostPeriod 10 seconds")
            .start()
            .await
            .unwrap();
        let service: ServiceId = instance.service_key().service_id().parse().unwrap();
        let (control, mut events) = instance.connect().await.unwrap();
        control.set_events(&[EventKind::HsDesc]).await.unwrap();
        // Two whole rounds of uploads: the first may have been told before we listened.
        let mut uploads: BTreeMap<String, BTreeSet<_>> = BTreeMap::new();
        let deadline = tokio::time::Instant::now() + 40 * SECOND;
        while uploads.values().map(BTreeSet::len).sum::<usize>() < 6 {
            let event = tokio::time::timeout_at(deadline, events.recv()).await.unwrap().unwrap();
            if let Event::HsDesc(event) = event
                && *event.action() == HsDescAction::Upload
            {
                let id = event.descriptor_id().unwrap().to_owned();
                uploads
                    .entry(id)
                    .or_default()
                    .insert(harness::fingerprint(event.hsdir().unwrap().fingerprint()));
            }
        }
        let now = UnixTime::from(std::time::SystemTime::now());
        let ns_all = RelayList::from_ns_all(&control.get_info("ns/all").await.unwrap()).unwrap();
        let key = "dir/status-vote/current/consensus-microdesc";
        let microdesc = RelayList::from_microdesc_consensus(&control.get_info(key).await.unwrap()).unwrap();
        let (relay, _events) = network.directories()[0].connect().await.unwrap();
        let plain = relay.get_info("dir/status-vote/current/consensus").await.unwrap();
        let plain = RelayList::from_consensus(&plain).unwrap();
        for list in [&ns_all, &microdesc, &plain] {
            let ring = list.hash_ring();
            for period in TimePeriod::published(&service, now) {
                for replica in Replica::ALL {
                    let id = DescriptorId::of(&service, period, replica);
                    let ours: BTreeSet<_> = id.responsible(&ring).collect();
                    if let Some(theirs) = uploads.get(&id.to_string()) {
                        assert_eq!(&ours, theirs, "{service} {id}");
                        checked += 1;
                    }
                }
            }
        }
    }
    println!("{checked} sets of responsible directories are those that Tor uploaded to");
    assert!(checked >= 4 * 2 * 3);
}

/// A directory hands out byte for byte what was uploaded, and drops what is older. A publisher that
/// finds a ring of the present second takes it over; so does the next one, after the first was
/// dropped.
#[tokio::test(flavor = "multi_thread")]
async fn publisher_takes_over_a_newer_ring_and_survives_its_own_restart() {
    use onionweave_control::{HsPost, PostOutcome};
    use onionweave_desc::v2::{Draft, ServiceKey};
    use onionweave_ring::UnixTime;

    let network = Lease::take().await;
    let fleet = Fleet::start(&network, true, &[""; 2]).await;
    let mut reader = Reader::start(&network, &fleet).await;
    let key = ServiceKey::from_pem(fleet.key.pem()).unwrap();
    let points = fleet.points().await;
    let mut signed = BTreeMap::new();

    harness::away_from_the_full_hour(40 * SECOND).await;
    // Somebody has signed all slots with the present second, naming a point of the first instance
    // only, and then once more with the hour, as if it were older.
    let now = UnixTime::from(std::time::SystemTime::now());
    let (control, _events) = fleet.instances[0].connect().await.unwrap();
    let point = points["a"].iter().next().unwrap().clone();
    for time in [now, now.start_of_hour()] {
        for (turn, slot) in reader.slots().into_iter().enumerate() {
            let (period, replica) = slot.v2().unwrap();
            let text = Draft::new(vec![point.clone()])
                .trailing_blank_lines(turn)
                .sign(&key, period, replica, time)
                .unwrap();
            let text = String::from_utf8(text.text().to_vec()).unwrap();
            let post = HsPost::v2(&fleet.id.to_string(), text.clone()).unwrap();
            let post = post.server(*slot.directory.as_bytes());
            let answers = control.post(&post, 10 * SECOND).await.unwrap().all().await;
            // The directory says the same of a text that it drops.
            assert!(
                answers.values().all(|answer| *answer == PostOutcome::Uploaded),
                "{answers:?}"
            );
            if time == now {
                signed.insert(slot, text);
            }
        }
    }
    for (slot, holding) in reader.read().await {
        assert_eq!(holding, Holding::Text(signed[&slot].clone().into_bytes()), "{slot}");
    }

    for seed in [1, 2] {
        let mut running = Running::start(seeded(&fleet, seed));
        let (_, round) = running.round(10 * SECOND, |round| round.proved.len() >= 6).await;
        println!("{round}");
        let held = reader.read().await;
        for holding in held.values() {
            let descriptor = harness::verified(holding.text().unwrap());
            assert_eq!(
                descriptor.publication_time(),
                now,
                "all slots take the newest time that is not ahead"
            );
        }
        let holders = reader.holders(&points).await;
        assert_eq!(
            count(holders.values()),
            BTreeMap::from([("a".to_owned(), 3), ("b".to_owned(), 3)])
        );
        running.drain();
        assert!(
            !running
                .seen
                .iter()
                .any(|(_, report)| matches!(report, Report::Trouble { .. })),
            "{:?}",
            running.shown()
        );
        // The next one finds the ring as this one left it, whether it was stopped or died.
        drop(running);
    }
}

/// A Tor of the publisher's own carries everything; a dead instance is restarted by its command;
/// and when the publisher's own Tor dies, an instance carries on.
#[tokio::test(flavor = "multi_thread")]
async fn own_tor_carries_and_dead_instances_are_restarted() {
    let network = Lease::take().await;
    let fleet = Fleet::start(&network, true, &[""; 2]).await;
    let own = network.client(fresh("own")).start().await.unwrap();
    let mut reader = Reader::start(&network, &fleet).await;
    let restarted = NAMES[..2].iter().map(|name| {
        let command = fleet.instance(name).restart_command();
        fleet.described(name).restart(command)
    });
    let service = restarted.fold(harness::service(&fleet.key), Service::instance);
    let mut running = Running::start(Publisher::builder().tor(own.control()).service(service));
    running.round(10 * SECOND, |round| round.proved.len() >= 6).await;

    let killed = Instant::now();
    let first = fleet.instance("a").pid();
    fleet.instance("a").kill().unwrap();
    running
        .round(10 * SECOND, |round| {
            round.causes.contains(&Cause::Left("a".parse().unwrap()))
        })
        .await;
    let (back, _) = running
        .round(60 * SECOND, |round| {
            round.causes.contains(&Cause::Joined("a".parse().unwrap()))
        })
        .await;
    println!(
        "killed, restarted by its command and back in the mix after {:.1?}",
        back - killed
    );
    let second = fleet.instance("a").pid();
    assert!(second.is_some() && second != first);

    own.kill().unwrap();
    let killed = Instant::now();
    fleet.instance("b").kill().unwrap();
    let (clean, round) = running
        .round(10 * SECOND, |round| {
            round.causes.contains(&Cause::Left("b".parse().unwrap()))
        })
        .await;
    assert!(round.missing.is_empty(), "{round}");
    println!(
        "own Tor and an instance killed at once: repaired after {:.0?}",
        clean - killed
    );
    running
        .round(60 * SECOND, |round| {
            round.causes.contains(&Cause::Joined("b".parse().unwrap()))
        })
        .await;
    let points = fleet.points().await;
    let holders = reader.holders(&points).await;
    let expected = BTreeMap::from(["a", "b"].map(|name| (name.to_owned(), 3)));
    assert_eq!(count(holders.values()), expected);
    running.publisher.stop().await;
}

/// A fault of an instance's control port is named, whatever it is, and the other instances' service
/// goes on.
#[tokio::test(flavor = "multi_thread")]
async fn instances_that_cannot_serve_are_named() {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    let network = Lease::take().await;
    let fleet = Fleet::start(&network, true, &[""]).await;
    let mut reader = Reader::start(&network, &fleet).await;

    // A real Tor whose password is another.
    let hash = std::process::Command::new(network.tor().path())
        .args(["--quiet", "--hash-password", "right"])
        .output()
        .unwrap();
    let hash = String::from_utf8(hash.stdout).unwrap();
    let locked = network
        .instance(fresh("locked"))
        .torrc(format!("HashedControlPassword {}", hash.trim()));
    let locked = locked.start().await.unwrap();
    // A real Tor without v2 onion services.
    let newer = NewerTor::start();
    // Not Tor at all.
    let rubbish = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rubbish_address = rubbish.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = rubbish.accept().await {
            let _ = stream
                .write_all(b"220 mail.example ESMTP\r\n\x00\xff rubbish\r\n")
                .await;
        }
    });
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };

    let mut service = fleet.service(&NAMES[..1]);
    for (name, tor) in [
        ("locked", Tor::new(locked.control()).password("wrong")),
        ("newer", Tor::new(newer.control())),
        ("rubbish", tcp(rubbish_address)),
        ("silent", tcp(silent.local_addr().unwrap())),
        ("closed", tcp(closed)),
    ] {
        service = service.instance(Instance::new(name.parse().unwrap(), tor));
    }
    let mut running = Running::start(Publisher::builder().service(service));
    running.round(10 * SECOND, |round| round.proved.len() >= 6).await;
    let is_down = |(_, report): &(Instant, Report)| matches!(report, Report::Down(..));
    while running.seen.iter().filter(|report| is_down(report)).count() < 5 {
        let down = running
            .report(20 * SECOND, |report| matches!(report, Report::Down(..)))
            .await;
        assert!(down.is_some(), "{:#?}", running.shown());
    }
    // The pause between two attempts begins at a tenth of a second, so this is time for another of
    // each.
    tokio::time::sleep(2 * SECOND).await;
    running.drain();
    let down: BTreeMap<_, _> = running
        .seen
        .iter()
        .filter_map(|(_, report)| match report {
            Report::Down(name, why) => Some((name.as_str(), why)),
            _ => None,
        })
        .collect();
    println!("{down:#?}");
    assert!(matches!(down["locked"], Down::Refused(why) if why.contains("515")));
    assert!(matches!(down["newer"], Down::Refused(why) if why.contains("has no v2 onion services")));
    // It was reached; the next failure in a row would make it unreachable.
    assert!(matches!(down["rubbish"], Down::Lost(why) | Down::Unreachable(why) if why.contains("PROTOCOLINFO")));
    assert!(matches!(down["silent"], Down::Unreachable(why) if why.contains("within")));
    assert!(matches!(down["closed"], Down::Unreachable(why) if why.contains("refused")));
    assert!(!down.contains_key("a"));
    // Each was named once, however often it was tried.
    let named = running.seen.iter().filter(|report| is_down(report));
    assert_eq!(named.count(), 5);

    let points = fleet.points().await;
    let holders = reader.holders(&points).await;
    assert_eq!(count(holders.values()), BTreeMap::from([("a".to_owned(), 6)]));
    running.publisher.stop().await;
}

fn tcp(address: SocketAddr) -> Tor {
    Tor::new(address.to_string().parse().unwrap())
}

/// Debian's tor, which has no v2 onion services any more.
struct NewerTor {
    process: std::process::Child,
    folder: tempfile::TempDir,
}

impl NewerTor {
    /// Starts the binary that `ONIONWEAVE_DEBIAN_TOR` names.
    fn start() -> Self {
        let binary = std::env::var_os("ONIONWEAVE_DEBIAN_TOR").expect(
            "ONIONWEAVE_DEBIAN_TOR must be the path of a tor without v2 onion services, such as Debian's; \
             `cargo xtask test` provides one",
        );
        let binary = std::path::PathBuf::from(binary);
        let folder = harness::private_folder();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("torrc"), "").unwrap();
        let process = std::process::Command::new(&binary)
            .args([
                "--quiet",
                "--DisableNetwork",
                "1",
                "--SocksPort",
                "0",
                "--defaults-torrc",
            ])
            .arg(at("torrc"))
            .arg("-f")
            .arg(at("torrc"))
            .arg("--DataDirectory")
            .arg(at("data"))
            .arg("--ControlSocket")
            .arg(at("control"))
            .spawn()
            .unwrap_or_else(|error| panic!("ONIONWEAVE_DEBIAN_TOR is {}: {error}", binary.display()));
        let deadline = Instant::now() + 10 * SECOND;
        while !at("control").exists() {
            assert!(
                Instant::now() < deadline,
                "{} does not open its control socket",
                binary.display()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { process, folder }
    }

    fn control(&self) -> Endpoint {
        Endpoint::Unix(self.folder.path().join("control"))
    }
}

impl Drop for NewerTor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
