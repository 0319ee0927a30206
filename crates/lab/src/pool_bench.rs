//! `cargo xtask pool-bench`: what a service on a pool delivers, by the number of its instances.

mod quota;

use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use console::style;
use futures_util::future::join_all;
use onionweave_assign::PolicyName;
use onionweave_driver::{Builder, Pool, PoolMember, PoolSize, Publisher};
use onionweave_publish::pool::PlaceState;
use onionweave_testnet::{Client, Network, Role, ServiceKey};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};

use crate::screen::{Screen, bad, good};
use crate::stage;
use quota::Quota;

/// Number of clients that load at once. Each meets an instance by chance; with these few of four go
/// without one.
const CLIENTS: usize = 16;
/// Thousandths of a core that an instance gets where that is the limit. Clients and relays need
/// many times as much, and find enough.
const THOUSANDTHS: u32 = 20;
/// Amount that an instance may carry in a second in each direction where that is the limit.
const RATE: &str = "400 KB";
/// Longest time until the streams stand. A client that waits longer, behind what an instance
/// still has to deliver to others, is left out of the round, and so many must be left.
const CONNECT: Duration = Duration::from_secs(30);
const LEAST_CLIENTS: usize = 12;
/// Number of attempts to get enough clients.
const TRIES: usize = 3;
/// Time before a measurement.
const SETTLE: Duration = Duration::from_secs(3);
const WINDOW: Duration = Duration::from_secs(8);
/// Longest time until all of a pool are ready.
const READY: Duration = Duration::from_secs(120);
/// Least time that is left of the service's period, so that its slots stay the same.
const PERIOD_LEFT: Duration = Duration::from_secs(2 * 3600);
/// Memory that each instance may fill with queued data, in bytes.
const MEMORY: u64 = 256_000_000;
/// Two instances carry so many times as much as one, at least.
const AIM: f64 = 1.7;

/// Measure what a service on a pool of one, two and more instances delivers.
///
/// Sixteen clients, each with a fresh identity and a Tor of its own, load through a private network
/// from a service whose instances the publisher runs itself; what arrives is counted. Where one Tor
/// process is the limit: each instance held to 2 % of one core by a control group (which takes
/// root), and each held to 400 KB/s by Tor's own BandwidthRate. And as it is, where the limit is
/// this machine: clients and relays run on the same cores and need many times as much as the
/// instances, so little is gained.
///
/// Takes about fifteen minutes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Number of measurements of each.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=20))]
    rounds: u16,

    /// The largest pool.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(2..=6))]
    most: u16,
}

/// Limit of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    Processor,
    Bandwidth,
    None,
}

impl Limit {
    fn name(self) -> String {
        match self {
            Self::Processor => format!("each instance has {:.1} % of a core", f64::from(THOUSANDTHS) / 10.0),
            Self::Bandwidth => format!("each instance may carry {RATE}/s"),
            Self::None => "no limit but this machine".to_owned(),
        }
    }
}

/// Throughput of a pool of some size.
struct Measured {
    limit: Limit,
    instances: u16,
    /// Bytes per second, in each round.
    rates: Vec<f64>,
    /// Cores that all instances together used, in each round.
    cores: Vec<f64>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    stage::play(story(args.rounds, args.most))
}

async fn story(rounds: u16, most: u16) -> anyhow::Result<()> {
    let screen = Screen::new();
    screen.line(&style("Onionweave: what a pool delivers").bold().to_string());
    let network = stage::start_network(&screen, Network::builder()).await?;
    let bench = Bench::new(&network, &screen).await?;
    let mut all = Vec::new();
    for limit in [Limit::Processor, Limit::Bandwidth, Limit::None] {
        screen.heading(&limit.name());
        match bench.measure(limit, most, rounds).await {
            Ok(measured) => all.extend(measured),
            // A user who may make no control groups is told so, and gets the rest.
            Err(error) if limit == Limit::Processor && error.is::<std::io::Error>() => {
                screen.event(&format!("{} left out: {error:#}", bad("✗")));
            }
            Err(error) => return Err(error),
        }
    }
    show(&screen, &all)
}

struct Bench<'a> {
    network: &'a Network,
    screen: &'a Screen,
    clients: Vec<Client>,
    key: ServiceKey,
    source: std::net::SocketAddr,
}

impl<'a> Bench<'a> {
    async fn new(network: &'a Network, screen: &'a Screen) -> anyhow::Result<Self> {
        let key = network.draw_key(PERIOD_LEFT)?;
        let wait = screen.wait("clients", "");
        let clients = stage::start_clients(network, CLIENTS, None, |ready| {
            wait.set("clients", &format!("{ready} of {CLIENTS}"));
        })
        .await?;
        Ok(Self {
            network,
            screen,
            clients,
            key,
            source: source().await?,
        })
    }

    /// Describes the publisher of a pool of so many instances.
    fn publisher(&self, limit: Limit, instances: NonZeroU16) -> anyhow::Result<Builder> {
        let mut lines = self.network.torrc_lines(Role::Instance);
        // The pool says how much memory each may use.
        lines.retain(|line| !line.starts_with("MaxMemInQueues"));
        if limit == Limit::Bandwidth {
            lines.extend([format!("BandwidthRate {RATE}"), format!("BandwidthBurst {RATE}")]);
        }
        let pool = Pool::new(PoolSize::Exactly(instances))
            .tor(self.network.tor().path())
            .torrc(lines)
            .memory(MEMORY);
        let service = stage::publishing(&self.key, PolicyName::default())?;
        let publisher = Publisher::builder().state(self.network.folder().join("state"));
        Ok(publisher
            .pool(pool)
            .service(service.port(format!("80 {}", self.source).parse()?)))
    }

    /// Measures pools of one and more instances, which grow in the running publisher.
    async fn measure(&self, limit: Limit, most: u16, rounds: u16) -> anyhow::Result<Vec<Measured>> {
        let (mut publisher, mut reports) = self.publisher(limit, NonZeroU16::MIN)?.start()?;
        tokio::spawn(async move { while reports.recv().await.is_some() {} });
        let mut all = Vec::new();
        let mut quotas = Vec::new();
        for instances in (1..=most).filter_map(NonZeroU16::new) {
            publisher.reload(self.publisher(limit, instances)?).await?;
            let instances = instances.get();
            let wait = self.screen.wait(&format!("a pool of {instances}"), "");
            let members = ready(&publisher, instances).await?;
            // The plan is proved within a second; the directories then hand out all instances.
            sleep(SETTLE).await;
            drop(wait);
            let pids: Vec<_> = members.iter().filter_map(|member| member.pid).collect();
            if limit == Limit::Processor
                && let Some(&new) = pids.last()
            {
                quotas.push(Quota::new(new, THOUSANDTHS)?);
            }
            let mut measured = Measured {
                limit,
                instances,
                rates: Vec::new(),
                cores: Vec::new(),
            };
            for round in 1..=rounds {
                let wait = self.screen.wait(&format!("{instances} instances, round {round}"), "");
                let (rate, cores) = self.round(&pids).await?;
                drop(wait);
                measured.rates.push(rate);
                measured.cores.push(cores);
            }
            self.screen.event(&format!(
                "{instances} instances: {} MB/s",
                measured
                    .rates
                    .iter()
                    .map(|rate| format!("{:.2}", rate / 1e6))
                    .collect::<Vec<_>>()
                    .join(", ")
            ));
            all.push(measured);
        }
        publisher.stop().await;
        drop(quotas);
        Ok(all)
    }

    /// A stream for each client, at the same time. An instance that carries as much as it may lets
    /// nobody in before its buffers are empty.
    async fn streams(&self) -> anyhow::Result<Vec<impl AsyncRead + Unpin + Send + use<>>> {
        let onion = self.key.onion();
        let mut standing = 0;
        for _ in 0..TRIES {
            join_all(self.clients.iter().map(Client::new_identity))
                .await
                .into_iter()
                .collect::<Result<Vec<_>, _>>()?;
            let opening = self
                .clients
                .iter()
                .map(|client| timeout(CONNECT, client.open(&onion, 80)));
            let opened = join_all(opening).await;
            let streams: Vec<_> = opened.into_iter().flatten().flatten().collect();
            standing = streams.len();
            if standing < CLIENTS {
                self.screen.event(&format!(
                    "{} of {CLIENTS} clients got no stream in time",
                    CLIENTS - standing
                ));
            }
            if standing >= LEAST_CLIENTS {
                return Ok(streams);
            }
        }
        bail!("only {standing} of {CLIENTS} clients got a stream, the last time of {TRIES}");
    }

    /// Loads with all clients at once; returns bytes per second that arrived, and the cores that
    /// the instances used.
    async fn round(&self, pids: &[u32]) -> anyhow::Result<(f64, f64)> {
        let streams = self.streams().await?;
        let arrived = Arc::new(AtomicU64::new(0));
        let mut readers = tokio::task::JoinSet::new();
        for mut stream in streams {
            let arrived = Arc::clone(&arrived);
            readers.spawn(async move {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    arrived.fetch_add(length as u64, Ordering::Relaxed);
                }
            });
        }
        sleep(SETTLE).await;
        let (bytes, cpu, start) = (arrived.load(Ordering::Relaxed), cpu_seconds(pids)?, Instant::now());
        sleep(WINDOW).await;
        let seconds = start.elapsed().as_secs_f64();
        let rate = (arrived.load(Ordering::Relaxed) - bytes) as f64 / seconds;
        Ok((rate, (cpu_seconds(pids)? - cpu) / seconds))
    }
}

/// Waits until so many instances of the pool are ready, and there are no others.
async fn ready(publisher: &Publisher, instances: u16) -> anyhow::Result<Vec<PoolMember>> {
    let deadline = Instant::now() + READY;
    loop {
        let members = publisher.pool();
        let all_ready = members.iter().all(|member| member.state == PlaceState::Ready);
        if all_ready && members.len() == usize::from(instances) {
            return Ok(members);
        }
        ensure!(Instant::now() < deadline, "the pool is not ready: {members:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// A backend that says more than anybody can hear.
async fn source() -> anyhow::Result<std::net::SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let zeros = vec![0; 64 * 1024];
                while stream.write_all(&zeros).await.is_ok() {}
            });
        }
    });
    Ok(address)
}

/// Returns the processor time of these processes, in seconds of one core (`utime` and `stime`,
/// proc(5), in hundredths).
fn cpu_seconds(pids: &[u32]) -> anyhow::Result<f64> {
    let mut ticks = 0_u64;
    for pid in pids {
        let path = format!("/proc/{pid}/stat");
        let stat = std::fs::read_to_string(Path::new(&path)).context(path)?;
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
        let used = fields.split_whitespace().skip(11).take(2);
        ticks += used.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    }
    Ok(ticks as f64 / 100.0)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = |index: usize| sorted.get(index).copied().unwrap_or_default();
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        middle(half)
    } else {
        (middle(half.saturating_sub(1)) + middle(half)) / 2.0
    }
}

fn show(screen: &Screen, all: &[Measured]) -> anyhow::Result<()> {
    screen.heading("What arrived at the clients, median of all rounds");
    let mut rows = Vec::new();
    let mut reached = true;
    let mut before: Option<(Limit, f64, f64)> = None;
    for measured in all {
        let rate = median(&measured.rates);
        let (one, last) = match before {
            Some((limit, one, last)) if limit == measured.limit => (one, Some(last)),
            _ => (rate, None),
        };
        let ratio = rate / one;
        if measured.limit != Limit::None {
            reached &= last.is_none_or(|last| rate > last);
            reached &= measured.instances != 2 || ratio >= AIM;
        }
        before = Some((measured.limit, one, rate));
        rows.push(vec![
            measured.limit.name(),
            measured.instances.to_string(),
            format!("{:.2} MB/s", rate / 1e6),
            format!("{ratio:.2} ×"),
            format!("{:.0} %", 100.0 * median(&measured.cores)),
        ]);
    }
    screen.table(
        &["limit", "instances", "arrived", "of one", "of a core, together"],
        &rows,
    );
    let verdict = if reached {
        good("✓ reached")
    } else {
        bad("✗ missed")
    };
    screen.line(&format!(
        "\nAim: where one Tor process is the limit, each instance more carries more, and two carry {AIM} times as much at least. {verdict}"
    ));
    ensure!(
        reached,
        "throughput does not grow as it should; is the machine busy with something else?"
    );
    Ok(())
}
