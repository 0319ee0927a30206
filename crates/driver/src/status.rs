//! A snapshot of a running publisher.

use std::collections::BTreeMap;
use std::time::Duration;

use onionweave_publish::{Down, Status};
use onionweave_ring::relays::Lifetime;
use onionweave_ring::v2::ServiceId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::pool::PoolMember;
use crate::service::Order;
use crate::tor::Tors;

/// Longest time, two seconds, that a service may take to tell how it stands. It does nothing that
/// takes longer than signing its descriptors.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// State of a publisher at one moment: all that an operator may ask. Metrics, pages and commands
/// need nothing else.
///
/// With the feature `serde` it can be serialized.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PublisherStatus {
    /// Version of this format, [`FORMAT`](Self::FORMAT). It grows when a field changes its meaning
    /// or goes; new fields do not count.
    pub format: u32,
    /// State of each service, under the address of its descriptors: with stealth authorization, one
    /// for each client.
    pub services: BTreeMap<ServiceId, Status>,
    /// State of each Tor that is followed, in order of endpoints.
    pub tors: Vec<TorStatus>,
    /// The instances of the publisher's own pool; none without a pool.
    pub pool: Vec<PoolMember>,
}

impl PublisherStatus {
    /// Version of the format that this crate writes.
    pub const FORMAT: u32 = 1;

    /// Whether every slot of every service is proved.
    pub fn is_settled(&self) -> bool {
        self.services.values().all(Status::is_settled)
    }

    /// Returns all that is wrong, in words, a line each.
    pub fn problems(&self) -> Vec<String> {
        let services = self.services.iter().flat_map(|(id, status)| {
            let problems = status.problems.iter();
            problems.map(move |problem| format!("service {id}: {problem}"))
        });
        let tors = self.tors.iter().filter_map(|tor| {
            let why = tor.down.as_ref()?;
            Some(format!("control port {}: {why}", tor.endpoint))
        });
        services.chain(tors).collect()
    }
}

/// State of one Tor.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TorStatus {
    /// Its control port: `HOST:PORT` or `unix:PATH`.
    pub endpoint: String,
    /// Version that it tells; `None` before the first connection.
    pub tor: Option<String>,
    /// Whether the connection stands.
    pub connected: bool,
    /// Reason why there is no connection; `None` while it stands, and before the first attempt
    /// ended.
    pub down: Option<Down>,
    /// Time since that last changed.
    pub since: Duration,
    /// Number of connections that have stood until now.
    pub connections: u64,
    /// Lifetime of the newest consensus that was read there, or that another Tor has as well.
    pub consensus: Option<Lifetime>,
    /// Number of consensuses whose relays were read there. What Tors have in common is read once.
    pub readings: u64,
    /// Number of services that follow it.
    pub services: usize,
}

/// Reason why there is no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError {
    /// The publisher stops, or has stopped.
    #[error("the publisher stops, or has stopped")]
    Stopped,
    /// A service does not tell how it stands.
    #[error("service {0} does not answer: its task hangs or has failed")]
    NoAnswer(ServiceId),
}

/// A view of a running publisher for others: a page, metrics, a command. Clones are cheap, and it
/// outlives the publisher.
#[derive(Clone, Debug)]
pub struct Monitor {
    view: watch::Receiver<View>,
    tors: Tors,
}

/// The parts of a publisher that can be asked.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) services: BTreeMap<ServiceId, mpsc::Sender<Order>>,
    pub(super) pool: Option<watch::Receiver<Vec<PoolMember>>>,
    pub(super) is_stopping: bool,
}

impl Monitor {
    pub(super) fn new(view: watch::Receiver<View>, tors: Tors) -> Self {
        Self { view, tors }
    }

    /// Takes a snapshot. It answers within seconds, or fails.
    ///
    /// # Errors
    /// [`StatusError::Stopped`]; [`StatusError::NoAnswer`] if a service does not tell within two
    /// seconds.
    pub async fn status(&self) -> Result<PublisherStatus, StatusError> {
        let view = self.view.borrow().clone();
        if view.is_stopping || self.view.has_changed().is_err() {
            return Err(StatusError::Stopped);
        }
        // All are asked before the first answer is waited for.
        let mut asked = Vec::new();
        for (id, orders) in &view.services {
            let (answer, answered) = oneshot::channel();
            asked.push((*id, answered));
            // A full inbox is a service that hangs, and drops `answer`.
            let _ = orders.try_send(Order::Status(answer));
        }
        let mut services = BTreeMap::new();
        let answers = async {
            for (id, answered) in asked {
                let status = answered.await.map_err(|_| id)?;
                services.insert(id, status);
            }
            Ok(())
        };
        let outcome = timeout(ANSWER_WITHIN, answers).await;
        let silent = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(id)) => Some(id),
            Err(_) => view.services.keys().find(|id| !services.contains_key(*id)).copied(),
        };
        match silent {
            Some(_) if self.view.borrow().is_stopping || self.view.has_changed().is_err() => {
                return Err(StatusError::Stopped);
            }
            Some(id) => return Err(StatusError::NoAnswer(id)),
            None => {}
        }
        Ok(PublisherStatus {
            format: PublisherStatus::FORMAT,
            services,
            tors: self.tors.statuses(),
            pool: view.pool.map(|pool| pool.borrow().clone()).unwrap_or_default(),
        })
    }
}
