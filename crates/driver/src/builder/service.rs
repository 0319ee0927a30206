//! An onion service.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use onionweave_assign::{self as assign, Damping};
use onionweave_control::Endpoint;
use onionweave_desc::v2::{ClientKeys, ServiceKey};
use onionweave_publish::{InstanceName, NamedTwice, Policy, Settings, SlotId, Stamp};
use onionweave_ring::v2::{AuthorizationKind, ServiceId};

use super::{Builder, Check, Instance, LoadGauge, LoadSource, Probe, ServicePort};
use crate::error::{Error, InstanceProblem, ServiceProblem};
use crate::program::is_there;

/// Onion service that is spread over its instances.
///
/// ```
/// use onionweave_assign::Mixed;
/// use onionweave_control::Endpoint;
/// use onionweave_desc::v2::ServiceKey;
/// use onionweave_driver::{Check, Instance, Service};
///
/// # let pem = include_str!("../../testdata/private_key");
/// let key = ServiceKey::from_pem(pem)?;
/// let tor: Endpoint = "unix:/run/tor-a/control".parse()?;
/// let service = Service::new(key, Box::new(Mixed::default()))
///     .check(Check::http("http://127.0.0.1:8080/healthz")?)
///     .instance(Instance::new("a".parse()?, tor));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Service {
    pub(crate) key: ServiceKey,
    policy: SharedPolicy,
    pub(crate) clients: Option<(AuthorizationKind, ClientKeys)>,
    pub(crate) serving: Option<NonZeroUsize>,
    quiet: bool,
    stamp: Stamp,
    pub(crate) seed: Option<u64>,
    pub(crate) ports: Vec<ServicePort>,
    check: Option<Check>,
    load: Option<LoadGauge>,
    balance: Damping,
    pub(crate) instances: Vec<Instance>,
}

impl Service {
    /// The service with this key. `policy` gives its slots to instances: one of [`assign`]'s, or
    /// one of the caller's own.
    ///
    /// The policy of a service that runs already does not change with a reload.
    pub fn new(key: ServiceKey, policy: Policy) -> Self {
        Self {
            key,
            policy: SharedPolicy(policy.into()),
            clients: None,
            serving: None,
            quiet: true,
            stamp: Stamp::Hour,
            seed: None,
            ports: Vec::new(),
            check: None,
            load: None,
            balance: Damping::default(),
            instances: Vec::new(),
        }
    }

    /// Adds an instance.
    pub fn instance(mut self, instance: Instance) -> Self {
        self.instances.push(instance);
        self
    }

    /// Names the authorized clients. The instances need the same `client_keys`, and
    /// `HiddenServiceAuthorizeClient`.
    pub fn clients(mut self, kind: AuthorizationKind, clients: ClientKeys) -> Self {
        self.clients = Some((kind, clients));
        self
    }

    /// Sets the number of instances that serve at once. The others are spares. Default: all serve.
    pub fn serving(mut self, serving: NonZeroUsize) -> Self {
        self.serving = Some(serving);
        self
    }

    /// Says whether the instances are expected not to publish by themselves
    /// (`PublishHidServDescriptors 0`). Default: yes.
    pub fn quiet(mut self, quiet: bool) -> Self {
        self.quiet = quiet;
        self
    }

    /// Chooses the publication time of descriptors: the hour, as Tor writes it, or the second,
    /// which outranks loud instances.
    pub fn stamp(mut self, stamp: Stamp) -> Self {
        self.stamp = stamp;
        self
    }

    /// Fixes the seed that decides all that is drawn. Default: drawn at the first start, and kept
    /// in the state folder.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Adds a port for the instances of the pool. The pool hosts no service without ports.
    pub fn port(mut self, port: ServicePort) -> Self {
        self.ports.push(port);
        self
    }

    /// Sets the check of all instances that have none of their own. Default: none.
    pub fn check(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    /// Sets the gauge of load of all instances that have none of their own. Default: none, and
    /// weights stay as configured.
    pub fn load(mut self, load: LoadGauge) -> Self {
        self.load = Some(load);
        self
    }

    /// Sets how weights follow loads, see [`Damping`].
    pub fn balance(mut self, balance: Damping) -> Self {
        self.balance = balance;
        self
    }

    /// The address of the service.
    pub fn id(&self) -> ServiceId {
        self.key.service_id()
    }

    /// The policy, for one more machine.
    pub(crate) fn policy(&self) -> Policy {
        Box::new(self.policy.clone())
    }

    /// The settings of the machine.
    pub(crate) fn settings(&self, publisher: &Builder) -> Result<Settings, Error> {
        let instances = self.instances.iter().map(Instance::settings).collect();
        let is_measured = self.instances.iter().any(|instance| self.load_of(instance).is_some());
        let twice = |NamedTwice { name, .. }| self.wrong_at(&name, InstanceProblem::Twice);
        let mut settings = Settings::new(instances).map_err(twice)?;
        settings.serving = self.serving;
        settings.quiet = self.quiet;
        settings.stamp = self.stamp;
        settings.audit_every = publisher.audit;
        settings.answer_within = publisher.answer;
        settings.damping = is_measured.then_some(self.balance);
        Ok(settings)
    }

    /// The check of an instance, if it has one.
    pub(crate) fn check_of<'a>(&'a self, instance: &'a Instance) -> Option<&'a Check> {
        instance.check.as_ref().or(self.check.as_ref())
    }

    /// The gauge of an instance's load, if it has one.
    pub(crate) fn load_of<'a>(&'a self, instance: &'a Instance) -> Option<&'a LoadGauge> {
        let readable = |gauge: &&LoadGauge| gauge.source != LoadSource::Bandwidth || instance.tor().is_some();
        instance.load.as_ref().or(self.load.as_ref().filter(readable))
    }

    pub(crate) fn wrong(&self, problem: ServiceProblem) -> Error {
        Error::Service {
            service: self.id(),
            problem,
        }
    }

    fn wrong_at(&self, instance: &InstanceName, problem: InstanceProblem) -> Error {
        Error::Instance {
            service: self.id(),
            instance: instance.clone(),
            problem,
        }
    }

    pub(super) fn validate(&self, publisher: &Builder) -> Result<(), Error> {
        if self.instances.is_empty() && self.ports.is_empty() {
            return Err(self.wrong(ServiceProblem::NoInstances));
        }
        if let Some((kind, clients)) = &self.clients {
            if clients.is_empty() {
                return Err(self.wrong(ServiceProblem::NoClients));
            }
            let keyless = clients.iter().find(|client| client.key().is_none());
            if let (AuthorizationKind::Stealth, Some(client)) = (kind, keyless) {
                return Err(self.wrong(ServiceProblem::ClientWithoutKey(client.name().clone())));
            }
        }
        if let Some(port) = self.ports.iter().find_map(|port| port.validate().err()) {
            return Err(self.wrong(ServiceProblem::Port(port)));
        }
        if let Some(check) = &self.check {
            validate_check(check, publisher).map_err(|problem| self.wrong(ServiceProblem::Check(problem)))?;
        }
        if let Some(load) = &self.load {
            load.validate()
                .map_err(|problem| self.wrong(ServiceProblem::Load(problem)))?;
        }
        self.validate_instances(publisher)?;
        let carried = self.instances.iter().any(|instance| instance.tor().is_some()) || !self.ports.is_empty();
        if publisher.tor.is_none() && !carried {
            return Err(self.wrong(ServiceProblem::NoCarrier));
        }
        Ok(())
    }

    fn validate_instances(&self, publisher: &Builder) -> Result<(), Error> {
        let mut names = BTreeSet::new();
        let mut endpoints = BTreeSet::new();
        let mut files = BTreeSet::new();
        let mut addresses = BTreeSet::new();
        for instance in &self.instances {
            let wrong = |problem| self.wrong_at(&instance.name, problem);
            if !names.insert(&instance.name) {
                return Err(wrong(InstanceProblem::Twice));
            }
            if let Some(tor) = instance.tor()
                && !endpoints.insert(one_name(&tor.endpoint))
            {
                return Err(wrong(InstanceProblem::SameControl(tor.endpoint.to_string())));
            }
            if let Some(file) = instance.file()
                && !files.insert(file)
            {
                return Err(wrong(InstanceProblem::SameFile(file.into())));
            }
            if let Some(address) = instance.address
                && !addresses.insert(address)
            {
                return Err(wrong(InstanceProblem::SameAddress(address)));
            }
            if instance.reads_directories() && instance.address == Some(self.id()) {
                return Err(wrong(InstanceProblem::OwnAddress(self.id())));
            }
            instance.validate().map_err(wrong)?;
            if let Some(check) = &instance.check {
                validate_check(check, publisher).map_err(|problem| wrong(InstanceProblem::Check(problem)))?;
            }
        }
        Ok(())
    }

    /// Looks whether the programs that it names are there.
    pub(crate) fn check_programs(&self) -> Result<(), Error> {
        for instance in &self.instances {
            let program = instance.restart.first().map(Path::new);
            if let Some(missing) = program.filter(|program| !is_there(program)) {
                return Err(self.wrong_at(&instance.name, InstanceProblem::NoRestartProgram(missing.into())));
            }
        }
        Ok(())
    }

    /// The rules for a service that the pool hosts.
    pub(super) fn validate_hosted(&self) -> Result<(), Error> {
        if let Some((AuthorizationKind::Stealth, _)) = &self.clients {
            return Err(self.wrong(ServiceProblem::StealthInPool));
        }
        let reserved = |instance: &&Instance| instance.name.as_str().starts_with("pool-");
        let reserved = self.instances.iter().find(reserved);
        reserved.map_or(Ok(()), |instance| {
            Err(self.wrong_at(&instance.name, InstanceProblem::ReservedName))
        })
    }
}

/// The name of a Tor on this host, however its port is written.
fn one_name(endpoint: &Endpoint) -> String {
    let text = endpoint.to_string();
    let loopback = |(host, port): (&str, &str)| {
        let names = ["localhost", "127.0.0.1", "[::1]"];
        names
            .iter()
            .any(|name| host.eq_ignore_ascii_case(name))
            .then(|| format!("localhost:{port}"))
    };
    match endpoint {
        Endpoint::Tcp(_) => text.rsplit_once(':').and_then(loopback).unwrap_or(text),
        _ => text,
    }
}

fn validate_check(check: &Check, publisher: &Builder) -> Result<(), super::CheckProblem> {
    check.validate()?;
    if matches!(check.probe, Probe::Tor { .. }) && publisher.prober.is_none() {
        return Err(super::CheckProblem::NoProber);
    }
    Ok(())
}

/// A policy of which several machines have a share: with stealth authorization each client has a
/// machine.
#[derive(Clone, Debug)]
struct SharedPolicy(Arc<dyn assign::Policy<InstanceName, SlotId>>);

impl assign::Policy<InstanceName, SlotId> for SharedPolicy {
    fn plan(
        &self,
        instances: &[assign::Instance<InstanceName>],
        slots: &[assign::Slot<SlotId>],
        previous: Option<&assign::Plan<InstanceName, SlotId>>,
        round: assign::Round,
    ) -> Result<assign::Plan<InstanceName, SlotId>, assign::Error> {
        self.0.plan(instances, slots, previous, round)
    }

    fn name(&self) -> &str {
        self.0.name()
    }
}
