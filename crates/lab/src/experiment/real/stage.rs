//! The network and its clients.

use std::cell::Cell;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use onionweave_testnet::{Client, Network, Role};

use super::service::{Plan, Service};
use crate::experiment::Run;
use crate::experiment::progress::Progress;
use crate::stage::AT_ONCE;

/// Relays besides three authorities, which are relays too.
const RELAYS: usize = 11;

/// A network that runs, and its clients.
pub(crate) struct Stage<'a> {
    pub(super) network: Network,
    pub(super) clients: Vec<Client>,
    pub(super) what: &'static str,
    pub(super) run: &'a Run,
    /// Number of times that clients were sent.
    pub(super) visited: Cell<usize>,
}

impl<'a> Stage<'a> {
    /// Starts a network and so many clients for an experiment, with these lines in their
    /// configuration.
    pub(crate) async fn start(
        run: &'a Run,
        what: &'static str,
        clients: usize,
        lines: &[&str],
    ) -> anyhow::Result<Self> {
        let bar = Progress::new(&format!("{what}: network and {clients} clients"), clients + 1);
        let network = Network::builder().relays(RELAYS);
        let network = lines
            .iter()
            .fold(network, |network, line| network.torrc_for(Role::Client, *line));
        let network = network.start().await?;
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
            what,
            run,
            visited: Cell::new(0),
        })
    }

    /// Starts services, so many at once, and waits until clients can reach them. To be called once:
    /// their processes have the places as names.
    ///
    /// One that does not come up the second time either is left out: in its place stands one
    /// without instances, which nobody visits.
    pub(crate) async fn services(&self, plans: &[Plan], at_once: usize) -> Vec<Service> {
        let bar = self.progress("services", plans.len());
        let bar = &bar;
        let starting = plans.iter().enumerate().map(async |(place, plan)| {
            let mut service = Service::start(&self.network, place + 1, plan).await;
            if let Err(error) = &service {
                eprintln!(
                    "{}: service {} did not start, once more: {error:#}",
                    self.what,
                    place + 1
                );
                service = Service::start(&self.network, plans.len() + place + 1, plan).await;
            }
            bar.step();
            service.unwrap_or_else(|error| {
                let left_out = format!("service {} with {} instances: {error:#}", place + 1, plan.instances);
                self.run.left_out().push(left_out);
                Service::absent()
            })
        });
        stream::iter(starting).buffered(at_once).collect().await
    }

    /// A bar for a part of the experiment.
    pub(super) fn progress(&self, what: &str, steps: usize) -> Progress {
        Progress::new(&format!("{}: {what}", self.what), steps)
    }
}
