//! Services for authorized clients on a real network, with clients that hold a cookie and one that
//! does not.

use std::collections::BTreeSet;
use std::time::Duration;

use onionweave_control::Endpoint;
use onionweave_desc::v2::{ClientKey, ClientKeys, HostnameFile, IntroductionPoint, UnverifiedDescriptor};
use onionweave_driver::{self as driver, Check, Prober, Publisher, Reports, Service};
use onionweave_publish::Report;
use onionweave_ring::v2::{AuthorizationKind, ClientCookie, DescriptorCookie};
use onionweave_testnet::{Backend, Client, Instance, Network, ServiceKey};

use crate::harness::{self, Lease, calm_key, clients, count, fresh, renew, visit};

const SECOND: Duration = Duration::from_secs(1);

/// Two instances of one service, and the keys of its clients.
struct Fleet {
    kind: AuthorizationKind,
    key: ServiceKey,
    keys: ClientKeys,
    instances: Vec<Instance>,
    backends: Vec<Backend>,
}

impl Fleet {
    async fn start(network: &Network, kind: AuthorizationKind, quiet: bool) -> Self {
        let key = calm_key();
        let names = ["alice", "bob"];
        let stealth = kind == AuthorizationKind::Stealth;
        let client = |(number, name): (u8, &str)| {
            let cookie = DescriptorCookie::from([number * 16 + 7; 16]);
            let key = stealth.then(|| harness::publishing(&calm_key()));
            ClientKey::new(name.parse().unwrap(), cookie, key)
        };
        let keys = ClientKeys::new((0..).zip(names).map(client)).unwrap();
        let (mut instances, mut backends) = (Vec::new(), Vec::new());
        for name in ["a", "b"] {
            let name = fresh(&format!("{kind}{name}"));
            let backend = Backend::start(&*name).await.unwrap();
            let instance = network
                .instance(&*name)
                .service_key(&key)
                .quiet(quiet)
                .backend(&backend);
            let instance = instance
                .client_keys(keys.to_text().as_str())
                .torrc(format!("HiddenServiceAuthorizeClient {kind} {}", names.join(",")));
            instances.push(instance.start().await.unwrap());
            backends.push(backend);
        }
        let fleet = Self {
            kind,
            key,
            keys,
            instances,
            backends,
        };
        for instance in &fleet.instances {
            instance.wait_for_descriptor_of(&fleet.address("bob")).await.unwrap();
        }
        fleet
    }

    fn client(&self, name: &str) -> &ClientKey {
        self.keys.client(&name.parse().unwrap()).unwrap()
    }

    /// The service ID that this client connects to.
    fn address(&self, client: &str) -> String {
        match self.client(client).key() {
            Some(key) => key.service_id().to_string(),
            None => self.key.service_id().to_owned(),
        }
    }

    fn onion(&self, client: &str) -> String {
        format!("{}.onion", self.address(client))
    }

    /// The line that an authorized client adds to its torrc.
    fn hid_serv_auth(&self, client: &str) -> String {
        let cookie = ClientCookie::new(self.kind, self.client(client).cookie().clone());
        format!("HidServAuth {} {}", self.onion(client), cookie.to_text().as_str())
    }

    /// Returns the service as a publisher is told of it.
    fn service(&self) -> Service {
        let service = harness::service(&self.key)
            .clients(self.kind, self.keys.clone())
            .quiet(self.kind == AuthorizationKind::Basic);
        let instances = self.instances.iter();
        instances
            .map(|instance| driver::Instance::new(instance.name().parse().unwrap(), instance.control()))
            .fold(service, Service::instance)
    }

    /// Returns the instances whose points are in the text that a client holds for this service.
    async fn holders(&self, client: &Client, name: &str) -> BTreeSet<String> {
        let (control, _events) = client.connect().await.unwrap();
        let key = format!("hs/client/desc/id/{}", self.address(name));
        let text = control.get_info(&key).await.unwrap();
        let held = self.points(&text, name);
        let mut holders = BTreeSet::new();
        for instance in self.instances.iter().filter(|instance| instance.pid().is_some()) {
            let text = instance.wait_for_descriptor_of(&self.address(name)).await.unwrap();
            if self.points(&text, name).iter().any(|point| held.contains(point)) {
                holders.insert(instance.name().to_owned());
            }
        }
        holders
    }

    fn points(&self, text: &str, name: &str) -> BTreeSet<IntroductionPoint> {
        let descriptor = UnverifiedDescriptor::parse(text.as_bytes()).unwrap().verify().unwrap();
        assert_eq!(descriptor.authorization(), Some(self.kind));
        let points = descriptor.introduction_points_for(self.client(name).cookie());
        points.unwrap().into_iter().collect()
    }

    fn requests(&self) -> Vec<u64> {
        self.backends.iter().map(Backend::requests).collect()
    }
}

/// Waits until so many rounds were proved for each of the services that a publisher speaks of.
async fn proved(reports: &mut Reports, services: usize) {
    let mut proved = BTreeSet::new();
    let deadline = tokio::time::Instant::now() + 15 * SECOND;
    while proved.len() < services {
        let report = tokio::time::timeout_at(deadline, reports.recv()).await;
        let report = report.expect("the rings settle").expect("the publisher lives");
        if let Report::Proved(round) = &report.report {
            assert!(round.sealed);
            assert_eq!(round.missing.len(), 0, "{round}");
            proved.insert(report.service);
        }
    }
}

/// Basic authorization with quiet instances and stealth authorization with loud ones: clients that
/// hold a cookie are spread over the instances and outlive the death of one of them; who holds none
/// gets nothing.
#[tokio::test(flavor = "multi_thread")]
async fn authorized_clients_are_spread_over_the_instances() {
    let network = Lease::take().await;
    let (basic, stealth) = futures_util::future::join(
        Fleet::start(&network, AuthorizationKind::Basic, true),
        Fleet::start(&network, AuthorizationKind::Stealth, false),
    )
    .await;

    // Tor reads the files that we write as we mean them: it writes the same cookies for its
    // clients.
    for fleet in [&basic, &stealth] {
        for instance in &fleet.instances {
            let hostname = HostnameFile::parse(instance.hostname().unwrap().as_bytes()).unwrap();
            let service = fleet.key.service_id().parse().unwrap();
            assert_eq!(hostname, fleet.keys.hostname_file(service, fleet.kind).unwrap());
        }
    }

    let builder = Publisher::builder().service(basic.service()).service(stealth.service());
    let (publisher, mut reports) = builder.start().unwrap();
    // One ring for all clients of the basic service, and one for each of the stealth service's two.
    proved(&mut reports, 3).await;

    let cookies = [basic.hid_serv_auth("alice"), stealth.hid_serv_auth("alice")];
    let friends = clients(&network, 4, &cookies.each_ref().map(String::as_str)).await;
    // Tor goes on looking for a text that it can read for as long as the stream may wait, two
    // minutes if nobody says otherwise.
    let stranger = network.client(fresh("stranger")).torrc("SocksTimeout 20");
    let stranger = stranger.start().await.unwrap();
    let onions = [basic.onion("alice"), stealth.onion("alice")];
    let refused = tokio::spawn(async move {
        futures_util::future::join_all(onions.iter().map(|onion| stranger.fetch(onion, 80))).await
    });

    let mut texts = Vec::new();
    for _ in 0..3 {
        renew(&friends).await;
        for fleet in [&basic, &stealth] {
            for visit in visit(&friends, &fleet.onion("alice")).await {
                visit.unwrap();
            }
            for friend in &friends {
                let holders = fleet.holders(friend, "alice").await;
                assert_eq!(
                    holders.len(),
                    1,
                    "a text of the mix has one instance's points: {holders:?}"
                );
                texts.push(holders.into_iter().next());
            }
        }
    }
    for refused in refused.await.unwrap() {
        println!("without a cookie: {}", refused.unwrap_err());
    }
    println!("texts that clients drew: {:?}", count(&texts));
    for fleet in [&basic, &stealth] {
        let requests = fleet.requests();
        println!("{}: 12 requests of authorized clients reached {requests:?}", fleet.kind);
        assert_eq!(requests.iter().sum::<u64>(), 12, "and the stranger reached nobody");
        // By chance all twelve meet one instance once in two thousand runs.
        assert!(requests.iter().all(|requests| *requests > 0));
    }

    // One instance of each dies.
    for fleet in [&basic, &stealth] {
        fleet.instances[0].kill().unwrap();
    }
    proved(&mut reports, 3).await;
    renew(&friends).await;
    for fleet in [&basic, &stealth] {
        let before = fleet.requests();
        for visit in visit(&friends, &fleet.onion("alice")).await {
            visit.unwrap();
        }
        let now = fleet.requests();
        assert_eq!(now[1] - before[1], 4, "all new clients reach the one that lives");
    }
    publisher.stop().await;
}

/// Waits until so many services' machines were told this of an instance.
async fn told(reports: &mut Reports, machines: usize, wanted: impl Fn(&Report) -> bool) {
    let mut told = BTreeSet::new();
    let deadline = tokio::time::Instant::now() + 60 * SECOND;
    while told.len() < machines {
        let report = tokio::time::timeout_at(deadline, reports.recv()).await;
        let report = report.expect("the checks tell").expect("the publisher lives");
        if wanted(&report.report) {
            told.insert(report.service);
        }
    }
}

/// Instances drop clients that show no cookie, so the checks through Tor show one; the prober's own
/// cookies stay where they are.
#[tokio::test(flavor = "multi_thread")]
async fn request_through_tor_shows_a_cookie_where_one_is_wanted() {
    let network = Lease::take().await;
    let (mut basic, mut stealth) = futures_util::future::join(
        Fleet::start(&network, AuthorizationKind::Basic, true),
        Fleet::start(&network, AuthorizationKind::Stealth, false),
    )
    .await;
    let own = "aaaaaaaaaaaaaaaa.onion 2KohXVDgp8ESS6hWRTRc4B of a friend";
    let prober = network.client(fresh("prober")).torrc(format!("HidServAuth {own}"));
    let prober = prober.start().await.unwrap();

    let check = Check::tor(80).path("/").unwrap().every(SECOND).within(20 * SECOND);
    let socks = Endpoint::Unix(prober.socks().to_owned());
    let builder = Publisher::builder()
        .prober(Prober::new(socks).tor(prober.control()))
        .service(basic.service().check(check.clone()))
        .service(stealth.service().check(check));
    let (publisher, mut reports) = builder.start().unwrap();
    proved(&mut reports, 3).await;
    let asked = |fleets: [&Fleet; 2]| fleets.map(Fleet::requests).concat();
    let deadline = tokio::time::Instant::now() + 60 * SECOND;
    while asked([&basic, &stealth]).contains(&0) {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{:?}",
            asked([&basic, &stealth])
        );
        tokio::time::sleep(SECOND / 10).await;
    }

    for fleet in [&mut basic, &mut stealth] {
        // With stealth authorization, one for each client.
        let machines = fleet.keys.iter().filter(|client| client.key().is_some()).count().max(1);
        let name = fleet.instances[0].name().to_owned();
        let address = fleet.backends[0].address();
        fleet.backends[0] = Backend::start("nobody").await.unwrap();
        let unfit = |report: &Report| matches!(report, Report::Unfit(other, why) if *other == *name && why.starts_with("through Tor: "));
        told(&mut reports, machines, unfit).await;
        fleet.backends[0] = Backend::start_at(&*name, address).await.unwrap();
        told(
            &mut reports,
            machines,
            |report| matches!(report, Report::Fit(other) if *other == *name),
        )
        .await;
    }

    // One door for each instance and machine, and nothing of those that led nowhere.
    let (control, _events) = prober.connect().await.unwrap();
    let lines = control.get_conf(&["HidServAuth"]).await.unwrap();
    let lines: Vec<_> = lines.iter().filter_map(|line| line.value()).collect();
    assert_eq!(lines.first(), Some(&own));
    assert!((2..=7).contains(&lines.len()), "{lines:?}");
    publisher.stop().await;
}
