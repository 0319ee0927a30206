//! Runs the pool: carries out what [`crate::pool::Pool`] decides.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use onionweave_publish::InstanceName;
use onionweave_publish::pool::{Place, PlaceState, Pool, PoolAction, PoolEvent, PoolSettings};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::builder::{Builder, Instance};
use crate::error::{Error, PoolProblem};
use crate::panics::spread_panic;

mod binary;
mod blueprint;
mod child;
mod hosted;
mod record;
#[cfg(test)]
mod scripted;

use blueprint::Blueprint;
use child::{Child, End, News};
pub(super) use hosted::{Hosted, HostedServices};

/// Nothing is due for longer than this only if nothing is wrong.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);
/// Largest number of messages of the children that wait.
const INBOX: usize = 256;
/// Longest time, three seconds, for which a stop waits for the children to end before they are
/// killed. A Tor that is no relay ends at once.
const STOP_WITHIN: Duration = Duration::from_secs(3);

/// An instance of the publisher's own pool.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PoolMember {
    /// Name of the instance in every service.
    pub instance: InstanceName,
    /// State of the instance.
    pub state: PlaceState,
    /// Its process, if there is one.
    pub pid: Option<u32>,
}

/// All that the pool needs to know.
#[derive(Clone, Debug)]
pub(super) struct PoolSetup {
    settings: PoolSettings,
    blueprint: Arc<Blueprint>,
    services: Arc<HostedServices>,
}

impl PoolSetup {
    /// The pool of a builder, with the binary found and asked whether it takes the configuration;
    /// `None` without a pool.
    pub(super) fn new(builder: &Builder, services: HostedServices) -> Result<Option<Self>, Error> {
        let (Some(pool), Some(state)) = (&builder.pool, &builder.state) else {
            return Ok(None);
        };
        let tor = binary::find(&pool.tor)?;
        let blueprint = Blueprint::new(pool, state, tor.path())?;
        let torrc = blueprint.launch(1).torrc().map_err(PoolProblem::from)?;
        tor.verify(&torrc).map_err(PoolProblem::from)?;
        let mut settings = PoolSettings::new(pool.places());
        settings.pause = pool.start_pause;
        settings.answer_within = pool.start_within;
        Ok(Some(Self {
            settings,
            blueprint: Arc::new(blueprint),
            services: Arc::new(services),
        }))
    }

    /// Whether a child that was started for `old` must be started anew to be one of this. Services
    /// come and go in the running process.
    fn needs_new_children(&self, old: &Self) -> bool {
        let changed = |(id, hosted): (_, &Hosted)| self.services.get(id).is_some_and(|new| !new.is_like(hosted));
        self.blueprint != old.blueprint || old.services.iter().any(changed)
    }
}

#[derive(Debug)]
enum Order {
    /// Take on another configuration; `None` dissolves the pool.
    Reload(Option<PoolSetup>),
    /// End all children that are not to be kept, and say so.
    Stop(oneshot::Sender<()>),
}

/// A running pool. Dropping it ends the children, unless they are to be kept.
#[derive(Debug)]
pub(super) struct RunningPool {
    orders: mpsc::Sender<Order>,
    members: watch::Receiver<Vec<PoolMember>>,
    task: JoinHandle<()>,
}

impl Drop for RunningPool {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RunningPool {
    /// Starts the pool. Must be called within a tokio runtime with time and IO.
    pub(super) fn start(setup: PoolSetup) -> Self {
        let (orders, receiver) = mpsc::channel(4);
        let (show, members) = watch::channel(Vec::new());
        let task = tokio::spawn(PoolTask::new(setup, receiver, show).run());
        Self { orders, members, task }
    }

    pub(super) async fn reload(&self, setup: Option<PoolSetup>) {
        // Only a task that died does not take its order, and it has said why.
        let _ = self.orders.send(Order::Reload(setup)).await;
    }

    pub(super) async fn stop(self) {
        let (done, stopped) = oneshot::channel();
        if self.orders.send(Order::Stop(done)).await.is_ok() {
            // The task drops `done` unsent if it ends first: stopped as well.
            let _ = stopped.await;
        }
    }

    /// Waits until its task ended without having been told to.
    pub(super) fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.task).poll(context).map(drop)
    }

    pub(super) fn watch(&self) -> watch::Receiver<Vec<PoolMember>> {
        self.members.clone()
    }

    pub(super) fn members(&self) -> Vec<PoolMember> {
        self.members.borrow().clone()
    }
}

/// Both ends: the task keeps a sender to hand out.
type Channel<T> = (mpsc::Sender<T>, mpsc::Receiver<T>);

/// The task that owns the pool's machine.
struct PoolTask {
    machine: Pool,
    setup: PoolSetup,
    started: Instant,
    children: BTreeMap<Place, ChildHandle>,
    /// The children's tasks; dropped, and so ended, with this one.
    tasks: JoinSet<()>,
    services: watch::Sender<Arc<HostedServices>>,
    orders: mpsc::Receiver<Order>,
    news: Channel<(Place, News)>,
    show: watch::Sender<Vec<PoolMember>>,
}

struct ChildHandle {
    ends: mpsc::Sender<End>,
    pid: Option<u32>,
    since: Instant,
}

impl PoolTask {
    fn new(setup: PoolSetup, orders: mpsc::Receiver<Order>, show: watch::Sender<Vec<PoolMember>>) -> Self {
        Self {
            machine: Pool::new(setup.settings, Duration::ZERO),
            services: watch::Sender::new(Arc::clone(&setup.services)),
            setup,
            started: Instant::now(),
            children: BTreeMap::new(),
            tasks: JoinSet::new(),
            orders,
            news: mpsc::channel(INBOX),
            show,
        }
    }

    async fn run(mut self) {
        loop {
            self.act();
            self.show();
            let due = self.machine.next_deadline();
            let sleep_for = due.map_or(LONGEST_SLEEP, |at| at.saturating_sub(self.started.elapsed()));
            tokio::select! {
                Some((place, news)) = self.news.1.recv() => self.hear(place, news),
                Some(ended) = self.tasks.join_next() => {
                    spread_panic(ended);
                }
                order = self.orders.recv() => match order {
                    Some(Order::Reload(setup)) => self.reload(setup),
                    Some(Order::Stop(done)) => {
                        self.stop().await;
                        let _ = done.send(());
                        return;
                    }
                    None => return,
                },
                () = sleep(sleep_for) => self.machine.advance(self.started.elapsed()),
            }
        }
    }

    fn tell(&mut self, event: PoolEvent) {
        self.machine.handle(event, self.started.elapsed());
    }

    fn hear(&mut self, place: Place, news: News) {
        let since = self
            .children
            .get(&place)
            .map(|child| child.since.elapsed().as_secs_f32());
        let since = since.unwrap_or_default();
        match news {
            News::Runs(pid) => {
                if let Some(child) = self.children.get_mut(&place) {
                    child.pid = Some(pid);
                }
                tracing::info!("{place}: process {pid} runs");
            }
            News::Adopted { current } => {
                let why = if current {
                    ""
                } else {
                    "; it has another configuration and will be replaced"
                };
                tracing::info!("{place}: left by an earlier publisher, taken over{why}");
                self.tell(PoolEvent::Adopted { place, current });
            }
            News::Vacant => {
                self.children.remove(&place);
                self.tell(PoolEvent::Vacant(place));
            }
            News::Up => self.tell(PoolEvent::Up(place)),
            News::Ready => {
                if self.machine.places().any(|at| at == (place, PlaceState::Warming)) {
                    tracing::info!("{place}: its introduction points stand after {since:.1} s");
                }
                self.tell(PoolEvent::Ready(place));
            }
            News::Hung => {
                tracing::warn!("{place}: hangs, and is killed");
                self.tell(PoolEvent::Hung(place));
            }
            News::Gone(why) => {
                self.children.remove(&place);
                let asked = self.machine.places().any(|at| at == (place, PlaceState::Stopping));
                self.tell(PoolEvent::Gone(place));
                if asked {
                    tracing::info!("{place}: stopped");
                } else {
                    tracing::warn!("{place}: {why}");
                }
                if let Some((times, at)) = self.machine.failing() {
                    let pause = at.saturating_sub(self.started.elapsed());
                    tracing::warn!(
                        "{times} starts failed in a row; the next is in {:.1} s at the earliest",
                        pause.as_secs_f32()
                    );
                }
            }
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.machine.poll() {
            tracing::debug!(?action, "pool");
            match action {
                PoolAction::Adopt(place) => self.child(place, true),
                PoolAction::Start(place) => self.child(place, false),
                PoolAction::Stop(place) => self.end(place, End::Stop),
                PoolAction::Kill(place) => self.end(place, End::Kill),
            }
        }
    }

    fn child(&mut self, place: Place, adopt: bool) {
        let (ends, receiver) = mpsc::channel(4);
        let child = Child {
            place,
            blueprint: Arc::clone(&self.setup.blueprint),
            services: self.services.subscribe(),
            news: self.news.0.clone(),
        };
        if adopt {
            self.tasks.spawn(child.adopt(receiver));
        } else {
            self.tasks.spawn(child.start(receiver));
        }
        let handle = ChildHandle {
            ends,
            pid: None,
            since: Instant::now(),
        };
        self.children.insert(place, handle);
    }

    fn end(&self, place: Place, end: End) {
        if let Some(child) = self.children.get(&place) {
            // Two at most are sent to one child: to stop, and to be killed.
            let _ = child.ends.try_send(end);
        }
    }

    fn reload(&mut self, setup: Option<PoolSetup>) {
        let setup = setup.unwrap_or_else(|| {
            let mut dissolved = self.setup.clone();
            dissolved.settings.places = 0;
            dissolved
        });
        let anew = setup.needs_new_children(&self.setup);
        let settings = setup.settings;
        self.setup = setup;
        self.services.send_replace(Arc::clone(&self.setup.services));
        self.tell(PoolEvent::Configured { settings, anew });
    }

    /// Ends the children at once, or leaves them.
    async fn stop(&mut self) {
        if self.setup.blueprint.keep {
            tracing::info!("the instances of the pool go on; the next publisher will find them");
            return;
        }
        for child in self.children.values() {
            let _ = child.ends.try_send(End::Stop);
        }
        let all_gone = async {
            while !self.children.is_empty() {
                let Some((place, news)) = self.news.1.recv().await else {
                    return;
                };
                if matches!(news, News::Gone(_) | News::Vacant) {
                    self.children.remove(&place);
                }
            }
        };
        if timeout(STOP_WITHIN, all_gone).await.is_err() {
            for child in self.children.values() {
                let _ = child.ends.try_send(End::Kill);
            }
            let killed = async { while self.tasks.join_next().await.is_some() {} };
            let _ = timeout(STOP_WITHIN, killed).await;
        }
    }

    fn show(&self) {
        let members: Vec<_> = self
            .machine
            .places()
            .map(|(place, state)| PoolMember {
                instance: place.instance(),
                state,
                pid: self.children.get(&place).and_then(|child| child.pid),
            })
            .collect();
        self.show.send_if_modified(|shown| {
            let changed = *shown != members;
            if changed {
                *shown = members;
            }
            changed
        });
    }
}

/// Adds the pool's instances to each service that is hosted there. For the services they are
/// instances like all others, of which all but the spares serve.
pub(super) fn with_pool(builder: &Builder) -> Builder {
    let mut builder = builder.clone();
    let (Some(pool), Some(state)) = (&builder.pool, &builder.state) else {
        return builder;
    };
    let members: Vec<_> = Place::first(pool.places())
        .map(|place| Instance::of_pool(state, place))
        .collect();
    let size = usize::from(pool.size.instances());
    for service in builder.services.iter_mut().filter(|service| !service.ports.is_empty()) {
        service.serving = service.serving.or(NonZeroUsize::new(service.instances.len() + size));
        service.instances.extend(members.iter().cloned());
    }
    builder
}

#[cfg(test)]
mod tests {
    use onionweave_assign::Mixed;
    use onionweave_control::Endpoint;
    use onionweave_desc::v2::ServiceKey;

    use super::*;
    use crate::builder::{Pool, PoolSize, Service};

    #[test]
    fn pool_joins_the_services_that_it_hosts() {
        let service = || {
            let key = ServiceKey::from_pem(include_str!("../testdata/private_key")).unwrap();
            let tor: Endpoint = "h:1".parse().unwrap();
            Service::new(key, Box::new(Mixed::default())).instance(Instance::new("a".parse().unwrap(), tor))
        };
        let builder = Builder::new()
            .state("/etc/ow/s")
            .pool(Pool::new(PoolSize::Exactly(2.try_into().unwrap())))
            .service(service().port("80".parse().unwrap()))
            .service(service());
        let builder = with_pool(&builder);
        let [hosted, other] = &builder.services[..] else {
            panic!()
        };
        let names: Vec<_> = hosted
            .instances
            .iter()
            .map(|instance| instance.name.to_string())
            .collect();
        assert_eq!(names, ["a", "pool-1", "pool-2", "pool-3"]);
        assert_eq!(
            hosted.instances[3].tor().unwrap().endpoint.to_string(),
            "unix:/etc/ow/s/pool/3/control"
        );
        assert_eq!(hosted.serving, NonZeroUsize::new(3));
        assert_eq!((other.instances.len(), other.serving), (1, None));
    }
}
