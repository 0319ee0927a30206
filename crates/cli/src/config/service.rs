//! `[[service]]`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use onionweave_assign::{Damping, PolicyName};
use onionweave_desc::v2::{ClientKeys, ServiceKey};
use onionweave_driver::key::{load_client_keys, load_service_key, load_service_key_with_passphrase};
use onionweave_driver::{self as driver, Check, LoadGauge, ServicePort};
use onionweave_publish::Stamp;
use onionweave_ring::v2::AuthorizationKind;
use serde::Deserialize;

use super::Instance;
use super::check::some_check;
use super::load::{damping, some_load};
use super::values::{authorization, path, policy, ports, some_path, stamp, yes};
use crate::Error;

/// Onion service.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Service {
    /// The file with the service's private key, as Tor writes it (`private_key`).
    #[serde(deserialize_with = "path")]
    pub key: PathBuf,
    /// The file whose first line is the passphrase of the key, if it is encrypted: PKCS#8, or
    /// PKCS#1 as OpenSSL wrote it formerly.
    #[serde(default, deserialize_with = "some_path")]
    pub passphrase_file: Option<PathBuf>,
    /// Kind of client authorization that the instances are configured for
    /// (`HiddenServiceAuthorizeClient`): `"basic"` or `"stealth"`. Default: none.
    #[serde(default, deserialize_with = "authorization")]
    pub authorization: Option<AuthorizationKind>,
    /// The file with the cookies of authorized clients, as Tor writes it (`client_keys`). All
    /// instances need the same.
    #[serde(default, deserialize_with = "some_path")]
    pub client_keys: Option<PathBuf>,
    /// Policy that gives slots to instances.
    #[serde(default, deserialize_with = "policy")]
    pub policy: PolicyName,
    /// Number of instances that serve at once; the others are spares. Default: all.
    pub serving: Option<NonZeroUsize>,
    /// Whether its instances are expected not to publish by themselves. Default: yes.
    #[serde(default = "yes")]
    pub quiet: bool,
    /// Publication time to write: `"hour"`, as Tor does, or `"second"`, which outranks loud
    /// instances.
    #[serde(default, deserialize_with = "stamp")]
    pub stamp: Stamp,
    /// Decides all that is drawn. Default: drawn at the first start, and kept in
    /// [`Publisher::state`](super::Publisher::state) if there is one.
    #[serde(default)]
    pub seed: Option<u64>,
    /// The service's ports, where the instances of the [`Pool`](super::Pool) lead them. A service
    /// without any is not hosted there.
    #[serde(default, deserialize_with = "ports")]
    pub ports: Vec<ServicePort>,
    /// Health check of the instances that have none of their own. Default: nothing.
    #[serde(default, deserialize_with = "some_check")]
    pub check: Option<Check>,
    /// Source of the loads of instances that have none of their own. Default: none; weights stay as
    /// they are configured.
    #[serde(default, deserialize_with = "some_load")]
    pub load: Option<LoadGauge>,
    /// Manner in which weights follow loads: `{ strength = 0.75, time = "5m" }` by default, see
    /// [`Damping`].
    #[serde(default, deserialize_with = "damping")]
    pub balance: Damping,
    /// The instances.
    #[serde(rename = "instance", default)]
    pub instances: Vec<Instance>,
}

impl Service {
    /// Reads its key, and the keys of its clients.
    pub(super) fn load(&self) -> Result<(ServiceKey, Option<ClientKeys>), Error> {
        let key = match &self.passphrase_file {
            Some(passphrase) => load_service_key_with_passphrase(&self.key, passphrase)?,
            None => load_service_key(&self.key)?,
        };
        let clients = self.client_keys.as_deref().map(load_client_keys).transpose()?;
        Ok((key, clients))
    }

    /// The service as the builder takes it.
    pub(super) fn described(&self, key: ServiceKey, clients: Option<ClientKeys>) -> driver::Service {
        let mut service = driver::Service::new(key, self.policy.policy())
            .quiet(self.quiet)
            .stamp(self.stamp)
            .balance(self.balance);
        if let (Some(kind), Some(clients)) = (self.authorization, clients) {
            service = service.clients(kind, clients);
        }
        if let Some(serving) = self.serving {
            service = service.serving(serving);
        }
        if let Some(seed) = self.seed {
            service = service.seed(seed);
        }
        if let Some(check) = &self.check {
            service = service.check(check.clone());
        }
        if let Some(load) = &self.load {
            service = service.load(load.clone());
        }
        service = self.ports.iter().cloned().fold(service, driver::Service::port);
        let instances = self.instances.iter().map(Instance::described);
        instances.fold(service, driver::Service::instance)
    }

    /// The rules of single keys.
    pub(super) fn check(&self) -> Result<(), String> {
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
        Ok(())
    }
}
