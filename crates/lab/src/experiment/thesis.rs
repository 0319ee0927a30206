//! Ceysun Sucu, *Tor: Hidden Service Scaling*, University College London, 2015: the set-up, and
//! what was found.
//!
//! The numbers are those of the text; of the figures only the captions are known here. Where the
//! thesis is silent, the set-up is that of the Shadow configuration that its author published
//! (instances start at 900 s, clients at 1 200 s and up to a minute later).

use std::ops::RangeInclusive;
use std::time::Duration;

use onionweave_sim::{Crowd, InstancePlan, Scenario};

const SECOND: Duration = Duration::from_secs(1);

/// Relays besides the authority, each of them a directory (page 24).
pub(crate) const DIRECTORIES: usize = 100;
/// Clients (page 24).
pub(crate) const CLIENTS: u32 = 300;
/// Length of an experiment: "50,000 ticks" of one second (page 24).
pub(crate) const TICKS: Duration = Duration::from_secs(50_000);
/// Factor by which the experiment of figure 4.1 D is longer (page 26).
pub(crate) const LONGER: u32 = 8;
/// Time at which an instance is shut down (page 24).
pub(crate) const DEATH: Duration = Duration::from_secs(20_000);
/// Over how much time the bytes written are averaged: "every thousand ticks" (page 25).
pub(crate) const AVERAGED: Duration = Duration::from_secs(1_000);

/// Time at which instances start (the author's configuration).
pub(crate) const INSTANCES_START: Duration = Duration::from_secs(900);
/// Times at which clients start (the author's configuration).
pub(crate) const CLIENTS_START: RangeInclusive<Duration> = Duration::from_secs(1_201)..=Duration::from_secs(1_260);
/// Time that a client waits between two transfers (the author's configuration).
pub(crate) const PAUSE: RangeInclusive<Duration> = SECOND..=Duration::from_secs(60);
/// Number of bytes of a transfer (the author's configuration).
pub(crate) const TRANSFER: u64 = 50 * 1024;
/// Number of bytes that an instance can send in a second (the author's configuration).
pub(crate) const CAP: u64 = 1_024_000;
/// The transfers of the experiment with a fixed number of bytes, for each client (the author's
/// configuration).
pub(crate) const DOWNLOADS: u32 = 10;
/// The bytes of each of them (the author's configuration).
pub(crate) const DOWNLOAD: u64 = 1024 * 1024;

/// The clients, requests and waiting of figure 5.3: ten clients, five hours, one request every
/// three minutes (page 34).
pub(crate) const MIXED_CLIENTS: u32 = 10;
pub(crate) const MIXED_REQUESTS: u32 = 100;
pub(crate) const MIXED_PAUSE: Duration = Duration::from_secs(180);

/// Something that the thesis states.
pub(crate) struct Finding {
    pub(crate) page: u32,
    /// Each instance's part of the traffic, in percent, the largest first; empty where the thesis
    /// gives no numbers.
    pub(crate) shares: &'static [f64],
}

/// Figure 4.1: two instances, three, and six; the six are described only (see
/// [`SIX_WITH_TRAFFIC`]).
pub(crate) const RACE_OF_TWO: Finding = Finding {
    page: 25,
    shares: &[51.0, 49.0],
};
pub(crate) const RACE_OF_THREE: Finding = Finding {
    page: 25,
    shares: &[50.8, 29.7, 19.4],
};
/// "only four receive traffic, the remaining two only receive a tiny amount at just above zero
/// percent" (page 25).
pub(crate) const SIX_WITH_TRAFFIC: usize = 4;

/// Figure 4.3, graph B: about so many ticks without service after the instance that published last
/// had died (page 27).
pub(crate) const OUTAGE: Duration = Duration::from_secs(2_000);
pub(crate) const OUTAGE_PAGE: u32 = 27;

/// Shares that the thesis's plan gives so many instances on six directories, in percent, the
/// largest first: whole directories, and the remainder drawn once (5.1.3, pages 32 and 33).
pub(crate) fn planned(instances: usize) -> Vec<f64> {
    const SLOTS: usize = 6;
    (0..instances)
        .map(|i| SLOTS / instances + usize::from(i < SLOTS % instances))
        .map(|slots| 100.0 * slots as f64 / SLOTS as f64)
        .collect()
}

/// With so many instances the split was least even in figure 5.3 (page 34).
pub(crate) const LEAST_EVEN: [usize; 2] = [4, 5];

/// The pages on which the figures and the text about them stand.
pub(crate) const RACE_PAGES: &str = "figure 4.1, pages 25 and 26";
pub(crate) const DOWNLOADS_PAGES: &str = "figure 4.2, pages 26 and 27";
pub(crate) const FAILOVER_PAGES: &str = "figure 4.3, pages 27 and 28";
pub(crate) const MIXED_PAGES: &str = "figure 5.3, page 34";
pub(crate) const HYBRID_PAGES: &str = "chapter 6.1, page 37";

/// The thesis's network in the simulator, without clients: so many instances, which start together.
pub(crate) fn scenario(seed: u64, instances: usize) -> Scenario {
    network(seed).instances(self::instances(instances))
}

/// The thesis's network in the simulator, without instances and clients.
pub(crate) fn network(seed: u64) -> Scenario {
    Scenario::new(seed).directories(DIRECTORIES).relays(DIRECTORIES)
}

/// Returns instances that start together. In Shadow they do so in the same moment, so they look in
/// the same moment of each second whether to publish.
pub(crate) fn instances(count: usize) -> impl Iterator<Item = InstancePlan> {
    let plans = InstancePlan::numbered(count).into_iter();
    plans.map(|plan| plan.starts_at(INSTANCES_START).looks_at(Duration::ZERO).cap(CAP))
}

/// The thesis's clients: they fetch 50 KiB over and over.
pub(crate) fn crowd() -> Crowd {
    Crowd::new(CLIENTS)
        .arriving(CLIENTS_START)
        .pausing(PAUSE)
        .fetching(TRANSFER)
}
