//! Owners of introduction points: every living instance is asked again and again for its offer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use onionweave_control::{Connection, Credentials, Endpoint, Options};
use onionweave_desc::v2::IntroductionPoint;
use onionweave_testnet::Instance;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Clock;
use super::record::Point;
use crate::stage::verified;

/// Time between two questions to an instance.
const EVERY: Duration = Duration::from_millis(300);
/// Longest time that an answer may take.
const WITHIN: Duration = Duration::from_secs(1);

/// Every introduction point that was ever offered: by whom, and when last.
type Known = Arc<Mutex<BTreeMap<IntroductionPoint, (String, f64)>>>;

/// Asks until it is dropped.
pub(crate) struct Census {
    known: Known,
    _asking: JoinSet<()>,
}

impl Census {
    /// Begins to ask the instances of a service.
    pub(crate) fn start(instances: impl IntoIterator<Item = Asked>, service_id: &str, clock: &Clock) -> Self {
        let known = Known::default();
        let mut asking = JoinSet::new();
        for asked in instances {
            let asker = Asker {
                asked,
                key: format!("hs/service/desc/id/{service_id}"),
                clock: clock.clone(),
                known: Arc::clone(&known),
            };
            asking.spawn(asker.run());
        }
        Self { known, _asking: asking }
    }

    /// Returns the owner of a point, as far as was seen until now.
    pub(crate) fn look_up(&self, point: &IntroductionPoint, relay: String) -> Point {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Point {
            relay,
            owner: known.get(point).cloned(),
        }
    }
}

/// An instance, and how to ask it.
pub(crate) struct Asked {
    pub(crate) name: String,
    pub(crate) control: Endpoint,
    pub(crate) credentials: Credentials,
}

impl From<&Instance> for Asked {
    fn from(instance: &Instance) -> Self {
        Self {
            name: instance.name().to_owned(),
            control: instance.control(),
            credentials: Credentials::auto(),
        }
    }
}

struct Asker {
    asked: Asked,
    key: String,
    clock: Clock,
    known: Known,
}

impl Asker {
    async fn run(self) {
        loop {
            let options = Options::default().connect_deadline(WITHIN).command_deadline(WITHIN);
            let connected = Connection::connect(&self.asked.control, &self.asked.credentials, &options);
            if let Ok(Ok((connection, _events))) = timeout(WITHIN, connected).await {
                self.ask(&connection).await;
            }
            sleep(EVERY).await;
        }
    }

    /// Asks until the connection breaks.
    async fn ask(&self, connection: &Connection) {
        while !connection.is_closed() {
            if let Ok(text) = connection.get_info(&self.key).await {
                let points = verified(text.as_bytes()).and_then(|descriptor| Ok(descriptor.introduction_points()?));
                let now = self.clock.now();
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                for point in points.unwrap_or_default() {
                    known.insert(point, (self.asked.name.clone(), now));
                }
            }
            sleep(EVERY).await;
        }
    }
}
