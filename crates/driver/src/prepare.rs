//! From the values of a builder to tasks that can be started.

use std::collections::BTreeMap;

use onionweave_desc::v2::{Authorization, ServiceKey};
use onionweave_publish::{InstanceName, Machine};
use onionweave_ring::v2::{AuthorizationKind, ClientCookie, ServiceId};

use crate::builder::{Builder, Instance, LoadSource, Probe, Service, Tor};
use crate::carrier::LinkName;
use crate::check::CheckSettings;
use crate::error::{Error, ServiceProblem};
use crate::gauge::GaugeSettings;
use crate::pool::{Hosted, HostedServices, PoolSetup, with_pool};
use crate::prober::{Prober, ProberSettings};
use crate::service::Setup;
use crate::sides::SideSettings;
use crate::state::State;
use crate::tor::TorSettings;
use crate::watch::WatchSettings;

/// A publisher all of whose files were read.
pub(super) struct Prepared {
    /// The machines under their addresses. With stealth authorization each client of a service has
    /// one.
    pub(super) services: BTreeMap<ServiceId, PreparedService>,
    pub(super) pool: Option<PoolSetup>,
}

/// A machine, and what its task is built from.
pub(super) struct PreparedService {
    pub(super) machine: Machine,
    pub(super) setup: Setup,
}

impl Prepared {
    /// Reads every file that the builder names, so that a mistake in one changes nothing. Without a
    /// `state`, seeds are not kept.
    pub(super) fn new(builder: &Builder, state: Option<&State>) -> Result<Self, Error> {
        builder.validate()?;
        builder.services.iter().try_for_each(Service::check_programs)?;
        let hosted = hosted(builder);
        let builder = &with_pool(builder);
        check_access(builder)?;
        let prober = prober(builder)?;
        let mut services = BTreeMap::new();
        for (service, seed) in builder.services.iter().zip(seeds(builder, state)) {
            for audience in audiences(service) {
                let setup = setup(service, builder, &audience, prober.as_ref())?;
                let id = audience.key.service_id();
                let machine = Machine::new(audience.key, service.policy(), setup.settings.clone(), seed);
                let prepared = PreparedService { machine, setup };
                if services.insert(id, prepared).is_some() {
                    return Err(service.wrong(ServiceProblem::Twice));
                }
            }
        }
        let pool = PoolSetup::new(builder, hosted)?;
        Ok(Self { services, pool })
    }
}

/// The services that the pool hosts.
fn hosted(builder: &Builder) -> HostedServices {
    let hosted = builder.services.iter().filter(|service| !service.ports.is_empty());
    hosted
        .map(|service| {
            let clients = service.clients.as_ref().map(|(_, clients)| clients);
            (service.id(), Hosted::new(service.key.clone(), &service.ports, clients))
        })
        .collect()
}

/// Reads what is needed to authenticate. It is read again at every connection; a mistake must show
/// now.
fn check_access(builder: &Builder) -> Result<(), Error> {
    let instances = builder.services.iter().flat_map(|service| &service.instances);
    let tors = instances.filter_map(Instance::tor).chain(&builder.tor);
    let prober = builder.prober.as_ref().and_then(|prober| prober.tor.as_ref());
    tors.chain(prober)
        .try_for_each(|tor| tor.access.credentials().map(drop))
}

/// The seed of each service: its own, the one that was kept, or one that is drawn now.
fn seeds(builder: &Builder, state: Option<&State>) -> Vec<u64> {
    let services = &builder.services;
    let unseeded = services
        .iter()
        .filter(|service| service.seed.is_none())
        .map(Service::id);
    let kept = state.map(|state| state.seeds(unseeded)).unwrap_or_default();
    let seed = |service: &Service| service.seed.or_else(|| kept.get(&service.id()).copied());
    services
        .iter()
        .map(|service| seed(service).unwrap_or_else(rand::random))
        .collect()
}

/// Readers of the descriptors that one machine publishes, and the key that signs them.
struct Audience {
    key: ServiceKey,
    authorization: Option<Authorization>,
}

impl Audience {
    /// The cookie that one of its clients shows to an instance. Of many, any will do.
    fn pass(&self) -> Option<ClientCookie> {
        let authorization = self.authorization.as_ref()?;
        let cookie = authorization.cookies().first()?;
        Some(ClientCookie::new(authorization.kind(), cookie.clone()))
    }
}

/// The audiences of a service: everybody, the authorized clients together, or each of them alone.
fn audiences(service: &Service) -> Vec<Audience> {
    match &service.clients {
        Some((AuthorizationKind::Stealth, clients)) => {
            let alone = |client: &onionweave_desc::v2::ClientKey| {
                Some(Audience {
                    // The builder sees to it that each has one.
                    key: client.key()?.clone(),
                    authorization: Some(Authorization::Stealth(client.cookie().clone())),
                })
            };
            clients.iter().filter_map(alone).collect()
        }
        clients => vec![Audience {
            key: service.key.clone(),
            authorization: clients.as_ref().map(|(_, clients)| clients.basic()),
        }],
    }
}

fn setup(service: &Service, builder: &Builder, audience: &Audience, prober: Option<&Prober>) -> Result<Setup, Error> {
    let restarts = service.instances.iter().filter(|instance| !instance.restart.is_empty());
    let mut settings = service.settings(builder)?;
    settings.authorization = audience.authorization.clone().map(Into::into);
    Ok(Setup {
        links: links(service, builder),
        sides: SideSettings {
            watches: watches(service),
            checks: checks(service, prober, audience.pass().as_ref()),
            gauges: gauges(service, builder),
        },
        restarts: restarts
            .map(|instance| (instance.name.clone(), instance.restart.clone()))
            .collect(),
        settings,
        service: service.id(),
    })
}

fn links(service: &Service, builder: &Builder) -> BTreeMap<LinkName, TorSettings> {
    let own = builder.tor.as_ref().map(|tor| (LinkName::Own, link(tor, builder)));
    let instances = service.instances.iter().filter_map(|instance| {
        let name = LinkName::Instance(instance.name.clone());
        Some((name, link(instance.tor()?, builder)))
    });
    own.into_iter().chain(instances).collect()
}

fn link(tor: &Tor, builder: &Builder) -> TorSettings {
    TorSettings {
        endpoint: tor.endpoint.clone(),
        access: tor.access.clone(),
        heartbeat: builder.heartbeat,
    }
}

fn watches(service: &Service) -> BTreeMap<InstanceName, WatchSettings> {
    let watched = service.instances.iter().filter_map(|instance| {
        let settings = WatchSettings {
            file: instance.file()?.to_owned(),
            poll: instance.poll_time(),
            address: instance.address,
        };
        Some((instance.name.clone(), settings))
    });
    watched.collect()
}

fn checks(
    service: &Service,
    prober: Option<&Prober>,
    pass: Option<&ClientCookie>,
) -> BTreeMap<InstanceName, CheckSettings> {
    let checked = service.instances.iter().filter_map(|instance| {
        let check = service.check_of(instance)?.clone();
        let through_tor = matches!(check.probe, Probe::Tor { .. });
        let settings = CheckSettings {
            check,
            service: service.id(),
            prober: prober.filter(|_| through_tor).cloned(),
            pass: pass.filter(|_| through_tor).cloned(),
        };
        Some((instance.name.clone(), settings))
    });
    checked.collect()
}

fn gauges(service: &Service, builder: &Builder) -> BTreeMap<InstanceName, GaugeSettings> {
    let measured = service.instances.iter().filter_map(|instance| {
        let gauge = service.load_of(instance)?.clone();
        let tor = instance.tor().filter(|_| gauge.source == LoadSource::Bandwidth);
        let settings = GaugeSettings {
            weight: instance.weight,
            tor: tor.map(|tor| link(tor, builder)),
            gauge,
        };
        Some((instance.name.clone(), settings))
    });
    measured.collect()
}

fn prober(builder: &Builder) -> Result<Option<Prober>, Error> {
    let Some(prober) = &builder.prober else {
        return Ok(None);
    };
    let tor = prober.tor.as_ref().or(builder.tor.as_ref());
    let tor = tor.ok_or(Error::ProberWithoutControl)?;
    Ok(Some(Prober::new(ProberSettings {
        socks: prober.socks.clone(),
        control: tor.endpoint.clone(),
        access: tor.access.clone(),
    })))
}
