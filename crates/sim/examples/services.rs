//! Measures the time of a full round on one core, and the memory, of a publisher with many
//! services.
//!
//! ```text
//! cargo run --release -p onionweave-sim --example services
//! ```
//!
//! Every service has a key and a machine of its own, and instances that offer three introduction
//! points each. The directories are simulated and answer at once, so the publisher alone is
//! measured. Keys are made before the clock starts. The last lines hold the figures against the
//! aims.
#![allow(clippy::print_stdout, reason = "programs print")]

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Parser;
use onionweave_assign::PolicyName;
use onionweave_desc::v2::{Draft, IntroductionPoint, ServiceKey, UnverifiedDescriptor};
use onionweave_publish::{
    Action, Down, Event, Found, InstanceName, InstanceSettings, Machine, Settings, SlotId, Ticket, UploadAnswer,
};
use onionweave_ring::v2::{Replica, TimePeriod};
use onionweave_ring::{Directories, Fingerprint, UnixTime};
use onionweave_sim::{Engine, World};
use rand::{RngExt as _, SeedableRng as _, TryRng as _};
use rand_chacha::ChaCha12Rng;

/// Descriptor whose introduction points lend their RSA keys.
const DONOR: &[u8] = include_bytes!("../testdata/descriptor.txt");
/// Number of directories that the public network had when it still served v2.
const DIRECTORIES: usize = 3000;
/// Longest time that a full round may take.
const ROUND_AIM: Duration = Duration::from_secs(5);
/// Most memory, in megabytes, that all may need.
const MEMORY_AIM: u32 = 200;
/// Start of the measurement, a quarter past an hour.
const START: UnixTime = UnixTime::from_secs(1_795_349_700);

/// Measure a publisher with many services
#[derive(Parser)]
struct Args {
    /// Number of services
    #[arg(long, default_value_t = 1000)]
    services: usize,
    /// Number of instances of each service
    #[arg(long, default_value_t = 6)]
    instances: usize,
}

/// Services, each with a machine of its number, and the directories that serve them.
struct Services {
    engine: Engine<Infallible>,
    keys: Vec<ServiceKey>,
    held: Vec<BTreeMap<SlotId, Arc<[u8]>>>,
    asked: Asked,
}

/// Actions that are not answered yet, each with the number of its machine.
#[derive(Default)]
struct Asked {
    uploads: Vec<(usize, Ticket, SlotId, Arc<[u8]>)>,
    audits: Vec<(usize, Ticket, SlotId)>,
}

impl World for Services {
    type Due = Infallible;

    fn engine(&mut self) -> &mut Engine<Infallible> {
        &mut self.engine
    }

    fn act(&mut self, service: usize, action: Action) {
        match action {
            Action::Upload { ticket, slot, text, .. } => self.asked.uploads.push((service, ticket, slot, text)),
            Action::Audit { ticket, slot, .. } => self.asked.audits.push((service, ticket, slot)),
            _ => {}
        }
    }

    fn happen(&mut self, due: Infallible) {
        match due {}
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let donors = UnverifiedDescriptor::parse(DONOR)?.verify()?.introduction_points()?;
    let directories = (0..DIRECTORIES).map(|_| Fingerprint::from(rng.random::<[u8; 20]>()));
    let directories = Arc::new(directories.collect::<Directories>());
    let names: Vec<InstanceName> = (0..args.instances)
        .map(|i| format!("instance{i}").try_into())
        .collect::<Result<_, _>>()?;

    let began = Instant::now();
    let mut keys = Vec::new();
    let mut offers = Vec::new();
    for _ in 0..args.services {
        let key = ServiceKey::generate(|bytes| rng.try_fill_bytes(bytes))?;
        let period = TimePeriod::at(&key.service_id(), START);
        let texts = (0..args.instances)
            .map(|_| {
                let points = points(&mut rng, &donors)?;
                let text = Draft::new(points).sign(&key, period, Replica::ALL[1], START.start_of_hour())?;
                anyhow::Ok(text.text().to_vec())
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        keys.push(key);
        offers.push(texts);
    }
    println!(
        "{} keys and {} descriptors of instances made in {:.1} s",
        args.services,
        args.services * args.instances,
        began.elapsed().as_secs_f64()
    );

    let before = peak_memory()?;
    let mut services = Services::new(keys, &names)?;
    measure("read the instances' descriptors", || {
        for (service, texts) in offers.iter().enumerate() {
            services.tell(service, Event::Directories(directories.clone()));
            for (name, text) in names.iter().zip(texts) {
                let instance = name.clone();
                services.tell(service, Event::InstanceUp { instance });
                services.offer(service, [(name, text)]);
            }
        }
    })?;
    services.round("the first look at the ring, and a full round after it")?;

    services.engine.sleep_until(Duration::from_secs(46 * 60));
    let full_round = measure("a full round planned and signed: the hour turns", || {
        (0..args.services).for_each(|service| services.call(service));
    })?;
    let texts = services.asked.uploads.len();
    ensure!(texts >= 6 * args.services, "{texts} uploads");
    println!("           {texts} texts: in the last hour of its time period a service has twelve");
    services.round("and uploaded and read back")?;

    measure("an instance of each service dies: planned and signed", || {
        for service in 0..args.services {
            let down = Event::InstanceDown {
                instance: names[0].clone(),
                why: Down::Lost("closed".into()),
            };
            services.tell(service, down);
        }
    })?;
    services.round("and uploaded and read back")?;

    measure("ten heartbeats that bring nothing new", || {
        for _ in 0..10 {
            for (service, texts) in offers.iter().enumerate() {
                services.offer(service, names.iter().zip(texts).skip(1));
            }
        }
    })?;
    let different: BTreeSet<_> = services.held.iter().flat_map(BTreeMap::values).collect();
    println!("{} different texts lie at the directories", different.len());
    println!(
        "a full round planned and signed: {:.2} s on one core, where {} s are the aim for 1 000 services of six instances",
        full_round.as_secs_f64(),
        ROUND_AIM.as_secs()
    );
    println!(
        "peak memory: {:.0} MB, of which {before:.0} MB before there was a machine, where {MEMORY_AIM} MB are the aim",
        peak_memory()?
    );
    Ok(())
}

impl Services {
    fn new(keys: Vec<ServiceKey>, names: &[InstanceName]) -> anyhow::Result<Self> {
        let mut engine = Engine::new(START);
        for key in &keys {
            let instances = names.iter().cloned().map(InstanceSettings::new).collect();
            let policy = PolicyName::Mixed.policy();
            engine.add(Machine::new(key.clone(), policy, Settings::new(instances)?, 1));
        }
        Ok(Self {
            engine,
            held: vec![BTreeMap::new(); keys.len()],
            keys,
            asked: Asked::default(),
        })
    }

    /// Tells a service's machine what instances offer.
    fn offer<'a>(&mut self, service: usize, offers: impl IntoIterator<Item = (&'a InstanceName, &'a Vec<u8>)>) {
        for (instance, text) in offers {
            let offer = Event::InstanceOffers {
                instance: instance.clone(),
                text: text.clone(),
                rebuilt: false,
            };
            self.tell(service, offer);
        }
    }

    /// Answers all that was asked for, and all that is asked for then, until nothing is.
    fn round(&mut self, what: &str) -> anyhow::Result<()> {
        measure(what, || {
            loop {
                let Asked { uploads, audits } = std::mem::take(&mut self.asked);
                if uploads.is_empty() && audits.is_empty() {
                    break;
                }
                for (service, ticket, slot, text) in uploads {
                    self.held[service].insert(slot, text);
                    let answer = UploadAnswer::Accepted;
                    self.tell(service, Event::UploadAnswered { ticket, answer });
                }
                for (service, ticket, slot) in audits {
                    let text = self.held[service].get(&slot).map(|text| text.to_vec());
                    let found = text.map_or(Found::Nothing, Found::Text);
                    self.tell(service, Event::Audited { ticket, found });
                }
            }
        })?;
        for (service, key) in self.keys.iter().enumerate() {
            let machine = self.engine.machine(service);
            ensure!(machine.is_settled(), "{} is not settled", key.service_id());
        }
        Ok(())
    }
}

fn points(rng: &mut ChaCha12Rng, donors: &[IntroductionPoint]) -> anyhow::Result<Vec<IntroductionPoint>> {
    donors
        .iter()
        .take(3)
        .map(|donor| {
            let relay = Fingerprint::from(rng.random::<[u8; 20]>());
            let address = rng.random::<[u8; 4]>().into();
            let (onion_key, service_key) = (donor.onion_key().clone(), donor.service_key().clone());
            Ok(IntroductionPoint::new(relay, address, 9001, onion_key, service_key)?)
        })
        .collect()
}

/// Does the work, and prints and returns the time for which it kept a core busy.
fn measure(what: &str, work: impl FnOnce()) -> anyhow::Result<Duration> {
    let (began, ran) = (Instant::now(), processor_time()?);
    work();
    let (took, ran) = (began.elapsed(), processor_time()? - ran);
    println!(
        "{:8.3} s on one core ({:.3} s in all)  {what}",
        ran.as_secs_f64(),
        took.as_secs_f64()
    );
    Ok(ran)
}

/// Returns the time for which this thread has run; time in which other processes run does not
/// count.
fn processor_time() -> anyhow::Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = text
        .split_whitespace()
        .next()
        .context("/proc/thread-self/schedstat is empty")?;
    Ok(Duration::from_nanos(nanos.parse()?))
}

/// Returns the most memory, in megabytes, that this process ever had.
fn peak_memory() -> anyhow::Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: f64 = kib.context("/proc/self/status has no VmHWM")?.parse()?;
    Ok(kib * 1024.0 / 1e6)
}
