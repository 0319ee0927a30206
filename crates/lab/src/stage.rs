//! Setting of the commands: a private network, a service's key, the slots of its descriptors, and a
//! Tor that reads them.

mod reading;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use futures_util::StreamExt as _;
use futures_util::stream;
use onionweave_assign::PolicyName;
use onionweave_driver::Service;
use onionweave_publish::{InstanceName, SlotId};
use onionweave_ring::v2::{DescriptorId, Replica, ServiceId, TimePeriod};
use onionweave_ring::{Fingerprint, HashRing, UnixTime};
use onionweave_testnet::{Client, Instance, Network, NetworkBuilder, Progress, ServiceKey, packages, tor};
use tokio::signal::unix::{SignalKind, signal};

pub(crate) use reading::{Held, Reader, difference, planned, shares, verified};

use crate::screen::{Screen, Wait, good};

/// Runs a command's story on a private network, and ends everything with it, also with ctrl-c.
pub(crate) fn play<T>(story: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    if std::env::var_os(tor::VARIABLE).is_none() {
        packages::ensure(&tor::missing_packages())?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        // What is dropped half-way ends its processes.
        tokio::select! {
            result = story => result,
            _ = tokio::signal::ctrl_c() => bail!("interrupted; everything that ran has ended"),
            _ = terminate.recv() => bail!("terminated; everything that ran has ended"),
        }
    });
    // A tor that is just being built is not waited for.
    runtime.shutdown_background();
    result
}

/// The instances' names.
pub(crate) const NAMES: [&str; 3] = ["a", "b", "c"];

/// Number of clients that build circuits at once: each is a process, and a small machine has two
/// cores.
pub(crate) const AT_ONCE: usize = 3;
/// A place among the six that hold a descriptor.
pub(crate) struct Slot {
    pub(crate) id: SlotId,
    pub(crate) descriptor_id: DescriptorId,
    /// 1 for the first directory after the descriptor ID, and so on.
    pub(crate) rank: usize,
    /// Index of the relay in the network.
    pub(crate) relay: usize,
    /// Position on the ring, from 1.
    pub(crate) place: usize,
}

/// Draws a key whose six directories are six relays, and whose time period goes on for longer than
/// `period_left`. Returns its service and the present period too.
pub(crate) fn draw_key(
    network: &Network,
    period_left: Duration,
) -> anyhow::Result<(ServiceKey, ServiceId, TimePeriod)> {
    let key = network.draw_key(period_left)?;
    let service = key.service_id().parse()?;
    let period = TimePeriod::at(&service, UnixTime::from(SystemTime::now()));
    Ok((key, service, period))
}

/// Returns a service without instances under a policy, as the publisher is told of it.
pub(crate) fn publishing(key: &ServiceKey, policy: PolicyName) -> anyhow::Result<Service> {
    let key = onionweave_desc::v2::ServiceKey::from_pem(key.pem())?;
    Ok(Service::new(key, policy.policy()))
}

/// Returns an instance as the publisher is told of it: by its name and its control port.
pub(crate) fn described(instance: &Instance) -> anyhow::Result<onionweave_driver::Instance> {
    Ok(onionweave_driver::Instance::new(
        instance.name().parse()?,
        instance.control(),
    ))
}

/// The places that hold the service's descriptors, in the order of replicas and of the ring.
pub(crate) fn slots(network: &Network, service: &ServiceId, period: TimePeriod) -> Vec<Slot> {
    let relays = network.directories();
    let ring = HashRing::new(relays.iter().map(|relay| Fingerprint::from(relay.fingerprint())));
    let mut slots = Vec::new();
    for replica in Replica::ALL {
        let descriptor_id = DescriptorId::of(service, period, replica);
        for (before, directory) in descriptor_id.responsible(&ring).enumerate() {
            let relay = relays
                .iter()
                .position(|relay| relay.fingerprint() == *directory.as_bytes());
            let place = ring.iter().position(|fingerprint| fingerprint == directory);
            slots.push(Slot {
                id: SlotId::new(period, replica, directory),
                descriptor_id,
                rank: before + 1,
                relay: relay.unwrap_or_default(),
                place: place.unwrap_or_default() + 1,
            });
        }
    }
    slots
}

/// Number of introduction points of each instance that the plan gives each slot.
pub(crate) type Plan = BTreeMap<SlotId, BTreeMap<InstanceName, u32>>;

/// Finds or builds tor, and starts the network.
pub(crate) async fn start_network(screen: &Screen, network: NetworkBuilder) -> anyhow::Result<Network> {
    let wait = Arc::new(screen.wait("looking for tor", ""));
    let (step, show) = (Arc::clone(&wait), screen.clone());
    let tor = tokio::task::spawn_blocking(move || tor::binary_with(|progress| show_build(&step, progress))).await??;
    show.event(&format!(
        "{} tor {} at {}",
        good("✓"),
        tor.version(),
        tor.path().display()
    ));
    let step = Arc::clone(&wait);
    let network = network
        .tor(tor)
        .on_progress(move |progress| show_start(&step, progress))
        .start()
        .await?;
    drop(wait);
    screen.event(&format!(
        "{} {} authorities and {} more relays on 127.0.0.1, all of them directories of onion services",
        good("✓"),
        network.authorities().len(),
        network.relays().len()
    ));
    Ok(network)
}

fn show_build(wait: &Wait, progress: tor::Progress) {
    match progress {
        tor::Progress::Waiting => wait.set("another process builds tor", ""),
        tor::Progress::Fetching => wait.set("fetching the source of tor", ""),
        tor::Progress::Configuring => wait.set("building tor, this once: configure", ""),
        tor::Progress::Compiling { done, total } => {
            wait.set("building tor, this once: compiling", &format!("file {done} of {total}"));
        }
        _ => {}
    }
}

fn show_start(wait: &Wait, progress: Progress) {
    match progress {
        Progress::Tor(progress) => show_build(wait, progress),
        Progress::Started { relays } => wait.set(&format!("the authorities' first vote on {relays} relays"), ""),
        Progress::Consensus { listed, relays } => {
            wait.set("a consensus that names every relay", &format!("({listed} of {relays})"));
        }
        Progress::Circuits { ready, relays } => wait.set("a circuit at every relay", &format!("({ready} of {relays})")),
        _ => {}
    }
}

/// Starts clients, a few at a time. A line is added to the configuration of each, if there is one.
pub(crate) async fn start_clients(
    network: &Network,
    count: usize,
    line: Option<&str>,
    started: impl Fn(usize),
) -> anyhow::Result<Vec<Client>> {
    let starting = (1..=count).map(|i| {
        let client = network.client(format!("client{i}"));
        line.into_iter().fold(client, |client, line| client.torrc(line)).start()
    });
    let mut starting = stream::iter(starting).buffer_unordered(AT_ONCE);
    let mut clients = Vec::new();
    while let Some(client) = starting.next().await {
        clients.push(client?);
        started(clients.len());
    }
    Ok(clients)
}

/// A string as TOML writes it.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Writes a file that only its owner may read, over one that may be there.
pub(crate) fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_toml_reads_them() {
        assert_eq!(quoted(r#"unix:/a "b"\c"#), r#""unix:/a \"b\"\\c""#);
    }
}
