//! Visits of clients, and their outcome.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::time::Duration;

use futures_util::future::join_all;
use onionweave_testnet::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::service::{PORT, Service};
use super::stage::Stage;
use crate::experiment::progress::Progress;
use crate::experiment::thesis;
use crate::experiment::trace::Trace;

/// Tor takes a new identity at most this often (`MAX_SIGNEWNYM_RATE`,
/// `core/mainloop/mainloop.c:1320`).
const IDENTITY_EVERY: Duration = Duration::from_secs(10);
/// A client that could not become somebody new so often does not visit again.
const GIVES_UP_AFTER: usize = 5;
/// Longest time that a visit may take. Tor gives up a connection after two minutes by itself; a
/// transfer at a cap may take its time.
const PATIENCE: Duration = Duration::from_secs(600);

/// Manner in which clients visit services.
#[derive(Clone, Copy)]
pub(crate) struct Visiting {
    fresh: bool,
    every: Duration,
    until: Until,
}

#[derive(Clone, Copy)]
enum Until {
    /// New visits begin for so long.
    Lasting(Duration),
    /// Number of visits by each client to each service.
    Each(usize),
}

/// A visit; times are in seconds from the beginning of all.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) at: f64,
    pub(crate) ended: f64,
    /// The instance that answered, counted from 0, if any did.
    pub(crate) instance: Option<usize>,
}

impl Visiting {
    /// Each visit is one of a client that forgot everything. Clients forget all services together,
    /// so they visit all of them with each identity.
    pub(crate) const fn fresh() -> Self {
        Self {
            fresh: true,
            every: IDENTITY_EVERY,
            until: Until::Each(1),
        }
    }

    /// Clients remember the descriptor; each visit has a circuit of its own, and they make the next
    /// at once.
    pub(crate) const fn returning() -> Self {
        Self {
            fresh: false,
            every: Duration::ZERO,
            until: Until::Each(1),
        }
    }

    /// Time from one identity of a client to the next, unless visits take longer.
    pub(crate) const fn every(mut self, time: Duration) -> Self {
        self.every = time;
        self
    }

    pub(crate) const fn lasting(mut self, time: Duration) -> Self {
        self.until = Until::Lasting(time);
        self
    }

    pub(crate) const fn each(mut self, visits: usize) -> Self {
        self.until = Until::Each(visits);
        self
    }
}

impl Stage<'_> {
    /// Sends all clients to all services, and returns the visits to each in the order in which they
    /// ended.
    pub(crate) async fn visit(&self, services: &[Service], how: Visiting) -> Vec<Vec<Visit>> {
        let clients = self.clients.len();
        let steps = match how.until {
            Until::Lasting(time) => time.as_secs() as usize,
            Until::Each(visits) => visits * clients * services.len(),
        };
        let log = Log {
            services,
            how,
            began: Instant::now(),
            progress: self.progress("visits", steps),
            visits: RefCell::new(vec![Vec::new(); services.len()]),
        };
        let log_ref = &log;
        join_all(self.clients.iter().enumerate().map(|(number, client)| async move {
            if how.fresh {
                let first = how.every.mul_f64(number as f64 / clients as f64);
                log_ref.come_anew(client, first).await;
            } else {
                join_all((0..services.len()).map(|place| log_ref.come_back(client, place))).await;
            }
        }))
        .await;
        let (began, visits) = (log.began, log.visits.into_inner());
        self.visited.set(self.visited.get() + 1);
        let name = format!("{}-visits{}", self.what, self.visited.get());
        self.run.output.keep(&name, "csv", &csv(&visits));
        let reports = services
            .iter()
            .zip(1..)
            .map(|(service, place)| service.reports(place, began));
        let name = format!("{}-publishers", self.what);
        self.run.output.keep(&name, "log", &reports.collect::<String>());
        visits
    }
}

/// Each visit, so that no picture that fails costs what was measured.
fn csv(visits: &[Vec<Visit>]) -> String {
    let mut csv = String::from("service,began,ended,instance\n");
    for (place, visits) in visits.iter().enumerate() {
        for Visit { at, ended, instance } in visits {
            let instance = instance.map_or_else(|| "none".to_owned(), |instance| (instance + 1).to_string());
            // Writing to a string does not fail.
            let _ = writeln!(csv, "{},{at:.2},{ended:.2},{instance}", place + 1);
        }
    }
    csv
}

/// Notes taken while clients visit.
struct Log<'a> {
    services: &'a [Service],
    how: Visiting,
    began: Instant,
    progress: Progress,
    visits: RefCell<Vec<Vec<Visit>>>,
}

impl Log<'_> {
    /// A client visits all services, becomes somebody new, and visits them again.
    async fn come_anew(&self, client: &Client, first: Duration) {
        let (mut made, mut failed) = (0, 0);
        while self.goes_on(made) {
            sleep_until(self.began + first + self.how.every * made as u32).await;
            if !self.goes_on(made) {
                return;
            }
            if client.new_identity().await.is_err() {
                failed += 1;
                if failed == GIVES_UP_AFTER {
                    return;
                }
                sleep(IDENTITY_EVERY).await;
                continue;
            }
            join_all((0..self.services.len()).map(|place| self.visit(client, place))).await;
            made += 1;
        }
    }

    /// A client visits a service again and again.
    async fn come_back(&self, client: &Client, place: usize) {
        let mut made = 0;
        while self.exists(place) && self.goes_on(made) {
            self.visit(client, place).await;
            made += 1;
        }
    }

    /// Not so for a service that had to be left out.
    fn exists(&self, place: usize) -> bool {
        self.services
            .get(place)
            .is_some_and(|service| !service.instances.is_empty())
    }

    fn goes_on(&self, made: usize) -> bool {
        match self.how.until {
            Until::Lasting(time) => self.began.elapsed() < time,
            Until::Each(visits) => made < visits,
        }
    }

    async fn visit(&self, client: &Client, place: usize) {
        let Some(service) = self.services.get(place).filter(|_| self.exists(place)) else {
            return;
        };
        let at = self.began.elapsed().as_secs_f64();
        let instance = timeout(PATIENCE, fetch(client, &service.onion)).await.ok().flatten();
        let ended = self.began.elapsed().as_secs_f64();
        if let Some(visits) = self.visits.borrow_mut().get_mut(place) {
            visits.push(Visit { at, ended, instance });
        }
        match self.how.until {
            Until::Lasting(_) => self.progress.set(ended as u64),
            Until::Each(_) => self.progress.step(),
        }
    }
}

/// Fetches what an instance has, and returns which it was; nothing if the transfer broke off.
async fn fetch(client: &Client, onion: &str) -> Option<usize> {
    let mut stream = client.open(onion, PORT).await.ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let body = answer.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(answer.get(..body)?).ok()?;
    let length: usize = head.split_once("Content-Length: ")?.1.lines().next()?.parse().ok()?;
    let body = answer.get(body..)?;
    let name = body.split(|&byte| byte == b'\n').next()?;
    let instance = std::str::from_utf8(name).ok()?.parse().ok()?;
    (body.len() == length).then_some(instance)
}

/// Returns the number of visits that each instance answered.
pub(crate) fn answered(visits: &[Visit], instances: usize) -> Vec<u64> {
    let count = |instance| visits.iter().filter(|visit| visit.instance == Some(instance)).count() as u64;
    (0..instances).map(count).collect()
}

/// Returns the number of visits that nobody answered.
pub(crate) fn in_vain(visits: &[Visit]) -> u64 {
    visits.iter().filter(|visit| visit.instance.is_none()).count() as u64
}

/// Returns the durations of the answered visits, in seconds, the shortest first.
pub(crate) fn waits(visits: &[Visit]) -> Vec<f64> {
    let served = visits.iter().filter(|visit| visit.instance.is_some());
    let mut waits: Vec<_> = served.map(|visit| visit.ended - visit.at).collect();
    waits.sort_by(f64::total_cmp);
    waits
}

/// Returns the bytes that instances sent along time, if each visit fetched 50 KiB.
pub(crate) fn trace(visits: &[Visit], instances: usize, step: Duration) -> Trace {
    let mut trace = Trace::new(step, instances);
    for visit in visits {
        trace.add(visit.ended, visit.instance, thesis::TRANSFER as f64);
    }
    trace
}

/// For how many seconds after a moment nobody was served: from a visit in vain to the next that was
/// served, by the times at which they began.
pub(crate) fn outage(visits: &[Visit], after: f64) -> f64 {
    let mut seen: Vec<_> = visits
        .iter()
        .filter(|visit| visit.at >= after)
        .map(|visit| (visit.at, visit.instance.is_some()))
        .collect();
    seen.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let (mut sum, mut since) = (0.0, None);
    for &(at, served) in &seen {
        if served {
            sum += since.take().map_or(0.0, |since| at - since);
        } else {
            since.get_or_insert(at);
        }
    }
    let last = visits.iter().map(|visit| visit.ended).fold(0.0, f64::max);
    sum + since.map_or(0.0, |since| last - since)
}
