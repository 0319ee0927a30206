//! Runs the machine against real control ports.
//!
//! [`Publisher::start`] spawns a task for each service, and within it a link to each of its instances. A link connects,
//! authenticates, subscribes to events, asks for the instance's descriptor at every heartbeat, and connects anew when the
//! connection breaks. An instance without a control port has a watched file instead, and an instance may have checks beside. The
//! service's task owns the machine: whatever is told there becomes an event, whatever the machine asks for becomes a control
//! command. Nothing is decided here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use onionweave_control::Endpoint;
use onionweave_desc::v2::{Authorization, ClientKey, ClientKeys, ClientName, ServiceKey};
use onionweave_publish::{Machine, Report};
use onionweave_ring::v2::{AuthorizationKind, ClientCookie, ServiceId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::Error;
use crate::config::{Config, Instance, LoadSource, Probe, Publisher as PublisherConfig, Service};
use crate::key::{load_client_keys, load_service_key, load_service_key_with_passphrase};

use crate::check::CheckSettings;
use crate::gauge::GaugeSettings;
use crate::link::{Access, LinkName, LinkSettings};
use crate::pool::{self, Hosted, HostedServices, PoolMember, PoolSetup, RunningPool};
use crate::prober::{Prober, ProberSettings};
use crate::service::{Order, ServiceTask, Setup};
use crate::sides::SideSettings;
use crate::state::{State, check_private};
use crate::watch::{Folders, WatchSettings};

/// So many reports may wait for their reader; further ones are lost, and logged.
const REPORTS: usize = 1024;

/// What happened at one service.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServiceReport {
    /// Which service; with stealth authorization, under the address that one of its clients connects to.
    pub service: ServiceId,
    /// What happened.
    pub report: Report,
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

/// A running publisher. Dropping it stops it; what the directories hold stays there. The instances of its pool end with it, unless they are to
/// be kept.
#[derive(Debug)]
pub struct Publisher {
    services: BTreeMap<TaskName, Running>,
    pool: Option<RunningPool>,
    state: Option<State>,
    reports: mpsc::Sender<ServiceReport>,
    folders: Folders,
}

#[derive(Debug)]
struct Running {
    id: ServiceId,
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Publisher {
    /// Starts publishing. Must be called within a tokio runtime with time and IO. With a pool, its tor is asked first what it is, which
    /// blocks for some hundredths of a second.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the key and password files of the configuration, with the folder of its state or with the pool's tor; then nothing
    /// was started. Instances that cannot be reached are no error: they are reported, and used when they come.
    pub fn start(config: &Config) -> Result<(Self, Reports), Error> {
        let (reports, receiver) = mpsc::channel(REPORTS);
        let state = config.publisher.state.as_deref().map(State::open).transpose()?;
        let prepared = prepare(config, state.as_ref())?;
        let mut publisher = Self {
            services: BTreeMap::new(),
            pool: prepared.pool.map(RunningPool::start),
            state,
            reports,
            folders: Folders::default(),
        };
        for (name, service) in prepared.services {
            publisher.spawn(name, service);
        }
        Ok((publisher, Reports(receiver)))
    }

    /// Reads every file that the configuration names, and starts nothing.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub fn check(config: &Config) -> Result<(), Error> {
        config.publisher.state.as_deref().map_or(Ok(()), check_private)?;
        prepare(config, None).map(drop)
    }

    /// Takes on another configuration: services and instances come, go and change without touching the rest.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start); then nothing was changed.
    pub async fn reload(&mut self, config: &Config) -> Result<(), Error> {
        if config.publisher.state.as_deref() != self.state.as_ref().map(State::path) {
            return Err(Error::Config {
                at: None,
                what: "publisher: state cannot change while the publisher runs: start it anew".into(),
            });
        }
        let Prepared { mut services, pool } = prepare(config, self.state.as_ref())?;
        // A key file whose key changed is another service.
        self.services
            .retain(|name, running| services.get(name).is_some_and(|service| service.id() == running.id));
        for (name, running) in &self.services {
            if let Some(service) = services.remove(name) {
                // Only a task that died does not take its order, and it has said why.
                let _ = running.orders.send(Order::Reload(Box::new(service.setup))).await;
            }
        }
        for (name, service) in services {
            self.spawn(name, service);
        }
        // Last, so that nobody hands out an instance that ends.
        match (&self.pool, pool) {
            (Some(running), setup) => running.reload(setup).await,
            (None, setup) => self.pool = setup.map(RunningPool::start),
        }
        Ok(())
    }

    /// How the instances of the publisher's own pool stand; none without a pool.
    pub fn pool(&self) -> Vec<PoolMember> {
        self.pool.as_ref().map(RunningPool::members).unwrap_or_default()
    }

    /// Stops publishing: what is on its way is given the chance to arrive, nothing more is begun. The directories keep what
    /// they have. Then the instances of the pool end, unless they are to be kept.
    pub async fn stop(mut self) {
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

    fn spawn(&mut self, name: TaskName, prepared: PreparedService) {
        let (orders, receiver) = mpsc::channel(4);
        let id = prepared.id();
        let folders = self.folders.clone();
        let task = ServiceTask::new(
            prepared.machine,
            prepared.setup,
            folders,
            receiver,
            self.reports.clone(),
        );
        let task = tokio::spawn(task.run());
        self.services.insert(name, Running { id, orders, task });
    }
}

/// What has a machine of its own: a service, or with stealth authorization each of its clients.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TaskName {
    key: PathBuf,
    client: Option<ClientName>,
}

/// A configuration whose files were all read.
struct Prepared {
    services: BTreeMap<TaskName, PreparedService>,
    pool: Option<PoolSetup>,
}

/// A service whose files were all read.
struct PreparedService {
    machine: Machine,
    setup: Setup,
}

impl PreparedService {
    fn id(&self) -> ServiceId {
        self.machine.service_id()
    }
}

/// Reads every file that the configuration names, so that a mistake in one changes nothing. Without a `state`, seeds are not kept.
fn prepare(config: &Config, state: Option<&State>) -> Result<Prepared, Error> {
    let config = &pool::with_pool(config);
    let own = own_link(&config.publisher)?;
    let prober = prober(&config.publisher, own.as_ref())?;
    let keys = keys(&config.services)?;
    let unseeded = keys
        .iter()
        .filter(|(_, service)| service.seed.is_none())
        .map(|(key, _)| key.service_id());
    let seeds = state.map(|state| state.seeds(unseeded)).unwrap_or_default();
    let mut services = BTreeMap::new();
    let mut hosted = HostedServices::new();
    for (key, service) in keys {
        let id = key.service_id();
        let misread = |instance: &&Instance| instance.reads_directories() && instance.address == Some(id);
        if let Some(instance) = service.instances.iter().find(misread) {
            return Err(Error::Config {
                at: None,
                what: format!(
                    "service {}: instance \"{}\": {id} is the service's own address, where the directories hold what the publisher \
                     writes; without a control port or a file, an instance needs a key of its own",
                    service.key.display(),
                    instance.name
                ),
            });
        }
        let setup = Setup {
            links: links(service, &config.publisher, own.as_ref())?,
            sides: SideSettings::default(),
            restarts: service
                .instances
                .iter()
                .filter(|instance| !instance.restart.is_empty())
                .map(|instance| (instance.name.clone(), instance.restart.clone()))
                .collect(),
            settings: service.settings(&config.publisher),
            service: id,
        };
        let seed = service
            .seed
            .or_else(|| seeds.get(&id).copied())
            .unwrap_or_else(rand::random);
        let clients = service.client_keys.as_deref().map(load_client_keys).transpose()?;
        if !service.ports.is_empty() {
            hosted.insert(id, Hosted::new(key.clone(), &service.ports, clients.as_ref()));
        }
        for audience in audiences(service, key, clients.as_ref())? {
            let mut setup = setup.clone();
            let pass = audience.authorization.as_ref().and_then(pass);
            setup.sides = sides(service, id, prober.as_ref(), pass.as_ref(), &setup.links);
            setup.settings.authorization = audience.authorization;
            let machine = Machine::new(audience.key, service.policy.policy(), setup.settings.clone(), seed);
            let name = TaskName {
                key: service.key.clone(),
                client: audience.client,
            };
            services.insert(name, PreparedService { machine, setup });
        }
    }
    let pool = PoolSetup::new(config, hosted)?;
    Ok(Prepared { services, pool })
}

/// The key of each service, and no key twice.
fn keys(services: &[Service]) -> Result<Vec<(ServiceKey, &Service)>, Error> {
    let mut keys = Vec::new();
    let mut ids = BTreeMap::new();
    for service in services {
        let key = match &service.passphrase_file {
            Some(passphrase) => load_service_key_with_passphrase(&service.key, passphrase)?,
            None => load_service_key(&service.key)?,
        };
        if let Some(other) = ids.insert(key.service_id(), &service.key) {
            return Err(Error::Config {
                at: None,
                what: format!(
                    "{} and {} hold the key of the same service",
                    other.display(),
                    service.key.display()
                ),
            });
        }
        keys.push((key, service));
    }
    Ok(keys)
}

/// Who reads the descriptors that one machine publishes, and the key that signs them.
struct Audience {
    /// With stealth authorization: the one client that it is.
    client: Option<ClientName>,
    key: ServiceKey,
    authorization: Option<Authorization>,
}

/// The audiences of a service: everybody, the authorized clients together, or each of them alone.
fn audiences(service: &Service, key: ServiceKey, clients: Option<&ClientKeys>) -> Result<Vec<Audience>, Error> {
    let audience = |key, authorization| Audience {
        client: None,
        key,
        authorization,
    };
    let (Some(kind), Some(path), Some(clients)) = (service.authorization, &service.client_keys, clients) else {
        return Ok(vec![audience(key, None)]);
    };
    let wrong = |what: String| Error::Config {
        at: None,
        what: format!("{}: {what}", path.display()),
    };
    if clients.is_empty() {
        return Err(wrong("names no client".into()));
    }
    if kind == AuthorizationKind::Basic {
        return Ok(vec![audience(key, Some(clients.basic()))]);
    }
    let alone = |client: &ClientKey| {
        let name = client.name();
        let Some(key) = client.key().cloned() else {
            return Err(wrong(format!(
                "client {name} has no client-key, which stealth authorization needs"
            )));
        };
        let authorization = Authorization::Stealth(client.cookie().clone());
        Ok(Audience {
            client: Some(name.clone()),
            ..audience(key, Some(authorization))
        })
    };
    clients.iter().map(alone).collect()
}

/// What one of these clients shows to an instance. Of many, any will do.
fn pass(authorization: &Authorization) -> Option<ClientCookie> {
    let cookie = authorization.cookies().first()?;
    Some(ClientCookie::new(authorization.kind(), cookie.clone()))
}

fn own_link(publisher: &PublisherConfig) -> Result<Option<LinkSettings>, Error> {
    let Some(control) = &publisher.control else {
        return Ok(None);
    };
    link_settings(
        control,
        publisher.password_file.as_ref(),
        publisher.cookie_file.as_ref(),
        publisher,
    )
    .map(Some)
}

fn links(
    service: &Service,
    publisher: &PublisherConfig,
    own: Option<&LinkSettings>,
) -> Result<BTreeMap<LinkName, LinkSettings>, Error> {
    let own = own.map(|own| Ok((LinkName::Own, own.clone())));
    let instances = service.instances.iter().filter_map(|instance| {
        let settings = link_settings(
            instance.control.as_ref()?,
            instance.password_file.as_ref(),
            instance.cookie_file.as_ref(),
            publisher,
        );
        Some(settings.map(|settings| (LinkName::Instance(instance.name.clone()), settings)))
    });
    own.into_iter().chain(instances).collect()
}

fn sides(
    service: &Service,
    id: ServiceId,
    prober: Option<&Prober>,
    pass: Option<&ClientCookie>,
    links: &BTreeMap<LinkName, LinkSettings>,
) -> SideSettings {
    let mut sides = SideSettings::default();
    for instance in &service.instances {
        let name = &instance.name;
        if let Some(file) = instance.file.clone() {
            let settings = WatchSettings {
                file,
                poll: instance.poll.unwrap_or(Instance::POLL),
                address: instance.address,
            };
            sides.watches.insert(name.clone(), settings);
        }
        if let Some(check) = service.check_of(instance).cloned() {
            let through_tor = matches!(check.probe, Probe::Tor { .. });
            let settings = CheckSettings {
                check,
                service: id,
                prober: prober.filter(|_| through_tor).cloned(),
                pass: pass.filter(|_| through_tor).cloned(),
            };
            sides.checks.insert(name.clone(), settings);
        }
        if let Some(gauge) = service.load_of(instance).cloned() {
            let of_tor = gauge.source == LoadSource::Bandwidth;
            let link = links.get(&LinkName::Instance(name.clone()));
            let settings = GaugeSettings {
                weight: instance.weight,
                link: link.filter(|_| of_tor).cloned(),
                gauge,
            };
            sides.gauges.insert(name.clone(), settings);
        }
    }
    sides
}

fn prober(publisher: &PublisherConfig, own: Option<&LinkSettings>) -> Result<Option<Prober>, Error> {
    let Some(prober) = &publisher.prober else {
        return Ok(None);
    };
    let (control, access) = match (&prober.control, own) {
        (Some(control), _) => {
            let access = access(prober.password_file.as_ref(), prober.cookie_file.as_ref())?;
            (control.clone(), access)
        }
        (None, Some(own)) => (own.endpoint.clone(), own.access.clone()),
        // Refused when the configuration was read.
        (None, None) => return Ok(None),
    };
    let socks = prober.socks.clone();
    let settings = ProberSettings { socks, control, access };
    Ok(Some(Prober::new(settings)))
}

fn link_settings(
    endpoint: &Endpoint,
    password_file: Option<&PathBuf>,
    cookie_file: Option<&PathBuf>,
    publisher: &PublisherConfig,
) -> Result<LinkSettings, Error> {
    let access = access(password_file, cookie_file)?;
    Ok(LinkSettings {
        endpoint: endpoint.clone(),
        access,
        heartbeat: publisher.heartbeat,
    })
}

fn access(password_file: Option<&PathBuf>, cookie_file: Option<&PathBuf>) -> Result<Access, Error> {
    let access = match (password_file, cookie_file) {
        (Some(path), _) => Access::PasswordFile(path.clone()),
        (None, Some(path)) => Access::CookieFile(path.clone()),
        (None, None) => Access::Offered,
    };
    // Read again at every connection; a mistake shall show now.
    access.credentials()?;
    Ok(access)
}
