//! Instances of one service, and keys of services that suit a test.

use std::time::{Duration, SystemTime};

use futures_util::future::try_join_all;
use onionweave_ring::v2::{DescriptorId, Replica, ServiceId, TimePeriod};
use onionweave_ring::{Fingerprint, HashRing, UnixTime};

use crate::{Backend, Error, Instance, InstanceBuilder, Network, ServiceKey};

/// Number of keys that are drawn at most. About every second fits on a network of twelve relays.
const DRAWS: usize = 200;
/// Number of directories of a service within one time period: three for each replica.
const DIRECTORIES: usize = 6;
/// Length of a time period.
const PERIOD: Duration = Duration::from_secs(24 * 3600);

/// Instances of one service. Behind each stands a backend that answers with the instance's name.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), onionweave_testnet::Error> {
/// use std::time::Duration;
///
/// use onionweave_testnet::{Fleet, Network};
///
/// let network = Network::builder().start().await?;
/// let key = network.draw_key(Duration::from_secs(3600))?;
/// let fleet = Fleet::start(&network, key, &["a", "b"], |_, instance| instance.quiet(true)).await?;
/// for instance in &fleet.instances {
///     instance.wait_for_descriptor().await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Fleet {
    /// Key of the service, which every instance has.
    pub key: ServiceKey,
    /// Instances, in the order of their names.
    pub instances: Vec<Instance>,
    /// Backends, in the order of their instances.
    pub backends: Vec<Backend>,
}

impl Fleet {
    /// Starts an instance and a backend for each name. The function adds to the description of each
    /// instance, which it is given with the instance's place among the names.
    ///
    /// # Errors
    ///
    /// As for [`InstanceBuilder::start`] and [`Backend::start`].
    pub async fn start<'a>(
        network: &'a Network,
        key: ServiceKey,
        names: &[impl AsRef<str>],
        describe: impl Fn(usize, InstanceBuilder<'a>) -> InstanceBuilder<'a>,
    ) -> Result<Self, Error> {
        let names: Vec<_> = names.iter().map(|name| name.as_ref().to_owned()).collect();
        let backends = try_join_all(names.iter().map(|name| Backend::start(name.clone()))).await?;
        let instances = names
            .into_iter()
            .zip(&backends)
            .enumerate()
            .map(|(place, (name, backend))| {
                let instance = network.instance(name).service_key(&key).backend(backend);
                describe(place, instance).start()
            });
        let instances = try_join_all(instances).await?;
        Ok(Self {
            key,
            instances,
            backends,
        })
    }

    /// Number of requests that each backend has answered.
    pub fn requests(&self) -> Vec<u64> {
        self.backends.iter().map(Backend::requests).collect()
    }
}

impl ServiceKey {
    /// Draws a key whose time period goes on for longer than `left`.
    ///
    /// In the last hour of a period a service has twice as many directories, which a test that
    /// counts them does not expect.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] when the system has no randomness, or no period lasts so long.
    pub fn with_period_left(left: Duration) -> Result<Self, Error> {
        draw(left, |_, _| true)
    }
}

impl Network {
    /// Draws a key whose time period goes on for longer than `left`, and whose six directories are
    /// six relays.
    ///
    /// On the public network, with thousands of directories, nearly every key's are.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] when the system has no randomness, or no key fits: with fewer than six
    /// relays, or a period that lasts less than `left`.
    pub fn draw_key(&self, left: Duration) -> Result<ServiceKey, Error> {
        let relays = self.directories().iter();
        let ring = HashRing::new(relays.map(|relay| Fingerprint::from(relay.fingerprint())));
        draw(left, |service, period| {
            let mut directories = Vec::new();
            for replica in Replica::ALL {
                directories.extend(DescriptorId::of(service, period, replica).responsible(&ring));
            }
            directories.sort_unstable();
            directories.dedup();
            directories.len() == DIRECTORIES
        })
    }
}

/// Draws keys until the period of one goes on for longer than `left` and the rest `fits` too.
fn draw(left: Duration, fits: impl Fn(&ServiceId, TimePeriod) -> bool) -> Result<ServiceKey, Error> {
    let draws = if left < PERIOD { DRAWS } else { 0 };
    for _ in 0..draws {
        let key = ServiceKey::generate()?;
        let service = key.service_id().parse::<ServiceId>().map_err(|error| Error::Key {
            reason: error.to_string(),
        })?;
        let now = UnixTime::from(SystemTime::now());
        let period = TimePeriod::at(&service, now);
        if period.seconds_left(&service, now) > left.as_secs() && fits(&service, period) {
            return Ok(key);
        }
    }
    Err(Error::Key {
        reason: format!("of {DRAWS} that were drawn none fits, or no period lasts {left:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_of_drawn_keys_last() {
        let left = Duration::from_secs(20 * 3600);
        let key = ServiceKey::with_period_left(left).unwrap();
        let (service, now) = (key.service_id().parse().unwrap(), UnixTime::from(SystemTime::now()));
        // A second may have passed since it was drawn.
        assert!(TimePeriod::at(&service, now).seconds_left(&service, now) >= left.as_secs() - 60);
        let error = ServiceKey::with_period_left(Duration::from_secs(25 * 3600)).unwrap_err();
        assert!(error.to_string().contains("no period lasts 90000s"), "{error}");
    }
}
