//! Instances with one key, what stands behind them, and their publisher.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use onionweave_assign::PolicyName;
use onionweave_control::{Connection, Credentials, Endpoint, Event, EventKind, HsDescAction, Options};
use onionweave_driver::{Builder, Publisher};
use onionweave_publish::{Report, Round};
use onionweave_testnet::{Instance, Network, ServiceKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::experiment::thesis;
use crate::stage;

/// The port at which clients find what an instance has for them. (At the usual one, each testnet
/// instance says its name.)
pub(super) const PORT: u16 = 8080;
/// The service's time period goes on for longer than an experiment with it.
const PERIOD_LEFT: Duration = Duration::from_secs(2 * 3600);
/// Delay of the late instance after the others.
const LATER: Duration = Duration::from_secs(4);
/// Number of instances that start at once. Each is a process that asks for a consensus and makes
/// circuits, and a small machine has two cores: sixty at once would keep each other from being
/// ready in time.
const AT_ONCE: usize = 10;
/// Time that directories need for uploads of loud instances.
const UPLOADED_WITHIN: Duration = Duration::from_secs(5);
/// Longest time until the publisher has all instances on the ring.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(90);

/// Reports of a publisher, and their times.
type Reports = Arc<Mutex<Vec<(Instant, Report)>>>;

/// Plan of a service.
pub(crate) struct Plan {
    pub(super) instances: usize,
    policy: PolicyName,
    bytes: u64,
    lines: Vec<String>,
    first_is_late: bool,
}

/// A service that runs. Its processes end when it is dropped.
pub(crate) struct Service {
    pub(super) onion: String,
    pub(crate) instances: Vec<Instance>,
    /// Time at which its instances had their first descriptors, without the late one: then they
    /// publish.
    pub(crate) published: Instant,
    uploads: Arc<AtomicU64>,
    reports: Reports,
    tasks: Vec<JoinHandle<()>>,
    _publisher: Option<Publisher>,
}

impl Plan {
    /// Plans a number of instances that publish by themselves and have 50 KiB for each client.
    pub(crate) fn new(instances: usize) -> Self {
        Self {
            instances,
            policy: PolicyName::Race,
            bytes: thesis::TRANSFER,
            lines: Vec::new(),
            first_is_late: false,
        }
    }

    /// With all policies but the race, the instances are quiet, and there is a publisher.
    pub(crate) fn policy(mut self, policy: PolicyName) -> Self {
        self.policy = policy;
        self
    }

    /// Number of bytes that each visit fetches.
    pub(crate) fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// Adds a line to each instance's configuration.
    pub(crate) fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// The first instance starts a moment after the others, so that it publishes when they have.
    pub(crate) fn first_is_late(mut self) -> Self {
        self.first_is_late = true;
        self
    }

    fn is_loud(&self) -> bool {
        self.policy == PolicyName::Race
    }
}

impl Service {
    pub(super) async fn start(network: &Network, number: usize, plan: &Plan) -> anyhow::Result<Self> {
        let key = network.draw_key(PERIOD_LEFT)?;
        let mut tasks = Vec::new();
        let mut addresses = Vec::new();
        for instance in 0..plan.instances {
            let (address, server) = serve(instance, plan.bytes).await?;
            addresses.push(address);
            tasks.push(server);
        }
        let start = |instance: usize, address: SocketAddr| {
            let builder = network
                .instance(format!("s{number}i{}", instance + 1))
                .service_key(&key)
                .quiet(!plan.is_loud())
                .torrc(format!("HiddenServicePort {PORT} {address}"));
            plan.lines
                .iter()
                .fold(builder, |builder, line| builder.torrc(line))
                .start()
        };
        let late = usize::from(plan.first_is_late);
        let all = || addresses.iter().copied().enumerate();
        let early = all().skip(late).map(async |(i, address)| {
            let instance = start(i, address).await?;
            instance.wait_for_descriptor().await?;
            Ok(instance)
        });
        let early = stream::iter(early).buffered(AT_ONCE).try_collect::<Vec<_>>();
        let first = async {
            sleep(LATER).await;
            try_join_all(all().take(late).map(|(i, address)| start(i, address))).await
        };
        let (early, mut instances) = if plan.first_is_late {
            tokio::try_join!(early, first)?
        } else {
            (early.await?, Vec::new())
        };
        let published = Instant::now();
        instances.extend(early);
        let uploads = Arc::<AtomicU64>::default();
        let reports = Reports::default();
        for instance in &instances {
            tasks.push(tokio::spawn(count_uploads(instance.control(), Arc::clone(&uploads))));
        }
        try_join_all(instances.iter().map(Instance::wait_for_descriptor)).await?;
        let publisher = if plan.is_loud() {
            sleep(UPLOADED_WITHIN).await;
            None
        } else {
            let publisher = publisher(&key, plan.policy, &instances)?;
            let (publisher, rounds, listener) = publish(publisher, Arc::clone(&reports))?;
            tasks.push(listener);
            wait_for_all(rounds, plan.instances).await?;
            Some(publisher)
        };
        Ok(Self {
            onion: key.onion(),
            instances,
            published,
            uploads,
            reports,
            tasks,
            _publisher: publisher,
        })
    }

    /// Returns the stand-in of a service that could not be had.
    pub(super) fn absent() -> Self {
        Self {
            onion: String::new(),
            instances: Vec::new(),
            published: Instant::now(),
            uploads: Arc::default(),
            reports: Arc::default(),
            tasks: Vec::new(),
            _publisher: None,
        }
    }

    /// Kills some instances.
    pub(crate) fn kill(&self, which: impl Iterator<Item = usize>) -> anyhow::Result<()> {
        for instance in which.filter_map(|which| self.instances.get(which)) {
            instance.kill()?;
        }
        Ok(())
    }

    /// Returns the number of texts that the instances' Tors have uploaded until now, their own and
    /// the publisher's.
    pub(crate) fn uploads(&self) -> u64 {
        self.uploads.load(Ordering::Relaxed)
    }

    /// Returns the reports of its publisher until now, a line for each, in seconds from `began`.
    pub(super) fn reports(&self, place: usize, began: Instant) -> String {
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |(at, report): &(Instant, Report)| {
            let seconds = (*at - began).as_secs_f64() - (began - *at).as_secs_f64();
            format!("service {place}, {seconds:+.1} s: {report}\n")
        };
        reports.iter().map(line).collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Serves so many bytes to each that asks. The first bytes name the instance.
async fn serve(instance: usize, bytes: u64) -> anyhow::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let mut body = format!("HTTP/1.0 200 OK\r\nContent-Length: {bytes}\r\n\r\n{instance}\n").into_bytes();
    let head = body.len() - format!("{instance}\n").len();
    body.resize(head + bytes as usize, b'.');
    let body: Arc<[u8]> = body.into();
    let server = tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(answer(stream, Arc::clone(&body)));
                }
                // Too many open files, most likely: some will close.
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    });
    Ok((address, server))
}

async fn answer(mut stream: TcpStream, body: Arc<[u8]>) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    stream.write_all(&body).await?;
    stream.shutdown().await
}

/// Counts the uploads that a Tor begins, its own and those that it carries for a publisher; it may
/// end and come again.
async fn count_uploads(control: Endpoint, uploads: Arc<AtomicU64>) {
    loop {
        let connected = Connection::connect(&control, &Credentials::auto(), &Options::default()).await;
        if let Ok((connection, mut events)) = connected
            && connection.set_events(&[EventKind::HsDesc]).await.is_ok()
        {
            while let Some(event) = events.recv().await {
                if matches!(&event, Event::HsDesc(event) if *event.action() == HsDescAction::Upload) {
                    uploads.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// Describes the publisher of these instances.
fn publisher(key: &ServiceKey, policy: PolicyName, instances: &[Instance]) -> anyhow::Result<Builder> {
    let mut service = stage::publishing(key, policy)?;
    for instance in instances {
        service = service.instance(stage::described(instance)?);
    }
    Ok(Publisher::builder().service(service))
}

/// Starts the publisher; the newest round that was proved is there to be looked at, and everything
/// that it tells goes into `log`.
fn publish(
    publisher: Builder,
    log: Reports,
) -> anyhow::Result<(Publisher, watch::Receiver<Option<Round>>, JoinHandle<()>)> {
    let (publisher, mut reports) = publisher.start()?;
    let (sender, rounds) = watch::channel(None);
    let listener = tokio::spawn(async move {
        while let Some(report) = reports.recv().await {
            let entry = (Instant::now(), report.report.clone());
            log.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
            if let Report::Proved(round) = report.report {
                sender.send_replace(Some(round));
            }
        }
    });
    Ok((publisher, rounds, listener))
}

/// Waits until all instances stand in the texts that were proved.
async fn wait_for_all(mut rounds: watch::Receiver<Option<Round>>, instances: usize) -> anyhow::Result<()> {
    let standing = |round: &Option<Round>| {
        let Some(round) = round else { return 0 };
        let names: BTreeSet<_> = round.plan.values().flat_map(|mix| mix.keys()).collect();
        if round.missing.is_empty() { names.len() } else { 0 }
    };
    let waiting = rounds.wait_for(|round| standing(round) == instances);
    let found = timeout(PUBLISHED_WITHIN, waiting).await.map(|found| found.is_ok());
    ensure!(
        found.context("the publisher did not bring all instances onto the ring")?,
        "the publisher ended"
    );
    Ok(())
}
