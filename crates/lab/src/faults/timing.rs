//! The faults that have aims, again and again, without visitors: how long the publisher takes.

use std::time::Duration;

use onionweave_control::{Event, EventKind, Events, HsDescAction};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Clock;
use super::fleet::Fleet;
use super::record::median_and_maximum;
use crate::screen::Screen;
use crate::stage::{NAMES, Reader};

/// Longest time until the publisher counts as not having noticed.
const NOTICED_WITHIN: Duration = Duration::from_secs(20);
/// Longest time until a restarted instance has introduction points.
const OFFERED_WITHIN: Duration = Duration::from_secs(60);
/// Longest time until an independent Tor finds every directory clean, after the publisher said so.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// Times between publications of loud instances: several a minute, where the public network's
/// default is one an hour, and not all at the same time.
const LOUD_EVERY: [&str; NAMES.len()] = ["15 seconds", "17 seconds", "19 seconds"];
/// Uploads that come within this time of one another are one publication.
const ONE_PUBLICATION: f64 = 2.0;
/// A publisher that has said nothing for so long has finished.
const LULL: Duration = Duration::from_secs(1);
/// Quiet instances that are told to be loud publish at the latest after this time, and then again
/// and again.
const LOUD_WITHIN: Duration = Duration::from_secs(130);

/// A measurement, with its aim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Timing {
    pub(crate) what: String,
    pub(crate) peers: String,
    /// At most so many seconds.
    pub(crate) median_aim: Option<f64>,
    pub(crate) maximum_aim: Option<f64>,
    /// In seconds; `None` where the publisher did not do it in time.
    pub(crate) measured: Vec<Option<f64>>,
    /// Number of readings by an independent Tor that found every directory clean, and number of
    /// all.
    pub(crate) confirmed: Option<(usize, usize)>,
}

impl Timing {
    fn new(what: &str, peers: &str, median_aim: Option<f64>, maximum_aim: Option<f64>) -> Self {
        Self {
            what: what.to_owned(),
            peers: peers.to_owned(),
            median_aim,
            maximum_aim,
            measured: Vec::new(),
            confirmed: None,
        }
    }

    fn killed() -> Self {
        let peers =
            "Onionbalance: median 3.5–4.1 h; thesis: 30 s and the upload; a publisher that looks each second: 1.0 s";
        Self::new(
            "instance killed (`kill -9`) → every directory proved clean",
            peers,
            Some(0.7),
            Some(2.0),
        )
    }

    fn stopped() -> Self {
        let peers = "thesis: never noticed";
        Self::new(
            "instance hangs (SIGSTOP) → every directory proved clean",
            peers,
            None,
            Some(3.0),
        )
    }

    fn published() -> Self {
        let peers = "thesis: up to 30 s; a publisher that looks each second: 1.1 s";
        Self::new(
            "loud instance publishes → the mix proved restored",
            peers,
            Some(0.7),
            None,
        )
    }

    fn restarted() -> Self {
        let peers = "a publisher that looks each second: 3 s";
        Self::new(
            "restarted instance offers points → its slots regained and proved",
            peers,
            None,
            Some(1.0),
        )
    }

    /// Median and maximum; `None` if once it was not done in time.
    pub(crate) fn figures(&self) -> Option<(f64, f64)> {
        let mut all: Vec<_> = self.measured.iter().copied().collect::<Option<_>>()?;
        median_and_maximum(&mut all)
    }

    /// Returns whether the aim was reached.
    pub(crate) fn is_reached(&self) -> bool {
        let within = |aim: Option<f64>, figure: f64| aim.is_none_or(|aim| figure <= aim);
        let confirmed = self.confirmed.is_none_or(|(clean, of)| clean == of);
        let figures = self.figures();
        confirmed
            && figures
                .is_some_and(|(median, maximum)| within(self.median_aim, median) && within(self.maximum_aim, maximum))
    }
}

/// Does each of them `rounds` times.
pub(crate) async fn measure(
    screen: &Screen,
    clock: &Clock,
    fleet: &mut Fleet,
    reader: &mut Reader,
    rounds: u16,
) -> anyhow::Result<Vec<Timing>> {
    let (mut killed, mut stopped, mut published, mut restarted) = (
        Timing::killed(),
        Timing::stopped(),
        Timing::published(),
        Timing::restarted(),
    );
    {
        let wait = screen.wait("instances killed and started again", "");
        for round in 0..rounds {
            wait.set("instances killed and started again", &format!("{round} of {rounds}"));
            kill_and_restart(
                clock,
                fleet,
                reader,
                usize::from(round) % NAMES.len(),
                &mut killed,
                &mut restarted,
            )
            .await?;
        }
        for round in 0..rounds {
            wait.set("instances stopped and continued", &format!("{round} of {rounds}"));
            stop_and_continue(clock, fleet, reader, usize::from(round) % NAMES.len(), &mut stopped).await?;
        }
        wait.set(
            "loud instances that publish",
            "(Tor may wait two minutes with the first)",
        );
        publish(clock, fleet, usize::from(rounds), &mut published, |done| {
            wait.set("loud instances that publish", &format!("{done} of {rounds}"));
        })
        .await?;
        wait.set("everything to be as before", "");
        fleet.settled(reader, clock).await?;
    }
    Ok(vec![killed, stopped, published, restarted])
}

async fn kill_and_restart(
    clock: &Clock,
    fleet: &Fleet,
    reader: &mut Reader,
    victim: usize,
    killed: &mut Timing,
    restarted: &mut Timing,
) -> anyhow::Result<()> {
    let instance = fleet.instance(victim)?;
    let (name, publisher) = (instance.name(), &fleet.publisher);
    let (left, joined) = (format!("{name} left"), format!("{name} joined"));
    let at = clock.now();
    instance.kill()?;
    let proved = publisher
        .hears(at, NOTICED_WITHIN, |said| said.is_proved(&left))
        .await?;
    killed.note(proved.map(|said| said.at - at), reader, victim).await?;

    let at = clock.now();
    instance.restart().await?;
    let offered = publisher
        .hears(at, OFFERED_WITHIN, |said| said.is_offer_of(name))
        .await?;
    let regained = match &offered {
        Some(offered) => {
            let proved = publisher
                .hears(offered.at, NOTICED_WITHIN, |said| said.is_proved(&joined))
                .await?;
            proved.map(|proved| proved.at - offered.at)
        }
        None => None,
    };
    restarted.measured.push(regained);
    fleet.settled(reader, clock).await?;
    Ok(())
}

async fn stop_and_continue(
    clock: &Clock,
    fleet: &Fleet,
    reader: &mut Reader,
    victim: usize,
    stopped: &mut Timing,
) -> anyhow::Result<()> {
    let instance = fleet.instance(victim)?;
    let (name, publisher) = (instance.name(), &fleet.publisher);
    let (left, joined) = (format!("{name} left"), format!("{name} joined"));
    let at = clock.now();
    instance.stop()?;
    let proved = publisher
        .hears(at, NOTICED_WITHIN, |said| said.is_proved(&left))
        .await?;
    stopped.note(proved.map(|said| said.at - at), reader, victim).await?;
    let at = clock.now();
    instance.cont()?;
    publisher
        .hears(at, OFFERED_WITHIN, |said| said.is_proved(&joined))
        .await?;
    fleet.settled(reader, clock).await?;
    Ok(())
}

impl Timing {
    /// Notes how long the publisher took, and lets another Tor read whether it is true.
    async fn note(&mut self, took: Option<f64>, reader: &mut Reader, victim: usize) -> anyhow::Result<()> {
        self.measured.push(took);
        let clean = reader.read_clean_of(victim, READ_WITHIN).await?.is_some();
        let (before, of) = self.confirmed.unwrap_or_default();
        self.confirmed = Some((before + usize::from(clean), of + 1));
        Ok(())
    }
}

/// Makes the quiet instances loud for a while.
async fn publish(
    clock: &Clock,
    fleet: &Fleet,
    times: usize,
    published: &mut Timing,
    progress: impl Fn(usize),
) -> anyhow::Result<()> {
    let (told, mut uploads) = mpsc::unbounded_channel();
    let mut listening = JoinSet::new();
    let mut connections = Vec::new();
    for (instance, every) in fleet.instances.iter().zip(LOUD_EVERY) {
        let (connection, events) = instance.connect().await?;
        connection.set_events(&[EventKind::HsDesc]).await?;
        connection
            .set_conf(&[("PublishHidServDescriptors", "1"), ("RendPostPeriod", every)])
            .await?;
        listening.spawn(listen(instance.name().to_owned(), events, clock.clone(), told.clone()));
        connections.push(connection);
    }
    let mut last = f64::NEG_INFINITY;
    while published.measured.len() < times {
        let Ok(Some((name, at))) = timeout(LOUD_WITHIN, uploads.recv()).await else {
            break;
        };
        let again = at - last < ONE_PUBLICATION;
        last = at;
        if again {
            continue;
        }
        // Tor passes an unchanged descriptor on without saying that it built one, when directories
        // changed (`feature/rend/rendservice.c:4357`).
        let causes = [
            format!("{name} published by itself"),
            "overwritten by somebody else".to_owned(),
        ];
        let proved = fleet
            .publisher
            .last_before_a_lull(at, NOTICED_WITHIN, LULL, |said| {
                causes.iter().any(|cause| said.is_proved(cause))
            })
            .await?;
        published.measured.push(proved.map(|said| said.at - at));
        progress(published.measured.len());
    }
    for connection in connections {
        connection.set_conf(&[("PublishHidServDescriptors", "0")]).await?;
        connection.reset_conf(&["RendPostPeriod"]).await?;
    }
    Ok(())
}

/// Tells of every upload that an instance begins by itself. The publisher's are carried by a Tor of
/// its own.
async fn listen(name: String, mut events: Events, clock: Clock, told: mpsc::UnboundedSender<(String, f64)>) {
    while let Some(event) = events.recv().await {
        if let Event::HsDesc(event) = event
            && *event.action() == HsDescAction::Upload
            && told.send((name.clone(), clock.now())).is_err()
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aims_are_reached_or_not() {
        let timing = |measured: &[Option<f64>]| Timing {
            measured: measured.to_vec(),
            ..Timing::killed()
        };
        for (measured, reached) in [
            (&[Some(0.4), Some(0.5), Some(1.9)][..], true),
            (&[Some(0.4), Some(0.8), Some(1.0)], false),
            (&[Some(0.4), Some(0.5), Some(2.1)], false),
            (&[Some(0.4), Some(0.5), None], false),
            (&[], false),
        ] {
            assert_eq!(timing(measured).is_reached(), reached, "{measured:?}");
        }
        let mut unconfirmed = timing(&[Some(0.1)]);
        unconfirmed.confirmed = Some((0, 1));
        assert!(!unconfirmed.is_reached());
    }
}
