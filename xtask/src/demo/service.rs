//! The service: its key, its instances, and the publisher that spreads it over them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use futures_util::future::try_join_all;
use onionweave_publish::config::Config;
use onionweave_publish::{InstanceName, Publisher, Report, Reports, SlotId};
use onionweave_ring::v2::{DescriptorId, Replica, ServiceId, TimePeriod};
use onionweave_ring::{Fingerprint, HashRing, UnixTime};
use onionweave_testnet::{Backend, Instance, Network, ServiceKey};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::screen::Screen;

/// The instances' names.
pub(crate) const NAMES: [&str; 3] = ["a", "b", "c"];

/// How long before its end a time period must not be used: the last hour has directories of the next one too.
const PERIOD_LEFT: u64 = 3600 + 900;
/// Keys that are drawn at most. About every second fits.
const DRAWS: usize = 100;

/// One of the six places that shall hold a descriptor.
pub(crate) struct Slot {
    pub(crate) id: SlotId,
    pub(crate) descriptor_id: DescriptorId,
    /// 1 for the first directory after the descriptor ID, and so on.
    pub(crate) rank: usize,
    /// Which relay of the network it is.
    pub(crate) relay: usize,
    /// The how manieth relay on the ring that is, counted from 1.
    pub(crate) place: usize,
}

/// Draws a key whose six directories are six relays, and whose time period does not end soon.
///
/// On the public network, with thousands of directories, that holds for nearly every key at nearly every time.
pub(crate) fn draw_key(network: &Network) -> anyhow::Result<(ServiceKey, ServiceId, TimePeriod)> {
    for draw in 1.. {
        let key = ServiceKey::generate()?;
        let service: ServiceId = key.service_id().parse()?;
        let now = UnixTime::from(SystemTime::now());
        let period = TimePeriod::at(&service, now);
        let slots = slots(network, &service, period);
        let mut relays: Vec<_> = slots.iter().map(|slot| slot.relay).collect();
        relays.sort_unstable();
        relays.dedup();
        let fits = relays.len() == slots.len() && period.seconds_left(&service, now) > PERIOD_LEFT;
        if fits || draw >= DRAWS {
            return Ok((key, service, period));
        }
    }
    unreachable!("the last draw is always taken")
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

/// The instances, each with a web server of its own that answers with the instance's name.
pub(crate) struct Service {
    pub(crate) instances: Vec<Instance>,
    _backends: Vec<Backend>,
}

impl Service {
    /// Starts the instances, which publish nothing by themselves.
    pub(crate) async fn start(network: &Network, key: &ServiceKey) -> anyhow::Result<Self> {
        let backends = try_join_all(NAMES.map(Backend::start)).await?;
        let instances = NAMES.iter().zip(&backends).map(|(&name, backend)| {
            let instance = network.instance(name).service_key(key).quiet(true).backend(backend);
            instance.start()
        });
        let instances = try_join_all(instances).await?;
        Ok(Self {
            instances,
            _backends: backends,
        })
    }

    /// Writes the publisher's configuration, and the key that it names.
    pub(crate) fn write_config(&self, folder: &Path, key: &ServiceKey) -> anyhow::Result<PathBuf> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(folder.join("private_key"))?;
        file.write_all(key.pem().as_bytes())?;
        let mut text = String::from("[publisher]\nheartbeat = \"2s\"\n\n[[service]]\nkey = \"private_key\"\n");
        for instance in &self.instances {
            let restart: Vec<_> = instance.restart_command().iter().map(|word| quoted(word)).collect();
            writeln!(text, "\n[[service.instance]]")?;
            writeln!(text, "name = {}", quoted(instance.name()))?;
            writeln!(text, "control = {}", quoted(&instance.control().to_string()))?;
            writeln!(text, "restart = [{}]", restart.join(", "))?;
        }
        let path = folder.join("publisher.toml");
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        Ok(path)
    }
}

/// A string as TOML writes it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A report, and when it came.
#[derive(Clone)]
pub(crate) struct Said {
    pub(crate) at: Instant,
    pub(crate) report: Report,
}

/// What the plan gives each slot: how many introduction points of which instance.
pub(crate) type Plan = BTreeMap<SlotId, BTreeMap<InstanceName, u32>>;

/// The running publisher and all that it said.
pub(crate) struct Publishing {
    publisher: Publisher,
    started: Instant,
    said: watch::Receiver<Vec<Said>>,
    listener: JoinHandle<()>,
}

impl Publishing {
    /// Starts the publisher on a configuration file, and shows what it says.
    pub(crate) fn start(config: &Path, screen: &Screen) -> anyhow::Result<Self> {
        let text = fs::read_to_string(config)?;
        let config = Config::parse(&text, config.parent().unwrap_or(Path::new("/")))?;
        let started = Instant::now();
        let (publisher, reports) = Publisher::start(&config)?;
        let (sender, said) = watch::channel(Vec::new());
        let listener = tokio::spawn(listen(reports, sender, screen.clone()));
        Ok(Self {
            publisher,
            started,
            said,
            listener,
        })
    }

    /// No report is older.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// The first report from `since` on that is the one meant, if it comes `within` a time from now.
    pub(crate) async fn said(&self, since: Instant, within: Duration, meant: impl Fn(&Report) -> bool) -> Option<Said> {
        let mut said = self.said.clone();
        let find = |said: &[Said]| {
            said.iter()
                .find(|said| said.at >= since && meant(&said.report))
                .cloned()
        };
        let found = timeout(within, said.wait_for(|said| find(said).is_some())).await;
        found.ok()?.ok().and_then(|said| find(&said))
    }

    /// The newest plan that was carried out; empty before the first.
    pub(crate) fn plan(&self) -> Plan {
        let said = self.said.borrow();
        let plans = said.iter().rev().filter_map(|said| match &said.report {
            Report::Proved(round) => Some(round.plan.clone()),
            _ => None,
        });
        plans.into_iter().next().unwrap_or_default()
    }

    /// Waits until the publisher has said nothing for a while.
    pub(crate) async fn quiet(&self, lull: Duration) {
        loop {
            let before = self.said.borrow().len();
            sleep(lull).await;
            if self.said.borrow().len() == before {
                return;
            }
        }
    }

    pub(crate) async fn stop(self) {
        self.publisher.stop().await;
        self.listener.abort();
    }
}

/// Shows and keeps what the publisher says.
async fn listen(mut reports: Reports, said: watch::Sender<Vec<Said>>, screen: Screen) {
    while let Some(report) = reports.recv().await {
        let (at, report) = (Instant::now(), report.report);
        screen.publisher(&words(&report), report.is_warning());
        said.send_modify(|said| said.push(Said { at, report }));
    }
}

/// A report in one line. The log of a publisher names each slot of a round; here a table does.
fn words(report: &Report) -> String {
    let Report::Proved(round) = report else {
        return report.to_string();
    };
    let causes: Vec<_> = round.causes.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "{} of {} directories written, read back and proved in {} ms: {}",
        round.proved.len(),
        round.plan.len(),
        round.took.as_millis(),
        causes.join(", ")
    );
    if !round.missing.is_empty() {
        let _ = write!(text, "; {} did not answer", round.missing.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_toml_reads_them() {
        assert_eq!(quoted(r#"unix:/a "b"\c"#), r#""unix:/a \"b\"\\c""#);
    }
}
