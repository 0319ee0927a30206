//! Place and manner of a measurement, in words.

use std::fs;
use std::thread::available_parallelism;

use onionweave_testnet::Network;

use super::{Window, fleet};

/// Load of the machine, as Linux tells it: number of processes that run or want to, on average over
/// one, five and fifteen minutes.
#[derive(Clone, Debug)]
pub(crate) struct Load(String);

impl Load {
    pub(crate) fn now() -> Self {
        let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self(text.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
    }
}

/// Returns the name that the processor gives itself.
fn processor() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let model = fields.find(|(name, _)| name.trim_end() == "model name");
    model
        .map_or("an unknown processor", |(_, model)| model.trim())
        .to_owned()
}

/// Returns the conditions of a run that ends now.
pub(crate) fn describe(network: &Network, before: &Load, clients: usize, window: Window) -> Vec<String> {
    let cores = available_parallelism().map_or(1, usize::from);
    vec![
        format!(
            "*Network*: tor {}, {} authorities and {} more relays on loopback, all of them directories. \
             Clients and instances keep their circuits off the six directories of the service \
             (`ExcludeNodes`). On a network of thousands, chance does that; here the death of a directory would \
             be the death of many circuits too.",
            network.tor().version(),
            network.authorities().len(),
            network.relays().len()
        ),
        format!(
            "*Service*: three quiet instances *a*, *b* and *c* with one key, under the policy `mixed`. \
             The publisher is the example `publisher`, a release build, with an uploading Tor and \
             without restart commands. Backends are checked over HTTP (`{}`).",
            fleet::CHECK
        ),
        format!(
            "*Clients*: {clients} in turn, {:.1} requests a second, for {} s before the fault, {} s while it \
             lasts, and {} s after it was undone. The fault is undone only when all requests have \
             ended, so that the repair saves nobody.",
            1.0 / window.every.as_secs_f64(),
            window.before.as_secs(),
            window.during.as_secs(),
            window.after.as_secs(),
        ),
        "*Fresh identities*: each client forgets the service before each request (`SIGNAL NEWNYM`, \
         `feature/rend/rendclient.c:57-63`), and each request has circuits of its own. \
         A request fails after two minutes without an answer (`SocksTimeout`)."
            .to_owned(),
        "*Dead directories*: a client's Tor that has drawn one insists on it for \
         `TestingDirConnectionMaxStall` (`core/mainloop/mainloop.c:1180-1190`). That is 30 s here, and five minutes \
         on the public network, longer than `SocksTimeout`. No publisher can change that."
            .to_owned(),
        "*Private network*: Tor offers new introduction points after 5 s instead of 30 s. \
         Authorities list dead relays for 45 minutes, as on the public network."
            .to_owned(),
        format!(
            "*Machine*: {}, {cores} cores. Load averages before the clients started: {}; at the end: {}.",
            processor(),
            before.0,
            Load::now().0
        ),
    ]
}
