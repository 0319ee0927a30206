//! A Tor that reads what directories hold.

use std::collections::BTreeMap;
use std::time::Duration;

use onionweave_control::{Connection, Event, EventKind, Events, HsDescAction, HsDescReason, HsFetch};
use tokio::time::{Instant, timeout_at};

use crate::{Client, Error, Network};

/// Descriptor at a directory: its descriptor ID, and the directory's fingerprint.
pub type Place = (String, [u8; 20]);

/// Content of a directory under a descriptor ID.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holding {
    /// This text.
    Text(Vec<u8>),
    /// Nothing.
    Nothing,
    /// Something that Tor would not use as a client, or the fetch failed otherwise; with Tor's
    /// reason.
    Unusable(String),
    /// The directory did not answer in time, or the consensus that the reading Tor has does not
    /// name it.
    NoAnswer,
}

impl Holding {
    /// The text, if there is one.
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// A Tor that only reads descriptors, each from the directory that is named.
///
/// It never connects to a service. A client that failed to reach an introduction point would call a
/// descriptor unusable which is not (`feature/rend/rendcache.c:985-995`).
#[derive(Debug)]
pub struct Probe {
    client: Client,
    connection: Connection,
    events: Events,
}

impl Network {
    /// Starts a Tor that reads descriptors.
    ///
    /// # Errors
    ///
    /// As for starting a client.
    pub async fn probe(&self, name: impl Into<String>) -> Result<Probe, Error> {
        let client = self.client(name).start().await?;
        let (connection, events) = client.connect().await?;
        connection
            .set_events(&[EventKind::HsDesc, EventKind::HsDescContent])
            .await
            .map_err(|source| client.control_error(source))?;
        Ok(Probe {
            client,
            connection,
            events,
        })
    }
}

impl Probe {
    /// The connection to its control port. Its events go to [`read`](Self::read).
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Reads all places at once, and waits for no answer longer than `within`.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if its Tor refuses a fetch or goes away.
    pub async fn read(&mut self, places: &[Place], within: Duration) -> Result<BTreeMap<Place, Holding>, Error> {
        while self.events.try_recv().is_some() {}
        let deadline = Instant::now() + within;
        let mut found: BTreeMap<Place, Holding> =
            places.iter().map(|place| (place.clone(), Holding::NoAnswer)).collect();
        let mut open = found.len();
        for (descriptor_id, directory) in found.keys() {
            let fetch = HsFetch::v2_descriptor(descriptor_id).map(|fetch| fetch.server(*directory));
            let asked = match fetch {
                Ok(fetch) => self.connection.hs_fetch(&fetch).await,
                Err(error) => Err(error),
            };
            match asked {
                Ok(()) => {}
                // A Tor that has just started may have an old consensus, of a time when that relay
                // was down (`feature/control/control_cmd.c:1485`).
                Err(onionweave_control::Error::Rejected { code: 552, .. }) => open -= 1,
                Err(source) => return Err(self.client.control_error(source)),
            }
        }
        let mut reasons = BTreeMap::new();
        while open > 0 {
            let Ok(Some(event)) = timeout_at(deadline, self.events.recv()).await else {
                break;
            };
            match event {
                // The reason comes first, then an empty content.
                Event::HsDesc(event) if *event.action() == HsDescAction::Failed => {
                    if let (Some(id), Some(directory)) = (event.descriptor_id(), event.hsdir()) {
                        let place = (id.to_owned(), directory.fingerprint());
                        reasons.insert(place, event.reason().cloned());
                    }
                }
                Event::HsDescContent(event) => {
                    let Some(directory) = event.hsdir() else {
                        continue;
                    };
                    let place = (event.descriptor_id().to_owned(), directory.fingerprint());
                    let reason = reasons.remove(&place).flatten();
                    if let Some(holding) = found.get_mut(&place).filter(|holding| **holding == Holding::NoAnswer) {
                        *holding = match (event.content(), reason) {
                            ([], Some(HsDescReason::NotFound)) => Holding::Nothing,
                            ([], reason) => Holding::Unusable(format!("{reason:?}")),
                            (text, _) => Holding::Text(text.to_vec()),
                        };
                        open -= 1;
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }
}
