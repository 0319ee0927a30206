//! The simulator's clients against real ones: the same directories, the same texts to the byte, the
//! same death, and then the same shares.
//!
//! A private network of tor 0.4.5.9 is started, with three instances. The simulator is given its
//! directories, the service's key and the instances' introduction points; what its publisher writes
//! is posted to the real directories. Real clients with fresh identities then visit the service,
//! before and after an instance is killed, and are sorted by the instance that served them, and
//! before the death by the directory that they asked, after it by how many they asked. Twenty
//! thousand simulated clients give the chance of each sort, as good as exactly, and Pearson's
//! chi-square test says how likely it is that the real counts are drawn from these.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![allow(clippy::print_stdout, reason = "the figures are for people")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::join_all;
use onionweave_assign::{PolicyName, Weight};
use onionweave_control::{EventKind, HsDescAction};
use onionweave_desc::v2::{Descriptor, IntroductionPoint, ServiceKey, UnverifiedDescriptor};
use onionweave_publish::SlotId;
use onionweave_ring::relays::RelayList;
use onionweave_ring::v2::{ServiceId, TimePeriod};
use onionweave_ring::{Fingerprint, UnixTime};
use onionweave_sim::{Crowd, Happening, InstancePlan, Outcome, Pace, Record, Scenario};
use onionweave_testnet::{Backend, Client, Network, Place};
use statrs::distribution::{ChiSquared, ContinuousCDF as _};

const SECOND: Duration = Duration::from_secs(1);
const NAMES: [&str; 3] = ["a", "b", "c"];
/// Four directories for the first, and one for each of the others.
const WEIGHTS: [u32; 3] = [4, 1, 1];
/// Real clients at once.
const CLIENTS: usize = 32;
/// Visits of each, before the death and after it. A client becomes a new one every ten seconds at
/// most.
const ROUNDS: usize = 4;
/// Simulated clients, before the death and after it: too few to wear out an introduction point,
/// which would change the texts.
const SIMULATED: u32 = 20_000;
/// Time that is simulated.
const SIMULATED_TIME: Duration = Duration::from_secs(300);
/// Real counts that are less likely than this are drawn once more. If the model is right, that
/// happens in one run of two hundred, and the test fails in one of eighty thousand.
const UNLIKELY: f64 = 0.0025;
/// Sorts that are expected to have fewer visits are counted together: the test's distribution is
/// good for five.
const LEAST_EXPECTED: f64 = 5.0;

/// Simulated clients, none of whom did what a real one does, say that it hardly ever happens. Two
/// may be accidents of the real network.
const MOST_STRANGERS: f64 = 2.0;

/// The directory that a visit asked first, who served it, and how many directories it asked.
#[derive(Clone, Debug)]
struct Tale {
    first_asked: Option<SlotId>,
    served: Option<String>,
    fetches: u16,
}

/// Visits of one sort are counted together.
type Sort = (String, String);

/// Before the death, everybody asks one directory. Which one, and which point was drawn from its
/// text?
fn by_directory(tale: &Tale) -> Sort {
    let asked = match (tale.first_asked, tale.fetches) {
        (Some(slot), 1) => short(&slot),
        _ => format!("{} directories", tale.fetches),
    };
    (asked, tale.served.clone().unwrap_or_default())
}

/// After the death, the other points of a text are drawn, and then other directories are asked. Of
/// both the number of directories tells.
fn by_fetches(tale: &Tale) -> Sort {
    (
        format!("{} directories", tale.fetches),
        tale.served.clone().unwrap_or_default(),
    )
}

fn short(slot: &SlotId) -> String {
    let mut name = slot.directory.to_string();
    name.truncate(4);
    format!("{}@{name}", slot.replica)
}

#[tokio::test(flavor = "multi_thread")]
async fn simulated_clients_go_where_real_ones_go() {
    let network = Network::builder().start().await.unwrap();
    let began = Instant::now();
    let key = calm_key();
    let id: ServiceId = key.service_id().parse().unwrap();
    let (mut instances, mut backends) = (Vec::new(), Vec::new());
    for name in NAMES {
        let backend = Backend::start(name).await.unwrap();
        let instance = network.instance(name).service_key(&key).quiet(true).backend(&backend);
        instances.push(instance.start().await.unwrap());
        backends.push(backend);
    }
    let started = (0..CLIENTS).map(|number| {
        // Fetches from a killed instance's circuits end at once or never: see `agree`.
        let client = network.client(format!("c{number}")).torrc("SocksTimeout 25 seconds");
        client.start()
    });
    let mut clients = Vec::new();
    for client in join_all(started).await {
        clients.push(Visitor::new(client.unwrap(), key.onion()).await);
    }
    let (mut plans, mut owners) = (Vec::new(), BTreeMap::new());
    for (instance, weight) in instances.iter().zip(WEIGHTS) {
        let text = instance.wait_for_descriptor().await.unwrap();
        let points = verified(text.as_bytes()).introduction_points().unwrap();
        let plan = InstancePlan::new(instance.name()).weight(Weight::try_from(weight).unwrap());
        owners.extend(points.iter().map(|point| (point.clone(), instance.name())));
        plans.push(plan.points(points));
    }

    // The same scenario in the simulator.
    let mut probe = network.probe("probe").await.unwrap();
    let relays = probe.connection().get_info("ns/all").await.unwrap();
    let ring = RelayList::from_ns_all(&relays).unwrap().hash_ring();
    let crowd = || Crowd::new(SIMULATED).fresh().visits(1);
    let scenario = Scenario::new(17)
        .start(calm_start(UnixTime::from(SystemTime::now())))
        .directories_named(ring.iter())
        .key(ServiceKey::from_pem(key.pem()).unwrap())
        .instances(plans)
        .policy(PolicyName::Weighted)
        .pace(Pace::testing())
        .clients(crowd().arriving(60 * SECOND..=90 * SECOND))
        .at(100 * SECOND, Happening::PublisherStops)
        .at(101 * SECOND, Happening::Dies("a".into()))
        .clients(crowd().arriving(102 * SECOND..=132 * SECOND))
        .log_visits(usize::MAX);
    let mut simulation = scenario.build().unwrap();
    simulation.run_until(60 * SECOND);
    assert!(simulation.is_settled());
    let texts: BTreeMap<SlotId, Vec<u8>> = simulation
        .held()
        .map(|(slot, descriptor)| (slot, descriptor.text().to_vec()))
        .collect();
    simulation.run_until(SIMULATED_TIME);
    let record = simulation.finish();
    let until = |visit: &onionweave_sim::Visit| visit.began < 100 * SECOND;
    let (before, after): (Vec<_>, Vec<_>) = record.visits().iter().partition(|visit| until(visit));
    let before = chances(&record, &before, by_directory);
    let after = chances(&record, &after, by_fetches);
    for (sort, chance) in drawing(&texts, &owners, |_, _| true) {
        let simulated = before.get(&sort).copied().unwrap_or_default();
        assert!(
            (simulated - chance).abs() < 0.02,
            "{sort:?} should have {chance:.3} of the simulated visits and has {simulated:.3}: were there other texts meanwhile?"
        );
    }
    println!("simulated, before the death: {before:.3?}");
    println!("simulated, after it: {after:.3?}");

    // The same texts in the real directories.
    for (slot, text) in &texts {
        let points = verified(text).introduction_points().unwrap();
        let whose = points
            .iter()
            .map(|point| (point.identity().to_string().split_off(36), owners[point]));
        println!("{}: {:?}", short(slot), whose.collect::<Vec<_>>());
    }
    for (slot, text) in &texts {
        let server = *slot.directory.as_bytes();
        probe.connection().hs_post(&[server], None, text).await.unwrap();
    }
    let place = |slot: &SlotId| {
        (
            slot.v2_descriptor_id(&id).unwrap().to_string(),
            *slot.directory.as_bytes(),
        )
    };
    let places: BTreeMap<Place, SlotId> = texts.keys().map(|slot| (place(slot), *slot)).collect();
    let wanted: Vec<Place> = places.keys().cloned().collect();
    let deadline = Instant::now() + 10 * SECOND;
    loop {
        let found = probe.read(&wanted, 5 * SECOND).await.unwrap();
        if texts
            .iter()
            .all(|(slot, text)| found[&place(slot)].text() == Some(text))
        {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "the directories don't hold what was posted: {found:?}"
        );
        tokio::time::sleep(SECOND / 2).await;
    }
    println!(
        "{} texts posted {} s after the network was ready",
        texts.len(),
        began.elapsed().as_secs()
    );

    wait_until_known(&clients, &places).await;
    let in_vain = agree("before the death", &mut clients, &places, by_directory, &before).await;
    assert!(
        in_vain * 10 <= CLIENTS * ROUNDS,
        "{in_vain} were not served though all instances lived"
    );
    // Other clients would not have passed for these: the test can tell.
    for (what, others) in [
        ("the first point", drawing(&texts, &owners, |_, place| place == 0)),
        ("the first replica", drawing(&texts, &owners, |replica, _| replica == 0)),
    ] {
        let (_, p) = chi_square(&expected_counts(&others), &before);
        assert!(p < UNLIKELY, "clients that always draw {what} would pass with {p}");
    }

    instances[0].kill().unwrap();
    tokio::time::sleep(SECOND).await;
    agree("after the death", &mut clients, &places, by_fetches, &after).await;
    println!("all within {} s after the network was ready", began.elapsed().as_secs());
}

/// A real client and what it asks.
struct Visitor {
    client: Client,
    control: onionweave_control::Connection,
    events: onionweave_control::Events,
    onion: String,
}

impl Visitor {
    async fn new(client: Client, onion: String) -> Self {
        let (control, events) = client.connect().await.unwrap();
        control.set_events(&[EventKind::HsDesc]).await.unwrap();
        Self {
            client,
            control,
            events,
            onion,
        }
    }

    /// Of these directories those whose microdescriptor it lacks.
    async fn lacks(&self, directories: &BTreeSet<Fingerprint>) -> Vec<String> {
        let mut lacking = Vec::new();
        for directory in directories {
            let known = self.control.get_info(&format!("md/id/{directory}")).await;
            if known.map_or(true, |text| text.is_empty()) {
                lacking.push(format!("{} lacks {directory}", self.client.name()));
            }
        }
        lacking
    }

    /// Visits the service as somebody who never was here before.
    async fn visit(&mut self, places: &BTreeMap<Place, SlotId>) -> Tale {
        self.client.new_identity().await.unwrap();
        while self.events.try_recv().is_some() {}
        let served = self.client.fetch(&self.onion, 80).await.ok();
        // What was told until now has arrived when this is answered.
        self.control.get_info("version").await.unwrap();
        let mut tale = Tale {
            first_asked: None,
            served,
            fetches: 0,
        };
        while let Some(event) = self.events.try_recv() {
            let onionweave_control::Event::HsDesc(event) = event else {
                continue;
            };
            if *event.action() != HsDescAction::Requested {
                continue;
            }
            if tale.fetches == 0 {
                let place = event.descriptor_id().zip(event.hsdir());
                tale.first_asked = place
                    .and_then(|(id, directory)| places.get(&(id.to_owned(), directory.fingerprint())))
                    .copied();
            }
            tale.fetches += 1;
        }
        tale
    }
}

/// Waits until all clients have the microdescriptors of all directories: they ask no other
/// (`feature/hs/hs_common.c:1662-1666`), and Tor thinks itself ready before it has all.
async fn wait_until_known(clients: &[Visitor], places: &BTreeMap<Place, SlotId>) {
    let directories = places.values().map(|slot| slot.directory).collect();
    let began = Instant::now();
    loop {
        let lacking = join_all(clients.iter().map(|client| client.lacks(&directories))).await;
        let lacking = lacking.concat();
        if lacking.is_empty() {
            return;
        }
        let waited = began.elapsed();
        println!("after {} s: {lacking:?}", waited.as_secs());
        assert!(waited < 60 * SECOND, "microdescriptors are missing: {lacking:?}");
        tokio::time::sleep(SECOND).await;
    }
}

/// Sends real clients until there is a verdict, and returns how many visits were in vain.
///
/// Nobody gives up in the simulation. In the real network, a relay may go on acknowledging
/// introductions for an instance that it has lost: the cell that tells so waits in its queue until
/// something else is sent (`core/or/circuitmux.c:1197-1205`), which the clients in vain see to.
/// That is the matter of relays, which are not simulated; so only rounds count in which all are
/// served.
async fn agree(
    what: &str,
    clients: &mut [Visitor],
    places: &BTreeMap<Place, SlotId>,
    sort: fn(&Tale) -> Sort,
    chances: &BTreeMap<Sort, f64>,
) -> usize {
    let mut unlucky = Vec::new();
    while unlucky.len() < 2 {
        let mut counts: BTreeMap<Sort, f64> = BTreeMap::new();
        let (mut counted, mut in_vain) = (0, Vec::new());
        while counted < ROUNDS {
            let tales = join_all(clients.iter_mut().map(|client| client.visit(places))).await;
            let missed = tales.iter().filter(|tale| tale.served.is_none()).count();
            if missed > 0 {
                in_vain.push(missed);
                assert!(
                    in_vain.len() <= ROUNDS,
                    "{what}: visits in vain, round after round: {in_vain:?}"
                );
                continue;
            }
            for tale in &tales {
                *counts.entry(sort(tale)).or_default() += 1.0;
            }
            counted += 1;
        }
        let total = clients.len() * ROUNDS;
        let (sorts, p) = chi_square(&counts, chances);
        println!(
            "{what}: {total} real clients; in vain in rounds that don't count: {in_vain:?}; p = {p:.4}; real and expected:"
        );
        for (sort, real, expected) in &sorts {
            println!("    {sort:?}: {real} {expected:.1}");
        }
        let strangers = counts.iter().filter(|(sort, _)| !chances.contains_key(*sort));
        let strangers: BTreeMap<_, _> = strangers.collect();
        let all: f64 = strangers.values().copied().sum();
        assert!(
            all <= MOST_STRANGERS,
            "{what}: no simulated client did this: {strangers:?}"
        );
        if p > UNLIKELY {
            return in_vain.iter().sum();
        }
        println!("    all in all: {counts:?}");
        unlucky.push((sorts, p));
    }
    panic!("{what}: {unlucky:?}");
}

/// Returns the probability that counts lie at least as far from what is expected, and what was
/// compared: each sort that is expected often enough, and all others together.
fn chi_square(counts: &BTreeMap<Sort, f64>, chances: &BTreeMap<Sort, f64>) -> (Vec<(Sort, f64, f64)>, f64) {
    let total: f64 = counts.values().sum();
    let mut sorts: Vec<_> = chances
        .iter()
        .filter(|(_, chance)| *chance * total >= LEAST_EXPECTED)
        .map(|(sort, chance)| {
            (
                sort.clone(),
                counts.get(sort).copied().unwrap_or_default(),
                chance * total,
            )
        })
        .collect();
    sorts.sort_by(|one, other| other.2.total_cmp(&one.2));
    let mut rest = sorts
        .iter()
        .fold((total, total), |rest, sort| (rest.0 - sort.1, rest.1 - sort.2));
    let mut name = "all others";
    if rest.1 < LEAST_EXPECTED
        && let Some(rarest) = sorts.pop()
    {
        rest = (rest.0 + rarest.1, rest.1 + rarest.2);
        name = "the rarest and all others";
    }
    sorts.push(((name.to_owned(), String::new()), rest.0, rest.1));
    let statistic = sorts
        .iter()
        .map(|(_, count, expected)| (count - expected).powi(2) / expected)
        .sum();
    let freedom = ChiSquared::new((sorts.len() - 1).max(1) as f64).unwrap();
    (sorts, 1.0 - freedom.cdf(statistic))
}

/// The chance of each sort of simulated visits.
fn chances(record: &Record, visits: &[&onionweave_sim::Visit], sort: fn(&Tale) -> Sort) -> BTreeMap<Sort, f64> {
    let mut chances = BTreeMap::new();
    for visit in visits {
        let served = match visit.outcome {
            Outcome::Served(instance) => Some(record.instances()[instance].name.clone()),
            _ => None,
        };
        let tale = Tale {
            first_asked: visit.first_asked,
            served,
            fetches: visit.fetches,
        };
        *chances.entry(sort(&tale)).or_default() += 1.0 / visits.len() as f64;
    }
    chances
}

/// The chance of each sort before the death, for clients that draw evenly, but only what they like.
fn drawing(
    texts: &BTreeMap<SlotId, Vec<u8>>,
    owners: &BTreeMap<IntroductionPoint, &str>,
    likes: fn(replica: u8, place: usize) -> bool,
) -> BTreeMap<Sort, f64> {
    let mut chances = BTreeMap::new();
    let liked = |slot: &SlotId, place| likes(slot.replica.number(), place);
    let slots: Vec<_> = texts.iter().filter(|(slot, _)| liked(slot, 0)).collect();
    for (slot, text) in &slots {
        let points = verified(text).introduction_points().unwrap();
        let points: Vec<_> = (0..).zip(&points).filter(|&(place, _)| liked(slot, place)).collect();
        for (_, point) in &points {
            let tale = Tale {
                first_asked: Some(**slot),
                served: Some(owners[*point].to_owned()),
                fetches: 1,
            };
            *chances.entry(by_directory(&tale)).or_default() += 1.0 / (slots.len() * points.len()) as f64;
        }
    }
    chances
}

/// The counts of as many real clients as there are, if they come exactly as expected.
fn expected_counts(chances: &BTreeMap<Sort, f64>) -> BTreeMap<Sort, f64> {
    let total = (CLIENTS * ROUNDS) as f64;
    chances
        .iter()
        .map(|(sort, chance)| (sort.clone(), chance * total))
        .collect()
}

fn verified(text: &[u8]) -> Descriptor {
    UnverifiedDescriptor::parse(text)
        .and_then(UnverifiedDescriptor::verify)
        .unwrap()
}

/// When the simulation begins: now, or so much earlier that no hour ends in it. With a new hour a
/// new round begins, and the publisher writes other texts.
fn calm_start(now: UnixTime) -> UnixTime {
    let end = now.as_secs() % 3600 + SIMULATED_TIME.as_secs();
    now.saturating_sub(Duration::from_secs(end.saturating_sub(3599)))
}

/// A key of a service whose time period goes on for longer than the test, and did not begin just
/// now.
fn calm_key() -> onionweave_testnet::ServiceKey {
    loop {
        let key = onionweave_testnet::ServiceKey::generate().unwrap();
        let id: ServiceId = key.service_id().parse().unwrap();
        let now = UnixTime::from(SystemTime::now());
        let left = TimePeriod::at(&id, now).seconds_left(&id, now);
        if (90 * 60..23 * 3600).contains(&left) {
            return key;
        }
    }
}
