//! The Tors that a publisher talks to: one task and one control connection for each, whatever the
//! number of services there.
//!
//! Services and gauges follow a Tor, and are told what concerns them. The first follower starts its
//! task, and the task ends after the last one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use onionweave_control::{Connection, Credentials, Endpoint, Events, OtherUpload, Supervisor, SupervisorOptions};
use onionweave_publish::Down;
use onionweave_ring::Directories;
use onionweave_ring::relays::Lifetime;
use onionweave_ring::v2::ServiceId;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::builder::Access;
use crate::status::TorStatus;

mod actor;
mod consensus;
mod refusals;
#[cfg(test)]
pub(crate) mod scripted;
#[cfg(test)]
mod tests;

use actor::Actor;
pub(super) use actor::has_v2;

/// The way to a Tor's control port. Followers whose settings are equal share a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TorSettings {
    pub(super) endpoint: Endpoint,
    pub(super) access: Access,
    pub(super) heartbeat: Duration,
}

/// News of a Tor for one of its followers.
#[derive(Clone, Debug)]
pub(super) enum TorInput {
    /// The connection stands and events are asked for.
    Up(Connection),
    /// The connection broke or cannot be made. This is told once for each new reason, not at every
    /// attempt.
    Down(Down),
    /// The descriptor of the address that the follower asks for; see
    /// [`onionweave_publish::Event::InstanceOffers`].
    Offers { text: Vec<u8>, rebuilt: bool },
    /// There is no descriptor of that address.
    OffersNothing,
    /// The descriptor is refused, and an operator should know why. This is told once for each
    /// reason.
    Refuses(String),
    /// Whether the Tor can build circuits.
    Circuits(bool),
    /// Another consensus arrived there.
    Directories(Arc<Directories>),
    /// An upload of others, for a service of the follower's, began or ended.
    Upload(OtherUpload),
    /// News were lost, this many events of Tor's or an unknown number of them.
    Lagged(Option<u64>),
}

/// The question that a Tor is asked at every heartbeat on behalf of a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    /// Whether it can build circuits.
    Circuits,
    /// The descriptor that it built for this address.
    Descriptor(ServiceId),
}

impl Question {
    fn key(self) -> String {
        match self {
            Self::Circuits => "status/circuit-established".to_owned(),
            Self::Descriptor(address) => format!("hs/service/desc/id/{address}"),
        }
    }
}

/// The addresses under which Tor speaks of one machine's descriptors.
///
/// With stealth authorization each client has an address of its own, which Tor names when it builds
/// the client's descriptor (`rendcommon.c:689`) and when a controller posts it. Of its own uploads
/// it says that they are the service's, for all clients alike (`rendservice.c:3846`). Without it,
/// the two are one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    /// The address that the descriptor's key gives.
    pub(super) descriptor: ServiceId,
    /// The address of the service.
    pub(super) service: ServiceId,
}

impl Addresses {
    pub(super) fn contains(&self, address: ServiceId) -> bool {
        [self.descriptor, self.service].contains(&address)
    }
}

/// A service that follows a Tor.
pub(super) struct Follower {
    pub(super) question: Question,
    pub(super) addresses: Addresses,
    pub(super) inbox: Inbox,
}

/// The way to a follower. It never waits: a follower that is slow stands in nobody's way.
pub(super) struct Inbox(Box<dyn Fn(TorInput) -> Result<(), Undelivered> + Send>);

/// Reason why a follower was not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Undelivered {
    /// The follower has not read what it was told before.
    Full,
    /// The follower is gone.
    Gone,
}

impl Inbox {
    /// The inbox that a channel makes, under the name by which the follower knows this Tor.
    pub(super) fn new<N: Clone + Send + 'static>(name: N, to: mpsc::Sender<(N, TorInput)>) -> Self {
        Self(Box::new(move |input| {
            to.try_send((name.clone(), input)).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => Undelivered::Full,
                mpsc::error::TrySendError::Closed(_) => Undelivered::Gone,
            })
        }))
    }

    fn put(&self, input: TorInput) -> Result<(), Undelivered> {
        (self.0)(input)
    }
}

/// Bytes that a Tor read and wrote, and the seconds in which it did.
#[derive(Debug, Default)]
pub(super) struct Meter {
    bytes: AtomicU64,
    seconds: AtomicU64,
}

impl Meter {
    fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.seconds.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes in a second since the last call; `None` if no second was told of.
    pub(super) fn per_second(&self) -> Option<f64> {
        // A second that is told of in between counts half now and half the next time.
        let seconds = self.seconds.swap(0, Ordering::Relaxed);
        let bytes = self.bytes.swap(0, Ordering::Relaxed);
        (seconds > 0).then(|| bytes as f64 / seconds as f64)
    }
}

/// The Tors that somebody follows.
#[derive(Clone, Debug, Default)]
pub(super) struct Tors {
    registry: Arc<Mutex<Registry>>,
    /// Told when a task panics.
    failed: Arc<Notify>,
    /// The control ports of a test, instead of those of the system.
    #[cfg(test)]
    script: Option<Arc<scripted::Script>>,
}

#[derive(Debug, Default)]
struct Registry {
    tors: BTreeMap<TorSettings, Entry>,
    /// The consensus that was read last, so that a Tor that has the same need not be read.
    newest: Option<Arc<Directories>>,
    /// Number of followers that there have been.
    count: u64,
}

/// A Tor that somebody follows.
#[derive(Debug)]
struct Entry {
    orders: mpsc::UnboundedSender<Order>,
    standing: Arc<Mutex<Standing>>,
}

/// State of a Tor, for those who ask.
#[derive(Clone, Debug)]
struct Standing {
    tor: Option<String>,
    connected: bool,
    down: Option<Down>,
    since: Instant,
    connections: u64,
    consensus: Option<Lifetime>,
    readings: u64,
    services: usize,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            tor: None,
            connected: false,
            down: None,
            since: Instant::now(),
            connections: 0,
            consensus: None,
            readings: 0,
            services: 0,
        }
    }
}

/// Tells that a task panics, when it is dropped by that.
struct Alarm(Arc<Notify>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.notify_one();
        }
    }
}

/// Order to a Tor's task.
enum Order {
    Follow(FollowerId, Follower),
    Measure(FollowerId, Arc<Meter>),
    Leave(FollowerId),
}

type FollowerId = u64;

/// A follower's hold on a Tor. Dropping it ends the following.
#[derive(Debug)]
pub(super) struct Following {
    id: FollowerId,
    orders: mpsc::UnboundedSender<Order>,
}

impl Drop for Following {
    fn drop(&mut self) {
        // A task that is gone has nobody to tell any more.
        let _ = self.orders.send(Order::Leave(self.id));
    }
}

impl Tors {
    /// Tors whose control ports are those of a script.
    #[cfg(test)]
    pub(super) fn scripted(script: &Arc<scripted::Script>) -> Self {
        Self {
            script: Some(Arc::clone(script)),
            ..Self::default()
        }
    }

    /// Begins to connect to a control port.
    fn supervise(
        &self,
        endpoint: Endpoint,
        credentials: Credentials,
        options: SupervisorOptions,
    ) -> (Supervisor, Events) {
        #[cfg(test)]
        if let Some(script) = self.script.clone() {
            let name = endpoint.to_string();
            return Supervisor::start_over(&name, move || Arc::clone(&script).connect(), [credentials], options);
        }
        Supervisor::start(endpoint, [credentials], options)
    }

    /// Tells a follower about a Tor from now on, beginning with how it stands.
    ///
    /// Must be called within a tokio runtime with IO and time enabled.
    pub(super) fn follow(&self, settings: &TorSettings, follower: Follower) -> Following {
        self.order(settings, |id| Order::Follow(id, follower))
    }

    /// Counts what a Tor reads and writes from now on.
    ///
    /// Must be called within a tokio runtime with IO and time enabled.
    pub(super) fn measure(&self, settings: &TorSettings) -> (Following, Arc<Meter>) {
        let meter = Arc::new(Meter::default());
        let following = self.order(settings, |id| Order::Measure(id, Arc::clone(&meter)));
        (following, meter)
    }

    /// Waits until the task of a Tor panics. Dropping the future loses nothing.
    pub(super) async fn failed(&self) {
        self.failed.notified().await;
    }

    fn order(&self, settings: &TorSettings, order: impl FnOnce(FollowerId) -> Order) -> Following {
        let mut registry = self.lock();
        registry.count += 1;
        let id = registry.count;
        let orders = match registry.tors.get(settings) {
            Some(entry) => entry.orders.clone(),
            None => {
                let (orders, received) = mpsc::unbounded_channel();
                let standing = Arc::default();
                let actor = Actor::new(settings.clone(), self.clone(), received, Arc::clone(&standing));
                let alarm = Alarm(Arc::clone(&self.failed));
                tokio::spawn(async move {
                    let _alarm = alarm;
                    actor.run().await;
                });
                let entry = Entry {
                    orders: orders.clone(),
                    standing,
                };
                registry.tors.insert(settings.clone(), entry);
                orders
            }
        };
        // A task leaves the registry before it ends. One that panicked has said why, and takes
        // nothing any more.
        let _ = orders.send(order(id));
        Following { id, orders }
    }

    /// Takes a Tor off the list, unless somebody began to follow it meanwhile.
    fn leave(&self, settings: &TorSettings, orders: &mpsc::UnboundedReceiver<Order>) -> bool {
        let mut registry = self.lock();
        // Followers come under the same lock.
        let is_idle = orders.is_empty();
        if is_idle {
            registry.tors.remove(settings);
        }
        is_idle
    }

    /// Tells how each Tor stands.
    pub(super) fn statuses(&self) -> Vec<TorStatus> {
        let registry = self.lock();
        let statuses = registry.tors.iter().map(|(settings, entry)| {
            let standing = lock(&entry.standing).clone();
            TorStatus {
                endpoint: settings.endpoint.to_string(),
                tor: standing.tor,
                connected: standing.connected,
                down: standing.down,
                since: standing.since.elapsed(),
                connections: standing.connections,
                consensus: standing.consensus,
                readings: standing.readings,
                services: standing.services,
            }
        });
        statuses.collect()
    }

    fn newest(&self) -> Option<Arc<Directories>> {
        self.lock().newest.clone()
    }

    fn set_newest(&self, directories: &Arc<Directories>) {
        let newest = &mut self.lock().newest;
        if newest.as_deref().and_then(consensus::valid_after) < consensus::valid_after(directories) {
            *newest = Some(Arc::clone(directories));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        lock(&self.registry)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is complete before anything could panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
