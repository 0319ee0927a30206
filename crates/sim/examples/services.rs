//! Measures what one publisher with many services needs: the time of a full round on one core, and memory.
//!
//! ```text
//! cargo run --release -p onionweave-sim --example services
//! ```
//!
//! Every service has a key and a machine of its own, and instances that offer three introduction points each. The directories are
//! simulated and answer at once, so what is measured is the publisher alone. Keys are made before the clock starts. The last lines
//! hold the figures against the aims.
#![allow(clippy::print_stdout, reason = "programs print")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Parser;
use onionweave_assign::PolicyName;
use onionweave_desc::v2::{Draft, IntroductionPoint, ServiceKey, UnverifiedDescriptor};
use onionweave_publish::{
    Action, Down, Event, Found, InstanceName, InstanceSettings, Machine, Moment, Settings, SlotId, Ticket, UploadAnswer,
};
use onionweave_ring::v2::{Replica, TimePeriod};
use onionweave_ring::{Directories, Fingerprint, UnixTime};
use rand::{RngExt as _, SeedableRng as _, TryRng as _};
use rand_chacha::ChaCha12Rng;

/// Whose introduction points' RSA keys are borrowed.
const DONOR: &[u8] = include_bytes!("../testdata/descriptor.txt");
/// As many directories as the public network had when it still served v2.
const DIRECTORIES: usize = 3000;
/// How long a full round may take.
const ROUND_AIM: Duration = Duration::from_secs(5);
/// How much memory all may need, in megabytes.
const MEMORY_AIM: u32 = 200;
/// A quarter past an hour.
const START: UnixTime = UnixTime::from_secs(1_795_349_700);

/// Measure a publisher with many services
#[derive(Parser)]
struct Args {
    /// How many services
    #[arg(long, default_value_t = 1000)]
    services: usize,
    /// How many instances each has
    #[arg(long, default_value_t = 6)]
    instances: usize,
}

/// A service's machine, and the directories as far as they serve it.
struct Service {
    key: ServiceKey,
    machine: Machine,
    held: BTreeMap<SlotId, Arc<[u8]>>,
}

/// What the machines asked for.
#[derive(Default)]
struct Asked {
    uploads: Vec<(usize, Ticket, SlotId, Arc<[u8]>)>,
    audits: Vec<(usize, Ticket, SlotId)>,
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
    let services: anyhow::Result<Vec<_>> = keys.into_iter().map(|key| Service::new(key, &names)).collect();
    let mut services = services?;
    let now = Moment::new(START, Duration::ZERO);
    measure("read the instances' descriptors", || {
        for (service, texts) in services.iter_mut().zip(&offers) {
            service.machine.handle(Event::Directories(directories.clone()), now);
            for (name, text) in names.iter().zip(texts) {
                let instance = || name.clone();
                service.machine.handle(Event::InstanceUp { instance: instance() }, now);
                let offer = Event::InstanceOffers {
                    instance: instance(),
                    text: text.clone(),
                    rebuilt: false,
                };
                service.machine.handle(offer, now);
            }
        }
    })?;
    let mut asked = Asked::default();
    poll(&mut services, now, &mut asked);
    round(
        "the first look at the ring, and a full round after it",
        &mut services,
        asked,
        now,
    )?;

    let hour = now.after(Duration::from_secs(46 * 60));
    let mut asked = Asked::default();
    let full_round = measure("a full round planned and signed: the hour turns", || {
        poll(&mut services, hour, &mut asked)
    })?;
    ensure!(
        asked.uploads.len() >= 6 * args.services,
        "{} uploads",
        asked.uploads.len()
    );
    println!(
        "           {} texts: in the last hour of its time period a service has twelve",
        asked.uploads.len()
    );
    round("and uploaded and read back", &mut services, asked, hour)?;

    let mut asked = Asked::default();
    measure("an instance of each service dies: planned and signed", || {
        for service in &mut services {
            let down = Event::InstanceDown {
                instance: names[0].clone(),
                why: Down::Lost("closed".into()),
            };
            service.machine.handle(down, hour);
        }
        poll(&mut services, hour, &mut asked);
    })?;
    round("and uploaded and read back", &mut services, asked, hour)?;

    measure("ten heartbeats that bring nothing new", || {
        for _ in 0..10 {
            for (service, texts) in services.iter_mut().zip(&offers) {
                for (name, text) in names.iter().zip(texts).skip(1) {
                    let offer = Event::InstanceOffers {
                        instance: name.clone(),
                        text: text.clone(),
                        rebuilt: false,
                    };
                    service.machine.handle(offer, hour);
                }
            }
        }
    })?;
    let different: BTreeSet<_> = services.iter().flat_map(|service| service.held.values()).collect();
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

impl Service {
    fn new(key: ServiceKey, names: &[InstanceName]) -> anyhow::Result<Self> {
        let instances = names.iter().cloned().map(InstanceSettings::new).collect();
        let policy = PolicyName::Mixed.policy();
        Ok(Self {
            machine: Machine::new(key.clone(), policy, Settings::new(instances)?, 1),
            key,
            held: BTreeMap::new(),
        })
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

/// Asks every machine for what it wants.
fn poll(services: &mut [Service], now: Moment, asked: &mut Asked) {
    for (i, service) in services.iter_mut().enumerate() {
        while let Some(action) = service.machine.poll(now) {
            match action {
                Action::Upload { ticket, slot, text, .. } => asked.uploads.push((i, ticket, slot, text)),
                Action::Audit { ticket, slot, .. } => asked.audits.push((i, ticket, slot)),
                _ => {}
            }
        }
    }
}

/// Answers what was asked, and what is asked then, until all is settled.
fn round(what: &str, services: &mut [Service], mut asked: Asked, now: Moment) -> anyhow::Result<()> {
    measure(what, || {
        while !asked.uploads.is_empty() || !asked.audits.is_empty() {
            let Asked { uploads, audits } = std::mem::take(&mut asked);
            for (i, ticket, slot, text) in uploads {
                services[i].held.insert(slot, text);
                let answer = UploadAnswer::Accepted;
                services[i]
                    .machine
                    .handle(Event::UploadAnswered { ticket, answer }, now);
            }
            for (i, ticket, slot) in audits {
                let text = services[i].held.get(&slot).map(|text| text.to_vec());
                let found = text.map_or(Found::Nothing, Found::Text);
                services[i].machine.handle(Event::Audited { ticket, found }, now);
            }
            poll(services, now, &mut asked);
        }
    })?;
    for service in services {
        ensure!(
            service.machine.is_settled(),
            "{} is not settled",
            service.key.service_id()
        );
    }
    Ok(())
}

/// Does the work, and says for how long it kept a core busy.
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

/// For how long this thread has run; other processes make it wait, but do not count.
fn processor_time() -> anyhow::Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = text
        .split_whitespace()
        .next()
        .context("/proc/thread-self/schedstat is empty")?;
    Ok(Duration::from_nanos(nanos.parse()?))
}

/// The most memory that this process ever had, in megabytes.
fn peak_memory() -> anyhow::Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: f64 = kib.context("/proc/self/status has no VmHWM")?.parse()?;
    Ok(kib * 1024.0 / 1e6)
}
