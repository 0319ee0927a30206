//! The publisher's configuration file.
//!
//! Reading it is pure: text in, [`Config`] or an [`Error`] that names the place out. Relative paths are taken from the folder
//! that the file is in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use onionweave_control::Endpoint;
use onionweave_desc::v2::{ClientKeys, ServiceKey};
use onionweave_driver::{self as driver, Builder, Check, Probe};
use onionweave_ring::v2::ServiceId;
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

pub use instance::Instance;
pub use pool::Pool;
pub use prober::Prober;
pub use service::Service;
use values::{duration, from_folder, some_endpoint, tor};

/// The publisher's configuration.
///
/// ```
/// use onionweave_cli::config::Config;
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
/// # Ok::<(), onionweave_cli::Error>(())
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
        config.resolve(folder);
        Ok(config)
    }

    /// The publisher that the configuration describes: reads the keys, and looks whether all values fit together.
    ///
    /// # Errors
    ///
    /// [`Error::Publisher`] for a key file that cannot be used, [`Error::Config`] with the name of the service or instance
    /// where values don't fit together.
    pub fn builder(&self) -> Result<Builder, Error> {
        self.assemble(Service::load)
    }

    /// The same, with keys from anywhere.
    pub(crate) fn assemble(
        &self,
        load: impl Fn(&Service) -> Result<(ServiceKey, Option<ClientKeys>), Error>,
    ) -> Result<Builder, Error> {
        let publisher = &self.publisher;
        let mut builder = Builder::new()
            .heartbeat(publisher.heartbeat)
            .audit(publisher.audit)
            .answer(publisher.answer);
        if let Some(state) = &publisher.state {
            builder = builder.state(state);
        }
        if let Some(control) = &publisher.control {
            builder = builder.tor(tor(control, &publisher.password_file, &publisher.cookie_file));
        }
        if let Some(prober) = &publisher.prober {
            builder = builder.prober(prober.described());
        }
        if let Some(pool) = &self.pool {
            builder = builder.pool(pool.described());
        }
        let mut keys = BTreeMap::new();
        for service in &self.services {
            let (key, clients) = load(service)?;
            let described = service.described(key, clients);
            if let Some(other) = keys.insert(described.id(), &service.key) {
                return Err(wrong(format!(
                    "{} and {} hold the key of the same service",
                    other.display(),
                    service.key.display()
                )));
            }
            builder = builder.service(described);
        }
        // The builder names a service by its address, the configuration by the file of its key.
        let name = |id: &ServiceId| keys.get(id).map(|key| key.display().to_string()).unwrap_or_default();
        builder.validate().map_err(|error| match error {
            driver::Error::NoServices => wrong("there is no [[service]]".into()),
            driver::Error::OutOfRange { .. } => wrong(format!("publisher: {error}")),
            driver::Error::ProberWithoutControl => {
                wrong("publisher.prober: needs control, or publisher.control".into())
            }
            driver::Error::Pool(_) => wrong(error.to_string()),
            driver::Error::Service { service, problem, .. } => wrong(format!("service {}: {problem}", name(&service))),
            driver::Error::Instance {
                service,
                instance,
                problem,
                ..
            } => wrong(format!(
                "service {}: instance \"{instance}\": {problem}",
                name(&service)
            )),
            other => Error::Publisher(other),
        })?;
        Ok(builder)
    }

    /// The rules of single keys: which exclude each other, and which need another.
    fn check(&self) -> Result<(), Error> {
        let publisher = &self.publisher;
        if publisher.password_file.is_some() && publisher.cookie_file.is_some() {
            return Err(wrong(
                "publisher: password_file and cookie_file exclude each other".into(),
            ));
        }
        if let Some(prober) = &publisher.prober {
            prober
                .check(publisher)
                .map_err(|what| wrong(format!("publisher.prober: {what}")))?;
        }
        if self.services.is_empty() {
            return Err(wrong("there is no [[service]]".into()));
        }
        let mut keys = BTreeSet::new();
        for service in &self.services {
            let key = service.key.display();
            if !keys.insert(&service.key) {
                return Err(wrong(format!("service {key}: stands twice")));
            }
            service
                .check()
                .map_err(|what| wrong(format!("service {key}: {what}")))?;
        }
        Ok(())
    }

    fn resolve(&mut self, folder: &Path) {
        let from = |path: &mut PathBuf| *path = folder.join(&*path);
        let socket = |endpoint: &mut Endpoint| from_folder(folder, endpoint);
        let resolve_check = |check: &mut Check| {
            if let Probe::Tcp(endpoint) = &mut check.probe {
                socket(endpoint);
            }
        };
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
                instance.check.as_mut().map(resolve_check);
            }
            service.check.as_mut().map(resolve_check);
            for port in &mut service.ports {
                *port = port.clone().from_folder(folder);
            }
        }
    }
}

fn wrong(what: String) -> Error {
    Error::Config { at: None, what }
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
