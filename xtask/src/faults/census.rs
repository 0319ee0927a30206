//! Whose introduction points are whose: every living instance is asked again and again what it offers.

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

/// How often each is asked.
const EVERY: Duration = Duration::from_millis(300);
/// How long it may take to answer.
const WITHIN: Duration = Duration::from_secs(1);

/// Every introduction point that was ever offered: by whom, and when last.
type Known = Arc<Mutex<BTreeMap<IntroductionPoint, (String, f64)>>>;

/// Asks until it is dropped.
pub(crate) struct Census {
    known: Known,
    _asking: JoinSet<()>,
}

impl Census {
    pub(crate) fn start(instances: &[Instance], clock: &Clock) -> Self {
        let known = Known::default();
        let mut asking = JoinSet::new();
        for instance in instances {
            let asker = Asker {
                name: instance.name().to_owned(),
                control: instance.control(),
                key: format!("hs/service/desc/id/{}", instance.service_key().service_id()),
                clock: clock.clone(),
                known: Arc::clone(&known),
            };
            asking.spawn(asker.run());
        }
        Self { known, _asking: asking }
    }

    /// Whose point it is, as far as was seen until now.
    pub(crate) fn look_up(&self, point: &IntroductionPoint, relay: String) -> Point {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Point {
            relay,
            owner: known.get(point).cloned(),
        }
    }
}

struct Asker {
    name: String,
    control: Endpoint,
    key: String,
    clock: Clock,
    known: Known,
}

impl Asker {
    async fn run(self) {
        loop {
            let options = Options::default().connect_deadline(WITHIN).command_deadline(WITHIN);
            let credentials = Credentials::auto();
            let connected = Connection::connect(&self.control, &credentials, &options);
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
                    known.insert(point, (self.name.clone(), now));
                }
            }
            sleep(EVERY).await;
        }
    }
}
