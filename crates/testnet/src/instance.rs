//! An instance of an onion service.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use onionweave_control::{Connection, Endpoint, Events};
use rustix::process::Signal;

use crate::backend::Backend;
use crate::error::Error;
use crate::keys::ServiceKey;
use crate::network::Network;
use crate::process::Tor;
use crate::relay::process_methods;
use crate::torrc::{Role, Torrc};

/// The port of every onion service here.
pub const SERVICE_PORT: u16 = 80;

/// Longest time until an instance has a descriptor. It takes eight seconds, of which Tor waits
/// five.
const DESCRIPTOR_LIMIT: Duration = Duration::from_secs(60);

/// Describes an instance to start; made by [`Network::instance`].
#[derive(Debug)]
#[must_use = "nothing happens before `start`"]
pub struct InstanceBuilder<'a> {
    network: &'a Network,
    name: String,
    key: Option<ServiceKey>,
    quiet: bool,
    backend: Option<SocketAddr>,
    client_keys: Option<String>,
    env: Vec<(String, String)>,
    extra: Vec<String>,
}

impl<'a> InstanceBuilder<'a> {
    pub(crate) fn new(network: &'a Network, name: String) -> Self {
        Self {
            network,
            name,
            key: None,
            quiet: false,
            backend: None,
            client_keys: None,
            env: Vec::new(),
            extra: Vec::new(),
        }
    }

    /// Gives it the service's key, which others may have too. Without one it gets a key of its own.
    pub fn service_key(mut self, key: &ServiceKey) -> Self {
        self.key = Some(key.clone());
        self
    }

    /// Keeps its descriptors to itself (`PublishHidServDescriptors 0`), or not. By default it is
    /// loud.
    pub fn quiet(mut self, quiet: bool) -> Self {
        self.quiet = quiet;
        self
    }

    /// Leads it to this backend. Without one it gets a backend of its own with the instance's name.
    pub fn backend(mut self, backend: &Backend) -> Self {
        self.backend = Some(backend.address());
        self
    }

    /// Gives it the keys of authorized clients, Tor's file `client_keys`. Which kind of
    /// authorization it is and for whom, is for a line of [`torrc`](Self::torrc) to say:
    /// `HiddenServiceAuthorizeClient`.
    pub fn client_keys(mut self, text: impl Into<String>) -> Self {
        self.client_keys = Some(text.into());
        self
    }

    /// Sets an environment variable of its process, such as `LD_PRELOAD`.
    /// [`restart_command`](Instance::restart_command) knows nothing of it.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Adds a line at the end of its configuration, where options of the onion service may stand.
    pub fn torrc(mut self, line: impl Into<String>) -> Self {
        self.extra.push(line.into());
        self
    }

    /// Starts it and waits until it answers on its control port. Its descriptor comes later:
    /// [`Instance::wait_for_descriptor`].
    ///
    /// # Errors
    ///
    /// [`Error::Name`], [`Error::Key`], or whatever keeps the process from starting.
    pub async fn start(self) -> Result<Instance, Error> {
        let key = match self.key {
            Some(key) => key,
            None => ServiceKey::generate()?,
        };
        let (address, own_backend) = match self.backend {
            Some(address) => (address, None),
            None => {
                let backend = Backend::start(self.name.clone()).await?;
                (backend.address(), Some(backend))
            }
        };
        let mut tor = Tor::prepare(self.network.home(), &self.name)?.with_env(self.env);
        let service = tor.create_folder("service")?;
        tor.write("service/private_key", key.pem())?;
        if let Some(client_keys) = &self.client_keys {
            tor.write("service/client_keys", client_keys)?;
        }
        let mut torrc = self.network.torrc(Role::Instance).line("SocksPort 0");
        if self.quiet {
            torrc = torrc.line("PublishHidServDescriptors 0");
        }
        torrc = torrc
            .path("HiddenServiceDir", &service)
            .line("HiddenServiceVersion 2")
            .line(format_args!("HiddenServicePort {SERVICE_PORT} {address}"));
        tor.configure(self.extra.iter().fold(torrc, Torrc::last))?;
        tor.spawn()?;
        tor.wait_for_control().await?;
        Ok(Instance { tor, key, own_backend })
    }
}

/// An instance of a v2 onion service: a tor process that carries the service's key.
///
/// It ends when it is dropped.
#[derive(Debug)]
pub struct Instance {
    tor: Tor,
    key: ServiceKey,
    own_backend: Option<Backend>,
}

impl Instance {
    /// The name it was started with.
    pub fn name(&self) -> &str {
        self.tor.name()
    }

    /// The service's key.
    pub fn service_key(&self) -> &ServiceKey {
        &self.key
    }

    /// The service's address, `<service ID>.onion`.
    pub fn onion(&self) -> String {
        self.key.onion()
    }

    /// The backend of its own, if it was given no other.
    pub fn own_backend(&self) -> Option<&Backend> {
        self.own_backend.as_ref()
    }

    /// The file `hostname` that Tor wrote: the address, or with client authorization each client's
    /// address and cookie.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if there is none yet.
    pub fn hostname(&self) -> Result<String, Error> {
        self.tor.read("service/hostname")
    }

    /// Waits until it has introduction points and thus a descriptor, and returns that: the one of
    /// replica 1.
    ///
    /// Quiet or loud makes no difference. After a start it takes about eight seconds.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] after a minute, also when the process does not run.
    pub async fn wait_for_descriptor(&self) -> Result<String, Error> {
        self.wait_for_descriptor_of(self.key.service_id()).await
    }

    /// The same for the address of one client, under which Tor keeps its descriptor with stealth
    /// authorization.
    ///
    /// # Errors
    ///
    /// As for [`wait_for_descriptor`](Self::wait_for_descriptor).
    pub async fn wait_for_descriptor_of(&self, service_id: &str) -> Result<String, Error> {
        let key = format!("hs/service/desc/id/{service_id}");
        self.tor
            .wait_for("a descriptor", DESCRIPTOR_LIMIT, async || {
                match self.tor.get_info(&key).await {
                    Ok(descriptor) => Ok(Ok(descriptor)),
                    // There is none yet (`feature/control/control_getinfo.c:583`), or somebody is
                    // just restarting the process.
                    Err(Error::Control { source, .. }) => Ok(Err(source.to_string())),
                    Err(error) => Err(error),
                }
            })
            .await
    }

    /// The command that starts this instance again, as an operator would have it: it ends what is
    /// left of the old process, starts a new one in the background, and returns once that has read
    /// its configuration.
    ///
    /// A process started so is still one of the network, and ends with it.
    pub fn restart_command(&self) -> Vec<String> {
        self.tor.restart_command()
    }
}

process_methods!(Instance);
