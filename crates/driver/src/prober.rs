//! Requests through Tor that reach one instance and no other.
//!
//! Clients know a service by its address, and the descriptor that they find under it may name the
//! points of any instance. But an introduction goes by the point's own key: the address is not in
//! the cell (`rendclient.c:113`), and the service goes by the circuit on which it came
//! (`rendservice.c:1933`). So the points of one instance are published under another address, made
//! for this one purpose and known to nobody: a *door*. What comes through it reaches that instance
//! or nobody.
//!
//! What this leaves behind, and where:
//! - Nothing under the service's own descriptor IDs, and nothing signed with its key. One
//!   directory, which the door's random descriptor ID chooses among all, holds one text more. It is
//!   dated so far back that the directory drops it within hours (`rendcache.c:671`,
//!   `feature/hs/hs_cache.c:333`).
//! - At a service for authorized clients, one line in the prober's configuration
//!   (`prober/passes.rs`). The text itself is not sealed: no Tor takes a sealed one from a
//!   controller's fetch (`rendcache.c:934`).
//! - What Tor remembers of failed introductions, it remembers by address (`rendcache.c:412-467`).
//!   So the prober never calls a descriptor of the service unusable, and may be the Tor that reads
//!   them back. Whenever a door led nowhere, another one is made.

mod passes;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use onionweave_control::{
    Connection, Endpoint, Error as ControlError, FetchOutcome, HsDescReason, HsFetch, HsPost, Options, PostOutcome,
};
use onionweave_desc::v2::{Draft, IntroductionPoint, ServiceKey};
use onionweave_publish::InstanceName;
use onionweave_publish::version::{Point, V2};
use onionweave_ring::v2::{ClientCookie, DescriptorId, Replica, ServiceId, TimePeriod};
use onionweave_ring::{Fingerprint, HashRing, UnixTime};
use rand::TryRng as _;
use rand::rngs::SysRng;
use tokio::sync::Mutex;
use tokio::task::{JoinError, spawn_blocking};
use tokio_socks::tcp::Socks5Stream;

use crate::builder::Access;
use crate::net::{NetError, Stream, connect, in_time};
use crate::tor::has_v2;

/// Longest time, five seconds, that connecting to the prober's control port may take, and each
/// command there.
const COMMAND_WITHIN: Duration = Duration::from_secs(5);
/// Longest time, twenty seconds, that a directory may take to keep a text, and again to hand it
/// out.
const DIRECTORY_WITHIN: Duration = Duration::from_secs(20);
/// Age, 70 hours, that a door's text claims. Directories and clients take none that is more than 72
/// hours old (`rendcache.c:671,955`), and drop those that have become so; the rest is for clocks
/// that differ.
const DATED_BACK: Duration = Duration::from_secs(70 * 3600);
/// A door is used for so long: well before its text becomes too old.
const DOOR_LIFETIME: Duration = Duration::from_secs(3600);

/// Facts that a check through Tor needs.
#[derive(Clone, Debug, Default)]
pub(super) struct Knowledge {
    /// The directories.
    pub(super) ring: Option<HashRing>,
    /// The introduction points that each instance offers, verified; nothing for one that offers
    /// none.
    pub(super) points: BTreeMap<InstanceName, Arc<[Point]>>,
}

/// Reason why a door could not be made, or led nowhere.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProberError {
    #[error("prober: {0}")]
    Control(#[from] ControlError),
    #[error("prober: {0}")]
    Access(#[from] crate::Error),
    #[error("prober: SOCKS port {endpoint}: {source}")]
    Socks { endpoint: Endpoint, source: NetError },
    #[error("prober: Tor {0} has no v2 onion services")]
    TooNew(String),
    #[error("no directory stands on the ring")]
    NoDirectory,
    #[error("prober: directory {directory}: {source}")]
    Directory {
        directory: Fingerprint,
        source: DirectoryError,
    },
    #[error(transparent)]
    Signing(#[from] onionweave_desc::Error),
    #[error(transparent)]
    Task(#[from] JoinError),
    /// Tor's words about the instance, and the only one of these that is the instance's fault.
    #[error(transparent)]
    Entering(#[from] tokio_socks::Error),
}

/// Reason why a directory does not keep a door's text.
#[derive(Debug, thiserror::Error)]
pub(super) enum DirectoryError {
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error("rejected: {0:?}")]
    Rejected(Option<HsDescReason>),
    #[error("does not hand out what it took: {0:?}")]
    Forgetful(Option<HsDescReason>),
    #[error("did not answer")]
    Silent,
}

/// The way to the prober.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProberSettings {
    pub(super) socks: Endpoint,
    pub(super) control: Endpoint,
    pub(super) access: Access,
}

/// A Tor that makes requests. Cheap to clone; it is connected to when it is first needed.
#[derive(Clone)]
pub(super) struct Prober(Arc<Inner>);

struct Inner {
    settings: ProberSettings,
    connection: Mutex<Option<Connection>>,
    /// Held while the cookies are changed that the prober shows: all of them are one option.
    passes: Mutex<()>,
    /// Requests so far. Their number isolates each from all others, so that each makes an
    /// introduction of its own.
    requests: AtomicU64,
}

/// The same Tor.
impl PartialEq for Prober {
    fn eq(&self, other: &Self) -> bool {
        self.0.settings == other.0.settings
    }
}

impl fmt::Debug for Prober {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.settings.fmt(f)
    }
}

/// An address that leads to one instance alone.
#[derive(Clone, Debug)]
pub(super) struct Door {
    address: ServiceId,
    points: Arc<[Point]>,
    since: Instant,
}

impl Prober {
    pub(super) fn new(settings: ProberSettings) -> Self {
        Self(Arc::new(Inner {
            settings,
            connection: Mutex::new(None),
            passes: Mutex::new(()),
            requests: AtomicU64::new(0),
        }))
    }

    /// A door to the instance that has these points: the old one if it still leads there, else a
    /// new one. `pass` is the cookie of an authorized client, if the service has such.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being made. None of it is the instance's fault.
    pub(super) async fn open(
        &self,
        old: Option<Door>,
        points: &Arc<[Point]>,
        ring: &HashRing,
        pass: Option<&ClientCookie>,
    ) -> Result<Door, ProberError> {
        let door = match old {
            Some(door) if door.points == *points && door.since.elapsed() < DOOR_LIFETIME => door,
            old => {
                if let Some(old) = old {
                    self.close(&old, pass).await;
                }
                self.make_door(points, ring).await?
            }
        };
        if let Some(cookie) = pass {
            // Asked each time: whoever reloads the prober's configuration takes it away.
            let connection = self.connection().await?;
            let _alone = self.0.passes.lock().await;
            passes::admit(&connection, door.address, cookie, UnixTime::from(SystemTime::now())).await?;
        }
        Ok(door)
    }

    /// Forgets a door that led nowhere.
    pub(super) async fn close(&self, door: &Door, pass: Option<&ClientCookie>) {
        if pass.is_none() {
            return;
        }
        if let Ok(connection) = self.connection().await {
            let _alone = self.0.passes.lock().await;
            // What is left there, the next door's pass takes away when it has become too old.
            let _ = passes::dismiss(&connection, door.address, UnixTime::from(SystemTime::now())).await;
        }
    }

    async fn make_door(&self, points: &Arc<[Point]>, ring: &HashRing) -> Result<Door, ProberError> {
        let connection = self.connection().await?;
        let offered = points.iter().filter_map(V2::introduction_point).collect();
        let new = NewDoor::make(offered).await?;
        let mut last = ProberError::NoDirectory;
        for directory in new.id.responsible(ring) {
            match new.hang(&connection, directory).await {
                Ok(()) => {
                    return Ok(Door {
                        address: new.address,
                        points: Arc::clone(points),
                        since: Instant::now(),
                    });
                }
                Err(source) => last = ProberError::Directory { directory, source },
            }
        }
        Err(last)
    }

    /// A connection to the prober's SOCKS port.
    ///
    /// # Errors
    ///
    /// Why there is none, which is not the instance's fault either.
    pub(super) async fn socks(&self) -> Result<Box<dyn Stream>, ProberError> {
        let endpoint = &self.0.settings.socks;
        let connected = in_time(COMMAND_WITHIN, async { Ok(connect(endpoint).await?) }).await;
        connected.map_err(|source| ProberError::Socks {
            endpoint: endpoint.clone(),
            source,
        })
    }

    /// Connects to a port of the service at the instance behind the door.
    ///
    /// # Errors
    ///
    /// Why Tor says that it could not.
    pub(super) async fn enter(
        &self,
        socks: Box<dyn Stream>,
        door: &Door,
        port: u16,
    ) -> Result<impl Stream + use<>, ProberError> {
        let number = self.0.requests.fetch_add(1, Ordering::Relaxed).to_string();
        let target = (format!("{}.onion", door.address), port);
        Ok(Socks5Stream::connect_with_password_and_socket(socks, target, "onionweave-check", &number).await?)
    }

    async fn connection(&self) -> Result<Connection, ProberError> {
        let mut kept = self.0.connection.lock().await;
        if let Some(connection) = kept.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        let ProberSettings { control, access, .. } = &self.0.settings;
        let credentials = access.credentials()?;
        let options = Options::default()
            .connect_deadline(COMMAND_WITHIN)
            .command_deadline(COMMAND_WITHIN);
        // Its events are of no interest: what posts and fetches need, they get by themselves.
        let (connection, _) = Connection::connect(control, &credentials, &options).await?;
        let version = connection.get_info("version").await?;
        if !has_v2(&version) {
            return Err(ProberError::TooNew(version));
        }
        Ok(kept.insert(connection).clone())
    }
}

/// A door that hangs nowhere yet.
struct NewDoor {
    address: ServiceId,
    id: DescriptorId,
    text: Vec<u8>,
}

impl NewDoor {
    /// Making a key takes some fifteen milliseconds.
    async fn make(points: Vec<IntroductionPoint>) -> Result<Self, ProberError> {
        Ok(spawn_blocking(move || Self::sign(points)).await??)
    }

    fn sign(points: Vec<IntroductionPoint>) -> Result<Self, onionweave_desc::Error> {
        let key = ServiceKey::generate(|bytes| SysRng.try_fill_bytes(bytes))?;
        let address = key.service_id();
        let now = UnixTime::from(SystemTime::now());
        let [replica, _] = Replica::ALL;
        let period = TimePeriod::at(&address, now);
        let dated = UnixTime::from_secs(now.as_secs().saturating_sub(DATED_BACK.as_secs())).start_of_hour();
        let descriptor = Draft::new(points).sign(&key, period, replica, dated)?;
        Ok(Self {
            address,
            id: descriptor.descriptor_id(),
            text: descriptor.text().to_vec(),
        })
    }

    /// Has a directory keep the text, and reads it back. What a Tor has read by ID it uses as a
    /// client (`rendcache.c:835`), before it would ask any directory by itself
    /// (`core/or/connection_edge.c:2028`).
    async fn hang(&self, connection: &Connection, directory: Fingerprint) -> Result<(), DirectoryError> {
        let fingerprint = *directory.as_bytes();
        let post = HsPost::v2(&self.address.to_string(), self.text.clone())?.server(fingerprint);
        let answers = connection.post(&post, DIRECTORY_WITHIN).await?.all().await;
        match answers.into_values().next() {
            Some(PostOutcome::Uploaded) => {}
            Some(PostOutcome::Rejected(why)) => return Err(DirectoryError::Rejected(why)),
            _ => return Err(DirectoryError::Silent),
        }
        let fetch = HsFetch::v2_descriptor(&self.id.to_string())?.server(fingerprint);
        let answers = connection.fetch(&fetch, DIRECTORY_WITHIN).await?.all().await;
        match answers.into_values().next() {
            Some(FetchOutcome::Received(_)) => Ok(()),
            Some(FetchOutcome::Failed(why)) => Err(DirectoryError::Forgetful(why)),
            _ => Err(DirectoryError::Silent),
        }
    }
}
