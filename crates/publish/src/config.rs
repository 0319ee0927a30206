//! The publisher's configuration file.
//!
//! Reading it is pure: text in, [`Config`] or an [`Error`] that names the place out. Relative paths are taken from the folder
//! that the file is in.

use std::collections::BTreeSet;
use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use onionweave_assign::{PolicyName, Weight};
use onionweave_control::{Endpoint, Error as ControlError};
use onionweave_ring::v2::{AuthorizationKind, ServiceId};
use serde::{Deserialize, Deserializer, de};

use crate::pool::Place;
use crate::{Error, InstanceName, InstanceSettings, Settings, Source, Stamp};

mod check;
mod pool;

pub use check::{Check, HttpRequest, Probe};
pub use pool::{Pool, PoolSize, ServicePort};

/// A heartbeat faster than this would be noise.
const FASTEST_HEARTBEAT: Duration = Duration::from_millis(100);
/// A heartbeat slower than this would not be one: clients of a hung instance wait a minute or two.
const SLOWEST_HEARTBEAT: Duration = Duration::from_secs(60);

/// How often a descriptor may be looked for at most: in a file, and at the directories.
const FASTEST_FILE_POLL: Duration = Duration::from_millis(100);
const FASTEST_DIRECTORY_POLL: Duration = Duration::from_secs(1);
/// And at least.
const SLOWEST_POLL: Duration = Duration::from_secs(3600);
/// A descriptor is dated with the full hour, and after three days no directory takes it (`rendcache.c:672`).
const STALE: RangeInclusive<Duration> = Duration::from_secs(3600)..=Duration::from_secs(72 * 3600);

/// The publisher's configuration.
///
/// ```
/// use onionweave_publish::config::Config;
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
/// # Ok::<(), onionweave_publish::Error>(())
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

/// The Tor that makes the requests of checks through Tor: `[publisher.prober]`.
///
/// It may be the one that carries uploads and audits: it never connects to the services' own addresses, and so never calls one of their
/// descriptors unusable.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Prober {
    /// Where it speaks SOCKS.
    #[serde(deserialize_with = "socks_endpoint")]
    pub socks: Endpoint,
    /// Its control port. Default: the publisher's own Tor, [`Publisher::control`].
    #[serde(default, deserialize_with = "some_endpoint")]
    pub control: Option<Endpoint>,
    /// Its password file.
    pub password_file: Option<PathBuf>,
    /// Its cookie file, if Tor's own word on it does not hold here (another host, a container).
    pub cookie_file: Option<PathBuf>,
}

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
    /// The service's ports, where the instances of the [`Pool`] lead them. A service without any is not hosted there.
    #[serde(default)]
    pub ports: Vec<ServicePort>,
    /// What is checked of instances that don't say it themselves. Default: nothing.
    pub check: Option<Check>,
    /// The instances.
    #[serde(rename = "instance", default)]
    pub instances: Vec<Instance>,
}

/// One instance of a service.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Instance {
    /// Its name, unique within the service.
    #[serde(deserialize_with = "name")]
    pub name: InstanceName,
    /// Where its control port is.
    #[serde(default, deserialize_with = "some_endpoint")]
    pub control: Option<Endpoint>,
    /// The file into which its descriptor is written, where its control port is out of reach.
    pub file: Option<PathBuf>,
    /// The address of its own key, if that is not the service's. With neither `control` nor `file`, its descriptor is read from the
    /// directories.
    #[serde(default, deserialize_with = "some_address")]
    pub address: Option<ServiceId>,
    /// How often the directories are read, or that file is looked at even if nothing says that it changed. Default: thirty seconds.
    #[serde(default, deserialize_with = "some_duration")]
    pub poll: Option<Duration>,
    /// How long after its date a descriptor from a file or from directories is believed, if no newer one comes. Default: two hours and a
    /// quarter, since Tor dates descriptors with the full hour, and makes a new one each hour.
    #[serde(default, deserialize_with = "some_duration")]
    pub stale: Option<Duration>,
    /// The file that holds the control port's password, on one line.
    pub password_file: Option<PathBuf>,
    /// The cookie file, if Tor's own word on it does not hold here (another host, a container).
    pub cookie_file: Option<PathBuf>,
    /// Its part of the traffic, relative to the other instances. Default: 1.
    #[serde(default, deserialize_with = "weight")]
    pub weight: Weight,
    /// The command that restarts it: program and arguments.
    #[serde(default)]
    pub restart: Vec<String>,
    /// What is checked of it, besides that its Tor answers. Default: what the service says.
    pub check: Option<Check>,
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

impl Instance {
    /// The instance in a place of the pool: one like all others, in a folder of its own.
    pub(crate) fn of_pool(state: &Path, place: Place) -> Self {
        Self {
            name: place.instance(),
            control: Some(Endpoint::Unix(Pool::socket(state, place.number()))),
            file: None,
            address: None,
            poll: None,
            stale: None,
            password_file: None,
            cookie_file: Some(Pool::folder(state, place.number()).join("cookie")),
            weight: Weight::default(),
            restart: Vec::new(),
            check: None,
        }
    }
}

impl Service {
    /// What the machine is told of this service.
    pub fn settings(&self, publisher: &Publisher) -> Settings {
        let instances = self.instances.iter().map(Instance::settings).collect();
        Settings {
            serving: self.serving,
            quiet: self.quiet,
            stamp: self.stamp,
            audit_every: publisher.audit,
            answer_within: publisher.answer,
            ..Settings::new(instances)
        }
    }
}

impl Prober {
    fn check(&self, publisher: &Publisher) -> Result<(), String> {
        let access = self.password_file.is_some() || self.cookie_file.is_some();
        if self.password_file.is_some() && self.cookie_file.is_some() {
            Err("password_file and cookie_file exclude each other".into())
        } else if self.control.is_none() && access {
            Err("password_file and cookie_file need control".into())
        } else if self.control.is_none() && publisher.control.is_none() {
            Err("needs control, or publisher.control".into())
        } else {
            Ok(())
        }
    }
}

impl Service {
    /// What is checked of an instance, if anything.
    pub fn check_of<'a>(&'a self, instance: &'a Instance) -> Option<&'a Check> {
        instance.check.as_ref().or(self.check.as_ref())
    }

    fn check_can_be_made(&self, check: &Check, publisher: &Publisher) -> Result<(), &'static str> {
        if !matches!(check.probe, Probe::Tor { .. }) {
            Ok(())
        } else if publisher.prober.is_none() {
            Err("a check through Tor needs [publisher.prober]")
        } else if self.authorization.is_some() {
            Err("a service for authorized clients cannot be checked through Tor")
        } else {
            Ok(())
        }
    }

    fn check(&self, publisher: &Publisher) -> Result<(), String> {
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
            self.check_can_be_made(check, publisher)?;
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
                self.check_can_be_made(check, publisher)
                    .or_else(|what| wrong(what.into()))?;
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

impl Instance {
    /// The default of [`poll`](Self::poll), the thesis's own figure.
    pub const POLL: Duration = Duration::from_secs(30);

    /// Whether its descriptor is read from the directories.
    pub fn reads_directories(&self) -> bool {
        self.control.is_none() && self.file.is_none()
    }

    fn settings(&self) -> InstanceSettings {
        let defaults = InstanceSettings::new(self.name.clone());
        InstanceSettings {
            weight: self.weight,
            restart: !self.restart.is_empty(),
            address: self.address,
            source: match (&self.control, &self.file) {
                (Some(_), _) => Source::Control,
                (None, Some(_)) => Source::File,
                (None, None) => Source::Directories {
                    every: self.poll.unwrap_or(Self::POLL),
                },
            },
            stale_after: self.stale.unwrap_or(defaults.stale_after),
            ..defaults
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.restart.first().is_some_and(String::is_empty) {
            return Err("the restart command is empty");
        }
        match (&self.control, &self.file, &self.address) {
            (None, None, None) => return Err("needs control, file, or an address of its own"),
            (Some(_), Some(_), _) => return Err("control and file exclude each other"),
            _ => {}
        }
        if self.password_file.is_some() && self.cookie_file.is_some() {
            return Err("password_file and cookie_file exclude each other");
        }
        if self.control.is_none() && (self.password_file.is_some() || self.cookie_file.is_some()) {
            return Err("password_file and cookie_file need control");
        }
        if self.control.is_none() && !self.restart.is_empty() {
            return Err("restart needs control: nothing else tells whether the instance runs");
        }
        if self.control.is_some() && (self.poll.is_some() || self.stale.is_some()) {
            return Err("poll and stale are for what is known without a control port");
        }
        let fastest = match self.file {
            Some(_) => FASTEST_FILE_POLL,
            None => FASTEST_DIRECTORY_POLL,
        };
        match (self.poll, self.stale) {
            (Some(poll), _) if poll < fastest => Err(match self.file {
                Some(_) => "poll of a file must be 100ms or more",
                None => "poll of directories must be 1s or more: each takes a circuit to each of them",
            }),
            (Some(poll), _) if poll > SLOWEST_POLL => Err("poll must be 1h or less"),
            (_, Some(stale)) if !STALE.contains(&stale) => Err("stale must lie between 1h and 72h"),
            _ => Ok(()),
        }
    }
}

/// Takes the path of a unix socket from the folder.
fn from_folder(folder: &Path, endpoint: &mut Endpoint) {
    if let Endpoint::Unix(path) = endpoint {
        *path = folder.join(&*path);
    }
}

fn some_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ServiceId>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(de::Error::custom)
}

fn some_endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Endpoint>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(de::Error::custom)
}

fn socks_endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Endpoint, D::Error> {
    endpoint_named(&String::deserialize(deserializer)?, "SOCKS endpoint").map_err(de::Error::custom)
}

/// Reads an endpoint that is no control port.
fn endpoint_named(text: &str, what: &str) -> Result<Endpoint, String> {
    text.parse().map_err(|error| match error {
        ControlError::Endpoint { problem, .. } => format!("\"{text}\" is no {what}: {problem}"),
        other => other.to_string(),
    })
}

fn yes() -> bool {
    true
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|error| {
        de::Error::custom(format!(
            "\"{text}\" is no duration such as \"2s\" or \"500ms\": {error}"
        ))
    })
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

fn policy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PolicyName, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

fn stamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Stamp, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "hour" => Ok(Stamp::Hour),
        "second" => Ok(Stamp::Second),
        other => Err(de::Error::custom(format!(
            "\"{other}\" is no stamp: write \"hour\" or \"second\""
        ))),
    }
}

fn authorization<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<AuthorizationKind>, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "basic" => Ok(Some(AuthorizationKind::Basic)),
        "stealth" => Ok(Some(AuthorizationKind::Stealth)),
        other => Err(de::Error::custom(format!(
            "\"{other}\" is no client authorization: write \"basic\" or \"stealth\""
        ))),
    }
}

fn weight<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Weight, D::Error> {
    NonZeroU32::deserialize(deserializer).map(Weight::from)
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<InstanceName, D::Error> {
    let name = String::deserialize(deserializer)?;
    if name.is_empty() || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(de::Error::custom(
            "an instance's name must not be empty nor hold white space",
        ));
    }
    Ok(name.into())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, Error> {
        Config::parse(text, Path::new("/etc/ow"))
    }

    const MINIMAL: &str = "[[service]]\nkey = \"k\"\n[[service.instance]]\nname = \"a\"\ncontrol = \"unix:a.sock\"\n";

    #[test]
    fn source_is_what_the_keys_say() {
        let text = |keys: &str| {
            format!(
                "[publisher]\ncontrol = \"h:1\"\n[[service]]\nkey = \"k\"\n[[service.instance]]\nname = \"a\"\n{}\n",
                keys.replace("; ", "\n")
            )
        };
        let directories = |seconds| Source::Directories {
            every: Duration::from_secs(seconds),
        };
        for (keys, source) in [
            ("control = \"h:2\"", Source::Control),
            (
                "control = \"h:2\"; address = \"abcdefghijklmnop.onion\"",
                Source::Control,
            ),
            ("file = \"f\"; stale = \"3h\"", Source::File),
            ("file = \"f\"; address = \"abcdefghijklmnop\"", Source::File),
            ("address = \"abcdefghijklmnop\"", directories(30)),
            ("address = \"abcdefghijklmnop\"; poll = \"5m\"", directories(300)),
        ] {
            let config = parse(&text(keys)).unwrap();
            let settings = config.services[0].settings(&config.publisher);
            assert_eq!(settings.instances[0].source, source, "{keys}");
            assert_eq!(
                settings.instances[0].address.is_some(),
                keys.contains("address"),
                "{keys}"
            );
            let hours = if keys.contains("stale") { 3.0 } else { 2.25 };
            assert_eq!(
                settings.instances[0].stale_after.as_secs_f64(),
                hours * 3600.0,
                "{keys}"
            );
        }
        for (keys, expected) in [
            ("weight = 1", "needs control, file, or an address of its own"),
            ("control = \"h:2\"; file = \"f\"", "control and file exclude each other"),
            (
                "control = \"h:2\"; poll = \"1m\"",
                "poll and stale are for what is known without",
            ),
            (
                "control = \"h:2\"; stale = \"2h\"",
                "poll and stale are for what is known without",
            ),
            ("file = \"f\"; poll = \"1ms\"", "poll of a file must be 100ms or more"),
            ("file = \"f\"; poll = \"2h\"", "poll must be 1h or less"),
            (
                "address = \"abcdefghijklmnop\"; poll = \"100ms\"",
                "poll of directories must be 1s or more",
            ),
            ("file = \"f\"; stale = \"59m\"", "stale must lie between 1h and 72h"),
            (
                "address = \"abcdefghijklmnop\"; stale = \"73h\"",
                "stale must lie between 1h and 72h",
            ),
            (
                "address = \"abcdefghijklmnop\"; restart = [\"r\"]",
                "restart needs control",
            ),
        ] {
            let error = parse(&text(keys)).unwrap_err().to_string();
            let expected = format!("service k: instance \"a\": {expected}");
            assert!(error.starts_with(&expected), "{keys} gave {error:?}");
        }
        let two = "address = \"abcdefghijklmnop\"; [[service.instance]]; name = \"b\"; address = \"abcdefghijklmnop\"";
        let error = parse(&text(two)).unwrap_err().to_string();
        assert!(
            error.contains("another instance has the address abcdefghijklmnop"),
            "{error}"
        );
    }

    #[test]
    fn minimal_file_has_defaults() {
        let config = parse(MINIMAL).unwrap();
        assert_eq!(config.publisher.heartbeat, Duration::from_secs(2));
        let service = &config.services[0];
        assert!(service.quiet);
        assert_eq!(service.stamp, Stamp::Hour);
        assert_eq!(
            service.instances[0].control,
            Some(Endpoint::Unix("/etc/ow/a.sock".into()))
        );
        assert_eq!(service.instances[0].weight, Weight::default());
        assert_eq!(service.passphrase_file, None);
    }

    #[test]
    fn paths_start_at_the_folder() {
        let config = parse(&MINIMAL.replace("\nkey", "\npassphrase_file = \"p\"\nkey")).unwrap();
        let service = &config.services[0];
        assert_eq!(service.key, Path::new("/etc/ow/k"));
        assert_eq!(service.passphrase_file.as_deref(), Some(Path::new("/etc/ow/p")));
    }

    #[test]
    fn errors_name_the_place() {
        for (text, expected) in [
            ("", "there is no [[service]]"),
            ("[[service]]\nkey = \"k\"\n", "service k: has no [[service.instance]]"),
            (
                "[publisher]\nheartbeat = \"soon\"\n",
                "line 2, column 13: \"soon\" is no duration",
            ),
            (
                "[publisher]\nheartbeat = \"1ms\"\n",
                "publisher: heartbeat must lie between",
            ),
            (
                "[publisher]\nhartbeat = \"1s\"\n",
                "line 2, column 1: unknown field `hartbeat`",
            ),
            ("[[service]\n", "line 1, column"),
            (
                "[[service]]\nkey = \"k\"\npolicy = \"fair\"\n",
                "line 3, column 10: there is no policy \"fair\"",
            ),
            (
                "[[service]]\nkey = \"k\"\n[[service.instance]]\nname = \"a\"\ncontrol = \"9051\"\n",
                "line 5, column 11: \"9051\" is no control endpoint",
            ),
            (
                "[[service]]\nkey = \"k\"\n[[service.instance]]\nname = \"a\"\ncontrol = \"h:1\"\nweight = 0\n",
                "line 6, column 10:",
            ),
            (
                "[[service]]\nkey = \"k\"\nauthorization = \"all\"\n",
                "line 3, column 17: \"all\" is no client authorization",
            ),
            (
                "[[service]]\nkey = \"k\"\nauthorization = \"basic\"\n[[service.instance]]\nname = \"a\"\ncontrol = \"h:1\"\n",
                "service k: basic authorization needs client_keys",
            ),
            (
                "[[service]]\nkey = \"k\"\nclient_keys = \"c\"\n[[service.instance]]\nname = \"a\"\ncontrol = \"h:1\"\n",
                "service k: client_keys needs authorization",
            ),
            (
                "[[service]]\nkey = \"k\"\n[[service.instance]]\nname = \"a\"\ncontrol = \"h:1\"\ncheck = { tcp = \"h\" }\n",
                "line 6, column 9: \"h\" is no address: expected unix:PATH or HOST:PORT",
            ),
            (
                "[publisher.prober]\nsocks = \"9050\"\n",
                "line 2, column 9: \"9050\" is no SOCKS endpoint",
            ),
            (
                "[publisher.prober]\nsocks = \"h:1\"\n",
                "publisher.prober: needs control, or publisher.control",
            ),
            (
                "[publisher]\ncontrol = \"h:1\"\n[publisher.prober]\nsocks = \"h:1\"\ncookie_file = \"c\"\n",
                "publisher.prober: password_file and cookie_file need control",
            ),
            (
                "[[service]]\nkey = \"k\"\n[[service.instance]]\nname = \"a\"\naddress = \"facebook\"\n",
                "line 5, column 11:",
            ),
            (
                "[[service]]\nkey = \"k\"\n[[service.instance]]\nname = \"a b\"\ncontrol = \"h:1\"\n",
                "line 4, column 8: an instance's name",
            ),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(
                error.starts_with(expected),
                "{text:?}\n gave {error:?}\n not {expected:?}"
            );
            assert!(!error.contains('\n'), "{error:?}");
        }
    }

    const POOL: &str =
        "[publisher]\nstate = \"state\"\n[pool]\n[[service]]\nkey = \"k\"\nports = [\"80\", \"81 unix:web.sock\"]\n";

    #[test]
    fn pool_has_defaults() {
        let config = parse(POOL).unwrap();
        let pool = config.pool.unwrap();
        assert_eq!(pool, Pool::default());
        assert!(pool.places() >= 2, "a core and a spare");
        assert_eq!(config.publisher.state.as_deref(), Some(Path::new("/etc/ow/state")));
        assert_eq!(config.services[0].ports[1].target(), "unix:/etc/ow/web.sock");
        let config = parse(&POOL.replace(
            "[pool]",
            "[pool]\nsize = 3\nspare = 2\nmemory = \"1 GB\"\ntor = \"bin/tor\"",
        ))
        .unwrap();
        let pool = config.pool.unwrap();
        assert_eq!((pool.places(), pool.memory), (5, Some(1 << 30)));
        assert_eq!(pool.tor, Path::new("/etc/ow/bin/tor"));
    }

    #[test]
    fn errors_of_the_pool_name_the_key_and_the_limit() {
        let pool = |line: &str| POOL.replace("[pool]", &format!("[pool]\n{line}"));
        for (text, expected) in [
            (
                pool("size = 0"),
                "line 4, column 8: 0 is no size of a pool: write \"cores\" or a number from 1 to 64",
            ),
            (pool("size = 65"), "line 4, column 8: 65 is no size"),
            (pool("size = \"many\""), "line 4, column 8: \"many\" is no size"),
            (
                pool("spare = 17"),
                "line 4, column 9: 17 spares: write a number from 0 to 16",
            ),
            (pool("spare = -1"), "line 4, column 9: -1 spares"),
            (
                pool("memory = \"63 MB\""),
                "line 4, column 10: \"63 MB\" is too little: at least 64 MB",
            ),
            (
                pool("memory = \"much\""),
                "line 4, column 10: \"much\" is no amount of memory",
            ),
            (
                pool("open_files = 999"),
                "line 4, column 14: 999 is too few: at least 1000",
            ),
            (
                pool("start_pause = \"1ms\""),
                "pool: start_pause must lie between 100ms and 60s",
            ),
            (
                pool("start_within = \"1s\""),
                "pool: start_within must lie between 5s and 600s",
            ),
            (pool("tor = \"\""), "pool: tor must name a program"),
            (
                pool("torrc = [\"NumCPUs 1\", \"ControlPort 9051\"]"),
                "line 4, column 9: ControlPort is not allowed",
            ),
            (POOL.replace("state = \"state\"", ""), "pool: needs publisher.state"),
            (
                POOL.replace("\"state\"", &format!("\"{}\"", "x".repeat(90))),
                "pool: publisher.state: the path of the control socket /etc/ow/xx",
            ),
            (
                POOL.replace("[pool]\n", ""),
                "service /etc/ow/k: ports are for the instances of a [pool]",
            ),
            (
                format!("{}[pool]\n[publisher]\nstate = \"s\"\n", MINIMAL),
                "pool: no [[service]] has ports",
            ),
            (
                POOL.replace("\"80\"", "\"web\""),
                "line 6, column 9: \"web\" is no port of an onion service",
            ),
            (
                format!("{POOL}authorization = \"stealth\"\nclient_keys = \"c\"\n"),
                "service /etc/ow/k: a pool cannot host a service with stealth authorization",
            ),
            (
                format!("{POOL}[[service.instance]]\nname = \"pool-1\"\ncontrol = \"h:1\"\n"),
                "service /etc/ow/k: instance \"pool-1\": names that begin with pool-",
            ),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(
                error.starts_with(expected),
                "{text:?}\n gave {error:?}\n not {expected:?}"
            );
        }
    }

    #[test]
    fn instances_have_what_goes_with_their_source() {
        let with = |lines: &str| parse(&MINIMAL.replace("control = \"unix:a.sock\"", lines)).map(drop);
        assert!(with("control = \"h:1\"\ncheck = { tcp = \"h:1\" }").is_ok());
        for (lines, expected) in [
            (
                "file = \"f\"\ncookie_file = \"c\"",
                "password_file and cookie_file need control",
            ),
            ("control = \"h:1\"\nrestart = [\"\"]", "the restart command is empty"),
            (
                "control = \"h:1\"\ncheck = { tor = 80 }",
                "a check through Tor needs [publisher.prober]",
            ),
        ] {
            let error = with(lines).unwrap_err().to_string();
            let expected = format!("service k: instance \"a\": {expected}");
            assert!(error.starts_with(&expected), "{lines:?} gave {error:?}");
        }
        let service = parse(&MINIMAL.replace("\nkey", "\ncheck = { tor = 80 }\nkey"));
        let error = service.unwrap_err().to_string();
        assert_eq!(error, "service k: a check through Tor needs [publisher.prober]");
        let error = with("file = \"f\"").unwrap_err().to_string();
        assert!(
            error.starts_with("service k: no instance has a control port"),
            "{error}"
        );

        let file =
            "[publisher]\ncontrol = \"unix:own\"\n[publisher.prober]\nsocks = \"unix:socks\"\n".to_owned() + MINIMAL;
        let file = file.replace("control = \"unix:a.sock\"", "file = \"a.desc\"\npoll = \"5s\"");
        let config = parse(&file.replace("\nkey", "\ncheck = { tor = 80 }\nkey")).unwrap();
        let [service] = &config.services[..] else { panic!() };
        let [instance] = &service.instances[..] else { panic!() };
        assert_eq!(instance.file.as_deref(), Some(Path::new("/etc/ow/a.desc")));
        assert_eq!(instance.poll, Some(Duration::from_secs(5)));
        assert_eq!(service.check_of(instance).unwrap().to_string(), "port 80 through Tor");
        let prober = config.publisher.prober.unwrap();
        assert_eq!(prober.socks, Endpoint::Unix("/etc/ow/socks".into()));
    }

    #[test]
    fn doubles_are_refused() {
        let second =
            |name, control| format!("{MINIMAL}[[service.instance]]\nname = \"{name}\"\ncontrol = \"{control}\"\n");
        let error = parse(&second("a", "h:1")).unwrap_err().to_string();
        assert!(error.contains("two instances are named \"a\""), "{error}");
        let error = parse(&second("b", "unix:a.sock")).unwrap_err().to_string();
        assert!(error.contains("another instance has the control port"), "{error}");
        let file = |name| format!("[[service.instance]]\nname = \"{name}\"\nfile = \"f\"\n");
        let error = parse(&format!("{MINIMAL}{}{}", file("b"), file("c")))
            .unwrap_err()
            .to_string();
        assert!(error.contains("another instance has the file f"), "{error}");
    }
}
