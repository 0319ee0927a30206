//! The network and its clients.

use std::cell::Cell;

use anyhow::bail;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use onionweave_testnet::{Client, Network};
use tokio::signal::unix::{SignalKind, signal};

use super::service::{Plan, Service};
use crate::progress::Progress;

/// Relays besides three authorities, which are relays too.
const RELAYS: usize = 11;
/// So many clients build their first circuits at once: each is a process, and a small machine has two cores.
const AT_ONCE: usize = 3;

/// A network that runs, and its clients.
pub(crate) struct Stage {
    pub(super) network: Network,
    pub(super) clients: Vec<Client>,
    /// How many services there have been: their processes need names of their own.
    services: Cell<usize>,
    what: String,
}

/// Runs an experiment's story, and ends everything with it, also with ctrl-c.
pub(crate) fn play<T>(story: impl AsyncFnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        // What is dropped half-way ends its processes.
        tokio::select! {
            result = story() => result,
            _ = tokio::signal::ctrl_c() => bail!("interrupted; everything that ran has ended"),
            _ = terminate.recv() => bail!("terminated; everything that ran has ended"),
        }
    });
    runtime.shutdown_background();
    result
}

impl Stage {
    /// Starts a network and so many clients for an experiment.
    pub(crate) async fn start(what: &str, clients: usize) -> anyhow::Result<Self> {
        let bar = Progress::new(&format!("{what}: network and {clients} clients"), clients + 1);
        let network = Network::builder().relays(RELAYS).start().await?;
        bar.step();
        let starting = (1..=clients).map(|number| network.client(format!("client{number}")).start());
        let clients = stream::iter(starting)
            .buffer_unordered(AT_ONCE)
            .inspect_ok(|_| bar.step())
            .try_collect()
            .await?;
        Ok(Self {
            network,
            clients,
            services: Cell::new(0),
            what: what.to_owned(),
        })
    }

    /// Starts a service, and waits until clients can reach it.
    pub(crate) async fn service(&self, plan: &Plan) -> anyhow::Result<Service> {
        let number = self.services.get() + 1;
        self.services.set(number);
        Service::start(&self.network, number, plan).await
    }

    /// A bar for a part of the experiment.
    pub(super) fn progress(&self, what: &str, steps: usize) -> Progress {
        Progress::new(&format!("{}: {what}", self.what), steps)
    }
}
