//! The service: its key, its instances, and the publisher that spreads it over them.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use onionweave_assign::PolicyName;
use onionweave_driver::{Builder, Publisher, Reports};
use onionweave_publish::Report;
use onionweave_testnet::{Backend, Fleet, Instance, Network, ServiceKey};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::screen::Screen;
use crate::stage::{self, NAMES, Plan};

/// The instances, each with a web server of its own that answers with the instance's name.
pub(crate) struct Service {
    pub(crate) instances: Vec<Instance>,
    key: ServiceKey,
    _backends: Vec<Backend>,
}

impl Service {
    /// Starts the instances, which publish nothing by themselves.
    pub(crate) async fn start(network: &Network, key: &ServiceKey) -> anyhow::Result<Self> {
        let Fleet {
            key,
            instances,
            backends,
            ..
        } = Fleet::start(network, key.clone(), &NAMES, |_, instance| instance.quiet(true)).await?;
        Ok(Self {
            instances,
            key,
            _backends: backends,
        })
    }

    /// Describes the publisher, which may restart instances.
    pub(crate) fn publisher(&self) -> anyhow::Result<Builder> {
        let mut service = stage::publishing(&self.key, PolicyName::default())?;
        for instance in &self.instances {
            let restarted = stage::described(instance)?.restart(instance.restart_command());
            service = service.instance(restarted);
        }
        Ok(Publisher::builder().service(service))
    }
}

/// A report, and when it came.
#[derive(Clone)]
pub(crate) struct Said {
    pub(crate) at: Instant,
    pub(crate) report: Report,
}

/// The running publisher and all that it said.
pub(crate) struct Publishing {
    publisher: Publisher,
    started: Instant,
    said: watch::Receiver<Vec<Said>>,
    listener: JoinHandle<()>,
}

impl Publishing {
    /// Starts the publisher, and shows what it says.
    pub(crate) fn start(publisher: Builder, screen: &Screen) -> anyhow::Result<Self> {
        let started = Instant::now();
        let (publisher, reports) = publisher.start()?;
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

    /// The first report from `since` on that is the one meant, if it comes `within` a time from
    /// now.
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
