//! Clients with fresh identities, at a steady rate, and what their Tors tell of each visit.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use onionweave_control::{CircuitPurpose, Connection, Event, EventKind, Events, HsDescAction, HsDescReason, RelayName};
use onionweave_desc::v2::IntroductionPoint;
use onionweave_testnet::{Client, Network, SERVICE_PORT};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::Clock;
use super::census::Census;
use super::record::{Sight, Visit};
use crate::stage::verified;

/// Longest time until all clients have fresh identities; hung ones wait for two minutes.
const FRESH_WITHIN: Duration = Duration::from_secs(180);
/// Time between two looks at that.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Events of a visit may come a moment after its end.
const LAST_EVENTS: Duration = Duration::from_millis(50);

/// Clients that are used in turn. A client takes a fresh identity after each visit, for which Tor
/// wants ten seconds.
pub(crate) struct Visitors {
    visitors: Vec<Arc<Visitor>>,
    clock: Clock,
    /// Those that have a fresh identity, by their place.
    fresh: mpsc::UnboundedReceiver<usize>,
    return_to: mpsc::UnboundedSender<usize>,
}

/// A client, and what its Tor tells.
struct Visitor {
    client: Client,
    told: Arc<Mutex<Vec<(f64, Event)>>>,
    _connection: Connection,
    listener: JoinHandle<()>,
}

/// A visit whose texts are not yet understood.
pub(crate) struct RawVisit {
    client: String,
    at: f64,
    took: f64,
    answer: Result<String, String>,
    told: Vec<(f64, Event)>,
}

impl Visitors {
    pub(crate) async fn new(clients: Vec<Client>, clock: Clock) -> anyhow::Result<Self> {
        let (return_to, fresh) = mpsc::unbounded_channel();
        let mut visitors = Vec::new();
        for (i, client) in clients.into_iter().enumerate() {
            visitors.push(Arc::new(Visitor::new(client, clock.clone()).await?));
            // Nobody has visited anything yet.
            let _ = return_to.send(i);
        }
        Ok(Self {
            visitors,
            clock,
            fresh,
            return_to,
        })
    }

    /// Waits until every client that still can has a fresh identity.
    pub(crate) async fn wait_until_fresh(&self) {
        let fresh = async {
            while self.fresh.len() < self.visitors.len() {
                sleep(LOOK_AGAIN).await;
            }
        };
        // Who cannot is missed when it should visit.
        let _ = timeout(FRESH_WITHIN, fresh).await;
    }

    /// Makes visits to a service at a steady rate for a while, and waits for the last to end.
    /// Returns them, and how many were due when no client was free; `seen` is told how many there
    /// are, and how many were in vain.
    pub(crate) async fn visit(
        &mut self,
        onion: &str,
        every: Duration,
        lasting: Duration,
        seen: impl Fn(usize, usize),
    ) -> (Vec<RawVisit>, usize) {
        let end = self.clock.now() + lasting.as_secs_f64();
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut visiting = FuturesUnordered::new();
        let (mut visits, mut skipped): (Vec<RawVisit>, _) = (Vec::new(), 0);
        loop {
            tokio::select! {
                _ = ticks.tick(), if self.clock.now() < end => match self.fresh.try_recv() {
                    Ok(i) => visiting.extend(self.visitors.get(i).map(|visitor| {
                        tokio::spawn(visit(i, Arc::clone(visitor), onion.to_owned(), self.clock.clone(), self.return_to.clone()))
                    })),
                    Err(_) => skipped += 1,
                },
                Some(visit) = visiting.next() => {
                    visits.extend(visit);
                    let missed = visits.iter().filter(|visit| visit.answer.is_err()).count();
                    seen(visits.len(), missed);
                },
                else => return (visits, skipped),
            }
        }
    }
}

impl Visitor {
    async fn new(client: Client, clock: Clock) -> anyhow::Result<Self> {
        let (connection, mut events) = client.connect().await?;
        let wanted = [
            EventKind::HsDesc,
            EventKind::HsDescContent,
            EventKind::Circ,
            EventKind::CircMinor,
            EventKind::Stream,
        ];
        connection.set_events(&wanted).await?;
        let told = Arc::<Mutex<Vec<_>>>::default();
        let to = Arc::clone(&told);
        let listener = tokio::spawn(async move { listen(&mut events, &to, &clock).await });
        Ok(Self {
            client,
            told,
            _connection: connection,
            listener,
        })
    }

    fn take_told(&self) -> Vec<(f64, Event)> {
        std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn listen(events: &mut Events, told: &Mutex<Vec<(f64, Event)>>, clock: &Clock) {
    while let Some(event) = events.recv().await {
        let now = clock.now();
        told.lock().unwrap_or_else(PoisonError::into_inner).push((now, event));
    }
}

/// Makes a visit, and lets the client become somebody new afterwards.
async fn visit(
    i: usize,
    visitor: Arc<Visitor>,
    onion: String,
    clock: Clock,
    return_to: mpsc::UnboundedSender<usize>,
) -> RawVisit {
    // Circuits that were built ahead since the last visit.
    visitor.take_told();
    let at = clock.now();
    let answer = visitor.client.fetch(&onion, SERVICE_PORT).await;
    let took = clock.now() - at;
    sleep(LAST_EVENTS).await;
    let visit = RawVisit {
        client: visitor.client.name().to_owned(),
        at,
        took,
        answer: answer.map_err(|error| error.to_string()),
        told: visitor.take_told(),
    };
    tokio::spawn(async move {
        // A client that cannot is not used again.
        if visitor.client.new_identity().await.is_ok() {
            let _ = return_to.send(i);
        }
    });
    visit
}

impl RawVisit {
    /// Understands what was told, now that it is known whose points are whose.
    pub(crate) fn understood(self, network: &Network, census: &Census) -> Visit {
        let seen = self
            .told
            .into_iter()
            .filter_map(|(at, event)| Some((at, sight(event, network, census)?)));
        Visit {
            client: self.client,
            at: self.at,
            took: self.took,
            answer: self.answer,
            seen: seen.collect(),
        }
    }
}

fn sight(event: Event, network: &Network, census: &Census) -> Option<Sight> {
    let name = |relay: Option<&RelayName>| {
        relay.map_or_else(|| "?".to_owned(), |relay| nickname(network, relay.fingerprint()))
    };
    match event {
        Event::HsDesc(event) if *event.action() == HsDescAction::Failed => Some(Sight::Refused {
            directory: name(event.hsdir()),
            why: event.reason().map_or("failed", HsDescReason::as_str).to_owned(),
        }),
        Event::HsDesc(event) if *event.action() == HsDescAction::Requested => Some(Sight::Asked {
            directory: name(event.hsdir()),
        }),
        Event::HsDescContent(event) if !event.content().is_empty() => Some(Sight::Read {
            directory: name(event.hsdir()),
            points: points(event.content(), network, census),
        }),
        Event::Circ(event) => {
            let mut state = event.status().to_string();
            for reason in [event.reason(), event.remote_reason()].into_iter().flatten() {
                state.push_str(&format!(" {reason}"));
            }
            circuit(event.circuit(), state, network)
        }
        Event::CircMinor(event) => {
            let state = event.circuit().hs_state().map(ToString::to_string)?;
            circuit(event.circuit(), state, network)
        }
        Event::Stream(event) => {
            let reasons: Vec<_> = [event.reason(), event.remote_reason()]
                .into_iter()
                .flatten()
                .map(ToString::to_string)
                .collect();
            Some(Sight::Stream {
                state: event.status().to_string(),
                why: (!reasons.is_empty()).then(|| reasons.join(", ")),
            })
        }
        _ => None,
    }
}

fn circuit(circuit: &onionweave_control::Circuit, state: String, network: &Network) -> Option<Sight> {
    let relay = circuit
        .path()
        .last()
        .map_or_else(|| "?".to_owned(), |relay| nickname(network, relay.fingerprint()));
    let circuit_id = circuit.id().to_string();
    Some(match circuit.purpose()? {
        CircuitPurpose::HsClientIntro => Sight::Introduction {
            circuit: circuit_id,
            relay,
            state,
        },
        CircuitPurpose::HsClientRend => Sight::Rendezvous {
            circuit: circuit_id,
            relay,
            state,
        },
        CircuitPurpose::HsClientHsDir => Sight::ToDirectory { state },
        _ => return None,
    })
}

fn points(text: &[u8], network: &Network, census: &Census) -> Vec<super::record::Point> {
    let points = verified(text).and_then(|descriptor| Ok(descriptor.introduction_points()?));
    let look_up = |point: &IntroductionPoint| census.look_up(point, nickname(network, *point.identity().as_bytes()));
    points.unwrap_or_default().iter().map(look_up).collect()
}

fn nickname(network: &Network, fingerprint: [u8; 20]) -> String {
    let relay = network.directory(&fingerprint);
    relay.map_or_else(|| "?".to_owned(), |relay| relay.nickname().to_owned())
}
