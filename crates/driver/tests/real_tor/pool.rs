//! Instances that the publisher runs itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use onionweave_control::{Connection, Credentials, Endpoint, Options};
use onionweave_desc::v2::{ClientKey, ClientKeys, IntroductionPoint};
use onionweave_driver::{Builder, Pool, PoolMember, PoolSize, Publisher, Service, ServicePort};
use onionweave_publish::pool::PlaceState;
use onionweave_ring::v2::{AuthorizationKind, ClientCookie, DescriptorCookie, ServiceId};
use onionweave_testnet::{Backend, Network, Role, ServiceKey};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::figures::{hold_times, print_times};
use crate::harness::{
    self, Lease, Reader, away_from_the_full_hour, calm_key, clients, fresh, private_folder, renew, verified, visit,
};

const SECOND: Duration = Duration::from_secs(1);
/// Longest time until all of a pool of three are ready, on a busy machine.
const POOL_LIMIT: Duration = Duration::from_secs(90);
/// Environment variable that names the file with the [`Hosting`] of a publisher that is to be
/// killed; see [`Process`].
const HOSTING: &str = "ONIONWEAVE_TEST_HOSTING";
/// Memory that each instance may fill, in bytes.
const MEMORY: u64 = 256_000_000;

/// Values from which publishers of one pool are built, in this process or in another.
#[derive(Clone, Deserialize, Serialize)]
struct Hosting {
    /// Key of the service, in PEM.
    key: String,
    /// Port of the service and what it leads to.
    port: String,
    /// State folder of the publisher.
    state: PathBuf,
    /// Binary that the instances run.
    tor: PathBuf,
    /// Lines of the instances' torrc.
    torrc: Vec<String>,
    /// Whether instances outlive the publisher.
    keep: bool,
}

impl Hosting {
    /// Describes a pool with one spare.
    fn pool(&self, serving: u16) -> Pool {
        Pool::new(PoolSize::Exactly(serving.try_into().unwrap()))
            .spare(1)
            .tor(&self.tor)
            .torrc(&self.torrc)
            .memory(MEMORY)
            .keep(self.keep)
    }

    /// Describes the service, without instances besides those of the pool.
    fn service(&self) -> Service {
        hosted(&ServiceKey::from_pem(&self.key).unwrap(), &self.port)
    }

    /// Describes the publisher of a pool of two.
    fn publisher(&self) -> Builder {
        self.publisher_of(self.pool(2))
    }

    fn publisher_of(&self, pool: Pool) -> Builder {
        let publisher = Publisher::builder().state(&self.state).pool(pool);
        publisher.service(self.service())
    }
}

/// Describes a service that the pool hosts.
fn hosted(key: &ServiceKey, port: &str) -> Service {
    harness::service(key).port(port.parse::<ServicePort>().unwrap())
}

/// A service whose instances are all in the pool, on a private network.
struct Site {
    folder: tempfile::TempDir,
    key: ServiceKey,
    id: ServiceId,
    hosting: Hosting,
    _backend: Backend,
}

impl Site {
    async fn new(network: &Network) -> Self {
        let folder = private_folder();
        let key = calm_key();
        let backend = Backend::start("pool").await.unwrap();
        let lines = network.torrc_lines(Role::Instance).into_iter();
        let hosting = Hosting {
            key: key.pem().to_owned(),
            port: format!("80 {}", backend.address()),
            state: folder.path().join("state"),
            tor: network.tor().path().to_owned(),
            // How much memory each may use is for the pool to say.
            torrc: lines.filter(|line| !line.starts_with("MaxMemInQueues")).collect(),
            keep: false,
        };
        Self {
            id: key.service_id().parse().unwrap(),
            key,
            hosting,
            _backend: backend,
            folder,
        }
    }

    fn folder_of(&self, number: u16) -> PathBuf {
        self.folder.path().join("state/pool").join(number.to_string())
    }

    async fn ask(&self, number: u16, key: &str) -> Option<String> {
        let folder = self.folder_of(number);
        let endpoint = Endpoint::Unix(folder.join("control"));
        let credentials = Credentials::cookie_file(folder.join("cookie"));
        let options = Options::default().connect_deadline(SECOND).command_deadline(SECOND);
        let (tor, _events) = Connection::connect(&endpoint, &credentials, &options).await.ok()?;
        tor.get_info(key).await.ok()
    }

    /// The points that each instance of the pool offers now.
    async fn points(&self, numbers: impl IntoIterator<Item = u16>) -> BTreeMap<String, BTreeSet<IntroductionPoint>> {
        let mut points = BTreeMap::new();
        for number in numbers {
            if let Some(text) = self.ask(number, &format!("hs/service/desc/id/{}", self.id)).await {
                let found = verified(text.as_bytes()).introduction_points().unwrap();
                points.insert(format!("pool-{number}"), found.into_iter().collect());
            }
        }
        points
    }
}

/// Starts a publisher whose reports nobody reads.
fn start(builder: Builder) -> Publisher {
    let (publisher, mut reports) = builder.start().unwrap();
    tokio::spawn(async move { while reports.recv().await.is_some() {} });
    publisher
}

/// Waits until the members of the pool are as `wanted`.
async fn members(publisher: &Publisher, limit: Duration, wanted: impl Fn(&[PoolMember]) -> bool) -> Vec<PoolMember> {
    let deadline = Instant::now() + limit;
    loop {
        let members = publisher.pool();
        if wanted(&members) {
            return members;
        }
        assert!(Instant::now() < deadline, "{members:#?}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn ready(members: &[PoolMember]) -> usize {
    members
        .iter()
        .filter(|member| member.state == PlaceState::Ready)
        .count()
}

fn pids(members: &[PoolMember]) -> Vec<u32> {
    members.iter().map(|member| member.pid.unwrap()).collect()
}

fn signal(pid: u32, signal: &str) {
    let status = Command::new("kill").args([signal, &pid.to_string()]).status();
    assert!(status.unwrap().success());
}

/// Returns whether a process runs. One that ended and was not waited for does not.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

async fn wait_until(limit: Duration, what: &str, wanted: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !wanted() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        sleep(Duration::from_millis(5)).await;
    }
    start.elapsed()
}

/// A serving instance is killed, again and again; a hung one is replaced; configurations and
/// services come and go.
pub(crate) async fn spare_takes_over_and_the_pool_is_filled_again() {
    let network = Lease::take().await;
    let site = Site::new(&network).await;
    let hosting = site.hosting.clone();
    away_from_the_full_hour(200 * SECOND).await;
    let began = Instant::now();
    let mut publisher = start(hosting.publisher());
    members(&publisher, POOL_LIMIT, |members| ready(members) == 3).await;
    println!(
        "pool of 2 + 1: all ready {:.1} s after the start",
        began.elapsed().as_secs_f32()
    );
    let mut reader = Reader::of(&network, site.id).await;
    reader
        .clean_after(Instant::now(), &site.points(1..=3).await, 20 * SECOND)
        .await;
    // Tor waits two minutes for a text that it can read, if nobody says otherwise.
    let clients = clients(&network, 2, &["SocksTimeout 20 seconds"]).await;

    // A serving instance is killed, again and again.
    let (mut clean, mut filled) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let points = site.points(1..=3).await;
        let holders: BTreeSet<_> = reader.holders(&points).await.into_values().flatten().collect();
        assert_eq!(holders.len(), 2, "two serve, one is a spare");
        let victim = holders.first().unwrap().clone();
        let spare = points.keys().find(|name| !holders.contains(*name)).unwrap().clone();
        let of = |members: &[PoolMember]| {
            members
                .iter()
                .find(|member| member.instance == *victim)
                .unwrap()
                .clone()
        };
        let before = of(&publisher.pool());
        let mut left = points.clone();
        left.remove(&victim);

        let at = Instant::now();
        signal(before.pid.unwrap(), "-9");
        clean.push(reader.clean_after(at, &left, 10 * SECOND).await);
        let holders: BTreeSet<_> = reader.holders(&left).await.into_values().flatten().collect();
        assert!(
            holders.contains(&spare) && holders.len() == 2,
            "{holders:?} without the spare {spare}"
        );
        let visits = async {
            renew(&clients).await;
            visit(&clients, &site.key.onion()).await
        };
        let is_filled = |members: &[PoolMember]| {
            let member = of(members);
            member.state == PlaceState::Ready && member.pid != before.pid
        };
        let refill = async {
            members(&publisher, POOL_LIMIT, is_filled).await;
            filled.push(at.elapsed());
        };
        let (visited, ()) = tokio::join!(visits, refill);
        for result in visited {
            result.unwrap();
        }
    }
    hold_times("pooled", clean);
    print_times("kill -9 of one of the pool, to a new spare that is ready", filled);

    // A hung one gives its slots away within the heartbeat, and later its place.
    let before = publisher.pool();
    signal(before[0].pid.unwrap(), "-STOP");
    members(&publisher, POOL_LIMIT, |members| {
        ready(members) == 3 && members[0].pid != before[0].pid
    })
    .await;

    // Another configuration goes round: at any time all others are ready.
    let before = pids(&publisher.pool());
    let paused = hosting.pool(2).start_pause(SECOND / 2);
    publisher.reload(hosting.publisher_of(paused)).await.unwrap();
    // A reload that concerned the instances would begin with one at once, the pause being over.
    sleep(SECOND).await;
    assert_eq!(pids(&publisher.pool()), before, "the pause concerns no instance");
    let mut other = hosting;
    other.torrc.push("ConnLimit 1001".to_owned());
    publisher.reload(other.publisher()).await.unwrap();
    members(&publisher, 2 * POOL_LIMIT, |members| {
        assert!(ready(members) >= 2, "{members:#?}");
        ready(members) == 3 && members.iter().all(|member| !before.contains(&member.pid.unwrap()))
    })
    .await;

    // A service comes and goes without touching a process, here one for authorized clients.
    let before = pids(&publisher.pool());
    let second = calm_key();
    let alice = ClientKey::new("alice".parse().unwrap(), DescriptorCookie::from([7; 16]), None);
    let cookie = ClientCookie::new(AuthorizationKind::Basic, alice.cookie().clone()).to_text();
    let keys = ClientKeys::new([alice]).unwrap();
    let service = hosted(&second, &other.port).clients(AuthorizationKind::Basic, keys);
    publisher.reload(other.publisher().service(service)).await.unwrap();
    let key = format!("hs/service/desc/id/{}", second.service_id());
    for number in 1..=3 {
        let deadline = Instant::now() + POOL_LIMIT;
        while site.ask(number, &key).await.is_none() {
            assert!(Instant::now() < deadline, "{number} does not host the second service");
            sleep(Duration::from_millis(100)).await;
        }
    }
    let line = format!("HidServAuth {} {}", second.onion(), cookie.as_str());
    let authorized = network.client(fresh("alice")).torrc(line).start().await.unwrap();
    // The directories may not have all of the plan yet.
    let deadline = Instant::now() + POOL_LIMIT;
    while let Err(error) = authorized.fetch(&second.onion(), 80).await {
        assert!(Instant::now() < deadline, "{error}");
        authorized.new_identity().await.unwrap();
    }
    clients[0].fetch(&second.onion(), 80).await.unwrap_err();
    publisher.reload(other.publisher()).await.unwrap();
    let deadline = Instant::now() + 10 * SECOND;
    while site.ask(1, "onions/detached").await.unwrap() != site.id.to_string() {
        assert!(Instant::now() < deadline, "the second service is still hosted");
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(pids(&publisher.pool()), before);

    // What Tor refuses, and what would break the pool, changes nothing.
    let bogus = other.pool(2).torrc(["Bogus 1"]);
    let error = publisher.reload(other.publisher_of(bogus)).await.unwrap_err();
    assert!(error.to_string().contains("Unknown option 'Bogus'"), "{error}");

    // A smaller pool ends the last one; none ends them all.
    publisher.reload(other.publisher_of(other.pool(1))).await.unwrap();
    members(&publisher, 10 * SECOND, |members| members.len() == 2).await;
    assert_eq!(pids(&publisher.pool()), before[..2]);
    assert!(!runs(before[2]));
    publisher.stop().await;
    assert!(!before.iter().any(|pid| runs(*pid)));
    // No key was ever written there.
    for number in 1..=3 {
        assert_no_key(&site.folder_of(number));
    }
}

fn assert_no_key(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_no_key(&path);
        } else if let Ok(content) = fs::read(&path) {
            let text = String::from_utf8_lossy(&content);
            // Tor's own keys are no service's; it is a client and has none in this form.
            assert!(!text.contains("RSA PRIVATE KEY"), "{}", path.display());
        }
    }
}

/// Publishes until it is killed.
async fn publish_until_killed(path: &Path) {
    let hosting: Hosting = toml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let (_publisher, mut reports) = hosting.publisher().start().unwrap();
    while reports.recv().await.is_some() {}
}

/// A publisher that can be killed: this program once more, for the one test that becomes one.
/// Dropping it kills it.
struct Process(Child);

impl Process {
    fn start(site: &Site, hosting: &Hosting) -> Self {
        let path = site.folder.path().join("hosting.toml");
        fs::write(&path, toml::to_string(hosting).unwrap()).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "pool::children_die_with_the_publisher_or_are_found_again"])
            .env(HOSTING, &path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Waits until all of the pool offer points, and returns their processes.
    async fn ready(&self, site: &Site, numbers: std::ops::RangeInclusive<u16>) -> Vec<u32> {
        let deadline = Instant::now() + POOL_LIMIT;
        let all = numbers.clone().count();
        while site.points(numbers.clone()).await.len() < all {
            assert!(Instant::now() < deadline, "the pool is not ready");
            sleep(Duration::from_millis(200)).await;
        }
        let mut pids = Vec::new();
        for number in numbers {
            pids.push(site.ask(number, "process/pid").await.unwrap().parse().unwrap());
        }
        pids
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn children_die_with_the_publisher_or_are_found_again() {
    if let Some(path) = std::env::var_os(HOSTING) {
        return publish_until_killed(Path::new(&path)).await;
    }
    let network = Lease::take().await;
    let site = Site::new(&network).await;
    let kept = Hosting {
        keep: true,
        ..site.hosting.clone()
    };

    // By default they end in the same moment, also those that are just being started.
    let mut publisher = Process::start(&site, &site.hosting);
    let children = publisher.ready(&site, 1..=3).await;
    let at = Instant::now();
    publisher.kill();
    wait_until(5 * SECOND, "all children are gone", || {
        !children.iter().any(|pid| runs(*pid))
    })
    .await;
    println!(
        "kill -9 of the publisher, to all of its pool gone: {} ms",
        at.elapsed().as_millis()
    );

    // A second publisher is kept from the same folder, and kept children stay.
    let mut publisher = Process::start(&site, &kept);
    let children = publisher.ready(&site, 1..=3).await;
    let error = kept.publisher().start().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("another publisher is running with this state folder"),
        "{error}"
    );
    publisher.kill();
    // Those that are not kept were gone within five seconds above, and commonly within a tenth of
    // one.
    sleep(SECOND).await;
    assert!(children.iter().all(|pid| runs(*pid)));

    // The next publisher finds them, and they are ready at once.
    let at = Instant::now();
    let adopting = start(kept.publisher());
    let found = members(&adopting, 10 * SECOND, |members| ready(members) == 3).await;
    println!(
        "start of the publisher, to its kept pool ready: {} ms",
        at.elapsed().as_millis()
    );
    assert_eq!(pids(&found), children);
    adopting.stop().await;
    assert!(children.iter().all(|pid| runs(*pid)), "a stop keeps them too");

    // One that is another process than what was written down is not adopted, nor one that hangs.
    let record = site.folder_of(1).join("child.toml");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replace("started = ", "started = 1")).unwrap();
    signal(children[1], "-STOP");
    let adopting = start(kept.publisher());
    let found = members(&adopting, POOL_LIMIT, |members| ready(members) == 3).await;
    let now = pids(&found);
    assert!(
        now[0] != children[0] && now[1] != children[1] && now[2] == children[2],
        "{now:?}, {children:?}"
    );
    assert!(!runs(children[0]) && !runs(children[1]));
    drop(adopting);

    // One that died meanwhile is started anew. Another configuration replaces the others, here one
    // that lets them die.
    signal(now[2], "-9");
    wait_until(5 * SECOND, "it is gone", || !runs(now[2])).await;
    let last = start(site.hosting.publisher());
    let found = members(&last, 2 * POOL_LIMIT, |members| {
        ready(members) == 3 && members.iter().all(|member| !now.contains(&member.pid.unwrap()))
    })
    .await;
    let children = pids(&found);
    drop(last);
    wait_until(5 * SECOND, "all children are gone", || {
        !children.iter().any(|pid| runs(*pid))
    })
    .await;
}

/// A tor that exits at once is started at a bounded rate, and what it said is shown.
#[tokio::test(flavor = "multi_thread")]
async fn no_storm_of_starts() {
    let folder = private_folder();
    let tor = folder.path().join("tor");
    let script = "#!/bin/sh\ncase $1 in\n--version) echo 'Tor version 0.4.5.9.' ;;\n--verify-config) ;;\n\
                  *) echo 'no luck today'; date +%s.%N >>\"${0%/*}/starts\"; exit 1 ;;\nesac\n";
    // Written by another process: a file that a fork of this one still holds open for writing
    // cannot be executed.
    let written = Command::new("/bin/sh")
        .args(["-c", r#"printf %s "$2" >"$1" && chmod 700 "$1""#, "sh"])
        .args([tor.as_os_str(), script.as_ref()])
        .status();
    assert!(written.unwrap().success());
    let pool = Pool::new(PoolSize::Exactly(8.try_into().unwrap()))
        .tor(&tor)
        .start_pause(SECOND / 5);
    let builder = Publisher::builder().state(folder.path().join("state")).pool(pool);
    let publisher = start(builder.service(hosted(&calm_key(), "80")));
    let starts = || fs::read_to_string(folder.path().join("starts")).unwrap_or_default();
    wait_until(60 * SECOND, "a fourth start", || starts().lines().count() >= 4).await;
    publisher.stop().await;
    let starts: Vec<f64> = starts().lines().map(|line| line.parse().unwrap()).collect();
    let pauses: Vec<f64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    println!("pauses between starts of a tor that exits at once: {pauses:.2?} s");
    // Each failure doubles the pause. A process may be late to note its start, and the next one
    // not.
    for (pause, least) in pauses.iter().zip([0.2, 0.4, 0.8]) {
        assert!(*pause > 0.5 * least, "{pauses:?}");
    }
    assert!(starts[3] - starts[0] > 1.0, "{pauses:?}");
    let output = fs::read_to_string(folder.path().join("state/pool/1/output")).unwrap();
    assert_eq!(output, "no luck today\n");
}
