//! The network itself: authorities and relays that agree on a consensus.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use data_encoding::HEXUPPER;
use tokio::time::Instant;
use tracing::info;

use crate::client::ClientBuilder;
use crate::error::Error;
use crate::home::Home;
use crate::instance::InstanceBuilder;
use crate::keys::{AuthorityKey, RelayKey, Validity};
use crate::ports::{BLOCK, Ports};
use crate::process::{BOOTSTRAP_LIMIT, Tor};
use crate::relay::Relay;
use crate::tor::{self, TorBinary};
use crate::torrc::{Common, ExtraLines, Role, Torrc};

/// The least voting interval that Tor takes (`MIN_VOTE_INTERVAL_TESTING`,
/// `feature/dirauth/dirvote.h:46`).
const VOTING_INTERVAL: Duration = Duration::from_secs(10);
/// Longest time until the authorities' consensus names every relay.
const CONSENSUS_LIMIT: Duration = Duration::from_secs(90);
/// Time before now, and after, for which an authority's certificate is valid.
const CERTIFICATE_BEFORE: Duration = Duration::from_secs(24 * 3600);
const CERTIFICATE_AFTER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Progress of a network's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Tor is being built, since there was none in the cache.
    Tor(tor::Progress),
    /// All relays run.
    Started {
        /// Number of relays, authorities among them.
        relays: usize,
    },
    /// The authorities agree on so many relays.
    Consensus {
        /// Relays that the consensus names.
        listed: usize,
        /// Relays that run.
        relays: usize,
    },
    /// Relays have built their first circuits.
    Circuits {
        /// Relays with a circuit.
        ready: usize,
        /// Relays that run.
        relays: usize,
    },
    /// The network is ready.
    Ready {
        /// Time since the first process was started.
        after: Duration,
    },
}

/// Is told how far the start is.
type Callback = Arc<dyn Fn(Progress) + Send + Sync>;

/// Describes a network to start; made by [`Network::builder`].
#[must_use = "nothing happens before `start`"]
pub struct NetworkBuilder {
    authorities: usize,
    relays: usize,
    voting_interval: Duration,
    extra: ExtraLines,
    tor: Option<TorBinary>,
    progress: Callback,
}

impl NetworkBuilder {
    fn new() -> Self {
        Self {
            authorities: 3,
            relays: 9,
            voting_interval: VOTING_INTERVAL,
            extra: ExtraLines::default(),
            tor: None,
            progress: Arc::new(|_| {}),
        }
    }

    /// The number of directory authorities, which are relays too. Default: 3.
    pub fn authorities(mut self, authorities: usize) -> Self {
        self.authorities = authorities;
        self
    }

    /// The number of further relays. Default: 9.
    pub fn relays(mut self, relays: usize) -> Self {
        self.relays = relays;
        self
    }

    /// Time from one vote of the authorities to the next: whole seconds, at least 10, dividing a
    /// day. Default: 10 s.
    pub fn voting_interval(mut self, interval: Duration) -> Self {
        self.voting_interval = interval;
        self
    }

    /// Adds a line at the end of the configuration of every process. Of an option that is given
    /// twice, Tor takes the last.
    ///
    /// ```
    /// use onionweave_testnet::{Network, Role};
    ///
    /// let slow = Network::builder().torrc("RendPostPeriod 1 hour").torrc_for(Role::Client, "UseEntryGuards 0");
    /// # drop(slow);
    /// ```
    pub fn torrc(mut self, line: impl Into<String>) -> Self {
        self.extra.push(None, line.into());
        self
    }

    /// Adds a line at the end of the configuration of every process with a role.
    pub fn torrc_for(mut self, role: Role, line: impl Into<String>) -> Self {
        self.extra.push(Some(role), line.into());
        self
    }

    /// Uses this binary instead of [`tor::binary`].
    pub fn tor(mut self, tor: TorBinary) -> Self {
        self.tor = Some(tor);
        self
    }

    /// Has this function called as the start goes on.
    pub fn on_progress(mut self, progress: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.progress = Arc::new(progress);
        self
    }

    /// Starts the network, and returns when onion services can be started on it: its consensus
    /// names every relay, and every relay has built a circuit.
    ///
    /// # Errors
    ///
    /// Those of [`tor::binary`]; [`Error::Size`], [`Error::NoPorts`]; or whatever keeps a process
    /// from starting or the authorities from agreeing.
    pub async fn start(self) -> Result<Network, Error> {
        let count = self.check_size()?;
        let tor = self.tor_binary().await?;
        let start = Instant::now();
        let ports = Ports::take(count + self.authorities)?;
        let (plans, common, ports) = {
            let (authorities, relays, extra) = (self.authorities, self.relays, self.extra.clone());
            blocking(move || plan(authorities, relays, extra, ports)).await?
        };
        let home = Arc::new(Home::create(tor, ports)?);
        let network = launch(&home, plans, common, self.voting_interval).inspect_err(|_| home.keep())?;
        (self.progress)(Progress::Started { relays: count });
        network
            .wait_until_ready(&self.progress)
            .await
            .inspect_err(|_| home.keep())?;
        let after = start.elapsed();
        info!(folder = %network.folder().display(), ?after, "the network is ready");
        (self.progress)(Progress::Ready { after });
        Ok(network)
    }

    /// The number of processes, if a network of them can work.
    fn check_size(&self) -> Result<usize, Error> {
        let error = |reason| Error::Size {
            authorities: self.authorities,
            relays: self.relays,
            reason,
        };
        if self.authorities == 0 {
            return Err(error("without an authority there is no consensus"));
        }
        // A client and a service build circuits of three to four relays that end at a relay of the
        // other's choice.
        if self.authorities.saturating_add(self.relays) < 5 {
            return Err(error("circuits to a rendezvous need at least five relays"));
        }
        if self.authorities.saturating_mul(2).saturating_add(self.relays) > usize::from(BLOCK) {
            return Err(error("it needs more ports than one network gets"));
        }
        Ok(self.authorities + self.relays)
    }

    async fn tor_binary(&self) -> Result<TorBinary, Error> {
        if let Some(tor) = &self.tor {
            return Ok(tor.clone());
        }
        let progress = Arc::clone(&self.progress);
        blocking(move || tor::binary_with(|step| progress(Progress::Tor(step)))).await
    }
}

impl fmt::Debug for NetworkBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkBuilder")
            .field("authorities", &self.authorities)
            .field("relays", &self.relays)
            .field("voting_interval", &self.voting_interval)
            .field("extra", &self.extra)
            .field("tor", &self.tor)
            .finish_non_exhaustive()
    }
}

/// A private Tor network on 127.0.0.1.
///
/// Its processes end when it is dropped; those of its instances and clients end when they are
/// dropped themselves. Should this process die without dropping anything, all of them end within a
/// second.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), onionweave_testnet::Error> {
/// use onionweave_testnet::Network;
///
/// let network = Network::builder().authorities(3).relays(9).start().await?;
/// let instance = network.instance("a").start().await?;
/// instance.wait_for_descriptor().await?;
/// let client = network.client("c").start().await?;
/// assert_eq!(client.fetch(&instance.onion(), 80).await?, "a");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Network {
    /// The authorities come first.
    directories: Vec<Relay>,
    authorities: usize,
    common: Common,
    home: Arc<Home>,
}

impl Network {
    /// A network of three authorities and nine relays, for a start.
    pub fn builder() -> NetworkBuilder {
        NetworkBuilder::new()
    }

    /// The authorities.
    pub fn authorities(&self) -> &[Relay] {
        self.directories
            .split_at_checked(self.authorities)
            .unwrap_or_default()
            .0
    }

    /// The relays that are no authorities.
    pub fn relays(&self) -> &[Relay] {
        self.directories
            .split_at_checked(self.authorities)
            .unwrap_or_default()
            .1
    }

    /// All relays, authorities first. Every one is a directory of onion services.
    pub fn directories(&self) -> &[Relay] {
        &self.directories
    }

    /// The relay with this fingerprint.
    pub fn directory(&self, fingerprint: &[u8; 20]) -> Option<&Relay> {
        self.directories
            .iter()
            .find(|relay| relay.fingerprint() == *fingerprint)
    }

    /// Describes an instance of an onion service. Its name is one to nineteen ASCII letters and
    /// digits, and no other process has or had it.
    pub fn instance(&self, name: impl Into<String>) -> InstanceBuilder<'_> {
        InstanceBuilder::new(self, name.into())
    }

    /// Describes a client. Its name is one to nineteen ASCII letters and digits, and no other
    /// process has or had it.
    ///
    /// A client that never fetches anything is what audits directories with `HSFETCH`: one that
    /// connects to a service remembers which introduction points failed, and then takes good
    /// descriptors for bad ones.
    pub fn client(&self, name: impl Into<String>) -> ClientBuilder<'_> {
        ClientBuilder::new(self, name.into())
    }

    /// The temporary folder of the network, with a folder for each process.
    ///
    /// It is removed with the last part of the network, unless starting or waiting for something
    /// failed, the thread panicked, or the environment variable `ONIONWEAVE_KEEP` is set.
    pub fn folder(&self) -> &Path {
        self.home.path()
    }

    /// Keeps the network's folder when it ends.
    pub fn keep_folder(&self) {
        self.home.keep();
    }

    /// The tor that all processes run.
    pub fn tor(&self) -> &TorBinary {
        self.home.tor()
    }

    /// The lines of a configuration with which a process of this role that is started elsewhere
    /// becomes part of the network.
    pub fn torrc_lines(&self, role: Role) -> Vec<String> {
        self.torrc(role)
            .finish()
            .to_string()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    pub(crate) fn home(&self) -> &Arc<Home> {
        &self.home
    }

    pub(crate) fn torrc(&self, role: Role) -> Torrc {
        self.common.torrc(role)
    }

    async fn wait_until_ready(&self, progress: &Callback) -> Result<(), Error> {
        let relays = self.directories.len();
        for relay in &self.directories {
            relay.tor().wait_for_control().await?;
        }
        for authority in self.authorities() {
            let tor = authority.tor();
            let mut last = None;
            tor.wait_for("a consensus with every relay", CONSENSUS_LIMIT, async || {
                tor.check_running()?;
                let listed = listed(&tor.get_info("ns/all").await?);
                if last.replace(listed) != Some(listed) {
                    progress(Progress::Consensus { listed, relays });
                }
                Ok(if listed == relays {
                    Ok(())
                } else {
                    Err(format!("it names {listed} of {relays} relays"))
                })
            })
            .await?;
        }
        for (before, relay) in self.directories.iter().enumerate() {
            relay.tor().wait_for_bootstrap(BOOTSTRAP_LIMIT).await?;
            progress(Progress::Circuits {
                ready: before + 1,
                relays,
            });
        }
        Ok(())
    }
}

/// Plan of a relay.
struct Plan {
    name: String,
    key: RelayKey,
    or_port: u16,
    /// The directory port and the keys of an authority.
    authority: Option<(u16, AuthorityKey)>,
}

/// Makes the keys of all relays and gives them their ports.
fn plan(
    authorities: usize,
    relays: usize,
    extra: ExtraLines,
    mut ports: Ports,
) -> Result<(Vec<Plan>, Common, Ports), Error> {
    let now = SystemTime::now();
    let time = |time| {
        humantime::format_rfc3339_seconds(time)
            .to_string()
            .replace('T', " ")
            .replace('Z', "")
    };
    let validity = Validity {
        from: time(now - CERTIFICATE_BEFORE),
        until: time(now + CERTIFICATE_AFTER),
    };
    let mut plans = Vec::new();
    let mut lines = Vec::new();
    for number in 1..=authorities {
        let name = format!("authority{number}");
        let (key, authority) = (RelayKey::generate()?, AuthorityKey::generate(&validity)?);
        let (or_port, dir_port) = (ports.next()?, ports.next()?);
        lines.push(format!(
            "{name} orport={or_port} v3ident={} 127.0.0.1:{dir_port} {}",
            authority.identity,
            HEXUPPER.encode(&key.fingerprint)
        ));
        plans.push(Plan {
            name,
            key,
            or_port,
            authority: Some((dir_port, authority)),
        });
    }
    for number in 1..=relays {
        plans.push(Plan {
            name: format!("relay{number}"),
            key: RelayKey::generate()?,
            or_port: ports.next()?,
            authority: None,
        });
    }
    Ok((plans, Common::new(lines, extra), ports))
}

/// Starts all relays, the authorities first.
fn launch(home: &Arc<Home>, plans: Vec<Plan>, common: Common, voting_interval: Duration) -> Result<Network, Error> {
    let authorities = plans.iter().filter(|plan| plan.authority.is_some()).count();
    let mut directories = Vec::new();
    for plan in plans {
        let mut tor = Tor::prepare(home, &plan.name)?;
        tor.create_folder("data")?;
        tor.create_folder("data/keys")?;
        tor.write("data/keys/secret_id_key", &plan.key.pem)?;
        let role = if plan.authority.is_some() {
            Role::Authority
        } else {
            Role::Relay
        };
        let mut torrc = common.torrc(role).relay(&plan.name, plan.or_port);
        if let Some((dir_port, key)) = plan.authority {
            tor.write("data/keys/authority_signing_key", &key.signing_pem)?;
            tor.write("data/keys/authority_certificate", &key.certificate)?;
            torrc = torrc.authority(dir_port, voting_interval);
        }
        tor.configure(torrc)?;
        tor.spawn()?;
        directories.push(Relay::new(tor, plan.key.fingerprint));
    }
    Ok(Network {
        directories,
        authorities,
        common,
        home: Arc::clone(home),
    })
}

/// Counts the relays in the answer to `GETINFO ns/all` that run and are directories of onion
/// services.
fn listed(entries: &str) -> usize {
    let has = |line: &str, wanted: &str| line.split(' ').any(|flag| flag == wanted);
    entries
        .lines()
        .filter(|line| line.starts_with("s ") && has(line, "HSDir") && has(line, "Running") && has(line, "Valid"))
        .count()
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down, and nobody is left to read this.
            Err(error) => Err(Error::Io {
                action: "finish",
                path: "a blocking task".into(),
                source: error.into(),
            }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_running_directories_count() {
        let entries = "r a AA BB 2038-01-01 00:00:00 127.0.0.1 1 0\ns Fast Guard HSDir Running Stable V2Dir Valid\n\
                       r b AA BB 2038-01-01 00:00:00 127.0.0.1 2 0\ns Fast HSDir V2Dir Valid\n\
                       r s HSDir Running Valid\ns Running Valid\n";
        assert_eq!(listed(entries), 1);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for (authorities, relays) in [(0, 9), (1, 3), (3, 195), (usize::MAX, usize::MAX)] {
            let builder = Network::builder().authorities(authorities).relays(relays);
            assert!(
                matches!(builder.check_size(), Err(Error::Size { .. })),
                "{authorities} and {relays}"
            );
        }
        assert_eq!(Network::builder().check_size().unwrap(), 12);
    }
}
