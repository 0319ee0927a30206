//! The publisher's configuration file.
//!
//! Reading it is pure: text in, [`Config`] or an [`Error`] that names the place out. Relative paths
//! are taken from the folder that the file is in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use onionweave_control::Endpoint;
use onionweave_desc::v2::{ClientKeys, ServiceKey};
use onionweave_driver::{self as driver, Builder, Check, Probe};
use onionweave_publish::InstanceName;
use onionweave_ring::v2::ServiceId;
use serde::Deserialize;

use crate::Error;
use crate::places::Step::{Index, Key};
use crate::places::{Places, Step, place};

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
use values::{duration, from_folder, some_endpoint, some_path, tor};

/// Longest configuration, in bytes: some ten thousand instances fit.
const LONGEST: u64 = 4 << 20;

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
    /// Settings of all services.
    #[serde(default)]
    pub publisher: Publisher,
    /// Instances that the publisher runs itself. Default: none.
    pub pool: Option<Pool>,
    /// The services, each with a key of its own.
    #[serde(rename = "service", default)]
    pub services: Vec<Service>,
    /// The text, so that mistakes that are found later are told with their place.
    #[serde(skip)]
    text: String,
}

/// Settings of all services.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Publisher {
    /// A Tor of the publisher's own, which then carries all uploads and audits. Without it,
    /// instances do.
    ///
    /// It must never be used as a client of the services: what it fails to reach it would then call
    /// unusable.
    #[serde(deserialize_with = "some_endpoint")]
    pub control: Option<Endpoint>,
    /// The password file of that Tor.
    #[serde(deserialize_with = "some_path")]
    pub password_file: Option<PathBuf>,
    /// The cookie file of that Tor, if Tor's own word on it does not hold here (another host, a
    /// container).
    #[serde(deserialize_with = "some_path")]
    pub cookie_file: Option<PathBuf>,
    /// The Tor that makes the requests of checks through Tor.
    pub prober: Option<Prober>,
    /// An instance that does not answer for so long is down. Default: two seconds.
    #[serde(deserialize_with = "duration")]
    pub heartbeat: Duration,
    /// Time between two readings of each directory when nothing happens. Default: a minute.
    #[serde(deserialize_with = "duration")]
    pub audit: Duration,
    /// Longest time for an upload or a reading. Default: twenty seconds.
    #[serde(deserialize_with = "duration")]
    pub answer: Duration,
    /// A folder of the publisher's own, which nobody else may read. It is created if there is none,
    /// and holds what a restarted publisher goes on with: each service's seed, and the pool.
    /// Without it a restart draws seeds anew, and there can be no pool.
    #[serde(deserialize_with = "some_path")]
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
    /// Reads a configuration from a file, whose folder is where relative paths start.
    ///
    /// # Errors
    ///
    /// [`Error::File`] if it cannot be read, [`Error::NoText`] if it is no regular file, longer
    /// than 4 MiB or not UTF-8, and [`Error::In`] with a mistake as [`parse`](Self::parse) tells
    /// it.
    pub fn read(file: &Path) -> Result<Self, Error> {
        let text = read_text(file)?;
        // Relative paths start where the file is, wherever the program was started.
        let whole = std::path::absolute(file).map_err(|source| Error::File {
            path: file.into(),
            source,
        })?;
        let folder = whole.parent().unwrap_or(Path::new("/"));
        Self::parse(&text, folder).map_err(|error| error.in_file(file))
    }

    /// Reads a configuration whose relative paths start at `folder`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with line and column where the text is not TOML, has an unknown key or a
    /// value of the wrong form. With the name of the service or instance where values don't fit
    /// together.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, Error> {
        let mut config: Self = toml::from_str(text).map_err(|error| config_error(text, &error))?;
        config.text = text.to_owned();
        config.check_keys()?;
        config.resolve(folder);
        Ok(config)
    }

    /// The publisher that the configuration describes: reads the keys, and looks whether all values
    /// fit together.
    ///
    /// # Errors
    ///
    /// [`Error::Publisher`] for a key file that cannot be used, [`Error::Config`] with the name of
    /// the service or instance where values don't fit together.
    pub fn builder(&self) -> Result<Builder, Error> {
        self.assemble(Service::load).map(|(builder, _)| builder)
    }

    /// Looks whether a publisher could start as the configuration says, and starts nothing.
    ///
    /// # Errors
    ///
    /// As for [`builder`](Self::builder); besides, for files and programs that the publisher needs.
    pub fn check(&self) -> Result<(), Error> {
        let (builder, indices) = self.assemble(Service::load)?;
        builder.check().map_err(|error| self.told(error, &indices))
    }

    /// Starts a publisher. Must be called within a tokio runtime with time and IO.
    ///
    /// # Errors
    ///
    /// As for [`check`](Self::check); then nothing was started.
    pub fn start(&self) -> Result<(driver::Publisher, driver::Reports), Error> {
        let (builder, indices) = self.assemble(Service::load)?;
        builder.start().map_err(|error| self.told(error, &indices))
    }

    /// Hands this configuration to a running publisher.
    ///
    /// # Errors
    ///
    /// As for [`check`](Self::check); then nothing was changed.
    pub async fn reload(&self, publisher: &mut driver::Publisher) -> Result<(), Error> {
        let (builder, indices) = self.assemble(Service::load)?;
        let reloaded = publisher.reload(builder).await;
        reloaded.map_err(|error| self.told(error, &indices))
    }

    /// The same, with keys from anywhere, and which service has which index.
    pub(crate) fn assemble(
        &self,
        load: impl Fn(&Service) -> Result<(ServiceKey, Option<ClientKeys>), Error>,
    ) -> Result<(Builder, BTreeMap<ServiceId, usize>), Error> {
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
        for (index, service) in self.services.iter().enumerate() {
            let at = [Key("service"), Index(index), Key("key")];
            let (key, clients) =
                load(service).map_err(|error| self.wrong_at(&at, format!("key of service {}: {error}", index + 1)))?;
            let described = service.described(key, clients);
            if let Some(other) = keys.insert(described.id(), index) {
                let (one, other) = (service.key.display(), self.services[other].key.display());
                return Err(self.wrong_at(&at, format!("{other} and {one} hold the key of the same service")));
            }
            builder = builder.service(described);
        }
        builder.validate().map_err(|error| self.told(error, &keys))?;
        Ok((builder, keys))
    }

    /// A mistake that the builder found, in the words and at the place of the configuration. The
    /// configuration names a service by the file of its key, and the builder names it by its
    /// address.
    fn told(&self, error: driver::Error, indices: &BTreeMap<ServiceId, usize>) -> Error {
        match error {
            driver::Error::NoServices => self.wrong_at(&[], "there is no [[service]]".into()),
            driver::Error::OutOfRange { what, .. } => {
                self.wrong_at(&[Key("publisher"), Key(what)], format!("publisher: {error}"))
            }
            driver::Error::ProberWithoutControl => self.wrong_at(
                &[Key("publisher"), Key("prober")],
                "publisher.prober: needs control, or publisher.control".into(),
            ),
            driver::Error::Pool(_) => self.wrong_at(&[Key("pool")], error.to_string()),
            driver::Error::Service {
                ref service,
                ref problem,
                ..
            } => match indices.get(service) {
                Some(&index) => self.wrong_at(
                    &[Key("service"), Index(index)],
                    format!("service {}: {problem}", self.services[index].key.display()),
                ),
                None => Error::Publisher(error),
            },
            driver::Error::Instance {
                ref service,
                ref instance,
                ref problem,
                ..
            } => match indices.get(service) {
                Some(&index) => self.wrong_instance(index, instance, &problem.to_string()),
                None => Error::Publisher(error),
            },
            other => Error::Publisher(other),
        }
    }

    /// The rules of single keys: which exclude each other, and which need another.
    fn check_keys(&self) -> Result<(), Error> {
        let publisher = &self.publisher;
        if publisher.password_file.is_some() && publisher.cookie_file.is_some() {
            let what = "publisher: password_file and cookie_file exclude each other";
            return Err(self.wrong_at(&[Key("publisher"), Key("cookie_file")], what.into()));
        }
        if let Some(prober) = &publisher.prober {
            let wrong = |what| {
                let at = [Key("publisher"), Key("prober")];
                self.wrong_at(&at, format!("publisher.prober: {what}"))
            };
            prober.check(publisher).map_err(wrong)?;
        }
        if self.services.is_empty() {
            return Err(self.wrong_at(&[], "there is no [[service]]".into()));
        }
        let mut keys = BTreeSet::new();
        for (index, service) in self.services.iter().enumerate() {
            let key = service.key.display();
            let wrong = |what| self.wrong_at(&[Key("service"), Index(index)], format!("service {key}: {what}"));
            if !keys.insert(&service.key) {
                return Err(wrong("stands twice".into()));
            }
            service.check().map_err(wrong)?;
            for instance in &service.instances {
                instance
                    .check()
                    .map_err(|what| self.wrong_instance(index, &instance.name, what))?;
            }
        }
        Ok(())
    }

    /// The mistake `what`, at the value that the steps lead to.
    fn wrong_at(&self, steps: &[Step<'_>], what: String) -> Error {
        Error::Config {
            at: Places::of(&self.text).find(steps),
            what,
        }
    }

    /// The mistake `what` in an instance of the service with this index.
    fn wrong_instance(&self, service: usize, name: &InstanceName, what: &str) -> Error {
        let file = &self.services[service].key;
        let instances = &self.services[service].instances;
        let mut steps = vec![Key("service"), Index(service)];
        // Of two with one name the second is too much.
        if let Some(index) = instances.iter().rposition(|instance| instance.name == *name) {
            steps.extend([Key("instance"), Index(index)]);
        }
        self.wrong_at(
            &steps,
            format!("service {}: instance \"{name}\": {what}", file.display()),
        )
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

/// The text of a configuration.
fn read_text(path: &Path) -> Result<String, Error> {
    let failed = |source| Error::File {
        path: path.into(),
        source,
    };
    let no_text = |what: String| Error::NoText {
        path: path.into(),
        what,
    };
    // Opening a pipe would wait for somebody who writes, and a device may never end.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(no_text("a configuration must be a regular file".into()));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LONGEST {
        return Err(no_text(format!(
            "longer than {} MiB: this is no configuration",
            LONGEST >> 20
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let (line, column) = place(&String::from_utf8_lossy(error.as_bytes()), &(at..at));
        no_text(format!("line {line}, column {column}: not UTF-8 text"))
    })
}

/// toml's errors span several lines; ours are one line with the place in front.
fn config_error(text: &str, error: &toml::de::Error) -> Error {
    if looks_like_onionbalance(text) {
        return Error::Config {
            at: None,
            what: "this looks like Onionbalance's config.yaml; onionweave reads TOML, with the keys that \
                   `onionweave run --help` shows"
                .into(),
        };
    }
    let at = error.span().map(|span| place(text, &span));
    let what = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
    Error::Config { at, what }
}

/// Whether a text that is no TOML begins a list of services as YAML does.
fn looks_like_onionbalance(text: &str) -> bool {
    text.lines().any(|line| line.trim_end() == "services:")
}
