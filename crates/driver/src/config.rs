//! The publisher's configuration file.
//!
//! Reading it is pure: text in, [`Config`] or an [`Error`] that names the place out. Relative paths are taken from the folder
//! that the file is in.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use onionweave_control::Endpoint;
use onionweave_ring::v2::AuthorizationKind;
use serde::Deserialize;

use crate::Error;

mod check;
mod instance;
mod load;
mod pool;
mod prober;
mod service;
#[cfg(test)]
mod tests;
mod values;

pub use check::{Check, HttpRequest, Probe};
pub use instance::Instance;
pub use load::{LoadGauge, LoadSource};
pub use pool::{Pool, PoolSize, ServicePort};
pub use prober::Prober;
pub use service::Service;
use values::{duration, from_folder, some_endpoint};

/// A heartbeat faster than this would be noise.
const FASTEST_HEARTBEAT: Duration = Duration::from_millis(100);
/// A heartbeat slower than this would not be one: clients of a hung instance wait a minute or two.
const SLOWEST_HEARTBEAT: Duration = Duration::from_secs(60);

/// The publisher's configuration.
///
/// ```
/// use onionweave_driver::config::Config;
///
/// let config = Config::parse(
///     r#"
///     [publisher]
///     heartbeat = "2s"
///
///     [[service]]
///     key = "private_key"
///
///     [[service.instance]]
///     name = "a"
///     control = "unix:/run/tor-a/control"
///
///     [[service.instance]]
///     name = "b"
///     control = "192.0.2.7:9051"
///     password_file = "b.password"
///     "#,
///     "/etc/onionweave".as_ref(),
/// )?;
/// assert_eq!(config.services[0].key.to_str(), Some("/etc/onionweave/private_key"));
/// assert_eq!(config.services[0].instances.len(), 2);
/// # Ok::<(), onionweave_driver::Error>(())
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// What holds for all services.
    #[serde(default)]
    pub publisher: Publisher,
    /// Instances that the publisher runs itself. Default: none.
    pub pool: Option<Pool>,
    /// The services, each with a key of its own.
    #[serde(rename = "service", default)]
    pub services: Vec<Service>,
}

/// What holds for all services.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Publisher {
    /// A Tor of the publisher's own, which then carries all uploads and audits. Without it, instances do.
    ///
    /// It must never be used as a client of the services: what it fails to reach it would then call unusable.
    #[serde(deserialize_with = "some_endpoint")]
    pub control: Option<Endpoint>,
    /// The password file of that Tor.
    pub password_file: Option<PathBuf>,
    /// The cookie file of that Tor, if Tor's own word on it does not hold here (another host, a container).
    pub cookie_file: Option<PathBuf>,
    /// The Tor that makes the requests of checks through Tor.
    pub prober: Option<Prober>,
    /// An instance that does not answer for so long is down. Default: two seconds.
    #[serde(deserialize_with = "duration")]
    pub heartbeat: Duration,
    /// How often each directory is read back when nothing happens. Default: a minute.
    #[serde(deserialize_with = "duration")]
    pub audit: Duration,
    /// How long an upload or a reading may take. Default: twenty seconds.
    #[serde(deserialize_with = "duration")]
    pub answer: Duration,
    /// A folder of the publisher's own, which nobody else may read. It is created if there is none, and holds what a restarted publisher
    /// goes on with: each service's seed, and the pool. Without it a restart draws seeds anew, and there can be no pool.
    pub state: Option<PathBuf>,
}

impl Default for Publisher {
    fn default() -> Self {
        Self {
            control: None,
            password_file: None,
            cookie_file: None,
            prober: None,
            heartbeat: Duration::from_secs(2),
            audit: Duration::from_secs(60),
            answer: Duration::from_secs(20),
            state: None,
        }
    }
}

impl Config {
    /// Reads a configuration whose relative paths start at `folder`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with line and column where the text is not TOML, has an unknown key or a value of the wrong form;
    /// with the name of the service or instance where values don't fit together.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, Error> {
        let mut config: Self = toml::from_str(text).map_err(|error| config_error(text, &error))?;
        config.check()?;
        config.resolve(folder)?;
        config.check_pool()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::Config { at: None, what });
        let publisher = &self.publisher;
        if !(FASTEST_HEARTBEAT..=SLOWEST_HEARTBEAT).contains(&publisher.heartbeat) {
            return wrong("publisher: heartbeat must lie between 100ms and 60s".into());
        }
        if publisher.audit < Duration::from_secs(1) || publisher.answer < Duration::from_secs(1) {
            return wrong("publisher: audit and answer must be one second or more".into());
        }
        if publisher.password_file.is_some() && publisher.cookie_file.is_some() {
            return wrong("publisher: password_file and cookie_file exclude each other".into());
        }
        if let Some(prober) = &publisher.prober {
            prober
                .check(publisher)
                .or_else(|what| wrong(format!("publisher.prober: {what}")))?;
        }
        if self.services.is_empty() {
            return wrong("there is no [[service]]".into());
        }
        let mut keys = BTreeSet::new();
        for service in &self.services {
            let key = service.key.display();
            if !keys.insert(&service.key) {
                return wrong(format!("service {key}: stands twice"));
            }
            service
                .check(publisher)
                .or_else(|what| wrong(format!("service {key}: {what}")))?;
        }
        Ok(())
    }

    /// What `[pool]` and the rest must have in common; paths are absolute by now.
    fn check_pool(&self) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::Config { at: None, what });
        let Some(pool) = &self.pool else {
            return match self.services.iter().find(|service| !service.ports.is_empty()) {
                Some(service) => wrong(format!(
                    "service {}: ports are for the instances of a [pool], and there is none",
                    service.key.display()
                )),
                None => Ok(()),
            };
        };
        let Some(state) = &self.publisher.state else {
            return wrong("pool: needs publisher.state, a folder of the publisher's own".into());
        };
        pool.check(state).or_else(wrong)?;
        if self.services.iter().all(|service| service.ports.is_empty()) {
            return wrong("pool: no [[service]] has ports, so there is nothing to host".into());
        }
        for service in self.services.iter().filter(|service| !service.ports.is_empty()) {
            let key = service.key.display();
            if service.authorization == Some(AuthorizationKind::Stealth) {
                return wrong(format!(
                    "service {key}: a pool cannot host a service with stealth authorization (ADD_ONION knows only basic): leave out \
                     ports, and give it instances of its own"
                ));
            }
            let reserved = |instance: &&Instance| instance.name.starts_with("pool-");
            if let Some(instance) = service.instances.iter().find(reserved) {
                return wrong(format!(
                    "service {key}: instance \"{}\": names that begin with pool- are those of the pool's instances",
                    instance.name
                ));
            }
        }
        Ok(())
    }

    fn resolve(&mut self, folder: &Path) -> Result<(), Error> {
        let from = |path: &mut PathBuf| *path = folder.join(&*path);
        let socket = |endpoint: &mut Endpoint| from_folder(folder, endpoint);
        let publisher = &mut self.publisher;
        publisher.password_file.as_mut().map(from);
        publisher.cookie_file.as_mut().map(from);
        publisher.control.as_mut().map(socket);
        publisher.state.as_mut().map(from);
        if let Some(pool) = &mut self.pool {
            pool.resolve(folder);
        }
        if let Some(prober) = &mut publisher.prober {
            socket(&mut prober.socks);
            prober.control.as_mut().map(socket);
            prober.password_file.as_mut().map(from);
            prober.cookie_file.as_mut().map(from);
        }
        for service in &mut self.services {
            from(&mut service.key);
            service.passphrase_file.as_mut().map(from);
            service.client_keys.as_mut().map(from);
            for instance in &mut service.instances {
                instance.password_file.as_mut().map(from);
                instance.cookie_file.as_mut().map(from);
                instance.control.as_mut().map(socket);
                instance.file.as_mut().map(from);
                if let Some(check) = &mut instance.check {
                    check.resolve(folder);
                }
            }
            if let Some(check) = &mut service.check {
                check.resolve(folder);
            }
            for port in &mut service.ports {
                port.resolve(folder).map_err(|what| Error::Config {
                    at: None,
                    what: format!("service {}: {what}", service.key.display()),
                })?;
            }
        }
        Ok(())
    }
}

/// toml's errors span several lines; ours are one line with the place in front.
fn config_error(text: &str, error: &toml::de::Error) -> Error {
    let at = error.span().map(|span| {
        let before = text.as_bytes().get(..span.start).unwrap_or_default();
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|&&byte| byte != b'\n').count() + 1;
        (line, column)
    });
    let what = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
    Error::Config { at, what }
}
