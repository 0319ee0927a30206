//! Instances whose backends fail, and one that is watched through a file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use onionweave_control::Endpoint;
use onionweave_driver::{Check, Instance, Prober, Publisher, Service};
use onionweave_publish::{Cause, Report};
use onionweave_testnet::{Backend, Network};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::SECOND;
use crate::figures::print_times;
use crate::harness::{self, Fleet, Lease, Reader, Running, clients, count, fresh, renew, visit};

/// Number of times that a backend goes and comes back, once a second.
const FLAPS: usize = 8;

/// A fleet of which one backend comes and goes.
struct Failing {
    fleet: Fleet,
    /// Place of that backend in the fleet.
    index: usize,
}

impl Failing {
    async fn start(network: &Network, instances: usize, index: usize) -> Self {
        let fleet = Fleet::start(network, true, &[""; 6][..instances]).await;
        Self { fleet, index }
    }

    fn name(&self) -> &'static str {
        crate::NAMES[self.index]
    }

    /// Takes the backend away: connections are refused.
    async fn fail(&mut self) {
        // One elsewhere in its place, which nobody knows of.
        let idle = Backend::start("nobody").await.unwrap();
        let address = self.fleet.backends[self.index].address();
        self.fleet.backends[self.index] = idle;
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn recover(&mut self, address: std::net::SocketAddr) {
        self.fleet.backends[self.index] = Backend::start_at(self.name(), address).await.unwrap();
    }
}

fn is_unfit(report: &Report, name: &str) -> bool {
    matches!(report, Report::Unfit(other, _) if *other == name)
}

fn is_fit(report: &Report, name: &str) -> bool {
    matches!(report, Report::Fit(other) if *other == name)
}

/// Returns whether any instance was found unfit, among what was reported from this place on.
fn condemned(running: &Running, since: usize) -> bool {
    let mut later = running.seen[since..].iter();
    later.any(|(_, report)| matches!(report, Report::Unfit(..)))
}

/// The backend of one instance of three dies, comes back, and flaps.
#[tokio::test(flavor = "multi_thread")]
async fn instance_without_its_backend_leaves_every_directory_and_returns() {
    let network = Lease::take().await;
    let mut failing = Failing::start(&network, 3, 1).await;
    let mut reader = Reader::start(&network, &failing.fleet).await;
    let address = failing.fleet.backends[failing.index].address();
    let checked = ["a", "b", "c"]
        .iter()
        .zip(&failing.fleet.backends)
        .map(|(name, backend)| {
            let check = Check::http(&format!("http://{}/", backend.address())).unwrap();
            failing.fleet.described(name).check(check.every(SECOND / 5))
        });
    let service = checked.fold(harness::service(&failing.fleet.key), Service::instance);
    harness::away_from_the_full_hour(180 * SECOND).await;
    let mut running = Running::start(Publisher::builder().service(service));
    running.round(20 * SECOND, |round| round.missing.is_empty()).await;
    let clients = clients(&network, 6, &["SocksTimeout 10 seconds"]).await;
    let onion = failing.fleet.key.onion();
    let points = failing.fleet.points().await;
    let others: BTreeMap<_, _> = points.clone().into_iter().filter(|(name, _)| name != "b").collect();

    let (mut left, mut returned, mut served) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..2 {
        running.drain();
        let failed = Instant::now();
        failing.fail().await;
        let (_, report) = running
            .report(10 * SECOND, |report| is_unfit(report, "b"))
            .await
            .unwrap();
        assert_eq!(report.to_string(), "b: unfit to serve (connection refused)");
        let unfit = |round: &onionweave_publish::Round| round.causes.contains(&Cause::Unfit("b".parse().unwrap()));
        let (at, round) = running.round(10 * SECOND, unfit).await;
        assert!(round.missing.is_empty(), "{round}");
        left.push(at - failed);
        let holders = reader.holders(&others).await;
        assert!(holders.values().all(Option::is_some), "{holders:?}");
        // A client that comes now meets one that serves.
        renew(&clients).await;
        served.extend(visit(&clients, &onion).await);

        let recovered = Instant::now();
        failing.recover(address).await;
        running.report(10 * SECOND, |report| is_fit(report, "b")).await.unwrap();
        let (at, _) = running.round(10 * SECOND, |round| round.missing.is_empty()).await;
        returned.push(at - recovered);
        let holders = reader.holders(&points).await;
        assert_eq!(count(holders.values())["b"], 2, "{holders:?}");
    }
    print_times(
        "backend gone to every directory proved clean, checked five times a second",
        left,
    );
    print_times("backend back to slots regained", returned);
    let missed: Vec<_> = served.iter().filter_map(|visit| visit.as_ref().err()).collect();
    assert!(missed.is_empty(), "{missed:?}");

    // It leaves and then flaps, up and down for half a second each. Two returns are behind it, so
    // the next takes eight successes in a row, which is more than half a second has.
    running.drain();
    failing.fail().await;
    running
        .report(10 * SECOND, |report| is_unfit(report, "b"))
        .await
        .unwrap();
    running.round(10 * SECOND, |round| round.missing.is_empty()).await;
    let before = running.seen.len();
    let flapping = async {
        for _ in 0..FLAPS {
            failing.recover(address).await;
            sleep(SECOND / 2).await;
            failing.fail().await;
            sleep(SECOND / 2).await;
        }
    };
    let (visits, ()) = tokio::join!(visit(&clients, &onion), flapping);
    running.drain();
    let seen = &running.seen[before..];
    let rounds = seen
        .iter()
        .filter(|(_, report)| matches!(report, Report::Proved(_)))
        .count();
    let returns = seen.iter().filter(|(_, report)| is_fit(report, "b")).count();
    println!(
        "backend that flapped {FLAPS} times: {returns} returns, {rounds} rounds; {} of {} clients that came meanwhile were served",
        visits.iter().filter(|visit| visit.is_ok()).count(),
        visits.len()
    );
    assert_eq!(returns, 0, "{:#?}", running.shown());
    assert!(rounds <= 4, "{:#?}", running.shown());

    // Once it stays, it returns.
    failing.recover(address).await;
    running.report(20 * SECOND, |report| is_fit(report, "b")).await.unwrap();
    running.round(10 * SECOND, |round| round.missing.is_empty()).await;

    // Another check goes to work by a reload, and no check brings everybody back.
    let nobody = Check::tcp("127.0.0.1:1".parse().unwrap()).every(SECOND / 5);
    let all_down = failing.fleet.service(&["a", "b", "c"]).check(nobody);
    running.drain();
    running
        .publisher
        .reload(Publisher::builder().service(all_down))
        .await
        .unwrap();
    let mut unfit = BTreeSet::new();
    while unfit.len() < 3 {
        let (_, report) = running
            .report(10 * SECOND, |report| matches!(report, Report::Unfit(..)))
            .await
            .unwrap();
        if let Report::Unfit(name, _) = report {
            unfit.insert(name);
        }
    }
    // Nobody is fit, so everybody serves.
    let deadline = Instant::now() + 10 * SECOND;
    loop {
        let holders = reader.holders(&points).await;
        if count(holders.values()) == BTreeMap::from(["a", "b", "c"].map(|name| (name.to_owned(), 2))) {
            break;
        }
        assert!(Instant::now() < deadline, "{holders:?}");
    }
    running.drain();
    let unchecked = failing.fleet.publisher(&["a", "b", "c"]);
    running.publisher.reload(unchecked).await.unwrap();
    for _ in 0..3 {
        let fit = running
            .report(10 * SECOND, |report| matches!(report, Report::Fit(_)))
            .await;
        assert!(fit.is_some(), "{:#?}", running.shown());
    }
    running.publisher.stop().await;
}

/// Two instances with one key: a request through Tor tells which of them has no backend. The Tor
/// that makes the requests also carries the uploads and audits, and is not spoilt for them.
#[tokio::test(flavor = "multi_thread")]
async fn request_through_tor_tells_which_of_two_instances_fails() {
    let network = Lease::take().await;
    let own = network.client(fresh("own")).start().await.unwrap();
    let mut failing = Failing::start(&network, 2, 0).await;
    let mut reader = Reader::start(&network, &failing.fleet).await;
    let address = failing.fleet.backends[0].address();
    let check = Check::tor(80).path("/").unwrap().every(SECOND).within(20 * SECOND);
    let socks = Endpoint::Unix(own.socks().to_owned());
    let builder = Publisher::builder()
        .tor(own.control())
        .prober(Prober::new(socks))
        .audit(2 * SECOND)
        .service(failing.fleet.service(&["a", "b"]).check(check));
    harness::away_from_the_full_hour(120 * SECOND).await;
    let mut running = Running::start(builder);
    running.round(20 * SECOND, |round| round.missing.is_empty()).await;
    let clients = clients(&network, 6, &["SocksTimeout 10 seconds"]).await;
    let onion = failing.fleet.key.onion();
    // Both are found fit, each at least twice.
    failing.fleet.asked(&[0, 1], 2).await;
    running.drain();
    assert!(!condemned(&running, 0), "{:#?}", running.shown());

    for _ in 0..2 {
        let failed = Instant::now();
        failing.fail().await;
        let (at, report) = running
            .report(60 * SECOND, |report| matches!(report, Report::Unfit(..)))
            .await
            .unwrap();
        println!(
            "backend gone, found through Tor after {} ms: {report}",
            (at - failed).as_millis()
        );
        assert!(
            report.to_string().starts_with("a: unfit to serve (through Tor: "),
            "{report}"
        );
        running.round(20 * SECOND, |round| round.missing.is_empty()).await;
        let points = failing.fleet.points().await;
        let holders = reader.holders(&points).await;
        assert_eq!(count(holders.values()), BTreeMap::from([("b".to_owned(), 6)]));
        renew(&clients).await;
        let visited = visit(&clients, &onion).await;
        assert!(visited.iter().all(Result::is_ok), "{visited:?}");
        // The other stays fit, and the directories can be read.
        running.drain();
        let before = running.seen.len();
        failing.fleet.asked(&[1], 3).await;
        running.drain();
        assert!(!condemned(&running, before), "{:#?}", running.shown());

        let recovered = Instant::now();
        failing.recover(address).await;
        let (at, _) = running.report(60 * SECOND, |report| is_fit(report, "a")).await.unwrap();
        println!(
            "backend back, found through Tor after {} ms",
            (at - recovered).as_millis()
        );
        running.round(20 * SECOND, |round| round.missing.is_empty()).await;
        let holders = reader.holders(&points).await;
        assert_eq!(count(holders.values())["a"], 3, "{holders:?}");
    }
    // No audit was ever told that a text of the service is unusable.
    let troubles: Vec<_> = running
        .shown()
        .into_iter()
        .filter(|report| report.contains("slot "))
        .collect();
    let troubles: Vec<_> = troubles
        .into_iter()
        .filter(|report| !report.starts_with("proved"))
        .collect();
    assert!(troubles.is_empty(), "{troubles:#?}");

    // Without the prober nothing is found out, and nobody condemned.
    own.kill().unwrap();
    // Two periods of the slower check, which is the audit.
    let condemned = running
        .report(4 * SECOND, |report| matches!(report, Report::Unfit(..)))
        .await;
    assert!(condemned.is_none(), "{condemned:?}");
    running.publisher.stop().await;
}

/// Writes an instance's descriptor into a file whenever it changes, as a patched Tor does or a
/// script of the operator.
fn write_descriptors(fleet: &Fleet, name: &str, file: &Path) -> JoinHandle<()> {
    let (endpoint, key) = (
        fleet.instance(name).control(),
        format!("hs/service/desc/id/{}", fleet.id),
    );
    let file = file.to_owned();
    tokio::spawn(async move {
        let mut last = String::new();
        loop {
            sleep(Duration::from_millis(100)).await;
            let options = onionweave_control::Options::default();
            let credentials = onionweave_control::Credentials::auto();
            let Ok((control, _events)) =
                onionweave_control::Connection::connect(&endpoint, &credentials, &options).await
            else {
                continue;
            };
            while let Ok(text) = control.get_info(&key).await {
                if text != last {
                    let new = file.with_extension("new");
                    std::fs::write(&new, &text).unwrap();
                    std::fs::rename(&new, &file).unwrap();
                    last = text;
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
    })
}

/// An instance is watched through its control port, the other through a file alone.
#[tokio::test(flavor = "multi_thread")]
async fn instance_is_watched_through_a_file() {
    let network = Lease::take().await;
    let fleet = Fleet::start(&network, true, &[""; 2]).await;
    let mut reader = Reader::start(&network, &fleet).await;
    let files = harness::private_folder();
    let file = files.path().join("b.descriptor");
    let watched = Instance::from_file("b".parse().unwrap(), &file);
    let builder = Publisher::builder().service(fleet.service(&["a"]).instance(watched));
    harness::away_from_the_full_hour(90 * SECOND).await;
    let mut running = Running::start(builder);
    running.round(20 * SECOND, |round| round.missing.is_empty()).await;
    let points = fleet.points().await;
    let holders = reader.holders(&points).await;
    assert_eq!(
        count(holders.values()),
        BTreeMap::from([("a".to_owned(), 6)]),
        "there is no file yet"
    );

    let even = BTreeMap::from(["a", "b"].map(|name| (name.to_owned(), 3)));
    let joined = |round: &onionweave_publish::Round| round.causes.contains(&Cause::Joined("b".parse().unwrap()));
    let writer = write_descriptors(&fleet, "b", &file);
    running.round(20 * SECOND, joined).await;
    let holders = reader.holders(&points).await;
    assert_eq!(count(holders.values()), even);

    // It is restarted, and has other points.
    let mut times = Vec::new();
    for _ in 0..2 {
        running.drain();
        fleet.instance("b").kill().unwrap();
        fleet.instance("b").restart().await.unwrap();
        fleet.instance("b").wait_for_descriptor().await.unwrap();
        let offered = Instant::now();
        let changed =
            |round: &onionweave_publish::Round| round.causes.contains(&Cause::PointsChanged("b".parse().unwrap()));
        let (at, _) = running.round(60 * SECOND, changed).await;
        times.push(at.saturating_duration_since(offered));
        let points = fleet.points().await;
        let holders = reader.holders(&points).await;
        assert_eq!(count(holders.values()), even, "{holders:?}");
    }
    print_times("another descriptor to slots regained, through a file", times);

    // Its operator takes it out.
    writer.abort();
    let _ = writer.await;
    let removed = Instant::now();
    std::fs::remove_file(&file).unwrap();
    let left =
        |round: &onionweave_publish::Round| !round.causes.is_disjoint(&[Cause::Left("b".parse().unwrap())].into());
    let (at, _) = running.round(20 * SECOND, left).await;
    println!(
        "file removed to every directory proved clean: {} ms",
        (at - removed).as_millis()
    );
    let points = fleet.points().await;
    let holders = reader.holders(&points).await;
    assert_eq!(count(holders.values()), BTreeMap::from([("a".to_owned(), 6)]));
    running.publisher.stop().await;
}
