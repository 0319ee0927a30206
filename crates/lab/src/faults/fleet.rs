//! Setting of the faults: a network, a service on three instances, and a publisher with a Tor of
//! its own.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures_util::future::try_join_all;
use onionweave_control::Endpoint;
use onionweave_testnet::{Backend, Client, Instance, Network, Relay, ServiceKey, packages};
use tokio::time::sleep;

use super::Clock;
use super::disk::SmallDisk;
use super::forwarder::Forwarder;
use super::publisher::Publisher;
use crate::stage::{self, Held, NAMES, Reader, Slot, quoted, write_secret};

/// Shortest time, in seconds, that the service's time period must go on: the command, the last
/// hour, and the hour that a clock is set ahead.
pub(crate) const PERIOD_LEFT: Duration = Duration::from_secs(3 * 3600);
/// Relays besides the authorities. Six relays are directories of the service, and the others carry
/// circuits.
pub(crate) const RELAYS: usize = 12;
/// The instance whose clock can be set, the one that most things happen to, and the one with a
/// password and a connection that can be cut.
pub(crate) const CLOCK: usize = 0;
pub(crate) const VICTIM: usize = 1;
pub(crate) const PASSWORD: usize = 2;
/// The publisher's state folder, in the folder of its configuration.
const STATE: &str = "state";
/// Settings of the backends' checks.
pub(crate) const CHECK: &str = "every = \"1s\", fall = 2";
/// Longest time until everything is as before a fault: a directory that comes back empty is noticed
/// by the next audit.
const SETTLED_WITHIN: Duration = Duration::from_secs(100);
/// From one reading of the ring to the next.
const READ_AGAIN: Duration = Duration::from_millis(200);

/// Everything that runs.
pub(crate) struct Fleet {
    pub(crate) publisher: Publisher,
    pub(crate) instances: Vec<Instance>,
    backends: Vec<Option<Backend>>,
    addresses: Vec<SocketAddr>,
    pub(crate) uploader: Client,
    forwarder: Forwarder,
    disk: Option<SmallDisk>,
    /// File from which libfaketime reads the time by which one instance's clock is ahead; if that
    /// is there.
    ahead: Option<PathBuf>,
    password_file: PathBuf,
    pub(crate) key: ServiceKey,
    slots: Vec<Slot>,
    pub(crate) network: Network,
}

impl Fleet {
    /// Starts instances and publisher on a network that runs. `libfaketime` is there if clocks are
    /// to be set.
    pub(crate) async fn start(
        network: Network,
        program: PathBuf,
        libfaketime: Option<&Path>,
        small_disk: bool,
        clock: &Clock,
    ) -> anyhow::Result<Self> {
        let (key, id, period) = stage::draw_key(&network, PERIOD_LEFT)?;
        let slots = stage::slots(&network, &id, period);
        let folder = network.folder().join("publisher");
        DirBuilder::new().mode(0o700).create(&folder)?;
        let ahead = libfaketime.map(|_| folder.join("ahead"));
        let (password_file, password) = (folder.join("password"), Password::first());
        write_secret(&password_file, password.word)?;

        let aside = keep_aside(&network, &slots);
        let backends = try_join_all(NAMES.map(Backend::start)).await?;
        let hash = password.hash(&network)?;
        let instances = (0..).zip(&backends).map(|(i, backend)| {
            let mut instance = network
                .instance(backend.name())
                .service_key(&key)
                .quiet(true)
                .backend(backend)
                .torrc(&aside);
            if i == PASSWORD {
                instance = instance.torrc(format!("HashedControlPassword {hash}"));
            }
            if let (CLOCK, Some(library), Some(ahead)) = (i, libfaketime, &ahead) {
                instance = instance
                    .env("LD_PRELOAD", library.to_string_lossy())
                    .env("FAKETIME_TIMESTAMP_FILE", ahead.to_string_lossy())
                    .env("FAKETIME_CACHE_DURATION", "1")
                    // Deadlines are none of the wall clock's.
                    .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                    .env("DONT_FAKE_MONOTONIC", "1");
            }
            instance.start()
        });
        if let Some(ahead) = &ahead {
            set_ahead(ahead, Duration::ZERO)?;
        }
        let instances = try_join_all(instances).await?;
        let uploader = network.client("uploader").torrc(&aside).start().await?;
        let cut = instances.get(PASSWORD).context("there are three instances")?;
        let Endpoint::Unix(control) = cut.control() else {
            bail!("{} is no unix socket", cut.control());
        };
        let forwarder = Forwarder::start(folder.join("forwarded"), control)?;
        let config = write_config(&folder, &key, &uploader, &instances, &backends, &forwarder)?;
        let disk = small_disk.then(|| SmallDisk::start(&folder.join(STATE))).transpose()?;
        let before = disk.as_ref().map(SmallDisk::enter).unwrap_or_default();
        let publisher = Publisher::start(before, program, config, clock.clone())?;
        Ok(Self {
            publisher,
            disk,
            addresses: backends.iter().map(Backend::address).collect(),
            backends: backends.into_iter().map(Some).collect(),
            instances,
            uploader,
            forwarder,
            ahead,
            password_file,
            key,
            slots,
            network,
        })
    }

    /// The line that keeps clients' circuits off the service's directories.
    pub(crate) fn aside(&self) -> String {
        keep_aside(&self.network, &self.slots)
    }

    /// A Tor that reads the ring and does nothing else.
    pub(crate) async fn reader(&self) -> anyhow::Result<Reader> {
        let id = self.key.service_id().parse()?;
        let slots = stage::slots(
            &self.network,
            &id,
            self.slots.first().context("there are slots")?.id.period.try_into()?,
        );
        Ok(Reader::new(self.network.probe("probe").await?, id, slots))
    }

    /// The relays that are the service's directories, those of the first replica first.
    pub(crate) fn directories(&self) -> Vec<&Relay> {
        let relays = self.network.directories();
        self.slots.iter().filter_map(|slot| relays.get(slot.relay)).collect()
    }

    pub(crate) fn instance(&self, place: usize) -> anyhow::Result<&Instance> {
        self.instances
            .get(place)
            .with_context(|| format!("there is no instance {place}"))
    }

    pub(crate) fn end_backend(&mut self, place: usize) {
        if let Some(backend) = self.backends.get_mut(place) {
            *backend = None;
        }
    }

    pub(crate) async fn start_backend(&mut self, place: usize) -> anyhow::Result<()> {
        let (Some(backend), Some(&address)) = (self.backends.get_mut(place), self.addresses.get(place)) else {
            bail!("there is no backend {place}");
        };
        *backend = Some(Backend::start_at(NAMES.get(place).copied().unwrap_or("?"), address).await?);
        Ok(())
    }

    /// Gives an instance another password for its control port, and cuts the publisher off.
    pub(crate) async fn change_password(&self) -> anyhow::Result<()> {
        let hash = Password::second().hash(&self.network)?;
        let (connection, _events) = self.instance(PASSWORD)?.connect().await?;
        connection.set_conf(&[("HashedControlPassword", &hash)]).await?;
        self.forwarder.cut();
        Ok(())
    }

    /// Gives the instance its first password again, which is that of its torrc, and cuts nobody
    /// off.
    pub(crate) async fn restore_password(&self) -> anyhow::Result<()> {
        let hash = Password::first().hash(&self.network)?;
        let (connection, _events) = self.instance(PASSWORD)?.connect().await?;
        connection.set_conf(&[("HashedControlPassword", &hash)]).await?;
        write_secret(&self.password_file, Password::first().word)
    }

    /// Tells the publisher the other password.
    pub(crate) fn tell_password(&self) -> anyhow::Result<()> {
        write_secret(&self.password_file, Password::second().word)
    }

    /// Empties the publisher's state folder and leaves no room in it.
    pub(crate) fn fill_state(&self) -> anyhow::Result<()> {
        self.disk.as_ref().context("there is no disk to fill")?.fill()
    }

    /// Makes room in the publisher's state folder.
    pub(crate) fn empty_state(&self) -> anyhow::Result<()> {
        self.disk.as_ref().context("there is no disk to empty")?.empty()
    }

    /// Sets an instance's clock ahead.
    pub(crate) fn set_clock_ahead(&self, by: Duration) -> anyhow::Result<()> {
        set_ahead(self.ahead.as_ref().context("there is no libfaketime")?, by)
    }

    /// Waits until a reading of the ring finds that every directory hands out points that are
    /// offered, and that every instance has a part. Returns when that reading ended.
    pub(crate) async fn settled(&self, reader: &mut Reader, clock: &Clock) -> anyhow::Result<Option<f64>> {
        let deadline = clock.now() + SETTLED_WITHIN.as_secs_f64();
        loop {
            reader.learn(&self.instances).await?;
            let held = reader.read().await?;
            let sound = held
                .iter()
                .all(|held| matches!(held, Held::Genuine { strangers: 0, .. }));
            let all = (0..NAMES.len()).all(|i| held.iter().any(|held| held.instances().contains(&i)));
            let now = clock.now();
            if sound && all {
                return Ok(Some(now));
            }
            if now > deadline {
                return Ok(None);
            }
            sleep(READ_AGAIN).await;
        }
    }
}

/// libfaketime, which Debian's package of that name brings.
pub(crate) fn libfaketime() -> anyhow::Result<PathBuf> {
    packages::ensure(&["libfaketime"])?;
    let folders = fs::read_dir("/usr/lib")?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found = folders
        .map(|folder| folder.join("faketime/libfaketimeMT.so.1"))
        .filter(|path| path.is_file());
    found.next().context("libfaketimeMT.so.1 is not below /usr/lib")
}

fn set_ahead(file: &Path, by: Duration) -> anyhow::Result<()> {
    // Renamed into place, so that nobody reads half of it.
    let new = file.with_extension("new");
    fs::write(&new, format!("+{}\n", by.as_secs())).with_context(|| new.display().to_string())?;
    fs::rename(&new, file).with_context(|| file.display().to_string())
}

/// The line that keeps circuits off the directories of a service, as chance does among thousands of
/// relays.
pub(crate) fn keep_aside(network: &Network, slots: &[Slot]) -> String {
    let directories = slots.iter().filter_map(|slot| network.directories().get(slot.relay));
    let fingerprints: Vec<_> = directories
        .map(|relay| format!("${}", relay.fingerprint_hex()))
        .collect();
    format!("ExcludeNodes {}", fingerprints.join(","))
}

/// A password of a control port.
struct Password {
    word: &'static str,
}

impl Password {
    fn first() -> Self {
        Self { word: "first" }
    }

    fn second() -> Self {
        Self { word: "second" }
    }

    /// Returns the value for `HashedControlPassword`.
    fn hash(&self, network: &Network) -> anyhow::Result<String> {
        let mut command = Command::new(network.tor().path());
        let output = command.args(["--quiet", "--hash-password", self.word]).output();
        let output = output.with_context(|| network.tor().path().display().to_string())?;
        let output = String::from_utf8_lossy(&output.stdout);
        let hash = output.lines().map(str::trim).find(|line| line.starts_with("16:"));
        let hash = hash.with_context(|| format!("{} hashes no password", network.tor().path().display()))?;
        ensure!(hash.len() > 3, "the hash of a password is empty");
        Ok(hash.to_owned())
    }
}

/// Writes the publisher's configuration, and the key that it names.
fn write_config(
    folder: &Path,
    key: &ServiceKey,
    uploader: &Client,
    instances: &[Instance],
    backends: &[Backend],
    forwarder: &Forwarder,
) -> anyhow::Result<PathBuf> {
    write_secret(&folder.join("private_key"), key.pem())?;
    let mut text = format!(
        "[publisher]\ncontrol = {}\nstate = {}\n\n[[service]]\nkey = \"private_key\"\n",
        quoted(&uploader.control().to_string()),
        quoted(STATE)
    );
    for (i, (instance, backend)) in instances.iter().zip(backends).enumerate() {
        writeln!(text, "\n[[service.instance]]\nname = {}", quoted(instance.name()))?;
        if i == PASSWORD {
            let socket = format!("unix:{}", forwarder.path().display());
            writeln!(text, "control = {}\npassword_file = \"password\"", quoted(&socket))?;
        } else {
            writeln!(text, "control = {}", quoted(&instance.control().to_string()))?;
        }
        writeln!(text, "check = {{ http = \"http://{}/\", {CHECK} }}", backend.address())?;
    }
    let path = folder.join("publisher.toml");
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path)
}
