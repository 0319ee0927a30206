//! A service whose instances the publisher runs itself, one of them a spare, and what becomes of it
//! when one is killed.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use onionweave_control::{Connection, Credentials, Endpoint, Options};
use onionweave_ring::v2::{ServiceId, TimePeriod};
use onionweave_testnet::{Backend, Network, Role, ServiceKey};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{sleep, timeout};

use super::Clock;
use super::census::Asked;
use super::fleet::{PERIOD_LEFT, keep_aside};
use super::publisher::Publisher;
use crate::stage::{self, Held, NAMES, Reader, quoted, write_secret};

/// Number of instances that serve; one more is a spare.
const SERVING: usize = NAMES.len();
/// Longest time until all of them serve or wait.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// Longest time that a question to an instance may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// From one look to the next.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The publisher with its pool. Its instances end with it.
pub(crate) struct Pooled {
    pub(crate) publisher: Publisher,
    pub(crate) key: ServiceKey,
    id: ServiceId,
    period: TimePeriod,
    folder: PathBuf,
    _backend: Backend,
}

impl Pooled {
    /// Starts it on a network that runs.
    pub(crate) async fn start(network: &Network, program: &Path, clock: &Clock) -> anyhow::Result<Self> {
        let (key, id, period) = stage::draw_key(network, PERIOD_LEFT)?;
        let folder = network.folder().join("pooled");
        DirBuilder::new().mode(0o700).create(&folder)?;
        write_secret(&folder.join("private_key"), key.pem())?;
        let backend = Backend::start("pool").await?;
        // How much memory each may use is for the pool to say.
        let lines = network.torrc_lines(Role::Instance).into_iter();
        let lines = lines.filter(|line| !line.starts_with("MaxMemInQueues"));
        let lines = lines.chain([keep_aside(network, &stage::slots(network, &id, period))]);
        let lines: Vec<_> = lines.map(|line| quoted(&line)).collect();
        let text = format!(
            "[publisher]\nstate = \"state\"\n\n[pool]\nsize = {SERVING}\nspare = 1\nmemory = \"256 MB\"\ntor = {}\ntorrc = [{}]\n\n\
             [[service]]\nkey = \"private_key\"\nports = [\"80 {}\"]\n",
            quoted(&network.tor().path().to_string_lossy()),
            lines.join(", "),
            backend.address(),
        );
        let config = folder.join("publisher.toml");
        fs::write(&config, text).with_context(|| config.display().to_string())?;
        Ok(Self {
            publisher: Publisher::start(Vec::new(), program.to_owned(), config, clock.clone())?,
            key,
            id,
            period,
            folder,
            _backend: backend,
        })
    }

    /// A Tor that reads its ring. The first instance is 0 there.
    pub(crate) async fn reader(&self, network: &Network) -> anyhow::Result<Reader> {
        let slots = stage::slots(network, &self.id, self.period);
        Ok(Reader::new(network.probe("poolprobe").await?, self.id, slots))
    }

    /// Returns the names of the instances, and the ways to ask them.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        let asked = |place: usize| {
            let folder = self.folder.join("state").join("pool").join((place + 1).to_string());
            Asked {
                name: name(place),
                control: Endpoint::Unix(folder.join("control")),
                credentials: Credentials::cookie_file(folder.join("cookie")),
            }
        };
        (0..=SERVING).map(asked).collect()
    }

    /// Waits until one more instance than serve offers introduction points, and the directories
    /// hold those of all that serve. Returns which these are.
    pub(crate) async fn settled(&self, reader: &mut Reader) -> anyhow::Result<BTreeSet<usize>> {
        let settled = timeout(READY_WITHIN, async {
            loop {
                let mut offering = 0;
                for (place, asked) in self.asked().iter().enumerate() {
                    if let Some(text) = ask(asked, &format!("hs/service/desc/id/{}", self.id)).await {
                        reader.learn_from(place, text.as_bytes())?;
                        offering += 1;
                    }
                }
                let held = reader.read().await?;
                let sound = held
                    .iter()
                    .all(|held| matches!(held, Held::Genuine { strangers: 0, .. }));
                let serving: BTreeSet<_> = held.iter().flat_map(Held::instances).collect();
                if offering > SERVING && sound && serving.len() == SERVING {
                    return anyhow::Ok(serving);
                }
                sleep(LOOK_AGAIN).await;
            }
        });
        settled.await.context("the pool did not serve in time")?
    }

    /// Kills an instance.
    pub(crate) async fn kill(&self, place: usize) -> anyhow::Result<()> {
        let asked = self.asked();
        let asked = asked
            .get(place)
            .with_context(|| format!("there is no {}", name(place)))?;
        let pid = ask(asked, "process/pid")
            .await
            .with_context(|| format!("{} does not answer", asked.name))?;
        let process = pid.parse().ok().and_then(Pid::from_raw);
        let process = process.with_context(|| format!("{} has the process {pid:?}", asked.name))?;
        kill_process(process, Signal::KILL).with_context(|| format!("{} cannot be killed", asked.name))
    }
}

/// Returns the publisher's name for an instance of its pool.
pub(crate) fn name(place: usize) -> String {
    format!("pool-{}", place + 1)
}

async fn ask(asked: &Asked, key: &str) -> Option<String> {
    let options = Options::default()
        .connect_deadline(ANSWER_WITHIN)
        .command_deadline(ANSWER_WITHIN);
    let (tor, _events) = Connection::connect(&asked.control, &asked.credentials, &options)
        .await
        .ok()?;
    tor.get_info(key).await.ok()
}
