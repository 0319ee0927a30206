//! `[[service]]`.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use onionweave_assign::{Damping, PolicyName};
use onionweave_publish::{Settings, Stamp};
use onionweave_ring::v2::AuthorizationKind;
use serde::Deserialize;

use super::load::damping;
use super::values::{authorization, policy, stamp, yes};
use super::{Check, Instance, LoadGauge, LoadSource, Probe, Publisher, ServicePort};

/// One onion service.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Service {
    /// The file with the service's private key, as Tor writes it (`private_key`).
    pub key: PathBuf,
    /// The file whose first line is the passphrase of the key, if it is encrypted: PKCS#8, or PKCS#1 as OpenSSL wrote it formerly.
    pub passphrase_file: Option<PathBuf>,
    /// Which kind of client authorization the instances are configured for (`HiddenServiceAuthorizeClient`): `"basic"` or
    /// `"stealth"`. Default: none.
    #[serde(default, deserialize_with = "authorization")]
    pub authorization: Option<AuthorizationKind>,
    /// The file with the cookies of authorized clients, as Tor writes it (`client_keys`). All instances need the same.
    pub client_keys: Option<PathBuf>,
    /// How slots are given to instances.
    #[serde(default, deserialize_with = "policy")]
    pub policy: PolicyName,
    /// How many instances serve at once; the others are spares. Default: all.
    pub serving: Option<NonZeroUsize>,
    /// Whether its instances are expected not to publish by themselves. Default: yes.
    #[serde(default = "yes")]
    pub quiet: bool,
    /// Which publication time to write: `"hour"`, as Tor does, or `"second"`, which outranks loud instances.
    #[serde(default, deserialize_with = "stamp")]
    pub stamp: Stamp,
    /// Decides all that is drawn. Default: drawn at the first start, and kept in [`Publisher::state`] if there is one.
    #[serde(default)]
    pub seed: Option<u64>,
    /// The service's ports, where the instances of the [`Pool`](super::Pool) lead them. A service without any is not hosted there.
    #[serde(default)]
    pub ports: Vec<ServicePort>,
    /// What is checked of instances that don't say it themselves. Default: nothing.
    pub check: Option<Check>,
    /// Where the loads of instances are read that don't say it themselves. Default: nowhere; weights stay as they are configured.
    pub load: Option<LoadGauge>,
    /// How weights follow loads: `{ strength = 0.75, time = "5m" }` by default, see [`Damping`].
    #[serde(default, deserialize_with = "damping")]
    pub balance: Damping,
    /// The instances.
    #[serde(rename = "instance", default)]
    pub instances: Vec<Instance>,
}

impl Service {
    /// What the machine is told of this service.
    pub fn settings(&self, publisher: &Publisher) -> Settings {
        let instances = self.instances.iter().map(Instance::settings).collect();
        let is_measured = self.instances.iter().any(|instance| self.load_of(instance).is_some());
        let mut settings = Settings::new(instances);
        settings.serving = self.serving;
        settings.quiet = self.quiet;
        settings.stamp = self.stamp;
        settings.audit_every = publisher.audit;
        settings.answer_within = publisher.answer;
        settings.damping = is_measured.then_some(self.balance);
        settings
    }

    /// What is checked of an instance, if anything.
    pub fn check_of<'a>(&'a self, instance: &'a Instance) -> Option<&'a Check> {
        instance.check.as_ref().or(self.check.as_ref())
    }

    /// Where the load of an instance is read, if anywhere.
    pub fn load_of<'a>(&'a self, instance: &'a Instance) -> Option<&'a LoadGauge> {
        let readable = |gauge: &&LoadGauge| gauge.source != LoadSource::Bandwidth || instance.control.is_some();
        instance.load.as_ref().or(self.load.as_ref().filter(readable))
    }

    pub(super) fn check(&self, publisher: &Publisher) -> Result<(), String> {
        if self.instances.is_empty() && self.ports.is_empty() {
            return Err("has no [[service.instance]], nor ports for the instances of a [pool]".into());
        }
        match (self.authorization, &self.client_keys) {
            (Some(kind), None) => {
                return Err(format!(
                    "{kind} authorization needs client_keys, Tor's file of that name"
                ));
            }
            (None, Some(_)) => {
                return Err("client_keys needs authorization = \"basic\" or \"stealth\"".into());
            }
            _ => {}
        }
        if let Some(check) = &self.check {
            can_be_made(check, publisher)?;
        }
        let mut names = BTreeSet::new();
        let mut controls = BTreeSet::new();
        let mut files = BTreeSet::new();
        let mut addresses = BTreeSet::new();
        for instance in &self.instances {
            let name = &instance.name;
            if !names.insert(name) {
                return Err(format!("two instances are named \"{name}\""));
            }
            let wrong = |what: String| Err(format!("instance \"{name}\": {what}"));
            if let Some(control) = &instance.control
                && !controls.insert(control)
            {
                return wrong(format!("another instance has the control port {control}"));
            }
            if let Some(file) = &instance.file
                && !files.insert(file)
            {
                return wrong(format!("another instance has the file {}", file.display()));
            }
            if let Some(address) = &instance.address
                && !addresses.insert(address)
            {
                return wrong(format!("another instance has the address {address}"));
            }
            instance.check().or_else(|what| wrong(what.into()))?;
            if let Some(check) = &instance.check {
                can_be_made(check, publisher).or_else(|what| wrong(what.into()))?;
            }
        }
        if publisher.control.is_none() && controls.is_empty() && self.ports.is_empty() {
            return Err(
                "no instance has a control port, so publisher.control must name a Tor that carries uploads".into(),
            );
        }
        Ok(())
    }
}

fn can_be_made(check: &Check, publisher: &Publisher) -> Result<(), &'static str> {
    if matches!(check.probe, Probe::Tor { .. }) && publisher.prober.is_none() {
        Err("a check through Tor needs [publisher.prober]")
    } else {
        Ok(())
    }
}
