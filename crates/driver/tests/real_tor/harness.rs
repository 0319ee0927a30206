//! Parts that the tests on real networks have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::{join_all, try_join_all};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use onionweave_assign::PolicyName;
use onionweave_desc::v2::{Descriptor, IntroductionPoint, UnverifiedDescriptor};
use onionweave_driver::{Builder, Instance, Publisher, Service};
use onionweave_publish::{Report, Round, SlotId};
use onionweave_ring::relays::RelayList;
use onionweave_ring::v2::{DescriptorId, Replica, ServiceId, TimePeriod};
use onionweave_ring::{Fingerprint, HashRing, UnixTime};
use onionweave_testnet::{self as testnet, Client, Holding, Network, Place, Probe, ServiceKey};
use tokio::sync::{OnceCell, mpsc, oneshot};

pub(crate) const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// The network of all tests of this process. A boot takes ten seconds and more, and no test changes
/// the relays.
///
/// It belongs to a thread that waits for ever, since the runtime of a test ends with the test. The
/// processes end with this one, for which the network's guard waits.
static NETWORK: OnceCell<Network> = OnceCell::const_new();

/// A test's share in the network of this process. The network's folder is kept if the test fails.
pub(crate) struct Lease(&'static Network);

impl Lease {
    pub(crate) async fn take() -> Self {
        let boot = || async {
            let (done, booted) = oneshot::channel();
            std::thread::spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    done.send(Network::builder().start().await).unwrap();
                    std::future::pending::<()>().await
                })
            });
            booted.await.unwrap().unwrap()
        };
        Self(NETWORK.get_or_init(boot).await)
    }
}

impl Deref for Lease {
    type Target = Network;

    fn deref(&self) -> &Network {
        self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.keep_folder();
        }
    }
}

/// Returns a name that no other process of the network has.
pub(crate) fn fresh(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{name}{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Instances of one service on the network. A publisher knows them by [`NAMES`].
pub(crate) struct Fleet {
    fleet: testnet::Fleet,
    pub(crate) id: ServiceId,
}

impl Fleet {
    /// Starts as many instances as there are lines; each line is added to one instance's
    /// configuration.
    pub(crate) async fn start(network: &Network, quiet: bool, lines: &[&str]) -> Self {
        let names: Vec<_> = NAMES.into_iter().take(lines.len()).map(fresh).collect();
        let fleet = testnet::Fleet::start(network, calm_key(), &names, |place, instance| {
            instance.quiet(quiet).torrc(lines[place])
        });
        let fleet = fleet.await.unwrap();
        let descriptors = fleet.instances.iter().map(testnet::Instance::wait_for_descriptor);
        try_join_all(descriptors).await.unwrap();
        let id = fleet.key.service_id().parse().unwrap();
        Self { fleet, id }
    }

    /// Returns the publisher that the tests begin with: the instances with these names, and nothing
    /// else.
    pub(crate) fn publisher(&self, names: &[&str]) -> Builder {
        Publisher::builder().service(self.service(names))
    }

    /// Returns the service on the instances with these names.
    pub(crate) fn service(&self, names: &[&str]) -> Service {
        let instances = names.iter().map(|name| self.described(name));
        instances.fold(service(&self.key), Service::instance)
    }

    /// Returns an instance as a publisher watches it: through its control port.
    pub(crate) fn described(&self, name: &str) -> Instance {
        Instance::new(name.parse().unwrap(), self.instance(name).control())
    }

    pub(crate) fn instance(&self, name: &str) -> &testnet::Instance {
        &self.instances[NAMES.iter().position(|other| *other == name).unwrap()]
    }

    /// The introduction points that each living instance offers now.
    pub(crate) async fn points(&self) -> BTreeMap<String, BTreeSet<IntroductionPoint>> {
        let mut points = BTreeMap::new();
        for (name, instance) in NAMES.iter().zip(&self.instances) {
            if instance.pid().is_none() {
                continue;
            }
            let (control, _events) = instance.connect().await.unwrap();
            let key = format!("hs/service/desc/id/{}", self.id);
            if let Ok(text) = control.get_info(&key).await {
                let found = verified(text.as_bytes()).introduction_points().unwrap();
                points.insert((*name).to_owned(), found.into_iter().collect());
            }
        }
        points
    }

    /// Waits until each of these backends has answered so many requests more.
    pub(crate) async fn asked(&self, places: &[usize], more: u64) {
        let before = self.requests();
        let deadline = Instant::now() + Duration::from_secs(60);
        while places
            .iter()
            .any(|&place| self.requests()[place] < before[place] + more)
        {
            assert!(Instant::now() < deadline, "{before:?}, and now {:?}", self.requests());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Deref for Fleet {
    type Target = testnet::Fleet;

    fn deref(&self) -> &testnet::Fleet {
        &self.fleet
    }
}

impl DerefMut for Fleet {
    fn deref_mut(&mut self) -> &mut testnet::Fleet {
        &mut self.fleet
    }
}

/// Makes a key of a service whose time period goes on for longer than a test.
pub(crate) fn calm_key() -> ServiceKey {
    ServiceKey::with_period_left(Duration::from_secs(90 * 60)).unwrap()
}

/// Returns a service without instances, under the policy that is the default of operators.
pub(crate) fn service(key: &ServiceKey) -> Service {
    Service::new(publishing(key), PolicyName::default().policy())
}

/// Returns a key as the publisher holds it.
pub(crate) fn publishing(key: &ServiceKey) -> onionweave_desc::v2::ServiceKey {
    onionweave_desc::v2::ServiceKey::from_pem(key.pem()).unwrap()
}

/// Waits until the full hour is over if it comes within `test`: then all slots take the new hour as
/// their publication time.
pub(crate) async fn away_from_the_full_hour(test: Duration) {
    let left = 3600 - UnixTime::from(SystemTime::now()).as_secs() % 3600;
    if Duration::from_secs(left) < test {
        tokio::time::sleep(Duration::from_secs(left + 2)).await;
    }
}

/// A running publisher and its reports, with the time at which each came.
pub(crate) struct Running {
    pub(crate) publisher: Publisher,
    reports: mpsc::UnboundedReceiver<(Instant, Report)>,
    /// Reports that were read until now.
    pub(crate) seen: Vec<(Instant, Report)>,
}

impl Running {
    pub(crate) fn start(builder: Builder) -> Self {
        let (publisher, mut reports) = builder.start().unwrap();
        let (to, from) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(report) = reports.recv().await {
                if to.send((Instant::now(), report.report)).is_err() {
                    return;
                }
            }
        });
        Self {
            publisher,
            reports: from,
            seen: Vec::new(),
        }
    }

    /// Waits for a report that satisfies `wanted`, and returns when it came.
    pub(crate) async fn report(
        &mut self,
        limit: Duration,
        wanted: impl Fn(&Report) -> bool,
    ) -> Option<(Instant, Report)> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let report = tokio::time::timeout_at(deadline, self.reports.recv()).await.ok()??;
            self.seen.push(report.clone());
            if wanted(&report.1) {
                return Some(report);
            }
        }
    }

    /// Waits for a round that ends with a proof.
    pub(crate) async fn round(&mut self, limit: Duration, wanted: impl Fn(&Round) -> bool) -> (Instant, Round) {
        let found = self
            .report(limit, |report| matches!(report, Report::Proved(round) if wanted(round)))
            .await;
        match found {
            Some((at, Report::Proved(round))) => (at, round),
            _ => panic!("no such round within {limit:?}; reported were {:#?}", self.shown()),
        }
    }

    /// Takes note of all that was reported until now.
    pub(crate) fn drain(&mut self) {
        while let Ok(report) = self.reports.try_recv() {
            self.seen.push(report);
        }
    }

    pub(crate) fn shown(&self) -> Vec<String> {
        self.seen.iter().map(|(_, report)| report.to_string()).collect()
    }
}

/// A folder that only its owner may enter, as keys and passwords want it.
pub(crate) fn private_folder() -> tempfile::TempDir {
    let permissions = std::fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().permissions(permissions).tempdir().unwrap()
}

/// Reads the ring: which slots there are, and what their directories hold.
pub(crate) struct Reader {
    probe: Probe,
    id: ServiceId,
    ring: HashRing,
}

impl Reader {
    pub(crate) async fn start(network: &Network, fleet: &Fleet) -> Self {
        Self::of(network, fleet.id).await
    }

    pub(crate) async fn of(network: &Network, id: ServiceId) -> Self {
        let probe = network.probe(fresh("probe")).await.unwrap();
        let relays = probe.connection().get_info("ns/all").await.unwrap();
        let ring = RelayList::from_ns_all(&relays).unwrap().hash_ring();
        Self { probe, id, ring }
    }

    pub(crate) fn slots(&self) -> Vec<SlotId> {
        let mut slots = Vec::new();
        for period in TimePeriod::published(&self.id, UnixTime::from(SystemTime::now())) {
            for replica in Replica::ALL {
                for directory in DescriptorId::of(&self.id, period, replica).responsible(&self.ring) {
                    slots.push(SlotId::new(period, replica, directory));
                }
            }
        }
        slots
    }

    pub(crate) async fn read(&mut self) -> BTreeMap<SlotId, Holding> {
        let slots = self.slots();
        let places: Vec<_> = slots.iter().map(|slot| self.place(slot)).collect();
        let found = self.probe.read(&places, Duration::from_secs(5)).await.unwrap();
        slots
            .into_iter()
            .zip(places)
            .map(|(slot, place)| (slot, found[&place].clone()))
            .collect()
    }

    /// Returns the instance whose points each slot's directory hands out; `None` for no text, or
    /// for one of nobody's or of several instances' points.
    pub(crate) async fn holders(
        &mut self,
        points: &BTreeMap<String, BTreeSet<IntroductionPoint>>,
    ) -> BTreeMap<SlotId, Option<String>> {
        let found = self.read().await;
        found
            .into_iter()
            .map(|(slot, holding)| (slot, holder(&holding, points)))
            .collect()
    }

    /// Reads again and again until every slot is held by one of `points`; returns how long after
    /// `since` the first such reading was complete.
    pub(crate) async fn clean_after(
        &mut self,
        since: Instant,
        points: &BTreeMap<String, BTreeSet<IntroductionPoint>>,
        limit: Duration,
    ) -> Duration {
        loop {
            let holders = self.holders(points).await;
            let took = since.elapsed();
            if holders.values().all(Option::is_some) {
                return took;
            }
            assert!(took < limit, "not clean after {took:?}: {holders:?}");
        }
    }

    fn place(&self, slot: &SlotId) -> Place {
        let id = slot.v2_descriptor_id(&self.id).unwrap();
        (id.to_string(), *slot.directory.as_bytes())
    }
}

pub(crate) fn holder(holding: &Holding, points: &BTreeMap<String, BTreeSet<IntroductionPoint>>) -> Option<String> {
    let text = verified(holding.text()?).introduction_points().unwrap();
    points
        .iter()
        .find(|(_, theirs)| text.iter().all(|point| theirs.contains(point)))
        .map(|(name, _)| name.clone())
}

pub(crate) fn verified(text: &[u8]) -> Descriptor {
    UnverifiedDescriptor::parse(text)
        .and_then(UnverifiedDescriptor::verify)
        .unwrap()
}

pub(crate) fn count<'a>(holders: impl IntoIterator<Item = &'a Option<String>>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for name in holders {
        *counts
            .entry(name.clone().unwrap_or_else(|| "nobody".into()))
            .or_default() += 1;
    }
    counts
}

pub(crate) async fn clients(network: &Network, count: usize, torrc: &[&str]) -> Vec<Client> {
    /// Number of clients that build their first circuits at once, on a machine of two cores.
    const AT_ONCE: usize = 3;
    let starting = (0..count).map(|_| {
        let client = network.client(fresh("client"));
        torrc.iter().fold(client, |client, line| client.torrc(*line)).start()
    });
    stream::iter(starting).buffered(AT_ONCE).try_collect().await.unwrap()
}

/// Gives every client a fresh identity. Tor does so at most once in ten seconds.
pub(crate) async fn renew(clients: &[Client]) {
    let renewals = clients.iter().map(Client::new_identity);
    for renewal in join_all(renewals).await {
        renewal.unwrap();
    }
}

/// Two crews of clients that take turns. Tor gives a fresh identity at most once in ten seconds, so
/// one crew visits while the other waits for that time to pass.
pub(crate) struct Crews {
    crews: [Vec<Client>; 2],
    turn: usize,
}

impl Crews {
    /// Starts two crews of `count` clients each.
    pub(crate) async fn start(network: &Network, count: usize, torrc: &[&str]) -> Self {
        let mut first = clients(network, 2 * count, torrc).await;
        let second = first.split_off(count);
        Self {
            crews: [first, second],
            turn: 0,
        }
    }

    /// Returns the crew whose turn it is, with fresh identities.
    pub(crate) async fn fresh(&mut self) -> &[Client] {
        self.turn += 1;
        let crew = &self.crews[self.turn % 2];
        // As they started, the clients of each crew are as fresh as can be.
        if self.turn > 2 {
            renew(crew).await;
        }
        crew
    }
}

/// Makes one request with every client, all at the same time. Returns the time of each, or its
/// error.
pub(crate) async fn visit(clients: &[Client], onion: &str) -> Vec<Result<Duration, String>> {
    let visits = clients.iter().map(|client| async move {
        let start = Instant::now();
        client
            .fetch(onion, 80)
            .await
            .map(|_| start.elapsed())
            .map_err(|error| error.to_string())
    });
    join_all(visits).await
}

/// The chance that counts at least as far from `expected` are drawn from it (Pearson's chi-square
/// test).
pub(crate) fn chi_square_p(counts: &[u64], expected: &[f64]) -> f64 {
    use statrs::distribution::{ChiSquared, ContinuousCDF as _};
    let total: u64 = counts.iter().sum();
    let statistic: f64 = counts
        .iter()
        .zip(expected)
        .map(|(&count, share)| {
            let expected = share * total as f64;
            (count as f64 - expected).powi(2) / expected
        })
        .sum();
    1.0 - ChiSquared::new((counts.len() - 1) as f64).unwrap().cdf(statistic)
}

pub(crate) fn fingerprint(bytes: [u8; 20]) -> Fingerprint {
    Fingerprint::from(bytes)
}
