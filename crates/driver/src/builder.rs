//! Values from which a publisher is built.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, PoolProblem, ServiceProblem};
use crate::publisher::{Publisher, Reports};

mod check;
mod instance;
mod load;
mod pool;
mod prober;
mod service;
mod tor;

pub use check::{Check, CheckProblem, HttpRequest, Probe};
pub use instance::Instance;
pub use load::{LoadGauge, LoadProblem, LoadSource};
pub use pool::{Pool, PoolSize, PortProblem, ServicePort};
pub use prober::Prober;
pub use service::Service;
pub(crate) use tor::Access;
pub use tor::Tor;

/// Heartbeats that make sense: a faster one would be noise, and clients of a hung instance wait a
/// minute or two.
const HEARTBEATS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
/// Times for audits and answers that make sense.
const AUDITS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
const ANSWERS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// Description of a publisher: its services, and what holds for all of them.
///
/// ```no_run
/// use onionweave_assign::PolicyName;
/// use onionweave_control::Endpoint;
/// use onionweave_driver::{Instance, Publisher, Service, key};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let key = key::load_service_key("/etc/onionweave/private_key".as_ref())?;
/// let (a, b): (Endpoint, Endpoint) = ("unix:/run/tor-a/control".parse()?, "192.0.2.7:9051".parse()?);
/// let service = Service::new(key, PolicyName::Mixed.policy())
///     .instance(Instance::new("a".parse()?, a))
///     .instance(Instance::new("b".parse()?, b));
/// let (publisher, mut reports) = Publisher::builder().service(service).start()?;
/// while let Some(report) = reports.recv().await {
///     println!("{}: {}", report.service, report.report);
/// }
/// publisher.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is published before `start`"]
pub struct Builder {
    pub(crate) services: Vec<Service>,
    pub(crate) pool: Option<Pool>,
    pub(crate) tor: Option<Tor>,
    pub(crate) prober: Option<Prober>,
    pub(crate) heartbeat: Duration,
    pub(crate) audit: Duration,
    pub(crate) answer: Duration,
    pub(crate) state: Option<PathBuf>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            services: Vec::new(),
            pool: None,
            tor: None,
            prober: None,
            heartbeat: Duration::from_secs(2),
            audit: Duration::from_secs(60),
            answer: Duration::from_secs(20),
            state: None,
        }
    }
}

impl Builder {
    /// A publisher without services.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a service. Each has a key of its own.
    pub fn service(mut self, service: Service) -> Self {
        self.services.push(service);
        self
    }

    /// Adds instances that the publisher runs itself. They need a [`state`](Self::state) folder.
    pub fn pool(mut self, pool: Pool) -> Self {
        self.pool = Some(pool);
        self
    }

    /// Names a Tor of the publisher's own, which then carries all uploads and audits. Without it,
    /// instances carry them.
    ///
    /// It must never be used as a client of the services: it would call a service unusable that it
    /// once failed to reach.
    pub fn tor(mut self, tor: impl Into<Tor>) -> Self {
        self.tor = Some(tor.into());
        self
    }

    /// Names the Tor that makes the requests of checks through Tor.
    pub fn prober(mut self, prober: Prober) -> Self {
        self.prober = Some(prober);
        self
    }

    /// Sets the time after which a silent instance counts as down: from 100 ms to a minute.
    /// Default: two seconds.
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// Sets the time between two readings of a directory when nothing happens: from a second to a
    /// day. Default: a minute.
    pub fn audit(mut self, audit: Duration) -> Self {
        self.audit = audit;
        self
    }

    /// Sets the longest time that an upload or a reading may take: from a second to an hour.
    /// Default: twenty seconds.
    pub fn answer(mut self, answer: Duration) -> Self {
        self.answer = answer;
        self
    }

    /// Names a folder of the publisher's own, which nobody else may read. It is created if it does
    /// not exist.
    ///
    /// It holds what a restarted publisher goes on with: the seed of each service, and the pool.
    /// Without it a restart draws new seeds, and there can be no pool.
    pub fn state(mut self, folder: impl Into<PathBuf>) -> Self {
        self.state = Some(folder.into());
        self
    }

    /// Starts publishing. Must be called within a tokio runtime with time and IO.
    ///
    /// With a pool, its tor is asked for its version first, which blocks for some hundredths of a
    /// second.
    ///
    /// # Errors
    ///
    /// As for [`check`](Self::check), or [`Error::InUse`]; then nothing was started. Instances that
    /// cannot be reached are no error: they are reported, and used when they come.
    pub fn start(self) -> Result<(Publisher, Reports), Error> {
        Publisher::start(self)
    }

    /// Looks whether the publisher could start, and starts nothing: values, password files, the
    /// state folder and the pool's tor.
    ///
    /// # Errors
    ///
    /// As for [`validate`](Self::validate); besides, for files that cannot be read, folders that
    /// others can read, and a pool whose tor cannot be used.
    pub fn check(&self) -> Result<(), Error> {
        Publisher::check(self)
    }

    /// Looks whether the values fit together, without reading any file.
    ///
    /// # Errors
    ///
    /// [`Error::NoServices`], [`Error::OutOfRange`], [`Error::Service`], [`Error::Instance`] and
    /// [`Error::Pool`].
    pub fn validate(&self) -> Result<(), Error> {
        in_range("heartbeat", self.heartbeat, HEARTBEATS)?;
        in_range("audit", self.audit, AUDITS)?;
        in_range("answer", self.answer, ANSWERS)?;
        if self.services.is_empty() {
            return Err(Error::NoServices);
        }
        let mut ids = BTreeSet::new();
        for service in &self.services {
            if !ids.insert(service.id()) {
                return Err(service.wrong(ServiceProblem::Twice));
            }
            service.validate(self)?;
        }
        self.validate_pool()
    }

    fn validate_pool(&self) -> Result<(), Error> {
        let mut hosted = self.services.iter().filter(|service| !service.ports.is_empty());
        let Some(pool) = &self.pool else {
            return hosted
                .next()
                .map_or(Ok(()), |service| Err(service.wrong(ServiceProblem::PortsWithoutPool)));
        };
        pool.validate(self.state_folder()?)?;
        if hosted.clone().next().is_none() {
            return Err(PoolProblem::NothingToHost.into());
        }
        hosted.try_for_each(Service::validate_hosted)
    }

    /// The state folder, which a pool cannot do without.
    fn state_folder(&self) -> Result<&Path, Error> {
        self.state.as_deref().ok_or_else(|| PoolProblem::NoState.into())
    }
}

fn in_range(what: &'static str, value: Duration, range: RangeInclusive<Duration>) -> Result<(), Error> {
    if range.contains(&value) {
        return Ok(());
    }
    let (least, most) = range.into_inner();
    Err(Error::OutOfRange { what, least, most })
}

#[cfg(test)]
mod tests;
