//! Runs the machine against real control ports.
//!
//! [`Builder::start`] spawns a task for each service, which follows the Tors of its instances. Each
//! Tor has one task, however many services follow it ([`crate::tor`]). That task connects,
//! authenticates, asks for events, and reads the consensus. It asks for descriptors at every
//! heartbeat, and connects anew when the connection breaks. An instance without a control port has
//! a watched file instead, and an instance may have checks beside. The service's task owns the
//! machine: whatever is told there becomes an event, whatever the machine asks for becomes a
//! control command. Nothing is decided here.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use onionweave_publish::Report;
use onionweave_ring::v2::ServiceId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::builder::Builder;
use crate::error::Error;
use crate::pool::{PoolMember, RunningPool};
use crate::prepare::{Prepared, PreparedService};
use crate::service::{Order, ServiceTask};
use crate::state::{State, check_private};
use crate::status::{Monitor, PublisherStatus, StatusError, View};
use crate::tor::Tors;
use crate::watch::Folders;

/// Largest number of reports that wait for their reader; further ones are lost, and logged.
const REPORTS: usize = 1024;

/// News of one service.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServiceReport {
    /// The service; with stealth authorization, under the address that one of its clients connects
    /// to.
    pub service: ServiceId,
    /// The news.
    pub report: Report,
}

/// Part of a publisher that failed; see [`Publisher::failed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The service with this address is not published any more.
    #[error("service {0}: its task has failed, and nothing is published any more")]
    Service(ServiceId),
    /// The pool is not looked after any more.
    #[error("the pool's task has failed")]
    Pool,
    /// A Tor is not listened to any more.
    #[error("the task of a Tor's connection has failed")]
    Tor,
}

/// The reports of a running publisher.
#[derive(Debug)]
pub struct Reports(mpsc::Receiver<ServiceReport>);

impl Reports {
    /// The next report; `None` once the publisher has stopped.
    pub async fn recv(&mut self) -> Option<ServiceReport> {
        self.0.recv().await
    }
}

/// A running publisher. Dropping it stops it; what the directories hold stays there. The instances
/// of its pool end with it, unless they are to be kept.
#[derive(Debug)]
pub struct Publisher {
    services: BTreeMap<ServiceId, Running>,
    pool: Option<RunningPool>,
    state: Option<State>,
    reports: mpsc::Sender<ServiceReport>,
    tors: Tors,
    folders: Folders,
    /// Shown to monitors; it ends with this.
    view: watch::Sender<View>,
}

#[derive(Debug)]
struct Running {
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Publisher {
    /// A description of a publisher, to be filled in and started.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn start(builder: Builder) -> Result<(Self, Reports), Error> {
        let (reports, receiver) = mpsc::channel(REPORTS);
        builder.validate()?;
        let state = builder.state.as_deref().map(State::open).transpose()?;
        let prepared = Prepared::new(&builder, state.as_ref())?;
        let mut publisher = Self {
            services: BTreeMap::new(),
            pool: prepared.pool.map(RunningPool::start),
            state,
            reports,
            tors: Tors::default(),
            folders: Folders::default(),
            view: watch::Sender::default(),
        };
        for (id, service) in prepared.services {
            publisher.spawn(id, service);
        }
        publisher.show();
        Ok((publisher, Reports(receiver)))
    }

    pub(crate) fn check(builder: &Builder) -> Result<(), Error> {
        builder.state.as_deref().map_or(Ok(()), check_private)?;
        Prepared::new(builder, None).map(drop)
    }

    /// Takes on another description: services and instances come, go and change without touching
    /// the rest.
    ///
    /// The policy and the seed of a service that runs stay as they are.
    ///
    /// # Errors
    ///
    /// As for [`Builder::start`], or [`Error::StateChanged`]; then nothing was changed.
    pub async fn reload(&mut self, builder: Builder) -> Result<(), Error> {
        if builder.state.as_deref() != self.state.as_ref().map(State::path) {
            return Err(Error::StateChanged);
        }
        let Prepared { mut services, pool } = Prepared::new(&builder, self.state.as_ref())?;
        self.services.retain(|id, _| services.contains_key(id));
        for (id, running) in &self.services {
            if let Some(service) = services.remove(id) {
                // Only a task that died does not take its order, and it has said why.
                let _ = running.orders.send(Order::Reload(Box::new(service.setup))).await;
            }
        }
        for (id, service) in services {
            self.spawn(id, service);
        }
        // Last, so that nobody hands out an instance that ends.
        match (&self.pool, pool) {
            (Some(running), setup) => running.reload(setup).await,
            (None, setup) => self.pool = setup.map(RunningPool::start),
        }
        self.show();
        Ok(())
    }

    /// The instances of the publisher's own pool, as they stand; none without a pool.
    pub fn pool(&self) -> Vec<PoolMember> {
        self.pool.as_ref().map(RunningPool::members).unwrap_or_default()
    }

    /// Takes a snapshot of all that an operator may ask. It answers within seconds, or fails.
    ///
    /// # Errors
    /// Those of [`Monitor::status`].
    ///
    /// ```
    /// use onionweave_assign::Mixed;
    /// use onionweave_control::Endpoint;
    /// use onionweave_driver::{Instance, Publisher, Service};
    /// # use onionweave_desc::v2::ServiceKey;
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let key = ServiceKey::from_pem(include_str!("../testdata/private_key"))?;
    /// let tor: Endpoint = "127.0.0.1:1".parse()?;
    /// let service = Service::new(key, Box::new(Mixed::default())).instance(Instance::new("a".parse()?, tor));
    /// let (publisher, _reports) = Publisher::builder().service(service).start()?;
    ///
    /// let status = publisher.status().await?;
    /// assert!(!status.is_settled());
    /// for problem in status.problems() {
    ///     println!("{problem}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn status(&self) -> Result<PublisherStatus, StatusError> {
        self.monitor().status().await
    }

    /// Returns a view for others that want to take snapshots: a page, metrics, a command.
    pub fn monitor(&self) -> Monitor {
        Monitor::new(self.view.subscribe(), self.tors.clone())
    }

    /// Waits until a part of the publisher fails, which is a mistake of this program: a task
    /// panicked, and has said why on standard error. What the part did is not done any more, so the
    /// program should end and be started anew.
    ///
    /// Dropping the future loses nothing.
    pub async fn failed(&mut self) -> Failure {
        let task = poll_fn(|context| {
            for (id, running) in &mut self.services {
                if Pin::new(&mut running.task).poll(context).is_ready() {
                    return Poll::Ready(Failure::Service(*id));
                }
            }
            match &mut self.pool {
                Some(pool) => pool.poll_ended(context).map(|()| Failure::Pool),
                None => Poll::Pending,
            }
        });
        tokio::select! {
            failure = task => failure,
            () = self.tors.failed() => Failure::Tor,
        }
    }

    /// Stops publishing: what is on its way is given the chance to arrive, nothing more is begun.
    /// The directories keep what they have. Then the instances of the pool end, unless they are to
    /// be kept.
    pub async fn stop(mut self) {
        self.view.send_replace(View {
            is_stopping: true,
            ..View::default()
        });
        for running in std::mem::take(&mut self.services).into_values() {
            let (done, stopped) = oneshot::channel();
            if running.orders.send(Order::Stop(done)).await.is_ok() {
                // The task drops `done` unsent if it ends first: stopped as well.
                let _ = stopped.await;
            }
        }
        if let Some(pool) = self.pool.take() {
            pool.stop().await;
        }
    }

    /// Shows monitors the parts that there are now.
    fn show(&self) {
        let services = self.services.iter();
        self.view.send_replace(View {
            services: services.map(|(id, running)| (*id, running.orders.clone())).collect(),
            pool: self.pool.as_ref().map(RunningPool::watch),
            is_stopping: false,
        });
    }

    fn spawn(&mut self, id: ServiceId, prepared: PreparedService) {
        let (orders, receiver) = mpsc::channel(4);
        let folders = self.folders.clone();
        let PreparedService { machine, setup } = prepared;
        let tors = self.tors.clone();
        let task = ServiceTask::new(machine, id, setup, tors, folders, receiver, self.reports.clone());
        let task = tokio::spawn(task.run());
        self.services.insert(id, Running { orders, task });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use onionweave_assign::PolicyName;
    use onionweave_control::Endpoint;
    use onionweave_desc::v2::ServiceKey;
    use tokio::time::timeout;

    use super::*;
    use crate::builder::{Instance, Service};

    fn builder() -> Builder {
        let key = ServiceKey::from_pem(include_str!("../testdata/private_key")).unwrap();
        let tor: Endpoint = "unix:/nonexistent/control".parse().unwrap();
        Publisher::builder()
            .service(Service::new(key, PolicyName::Mixed.policy()).instance(Instance::new("a".parse().unwrap(), tor)))
    }

    #[tokio::test]
    async fn service_that_panics_is_told() {
        let (mut publisher, _reports) = builder().start().unwrap();
        let short = Duration::from_millis(100);
        assert!(timeout(short, publisher.failed()).await.is_err(), "all is well");
        let id = *publisher.services.keys().next().unwrap();
        let running = publisher.services.get_mut(&id).unwrap();
        running.task.abort();
        running.task = tokio::spawn(async {
            let mut links = tokio::task::JoinSet::new();
            links.spawn(async { panic!("a link panics, as this test wants") });
            while let Some(ended) = links.join_next().await {
                crate::panics::spread_panic(ended);
            }
            std::future::pending().await
        });
        assert_eq!(publisher.failed().await, Failure::Service(id));
    }
}
