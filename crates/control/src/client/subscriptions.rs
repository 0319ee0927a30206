//! The events that a connection has asked for, and for whom.

use tokio::sync::Mutex;

use super::Connection;
use super::events::Veil;
use crate::{Command, Error, EventKind};

/// `SETEVENTS` replaces the whole set, but there are two who want events: the reader of
/// [`Events`](super::Events), and uploads and fetches that are tracked. So Tor is asked for the
/// union, and the reader is spared what it did not ask for.
#[derive(Debug)]
pub(super) struct Subscriptions {
    /// Held while Tor is asked, so that two never overtake one another.
    sets: Mutex<Sets>,
    veil: Veil,
}

#[derive(Clone, Debug, Default)]
struct Sets {
    /// The last wish of the reader.
    reader: Vec<EventKind>,
    /// Kinds that tracking needs, from the first time on.
    tracking: Vec<EventKind>,
    /// The set that Tor has confirmed; `None` while that is not known, as when a call was given up.
    confirmed: Option<Vec<EventKind>>,
}

impl Sets {
    fn union(&self) -> Vec<EventKind> {
        let more = self.tracking.iter().filter(|kind| !self.reader.contains(kind));
        self.reader.iter().chain(more).cloned().collect()
    }

    fn hidden(&self) -> Vec<EventKind> {
        let hidden = self.tracking.iter().filter(|kind| !self.reader.contains(kind));
        hidden.cloned().collect()
    }
}

impl Subscriptions {
    pub(super) fn new(veil: Veil) -> Self {
        // A queue may have been another connection's before.
        veil.hide(&[]);
        Self {
            sets: Mutex::default(),
            veil,
        }
    }

    /// The reader wants exactly these from now on.
    pub(super) async fn set(&self, connection: &Connection, kinds: &[EventKind]) -> Result<(), Error> {
        let mut sets = self.sets.lock().await;
        let wanted = Sets {
            reader: kinds.to_vec(),
            ..sets.clone()
        };
        self.ask(connection, &mut sets, wanted).await
    }

    /// Tracking needs these.
    pub(super) async fn need(&self, connection: &Connection, kinds: &[EventKind]) -> Result<(), Error> {
        let mut sets = self.sets.lock().await;
        let mut wanted = sets.clone();
        for kind in kinds {
            if !wanted.tracking.contains(kind) {
                wanted.tracking.push(kind.clone());
            }
        }
        // Tor may tell them already, on behalf of the reader.
        if wanted.confirmed.as_ref() == Some(&wanted.union()) {
            *sets = wanted;
            return Ok(());
        }
        self.ask(connection, &mut sets, wanted).await
    }

    async fn ask(&self, connection: &Connection, sets: &mut Sets, wanted: Sets) -> Result<(), Error> {
        let union = wanted.union();
        let command = Command::set_events(&union)?;
        // What is hidden must be so before it comes, and what is not hidden any more may be shown
        // early. If this call is given up below, the command may have been carried out or not: then
        // the next one sets it right.
        let before = std::mem::replace(sets, wanted);
        sets.confirmed = None;
        self.veil.hide(&sets.hidden());
        let result = connection.simple(command).await;
        match &result {
            Ok(()) => sets.confirmed = Some(union),
            Err(Error::Rejected { .. }) => {
                *sets = before;
                self.veil.hide(&sets.hidden());
            }
            Err(_) => {}
        }
        result
    }
}
