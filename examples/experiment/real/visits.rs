//! What clients do, and what came of it.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use onionweave_testnet::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};

use super::service::{PORT, Service};
use super::stage::Stage;
use crate::thesis;
use crate::trace::Trace;

/// Tor takes a new identity at most this often (`MAX_SIGNEWNYM_RATE`, `core/mainloop/mainloop.c:1320`), so the clients' first visits are spread over it.
const IDENTITY_EVERY: Duration = Duration::from_secs(10);
/// How long a visit may take. Tor gives up a connection after two minutes by itself; a transfer at a cap may take its time.
const PATIENCE: Duration = Duration::from_secs(600);

/// How clients visit a service.
#[derive(Clone, Copy)]
pub(crate) struct Visiting {
    fresh: bool,
    until: Until,
}

#[derive(Clone, Copy)]
enum Until {
    /// New visits begin for so long.
    Lasting(Duration),
    /// So many visits by all clients together.
    InAll(usize),
    /// So many by each client.
    Each(usize),
}

/// One visit; times are in seconds from the beginning of all.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) at: f64,
    pub(crate) ended: f64,
    /// Which instance answered, counted from 0, if any did.
    pub(crate) instance: Option<usize>,
}

impl Visiting {
    /// Each visit is one of a client that forgot everything.
    pub(crate) const fn fresh() -> Self {
        Self {
            fresh: true,
            until: Until::Each(1),
        }
    }

    /// Clients remember the descriptor; each visit has a circuit of its own.
    pub(crate) const fn returning() -> Self {
        Self {
            fresh: false,
            until: Until::Each(1),
        }
    }

    pub(crate) const fn lasting(mut self, time: Duration) -> Self {
        self.until = Until::Lasting(time);
        self
    }

    pub(crate) const fn in_all(mut self, visits: usize) -> Self {
        self.until = Until::InAll(visits);
        self
    }

    pub(crate) const fn each(mut self, visits: usize) -> Self {
        self.until = Until::Each(visits);
        self
    }
}

impl Stage {
    /// Lets all clients visit a service, and returns the visits in the order in which they ended.
    pub(crate) async fn visit(&self, service: &Service, how: Visiting) -> Vec<Visit> {
        let clients = self.clients.len();
        let steps = match how.until {
            Until::Lasting(time) => time.as_secs() as usize,
            Until::InAll(visits) => visits,
            Until::Each(visits) => visits * clients,
        };
        let progress = self.progress(&format!("visits to {} instances", service.instances.len()), steps);
        let (began, visits, left) = (Instant::now(), RefCell::new(Vec::new()), Cell::new(steps));
        let (visits_ref, left_ref, progress_ref) = (&visits, &left, &progress);
        let visitors = self.clients.iter().enumerate().map(|(number, client)| async move {
            if how.fresh {
                sleep(IDENTITY_EVERY.mul_f64(number as f64 / clients as f64)).await;
            }
            for own in 0.. {
                let goes_on = match how.until {
                    Until::Lasting(time) => began.elapsed() < time,
                    Until::InAll(_) => left_ref.get() > 0,
                    Until::Each(most) => own < most,
                };
                if !goes_on {
                    return;
                }
                left_ref.set(left_ref.get().saturating_sub(1));
                // A client that cannot become somebody new does not visit again.
                if how.fresh && client.new_identity().await.is_err() {
                    return;
                }
                let at = began.elapsed().as_secs_f64();
                let instance = timeout(PATIENCE, fetch(client, &service.onion)).await.ok().flatten();
                let ended = began.elapsed().as_secs_f64();
                visits_ref.borrow_mut().push(Visit { at, ended, instance });
                match how.until {
                    Until::Lasting(_) => progress_ref.set(ended as u64),
                    _ => progress_ref.step(),
                }
            }
        });
        join_all(visitors).await;
        visits.into_inner()
    }

    /// The same, and an instance dies meanwhile.
    pub(crate) async fn visit_and_kill(
        &self,
        service: &Service,
        how: Visiting,
        after: Duration,
        victim: usize,
    ) -> anyhow::Result<Vec<Visit>> {
        let killing = async {
            sleep(after).await;
            service.kill([victim].into_iter())
        };
        let (visits, killed) = tokio::join!(self.visit(service, how), killing);
        killed.map(|()| visits)
    }

    /// The same, and each instance dies once, one after the other, and returns after a while.
    pub(crate) async fn visit_and_restart_each(
        &self,
        service: &Service,
        how: Visiting,
        each: Duration,
        away: Duration,
    ) -> anyhow::Result<Vec<Visit>> {
        let story = async {
            for instance in &service.instances {
                sleep(each.saturating_sub(away)).await;
                instance.kill()?;
                sleep(away).await;
                instance.restart().await?;
            }
            anyhow::Ok(())
        };
        let (visits, story) = tokio::join!(self.visit(service, how), story);
        story.map(|()| visits)
    }

    /// The instance that most clients reach at first.
    pub(crate) async fn holder_of_most(&self, service: &Service) -> anyhow::Result<usize> {
        let visits = self.visit(service, Visiting::fresh().each(2)).await;
        let count = |instance: &usize| visits.iter().filter(|visit| visit.instance == Some(*instance)).count();
        Ok((0..service.instances.len()).max_by_key(count).unwrap_or_default())
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

/// What instances sent along time, if each visit fetched 50 KiB.
pub(crate) fn trace(visits: &[Visit], instances: usize, step: Duration) -> Trace {
    let mut trace = Trace::new(step, instances);
    for visit in visits {
        trace.add(visit.ended, visit.instance, thesis::TRANSFER as f64);
    }
    trace
}

/// For how many seconds after a moment nobody was served: from a visit in vain to the next that was served, by the times at which they began.
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
